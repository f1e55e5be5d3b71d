//! Counts that Redis refuses, and those of members that do not publish.

use std::time::{Duration, Instant};

use super::schedule::IDLE_EVERY;
use crate::core::effects::{Effects, Kind};
use crate::core::member::{MemberSpec, SubscriptionMode};
use crate::core::tests::world::World;
use crate::core::{Ask, Config, Core};
use crate::transport::Incoming;
use crate::wire::Family;
use crate::wire::request::RequestType;

#[test]
fn what_redis_says_instead_of_a_count_is_told() {
    let mut world = World::new(Family::Classic);
    world.join(1);
    world.pass(Duration::from_secs(10), &|_| 2);
    let text = |world: &World, kind: Kind, part: usize| {
        let batch = &world.fx.batch;
        let record = batch.records.iter().find(|record| record.kind == kind as u8)?;
        Some(String::from_utf8_lossy(&batch.bytes[record.parts[part].clone()]).into_owned())
    };
    let ask = Ask {
        id: "R",
        kind: RequestType::AllRooms,
        body: b"q",
        timeout: Duration::from_secs(1),
        carried: false,
    };
    world.core.server_count(1, 7, &mut world.fx);
    world.core.request(1, &ask, &mut world.fx);
    world.core.release(1 << 20, &mut world.fx);
    for (token, _) in std::mem::take(&mut world.fx.counts) {
        world.core.incoming(Incoming::CountRefused { token, error: "NOPERM no" }, &mut world.fx);
    }
    assert_eq!(text(&world, Kind::CountRefused, 0).as_deref(), Some("NOPERM no"));
    let event = text(&world, Kind::Event, 0);
    assert_eq!(event.as_deref(), Some(r#"{"type":"refused","what":"count","error":"NOPERM no"}"#));
    world.fx.now += ask.timeout;
    world.core.tick(&mut world.fx);
    let outcome = text(&world, Kind::Answers, 1);
    assert_eq!(outcome.as_deref(), Some(r#"{"status":"timeout","expected":0,"refusal":"NOPERM no"}"#));
}

#[test]
fn one_that_does_not_publish_knows_for_whom_to_wait_after_an_outage() {
    let config = Config::of(Family::Classic);
    let (mut core, mut fx) = (Core::new(config, true), Effects::new(Instant::now()));
    let spec = MemberSpec {
        uid: "me".into(),
        nsp: "/".into(),
        prefix: "p".into(),
        custom_parser: false,
        specific_responses: false,
        mode: SubscriptionMode::Static,
        frames: true,
        stream: None,
        emitter: None,
        joins: Default::default(),
    };
    core.join(1, spec, &mut fx);
    core.incoming(Incoming::Up, &mut fx);
    for (subscriber, _, name) in std::mem::take(&mut fx.subscriptions) {
        core.incoming(Incoming::Subscribed { subscriber, kind: name.kind, name: &name.name }, &mut fx);
    }
    core.tick(&mut fx);
    core.release(1, &mut fx);
    let answer = |core: &mut Core, fx: &mut Effects, count: u64| {
        for (token, channels) in std::mem::take(&mut fx.counts) {
            let counts = vec![count; channels.len()];
            core.incoming(Incoming::Counted { token, counts: Some(&counts) }, fx);
        }
    };
    // Alone at first; then somebody joins.
    answer(&mut core, &mut fx, 1);
    fx.now += IDLE_EVERY;
    assert_eq!(core.deadline(), Some(fx.now));
    core.tick(&mut fx);
    core.release(1, &mut fx);
    assert_eq!(fx.counts.len(), 1);
    answer(&mut core, &mut fx, 2);
    core.incoming(Incoming::Down { reason: "gone", unanswered: 0, unwritten: 0 }, &mut fx);
    core.incoming(Incoming::Up, &mut fx);
    assert!(!core.messaging.publisher.flow.is_open(), "it waits for the other one");
}
