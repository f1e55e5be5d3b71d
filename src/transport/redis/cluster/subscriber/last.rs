//! What a node had delivered right before it fell silent, and may hand to the others when it is back.
//!
//! Redis writes to its subscribers first, and to the other nodes in the next round of its loop. A node that is stopped
//! between the two (a virtual machine that moves, a process that is suspended) goes on there, however long that took: its
//! subscribers who have gone elsewhere meanwhile get those messages a second time, behind newer ones. Those are the messages
//! of its last write, as seen with Redis 7.0 in each of eight such freezes.
//!
//! It answers a question only in the round after that, some milliseconds later, since it writes the news of the failover to
//! its disk first. So the copies may come before its answer is read. If they are many, the other nodes may not take all in one
//! write (a message is more than 2 KiB there): so it is asked once more. All have come when the node that is subscribed to
//! now has answered a question that it is asked behind that.
//!
//! As long as the node that hangs has not answered, what the new one sends may as well be the same message once more. So the
//! first that is like one of the last waits for the answer, for [`ANSWER`] at most, and what comes behind it as well: it is
//! dropped if the answer comes, and delivered if it does not.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::transport::resp::Message;

/// How long after a copy of what it had sent before it fell silent a node may answer: 40 ms have been seen on a busy machine.
pub(super) const ANSWER: Duration = Duration::from_millis(250);

/// How many messages of the new node are held back, and how many bytes; with more of them it begins to deliver.
pub(super) const MAX_HELD: usize = 4096;
pub(super) const MAX_HELD_BYTES: usize = 8 << 20;

/// The messages that a node had sent last, those whose copies have not come.
#[derive(Default)]
pub(super) struct LastMessages {
    /// How often each was sent.
    counts: HashMap<u64, u32>,
    /// Those of which the new node has sent one that was no copy.
    repeated: HashSet<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// The node has not answered.
    #[default]
    Silent,
    /// It is back.
    Back,
    /// It is asked once more.
    Again,
    /// The new node is asked.
    New,
}

/// Who is to be asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Former,
    New,
}

impl LastMessages {
    /// Takes note of the messages.
    pub(super) fn of<'a>(messages: impl Iterator<Item = Message<'a>>, keys: &RandomState) -> Self {
        let mut last = Self::default();
        for Message { name, payload, .. } in messages {
            *last.counts.entry(hash(keys, name, payload)).or_default() += 1;
        }
        last
    }

    /// Returns whether no copies are waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Takes note that the node is back.
    pub(super) fn is_back(&mut self) {
        self.stage = Stage::Back;
    }

    /// Returns who is to be asked now, as long as it is known who has not answered yet.
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

    /// Returns whether a message may be a copy, of which there is one less then. The node is `silent` until it is back.
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

    /// What was taken was no copy: the next that is like it does not wait.
    pub(super) fn is_repeated(&mut self, hash: u64) {
        *self.counts.entry(hash).or_default() += 1;
        self.repeated.insert(hash);
    }
}

/// What stands for a message: two that are the same to the byte are not told apart.
pub(super) fn hash(keys: &RandomState, name: &[u8], payload: &[u8]) -> u64 {
    keys.hash_one((name, payload))
}
