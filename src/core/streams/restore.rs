//! Sessions that are restored: taken from Redis, with all that they have missed up to where this node reads.
//!
//! What is missed comes from memory where that reaches back far enough; the rest is read in pages. The answer takes its
//! place among the entries that JS gets: all before it are in it, and all behind it come by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::purpose::{Purpose, StreamId, reason_of};
use super::reader::{entry_looked_at, is_forbidden};
use crate::core::Core;
use crate::core::effects::{Effects, Kind, MemberId};
use crate::transport::resp::Reply;
use crate::transport::{Args, Outcome, Port};
use crate::wire::streams::{Audience, Entry, EntryId, Progress, SessionRooms};

/// How long a client that comes back is kept waiting before it has to begin anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a look at a stream serves those who come to be restored.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many bytes of missed entries are gathered at a time, for all sessions. Whose share goes beyond begins anew.
const MAX_BYTES: usize = 64 << 20;

/// What the reference says.
const NOT_FOUND: &str = "session or offset not found";

/// The sessions that are being restored.
#[derive(Debug, Default)]
pub(super) struct Restores {
    list: BTreeMap<u32, Restore>,
    next: u32,
    /// The bytes of the entries that all of them have gathered.
    bytes: usize,
    /// Redis has no GETDEL, or it is not allowed.
    no_getdel: bool,
    looks: BTreeMap<StreamId, Look>,
    /// What was last seen of each stream, and when.
    seen: BTreeMap<StreamId, (Instant, Bounds)>,
}

/// A session that is being restored.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) member: MemberId,
    token: u32,
    key: Vec<u8>,
    /// What the client has got, or what its session says instead.
    offset: EntryId,
    /// Where it resumes if the stream holds `offset` no more: looked at once.
    resume: Option<EntryId>,
    nsp: String,
    since: Instant,
    session: Option<Session>,
    parts: Vec<Part>,
}

/// A session, taken.
#[derive(Debug)]
struct Session {
    /// As it was kept.
    text: Vec<u8>,
    rooms: SessionRooms,
}

/// What is known of it in one stream.
#[derive(Debug)]
struct Part {
    stream: StreamId,
    bounds: Option<Bounds>,
    /// Whether the offset is one of the stream.
    found: bool,
    /// All entries up to here are gathered; the first time, the offset itself is still to be seen.
    reached: EntryId,
    verified: bool,
    /// It waits for pages.
    paging: bool,
    missed: Vec<(EntryId, Box<[u8]>)>,
}

/// What a stream had when it was looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    oldest: Option<EntryId>,
    newest: Option<EntryId>,
}

/// A look at a stream for all that came to be restored before it.
#[derive(Debug, Default)]
struct Look {
    /// Those that it is for. Who comes later is for the next one.
    under_way: Vec<u32>,
    waiting: Vec<u32>,
    oldest: Option<Option<EntryId>>,
    newest: Option<Option<EntryId>>,
}

impl Restores {
    /// When the first of them is late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.list.values().map(|restore| restore.since + PATIENCE).min()
    }

    /// Where a restore wants the entries of a stream from, if it waits for pages.
    pub(super) fn wants_from(&self, id: u32, number: StreamId) -> Option<EntryId> {
        let part = self.list.get(&id)?.parts.iter().find(|part| part.stream == number)?;
        part.paging.then(|| part.from())
    }

    /// Whether a restore that waits for pages needs none any more.
    pub(super) fn is_in_memory(&mut self, id: u32, number: StreamId, floor: Option<EntryId>) -> bool {
        let parts = self.list.get_mut(&id).map(|restore| &mut restore.parts);
        let part = parts.and_then(|parts| parts.iter_mut().find(|part| part.stream == number));
        match part {
            Some(part) if part.paging && floor.is_some_and(|floor| floor < part.reached) => {
                part.paging = false;
                true
            }
            _ => false,
        }
    }

    /// Shows an entry of a page to those who wait for it.
    pub(super) fn see(
        &mut self,
        number: StreamId,
        served: &[u32],
        id: EntryId,
        event: Option<&(Entry<'_>, Audience)>,
    ) {
        for restore in served {
            let Some(restore) = self.list.get_mut(restore) else {
                continue;
            };
            let (offset, nsp, session) = (restore.offset, &restore.nsp, &restore.session);
            let Some(part) = restore.parts.iter_mut().find(|part| part.stream == number) else {
                continue;
            };
            part.found |= id == offset;
            if id <= part.reached {
                continue;
            }
            part.verified = true;
            part.reached = id;
            if let (Some((entry, audience)), Some(session)) = (event, session)
                && entry.nsp == nsp
                && audience.includes(&session.rooms)
            {
                self.bytes += gathered(entry.data);
                part.missed.push((id, entry.data.into()));
            }
        }
    }

    /// All entries up to `floor` have been shown.
    pub(super) fn reach(&mut self, number: StreamId, served: &[u32], floor: EntryId) {
        for restore in served {
            let parts = self.list.get_mut(restore).map(|restore| &mut restore.parts);
            if let Some(part) = parts.and_then(|parts| parts.iter_mut().find(|part| part.stream == number)) {
                part.reached = part.reached.max(floor);
                part.verified = true;
                part.paging = false;
            }
        }
    }

    fn remove(&mut self, id: u32) -> Option<Restore> {
        let restore = self.list.remove(&id)?;
        let missed = restore.parts.iter().flat_map(|part| &part.missed);
        self.bytes = self.bytes.saturating_sub(missed.map(|(_, data)| gathered(data)).sum());
        Some(restore)
    }
}

/// How many bytes an entry takes that a session has missed.
fn gathered(data: &[u8]) -> usize {
    data.len() + size_of::<(EntryId, Box<[u8]>)>() + 16
}

impl Restore {
    /// Begins where the session says if what the client has got last is gone, and if nothing is gone from there on. What
    /// the reference has led astray has ids of its own.
    fn resume(&mut self) {
        let Some(resume) = self.resume.take() else {
            return;
        };
        let Some((written, others)) = self.parts.split_first_mut() else {
            return;
        };
        let holds = |part: &Part, id| {
            part.bounds.is_some_and(|Bounds { oldest, newest }| {
                oldest.is_some_and(|oldest| oldest <= id) && newest >= Some(id)
            })
        };
        let is_empty = |part: &Part| part.bounds.is_some_and(|bounds| bounds.newest.is_none());
        if self.offset < resume
            && !holds(written, self.offset)
            && holds(written, resume)
            && others.iter().all(is_empty)
        {
            self.offset = resume;
            self.parts.iter_mut().for_each(|part| part.reached = resume);
        }
    }
}

impl Part {
    /// Where pages are to begin.
    fn from(&self) -> EntryId {
        if self.verified { self.reached.next() } else { self.reached }
    }
}

/// What is to be done about a restore.
enum Verdict {
    Wait,
    Page(StreamId, EntryId),
    Fail(&'static str),
    Done,
}

impl Core {
    /// Takes a session from a key, and gathers what it has missed.
    pub fn restore(&mut self, id: MemberId, token: u32, key: &[u8], offset: &[u8], fx: &mut Effects) {
        let author = self.streams.authors.get(&id).filter(|author| author.recovers);
        let (Some(author), Some(offset)) = (author, EntryId::parse(offset)) else {
            return restored_record(id, token, "invalid offset", fx);
        };
        if self.shut || !self.flow.is_connected() || !self.flow.is_proven() {
            return restored_record(id, token, "there is no connection to Redis", fx);
        }
        let parts = author.read.iter().map(|&stream| Part {
            stream,
            bounds: None,
            found: false,
            reached: offset,
            verified: false,
            paging: false,
            missed: Vec::new(),
        });
        let restore = Restore {
            member: id,
            token,
            key: key.to_vec(),
            offset,
            resume: None,
            nsp: author.nsp.clone(),
            since: fx.now,
            session: None,
            parts: parts.collect(),
        };
        let read = author.read.clone();
        let restores = &mut self.streams.restores;
        restores.next = restores.next.wrapping_add(1);
        let number = restores.next;
        restores.list.insert(number, restore);
        self.take_session(number, fx);
        for stream in read {
            let restores = &mut self.streams.restores;
            let seen = restores.seen.get(&stream).copied();
            // What was there a moment ago will do for all of a burst, unless the client knows of more.
            let recent =
                seen.filter(|(at, bounds)| fx.now < *at + LOOK_AGAIN && bounds.newest >= Some(offset));
            let parts = restores.list.get_mut(&number).map(|restore| &mut restore.parts);
            match (recent, parts.and_then(|parts| parts.iter_mut().find(|part| part.stream == stream))) {
                (Some((_, bounds)), Some(part)) => part.bounds = Some(bounds),
                _ => {
                    restores.looks.entry(stream).or_default().waiting.push(number);
                    self.begin_look(stream, fx);
                }
            }
        }
    }

    fn take_session(&mut self, number: u32, fx: &mut Effects) {
        let streams = &mut self.streams;
        let Some(key) = streams.restores.list.get(&number).map(|restore| restore.key.clone()) else {
            return;
        };
        let command = |name: &[u8]| Arc::new(Args::of(&[name, &key]));
        if streams.restores.no_getdel {
            streams.send(Port::Shared, Purpose::Get(number), 1, command(b"GET"), fx);
            streams.send(Port::Shared, Purpose::Delete, 1, command(b"DEL"), fx);
        } else {
            streams.send(Port::Shared, Purpose::Take(number), 1, command(b"GETDEL"), fx);
        }
    }

    /// The session is here, or there is none.
    pub(super) fn taken(&mut self, number: u32, outcome: Outcome<'_>, by_one: bool, fx: &mut Effects) {
        match &outcome {
            Outcome::Replied(Reply::Bulk(session)) => {
                let rooms = SessionRooms::of(session);
                let restore = self.streams.restores.list.get_mut(&number);
                if let (Some(restore), Ok(rooms)) = (restore, rooms) {
                    restore.session = Some(Session { text: session.to_vec(), rooms });
                    restore.resume =
                        Progress::of(session).and_then(|progress| progress.resumes(restore.offset));
                    return self.look_for_resume(number, fx);
                }
                self.fail_some_restores(&[number], "the session makes no sense", fx);
            }
            Outcome::Replied(Reply::Nil) => self.fail_some_restores(&[number], NOT_FOUND, fx),
            // As old as it may be, or forbidden: by two commands then.
            Outcome::Replied(Reply::Error(error))
                if by_one && (error.starts_with(b"ERR unknown command") || error.starts_with(b"NOPERM")) =>
            {
                self.streams.restores.no_getdel = true;
                self.take_session(number, fx);
            }
            _ => {
                let reason = reason_of(&outcome);
                self.fail_some_restores(&[number], &reason, fx);
            }
        }
    }

    /// What was seen of a stream a moment ago may be older than what the session knows of.
    fn look_for_resume(&mut self, number: u32, fx: &mut Effects) {
        let restores = &mut self.streams.restores;
        let Some(restore) = restores.list.get_mut(&number).filter(|restore| restore.resume.is_some()) else {
            return;
        };
        let resume = restore.resume;
        let Some(part) = restore.parts.first_mut() else {
            return;
        };
        if part.bounds.take_if(|bounds| bounds.newest < resume).is_some() {
            let stream = part.stream;
            restores.looks.entry(stream).or_default().waiting.push(number);
            self.begin_look(stream, fx);
        }
    }

    /// Looks at a stream for all that have come since the last look began.
    fn begin_look(&mut self, number: StreamId, fx: &mut Effects) {
        let streams = &mut self.streams;
        let Some(look) = streams.restores.looks.get_mut(&number) else {
            return;
        };
        if !look.under_way.is_empty() {
            return;
        }
        if look.waiting.is_empty() {
            streams.restores.looks.remove(&number);
            return;
        }
        *look = Look { under_way: std::mem::take(&mut look.waiting), ..Look::default() };
        let Some(name) = streams.list.get(&number).map(|stream| stream.name.clone()) else {
            return;
        };
        streams.look(Port::Shared, Purpose::NewestKept(number), false, &name, fx);
        streams.look(Port::Shared, Purpose::OldestKept(number), true, &name, fx);
    }

    /// The oldest or the newest entry is known.
    pub(super) fn kept_looked(
        &mut self,
        number: StreamId,
        is_oldest: bool,
        outcome: Outcome<'_>,
        fx: &mut Effects,
    ) {
        let restores = &mut self.streams.restores;
        let Some(look) = restores.looks.get_mut(&number) else {
            return;
        };
        // Where that is not allowed, what this node has read will do.
        let position = self.streams.list.get(&number).and_then(|stream| stream.reader.position());
        let looked = match entry_looked_at(&outcome) {
            None if !is_oldest && is_forbidden(&outcome) => Some(position),
            looked => looked,
        };
        match looked {
            None => {
                let reason = reason_of(&outcome);
                let failed = std::mem::take(&mut look.under_way);
                self.streams.purposes.retain(|_, purpose| {
                    !matches!(*purpose, Purpose::NewestKept(of) | Purpose::OldestKept(of) if of == number)
                });
                self.fail_some_restores(&failed, &reason, fx);
            }
            Some(entry) => {
                *(if is_oldest { &mut look.oldest } else { &mut look.newest }) = Some(entry);
                let (Some(oldest), Some(newest)) = (look.oldest, look.newest) else {
                    return;
                };
                restores.seen.insert(number, (fx.now, Bounds { oldest, newest }));
                for id in std::mem::take(&mut look.under_way) {
                    let parts = restores.list.get_mut(&id).map(|restore| &mut restore.parts);
                    for part in parts.into_iter().flatten().filter(|part| part.stream == number) {
                        part.bounds = Some(Bounds { oldest, newest });
                    }
                }
            }
        }
        self.begin_look(number, fx);
    }

    /// Ends what can be ended.
    pub(super) fn try_restores(&mut self, fx: &mut Effects) {
        let ids: Vec<u32> = self.streams.restores.list.keys().copied().collect();
        for id in ids {
            match self.judge(id) {
                Verdict::Wait => {}
                Verdict::Page(stream, from) => self.want_pages(stream, id, from, fx),
                Verdict::Fail(reason) => self.fail_some_restores(&[id], reason, fx),
                Verdict::Done => self.finish_restore(id, fx),
            }
        }
    }

    fn judge(&mut self, id: u32) -> Verdict {
        let streams = &mut self.streams;
        let too_much = streams.restores.bytes > MAX_BYTES;
        let Some(restore) = streams.restores.list.get_mut(&id) else {
            return Verdict::Wait;
        };
        if restore.session.is_none() {
            return Verdict::Wait;
        }
        if too_much && restore.parts.iter().any(|part| !part.missed.is_empty()) {
            return Verdict::Fail("too much was missed");
        }
        if restore.parts.iter().any(|part| part.bounds.is_none()) {
            return Verdict::Wait;
        }
        restore.resume();
        let (mut waits, mut found) = (false, false);
        for part in &mut restore.parts {
            let Some(stream) = streams.list.get(&part.stream) else {
                return Verdict::Fail(NOT_FOUND);
            };
            let position = stream.reader.position();
            let history = stream.history.as_ref().and_then(|history| Some((history, history.floor()?)));
            let (Some(Bounds { oldest, newest }), Some(position), Some((history, floor))) =
                (part.bounds, position, history)
            else {
                waits = true;
                continue;
            };
            // This node does not know yet what the client may know.
            if newest.is_some_and(|newest| position < newest) || part.paging {
                waits = true;
                continue;
            }
            if floor > part.reached || (floor == part.reached && !part.verified) {
                part.paging = true;
                return Verdict::Page(part.stream, part.from());
            }
            if !part.verified {
                part.verified = true;
                part.found = history.contains(restore.offset);
            }
            // What is gone from Redis is gone for all nodes.
            let offset = restore.offset;
            found |= part.found && oldest.is_some_and(|oldest| oldest <= offset) && newest >= Some(offset);
        }
        match (waits, found) {
            (true, _) => Verdict::Wait,
            (false, false) => Verdict::Fail(NOT_FOUND),
            (false, true) => Verdict::Done,
        }
    }

    fn finish_restore(&mut self, id: u32, fx: &mut Effects) {
        let Some(restore) = self.streams.restores.remove(id) else {
            return;
        };
        let Some(session) = &restore.session else {
            return;
        };
        let written = self.streams.authors.get(&restore.member).map(|author| author.written);
        let position = |number: StreamId| {
            self.streams.list.get(&number).and_then(|stream| stream.reader.position()).unwrap_or_default()
        };
        let boundary = written.map(position).unwrap_or_default();
        let mut missed: Vec<(EntryId, &[u8])> = Vec::new();
        for part in &restore.parts {
            missed.extend(part.missed.iter().map(|(id, data)| (*id, &**data)));
            let history = self.streams.list.get(&part.stream).and_then(|stream| stream.history.as_ref());
            for kept in history.into_iter().flat_map(|history| history.after(part.reached)) {
                if *kept.nsp == *restore.nsp && kept.audience.includes(&session.rooms) {
                    missed.push((kept.id, &kept.data));
                }
            }
        }
        // Of two streams each has its order.
        missed.sort_by_key(|&(id, _)| id);
        let mut items: Vec<Vec<u8>> = Vec::with_capacity(missed.len());
        items.extend(missed.iter().map(|(id, _)| id.to_string().into_bytes()));
        let mut draft = fx.batch.draft(Kind::Restored, restore.member);
        draft.record.token = restore.token;
        draft.part(0, &session.text);
        draft.part(2, boundary.to_string().as_bytes());
        draft.list(items.iter().zip(&missed).flat_map(|(id, (_, data))| [id.as_slice(), *data]));
        draft.done();
        // Its rooms are not known here before JS has made the socket, which may take until a middleware is done.
        if let Some(member) = self.members.get_mut(&restore.member) {
            member.interest().unsettle();
        }
    }

    /// Ends those that take too long.
    pub(super) fn fail_late_restores(&mut self, fx: &mut Effects) {
        let now = fx.now;
        self.fail_restores(|restore| now >= restore.since + PATIENCE, "timeout reached", fx);
    }

    /// Ends some without success.
    pub(super) fn fail_restores(
        &mut self,
        is_over: impl Fn(&Restore) -> bool,
        reason: &str,
        fx: &mut Effects,
    ) {
        let list = &self.streams.restores.list;
        let failed: Vec<u32> =
            list.iter().filter(|(_, restore)| is_over(restore)).map(|(&id, _)| id).collect();
        self.fail_some_restores(&failed, reason, fx);
    }

    /// Ends these without success.
    pub(super) fn fail_some_restores(&mut self, ids: &[u32], reason: &str, fx: &mut Effects) {
        for &id in ids {
            if let Some(restore) = self.streams.restores.remove(id) {
                restored_record(restore.member, restore.token, reason, fx);
            }
        }
    }
}

/// Tells JS that there is nothing to restore.
fn restored_record(member: MemberId, token: u32, reason: &str, fx: &mut Effects) {
    let mut draft = fx.batch.draft(Kind::Restored, member);
    draft.record.token = token;
    draft.part(1, reason.as_bytes());
    draft.done();
}
