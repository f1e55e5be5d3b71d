//! Nodes that hang, are replaced, and come back.

use super::super::super::seen::{MAX_SEEN, Sender};
use super::*;
use crate::transport::redis::cluster::subscriber::last::MAX_HELD;

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
