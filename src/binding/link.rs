//! The `Link` class of `binding.js`: one per pair of clients, or per URL.
//!
//! What is called for every message is a function that takes the link's number: a method of a class costs 300 ns
//! more, since it makes sure of what it is called on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use napi::bindgen_prelude::{BufferSlice, Error, Function, Status, Uint32Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use super::args::{Bytes, Text};
use super::routing::{candidate, destination, family_of};
use super::settings::{LinkSettings, place};
use crate::core::effects::MemberId;
use crate::core::routing::{Routing as Rules, has_replacement};
use crate::core::{Config, Position};
use crate::driver;
use crate::driver::command::{Command, Commands, Place};
use crate::driver::inbox::Fetched;
use crate::driver::link::Options;
use crate::driver::shared::{AskJs, Shared};
use crate::transport::client::Report;
use crate::transport::passing::{Passing, passing};
use crate::transport::redis::{self, Login, Settings, TlsOptions};
use crate::transport::{Subscription, SubscriptionKind};
use crate::wire::request::RequestType;
use crate::wire::streams::StreamNames;

/// How a link is made.
#[napi(object)]
pub struct LinkOptions {
    /// Where its own connections go; `null` if the user's clients carry the bytes.
    pub settings: Option<LinkSettings>,
    /// What its members speak: `classic`, `sharded`, `streams`, or `streams-sharded` for those of streams with
    /// `useShardedPubSub`.
    pub family: String,
    /// What has to come back through the user's client before the link is trusted; `null` if there is none.
    pub proof: Option<String>,
    /// The bound of the publish backlog, in bytes.
    pub max_backlog: f64,
    /// The bound of the inbox, in bytes.
    pub max_inbox: f64,
    /// Whether to report why messages are dropped.
    pub verbose: bool,
}

/// How far a stream is read.
#[napi(object)]
pub struct LinkPosition {
    /// The id of the last event that was read.
    pub last: String,
    /// Nothing behind this id was left out.
    pub since: String,
}

/// The counters of a link; `src/core/stats.rs` says what each is.
#[napi(object)]
#[allow(missing_docs)]
pub struct LinkStats {
    pub published: f64,
    pub acknowledged: f64,
    pub receivers: f64,
    pub refused: f64,
    pub lost_in_flight: f64,
    pub early: f64,
    pub dropped: f64,
    pub backlog: f64,
    pub unencodable: f64,
    pub received: f64,
    pub delivered: f64,
    pub ignored: f64,
    pub own: f64,
    pub malformed: f64,
    pub outages: f64,
    pub pending_requests: f64,
    pub inbox_bytes: f64,
}

/// How long publishes wait at least after a failover. All servers learn of it by the same lost connections, ask who is
/// master every 50 to 250 ms, and may be told by a node that has not heard yet: the slowest was 700 ms behind the first.
const CLUSTER_SETTLE: Duration = Duration::from_millis(1500);

thread_local! {
    /// The links of this JS thread, by their number.
    static LINKS: RefCell<Vec<Option<Local>>> = const { RefCell::new(Vec::new()) };
}

/// A link as its JS thread has it.
struct Local {
    shared: Arc<Shared>,
    /// The channels of its members.
    routings: HashMap<MemberId, Rc<Rules>>,
}

/// A link to Redis, run by the link thread.
#[napi]
pub struct Link {
    id: u32,
    shared: Arc<Shared>,
    members: MemberId,
}

/// Returns for how long one link of this process has kept the others waiting at most since the last call, in
/// milliseconds: the longest step of the link thread.
#[napi(catch_unwind)]
pub fn longest_step() -> f64 {
    driver::take_longest_step().as_secs_f64() * 1000.0
}

/// Returns the time of the clock that events are stamped with, in milliseconds; see `clock.rs`.
#[napi(catch_unwind)]
pub fn clock() -> u32 {
    crate::clock::millis(Instant::now())
}

#[napi]
impl Link {
    /// Makes a link. `wake` is called on the JS thread when there is something to fetch.
    ///
    /// # Errors
    /// An `Error` if the settings make no sense, or the link thread cannot be started.
    #[napi(constructor, catch_unwind)]
    pub fn new(options: LinkOptions, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ask = || AskJs::new(Arc::clone(&shared));
        let settings = options.settings.map(|given| place(given, ask)).transpose()?;
        let settle = match settings {
            Some(Place::Cluster(_)) => CLUSTER_SETTLE,
            _ => Duration::ZERO,
        };
        let options = Options {
            settings,
            max_inbox: to_usize(options.max_inbox),
            config: Config {
                family: family_of(&options.family),
                settle,
                max_backlog: to_usize(options.max_backlog),
                proof: options.proof,
                verbose: options.verbose,
            },
        };
        // Weak: what has nothing more to do ends, and takes the link with it. One place in the queue: a wake
        // that finds it taken has nothing to add.
        let wake = wake
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            .max_queue_size::<1>()
            .build()?;
        let theirs = Arc::clone(&shared);
        driver::spawn(move || {
            let wake = move || {
                wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            };
            driver::run(options, theirs, wake)
        })
        .map_err(|error| Error::new(Status::GenericFailure, error.to_string()))?;
        let id = register(Arc::clone(&shared));
        Ok(Link { id, shared, members: 0 })
    }

    /// The number of the link, for the functions that take it.
    #[napi(getter)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Adds the member of a routing, and returns its number: another one than those before, or the one that it had on a link
    /// that has failed.
    ///
    /// # Errors
    /// An `Error` if there is no such routing.
    #[napi(catch_unwind)]
    pub fn join(&mut self, routing: u32, id: Option<MemberId>) -> napi::Result<MemberId> {
        let candidate = candidate(routing)?;
        let id = id.unwrap_or(self.members.saturating_add(1));
        self.members = self.members.max(id);
        let spec = Box::new(candidate.spec.clone());
        self.with_routings(|routings| routings.insert(id, Rc::clone(&candidate.rules)));
        self.shared.outbox.push(|_| Command::Join(id, spec));
        Ok(id)
    }

    /// Removes a member.
    #[napi(catch_unwind)]
    pub fn leave(&self, member: MemberId) {
        self.with_routings(|routings| routings.remove(&member));
        self.shared.outbox.push(|_| Command::Leave(member));
    }

    /// Adds a message that JS has encoded to the stream of a member: `kind` its type, `data` as they stand in an entry.
    #[napi(catch_unwind)]
    pub fn append(&self, member: MemberId, kind: u32, data: Bytes) {
        self.shared.outbox.push(|commands| {
            let data = commands.put(data.as_slice());
            Command::Append { member, kind, data }
        });
    }

    /// Keeps a session under a key, for so many milliseconds.
    #[napi(catch_unwind)]
    pub fn persist(&self, member: MemberId, key: Bytes, session: Bytes, lifetime: f64) {
        let lifetime = to_duration(lifetime);
        self.shared.outbox.push(|commands| {
            let key = commands.put(key.as_slice());
            let session = commands.put(session.as_slice());
            Command::Persist { member, key, session, lifetime }
        });
    }

    /// How far a stream is read of what JS has fetched; `null` if nothing of it is known, or connections are not recovered.
    #[napi(catch_unwind)]
    pub fn position(&self, stream: String) -> Option<LinkPosition> {
        let Position { last, since, .. } = self.shared.inbox.reached(&stream)?;
        Some(LinkPosition { last: last.to_string(), since: since.to_string() })
    }

    /// Takes a session from a key, and gathers what it has missed since the entry with the id `offset`; answered by a
    /// `Restored` record with this token, in any case.
    #[napi(catch_unwind)]
    pub fn restore(&self, member: MemberId, token: u32, key: Bytes, offset: Bytes) {
        self.shared.outbox.push(|commands| {
            let key = commands.put(key.as_slice());
            let offset = commands.put(offset.as_slice());
            Command::Restore { member, token, key, offset }
        });
    }

    /// Publishes bytes that are ready for the wire for a member that has left.
    #[napi(catch_unwind)]
    pub fn publish(&self, channel: Text, bytes: Bytes) {
        self.shared.outbox.push(|commands| {
            let channel = commands.put(channel.as_bytes());
            let bytes = commands.put(bytes.as_slice());
            Command::Publish { channel, bytes }
        });
    }

    /// Sends a request, unless the user's client has carried it already, and gathers the answers, for so many
    /// milliseconds at most. Ends with an `Answers` or `AckEnd` record, in any case.
    ///
    /// # Errors
    /// A `TypeError` for a kind that nobody answers.
    #[napi(catch_unwind)]
    pub fn request(
        &self,
        member: MemberId,
        id: String,
        kind: u32,
        bytes: Bytes,
        timeout: f64,
        carried: bool,
    ) -> napi::Result<()> {
        let kind = match kind {
            0 => RequestType::Sockets,
            1 => RequestType::AllRooms,
            5 => RequestType::RemoteFetch,
            6 => RequestType::ServerSideEmit,
            7 => RequestType::Broadcast,
            other => {
                return Err(Error::new(
                    Status::InvalidArg,
                    format!("nobody answers requests of type {other}"),
                ));
            }
        };
        let timeout = to_duration(timeout);
        self.shared.outbox.push(|commands| {
            let bytes = commands.put(bytes.as_slice());
            Command::Request { member, id, kind, bytes, timeout, carried }
        });
        Ok(())
    }

    /// Counts the members; answered by a `Count` record with this token.
    #[napi(catch_unwind)]
    pub fn server_count(&self, member: MemberId, token: u32) {
        self.shared.outbox.push(|_| Command::ServerCount(member, token));
    }

    /// Counts the members without one that has left; answered by a `Count` record with this token.
    ///
    /// # Errors
    /// An `Error` if there is no such routing.
    #[napi(catch_unwind)]
    pub fn server_count_without(&self, routing: u32, token: u32) -> napi::Result<()> {
        let channels = candidate(routing)?.rules.channels.answering();
        self.shared.outbox.push(|_| Command::CountSubscribers(token, channels));
        Ok(())
    }

    /// Waits until all that a member listens to by now is confirmed; answered by a `Count` record with this token.
    #[napi(catch_unwind)]
    pub fn when_subscribed(&self, member: MemberId, token: u32) {
        self.shared.outbox.push(|_| Command::WhenSubscribed(member, token));
    }

    /// Nobody waits for the answer to `when_subscribed` with this token any more, and none comes.
    #[napi(catch_unwind)]
    pub fn give_up_waiting(&self, member: MemberId, token: u32) {
        self.shared.outbox.push(|_| Command::GiveUpWaiting(member, token));
    }

    /// Waits until Redis has answered for all that was published by now; answered by a `Count` record with this token.
    #[napi(catch_unwind)]
    pub fn when_answered(&self, token: u32) {
        self.shared.outbox.push(|_| Command::WhenAnswered(token));
    }

    /// Whether nothing that was published is still on its way to the kernel.
    #[napi(catch_unwind)]
    pub fn is_flushed(&self) -> bool {
        self.shared.outbox.is_flushed()
    }

    /// Wants a `flushed` event; false if there is nothing to wait for.
    #[napi(catch_unwind)]
    pub fn watch_flushed(&self) -> bool {
        self.shared.outbox.watch_flushed()
    }

    /// Blocks until all is flushed, for so many milliseconds at most; says whether it is.
    #[napi(catch_unwind)]
    pub fn wait_flushed(&self, timeout: f64) -> bool {
        self.shared.outbox.wait_flushed(to_duration(timeout))
    }

    /// The user's clients are open, or have ended.
    #[napi(catch_unwind)]
    pub fn open(&self, open: bool) {
        self.shared.outbox.push(|_| Command::Open(open));
    }

    /// Ends the link as soon as all is written, or soon.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.shared.outbox.push(|_| Command::Close);
    }

    /// The user's clients carry the bytes from now on.
    #[napi(catch_unwind)]
    pub fn use_client(&self) {
        self.shared.outbox.push(|_| Command::UseClient);
    }

    /// Own connections to carry the bytes instead of the user's clients, once they are proven to reach the same Redis:
    /// `secret` is what nobody else knows. Ends with the event `own` or `stayed`.
    ///
    /// # Errors
    /// An `Error` if the settings make no sense.
    #[napi(catch_unwind)]
    pub fn use_own(&self, settings: LinkSettings, secret: String) -> napi::Result<()> {
        let place = Box::new(place(settings, || AskJs::new(Arc::clone(&self.shared)))?);
        self.shared.outbox.push(|_| Command::UseOwn { place, secret });
        Ok(())
    }

    /// Redis has answered for what JS has given to the user's clients by itself, as the event `drain` wants it.
    #[napi(catch_unwind)]
    pub fn drained(&self, secret: String) {
        self.shared.outbox.push(|_| Command::Drained(secret));
    }

    /// The user's client is connected.
    #[napi(catch_unwind)]
    pub fn client_up(&self) {
        self.report(Report::Up);
    }

    /// The user's client is not connected.
    #[napi(catch_unwind)]
    pub fn client_down(&self, reason: String) {
        self.report(Report::Down { reason });
    }

    /// The user's client is connected, and Redis takes nothing for now, in its own words.
    #[napi(catch_unwind)]
    pub fn client_held(&self, reason: String) {
        self.report(Report::Held { reason });
    }

    /// The user's client is subscribed: to a channel (0), a pattern (1), or a channel of a shard (2).
    #[napi(catch_unwind)]
    pub fn client_subscribed(&self, kind: u32, name: Bytes) {
        let subscription = Subscription::new(subscription_kind(kind), name.as_slice());
        self.report(Report::Subscribed(subscription));
    }

    /// The user's client could not subscribe.
    #[napi(catch_unwind)]
    pub fn client_subscribe_failed(&self, error: String) {
        self.report(Report::SubscribeFailed { error });
    }

    /// The user's client has received a message by a subscription of this kind; `name` is its name if that is not
    /// the channel's.
    #[napi(catch_unwind)]
    pub fn client_message(&self, kind: u32, name: Option<Bytes>, channel: Bytes, payload: Bytes) {
        self.shared.outbox.push(|commands| Command::ClientMessage {
            kind: subscription_kind(kind),
            name: name.map(|name| commands.put(name.as_slice())),
            channel: commands.put(channel.as_slice()),
            payload: commands.put(payload.as_slice()),
        });
    }

    /// The user's client carries what a member publishes, without the link; to be said now and then.
    #[napi(catch_unwind)]
    pub fn client_carries(&self, member: MemberId) {
        self.shared.outbox.push(|_| Command::Carried(member));
    }

    /// A publish of the user's client is done.
    #[napi(catch_unwind)]
    pub fn client_published(&self, receivers: u32) {
        self.report(Report::Published { receivers: receivers.into() });
    }

    /// A publish of the user's client has failed.
    #[napi(catch_unwind)]
    pub fn client_publish_failed(&self, error: String) {
        self.report(Report::PublishFailed { error });
    }

    /// A publish of the user's client reached nobody, though somebody listens: it is to be published again.
    #[napi(catch_unwind)]
    pub fn client_returned(&self, channel: Bytes, payload: Bytes) {
        let (channel, payload) = (channel.as_slice().to_vec(), payload.as_slice().to_vec());
        self.report(Report::Returned { channel, payload });
    }

    /// The same for one that went to the client without the link.
    #[napi(catch_unwind)]
    pub fn publish_again(&self, channel: Bytes, payload: Bytes) {
        self.shared.outbox.push(|commands| Command::PublishAgain {
            channel: commands.put(channel.as_slice()),
            bytes: commands.put(payload.as_slice()),
        });
    }

    /// The user's client has lost a subscription, and is about to make it again. `silence`: how long nothing may have
    /// been heard already, in milliseconds.
    #[napi(catch_unwind)]
    pub fn client_lost(&self, kind: u32, name: Bytes, reason: String, silence: u32) {
        let subscription = Subscription::new(subscription_kind(kind), name.as_slice());
        self.report(Report::Lost { subscription, reason, silence: silence.into(), at: Instant::now() });
    }

    /// The user's client has counted subscribers, or failed to: `refusal` is what Redis has said then, if it has.
    #[napi(catch_unwind)]
    pub fn client_counted(&self, token: u32, counts: Option<Vec<u32>>, refusal: Option<String>) {
        let counts = counts.map(|counts| counts.into_iter().map(u64::from).collect()).ok_or(refusal);
        self.report(Report::Counted { token: token.into(), counts });
    }

    /// The user's client has run a command: `reply` is what Redis has said, in RESP2; `error` why nothing is known.
    #[napi(catch_unwind)]
    pub fn client_replied(&self, token: u32, reply: Option<Bytes>, error: Option<String>) {
        let reply = match reply {
            Some(reply) => Ok(reply.as_slice().to_vec()),
            None => Err(error.unwrap_or_default()),
        };
        self.report(Report::Replied { token: token.into(), reply });
    }

    /// Answers a `Credentials` record: with `error`, or with whom to be, in part or not at all. What comes too late is
    /// passed over.
    #[napi(catch_unwind)]
    pub fn credentials(
        &self,
        token: u32,
        username: Option<String>,
        password: Option<String>,
        error: Option<String>,
    ) {
        let answer = match error {
            Some(error) => Err(error),
            None => Ok(Login { username, password }),
        };
        self.shared.questions.answer(token, answer);
    }

    /// The counters.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> LinkStats {
        let stats = self.shared.inbox.stats();
        LinkStats {
            published: to_f64(stats.published),
            acknowledged: to_f64(stats.acknowledged),
            receivers: to_f64(stats.receivers),
            refused: to_f64(stats.refused),
            lost_in_flight: to_f64(stats.lost_in_flight),
            early: to_f64(stats.early),
            dropped: to_f64(stats.dropped.saturating_add(self.shared.outbox.late())),
            backlog: to_f64(stats.backlog),
            unencodable: to_f64(stats.unencodable),
            received: to_f64(stats.received),
            delivered: to_f64(stats.delivered),
            ignored: to_f64(stats.ignored),
            own: to_f64(stats.own),
            malformed: to_f64(stats.malformed),
            outages: to_f64(stats.outages),
            pending_requests: to_f64(stats.pending_requests),
            inbox_bytes: to_f64(stats.inbox_bytes),
        }
    }
}

impl Link {
    fn report(&self, report: Report) {
        self.shared.outbox.push(|_| Command::Client(report));
    }

    fn with_routings<R>(&self, change: impl FnOnce(&mut HashMap<MemberId, Rc<Rules>>) -> R) {
        LINKS.with_borrow_mut(|links| {
            if let Some(Some(link)) = links.get_mut(self.id as usize) {
                change(&mut link.routings);
            }
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.outbox.push(|_| Command::Close);
        // At the end of a worker the thread's own data may be gone already.
        let _ = LINKS.try_with(|links| {
            // Nobody has borrowed them while garbage is collected. Were it otherwise, the place would stay taken:
            // a panic in a finalizer would abort the process.
            if let Ok(mut links) = links.try_borrow_mut()
                && let Some(link) = links.get_mut(self.id as usize)
            {
                *link = None;
            }
        });
    }
}

/// Broadcasts an event with binary attachments; otherwise as what `fastBroadcast` returns.
#[napi(catch_unwind)]
pub fn broadcast_binary(
    link: u32,
    member: MemberId,
    payload: Bytes,
    attachments: Vec<Bytes>,
    room: Option<Text>,
    opts: Option<Bytes>,
    checked: bool,
) -> napi::Result<u32> {
    broadcast_parts(link, member, &payload, &attachments, room, opts, checked)
}

/// Says that the first local socket has joined a room, or that the last one has left it; `is_text` if JS has the room as a
/// string. Returns whether Redis is asked for something for it.
#[napi(catch_unwind)]
pub fn set_room(link: u32, member: MemberId, room: Text, present: bool, is_text: bool) -> napi::Result<bool> {
    with_link(link, |link| {
        if !is_text || has_replacement(room.as_bytes()) {
            link.shared.outbox.push_lazily(|_| Command::OddRoom(member, present));
        }
        let subscribes = link.routings.get(&member).is_some_and(|rules| rules.subscribes(room.as_bytes()));
        let add = |commands: &mut Commands| {
            let room = commands.put(room.as_bytes());
            Command::Room { member, room, present }
        };
        let outbox = &link.shared.outbox;
        if subscribes {
            outbox.push(add)
        } else {
            outbox.push_lazily(add)
        }
        subscribes
    })
}

/// Says whether the namespace has any local socket.
#[napi(catch_unwind)]
pub fn set_occupied(link: u32, member: MemberId, occupied: bool) -> napi::Result<()> {
    with_link(link, |link| link.shared.outbox.push_lazily(|_| Command::Occupied(member, occupied)))
}

/// Says that so many requests have been worked off.
#[napi(catch_unwind)]
pub fn settled(link: u32, member: MemberId, count: u32) -> napi::Result<()> {
    with_link(link, |link| link.shared.outbox.push_lazily(|_| Command::Settled(member, count)))
}

/// Copies records into `slab` from `start` on; returns how many, or minus the size of the slab that the next one
/// needs, or 0. `table` gets 12 numbers for each, and in its last place the bytes of all.
// Strict: `BufferSlice` asks for the bytes of what may be no Buffer, for which Node aborts before 20.12.
#[napi(catch_unwind, strict)]
pub fn fetch(link: u32, mut slab: BufferSlice<'_>, start: u32, mut table: Uint32Array) -> napi::Result<f64> {
    // SAFETY: JS runs on this thread, so that nothing else looks at the table during the call.
    let table = unsafe { table.as_mut() };
    let Some((bytes_taken, rows)) = table.split_last_mut() else {
        return Ok(0.0);
    };
    let fetched = with_link(link, |link| {
        let Local { shared: link, .. } = link;
        let fetched = link.inbox.fetch(&mut slab, start as usize, rows);
        if link.paused.load(Ordering::Acquire) {
            link.outbox.nudge();
        }
        fetched
    })?;
    Ok(match fetched {
        Fetched::Nothing => 0.0,
        Fetched::Needs(bytes) => -to_f64(bytes as u64),
        Fetched::Records { count, bytes } => {
            *bytes_taken = u32::try_from(bytes).unwrap_or(u32::MAX);
            to_f64(count as u64)
        }
    })
}

/// Says what is wrong with the URL of a Redis; `null` if nothing is.
#[napi(catch_unwind)]
pub fn url_problem(url: String) -> Option<String> {
    // The URL alone is looked at: whether there are certificates is for the link to say.
    let tls = TlsOptions { insecure: true, ..TlsOptions::default() };
    Settings::from_url(&url, Some(&tls)).err().map(|error| error.to_string())
}

/// Returns whether an error of Redis says that it takes later what it refuses.
#[napi(catch_unwind)]
pub fn is_taken_later(error: String) -> bool {
    passing(error.as_bytes()).is_some_and(Passing::is_here)
}

/// Returns the stream that a namespace writes to, of `count` streams called `name`.
#[napi(catch_unwind)]
pub fn stream_of(name: String, count: u32, nsp: String) -> String {
    StreamNames::of(&name, count, &nsp).written
}

/// Returns the slot of a cluster that a channel or key belongs to.
#[napi(catch_unwind)]
pub fn slot_of(name: String) -> u32 {
    redis::slot_of(name.as_bytes()).into()
}

/// Whether a text may say something else than the values that it was printed from: a Date is printed as a string,
/// which the wire of the reference keeps apart, and an object of the user's may look like the place of a binary
/// attachment. JS then looks at the values.
#[napi(catch_unwind)]
pub fn may_mislead(payload: Bytes, attachments: u32) -> bool {
    misleads(payload.as_slice(), attachments as usize)
}

fn misleads(payload: &[u8], attachments: usize) -> bool {
    static DATE_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"Z\""));
    static PLACEHOLDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"{\"_placeholder\":true"));
    let dates = DATE_END.find_iter(payload).any(|end| {
        // .123Z"
        let fraction = end.checked_sub(4).and_then(|start| payload.get(start..end));
        matches!(fraction, Some([b'.', digits @ ..]) if digits.iter().all(u8::is_ascii_digit))
    });
    dates || (attachments > 0 && PLACEHOLDER.find_iter(payload).count() != attachments)
}

/// What has become of a broadcast.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Sent {
    /// It is on its way.
    Yes = 0,
    /// It is not: the text may not say what was meant, see `mayMislead`.
    Misleads = 1,
    /// It is not: the options have to name the room, and were not given.
    Ambiguous = 2,
}

/// See [`super::fast::fast_broadcast`].
pub fn broadcast_parts(
    link: u32,
    member: MemberId,
    payload: &Bytes,
    attachments: &[Bytes],
    room: Option<Text>,
    opts: Option<Bytes>,
    checked: bool,
) -> napi::Result<u32> {
    let payload = payload.as_slice();
    if !checked && misleads(payload, attachments.len()) {
        return Ok(Sent::Misleads as u32);
    }
    let sent = with_link(link, |link| {
        // That of a member which has left is not known: it may add to its streams yet.
        let rules = link.routings.get(&member);
        let takes_room_channel = match (&room, rules) {
            (Some(room), Some(rules)) => {
                if opts.is_none() && rules.is_ambiguous(room.as_bytes()) {
                    return Sent::Ambiguous;
                }
                rules.takes_room_channel(room.as_bytes(), Instant::now())
            }
            _ => false,
        };
        link.shared.outbox.push(|commands| {
            let payload = commands.put(payload);
            let attachments = attachments.iter().map(|bytes| commands.put(bytes.as_slice())).collect();
            let room = room.as_ref().map(|room| commands.put(room.as_bytes()));
            let opts = opts.map(|opts| commands.put(opts.as_slice()));
            Command::Broadcast { member, payload, attachments, room, opts, takes_room_channel }
        });
        Sent::Yes
    })?;
    Ok(sent as u32)
}

/// See [`super::fast::fast_send`].
pub fn send_parts(
    link: u32,
    member: MemberId,
    to: u32,
    name: Option<Text>,
    bytes: &[u8],
) -> napi::Result<bool> {
    with_link(link, |link| {
        let Some(rules) = link.routings.get(&member) else {
            return Ok(false);
        };
        let to = destination(to, name, rules)?;
        link.shared.outbox.push(|commands| Command::Send { member, to, bytes: commands.put(bytes) });
        Ok(true)
    })?
}

fn register(link: Arc<Shared>) -> u32 {
    LINKS.with_borrow_mut(|links| {
        let free = links.iter().position(Option::is_none).unwrap_or(links.len());
        if free == links.len() {
            links.push(None);
        }
        if let Some(place) = links.get_mut(free) {
            *place = Some(Local { shared: link, routings: HashMap::new() });
        }
        u32::try_from(free).unwrap_or(u32::MAX)
    })
}

/// Nothing that `call` does may enter the runtime: a collection of garbage would run `Link::drop`.
fn with_link<R>(id: u32, call: impl FnOnce(&Local) -> R) -> napi::Result<R> {
    LINKS.with_borrow(|links| match links.get(id as usize) {
        Some(Some(link)) => Ok(call(link)),
        _ => Err(Error::new(Status::InvalidArg, "the link is gone")),
    })
}

/// The number is that of the records for JS, too.
fn subscription_kind(number: u32) -> SubscriptionKind {
    match number {
        0 => SubscriptionKind::Channel,
        1 => SubscriptionKind::Pattern,
        _ => SubscriptionKind::Shard,
    }
}

#[allow(clippy::cast_precision_loss)] // counters below 2^53
fn to_f64(count: u64) -> f64 {
    count as f64
}

fn to_duration(milliseconds: f64) -> Duration {
    // A year: far beyond any timeout, and far from what an Instant cannot hold.
    let seconds = milliseconds / 1e3;
    if seconds.is_nan() { Duration::ZERO } else { Duration::from_secs_f64(seconds.clamp(0.0, 3.2e7)) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
fn to_usize(bytes: f64) -> usize {
    bytes.clamp(0.0, 9e15) as usize
}
