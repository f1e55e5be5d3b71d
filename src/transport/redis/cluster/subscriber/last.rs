//! The messages that a node had delivered right before it fell silent. It may forward them to the other nodes
//! when it is back.
//!
//! Redis first writes to its subscribers, and to the other nodes in the next round of its event loop. A node
//! that is stopped between the two (a virtual machine is moved, a process is suspended) goes on there,
//! however long that took. Subscribers that have gone elsewhere meanwhile then get these messages a second
//! time, after newer ones. They are the messages of its last write; with Redis 7.0 that was so in each of
//! eight such freezes.
//!
//! The node answers a question only in the round after that. That takes some milliseconds, since it first
//! writes the news of the failover to its disk. So the copies may come before its answer is read. If there
//! are many, the other nodes may not take all in one write (a message is more than 2 KiB there), so the node
//! is asked once more. After that the new node is asked. When it has answered, all copies have come.
//!
//! As long as the node that hangs has not answered, the new node may also send the same message once more for
//! another reason. So the first message that equals one of the last waits for the answer, for [`ANSWER`] at
//! most, and so does everything after it. If the answer comes, the message is dropped; if not, it is
//! delivered.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::transport::resp::Message;
use crate::transport::{Incoming, Subscriber, SubscriptionKind};

/// How long after such a copy the node may take to answer. 40 ms were seen on a busy machine.
pub(super) const ANSWER: Duration = Duration::from_millis(250);

/// How many messages of the new node, and how many bytes, are held back. With more, they are delivered.
pub(super) const MAX_HELD: usize = 4096;
pub(super) const MAX_HELD_BYTES: usize = 8 << 20;

/// A message that is held back.
pub(super) struct HeldMessage {
    kind: SubscriptionKind,
    name: Vec<u8>,
    channel: Vec<u8>,
    payload: Vec<u8>,
}

impl HeldMessage {
    /// Copies a message; `None` if it is something else.
    pub(super) fn of(incoming: &Incoming<'_>) -> Option<Self> {
        let &Incoming::Message { kind, name, channel, payload, .. } = incoming else {
            return None;
        };
        let (name, channel, payload) = (name.to_vec(), channel.to_vec(), payload.to_vec());
        Some(Self { kind, name, channel, payload })
    }

    /// How many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.channel.len() + self.payload.len()
    }

    /// The message again, as that of a subscriber.
    pub(super) fn incoming(&self, subscriber: Subscriber) -> Incoming<'_> {
        let Self { kind, name, channel, payload } = self;
        Incoming::Message { subscriber, kind: *kind, name, channel, payload }
    }
}

/// The last messages of a node of which no copies have come.
#[derive(Default)]
pub(super) struct LastMessages {
    /// How often each message was sent.
    counts: HashMap<u64, u32>,
    /// Those that the new node has sent again without being a copy.
    repeated: HashSet<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// The node has not answered.
    #[default]
    Silent,
    /// It has answered.
    Back,
    /// It was asked once more.
    Again,
    /// The new node was asked.
    New,
}

/// Which node has to be asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Former,
    New,
}

impl LastMessages {
    /// Remembers the messages.
    pub(super) fn of<'a>(messages: impl Iterator<Item = Message<'a>>, keys: &RandomState) -> Self {
        let mut last = Self::default();
        for Message { name, payload, .. } in messages {
            *last.counts.entry(hash(keys, name, payload)).or_default() += 1;
        }
        last
    }

    /// Returns whether no copies are expected.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The node is back.
    pub(super) fn is_back(&mut self) {
        self.stage = Stage::Back;
    }

    /// Returns which node has to be asked now, if any. `is_asked` tells whether a node has not answered yet.
    pub(super) fn asks(&mut self, is_asked: impl Fn(Whom) -> bool) -> Option<Whom> {
        if self.is_empty() {
            return None;
        }
        let (next, asks) = match self.stage {
            Stage::Back => (Stage::Again, Whom::Former),
            Stage::Again if !is_asked(Whom::Former) => (Stage::New, Whom::New),
            Stage::New if !is_asked(Whom::New) => {
                *self = Self::default();
                return None;
            }
            _ => return None,
        };
        self.stage = next;
        Some(asks)
    }

    /// Returns whether a message may be a copy. Then one copy less is expected. The node is `silent` until it
    /// is back.
    pub(super) fn take(&mut self, hash: u64, silent: bool) -> bool {
        if silent && self.repeated.contains(&hash) {
            return false;
        }
        let Some(count) = self.counts.get_mut(&hash) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&hash);
        }
        true
    }

    /// The message that was taken was no copy. The next one like it does not wait.
    pub(super) fn is_repeated(&mut self, hash: u64) {
        *self.counts.entry(hash).or_default() += 1;
        self.repeated.insert(hash);
    }
}

/// Identifies a message. Two that are identical to the byte are not distinguished.
pub(super) fn hash(keys: &RandomState, name: &[u8], payload: &[u8]) -> u64 {
    keys.hash_one((name, payload))
}
