//! Nodes that are silent, and nodes that have changed their role.

use tokio::time::{Duration, Instant};

use super::*;
use crate::transport::redis::connect::Role;
use crate::transport::redis::connection::PERIOD;
use crate::transport::redis::mock::{Client, MockPeer, block_on};

const MASTER: &str = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const SLAVE: &str = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";

/// Accepts a connection that asks for the role.
async fn accept(rig: &mut Rig, role: &str) -> Client {
    let (transport, events) = (&mut rig.transport, &mut rig.events);
    let peer = &mut rig.peer;
    let accepting = async {
        let mut client = peer.accept_raw().await;
        client.expect(&["PING"]).await;
        client.expect(&["ROLE"]).await;
        client.send(format!("+PONG\r\n{role}").as_bytes()).await;
        client
    };
    crate::transport::redis::mock::drive(accepting, async || {
        transport.incoming(&mut |incoming| events.push_back(Event::of(incoming))).await;
    })
    .await
}

async fn picky() -> Rig {
    let peer = MockPeer::tcp().await;
    let settings = Settings { role: Role::NotReplica, ..Settings::default() };
    let mut rig = Rig::over(settings, peer);
    rig.transport.open();
    rig
}

#[test]
fn each_connection_asks_once_a_period_and_lives_on_any_answer() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        tokio::time::pause();
        for answers in [["+PONG\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"], ["-NOPERM no\r\n", "-NOPERM no\r\n"]]
        {
            let since = Instant::now();
            rig.with_peer(async {
                commands.expect(&["PING"]).await;
                subscriber.expect(&["PING"]).await;
                commands.send(answers[0].as_bytes()).await;
                subscriber.send(answers[1].as_bytes()).await;
            })
            .await;
            assert!(since.elapsed() <= PERIOD + Duration::from_millis(2), "{:?}", since.elapsed());
        }
        subscriber.send(&push(&[b"message", b"c", b"1"])).await;
        let expected = Event::Message(0, None, "c".to_owned(), b"1".to_vec());
        assert_eq!(rig.next().await, expected);
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn a_node_that_hangs_is_left_within_two_periods() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        tokio::time::pause();
        let since = Instant::now();
        rig.transport.publish(b"c", b"1");
        let (mut down, mut deaf) = (false, false);
        while !(down && deaf) {
            match rig.next().await {
                Event::Down(reason, 1, 0) => {
                    assert!(reason.contains("has not answered for 10 s"), "{reason}");
                    down = true;
                }
                Event::SubscriberDown(0, reason) => {
                    assert!(reason.contains("has not answered for 10 s"), "{reason}");
                    deaf = true;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(since.elapsed() <= 2 * PERIOD + Duration::from_millis(5), "{:?}", since.elapsed());
        rig.with_peer(async {
            commands.closed().await;
            subscriber.closed().await;
        })
        .await;
        let _commands = rig.accept().await;
    });
}

#[test]
fn a_subscriber_that_hung_says_for_how_long_it_has_brought_nothing() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        tokio::time::pause();
        subscriber.send(&push(&[b"message", b"c", b"1"])).await;
        let expected = Event::Message(0, None, "c".to_owned(), b"1".to_vec());
        assert_eq!(rig.next().await, expected);
        let since = Instant::now();
        let mut said = None;
        while said.is_none() {
            let sink = &mut |incoming: Incoming<'_>| {
                if let Incoming::SubscriberDown { silence, .. } = incoming {
                    said = Some(silence);
                }
            };
            rig.transport.incoming(sink).await;
        }
        let passed = since.elapsed();
        assert!(passed >= PERIOD, "{passed:?}");
        let silence = Duration::from_millis(said.unwrap());
        assert!(silence + Duration::from_millis(1) >= passed, "{silence:?} of {passed:?}");
        assert!(silence <= passed + Duration::from_millis(5), "{silence:?} of {passed:?}");
    });
}

#[test]
fn a_subscriber_that_is_not_read_is_not_given_up() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.pause(true);
        tokio::time::pause();
        rig.with_peer(async {
            for _ in 0..5 {
                commands.expect(&["PING"]).await;
                commands.send(b"+PONG\r\n").await;
            }
        })
        .await;
        rig.transport.pause(false);
        rig.with_peer(async {
            subscriber.expect(&["PING"]).await;
            subscriber.send(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
            commands.expect(&["PING"]).await;
            commands.send(b"+PONG\r\n").await;
        })
        .await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn a_node_that_is_asked_late_is_not_given_up() {
    block_on(async {
        let (mut rig, mut commands) = Rig::up(MockPeer::tcp().await).await;
        tokio::time::pause();
        rig.with_peer(commands.expect(&["PING"])).await;
        commands.send(b"+PONG\r\n").await;
        // Nobody polls for an hour, as in a process that is stopped.
        tokio::time::advance(Duration::from_secs(3600)).await;
        rig.with_peer(commands.expect(&["PING"])).await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn a_replica_is_refused() {
    block_on(async {
        let mut rig = picky().await;
        let _client = accept(&mut rig, SLAVE).await;
        assert_eq!(rig.next().await, Event::Replica);
        let Event::Down(reason, 0, 0) = rig.next().await else { panic!("a replica is in use") };
        assert!(reason.contains("is a replica"), "{reason}");
        let _client = accept(&mut rig, MASTER).await;
        assert_eq!(rig.next().await, Event::Up);
    });
}

#[test]
fn a_node_that_does_not_say_what_it_is_is_taken() {
    block_on(async {
        for answer in ["-NOPERM no\r\n", "-ERR unknown command 'ROLE'\r\n"] {
            let mut rig = picky().await;
            let mut client = accept(&mut rig, answer).await;
            assert_eq!(rig.next().await, Event::Up);
            tokio::time::pause();
            // It is not asked again.
            rig.with_peer(client.expect(&["PING"])).await;
            tokio::time::resume();
        }
    });
}

#[test]
fn a_sentinel_is_no_redis() {
    block_on(async {
        let mut rig = picky().await;
        let _client = accept(&mut rig, "*2\r\n$8\r\nsentinel\r\n*1\r\n$1\r\nm\r\n").await;
        let Event::Down(reason, 0, 0) = rig.next().await else { panic!("a sentinel is in use") };
        assert!(reason.contains("is a sentinel"), "{reason}");
    });
}

#[test]
fn a_master_that_becomes_a_replica_is_left_by_all() {
    block_on(async {
        let mut rig = picky().await;
        let mut commands = accept(&mut rig, MASTER).await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.subscribe(0, vec![channel("c")]);
        let mut subscriber = accept(&mut rig, MASTER).await;
        rig.serve(&mut subscriber, 1).await;
        tokio::time::pause();
        rig.with_peer(async {
            commands.expect(&["ROLE"]).await;
            commands.send(MASTER.as_bytes()).await;
            subscriber.expect(&["PING"]).await;
            subscriber.send(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
            commands.expect(&["ROLE"]).await;
            commands.send(SLAVE.as_bytes()).await;
        })
        .await;
        assert_eq!(rig.next().await, Event::Replica);
        is_down(&rig.next().await, 0, 0);
        let Event::SubscriberDown(0, reason) = rig.next().await else { panic!("the subscriber stays") };
        assert!(reason.contains("is a replica"), "{reason}");
        rig.with_peer(async {
            commands.closed().await;
            subscriber.closed().await;
        })
        .await;
    });
}

#[test]
fn subscribers_follow_when_the_address_leads_elsewhere() {
    block_on(async {
        let (before, after) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let Address::Tcp { port, .. } = before.address() else { panic!() };
        let mut rig = Rig::with(before);
        rig.transport.open();
        let commands = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.subscribe(0, vec![channel("c")]);
        let mut subscriber = rig.accept().await;
        rig.serve(&mut subscriber, 1).await;
        // From now on the name leads to another node. The command connection gets there first.
        rig.transport.redirect_for_tests(after.address());
        rig.peer = after;
        drop(commands);
        is_down(&rig.next().await, 0, 0);
        let _commands = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        let Event::SubscriberDown(0, reason) = rig.next().await else {
            panic!("the subscriber stays at {port}")
        };
        assert!(reason.contains("leads to"), "{reason}");
        rig.with_peer(subscriber.closed()).await;
    });
}
