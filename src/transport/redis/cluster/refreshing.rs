//! What the nodes say about the cluster, and what follows from it.

use tokio::time::Instant;

use super::ClusterTransport;
use super::node::{ClusterNode, NodeReport, NodeRole};
use super::poll::Sink;
use super::reader::Ended;
use super::subscriber::ClusterSubscriber;
use super::topology::{TopologyAnswer, Turn};
use crate::transport::ChannelKind;
use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::Redirect;

impl ClusterTransport {
    pub(super) fn knows_nodes(&self) -> bool {
        self.topology.nodes().next().is_some()
    }

    /// Asks the cluster, and takes its answers.
    pub(super) fn take_turns(&mut self, now: Instant, sink: &mut Sink<'_>) -> bool {
        let mut reported = false;
        while let Some(turn) = self.refresh.turn(now) {
            self.stale = true;
            match turn {
                Turn::Begin => {
                    let near = self.nodes.iter().filter(|(_, node)| node.is_open() && !node.hangs);
                    let near = near.map(|(address, _)| address.clone()).collect();
                    let far = self.topology.nodes().chain(&self.settings.seeds).cloned();
                    let (failing, far): (Vec<_>, Vec<_>) =
                        far.partition(|node| self.nodes.get(node).is_some_and(ClusterNode::is_failing));
                    self.refresh.begin(near, far, failing, now);
                }
                Turn::Ask(node) => {
                    let (settings, channel_kind) = (&self.settings, self.channel_kind);
                    let node = self.nodes.entry(node);
                    node.or_insert_with_key(|address| ClusterNode::new(settings, address, channel_kind))
                        .ask();
                }
                Turn::Adopt(answer) => reported |= self.adopt(answer, now, sink),
                Turn::Failed(reason) => {
                    self.end_waiting(&reason);
                    self.outage.failed = true;
                    self.outage.reason.get_or_insert(reason);
                }
            }
        }
        reported
    }

    fn adopt(&mut self, answer: TopologyAnswer, now: Instant, sink: &mut Sink<'_>) -> bool {
        let TopologyAnswer { ok, mut topology, .. } = answer;
        let (nodes, named) = (&self.nodes, topology.node_set());
        self.disowned.retain(|node| nodes.contains_key(node) || named.contains(node));
        let disowner = self.disowned.correct(&mut topology);
        let changed = self.topology != topology;
        let before = std::mem::replace(&mut self.topology, topology);
        let moved = changed && self.topology.has_other_owners(&before);
        self.covered = self.topology.first_uncovered().is_none();
        // The subscribers may have left the shard already, though the former master has not said so here.
        if moved && self.channel_kind == ChannelKind::Shard {
            let is_told = |former: &Address| self.nodes.get(former).is_some_and(ClusterNode::is_replica);
            self.demoted |= self.topology.successions(&before).iter().any(|former| !is_told(former));
        }
        if ok {
            self.stalled = None;
        }
        let mut reported = false;
        for subscriber in &mut self.subscribers {
            if changed || subscriber.has_unplaced() {
                reported |= subscriber.adopt(&self.topology, &before, now, sink);
            }
        }
        self.refresh.adopted(moved, now);
        self.doubt_outdated(now);
        self.route_waiting(now);
        self.outage.failed |=
            !self.knows_nodes() || (self.channel_kind == ChannelKind::Shard && !self.covered);
        let unplaced = self.subscribers.iter().any(ClusterSubscriber::has_unplaced);
        if unplaced || self.stalled.is_some() || !self.covered || (!changed && !self.stands()) {
            self.refresh.hint(disowner.as_ref(), now);
        }
        reported
    }

    /// A node has said that it is no master, but is still listed as one: the node that was asked has not
    /// heard of the change. The first node is asked again. If it is still no master, so is the cluster.
    fn doubt_outdated(&mut self, now: Instant) {
        let (nodes, topology) = (&mut self.nodes, &self.topology);
        for master in topology.masters() {
            if let Some(node) = nodes.get_mut(master).filter(|node| node.is_replica()) {
                node.doubt(now);
            }
        }
    }

    pub(super) fn take_reports(&mut self, now: Instant) {
        for (address, report) in std::mem::take(&mut self.reports) {
            match report {
                NodeReport::Opened => {}
                NodeReport::Answer(answer) => {
                    if self.disowned.hear(&address, &answer.topology, &self.topology) {
                        self.refresh.hint(Some(&address), now);
                    }
                    self.refresh.answered(&address, answer);
                }
                NodeReport::NoAnswer(reason) => self.refresh.failed(&address, &reason),
                NodeReport::Counted { token, counts } => {
                    self.counting.counted(&address, token, counts);
                }
                NodeReport::Redirected { redirect, stalls } => {
                    if !self.follow(&redirect, &address, now)
                        && let Some(error) = stalls
                    {
                        self.stalled.get_or_insert(error);
                    }
                }
                NodeReport::Role(NodeRole::Replica) => {
                    self.demoted = true;
                    // It knows its successor, which others may not know yet.
                    self.refresh.expect(Some(&address), now);
                }
                NodeReport::Role(NodeRole::Master | NodeRole::Unknown) => {
                    for subscriber in &mut self.subscribers {
                        subscriber.return_to(&address, &self.topology);
                    }
                    self.stale = true;
                }
                NodeReport::Unknown => self.outage.unanswered += 1,
                NodeReport::Abandoned { command, reason } => self.ended.push(Ended { command, reason }),
                NodeReport::Lost { reason, unanswered, stood } => {
                    self.stale = true;
                    // The subscribers of that node go elsewhere.
                    self.shaken |= stood && self.channel_kind == ChannelKind::Global;
                    self.outage.unanswered += unanswered;
                    self.refresh.failed(&address, &reason);
                    if self.needs(&address) {
                        self.refresh.hint(None, now);
                        self.outage.failed = true;
                        self.outage.reason = Some(reason);
                    } else if self.nodes.get(&address).is_some_and(|node| node.is_commanded(now)) {
                        self.refresh.hint(None, now);
                    }
                    if self.chosen.as_ref() == Some(&address) {
                        self.choose();
                    }
                }
            }
        }
    }

    /// Believes a node that names the owner of a slot. Returns whether that helps: the owner is another node.
    pub(super) fn follow(&mut self, redirect: &Redirect, asked: &Address, now: Instant) -> bool {
        let Some((slot, owner)) = self.settings.owner(redirect, asked) else {
            // It may not own the slot any more, which the others do not know.
            self.refresh.hint(Some(asked), now);
            return false;
        };
        self.refresh.expect(Some(&owner), now);
        if self.topology.patch(slot, owner) {
            self.stale = true;
            self.covered = self.covered || self.topology.first_uncovered().is_none();
        }
        self.topology.master(slot) != Some(asked)
    }
}
