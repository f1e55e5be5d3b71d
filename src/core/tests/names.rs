//! Names of rooms: 100,000 of them stand in memory once each, and those on the wire may be anything.

use std::sync::Arc;

use super::world::World;
use crate::core::effects::Change;
use crate::transport::{Incoming, Subscription};
use crate::wire::Family;

#[test]
fn a_name_is_held_once_by_all_that_know_it() {
    let mut world = World::new(Family::Sharded);
    world.join_dynamic(1);
    world.confirm();
    world.fx.subscriptions.clear();
    world.core.set_room(1, b"room", true);
    world.core.follow_rooms(&mut world.fx);
    let (subscriber, change, name): (_, _, Subscription) = world.fx.subscriptions.pop().unwrap();
    assert_eq!(change, Change::Add);
    // Ours, the member's, what it waits for, and the routes'.
    assert_eq!(Arc::strong_count(&name.name), 4);
    let other = name.name.to_vec();
    world.core.incoming(Incoming::Subscribed { subscriber, kind: name.kind, name: &other }, &mut world.fx);
    assert_eq!(Arc::strong_count(&name.name), 3);
    let lost =
        Incoming::Unsubscribed { subscriber, kind: name.kind, name: &other, reason: "moved", silence: 0 };
    world.core.incoming(lost, &mut world.fx);
    assert_eq!(Arc::strong_count(&name.name), 4);
    world.core.incoming(Incoming::Subscribed { subscriber, kind: name.kind, name: &other }, &mut world.fx);
    world.core.incoming(Incoming::SubscriberDown { subscriber, reason: "gone", silence: 0 }, &mut world.fx);
    assert_eq!(Arc::strong_count(&name.name), 4);
    world.core.set_room(1, b"room", false);
    world.core.follow_rooms(&mut world.fx);
    let (_, change, removed) = world.fx.subscriptions.pop().unwrap();
    assert_eq!(change, Change::Remove);
    drop(removed);
    assert_eq!(Arc::strong_count(&name.name), 1, "nothing of it is left");
}

#[test]
fn a_message_to_a_room_whose_name_is_no_text_is_malformed_whoever_is_here() {
    for is_here in [false, true] {
        let mut world = World::new(Family::Sharded);
        world.join_dynamic(1);
        world.confirm();
        if is_here {
            world.core.set_room(1, b"here", true);
        }
        let message = |room: &[u8]| {
            let before = br#"{"type":3,"data":{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[""#;
            let after = br#"","here"],"except":[],"flags":{}}},"uid":"U","nsp":"/1"}"#;
            [&before[..], room, after].concat()
        };
        world.hear(&message(b"elsewhere"));
        let before = world.core.stats();
        assert_eq!(
            (before.malformed, before.delivered, before.ignored),
            (0, is_here.into(), (!is_here).into())
        );
        world.hear(&message(b"\xff"));
        let after = world.core.stats();
        assert_eq!(after.malformed, 1, "here: {is_here}");
        assert_eq!((after.delivered, after.ignored), (before.delivered, before.ignored));
    }
}
