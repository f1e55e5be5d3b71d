//! From the link to JS: records in order, fetched by JS in batches into its own memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::Position;
use crate::core::effects::{Batch, Kind, Record};
use crate::core::stats::Stats;

/// Numbers per record in the table that JS gives to [`Inbox::fetch`]: kind, member, n, token, then start and
/// end of each of the four parts.
pub const STRIDE: usize = 12;

/// The bit of `n` that a broadcast has in the table which is for the same sockets as the record before it: JS may write
/// both at once.
const FOLLOWS: u32 = 1 << 31;

/// The part of a broadcast that says which sockets it is for.
const TARGET: usize = 2;

/// A number of records, and how far the streams were read when that many had been added.
type Mark = (u64, Vec<Position>);

#[derive(Debug, Default)]
struct InboxState {
    batch: Batch,
    /// How many records of `batch` JS has fetched, and where the next one's bytes begin.
    fetched: usize,
    position: usize,
    /// JS has been woken and has not come yet.
    woken: bool,
    stats: Stats,
    /// How many records were ever added, and how many of them JS has fetched.
    appended: u64,
    fetched_ever: u64,
    /// The marks whose records JS has not all fetched.
    marks: VecDeque<Mark>,
    /// How many bytes the marks take.
    marks_held: usize,
    /// How far the streams were read when the last record that JS has fetched was added, or later.
    reached: Vec<Position>,
}

impl InboxState {
    fn held(&self) -> usize {
        let bytes = self.batch.bytes.len() - self.position;
        let records = (self.batch.records.len() - self.fetched) * size_of::<Record>();
        bytes + records + self.marks_held
    }

    fn mark(&mut self, positions: Vec<Position>) {
        let appended = self.appended;
        if self.fetched_ever == appended {
            self.reached = positions;
            return;
        }
        if self.marks.back().is_some_and(|&(count, _)| count == appended) {
            let last = self.marks.pop_back();
            self.marks_held -= last.map_or(0, |(_, positions)| held_by_mark(&positions));
        }
        self.marks_held += held_by_mark(&positions);
        self.marks.push_back((appended, positions));
    }

    /// Takes off the marks that JS has reached.
    fn reach_marks(&mut self) {
        while self.marks.front().is_some_and(|&(count, _)| count <= self.fetched_ever)
            && let Some((_, positions)) = self.marks.pop_front()
        {
            self.marks_held -= held_by_mark(&positions);
            self.reached = positions;
        }
    }

    /// Frees what JS has fetched of a batch that it never works off to its end.
    fn forget_fetched(&mut self) {
        let small = self.position < FORGET && self.fetched < FORGET / size_of::<Record>();
        let few = self.position < self.batch.bytes.len() / 2 || self.fetched < self.batch.records.len() / 2;
        if small || few {
            return;
        }
        let position = std::mem::take(&mut self.position);
        self.batch.records.drain(..std::mem::take(&mut self.fetched));
        self.batch.bytes.drain(..position);
        for record in &mut self.batch.records {
            for part in &mut record.parts {
                *part = part.start.saturating_sub(position)..part.end.saturating_sub(position);
            }
            record.end -= position;
        }
    }
}

/// How many bytes a mark takes. There is one for each batch, and it names every stream: together they may take more
/// than the records.
fn held_by_mark(positions: &[Position]) -> usize {
    let names: usize = positions.iter().map(|position| position.stream.len()).sum();
    size_of::<Mark>() + size_of_val(positions) + names
}

/// From so many fetched bytes on, moving the rest to the front is worth it.
const FORGET: usize = 1 << 20;

/// The inbox of a link.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<InboxState>,
}

/// What [`Inbox::fetch`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// There is nothing to fetch.
    Nothing,
    /// The next record needs a slab of this many bytes.
    Needs(usize),
    /// Records were fetched.
    Records {
        /// How many.
        count: usize,
        /// How many bytes of the slab they took.
        bytes: usize,
    },
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds records, and how far the streams are read behind them, if that has changed. Returns whether JS has to be
    /// woken.
    pub fn append(&self, from: &mut Batch, positions: Option<Vec<Position>>) -> bool {
        let mut state = self.lock();
        state.appended += from.records.len() as u64;
        if state.batch.is_empty() {
            std::mem::swap(&mut state.batch, from);
        } else {
            state.forget_fetched();
            let offset = state.batch.bytes.len();
            state.batch.bytes.extend_from_slice(&from.bytes);
            state.batch.records.extend(from.records.drain(..).map(|record| shifted(record, offset)));
        }
        from.clear();
        if let Some(positions) = positions {
            state.mark(positions);
        }
        !std::mem::replace(&mut state.woken, true)
    }

    /// Copies records into `slab` from `start` on, as many as fit there and into `table`, whose offsets count
    /// from the start of the slab.
    pub fn fetch(&self, slab: &mut [u8], start: usize, table: &mut [u32]) -> Fetched {
        let mut state = self.lock();
        let state = &mut *state;
        let pending = state.batch.records.get(state.fetched..).unwrap_or(&[]);
        let Some(first) = pending.first() else {
            state.woken = false;
            return Fetched::Nothing;
        };
        let room = slab.len().saturating_sub(start);
        let from = state.position;
        let mut to = from;
        let mut count = 0;
        let mut before = None;
        for (record, row) in pending.iter().zip(table.chunks_exact_mut(STRIDE)) {
            if record.end - from > room {
                break;
            }
            let follows = before.is_some_and(|before| is_alike(before, record, &state.batch.bytes));
            fill(row, record, follows, from, start);
            before = Some(record);
            to = record.end;
            count += 1;
        }
        if count == 0 {
            return Fetched::Needs(first.end - from);
        }
        if let (Some(target), Some(source)) =
            (slab.get_mut(start..start + (to - from)), state.batch.bytes.get(from..to))
        {
            target.copy_from_slice(source);
        }
        state.fetched += count;
        state.fetched_ever += count as u64;
        state.reach_marks();
        state.position = to;
        if state.fetched == state.batch.records.len() {
            state.batch.clear();
            state.fetched = 0;
            state.position = 0;
        }
        Fetched::Records { count, bytes: to - from }
    }

    /// Notes that the records added so far have all entries of the streams up to these positions.
    pub fn mark(&self, positions: Vec<Position>) {
        self.lock().mark(positions);
    }

    /// How far JS has fetched the entries of a stream.
    pub fn reached(&self, stream: &str) -> Option<Position> {
        self.lock().reached.iter().find(|position| position.stream == stream).cloned()
    }

    /// How many bytes wait for JS, those of the records themselves included.
    pub fn held(&self) -> usize {
        self.lock().held()
    }

    /// Keeps the counters for JS to read.
    pub fn set_stats(&self, stats: Stats) {
        self.lock().stats = stats;
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let state = self.lock();
        Stats { inbox_bytes: state.held() as u64, ..state.stats.clone() }
    }
}

fn shifted(mut record: Record, offset: usize) -> Record {
    for part in &mut record.parts {
        *part = part.start + offset..part.end + offset;
    }
    record.end += offset;
    record
}

/// Whether two records are broadcasts to the same sockets, with the same flags.
fn is_alike(one: &Record, other: &Record, bytes: &[u8]) -> bool {
    let target = |record: &Record| bytes.get(record.parts[TARGET].clone());
    let are_frames = one.kind == Kind::Frame as u8 && other.kind == one.kind;
    are_frames && one.member == other.member && target(one) == target(other)
}

fn fill(row: &mut [u32], record: &Record, follows: bool, from: usize, start: usize) {
    let n = if follows { record.n | FOLLOWS } else { record.n };
    let head = [u32::from(record.kind), record.member, n, record.token];
    let parts = record.parts.iter().flat_map(|part| {
        // Saturating: a part that was never set stands before `from`, and JS does not look at it.
        [part.start, part.end].map(|at| u32::try_from(at.saturating_sub(from) + start).unwrap_or(u32::MAX))
    });
    for (cell, number) in row.iter_mut().zip(head.into_iter().chain(parts)) {
        *cell = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::streams::EntryId;

    fn batch(texts: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        for text in texts {
            let mut draft = batch.draft(Kind::Request, 7);
            draft.part(0, text);
            draft.done();
        }
        batch
    }

    #[test]
    fn records_are_fetched_in_pieces() {
        let inbox = Inbox::default();
        assert!(inbox.append(&mut batch(&[b"one", b"two"]), None));
        assert!(!inbox.append(&mut batch(&[b"three"]), None), "JS is on its way");
        let mut slab = [0u8; 10];
        let mut table = [0u32; STRIDE * 8];
        assert_eq!(inbox.fetch(&mut slab, 3, &mut table), Fetched::Records { count: 2, bytes: 6 });
        assert_eq!(&slab[3..9], b"onetwo");
        assert_eq!(table[STRIDE + 4..STRIDE + 6], [6, 9]);
        assert_eq!(inbox.fetch(&mut slab, 9, &mut table), Fetched::Needs(5));
        assert_eq!(inbox.fetch(&mut slab, 0, &mut table), Fetched::Records { count: 1, bytes: 5 });
        assert_eq!(&slab[..5], b"three");
        assert_eq!(table[4..6], [0, 5]);
        assert_eq!(inbox.held(), 0);
        assert_eq!(inbox.fetch(&mut slab, 0, &mut table), Fetched::Nothing);
        assert!(inbox.append(&mut batch(&[b"x"]), None), "JS has been and gone");
    }

    #[test]
    fn records_count_and_not_only_their_bytes() {
        let inbox = Inbox::default();
        inbox.append(&mut batch(&[b"a", b"b"]), None);
        assert_eq!(inbox.held(), 2 + 2 * size_of::<Record>());
        assert_eq!(inbox.stats().inbox_bytes, inbox.held() as u64);
        let mut table = [0u32; STRIDE];
        inbox.fetch(&mut [0u8; 8], 0, &mut table);
        assert_eq!(inbox.held(), 1 + size_of::<Record>());
    }

    #[test]
    fn how_far_streams_are_read_counts_until_js_has_fetched_that() {
        let inbox = Inbox::default();
        let id = |time| EntryId { time, seq: 0 };
        let at = |time| vec![Position { stream: "stream".to_owned(), last: id(time), since: id(0) }; 16];
        inbox.append(&mut batch(&[b"a"]), Some(at(1)));
        let one = inbox.held();
        assert!(one >= 1 + size_of::<Record>() + 16 * (size_of::<Position>() + 6), "{one}");
        inbox.append(&mut batch(&[b"b"]), Some(at(2)));
        inbox.mark(at(3));
        assert_eq!(inbox.held(), 2 * one, "the third stands in place of the second");
        assert_eq!(inbox.stats().inbox_bytes, 2 * one as u64);
        for left in [one, 0] {
            inbox.fetch(&mut [0u8; 1], 0, &mut [0u32; STRIDE]);
            assert_eq!(inbox.held(), left);
        }
        inbox.mark(at(4));
        assert_eq!(inbox.held(), 0, "JS has all");
    }

    #[test]
    fn what_was_fetched_is_given_back_before_all_is() {
        let inbox = Inbox::default();
        let big = vec![b'x'; FORGET];
        inbox.append(&mut batch(&[&big, b"next"]), None);
        let mut slab = vec![0u8; FORGET];
        let mut table = [0u32; STRIDE];
        assert_eq!(inbox.fetch(&mut slab, 0, &mut table), Fetched::Records { count: 1, bytes: FORGET });
        inbox.append(&mut batch(&[b"last"]), None);
        assert_eq!(inbox.lock().batch.bytes, b"nextlast");
        for text in [b"next", b"last"] {
            assert_eq!(inbox.fetch(&mut slab, 0, &mut table), Fetched::Records { count: 1, bytes: 4 });
            assert_eq!(&slab[..4], text);
        }
    }

    #[test]
    fn a_stream_is_read_as_far_as_js_has_fetched() {
        let inbox = Inbox::default();
        let id = |time| EntryId { time, seq: 0 };
        let at = |time| vec![Position { stream: "s".to_owned(), last: id(time), since: id(0) }];
        let reached = || inbox.reached("s").map(|position| position.last.time);
        assert_eq!(reached(), None);
        inbox.mark(at(1));
        assert_eq!((reached(), inbox.reached("t")), (Some(1), None), "nothing waits for JS");
        inbox.append(&mut batch(&[b"a", b"b"]), Some(at(2)));
        inbox.mark(at(3));
        inbox.append(&mut batch(&[b"c"]), Some(at(4)));
        let mut table = [0u32; STRIDE];
        let mut seen = Vec::new();
        while inbox.fetch(&mut [0u8; 8], 0, &mut table) != Fetched::Nothing {
            seen.push(reached());
        }
        assert_eq!(seen, [Some(1), Some(3), Some(4)]);
        inbox.mark(at(5));
        assert_eq!(reached(), Some(5));
    }

    #[test]
    fn broadcasts_for_the_same_sockets_are_marked() {
        let inbox = Inbox::default();
        let mut batch = Batch::default();
        let sent = [
            (Kind::Frame, 1, &b"room"[..]),
            (Kind::Frame, 1, b"room"),
            (Kind::Frame, 1, b"moor"),
            (Kind::Frame, 2, b"moor"),
            (Kind::Broadcast, 2, b"moor"),
            (Kind::Broadcast, 2, b"moor"),
            (Kind::Frame, 2, b""),
            (Kind::Frame, 2, b""),
        ];
        for (kind, member, target) in sent {
            let mut draft = batch.draft(kind, member);
            draft.part(0, b"frame");
            if !target.is_empty() {
                draft.part(TARGET, target);
            }
            draft.record.n = 4;
            draft.done();
        }
        inbox.append(&mut batch, None);
        let mut table = [0u32; STRIDE * 8];
        assert!(matches!(inbox.fetch(&mut [0u8; 100], 0, &mut table), Fetched::Records { count: 8, .. }));
        let follows: Vec<bool> = table.chunks(STRIDE).map(|row| row[2] == 4 | FOLLOWS).collect();
        assert_eq!(follows, [false, true, false, false, false, false, false, true]);
        assert!(table.chunks(STRIDE).all(|row| row[2] & !FOLLOWS == 4));
    }

    #[test]
    fn the_table_bounds_a_fetch_too() {
        let inbox = Inbox::default();
        inbox.append(&mut batch(&[b"a", b"b"]), None);
        let mut table = [0u32; STRIDE];
        let mut slab = [0u8; 8];
        let one = Fetched::Records { count: 1, bytes: 1 };
        assert_eq!(inbox.fetch(&mut slab, 0, &mut table), one);
        assert_eq!(inbox.fetch(&mut slab, 1, &mut table), one);
        assert_eq!(&slab[..2], b"ab");
    }
}
