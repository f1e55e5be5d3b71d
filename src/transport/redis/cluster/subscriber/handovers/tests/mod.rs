mod hung;

use super::super::seen::COPY_LAG;
use super::busy::MOST_BUSY;
use super::*;

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
