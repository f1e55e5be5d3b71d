//! Sessions that are restored: taken from Redis, with all entries that they have missed up to where this node reads.
//!
//! The missed entries come from memory where that reaches back far enough; the others are read in pages. The answer takes
//! its place among the entries that JS gets: it has all entries before it, and all behind it come as usual.

use std::sync::Arc;

use super::Streams;
use super::history::History;
use super::purpose::{Purpose, StreamId, reason_of};
use super::reader::{entry_looked_at, is_forbidden};
use super::restores::{Bounds, KeptSession, NotRestored, Restore, RestorePart};
use crate::core::effects::{Effects, Kind, MemberId};
use crate::core::members::Members;
use crate::core::publisher::Publisher;
use crate::transport::resp::Reply;
use crate::transport::{Args, Outcome, Port};
use crate::wire::streams::{EntryId, Progress, SessionRooms};

/// The next thing to do about a restore.
enum Verdict {
    Wait,
    Page(StreamId, EntryId),
    Fail(NotRestored<'static>),
    Done,
}

impl Streams {
    /// Takes a session from a key, and gathers the entries that it has missed.
    pub(in crate::core) fn restore(
        &mut self,
        id: MemberId,
        token: u32,
        key: &[u8],
        offset: &[u8],
        publisher: &Publisher,
        fx: &mut Effects,
    ) {
        let author = self.authors.get(&id).filter(|author| author.recovers);
        let (Some(author), Some(offset)) = (author, EntryId::parse(offset)) else {
            return NotRestored::InvalidOffset.tell(id, token, fx);
        };
        if !publisher.reaches_redis() {
            return NotRestored::Disconnected.tell(id, token, fx);
        }
        let read = author.read.clone();
        let restore = Restore {
            member: id,
            token,
            key: key.to_vec(),
            offset,
            resume: None,
            nsp: author.nsp.clone(),
            since: fx.now,
            session: None,
            parts: read.iter().map(|&stream| RestorePart::new(stream, offset)).collect(),
        };
        let number = self.restores.add(restore);
        self.take_session(number, fx);
        for stream in read {
            let recent = self.looks.recent(stream, offset, fx.now);
            match (recent, self.restores.part_mut(number, stream)) {
                (Some(bounds), Some(part)) => part.bounds = Some(bounds),
                _ => self.want_look(number, stream, fx),
            }
        }
    }

    fn take_session(&mut self, number: u32, fx: &mut Effects) {
        let no_getdel = self.restores.no_getdel;
        let Some(restore) = self.restores.get_mut(number) else {
            return;
        };
        let command = |name: &[u8]| Arc::new(Args::of(&[name, &restore.key]));
        if no_getdel {
            self.commands.send(Port::Shared, Purpose::Get(number), 1, command(b"GET"), fx);
            self.commands.send(Port::Shared, Purpose::Delete, 1, command(b"DEL"), fx);
        } else {
            self.commands.send(Port::Shared, Purpose::Take(number), 1, command(b"GETDEL"), fx);
        }
    }

    /// The session is here, or there is none. `by_one` says whether one command has taken it.
    pub(super) fn taken(&mut self, number: u32, outcome: &Outcome<'_>, by_one: bool, fx: &mut Effects) {
        match outcome {
            Outcome::Replied(Reply::Bulk(session)) => {
                let (Some(restore), Ok(rooms)) = (self.restores.get_mut(number), SessionRooms::of(session))
                else {
                    return self.restores.fail(&[number], NotRestored::Malformed, fx);
                };
                restore.session = Some(KeptSession { text: session.to_vec(), rooms });
                restore.resume = Progress::of(session).and_then(|progress| progress.resumes(restore.offset));
                self.look_for_resume(number, fx);
            }
            Outcome::Replied(Reply::Nil) => self.restores.fail(&[number], NotRestored::NotFound, fx),
            // Redis may be too old for the command, or forbid it: by two commands then.
            Outcome::Replied(Reply::Error(error))
                if by_one && (error.starts_with(b"ERR unknown command") || error.starts_with(b"NOPERM")) =>
            {
                self.restores.no_getdel = true;
                self.take_session(number, fx);
            }
            _ => self.restores.fail(&[number], NotRestored::Failed(&reason_of(outcome)), fx),
        }
    }

    /// The session may know of a later entry than the last look at the stream has seen.
    fn look_for_resume(&mut self, number: u32, fx: &mut Effects) {
        let Some(restore) = self.restores.get_mut(number).filter(|restore| restore.resume.is_some()) else {
            return;
        };
        let resume = restore.resume;
        let Some(part) = restore.parts.first_mut() else {
            return;
        };
        if part.bounds.take_if(|bounds| bounds.newest < resume).is_some() {
            let stream = part.stream;
            self.want_look(number, stream, fx);
        }
    }

    fn want_look(&mut self, restore: u32, stream: StreamId, fx: &mut Effects) {
        if let Some(stream) = self.list.get(&stream) {
            self.looks.want(restore, &stream.key, &mut self.commands, fx);
        }
    }

    /// The oldest or the newest entry is known.
    pub(super) fn kept_looked(
        &mut self,
        number: StreamId,
        is_oldest: bool,
        outcome: &Outcome<'_>,
        fx: &mut Effects,
    ) {
        if !self.looks.is_looking(number) {
            return;
        }
        let stream = self.list.get(&number);
        // Where the look is not allowed, the last entry that this node has read will do.
        let looked = match entry_looked_at(outcome) {
            None if !is_oldest && is_forbidden(outcome) => {
                Some(stream.and_then(|stream| stream.reader.position()))
            }
            looked => looked,
        };
        match looked {
            None => {
                self.commands.forget(|purpose| {
                    matches!(purpose, Purpose::NewestKept(of) | Purpose::OldestKept(of) if of == number)
                });
                let failed = self.looks.fail(number);
                self.restores.fail(&failed, NotRestored::Failed(&reason_of(outcome)), fx);
            }
            Some(entry) => {
                let Some((bounds, restores)) = self.looks.looked(number, is_oldest, entry, fx.now) else {
                    return;
                };
                for id in restores {
                    if let Some(part) = self.restores.part_mut(id, number) {
                        part.bounds = Some(bounds);
                    }
                }
            }
        }
        match stream {
            Some(stream) => self.looks.begin(&stream.key, &mut self.commands, fx),
            None => self.looks.forget(number),
        }
    }

    /// Ends what can be ended.
    pub(super) fn try_restores(&mut self, members: &mut Members, fx: &mut Effects) {
        for id in self.restores.ids() {
            match self.judge(id) {
                Verdict::Wait => {}
                Verdict::Page(stream, from) => {
                    if let Some(stream) = self.list.get_mut(&stream) {
                        let floor = stream.history.as_ref().and_then(History::floor);
                        stream.pages.want(id, from);
                        let (restores, commands) = (&mut self.restores, &mut self.commands);
                        stream.pages.begin(&stream.key, floor, restores, commands, fx);
                    }
                }
                Verdict::Fail(reason) => self.restores.fail(&[id], reason, fx),
                Verdict::Done => self.finish(id, members, fx),
            }
        }
    }

    fn judge(&mut self, id: u32) -> Verdict {
        let too_much = self.restores.hold_too_much();
        let Some(restore) = self.restores.get_mut(id) else {
            return Verdict::Wait;
        };
        if restore.session.is_none() {
            return Verdict::Wait;
        }
        if too_much && restore.parts.iter().any(|part| !part.missed.is_empty()) {
            return Verdict::Fail(NotRestored::TooMuch);
        }
        if restore.parts.iter().any(|part| part.bounds.is_none()) {
            return Verdict::Wait;
        }
        restore.resume();
        let (mut waits, mut found) = (false, false);
        for part in &mut restore.parts {
            let Some(stream) = self.list.get(&part.stream) else {
                return Verdict::Fail(NotRestored::NotFound);
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
            // An entry that is gone from Redis is gone for all nodes.
            let offset = restore.offset;
            found |= part.found && oldest.is_some_and(|oldest| oldest <= offset) && newest >= Some(offset);
        }
        match (waits, found) {
            (true, _) => Verdict::Wait,
            (false, false) => Verdict::Fail(NotRestored::NotFound),
            (false, true) => Verdict::Done,
        }
    }

    fn finish(&mut self, id: u32, members: &mut Members, fx: &mut Effects) {
        let Some(restore) = self.restores.remove(id) else {
            return;
        };
        let Some(session) = &restore.session else {
            return;
        };
        let written = self.authors.get(&restore.member).and_then(|author| self.list.get(&author.written));
        let boundary = written.and_then(|stream| stream.reader.position()).unwrap_or_default();
        let mut missed: Vec<(EntryId, &[u8])> = Vec::new();
        for part in &restore.parts {
            missed.extend(part.missed.iter().map(|(id, data)| (*id, &**data)));
            let history = self.list.get(&part.stream).and_then(|stream| stream.history.as_ref());
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
        if let Some(interest) = members.interest(restore.member) {
            interest.unsettle();
        }
    }

    /// A page of the past of a stream has come.
    pub(super) fn paged(&mut self, number: StreamId, outcome: &Outcome<'_>, fx: &mut Effects) {
        if let Some(stream) = self.list.get_mut(&number) {
            let (restores, commands) = (&mut self.restores, &mut self.commands);
            stream.pages.paged(outcome, &stream.key, &mut stream.history, restores, commands, fx);
        }
    }
}
