//! The link's own connections to a Redis cluster.
//!
//! Which connections are needed:
//!
//! | | [`ChannelKind::Global`] | [`ChannelKind::Shard`] |
//! |---|---|---|
//! | publishes | any one node | each master, for the channels of its slots |
//! | counts | all nodes | the master of the channel's slot and its replicas |
//! | a subscriber | any one node | each master that owns a slot of its channels |
//! | a command about a key | the master of the key's slot | the same |
//! | a reader | a connection of its own to that master | the same |
//!
//! The topology comes from `CLUSTER SLOTS`, which is sent on the command connections (`topology`, `node`).
//! MOVED corrects it. A name belongs on the subscriber connection to the owner of its slot (`subscriber`). It
//! is on two connections only while a former master still holds it (`subscriber/handovers`). A node that
//! hangs and was left is still read until it answers (`subscriber/former.rs`, `subscriber/last.rs`). One
//! future polls everything, as in the standalone transport.
//!
//! The transport is in several files:
//!
//! - `poll.rs`: one poll of everything
//! - `plan.rs`: which nodes are connected
//! - `refreshing.rs`: what the nodes say about the cluster, and what follows from it
//! - `standing.rs`: whether publishing is possible, and if not, why
//! - `keys.rs`, `reader.rs`: commands about keys
//! - `counting.rs`: counts, as sums over the nodes

mod counting;
mod keys;
mod node;
mod plan;
mod poll;
mod reader;
mod refreshing;
mod settings;
mod standing;
mod subscriber;
#[cfg(test)]
mod tests;
mod topology;

pub use settings::ClusterSettings;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, Sleep};

use crate::transport::redis::commands::{Abandoned, MAX_UNANSWERED};
use crate::transport::redis::connect::Address;
use crate::transport::redis::connection::Pulse;
use crate::transport::redis::slot::slot_of;
use crate::transport::{ChannelKind, Incoming, KeyCommand, Port, Subscriber, Subscription, Transport};
use counting::ClusterCounting;
use node::{ClusterNode, NodeReport};
use reader::{ClusterReader, Ended};
use subscriber::ClusterSubscriber;
use topology::{Disowned, Refresh, Topology};

/// A [`Transport`] over its own connections to the nodes of a cluster, opened when first needed and kept up
/// from then on. It needs a tokio runtime with I/O and time enabled.
///
/// It is up when everything is connected that publishes may need: one node for [`ChannelKind::Global`]; for
/// [`ChannelKind::Shard`] the masters of all slots, since the next publish may be for any channel. Publishes
/// that have certainly not run come back as [`Incoming::Returned`], for each node in the order in which they
/// were published. If one node is lost, the replies of the others are reported after that `Down`.
///
/// Commands about keys run whether it is up or not, if the master of the key's slot is connected.
pub struct ClusterTransport {
    settings: Arc<ClusterSettings>,
    channel_kind: ChannelKind,
    topology: Topology,
    /// Whether each slot has an owner.
    covered: bool,
    refresh: Refresh,
    disowned: Disowned,
    nodes: BTreeMap<Address, ClusterNode>,
    /// The node for publishes on global channels.
    chosen: Option<Address>,
    counting: ClusterCounting,
    subscribers: Vec<ClusterSubscriber>,
    readers: BTreeMap<usize, ClusterReader>,
    /// Commands that wait for the topology.
    waiting: Vec<KeyCommand>,
    /// Commands without a reply. They are reported after a `Down`.
    ended: Vec<Ended>,
    /// Shifts the choice of a node, so that servers choose different nodes.
    spread: usize,
    /// Whether a connection was ever needed.
    wanted: bool,
    open: bool,
    paused: bool,
    pulse: Pulse,
    up: bool,
    /// Why Redis runs no publishes though everything is connected, in its own words. Kept until Redis reports
    /// that all is well.
    stalled: Option<String>,
    /// A node has said that it is not a master any more.
    demoted: bool,
    /// When it is next reported that publishes have to wait for those that a former master has not answered.
    outrun: Option<Instant>,
    /// A node was lost at which other servers may have their subscriptions.
    shaken: bool,
    /// Since when the chosen node is missing from the topology.
    unlisted: Option<Instant>,
    /// The current time, if it was read since the last poll.
    clock: Option<Instant>,
    /// The connections have to be compared with what is needed.
    stale: bool,
    outage: Outage,
    /// Publishes for which no node was found. The next poll returns them.
    unplaced: Vec<Unplaced>,
    /// Publishes while it was closed.
    too_early: u64,
    deferred: Vec<ClusterDeferred>,
    reports: Vec<(Address, NodeReport)>,
    /// The subscriber that is polled first next time.
    first_subscriber: Subscriber,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What the next [`Incoming::Down`] says.
#[derive(Default)]
struct Outage {
    reason: Option<String>,
    unanswered: u64,
    /// Something that is needed has failed.
    failed: bool,
}

struct Unplaced {
    channel: Vec<u8>,
    payload: Vec<u8>,
}

enum ClusterDeferred {
    Down { unanswered: u64, unwritten: u64 },
    SubscriberDown(Subscriber),
    NotCounted(u64),
    Abandoned(Abandoned),
}

impl ClusterTransport {
    /// Returns a transport that connects when it is first needed, and publishes and counts channels of the
    /// kind `channel_kind`.
    pub fn new(settings: ClusterSettings, channel_kind: ChannelKind) -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self {
            settings: Arc::new(settings),
            channel_kind,
            topology: Topology::unknown(),
            covered: false,
            refresh: Refresh::new(Instant::now()),
            disowned: Disowned::default(),
            nodes: BTreeMap::new(),
            chosen: None,
            counting: ClusterCounting::default(),
            subscribers: Vec::new(),
            readers: BTreeMap::new(),
            waiting: Vec::new(),
            ended: Vec::new(),
            spread: usize::try_from(random % 1024).unwrap_or_default(),
            wanted: false,
            open: true,
            paused: false,
            pulse: Pulse::default(),
            up: false,
            stalled: None,
            demoted: false,
            outrun: None,
            shaken: false,
            unlisted: None,
            clock: None,
            stale: false,
            outage: Outage::default(),
            unplaced: Vec::new(),
            too_early: 0,
            deferred: Vec::new(),
            reports: Vec::new(),
            first_subscriber: 0,
            timer: None,
        }
    }

    /// Opens what publishing needs without waiting for the first publish. [`Incoming::Up`] tells when it is
    /// open.
    pub fn open(&mut self) {
        self.wanted = true;
    }

    /// Drops all connections at once (`false`), or lets them open again with all subscriptions (`true`).
    /// Publishes that were not written are lost and counted: to avoid that, first wait for
    /// [`Transport::is_flushed`]. The next [`Transport::incoming`] reports a `Down`, and a `SubscriberDown`
    /// for each subscriber with a connection that was open or being opened. While closed it reports nothing
    /// else, and waits.
    pub fn set_open(&mut self, open: bool) {
        if open {
            if !self.open {
                self.refresh.restart(Instant::now());
                self.subscribers.iter_mut().for_each(ClusterSubscriber::open);
            }
            self.open = true;
            return;
        }
        self.open = false;
        self.close_nodes();
        for (number, subscriber) in self.subscribers.iter_mut().enumerate() {
            if subscriber.close() {
                self.deferred.push(ClusterDeferred::SubscriberDown(number));
            }
        }
        self.deferred.extend(self.counting.give_up().into_iter().map(ClusterDeferred::NotCounted));
        self.close_readers();
    }

    /// Drops all connections at once, and forgets all subscriptions. Otherwise like `set_open(false)`.
    pub fn close(&mut self) {
        self.set_open(false);
        self.wanted = false;
        self.subscribers.iter_mut().for_each(ClusterSubscriber::clear);
        self.readers.clear();
    }

    fn close_nodes(&mut self) {
        let stood = self.up || self.nodes.values().any(|node| !node.is_waiting());
        let mut unwritten = std::mem::take(&mut self.too_early);
        unwritten += u64::try_from(self.unplaced.len()).unwrap_or_default();
        let Outage { mut unanswered, .. } = std::mem::take(&mut self.outage);
        self.unplaced.clear();
        for mut node in std::mem::take(&mut self.nodes).into_values() {
            unanswered += node.give_up("", &mut |_| unwritten += 1, &mut self.reports);
        }
        self.up = false;
        self.outrun = None;
        self.stalled = None;
        self.chosen = None;
        if stood || unanswered > 0 || unwritten > 0 {
            self.deferred.push(ClusterDeferred::Down { unanswered, unwritten });
        }
        for (_, report) in self.reports.drain(..) {
            if let NodeReport::Abandoned { command, .. } = report {
                self.deferred.push(ClusterDeferred::Abandoned(command));
            }
        }
    }
}

impl Transport for ClusterTransport {
    fn opens_subscribers(&self) -> bool {
        true
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        self.wanted = true;
        if !self.open {
            self.too_early += 1;
            return;
        }
        let node = match self.channel_kind {
            ChannelKind::Global => self.chosen.as_ref(),
            ChannelKind::Shard => self.topology.master(slot_of(channel)),
        };
        match node.and_then(|node| self.nodes.get_mut(node)).filter(|node| self.up && node.is_open()) {
            Some(node) => node.publish(channel, payload, *self.clock.get_or_insert_with(Instant::now)),
            None => self.unplaced.push(Unplaced { channel: channel.into(), payload: payload.into() }),
        }
    }

    fn unwritten(&self) -> usize {
        let unwritten: usize = self.nodes.values().map(ClusterNode::unwritten).sum();
        let kept: usize = self.nodes.values().map(ClusterNode::kept).sum();
        unwritten + kept.saturating_sub(MAX_UNANSWERED)
    }

    fn subscribe(&mut self, number: Subscriber, names: Vec<Subscription>) {
        self.wanted = true;
        while self.subscribers.len() <= number {
            let (next, settings) = (self.subscribers.len(), Arc::clone(&self.settings));
            self.subscribers.push(ClusterSubscriber::new(next, settings, self.spread, self.open));
        }
        if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.subscribe(names, &self.topology);
        }
    }

    fn unsubscribe(&mut self, number: Subscriber, names: Vec<Subscription>) {
        if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.unsubscribe(names);
        }
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        self.wanted = true;
        if self.open {
            self.counting.push(token, channels);
        } else {
            self.deferred.push(ClusterDeferred::NotCounted(token));
        }
    }

    fn command(&mut self, command: KeyCommand) {
        self.wanted = true;
        if self.open {
            self.route(command, Instant::now());
        } else {
            self.deferred.push(ClusterDeferred::Abandoned(Abandoned { token: command.token, begun: false }));
        }
    }

    fn close_reader(&mut self, reader: usize) {
        self.readers.remove(&reader);
        self.waiting.retain(|command| command.port != Port::Reader(reader));
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        // Every connection is read before its silence is judged, however many there are.
        tokio::task::unconstrained(poll_fn(|cx| self.poll_incoming(cx, sink))).await;
    }
}
