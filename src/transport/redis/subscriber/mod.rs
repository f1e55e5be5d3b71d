//! A subscriber connection: the names that it has to hold, what was sent, and what the replies say. It does
//! not decide which names belong on which connection.

mod behind;
mod names;
mod refused;
mod replies;
mod sending;
mod sent;
#[cfg(test)]
mod tests;
mod unsent;
mod watch;

pub(super) use sent::Verb;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::{Loss, RedisTarget};
use super::connection::{Connection, Opened, millis};
use super::sentinel::Master;
use super::slot::Redirect;
use super::step::PollStep;
use crate::transport::resp::Message;
use crate::transport::{Incoming, Subscriber, Subscription};
use behind::Behind;
use names::Names;
use refused::Refused;
use sent::SentCommand;
use unsent::Unsent;
use watch::{SILENT, Watch};

/// How many replies are taken, or names sent again, in one go: some milliseconds of work, while the other
/// links of the process wait.
const PORTION: usize = 1000;

/// Why a node withdraws a subscription while the connection works.
pub(super) const WITHDRAWN: &str = "the slot of the channel has moved to another node";

/// One subscriber connection, and the names that it has to hold.
pub(super) struct SubscriberConnection {
    number: Subscriber,
    connection: Connection,
    names: Names,
    /// Which names still have to be sent on a new connection. They are sent backwards.
    unsent: Option<Unsent>,
    /// Complete replies may be left in the buffer.
    unread: bool,
    /// Commands that are not completely confirmed, in the order sent. Replies come in the same order.
    in_flight: VecDeque<SentCommand>,
    refused: Refused,
    holding: Holding,
    /// When it was asked whether it is alive, if nothing was read since.
    probed: Option<Instant>,
    watch: Watch,
    /// Set if it may be behind, since it was not read.
    behind: Option<Behind>,
    news: SubscriberNews,
    /// Whether the last read brought something, so that there may be more.
    pub(super) more: bool,
}

/// What concerns more than this connection.
#[derive(Default)]
pub(super) struct SubscriberNews {
    /// Names that the node refused, since it does not own their slot. They do not belong to this connection
    /// any more.
    pub(super) strays: Vec<Subscription>,
    /// What the node said about slots that it does not own.
    pub(super) redirects: Vec<Redirect>,
    /// Names that the node has withdrawn. They do not belong to this connection any more.
    pub(super) withdrawn: Vec<Subscription>,
    /// Why the connection was lost, or could not be opened.
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
    /// Returns a subscriber connection without names. It needs no connection yet.
    pub(super) fn new(number: Subscriber, target: Arc<RedisTarget>, holding: Holding) -> Self {
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
            watch: Watch::default(),
            behind: None,
            news: SubscriberNews::default(),
            more: false,
        }
    }

    /// Adds names. They are sent now if the connection is up, else once it is.
    pub(super) fn subscribe(&mut self, mut names: Vec<Subscription>) {
        names.iter().for_each(|name| self.names.add(name));
        if self.connection.is_open() {
            if let Some(unsent) = &self.unsent {
                names.retain(|name| !unsent.covers(name));
            }
            self.send_all(names, Verb::subscribe);
        }
    }

    /// Removes names. Names that are not there are ignored.
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

    /// Drops the connection, and keeps the names. Returns whether it was up or being opened.
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
    /// connection was up or being opened.
    pub(super) fn move_to(&mut self, target: Arc<RedisTarget>) -> bool {
        let mut reported = false;
        if !self.connection.is_waiting() {
            reported = self.close();
        }
        self.connection.set_target(target);
        self.open();
        reported
    }

    /// Takes away the connection in its current state. The names stay.
    pub(super) fn take_connection(&mut self) -> Connection {
        self.forget_sent();
        self.connection.take()
    }

    /// Removes names that belong to another node now, and reports those that were confirmed.
    pub(super) fn give_up(
        &mut self,
        names: Vec<Subscription>,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) {
        self.report_unsubscribed(names.iter().filter(|name| self.holds(name)), reason, 0, sink);
        self.unsubscribe(names);
    }

    /// Returns the names that it has to hold, and whether Redis has confirmed each.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Subscription, bool)> {
        self.names.iter()
    }

    /// Returns whether it has to hold any name.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns whether it has to hold a name.
    pub(super) fn wants(&self, name: &Subscription) -> bool {
        self.names.has(name)
    }

    /// Returns whether Redis has confirmed a name on the current connection.
    pub(super) fn holds(&self, name: &Subscription) -> bool {
        self.names.holds(name)
    }

    /// Returns a number that stays the same as long as Redis holds at least one name here without a break;
    /// `None` if it holds none.
    pub(super) fn tenure(&self) -> Option<u64> {
        self.names.tenure()
    }

    /// Returns whether Redis has answered everything, the names above all.
    pub(super) fn is_settled(&self) -> bool {
        self.is_open() && self.unsent.is_none() && self.in_flight.is_empty()
    }

    /// Returns the subscriber that it belongs to.
    pub(super) fn number(&self) -> Subscriber {
        self.number
    }

    /// Returns whether the connection is up.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Returns what has come up since the last call.
    pub(super) fn take_news(&mut self) -> SubscriberNews {
        std::mem::take(&mut self.news)
    }

    /// Returns whether the connection is not wanted.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Opens, writes everything, and reads once unless paused.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> PollStep {
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

    /// Leaves a connection that does not go to the master. Returns whether it did, which was reported.
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
            sink(Incoming::SubscriberDown { subscriber: self.number, reason, silence: 0 });
        }
        astray
    }

    /// Leaves the connection if it goes to this node. Returns whether it did, which was reported.
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
            sink(Incoming::SubscriberDown { subscriber: self.number, reason, silence: 0 });
        }
        leaves
    }

    /// Asks for a sign of life, unless the connection is not read.
    pub(super) fn pulse(&mut self, paused: bool) {
        if paused {
            self.connection.pass_pulse();
        } else if self.connection.pulse() {
            self.ping();
        }
    }

    /// Asks whether the node is alive, unless it was asked since the last read.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.is_open() && self.probed.is_none() {
            self.ping();
            self.probed = Some(now);
        }
    }

    /// Asks whether the node is alive, after all earlier questions.
    pub(super) fn ask(&mut self) {
        if self.is_open() {
            self.ping();
        }
    }

    /// Returns whether the node was asked whether it is alive, and has been silent for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.probed.is_some_and(|at| now.saturating_duration_since(at) >= SILENT)
    }

    /// Returns whether a question whether it is alive is not answered yet.
    pub(super) fn is_asked(&self) -> bool {
        self.in_flight.iter().any(|sent| sent.verb == Verb::Ping)
    }

    /// Returns for how long something may have been missed at the node, if it hangs.
    pub(super) fn hangs_for(&self) -> Option<Duration> {
        self.missed_for().filter(|_| self.watch.hangs())
    }

    /// The same if it hangs, or has just hung.
    fn missed_for(&self) -> Option<Duration> {
        // It may have fallen silent before the last time that nothing was read.
        let silence = Duration::from_millis(if self.watch.hangs() { self.silence() } else { 0 });
        self.watch.missed_for(Instant::now()).map(|missed| missed.max(silence))
    }

    /// Returns when a poll has to look whether the node hangs; `None` if there is no reason to.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.watch.look_at()
    }

    /// Returns the last messages: see [`Connection::last_messages`].
    pub(super) fn last_messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.connection.last_messages()
    }

    /// For how long nothing was read, in milliseconds; 0 while the connection is not open.
    pub(super) fn silence(&self) -> u64 {
        self.connection.silence()
    }

    /// The connection is not read, so silence proves nothing.
    pub(super) fn pass_probe(&mut self) {
        self.probed = None;
    }

    /// Returns why the connection was lost, and for how long messages may have been missed by then, in
    /// milliseconds.
    fn explain(&self, loss: &Loss) -> (String, u64) {
        let reason = loss.to_string();
        let behind = self.behind.filter(|behind| !behind.is_over(Instant::now()));
        let hung = self.missed_for().map_or(0, millis);
        match (behind, loss) {
            // Redis drops a client that does not read in time, and what it has for it.
            (Some(Behind { since, .. }), Loss::ClosedBy(_) | Loss::Broken(..)) => {
                let unread = since.elapsed();
                let seconds = unread.as_secs_f64();
                let reason = format!(
                    "{reason}; it had not been read for {seconds:.1} s: see client-output-buffer-limit"
                );
                (reason, millis(unread).max(hung))
            }
            (_, Loss::Frozen(..) | Loss::Broken(..)) => (reason, self.silence().max(hung)),
            // With any other loss, nothing was missed before, unless it was replaced while it hung.
            _ => (reason, hung),
        }
    }

    fn lose(&mut self, loss: Loss, sink: &mut dyn FnMut(Incoming<'_>)) -> PollStep {
        let (reason, silence) = self.explain(&loss);
        let reported = match self.holding {
            Holding::Whole => {
                sink(Incoming::SubscriberDown { subscriber: self.number, reason: &reason, silence });
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
        PollStep { reported, more: false }
    }

    fn report_unsubscribed<'a>(
        &self,
        names: impl Iterator<Item = &'a Subscription>,
        reason: &str,
        silence: u64,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) {
        for Subscription { kind, name } in names {
            sink(Incoming::Unsubscribed { subscriber: self.number, kind: *kind, name, reason, silence });
        }
    }

    /// Whether nothing waits to be written.
    fn is_idle(&self) -> bool {
        self.connection.unwritten() == 0
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<PollStep, Loss> {
        let mut step = PollStep::default();
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(step),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    // Backwards, so that the channel of a namespace, which other servers count, comes after
                    // its rooms.
                    self.unsent = Some(Unsent::All);
                }
            }
        }
        self.send_portion();
        step.more = self.unsent.is_some();
        self.try_refused_again(cx);
        self.connection.poll_flush(cx)?;
        if paused {
            self.watch.pass();
            let now = Instant::now();
            if self.behind.is_none_or(|behind| behind.is_over(now)) {
                self.behind = Some(Behind { since: now, caught_up: None });
            }
            return Ok(step);
        }
        if self.unread {
            // They are taken before more is read.
            step.more = true;
        } else if let Poll::Ready(filled) = self.connection.poll_fill(cx) {
            filled?;
            step.more = true;
            self.probed = None;
            self.watch.heard(Instant::now());
        } else {
            let now = Instant::now();
            self.watch.quiet(now);
            // Only the names of slots have another node that takes over.
            if self.holding == Holding::BySlot && self.watch.asks(now) {
                self.ping();
            }
            if let Some(behind) = &mut self.behind {
                behind.caught_up.get_or_insert(now);
                if behind.is_over(now) {
                    self.behind = None;
                }
            }
        }
        step.reported = self.take_replies(sink)?;
        self.try_refused_again(cx);
        self.connection.poll_flush(cx)?;
        Ok(step)
    }

    /// Forgets everything about the current connection. The names are sent again on the next one.
    fn forget_sent(&mut self) {
        self.in_flight.clear();
        self.unsent = None;
        self.unread = false;
        self.probed = None;
        self.watch = Watch::default();
        self.behind = None;
        self.names.let_go();
        self.refused.forget();
        self.more = false;
    }
}
