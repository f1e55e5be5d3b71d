//! One lane in a cluster: several subscriber connections, and the ways of its names from one node to another.

mod former;
mod handover;
mod last;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::node::{AWAY, Watch};
use super::settings::ClusterSettings;
use super::topology::Topology;
use crate::transport::redis::connect::{Address, Loss, Target};
use crate::transport::redis::slot::{Redirect, slot_of};
use crate::transport::redis::step::{BUDGET, Step};
use crate::transport::redis::subscriber::{Holding, LaneConnection, WITHDRAWN};
use crate::transport::{Incoming, Lane, Subscription, SubscriptionKind};
use former::FormerNode;
use handover::{Handovers, Held, Relation};

/// Why a name is let go of by a node that stands.
const MOVED: &str = "the slot of the channel is another node's now";

/// Why a lane without a loss of its own goes elsewhere.
const DELISTED: &str = "the node is no longer part of the cluster";

/// How long the node of the channels and globs has to take a lost connection back. Another one would send what this
/// one has sent already: they lag behind each other.
const RETURN: Duration = Duration::from_millis(250);

/// How long the node of the channels and globs may be missing from the topology before it is left: a master that is
/// replaced is named again as a replica, a moment later.
pub(super) const MISSING: Duration = Duration::from_secs(2);

/// A node that loses a connection again within this time is left.
const STABLE: Duration = Duration::from_secs(2);

/// One lane in a cluster. Its channels and globs sit at one node, whichever; its channels of shards at the owners
/// of their slots, with a connection to each.
pub(super) struct ClusterLane {
    number: Lane,
    settings: Arc<ClusterSettings>,
    open: bool,
    anywhere: LaneConnection,
    /// Where that one goes.
    at: Option<Address>,
    /// Where it went before, if that may hang.
    former: Option<FormerNode>,
    /// Since when the topology does not name that node.
    missing: Option<Instant>,
    /// When it was last given the chance to take a lost connection back.
    retried: Option<Instant>,
    /// Until when it has that chance.
    returns_until: Option<Instant>,
    owners: BTreeMap<Address, LaneConnection>,
    /// Channels of shards that wait for a topology that says whose they are.
    homeless: BTreeSet<Subscription>,
    /// What a node would not take, and whence it came.
    strays: Vec<(Address, Subscription)>,
    /// Names that a former owner, this one, goes on holding until the new one has confirmed them.
    overlap: BTreeMap<Subscription, Address>,
    /// Those of them whose new owner is of the same shard.
    handovers: Handovers,
    /// Names that nodes have withdrawn, and that go nowhere yet.
    away: Vec<Away>,
    /// Where the last poll has stopped; the next one goes on there. `None` if it has come round.
    stopped: Option<Place>,
    /// Shifts the node that the channels and globs go to, so that not all servers take the same.
    spread: usize,
}

/// What a node has withdrawn. If it is a master still, it knows where the names go; if it has become a replica, they
/// stay away for a while: see `mastership`. They do not go back to a replica, though it would take them: others count
/// the subscribers of those nodes that they know of.
struct Away {
    from: Address,
    names: BTreeSet<Subscription>,
    until: Instant,
    /// When it is next looked at whether they can go.
    next: Instant,
}

/// A place among the connections to owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    class: Class,
    /// Before which of all of them.
    at: usize,
}

/// What is polled in one stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The owners of slots.
    Owners,
    /// Former owners that may be late with what others have handed on: behind those.
    Doubted,
}

/// Returns the stretches of a poll that goes on at a place. What it has passed over there comes behind all others. The
/// doubted ones come last, too: what is read before is delivered when all is read that they have sent.
fn stretches(from: Option<Place>) -> [(Class, Range<usize>); 4] {
    use Class::{Doubted, Owners};
    let all = 0..usize::MAX;
    match from {
        None => [(Owners, all.clone()), (Doubted, all), (Owners, 0..0), (Doubted, 0..0)],
        Some(Place { class: Owners, at }) => {
            [(Owners, at..usize::MAX), (Doubted, all.clone()), (Owners, 0..at), (Doubted, all)]
        }
        Some(Place { class: Doubted, at }) => {
            [(Doubted, at..usize::MAX), (Owners, all.clone()), (Doubted, all), (Owners, 0..0)]
        }
    }
}

/// What a lane has learned about the cluster.
#[derive(Default)]
pub(super) struct Hints {
    /// What nodes said of slots that they do not own.
    pub(super) redirects: Vec<(Address, Redirect)>,
    /// A connection is lost, or a name has no home.
    pub(super) trouble: bool,
    /// The nodes that have withdrawn subscriptions.
    pub(super) withdrawn: BTreeSet<Address>,
}

impl ClusterLane {
    /// Returns a lane without names, which needs no connection.
    pub(super) fn new(number: Lane, settings: Arc<ClusterSettings>, spread: usize, open: bool) -> Self {
        // It is not opened before it has a node.
        let nowhere = Target::new(Address::Unix(PathBuf::new()), settings.base.clone());
        Self {
            number,
            settings,
            open,
            anywhere: LaneConnection::new(number, Arc::new(nowhere), Holding::Lane),
            at: None,
            former: None,
            missing: None,
            retried: None,
            returns_until: None,
            owners: BTreeMap::new(),
            homeless: BTreeSet::new(),
            strays: Vec::new(),
            overlap: BTreeMap::new(),
            handovers: Handovers::default(),
            away: Vec::new(),
            stopped: None,
            spread,
        }
    }

    /// Adds names.
    pub(super) fn subscribe(&mut self, names: Vec<Subscription>, topology: &Topology) {
        let (of_shards, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.kind == SubscriptionKind::Shard);
        if !others.is_empty() {
            self.anywhere.subscribe(others);
            self.place(topology);
        }
        self.route(of_shards, topology);
    }

    /// Removes names; a name that was not there is passed over.
    pub(super) fn unsubscribe(&mut self, names: Vec<Subscription>) {
        for name in &names {
            self.homeless.remove(name);
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
        if self.at.is_some() {
            self.anywhere.open();
        }
        self.owners.values_mut().for_each(LaneConnection::open);
    }

    /// Drops the connections and keeps the names; returns whether one was up or on its way.
    pub(super) fn close(&mut self) -> bool {
        self.open = false;
        self.former = None;
        self.returns_until = None;
        self.homeless.extend(self.handovers.clear());
        let mut reported = self.anywhere.close();
        for connection in self.owners.values_mut() {
            reported |= connection.close();
        }
        self.homeless.extend(self.away.drain(..).flat_map(|away| away.names));
        reported
    }

    /// Forgets the names.
    pub(super) fn clear(&mut self) {
        self.anywhere.clear();
        self.former = None;
        self.owners.clear();
        self.homeless.clear();
        self.strays.clear();
        self.overlap.clear();
        self.handovers.clear();
        self.away.clear();
    }

    /// Asks for signs of life, unless nothing is read.
    pub(super) fn pulse(&mut self, paused: bool) {
        self.anywhere.pulse(paused);
        if let Some(former) = &mut self.former {
            former.pulse(paused);
        }
        self.owners.values_mut().for_each(|connection| connection.pulse(paused));
    }

    /// Returns when a poll has something to do though nothing has come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let away = self.away.iter().map(|away| away.next);
        let missing = self.missing.map(|since| since + MISSING);
        let former = self.former.as_ref().and_then(FormerNode::deadline);
        let others = [self.returns_until, missing, self.handovers.deadline(), former];
        others.into_iter().flatten().chain(away).min()
    }

    /// Returns whether a name waits for a topology that says whose it is.
    pub(super) fn is_homeless(&self) -> bool {
        !self.homeless.is_empty()
    }

    /// Moves what the topology says is elsewhere, `before` being the last one. Returns whether there was something to
    /// report.
    pub(super) fn adopt(
        &mut self,
        topology: &Topology,
        before: &Topology,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let mut reported = false;
        let mut report = |incoming: Incoming<'_>| {
            reported = true;
            sink(incoming);
        };
        let gone = |at: &Address| !topology.nodes().any(|node| node == at);
        self.missing = self.at.as_ref().filter(|at| gone(at)).map(|_| self.missing.unwrap_or(now));
        self.away.iter_mut().for_each(|away| away.next = away.until);
        self.place(topology);
        self.handovers.end_if(now, |name, owner| topology.master(slot_of(name)) != Some(owner));
        let mut moving: Vec<Subscription> = std::mem::take(&mut self.homeless).into_iter().collect();
        moving.extend(self.strays.drain(..).map(|(_, name)| name));
        for node in self.owners.keys().cloned().collect::<Vec<_>>() {
            moving.extend(self.evict(&node, topology, before, now, &mut report));
        }
        self.route(moving, topology);
        reported
    }

    /// Returns what stays the same as long as a node holds something for this lane.
    pub(super) fn watch(&self, node: &Address) -> Option<Watch> {
        let watch = self.owners.get(node)?.watch()?;
        Some((self.number, watch))
    }

    /// Asks a node whether it is alive.
    pub(super) fn probe(&mut self, node: &Address, now: Instant) {
        if let Some(connection) = self.owners.get_mut(node) {
            connection.probe(now);
        }
    }

    /// Returns whether a node does not answer that.
    pub(super) fn is_silent(&self, node: &Address, now: Instant) -> bool {
        self.owners.get(node).is_some_and(|connection| connection.is_silent(now))
    }

    /// Nothing is read, so that nothing is silent.
    pub(super) fn pass_probes(&mut self) {
        self.owners.values_mut().for_each(LaneConnection::pass_probe);
    }

    /// Returns whether a node may have said something that is not read yet.
    pub(super) fn is_behind(&self, node: &Address) -> bool {
        self.stopped.is_some() || self.owners.get(node).is_some_and(|connection| connection.more)
    }

    /// A node that has withdrawn names does not say that it is a replica: it may know where they are now.
    pub(super) fn return_to(&mut self, node: &Address, topology: &Topology) {
        let back = self.away.extract_if(.., |away| away.from == *node);
        let names: Vec<_> = back.flat_map(|away| away.names).collect();
        self.route(names, topology);
    }

    /// Takes note of names that nodes have withdrawn.
    fn go_away(
        &mut self,
        withdrawn: Vec<(Address, Subscription)>,
        topology: &Topology,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        hints: &mut Hints,
    ) {
        for (from, name) in withdrawn {
            if !hints.withdrawn.contains(&from) {
                hints.withdrawn.insert(from.clone());
            }
            let owner = topology.master(slot_of(&name.name)).and_then(|owner| self.owners.get(owner));
            if !owner.is_some_and(|owner| owner.holds(&name)) {
                let Subscription { kind, name } = &name;
                sink(Incoming::Unsubscribed {
                    lane: self.number,
                    kind: *kind,
                    name,
                    reason: WITHDRAWN,
                    silence: 0,
                });
            }
            if self.overlap.get(&name) == Some(&from) {
                self.overlap.remove(&name);
            }
            self.handovers.withdrawn(&from, &name, now);
            if owner.is_some_and(|owner| owner.wants(&name)) {
                // The new owner is asked already.
                continue;
            }
            match self.away.iter_mut().find(|away| away.from == from) {
                Some(away) => _ = away.names.insert(name),
                None => {
                    let until = now + AWAY;
                    self.away.push(Away { from, names: BTreeSet::from([name]), until, next: until });
                }
            }
        }
    }

    /// Has names come back that were away for long enough. Returns whether there were any.
    pub(super) fn end_away(
        &mut self,
        topology: &Topology,
        now: Instant,
        is_replica: impl Fn(&Address) -> bool,
    ) -> bool {
        if self.away.iter().all(|away| now < away.next) {
            return false;
        }
        let mut back = Vec::new();
        for away in self.away.iter_mut().filter(|away| now >= away.next) {
            let Away { from, names, next, .. } = away;
            let stays = is_replica(from);
            names.retain(|name| {
                let stays = stays && topology.master(slot_of(&name.name)) == Some(&*from);
                if !stays {
                    back.push(name.clone());
                }
                stays
            });
            *next = now + AWAY;
        }
        self.away.retain(|away| !away.names.is_empty());
        let any = !back.is_empty();
        self.route(back, topology);
        any
    }

    /// Finds homes for what a node would not take; what would go back there waits for another topology.
    pub(super) fn settle(&mut self, topology: &Topology) {
        let mut moving = Vec::new();
        for (from, name) in std::mem::take(&mut self.strays) {
            if topology.master(slot_of(&name.name)).is_none_or(|owner| *owner == from) {
                self.homeless.insert(name);
            } else {
                moving.push(name);
            }
        }
        self.route(moving, topology);
    }

    /// Opens, writes all, and reads unless paused.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        hints: &mut Hints,
    ) -> Step {
        let mut step = self.poll_anywhere(cx, topology, paused, now, sink, hints);
        let mut loss = None;
        let mut lost = Vec::new();
        let mut settled = Vec::new();
        let mut withdrawn = Vec::new();
        let stopped = self.stopped.take();
        let owners = &self.owners;
        let asks = self.handovers.look(now, |node| owners.get(node).is_some_and(LaneConnection::is_asked));
        asks.iter().for_each(|owner| self.owners.get_mut(owner).into_iter().for_each(LaneConnection::ask));
        let doubted = self.handovers.doubted();
        'all: for (class, stretch) in stretches(stopped) {
            if stretch.is_empty() || (class == Class::Doubted && doubted.is_empty()) {
                continue;
            }
            for (at, (node, connection)) in self.owners.iter_mut().enumerate() {
                let of = if doubted.contains(node) { Class::Doubted } else { Class::Owners };
                if of != class || !stretch.contains(&at) {
                    continue;
                }
                let (overlap, handovers) = (&self.overlap, &mut self.handovers);
                let one = connection.poll(cx, paused, &mut |incoming| {
                    if !handovers.is_empty() && !handovers.hear(node, &incoming, now) {
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
                if class == Class::Doubted && !one.more && !paused {
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
                    self.stopped = Some(Place { class, at: at + 1 });
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
            self.handovers.pause(paused, now);
            self.handovers.lose(&lost, now);
            let due = self.handovers.due(now);
            step.more |= !due.is_empty();
            self.route(due, topology);
            let over = self.handovers.take_over();
            step.more |= !over.is_empty();
            self.end_overlap(over, topology);
            let (number, kind) = (self.number, SubscriptionKind::Shard);
            for Held { name, payload, .. } in self.handovers.take_held() {
                let (name, payload) = (name.as_slice(), payload.as_slice());
                sink(Incoming::Message { lane: number, kind, name, channel: name, payload });
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

    fn poll_anywhere(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        hints: &mut Hints,
    ) -> Step {
        if self.missing.is_some_and(|since| now >= since + MISSING) {
            self.missing = None;
            // It may have stood still for long, while the others took what was published.
            let silence = self.anywhere.silence();
            if topology.masters().next().is_some() {
                self.leave_former(sink);
                self.former = FormerNode::of(&mut self.anywhere);
            }
            if self.move_on(topology) || self.former.is_some() {
                sink(Incoming::LaneDown { lane: self.number, reason: DELISTED, silence });
                return Step::REPORTED;
            }
        }
        let stood = self.anywhere.is_open();
        let mut step = match &mut self.former {
            None => self.anywhere.poll(cx, paused, sink),
            Some(former) => self.anywhere.poll(cx, paused, &mut |incoming| {
                if former.hear(&incoming, now) {
                    sink(incoming);
                }
            }),
        };
        let later = self.poll_former(cx, paused, now, sink);
        step.reported |= later.reported;
        step.more |= later.more;
        if self.anywhere.is_open() {
            self.returns_until = None;
        }
        let lost = self.anywhere.take_news().loss.is_some();
        hints.trouble |= lost;
        let may_return = stood
            && self.retried.is_none_or(|last| now - last >= STABLE)
            && self.at.as_ref().is_some_and(|at| topology.nodes().any(|node| node == at));
        if lost && may_return {
            self.retried = Some(now);
            self.returns_until = Some(now + RETURN);
        } else if lost || self.returns_until.is_some_and(|until| now >= until) {
            // The node is gone for good, or hangs. What it has sent last may come again from the next one; to know
            // that, each message would have to be remembered, always. The waits before each attempt are about as
            // long as the nodes lag behind each other.
            self.returns_until = None;
            self.move_on(topology);
            step.more = true;
        }
        step
    }

    /// Looks after the node that the channels and globs were moved away from.
    fn poll_former(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Step {
        let Some(former) = &mut self.former else {
            return Step::default();
        };
        let Ok(mut step) = former.poll(cx, paused, self.number, now, sink) else {
            return Step { reported: self.leave_former(sink), more: false };
        };
        if former.asks(self.anywhere.is_asked()) {
            self.anywhere.ask();
            step.more = true;
        }
        if former.is_over() {
            self.former = None;
        }
        step
    }

    /// Waits no more for the node that the channels and globs were moved away from; returns whether something was held back.
    fn leave_former(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        self.former.take().is_some_and(|mut former| former.give_all(self.number, sink))
    }

    /// The new owners hold these: the former ones need not.
    fn end_overlap(&mut self, settled: Vec<Subscription>, topology: &Topology) {
        for name in settled {
            if let Some(former) = self.overlap.remove(&name)
                && topology.master(slot_of(&name.name)) != Some(&former)
                && let Some(connection) = self.owners.get_mut(&former)
            {
                connection.unsubscribe(vec![name]);
            }
        }
    }

    fn after_losses(
        &mut self,
        loss: Option<Loss>,
        lost: &[Address],
        topology: &Topology,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let Some(loss) = loss else {
            return false;
        };
        for node in lost {
            // What it held as a replica is on its way to the master; the rest waits for its return, or for news.
            let moving = self.evict(node, topology, topology, now, sink);
            self.route(moving, topology);
        }
        if self.owners.values().any(LaneConnection::is_open) {
            return false;
        }
        sink(Incoming::LaneDown { lane: self.number, reason: &loss.to_string(), silence: 0 });
        true
    }

    /// Takes from a node the names that are not its own; returns those that are to go elsewhere.
    fn evict(
        &mut self,
        node: &Address,
        topology: &Topology,
        before: &Topology,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Vec<Subscription> {
        let Some(connection) = self.owners.get(node) else {
            return Vec::new();
        };
        let mut leaving = Vec::new();
        let mut held_there = Vec::new();
        let mut moving = Vec::new();
        let mut handed_over: BTreeMap<&Address, Vec<Subscription>> = BTreeMap::new();
        let listed = topology.nodes().any(|listed| listed == node);
        let is_shard_of =
            |owner: &Address| topology.is_shard_of(node, owner) || before.is_shard_of(node, owner);
        for (name, holds) in connection.names() {
            let owner = topology.master(slot_of(&name.name));
            if holds && owner != Some(node) && self.handovers.is_leaving(node, name) {
                continue;
            }
            if self.overlap.get(name) == Some(node) {
                self.overlap.remove(name);
            }
            if owner == Some(node) {
                continue;
            }
            if owner.and_then(|owner| self.owners.get(owner)).is_some_and(|owner| owner.holds(name)) {
                held_there.push(name.clone());
                continue;
            }
            // One that is not listed may have been of that shard: it may have hung for longer than the last topology.
            let successor = owner.filter(|owner| !listed || is_shard_of(owner));
            if !holds || !(listed || successor.is_some()) {
                leaving.push(name.clone());
                moving.push(name.clone());
                continue;
            }
            self.overlap.insert(name.clone(), node.clone());
            let Some(successor) = successor else {
                moving.push(name.clone());
                continue;
            };
            handed_over.entry(successor).or_default().push(name.clone());
            if !listed {
                // It may not be known as a replica yet, or hang.
                let Subscription { kind, name } = name;
                sink(Incoming::Unsubscribed {
                    lane: self.number,
                    kind: *kind,
                    name,
                    reason: MOVED,
                    silence: connection.silence(),
                });
            }
        }
        let mut may_hang = false;
        let silence = Duration::from_millis(connection.silence());
        let last = || connection.last_messages();
        for (owner, names) in handed_over {
            let relation = match is_shard_of(owner) {
                true if listed => Relation::Replica,
                true => Relation::Shard,
                false => Relation::Unknown,
            };
            moving.extend(self.handovers.begin(node, owner, names, relation, (silence, last()), now));
            may_hang |= !listed;
        }
        if let Some(connection) = self.owners.get_mut(node) {
            if may_hang {
                connection.ask();
            }
            connection.unsubscribe(held_there);
            connection.give_up(leaving, MOVED, sink);
        }
        moving
    }

    /// Hands names to the owners of their slots, those that do not have them yet.
    fn route(&mut self, names: Vec<Subscription>, topology: &Topology) {
        let mut routes: BTreeMap<&Address, Vec<Subscription>> = BTreeMap::new();
        for name in names {
            match topology.master(slot_of(&name.name)) {
                Some(owner) => routes.entry(owner).or_default().push(name),
                None => {
                    self.homeless.insert(name);
                }
            }
        }
        for (owner, mut names) in routes {
            let connection = self
                .owners
                .entry(owner.clone())
                .or_insert_with(|| LaneConnection::new(self.number, self.settings.of(owner), Holding::Slot));
            names.retain(|name| !connection.wants(name) && !self.handovers.is_waiting(name));
            connection.subscribe(names);
            if self.open {
                connection.open();
            }
        }
    }

    /// Finds a node for the channels and globs if they have none.
    fn place(&mut self, topology: &Topology) {
        if self.at.is_none() && self.anywhere.has_names() {
            self.move_on(topology);
        }
        if self.open && self.at.is_some() {
            self.anywhere.open();
        }
    }

    /// Takes the next master for the channels and globs. Returns whether a connection was up or on its way.
    fn move_on(&mut self, topology: &Topology) -> bool {
        let masters: Vec<&Address> = topology.masters().collect();
        let place = match &self.at {
            Some(at) => masters.iter().position(|master| *master == at).map_or(0, |place| place + 1),
            None => self.number + self.spread,
        };
        let Some(next) = place.checked_rem(masters.len()).and_then(|place| masters.get(place)) else {
            return false;
        };
        self.at = Some((*next).clone());
        self.missing = None;
        self.returns_until = None;
        self.anywhere.move_to(self.settings.of(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_polled_in_turn_if_each_poll_stops_at_once() {
        let classes = [Class::Owners, Class::Doubted, Class::Owners, Class::Doubted, Class::Owners];
        let mut stopped = None;
        let mut order = Vec::new();
        for _ in 0..classes.len() {
            let all = stretches(stopped);
            let mut places = all.iter().flat_map(|(class, stretch)| {
                (0..classes.len())
                    .filter(|at| classes[*at] == *class && stretch.contains(at))
                    .map(|at| (*class, at))
            });
            let (class, at) = places.next().unwrap();
            order.push(at);
            stopped = Some(Place { class, at: at + 1 });
        }
        assert_eq!(order, [0, 2, 4, 1, 3]);
    }

    #[test]
    fn a_poll_that_is_not_stopped_ends_with_the_doubted_ones() {
        let places = [None, Some((Class::Owners, 0)), Some((Class::Owners, 2)), Some((Class::Doubted, 2))];
        for from in places.map(|place| place.map(|(class, at)| Place { class, at })) {
            let all = stretches(from);
            let of = |class| all.iter().filter(move |(of, _)| *of == class).map(|(_, stretch)| stretch);
            for at in 0..3 {
                assert_eq!(of(Class::Owners).filter(|stretch| stretch.contains(&at)).count(), 1, "{from:?}");
            }
            let last = all.iter().rfind(|(_, stretch)| !stretch.is_empty()).unwrap();
            assert_eq!(*last, (Class::Doubted, 0..usize::MAX), "{from:?}");
        }
    }
}
