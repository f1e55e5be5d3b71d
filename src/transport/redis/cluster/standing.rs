//! Whether everything is there that publishing needs; and if not, why.

use super::node::ClusterNode;
use super::poll::Sink;
use super::{ClusterTransport, Outage};
use crate::transport::redis::connect::Address;
use crate::transport::{ChannelKind, Incoming, Trial};

impl ClusterTransport {
    /// Whether all nodes that get publishes are connected. If all were connected before, a node may also be
    /// in its first attempt: publishes to it come back.
    pub(super) fn stands(&self) -> bool {
        let is_new = |node: &Address| self.up && self.nodes.get(node).is_some_and(ClusterNode::is_new);
        let takes =
            |node: &Address| self.nodes.get(node).is_some_and(|node| node.is_open() && node.held().is_none());
        let is_open = |node: &Address| takes(node) || is_new(node);
        self.stalled.is_none()
            && match self.channel_kind {
                ChannelKind::Global => self.chosen.as_ref().is_some_and(takes),
                ChannelKind::Shard => self.covered && self.topology.masters().all(is_open),
            }
    }

    /// Reports that publishing has become impossible, that an attempt has failed, or that it is possible
    /// again.
    pub(super) fn tell_standing(&mut self, sink: &mut Sink<'_>) -> bool {
        let stands = self.stands();
        let ended = self.up && !stands;
        let failed = !self.up && !stands && self.outage.failed;
        let mut reported = false;
        if ended || failed || self.outage.unanswered > 0 {
            let Outage { reason, unanswered, failed } = std::mem::take(&mut self.outage);
            let unwritten = std::mem::take(&mut self.too_early);
            let is_lost = failed || self.stalled.is_some() || unanswered > 0 || unwritten > 0;
            match self.held().filter(|_| !is_lost) {
                Some(reason) => sink(Incoming::Held { reason, trial: Trial::Transport }),
                None => {
                    // A node that does not serve a slot does not say which one.
                    let stalled =
                        self.stalled.as_ref().map(|stalled| self.unowned().unwrap_or(stalled.clone()));
                    let reason = stalled.or(reason).unwrap_or_else(|| self.why());
                    sink(Incoming::Down { reason: &reason, unanswered, unwritten });
                }
            }
            self.up = false;
            reported = true;
        }
        if stands {
            // What has failed meanwhile was not needed.
            self.outage = Outage::default();
        }
        if stands && !self.up {
            self.up = true;
            sink(Incoming::Up);
            reported = true;
        }
        reported
    }

    /// Returns why a node that gets publishes holds them back, if one does.
    fn held(&self) -> Option<&str> {
        self.nodes.iter().filter(|(address, _)| self.needs(address)).find_map(|(_, node)| node.held())
    }

    /// Returns which slot has no owner, if an owner is needed and the cluster is known.
    fn unowned(&self) -> Option<String> {
        let slot = self.topology.first_uncovered();
        let slot = slot.filter(|_| self.channel_kind == ChannelKind::Shard && self.knows_nodes())?;
        Some(format!("no node of the cluster owns slot {slot}"))
    }

    /// Returns what is missing, in words.
    fn why(&self) -> String {
        if let Some(reason) = self.held() {
            return reason.to_owned();
        }
        if !self.knows_nodes() {
            return "the topology of the cluster is not known".to_owned();
        }
        if let Some(reason) = self.unowned() {
            return reason;
        }
        let missing = self.topology.masters().find(|node| self.needs(node) && !self.is_connected(node));
        match missing {
            Some(node) => format!("{node} owns slots, and is not connected yet"),
            None => "the node that was published to is no longer part of the cluster".to_owned(),
        }
    }

    pub(super) fn is_connected(&self, node: &Address) -> bool {
        self.nodes.get(node).is_some_and(ClusterNode::is_open)
    }
}
