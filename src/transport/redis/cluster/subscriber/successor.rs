//! How channels and globs go to another node without a gap, if theirs is alive but not part of the topology. A master that
//! was replaced is not listed as long as it copies the data of the new one.
//!
//! The connection to the next node is made beside that to the former one. What the next node sends is held back until it
//! has confirmed all names, a [`LAG`] has passed, and the former one has answered a question after that: by then it has
//! delivered what was published before the next node was subscribed. Then both deliver for one [`LAG`], and what the other
//! one has sent is dropped. After that the next node takes over.
//!
//! A node that was thrown out of the cluster answers as well, and gets nothing of what is published elsewhere. So a gap is
//! reported unless some message has come from both. What was published while a node was cut off for some seconds, and came
//! back, is lost untold: nothing on this connection shows it.
//!
//! Whatever else happens meanwhile (names are added or removed, the next node refuses one) ends it: the node is left later.

use std::hash::RandomState;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::last::{HeldMessage, MAX_HELD, MAX_HELD_BYTES, hash};
use super::seen::{LAG, SeenMessages, Sender};
use crate::transport::redis::connect::Address;
use crate::transport::redis::step::PollStep;
use crate::transport::redis::subscriber::SubscriberConnection;
use crate::transport::{Incoming, Subscriber, Subscription};

/// How long the former node may take to answer. If it takes longer, it may hang.
const ANSWER: Duration = Duration::from_secs(1);

/// How long a copy may need while messages are held back, and after that.
const HELD_LAG: Duration = Duration::from_secs(3);
const LATE: Duration = LAG.saturating_mul(2);

/// The connection to the node that is to take over.
pub(super) struct Successor {
    pub(super) at: Address,
    pub(super) connection: SubscriberConnection,
    stage: Stage,
    held: Vec<HeldMessage>,
    held_bytes: usize,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not confirmed all names.
    Confirming,
    /// It has. What was published before may be on its way to the former node.
    Confirmed { until: Instant },
    /// The former node was asked whether it is alive.
    Asked { until: Instant },
    /// Both deliver.
    Both { until: Instant },
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is on the way.
    GoesOn,
    /// It has what the former node had.
    TakesOver,
    /// It was lost, or has refused something, or sends too much.
    Fails,
    /// The former node hangs.
    FormerHangs,
}

/// What two nodes send, and is delivered once.
pub(super) struct Twice {
    keys: RandomState,
    seen: SeenMessages,
    /// Whether both have sent a message.
    pub(super) is_met: bool,
}

impl Successor {
    /// Takes a connection that has the names, and opens it.
    pub(super) fn new(at: Address, mut connection: SubscriberConnection) -> Self {
        connection.open();
        Self { at, connection, stage: Stage::Confirming, held: Vec::new(), held_bytes: 0 }
    }

    /// Whether it may have sent messages that the former node has not.
    pub(super) fn delivers(&self) -> bool {
        matches!(self.stage, Stage::Both { .. })
    }

    /// Whether it has confirmed all names.
    pub(super) fn is_confirmed(&self) -> bool {
        self.stage != Stage::Confirming
    }

    /// Returns when a poll has something to do even if nothing is read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Confirming => None,
            Stage::Confirmed { until } | Stage::Asked { until } | Stage::Both { until } => Some(until),
        }
    }

    /// Opens, writes everything, and reads unless paused. `former` must have been polled before.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        former: &mut SubscriberConnection,
        twice: &mut Twice,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> (PollStep, Fate) {
        let delivers = self.delivers();
        let Self { connection, held, held_bytes, .. } = self;
        let (mut reported, mut is_refused) = (false, false);
        let mut step = connection.poll(cx, paused, &mut |incoming| match incoming {
            Incoming::Message { .. } if delivers => {
                let is_new = twice.is_new(&incoming, Sender::Owner, now);
                reported |= is_new;
                if is_new {
                    sink(incoming);
                }
            }
            Incoming::SubscribeRefused { .. } => is_refused = true,
            // Else the names are confirmed already, by the former node.
            _ => {
                if let Some(message) = HeldMessage::of(&incoming) {
                    *held_bytes += message.size();
                    held.push(message);
                }
            }
        });
        step.reported = reported;
        let is_too_much = self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES;
        if self.connection.take_news().loss.is_some() || is_refused || is_too_much {
            return (step, Fate::Fails);
        }
        let all_read = !former.more && !step.more;
        match &mut self.stage {
            Stage::Confirming => {
                if self.connection.is_settled() && self.connection.names().all(|(_, held)| held) {
                    self.stage = Stage::Confirmed { until: now + LAG };
                }
            }
            Stage::Confirmed { until } | Stage::Both { until } if paused => *until = now + LAG,
            Stage::Asked { until } if paused => *until = now + ANSWER,
            Stage::Confirmed { until } => {
                if now >= *until {
                    former.ask();
                    self.stage = Stage::Asked { until: now + ANSWER };
                    step.more = true;
                }
            }
            Stage::Asked { until } => {
                let is_late = now >= *until;
                if !former.is_asked() {
                    step.reported |= self.give(former.number(), twice, now, sink);
                    twice.expect_late(now);
                    self.stage = Stage::Both { until: now + LAG };
                } else if is_late && all_read {
                    return (step, Fate::FormerHangs);
                }
            }
            Stage::Both { until } => {
                if now >= *until && all_read {
                    return (step, Fate::TakesOver);
                }
            }
        }
        (step, Fate::GoesOn)
    }

    /// Reports what was held back, but for copies. Returns whether there was any.
    pub(super) fn give(
        &mut self,
        subscriber: Subscriber,
        twice: &mut Twice,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        self.held_bytes = 0;
        let mut any = false;
        for message in self.held.drain(..) {
            let incoming = message.incoming(subscriber);
            if twice.is_new(&incoming, Sender::Owner, now) {
                any = true;
                sink(incoming);
            }
        }
        any
    }

    /// Reports the names as confirmed: that the former node is lost, or was cut off, was reported.
    pub(super) fn report(&self, subscriber: Subscriber, sink: &mut dyn FnMut(Incoming<'_>)) {
        for (Subscription { kind, name }, _) in self.connection.names() {
            sink(Incoming::Subscribed { subscriber, kind: *kind, name });
        }
    }
}

impl Twice {
    pub(super) fn new(now: Instant) -> Self {
        Self { keys: RandomState::new(), seen: SeenMessages::new(now, HELD_LAG), is_met: false }
    }

    /// Nothing is held back any more. Copies of what has come by now may be late.
    pub(super) fn expect_late(&mut self, now: Instant) {
        self.seen.age_anew(now, LATE);
    }

    /// Nothing is read, and so nothing is late.
    pub(super) fn pause(&mut self, now: Instant) {
        self.seen.since = now;
    }

    /// Returns whether to deliver something: it is no message, or one that the other node has not sent.
    pub(super) fn is_new(&mut self, incoming: &Incoming<'_>, by: Sender, now: Instant) -> bool {
        match incoming {
            Incoming::Message { name, payload, .. } => {
                let is_new = self.seen.is_new(hash(&self.keys, name, payload), by, now);
                self.is_met |= !is_new;
                is_new
            }
            _ => true,
        }
    }

    /// Returns whether it is a message that the other node has sent.
    pub(super) fn is_copy(&mut self, incoming: &Incoming<'_>, by: Sender, now: Instant) -> bool {
        match incoming {
            Incoming::Message { name, payload, .. } => {
                self.seen.take(hash(&self.keys, name, payload), by, now)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SubscriptionKind;

    #[test]
    fn a_late_copy_of_what_the_former_node_has_sent_is_dropped_and_no_later_one() {
        let start = Instant::now();
        let (name, payload) = (&b"a"[..], &b"1"[..]);
        let message = Incoming::Message {
            subscriber: 0,
            kind: SubscriptionKind::Channel,
            name,
            channel: name,
            payload,
        };
        let mut twice = Twice::new(start);
        assert!(twice.is_new(&message, Sender::Former, start));
        // It is held back for long, and the next node takes over.
        let asked = start + ANSWER;
        twice.expect_late(asked);
        let end = asked + LAG;
        assert!(twice.is_copy(&message, Sender::Owner, end));
        assert!(!twice.is_copy(&message, Sender::Owner, end));
        assert!(twice.is_new(&message, Sender::Former, end));
        assert!(!twice.is_copy(&message, Sender::Owner, end + LATE + LATE));
    }
}
