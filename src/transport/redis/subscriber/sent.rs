//! Commands of a subscriber connection that are in flight, and what their replies say.

use std::collections::VecDeque;

use crate::transport::redis::slot::{Redirect, Slot};
use crate::transport::resp::{Items, ProtocolError};
use crate::transport::{Subscription, SubscriptionKind};

/// A command with its names. The first `confirmed` of them are confirmed.
pub(super) struct SentCommand {
    pub(super) verb: Verb,
    /// The slot of all names, if names are held by slot.
    pub(super) slot: Option<Slot>,
    pub(super) names: Vec<Subscription>,
    pub(super) confirmed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Subscribe,
    PatternSubscribe,
    ShardSubscribe,
    Unsubscribe,
    PatternUnsubscribe,
    ShardUnsubscribe,
    /// Asks for a sign of life. It has no names.
    Ping,
}

impl Verb {
    pub(super) fn subscribe(kind: SubscriptionKind) -> Self {
        match kind {
            SubscriptionKind::Channel => Self::Subscribe,
            SubscriptionKind::Pattern => Self::PatternSubscribe,
            SubscriptionKind::Shard => Self::ShardSubscribe,
        }
    }

    pub(super) fn unsubscribe(kind: SubscriptionKind) -> Self {
        match kind {
            SubscriptionKind::Channel => Self::Unsubscribe,
            SubscriptionKind::Pattern => Self::PatternUnsubscribe,
            SubscriptionKind::Shard => Self::ShardUnsubscribe,
        }
    }

    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Subscribe => "SUBSCRIBE",
            Self::PatternSubscribe => "PSUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::PatternUnsubscribe => "PUNSUBSCRIBE",
            Self::ShardSubscribe => "SSUBSCRIBE",
            Self::ShardUnsubscribe => "SUNSUBSCRIBE",
            Self::Ping => "PING",
        }
    }

    /// The first word of a confirmation.
    pub(super) fn confirmation(self) -> &'static [u8] {
        match self {
            Self::Subscribe => b"subscribe",
            Self::PatternSubscribe => b"psubscribe",
            Self::Unsubscribe => b"unsubscribe",
            Self::PatternUnsubscribe => b"punsubscribe",
            Self::ShardSubscribe => b"ssubscribe",
            Self::ShardUnsubscribe => b"sunsubscribe",
            Self::Ping => b"pong",
        }
    }

    pub(super) fn subscribes(self) -> bool {
        matches!(self, Self::Subscribe | Self::PatternSubscribe | Self::ShardSubscribe)
    }
}

/// What a reply says.
pub(super) enum Confirmed {
    Subscribed(Subscription),
    Unsubscribed(Subscription),
    Alive,
    /// An unsubscription that was not asked for: the node has lost the slot.
    Withdrawn(Subscription),
}

/// Applies a confirmation to the commands in flight.
pub(super) fn confirm(
    in_flight: &mut VecDeque<SentCommand>,
    mut items: Items<'_>,
) -> Result<Confirmed, ProtocolError> {
    let kind = items.next_bulk().ok_or(ProtocolError::Unexpected)?;
    let name = items.next_bulk().ok_or(ProtocolError::Unexpected)?;
    if kind == Verb::Ping.confirmation() && in_flight.front().is_some_and(|sent| sent.verb == Verb::Ping) {
        in_flight.pop_front();
        return Ok(Confirmed::Alive);
    }
    let expected = in_flight.front_mut().and_then(|sent| {
        let expected = sent.names.get(sent.confirmed)?;
        (kind == sent.verb.confirmation() && *name == *expected.name).then(|| expected.clone())
    });
    let (Some(expected), Some(sent)) = (expected, in_flight.front_mut()) else {
        return if kind == Verb::ShardUnsubscribe.confirmation() {
            Ok(Confirmed::Withdrawn(Subscription::shard(name)))
        } else {
            Err(ProtocolError::Unexpected)
        };
    };
    let subscribes = sent.verb.subscribes();
    sent.confirmed += 1;
    if sent.confirmed == sent.names.len() {
        in_flight.pop_front();
    }
    Ok(if subscribes { Confirmed::Subscribed(expected) } else { Confirmed::Unsubscribed(expected) })
}

/// Takes the command that was redirected. If a slot moves while a SUNSUBSCRIBE is in flight, that is answered
/// twice, by a push and by an error. So an error that does not match the oldest command belongs to one that
/// was answered already.
pub(super) fn take_redirected(
    in_flight: &mut VecDeque<SentCommand>,
    redirect: &Redirect,
) -> Option<SentCommand> {
    let sent = in_flight.front()?;
    let fits = match redirect {
        Redirect::Moved { slot, .. } => sent.slot == Some(*slot),
        Redirect::Later => true,
    };
    if fits { in_flight.pop_front() } else { None }
}
