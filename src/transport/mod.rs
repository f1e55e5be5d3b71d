//! How bytes reach the other nodes: the trait, and one module per carrier.
//!
//! A transport moves bytes and remembers which subscriptions it was asked for; it knows nothing of
//! namespaces or packets. Subscriptions sit in *lanes*: one lane is one subscriber connection. Redis counts
//! subscribers per connection, and every node of the cluster takes that count for the number of members, so
//! two members that listen on the same channel never share a lane where the carrier can open another.

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

pub use pubsub::{Space, Subscription, SubscriptionKind};
use resp::Reply;

/// The number of a subscriber connection of one transport, counted from 0.
pub type Lane = usize;

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

    /// The parts, the command's name first.
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

    /// How many bytes of memory it takes: what the parts are told apart by, and what the allocator keeps, too.
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
    /// The one that publishes, to the node that has the key. Commands to one node run in order.
    Shared,
    /// One of its own, to the node that has the key: a command may block there. A reader has one command at a time.
    Reader(usize),
}

/// A command about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCommand {
    /// Where it runs.
    pub port: Port,
    /// What its reply is told by.
    pub token: u64,
    /// Which of its parts is the key.
    pub key: usize,
    /// The command.
    pub args: Arc<Args>,
    /// How long a reader may bring nothing before its connection is taken for lost: as long as the command may block,
    /// and some seconds for Redis to answer. `None` waits for ever, or for as long as what is asked behind it may. Not
    /// for [`Port::Shared`], which has no such bound.
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
    /// It has not run, nor will: there was no connection, or the key is on another node by now.
    NotRun {
        /// What went wrong, for the operator.
        reason: &'a str,
    },
    /// The connection was lost meanwhile: it may have run.
    Lost {
        /// What went wrong, for the operator.
        reason: &'a str,
    },
}

/// What goes out first after Redis has refused publishes for now: were many to go out, some could be refused again, and
/// those behind them be taken, which would overtake them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// One message, until it is answered: there is one node alone.
    One,
    /// One message, for a bounded time: nobody knows whether it goes to the node that has refused, and another one may
    /// hang.
    Brief,
    /// All: the transport itself lets one go first to each node that has refused.
    Transport,
}

/// What a transport reports to its driver. Borrowed parts live until the sink returns.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The command connection is usable: publishes and counts go out.
    Up,
    /// The command connection is lost, or could not be made. Reported once per loss or failed attempt.
    Down {
        /// What went wrong, for the operator.
        reason: &'a str,
        /// Publishes that were written and got no reply: Redis may or may not have run them.
        unanswered: u64,
        /// Publishes that were accepted and never written. None of them has run.
        unwritten: u64,
    },
    /// Redis stands, and refuses for now what it will take later: what was published comes back by
    /// [`Incoming::Returned`], and [`Incoming::Up`] tells when it is taken again.
    Held {
        /// Redis' own words.
        reason: &'a str,
        /// What goes out first when publishes are taken again.
        trial: Trial,
    },
    /// The node that the address leads to is a replica; a `Down` that says so follows. While it was never up, the
    /// address may be meant so.
    Replica,
    /// Redis confirmed a subscription. Reported anew after each reconnect of its lane.
    Subscribed {
        /// The lane it sits in.
        lane: Lane,
        /// How it was asked for.
        kind: SubscriptionKind,
        /// The channel or glob.
        name: &'a [u8],
    },
    /// A single subscription no longer holds though its lane does: its slot has moved, or the node that had it is
    /// lost. The transport makes it again by itself.
    Unsubscribed {
        /// The lane it sits in.
        lane: Lane,
        /// How it was asked for.
        kind: SubscriptionKind,
        /// The channel or glob.
        name: &'a [u8],
        /// What went wrong, for the operator.
        reason: &'a str,
        /// How long nothing may have been heard already, in milliseconds: some losses are found late.
        silence: u64,
    },
    /// A lane is lost: none of its subscriptions holds until it is confirmed again.
    LaneDown {
        /// The lane.
        lane: Lane,
        /// What went wrong, for the operator.
        reason: &'a str,
        /// How long nothing may have been heard already, in milliseconds: that a node stands still is found late.
        silence: u64,
    },
    /// Redis refused a command on a lane (NOPERM and the like). The transport tries again with backoff.
    SubscribeRefused {
        /// The lane.
        lane: Lane,
        /// Redis' own words.
        error: &'a str,
    },
    /// A message.
    Message {
        /// The lane it came by.
        lane: Lane,
        /// The kind of the subscription that it came by.
        kind: SubscriptionKind,
        /// The name of that subscription: the channel, or the glob that matched it.
        name: &'a [u8],
        /// The channel it was published on.
        channel: &'a [u8],
        /// The bytes, unchecked.
        payload: &'a [u8],
    },
    /// The reply to a publish; replies come in the order of the publishes.
    Published {
        /// How many subscriptions Redis handed it to.
        receivers: u64,
    },
    /// Redis refused a publish, and will again (NOPERM, OOM and the like).
    PublishRefused {
        /// Redis' own words.
        error: &'a str,
    },
    /// A publish that Redis has not run, nor will: it takes nothing for now, its slot is elsewhere by now, or the node went
    /// before it was written, or nobody could hear it there. The caller publishes it again when the peers are there. For
    /// other reasons than the first only clusters and the user's clients give publishes back.
    Returned {
        /// The channel.
        channel: &'a [u8],
        /// The bytes.
        payload: &'a [u8],
    },
    /// Subscriptions are on their way to another node, everybody's: what is published within this time may come too
    /// early. Follows what was [`Incoming::Returned`] for that reason. Only clusters say so.
    Settling {
        /// How long the slowest take.
        time: Duration,
    },
    /// The reply to [`Transport::count`].
    Counted {
        /// The token of the call.
        token: u64,
        /// Subscribers per channel, in the order asked; `None` if Redis takes nothing for now, or the link went down.
        counts: Option<&'a [u64]>,
    },
    /// Redis refused a count, and will again (NOPERM and the like).
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
    /// Whether more than one lane can be opened. A carrier that cannot puts everything in lane 0.
    fn has_lanes(&self) -> bool;

    /// Sends `payload` on `channel`, after all that was published before. Only while the transport is up:
    /// what is handed in at other times is reported as unwritten by the next `Down`.
    fn publish(&mut self, channel: &[u8], payload: &[u8]);

    /// Bytes of publishes and of commands of the shared port that are not yet with the kernel, while it is up: the caller holds back above a bound.
    fn unwritten(&self) -> usize;

    /// Whether all that was published has been handed to the kernel.
    fn is_flushed(&self) -> bool {
        self.unwritten() == 0
    }

    /// Adds subscriptions to a lane, opening it if needed, and keeps them across reconnects.
    fn subscribe(&mut self, lane: Lane, names: Vec<Subscription>);

    /// Removes subscriptions from a lane; the last one closes it.
    fn unsubscribe(&mut self, lane: Lane, names: Vec<Subscription>);

    /// Asks for the number of subscribers of each exact channel (`PUBSUB NUMSUB` or `SHARDNUMSUB`); answered by
    /// [`Incoming::Counted`] or [`Incoming::CountRefused`] with the same token, even if the link goes down meanwhile.
    fn count(&mut self, token: u64, channels: &[&[u8]]);

    /// Runs a command about a key; ends with [`Incoming::Replied`] and its token, whatever happens but
    /// [`Transport::close_reader`]. Before the connection is up it waits for it, or for the failure of the attempt. When
    /// a connection is lost, its commands end in their order, those of the shared port after [`Incoming::Down`]. A
    /// reader is opened by its first command, and opened again, with backoff, by the next one after a loss.
    fn command(&mut self, command: KeyCommand);

    /// Closes a reader, whose number may be used anew. Nothing more is heard of what it was doing.
    fn close_reader(&mut self, reader: usize);

    /// Stops (or goes on) reading the lanes and readers; Redis then sees a slow consumer.
    fn pause(&mut self, paused: bool);

    /// Writes what is buffered and waits until there is something to report, then reports all of it.
    /// Cancel-safe: dropping the future loses nothing.
    fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> impl std::future::Future<Output = ()>;
}
