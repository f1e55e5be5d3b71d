//! Tests of the whole transport against a cluster of mock nodes.

mod anywhere;
mod counts;
mod failover;
mod hanging;
mod keys;
mod life;
mod mock_cluster;
mod publishing;
mod subscriptions;

use std::collections::VecDeque;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::transport::redis::cluster::node::{AWAY, LEASE};
use crate::transport::redis::cluster::subscriber::Hints;
use crate::transport::redis::mock::block_on;
use crate::transport::redis::slot::Slot;
use crate::transport::resp::ProtocolError;
use mock_cluster::{MockCluster, bulks, confirmation};

/// Channels of the slots 5061, 12182 and 866.
const LOW: &str = "bar";
const HIGH: &str = "foo";
const LOWEST: &str = "hello";

const HALVES: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1])];
/// The view of the owner of [`LOW`] after it has lost the slot.
const WITHOUT_LOW: &[(Slot, Slot, &[usize])] = &[(0, 5060, &[0]), (5062, 8191, &[0]), (8192, 16383, &[1])];
const ALL_AT_0: &[(Slot, Slot, &[usize])] = &[(0, 16383, &[0])];
const ALL_AT_1: &[(Slot, Slot, &[usize])] = &[(0, 16383, &[1])];

/// The reply to CLUSTER SLOTS of a node that does not tell.
const SILENCE: &[u8] = b"-NOPERM no\r\n";

/// How long something may take. The limit is needed: while a cluster is in trouble there is always another
/// event.
const PATIENCE: Duration = Duration::from_secs(10);

fn words(incoming: Incoming<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match incoming {
        Incoming::Up => "up".to_owned(),
        Incoming::Replica => panic!("that is said of a single Redis"),
        Incoming::Down { reason, unanswered, unwritten } => {
            format!("down {unanswered} {unwritten}: {reason}")
        }
        Incoming::Subscribed { subscriber, name, .. } => format!("subscribed {subscriber} {}", text(name)),
        Incoming::Unsubscribed { subscriber, name, silence: 0, .. } => {
            format!("unsubscribed {subscriber} {}", text(name))
        }
        Incoming::Unsubscribed { subscriber, name, silence, .. } => {
            format!("unsubscribed {subscriber} {} after {silence} ms", text(name))
        }
        Incoming::SubscriberDown { subscriber, .. } => format!("subscriber down {subscriber}"),
        Incoming::SubscribeRefused { subscriber, error } => format!("subscribe refused {subscriber} {error}"),
        Incoming::Message { subscriber, channel, payload, .. } => {
            format!("message {subscriber} {} {}", text(channel), text(payload))
        }
        Incoming::Published { receivers } => format!("published {receivers}"),
        Incoming::PublishRefused { error } => format!("publish refused {error}"),
        Incoming::Returned { channel, payload } => format!("returned {} {}", text(channel), payload.len()),
        Incoming::Held { reason, .. } => format!("held: {reason}"),
        Incoming::CountRefused { token, error } => format!("count refused {token} {error}"),
        Incoming::Settling { .. } => "settling".to_owned(),
        Incoming::Counted { token, counts } => format!("counted {token} {counts:?}"),
        Incoming::Replied { token, outcome } => format!("replied {token} {outcome:?}"),
    }
}

struct Rig {
    transport: ClusterTransport,
    events: VecDeque<String>,
    cluster: MockCluster,
}

impl Rig {
    async fn new(view: &[(Slot, Slot, &[usize])], kind: ChannelKind) -> Self {
        let cluster = MockCluster::start(view).await;
        let transport = ClusterTransport::new(cluster.settings(&[0]), kind);
        Self { transport, events: VecDeque::new(), cluster }
    }

    async fn up(view: &[(Slot, Slot, &[usize])], kind: ChannelKind) -> Self {
        let mut rig = Self::new(view, kind).await;
        rig.transport.open();
        rig.expect("up").await;
        rig
    }

    /// With confirmed names on subscriber 0.
    async fn subscribed(view: &[(Slot, Slot, &[usize])], names: &[&str]) -> Self {
        let mut rig = Self::up(view, ChannelKind::Shard).await;
        rig.transport.subscribe(0, names.iter().copied().map(Subscription::shard).collect());
        rig.expect_all(&names.iter().map(|name| format!("subscribed 0 {name}")).collect::<Vec<_>>()).await;
        rig
    }

    /// No node says what it is, and that is known of the owners of these channels. So publishes there do not
    /// wait.
    async fn trusted(&mut self, channels: &[&str]) {
        for node in self.cluster.nodes().iter_mut() {
            node.hello = Some("-ERR unknown command\r\n");
        }
        for channel in channels {
            self.transport.publish(channel.as_bytes(), b"trust");
            self.expect("published 1").await;
        }
    }

    async fn next(&mut self) -> String {
        let Self { transport, events, .. } = self;
        let work = async {
            loop {
                if let Some(event) = events.pop_front() {
                    return event;
                }
                transport.incoming(&mut |incoming| events.push_back(words(incoming))).await;
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("nothing happens")
    }

    /// Lets time pass.
    async fn idle(&mut self, time: Duration) {
        let Self { transport, events, .. } = self;
        let work = async {
            loop {
                transport.incoming(&mut |incoming| events.push_back(words(incoming))).await;
            }
        };
        assert!(tokio::time::timeout(time, work).await.is_err());
    }

    async fn expect(&mut self, event: &str) {
        assert_eq!(self.next().await, event);
    }

    /// These events come next, in any order.
    async fn expect_all(&mut self, events: &[impl AsRef<str>]) {
        let mut expected: Vec<&str> = events.iter().map(AsRef::as_ref).collect();
        while !expected.is_empty() {
            let event = self.next().await;
            let at = expected.iter().position(|one| *one == event);
            expected.remove(at.unwrap_or_else(|| panic!("{event} is none of {expected:?}")));
        }
    }

    /// Skips all events up to one with this beginning, and returns that.
    async fn until(&mut self, beginning: &str) -> String {
        let work = async {
            loop {
                let event = self.next().await;
                if event.starts_with(beginning) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("it does not happen")
    }

    /// Runs until a node is asked for the slots.
    async fn asked(&mut self, index: usize) {
        let before = self.cluster.log(index, "CLUSTER SLOTS").len();
        self.until_cluster(|cluster| cluster.log(index, "CLUSTER SLOTS").len() > before).await;
    }

    /// Runs until the mock nodes show something.
    async fn until_cluster(&mut self, mut shows: impl FnMut(&MockCluster) -> bool) {
        let Self { transport, events, cluster } = self;
        let work = async {
            while !shows(cluster) {
                let mut sink = |incoming: Incoming<'_>| events.push_back(words(incoming));
                let one = transport.incoming(&mut sink);
                let _ = tokio::time::timeout(Duration::from_millis(2), one).await;
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("nothing happens");
    }
}

/// The first half goes from node 0 to its replica, node 2.
const BEFORE_FAILOVER: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0, 2]), (8192, 16383, &[1])];

const AFTER_FAILOVER: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2, 0]), (8192, 16383, &[1])];

/// The view of nodes that know of no change; and the answer to HELLO of a node that has become a replica.
const BEFORE_ANYBODY_KNOWS: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1])];

const REPLICA: &str = "*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";

/// Another node owns its slots, and it is not listed.
const SUCCEEDED: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2]), (8192, 16383, &[1])];

const WITHOUT_REPLICA: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1])];

/// Runs until the transport shows something, and ignores its reports.
async fn poll_until(rig: &mut Rig, shows: impl Fn(&ClusterTransport) -> bool) {
    let work = async {
        while !shows(&rig.transport) {
            let mut sink = |_: Incoming<'_>| {};
            let one = rig.transport.incoming(&mut sink);
            let _ = tokio::time::timeout(Duration::from_millis(2), one).await;
        }
    };
    tokio::time::timeout(PATIENCE, work).await.expect("it does not happen");
}
