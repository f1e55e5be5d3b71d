//! Reading a stream: from where it stood when the first member joined, and on from there whatever happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::history::Kept;
use super::purpose::{Purpose, StreamId, passes, reading_port, reason_of, rest};
use crate::core::Core;
use crate::core::effects::{Effects, MemberId};
use crate::core::event::Event;
use crate::packet::Malformed;
use crate::transport::resp::{Items, Reply};
use crate::transport::{Args, Outcome, Port};
use crate::wire::streams::{Entry, EntryId, event_of, id_and_fields};

/// How long reading rests at most when Redis refuses it.
const MAX_REST: Duration = Duration::from_secs(30);

/// How many entries are passed at a time on the way to the last one.
const SCAN_PAGE: usize = 500;

/// How long one command waits for entries at most, in milliseconds.
const MAX_BLOCK: u64 = 10_000;

/// After so many attempts in a row JS is told of what passes as a rule, which takes 7 seconds.
const PASSES_FOR: u32 = 12;

/// The same for a stream that is said to be elsewhere: what knows the nodes of a cluster has looked there by then.
const MOVED_FOR: u32 = 3;

/// How long the first command waits after reading was refused, in milliseconds: when Redis takes it, JS is to know.
const TRIAL_BLOCK: u64 = 1;

/// How much later than a command has to end Redis is taken to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who reads a stream, and how far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// None as long as nobody listens.
    options: Option<Options>,
    /// The last entry that was read, or the last that there was before.
    position: Option<EntryId>,
    state: State,
    /// What the stream has is to be looked at before reading goes on: entries may be gone, or all of it.
    unsure: bool,
    /// The last page was full, so that there are more, and they may be about to be trimmed.
    behind: bool,
    /// How far the way to the last entry has led.
    scanned: Option<EntryId>,
    /// How often it failed since XREAD last succeeded. That the looks succeed says nothing about XREAD.
    failures: u32,
    /// How often it failed in a row though the link stands.
    troubles: u32,
    /// JS has been told that it cannot be read.
    told: bool,
    /// XREAD has succeeded, and JS has not been told since that it cannot be read. No member is ready before.
    readable: bool,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    count: u64,
    /// In milliseconds; 0 is for ever.
    block: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Resting(Instant),
    Looking {
        last: Option<Option<EntryId>>,
        oldest: Option<Option<EntryId>>,
    },
    Reading,
}

impl Reader {
    /// Somebody listens. Who was first decides how it is read.
    pub(super) fn open(&mut self, count: u64, block: u64) {
        self.options.get_or_insert(Options { count: count.max(1), block });
    }

    /// Nobody listens any more; whether somebody did.
    pub(super) fn close(&mut self) -> bool {
        std::mem::take(self).options.is_some()
    }

    /// What was under way has no end any more.
    pub(super) fn interrupt(&mut self, known: bool) {
        self.state = State::Idle;
        self.unsure = true;
        if !known {
            self.position = None;
            self.readable = false;
        }
    }

    /// Whether its members hear what is added.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// The last entry that was read; none as long as it is not known where to begin.
    pub(super) fn position(&self) -> Option<EntryId> {
        self.position
    }

    /// When it is to be driven.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) => Some(until),
            _ => None,
        }
    }

    fn rest(&mut self, until: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting(until);
    }
}

impl Core {
    /// Sends what a reader is to do next.
    pub(super) fn drive_reader(&mut self, number: StreamId, fx: &mut Effects) {
        let streams = &mut self.streams;
        let Some(stream) = streams.list.get_mut(&number) else {
            return;
        };
        let reader = &mut stream.reader;
        let Some(Options { count, block }) = reader.options else {
            return;
        };
        match reader.state {
            State::Idle => {}
            State::Resting(until) if fx.now >= until => {}
            _ => return,
        }
        let port = Port::Reader(reading_port(number));
        let name = stream.name.clone();
        let position = match reader.position {
            Some(position) if !reader.unsure => position,
            _ => {
                reader.state = State::Looking { last: None, oldest: None };
                streams.look(port, Purpose::Last(number), false, &name, fx);
                streams.look(port, Purpose::Oldest(number), true, &name, fx);
                return;
            }
        };
        reader.state = State::Reading;
        let (is_readable, was_refused) = (reader.readable, reader.told);
        if std::mem::take(&mut reader.behind) {
            streams.look(port, Purpose::Oldest(number), true, &name, fx);
        }
        let block = match (is_readable, was_refused) {
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
        let key = args.len();
        args.extend([name.as_bytes(), position.as_bytes()]);
        let patience = block.map(|block| Duration::from_millis(block) + PATIENCE);
        streams.send_patiently(port, Purpose::Read(number), key, Arc::new(Args::of(&args)), patience, fx);
    }

    /// The oldest or the last entry is known.
    pub(super) fn looked(
        &mut self,
        number: StreamId,
        is_oldest: bool,
        outcome: Outcome<'_>,
        fx: &mut Effects,
    ) {
        if !is_oldest && is_forbidden(&outcome) {
            let from = self.streams.list.get(&number).and_then(|stream| stream.reader.position);
            return self.scan(number, from.map_or(EntryId::ZERO, EntryId::next), fx);
        }
        let Some(entry) = entry_looked_at(&outcome) else {
            return self.reading_failed(number, outcome, fx);
        };
        let Some(reader) = self.streams.list.get_mut(&number).map(|stream| &mut stream.reader) else {
            return;
        };
        match &mut reader.state {
            State::Looking { last, oldest } => {
                *(if is_oldest { &mut *oldest } else { &mut *last }) = Some(entry);
                if let (Some(last), Some(oldest)) = (*last, *oldest) {
                    self.begin_reading(number, last, oldest, fx);
                }
            }
            // While it goes on, in front of a page.
            State::Reading => self.check_gap(number, entry, fx),
            _ => {}
        }
    }

    /// Looks for the last entry from here on: XREVRANGE is not allowed, as the reference does not need it.
    fn scan(&mut self, number: StreamId, from: EntryId, fx: &mut Effects) {
        let Some(name) = self.streams.list.get(&number).map(|stream| stream.name.clone()) else {
            return;
        };
        let (from, count) = (from.to_string(), SCAN_PAGE.to_string());
        let args = Args::of(&[b"XRANGE", name.as_bytes(), from.as_bytes(), b"+", b"COUNT", count.as_bytes()]);
        let port = Port::Reader(reading_port(number));
        self.streams.send(port, Purpose::Scan(number), 1, Arc::new(args), fx);
    }

    /// A page on the way there.
    pub(super) fn scanned(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let Outcome::Replied(Reply::Array(items)) = &outcome else {
            return self.reading_failed(number, outcome, fx);
        };
        let count = items.len();
        let last = items.clone().filter_map(|item| id_and_fields(item).map(|(id, _)| id)).last();
        let Some(reader) = self.streams.list.get_mut(&number).map(|stream| &mut stream.reader) else {
            return;
        };
        reader.scanned = last.or(reader.scanned);
        let reached = reader.scanned.max(reader.position);
        if count == SCAN_PAGE
            && let Some(reached) = reached
        {
            return self.scan(number, reached.next(), fx);
        }
        reader.scanned = None;
        if let State::Looking { last, oldest } = &mut reader.state {
            *last = Some(reached);
            if let Some(oldest) = *oldest {
                self.begin_reading(number, reached, oldest, fx);
            }
        }
    }

    fn begin_reading(
        &mut self,
        number: StreamId,
        last: Option<EntryId>,
        oldest: Option<EntryId>,
        fx: &mut Effects,
    ) {
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        let reader = &mut stream.reader;
        reader.state = State::Idle;
        reader.unsure = false;
        match reader.position {
            None => {
                let position = last.unwrap_or(EntryId::ZERO);
                reader.position = Some(position);
                if let Some(history) = &mut stream.history {
                    history.begin(Some(position));
                }
            }
            // Redis has come back from an older state, or without the stream. What it has was read before; what comes has
            // greater ids.
            Some(position) if last.is_none_or(|last| last < position) => {
                let last = last.unwrap_or(EntryId::ZERO);
                reader.position = Some(last);
                if let Some(history) = &mut stream.history {
                    history.go_back(last);
                }
            }
            Some(_) => self.check_gap(number, oldest, fx),
        }
        self.drive_reader(number, fx);
    }

    /// Entries may have been trimmed that were not read.
    fn check_gap(&mut self, number: StreamId, oldest: Option<EntryId>, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        let (Some(position), Some(oldest)) = (stream.reader.position, oldest) else {
            return;
        };
        if position == EntryId::ZERO || oldest <= position {
            return;
        }
        // What is read next is behind it.
        let before = oldest.previous();
        stream.reader.position = Some(position.max(before));
        if let Some(history) = &mut stream.history {
            history.begin(Some(before));
        }
        self.report_gap(number, position, oldest, fx);
    }

    fn report_gap(&mut self, number: StreamId, after: EntryId, before: EntryId, fx: &mut Effects) {
        let name = self.streams.list.get(&number).map(|stream| stream.name.clone()).unwrap_or_default();
        let (after, before) = (after.to_string(), before.to_string());
        self.tell_readers(number, &Event::Trimmed { stream: &name, after: &after, before: &before }, fx);
    }

    /// The stream can be read: the members that have waited for that alone are ready.
    fn announce_readers(&mut self, number: StreamId, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get(&number) else {
            return;
        };
        let members = stream.readers();
        self.announce(&members, fx);
    }

    /// A page has come.
    pub(super) fn read(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let entries = match outcome {
            Outcome::Replied(Reply::Nil) => None,
            Outcome::Replied(Reply::Array(mut streams)) => match streams.next() {
                None => None,
                Some(Reply::Array(mut stream)) => {
                    stream.next_bulk();
                    match stream.next() {
                        Some(Reply::Array(entries)) => Some(entries),
                        _ => return self.reading_failed(number, NO_SENSE, fx),
                    }
                }
                Some(_) => return self.reading_failed(number, NO_SENSE, fx),
            },
            outcome => return self.reading_failed(number, outcome, fx),
        };
        let mut count = 0;
        for item in entries.into_iter().flatten() {
            count += 1;
            self.entry(number, item, fx);
        }
        if let Some(stream) = self.streams.list.get_mut(&number)
            && let Some(position) = stream.reader.position
        {
            stream.appends.has_read(position);
        }
        let mut begins = false;
        if let Some(reader) = self.streams.list.get_mut(&number).map(|stream| &mut stream.reader)
            && let Some(options) = reader.options
        {
            reader.behind = count >= options.count;
            reader.state = State::Idle;
            reader.failures = 0;
            reader.troubles = 0;
            reader.told = false;
            begins = !std::mem::replace(&mut reader.readable, true);
        }
        if begins {
            self.announce_readers(number, fx);
        }
        self.drive_reader(number, fx);
    }

    fn reading_failed(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        let reader = &mut stream.reader;
        reader.unsure = true;
        let (refused, reading) = match &outcome {
            Outcome::Replied(Reply::Error(error)) => (!passes(error), true),
            Outcome::Replied(_) => (true, true),
            _ => (false, false),
        };
        // Both commands of a look have failed, but that is one failure.
        if let State::Resting(_) = reader.state {
            return;
        }
        // A connection that was lost is made anew at once; the transport waits if it cannot be.
        let delay = if reading || reader.failures > 0 {
            rest(reader.failures + 1, if refused { MAX_REST } else { Duration::from_secs(1) })
        } else {
            Duration::ZERO
        };
        reader.rest(fx.now + delay);
        let bound = match &outcome {
            Outcome::Replied(Reply::Error(error)) if error.starts_with(b"MOVED") => MOVED_FOR,
            _ => PASSES_FOR,
        };
        // Otherwise there is an outage, of which JS knows.
        reader.troubles = if self.flow.is_connected() { reader.troubles.saturating_add(1) } else { 0 };
        let persists = reader.troubles >= bound;
        if (refused || persists) && !std::mem::replace(&mut reader.told, true) {
            reader.readable = false;
            let name = stream.name.clone();
            let error = reason_of(&outcome);
            self.tell_readers(number, &Event::Unreadable { stream: &name, error: &error }, fx);
        }
        self.streams.purposes.retain(|_, purpose| !purpose.reads(number));
    }

    /// Takes an entry.
    fn entry(&mut self, number: StreamId, item: Reply<'_>, fx: &mut Effects) {
        self.stats.received += 1;
        let mut id = EntryId::ZERO;
        let fields = id_and_fields(item.clone()).map(|(_, fields)| fields);
        let entry = Entry::of(item, &mut id);
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        stream.reader.position = stream.reader.position.max(Some(id));
        let members = match &entry {
            Ok(Some(entry)) => stream.listeners.get(entry.nsp).cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        match entry {
            Ok(Some(entry)) if !members.is_empty() => {
                if let Err(error) = self.deliver_entry(number, &entry, fields.as_ref(), &members, fx) {
                    self.malformed_entry(number, id, error, fx);
                }
            }
            Ok(_) => self.stats.ignored += 1,
            Err(error) => self.malformed_entry(number, id, error, fx),
        }
    }

    /// Members that wait for the id of this entry, which is one of theirs, are told.
    fn pass_own(&mut self, number: StreamId, id: EntryId, fields: Option<&Items<'_>>, fx: &mut Effects) {
        if let (Some(stream), Some(fields)) = (self.streams.list.get_mut(&number), fields)
            && stream.appends.is_awaited()
        {
            stream.appends.pass(id, fields);
            stream.appends.answer(fx);
        }
    }

    fn malformed_entry(&mut self, number: StreamId, id: EntryId, error: Malformed, fx: &mut Effects) {
        self.stats.malformed += 1;
        if self.config.verbose {
            let name = self.streams.list.get(&number).map(|stream| stream.name.clone()).unwrap_or_default();
            self.note(fx, 0, &format!("ignoring malformed entry {id} of {name}: {error}"));
        }
    }

    fn deliver_entry(
        &mut self,
        number: StreamId,
        entry: &Entry<'_>,
        fields: Option<&Items<'_>>,
        members: &[MemberId],
        fx: &mut Effects,
    ) -> Result<(), Malformed> {
        let keeps = entry.is_broadcast()
            && self.streams.list.get(&number).is_some_and(|stream| stream.history.is_some());
        let is_own = |core: &Core, id: &MemberId| {
            core.members.get(id).is_some_and(|member| member.spec.uid == entry.uid)
        };
        let foreign: Vec<MemberId> = members.iter().copied().filter(|id| !is_own(self, id)).collect();
        if foreign.len() < members.len() {
            self.stats.own += 1;
            self.pass_own(number, entry.id, fields, fx);
        }
        if foreign.is_empty() && !keeps {
            return Ok(());
        }
        let mut envelope = std::mem::take(&mut self.envelope);
        envelope.clear();
        let written = entry.write_envelope(&mut envelope);
        if written.is_ok() {
            let offset = if keeps { self.keep(number, entry, &envelope) } else { None };
            for id in foreign {
                self.deliver_message(id, &entry.id, &envelope, offset.as_deref(), fx);
            }
        }
        envelope.shrink_to(MAX_SCRATCH);
        self.envelope = envelope;
        written
    }

    /// Keeps an event that a session may miss; what its clients are to know it by, if it is one.
    fn keep(&mut self, number: StreamId, entry: &Entry<'_>, envelope: &[u8]) -> Option<String> {
        let audience = event_of(envelope)?;
        let history = self.streams.list.get_mut(&number)?.history.as_mut()?;
        history.push(Kept { id: entry.id, nsp: entry.nsp.into(), audience, data: entry.data.into() });
        Some(entry.id.to_string())
    }
}

/// The memory for a single envelope that is kept for the next one.
const MAX_SCRATCH: usize = 1 << 16;

const NO_SENSE: Outcome<'static> = Outcome::Replied(Reply::Nil);

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
