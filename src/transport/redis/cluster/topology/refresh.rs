use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::Topology;
use crate::transport::redis::connect::Address;
use crate::transport::redis::connection::Backoff;

/// How often the cluster is asked while nothing looks wrong: a slot may move without any sign. ioredis does
/// the same.
const EVERY: Duration = Duration::from_secs(5);

/// How long after a first hint of a change the cluster is asked. The node that gave the hint may know before
/// the others, and many hints come together.
const HURRY_BASE: Duration = Duration::from_millis(50);

/// The longest such wait. A failover takes some node timeouts, and this wait comes on top.
const HURRY_CAP: Duration = Duration::from_millis(250);

/// Hints with a longer pause between them do not belong together.
const CALM: Duration = Duration::from_secs(2);

/// For how long after a hint the answers are expected to show a change: the news spreads from node to node.
const EXPECTED: Duration = Duration::from_secs(2);

/// When the next node is asked as well, in case the last one hangs.
const STEP: Duration = Duration::from_millis(250);

/// How long the last node has to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// When the cluster is asked for its topology, which nodes are asked, and which answer is believed.
///
/// An answer is good if its node is in touch with the cluster, and its epoch is not older than ours. A good
/// answer ends the round. A node that is cut off still names the masters that it knew.
pub(crate) struct Refresh {
    backoff: Backoff,
    last_hint: Option<Instant>,
    /// Until when the cluster is asked again if its answer brings nothing new.
    expects_until: Option<Instant>,
    due: Instant,
    /// Whether the next round comes early.
    hurried: bool,
    /// A hint came during a round.
    again: bool,
    /// The node that is asked first.
    first: Option<Address>,
    round: Option<Round>,
    /// The epoch of the topology that is believed.
    epoch: u64,
    turn: usize,
}

struct Round {
    candidates: VecDeque<Address>,
    /// Nodes that are asked if none of the candidates answers.
    failing: Vec<Address>,
    pending: BTreeSet<Address>,
    best: Option<TopologyAnswer>,
    reason: Option<String>,
    next: Instant,
}

/// What a node says about the cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopologyAnswer {
    /// Whether the node is in touch with the cluster, and every slot has an owner.
    pub(crate) ok: bool,
    /// The current epoch of the cluster according to the node. Each failover and each move of a slot raises
    /// it.
    pub(crate) epoch: u64,
    pub(crate) topology: Topology,
}

/// What has to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A round begins. The caller answers with [`Refresh::begin`].
    Begin,
    /// The node has to be asked.
    Ask(Address),
    /// The round has ended with this answer.
    Adopt(TopologyAnswer),
    /// The round has ended without an answer.
    Failed(String),
}

impl Refresh {
    /// The first round is due at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            backoff: Backoff::new(HURRY_BASE, HURRY_CAP),
            last_hint: None,
            expects_until: None,
            due: now,
            hurried: true,
            again: false,
            first: None,
            round: None,
            epoch: 0,
            turn: 0,
        }
    }

    /// Forgets the round. The next one is due at once.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.round = None;
        self.again = false;
        self.hurried = true;
        self.due = now;
    }

    /// The topology may have changed: the cluster is asked soon, `first` before the others.
    pub(crate) fn hint(&mut self, first: Option<&Address>, now: Instant) {
        if first.is_some() {
            self.first = first.cloned();
        }
        if self.round.is_some() {
            self.again = true;
        } else if !self.hurried {
            if self.last_hint.is_none_or(|last| now - last >= CALM) {
                self.backoff.reset();
            }
            self.hurried = true;
            self.due = self.due.min(now + self.backoff.next_delay());
        }
        self.last_hint = Some(now);
    }

    /// Like [`Refresh::hint`], if the topology has certainly changed.
    pub(crate) fn expect(&mut self, first: Option<&Address>, now: Instant) {
        self.expects_until = Some(now + EXPECTED);
        self.hint(first, now);
    }

    /// An answer was adopted. `moved` tells whether slots have other owners now. A change of replicas does
    /// not count: a node that has just become a replica is not listed at first.
    pub(crate) fn adopted(&mut self, moved: bool, now: Instant) {
        if moved {
            self.expects_until = None;
        }
        if self.expects_until.is_some_and(|until| now < until) {
            self.hint(None, now);
        }
    }

    /// Returns when [`Refresh::turn`] next has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.round.as_ref().map_or(self.due, |round| round.next)
    }

    /// Returns whether a node is being asked.
    pub(crate) fn is_asking(&self, node: &Address) -> bool {
        self.round.as_ref().is_some_and(|round| round.pending.contains(node))
    }

    /// Begins a round. `near` are the connected nodes, which take turns; `far` come after them. `failing`
    /// nodes are only asked if nobody else answers. While a master is down no node reports that all is well,
    /// so a round would wait until the master fails to answer in time.
    pub(crate) fn begin(
        &mut self,
        mut near: Vec<Address>,
        far: Vec<Address>,
        mut failing: Vec<Address>,
        now: Instant,
    ) {
        self.turn = self.turn.wrapping_add(1);
        if !near.is_empty() {
            let len = near.len();
            near.rotate_left(self.turn % len);
        }
        let mut seen = BTreeSet::new();
        let candidates = self.first.take().into_iter().chain(near).chain(far);
        let candidates = candidates.filter(|node| !failing.contains(node) && seen.insert(node.clone()));
        let candidates = candidates.collect();
        failing.retain(|node| seen.insert(node.clone()));
        let pending = BTreeSet::new();
        self.round = Some(Round { candidates, failing, pending, best: None, reason: None, next: now });
        self.hurried = false;
        self.again = false;
    }

    /// Returns what has to be done now. Call it until it returns `None`.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Turn> {
        let Some(round) = &mut self.round else {
            return (now >= self.due).then_some(Turn::Begin);
        };
        let asked_all = round.candidates.is_empty() && (round.pending.is_empty() || now >= round.next);
        if asked_all && round.best.is_none() {
            round.candidates.extend(round.failing.drain(..));
        }
        let good = round.best.as_ref().is_some_and(|best| best.ok && best.epoch >= self.epoch);
        let exhausted = round.candidates.is_empty() && (round.pending.is_empty() || now >= round.next);
        if good || exhausted {
            return Some(self.end(now));
        }
        if now < round.next && !round.pending.is_empty() {
            return None;
        }
        let node = round.candidates.pop_front()?;
        round.pending.insert(node.clone());
        round.next = now + if round.candidates.is_empty() { PATIENCE } else { STEP };
        Some(Turn::Ask(node))
    }

    /// A node has answered.
    pub(crate) fn answered(&mut self, node: &Address, answer: TopologyAnswer) {
        if let Some(round) = &mut self.round
            && round.pending.remove(node)
            && round.best.as_ref().is_none_or(|best| (best.ok, best.epoch) < (answer.ok, answer.epoch))
        {
            round.best = Some(answer);
        }
    }

    /// A node will not answer.
    pub(crate) fn failed(&mut self, node: &Address, reason: &str) {
        if let Some(round) = &mut self.round
            && round.pending.remove(node)
        {
            round.reason = Some(reason.to_owned());
        }
    }

    fn end(&mut self, now: Instant) -> Turn {
        let round = self.round.take();
        self.due = now + EVERY;
        let again = std::mem::take(&mut self.again);
        let (best, reason) = round.map_or((None, None), |round| (round.best, round.reason));
        if again || best.is_none() {
            self.hint(None, now);
        }
        match best {
            Some(answer) => {
                self.epoch = answer.epoch;
                Turn::Adopt(answer)
            }
            None => Turn::Failed(
                reason.unwrap_or_else(|| "no node of the cluster says who owns which slot".into()),
            ),
        }
    }
}

/// Reads the reply to `CLUSTER INFO`: whether the state is ok, and the current epoch.
pub(crate) fn read_info(info: &[u8]) -> (bool, u64) {
    let mut ok = true;
    let mut epoch = 0;
    for line in info.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii_end();
        if let Some(state) = line.strip_prefix(b"cluster_state:") {
            ok = state == b"ok";
        } else if let Some(number) = line.strip_prefix(b"cluster_current_epoch:") {
            epoch = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).unwrap_or(0);
        }
    }
    (ok, epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Address {
        Address::Tcp { host: "h".to_owned(), port }
    }

    fn answer(ok: bool, epoch: u64) -> TopologyAnswer {
        TopologyAnswer { ok, epoch, topology: Topology::unknown() }
    }

    fn begin(refresh: &mut Refresh, nodes: &[u16], now: Instant) {
        assert_eq!(refresh.turn(now), Some(Turn::Begin));
        refresh.begin(Vec::new(), nodes.iter().copied().map(node).collect(), Vec::new(), now);
    }

    #[test]
    fn reads_cluster_info() {
        assert_eq!(read_info(b"cluster_state:ok\r\ncluster_current_epoch:6\r\nx:y\r\n"), (true, 6));
        assert_eq!(read_info(b"cluster_state:fail\r\ncluster_current_epoch:x\r\n"), (false, 0));
        assert_eq!(read_info(b""), (true, 0));
    }

    #[test]
    fn one_good_answer_ends_a_round() {
        let now = Instant::now();
        let mut refresh = Refresh::new(now);
        begin(&mut refresh, &[1, 2, 3], now);
        assert_eq!(refresh.turn(now), Some(Turn::Ask(node(1))));
        assert_eq!(refresh.turn(now), None);
        assert!(refresh.is_asking(&node(1)));
        refresh.answered(&node(1), answer(true, 6));
        assert_eq!(refresh.turn(now), Some(Turn::Adopt(answer(true, 6))));
        assert_eq!(refresh.turn(now), None);
        assert_eq!(refresh.deadline(), now + EVERY);
        assert_eq!(refresh.turn(now + EVERY), Some(Turn::Begin));
    }

    #[test]
    fn a_node_that_hangs_or_fails_is_not_waited_for() {
        let now = Instant::now();
        let mut refresh = Refresh::new(now);
        begin(&mut refresh, &[1, 2, 3], now);
        assert_eq!(refresh.turn(now), Some(Turn::Ask(node(1))));
        let later = now + STEP;
        assert_eq!(refresh.turn(later), Some(Turn::Ask(node(2))));
        refresh.failed(&node(2), "gone");
        assert_eq!(refresh.turn(later), None, "the first one may still answer");
        assert_eq!(refresh.turn(later + STEP), Some(Turn::Ask(node(3))));
        assert_eq!(refresh.turn(later + STEP), None);
        assert_eq!(refresh.turn(later + STEP + PATIENCE), Some(Turn::Failed("gone".to_owned())));
        assert!(refresh.deadline() <= later + STEP + PATIENCE + HURRY_BASE);
    }

    #[test]
    fn a_node_that_fails_is_waited_for_only_if_nobody_else_answers() {
        let now = Instant::now();
        let mut refresh = Refresh::new(now);
        let begin = |refresh: &mut Refresh, now| {
            assert_eq!(refresh.turn(now), Some(Turn::Begin));
            refresh.begin(vec![node(1)], vec![node(2)], vec![node(3), node(4)], now);
        };
        begin(&mut refresh, now);
        for port in [1, 2] {
            assert_eq!(refresh.turn(now), Some(Turn::Ask(node(port))));
            refresh.answered(&node(port), answer(false, 7));
        }
        assert_eq!(refresh.turn(now), Some(Turn::Adopt(answer(false, 7))));

        let now = refresh.deadline();
        begin(&mut refresh, now);
        for port in [1, 2, 3] {
            assert_eq!(refresh.turn(now), Some(Turn::Ask(node(port))));
            refresh.failed(&node(port), "gone");
        }
        assert_eq!(refresh.turn(now), Some(Turn::Ask(node(4))));
        refresh.answered(&node(4), answer(false, 7));
        assert_eq!(refresh.turn(now), Some(Turn::Adopt(answer(false, 7))));

        // The same with nodes that hang, which was not known before.
        let now = refresh.deadline();
        begin(&mut refresh, now);
        assert_eq!(refresh.turn(now), Some(Turn::Ask(node(1))));
        assert_eq!(refresh.turn(now + STEP), Some(Turn::Ask(node(2))));
        assert_eq!(refresh.turn(now + STEP), None);
        assert_eq!(refresh.turn(now + STEP + PATIENCE), Some(Turn::Ask(node(3))));
    }

    #[test]
    fn a_node_that_is_cut_off_is_believed_only_if_there_is_no_other() {
        let now = Instant::now();
        let mut refresh = Refresh::new(now);
        begin(&mut refresh, &[1], now);
        refresh.turn(now);
        refresh.answered(&node(1), answer(true, 7));
        assert_eq!(refresh.turn(now), Some(Turn::Adopt(answer(true, 7))));

        // The first one's state is not ok. The second has not heard of the last failover. The third has.
        let now = now + EVERY;
        begin(&mut refresh, &[1, 2, 3], now);
        for (port, reply) in [(1, answer(false, 7)), (2, answer(true, 6)), (3, answer(true, 8))] {
            assert_eq!(refresh.turn(now), Some(Turn::Ask(node(port))));
            refresh.answered(&node(port), reply);
        }
        assert_eq!(refresh.turn(now), Some(Turn::Adopt(answer(true, 8))));

        // A cluster that was created anew begins with small epochs again.
        let now = now + EVERY;
        begin(&mut refresh, &[1, 2], now);
        for (port, reply) in [(1, answer(false, 2)), (2, answer(true, 1))] {
            assert_eq!(refresh.turn(now), Some(Turn::Ask(node(port))));
            refresh.answered(&node(port), reply);
        }
        assert_eq!(refresh.turn(now), Some(Turn::Adopt(answer(true, 1))));
    }

    #[test]
    fn hints_hurry_and_are_rate_limited() {
        let mut now = Instant::now();
        let mut refresh = Refresh::new(now);
        let mut waits = Vec::new();
        for _ in 0..20 {
            begin(&mut refresh, &[1], now);
            refresh.turn(now);
            refresh.answered(&node(1), answer(true, 1));
            refresh.turn(now);
            for _ in 0..5 {
                refresh.hint(None, now);
            }
            waits.push(refresh.deadline() - now);
            now = refresh.deadline();
        }
        assert!(waits[0] <= HURRY_BASE);
        assert!(waits[10..].iter().all(|wait| *wait >= HURRY_CAP / 4 && *wait <= HURRY_CAP), "{waits:?}");
        refresh.restart(now);
        begin(&mut refresh, &[1], now);
        refresh.turn(now);
        // A hint during a round is followed by another round, which first asks the node that was named.
        refresh.hint(Some(&node(9)), now);
        refresh.answered(&node(1), answer(true, 1));
        assert!(matches!(refresh.turn(now), Some(Turn::Adopt(_))));
        now += HURRY_CAP;
        begin(&mut refresh, &[1], now);
        assert_eq!(refresh.turn(now), Some(Turn::Ask(node(9))));
        // After a quiet time the wait is short again.
        refresh.answered(&node(9), answer(true, 1));
        refresh.turn(now);
        now += CALM;
        refresh.hint(None, now);
        assert!(refresh.deadline() <= now + HURRY_BASE);
    }

    #[test]
    fn connected_nodes_take_turns() {
        let mut now = Instant::now();
        let mut refresh = Refresh::new(now);
        let mut asked = BTreeSet::new();
        for _ in 0..3 {
            assert_eq!(refresh.turn(now), Some(Turn::Begin));
            refresh.begin(vec![node(1), node(2), node(3)], vec![node(1), node(9)], Vec::new(), now);
            let Some(Turn::Ask(first)) = refresh.turn(now) else { panic!() };
            refresh.answered(&first, answer(true, 1));
            refresh.turn(now);
            asked.insert(first);
            now = refresh.deadline();
        }
        assert_eq!(asked, BTreeSet::from([node(1), node(2), node(3)]));
    }
}
