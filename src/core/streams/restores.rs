//! The sessions that are being restored, and how far each has got in each stream.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::purpose::StreamId;
use crate::core::effects::{Effects, Kind, MemberId};
use crate::wire::streams::{Audience, Entry, EntryId, SessionRooms};

/// How long a client that comes back is kept waiting before it has to begin anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes of missed entries are gathered at a time, for all sessions. Those whose share goes beyond begin anew.
const MAX_BYTES: usize = 64 << 20;

/// Why there is nothing to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotRestored<'a> {
    /// The client's offset is malformed, or the member does not recover connections.
    InvalidOffset,
    /// There is no connection to Redis.
    Disconnected,
    /// There is no such session, or the stream holds its offset no more.
    NotFound,
    /// The session is malformed.
    Malformed,
    /// More was missed than may be gathered.
    TooMuch,
    /// It took too long.
    Late,
    /// The member has left.
    Closed,
    /// Another transport carries the commands.
    LinkChanged,
    /// In Redis' own words.
    Failed(&'a str),
}

impl<'a> NotRestored<'a> {
    /// What JS is told. `lib/adapter/streams.js` knows the words of the reference.
    fn text(self) -> &'a str {
        match self {
            NotRestored::InvalidOffset => "invalid offset",
            NotRestored::Disconnected => "there is no connection to Redis",
            NotRestored::NotFound => "session or offset not found",
            NotRestored::Malformed => "the session is malformed",
            NotRestored::TooMuch => "too much was missed",
            NotRestored::Late => "timeout reached",
            NotRestored::Closed => "the adapter was closed",
            NotRestored::LinkChanged => "the link has changed",
            NotRestored::Failed(reason) => reason,
        }
    }

    /// Tells JS.
    pub(super) fn tell(self, member: MemberId, token: u32, fx: &mut Effects) {
        let mut draft = fx.batch.draft(Kind::Restored, member);
        draft.record.token = token;
        draft.part(1, self.text().as_bytes());
        draft.done();
    }
}

/// A session that is being restored.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) member: MemberId,
    pub(super) token: u32,
    pub(super) key: Vec<u8>,
    /// The last entry that the client has got, or the one that its session says instead.
    pub(super) offset: EntryId,
    /// Where it resumes if the stream holds `offset` no more: looked at once.
    pub(super) resume: Option<EntryId>,
    pub(super) nsp: String,
    pub(super) since: Instant,
    pub(super) session: Option<KeptSession>,
    pub(super) parts: Vec<RestorePart>,
}

/// A session, taken from Redis.
#[derive(Debug)]
pub(super) struct KeptSession {
    /// As it was kept.
    pub(super) text: Vec<u8>,
    pub(super) rooms: SessionRooms,
}

/// A restore in one stream.
#[derive(Debug)]
pub(super) struct RestorePart {
    pub(super) stream: StreamId,
    pub(super) bounds: Option<Bounds>,
    /// Whether the offset is one of the stream.
    pub(super) found: bool,
    /// All entries up to here are gathered; the first time, the offset itself is still to be seen.
    pub(super) reached: EntryId,
    pub(super) verified: bool,
    /// It waits for pages.
    pub(super) paging: bool,
    pub(super) missed: Vec<(EntryId, Box<[u8]>)>,
}

/// What a stream had when it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) oldest: Option<EntryId>,
    pub(super) newest: Option<EntryId>,
}

/// The sessions that are being restored.
#[derive(Debug, Default)]
pub(super) struct Restores {
    list: BTreeMap<u32, Restore>,
    next: u32,
    /// The bytes of the entries that all of them have gathered.
    bytes: usize,
    /// Redis has no GETDEL, or it is not allowed.
    pub(super) no_getdel: bool,
}

impl Restores {
    /// Begins to restore a session; returns its number.
    pub(super) fn add(&mut self, restore: Restore) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.list.insert(self.next, restore);
        self.next
    }

    /// A restore.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Restore> {
        self.list.get_mut(&id)
    }

    /// The numbers of all restores.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.list.keys().copied().collect()
    }

    /// A restore in one stream.
    pub(super) fn part_mut(&mut self, id: u32, stream: StreamId) -> Option<&mut RestorePart> {
        self.list.get_mut(&id)?.parts.iter_mut().find(|part| part.stream == stream)
    }

    /// Whether all of them have gathered more than they may.
    pub(super) fn hold_too_much(&self) -> bool {
        self.bytes > MAX_BYTES
    }

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

    /// Shows an entry of a page to the restores that wait for it.
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

    /// Takes a restore that has ended.
    pub(super) fn remove(&mut self, id: u32) -> Option<Restore> {
        let restore = self.list.remove(&id)?;
        let missed = restore.parts.iter().flat_map(|part| &part.missed);
        self.bytes = self.bytes.saturating_sub(missed.map(|(_, data)| gathered(data)).sum());
        Some(restore)
    }

    /// Ends those that take too long.
    pub(super) fn fail_late(&mut self, fx: &mut Effects) {
        let now = fx.now;
        self.fail_if(|restore| now >= restore.since + PATIENCE, NotRestored::Late, fx);
    }

    /// Ends some without success.
    pub(super) fn fail_if(
        &mut self,
        is_over: impl Fn(&Restore) -> bool,
        reason: NotRestored<'_>,
        fx: &mut Effects,
    ) {
        let failed = self.list.iter().filter(|(_, restore)| is_over(restore));
        let failed: Vec<u32> = failed.map(|(&id, _)| id).collect();
        self.fail(&failed, reason, fx);
    }

    /// Ends these without success.
    pub(super) fn fail(&mut self, ids: &[u32], reason: NotRestored<'_>, fx: &mut Effects) {
        for &id in ids {
            if let Some(restore) = self.remove(id) {
                reason.tell(restore.member, restore.token, fx);
            }
        }
    }
}

/// How many bytes an entry takes that a session has missed.
fn gathered(data: &[u8]) -> usize {
    data.len() + size_of::<(EntryId, Box<[u8]>)>() + 16
}

impl Restore {
    /// Begins where the session says if the last entry that the client has got is gone, and if no entry is gone from there
    /// on. Entries that the reference has added to a wrong stream have ids of that stream.
    pub(super) fn resume(&mut self) {
        let Some(resume) = self.resume.take() else {
            return;
        };
        let Some((written, others)) = self.parts.split_first_mut() else {
            return;
        };
        let holds = |part: &RestorePart, id| {
            part.bounds.is_some_and(|Bounds { oldest, newest }| {
                oldest.is_some_and(|oldest| oldest <= id) && newest >= Some(id)
            })
        };
        let is_empty = |part: &RestorePart| part.bounds.is_some_and(|bounds| bounds.newest.is_none());
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

impl RestorePart {
    /// Nothing is known of a stream but where the client has got.
    pub(super) fn new(stream: StreamId, offset: EntryId) -> Self {
        RestorePart {
            stream,
            bounds: None,
            found: false,
            reached: offset,
            verified: false,
            paging: false,
            missed: Vec::new(),
        }
    }

    /// Where pages are to begin.
    pub(super) fn from(&self) -> EntryId {
        if self.verified { self.reached.next() } else { self.reached }
    }
}
