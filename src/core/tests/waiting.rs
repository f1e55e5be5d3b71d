//! Calls that wait until Redis has confirmed what a member has come to listen to.

use super::world::World;
use crate::core::effects::{Change, Kind};
use crate::transport::Incoming;
use crate::wire::Family;

/// Returns the tokens of the calls that were answered since the last time.
fn answered(world: &mut World) -> Vec<u32> {
    let batch = std::mem::take(&mut world.fx.batch);
    batch
        .records
        .iter()
        .filter(|record| record.kind == Kind::Count as u8)
        .map(|record| record.token)
        .collect()
}

/// Redis confirms all that was asked for since the last time.
fn confirm_asked(world: &mut World) {
    for (subscriber, change, name) in std::mem::take(&mut world.fx.subscriptions) {
        if change == Change::Add {
            let (kind, name) = (name.kind, &name.name);
            world.core.incoming(Incoming::Subscribed { subscriber, kind, name }, &mut world.fx);
        }
    }
}

fn world_of(members: u32) -> World {
    let mut world = World::new(Family::Sharded);
    for id in 1..=members {
        world.join_dynamic(id);
    }
    confirm_asked(&mut world);
    world.fx.batch.clear();
    world
}

#[test]
fn a_call_waits_for_its_own_members_rooms_alone() {
    let mut world = world_of(2);
    for (id, room) in [(1, b"a"), (2, b"b")] {
        world.core.set_room(id, room, true);
        world.core.when_subscribed(id, id, &mut world.fx);
    }
    world.core.when_subscribed(9, 9, &mut world.fx);
    assert_eq!(answered(&mut world), [9], "a member that is not there has nothing to wait for");
    confirm_asked(&mut world);
    assert_eq!(answered(&mut world), [1, 2]);
}

#[test]
fn a_room_that_is_left_again_is_not_waited_for() {
    let mut world = world_of(1);
    world.core.set_room(1, b"room", true);
    world.core.when_subscribed(1, 1, &mut world.fx);
    assert!(answered(&mut world).is_empty());
    world.core.set_room(1, b"room", false);
    world.core.follow_rooms(&mut world.fx);
    assert_eq!(answered(&mut world), [1]);
}

#[test]
fn a_call_that_gives_up_is_not_answered_and_a_member_that_leaves_answers_all() {
    let mut world = world_of(1);
    world.core.set_room(1, b"room", true);
    for token in [1, 2, 3] {
        world.core.when_subscribed(1, token, &mut world.fx);
    }
    world.core.give_up_waiting(1, 2);
    world.core.leave(1, &mut world.fx);
    assert_eq!(answered(&mut world), [1, 3]);
}
