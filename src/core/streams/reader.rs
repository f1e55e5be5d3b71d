//! The reader of a stream: it begins where the stream ended when the first member joined, and goes on from there whatever
//! happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commands::{Commands, range};
use super::purpose::{Purpose, StreamKey, reading_port, rest};
use crate::core::effects::Effects;
use crate::transport::resp::{Items, Reply};
use crate::transport::{Args, Outcome, Port};
use crate::wire::streams::{EntryId, id_and_fields};

/// How long reading rests at most when Redis refuses it.
const MAX_REST: Duration = Duration::from_secs(30);

/// How many entries are passed at a time on the way to the last one.
const SCAN_PAGE: usize = 500;

/// How long one command waits for entries at most, in milliseconds.
const MAX_BLOCK: u64 = 10_000;

/// After so many attempts in a row, which take 7 seconds, JS is told even of an error that passes as a rule.
const PASSES_FOR: u32 = 12;

/// After so many attempts JS is told that the stream is said to be elsewhere: a transport that knows the nodes of a
/// cluster has looked there by then.
const MOVED_FOR: u32 = 3;

/// How long the first command waits after reading was refused, in milliseconds: when Redis takes it, JS is to know.
const TRIAL_BLOCK: u64 = 1;

/// How long after the end of a command Redis is taken to be gone if it does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reader of a stream, and how far it has read.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    /// None as long as nobody listens.
    options: Option<ReaderOptions>,
    /// The last entry that was read, or the last that there was before.
    position: Option<EntryId>,
    state: ReaderState,
    /// The ends of the stream are to be looked at before reading goes on: entries may be gone, or all of it.
    unsure: bool,
    /// The last page was full, so that there are more, and they may be about to be trimmed.
    behind: bool,
    /// The last entry that was passed on the way to the end.
    scanned: Option<EntryId>,
    /// How often reading failed since XREAD last succeeded. Looks that succeed say nothing about XREAD.
    failures: u32,
    /// How often reading failed in a row though the link stands.
    troubles: u32,
    /// JS has been told that it cannot be read.
    told: bool,
    /// XREAD has succeeded, and JS has not been told since that it cannot be read. No member is ready before.
    readable: bool,
}

#[derive(Clone, Copy, Debug)]
struct ReaderOptions {
    count: u64,
    /// In milliseconds; 0 is for ever.
    block: u64,
}

#[derive(Debug, Default)]
enum ReaderState {
    #[default]
    Idle,
    Resting(Instant),
    Looking {
        last: Option<Option<EntryId>>,
        oldest: Option<Option<EntryId>>,
    },
    Reading,
}

/// The result of a look at the ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Not enough.
    Nothing,
    /// Its last and its oldest entry: reading begins, or goes on.
    Ends { last: Option<EntryId>, oldest: Option<EntryId> },
    /// Its oldest entry, while reading goes on.
    Oldest(Option<EntryId>),
}

/// How an attempt to read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Redis refuses, for now or for good.
    Refused {
        /// It is said to take it later.
        passes: bool,
        /// The stream is said to be elsewhere.
        moved: bool,
    },
    /// The answer is malformed.
    Malformed,
    /// The connection was lost, or there was none.
    Unreached,
}

impl StreamReader {
    /// Somebody listens. Who was first decides how it is read.
    pub(super) fn open(&mut self, count: u64, block: u64) {
        self.options.get_or_insert(ReaderOptions { count: count.max(1), block });
    }

    /// Nobody listens any more. Returns whether somebody did.
    pub(super) fn close(&mut self) -> bool {
        std::mem::take(self).options.is_some()
    }

    /// Commands that were under way do not end any more. `known` says that the next ones go to the same Redis.
    pub(super) fn interrupt(&mut self, known: bool) {
        self.state = ReaderState::Idle;
        self.unsure = true;
        if !known {
            self.position = None;
            self.readable = false;
        }
    }

    /// Whether its members hear the entries that are added.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// The last entry that was read; none as long as it is not known where to begin.
    pub(super) fn position(&self) -> Option<EntryId> {
        self.position
    }

    /// Reading goes on behind this entry.
    pub(super) fn set_position(&mut self, position: EntryId) {
        self.position = Some(position);
    }

    /// This entry was read.
    pub(super) fn pass(&mut self, id: EntryId) {
        self.position = self.position.max(Some(id));
    }

    /// When it is to be driven.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            ReaderState::Resting(until) => Some(until),
            _ => None,
        }
    }

    /// Sends the next command.
    pub(super) fn drive(&mut self, key: &StreamKey, commands: &mut Commands, fx: &mut Effects) {
        let Some(ReaderOptions { count, block }) = self.options else {
            return;
        };
        match self.state {
            ReaderState::Idle => {}
            ReaderState::Resting(until) if fx.now >= until => {}
            _ => return,
        }
        let number = key.number;
        let port = Port::Reader(reading_port(number));
        let position = match self.position {
            Some(position) if !self.unsure => position,
            _ => {
                self.state = ReaderState::Looking { last: None, oldest: None };
                commands.look(port, Purpose::Last(number), false, &key.name, fx);
                commands.look(port, Purpose::Oldest(number), true, &key.name, fx);
                return;
            }
        };
        self.state = ReaderState::Reading;
        if std::mem::take(&mut self.behind) {
            commands.look(port, Purpose::Oldest(number), true, &key.name, fx);
        }
        let block = match (self.readable, self.told) {
            // However long the user lets it wait: a node that hangs is found out by a reply that does not come.
            (true, _) => Some(if block == 0 { MAX_BLOCK } else { block.min(MAX_BLOCK) }),
            (false, true) => Some(TRIAL_BLOCK),
            // Members wait for this answer to be ready.
            (false, false) => None,
        };
        let blocked = block.map(|block| block.to_string());
        let (count, position) = (count.to_string(), position.to_string());
        let mut args: Vec<&[u8]> = vec![b"XREAD"];
        if let Some(blocked) = &blocked {
            args.extend([&b"BLOCK"[..], blocked.as_bytes()]);
        }
        args.extend([&b"COUNT"[..], count.as_bytes(), b"STREAMS"]);
        let name = args.len();
        args.extend([key.name.as_bytes(), position.as_bytes()]);
        let patience = block.map(|block| Duration::from_millis(block) + PATIENCE);
        let args = Arc::new(Args::of(&args));
        commands.send_patiently(port, Purpose::Read(number), name, args, patience, fx);
    }

    /// The oldest or the last entry is known.
    pub(super) fn looked(&mut self, is_oldest: bool, entry: Option<EntryId>) -> Looked {
        match &mut self.state {
            ReaderState::Looking { last, oldest } => {
                *(if is_oldest { &mut *oldest } else { &mut *last }) = Some(entry);
                match (*last, *oldest) {
                    (Some(last), Some(oldest)) => Looked::Ends { last, oldest },
                    _ => Looked::Nothing,
                }
            }
            // This look was sent in front of a page.
            ReaderState::Reading => Looked::Oldest(entry),
            _ => Looked::Nothing,
        }
    }

    /// Looks for the last entry behind all that was read: XREVRANGE is not allowed, as the reference does not need it.
    pub(super) fn scan(&mut self, key: &StreamKey, commands: &mut Commands, fx: &mut Effects) {
        let from = self.position.map_or(EntryId::ZERO, EntryId::next);
        self.scan_from(from, key, commands, fx);
    }

    fn scan_from(&mut self, from: EntryId, key: &StreamKey, commands: &mut Commands, fx: &mut Effects) {
        let port = Port::Reader(reading_port(key.number));
        commands.send(port, Purpose::Scan(key.number), 1, range(&key.name, from, SCAN_PAGE), fx);
    }

    /// A page on the way to the last entry.
    pub(super) fn scanned(
        &mut self,
        items: &Items<'_>,
        key: &StreamKey,
        commands: &mut Commands,
        fx: &mut Effects,
    ) -> Looked {
        let count = items.len();
        let last = items.clone().filter_map(|item| id_and_fields(item).map(|(id, _)| id)).last();
        self.scanned = last.or(self.scanned);
        let reached = self.scanned.max(self.position);
        if count == SCAN_PAGE
            && let Some(reached) = reached
        {
            self.scan_from(reached.next(), key, commands, fx);
            return Looked::Nothing;
        }
        self.scanned = None;
        match self.state {
            ReaderState::Looking { .. } => self.looked(false, reached),
            _ => Looked::Nothing,
        }
    }

    /// The ends of the stream are known: reading may begin.
    pub(super) fn begin(&mut self) {
        self.state = ReaderState::Idle;
        self.unsure = false;
    }

    /// So many entries were read.
    pub(super) fn has_read(&mut self, count: u64) {
        let Some(options) = self.options else {
            return;
        };
        self.behind = count >= options.count;
        self.state = ReaderState::Idle;
        self.failures = 0;
        self.troubles = 0;
        self.told = false;
        self.readable = true;
    }

    /// Reading has failed: it rests. `stands` says whether the link is connected. Returns whether JS has to be told.
    pub(super) fn failed(&mut self, failure: Failure, stands: bool, now: Instant) -> bool {
        self.unsure = true;
        // Both commands of a look have failed, but that is one failure.
        if let ReaderState::Resting(_) = self.state {
            return false;
        }
        let is_final = matches!(failure, Failure::Refused { passes: false, .. } | Failure::Malformed);
        // A connection that was lost is made anew at once; the transport waits if it cannot be.
        let delay = if failure != Failure::Unreached || self.failures > 0 {
            rest(self.failures + 1, if is_final { MAX_REST } else { Duration::from_secs(1) })
        } else {
            Duration::ZERO
        };
        self.failures = self.failures.saturating_add(1);
        self.state = ReaderState::Resting(now + delay);
        let bound =
            if matches!(failure, Failure::Refused { moved: true, .. }) { MOVED_FOR } else { PASSES_FOR };
        // Otherwise there is an outage, of which JS knows.
        self.troubles = if stands { self.troubles.saturating_add(1) } else { 0 };
        let persists = self.troubles >= bound;
        let tells = (is_final || persists) && !std::mem::replace(&mut self.told, true);
        if tells {
            self.readable = false;
        }
        tells
    }
}

/// Whether an ACL does not allow the command.
pub(super) fn is_forbidden(outcome: &Outcome<'_>) -> bool {
    matches!(outcome, Outcome::Replied(Reply::Error(error)) if error.starts_with(b"NOPERM"))
}

/// The only entry that was asked for, if there is one; `None` if the answer is another.
pub(super) fn entry_looked_at(outcome: &Outcome<'_>) -> Option<Option<EntryId>> {
    let Outcome::Replied(Reply::Array(items)) = outcome else {
        return None;
    };
    match items.clone().next() {
        None => Some(None),
        Some(item) => id_and_fields(item).map(|(id, _)| Some(id)),
    }
}
