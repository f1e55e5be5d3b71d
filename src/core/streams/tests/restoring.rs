//! Sessions: restored with what they have missed, and kept.

use std::time::Duration;

use super::*;

#[test]
fn a_session_gets_what_it_missed_from_memory() {
    let mut rig = Rig::reading(true);
    rig.redis.event("a", ALL);
    rig.redis.event("b", r#"{"rooms":["r"],"except":[]}"#);
    rig.redis.event("c", r#"{"rooms":["x"],"except":[]}"#);
    rig.redis.event("d", r#"{"rooms":[],"except":["r"]}"#);
    rig.redis.event("e", r#"{"rooms":[],"except":[],"flags":{"volatile":true}}"#);
    rig.emit("mine");
    rig.settle();
    rig.records();
    rig.redis.ran.clear();
    restore(&mut rig, 1, "1-1");
    restore(&mut rig, 2, "1-6");
    restore(&mut rig, 3, "1-5");
    restore(&mut rig, 4, "9-9");
    restore(&mut rig, 5, "x");
    rig.settle();
    let not_found = "session or offset not found".to_owned();
    assert_eq!(
        restored(&mut rig),
        [
            (5, "invalid offset".to_owned()),
            (1, "1-2 1-6".to_owned()),
            (2, String::new()),
            (3, not_found.clone()),
            (4, not_found.clone()),
        ]
    );
    let looks = rig.redis.ran.iter().filter(|name| *name == "XRANGE").count();
    assert!(looks <= 2, "{looks}");
    rig.core.restore(1, 6, b"k1", b"1-1", &mut rig.fx);
    rig.settle();
    assert_eq!(restored(&mut rig), [(6, not_found)]);
}

#[test]
fn what_memory_does_not_have_is_read_in_pages_once_for_all() {
    let mut rig = Rig::new(true);
    for n in 0..1200 {
        rig.redis
            .event(&n.to_string(), if n % 400 == 7 { r#"{"rooms":["r"]}"# } else { r#"{"rooms":["x"]}"# });
    }
    rig.subscribe();
    rig.settle();
    rig.redis.event("live", ALL);
    rig.settle();
    rig.records();
    rig.redis.ran.clear();
    for token in 1..=50 {
        restore(&mut rig, token, if token % 2 == 0 { "1-1" } else { "1-900" });
    }
    restore(&mut rig, 51, "1-1200");
    rig.settle();
    let mut restored = restored(&mut rig);
    restored.sort_unstable();
    for (token, ids) in restored {
        let wanted = match token {
            51 => "1-1201",
            token if token % 2 == 0 => "1-8 1-408 1-808 1-1201",
            _ => "1-1201",
        };
        assert_eq!(ids, wanted, "{token}");
    }
    let pages = rig.redis.ran.iter().filter(|name| *name == "XRANGE").count();
    assert!(pages <= 8, "{pages}");
    // What is gone is gone, from memory too.
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().drain(..1200);
    rig.redis.event("last", ALL);
    rig.fx.now += Duration::from_millis(100);
    rig.settle();
    rig.records();
    restore(&mut rig, 1, "1-500");
    restore(&mut rig, 2, "1-1201");
    rig.settle();
    let not_found = "session or offset not found".to_owned();
    let gone = [(1, not_found), (2, "1-1202".to_owned())];
    let mut answers = self::restored(&mut rig);
    answers.sort_unstable();
    assert_eq!(answers, gone);
}

#[test]
fn a_session_waits_for_what_this_node_has_not_read() {
    let mut rig = Rig::reading(true);
    rig.redis.event("a", ALL);
    rig.settle();
    let blocked = std::mem::take(&mut rig.blocked);
    let seen_elsewhere = rig.redis.event("b", ALL);
    rig.redis.event("c", ALL);
    restore(&mut rig, 1, &seen_elsewhere.to_string());
    rig.settle();
    assert_eq!(restored(&mut rig), []);
    rig.blocked = blocked;
    rig.settle();
    assert_eq!(restored(&mut rig), [(1, "1-3".to_owned())]);
}

#[test]
fn sessions_are_kept_until_redis_has_them() {
    let mut rig = Rig::reading(true);
    rig.holds = true;
    rig.core.persist(1, b"k", SESSION, Duration::from_secs(1));
    rig.settle();
    assert!(!rig.core.is_flushed());
    rig.lose(|_| false);
    rig.settle();
    rig.fx.now += Duration::from_secs(1);
    rig.settle();
    assert_eq!(rig.redis.keys.get(&b"k"[..]).map(Vec::as_slice), Some(SESSION));
    assert!(rig.core.is_flushed());
}
