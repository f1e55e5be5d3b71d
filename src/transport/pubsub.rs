//! What Redis calls channels and subscriptions. Messages and transports both use these terms.

use std::sync::Arc;

/// Which of Redis' two kinds of channels is meant. A message never crosses from one kind to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// `PUBLISH`, `SUBSCRIBE`, `PSUBSCRIBE`: all nodes of a Redis cluster forward the messages to each other.
    Global,
    /// `SPUBLISH`, `SSUBSCRIBE`: a channel belongs to a slot, and its messages stay with the nodes of that slot.
    Shard,
}

/// The command that makes a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SubscriptionKind {
    /// `SUBSCRIBE`: the exact name of a channel.
    Channel = 0,
    /// `PSUBSCRIBE`: a glob, with the special characters of fixed parts already escaped.
    Pattern = 1,
    /// `SSUBSCRIBE`: the exact name of a shard channel.
    Shard = 2,
}

/// A subscription as Redis knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscription {
    /// Its kind.
    pub kind: SubscriptionKind,
    /// The channel or glob. The core and the transport hold it in several places, which all share it.
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

    /// A subscription to an exact shard channel.
    pub fn shard(name: impl AsRef<[u8]>) -> Self {
        Subscription::new(SubscriptionKind::Shard, name)
    }
}
