use super::busy::MOST_BUSY;
use super::seen::{COPY_LAG, MAX_SEEN, Sender};
use super::*;
use crate::transport::redis::cluster::subscriber::last::MAX_HELD;

const PAYLOADS: [&[u8]; 3] = [b"1", b"2", b"3"];

fn node(port: u16) -> Address {
    Address::Tcp { host: "127.0.0.1".to_owned(), port }
}

fn message(payload: &[u8]) -> Incoming<'_> {
    Incoming::Message { subscriber: 0, kind: SubscriptionKind::Shard, name: b"a", channel: b"a", payload }
}

fn subscribed() -> Incoming<'static> {
    Incoming::Subscribed { subscriber: 0, kind: SubscriptionKind::Shard, name: b"a" }
}

/// The former owner has sent nothing lately.
fn none() -> impl Iterator<Item = Message<'static>> {
    std::iter::empty()
}

fn names() -> Vec<Subscription> {
    vec![Subscription::shard("a")]
}

fn held(handovers: &mut Handovers) -> Vec<Vec<u8>> {
    handovers.take_held().into_iter().map(|held| held.payload).collect()
}

/// A handover from node 1 to node 2. The new owner has just confirmed.
fn confirmed(now: Instant) -> Handovers {
    let mut handovers = Handovers::default();
    assert!(
        handovers
            .begin(&node(1), &node(2), names(), Relation::Replica, (Duration::ZERO, none()), now)
            .is_empty()
    );
    assert_eq!(handovers.due(now + LAG), names());
    assert!(handovers.hear(&node(2), &subscribed(), now + LAG));
    handovers
}

#[test]
fn the_former_owner_delivers_until_its_copies_are_all_there() {
    let (former, owner) = (node(1), node(2));
    let start = Instant::now();
    let now = start + LAG;
    let mut handovers = confirmed(start);
    assert!(handovers.is_leaving(&former, &names()[0]));
    for payload in PAYLOADS {
        assert!(!handovers.hear(&owner, &message(payload), now), "the former one is to deliver it first");
    }
    // It was published before the new owner was subscribed to: only the former one sends it, and it is in
    // order.
    assert!(handovers.hear(&former, &message(b"0"), now));
    assert!(handovers.hear(&former, &message(b"1"), now));
    assert!(handovers.due(now + LAG).is_empty());
    assert_eq!(held(&mut handovers), [b"2", b"3"]);
    for (payload, is_new) in [(b"2", false), (b"3", false), (b"4", true)] {
        assert_eq!(handovers.hear(&former, &message(payload), now + LAG), is_new, "{payload:?}");
    }
    assert!(!handovers.hear(&owner, &message(b"4"), now + LAG));
    assert!(handovers.hear(&owner, &message(b"5"), now + LAG));
    assert!(handovers.due(now + 2 * LAG - Duration::from_millis(1)).is_empty());
    assert!(handovers.take_over().is_empty());
    assert!(handovers.due(now + 2 * LAG).is_empty());
    assert_eq!(handovers.take_over(), names());
    assert!(handovers.is_empty());
}

#[test]
fn the_time_in_which_nothing_could_be_read_does_not_count() {
    let (former, owner) = (node(1), node(2));
    let second = Duration::from_secs(1);
    let mut now = Instant::now();
    let mut handovers = confirmed(now);
    now += LAG;
    handovers.wake(now);
    assert_eq!(handovers.deadline(), Some(now + TICK), "it is looked how late we are");
    assert!(handovers.hear(&former, &message(b"1"), now));
    // The thread is kept waiting each time.
    for round in 0..4 {
        now += second;
        handovers.wake(now);
        assert!(!handovers.hear(&owner, &message(b"1"), now), "a copy, in round {round}");
        assert!(handovers.hear(&former, &message(b"1"), now), "another one, in round {round}");
        assert!(handovers.due(now).is_empty());
        assert!(!handovers.is_empty());
    }
    // It counts while we are in time, and what has counted before is no more than a tick each.
    for _ in 0..3 {
        now += TICK;
        handovers.wake(now);
        handovers.due(now);
    }
    assert!(handovers.hear(&former, &message(b"3"), now), "the new owner delivers by now, too");
    now += second;
    handovers.wake(now);
    assert!(!handovers.hear(&owner, &message(b"3"), now));
    for _ in 0..4 {
        now += TICK;
        handovers.wake(now);
        handovers.due(now);
    }
    assert!(handovers.all.is_empty());
    assert_eq!(handovers.take_over(), names());
    assert_eq!(handovers.deadline(), None);
}

#[test]
fn a_node_that_is_busy_is_waited_for_but_not_without_end() {
    let (former, owner) = (node(1), node(2));
    for busy in [&former, &owner] {
        let mut now = Instant::now();
        let mut handovers = confirmed(now);
        now += LAG;
        let mut passes = |handovers: &mut Handovers, ticks: u32| {
            for _ in 0..ticks {
                // A timer is always a little late.
                now += TICK + Duration::from_millis(1);
                handovers.wake(now);
                handovers.look(now, |node| node == busy);
                handovers.due(now);
            }
            now
        };
        let now = passes(&mut handovers, 40);
        assert!(!handovers.hear(&owner, &message(b"1"), now));
        assert!(handovers.hear(&former, &message(b"1"), now), "it still delivers");
        passes(&mut handovers, 60);
        assert!(handovers.all.is_empty(), "it has waited for {MOST_BUSY:?}");
    }
}

#[test]
fn a_late_thread_does_not_take_nodes_for_busy() {
    let mut now = Instant::now();
    let mut handovers = confirmed(now);
    now += LAG;
    // The answers lie there unread each time.
    for _ in 0..12 {
        now += LAG;
        handovers.wake(now);
        handovers.look(now, |_| true);
        handovers.due(now);
    }
    assert!(handovers.all.is_empty());
    // Nor does one that may not read.
    let mut handovers = confirmed(now);
    now += LAG;
    for _ in 0..100 {
        now += TICK;
        handovers.wake(now);
        handovers.pause(true, now);
        handovers.look(now, |_| true);
    }
    assert!(handovers.all.iter().all(|one| one.may_wait == MOST_BUSY));
}

#[test]
fn what_has_passed_before_a_handover_does_not_put_it_off() {
    let start = Instant::now();
    let mut handovers = hanging(&[], start);
    let now = start + 10 * LAG;
    let other = vec![Subscription::shard("b")];
    handovers.begin(&node(1), &node(2), other, Relation::Replica, (Duration::ZERO, none()), now);
    handovers.wake(now);
    assert_eq!(handovers.all.last().map(|one| one.until), Some(now + LAG));
}

#[test]
fn copies_are_expected_for_longer_if_nothing_could_be_read() {
    let mut now = Instant::now();
    let mut handovers = hanging(&[], now);
    handovers.look(now, |_| false);
    assert!(handovers.hear(&node(1), &message(b"1"), now));
    now += PATIENCE + COPY_LAG;
    handovers.wake(now);
    assert!(deliver(&mut handovers, &[b"1"], now).is_empty(), "it is a copy");
    handovers.due(now);
    now += LAG;
    handovers.wake(now);
    handovers.due(now);
    assert!(!handovers.all.is_empty(), "the former owner is still read");
}

#[test]
fn what_may_be_a_copy_waits_longer_if_nothing_could_be_read() {
    let mut now = Instant::now();
    let mut handovers = hanging(&[b"1"], now);
    assert!(deliver(&mut handovers, &[b"1"], now).is_empty());
    now += 4 * ANSWER;
    handovers.wake(now);
    assert!(deliver(&mut handovers, &[], now).is_empty());
    for _ in 0..10 {
        now += TICK;
        handovers.wake(now);
    }
    assert_eq!(deliver(&mut handovers, &[], now), [b"1"]);
}

#[test]
fn two_messages_that_are_the_same_to_the_byte_are_delivered_twice() {
    let (former, owner) = (node(1), node(2));
    for leads in [true, false] {
        for second in [LAG / 2, LAG] {
            let start = Instant::now();
            let mut now = start + LAG;
            let mut handovers = confirmed(start);
            let mut delivered = 0;
            if !leads {
                handovers.lose(&[node(1)], now);
            }
            // The first was published before the new owner was subscribed to, the second after that.
            delivered += usize::from(handovers.hear(&former, &message(b"x"), now));
            now += second;
            delivered += usize::from(handovers.hear(&owner, &message(b"x"), now));
            delivered += usize::from(handovers.hear(&former, &message(b"x"), now));
            handovers.due(start + 2 * LAG);
            delivered += held(&mut handovers).len();
            assert_eq!(delivered, 2, "{leads} {second:?}");
        }
    }
}

#[test]
fn what_either_owner_alone_sends_is_delivered() {
    let (former, owner) = (node(1), node(2));
    let start = Instant::now();
    let now = start + LAG;
    let mut handovers = confirmed(start);
    assert!(!handovers.hear(&owner, &message(b"1"), now));
    handovers.withdrawn(&former, &names()[0], now);
    assert_eq!(held(&mut handovers), [b"1"]);
    assert!(handovers.hear(&owner, &message(b"2"), now));
    assert!(handovers.hear(&former, &message(b"3"), now));

    let mut handovers = Handovers::default();
    handovers.begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now);
    handovers.withdrawn(&former, &names()[0], now);
    assert!(handovers.is_empty(), "nobody is asked yet");
}

#[test]
fn the_new_owner_is_asked_later_unless_the_former_one_misses_something() {
    let now = Instant::now();
    let (former, owner) = (node(1), node(2));
    let mut handovers = Handovers::default();
    assert_eq!(handovers.begin(&former, &owner, names(), Relation::Shard, (LAG, none()), now), names());
    assert!(!handovers.hear(&owner, &message(b"1"), now), "what the former one has sent is read first");
    handovers.pass(&former, now);
    assert_eq!(held(&mut handovers), [b"1"], "nobody else may deliver it");
    assert!(!handovers.hear(&former, &message(b"1"), now));
    handovers.clear();
    assert!(
        handovers
            .begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now)
            .is_empty()
    );
    assert!(handovers.is_waiting(&names()[0]));
    handovers.pause(true, now);
    assert_eq!(handovers.deadline(), None);
    assert!(handovers.due(now + LAG).is_empty());
    handovers.pause(false, now + LAG);
    assert!(handovers.due(now + LAG).is_empty(), "nothing was read meanwhile");
    assert_eq!(handovers.due(now + 2 * LAG), names());
    assert!(!handovers.is_waiting(&names()[0]));
    handovers.clear();
    assert!(
        handovers
            .begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now)
            .is_empty()
    );
    handovers.lose(&[former], now);
    assert_eq!(handovers.due(now), names());
}

#[test]
fn what_a_node_sends_that_was_replaced_while_it_hung_is_late_and_so_are_its_copies() {
    let (former, owner) = (node(1), node(2));
    for hangs in [true, false] {
        let mut now = Instant::now();
        let mut handovers = Handovers::default();
        handovers.begin(&former, &owner, names(), Relation::Shard, (LAG, none()), now);
        handovers.look(now, |_| hangs);
        assert!(handovers.hear(&owner, &subscribed(), now));
        assert_eq!(handovers.doubted(), BTreeSet::from([former.clone()]));
        // Nothing newer has come, so it is in order.
        assert!(!handovers.hear(&owner, &message(b"1"), now));
        assert!(handovers.hear(&former, &message(b"1"), now));
        handovers.pass(&former, now);
        assert!(held(&mut handovers).is_empty());
        assert!(!handovers.hear(&owner, &message(b"3"), now));
        handovers.pass(&former, now);
        assert_eq!(held(&mut handovers), [b"3"]);
        now += 100 * LAG;
        if hangs {
            assert_eq!(handovers.deadline(), None, "the former one may be back at any time");
            assert!(handovers.due(now).is_empty() && handovers.take_over().is_empty());
        }
        assert!(!handovers.hear(&owner, &message(b"2"), now), "a copy may come before what it is a copy of");
        assert_eq!(handovers.hear(&former, &message(b"2"), now), !hangs);
        handovers.look(now, |_| false);
        assert_eq!(handovers.hear(&former, &message(b"4"), now), !hangs);
        handovers.pass(&former, now);
        assert!(held(&mut handovers).is_empty());
        now += if hangs { COPY_LAG / 2 } else { LAG / 4 };
        handovers.due(now);
        assert!(!handovers.hear(&owner, &message(b"4"), now), "a copy");
        for _ in 0..2 {
            assert!(!handovers.hear(&owner, &message(b"4"), now));
            handovers.pass(&former, now);
            assert_eq!(held(&mut handovers), [b"4"]);
        }
        for _ in 0..3 {
            now += PATIENCE;
            handovers.due(now);
        }
        assert_eq!(handovers.take_over(), names());
        assert!(handovers.is_empty());
    }
}

/// A handover from node 1, which hangs and has sent these messages before, to node 2, which has confirmed.
fn hanging(payloads: &[&'static [u8]], now: Instant) -> Handovers {
    let mut handovers = Handovers::default();
    let last = payloads.iter().map(|payload| Message {
        kind: SubscriptionKind::Shard,
        name: b"a",
        channel: b"a",
        payload,
    });
    handovers.begin(&node(1), &node(2), names(), Relation::Shard, (LAG, last), now);
    assert!(handovers.look(now, |_| true).is_empty());
    handovers.hear(&node(2), &subscribed(), now);
    handovers
}

/// Returns what is delivered of what the new owner sends.
fn deliver(handovers: &mut Handovers, payloads: &[&[u8]], now: Instant) -> Vec<Vec<u8>> {
    for payload in payloads {
        assert!(!handovers.hear(&node(2), &message(payload), now), "the former one is read first");
    }
    handovers.pass(&node(1), now);
    held(handovers)
}

#[test]
fn copies_of_what_a_node_sent_before_it_hung_come_before_the_new_owner_answers_and_no_later() {
    let is = |port| move |address: &Address| *address == node(port);
    let mut now = Instant::now();
    let mut handovers = hanging(&[b"1", b"2", b"2", b"3"], now);
    assert_eq!(deliver(&mut handovers, &[b"4"], now), [b"4"]);
    // The former owner has not answered: the messages after a copy wait, too.
    assert!(deliver(&mut handovers, &[b"1", b"5"], now).is_empty());
    assert_eq!(handovers.end(), Some(now + ANSWER));
    now += ANSWER / 2;
    assert!(deliver(&mut handovers, &[b"2"], now).is_empty());
    assert_eq!(handovers.look(now, |_| false), [node(1)], "it is asked once more");
    assert!(handovers.look(now, is(1)).is_empty());
    assert_eq!(handovers.look(now, |_| false), [node(2)], "it is to be asked");
    // The copies are read before the answer.
    assert!(handovers.look(now, is(2)).is_empty());
    assert_eq!(deliver(&mut handovers, &[b"2", b"2", b"6"], now), [&b"5"[..], b"2", b"6"]);
    assert!(handovers.look(now, |_| false).is_empty());
    assert_eq!(deliver(&mut handovers, &[b"3", b"3"], now), [b"3", b"3"], "no copy comes any more");
}

#[test]
fn a_node_that_is_back_may_send_what_it_has_handed_on_long_before() {
    let mut now = Instant::now();
    let mut handovers = hanging(&[], now);
    handovers.look(now, |_| false);
    assert_eq!(deliver(&mut handovers, &[b"1", b"2"], now), [b"1", b"2"]);
    for payload in [b"1", b"2"] {
        now += COPY_LAG / 4;
        assert!(!handovers.hear(&node(1), &message(payload), now));
    }
    assert!(handovers.hear(&node(1), &message(b"3"), now));
    assert!(deliver(&mut handovers, &[b"3"], now).is_empty());
}

#[test]
fn what_is_like_the_last_messages_of_a_node_that_hangs_is_delivered() {
    let mut now = Instant::now();
    let mut handovers = hanging(&[b"tick", b"tick", b"1", b"2"], now);
    let hears = |handovers: &mut Handovers, payloads: &[&[u8]], now| {
        assert!(handovers.look(now, |_| true).is_empty());
        deliver(handovers, payloads, now)
    };
    assert!(hears(&mut handovers, &[b"tick", b"a"], now).is_empty());
    now += ANSWER / 2;
    assert!(hears(&mut handovers, &[b"tick", b"1"], now).is_empty());
    now += ANSWER / 2;
    assert_eq!(hears(&mut handovers, &[], now), [&b"tick"[..], b"a"]);
    now += ANSWER / 2;
    assert_eq!(hears(&mut handovers, &[b"b"], now), [&b"tick"[..], b"1", b"b"]);
    for _ in 0..3 {
        assert_eq!(hears(&mut handovers, &[b"tick", b"1"], now), [&b"tick"[..], b"1"], "each waits once");
    }
    // Nothing is read for a while.
    assert!(hears(&mut handovers, &[b"2"], now).is_empty());
    handovers.pause(true, now);
    now += ANSWER;
    handovers.pause(false, now);
    assert!(hears(&mut handovers, &[], now).is_empty());
    // The former owner is back, though it has not answered.
    handovers.withdrawn(&node(1), &names()[0], now);
    assert!(held(&mut handovers).is_empty());
    assert_eq!(handovers.look(now, |_| true), [node(1)]);
    assert!(deliver(&mut handovers, &[b"1", b"tick", b"tick"], now).is_empty());
    assert_eq!(deliver(&mut handovers, &[b"2", b"1", b"tick"], now), [&b"2"[..], b"1", b"tick"]);

    // A node that is lost is not back.
    let mut handovers = hanging(&[b"1", b"2"], now);
    assert!(hears(&mut handovers, &[b"1"], now).is_empty());
    handovers.lose(&[node(1)], now);
    assert_eq!(held(&mut handovers), [b"1"]);
    assert!(handovers.look(now, |_| false).is_empty());
    assert_eq!(deliver(&mut handovers, &[b"2"], now), [b"2"]);
}

#[test]
fn a_message_that_is_like_a_late_one_is_its_copy_only_as_long_as_copies_take() {
    let (former, owner) = (node(1), node(2));
    for relation in [Relation::Shard, Relation::Unknown] {
        let mut now = Instant::now();
        let mut handovers = Handovers::default();
        handovers.begin(&former, &owner, names(), relation, (LAG, none()), now);
        handovers.look(now, |_| true);
        handovers.hear(&owner, &subscribed(), now);
        now += 10 * LAG;
        handovers.look(now, |_| false);
        // The same message comes every second. The former owner got one of them while it hung, and no copy of
        // it ever comes.
        assert!(handovers.hear(&former, &message(b"tick"), now), "nothing newer has come");
        now += Duration::from_secs(1);
        assert!(!handovers.hear(&owner, &message(b"tick"), now));
        handovers.pass(&former, now);
        assert_eq!(held(&mut handovers), [b"tick"]);
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let now = Instant::now();
    let mut seen = SeenMessages::new(now, LAG);
    for number in 0..=MAX_SEEN as u64 {
        seen.add(number, Sender::Former, now);
    }
    assert_eq!(seen.ahead.len(), MAX_SEEN);
    assert!(seen.take(0, Sender::Owner, now));
    assert!(!seen.take(MAX_SEEN as u64, Sender::Owner, now));

    let mut copies = Copies::default();
    for number in 0..=MAX_SEEN as u64 {
        copies.add(number % 2, now);
    }
    assert_eq!(copies.count, MAX_SEEN);
    copies.add(3, now + COPY_LAG);
    assert_eq!((copies.count, copies.of.len()), (1, 1), "the others are not to come any more");
    copies.renew(now + 2 * COPY_LAG);
    assert!(copies.take(3, now + 2 * COPY_LAG) && !copies.take(3, now + 2 * COPY_LAG));
    assert_eq!((copies.count, copies.of.len()), (0, 0));

    let mut handovers = confirmed(now);
    for number in 0..=MAX_HELD {
        assert!(!handovers.hear(&node(2), &message(&number.to_be_bytes()), now));
    }
    assert_eq!(handovers.take_held().len(), MAX_HELD + 1);
    assert!(handovers.hear(&node(2), &message(b"x"), now), "it delivers by now");
}

/// Whether a message that node 2 sends is a copy of one of node 1.
fn is_copy(handovers: &mut Handovers, payload: &[u8], now: Instant) -> bool {
    assert!(!handovers.is_copy(&node(2), &message(payload), now, |_| false), "it is of another shard");
    assert!(!handovers.is_copy(&node(1), &message(payload), now, |_| true), "it has sent that itself");
    handovers.is_copy(&node(2), &message(payload), now, |hung| *hung == node(1))
}

#[test]
fn copies_of_what_a_node_sends_after_it_hung_are_dropped_for_a_while() {
    let hung = node(1);
    let start = Instant::now();
    let mut handovers = Handovers::default();
    handovers.hangs(&hung, 3 * LAG, start);
    assert_eq!(handovers.missed_for(&hung, start), Some(3 * LAG));
    assert_eq!(handovers.missed_for(&node(2), start), None);
    assert_eq!(handovers.deadline(), None, "it may hang for long");
    for payload in [b"1", b"2", b"3", b"1"] {
        assert!(handovers.hear(&hung, &message(payload), start));
    }
    for (payload, expected) in [(b"1", true), (b"1", true), (b"1", false), (b"4", false)] {
        assert_eq!(is_copy(&mut handovers, payload, start), expected, "{payload:?}");
    }
    // The time in which nothing was read does not count.
    let mut now = start;
    handovers.wake(now);
    now += 10 * COPY_LAG;
    handovers.wake(now);
    assert!(is_copy(&mut handovers, b"2", now));
    handovers.pause(true, now);
    now += 10 * COPY_LAG;
    handovers.wake(now);
    handovers.pause(false, now);
    assert!(is_copy(&mut handovers, b"3", now));
    assert!(handovers.hear(&hung, &message(b"5"), now));
    let end = now + 2 * COPY_LAG;
    while now < end + TICK {
        now += TICK;
        handovers.wake(now);
    }
    assert!(handovers.is_empty());
    assert!(!is_copy(&mut handovers, b"5", now));
}

#[test]
fn what_a_node_sends_long_after_it_hung_is_not_remembered() {
    let hung = node(1);
    let start = Instant::now();
    let mut handovers = Handovers::default();
    handovers.hangs(&hung, LAG, start);
    assert!(handovers.hear(&hung, &message(b"1"), start + COPY_LAG));
    assert!(!is_copy(&mut handovers, b"1", start + COPY_LAG));
    assert_eq!(handovers.missed_for(&hung, start + 2 * COPY_LAG), None);
}

#[test]
fn copies_of_what_a_node_sends_in_a_handover_after_it_hung_are_dropped_for_longer() {
    let (former, owner) = (node(1), node(2));
    let mut now = Instant::now();
    let mut handovers = Handovers::default();
    handovers.hangs(&former, 3 * LAG, now);
    handovers.begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now);
    now += LAG;
    handovers.due(now);
    handovers.hear(&owner, &subscribed(), now);
    assert!(handovers.hear(&former, &message(b"1"), now));
    assert!(handovers.hear(&former, &message(b"2"), now));
    assert!(!handovers.hear(&owner, &message(b"1"), now + LAG * 3 / 2));
    handovers.due(now + LAG * 3 / 2);
    assert!(!handovers.hear(&owner, &message(b"2"), now + LAG * 3 / 2), "though it delivers by now");
    assert!(handovers.hear(&owner, &message(b"2"), now + LAG * 3 / 2));
    // It is still read when one that has not hung would have been left.
    assert!(handovers.hear(&former, &message(b"3"), now + 2 * LAG));
    for after in [2 * LAG, 5 * LAG] {
        handovers.due(now + after);
    }
    assert!(!handovers.hear(&owner, &message(b"3"), now + 5 * LAG));
}

#[test]
fn copies_are_dropped_though_a_node_that_hung_withdraws_while_the_handover_waits() {
    let (former, owner) = (node(1), node(2));
    let now = Instant::now();
    let mut handovers = Handovers::default();
    handovers.hangs(&former, 3 * LAG, now);
    handovers.begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now);
    assert!(handovers.hear(&former, &message(b"1"), now));
    handovers.withdrawn(&former, &names()[0], now);
    assert!(handovers.all.is_empty());
    assert!(is_copy(&mut handovers, b"1", now));
}

#[test]
fn copies_are_dropped_though_a_handover_begins_long_after_a_node_hung() {
    let (former, owner) = (node(1), node(2));
    let start = Instant::now();
    let mut handovers = Handovers::default();
    handovers.hangs(&former, 3 * LAG, start);
    let now = start + COPY_LAG;
    handovers.begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now);
    assert!(handovers.hear(&former, &message(b"1"), now));
    assert!(!handovers.hear(&owner, &message(b"1"), now + LAG));
}
