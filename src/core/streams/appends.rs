//! What is added to a stream: kept until Redis has answered, so that none is lost and none is there twice.
//!
//! A connection that is lost leaves it open whether the last entries have arrived. Those that have are found in the
//! stream, behind the last one that was answered, and the others are sent again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::purpose::{Purpose, StreamId, added_record, passes, reason_of, rest};
use super::reader::entry_looked_at;
use crate::core::effects::{Effects, MemberId};
use crate::core::event::Event;
use crate::core::{Core, Emit};
use crate::packet::Malformed;
use crate::transport::resp::{Items, Reply};
use crate::transport::{Args, Outcome, Port};
use crate::wire::cluster;
use crate::wire::streams::{EntryId, id_and_fields};

/// How long a packet waits for the id of its entry before it is delivered here without.
const ID_BOUND: Duration = Duration::from_secs(1);

/// How many entries are looked out for that nobody waits for any more.
const MAX_LATE: usize = 10_000;

/// How many bytes may be with Redis and not answered.
const MAX_SENT: usize = 4 << 20;

/// How many entries may be.
const MAX_SENT_ENTRIES: usize = 10_000;

/// How many of our entries may be in the stream and not read by us yet, or a quarter of what the stream keeps: more of them
/// at a time could push out what the others have not read.
const MIN_UNREAD: u64 = 50;

/// How long they are waited for if the reader does not get on.
const UNREAD_BOUND: Duration = Duration::from_secs(1);

/// How many entries are looked at in one go for those that have arrived.
const SIFT_PAGE: usize = 200;

/// How long adding rests at most.
const MAX_REST: Duration = Duration::from_secs(1);

/// Where the fields begin in `XADD stream MAXLEN ~ n * field value…`.
const FIELDS: usize = 6;

/// What is added to one stream.
#[derive(Debug, Default)]
pub(super) struct Appends {
    /// Not sent yet.
    waiting: VecDeque<Append>,
    /// Sent, and not answered.
    sent: VecDeque<Append>,
    /// Sent, and nobody knows what became of it.
    unsure: VecDeque<Append>,
    /// How much memory all of these take.
    taken: usize,
    sent_bytes: usize,
    sent_taken: usize,
    /// Members that wait for ids, in the order in which they will get them.
    awaited: VecDeque<Awaited>,
    /// How many of these the reader has come by, though their members are not told yet: one before them is not settled.
    passed: usize,
    /// Those that were not waited for any longer, and may come by all the same: what looks alike is not to be taken for
    /// what came later.
    late: VecDeque<Awaited>,
    /// The ids of those among them that Redis has named.
    late_ids: BTreeSet<EntryId>,
    /// All that was added before is not behind this entry.
    base: Option<EntryId>,
    /// The ids of ours that are behind what this node has read, if it reads the stream.
    unread: VecDeque<EntryId>,
    /// Since when the reader has not got on, if it is waited for.
    held: Option<Instant>,
    state: State,
    failures: u32,
    /// How many there were, ever.
    added: u64,
}

#[derive(Debug)]
struct Append {
    /// The number of it, of all that were ever added.
    seq: u64,
    args: Arc<Args>,
}

/// A member waits to be told the id of what it has added. It is told in the order of the stream, between what others
/// have added before and behind: when the reader comes by. So the offsets that a client sees only grow.
#[derive(Debug)]
struct Awaited {
    /// That of the [`Append`].
    seq: u64,
    since: Instant,
    member: MemberId,
    ticket: u32,
    args: Arc<Args>,
    /// The id, once Redis has answered.
    named: Option<EntryId>,
    /// The id, or none if it has been refused; not known as long as the reader has not come by.
    fate: Option<Option<EntryId>>,
}

#[derive(Debug, Default)]
enum State {
    /// The stream is to be looked at before more is sent.
    #[default]
    Unknown,
    Looking,
    Ready,
    Resting(Instant),
}

impl Appends {
    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.unsure.is_empty()
    }

    /// How many there were, ever.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// Of how many of these, the oldest, it is certain what became of them.
    pub(super) fn settled(&self) -> u64 {
        self.added - (self.waiting.len() + self.sent.len() + self.unsure.len()) as u64
    }

    /// How many entries are not sent, or have to be sent again perhaps.
    pub(super) fn waiting(&self) -> u64 {
        (self.waiting.len() + self.unsure.len()) as u64
    }

    /// When it is to be driven, or somebody is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let resting = match self.state {
            State::Resting(until) => Some(until),
            _ => None,
        };
        let awaited = self.awaited.front().map(|awaited| awaited.since + ID_BOUND);
        let held = self.held.map(|since| since + UNREAD_BOUND);
        [resting, awaited, held].into_iter().flatten().min()
    }

    /// Tells JS of what is late.
    pub(super) fn tick(&mut self, fx: &mut Effects) {
        while self.awaited.front().is_some_and(|awaited| fx.now >= awaited.since + ID_BOUND) {
            self.give_up_first(fx);
        }
    }

    /// Nobody waits for ids any more.
    pub(super) fn answer_all(&mut self, fx: &mut Effects) {
        while !self.awaited.is_empty() {
            self.give_up_first(fx);
        }
    }

    /// This node has read up to `position`.
    pub(super) fn has_read(&mut self, position: EntryId) {
        while self.unread.front().is_some_and(|&id| id <= position) {
            self.unread.pop_front();
            self.held = None;
        }
    }

    /// How many more entries may be sent now.
    fn room(&mut self, max_len: u64, reads: bool, now: Instant) -> usize {
        let bound = usize::try_from((max_len / 4).max(MIN_UNREAD)).unwrap_or(usize::MAX);
        let unread = if reads { self.unread.len() } else { 0 };
        let room = bound.saturating_sub(unread + self.sent.len()).min(MAX_SENT_ENTRIES);
        if room > 0 || !self.sent.is_empty() || self.waiting.is_empty() {
            return room;
        }
        // The reader does not get on, and nothing else is waited for.
        if now < *self.held.get_or_insert(now) + UNREAD_BOUND {
            return 0;
        }
        self.held = None;
        self.unread.clear();
        bound.min(MAX_SENT_ENTRIES)
    }

    /// What was under way has no end any more.
    pub(super) fn interrupt(&mut self) {
        self.unsure.append(&mut self.sent);
        self.sent_bytes = 0;
        self.sent_taken = 0;
        self.state = State::Unknown;
    }

    /// Drops everything; how many entries were never sent, and how many may have arrived.
    pub(super) fn clear(&mut self) -> (u64, u64) {
        let lost = (self.sent.len() + self.unsure.len()) as u64;
        let dropped = self.waiting.len() as u64;
        *self = Appends { base: self.base, state: State::Unknown, added: self.added, ..Appends::default() };
        (dropped, lost)
    }

    fn take(&mut self, append: &Append) {
        self.taken = self.taken.saturating_sub(append.args.held());
    }

    /// It will never be there.
    fn forgo(&mut self, append: &Append) {
        match find(&mut self.awaited, append) {
            Some(awaited) => {
                let before = awaited.fate.replace(None);
                self.passed = self.passed.saturating_sub(usize::from(before.flatten().is_some()));
            }
            None => {
                if let Ok(place) = self.late.binary_search_by_key(&append.seq, |late| late.seq) {
                    self.remove_late(place);
                }
            }
        }
    }

    fn remove_late(&mut self, place: usize) {
        if let Some(Awaited { named: Some(id), .. }) = self.late.remove(place) {
            self.late_ids.remove(&id);
        }
    }

    /// Redis has given it an id.
    fn name(&mut self, append: &Append, id: EntryId) {
        if let Some(awaited) = find(&mut self.awaited, append) {
            awaited.named = Some(id);
        } else if let Some(late) = find(&mut self.late, append) {
            if let Some(before) = late.named.replace(id) {
                self.late_ids.remove(&before);
            }
            self.late_ids.insert(id);
        }
    }

    /// The reader comes by an entry with these fields, which one of the link's members has added.
    pub(super) fn pass(&mut self, id: EntryId, fields: &Items<'_>) {
        // What has this id or an earlier one and was not passed is not there any more.
        let was_late = self.late_ids.contains(&id);
        while self.late.front().is_some_and(|late| late.named.is_some_and(|named| named <= id)) {
            self.remove_late(0);
        }
        for awaited in &mut self.awaited {
            match awaited.named {
                Some(named) if named < id => _ = awaited.fate.get_or_insert(None),
                _ => break,
            }
        }
        if let Some(awaited) = self.awaited.iter_mut().find(|awaited| awaited.named == Some(id)) {
            if awaited.fate.replace(Some(id)).flatten().is_none() {
                self.passed += 1;
            }
            return;
        }
        if was_late {
            return;
        }
        // The reply to it is still on its way.
        let is_it = |awaited: &Awaited| {
            awaited.named.is_none() && awaited.fate.is_none() && is_entry(&awaited.args, fields.clone())
        };
        let all_named = self.late.len() == self.late_ids.len();
        let place = if all_named { None } else { self.late.iter().position(is_it) };
        if let Some(place) = place {
            self.remove_late(place);
        } else if let Some(awaited) = self.awaited.iter_mut().find(|awaited| is_it(awaited)) {
            awaited.fate = Some(Some(id));
            self.passed += 1;
        }
    }

    /// Tells JS what can be told.
    pub(super) fn answer(&mut self, fx: &mut Effects) {
        while let Some(Awaited { member, ticket, fate: Some(id), .. }) = self.awaited.front() {
            added_record(*member, *ticket, *id, fx);
            self.passed = self.passed.saturating_sub(usize::from(id.is_some()));
            self.awaited.pop_front();
        }
    }

    /// Whether JS knows of all of ours that the reader has come by.
    pub(super) fn is_told(&self) -> bool {
        self.passed == 0
    }

    /// Whether the reader has to look for entries of ours.
    pub(super) fn is_awaited(&self) -> bool {
        !self.awaited.is_empty() || !self.late.is_empty()
    }

    /// Tells JS that there is no id for the first one, which may come all the same.
    fn give_up_first(&mut self, fx: &mut Effects) {
        if let Some(awaited) = self.awaited.pop_front() {
            let was_passed = usize::from(awaited.fate.flatten().is_some());
            self.passed = self.passed.saturating_sub(was_passed);
            added_record(awaited.member, awaited.ticket, awaited.fate.flatten(), fx);
            if awaited.fate.is_none() {
                self.late_ids.extend(awaited.named);
                self.late.push_back(awaited);
            }
            if self.late.len() > MAX_LATE {
                self.remove_late(0);
            }
        }
    }

    fn rest(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting(now + rest(self.failures, MAX_REST));
    }

    /// What nobody knows of is the rest's to be looked for as soon as nothing more is answered.
    fn settle(&mut self, now: Instant) {
        if self.sent.is_empty() && !self.unsure.is_empty() && matches!(self.state, State::Ready) {
            self.rest(now);
        }
    }
}

impl Core {
    /// Adds a message that JS has encoded to the stream of a member.
    pub fn append(&mut self, id: MemberId, kind: u32, data: &[u8], fx: &mut Effects) {
        self.add(
            id,
            u64::from(kind),
            |out| {
                out.extend_from_slice(data);
                Ok(())
            },
            fx,
        );
    }

    /// Adds an event to the stream of a member. One with attachments is for JS to encode: @msgpack writes of values what their
    /// text does not say.
    pub(in crate::core) fn broadcast_entry(&mut self, id: MemberId, emit: &Emit<'_>, fx: &mut Effects) {
        let &Emit { payload, room, opts, .. } = emit;
        let Some(nsp) = self.streams.authors.get(&id).map(|author| author.nsp.clone()) else {
            self.stats.dropped += 1;
            return;
        };
        self.add(
            id,
            cluster::BROADCAST,
            |out| cluster::encode_broadcast_data(&nsp, payload, &[], room, opts, out),
            fx,
        );
    }

    fn add(
        &mut self,
        id: MemberId,
        kind: u64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Malformed>,
        fx: &mut Effects,
    ) {
        let connected = self.flow.is_connected();
        let Some(author) = self.streams.authors.get_mut(&id) else {
            self.stats.dropped += 1;
            return;
        };
        author.tickets = author.tickets.wrapping_add(1);
        let (ticket, recovers) = (author.tickets, author.recovers);
        let mut data = std::mem::take(&mut self.envelope);
        data.clear();
        let written = write(&mut data);
        let sent = match (&written, self.streams.list.get_mut(&author.written), self.shut) {
            (Ok(()), Some(stream), false) => {
                let (max_len, kind) = (author.max_len.to_string(), kind.to_string());
                let mut parts: Vec<&[u8]> = vec![
                    b"XADD",
                    stream.name.as_bytes(),
                    b"MAXLEN",
                    b"~",
                    max_len.as_bytes(),
                    b"*",
                    b"uid",
                    author.uid.as_bytes(),
                    b"nsp",
                    author.nsp.as_bytes(),
                    b"type",
                    kind.as_bytes(),
                ];
                if !data.is_empty() {
                    parts.extend([&b"data"[..], &data]);
                }
                let appends = &mut stream.appends;
                appends.added += 1;
                let seq = appends.added;
                let append = Append { seq, args: Arc::new(Args::of(&parts)) };
                appends.taken += append.args.held();
                if recovers && connected {
                    let args = Arc::clone(&append.args);
                    let awaited =
                        Awaited { seq, since: fx.now, member: id, ticket, args, named: None, fate: None };
                    appends.awaited.push_back(awaited);
                }
                appends.waiting.push_back(append);
                true
            }
            (Ok(()), ..) => {
                self.stats.dropped += 1;
                false
            }
            (Err(_), ..) => {
                self.stats.unencodable += 1;
                false
            }
        };
        let number = author.written;
        self.envelope = data;
        if recovers && !(sent && connected) {
            added_record(id, ticket, None, fx);
        }
        if let Err(error) = written {
            self.note(fx, id, &format!("a broadcast was not published: {error}"));
            self.event(fx, 0, &Event::Refused { what: "encode", error: &error.to_string(), stream: None });
        }
        self.bound_appends(number, fx);
    }

    /// At the bound the oldest give way.
    fn bound_appends(&mut self, number: StreamId, fx: &mut Effects) {
        let bound = self.config.max_backlog;
        let Some(appends) = self.streams.list.get_mut(&number).map(|stream| &mut stream.appends) else {
            return;
        };
        while appends.taken > bound.saturating_add(appends.sent_taken)
            && let Some(append) = appends.waiting.pop_front()
        {
            appends.take(&append);
            self.stats.dropped += 1;
            appends.forgo(&append);
        }
        self.answer_awaited(number, fx);
    }

    /// Tells JS what can be told.
    fn answer_awaited(&mut self, number: StreamId, fx: &mut Effects) {
        if let Some(stream) = self.streams.list.get_mut(&number) {
            stream.appends.answer(fx);
        }
    }

    /// Sends what may go out, `room` bytes at most; returns how many are left of that.
    pub(super) fn drive_appends(&mut self, number: StreamId, room: usize, fx: &mut Effects) -> usize {
        let streams = &mut self.streams;
        let Some(stream) = streams.list.get_mut(&number) else {
            return room;
        };
        let appends = &mut stream.appends;
        if let State::Resting(until) = appends.state
            && fx.now >= until
        {
            appends.state = State::Unknown;
        }
        if appends.is_empty() {
            return room;
        }
        if let (State::Unknown, true) = (&appends.state, appends.sent.is_empty()) {
            match appends.base {
                None => {
                    appends.state = State::Looking;
                    let name = stream.name.clone();
                    streams.look(Port::Shared, Purpose::Baseline(number), false, &name, fx);
                    return room;
                }
                Some(base) if !appends.unsure.is_empty() => {
                    appends.state = State::Looking;
                    let (from, count) = (base.next().to_string(), SIFT_PAGE.to_string());
                    let args = Args::of(&[
                        b"XRANGE",
                        stream.name.as_bytes(),
                        from.as_bytes(),
                        b"+",
                        b"COUNT",
                        count.as_bytes(),
                    ]);
                    streams.send(Port::Shared, Purpose::Sift(number), 1, Arc::new(args), fx);
                    return room;
                }
                Some(_) => appends.state = State::Ready,
            }
        }
        let mut room = room;
        let reads = stream.reader.position().is_some();
        let mut entries = appends.room(stream.max_len, reads, fx.now);
        let mut args = Vec::new();
        while matches!(appends.state, State::Ready)
            && appends.unsure.is_empty()
            && room > 0
            && appends.sent_bytes < MAX_SENT
            && entries > 0
            && let Some(append) = appends.waiting.pop_front()
        {
            room = room.saturating_sub(append.args.len());
            entries -= 1;
            appends.sent_bytes += append.args.len();
            appends.sent_taken += append.args.held();
            args.push(Arc::clone(&append.args));
            appends.sent.push_back(append);
        }
        self.stats.published += args.len() as u64;
        for args in args {
            streams.send(Port::Shared, Purpose::Add(number), 1, args, fx);
        }
        room
    }

    /// The reply to the oldest of what was sent.
    pub(super) fn added(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        let position = stream.reader.position();
        let appends = &mut stream.appends;
        let Some(append) = appends.sent.pop_front() else {
            return;
        };
        appends.sent_bytes = appends.sent_bytes.saturating_sub(append.args.len());
        appends.sent_taken = appends.sent_taken.saturating_sub(append.args.held());
        let id = match &outcome {
            Outcome::Replied(Reply::Bulk(id)) => EntryId::parse(id),
            _ => None,
        };
        match (id, &outcome) {
            (Some(id), _) => {
                if appends.unsure.is_empty() {
                    appends.base = appends.base.max(Some(id));
                }
                appends.failures = 0;
                appends.take(&append);
                appends.name(&append, id);
                if position.is_some_and(|position| position < id) {
                    appends.unread.push_back(id);
                }
                self.stats.acknowledged += 1;
            }
            (None, Outcome::Replied(Reply::Error(error))) if !passes(error) => {
                appends.take(&append);
                appends.forgo(&append);
                self.stats.refused += 1;
                let error = reason_of(&outcome);
                let name = stream.name.clone();
                appends.settle(fx.now);
                self.answer_awaited(number, fx);
                let refused = Event::Refused { what: "publish", error: &error, stream: Some(&name) };
                return self.event(fx, 0, &refused);
            }
            _ => {
                appends.unsure.push_back(append);
                self.stats.published = self.stats.published.saturating_sub(1);
            }
        }
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        stream.appends.settle(fx.now);
        if stream.listeners.is_empty() && stream.appends.is_empty() {
            self.sweep_streams(fx);
        }
    }

    /// What was in the stream before anything is added.
    pub(super) fn baseline(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let Some(appends) = self.streams.list.get_mut(&number).map(|stream| &mut stream.appends) else {
            return;
        };
        let last = entry_looked_at(&outcome);
        match (last, &outcome) {
            (Some(last), _) => appends.base = Some(last.unwrap_or(EntryId::ZERO)),
            // Not allowed, say: then all that the stream has is looked at, if it comes to that.
            (None, Outcome::Replied(Reply::Error(error))) if !passes(error) => {
                appends.base = Some(EntryId::ZERO);
            }
            _ => return appends.rest(fx.now),
        }
        appends.state = State::Unknown;
    }

    /// Entries behind the last one that was answered: those of ours among them have arrived.
    pub(super) fn sifted(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let Some(appends) = self.streams.list.get_mut(&number).map(|stream| &mut stream.appends) else {
            return;
        };
        let items = match &outcome {
            Outcome::Replied(Reply::Array(items)) => items.clone(),
            Outcome::Replied(Reply::Error(error)) if !passes(error) => {
                // Nobody can tell: sent again, some might be there twice.
                let lost = std::mem::take(&mut appends.unsure);
                for append in &lost {
                    appends.take(append);
                    appends.forgo(append);
                }
                self.stats.published += lost.len() as u64;
                self.stats.lost_in_flight += lost.len() as u64;
                appends.state = State::Unknown;
                return self.answer_awaited(number, fx);
            }
            _ => return appends.rest(fx.now),
        };
        let mut count = 0;
        for item in items {
            count += 1;
            let Some((id, fields)) = id_and_fields(item) else {
                continue;
            };
            appends.base = appends.base.max(Some(id));
            if appends.unsure.front().is_some_and(|append| is_entry(&append.args, fields))
                && let Some(append) = appends.unsure.pop_front()
            {
                appends.take(&append);
                appends.name(&append, id);
                self.stats.published += 1;
                self.stats.acknowledged += 1;
            }
        }
        if count < SIFT_PAGE {
            while let Some(append) = appends.unsure.pop_back() {
                appends.waiting.push_front(append);
            }
        }
        appends.state = State::Unknown;
    }
}

/// Who waits for it.
fn find<'a>(awaited: &'a mut VecDeque<Awaited>, append: &Append) -> Option<&'a mut Awaited> {
    let place = awaited.binary_search_by_key(&append.seq, |awaited| awaited.seq).ok()?;
    awaited.get_mut(place)
}

/// Whether an entry is what this command adds.
fn is_entry(args: &Args, mut fields: Items<'_>) -> bool {
    let mut wanted = args.iter().skip(FIELDS);
    fields.len() == wanted.len() && wanted.all(|part| fields.next_bulk() == Some(part))
}
