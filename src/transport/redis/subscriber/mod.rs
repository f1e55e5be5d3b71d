//! A subscriber connection: the names that it is to hold, what is on its way, and what its replies say. Which names belong on
//! which connection is decided above.

mod behind;
mod names;
mod refused;
mod replies;
mod sending;
mod sent;
#[cfg(test)]
mod tests;
mod unsent;

pub(super) use sent::Verb;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::{Loss, RedisTarget};
use super::connection::{Connection, Opened};
use super::sentinel::Master;
use super::slot::Redirect;
use super::step::Step;
use crate::transport::resp::Message;
use crate::transport::{Incoming, Lane, Subscription};
use behind::Behind;
use names::Names;
use refused::Refused;
use sent::SentCommand;
use unsent::Unsent;

/// How long a node has to answer the question whether it is alive until it counts as one that hangs. One that merely holds
/// back publishes, for a failover by hand, answers at once.
const SILENT: Duration = Duration::from_millis(500);

/// How many replies are taken, or names sent anew, in one go: some milliseconds of work, for which the other links of the
/// process wait.
const PORTION: usize = 1000;

/// Why a node that stands withdraws a subscription.
pub(super) const WITHDRAWN: &str = "the slot of the channel has moved to another node";

/// One subscriber connection and the names it is to hold.
pub(super) struct SubscriberConnection {
    number: Lane,
    connection: Connection,
    names: Names,
    /// Which names are still to be sent on a new connection, backwards.
    unsent: Option<Unsent>,
    /// Replies may be left in the buffer.
    unread: bool,
    /// Commands that are not wholly confirmed, in the order sent: replies come in the same order.
    in_flight: VecDeque<SentCommand>,
    refused: Refused,
    holding: Holding,
    /// When it was asked whether it is alive, if nothing has come since.
    probed: Option<Instant>,
    /// It may be behind, since it was not read.
    behind: Option<Behind>,
    news: SubscriberNews,
    /// Whether the last read brought something, so that another one may.
    pub(super) more: bool,
}

/// What came up that concerns more than the connection.
#[derive(Default)]
pub(super) struct SubscriberNews {
    /// Names that the node would not take; they are no longer this connection's.
    pub(super) strays: Vec<Subscription>,
    /// What the node said of slots that it does not own.
    pub(super) redirects: Vec<Redirect>,
    /// Names that the node has withdrawn; they are no longer this connection's.
    pub(super) withdrawn: Vec<Subscription>,
    /// Why the connection was lost, or could not be made.
    pub(super) loss: Option<Loss>,
}

/// What is lost together when a connection is lost, or a slot moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    /// All names: the subscriber has no other connection. A loss is reported once.
    Whole,
    /// The names of one slot: other slots may be on other connections. A loss is reported name by name.
    BySlot,
}

impl SubscriberConnection {
    /// Returns a lane without names, which needs no connection.
    pub(super) fn new(number: Lane, target: Arc<RedisTarget>, holding: Holding) -> Self {
        Self {
            number,
            connection: Connection::new(target),
            names: Names::default(),
            unsent: None,
            unread: false,
            in_flight: VecDeque::new(),
            refused: Refused::new(),
            holding,
            probed: None,
            behind: None,
            news: SubscriberNews::default(),
            more: false,
        }
    }

    /// Adds names, and sends them if the connection is up; else all go out once it is.
    pub(super) fn subscribe(&mut self, mut names: Vec<Subscription>) {
        names.iter().for_each(|name| self.names.add(name));
        if self.connection.is_open() {
            if let Some(unsent) = &self.unsent {
                names.retain(|name| !unsent.covers(name));
            }
            self.send_all(names, Verb::subscribe);
        }
    }

    /// Removes names; a name that was not there is passed over.
    pub(super) fn unsubscribe(&mut self, mut names: Vec<Subscription>) {
        names.retain(|name| self.names.remove(name));
        if self.connection.is_open() {
            self.send_all(names, Verb::unsubscribe);
        }
    }

    /// Wants the connection if there are names.
    pub(super) fn open(&mut self) {
        if !self.names.is_empty() {
            self.connection.open();
        }
    }

    /// Drops the connection and keeps the names; returns whether it was up or on its way.
    pub(super) fn close(&mut self) -> bool {
        let reported = self.connection.is_closed() || self.connection.is_waiting();
        self.forget_sent();
        self.connection.close();
        !reported
    }

    /// Forgets the names.
    pub(super) fn clear(&mut self) {
        self.names.clear();
    }

    /// Goes to another node: at once if it has a connection, else with the next attempt. Returns whether the
    /// connection was up or on its way.
    pub(super) fn move_to(&mut self, target: Arc<RedisTarget>) -> bool {
        let mut reported = false;
        if !self.connection.is_waiting() {
            reported = self.close();
        }
        self.connection.set_target(target);
        self.open();
        reported
    }

    /// Takes the connection away, in whatever state it is. The names stay.
    pub(super) fn take_connection(&mut self) -> Connection {
        self.forget_sent();
        self.connection.take()
    }

    /// Removes names that are another node's now, and reports those that held.
    pub(super) fn give_up(
        &mut self,
        names: Vec<Subscription>,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) {
        self.report_unsubscribed(names.iter().filter(|name| self.holds(name)), reason, 0, sink);
        self.unsubscribe(names);
    }

    /// Returns the names it is to hold, and whether Redis has confirmed each.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Subscription, bool)> {
        self.names.iter()
    }

    /// Returns whether it is to hold any name.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns whether it is to hold a name.
    pub(super) fn wants(&self, name: &Subscription) -> bool {
        self.names.has(name)
    }

    /// Returns whether Redis has confirmed a name on the connection that stands.
    pub(super) fn holds(&self, name: &Subscription) -> bool {
        self.names.holds(name)
    }

    /// Returns what stays the same as long as Redis holds something for this connection; `None` if it holds nothing.
    pub(super) fn tenure(&self) -> Option<u64> {
        self.names.tenure()
    }

    /// Returns whether the connection is up.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Takes what came up since the last time.
    pub(super) fn take_news(&mut self) -> SubscriberNews {
        std::mem::take(&mut self.news)
    }

    /// Returns whether the connection is not wanted.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Opens, writes all, and reads once unless paused.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Step {
        let step = match self.advance(cx, paused, sink) {
            Ok(step) => step,
            Err(loss) => self.lose(loss, sink),
        };
        self.more = step.more;
        if self.names.is_empty() && self.is_idle() && !self.connection.is_closed() {
            self.close();
        }
        step
    }

    /// Leaves a connection that does not go to the master; returns whether that was reported.
    pub(super) fn follow(
        &mut self,
        master: &Master,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let astray = master.is_missed_by(&self.connection);
        if astray {
            self.forget_sent();
            self.connection.leave();
            sink(Incoming::LaneDown { lane: self.number, reason, silence: 0 });
        }
        astray
    }

    /// Leaves the connection if it goes to this node; returns whether it did, and that was reported.
    pub(super) fn leave(
        &mut self,
        node: Option<SocketAddr>,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let leaves = self.connection.is_open() && self.connection.peer() == node;
        if leaves {
            self.forget_sent();
            self.connection.leave();
            sink(Incoming::LaneDown { lane: self.number, reason, silence: 0 });
        }
        leaves
    }

    /// Asks for a sign of life, unless nothing is read.
    pub(super) fn pulse(&mut self, paused: bool) {
        if paused {
            self.connection.pass_pulse();
        } else if self.connection.pulse() {
            self.ping();
        }
    }

    /// Asks whether the node is alive, once until something comes.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.is_open() && self.probed.is_none() {
            self.ping();
            self.probed = Some(now);
        }
    }

    /// The same, behind all that it was asked before.
    pub(super) fn ask(&mut self) {
        if self.is_open() {
            self.ping();
        }
    }

    /// Returns whether the node was asked whether it is alive, and has said nothing for long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.probed.is_some_and(|at| now.saturating_duration_since(at) >= SILENT)
    }

    /// Returns whether the answer to a question whether it is alive is missing.
    pub(super) fn is_asked(&self) -> bool {
        self.in_flight.iter().any(|sent| sent.verb == Verb::Ping)
    }

    /// Returns the messages that came last: see [`Connection::last_messages`].
    pub(super) fn last_messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.connection.last_messages()
    }

    /// For how long the connection has brought nothing, in milliseconds; 0 while it is not open.
    pub(super) fn silence(&self) -> u64 {
        self.connection.silence()
    }

    /// Nothing is read: silence says nothing.
    pub(super) fn pass_probe(&mut self) {
        self.probed = None;
    }

    /// Why the connection is lost, and how long nothing may have been heard by then, in milliseconds.
    fn explain(&self, loss: &Loss) -> (String, u64) {
        let reason = loss.to_string();
        let behind = self.behind.filter(|behind| !behind.is_over(Instant::now()));
        match (behind, loss) {
            // Redis drops what a client does not read in time, and the client with it.
            (Some(Behind { since, .. }), Loss::ClosedBy(_) | Loss::Broken(..)) => {
                let unread = since.elapsed();
                let seconds = unread.as_secs_f64();
                let reason = format!(
                    "{reason}; it had not been read for {seconds:.1} s: see client-output-buffer-limit"
                );
                (reason, u64::try_from(unread.as_millis()).unwrap_or(u64::MAX))
            }
            (_, Loss::Frozen(..) | Loss::Broken(..)) => (reason, self.silence()),
            // Another loss ends what the node sends in that moment.
            _ => (reason, 0),
        }
    }

    fn lose(&mut self, loss: Loss, sink: &mut dyn FnMut(Incoming<'_>)) -> Step {
        let (reason, silence) = self.explain(&loss);
        let reported = match self.holding {
            Holding::Whole => {
                sink(Incoming::LaneDown { lane: self.number, reason: &reason, silence });
                true
            }
            Holding::BySlot => {
                let held = || self.names().filter(|(_, held)| *held).map(|(name, _)| name);
                self.report_unsubscribed(held(), &reason, silence, sink);
                held().next().is_some()
            }
        };
        self.news.loss = Some(loss);
        self.forget_sent();
        self.connection.lose();
        Step { reported, more: false }
    }

    fn report_unsubscribed<'a>(
        &self,
        names: impl Iterator<Item = &'a Subscription>,
        reason: &str,
        silence: u64,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) {
        for Subscription { kind, name } in names {
            sink(Incoming::Unsubscribed { lane: self.number, kind: *kind, name, reason, silence });
        }
    }

    /// Whether nothing is on its way to Redis.
    fn is_idle(&self) -> bool {
        self.connection.unwritten() == 0
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<Step, Loss> {
        let mut step = Step::default();
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(step),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    // Backwards: the channel of a namespace, which the others count, comes after its rooms.
                    self.unsent = Some(Unsent::All);
                }
            }
        }
        self.send_portion();
        step.more = self.unsent.is_some();
        self.try_refused_again(cx);
        self.connection.poll_flush(cx)?;
        if paused {
            let now = Instant::now();
            if self.behind.is_none_or(|behind| behind.is_over(now)) {
                self.behind = Some(Behind { since: now, caught_up: None });
            }
            return Ok(step);
        }
        if self.unread {
            // Before more is read.
            step.more = true;
        } else if let Poll::Ready(filled) = self.connection.poll_fill(cx) {
            filled?;
            step.more = true;
            self.probed = None;
        } else if let Some(behind) = &mut self.behind {
            let now = Instant::now();
            behind.caught_up.get_or_insert(now);
            if behind.is_over(now) {
                self.behind = None;
            }
        }
        step.reported = self.take_replies(sink)?;
        self.try_refused_again(cx);
        self.connection.poll_flush(cx)?;
        Ok(step)
    }

    /// Forgets what depends on the connection; the names are sent anew on the next one.
    fn forget_sent(&mut self) {
        self.in_flight.clear();
        self.unsent = None;
        self.unread = false;
        self.probed = None;
        self.behind = None;
        self.names.let_go();
        self.refused.forget();
        self.more = false;
    }
}
