//! Tests of the whole transport against a peer that plays Redis.

mod commands;
mod hold;
mod liveness;
mod publishing;
mod sentinels;
mod subscriptions;
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
    Subscribed(Subscriber, bool, String),
    SubscriberDown(Subscriber, String),
    Unsubscribed(Subscriber, String),
    SubscribeRefused(Subscriber, String),
    Message(Subscriber, Option<String>, String, Vec<u8>),
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
            Incoming::Subscribed { subscriber, kind, name } => {
                Self::Subscribed(subscriber, kind == SubscriptionKind::Pattern, text(name))
            }
            Incoming::SubscriberDown { subscriber, reason, .. } => {
                Self::SubscriberDown(subscriber, reason.to_owned())
            }
            Incoming::SubscribeRefused { subscriber, error } => {
                Self::SubscribeRefused(subscriber, error.to_owned())
            }
            Incoming::Message { subscriber, kind, name, channel, payload } => {
                let pattern = (kind == SubscriptionKind::Pattern).then(|| text(name));
                Self::Message(subscriber, pattern, text(channel), payload.to_vec())
            }
            Incoming::Published { receivers } => Self::Published(receivers),
            Incoming::PublishRefused { error } => Self::PublishRefused(error.to_owned()),
            Incoming::Unsubscribed { subscriber, name, .. } => Self::Unsubscribed(subscriber, text(name)),
            Incoming::Held { reason, .. } => Self::Held(reason.to_owned()),
            Incoming::Returned { channel, payload } => Self::Returned(text(channel), payload.to_vec()),
            Incoming::Settling { .. } => panic!("nothing moves at a standalone Redis"),
            Incoming::CountRefused { token, error } => Self::CountRefused(token, error.to_owned()),
            Incoming::Counted { token, counts } => Self::Counted(token, counts.map(<[u64]>::to_vec)),
            Incoming::Replied { token, outcome } => Self::Replied(token, format!("{outcome:?}")),
        }
    }
}

/// A transport, and the peer that it is connected to.
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
        Self::to(RedisTarget::new(peer.address(), settings), peer)
    }

    fn to(target: RedisTarget, peer: MockPeer) -> Self {
        Self { transport: RedisTransport::new(target, ChannelKind::Global), events: VecDeque::new(), peer }
    }

    /// With the command connection up.
    async fn up(peer: MockPeer) -> (Self, Client) {
        let mut rig = Self::with(peer);
        rig.transport.open();
        let client = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        (rig, client)
    }

    /// With one subscriber connection up as well, and `names` confirmed on it.
    async fn subscribed(names: &[Subscription]) -> (Self, Client, Client) {
        let (mut rig, commands) = Self::up(MockPeer::tcp().await).await;
        rig.transport.subscribe(0, names.to_vec());
        let mut subscriber = rig.accept().await;
        rig.serve(&mut subscriber, names.len()).await;
        (rig, commands, subscriber)
    }

    async fn accept(&mut self) -> Client {
        let (transport, events) = (&mut self.transport, &mut self.events);
        drive(self.peer.accept(), async || {
            transport.incoming(&mut |incoming| events.push_back(Event::of(incoming))).await;
        })
        .await
    }

    /// Runs the peer's part while the transport is polled.
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

    /// Confirms subscriptions as Redis does, until `names` are confirmed, and checks what the transport
    /// reports.
    async fn serve(&mut self, subscriber: &mut Client, names: usize) {
        let mut confirmed = 0;
        while confirmed < names {
            let command = self.with_peer(subscriber.command()).await;
            let pattern = command[0] == "PSUBSCRIBE";
            for name in &command[1..] {
                confirmed += 1;
                subscriber.send(&confirmation(&command[0], name, confirmed)).await;
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
