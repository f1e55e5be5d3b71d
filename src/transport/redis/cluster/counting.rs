use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::node::{ClusterNode, Uncounted};
use super::settings::ClusterSettings;
use super::topology::Topology;
use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::slot_of;
use crate::transport::{ChannelKind, Incoming};

/// How long the nodes have to answer a count.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts in progress. Each is a question to several nodes; the result is the sum of their answers.
#[derive(Default)]
pub(super) struct ClusterCounting {
    /// Counts that wait for the topology.
    waiting: Vec<Waiting>,
    running: Vec<Running>,
    /// Whether anything was ever counted. From then on all nodes are connected.
    pub(super) begun: bool,
}

struct Waiting {
    token: u64,
    channels: Vec<Vec<u8>>,
    until: Instant,
}

struct Running {
    token: u64,
    counts: Vec<u64>,
    parts: Vec<CountPart>,
    until: Instant,
    /// A node that has to answer did not.
    failed: bool,
    /// A node refuses, in its own words.
    refused: Option<String>,
    answered: bool,
}

/// The question to one node. If a node is asked as the master, its count is only used if it is a master: see
/// `mastership`.
struct CountPart {
    node: Address,
    /// The positions of its channels among all.
    places: Vec<usize>,
    needed: bool,
}

impl ClusterCounting {
    /// Takes a count. The next [`ClusterCounting::begin`] starts it.
    pub(super) fn push(&mut self, token: u64, channels: &[&[u8]]) {
        self.begun = true;
        let channels = channels.iter().map(|channel| channel.to_vec()).collect();
        self.waiting.push(Waiting { token, channels, until: Instant::now() + PATIENCE });
    }

    /// Asks the nodes for the counts that wait. Returns whether anything was asked or opened.
    pub(super) fn begin(
        &mut self,
        topology: &Topology,
        channel_kind: ChannelKind,
        settings: &ClusterSettings,
        nodes: &mut BTreeMap<Address, ClusterNode>,
    ) -> bool {
        let any = !self.waiting.is_empty();
        for Waiting { token, channels, until } in std::mem::take(&mut self.waiting) {
            let (parts, failed) = match channel_kind {
                ChannelKind::Global => (everywhere(topology, channels.len()), false),
                ChannelKind::Shard => by_shard(topology, &channels),
            };
            let mut running = Running {
                token,
                counts: vec![0; channels.len()],
                parts: Vec::new(),
                until,
                failed,
                refused: None,
                answered: channels.is_empty(),
            };
            for part in parts {
                let node = nodes
                    .entry(part.node.clone())
                    .or_insert_with_key(|node| ClusterNode::new(settings, node, channel_kind));
                if node.is_waiting() || node.hangs {
                    running.failed |= part.needed;
                    continue;
                }
                let asked = part.places.iter().filter_map(|&place| channels.get(place));
                let asked: Vec<&[u8]> = asked.map(Vec::as_slice).collect();
                node.count(token, &asked, part.needed && channel_kind == ChannelKind::Shard);
                running.parts.push(part);
            }
            self.running.push(running);
        }
        any
    }

    /// A node has answered, or will not answer.
    pub(super) fn counted(&mut self, node: &Address, token: u64, counts: Result<Vec<u64>, Uncounted>) {
        let Some(running) = self.running.iter_mut().find(|running| running.token == token) else {
            return;
        };
        let Some(at) = running.parts.iter().position(|part| part.node == *node) else {
            return;
        };
        let part = running.parts.swap_remove(at);
        let counts = match counts {
            Ok(counts) => counts,
            // A lost node has no subscribers any more, but a node that is connected may have some.
            Err(uncounted) => {
                running.failed |= part.needed || !matches!(uncounted, Uncounted::Lost);
                if let Uncounted::Refused(error) = uncounted {
                    running.refused = Some(error);
                }
                return;
            }
        };
        running.answered = true;
        for (&place, count) in part.places.iter().zip(counts) {
            if let Some(sum) = running.counts.get_mut(place) {
                *sum = sum.saturating_add(count);
            }
        }
    }

    /// Reports counts that are complete or late. Calls `late` with the nodes that did not answer in time.
    /// Returns whether there was something to report.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        mut late: impl FnMut(&Address),
    ) -> bool {
        let mut reported = false;
        self.waiting.retain(|waiting| {
            let keep = now < waiting.until;
            if !keep {
                sink(Incoming::Counted { token: waiting.token, counts: None });
                reported = true;
            }
            keep
        });
        self.running.retain_mut(|running| {
            if now >= running.until {
                for part in running.parts.drain(..) {
                    late(&part.node);
                    running.failed |= part.needed;
                }
            }
            if !running.parts.is_empty() && !running.failed {
                return true;
            }
            let token = running.token;
            sink(match &running.refused {
                Some(error) => Incoming::CountRefused { token, error },
                None => {
                    let counts = (!running.failed && running.answered).then_some(running.counts.as_slice());
                    Incoming::Counted { token, counts }
                }
            });
            reported = true;
            false
        });
        reported
    }

    /// Ends all counts; returns their tokens.
    pub(super) fn give_up(&mut self) -> Vec<u64> {
        let waiting = self.waiting.drain(..).map(|waiting| waiting.token);
        let mut tokens: Vec<u64> = self.running.drain(..).map(|running| running.token).collect();
        tokens.extend(waiting);
        tokens
    }

    /// Returns when [`ClusterCounting::finish`] next has a late count.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        waiting.chain(self.running.iter().map(|running| running.until)).min()
    }
}

/// Clients subscribe at any node, and only that node knows about it.
fn everywhere(topology: &Topology, channels: usize) -> Vec<CountPart> {
    let nodes = topology.node_set().into_iter();
    nodes.map(|node| CountPart { node, places: (0..channels).collect(), needed: false }).collect()
}

/// The subscribers of a shard channel are at its master and at its replicas. Also returns whether a slot has
/// no owner.
fn by_shard(topology: &Topology, channels: &[Vec<u8>]) -> (Vec<CountPart>, bool) {
    let mut places: BTreeMap<&Address, (bool, Vec<usize>)> = BTreeMap::new();
    let mut unowned = false;
    for (place, channel) in channels.iter().enumerate() {
        let Some(shard) = topology.shard(slot_of(channel)) else {
            unowned = true;
            continue;
        };
        let (needed, of_master) = places.entry(&shard.master).or_default();
        *needed = true;
        of_master.push(place);
        for replica in &shard.replicas {
            places.entry(replica).or_default().1.push(place);
        }
    }
    let parts = places.into_iter();
    let parts = parts.map(|(node, (needed, places))| CountPart { node: node.clone(), places, needed });
    (parts.collect(), unowned)
}
