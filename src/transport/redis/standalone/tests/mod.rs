//! Scripts against a peer that plays Redis, over the whole transport.

mod commands;
mod hold;
mod liveness;
mod sentinels;
mod tls;

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::transport::SubscriptionKind;
use crate::transport::redis::connect::{Address, Settings};
use crate::transport::redis::mock::{Client, MockPeer, block_on, drive};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Up,
    Replica,
    Down(String, u64, u64),
    Subscribed(Lane, bool, String),
    LaneDown(Lane, String),
    Unsubscribed(Lane, String),
    SubscribeRefused(Lane, String),
    Message(Lane, Option<String>, String, Vec<u8>),
    Published(u64),
    PublishRefused(String),
    Held(String),
    Returned(String, Vec<u8>),
    CountRefused(u64, String),
    Counted(u64, Option<Vec<u64>>),
    Replied(u64, String),
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Event {
    fn of(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Up => Self::Up,
            Incoming::Replica => Self::Replica,
            Incoming::Down { reason, unanswered, unwritten } => {
                Self::Down(reason.to_owned(), unanswered, unwritten)
            }
            Incoming::Subscribed { lane, kind, name } => {
                Self::Subscribed(lane, kind == SubscriptionKind::Pattern, text(name))
            }
            Incoming::LaneDown { lane, reason, .. } => Self::LaneDown(lane, reason.to_owned()),
            Incoming::SubscribeRefused { lane, error } => Self::SubscribeRefused(lane, error.to_owned()),
            Incoming::Message { lane, kind, name, channel, payload } => {
                let pattern = (kind == SubscriptionKind::Pattern).then(|| text(name));
                Self::Message(lane, pattern, text(channel), payload.to_vec())
            }
            Incoming::Published { receivers } => Self::Published(receivers),
            Incoming::PublishRefused { error } => Self::PublishRefused(error.to_owned()),
            Incoming::Unsubscribed { lane, name, .. } => Self::Unsubscribed(lane, text(name)),
            Incoming::Held { reason, .. } => Self::Held(reason.to_owned()),
            Incoming::Returned { channel, payload } => Self::Returned(text(channel), payload.to_vec()),
            Incoming::Settling { .. } => panic!("nothing moves at a standalone Redis"),
            Incoming::CountRefused { token, error } => Self::CountRefused(token, error.to_owned()),
            Incoming::Counted { token, counts } => Self::Counted(token, counts.map(<[u64]>::to_vec)),
            Incoming::Replied { token, outcome } => Self::Replied(token, format!("{outcome:?}")),
        }
    }
}

/// A transport and the peer it speaks to.
struct Rig {
    transport: RedisTransport,
    events: VecDeque<Event>,
    peer: MockPeer,
}

impl Rig {
    async fn tcp() -> Self {
        Self::with(MockPeer::tcp().await)
    }

    fn with(peer: MockPeer) -> Self {
        Self::over(Settings::default(), peer)
    }

    fn over(settings: Settings, peer: MockPeer) -> Self {
        Self::to(Target::new(peer.address(), settings), peer)
    }

    fn to(target: Target, peer: MockPeer) -> Self {
        Self { transport: RedisTransport::new(target, Space::Global), events: VecDeque::new(), peer }
    }

    /// With the command connection up.
    async fn up(peer: MockPeer) -> (Self, Client) {
        let mut rig = Self::with(peer);
        rig.transport.open();
        let client = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        (rig, client)
    }

    /// With one lane up besides, and `names` confirmed on it.
    async fn subscribed(names: &[Subscription]) -> (Self, Client, Client) {
        let (mut rig, commands) = Self::up(MockPeer::tcp().await).await;
        rig.transport.subscribe(0, names.to_vec());
        let mut lane = rig.accept().await;
        rig.serve(&mut lane, names.len()).await;
        (rig, commands, lane)
    }

    async fn accept(&mut self) -> Client {
        let (transport, events) = (&mut self.transport, &mut self.events);
        drive(self.peer.accept(), async || {
            transport.incoming(&mut |incoming| events.push_back(Event::of(incoming))).await;
        })
        .await
    }

    /// Runs the peer's part with the transport polled beside it.
    async fn with_peer<T>(&mut self, work: impl Future<Output = T>) -> T {
        let (transport, events) = (&mut self.transport, &mut self.events);
        drive(work, async || {
            transport.incoming(&mut |incoming| events.push_back(Event::of(incoming))).await;
        })
        .await
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let events = &mut self.events;
            self.transport.incoming(&mut |incoming| events.push_back(Event::of(incoming))).await;
        }
    }

    /// Confirms subscriptions as Redis does until `names` are confirmed, and checks what the transport reports.
    async fn serve(&mut self, lane: &mut Client, names: usize) {
        let mut confirmed = 0;
        while confirmed < names {
            let command = self.with_peer(lane.command()).await;
            let pattern = command[0] == "PSUBSCRIBE";
            for name in &command[1..] {
                confirmed += 1;
                lane.send(&confirmation(&command[0], name, confirmed)).await;
                assert_eq!(self.next().await, Event::Subscribed(0, pattern, name.clone()));
            }
        }
    }
}

fn confirmation(verb: &str, name: &str, count: usize) -> Vec<u8> {
    let verb = verb.to_lowercase();
    format!("*3\r\n${}\r\n{verb}\r\n${}\r\n{name}\r\n:{count}\r\n", verb.len(), name.len()).into_bytes()
}

fn push(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        out.extend(format!("${}\r\n", part.len()).into_bytes());
        out.extend_from_slice(part);
        out.extend(b"\r\n");
    }
    out
}

fn channel(name: &str) -> Subscription {
    Subscription::channel(name)
}

fn pattern(name: &str) -> Subscription {
    Subscription::pattern(name)
}

fn is_down(event: &Event, unanswered: u64, unwritten: u64) {
    let Event::Down(reason, a, b) = event else {
        panic!("{event:?} is not Down");
    };
    assert_eq!((*a, *b), (unanswered, unwritten), "{reason}");
}

#[test]
fn publishes_of_a_tick_go_out_in_one_write_and_replies_keep_their_order() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::tcp().await).await;
        rig.transport.publish(b"a", b"1");
        rig.transport.publish(b"a", b"2");
        rig.transport.count(7, &[b"a", b"b"]);
        rig.transport.publish(b"a", b"3");
        let expected = [
            push(&[b"PUBLISH", b"a", b"1"]),
            push(&[b"PUBLISH", b"a", b"2"]),
            push(&[b"PUBSUB", b"NUMSUB", b"a", b"b"]),
            push(&[b"PUBLISH", b"a", b"3"]),
        ]
        .concat();
        assert_eq!(rig.transport.unwritten(), expected.len());
        rig.with_peer(client.read()).await;
        assert_eq!(client.input(), expected);
        assert!(rig.transport.is_flushed());
        client.send(b":1\r\n-NOPERM no\r\n*4\r\n$1\r\na\r\n:4\r\n$1\r\nb\r\n:0\r\n:2\r\n").await;
        assert_eq!(rig.next().await, Event::Published(1));
        assert_eq!(rig.next().await, Event::PublishRefused("NOPERM no".to_owned()));
        assert_eq!(rig.next().await, Event::Counted(7, Some(vec![4, 0])));
        assert_eq!(rig.next().await, Event::Published(2));
    });
}

#[test]
fn a_loss_amid_a_burst_is_counted_to_the_publish() {
    block_on(async {
        // A unix socket's buffers are far smaller than what is published.
        let (mut rig, mut client) = Rig::up(MockPeer::unix("burst")).await;
        let large = vec![b'x'; 8_000_000];
        rig.transport.publish(b"a", b"answered");
        rig.transport.publish(b"a", b"not answered");
        rig.transport.count(1, &[b"a"]);
        for _ in 0..3 {
            rig.transport.publish(b"a", &large);
        }
        rig.with_peer(async {
            for _ in 0..3 {
                client.command_head().await;
            }
        })
        .await;
        client.send(b":1\r\n").await;
        assert_eq!(rig.next().await, Event::Published(1));
        assert!(!rig.transport.is_flushed());
        drop(client);
        is_down(&rig.next().await, 2, 2);
        assert_eq!(rig.next().await, Event::Counted(1, None));
        assert!(rig.transport.is_flushed());

        rig.transport.publish(b"a", b"too early");
        let mut client = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.publish(b"a", b"again");
        rig.with_peer(client.expect(&["PUBLISH", "a", "again"])).await;
        drop(client);
        is_down(&rig.next().await, 1, 1);
    });
}

#[test]
fn connects_when_first_needed_and_answers_a_count_that_waited() {
    block_on(async {
        let mut rig = Rig::tcp().await;
        rig.transport.count(3, &[b"a"]);
        assert!(rig.transport.is_flushed());
        let mut client = rig.accept().await;
        rig.with_peer(client.expect(&["PUBSUB", "NUMSUB", "a"])).await;
        client.send(b"-NOPERM no\r\n").await;
        assert_eq!(rig.next().await, Event::Up);
        assert_eq!(rig.next().await, Event::CountRefused(3, "NOPERM no".to_owned()));
    });
}

#[test]
fn an_attempt_that_fails_is_reported_once_with_what_waited() {
    block_on(async {
        tokio::time::pause();
        let nowhere = Address::Unix("/nonexistent/redis.sock".into());
        let mut transport = RedisTransport::new(Target::new(nowhere, Settings::default()), Space::Global);
        transport.publish(b"a", b"1");
        transport.count(9, &[b"a"]);
        let mut events = Vec::new();
        while events.len() < 4 {
            transport.incoming(&mut |incoming| events.push(Event::of(incoming))).await;
        }
        is_down(&events[0], 0, 1);
        assert_eq!(events[1], Event::Counted(9, None));
        is_down(&events[2], 0, 0);
        is_down(&events[3], 0, 0);
    });
}

#[test]
fn subscribes_in_batches_and_again_after_a_loss() {
    block_on(async {
        let mut names: Vec<_> = (0..1200).map(|n| channel(&format!("c{n:04}"))).collect();
        names.push(pattern("p*"));
        let (mut rig, _commands, lane) = Rig::subscribed(&names).await;
        drop(lane);
        let event = rig.next().await;
        assert!(matches!(event, Event::LaneDown(0, _)), "{event:?}");
        let mut lane = rig.accept().await;
        for size in [1, 500, 499, 201] {
            let command = rig.with_peer(lane.command()).await;
            assert_eq!(command.len(), size + 1);
            for name in &command[1..] {
                lane.send(&confirmation(&command[0], name, 1)).await;
                assert!(matches!(rig.next().await, Event::Subscribed(0, ..)));
            }
        }
    });
}

#[test]
fn lanes_are_connections_of_their_own() {
    block_on(async {
        let (mut rig, _commands, mut first) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.subscribe(1, vec![channel("c")]);
        let mut second = rig.accept().await;
        rig.with_peer(second.expect(&["SUBSCRIBE", "c"])).await;
        second.send(&confirmation("SUBSCRIBE", "c", 1)).await;
        assert_eq!(rig.next().await, Event::Subscribed(1, false, "c".to_owned()));
        let message = push(&[b"message", b"c", b"hello"]);
        for (lane, client) in [(0, &mut first), (1, &mut second)] {
            client.send(&message).await;
            assert_eq!(rig.next().await, Event::Message(lane, None, "c".to_owned(), b"hello".to_vec()));
        }
    });
}

#[test]
fn a_lane_closes_with_its_last_name() {
    block_on(async {
        let (mut rig, _commands, mut lane) = Rig::subscribed(&[channel("c"), pattern("p*")]).await;
        rig.transport.unsubscribe(0, vec![channel("c"), channel("unknown")]);
        rig.with_peer(lane.expect(&["UNSUBSCRIBE", "c"])).await;
        lane.send(&confirmation("UNSUBSCRIBE", "c", 1)).await;
        rig.transport.unsubscribe(0, vec![pattern("p*")]);
        rig.with_peer(async {
            lane.expect(&["PUNSUBSCRIBE", "p*"]).await;
            lane.closed().await;
        })
        .await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
        // And opens again with the next.
        rig.transport.subscribe(0, vec![channel("d")]);
        let mut lane = rig.accept().await;
        rig.serve(&mut lane, 1).await;
    });
}

#[test]
fn a_refused_name_does_not_hold_up_the_others_and_is_tried_again() {
    block_on(async {
        let (mut rig, _commands, mut lane) = Rig::subscribed(&[channel("a")]).await;
        const ERROR: &str = "NOPERM No permissions to access a channel";
        let refusal = format!("-{ERROR}\r\n").into_bytes();
        rig.transport.subscribe(0, ["b", "c", "no", "d"].map(channel).to_vec());
        let mut commands = Vec::new();
        while commands.len() < 5 {
            let command = rig.with_peer(lane.command()).await;
            if command.iter().any(|name| name == "no") {
                lane.send(&refusal).await;
            } else {
                for name in &command[1..] {
                    lane.send(&confirmation("SUBSCRIBE", name, 1)).await;
                }
            }
            commands.push(command[1..].join(" "));
        }
        assert_eq!(commands, ["b c no d", "b c", "no d", "no", "d"]);
        for expected in [
            Event::Subscribed(0, false, "b".to_owned()),
            Event::Subscribed(0, false, "c".to_owned()),
            Event::SubscribeRefused(0, ERROR.to_owned()),
            Event::Subscribed(0, false, "d".to_owned()),
        ] {
            assert_eq!(rig.next().await, expected);
        }
        // The lane stands meanwhile, and each further refusal is reported once.
        lane.send(&push(&[b"message", b"b", b"x"])).await;
        assert!(matches!(rig.next().await, Event::Message(..)));
        rig.with_peer(lane.expect(&["SUBSCRIBE", "no"])).await;
        lane.send(&refusal).await;
        assert_eq!(rig.next().await, Event::SubscribeRefused(0, ERROR.to_owned()));
        rig.serve(&mut lane, 1).await;
    });
}

#[test]
fn a_refused_command_is_tried_again_whole() {
    block_on(async {
        let (mut rig, _commands, mut lane) = Rig::subscribed(&[channel("a")]).await;
        rig.transport.subscribe(0, vec![pattern("p*"), pattern("q*")]);
        rig.with_peer(lane.expect(&["PSUBSCRIBE", "p*", "q*"])).await;
        lane.send(b"-ERR unknown command 'PSUBSCRIBE'\r\n").await;
        assert_eq!(
            rig.next().await,
            Event::SubscribeRefused(0, "ERR unknown command 'PSUBSCRIBE'".to_owned())
        );
        rig.with_peer(lane.expect(&["PSUBSCRIBE", "p*", "q*"])).await;
    });
}

#[test]
fn a_message_may_be_split_anywhere() {
    block_on(async {
        let (mut rig, _commands, mut lane) = Rig::subscribed(&[pattern("p*")]).await;
        let payload = b"bytes \r\n\0\xff $3\r\n".to_vec();
        let message = push(&[b"pmessage", b"p*", b"p#1", &payload]);
        let expected = Event::Message(0, Some("p*".to_owned()), "p#1".to_owned(), payload.clone());
        for at in 1..message.len() {
            rig.with_peer(async {
                lane.send(&message[..at]).await;
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                lane.send(&message[at..]).await;
            })
            .await;
            assert_eq!(rig.next().await, expected);
        }
        assert!(rig.events.is_empty());
    });
}

#[test]
fn a_large_message_arrives_whole() {
    block_on(async {
        let (mut rig, _commands, mut lane) = Rig::subscribed(&[channel("c")]).await;
        let payload: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let message = push(&[b"message", b"c", &payload]);
        rig.with_peer(lane.send(&message)).await;
        assert_eq!(rig.next().await, Event::Message(0, None, "c".to_owned(), payload));
    });
}

#[test]
fn garbage_costs_the_connection_and_no_more() {
    block_on(async {
        let (mut rig, mut commands, mut lane) = Rig::subscribed(&[channel("c")]).await;
        lane.send(b"\x16\x03\x01").await;
        let reason = "not the Redis protocol: a reply begins with byte 0x16".to_owned();
        assert_eq!(rig.next().await, Event::LaneDown(0, reason));
        rig.transport.publish(b"a", b"1");
        rig.with_peer(commands.command()).await;
        commands.send(b"$1\r\nx\r\n").await;
        is_down(&rig.next().await, 1, 0);
        // Both come back, in either order.
        let (_one, _two) = (rig.accept().await, rig.accept().await);
        while rig.next().await != Event::Up {}
    });
}

#[test]
fn replies_that_nobody_asked_for_cost_the_connection() {
    block_on(async {
        for (bytes, reason) in [
            (&b":1\r\n"[..], "not the Redis protocol: a reply that nothing was asked for"),
            (b"-ERR max number of clients\r\n", "ERR max number of clients"),
        ] {
            let (mut rig, mut client, mut lane) = Rig::subscribed(&[channel("c")]).await;
            client.send(bytes).await;
            assert_eq!(rig.next().await, Event::Down(reason.to_owned(), 0, 0));
            lane.send(bytes).await;
            let mut event = rig.next().await;
            while !matches!(event, Event::LaneDown(..)) {
                event = rig.next().await;
            }
            assert_eq!(event, Event::LaneDown(0, reason.to_owned()));
        }
    });
}

#[test]
fn a_paused_transport_publishes_and_does_not_read_its_lanes() {
    block_on(async {
        let (mut rig, mut commands, mut lane) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.pause(true);
        lane.send(&push(&[b"message", b"c", b"x"])).await;
        for _ in 0..3 {
            rig.transport.publish(b"a", b"1");
            rig.with_peer(commands.command()).await;
            commands.send(b":1\r\n").await;
            assert_eq!(rig.next().await, Event::Published(1));
        }
        assert!(rig.events.is_empty());
        rig.transport.pause(false);
        assert!(matches!(rig.next().await, Event::Message(..)));
    });
}

/// Sets the clock forward, which goes on from there: one that stands jumps while the peer is waited for.
async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

#[test]
fn a_lane_that_is_lost_before_it_was_read_to_its_end_says_since_when() {
    let paused = Duration::from_millis(1500);
    for catches_up in [false, true] {
        block_on(async {
            let (mut rig, mut commands, mut lane) = Rig::subscribed(&[channel("c")]).await;
            let began = tokio::time::Instant::now();
            rig.transport.pause(true);
            rig.transport.publish(b"a", b"1");
            rig.with_peer(commands.command()).await;
            commands.send(b":1\r\n").await;
            assert_eq!(rig.next().await, Event::Published(1));
            lane.send(&push(&[b"message", b"c", b"x"])).await;
            later(paused).await;
            rig.transport.pause(false);
            assert!(matches!(rig.next().await, Event::Message(..)));
            if catches_up {
                // Nothing is left to be read, for long enough.
                for _ in 0..2 {
                    rig.transport.publish(b"a", b"1");
                    rig.with_peer(commands.command()).await;
                    later(paused).await;
                }
            }
            drop(lane);
            let mut said = None;
            while said.is_none() {
                let sink = &mut |incoming: Incoming<'_>| {
                    if let Incoming::LaneDown { reason, silence, .. } = incoming {
                        said = Some((reason.to_owned(), silence));
                    }
                };
                rig.transport.incoming(sink).await;
            }
            let (reason, silence) = said.unwrap();
            if catches_up {
                let why = format!("{} closed the connection", rig.peer.address());
                assert_eq!((reason, silence), (why, 0));
            } else {
                // A machine that is busy takes its time, too.
                let longest = began.elapsed().as_secs_f64() * 1000.0;
                assert!(silence >= 1500 && silence as f64 <= longest, "{silence} of {longest}");
                let why = format!(
                    "{} closed the connection; it had not been read for {:.1} s: see client-output-buffer-limit",
                    rig.peer.address(),
                    silence as f64 / 1000.0
                );
                assert_eq!(reason, why);
            }
        });
    }
}

#[test]
fn a_flood_on_a_lane_does_not_starve_the_others() {
    block_on(async {
        let (mut rig, mut commands, mut lane) = Rig::subscribed(&[channel("c")]).await;
        let flood = push(&[b"message", b"c", &[b'x'; 200]]).repeat(1000);
        let flooding = tokio::spawn(async move {
            loop {
                lane.send(&flood).await;
            }
        });
        for _ in 0..5 {
            rig.transport.publish(b"a", b"1");
            rig.with_peer(async {
                commands.command().await;
                commands.send(b":1\r\n").await;
            })
            .await;
            while rig.next().await != Event::Published(1) {}
        }
        flooding.abort();
    });
}

#[test]
fn speaks_through_a_unix_socket() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::unix("plain")).await;
        rig.transport.publish(b"a", b"1");
        rig.with_peer(client.expect(&["PUBLISH", "a", "1"])).await;
        client.send(b":0\r\n").await;
        assert_eq!(rig.next().await, Event::Published(0));
    });
}

#[test]
fn closes_with_the_users_clients_and_opens_again() {
    block_on(async {
        let (mut rig, mut commands, mut lane) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.publish(b"a", b"answered");
        rig.with_peer(commands.command()).await;
        rig.transport.publish(b"a", b"not written");
        rig.transport.count(5, &[b"a"]);
        rig.transport.set_open(false);
        rig.transport.set_open(false);
        rig.transport.count(6, &[b"a"]);
        rig.transport.publish(b"a", b"closed");
        let reason = "the link is closed".to_owned();
        for expected in [
            Event::Down(reason.clone(), 1, 1),
            Event::Counted(5, None),
            Event::LaneDown(0, reason),
            Event::Counted(6, None),
        ] {
            assert_eq!(rig.next().await, expected);
        }
        rig.with_peer(async {
            commands.closed().await;
            lane.closed().await;
        })
        .await;
        assert!(rig.events.is_empty());

        rig.transport.subscribe(0, vec![channel("d")]);
        rig.transport.set_open(true);
        let (mut one, mut two) = (rig.accept().await, rig.accept().await);
        let command = rig
            .with_peer(async {
                tokio::select! {
                    command = one.command() => command,
                    command = two.command() => command,
                }
            })
            .await;
        assert_eq!(command, ["SUBSCRIBE", "d", "c"]);
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.close();
        assert!(matches!(rig.next().await, Event::Down(_, 0, 1)));
        assert!(matches!(rig.next().await, Event::LaneDown(0, _)));
        rig.transport.set_open(true);
        assert!(rig.transport.lanes[0].is_closed());
    });
}
