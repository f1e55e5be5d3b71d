use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Context;

use super::super::lane::{Holding, LaneConnection};
use super::super::settings::Address;
use super::super::stream::Loss;
use super::super::{Incoming, Lane, Step, Subscription, SubscriptionKind};
use super::redirect::Redirect;
use super::settings::ClusterSettings;
use super::slot::slot_of;
use super::topology::Topology;

/// Why a name is let go of by a node that stands.
const MOVED: &str = "the slot of the channel is another node's now";

/// Why a lane without a loss of its own goes elsewhere.
const DELISTED: &str = "the node is no longer part of the cluster";

/// One lane in a cluster. Its channels and globs sit at one node, whichever; its channels of shards at the owners
/// of their slots, with a connection to each.
pub(super) struct ClusterLane {
    number: Lane,
    settings: Arc<ClusterSettings>,
    open: bool,
    anywhere: LaneConnection,
    /// Where that one goes.
    at: Option<Address>,
    owners: BTreeMap<Address, LaneConnection>,
    /// Channels of shards that wait for a topology that says whose they are.
    homeless: BTreeSet<Subscription>,
    /// What a node would not take, and whence it came.
    strays: Vec<(Address, Subscription)>,
    /// Names that a former owner, this one, goes on holding until the new one has confirmed them.
    overlap: BTreeMap<Subscription, Address>,
    /// Shifts the node that the channels and globs go to, so that not all servers take the same.
    spread: usize,
}

/// What a lane has learned about the cluster.
#[derive(Default)]
pub(super) struct Hints {
    /// What nodes said of slots that they do not own.
    pub(super) redirects: Vec<(Address, Redirect)>,
    /// A connection is lost, or a name has no home.
    pub(super) trouble: bool,
    /// A node has withdrawn a subscription.
    pub(super) withdrawn: bool,
}

impl ClusterLane {
    /// Returns a lane without names, which needs no connection.
    pub(super) fn new(number: Lane, settings: Arc<ClusterSettings>, spread: usize, open: bool) -> Self {
        let base = Arc::new(settings.base.clone());
        Self {
            number,
            settings,
            open,
            anywhere: LaneConnection::new(number, base, Holding::Lane),
            at: None,
            owners: BTreeMap::new(),
            homeless: BTreeSet::new(),
            strays: Vec::new(),
            overlap: BTreeMap::new(),
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
        self.strays.retain(|(_, stray)| !names.contains(stray));
        for connection in self.owners.values_mut() {
            let here = names.iter().filter(|name| connection.names().contains(name)).cloned().collect();
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
        let mut reported = self.anywhere.close();
        for connection in self.owners.values_mut() {
            reported |= connection.close();
        }
        reported
    }

    /// Forgets the names.
    pub(super) fn clear(&mut self) {
        self.anywhere.clear();
        self.owners.clear();
        self.homeless.clear();
        self.strays.clear();
        self.overlap.clear();
    }

    /// Returns whether a name waits for a topology that says whose it is.
    pub(super) fn is_homeless(&self) -> bool {
        !self.homeless.is_empty()
    }

    /// Moves what the topology says is elsewhere. Returns whether there was something to report.
    pub(super) fn adopt(&mut self, topology: &Topology, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let mut reported = false;
        let mut report = |incoming: Incoming<'_>| {
            reported = true;
            sink(incoming);
        };
        let gone = |at: &Address| !topology.nodes().any(|node| node == at);
        if self.at.as_ref().is_some_and(gone) && self.move_on(topology) {
            report(Incoming::LaneDown { lane: self.number, reason: DELISTED });
        }
        self.place(topology);
        let mut moving: Vec<Subscription> = std::mem::take(&mut self.homeless).into_iter().collect();
        moving.extend(self.strays.drain(..).map(|(_, name)| name));
        for node in self.owners.keys().cloned().collect::<Vec<_>>() {
            moving.extend(self.evict(&node, topology, &mut report));
        }
        self.route(moving, topology);
        reported
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

    /// Opens, writes all, and reads unless paused;
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
        hints: &mut Hints,
    ) -> Step {
        let mut step = self.anywhere.poll(cx, paused, sink);
        if self.anywhere.take_news().loss.is_some() {
            hints.trouble = true;
            self.move_on(topology);
        }
        let mut loss = None;
        let mut lost = Vec::new();
        let mut settled = Vec::new();
        for (node, connection) in &mut self.owners {
            let overlap = &self.overlap;
            let one = connection.poll(cx, paused, &mut |incoming| {
                if let Incoming::Subscribed { kind, name, .. } = incoming
                    && !overlap.is_empty()
                    && topology.master(slot_of(name)) == Some(node)
                {
                    settled.push(Subscription { kind, name: name.to_vec() });
                }
                sink(incoming);
            });
            step.reported |= one.reported;
            step.more |= one.more;
            let news = connection.take_news();
            self.strays.extend(news.strays.into_iter().map(|name| (node.clone(), name)));
            hints.redirects.extend(news.redirects.into_iter().map(|one| (node.clone(), one)));
            hints.withdrawn |= news.withdrawn;
            if let Some(why) = news.loss {
                loss = Some(why);
                lost.push(node.clone());
            }
        }
        self.end_overlap(settled);
        step.reported |= self.after_losses(loss, &lost, topology, sink);
        hints.trouble |= !lost.is_empty() || !self.strays.is_empty();
        self.owners.retain(|_, connection| !connection.names().is_empty() || !connection.is_closed());
        step
    }

    /// The new owners hold these: the former ones need not.
    fn end_overlap(&mut self, settled: Vec<Subscription>) {
        for name in settled {
            if let Some(former) = self.overlap.remove(&name)
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
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let Some(loss) = loss else {
            return false;
        };
        for node in lost {
            // What it held as a replica is on its way to the master; the rest waits for its return, or for news.
            let moving = self.evict(node, topology, sink);
            self.route(moving, topology);
        }
        if self.owners.values().any(LaneConnection::is_open) {
            return false;
        }
        sink(Incoming::LaneDown { lane: self.number, reason: &loss.to_string() });
        true
    }

    /// Takes from a node the names that are not its own; returns those that are to go elsewhere.
    fn evict(
        &mut self,
        node: &Address,
        topology: &Topology,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Vec<Subscription> {
        let Some(connection) = self.owners.get(node) else {
            return Vec::new();
        };
        let mut leaving = Vec::new();
        let mut held_there = Vec::new();
        let mut moving = Vec::new();
        let listed = topology.nodes().any(|listed| listed == node);
        for name in connection.names() {
            if self.overlap.get(name) == Some(node) {
                self.overlap.remove(name);
            }
            let owner = topology.master(slot_of(&name.name));
            if owner == Some(node) {
                continue;
            }
            if owner.and_then(|owner| self.owners.get(owner)).is_some_and(|owner| owner.holds(name)) {
                held_there.push(name.clone());
                continue;
            }
            if listed && connection.holds(name) {
                self.overlap.insert(name.clone(), node.clone());
            } else {
                leaving.push(name.clone());
            }
            moving.push(name.clone());
        }
        if let Some(connection) = self.owners.get_mut(node) {
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
            names.retain(|name| !connection.names().contains(name));
            connection.subscribe(names);
            if self.open {
                connection.open();
            }
        }
    }

    /// Finds a node for the channels and globs if they have none.
    fn place(&mut self, topology: &Topology) {
        if self.at.is_none() && !self.anywhere.names().is_empty() {
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
        self.anywhere.move_to(self.settings.of(next))
    }
}
