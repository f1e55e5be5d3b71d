//! The connection for channels and globs. Any node will do for them, so it stays where it is as long as it
//! can.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::former::FormerNode;
use crate::transport::redis::cluster::settings::ClusterSettings;
use crate::transport::redis::cluster::topology::Topology;
use crate::transport::redis::connect::{Address, RedisTarget};
use crate::transport::redis::step::PollStep;
use crate::transport::redis::subscriber::{Holding, SubscriberConnection};
use crate::transport::{Incoming, Subscriber, Subscription};

/// How long the node has to take a lost connection back. Nodes lag behind each other, so another node would
/// send again what this one has sent already.
const RETURN: Duration = Duration::from_millis(250);

/// How long the node may be missing from the topology before it is left. A master that is replaced is listed
/// again as a replica a moment later.
pub(crate) const MISSING: Duration = Duration::from_secs(2);

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
    /// Since when the node is missing from the topology.
    missing: Option<Instant>,
    /// When the node last got the chance to take a lost connection back.
    retried: Option<Instant>,
    /// Until when it has that chance.
    returns_until: Option<Instant>,
    /// Shifts the choice of the node, so that servers choose different nodes.
    spread: usize,
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
            missing: None,
            retried: None,
            returns_until: None,
            spread,
        }
    }

    /// Adds names. The connection opens if that is `allowed`.
    pub(super) fn subscribe(&mut self, names: Vec<Subscription>, topology: &Topology, allowed: bool) {
        self.connection.subscribe(names);
        self.place(topology, allowed);
    }

    /// Removes names. Names that are not there are ignored.
    pub(super) fn unsubscribe(&mut self, names: Vec<Subscription>) {
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
        self.returns_until = None;
        self.connection.close()
    }

    /// Forgets the names.
    pub(super) fn clear(&mut self) {
        self.connection.clear();
        self.former = None;
    }

    /// Asks for signs of life, unless the connection is not read.
    pub(super) fn pulse(&mut self, paused: bool) {
        self.connection.pulse(paused);
        if let Some(former) = &mut self.former {
            former.pulse(paused);
        }
    }

    /// Returns when a poll has something to do even if nothing is read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let missing = self.missing.map(|since| since + MISSING);
        let former = self.former.as_ref().and_then(FormerNode::deadline);
        [self.returns_until, missing, former].into_iter().flatten().min()
    }

    /// Adopts a new topology. The connection opens if that is `allowed`.
    pub(super) fn adopt(&mut self, topology: &Topology, now: Instant, allowed: bool) {
        let gone = |at: &Address| !topology.nodes().any(|node| node == at);
        self.missing = self.at.as_ref().filter(|at| gone(at)).map(|_| self.missing.unwrap_or(now));
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
        if self.missing.is_some_and(|since| now >= since + MISSING) {
            self.missing = None;
            // The node may have hung for long, while the others accepted publishes.
            let silence = self.connection.silence();
            if topology.masters().next().is_some() {
                self.leave_former(sink);
                self.former = FormerNode::of(&mut self.connection);
            }
            if self.move_on(topology) || self.former.is_some() {
                sink(Incoming::SubscriberDown { subscriber: self.number, reason: DELISTED, silence });
                return PollStep::REPORTED;
            }
        }
        let stood = self.connection.is_open();
        let mut step = match &mut self.former {
            None => self.connection.poll(cx, paused, sink),
            Some(former) => self.connection.poll(cx, paused, &mut |incoming| {
                if former.hear(&incoming, now) {
                    sink(incoming);
                }
            }),
        };
        let later = self.poll_former(cx, paused, now, sink);
        step.reported |= later.reported;
        step.more |= later.more;
        if self.connection.is_open() {
            self.returns_until = None;
        }
        let lost = self.connection.take_news().loss.is_some();
        *trouble |= lost;
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
        let masters: Vec<&Address> = topology.masters().collect();
        let place = match &self.at {
            Some(at) => masters.iter().position(|master| *master == at).map_or(0, |place| place + 1),
            None => self.number + self.spread,
        };
        let Some(next) = place.checked_rem(masters.len()).and_then(|place| masters.get(place)) else {
            return false;
        };
        self.at = Some((*next).clone());
        self.missing = None;
        self.returns_until = None;
        self.connection.move_to(self.settings.of(next))
    }
}
