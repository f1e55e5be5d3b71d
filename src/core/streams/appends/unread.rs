//! The entries of this link that it has not read itself: more of them at a time could push out of the stream what other
//! servers have not read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::queue::Queue;
use crate::wire::streams::EntryId;

/// How many entries may be with Redis and not answered.
const MAX_SENT_ENTRIES: usize = 10_000;

/// How many entries of this link may be in the stream and not read, or a quarter of what the stream keeps.
const MIN_UNREAD: u64 = 50;

/// How long they are waited for if the reader does not get on.
const UNREAD_BOUND: Duration = Duration::from_secs(1);

/// The entries of this link that it has not read itself.
#[derive(Debug, Default)]
pub(super) struct Unread {
    ids: VecDeque<EntryId>,
    /// Since when the reader has not got on, if it is waited for.
    held: Option<Instant>,
}

impl Unread {
    /// An entry of this link is in the stream.
    pub(super) fn push(&mut self, id: EntryId) {
        self.ids.push_back(id);
    }

    /// This node has read up to `position`.
    pub(super) fn has_read(&mut self, position: EntryId) {
        while self.ids.front().is_some_and(|&id| id <= position) {
            self.ids.pop_front();
            self.held = None;
        }
    }

    /// How many more entries may be sent now to a stream that keeps `max_len`. `reads` says whether this node reads it.
    pub(super) fn room(&mut self, queue: &Queue, max_len: u64, reads: bool, now: Instant) -> usize {
        let bound = usize::try_from((max_len / 4).max(MIN_UNREAD)).unwrap_or(usize::MAX);
        let unread = if reads { self.ids.len() } else { 0 };
        let room = bound.saturating_sub(unread + queue.sent()).min(MAX_SENT_ENTRIES);
        if room > 0 || queue.sent() > 0 || !queue.has_waiting() {
            return room;
        }
        // The reader does not get on, and nothing else is waited for.
        if now < *self.held.get_or_insert(now) + UNREAD_BOUND {
            return 0;
        }
        *self = Unread::default();
        bound.min(MAX_SENT_ENTRIES)
    }

    /// When the reader is not waited for any longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.map(|since| since + UNREAD_BOUND)
    }
}
