//! The entries on their way to a stream, in their order: not sent, sent and not answered, and those that may have arrived.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::transport::Args;

/// How many bytes may be with Redis and not answered.
const MAX_SENT: usize = 4 << 20;

/// An entry on its way.
#[derive(Debug)]
pub(super) struct Append {
    /// Its number, of all that were ever added.
    pub(super) seq: u64,
    /// The command that adds it.
    pub(super) args: Arc<Args>,
}

/// The entries on their way to one stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Not sent yet.
    waiting: VecDeque<Append>,
    /// Sent, and not answered.
    sent: VecDeque<Append>,
    /// Sent with a connection that was lost: they may have arrived.
    unsure: VecDeque<Append>,
    /// How much memory all of these take.
    taken: usize,
    sent_bytes: usize,
    sent_taken: usize,
    /// How many there were, ever.
    added: u64,
}

impl Queue {
    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.unsure.is_empty()
    }

    /// How many there were, ever.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// How many of these, the oldest, have arrived for certain or never will.
    pub(super) fn settled(&self) -> u64 {
        self.added - (self.waiting.len() + self.sent.len() + self.unsure.len()) as u64
    }

    /// How many are not sent, or may have to be sent again.
    pub(super) fn unsent(&self) -> u64 {
        (self.waiting.len() + self.unsure.len()) as u64
    }

    /// How many are sent and not answered.
    pub(super) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Whether any waits to be sent.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is any that may have arrived.
    pub(super) fn is_unsure(&self) -> bool {
        !self.unsure.is_empty()
    }

    /// Adds an entry; returns its number.
    pub(super) fn push(&mut self, args: Arc<Args>) -> u64 {
        self.added += 1;
        self.taken += args.held();
        self.waiting.push_back(Append { seq: self.added, args });
        self.added
    }

    /// Takes the oldest entry that is not sent if they take more memory than `bound`.
    pub(super) fn take_beyond(&mut self, bound: usize) -> Option<Append> {
        if self.taken <= bound.saturating_add(self.sent_taken) {
            return None;
        }
        let append = self.waiting.pop_front()?;
        self.forget(&append);
        Some(append)
    }

    /// Takes the next entry to be sent, if Redis may have more.
    pub(super) fn send(&mut self) -> Option<Arc<Args>> {
        if self.sent_bytes >= MAX_SENT {
            return None;
        }
        let append = self.waiting.pop_front()?;
        let args = Arc::clone(&append.args);
        self.sent_bytes += args.len();
        self.sent_taken += args.held();
        self.sent.push_back(append);
        Some(args)
    }

    /// Takes the oldest entry that was sent: it is answered, or lost.
    pub(super) fn take_sent(&mut self) -> Option<Append> {
        let append = self.sent.pop_front()?;
        self.sent_bytes = self.sent_bytes.saturating_sub(append.args.len());
        self.sent_taken = self.sent_taken.saturating_sub(append.args.held());
        Some(append)
    }

    /// An entry is not on its way any more.
    pub(super) fn forget(&mut self, append: &Append) {
        self.taken = self.taken.saturating_sub(append.args.held());
    }

    /// An entry that was sent may have arrived.
    pub(super) fn doubt(&mut self, append: Append) {
        self.unsure.push_back(append);
    }

    /// All entries that were sent may have arrived.
    pub(super) fn doubt_all(&mut self) {
        self.unsure.append(&mut self.sent);
        self.sent_bytes = 0;
        self.sent_taken = 0;
    }

    /// Takes the oldest entry that may have arrived, if `has_arrived` says so of its command.
    pub(super) fn take_arrived(&mut self, has_arrived: impl Fn(&Args) -> bool) -> Option<Append> {
        if !self.unsure.front().is_some_and(|append| has_arrived(&append.args)) {
            return None;
        }
        let append = self.unsure.pop_front()?;
        self.forget(&append);
        Some(append)
    }

    /// The entries that may have arrived have not: they are sent again, before all others.
    pub(super) fn send_again(&mut self) {
        while let Some(append) = self.unsure.pop_back() {
            self.waiting.push_front(append);
        }
    }

    /// Takes the entries that may have arrived: nobody will know.
    pub(super) fn take_unsure(&mut self) -> VecDeque<Append> {
        let lost = std::mem::take(&mut self.unsure);
        for append in &lost {
            self.forget(append);
        }
        lost
    }

    /// Drops everything; how many entries were never sent, and how many may have arrived.
    pub(super) fn clear(&mut self) -> (u64, u64) {
        let lost = (self.sent.len() + self.unsure.len()) as u64;
        let dropped = self.waiting.len() as u64;
        *self = Queue { added: self.added, ..Queue::default() };
        (dropped, lost)
    }
}
