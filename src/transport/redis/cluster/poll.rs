//! One look at everything: what is due, what the nodes say, what the lanes say, and what follows from it.

use std::collections::BTreeSet;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::node::{GRACE, LEASE, Node, Report, Role, SETTLE};
use super::reader::Ended;
use super::subscriber::{ClusterLane, Hints, MISSING};
use super::topology::{Answer, Turn};
use super::{ClusterTransport, Deferred, Homeless, Outage};
use crate::transport::redis::connect::{Address, Loss};
use crate::transport::redis::slot::Redirect;
use crate::transport::redis::step::{BUDGET, READS_PER_CALL, Step};
use crate::transport::{Incoming, Space, Trial};

/// Why what it does not answer then is given up.
const LEFT: &str = "the node is no longer the one to ask";

type Sink<'a> = dyn FnMut(Incoming<'_>) + 'a;

impl ClusterTransport {
    pub(super) fn poll_incoming(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<()> {
        self.clock = None;
        let mut reported = self.report_deferred(sink);
        if self.open && self.wanted {
            reported |= self.poll_all(cx, sink);
        }
        if reported { Poll::Ready(()) } else { Poll::Pending }
    }

    fn report_deferred(&mut self, sink: &mut Sink<'_>) -> bool {
        let any = !self.deferred.is_empty() || !self.homeless.is_empty();
        for Homeless { channel, payload } in self.homeless.drain(..) {
            sink(Incoming::Returned { channel: &channel, payload: &payload });
        }
        let reason = if self.deferred.is_empty() { String::new() } else { Loss::Ended.to_string() };
        for deferred in self.deferred.drain(..) {
            match deferred {
                Deferred::Down { unanswered, unwritten } => {
                    sink(Incoming::Down { reason: &reason, unanswered, unwritten });
                }
                Deferred::LaneDown(lane) => sink(Incoming::LaneDown { lane, reason: &reason, silence: 0 }),
                Deferred::NotCounted(token) => sink(Incoming::Counted { token, counts: None }),
                Deferred::Abandoned(command) => command.report(&reason, sink),
            }
        }
        any
    }

    fn poll_all(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> bool {
        let mut step = Step::default();
        let beats = self.pulse.poll(cx);
        let begun = Instant::now();
        for _ in 0..READS_PER_CALL {
            let now = Instant::now();
            self.look_at_the_clock(now);
            step.reported |= self.take_turns(now, sink);
            step.more = self.knows_nodes()
                && self.counting.begin(&self.topology, self.space, &self.settings, &mut self.nodes);
            if std::mem::take(&mut self.stale) {
                step.reported |= self.plan(now, sink);
            }
            // Before the nodes: what a node has withdrawn says that it is not to be published to.
            let lanes = self.poll_lanes(cx, now, sink);
            step.reported |= lanes.reported;
            self.watch_nodes(now);
            for node in self.nodes.values_mut() {
                let one = node.poll(cx, &self.settings, sink, &mut self.reports);
                step.reported |= one.reported;
                step.more |= one.more;
            }
            step.more |= !self.reports.is_empty();
            self.take_reports(now);
            let readers = self.poll_readers(cx, now, sink);
            step.reported |= readers.reported;
            step.more |= lanes.more || readers.more || self.stale;
            // Whose silence is judged is read first.
            if !step.more || (!beats && begun.elapsed() > BUDGET) {
                break;
            }
        }
        let nodes = &mut self.nodes;
        step.reported |= self.counting.finish(Instant::now(), sink, |late| {
            if let Some(node) = nodes.get_mut(late) {
                node.hangs = true;
            }
        });
        step.reported |= self.tell_standing(sink);
        // What comes by one channel is to come in order.
        let now = Instant::now();
        self.outrun = self.nodes.values().any(Node::is_outrun).then(|| self.outrun.unwrap_or(now));
        let outruns = self.outrun.is_some_and(|at| now >= at);
        if outruns {
            self.outrun = Some(now + LEASE);
        }
        let (demoted, shaken) =
            (std::mem::take(&mut self.demoted) || outruns, std::mem::take(&mut self.shaken));
        if demoted || shaken {
            sink(Incoming::Settling { time: if demoted { SETTLE } else { Duration::ZERO } });
            step.reported = true;
        }
        step.reported |= self.tell_ended(sink);
        if beats {
            // All that had come is read by now.
            self.nodes.values_mut().for_each(Node::pulse);
            self.lanes.iter_mut().for_each(|lane| lane.pulse(self.paused));
        }
        if self.poll_timer(cx) || step.more || beats {
            cx.waker().wake_by_ref();
        }
        step.reported
    }

    pub(super) fn knows_nodes(&self) -> bool {
        self.topology.nodes().next().is_some()
    }

    /// Looks whether the nodes that are published to still hold what they were holding for us.
    fn watch_nodes(&mut self, now: Instant) {
        let lanes = &self.lanes;
        for (address, node) in &mut self.nodes {
            if !node.is_watched(now) {
                continue;
            }
            let any = || lanes.iter().find_map(|lane| lane.watch(address));
            let lane = node.watch().and_then(|(lane, _)| lanes.get(lane));
            match lane {
                // What it has withdrawn may not have been read.
                Some(lane) if self.paused || lane.is_behind(address) => node.inquire(any(), now),
                Some(lane) => node.sees(lane.watch(address), any(), now),
                None => node.sees(None, any(), now),
            }
        }
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        if self.paused {
            self.lanes.iter_mut().for_each(ClusterLane::pass_probes);
        }
        for (address, node) in &mut self.nodes {
            if node.suspect_at().is_some_and(|at| now >= at) {
                node.suspected(now);
                self.lanes.iter_mut().for_each(|lane| lane.probe(address, now));
                self.refresh.hint(None, now);
            }
            // Before anything is read: what it was sent meanwhile it runs as soon as it is back.
            if node.hangs && self.lanes.iter().any(|lane| lane.is_silent(address, now)) {
                node.frozen_at = Some(now);
            }
            self.stale |= node.leaves_at.is_some_and(|at| now >= at || !node.has_unanswered());
        }
        self.stale |= self.unlisted.is_some_and(|since| now >= since + MISSING);
    }

    /// Sets the timer; returns whether its time has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let nodes = self.nodes.values().flat_map(|node| [node.suspect_at(), node.leaves_at, node.ask_at()]);
        let unlisted = self.unlisted.map(|since| since + MISSING);
        let others = [Some(self.refresh.deadline()), self.counting.deadline(), unlisted, self.outrun];
        let lanes = self.lanes.iter().map(ClusterLane::deadline);
        let Some(deadline) = nodes.chain(others).chain(lanes).flatten().min() else {
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // One that ends early costs less than one that is set anew with each publish.
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    /// Asks the cluster, and takes its answers.
    fn take_turns(&mut self, now: Instant, sink: &mut Sink<'_>) -> bool {
        let mut reported = false;
        while let Some(turn) = self.refresh.turn(now) {
            self.stale = true;
            match turn {
                Turn::Begin => {
                    let near = self.nodes.iter().filter(|(_, node)| node.is_open() && !node.hangs);
                    let near = near.map(|(address, _)| address.clone()).collect();
                    let far = self.topology.nodes().chain(&self.settings.seeds).cloned();
                    let (failing, far): (Vec<_>, Vec<_>) =
                        far.partition(|node| self.nodes.get(node).is_some_and(Node::is_failing));
                    self.refresh.begin(near, far, failing, now);
                }
                Turn::Ask(node) => {
                    let (settings, space) = (&self.settings, self.space);
                    let node = self.nodes.entry(node);
                    node.or_insert_with_key(|address| Node::new(settings, address, space)).ask();
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

    fn adopt(&mut self, answer: Answer, now: Instant, sink: &mut Sink<'_>) -> bool {
        let Answer { ok, mut topology, .. } = answer;
        let (nodes, named) = (&self.nodes, topology.node_set());
        self.disowned.retain(|node| nodes.contains_key(node) || named.contains(node));
        let disowner = self.disowned.correct(&mut topology);
        let changed = self.topology != topology;
        let before = std::mem::replace(&mut self.topology, topology);
        let moved = changed && self.topology.has_other_owners(&before);
        self.covered = self.topology.first_uncovered().is_none();
        // The subscribers may be away from the shard already, though the former master has not said so here.
        if moved && self.space == Space::Shard {
            let is_told = |former: &Address| self.nodes.get(former).is_some_and(Node::is_replica);
            self.demoted |= self.topology.successions(&before).iter().any(|former| !is_told(former));
        }
        if ok {
            self.stalled = None;
        }
        let mut reported = false;
        for lane in &mut self.lanes {
            if changed || lane.is_homeless() {
                reported |= lane.adopt(&self.topology, &before, now, sink);
            }
        }
        self.refresh.adopted(moved, now);
        self.doubt_outdated(now);
        self.route_waiting(now);
        self.outage.failed |= !self.knows_nodes() || (self.space == Space::Shard && !self.covered);
        let homeless = self.lanes.iter().any(ClusterLane::is_homeless);
        if homeless || self.stalled.is_some() || !self.covered || (!changed && !self.stands()) {
            self.refresh.hint(disowner.as_ref(), now);
        }
        reported
    }

    /// A node that is named as a master has said that it is none: who was asked has not heard of that yet. The node is
    /// asked again, and if it still is none, so is the cluster.
    fn doubt_outdated(&mut self, now: Instant) {
        let (nodes, topology) = (&mut self.nodes, &self.topology);
        for master in topology.masters() {
            if let Some(node) = nodes.get_mut(master).filter(|node| node.is_replica()) {
                node.doubt(now);
            }
        }
    }

    /// Whether a node is published to.
    fn needs(&self, node: &Address) -> bool {
        match self.space {
            Space::Global => self.chosen.as_ref() == Some(node),
            Space::Shard => self.topology.masters().any(|master| master == node),
        }
    }

    /// Opens what is needed and lets go of what is not. Returns whether there was something to report.
    fn plan(&mut self, now: Instant, sink: &mut Sink<'_>) -> bool {
        let listed = self.topology.node_set();
        let masters: BTreeSet<Address> = self.topology.masters().cloned().collect();
        if self.space == Space::Global {
            self.keep_or_choose(&listed, now);
        }
        let needed: Vec<Address> = match self.space {
            Space::Global => self.chosen.iter().cloned().collect(),
            Space::Shard => self.topology.masters().cloned().collect(),
        };
        for address in &needed {
            if !self.nodes.contains_key(address) {
                self.nodes.insert(address.clone(), Node::new(&self.settings, address, self.space));
            }
        }
        let mut reported = false;
        self.nodes.retain(|address, node| {
            // One that answers says itself that it does not run them.
            if node.hangs && !masters.contains(address) {
                node.abandon_commands(LEFT, &mut self.reports);
            }
            let counted = self.counting.begun && listed.contains(address);
            let commanded = masters.contains(address) && node.is_commanded(now);
            let wanted = needed.contains(address) || counted || commanded || self.refresh.is_asking(address);
            node.superseded = !needed.contains(address);
            // Its successor is published to when it has answered, or will not run what it has.
            let holds_up = node.is_outrun() && node.is_frozen();
            if wanted && !holds_up {
                node.leaves_at = None;
                return true;
            }
            let until = *node.leaves_at.get_or_insert(now + GRACE);
            // One that is not named may be a master that has just been replaced.
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

    /// Takes another node to publish to if the one that was chosen is gone from the cluster for good.
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

    /// Takes another node to publish to: one that is connected if there is one, else the next.
    fn choose(&mut self) {
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

    fn take_reports(&mut self, now: Instant) {
        for (address, report) in std::mem::take(&mut self.reports) {
            match report {
                Report::Opened => {}
                Report::Answer(answer) => {
                    if self.disowned.hear(&address, &answer.topology, &self.topology) {
                        self.refresh.hint(Some(&address), now);
                    }
                    self.refresh.answered(&address, answer);
                }
                Report::NoAnswer(reason) => self.refresh.failed(&address, &reason),
                Report::Counted { token, counts } => {
                    self.counting.counted(&address, token, counts);
                }
                Report::Redirected { redirect, stalls } => {
                    if !self.follow(&redirect, &address, now)
                        && let Some(error) = stalls
                    {
                        self.stalled.get_or_insert(error);
                    }
                }
                Report::Role(Role::Replica) => {
                    self.demoted = true;
                    // It knows who has taken over from it, and others may not yet.
                    self.refresh.expect(Some(&address), now);
                }
                Report::Role(Role::Master | Role::Unknown) => {
                    for lane in &mut self.lanes {
                        lane.return_to(&address, &self.topology);
                    }
                    self.stale = true;
                }
                Report::Unknown => self.outage.unanswered += 1,
                Report::Abandoned { command, reason } => self.ended.push(Ended { command, reason }),
                Report::Lost { reason, unanswered, stood } => {
                    self.stale = true;
                    // The subscribers that are there go elsewhere.
                    self.shaken |= stood && self.space == Space::Global;
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

    /// Believes a node that says whose a slot is. Returns whether that helps: the slot has another owner than the node.
    pub(super) fn follow(&mut self, redirect: &Redirect, asked: &Address, now: Instant) -> bool {
        let Some((slot, owner)) = self.settings.owner(redirect, asked) else {
            // It may own the slot no more, which the others would not know.
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

    fn poll_lanes(&mut self, cx: &mut Context<'_>, now: Instant, sink: &mut Sink<'_>) -> Step {
        let mut step = Step::default();
        let mut hints = Hints::default();
        self.first_lane = (self.first_lane + 1).checked_rem(self.lanes.len()).unwrap_or(0);
        let (before, from) = self.lanes.split_at_mut(self.first_lane);
        for lane in from.iter_mut().chain(before) {
            let one = lane.poll(cx, &self.topology, self.paused, now, sink, &mut hints);
            step.reported |= one.reported;
            step.more |= one.more;
        }
        for address in &hints.withdrawn {
            if let Some(node) = self.nodes.get_mut(address) {
                node.doubt(now);
            }
        }
        if !hints.withdrawn.is_empty() {
            self.refresh.expect(hints.withdrawn.first(), now);
        } else if hints.trouble {
            self.refresh.hint(None, now);
        }
        step.more |= hints.trouble | !hints.withdrawn.is_empty();
        for (asked, redirect) in std::mem::take(&mut hints.redirects) {
            self.follow(&redirect, &asked, now);
        }
        let nodes = &self.nodes;
        let is_replica = |node: &Address| nodes.get(node).is_some_and(Node::is_replica);
        for lane in &mut self.lanes {
            step.more |= lane.end_away(&self.topology, now, is_replica);
            lane.settle(&self.topology);
        }
        step
    }

    /// Whether all that is published to is connected, or about to be for the first time if all was connected before: what
    /// is published there meanwhile comes back.
    fn stands(&self) -> bool {
        let is_new = |node: &Address| self.up && self.nodes.get(node).is_some_and(Node::is_new);
        let takes =
            |node: &Address| self.nodes.get(node).is_some_and(|node| node.is_open() && node.held().is_none());
        let is_open = |node: &Address| takes(node) || is_new(node);
        self.stalled.is_none()
            && match self.space {
                Space::Global => self.chosen.as_ref().is_some_and(takes),
                Space::Shard => self.covered && self.topology.masters().all(is_open),
            }
    }

    /// Reports an end of what publishing needs, a failed attempt to get it, and its beginning.
    fn tell_standing(&mut self, sink: &mut Sink<'_>) -> bool {
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
                    // A node that does not serve a slot does not say which.
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
            // What failed meanwhile was not needed.
            self.outage = Outage::default();
        }
        if stands && !self.up {
            self.up = true;
            sink(Incoming::Up);
            reported = true;
        }
        reported
    }

    /// Why a node that is published to holds back what it is sent, if one does.
    fn held(&self) -> Option<&str> {
        self.nodes.iter().filter(|(address, _)| self.needs(address)).find_map(|(_, node)| node.held())
    }

    /// Which slot nobody owns, if one has to be owned and the cluster is known.
    fn unowned(&self) -> Option<String> {
        let slot = self.topology.first_uncovered();
        let slot = slot.filter(|_| self.space == Space::Shard && self.knows_nodes())?;
        Some(format!("no node of the cluster owns slot {slot}"))
    }

    /// What is missing, in words.
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

    fn is_connected(&self, node: &Address) -> bool {
        self.nodes.get(node).is_some_and(Node::is_open)
    }
}
