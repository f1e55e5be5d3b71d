//! A subscriber in a cluster: several subscriber connections, and how names move from one node to another.

mod anywhere;
mod former;
mod handovers;
mod hints;
mod last;
mod moves;
mod seen;
mod successor;
mod turns;

pub(super) use anywhere::MISSING;
pub(super) use hints::Hints;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::node::Tenure;
use super::settings::ClusterSettings;
use super::topology::Topology;
use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::slot_of;
use crate::transport::redis::step::{BUDGET, PollStep};
use crate::transport::redis::subscriber::SubscriberConnection;
use crate::transport::{Incoming, Subscriber, Subscription, SubscriptionKind};
use anywhere::Anywhere;
use handovers::{Handovers, HeldShardMessage};
use turns::{PollClass, PollPlace, stretches};

/// One subscriber in a cluster, with several connections. Its channels and globs are at any one node. Its
/// shard channels are at the owners of their slots, with a connection to each.
pub(super) struct ClusterSubscriber {
    number: Subscriber,
    settings: Arc<ClusterSettings>,
    open: bool,
    /// For channels and globs.
    anywhere: Anywhere,
    /// For shard channels.
    owners: BTreeMap<Address, SubscriberConnection>,
    /// Shard channels that wait for a topology that names their owner.
    unplaced: BTreeSet<Subscription>,
    /// Names that a node has refused, and that node.
    strays: Vec<(Address, Subscription)>,
    /// Names that this former owner still holds until the new one has confirmed them.
    overlap: BTreeMap<Subscription, Address>,
    /// Those of them whose new owner belongs to the same shard.
    handovers: Handovers,
    /// Names that nodes have withdrawn, and that wait before they go to another node.
    away: Vec<Away>,
    /// Where the last poll has stopped, and the next one goes on. `None` if it has polled everything.
    stopped: Option<PollPlace>,
}

/// Names that a node has withdrawn. If the node is still a master, it knows where they go. If it has become a
/// replica, they stay away for a while: see `mastership`. They do not go back to a replica, though it would
/// accept them: other servers count the subscribers of the nodes that they know.
struct Away {
    from: Address,
    names: BTreeSet<Subscription>,
    until: Instant,
    /// When to check next whether they can go.
    next: Instant,
}

impl ClusterSubscriber {
    /// Returns a subscriber without names. It needs no connections yet.
    pub(super) fn new(number: Subscriber, settings: Arc<ClusterSettings>, spread: usize, open: bool) -> Self {
        Self {
            number,
            anywhere: Anywhere::new(number, Arc::clone(&settings), spread),
            settings,
            open,
            owners: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            strays: Vec::new(),
            overlap: BTreeMap::new(),
            handovers: Handovers::default(),
            away: Vec::new(),
            stopped: None,
        }
    }

    /// Adds names.
    pub(super) fn subscribe(&mut self, names: Vec<Subscription>, topology: &Topology) {
        let (of_shards, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.kind == SubscriptionKind::Shard);
        if !others.is_empty() {
            self.anywhere.subscribe(others, topology, self.open);
        }
        self.route(of_shards, topology);
    }

    /// Removes names. Names that are not there are ignored.
    pub(super) fn unsubscribe(&mut self, names: Vec<Subscription>) {
        for name in &names {
            self.unplaced.remove(name);
            self.overlap.remove(name);
        }
        self.handovers.forget(names.iter());
        for away in &mut self.away {
            names.iter().for_each(|name| _ = away.names.remove(name));
        }
        if !self.strays.is_empty() {
            let names: BTreeSet<_> = names.iter().collect();
            self.strays.retain(|(_, stray)| !names.contains(stray));
        }
        for connection in self.owners.values_mut() {
            let here = names.iter().filter(|name| connection.wants(name)).cloned().collect();
            connection.unsubscribe(here);
        }
        self.anywhere.unsubscribe(names);
    }

    /// Lets the connections open.
    pub(super) fn open(&mut self) {
        self.open = true;
        self.anywhere.open();
        self.owners.values_mut().for_each(SubscriberConnection::open);
    }

    /// Drops the connections, and keeps the names. Returns whether one was up or being opened.
    pub(super) fn close(&mut self) -> bool {
        self.open = false;
        self.unplaced.extend(self.handovers.clear());
        let mut reported = self.anywhere.close();
        for connection in self.owners.values_mut() {
            reported |= connection.close();
        }
        self.unplaced.extend(self.away.drain(..).flat_map(|away| away.names));
        reported
    }

    /// Forgets the names.
    pub(super) fn clear(&mut self) {
        self.anywhere.clear();
        self.owners.clear();
        self.unplaced.clear();
        self.strays.clear();
        self.overlap.clear();
        self.handovers.clear();
        self.away.clear();
    }

    /// Asks for signs of life, unless the connections are not read.
    pub(super) fn pulse(&mut self, paused: bool) {
        self.anywhere.pulse(paused);
        self.owners.values_mut().for_each(|connection| connection.pulse(paused));
    }

    /// Returns when a poll has something to do even if nothing is read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let away = self.away.iter().map(|away| away.next);
        let looks = self.owners.values().filter_map(SubscriberConnection::look_at);
        let others = [self.anywhere.deadline(), self.handovers.deadline()];
        others.into_iter().flatten().chain(away).chain(looks).min()
    }

    /// Returns whether a name waits for a topology that names its owner.
    pub(super) fn has_unplaced(&self) -> bool {
        !self.unplaced.is_empty()
    }

    /// Returns a value that stays the same as long as the node holds something for this subscriber without a
    /// break.
    pub(super) fn tenure(&self, node: &Address) -> Option<Tenure> {
        let tenure = self.owners.get(node)?.tenure()?;
        Some((self.number, tenure))
    }

    /// Asks a node whether it is alive.
    pub(super) fn probe(&mut self, node: &Address, now: Instant) {
        if let Some(connection) = self.owners.get_mut(node) {
            connection.probe(now);
        }
    }

    /// Returns whether a node was asked and does not answer.
    pub(super) fn is_silent(&self, node: &Address, now: Instant) -> bool {
        self.owners.get(node).is_some_and(|connection| connection.is_silent(now))
    }

    /// Nothing is read, so silence proves nothing.
    pub(super) fn pass_probes(&mut self) {
        self.owners.values_mut().for_each(SubscriberConnection::pass_probe);
    }

    /// Returns whether something that the node has sent may not be read yet.
    pub(super) fn is_behind(&self, node: &Address) -> bool {
        self.stopped.is_some() || self.owners.get(node).is_some_and(|connection| connection.more)
    }

    /// A node that has withdrawn names does not say that it is a replica. It may know where they are now.
    pub(super) fn return_to(&mut self, node: &Address, topology: &Topology) {
        let back = self.away.extract_if(.., |away| away.from == *node);
        let names: Vec<_> = back.flat_map(|away| away.names).collect();
        self.route(names, topology);
    }

    /// Opens, writes everything, and reads unless paused.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        hints: &mut Hints,
    ) -> PollStep {
        let mut step = self.anywhere.poll(cx, topology, paused, now, sink, &mut hints.trouble);
        let mut loss = None;
        let mut lost = Vec::new();
        let mut settled = Vec::new();
        let mut withdrawn = Vec::new();
        let stopped = self.stopped.take();
        self.handovers.wake(now);
        self.handovers.pause(paused, now);
        let owners = &self.owners;
        let asks =
            self.handovers.look(now, |node| owners.get(node).is_some_and(SubscriberConnection::is_asked));
        asks.iter()
            .for_each(|owner| self.owners.get_mut(owner).into_iter().for_each(SubscriberConnection::ask));
        let doubted = self.handovers.doubted();
        'all: for (class, stretch) in stretches(stopped) {
            if stretch.is_empty() || (class == PollClass::Doubted && doubted.is_empty()) {
                continue;
            }
            for (at, (node, connection)) in self.owners.iter_mut().enumerate() {
                let of = if doubted.contains(node) { PollClass::Doubted } else { PollClass::Owners };
                if of != class || !stretch.contains(&at) {
                    continue;
                }
                let (overlap, handovers) = (&self.overlap, &mut self.handovers);
                if let Some(silence) = connection.hangs_for() {
                    handovers.hangs(node, silence, now);
                }
                // One that is no master any more may not be known as a replica yet.
                let may_succeed = |hung: &Address| {
                    topology.is_shard_of(hung, node) || !topology.masters().any(|master| master == hung)
                };
                let one = connection.poll(cx, paused, &mut |incoming| {
                    if !handovers.is_empty()
                        && (handovers.is_copy(node, &incoming, now, may_succeed)
                            || !handovers.hear(node, &incoming, now))
                    {
                        return;
                    }
                    if let Incoming::Subscribed { kind, name, .. } = incoming
                        && !overlap.is_empty()
                        && topology.master(slot_of(name)) == Some(node)
                        && !handovers.is_under_way(name)
                    {
                        settled.push(Subscription::new(kind, name));
                    }
                    sink(incoming);
                });
                if let Some(silence) = connection.hangs_for() {
                    self.handovers.hangs(node, silence, now);
                }
                if class == PollClass::Doubted && !one.more && !paused {
                    self.handovers.pass(node, now);
                }
                step.reported |= one.reported;
                step.more |= one.more;
                let news = connection.take_news();
                self.handovers.forget(news.strays.iter());
                self.strays.extend(news.strays.into_iter().map(|name| (node.clone(), name)));
                hints.redirects.extend(news.redirects.into_iter().map(|one| (node.clone(), one)));
                withdrawn.extend(news.withdrawn.into_iter().map(|name| (node.clone(), name)));
                if let Some(why) = news.loss {
                    loss = Some(why);
                    lost.push(node.clone());
                }
                if (one.more || !lost.is_empty()) && now.elapsed() > BUDGET {
                    self.stopped = Some(PollPlace { class, at: at + 1 });
                    step.more = true;
                    break 'all;
                }
            }
        }
        for former in doubted.iter().filter(|former| !self.owners.contains_key(*former)) {
            self.handovers.pass(former, now);
        }
        step.reported |= !withdrawn.is_empty();
        self.go_away(withdrawn, topology, now, sink, hints);
        if !self.handovers.is_empty() {
            self.handovers.lose(&lost, now);
            let due = self.handovers.due(now);
            step.more |= !due.is_empty();
            self.route(due, topology);
            let over = self.handovers.take_over();
            step.more |= !over.is_empty();
            self.end_overlap(over, topology);
            let (number, kind) = (self.number, SubscriptionKind::Shard);
            for HeldShardMessage { name, payload, .. } in self.handovers.take_held() {
                let (name, payload) = (name.as_slice(), payload.as_slice());
                sink(Incoming::Message { subscriber: number, kind, name, channel: name, payload });
                step.reported = true;
            }
        }
        step.more |= !settled.is_empty();
        self.end_overlap(settled, topology);
        step.reported |= self.after_losses(loss, &lost, topology, now, sink);
        hints.trouble |= !lost.is_empty() || !self.strays.is_empty();
        self.owners.retain(|_, connection| connection.has_names() || !connection.is_closed());
        step
    }
}
