//! How bytes reach the other nodes: the trait, and one module per carrier.
//!
//! A transport moves bytes, and remembers which subscriptions it was asked for. It knows nothing of
//! namespaces or packets. Each subscription is made on a subscriber connection. Redis counts subscribers per
//! connection, and every server takes that count for the number of members. So two members that listen on the
//! same channel never share a subscriber connection, where the carrier can open another.

pub mod client;
#[cfg(test)]
pub mod memory;
#[cfg(test)]
mod memory_streams;
pub mod passing;
pub mod pubsub;
pub mod redis;
pub mod resp;

use std::sync::Arc;
use std::time::Duration;

pub use pubsub::{ChannelKind, Subscription, SubscriptionKind};
use resp::Reply;

/// The number of a subscriber connection of one transport, counted from 0.
pub type Subscriber = usize;

/// A command and its arguments, in one stretch of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    /// A command of these parts.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut args = Args {
            bytes: Vec::with_capacity(parts.iter().map(|part| part.len()).sum()),
            ends: Vec::with_capacity(parts.len()),
        };
        for part in parts {
            args.bytes.extend_from_slice(part);
            args.ends.push(args.bytes.len());
        }
        args
    }

    /// The parts, beginning with the name of the command.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let part = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            part
        })
    }

    /// Part `index`; empty if there is none.
    pub fn get(&self, index: usize) -> &[u8] {
        self.iter().nth(index).unwrap_or_default()
    }

    /// The bytes of all parts.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes of memory it takes, including the ends of the parts and what the allocator adds.
    pub fn held(&self) -> usize {
        const EACH: usize = size_of::<Args>() + 3 * 16;
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + EACH
    }

    /// Whether there is no part.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Which connection a command runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// The connection that publishes, to the node that has the key. Commands to one node run in order.
    Shared,
    /// A connection of its own to the node that has the key, where a command may block. A reader runs one
    /// command at a time.
    Reader(usize),
}

/// A command about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCommand {
    /// Where it runs.
    pub port: Port,
    /// Identifies its reply.
    pub token: u64,
    /// Which of its parts is the key.
    pub key: usize,
    /// The command.
    pub args: Arc<Args>,
    /// How long a reader may receive nothing before its connection counts as lost: the time for which the
    /// command may block, and some seconds for Redis to answer. With `None` it waits for ever, or as long as
    /// the next command allows. [`Port::Shared`] has no such limit.
    pub patience: Option<Duration>,
}

impl KeyCommand {
    /// The key that it is about.
    pub fn key(&self) -> &[u8] {
        self.args.get(self.key)
    }
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Redis has answered; [`Reply::Error`] if it refuses (NOPERM, WRONGTYPE and the like).
    Replied(Reply<'a>),
    /// The command has not run and will not: there was no connection, or the key has moved to another node.
    NotRun {
        /// What went wrong, for the operator.
        reason: &'a str,
    },
    /// The connection was lost before the reply: the command may have run.
    Lost {
        /// What went wrong, for the operator.
        reason: &'a str,
    },
}

/// What goes out first when publishes are accepted again. If many went out, Redis could refuse some of them
/// again and accept later ones, which would then overtake them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// One message, until it is answered. There is only one node.
    One,
    /// One message, for a limited time: nobody knows whether it goes to the node that has refused, and
    /// another node may hang.
    Brief,
    /// All messages: the transport itself sends one message first to each node that has refused.
    Transport,
}

/// What a transport reports to its driver. Borrowed parts are valid until the sink returns.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The command connection can be used: publishes and counts go out.
    Up,
    /// The command connection is lost, or could not be opened. Reported once per loss or failed attempt.
    Down {
        /// What went wrong, for the operator.
        reason: &'a str,
        /// Publishes that were written and got no reply: Redis may or may not have run them.
        unanswered: u64,
        /// Publishes that were accepted and never written. None of them has run.
        unwritten: u64,
    },
    /// Redis is connected, but refuses for now what it will accept later. Publishes come back by
    /// [`Incoming::Returned`]. [`Incoming::Up`] tells when they are accepted again.
    Held {
        /// Redis' own words.
        reason: &'a str,
        /// What goes out first when publishes are taken again.
        trial: Trial,
    },
    /// The address leads to a replica. A `Down` with that reason follows. If the transport was never up, the
    /// address may be meant to be that of a replica.
    Replica,
    /// Redis confirmed a subscription. It is reported again after each reconnect of its subscriber
    /// connection.
    Subscribed {
        /// The subscriber connection that has the subscription.
        subscriber: Subscriber,
        /// The kind of the subscription.
        kind: SubscriptionKind,
        /// The channel or glob.
        name: &'a [u8],
    },
    /// One subscription no longer holds, though its subscriber connection does: its slot has moved, or its
    /// node is lost. The transport subscribes again by itself.
    Unsubscribed {
        /// The subscriber connection that has the subscription.
        subscriber: Subscriber,
        /// The kind of the subscription.
        kind: SubscriptionKind,
        /// The channel or glob.
        name: &'a [u8],
        /// What went wrong, for the operator.
        reason: &'a str,
        /// How long messages may have been missed already, in milliseconds: some losses are noticed late.
        silence: u64,
    },
    /// A subscriber connection is lost: none of its subscriptions holds until it is confirmed again.
    SubscriberDown {
        /// The subscriber connection.
        subscriber: Subscriber,
        /// What went wrong, for the operator.
        reason: &'a str,
        /// How long messages may have been missed already, in milliseconds: a node that hangs is noticed
        /// late.
        silence: u64,
    },
    /// Redis refused a command on a subscriber connection (NOPERM and the like). The transport tries again
    /// after growing pauses.
    SubscribeRefused {
        /// The subscriber connection.
        subscriber: Subscriber,
        /// Redis' own words.
        error: &'a str,
    },
    /// A message.
    Message {
        /// The subscriber connection on which it came.
        subscriber: Subscriber,
        /// The kind of the subscription that matched.
        kind: SubscriptionKind,
        /// The name of that subscription: the channel, or the glob that matched.
        name: &'a [u8],
        /// The channel it was published on.
        channel: &'a [u8],
        /// The bytes, unchecked.
        payload: &'a [u8],
    },
    /// The reply to a publish. Replies come in the order of the publishes.
    Published {
        /// The number of subscriptions to which Redis delivered it.
        receivers: u64,
    },
    /// Redis refused a publish, and would refuse it again (NOPERM, OOM and the like).
    PublishRefused {
        /// Redis' own words.
        error: &'a str,
    },
    /// A publish that Redis has not run and will not: it accepts nothing for now, the slot has moved, the
    /// node was lost before the publish was written, or nobody could receive it there. The caller publishes
    /// it again when the other servers are subscribed. Only clusters and the user's clients return publishes
    /// for other reasons than the first.
    Returned {
        /// The channel.
        channel: &'a [u8],
        /// The bytes.
        payload: &'a [u8],
    },
    /// All servers' subscriptions are moving to another node: a publish within this time may come too early.
    /// It follows the publishes that were [`Incoming::Returned`] for that reason. Only clusters report it.
    Settling {
        /// How long the slowest subscriptions take.
        time: Duration,
    },
    /// The reply to [`Transport::count`].
    Counted {
        /// The token of the call.
        token: u64,
        /// The number of subscribers per channel, in the order asked; `None` if Redis accepts nothing for
        /// now, or the connection was lost.
        counts: Option<&'a [u64]>,
    },
    /// Redis refused a count, and would refuse it again (NOPERM and the like).
    CountRefused {
        /// The token of the call.
        token: u64,
        /// Redis' own words.
        error: &'a str,
    },
    /// The end of a [`Transport::command`].
    Replied {
        /// The token of the call.
        token: u64,
        /// How it ended.
        outcome: Outcome<'a>,
    },
}

/// A carrier of bytes. No call blocks; what a call starts is reported through [`Transport::incoming`].
pub trait Transport {
    /// Whether more than one subscriber connection can be opened. A carrier that cannot open another uses
    /// number 0 for everything.
    fn opens_subscribers(&self) -> bool;

    /// Sends `payload` on `channel`, after all earlier publishes. Only while the transport is up: what is
    /// published at other times is reported as unwritten by the next `Down`.
    fn publish(&mut self, channel: &[u8], payload: &[u8]);

    /// The bytes of publishes and of commands of the shared port that the kernel has not taken yet, while the
    /// transport is up. Above a limit the caller holds back.
    fn unwritten(&self) -> usize;

    /// Whether the kernel has taken all publishes.
    fn is_flushed(&self) -> bool {
        self.unwritten() == 0
    }

    /// Adds subscriptions to a subscriber connection, and keeps them across reconnects. Opens the connection
    /// if needed.
    fn subscribe(&mut self, subscriber: Subscriber, names: Vec<Subscription>);

    /// Removes subscriptions from a subscriber connection. The last one closes it.
    fn unsubscribe(&mut self, subscriber: Subscriber, names: Vec<Subscription>);

    /// Asks for the number of subscribers of each exact channel (`PUBSUB NUMSUB` or `SHARDNUMSUB`). It is
    /// answered by [`Incoming::Counted`] or [`Incoming::CountRefused`] with the same token, even if the
    /// connection is lost.
    fn count(&mut self, token: u64, channels: &[&[u8]]);

    /// Runs a command about a key. It always ends with [`Incoming::Replied`] and its token, except after
    /// [`Transport::close_reader`]. If there is no connection yet, it waits until that is up or the attempt
    /// has failed. When a connection is lost, its commands end in order; those of the shared port end after
    /// [`Incoming::Down`]. The first command of a reader opens its connection. After a loss the next command
    /// opens it again, after growing pauses.
    fn command(&mut self, command: KeyCommand);

    /// Closes a reader. Its number may be used again. Its commands are not reported any more.
    fn close_reader(&mut self, reader: usize);

    /// Stops (or goes on) reading the subscriber connections and readers. Redis then sees a slow consumer.
    fn pause(&mut self, paused: bool);

    /// Writes what is buffered, waits until there is something to report, and reports all of it. Cancel-safe:
    /// dropping the future loses nothing.
    fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> impl std::future::Future<Output = ()>;
}
