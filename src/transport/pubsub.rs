//! What Redis calls channels and subscriptions: the messages speak of them, and so do those who carry these.

use std::sync::Arc;

/// Which of Redis' two spaces of channels is meant. They know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// `PUBLISH`, `SUBSCRIBE`, `PSUBSCRIBE`: all nodes of a Redis cluster hand the messages on to each other.
    Global,
    /// `SPUBLISH`, `SSUBSCRIBE`: a channel belongs to a slot, and its messages stay with the nodes of that slot.
    Shard,
}

/// How Redis is asked for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SubscriptionKind {
    /// `SUBSCRIBE`: the exact name of a channel.
    Channel = 0,
    /// `PSUBSCRIBE`: a glob, with the special characters of fixed parts already escaped.
    Pattern = 1,
    /// `SSUBSCRIBE`: the exact name of a channel of a shard.
    Shard = 2,
}

/// A subscription as Redis knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscription {
    /// How it is asked for.
    pub kind: SubscriptionKind,
    /// The channel or glob. It is held in several places, by the core and by the transport: all of them share it.
    pub name: Arc<[u8]>,
}

impl Subscription {
    /// A subscription of any kind.
    pub fn new(kind: SubscriptionKind, name: impl AsRef<[u8]>) -> Self {
        Subscription { kind, name: name.as_ref().into() }
    }

    /// A subscription to an exact channel.
    pub fn channel(name: impl AsRef<[u8]>) -> Self {
        Subscription::new(SubscriptionKind::Channel, name)
    }

    /// A subscription to all channels that match a glob.
    pub fn pattern(glob: impl AsRef<[u8]>) -> Self {
        Subscription::new(SubscriptionKind::Pattern, glob)
    }

    /// A subscription to an exact channel of a shard.
    pub fn shard(name: impl AsRef<[u8]>) -> Self {
        Subscription::new(SubscriptionKind::Shard, name)
    }
}
