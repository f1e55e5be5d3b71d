//! How names move from one owner to another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::handovers::Relation;
use super::{Away, ClusterSubscriber, Hints};
use crate::transport::redis::cluster::node::AWAY;
use crate::transport::redis::cluster::topology::Topology;
use crate::transport::redis::connect::{Address, Loss};
use crate::transport::redis::connection::millis;
use crate::transport::redis::slot::slot_of;
use crate::transport::redis::subscriber::{Holding, SubscriberConnection, WITHDRAWN};
use crate::transport::{Incoming, Subscription};

/// Why a name leaves a node while the connection works.
const MOVED: &str = "the slot of the channel is another node's now";

impl ClusterSubscriber {
    /// Moves names that have another owner in the new topology. `before` is the last one. Returns whether
    /// there was something to report.
    pub(crate) fn adopt(
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
        self.anywhere.adopt(topology, now, self.open);
        self.away.iter_mut().for_each(|away| away.next = away.until);
        self.handovers.end_if(now, |name, owner| topology.master(slot_of(name)) != Some(owner));
        let mut moving: Vec<Subscription> = std::mem::take(&mut self.unplaced).into_iter().collect();
        moving.extend(self.strays.drain(..).map(|(_, name)| name));
        for node in self.owners.keys().cloned().collect::<Vec<_>>() {
            moving.extend(self.evict(&node, topology, before, now, &mut report));
        }
        self.route(moving, topology);
        reported
    }

    /// Nodes have withdrawn names.
    pub(super) fn go_away(
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
            // What its successor was sent while it hung may not have reached it.
            let missed_for = self.handovers.missed_for(&from, now).unwrap_or_default();
            if !owner.is_some_and(|owner| owner.holds(&name)) {
                let Subscription { kind, name } = &name;
                sink(Incoming::Unsubscribed {
                    subscriber: self.number,
                    kind: *kind,
                    name,
                    reason: WITHDRAWN,
                    silence: millis(missed_for),
                });
            }
            if self.overlap.get(&name) == Some(&from) {
                self.overlap.remove(&name);
            }
            self.handovers.withdrawn(&from, &name, now);
            if owner.is_some_and(|owner| owner.wants(&name)) {
                // The new owner was asked already.
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

    /// Brings back names that were away for long enough. Returns whether there were any.
    pub(crate) fn end_away(
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

    /// Finds nodes for names that were refused. Those that would go back to the same node wait for another
    /// topology.
    pub(crate) fn settle(&mut self, topology: &Topology) {
        let mut moving = Vec::new();
        for (from, name) in std::mem::take(&mut self.strays) {
            if topology.master(slot_of(&name.name)).is_none_or(|owner| *owner == from) {
                self.unplaced.insert(name);
            } else {
                moving.push(name);
            }
        }
        self.route(moving, topology);
    }

    /// The new owners hold these names, so the former ones can let them go.
    pub(super) fn end_overlap(&mut self, settled: Vec<Subscription>, topology: &Topology) {
        for name in settled {
            if let Some(former) = self.overlap.remove(&name)
                && topology.master(slot_of(&name.name)) != Some(&former)
                && let Some(connection) = self.owners.get_mut(&former)
            {
                connection.unsubscribe(vec![name]);
            }
        }
    }

    pub(super) fn after_losses(
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
            // Names that the node held as a replica are on their way to the master. The others wait until it
            // is back, or for another topology.
            let moving = self.evict(node, topology, topology, now, sink);
            self.route(moving, topology);
        }
        if self.owners.values().any(SubscriberConnection::is_open) {
            return false;
        }
        sink(Incoming::SubscriberDown { subscriber: self.number, reason: &loss.to_string(), silence: 0 });
        true
    }

    /// Takes names from a node that does not own them. Returns those that have to go elsewhere.
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
        let missed_for = self.handovers.missed_for(node, now);
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
            // A node that is not listed may have belonged to that shard: it may have hung for longer than the
            // last topology.
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
            if !listed || missed_for.is_some() {
                // It may not be known as a replica yet, may hang, or may have hung until now.
                let Subscription { kind, name } = name;
                sink(Incoming::Unsubscribed {
                    subscriber: self.number,
                    kind: *kind,
                    name,
                    reason: MOVED,
                    silence: missed_for.map_or(connection.silence(), millis),
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

    /// Gives names to the owners of their slots, unless those have them already.
    pub(super) fn route(&mut self, names: Vec<Subscription>, topology: &Topology) {
        let mut routes: BTreeMap<&Address, Vec<Subscription>> = BTreeMap::new();
        for name in names {
            match topology.master(slot_of(&name.name)) {
                Some(owner) => routes.entry(owner).or_default().push(name),
                None => {
                    self.unplaced.insert(name);
                }
            }
        }
        for (owner, mut names) in routes {
            let connection = self.owners.entry(owner.clone()).or_insert_with(|| {
                SubscriberConnection::new(self.number, self.settings.of(owner), Holding::BySlot)
            });
            names.retain(|name| !connection.wants(name) && !self.handovers.is_waiting(name));
            connection.subscribe(names);
            if self.open {
                connection.open();
            }
        }
    }
}
