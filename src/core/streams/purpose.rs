//! The purposes of the commands of streams, their ports, and what their answers mean.

use std::time::Duration;

use crate::core::effects::{Effects, Kind, MemberId};
use crate::transport::Outcome;
use crate::transport::passing::passing;
use crate::transport::resp::Reply;
use crate::wire::streams::EntryId;

/// The number of a stream within its link.
pub(in crate::core) type StreamId = usize;

/// Which stream something is about.
#[derive(Debug)]
pub(super) struct StreamKey {
    /// Its number.
    pub(super) number: StreamId,
    /// Its name.
    pub(super) name: String,
}

/// What a command was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The reader wants to know the last entry.
    Last(StreamId),
    /// The reader looks for the last entry where only XRANGE is allowed: a page on the way to the end.
    Scan(StreamId),
    /// The reader wants to know the oldest entry.
    Oldest(StreamId),
    /// The reader reads.
    Read(StreamId),
    /// An entry is added.
    Add(StreamId),
    /// The last entry before anything is added.
    Baseline(StreamId),
    /// Which of the entries that were sent have arrived.
    Sift(StreamId),
    /// The last entry, for sessions.
    NewestKept(StreamId),
    /// The oldest entry, for sessions.
    OldestKept(StreamId),
    /// Entries that the memory does not reach back to.
    Page(StreamId),
    /// A session is taken, by one command or by two.
    Take(u32),
    /// A session is read, where Redis does not know the one command.
    Get(u32),
    /// A session is deleted after that.
    Delete,
    /// A session is kept.
    Persist(u64),
}

impl Purpose {
    /// Whether a reader waits for it.
    pub(super) fn reads(self, number: StreamId) -> bool {
        matches!(self, Purpose::Last(of) | Purpose::Oldest(of) | Purpose::Scan(of) | Purpose::Read(of)
            if of == number)
    }
}

/// Where a stream is read.
pub(super) fn reading_port(number: StreamId) -> usize {
    2 * number
}

/// Where the past of a stream is read.
pub(super) fn paging_port(number: StreamId) -> usize {
    2 * number + 1
}

/// How long to rest after so many failures in a row: 25 ms, and twice as long each time, up to a bound.
pub(super) fn rest(failures: u32, bound: Duration) -> Duration {
    let first = Duration::from_millis(25);
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(bound)
}

/// Whether an error says that Redis, or this node of it, cannot run a command now: it is sent again later.
pub(super) fn passes(error: &[u8]) -> bool {
    passing(error).is_some()
}

/// Tells JS the id of an entry that was added, or that there is none.
pub(super) fn added_record(member: MemberId, ticket: u32, id: Option<EntryId>, fx: &mut Effects) {
    let mut draft = fx.batch.draft(Kind::Added, member);
    draft.record.token = ticket;
    if let Some(id) = id {
        draft.part(0, id.to_string().as_bytes());
    }
    draft.done();
}

/// Why a command has brought nothing.
pub(super) fn reason_of(outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Replied(Reply::Error(error)) => String::from_utf8_lossy(error).into_owned(),
        Outcome::Replied(_) => "a malformed answer".to_owned(),
        Outcome::NotRun { reason } | Outcome::Lost { reason } => (*reason).to_owned(),
    }
}
