//! The connection for channels and globs. Any node will do for them, so that it stays where it is as long as it can.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::former::FormerNode;
use crate::transport::redis::cluster::settings::ClusterSettings;
use crate::transport::redis::cluster::topology::Topology;
use crate::transport::redis::connect::{Address, RedisTarget};
use crate::transport::redis::step::Step;
use crate::transport::redis::subscriber::{Holding, SubscriberConnection};
use crate::transport::{Incoming, Lane, Subscription};

/// How long the node of the channels and globs has to take a lost connection back. Another one would send what this
/// one has sent already: they lag behind each other.
const RETURN: Duration = Duration::from_millis(250);

/// How long the node of the channels and globs may be missing from the topology before it is left: a master that is
/// replaced is named again as a replica, a moment later.
pub(crate) const MISSING: Duration = Duration::from_secs(2);

/// A node that loses a connection again within this time is left.
const STABLE: Duration = Duration::from_secs(2);

/// Why a lane without a loss of its own goes elsewhere.
const DELISTED: &str = "the node is no longer part of the cluster";

/// The connection for channels and globs, and the node that it goes to.
pub(super) struct Anywhere {
    number: Lane,
    settings: Arc<ClusterSettings>,
    connection: SubscriberConnection,
    /// Where it goes.
    at: Option<Address>,
    /// Where it went before, if that may hang.
    former: Option<FormerNode>,
    /// Since when the topology does not name the node.
    missing: Option<Instant>,
    /// When the node was last given the chance to take a lost connection back.
    retried: Option<Instant>,
    /// Until when it has that chance.
    returns_until: Option<Instant>,
    /// Shifts the choice of the node, so that not all servers take the same.
    spread: usize,
}

impl Anywhere {
    /// Returns a connection without names, which needs no node.
    pub(super) fn new(number: Lane, settings: Arc<ClusterSettings>, spread: usize) -> Self {
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

    /// Removes names; a name that was not there is passed over.
    pub(super) fn unsubscribe(&mut self, names: Vec<Subscription>) {
        self.connection.unsubscribe(names);
    }

    /// Lets the connection open.
    pub(super) fn open(&mut self) {
        if self.at.is_some() {
            self.connection.open();
        }
    }

    /// Drops the connection and keeps the names; returns whether it was up or on its way.
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

    /// Asks for signs of life, unless nothing is read.
    pub(super) fn pulse(&mut self, paused: bool) {
        self.connection.pulse(paused);
        if let Some(former) = &mut self.former {
            former.pulse(paused);
        }
    }

    /// Returns when a poll has something to do though nothing has come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let missing = self.missing.map(|since| since + MISSING);
        let former = self.former.as_ref().and_then(FormerNode::deadline);
        [self.returns_until, missing, former].into_iter().flatten().min()
    }

    /// Takes note of a new topology. The connection opens if that is `allowed`.
    pub(super) fn adopt(&mut self, topology: &Topology, now: Instant, allowed: bool) {
        let gone = |at: &Address| !topology.nodes().any(|node| node == at);
        self.missing = self.at.as_ref().filter(|at| gone(at)).map(|_| self.missing.unwrap_or(now));
        self.place(topology, allowed);
    }

    /// Opens, writes all, and reads unless paused. Sets `trouble` if the connection is lost.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        topology: &Topology,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
        trouble: &mut bool,
    ) -> Step {
        if self.missing.is_some_and(|since| now >= since + MISSING) {
            self.missing = None;
            // It may have stood still for long, while the others took what was published.
            let silence = self.connection.silence();
            if topology.masters().next().is_some() {
                self.leave_former(sink);
                self.former = FormerNode::of(&mut self.connection);
            }
            if self.move_on(topology) || self.former.is_some() {
                sink(Incoming::LaneDown { lane: self.number, reason: DELISTED, silence });
                return Step::REPORTED;
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
            // The node is gone for good, or hangs. What it has sent last may come again from the next one; to know
            // that, each message would have to be remembered, always. The waits before each attempt are about as
            // long as the nodes lag behind each other.
            self.returns_until = None;
            self.move_on(topology);
            step.more = true;
        }
        step
    }

    /// Looks after the node that the channels and globs were moved away from.
    fn poll_former(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Step {
        let Some(former) = &mut self.former else {
            return Step::default();
        };
        let Ok(mut step) = former.poll(cx, paused, self.number, now, sink) else {
            return Step { reported: self.leave_former(sink), more: false };
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

    /// Waits no more for the node that the channels and globs were moved away from; returns whether something was held back.
    fn leave_former(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        self.former.take().is_some_and(|mut former| former.give_all(self.number, sink))
    }

    /// Finds a node for the names if they have none, and lets the connection open if that is `allowed`.
    fn place(&mut self, topology: &Topology, allowed: bool) {
        if self.at.is_none() && self.connection.has_names() {
            self.move_on(topology);
        }
        if allowed && self.at.is_some() {
            self.connection.open();
        }
    }

    /// Takes the next master for the channels and globs. Returns whether a connection was up or on its way.
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
