//! Reading: from where, over losses, gaps and refusals.

use std::time::Duration;

use super::*;

#[test]
fn it_is_ready_when_it_is_known_where_to_begin() {
    let mut rig = Rig::new(false);
    rig.redis.event("before", ALL);
    rig.subscribe();
    assert!(rig.of_kind(Kind::Event).iter().all(|(_, [event, ..])| !event.contains("ready")));
    rig.settle();
    assert!(rig.of_kind(Kind::Event).iter().any(|(_, [event, ..])| event.contains("ready")));
    rig.core.interest(1).unwrap().set_occupied(true);
    rig.redis.event("after", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["after"]"#]);
}

#[test]
fn what_the_reference_may_do_is_enough() {
    let mut rig = Rig::new(true);
    rig.redis.forbidden = "XREVRANGE";
    for n in 0..1200 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.subscribe();
    rig.settle();
    rig.records();
    rig.core.interest(1).unwrap().set_occupied(true);
    let seen = rig.redis.event("after", ALL);
    rig.emit("mine");
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["after","1-1201"]"#]);
    assert_eq!(rig.added(), [data("mine")]);
    restore(&mut rig, 1, &seen.to_string());
    rig.settle();
    assert_eq!(restored(&mut rig), [(1, "1-1202".to_owned())]);
    rig.lose(|_| false);
    rig.redis.event("later", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["later","1-1203"]"#]);
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let mut rig = Rig::reading(false);
    rig.lose(|_| false);
    rig.redis.event("first", ALL);
    rig.settle();
    rig.lose(|_| false);
    for n in 0..25 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.settle();
    let wanted: Vec<String> = (0..25).map(|n| format!(r#"2["{n}"]"#)).collect();
    assert_eq!(rig.heard(), [vec![r#"2["first"]"#.to_owned()], wanted].concat());
}

#[test]
fn entries_that_are_gone_are_reported() {
    let mut rig = Rig::reading(false);
    rig.redis.event("read", ALL);
    rig.settle();
    rig.lose(|_| false);
    for n in 0..3 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().drain(..3);
    rig.settle();
    let records = rig.records();
    let trimmed = r#"{"type":"trimmed","stream":"s","after":"1-1","before":"1-4"}"#;
    assert_eq!(records.iter().filter(|(.., [event, ..])| event == trimmed).count(), 1);
    assert!(records.iter().any(|(kind, _, [_, text, ..])| *kind == Kind::Frame as u8 && text == r#"2["2"]"#));
}

#[test]
fn what_was_read_is_not_read_again_from_an_older_state() {
    let mut rig = Rig::reading(true);
    for n in 0..5 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.settle();
    rig.records();
    rig.lose(|_| false);
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().truncate(3);
    rig.settle();
    rig.redis.event("new", ALL);
    rig.settle();
    let records = rig.records();
    assert!(records.iter().all(|(.., [event, ..])| !event.contains("trimmed")));
    let frames = records.iter().filter(|record| record.0 == Kind::Frame as u8);
    assert_eq!(frames.map(|(.., [_, text, ..])| text.as_str()).collect::<Vec<_>>(), [r#"2["new","1-4"]"#]);
    restore(&mut rig, 1, "1-2");
    rig.settle();
    assert_eq!(restored(&mut rig), [(1, "1-3 1-4".to_owned())]);
    // Without any state there is nothing that could have been read.
    rig.lose(|_| false);
    rig.redis.streams.clear();
    rig.settle();
    rig.redis.event("first", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["first","1-1"]"#]);
}

#[test]
fn a_stream_that_a_cluster_has_elsewhere_or_nowhere_is_said_once() {
    for (reply, attempts) in
        [("-MOVED 1 127.0.0.1:7000\r\n", 3), ("-CLUSTERDOWN Hash slot not served\r\n", 12)]
    {
        let mut rig = Rig::reading(false);
        let mut told = Vec::new();
        for attempt in 1..20 {
            // The end of one rest, and of a second one for both commands of a look.
            let mut commands = std::mem::take(&mut rig.blocked);
            for _ in 0..300 {
                commands.append(&mut rig.fx.commands);
                if !commands.is_empty() {
                    break;
                }
                rig.fx.now += Duration::from_millis(5);
                rig.core.tick(&mut rig.fx);
            }
            assert!(!commands.is_empty(), "it is tried again");
            for command in commands {
                rig.answer(command.token, reply.as_bytes());
            }
            let events = rig.of_kind(Kind::Event);
            told.extend(
                events.iter().filter(|(_, [event, ..])| event.contains("unreadable")).map(|_| attempt),
            );
        }
        assert_eq!(told, [attempts], "{reply}");
        rig.fx.now += Duration::from_secs(2);
        rig.settle();
        rig.redis.event("at last", ALL);
        rig.settle();
        assert_eq!(rig.heard(), [r#"2["at last"]"#]);
    }
}

#[test]
fn a_stream_that_cannot_be_read_is_said_once_and_tried_ever_more_seldom() {
    let mut rig = Rig::reading(false);
    let mut tries = 0;
    let begin = rig.fx.now;
    while rig.fx.now - begin < Duration::from_secs(120) {
        let mut commands = std::mem::take(&mut rig.blocked);
        commands.append(&mut rig.fx.commands);
        tries += commands.len();
        for command in commands {
            rig.answer(command.token, b"-WRONGTYPE no stream\r\n");
        }
        rig.fx.now += Duration::from_millis(5);
        rig.core.tick(&mut rig.fx);
    }
    assert!(tries < 40, "{tries}");
    let told = rig.of_kind(Kind::Event);
    assert_eq!(told.iter().filter(|(_, [event, ..])| event.contains("unreadable")).count(), 1);
    rig.fx.now += Duration::from_secs(31);
    rig.settle();
    rig.redis.event("at last", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["at last"]"#]);
}

#[test]
fn reading_that_alone_is_refused_makes_nobody_ready_and_is_tried_ever_more_seldom() {
    let events = |rig: &mut Rig, what: &str| {
        let told = rig.of_kind(Kind::Event).into_iter();
        told.filter(|(_, [event, ..])| event.contains(what)).count()
    };
    // From the start; then it is revoked while nothing is to be read; and where a proxy lets nobody block.
    for (forbidden, revoked) in [("XREAD", false), ("XREAD", true), ("XREAD BLOCK", true)] {
        let mut rig = if revoked { Rig::reading(false) } else { Rig::new(false) };
        rig.redis.forbidden = forbidden;
        rig.subscribe();
        rig.settle();
        assert_eq!(events(&mut rig, "unreadable"), 1, "{forbidden}");
        rig.redis.ran.clear();
        let begin = rig.fx.now;
        while rig.fx.now - begin < Duration::from_secs(120) {
            rig.fx.now += Duration::from_millis(5);
            rig.settle();
        }
        let tries = rig.redis.ran.iter().filter(|name| *name == "XREAD").count();
        assert!((5..20).contains(&tries), "{forbidden}: {tries}");
        assert_eq!(events(&mut rig, ""), 0, "{forbidden}");
        rig.redis.forbidden = "";
        rig.fx.now += Duration::from_secs(31);
        rig.settle();
        assert_eq!(events(&mut rig, "ready"), 1, "{forbidden}");
        rig.core.interest(1).unwrap().set_occupied(true);
        rig.redis.event("at last", ALL);
        rig.settle();
        assert_eq!(rig.heard(), [r#"2["at last"]"#]);
    }
}

#[test]
fn offsets_are_added_to_what_may_be_missed() {
    let mut rig = Rig::reading(true);
    rig.redis.event("kept", ALL);
    rig.redis.event("volatile", r#"{"rooms":[],"except":[],"flags":{"volatile":true}}"#);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["kept","1-1"]"#, r#"2["volatile"]"#]);
    let mut rig = Rig::reading(false);
    rig.redis.event("plain", ALL);
    rig.redis.foreign("s", "", "no namespace");
    rig.redis.foreign("s", "/other", "{}");
    rig.redis.foreign("s", "/", "!");
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["plain"]"#]);
    let stats = rig.core.stats();
    assert_eq!((stats.received, stats.delivered, stats.ignored, stats.malformed), (4, 1, 2, 1));
}
