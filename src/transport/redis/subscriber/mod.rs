//! A subscriber connection: the names that it is to hold, what is on its way, and what its replies say. Which names belong on
//! which connection is decided above.

mod sent;

pub(super) use sent::Verb;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::transport::passing::{Passing, passing};
use crate::transport::redis::buffer::{MAX_NAMES, write_names};
use crate::transport::redis::connect::{Loss, Target};
use crate::transport::redis::connection::{Backoff, Connection, Opened};
use crate::transport::redis::sentinel::Master;
use crate::transport::redis::slot::{Redirect, Slot, in_slots};
use crate::transport::redis::step::Step;
use crate::transport::resp::{Message, ProtocolError, Reply};
use crate::transport::{Incoming, Lane, Subscription, SubscriptionKind};
use sent::{Confirmed, Sent, confirm, take_redirected};

/// The first wait before a refused subscription is tried again.
const REFUSED_BASE: Duration = Duration::from_millis(250);

/// The longest such wait. A refusal ends when a human changes an ACL: 5 s is soon enough for them, and seldom
/// enough for Redis' log.
const REFUSED_CAP: Duration = Duration::from_secs(5);

/// The longest such wait if the refusal passes by itself.
const PASSING_CAP: Duration = Duration::from_secs(1);

/// How long a node has to answer the question whether it is alive until it counts as one that hangs. One that merely holds
/// back publishes, for a failover by hand, answers at once.
const SILENT: Duration = Duration::from_millis(500);

/// How long the end of a connection may take to be told behind what it has brought.
const CATCH_UP: Duration = Duration::from_millis(100);

/// How many replies are taken, or names sent anew, in one go: some milliseconds of work, for which the other links of the
/// process wait.
const PORTION: usize = 1000;

/// Why a node that stands withdraws a subscription.
pub(super) const WITHDRAWN: &str = "the slot of the channel has moved to another node";

/// One subscriber connection and the names it is to hold.
pub(super) struct LaneConnection {
    number: Lane,
    connection: Connection,
    /// What is wanted, and sent anew on each connection; and whether Redis has confirmed it on this one. It stands
    /// here since looking through what is in flight for each name is quadratic.
    names: BTreeMap<Subscription, bool>,
    /// How many are confirmed.
    held: usize,
    /// How often there was none.
    unheld: u64,
    /// Which names are still to be sent on a new connection, backwards.
    unsent: Option<Unsent>,
    /// Replies may be left in the buffer.
    unread: bool,
    /// Commands that are not wholly confirmed, in the order sent: replies come in the same order.
    in_flight: VecDeque<Sent>,
    refused: Refused,
    holding: Holding,
    /// When it was asked whether it is alive, if nothing has come since.
    probed: Option<Instant>,
    /// It may be behind, since it was not read.
    behind: Option<Behind>,
    news: News,
    /// Whether the last read brought something, so that another one may.
    pub(super) more: bool,
}

/// What came while a connection was not read is not read to its end yet, or was a moment ago.
#[derive(Clone, Copy)]
struct Behind {
    since: Instant,
    /// When there was nothing more to read. The end of the connection may have come by then, and be told later.
    caught_up: Option<Instant>,
}

impl Behind {
    fn is_over(&self, now: Instant) -> bool {
        self.caught_up.is_some_and(|at| now.saturating_duration_since(at) >= CATCH_UP)
    }
}

/// Where to go on with the names that are to be sent anew. They are not copied: there may be 100,000 of them.
enum Unsent {
    /// With the last one.
    All,
    /// Before this one.
    Before(Subscription),
}

impl Unsent {
    fn bound(&self) -> Bound<&Subscription> {
        match self {
            Unsent::All => Bound::Unbounded,
            Unsent::Before(name) => Bound::Excluded(name),
        }
    }

    /// Whether a name is still to come.
    fn covers(&self, name: &Subscription) -> bool {
        match self {
            Unsent::All => true,
            Unsent::Before(sent) => name < sent,
        }
    }
}

/// What came up that concerns more than the connection.
#[derive(Default)]
pub(super) struct News {
    /// Names that the node would not take; they are no longer this connection's.
    pub(super) strays: Vec<Subscription>,
    /// What the node said of slots that it does not own.
    pub(super) redirects: Vec<Redirect>,
    /// Names that the node has withdrawn; they are no longer this connection's.
    pub(super) withdrawn: Vec<Subscription>,
    /// Why the connection was lost, or could not be made.
    pub(super) loss: Option<Loss>,
}

/// What stands and falls together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    /// All names of the lane: it has no other connection.
    Lane,
    /// The names of a slot. A loss is reported name by name.
    Slot,
}

/// Names that Redis refused, to be tried again together.
struct Refused {
    names: Vec<Subscription>,
    /// Those that are no longer wanted, and that Redis holds as long as it refuses to let them go.
    leaving: Vec<Subscription>,
    /// Whether the refusal passes by itself.
    passes: bool,
    timer: Option<Pin<Box<Sleep>>>,
    backoff: Backoff,
    /// Whether this round of refusals is reported: 500 refused names are one report, not 500.
    reported: bool,
}

impl LaneConnection {
    /// Returns a lane without names, which needs no connection.
    pub(super) fn new(number: Lane, target: Arc<Target>, holding: Holding) -> Self {
        Self {
            number,
            connection: Connection::new(target),
            names: BTreeMap::new(),
            held: 0,
            unheld: 0,
            unsent: None,
            unread: false,
            in_flight: VecDeque::new(),
            refused: Refused {
                names: Vec::new(),
                leaving: Vec::new(),
                passes: false,
                timer: None,
                backoff: Backoff::new(REFUSED_BASE, REFUSED_CAP),
                reported: false,
            },
            holding,
            probed: None,
            behind: None,
            news: News::default(),
            more: false,
        }
    }

    /// Adds names, and sends them if the connection is up; else all go out once it is.
    pub(super) fn subscribe(&mut self, mut names: Vec<Subscription>) {
        for name in &names {
            if !self.names.contains_key(name) {
                self.names.insert(name.clone(), false);
            }
        }
        if self.connection.is_open() {
            if let Some(unsent) = &self.unsent {
                names.retain(|name| !unsent.covers(name));
            }
            self.send_all(names, Verb::subscribe);
        }
    }

    /// Removes names; a name that was not there is passed over.
    pub(super) fn unsubscribe(&mut self, mut names: Vec<Subscription>) {
        names.retain(|name| self.remove(name));
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
        self.holds_none();
    }

    /// Removes a name; returns whether it was there.
    fn remove(&mut self, name: &Subscription) -> bool {
        let removed = self.names.remove(name);
        if removed == Some(true) {
            self.holds_one_less();
        }
        removed.is_some()
    }

    /// Takes note of whether Redis has confirmed a name; returns whether it is one of this connection's.
    fn set_held(&mut self, name: &Subscription, now: bool) -> bool {
        let Some(held) = self.names.get_mut(name) else {
            return false;
        };
        match (std::mem::replace(held, now), now) {
            (false, true) => self.held += 1,
            (true, false) => self.holds_one_less(),
            _ => {}
        }
        true
    }

    fn holds_one_less(&mut self) {
        self.held -= 1;
        self.unheld += u64::from(self.held == 0);
    }

    fn holds_none(&mut self) {
        self.held = 0;
        self.unheld += 1;
    }

    /// Goes to another node: at once if it has a connection, else with the next attempt. Returns whether the
    /// connection was up or on its way.
    pub(super) fn move_to(&mut self, target: Arc<Target>) -> bool {
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
        self.names.iter().map(|(name, &held)| (name, held))
    }

    /// Returns whether it is to hold any name.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns whether it is to hold a name.
    pub(super) fn wants(&self, name: &Subscription) -> bool {
        self.names.contains_key(name)
    }

    /// Returns whether Redis has confirmed a name on the connection that stands.
    pub(super) fn holds(&self, name: &Subscription) -> bool {
        self.names.get(name) == Some(&true)
    }

    /// Returns what stays the same as long as Redis holds something for this connection; `None` if it holds nothing.
    pub(super) fn watch(&self) -> Option<u64> {
        (self.held > 0).then_some(self.unheld)
    }

    /// Returns whether the connection is up.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Takes what came up since the last time.
    pub(super) fn take_news(&mut self) -> News {
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

    fn ping(&mut self) {
        write_names(self.connection.commands.commands(), Verb::Ping.command(), []);
        self.in_flight.push_back(Sent { verb: Verb::Ping, slot: None, names: Vec::new(), confirmed: 0 });
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
            Holding::Lane => {
                sink(Incoming::LaneDown { lane: self.number, reason: &reason, silence });
                true
            }
            Holding::Slot => {
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

    /// Reports all whole replies; returns whether there was something to report.
    fn take_replies(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> Result<bool, Loss> {
        let lane = self.number;
        let mut reported = false;
        // Refusals wait until the borrow of the read buffer ends; they are rare.
        let mut refusals: Vec<Sent> = Vec::new();
        let mut withdrawn: Vec<Subscription> = Vec::new();
        let mut left = PORTION;
        while left > 0
            && let Some(reply) = self.connection.next_reply()?
        {
            left -= 1;
            match reply {
                Reply::Message(message) => {
                    // A name that has moved and is not yet let go of comes from its new node, too.
                    if self.holding == Holding::Slot
                        && !self.in_flight.is_empty()
                        && !self.names.contains_key(&Subscription::shard(message.name))
                    {
                        continue;
                    }
                    sink(Incoming::Message {
                        lane,
                        kind: message.kind,
                        name: message.name,
                        channel: message.channel,
                        payload: message.payload,
                    });
                    reported = true;
                }
                Reply::Array(items) => match confirm(&mut self.in_flight, items)? {
                    Confirmed::Subscribed(name) => {
                        if self.set_held(&name, true) {
                            sink(Incoming::Subscribed { lane, kind: name.kind, name: &name.name });
                            reported = true;
                        }
                    }
                    // If it is wanted again, that is still on its way.
                    Confirmed::Unsubscribed(name) => _ = self.set_held(&name, false),
                    Confirmed::Alive => {}
                    Confirmed::Withdrawn(name) => {
                        if self.set_held(&name, false) {
                            // Another connection may hold it by now, where there is one for each slot.
                            if self.holding == Holding::Lane {
                                let Subscription { kind, name: of } = &name;
                                sink(Incoming::Unsubscribed {
                                    lane,
                                    kind: *kind,
                                    name: of,
                                    reason: WITHDRAWN,
                                    silence: 0,
                                });
                                reported = true;
                            }
                            withdrawn.push(name);
                        }
                    }
                },
                Reply::Error(error) => {
                    if self.holding == Holding::Slot
                        && let Some(redirect) = Redirect::of(error)
                    {
                        if let Some(sent) = take_redirected(&mut self.in_flight, &redirect)
                            && sent.verb.subscribes()
                        {
                            for name in sent.names {
                                if self.remove(&name) {
                                    self.news.strays.push(name);
                                }
                            }
                        }
                        self.news.redirects.push(redirect);
                        continue;
                    }
                    let passes = passing(error).is_some_and(Passing::is_here);
                    let error = String::from_utf8_lossy(error);
                    let Some(sent) = self.in_flight.pop_front() else {
                        return Err(Loss::Refused(error.into_owned()));
                    };
                    if sent.verb == Verb::Ping {
                        // Forbidden, and answered.
                        continue;
                    }
                    let divisible = sent.names.len() > 1 && is_about_a_channel(&error);
                    if divisible {
                        refusals.push(sent);
                        continue;
                    }
                    if !self.refused.reported {
                        self.refused.reported = true;
                        reported = true;
                        sink(Incoming::SubscribeRefused { lane, error: &error });
                    }
                    self.refused.passes = passes;
                    if sent.verb.subscribes() {
                        self.refused.names.extend(sent.names);
                    } else if passes {
                        self.refused.leaving.extend(sent.names);
                    }
                }
                // Before the first subscription, or after the last one.
                Reply::Simple(_) if self.in_flight.front().is_some_and(|sent| sent.verb == Verb::Ping) => {
                    self.in_flight.pop_front();
                }
                _ => return Err(ProtocolError::Unexpected.into()),
            }
        }
        self.unread = left == 0;
        for sent in refusals {
            self.send_halves(sent);
        }
        if self.holding == Holding::Slot {
            withdrawn.retain(|name| self.remove(name));
            self.news.withdrawn.append(&mut withdrawn);
        } else {
            self.send_all(withdrawn, Verb::subscribe);
        }
        Ok(reported)
    }

    /// Sends some of the names that are to be sent anew.
    fn send_portion(&mut self) {
        let Some(unsent) = self.unsent.take() else {
            return;
        };
        let left = self.names.range((Bound::Unbounded, unsent.bound())).rev();
        let names: Vec<Subscription> = left.take(PORTION).map(|(name, _)| name.clone()).collect();
        if names.len() == PORTION {
            self.unsent = names.last().cloned().map(Unsent::Before);
        }
        self.send_all(names, Verb::subscribe);
    }

    /// Sends a refused command again as two, so that the names that are allowed get through.
    fn send_halves(&mut self, sent: Sent) {
        let Sent { verb, slot, mut names, .. } = sent;
        if verb.subscribes() {
            names.retain(|name| self.names.contains_key(name));
        }
        let second = names.split_off(names.len() / 2);
        self.send(verb, slot, names);
        self.send(verb, slot, second);
    }

    /// Sends the refused names again when their time has come; starts their timer before.
    fn try_refused_again(&mut self, cx: &mut Context<'_>) {
        if self.refused.names.is_empty() && self.refused.leaving.is_empty() {
            if self.in_flight.is_empty() && self.refused.timer.is_none() {
                self.refused.backoff.reset();
                self.refused.reported = false;
            }
            return;
        }
        let refused = &mut self.refused;
        let cap = if refused.passes { PASSING_CAP } else { REFUSED_CAP };
        let timer = refused
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(refused.backoff.next_delay().min(cap))));
        if timer.as_mut().poll(cx).is_ready() {
            refused.timer = None;
            refused.reported = false;
            let mut names = std::mem::take(&mut refused.names);
            names.retain(|name| self.names.contains_key(name));
            let mut leaving = std::mem::take(&mut refused.leaving);
            leaving.retain(|name| !self.names.contains_key(name));
            self.send_all(names, Verb::subscribe);
            self.send_all(leaving, Verb::unsubscribe);
        }
    }

    fn send_all(&mut self, names: Vec<Subscription>, verb: fn(SubscriptionKind) -> Verb) {
        if self.holding == Holding::Slot {
            for (slot, names) in in_slots(names) {
                self.send_kinds(names, Some(slot), verb);
            }
        } else {
            self.send_kinds(names, None, verb);
        }
    }

    fn send_kinds(
        &mut self,
        names: Vec<Subscription>,
        slot: Option<Slot>,
        verb: fn(SubscriptionKind) -> Verb,
    ) {
        // Globs first: the others count the subscribers of exact channels.
        for kind in [SubscriptionKind::Pattern, SubscriptionKind::Channel, SubscriptionKind::Shard] {
            let mut names = names.iter().filter(|name| name.kind == kind).cloned().peekable();
            while names.peek().is_some() {
                self.send(verb(kind), slot, names.by_ref().take(MAX_NAMES).collect());
            }
        }
    }

    fn send(&mut self, verb: Verb, slot: Option<Slot>, names: Vec<Subscription>) {
        if names.is_empty() {
            // UNSUBSCRIBE without a name would mean all.
            return;
        }
        write_names(
            self.connection.commands.commands(),
            verb.command(),
            names.iter().map(|name| &*name.name),
        );
        self.in_flight.push_back(Sent { verb, slot, names, confirmed: 0 });
    }

    /// Forgets what depends on the connection; the names are sent anew on the next one.
    fn forget_sent(&mut self) {
        self.in_flight.clear();
        self.unsent = None;
        self.unread = false;
        self.probed = None;
        self.behind = None;
        self.names.values_mut().for_each(|held| *held = false);
        self.holds_none();
        self.refused.names.clear();
        self.refused.leaving.clear();
        self.refused.timer = None;
        self.refused.reported = false;
        self.more = false;
    }
}

/// Whether an error is about a name and not about the command or the server, so that other names may pass.
/// Redis 6.2: "…to access one of the channels used as arguments"; 7: "…to access a channel", "…the 'x' channel".
fn is_about_a_channel(error: &str) -> bool {
    error.starts_with("NOPERM") && error.contains("channel")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::future::poll_fn;

    use super::*;
    use crate::transport::redis::connect::Settings;
    use crate::transport::redis::mock::{Client, MockPeer, block_on};

    fn channel(name: &str) -> Subscription {
        Subscription::channel(name)
    }

    /// The next command of a lane that is polled meanwhile.
    async fn command(lane: &mut LaneConnection, client: &mut Client) -> Vec<String> {
        let polled = poll_fn(|cx| {
            if lane.poll(cx, false, &mut |_| {}).more {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        tokio::select! {
            command = client.command() => command,
            () = polled => Vec::new(),
        }
    }

    #[test]
    fn what_changes_while_the_names_are_sent_anew_is_sent_once() {
        block_on(async {
            let mut peer = MockPeer::tcp().await;
            let target = Target::new(peer.address(), Settings::default());
            let mut lane = LaneConnection::new(0, Arc::new(target), Holding::Lane);
            let name = |n: usize| format!("m{n:05}");
            lane.subscribe((0..3 * PORTION).map(|n| channel(&name(n))).collect());
            lane.open();
            let opened = poll_fn(|cx| {
                lane.poll(cx, false, &mut |_| {});
                if lane.is_open() { Poll::Ready(()) } else { Poll::Pending }
            });
            let mut client = peer.accept_while(opened).await;
            assert!(lane.unsent.is_some(), "a portion is sent, and no more");
            // Two are still to come, one of which is there already, and one is not.
            lane.subscribe(vec![channel("a"), channel(&name(7)), channel("z")]);
            lane.unsubscribe(vec![channel(&name(8))]);
            let mut wanted: BTreeSet<String> = (0..3 * PORTION).filter(|&n| n != 8).map(name).collect();
            wanted.extend(["a".to_owned(), "z".to_owned()]);
            while !wanted.is_empty() {
                let command = command(&mut lane, &mut client).await;
                match command[0].as_str() {
                    "SUBSCRIBE" => {
                        for name in &command[1..] {
                            assert!(wanted.remove(name), "{name} is not wanted, or was sent before");
                        }
                    }
                    _ => assert_eq!(command, ["UNSUBSCRIBE".to_owned(), name(8)]),
                }
            }
            lane.unsubscribe(vec![channel("z")]);
            assert_eq!(
                command(&mut lane, &mut client).await,
                ["UNSUBSCRIBE", "z"],
                "nothing else was to be sent"
            );
        });
    }
}
