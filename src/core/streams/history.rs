//! Recent entries, for the sessions of clients that come back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::wire::streams::{Audience, EntryId};

/// How many bytes of a stream are kept in memory: 10,000 entries, the reference's default length of a stream, of 1.6 KB.
/// Earlier entries are read from Redis again when a session needs them.
const MAX_BYTES: usize = 16 << 20;

/// What an entry takes beside its data.
const OVERHEAD: usize = 160;

/// An event that a session may have missed.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: EntryId,
    pub(super) nsp: Arc<str>,
    pub(super) audience: Audience,
    /// As it stands in the entry.
    pub(super) data: Box<[u8]>,
}

impl Kept {
    /// How many bytes it takes.
    pub(super) fn held(&self) -> usize {
        self.data.len() + self.audience.held() + OVERHEAD
    }
}

/// The events of a stream from some entry on.
#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Kept>,
    bytes: usize,
    /// All events behind this one are here; `None` as long as it is not known where reading begins.
    floor: Option<EntryId>,
    /// Nothing behind this one was left out when the stream was read.
    since: Option<EntryId>,
    max_len: u64,
}

impl History {
    /// One that begins behind `position`.
    pub(super) fn new(position: Option<EntryId>) -> Self {
        History { entries: VecDeque::new(), bytes: 0, floor: position, since: position, max_len: 0 }
    }

    /// No more entries than the stream itself has: `maxLen`, the largest of the members.
    pub(super) fn allow(&mut self, max_len: u64) {
        self.max_len = self.max_len.max(max_len);
    }

    /// Forgets everything, and begins behind `position`.
    pub(super) fn begin(&mut self, position: Option<EntryId>) {
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.floor = position;
        self.since = position;
    }

    /// Forgets the entries behind `last`: Redis has lost them.
    pub(super) fn go_back(&mut self, last: EntryId) {
        while self.entries.back().is_some_and(|kept| kept.id > last)
            && let Some(kept) = self.entries.pop_back()
        {
            self.bytes -= kept.held();
        }
        self.floor = self.floor.map(|floor| floor.min(last));
    }

    /// Adds an event; the oldest ones give way.
    pub(super) fn push(&mut self, kept: Kept) {
        self.bytes += kept.held();
        self.entries.push_back(kept);
        while self.bytes > MAX_BYTES || self.entries.len() as u64 > self.max_len {
            let Some(first) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= first.held();
            self.floor = self.floor.max(Some(first.id));
        }
    }

    /// Adds events that were before, so that all behind `floor` are here. As many as there is room for, the newest ones.
    pub(super) fn extend_back(&mut self, events: Vec<Kept>, floor: EntryId) {
        let mut floor = floor;
        for kept in events.into_iter().rev() {
            let bytes = kept.held();
            if self.bytes + bytes > MAX_BYTES || self.entries.len() as u64 >= self.max_len {
                floor = kept.id;
                break;
            }
            self.bytes += bytes;
            self.entries.push_front(kept);
        }
        self.floor = Some(floor);
    }

    /// All events behind this one are here.
    pub(super) fn floor(&self) -> Option<EntryId> {
        self.floor
    }

    /// The last event that was read.
    pub(super) fn last(&self) -> Option<EntryId> {
        self.entries.back().map(|kept| kept.id)
    }

    /// Nothing behind this one was left out.
    pub(super) fn since(&self) -> Option<EntryId> {
        self.since
    }

    /// Whether there is an event with this id.
    pub(super) fn contains(&self, id: EntryId) -> bool {
        self.entries.binary_search_by(|kept| kept.id.cmp(&id)).is_ok()
    }

    /// The events behind an id.
    pub(super) fn after(&self, id: EntryId) -> impl Iterator<Item = &Kept> {
        let start = self.entries.partition_point(|kept| kept.id <= id);
        self.entries.range(start..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seq: u64, len: usize) -> Kept {
        let id = EntryId { time: 1, seq };
        Kept { id, nsp: "/".into(), audience: Audience::default(), data: vec![b'x'; len].into() }
    }

    #[test]
    fn the_oldest_give_way_and_the_floor_rises() {
        let mut history = History::new(Some(EntryId::ZERO));
        history.allow(3);
        for seq in 1..=5 {
            history.push(kept(seq, 1));
        }
        assert_eq!(history.floor(), Some(EntryId { time: 1, seq: 2 }));
        assert!(!history.contains(EntryId { time: 1, seq: 2 }));
        assert!(history.contains(EntryId { time: 1, seq: 3 }));
        let after: Vec<u64> = history.after(EntryId { time: 1, seq: 3 }).map(|kept| kept.id.seq).collect();
        assert_eq!(after, [4, 5]);
        history.push(kept(6, MAX_BYTES));
        assert_eq!((history.bytes, history.floor()), (0, Some(EntryId { time: 1, seq: 6 })));
        history.begin(Some(EntryId { time: 1, seq: 9 }));
        history.extend_back((1..=4).map(|seq| kept(seq, 1)).collect(), EntryId::ZERO);
        assert_eq!(history.floor(), Some(EntryId { time: 1, seq: 1 }), "three of them");
        let all: Vec<u64> = history.after(EntryId::ZERO).map(|kept| kept.id.seq).collect();
        assert_eq!(all, [2, 3, 4]);
        history.begin(Some(EntryId { time: 1, seq: 9 }));
        history.extend_back((1..=2).map(|seq| kept(seq, 1)).collect(), EntryId::ZERO);
        assert_eq!(history.floor(), Some(EntryId::ZERO));
        history.begin(None);
        assert_eq!(history.floor(), None);
    }
}
