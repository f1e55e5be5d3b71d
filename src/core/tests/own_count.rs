//! Counts that do not find the member that asks.

use std::time::Duration;

use super::world::World;
use crate::core::Ask;
use crate::wire::Family;
use crate::wire::request::RequestType;

const SECOND: Duration = Duration::from_secs(1);

/// Asks the others for their rooms.
fn ask(world: &mut World, id: &str) {
    let ask =
        Ask { id, kind: RequestType::AllRooms, body: id.as_bytes(), timeout: 5 * SECOND, carried: false };
    world.core.request(1, &ask, &mut world.fx);
}

fn pending(world: &World) -> u64 {
    world.core.stats().pending_requests
}

/// A link with one member that was counted for a while.
fn counted(family: Family, subscribers: u64) -> World {
    let mut world = World::new(family);
    world.join(1);
    world.pass(10 * SECOND, &|_| subscribers);
    world.forget();
    world
}

#[test]
fn a_request_is_answered_at_once_where_the_counts_never_find_its_own_member() {
    for family in [Family::Classic, Family::Sharded] {
        let mut world = counted(family, 0);
        ask(&mut world, "1");
        world.pass(Duration::from_millis(10), &|_| 0);
        assert_eq!(pending(&world), 0, "{family:?}: the member answers for itself");
        assert_eq!(world.published.len(), 0);
    }
}

#[test]
fn a_request_waits_until_those_who_have_lost_their_subscriptions_are_counted_again() {
    let mut world = counted(Family::Classic, 3);
    ask(&mut world, "1");
    // A node that has just become the primary, to which the clients are on their way.
    world.pass(2 * SECOND + SECOND / 5, &|_| 0);
    assert_eq!((pending(&world), world.published.len()), (1, 0));
    world.pass(SECOND / 2, &|_| 3);
    assert_eq!(pending(&world), 1, "two servers answer");
    assert_eq!(world.published.len(), 1);
}

#[test]
fn that_nobody_is_there_is_believed_in_the_end_and_from_then_on_at_once() {
    let mut world = counted(Family::Classic, 1);
    ask(&mut world, "1");
    world.pass(2 * SECOND, &|_| 0);
    assert_eq!(pending(&world), 1);
    world.pass(SECOND, &|_| 0);
    assert_eq!(pending(&world), 0);
    ask(&mut world, "2");
    world.pass(Duration::from_millis(10), &|_| 0);
    assert_eq!(pending(&world), 0);
    // Until it is found again.
    world.pass(6 * SECOND, &|_| 1);
    ask(&mut world, "3");
    world.pass(Duration::from_millis(10), &|_| 0);
    assert_eq!(pending(&world), 1);
}
