//! Streams: what is added to them, what is read from them, and the sessions that are restored from them.
//!
//! All I/O is commands about keys: each stream has a reader of its own that blocks until there is something, and what
//! is added goes by the connection that publishes.

mod appends;
mod history;
mod pages;
mod position;
mod purpose;
mod reader;
mod restore;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Core;
use super::effects::{Effects, MemberId};
use super::event::Event;
use super::member::MemberSpec;
use crate::transport::{Args, KeyCommand, Outcome, Port};
use crate::wire::streams::{EntryId, StreamNames};
use appends::Appends;
use history::History;
use pages::Pages;
pub use position::Position;
pub(super) use purpose::StreamId;
use purpose::{Purpose, paging_port, reading_port};
use reader::Reader;
use restore::Restores;
use sessions::Sessions;

/// So many members that have left can still add to their streams: what is emitted after `close()` goes out, as with
/// the reference.
const MAX_DEPARTED: usize = 256;

/// A member that adds to a stream.
#[derive(Debug)]
struct Author {
    uid: String,
    nsp: String,
    written: StreamId,
    /// All that it reads.
    read: Vec<StreamId>,
    max_len: u64,
    recovers: bool,
    /// How much it has added, ever.
    tickets: u32,
}

/// A stream.
#[derive(Debug)]
struct Stream {
    name: String,
    /// How many entries it keeps: the least that any of the members says.
    max_len: u64,
    /// The members that read it, by their namespaces.
    listeners: HashMap<String, Vec<MemberId>>,
    reader: Reader,
    appends: Appends,
    /// Recent entries, if any of the members recovers connections.
    history: Option<History>,
    pages: Pages,
}

/// The streams of a link.
#[derive(Debug, Default)]
pub(super) struct Streams {
    list: BTreeMap<StreamId, Stream>,
    by_name: HashMap<String, StreamId>,
    next_stream: StreamId,
    authors: HashMap<MemberId, Author>,
    /// Those who have left, the first one first.
    departed: VecDeque<MemberId>,
    purposes: HashMap<u64, Purpose>,
    next_token: u32,
    restores: Restores,
    sessions: Sessions,
    /// What the driver was last told of how far they are read.
    told: Vec<(StreamId, EntryId, EntryId)>,
}

impl Streams {
    fn send(&mut self, port: Port, purpose: Purpose, key: usize, args: Arc<Args>, fx: &mut Effects) {
        self.send_patiently(port, purpose, key, args, None, fx);
    }

    fn send_patiently(
        &mut self,
        port: Port,
        purpose: Purpose,
        key: usize,
        args: Arc<Args>,
        patience: Option<Duration>,
        fx: &mut Effects,
    ) {
        // The tokens of those whose bytes the user's client carries have 32 bits.
        self.next_token = self.next_token.wrapping_add(1);
        let token = u64::from(self.next_token);
        self.purposes.insert(token, purpose);
        fx.commands.push(KeyCommand { port, token, key, args, patience });
    }

    /// Asks for the oldest or the newest entry.
    fn look(&mut self, port: Port, purpose: Purpose, oldest: bool, name: &str, fx: &mut Effects) {
        let (command, from, to): (&[u8], &[u8], &[u8]) =
            if oldest { (b"XRANGE", b"-", b"+") } else { (b"XREVRANGE", b"+", b"-") };
        let args = Args::of(&[command, name.as_bytes(), from, to, b"COUNT", b"1"]);
        self.send(port, purpose, 1, Arc::new(args), fx);
    }

    /// The stream with this name, which is made if need be.
    fn stream(&mut self, name: &str) -> StreamId {
        if let Some(&number) = self.by_name.get(name) {
            return number;
        }
        let number = self.next_stream;
        self.next_stream += 1;
        self.by_name.insert(name.to_owned(), number);
        self.list.insert(
            number,
            Stream {
                name: name.to_owned(),
                max_len: u64::MAX,
                listeners: HashMap::new(),
                reader: Reader::default(),
                appends: Appends::default(),
                history: None,
                pages: Pages::default(),
            },
        );
        number
    }

    /// Whether nothing is on its way to Redis.
    pub(super) fn is_flushed(&self) -> bool {
        self.list.values().all(|stream| stream.appends.is_empty()) && self.sessions.is_empty()
    }

    /// How much was added, ever, to each stream that has not settled all of that.
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
        self.list.values().map(|stream| stream.appends.waiting()).sum()
    }

    /// Whether the member has to wait until Redis lets its streams be read.
    pub(super) fn is_waiting(&self, id: MemberId) -> bool {
        self.authors.get(&id).is_some_and(|author| {
            author
                .read
                .iter()
                .any(|number| self.list.get(number).is_some_and(|stream| !stream.reader.is_readable()))
        })
    }
}

impl Core {
    /// A member joins that speaks by streams.
    pub(super) fn join_streams(&mut self, id: MemberId, spec: &MemberSpec, fx: &mut Effects) {
        let Some(options) = &spec.stream else {
            return;
        };
        let names = StreamNames::of(&options.name, options.count, &spec.nsp);
        let streams = &mut self.streams;
        let written = streams.stream(&names.written);
        let mut read = Vec::new();
        if spec.emitter.is_none() {
            read.push(written);
            read.extend(names.astray.as_deref().map(|name| streams.stream(name)));
        }
        for number in &read {
            if let Some(stream) = streams.list.get_mut(number) {
                stream.listeners.entry(spec.nsp.clone()).or_default().push(id);
                stream.reader.open(options.read_count, options.block);
                if options.recovers {
                    let position = stream.reader.position();
                    let history = stream.history.get_or_insert_with(|| History::new(position));
                    history.allow(options.max_len);
                }
            }
        }
        if let Some(stream) = streams.list.get_mut(&written) {
            stream.max_len = stream.max_len.min(options.max_len);
        }
        let author = Author {
            uid: spec.uid.clone(),
            nsp: spec.nsp.clone(),
            written,
            read: read.clone(),
            max_len: options.max_len,
            recovers: options.recovers,
            tickets: 0,
        };
        streams.authors.insert(id, author);
        for number in read {
            self.drive_reader(number, fx);
        }
    }

    /// A member leaves. What it has added goes out, and what it still may add, too.
    pub(super) fn leave_streams(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(author) = self.streams.authors.get_mut(&id) else {
            return;
        };
        author.recovers = false;
        for number in std::mem::take(&mut author.read) {
            if let Some(stream) = self.streams.list.get_mut(&number) {
                stream.leave(&author.nsp, id);
            }
        }
        self.streams.departed.push_back(id);
        if self.streams.departed.len() > MAX_DEPARTED
            && let Some(first) = self.streams.departed.pop_front()
        {
            self.streams.authors.remove(&first);
        }
        self.fail_restores(|restore| restore.member == id, "the adapter was closed", fx);
        self.sweep_streams(fx);
    }

    /// Closes the readers that nobody needs, and forgets streams of which nothing is left.
    fn sweep_streams(&mut self, fx: &mut Effects) {
        let Core { streams, .. } = self;
        for (&number, stream) in &mut streams.list {
            if stream.listeners.is_empty() && stream.reader.close() {
                stream.history = None;
                stream.pages = Pages::default();
                fx.closed_readers.extend([reading_port(number), paging_port(number)]);
                streams
                    .purposes
                    .retain(|_, purpose| !purpose.reads(number) && *purpose != Purpose::Page(number));
            }
        }
        let written: Vec<StreamId> = streams.authors.values().map(|author| author.written).collect();
        streams.list.retain(|number, stream| {
            !stream.listeners.is_empty() || !stream.appends.is_empty() || written.contains(number)
        });
        let list = &streams.list;
        streams.by_name.retain(|_, number| list.contains_key(number));
    }

    /// Takes the end of a command.
    pub(super) fn replied(&mut self, token: u64, outcome: Outcome<'_>, fx: &mut Effects) {
        let Some(purpose) = self.streams.purposes.remove(&token) else {
            return;
        };
        match purpose {
            Purpose::Last(stream) => self.looked(stream, false, outcome, fx),
            Purpose::Oldest(stream) => self.looked(stream, true, outcome, fx),
            Purpose::Scan(stream) => self.scanned(stream, outcome, fx),
            Purpose::Read(stream) => self.read(stream, outcome, fx),
            Purpose::Add(stream) => self.added(stream, outcome, fx),
            Purpose::Baseline(stream) => self.baseline(stream, outcome, fx),
            Purpose::Sift(stream) => self.sifted(stream, outcome, fx),
            Purpose::NewestKept(stream) => self.kept_looked(stream, false, outcome, fx),
            Purpose::OldestKept(stream) => self.kept_looked(stream, true, outcome, fx),
            Purpose::Page(stream) => self.paged(stream, outcome, fx),
            Purpose::Take(restore) => self.taken(restore, outcome, true, fx),
            Purpose::Get(restore) => self.taken(restore, outcome, false, fx),
            Purpose::Delete => {}
            Purpose::Persist(session) => self.persisted(session, outcome, fx),
        }
        self.try_restores(fx);
    }

    /// Sends what waits and may go out. `room` is how many bytes the transport takes now.
    pub(super) fn release_streams(&mut self, room: usize, fx: &mut Effects) {
        if self.shut || !self.flow.is_connected() || !self.flow.is_proven() {
            return;
        }
        let mut room = room;
        let numbers: Vec<StreamId> = self.streams.list.keys().copied().collect();
        for number in numbers {
            room = self.drive_appends(number, room, fx);
        }
        self.drive_sessions(fx);
    }

    /// The link is lost: nobody waits for the ids of what is added meanwhile.
    pub(super) fn streams_down(&mut self, fx: &mut Effects) {
        for stream in self.streams.list.values_mut() {
            stream.appends.answer_all(fx);
        }
    }

    /// Another transport begins: what was under way has no end any more. `known` says that the link was known to reach
    /// the same Redis, so that what was read there still tells where to read on.
    pub(super) fn change_streams(&mut self, known: bool, fx: &mut Effects) {
        self.streams_down(fx);
        self.streams.purposes.clear();
        for stream in self.streams.list.values_mut() {
            stream.appends.interrupt();
            stream.reader.interrupt(known);
            stream.pages = Pages::default();
            if !known && let Some(history) = &mut stream.history {
                history.begin(None);
            }
        }
        self.streams.sessions.interrupt();
        self.fail_restores(|_| true, "the link has changed", fx);
        let numbers: Vec<StreamId> = self.streams.list.keys().copied().collect();
        for number in numbers {
            self.drive_reader(number, fx);
        }
    }

    /// The link is shut: what waits is dropped and counted, and what is under way is of no interest.
    pub(super) fn shut_streams(&mut self) {
        for stream in self.streams.list.values_mut() {
            let (dropped, lost) = stream.appends.clear();
            self.stats.dropped += dropped;
            self.stats.lost_in_flight += lost;
            self.unwritten += lost;
        }
        self.stats.dropped += self.streams.sessions.clear();
    }

    /// Does what is due.
    pub(super) fn tick_streams(&mut self, fx: &mut Effects) {
        let numbers: Vec<StreamId> = self.streams.list.keys().copied().collect();
        for number in numbers {
            self.drive_reader(number, fx);
            if let Some(stream) = self.streams.list.get_mut(&number) {
                stream.appends.tick(fx);
            }
        }
        self.fail_late_restores(fx);
    }

    /// When that is to be called.
    pub(super) fn streams_deadline(&self) -> Option<Instant> {
        let streams = self.streams.list.values();
        streams
            .flat_map(|stream| [stream.reader.deadline(), stream.appends.deadline()])
            .chain([self.streams.restores.deadline(), self.streams.sessions.deadline()])
            .flatten()
            .min()
    }
}

impl Stream {
    /// The members that read it, in the order in which they came.
    fn readers(&self) -> Vec<MemberId> {
        let mut members: Vec<MemberId> = self.listeners.values().flatten().copied().collect();
        members.sort_unstable();
        members
    }

    fn leave(&mut self, nsp: &str, id: MemberId) {
        if let Some(members) = self.listeners.get_mut(nsp) {
            members.retain(|&member| member != id);
            if members.is_empty() {
                self.listeners.remove(nsp);
            }
        }
    }
}

impl Core {
    fn tell_readers(&self, number: StreamId, event: &Event<'_>, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get(&number) else {
            return;
        };
        for id in stream.readers() {
            self.event(fx, id, event);
        }
    }
}
