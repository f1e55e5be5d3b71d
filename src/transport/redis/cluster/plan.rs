//! Which nodes are connected, and which one gets the publishes on global channels.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::ClusterTransport;
use super::node::{ClusterNode, GRACE};
use super::poll::Sink;
use super::subscriber::MISSING;
use crate::transport::ChannelKind;
use crate::transport::redis::connect::Address;

/// The reason that is given for what such a node has not answered.
const LEFT: &str = "the node is no longer the one to ask";

impl ClusterTransport {
    /// Whether publishes go to a node.
    pub(super) fn needs(&self, node: &Address) -> bool {
        match self.channel_kind {
            ChannelKind::Global => self.chosen.as_ref() == Some(node),
            ChannelKind::Shard => self.topology.masters().any(|master| master == node),
        }
    }

    /// Opens connections that are needed, and drops those that are not. Returns whether there was something
    /// to report.
    pub(super) fn plan(&mut self, now: Instant, sink: &mut Sink<'_>) -> bool {
        let listed = self.topology.node_set();
        let masters: BTreeSet<Address> = self.topology.masters().cloned().collect();
        if self.channel_kind == ChannelKind::Global {
            self.keep_or_choose(&listed, now);
        }
        let needed: Vec<Address> = match self.channel_kind {
            ChannelKind::Global => self.chosen.iter().cloned().collect(),
            ChannelKind::Shard => self.topology.masters().cloned().collect(),
        };
        for address in &needed {
            if !self.nodes.contains_key(address) {
                self.nodes
                    .insert(address.clone(), ClusterNode::new(&self.settings, address, self.channel_kind));
            }
        }
        let mut reported = false;
        self.nodes.retain(|address, node| {
            // A former master that answers says itself that it does not run them.
            if node.hangs && !masters.contains(address) {
                node.abandon_commands(LEFT, &mut self.reports);
            }
            let counted = self.counting.begun && listed.contains(address);
            let commanded = masters.contains(address) && node.is_commanded(now);
            let wanted = needed.contains(address) || counted || commanded || self.refresh.is_asking(address);
            node.superseded = !needed.contains(address);
            // Its successor gets publishes only when this node has answered, or cannot run its commands any
            // more.
            let holds_up = node.is_outrun() && node.is_frozen();
            if wanted && !holds_up {
                node.leaves_at = None;
                return true;
            }
            let until = *node.leaves_at.get_or_insert(now + GRACE);
            // A node that is not listed may be a master that was just replaced.
            if node.has_unanswered() && node.is_written() && now < until && !holds_up {
                return true;
            }
            let unanswered = node.give_up(
                LEFT,
                &mut |incoming| {
                    reported = true;
                    sink(incoming);
                },
                &mut self.reports,
            );
            self.outage.unanswered += unanswered;
            if unanswered > 0 {
                node.discard();
            }
            self.refresh.failed(address, LEFT);
            false
        });
        reported
    }

    /// Chooses another node for publishes if the chosen one is gone from the cluster for good.
    fn keep_or_choose(&mut self, listed: &BTreeSet<Address>, now: Instant) {
        if self.chosen.as_ref().is_some_and(|chosen| listed.contains(chosen)) {
            self.unlisted = None;
            return;
        }
        let since = *self.unlisted.get_or_insert(now);
        let stands = self.chosen.as_ref().is_some_and(|chosen| self.is_connected(chosen));
        if !stands || now >= since + MISSING {
            self.unlisted = None;
            self.choose();
        }
    }

    /// Chooses another node for publishes: a connected one if possible, else the next.
    pub(super) fn choose(&mut self) {
        let masters: Vec<&Address> = self.topology.masters().collect();
        let place = match &self.chosen {
            Some(chosen) => masters.iter().position(|master| *master == chosen).map_or(0, |at| at + 1),
            None => self.spread,
        };
        let from = place.checked_rem(masters.len()).unwrap_or(0);
        let in_turn = || masters.iter().cycle().skip(from).take(masters.len());
        let connected =
            in_turn().find(|address| self.nodes.get(**address).is_some_and(|node| node.is_open()));
        let others = in_turn().next();
        let chosen = if self.chosen.is_some() { connected.or(others) } else { others };
        self.chosen = chosen.map(|address| (*address).clone());
    }
}
