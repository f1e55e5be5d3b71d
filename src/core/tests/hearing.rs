//! Acknowledged broadcasts of members that are not subscribed yet.

use std::time::Duration;

use super::world::World;
use crate::core::Ask;
use crate::core::publisher::flow::HEAR_BOUND;
use crate::transport::Incoming;
use crate::wire::Family;
use crate::wire::request::RequestType;

const SECOND: Duration = Duration::from_secs(1);
const FAMILIES: [Family; 2] = [Family::Classic, Family::Sharded];

/// A link with one member whose subscriptions Redis has not confirmed.
fn unsubscribed(family: Family) -> World {
    let mut world = World::new(family);
    world.confirms = false;
    world.join(1);
    world
}

/// Asks the sockets of other servers for acknowledgements.
fn ask(world: &mut World, id: &str) {
    let kind = RequestType::Broadcast;
    let ask = Ask { id, kind, body: id.as_bytes(), timeout: 5 * SECOND, carried: false };
    world.core.request(1, &ask, &mut world.fx);
}

fn pass(world: &mut World, time: Duration) {
    world.pass(time, &|_| 2);
}

/// What has gone out of `ask`, and how many others.
fn sent(world: &World) -> (Vec<&str>, usize) {
    let (asked, others): (Vec<&str>, Vec<&str>) =
        world.published.iter().map(|(_, payload)| payload.as_str()).partition(|text| text.starts_with("ask"));
    (asked, others.len())
}

#[test]
fn what_is_asked_goes_out_in_its_order_when_its_answers_are_heard() {
    for family in FAMILIES {
        let mut world = unsubscribed(family);
        world.emit(1);
        pass(&mut world, SECOND / 100);
        assert_eq!(sent(&world), (vec![], 1), "{family:?}: what asks for nothing does not wait");
        ask(&mut world, "ask 1");
        world.emit(1);
        pass(&mut world, SECOND / 2);
        assert_eq!(sent(&world), (vec![], 1), "{family:?}: nobody would hear the acknowledgements");
        world.confirm();
        pass(&mut world, SECOND / 100);
        assert_eq!(world.published[1].1, "ask 1", "{family:?}");
        assert!(world.core.is_flushed(), "{family:?}");
        world.forget();
        ask(&mut world, "ask 2");
        pass(&mut world, SECOND / 100);
        assert_eq!(sent(&world).0, ["ask 2"], "{family:?}");
    }
}

#[test]
fn what_is_asked_before_redis_is_there_waits_too() {
    for family in FAMILIES {
        let mut world = unsubscribed(family);
        world.down();
        ask(&mut world, "ask");
        pass(&mut world, 10 * SECOND);
        world.up();
        pass(&mut world, SECOND / 2);
        assert_eq!(sent(&world).0, [""; 0], "{family:?}");
        world.confirm();
        pass(&mut world, SECOND / 100);
        assert_eq!(sent(&world).0, ["ask"], "{family:?}");
    }
}

#[test]
fn a_member_that_redis_refuses_is_waited_for_once_until_it_takes_it() {
    for family in FAMILIES {
        let mut world = unsubscribed(family);
        ask(&mut world, "ask 1");
        pass(&mut world, HEAR_BOUND + SECOND / 100);
        assert_eq!(sent(&world).0, ["ask 1"], "{family:?}");
        ask(&mut world, "ask 2");
        pass(&mut world, SECOND / 100);
        assert_eq!(sent(&world).0, ["ask 1", "ask 2"], "{family:?}: nobody waits a second time");
        world.confirm();
        let lost = Incoming::SubscriberDown {
            subscriber: world.core.member(1).subscriber,
            reason: "gone",
            silence: 0,
        };
        world.core.incoming(lost, &mut world.fx);
        ask(&mut world, "ask 3");
        pass(&mut world, HEAR_BOUND / 2);
        assert_eq!(sent(&world).0, ["ask 1", "ask 2"], "{family:?}: it has been subscribed since");
    }
}

#[test]
fn one_that_leaves_is_not_waited_for() {
    for family in FAMILIES {
        let mut world = unsubscribed(family);
        ask(&mut world, "ask");
        world.core.leave(1, &mut world.fx);
        pass(&mut world, SECOND / 100);
        assert_eq!(sent(&world).0, ["ask"], "{family:?}");
    }
}

#[test]
fn the_requests_of_all_are_counted_when_the_wait_is_over() {
    let mut world = World::new(Family::Classic);
    world.join(1);
    pass(&mut world, SECOND);
    world.confirms = false;
    world.join_one(2);
    let kind = RequestType::Broadcast;
    let broadcast = Ask { id: "b", kind, body: b"ask", timeout: 5 * SECOND, carried: false };
    world.core.request(2, &broadcast, &mut world.fx);
    let fetch =
        Ask { id: "f", kind: RequestType::AllRooms, body: b"rooms", timeout: 5 * SECOND, carried: false };
    world.core.request(1, &fetch, &mut world.fx);
    pass(&mut world, SECOND / 2);
    assert!(!world.published.iter().any(|(_, payload)| payload == "rooms"));
    world.confirm();
    pass(&mut world, SECOND / 100);
    assert!(world.published.iter().any(|(_, payload)| payload == "rooms"));
}
