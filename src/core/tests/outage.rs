//! Outages of links with many namespaces: what they cost Redis, and who gets what was published meanwhile.

use std::cell::Cell;
use std::time::Duration;

use super::world::World;
use crate::core::Ask;
use crate::transport::{Incoming, Trial};
use crate::wire::Family;
use crate::wire::request::RequestType;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_end_of_an_outage_asks_for_each_namespace_about_once() {
    let mut world = World::new(Family::Classic);
    world.join(10_000);
    world.pass(10 * SECOND, &|_| 2);
    for id in 1..=10_000 {
        world.emit(id);
    }
    world.pass(10 * SECOND, &|_| 2);
    world.down();
    for id in 1..=10_000 {
        world.emit(id);
    }
    world.forget();
    world.up();
    // The other server needs three seconds for its way back.
    let away = world.pass_until(3 * SECOND, &|_| 1, |world| !world.published.is_empty());
    assert_eq!(away, 3 * SECOND);
    let back = world.pass_until(SECOND, &|_| 2, |world| world.published.len() >= 10_000);
    // It was 2,360,000 names, 43 ms after the other one, when all were counted every 25 ms.
    assert!(back <= Duration::from_millis(100), "{back:?}");
    assert!(world.names <= 23_600, "{} names", world.names);
}

/// What goes out now, by the last character of each payload.
fn sent(world: &mut World) -> String {
    world.core.release(1 << 20, &mut world.fx);
    let ends = world.fx.publishes.iter().map(|(_, payload)| char::from(payload[payload.len() - 2]));
    let ends = ends.collect();
    world.fx.publishes.clear();
    ends
}

#[test]
fn what_redis_refuses_for_now_waits_in_order_and_one_message_goes_first() {
    let mut world = World::new(Family::Classic);
    world.join(1);
    world.pass(SECOND, &|_| 1);
    let say = |world: &mut World, text: &str| {
        let payload = format!("42/1,[\"{text}\"]");
        let emit = crate::core::Emit {
            payload: payload.as_bytes(),
            attachments: &[],
            room: None,
            opts: None,
            takes_room_channel: false,
        };
        world.core.broadcast(1, &emit, &mut world.fx);
    };
    for _ in 0..3 {
        say(&mut world, "x");
    }
    let mut returned = Vec::new();
    world.core.release(1 << 20, &mut world.fx);
    for (number, (channel, payload)) in (b'1'..).zip(world.fx.publishes.iter()) {
        let mut payload = payload.to_vec();
        let at = payload.len() - 2;
        payload[at] = number;
        returned.push((channel.to_vec(), payload));
    }
    world.fx.publishes.clear();
    assert_eq!(returned.len(), 3);
    for round in 0..2 {
        world.core.incoming(Incoming::Held { reason: "BUSY", trial: Trial::One }, &mut world.fx);
        let again = if round == 0 { &returned[..] } else { &returned[..1] };
        for (channel, payload) in again {
            world.core.incoming(Incoming::Returned { channel, payload }, &mut world.fx);
        }
        say(&mut world, "x");
        assert_eq!(sent(&mut world), "", "it waits");
        world.core.incoming(Incoming::Up, &mut world.fx);
        assert_eq!(sent(&mut world), "1");
        assert_eq!(sent(&mut world), "", "until that is answered");
    }
    world.core.incoming(Incoming::Published { receivers: 1 }, &mut world.fx);
    let rest = sent(&mut world);
    assert!(rest.starts_with("23") && rest.len() == 4, "{rest}");
    let stats = world.core.stats();
    assert_eq!((stats.refused, stats.dropped, stats.lost_in_flight), (0, 0, 0));
    assert_eq!((stats.outages, stats.backlog), (2, 0));
}

#[test]
fn what_a_node_does_not_answer_holds_up_nothing_for_the_others_after_a_refusal() {
    for trial in [Trial::Transport, Trial::Brief] {
        let mut world = World::new(Family::Sharded);
        world.join(1);
        world.pass(SECOND, &|_| 1);
        world.emit(1);
        world.emit(1);
        world.core.release(1 << 20, &mut world.fx);
        let of = |(channel, payload): (&[u8], &[u8])| (channel.to_vec(), payload.to_vec());
        let (channel, payload) = world.fx.publishes.iter().last().map(of).unwrap();
        let (channel, payload) = (&channel[..], &payload[..]);
        world.fx.publishes.clear();
        // The first is with a node that hangs, the second has come back from one that is busy.
        world.core.incoming(Incoming::Held { reason: "BUSY", trial }, &mut world.fx);
        world.core.incoming(Incoming::Returned { channel, payload }, &mut world.fx);
        world.core.incoming(Incoming::Up, &mut world.fx);
        world.emit(1);
        world.core.release(1 << 20, &mut world.fx);
        if trial == Trial::Brief {
            assert_eq!(world.fx.publishes.len(), 0);
            world.fx.now = world.core.deadline().unwrap().max(world.fx.now + SECOND);
            world.core.tick(&mut world.fx);
            world.core.release(1 << 20, &mut world.fx);
        }
        assert_eq!(world.fx.publishes.len(), 2, "{trial:?}");
    }
}

#[test]
fn many_namespaces_that_publish_are_counted_together() {
    for others in [1, 2] {
        let mut world = World::new(Family::Classic);
        world.join(1_000);
        world.pass(10 * SECOND, &|_| others);
        world.forget();
        // Each of a thousand namespaces publishes once a second.
        for _ in 0..4 {
            for id in 1..=1_000 {
                world.emit(id);
                world.pass(Duration::from_millis(1), &|_| others);
            }
        }
        assert!(world.counts <= 40, "{others}: {} counts", world.counts);
    }
}

#[test]
fn a_namespace_that_is_new_is_counted_at_once_beside_many_others() {
    let mut world = World::new(Family::Classic);
    world.join(10_000);
    // All have just been counted.
    world.pass(5 * SECOND + SECOND / 10, &|_| 2);
    world.join_one(20_000);
    world.pass(SECOND / 20, &|_| 2);
    assert_eq!(world.core.member(20_000).peers, 2);
}

#[test]
fn all_namespaces_are_waited_for() {
    let mut world = World::new(Family::Classic);
    world.join(1_000);
    world.pass(10 * SECOND, &|_| 3);
    world.down();
    world.emit(1);
    world.up();
    // Subscriptions of one server are missing, whichever.
    let missing = Cell::new((77, 900));
    let subscribers = |channel: &str| {
        let is = |id: u32| channel.ends_with(&format!("/{id}#"));
        if is(missing.get().0) || is(missing.get().1) { 2 } else { 3 }
    };
    world.forget();
    world.pass(SECOND, &subscribers);
    assert_eq!(world.published.len(), 0);
    missing.set((77, 0));
    world.pass(SECOND, &subscribers);
    assert_eq!(world.published.len(), 0);
    missing.set((0, 0));
    world.pass(SECOND / 5, &subscribers);
    assert_eq!(world.published.len(), 1);
}

/// A link with one namespace that has been alone for so long that it was counted, and a server that joins now.
fn with_newcomer(family: Family, hello: &[u8]) -> World {
    let mut world = World::new(family);
    world.join(1);
    world.pass(10 * SECOND, &|_| 1);
    world.emit(1);
    world.pass(SECOND, &|_| 1);
    world.hear(hello);
    world
}

const HELLOS: [(Family, &[u8]); 3] = [
    (Family::Classic, br#"{"uid":"newone","type":100}"#),
    (Family::Sharded, br#"{"type":2,"uid":"newone","nsp":"/1"}"#),
    (
        Family::Streams { channel_kind: crate::transport::ChannelKind::Global },
        b"\x83\xa4type\x02\xa3uid\xa6newone\xa3nsp\xa2/1",
    ),
];

#[test]
fn who_has_just_joined_is_waited_for_at_the_end_of_an_outage() {
    for (family, hello) in HELLOS {
        // Even if the outage begins before anything could be counted.
        let mut world = with_newcomer(family, hello);
        world.down();
        world.ask(1);
        world.forget();
        world.up();
        world.pass(2 * SECOND, &|_| 1);
        assert_eq!(world.published.len(), 0, "{family:?}: the other one is not back");
        world.pass(SECOND / 5, &|_| 2);
        assert_eq!(world.published.len(), 1, "{family:?}");
        world.pass(10 * SECOND, &|_| 2);
        assert_eq!(world.core.stats().early, 0, "{family:?}");
    }
}

#[test]
fn a_hello_is_for_one_namespace_and_not_for_its_sender() {
    let own: [(Family, &[u8]); 3] = [
        (Family::Classic, br#"{"uid":"myself","type":100}"#),
        (Family::Sharded, br#"{"type":2,"uid":"myself","nsp":"/1"}"#),
        (Family::Sharded, br#"{"type":2,"uid":"newone","nsp":"/2"}"#),
    ];
    for (family, hello) in own {
        let mut world = with_newcomer(family, hello);
        world.down();
        world.ask(1);
        world.forget();
        world.up();
        world.pass(Duration::from_millis(1), &|_| 1);
        assert_eq!(world.published.len(), 1, "it is alone");
    }
}

#[test]
fn a_member_says_hello_once_and_when_it_hears_the_others() {
    for (family, hello) in HELLOS {
        let mut world = World::new(family);
        world.down();
        world.join(1);
        world.pass(SECOND, &|_| 1);
        assert_eq!(world.published.len(), 0);
        world.up();
        world.confirm();
        world.pass(5 * SECOND, &|_| 1);
        let expected = String::from_utf8_lossy(hello).replace("newone", "myself");
        let said: Vec<&str> = world.published.iter().map(|(_, payload)| payload.as_str()).collect();
        assert_eq!(said, [expected]);
        world.down();
        world.up();
        world.confirm();
        world.pass(5 * SECOND, &|_| 1);
        assert_eq!(world.published.len(), 1);
    }
}

#[test]
fn whoever_says_hello_all_the_time_costs_redis_little() {
    let mut world = with_newcomer(Family::Classic, HELLOS[0].1);
    world.forget();
    let began = world.fx.now;
    for _ in 0..1000 {
        world.hear(HELLOS[0].1);
        world.pass(Duration::from_millis(1), &|_| 2);
    }
    let most = (world.fx.now - began).as_millis() / 20 + 1;
    assert!(world.counts as u128 <= most, "{} counts", world.counts);
}

#[test]
fn what_is_published_before_all_are_back_is_counted() {
    // Known before, and not back in time.
    let mut world = World::new(Family::Classic);
    world.join(2);
    world.pass(10 * SECOND, &|_| 2);
    world.down();
    for id in [1, 1, 2] {
        world.emit(id);
    }
    world.forget();
    world.up();
    let second_alone = |channel: &str| if channel.ends_with("/2#") { 1 } else { 2 };
    world.pass(5 * SECOND, &second_alone);
    assert_eq!(world.published.len(), 3);
    assert_eq!(world.core.stats().early, 1, "the one whose peer is missing");
    world.emit(2);
    world.pass(10 * SECOND, &second_alone);
    assert_eq!(world.core.stats().early, 1, "it is gone for good, as far as anyone can tell");
}

#[test]
fn what_is_published_before_unknown_ones_are_back_is_counted() {
    // Alone when last counted; a server of another package had joined since.
    let mut world = World::new(Family::Classic);
    world.join(1);
    world.pass(10 * SECOND, &|_| 1);
    world.down();
    world.emit(1);
    world.emit(1);
    world.up();
    world.pass(SECOND / 10, &|_| 1);
    assert_eq!((world.published.len(), world.core.stats().early), (3, 0), "with the hello");
    world.pass(SECOND, &|_| 2);
    assert_eq!(world.core.stats().early, 2);
    world.emit(1);
    world.pass(10 * SECOND, &|_| 2);
    assert_eq!(world.core.stats().early, 2);
    // The same as one that joins for the first time, which says so.
    world.down();
    world.emit(1);
    world.up();
    world.pass(SECOND / 5, &|_| 2);
    world.hear(HELLOS[0].1);
    world.pass(10 * SECOND, &|_| 3);
    assert_eq!(world.core.stats().early, 2);
}

#[test]
fn requests_that_are_out_of_time_do_not_wait_for_redis() {
    let mut world = World::new(Family::Classic);
    world.join(1);
    world.pass(SECOND, &|_| 2);
    world.down();
    for n in 0..10_000 {
        let (id, kind) = (format!("{n}"), RequestType::AllRooms);
        let ask = Ask { id: &id, kind, body: b"{}", timeout: SECOND, carried: false };
        world.core.request(1, &ask, &mut world.fx);
        world.pass(Duration::from_millis(1), &|_| 2);
    }
    assert!(world.core.messaging.census.len() <= 3 * 1000 + 1, "{}", world.core.messaging.census.len());
}

#[test]
fn what_comes_back_to_a_link_without_peers_goes_out_again_without_a_count() {
    let mut world = World::new(Family::Classic);
    world.join(1);
    world.pass(10 * SECOND, &|_| 1);
    world.forget();
    world.core.incoming(Incoming::Returned { channel: b"p-request#/1#", payload: b"x" }, &mut world.fx);
    world.pass(SECOND / 10, &|_| 1);
    assert_eq!(world.published.len(), 1);
    // Nor if those who are waited for leave.
    world.pass(10 * SECOND, &|_| 2);
    world.down();
    world.ask(1);
    world.up();
    world.core.leave(1, &mut world.fx);
    world.forget();
    world.pass(SECOND / 10, &|_| 1);
    assert_eq!(world.published.len(), 1);
}

#[test]
fn what_users_clients_give_back_waits_until_they_say_who_listens_though_no_peers_are_known() {
    let mut world = World::by_clients(Family::Sharded);
    world.join(1);
    world.pass(10 * SECOND, &|_| 1);
    let back = Incoming::Returned { channel: b"p#/1#room#", payload: b"x" };
    world.core.incoming(back, &mut world.fx);
    let mut asked = 0;
    for _ in 0..2 {
        assert_eq!(sent_while_asked(&mut world), 0);
        let (token, channels) = world.fx.counts.pop().expect("the clients are asked");
        assert_eq!(channels.len(), 0, "for no number");
        asked += 1;
        // Something more has come back meanwhile: this answer says nothing of it.
        if asked == 2 {
            let back = Incoming::Returned { channel: b"p#/1#room#", payload: b"y" };
            world.core.incoming(back, &mut world.fx);
        }
        world.core.incoming(Incoming::Counted { token, counts: Some(&[]) }, &mut world.fx);
    }
    assert_eq!(sent_while_asked(&mut world), 0);
    world.forget();
    world.pass(SECOND, &|_| 1);
    assert_eq!(world.published.len(), 2);
}

#[test]
fn what_waits_for_users_clients_goes_out_after_an_outage_when_they_say_who_listens() {
    let mut world = World::by_clients(Family::Sharded);
    world.join(1);
    world.pass(10 * SECOND, &|_| 1);
    world.down();
    world.ask(1);
    world.core.release(1 << 20, &mut world.fx);
    world.up();
    assert_eq!(sent_while_asked(&mut world), 0);
    assert_eq!(world.fx.counts.len(), 1);
}

/// Time passes until something is counted, or goes out; returns how many messages went out.
fn sent_while_asked(world: &mut World) -> usize {
    loop {
        world.core.release(1 << 20, &mut world.fx);
        if !(world.fx.counts.is_empty() && world.fx.publishes.is_empty()) {
            return world.fx.publishes.len();
        }
        world.fx.now = world.core.deadline().expect("something is waited for").max(world.fx.now);
        world.core.tick(&mut world.fx);
    }
}
