//! Streams: entries that are added, entries that are read, and sessions that are restored.
//!
//! All I/O is commands about keys: each stream has a reader of its own that blocks until there are entries, and entries are
//! added by the connection that publishes.
//!
//! ```text
//! Streams ─┬─ Stream, one each ─┬─ StreamReader  pages of entries, to the members and to the History
//!          │                    ├─ Appends       entries on their way to Redis
//!          │                    ├─ History       recent entries, for sessions
//!          │                    └─ Pages         the past before that, read from Redis again
//!          ├─ Restores, Looks     sessions that are restored, and looks at the ends of streams for them
//!          ├─ Sessions            sessions that are to be kept
//!          └─ Commands            what each command was sent for
//! ```

mod appends;
mod commands;
mod entries;
mod history;
mod looks;
mod pages;
mod position;
mod purpose;
mod reader;
mod reading;
mod restores;
mod restoring;
mod sessions;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::context::Context;
use super::effects::{Effects, MemberId};
use super::member::MemberSpec;
use super::members::Members;
use super::messaging::{Emit, Messaging};
use super::publisher::Publisher;
use super::stats::Stats;
use crate::packet::Malformed;
use crate::transport::Outcome;
use crate::wire::cluster;
use crate::wire::streams::{EntryId, StreamNames};
use commands::Commands;
use history::History;
use looks::Looks;
use pages::Pages;
pub use position::Position;
pub(super) use purpose::StreamId;
use purpose::{Purpose, added_record, paging_port, reading_port};
use restores::{NotRestored, Restores};
use sessions::Sessions;
use stream::{Author, Stream};

/// So many members that have left can still add to their streams: an event that is emitted after `close()` goes out, as
/// with the reference.
const MAX_DEPARTED: usize = 256;

/// The streams of a link.
#[derive(Debug, Default)]
pub(super) struct Streams {
    list: BTreeMap<StreamId, Stream>,
    by_name: HashMap<String, StreamId>,
    next_stream: StreamId,
    authors: HashMap<MemberId, Author>,
    /// The members that have left, the first one first.
    departed: VecDeque<MemberId>,
    commands: Commands,
    restores: Restores,
    looks: Looks,
    sessions: Sessions,
    /// What the driver was last told of how far they are read.
    told: Vec<(StreamId, EntryId, EntryId)>,
    /// Memory to write envelopes in.
    envelope: Vec<u8>,
}

impl Streams {
    /// The stream with this name, which is made if need be.
    fn stream(&mut self, name: &str) -> StreamId {
        if let Some(&number) = self.by_name.get(name) {
            return number;
        }
        let number = self.next_stream;
        self.next_stream += 1;
        self.by_name.insert(name.to_owned(), number);
        self.list.insert(number, Stream::new(number, name));
        number
    }

    /// Whether nothing is on its way to Redis.
    pub(super) fn is_flushed(&self) -> bool {
        self.list.values().all(|stream| stream.appends.is_empty()) && self.sessions.is_empty()
    }

    /// How many entries were ever added to each stream that has not settled all of them.
    pub(super) fn unsettled(&self) -> Vec<(StreamId, u64)> {
        let streams = self.list.iter().filter(|(_, stream)| !stream.appends.is_empty());
        streams.map(|(&number, stream)| (number, stream.appends.added())).collect()
    }

    /// Whether it is certain what became of the first so many entries that were added to a stream.
    pub(super) fn has_settled(&self, number: StreamId, count: u64) -> bool {
        self.list.get(&number).is_none_or(|stream| stream.appends.settled() >= count)
    }

    /// How many entries wait to be sent.
    pub(super) fn backlog(&self) -> u64 {
        self.list.values().map(|stream| stream.appends.unsent()).sum()
    }

    /// When [`Streams::tick`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let streams = self.list.values();
        streams
            .flat_map(|stream| [stream.reader.deadline(), stream.appends.deadline()])
            .chain([self.restores.deadline(), self.sessions.deadline()])
            .flatten()
            .min()
    }

    // --- members ---------------------------------------------------------------------------------------

    /// A member joins. Returns whether it has to wait until Redis lets its streams be read.
    pub(super) fn join(&mut self, id: MemberId, spec: &MemberSpec, fx: &mut Effects) -> bool {
        let Some(options) = &spec.stream else {
            return false;
        };
        let names = StreamNames::of(&options.name, options.count, &spec.nsp);
        let written = self.stream(&names.written);
        let mut read = Vec::new();
        if spec.emitter.is_none() {
            read.push(written);
            read.extend(names.astray.as_deref().map(|name| self.stream(name)));
        }
        for number in &read {
            if let Some(stream) = self.list.get_mut(number) {
                stream.join(&spec.nsp, id);
                stream.reader.open(options.read_count, options.block);
                if options.recovers {
                    let position = stream.reader.position();
                    let history = stream.history.get_or_insert_with(|| History::new(position));
                    history.allow(options.max_len);
                }
            }
        }
        if let Some(stream) = self.list.get_mut(&written) {
            stream.max_len = stream.max_len.min(options.max_len);
        }
        for number in &read {
            if let Some(stream) = self.list.get_mut(number) {
                stream.reader.drive(&stream.key, &mut self.commands, fx);
            }
        }
        let author = Author {
            uid: spec.uid.clone(),
            nsp: spec.nsp.clone(),
            written,
            read,
            max_len: options.max_len,
            recovers: options.recovers,
            tickets: 0,
        };
        self.authors.insert(id, author);
        self.is_waiting(id)
    }

    /// A member leaves. The entries that it has added still go out, and so do those that it adds later.
    pub(super) fn leave(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(author) = self.authors.get_mut(&id) else {
            return;
        };
        author.recovers = false;
        for number in std::mem::take(&mut author.read) {
            if let Some(stream) = self.list.get_mut(&number) {
                stream.leave(&author.nsp, id);
            }
        }
        self.departed.push_back(id);
        if self.departed.len() > MAX_DEPARTED
            && let Some(first) = self.departed.pop_front()
        {
            self.authors.remove(&first);
        }
        self.restores.fail_if(|restore| restore.member == id, NotRestored::Closed, fx);
        self.sweep(fx);
    }

    /// Closes the readers that nobody needs, and forgets streams of which nothing is left.
    fn sweep(&mut self, fx: &mut Effects) {
        for (&number, stream) in &mut self.list {
            if !stream.is_read() && stream.reader.close() {
                stream.history = None;
                stream.pages = Pages::default();
                fx.closed_readers.extend([reading_port(number), paging_port(number)]);
                self.commands.forget(|purpose| purpose.reads(number) || purpose == Purpose::Page(number));
            }
        }
        let written: Vec<StreamId> = self.authors.values().map(|author| author.written).collect();
        self.list.retain(|number, stream| {
            stream.is_read() || !stream.appends.is_empty() || written.contains(number)
        });
        let list = &self.list;
        self.by_name.retain(|_, number| list.contains_key(number));
    }

    /// Whether a member has to wait until Redis lets its streams be read.
    fn is_waiting(&self, id: MemberId) -> bool {
        let is_readable =
            |number: &StreamId| self.list.get(number).is_none_or(|stream| stream.reader.is_readable());
        self.authors.get(&id).is_some_and(|author| !author.read.iter().all(is_readable))
    }

    /// Tells members whether they have to wait until Redis lets their streams be read.
    fn set_waiting(&self, ids: &[MemberId], members: &mut Members) {
        for &id in ids {
            if let Some(member) = members.get_mut(id) {
                member.waits_for_streams = self.is_waiting(id);
            }
        }
    }

    // --- entries and sessions that are added -----------------------------------------------------------

    /// Adds a message that JS has encoded to the stream of a member.
    pub(super) fn append(
        &mut self,
        id: MemberId,
        kind: u32,
        data: &[u8],
        publisher: &Publisher,
        cx: &mut Context<'_>,
    ) {
        let write = |_: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(data);
            Ok(())
        };
        self.add(id, u64::from(kind), write, publisher, cx);
    }

    /// Adds an event to the stream of a member. JS encodes an event with attachments itself: the text of values does not say
    /// all that @msgpack writes of them.
    pub(super) fn broadcast(
        &mut self,
        id: MemberId,
        emit: &Emit<'_>,
        publisher: &Publisher,
        cx: &mut Context<'_>,
    ) {
        let &Emit { payload, room, opts, .. } = emit;
        let write =
            |nsp: &str, out: &mut Vec<u8>| cluster::encode_broadcast_data(nsp, payload, &[], room, opts, out);
        self.add(id, cluster::BROADCAST, write, publisher, cx);
    }

    /// Adds an entry whose data `write` appends, given the namespace.
    fn add(
        &mut self,
        id: MemberId,
        kind: u64,
        write: impl FnOnce(&str, &mut Vec<u8>) -> Result<(), Malformed>,
        publisher: &Publisher,
        cx: &mut Context<'_>,
    ) {
        let connected = publisher.flow.is_connected();
        let Some(author) = self.authors.get_mut(&id) else {
            cx.stats.dropped += 1;
            return;
        };
        author.tickets = author.tickets.wrapping_add(1);
        let ticket = author.tickets;
        let data = &mut self.envelope;
        data.clear();
        let written = write(&author.nsp, data);
        let mut stream = self.list.get_mut(&author.written);
        let sent = written.is_ok() && stream.is_some() && !publisher.is_shut();
        if sent && let Some(stream) = &mut stream {
            let waits = author.recovers && connected;
            let args = author.entry(&stream.key.name, kind, data);
            stream.appends.push(args, waits.then_some((id, ticket)), cx.now());
        } else if written.is_ok() {
            cx.stats.dropped += 1;
        }
        if author.recovers && !(sent && connected) {
            added_record(id, ticket, None, cx.fx);
        }
        if let Err(error) = written {
            cx.unencodable(id, &error.to_string());
        }
        if let Some(stream) = stream {
            stream.appends.bound(cx);
        }
    }

    /// Keeps a session under a key.
    pub(super) fn persist(
        &mut self,
        id: MemberId,
        key: &[u8],
        session: &[u8],
        lifetime: Duration,
        is_shut: bool,
        stats: &mut Stats,
    ) {
        if is_shut || !self.authors.contains_key(&id) {
            stats.dropped += 1;
            return;
        }
        self.sessions.keep(key, session, lifetime, stats);
    }

    // --- the link --------------------------------------------------------------------------------------

    /// Sends entries and sessions that wait. `room` is how many bytes the transport takes now.
    pub(super) fn release(&mut self, room: usize, publisher: &Publisher, cx: &mut Context<'_>) {
        if !publisher.reaches_redis() {
            return;
        }
        let mut room = room;
        for stream in self.list.values_mut() {
            let reads = stream.reader.position().is_some();
            let (key, max_len, commands) = (&stream.key, stream.max_len, &mut self.commands);
            room = stream.appends.drive(key, max_len, reads, room, commands, cx);
        }
        self.sessions.drive(&mut self.commands, cx.fx);
    }

    /// The link is lost: nobody waits for the ids of entries that are added meanwhile.
    pub(super) fn down(&mut self, fx: &mut Effects) {
        for stream in self.list.values_mut() {
            stream.appends.answer_all(fx);
        }
    }

    /// Another transport begins: commands that were under way do not end any more. `known` says that the link was known to
    /// reach the same Redis, so that reading goes on where it was.
    pub(super) fn change_transport(&mut self, known: bool, members: &mut Members, fx: &mut Effects) {
        self.down(fx);
        self.commands.forget_all();
        for stream in self.list.values_mut() {
            stream.appends.interrupt();
            stream.reader.interrupt(known);
            stream.pages = Pages::default();
            if !known && let Some(history) = &mut stream.history {
                history.begin(None);
            }
        }
        let ids: Vec<MemberId> = self.authors.keys().copied().collect();
        self.set_waiting(&ids, members);
        self.sessions.interrupt();
        self.restores.fail_if(|_| true, NotRestored::LinkChanged, fx);
        for stream in self.list.values_mut() {
            stream.reader.drive(&stream.key, &mut self.commands, fx);
        }
    }

    /// The link is shut: entries and sessions that wait are dropped and counted.
    pub(super) fn shut(&mut self, publisher: &mut Publisher, stats: &mut Stats) {
        for stream in self.list.values_mut() {
            let (dropped, lost) = stream.appends.clear();
            stats.dropped += dropped;
            stats.lost_in_flight += lost;
            publisher.lose_entries(lost);
        }
        stats.dropped += self.sessions.clear();
    }

    /// Does all that is due.
    pub(super) fn tick(&mut self, fx: &mut Effects) {
        for stream in self.list.values_mut() {
            stream.reader.drive(&stream.key, &mut self.commands, fx);
            stream.appends.tick(fx);
        }
        self.restores.fail_late(fx);
    }

    // --- replies ---------------------------------------------------------------------------------------

    /// Takes the end of a command.
    pub(super) fn replied(
        &mut self,
        token: u64,
        outcome: Outcome<'_>,
        messaging: &mut Messaging,
        cx: &mut Context<'_>,
    ) {
        let Some(purpose) = self.commands.take(token) else {
            return;
        };
        match purpose {
            Purpose::Last(stream)
            | Purpose::Oldest(stream)
            | Purpose::Scan(stream)
            | Purpose::Read(stream) => {
                self.reader_replied(stream, purpose, outcome, messaging, cx);
            }
            Purpose::Add(stream) | Purpose::Baseline(stream) | Purpose::Sift(stream) => {
                self.appends_replied(stream, purpose, &outcome, cx);
            }
            Purpose::NewestKept(stream) => self.kept_looked(stream, false, &outcome, cx.fx),
            Purpose::OldestKept(stream) => self.kept_looked(stream, true, &outcome, cx.fx),
            Purpose::Page(stream) => self.paged(stream, &outcome, cx.fx),
            Purpose::Take(restore) => self.taken(restore, &outcome, true, cx.fx),
            Purpose::Get(restore) => self.taken(restore, &outcome, false, cx.fx),
            Purpose::Delete => {}
            Purpose::Persist(session) => self.sessions.replied(session, &outcome, cx),
        }
        self.try_restores(&mut messaging.members, cx.fx);
    }

    fn reader_replied(
        &mut self,
        number: StreamId,
        purpose: Purpose,
        outcome: Outcome<'_>,
        messaging: &mut Messaging,
        cx: &mut Context<'_>,
    ) {
        let Some(stream) = self.list.get_mut(&number) else {
            return;
        };
        let was_readable = stream.reader.is_readable();
        let stands = messaging.publisher.flow.is_connected();
        let commands = &mut self.commands;
        match purpose {
            Purpose::Read(_) => stream.read(outcome, messaging, &mut self.envelope, commands, cx),
            Purpose::Scan(_) => stream.scanned(&outcome, stands, commands, cx),
            Purpose::Oldest(_) => stream.looked(true, &outcome, stands, commands, cx),
            _ => stream.looked(false, &outcome, stands, commands, cx),
        }
        let is_readable = stream.reader.is_readable();
        if is_readable != was_readable {
            let readers = stream.readers();
            self.set_waiting(&readers, &mut messaging.members);
            if is_readable {
                messaging.announce(&readers, cx);
            }
        }
    }

    fn appends_replied(
        &mut self,
        number: StreamId,
        purpose: Purpose,
        outcome: &Outcome<'_>,
        cx: &mut Context<'_>,
    ) {
        let Some(stream) = self.list.get_mut(&number) else {
            return;
        };
        let appends = &mut stream.appends;
        match purpose {
            Purpose::Baseline(_) => appends.baseline(outcome, cx.now()),
            Purpose::Sift(_) => appends.sifted(outcome, cx),
            _ => {
                appends.replied(&stream.key, outcome, stream.reader.position(), cx);
                if !stream.is_read() && stream.appends.is_empty() {
                    self.sweep(cx.fx);
                }
            }
        }
    }
}
