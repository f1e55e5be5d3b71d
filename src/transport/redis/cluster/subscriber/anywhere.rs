//! The connection for channels and globs. Any node will do for them, so it stays where it is as long as it
//! can.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::former::FormerNode;
use super::seen::{LAG, Sender};
use super::successor::{Fate, Successor, Twice};
use crate::transport::redis::cluster::settings::ClusterSettings;
use crate::transport::redis::cluster::topology::Topology;
use crate::transport::redis::connect::{Address, RedisTarget};
use crate::transport::redis::connection::millis;
use crate::transport::redis::step::PollStep;
use crate::transport::redis::subscriber::{Holding, SubscriberConnection};
use crate::transport::{Incoming, Subscriber, Subscription};

/// How long the node has to take a lost connection back. Nodes lag behind each other, so another node would
/// send again what this one has sent already.
const RETURN: Duration = Duration::from_millis(250);

/// How long the node may be missing from the topology before it is left. A master that is replaced is listed
/// again as a replica once it has copied the data of the new one.
pub(crate) const MISSING: Duration = Duration::from_secs(2);

/// How long it may take to leave a node without a gap. After that it is left with one.
const LEAVING: Duration = Duration::from_secs(10);

/// A node that takes longer to answer may have hung.
const PROMPT: Duration = Duration::from_millis(500);

/// If a connection to the same node is lost again within this time, the node is left.
const STABLE: Duration = Duration::from_secs(2);

/// Why the connection goes to another node though it was not lost.
const DELISTED: &str = "the node is no longer part of the cluster";

/// The connection for channels and globs, and the node that it goes to.
pub(super) struct Anywhere {
    number: Subscriber,
    settings: Arc<ClusterSettings>,
    connection: SubscriberConnection,
    /// Where it goes.
    at: Option<Address>,
    /// Where it went before, if that node may hang.
    former: Option<FormerNode>,
    /// Where it goes next, if the node is left though it is alive.
    successor: Option<Successor>,
    /// What both of them send, or have just sent.
    twice: Option<Twice>,
    /// Since when copies come from the node alone, of what another one has sent.
    copies_since: Option<(Instant, Sender)>,
    /// If the node is missing from the topology.
    missing: Option<Missing>,
    /// When the node last got the chance to take a lost connection back.
    retried: Option<Instant>,
    /// Until when it has that chance.
    returns_until: Option<Instant>,
    /// Shifts the choice of the node, so that servers choose different nodes.
    spread: usize,
}

/// Since when the node is missing from the topology, and what is known of it.
#[derive(Clone, Copy)]
struct Missing {
    since: Instant,
    /// When it is to be left.
    due: Instant,
    /// For how long nothing was read by then, in milliseconds.
    silence: u64,
    /// Whether it has answered the question of then in time; `None` if there is none yet.
    is_prompt: Option<bool>,
}

impl Anywhere {
    /// Returns a connection without names. It needs no node yet.
    pub(super) fn new(number: Subscriber, settings: Arc<ClusterSettings>, spread: usize) -> Self {
        // It is not opened before it has a node.
        let nowhere = RedisTarget::new(Address::Unix(PathBuf::new()), settings.base.clone());
        Self {
            number,
            settings,
            connection: SubscriberConnection::new(number, Arc::new(nowhere), Holding::Whole),
            at: None,
            former: None,
            successor: None,
            twice: None,
            copies_since: None,
            missing: None,
            retried: None,
            returns_until: None,
            spread,
        }
    }

    /// Adds names. The connection opens if that is `allowed`.
    pub(super) fn subscribe(&mut self, names: Vec<Subscription>, topology: &Topology, allowed: bool) {
        self.put_off();
        self.connection.subscribe(names);
        self.place(topology, allowed);
    }

    /// Removes names. Names that are not there are ignored.
    pub(super) fn unsubscribe(&mut self, names: Vec<Subscription>) {
        self.put_off();
        self.connection.unsubscribe(names);
    }

    /// Lets the connection open.
    pub(super) fn open(&mut self) {
        if self.at.is_some() {
            self.connection.open();
        }
    }

    /// Drops the connection, and keeps the names. Returns whether it was up or being opened.
    pub(super) fn close(&mut self) -> bool {
        self.former = None;
        self.forget_successor();
        self.returns_until = None;
        self.connection.close()
    }

    /// Forgets the names.
    pub(super) fn clear(&mut self) {
        self.connection.clear();
        self.former = None;
        self.forget_successor();
    }

    /// Asks for signs of life, unless the connection is not read.
    pub(super) fn pulse(&mut self, paused: bool) {
        self.connection.pulse(paused);
        if let Some(former) = &mut self.former {
            former.pulse(paused);
        }
        if let Some(successor) = &mut self.successor {
            successor.connection.pulse(paused);
        }
    }

    /// Returns when a poll has something to do even if nothing is read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let missing = self.missing.map(|missing| match self.successor {
            None => missing.due,
            Some(_) => missing.since + LEAVING,
        });
        let former = self.former.as_ref().and_then(FormerNode::deadline);
        let successor = self.successor.as_ref().and_then(Successor::deadline);
        let copies = self.copies_since.map(|(since, _)| since + LAG);
        [self.returns_until, missing, former, successor, copies].into_iter().flatten().min()
    }

    /// Adopts a new topology. The connection opens if that is `allowed`.
    pub(super) fn adopt(&mut self, topology: &Topology, now: Instant, allowed: bool) {
        let gone = |at: &Address| !topology.nodes().any(|node| node == at);
        if !self.at.as_ref().is_some_and(gone) {
            self.missing = None;
            // What both have sent is told apart until the next one has taken over.
            if !self.successor.as_ref().is_some_and(Successor::delivers) && self.copies_since.is_none() {
                self.forget_successor();
            }
        } else if self.missing.is_none() {
            self.missing = Some(self.missing_since(now));
        }
        self.place(topology, allowed);
    }

    /// Opens, writes everything, and reads unless paused. Sets `trouble` if the connection is lost.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        trouble: &mut bool,
    ) -> PollStep {
        let stood = self.connection.is_open();
        let mut step = self.poll_connection(cx, paused, now, sink);
        if self.look_at_missing(topology, paused, now, sink) {
            return PollStep::REPORTED;
        }
        let later = self.poll_former(cx, paused, now, sink);
        step.reported |= later.reported;
        step.more |= later.more;
        if self.connection.is_open() {
            self.returns_until = None;
        }
        let lost = self.connection.take_news().loss.is_some();
        *trouble |= lost;
        let after = self.poll_successor(cx, topology, lost, paused, now, sink);
        step.reported |= after.reported;
        step.more |= after.more;
        if lost && self.connection.is_open() {
            // The next node has taken over.
            return step;
        }
        let may_return = stood
            && self.retried.is_none_or(|last| now - last >= STABLE)
            && self.at.as_ref().is_some_and(|at| topology.nodes().any(|node| node == at));
        if lost && may_return {
            self.retried = Some(now);
            self.returns_until = Some(now + RETURN);
        } else if lost || self.returns_until.is_some_and(|until| now >= until) {
            // The node is gone for good, or hangs. The next node may send the last messages again; to
            // recognise them, every message would have to be remembered, always. The waits before each
            // attempt are about as long as the lag between nodes.
            self.returns_until = None;
            self.move_on(topology);
            step.more = true;
        }
        step
    }

    /// The node is missing. Asks whether it is alive, and begins to note what it sends: the next one may send it, too.
    fn missing_since(&mut self, now: Instant) -> Missing {
        let silence = self.connection.silence();
        self.connection.ask();
        if self.copies_since.is_none() && self.connection.is_open() {
            self.twice = Some(Twice::new(now));
        }
        Missing { since: now, due: now + MISSING, silence, is_prompt: None }
    }

    /// Leaves a node that is missing for long enough: without a gap, if that can be. Returns whether it was reported as
    /// left. What has come must have been read.
    fn look_at_missing(
        &mut self,
        topology: &Topology,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let Some(missing) = &mut self.missing else {
            return false;
        };
        if missing.is_prompt.is_none() && self.connection.is_open() && !self.connection.is_asked() {
            missing.is_prompt = Some(now - missing.since < PROMPT || paused);
        }
        let Missing { since, due, is_prompt, .. } = *missing;
        if paused || self.connection.more {
            return false;
        }
        if now >= since + LEAVING {
            self.forget_successor();
            return self.leave(topology, now, sink);
        }
        if now < due || self.successor.is_some() {
            return false;
        }
        let is_alive = is_prompt == Some(true) && self.connection.is_settled();
        match self.next(topology).filter(|next| Some(next) != self.at.as_ref()) {
            Some(next) if is_alive && self.twice.is_some() && self.copies_since.is_none() => {
                self.begin_succession(next, sink)
            }
            _ => self.leave(topology, now, sink),
        }
    }

    /// The next node is to take over, beside this one. Returns whether something was reported.
    fn begin_succession(&mut self, next: Address, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let reported = self.leave_former(sink);
        let target = self.settings.of(&next);
        let mut connection = SubscriberConnection::new(self.number, target, Holding::Whole);
        connection.subscribe(self.connection.names().map(|(name, _)| name.clone()).collect());
        self.successor = Some(Successor::new(next, connection));
        reported
    }

    /// The next node does not take over for now. What it has delivered is not delivered again.
    fn put_off(&mut self) {
        if let Some(successor) = self.successor.take() {
            // What it has sent first comes from this node as well.
            self.copies_since = successor.delivers().then(|| (Instant::now(), Sender::Former));
            if let Some(missing) = &mut self.missing {
                missing.due = Instant::now() + MISSING;
            }
        }
    }

    fn forget_successor(&mut self) {
        self.successor = None;
        self.twice = None;
        self.copies_since = None;
    }

    /// Leaves the node, which may hang. Returns whether that was reported.
    fn leave(&mut self, topology: &Topology, now: Instant, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        // The node may have hung for long, while the others accepted publishes.
        let silence = self.missed(now);
        self.missing = None;
        if topology.masters().next().is_some() {
            self.leave_former(sink);
            self.former = FormerNode::of(&mut self.connection);
        }
        let leaves = self.move_on(topology) || self.former.is_some();
        if leaves {
            sink(Incoming::SubscriberDown { subscriber: self.number, reason: DELISTED, silence });
        }
        leaves
    }

    /// For how long a node that is missing may have missed what was published, in milliseconds.
    fn missed(&self, now: Instant) -> u64 {
        let unlisted = self.missing.map_or(0, |missing| missing.silence + millis(now - missing.since));
        self.connection.silence().max(unlisted)
    }

    /// Polls the connection. What is a copy is not reported.
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> PollStep {
        if let Some((since, _)) = &mut self.copies_since
            && paused
        {
            *since = now;
        }
        if let Some(twice) = self.twice.as_mut().filter(|_| paused) {
            twice.pause(now);
        }
        if self.copies_since.is_some_and(|(since, _)| now >= since + LAG) {
            (self.twice, self.copies_since) = (None, None);
        }
        let (former, copies_since) = (&mut self.former, self.copies_since);
        let mut twice = self.twice.as_mut();
        self.connection.poll(cx, paused, &mut |incoming| {
            let is_new = match (twice.as_deref_mut(), copies_since) {
                (Some(twice), Some((_, by))) => !twice.is_copy(&incoming, by, now),
                (Some(twice), None) => twice.is_new(&incoming, Sender::Former, now),
                (None, _) => true,
            };
            if is_new && former.as_mut().is_none_or(|former| former.hear(&incoming, now)) {
                sink(incoming);
            }
        })
    }

    /// Polls the node that is to take over. `lost` is whether the connection was lost, which was reported.
    fn poll_successor(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        lost: bool,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> PollStep {
        let silence = self.missed(now);
        let Some(successor) = &mut self.successor else {
            return PollStep::default();
        };
        let twice = self.twice.get_or_insert_with(|| Twice::new(now));
        if lost {
            if !successor.is_confirmed() {
                self.forget_successor();
                return PollStep::default();
            }
            successor.report(self.number, sink);
            successor.give(self.number, twice, now, sink);
            self.take_over(topology, now);
            return PollStep::REPORTED;
        }
        let (step, fate) = successor.poll(cx, paused, &mut self.connection, twice, now, sink);
        match fate {
            Fate::GoesOn => {}
            // It is listed again.
            Fate::TakesOver if self.missing.is_none() => self.put_off(),
            Fate::TakesOver => {
                let is_part = twice.is_met;
                if !is_part {
                    sink(Incoming::SubscriberDown { subscriber: self.number, reason: DELISTED, silence });
                    successor.report(self.number, sink);
                }
                self.take_over(topology, now);
                return PollStep { reported: step.reported || !is_part, more: true };
            }
            Fate::Fails => self.put_off(),
            Fate::FormerHangs => {
                self.forget_successor();
                self.leave(topology, now, sink);
                return PollStep::REPORTED;
            }
        }
        step
    }

    fn take_over(&mut self, topology: &Topology, now: Instant) {
        if let Some(Successor { at, connection, .. }) = self.successor.take() {
            self.connection = connection;
            self.copies_since = Some((now, Sender::Owner));
            let is_missing = !topology.nodes().any(|node| *node == at);
            self.at = Some(at);
            self.missing = is_missing.then(|| self.missing_since(now));
            (self.retried, self.returns_until) = (None, None);
        }
    }

    /// Polls the node that was left.
    fn poll_former(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> PollStep {
        let Some(former) = &mut self.former else {
            return PollStep::default();
        };
        let Ok(mut step) = former.poll(cx, paused, self.number, now, sink) else {
            return PollStep { reported: self.leave_former(sink), more: false };
        };
        if former.asks(self.connection.is_asked()) {
            self.connection.ask();
            step.more = true;
        }
        if former.is_over() {
            self.former = None;
        }
        step
    }

    /// Stops waiting for the node that was left. Returns whether messages were held back.
    fn leave_former(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        self.former.take().is_some_and(|mut former| former.give_all(self.number, sink))
    }

    /// Chooses a node if there are names and no node. The connection opens if that is `allowed`.
    fn place(&mut self, topology: &Topology, allowed: bool) {
        if self.at.is_none() && self.connection.has_names() {
            self.move_on(topology);
        }
        if allowed && self.at.is_some() {
            self.connection.open();
        }
    }

    /// Goes to the next master. Returns whether the connection was up or being opened.
    fn move_on(&mut self, topology: &Topology) -> bool {
        let Some(next) = self.next(topology) else {
            return false;
        };
        self.forget_successor();
        self.missing = None;
        self.returns_until = None;
        let target = self.settings.of(&next);
        self.at = Some(next);
        self.connection.move_to(target)
    }

    fn next(&self, topology: &Topology) -> Option<Address> {
        let masters: Vec<&Address> = topology.masters().collect();
        let place = match &self.at {
            Some(at) => masters.iter().position(|master| *master == at).map_or(0, |place| place + 1),
            None => self.number + self.spread,
        };
        place.checked_rem(masters.len()).and_then(|place| masters.get(place)).copied().cloned()
    }
}
