//! The names of subscriptions: 100,000 rooms are as many names, and each stands in memory once.

use std::sync::Arc;

use super::effects::Change;
use super::world::World;
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
    let (lane, change, name): (_, _, Subscription) = world.fx.subscriptions.pop().unwrap();
    assert_eq!(change, Change::Add);
    // Ours, the member's, what it waits for, and the routes'.
    assert_eq!(Arc::strong_count(&name.name), 4);
    let other = name.name.to_vec();
    world.core.incoming(Incoming::Subscribed { lane, kind: name.kind, name: &other }, &mut world.fx);
    assert_eq!(Arc::strong_count(&name.name), 3);
    let lost = Incoming::Unsubscribed { lane, kind: name.kind, name: &other, reason: "moved", silence: 0 };
    world.core.incoming(lost, &mut world.fx);
    assert_eq!(Arc::strong_count(&name.name), 4);
    world.core.incoming(Incoming::Subscribed { lane, kind: name.kind, name: &other }, &mut world.fx);
    world.core.incoming(Incoming::LaneDown { lane, reason: "gone" }, &mut world.fx);
    assert_eq!(Arc::strong_count(&name.name), 4);
    world.core.set_room(1, b"room", false);
    world.core.follow_rooms(&mut world.fx);
    let (_, change, removed) = world.fx.subscriptions.pop().unwrap();
    assert_eq!(change, Change::Remove);
    drop(removed);
    assert_eq!(Arc::strong_count(&name.name), 1, "nothing of it is left");
}
