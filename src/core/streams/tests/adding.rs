//! Adding: each entry once, and its id told in order.

use std::sync::Arc;
use std::time::Duration;

use super::*;

#[test]
fn what_is_added_is_there_once_whatever_was_lost() {
    for arrived in 0..=4 {
        let mut rig = Rig::reading(true);
        rig.emit("first");
        rig.settle();
        rig.holds = true;
        for n in 0..4 {
            rig.emit(&n.to_string());
        }
        rig.redis.event("of another", ALL);
        rig.settle();
        rig.lose(|index| index < arrived);
        rig.emit("behind");
        rig.settle();
        rig.fx.now += Duration::from_secs(1);
        rig.settle();
        let names = ["first", "0", "1", "2", "3", "behind"];
        assert_eq!(rig.added(), names.map(data), "{arrived} had arrived");
        let tokens: Vec<u32> = rig.of_kind(Kind::Added).into_iter().map(|(token, _)| token).collect();
        assert_eq!(tokens, [1, 2, 3, 4, 5, 6]);
        assert!(rig.core.is_flushed());
    }
}

#[test]
fn ids_are_told_in_order_or_not_waited_for() {
    let mut rig = Rig::reading(true);
    rig.emit("a");
    rig.settle();
    rig.holds = true;
    rig.emit("b");
    rig.settle();
    rig.fx.now += Duration::from_millis(1001);
    rig.core.tick(&mut rig.fx);
    let told: Vec<_> = rig.of_kind(Kind::Added).into_iter().map(|(token, [id, ..])| (token, id)).collect();
    assert_eq!(told, [(1, "1-1".to_owned()), (2, String::new())]);
    rig.lose(|_| true);
    rig.core.incoming(Incoming::Down { reason: "gone", unanswered: 0, unwritten: 0 }, &mut rig.fx);
    rig.emit("c");
    assert_eq!(rig.of_kind(Kind::Added).into_iter().map(|(token, _)| token).collect::<Vec<_>>(), [3]);
    rig.core.incoming(Incoming::Up, &mut rig.fx);
    rig.settle();
    assert_eq!(rig.added(), ["a", "b", "c"].map(data));
    assert!(rig.of_kind(Kind::Added).is_empty());
}

#[test]
fn ids_are_told_where_the_entries_stand_among_those_of_others() {
    let mut rig = Rig::reading(true);
    rig.emit("early");
    rig.settle();
    rig.records();
    rig.redis.event("before", ALL);
    rig.emit("mine");
    rig.settle();
    rig.redis.event("behind", ALL);
    rig.settle();
    let kinds: Vec<u8> = rig.records().into_iter().map(|(kind, ..)| kind).collect();
    let (frame, added) = (Kind::Frame as u8, Kind::Added as u8);
    assert_eq!(
        kinds.into_iter().filter(|&kind| kind == frame || kind == added).collect::<Vec<_>>(),
        [frame, added, frame]
    );
}

#[test]
fn what_is_gone_before_it_is_read_does_not_hold_up_what_looks_like_it() {
    let mut rig = Rig::reading(true);
    rig.emit("tick");
    rig.settle();
    rig.records();
    let blocked = std::mem::take(&mut rig.blocked);
    for _ in 0..3 {
        rig.emit("tick");
    }
    rig.settle();
    // Flushed: the reader will never come by.
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().truncate(1);
    rig.redis.floor = EntryId { time: 2, seq: 0 };
    rig.fx.now += Duration::from_millis(1001);
    rig.core.tick(&mut rig.fx);
    rig.blocked = blocked;
    rig.emit("tick");
    rig.settle();
    let told: Vec<String> = rig.of_kind(Kind::Added).into_iter().map(|(_, [id, ..])| id).collect();
    assert_eq!(told, ["", "", "", "2-1"]);
}

#[test]
fn who_has_left_can_still_add_and_leaves_no_reader() {
    let mut rig = Rig::reading(true);
    rig.core.leave(1, &mut rig.fx);
    assert_eq!(rig.fx.closed_readers, [0, 1]);
    rig.blocked.clear();
    rig.emit("late");
    rig.settle();
    assert_eq!(rig.added(), [data("late")]);
    assert!(rig.core.is_flushed());
    let args = Arc::new(Args::of(&[b"SET", b"k", b"v"]));
    assert_eq!((args.get(1), args.get(7), args.len()), (&b"k"[..], &b""[..], 5));
}
