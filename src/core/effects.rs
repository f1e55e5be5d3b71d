//! What the core wants done: records for JS, messages for the wire, subscriptions, counts.
//!
//! The core touches no socket and no thread; it fills an [`Effects`], and the driver carries it out.

use std::ops::Range;
use std::time::Instant;

use crate::transport::{KeyCommand, Subscriber, Subscription};
pub use crate::wire::request::Encoding;

/// The number of a member within its link, given by JS.
pub type MemberId = u32;

/// What a record tells JS. The numbers are known to `lib/link/inbox.js`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A broadcast as a ready frame. `a` the WebSocket frame, `b` the Socket.IO text in it, `c` the options in
    /// msgpack (empty: to everyone, no flag), `d` the arguments in msgpack followed by a table of `n >> 1`
    /// attachments (empty if the text is exact, which the lowest bit of `n` says). `token` is the length of the offset that
    /// is the last argument, if there is one.
    Frame = 0,
    /// A broadcast that JS decodes: `a` the payload.
    Broadcast = 1,
    /// A request to this member: `a` the payload, `n` an [`Encoding`].
    Request = 2,
    /// The end of a request of ours: `a` its id, `b` the outcome in JSON.
    Answers = 3,
    /// One response to an acknowledged broadcast of ours: `a` its id, `b` the payload.
    Ack = 4,
    /// An acknowledged broadcast of ours is complete or out of time: `a` its id.
    AckEnd = 5,
    /// A response that only the user's own parser can read: `a` the payload.
    Response = 6,
    /// The answer to a count: `token`, `n` the number.
    Count = 7,
    /// For the user's client to publish: `a` the channel, `b` the payload.
    Carry = 8,
    /// For the user's client to subscribe to: `a` the name, `n` 1 for a pattern.
    Subscribe = 9,
    /// For the user's client to unsubscribe from: as above.
    Unsubscribe = 10,
    /// For the user's client to count subscribers of: `token`, `d` the channels with a table of `n`.
    NumSub = 11,
    /// Something that the operator or the adapter should know: `a` an [`Event`](super::Event) in JSON;
    /// `token` when it happened, see `clock.rs`.
    Event = 12,
    /// Asks for the credentials of the user's clients: `token`, to be answered by `Link.credentials`.
    Credentials = 13,
    /// For the user's client to run: `token`, `a` the key, `b` the number of the reader in decimal (empty for the
    /// shared client), `d` the command with a table of its `n` parts.
    Command = 14,
    /// For the user's client of a reader to be closed: `n` its number.
    CloseReader = 15,
    /// An entry that a member has added is in the stream, if the member recovers connections: `token` its number, counted from
    /// 1 for each member, `a` the id of its entry; empty if the id is not known in time, or if there is no entry.
    Added = 16,
    /// The answer to a restore: `token`, `a` the session as it was kept, `b` why there is nothing to restore (empty if there
    /// is), `c` the id up to which entries have been looked at in each stream of the namespace, `d` a table of `n` items:
    /// id and data of each missed entry, in turn. JS has to settle the member once it has made the socket.
    Restored = 17,
    /// A count that Redis refuses: `token`, `a` its own words.
    CountRefused = 18,
    /// Part of an answer to a request of ours: `a` its id, `b` the piece; `n >> 2` a
    /// [`PieceKind`](crate::wire::slices::PieceKind), and its lowest bit whether it is the last one of the answer. The
    /// second bit says that handshakes stand apart: `c` has them, `d` where each ends, as little-endian u32.
    Answer = 19,
}

/// One record, its parts as ranges of [`Batch::bytes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// A [`Kind`].
    pub kind: u8,
    /// The member it is for.
    pub member: MemberId,
    /// A number; its meaning is the kind's.
    pub n: u32,
    /// The token of the call that it answers.
    pub token: u32,
    /// The parts, in the order of the bytes.
    pub parts: [Range<usize>; 4],
    /// Where its bytes end; those of the next record begin there.
    pub end: usize,
}

/// Records for JS in the order in which they came to be.
#[derive(Debug, Default)]
pub struct Batch {
    /// The parts of all records.
    pub bytes: Vec<u8>,
    /// The records.
    pub records: Vec<Record>,
}

impl Batch {
    /// Begins a record; [`Draft::done`] adds it, dropping the draft takes its bytes back.
    pub fn draft(&mut self, kind: Kind, member: MemberId) -> Draft<'_> {
        let start = self.bytes.len();
        Draft {
            record: Record {
                kind: kind as u8,
                member,
                parts: [start..start, start..start, start..start, start..start],
                ..Record::default()
            },
            start,
            finished: false,
            batch: self,
        }
    }

    /// Answers a call of JS that wants a number, or only to be answered.
    pub fn count(&mut self, member: MemberId, token: u32, count: u64) {
        let mut draft = self.draft(Kind::Count, member);
        draft.record.token = token;
        draft.record.n = u32::try_from(count).unwrap_or(u32::MAX);
        draft.done();
    }

    /// Whether there is nothing for JS.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets everything, keeping the memory unless it is much.
    pub fn clear(&mut self) {
        // What a burst has taken is given back; 1 MiB covers a tick of a busy node.
        const KEEP: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.records.clear();
        self.records.shrink_to(KEEP / 64);
    }
}

/// A record in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The record; set `n` and `token` here.
    pub record: Record,
    batch: &'a mut Batch,
    start: usize,
    finished: bool,
}

impl Draft<'_> {
    /// Copies `bytes` in as part `index` (0 to 3 for `a` to `d`).
    pub fn part(&mut self, index: usize, bytes: &[u8]) {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(bytes);
        self.set(index, start..self.batch.bytes.len());
    }

    /// Copies `items` in as part `d`, followed by a table of their ends, and sets `n` to their number.
    pub fn list<'b>(&mut self, items: impl Iterator<Item = &'b [u8]>) {
        let start = self.batch.bytes.len();
        let mut table = Vec::new();
        for item in items {
            let from = self.batch.bytes.len() - start;
            self.batch.bytes.extend_from_slice(item);
            table.push(from..self.batch.bytes.len() - start);
        }
        self.set(3, start..self.batch.bytes.len());
        self.table(&table);
        self.record.n = u32::try_from(table.len()).unwrap_or(u32::MAX);
    }

    /// Appends pairs of offsets, relative to part `d`, as little-endian u32 behind it.
    pub fn table(&mut self, ranges: &[Range<usize>]) {
        for range in ranges {
            for offset in [range.start, range.end] {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                self.batch.bytes.extend_from_slice(&offset.to_le_bytes());
            }
        }
    }

    /// Where something else may write a part.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.batch.bytes
    }

    /// Says where part `index` stands.
    pub fn set(&mut self, index: usize, range: Range<usize>) {
        if let Some(part) = self.record.parts.get_mut(index) {
            *part = range;
        }
    }

    /// Adds the record.
    pub fn done(mut self) {
        self.finished = true;
        let mut record = std::mem::take(&mut self.record);
        record.end = self.batch.bytes.len();
        self.batch.records.push(record);
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.batch.bytes.truncate(self.start);
        }
    }
}

/// Messages for the wire, in one stretch of memory.
#[derive(Debug, Default)]
pub struct Publishes {
    bytes: Vec<u8>,
    /// Of each message: its owner, where its channel ends, where its payload ends.
    ends: Vec<(MemberId, usize, usize)>,
}

impl Publishes {
    /// Adds a message of `owner` (0 if that has left) whose payload `write` appends; if it fails nothing is added.
    pub fn push<E>(
        &mut self,
        owner: MemberId,
        channel: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(channel);
        let channel_end = self.bytes.len();
        match write(&mut self.bytes) {
            Ok(()) => {
                self.ends.push((owner, channel_end, self.bytes.len()));
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Adds a message whose payload is ready.
    pub fn push_bytes(&mut self, owner: MemberId, channel: &[u8], payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(channel);
        self.bytes.extend_from_slice(payload);
        self.ends.push((owner, start + channel.len(), self.bytes.len()));
    }

    /// The messages, each as channel and payload, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&(_, channel_end, end)| {
            let message = (self.bytes.get(start..channel_end)?, self.bytes.get(channel_end..end)?);
            start = end;
            Some(message)
        })
    }

    /// The owners of the messages, in the same order.
    pub fn owners(&self) -> impl Iterator<Item = MemberId> {
        self.ends.iter().map(|&(owner, ..)| owner)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets everything, keeping the memory unless it is much.
    pub fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.ends.clear();
    }
}

/// What becomes of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Add,
    /// It ends.
    Remove,
}

/// All that one step of the core wants done.
#[derive(Debug)]
pub struct Effects {
    /// When the step is. The driver sets it: the core has no clock.
    pub now: Instant,
    /// For JS.
    pub batch: Batch,
    /// For the transport, in order.
    pub publishes: Publishes,
    /// Subscriptions to add to a subscriber connection, or to take from it, in order.
    pub subscriptions: Vec<(Subscriber, Change, Subscription)>,
    /// Subscriptions of own connections that do not carry the bytes yet, in order.
    pub own_subscriptions: Vec<(Subscriber, Change, Subscription)>,
    /// Channels to count the subscribers of, under a token.
    pub counts: Vec<(u64, Vec<Vec<u8>>)>,
    /// Commands about keys, in order.
    pub commands: Vec<KeyCommand>,
    /// Readers to be closed, before the commands.
    pub closed_readers: Vec<usize>,
}

impl Effects {
    /// Nothing to do yet.
    pub fn new(now: Instant) -> Self {
        Effects {
            now,
            batch: Batch::default(),
            publishes: Publishes::default(),
            subscriptions: Vec::new(),
            own_subscriptions: Vec::new(),
            counts: Vec::new(),
            commands: Vec::new(),
            closed_readers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let mut batch = Batch::default();
        let mut draft = batch.draft(Kind::Request, 1);
        draft.part(0, b"abc");
        draft.done();
        let mut draft = batch.draft(Kind::Request, 2);
        draft.part(0, b"xyz");
        drop(draft);
        assert_eq!(batch.bytes, b"abc");
        assert_eq!(batch.records.len(), 1);
        assert_eq!(batch.records[0].parts[0], 0..3);
        assert_eq!(batch.records[0].end, 3);
    }

    #[test]
    fn a_list_carries_its_table() {
        let mut batch = Batch::default();
        let mut draft = batch.draft(Kind::Answers, 0);
        draft.list([&b"ab"[..], b"c"].into_iter());
        draft.done();
        assert_eq!(batch.records[0].n, 2);
        assert_eq!(batch.records[0].parts[3], 0..3);
        assert_eq!(batch.bytes[3..], [0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn a_failed_publish_leaves_nothing() {
        let mut publishes = Publishes::default();
        let written = publishes.push::<()>(1, b"c1", |out| {
            out.extend_from_slice(b"p1");
            Ok(())
        });
        assert!(written.is_ok());
        let failed = publishes.push(2, b"c2", |out| {
            out.extend_from_slice(b"half");
            Err(())
        });
        assert!(failed.is_err());
        let all: Vec<_> = publishes.iter().collect();
        assert_eq!(all, [(&b"c1"[..], &b"p1"[..])]);
        assert_eq!(publishes.owners().collect::<Vec<_>>(), [1]);
    }
}
