//! One poll of everything: what is due, what the nodes and the subscribers report, and what follows from it.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::node::{ClusterNode, LEASE, SETTLE};
use super::subscriber::{ClusterSubscriber, Hints, MISSING};
use super::{ClusterDeferred, ClusterTransport, Unplaced};
use crate::transport::Incoming;
use crate::transport::redis::connect::{Address, Loss};
use crate::transport::redis::step::{BUDGET, PollStep, READS_PER_CALL};

/// Takes the reports.
pub(super) type Sink<'a> = dyn FnMut(Incoming<'_>) + 'a;

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
        let any = !self.deferred.is_empty() || !self.unplaced.is_empty();
        for Unplaced { channel, payload } in self.unplaced.drain(..) {
            sink(Incoming::Returned { channel: &channel, payload: &payload });
        }
        let reason = if self.deferred.is_empty() { String::new() } else { Loss::Ended.to_string() };
        for deferred in self.deferred.drain(..) {
            match deferred {
                ClusterDeferred::Down { unanswered, unwritten } => {
                    sink(Incoming::Down { reason: &reason, unanswered, unwritten });
                }
                ClusterDeferred::SubscriberDown(subscriber) => {
                    sink(Incoming::SubscriberDown { subscriber, reason: &reason, silence: 0 })
                }
                ClusterDeferred::NotCounted(token) => sink(Incoming::Counted { token, counts: None }),
                ClusterDeferred::Abandoned(command) => command.report(&reason, sink),
            }
        }
        any
    }

    fn poll_all(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> bool {
        let mut step = PollStep::default();
        let beats = self.pulse.poll(cx);
        let begun = Instant::now();
        for _ in 0..READS_PER_CALL {
            let now = Instant::now();
            self.look_at_the_clock(now);
            step.reported |= self.take_turns(now, sink);
            step.more = self.knows_nodes()
                && self.counting.begin(&self.topology, self.channel_kind, &self.settings, &mut self.nodes);
            if std::mem::take(&mut self.stale) {
                step.reported |= self.plan(now, sink);
            }
            // Subscribers before nodes: if a node has withdrawn a subscription, nothing may be published
            // there.
            let subscribers = self.poll_subscribers(cx, now, sink);
            step.reported |= subscribers.reported;
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
            step.more |= subscribers.more || readers.more || self.stale;
            // If silence is about to be judged, everything is read first.
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
        // The messages of one channel have to arrive in order.
        let now = Instant::now();
        self.outrun = self.nodes.values().any(ClusterNode::is_outrun).then(|| self.outrun.unwrap_or(now));
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
            // Everything that had arrived was read before.
            self.nodes.values_mut().for_each(ClusterNode::pulse);
            self.subscribers.iter_mut().for_each(|subscriber| subscriber.pulse(self.paused));
        }
        if self.poll_timer(cx) || step.more || beats {
            cx.waker().wake_by_ref();
        }
        step.reported
    }

    /// Checks whether the nodes that get publishes still hold what they held for us.
    fn watch_nodes(&mut self, now: Instant) {
        let subscribers = &self.subscribers;
        for (address, node) in &mut self.nodes {
            if !node.is_watched(now) {
                continue;
            }
            let any = || subscribers.iter().find_map(|subscriber| subscriber.tenure(address));
            let subscriber = node.tenure().and_then(|(number, _)| subscribers.get(number));
            match subscriber {
                // It may have withdrawn something that was not read yet.
                Some(subscriber) if self.paused || subscriber.is_behind(address) => node.inquire(any(), now),
                Some(subscriber) => node.sees(subscriber.tenure(address), any(), now),
                None => node.sees(None, any(), now),
            }
        }
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        if self.paused {
            self.subscribers.iter_mut().for_each(ClusterSubscriber::pass_probes);
        }
        for (address, node) in &mut self.nodes {
            if node.suspect_at().is_some_and(|at| now >= at) {
                node.suspected(now);
                self.subscribers.iter_mut().for_each(|subscriber| subscriber.probe(address, now));
                self.refresh.hint(None, now);
            }
            // Before anything is read: as soon as the node is back, it runs what it was sent meanwhile.
            if node.hangs && self.subscribers.iter().any(|subscriber| subscriber.is_silent(address, now)) {
                node.frozen_at = Some(now);
            }
            self.stale |= node.leaves_at.is_some_and(|at| now >= at || !node.has_unanswered());
        }
        self.stale |= self.unlisted.is_some_and(|since| now >= since + MISSING);
    }

    /// Sets the timer. Returns whether it is over.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let nodes = self.nodes.values().flat_map(|node| [node.suspect_at(), node.leaves_at, node.ask_at()]);
        let unlisted = self.unlisted.map(|since| since + MISSING);
        let others = [Some(self.refresh.deadline()), self.counting.deadline(), unlisted, self.outrun];
        let subscribers = self.subscribers.iter().map(ClusterSubscriber::deadline);
        let Some(deadline) = nodes.chain(others).chain(subscribers).flatten().min() else {
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // A timer that fires early costs less than one that is reset with each publish.
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    fn poll_subscribers(&mut self, cx: &mut Context<'_>, now: Instant, sink: &mut Sink<'_>) -> PollStep {
        let mut step = PollStep::default();
        let mut hints = Hints::default();
        self.first_subscriber = (self.first_subscriber + 1).checked_rem(self.subscribers.len()).unwrap_or(0);
        let (before, from) = self.subscribers.split_at_mut(self.first_subscriber);
        for subscriber in from.iter_mut().chain(before) {
            let one = subscriber.poll(cx, &self.topology, self.paused, now, sink, &mut hints);
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
        let is_replica = |node: &Address| nodes.get(node).is_some_and(ClusterNode::is_replica);
        for subscriber in &mut self.subscribers {
            step.more |= subscriber.end_away(&self.topology, now, is_replica);
            subscriber.settle(&self.topology);
        }
        step
    }
}
