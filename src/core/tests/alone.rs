//! Requests of other members that need none of this node's sockets: they are dealt with off the JS thread.

use std::time::Duration;

use super::world::World;
use crate::wire::Family;

const MOMENT: Duration = Duration::from_millis(10);

/// A link with one member whose sockets are in room `here`.
fn world(family: Family) -> World {
    let mut world = World::new(family);
    if family == Family::Classic {
        world.join(1);
    } else {
        world.join_dynamic(1);
    }
    world.core.set_room(1, b"here", true);
    world.core.interest(1).unwrap().set_occupied(true);
    world.pass(MOMENT, &|_| 2);
    world.forget();
    world
}

/// What the node answers to a request, without JS.
fn answer(world: &mut World, request: &str) -> Vec<String> {
    world.forget();
    world.hear(request.as_bytes());
    world.pass(MOMENT, &|_| 2);
    world.published.iter().map(|(channel, payload)| format!("{channel} {payload}")).collect()
}

/// Whether JS has requests to work off.
fn waits_for_js(world: &World) -> bool {
    world.core.member(1).wants_room(b"any")
}

#[test]
fn of_the_classic_family() {
    let target = r#""opts":{"rooms":["away",7],"except":[]}"#;
    let response = |answer: &str| vec![r#"p-response#/1# {"requestId":"R","#.to_owned() + answer];
    let table = [
        (format!(r#"{{"uid":"U","requestId":"R","type":5,{target}}}"#), response(r#""sockets":[]}"#)),
        (r#"{"uid":"U","requestId":"R","type":0,"rooms":["away"]}"#.into(), response(r#""sockets":[]}"#)),
        (r#"{"uid":"U","requestId":"R","type":1}"#.into(), response(r#""rooms":["here"]}"#)),
        (format!(r#"{{"uid":"U","type":2,{target},"rooms":["x"]}}"#), vec![]),
        (format!(r#"{{"uid":"U","type":3,{target},"rooms":["x"]}}"#), vec![]),
        (format!(r#"{{"uid":"U","type":4,{target},"close":true}}"#), vec![]),
    ];
    let mut world = world(Family::Classic);
    for (request, expected) in &table {
        assert_eq!(&answer(&mut world, request), expected, "{request}");
        assert!(!waits_for_js(&world), "{request}");
    }
}

#[test]
fn but_not_what_concerns_sockets_of_this_node() {
    for request in [
        r#"{"uid":"U","requestId":"R","type":5,"opts":{"rooms":["away","here"],"except":[]}}"#,
        r#"{"uid":"U","requestId":"R","type":5,"opts":{"rooms":[],"except":[]}}"#,
        r#"{"uid":"U","requestId":"R","type":0,"rooms":["here"]}"#,
        r#"{"uid":"U","requestId":"R","type":0}"#,
        r#"{"uid":"U","type":2,"opts":{"rooms":["here"],"except":[]},"rooms":["x"]}"#,
        r#"{"uid":"U","type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
        r#"{"uid":"U","requestId":"R","type":2,"sid":"away","room":"x"}"#,
        r#"{"uid":"U","type":6,"data":["e"]}"#,
    ] {
        let mut world = world(Family::Classic);
        assert_eq!(answer(&mut world, request), [""; 0], "{request}");
        assert!(waits_for_js(&world), "{request}");
    }
}

#[test]
fn but_not_while_js_may_change_the_rooms_or_knows_more_of_them() {
    let all_rooms = r#"{"uid":"U","requestId":"R","type":1}"#;
    let mut world = world(Family::Classic);
    world.core.interest(1).unwrap().set_odd_room(true);
    assert_eq!(answer(&mut world, all_rooms), [""; 0], "a room is a number");
    world.core.interest(1).unwrap().settle(1);
    world.core.interest(1).unwrap().set_odd_room(false);
    assert_eq!(answer(&mut world, all_rooms).len(), 1);
    // One that JS works on.
    answer(&mut world, r#"{"uid":"U","type":6,"data":["e"]}"#);
    for request in [all_rooms, r#"{"uid":"U","requestId":"R","type":0,"rooms":["away"]}"#] {
        assert_eq!(answer(&mut world, request), [""; 0], "{request}");
    }
}

#[test]
fn of_the_sharded_family_where_joined_rooms_are_covered_all_the_same() {
    let mut world = world(Family::Sharded);
    let request = |kind: u8, data: &str| {
        format!(
            r#"{{"type":{kind},"data":{{"opts":{{"rooms":["away"],"except":[]}},{data}}},"uid":"U","nsp":"/1"}}"#
        )
    };
    let takes_its_channel =
        |world: &World| world.core.member(1).routing.takes_room_channel(b"x", world.fx.now);
    for (kind, data) in [(5, r#""rooms":["x"]"#), (6, r#""close":true"#)] {
        assert_eq!(answer(&mut world, &request(kind, data)), [""; 0]);
        assert!(!waits_for_js(&world) && takes_its_channel(&world));
    }
    assert_eq!(answer(&mut world, &request(4, r#""rooms":["x",1]"#)), [""; 0]);
    assert!(!waits_for_js(&world) && !takes_its_channel(&world));
    assert!(!world.core.member(1).routing.takes_room_channel(b"1", world.fx.now));
    let fetched = answer(&mut world, &request(7, r#""requestId":"R""#));
    assert_eq!(
        fetched,
        [r#"p#/1#U# {"type":8,"data":{"requestId":"R","sockets":[]},"uid":"myself","nsp":"/1"}"#]
    );
}
