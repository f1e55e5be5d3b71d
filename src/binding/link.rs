//! The `Link` class of `binding.js`: one per pair of clients, or per URL. What JS reports of the user's clients is in
//! [`super::reports`].
//!
//! What is called for every message is a function that takes the link's number (see [`super::hot`]): a method of a
//! class costs 300 ns more, since it makes sure of what it is called on.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::{Error, Function, Status};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use super::args::{Bytes, Text};
use super::links;
use super::member::family_of;
use super::numbers::{request_type, to_duration, to_usize};
use super::objects::{LinkOptions, LinkPosition, LinkStats};
use super::routing::candidate;
use super::settings::{LinkSettings, place};
use crate::core::effects::MemberId;
use crate::core::{Config, Position};
use crate::driver;
use crate::driver::command::{Command, Place};
use crate::driver::link::LinkConfig;
use crate::driver::shared::{AskJs, Shared};

/// A link to Redis, run by the link thread.
#[napi]
pub struct Link {
    id: u32,
    pub(super) shared: Arc<Shared>,
    /// The highest number that a member has had. A cell, since a getter among the arguments of another method may join
    /// one.
    members: Cell<MemberId>,
}

#[napi]
impl Link {
    /// Makes a link. `wake` is called on the JS thread when there is something to fetch.
    ///
    /// # Errors
    /// An `Error` if the settings cannot be used, or the link thread cannot be started.
    #[napi(constructor, catch_unwind)]
    pub fn new(options: LinkOptions, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ask = || AskJs::new(Arc::clone(&shared));
        let place = options.settings.map(|given| place(given, ask)).transpose()?;
        let config = LinkConfig {
            max_inbox: to_usize(options.max_inbox),
            core: Config {
                family: family_of(&options.family),
                settle: place.as_ref().map_or(Duration::ZERO, Place::settle),
                max_backlog: to_usize(options.max_backlog),
                proof: options.proof,
                verbose: options.verbose,
            },
            place,
        };
        // Weak: a link keeps no process alive. One place in the queue: a wake that finds it taken has nothing to add.
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
            driver::run(config, theirs, wake)
        })
        .map_err(|error| Error::new(Status::GenericFailure, error.to_string()))?;
        let id = links::add(Arc::clone(&shared));
        Ok(Link { id, shared, members: Cell::new(0) })
    }

    /// The number of the link, for the functions that take it.
    #[napi(getter)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Adds the member of a routing, and returns its number: a new one, or `id`, the one that it had on a link that has
    /// failed.
    ///
    /// # Errors
    /// An `Error` if there is no such routing.
    #[napi(catch_unwind)]
    pub fn join(&self, routing: u32, id: Option<MemberId>) -> napi::Result<MemberId> {
        let candidate = candidate(routing)?;
        let id = id.unwrap_or(self.members.get().saturating_add(1));
        self.members.set(self.members.get().max(id));
        let spec = Box::new(candidate.spec.clone());
        links::with_routings(self.id, |routings| routings.insert(id, Rc::clone(&candidate.rules)));
        self.shared.outbox.push(|_| Command::Join(id, spec));
        Ok(id)
    }

    /// Removes a member.
    #[napi(catch_unwind)]
    pub fn leave(&self, member: MemberId) {
        links::with_routings(self.id, |routings| routings.remove(&member));
        self.shared.outbox.push(|_| Command::Leave(member));
    }

    /// Adds a message that JS has encoded to the stream of a member. `kind` is its type, `data` are as an entry has
    /// them.
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

    /// How far JS has fetched the entries of a stream; `null` if it has fetched none, or connections are not recovered.
    #[napi(catch_unwind)]
    pub fn position(&self, stream: String) -> Option<LinkPosition> {
        let Position { last, since, .. } = self.shared.inbox.reached(&stream)?;
        Some(LinkPosition { last: last.to_string(), since: since.to_string() })
    }

    /// Takes a session from a key, and gathers what it has missed since the entry with the id `offset`. A `Restored`
    /// record with this token answers it in any case.
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
    /// An `Error` for a kind that nobody answers.
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
        let kind = request_type(kind).ok_or_else(|| {
            Error::new(Status::InvalidArg, format!("nobody answers requests of type {kind}"))
        })?;
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

    /// Waits until all present subscriptions of a member are confirmed; answered by a `Count` record with this token.
    #[napi(catch_unwind)]
    pub fn when_subscribed(&self, member: MemberId, token: u32) {
        self.shared.outbox.push(|_| Command::WhenSubscribed(member, token));
    }

    /// Nobody waits for the answer to `when_subscribed` with this token any more, and none comes.
    #[napi(catch_unwind)]
    pub fn give_up_waiting(&self, member: MemberId, token: u32) {
        self.shared.outbox.push(|_| Command::GiveUpWaiting(member, token));
    }

    /// Waits until Redis has answered for all that is published by now; answered by a `Count` record with this token.
    #[napi(catch_unwind)]
    pub fn when_answered(&self, token: u32) {
        self.shared.outbox.push(|_| Command::WhenAnswered(token));
    }

    /// Whether all that was published is with the kernel.
    #[napi(catch_unwind)]
    pub fn is_flushed(&self) -> bool {
        self.shared.outbox.is_flushed()
    }

    /// Asks for a `flushed` event; false if there is nothing to wait for.
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

    /// Ends the link as soon as all is written, or after a while.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.shared.outbox.push(|_| Command::Close);
    }

    /// The user's clients carry the bytes from now on.
    #[napi(catch_unwind)]
    pub fn use_client(&self) {
        self.shared.outbox.push(|_| Command::UseClient);
    }

    /// Makes own connections that carry the bytes instead of the user's clients, once they are proven to reach the same
    /// Redis. Nobody else knows the `secret`. It ends with the event `own` or `stayed`.
    ///
    /// # Errors
    /// An `Error` if the settings cannot be used.
    #[napi(catch_unwind)]
    pub fn use_own(&self, settings: LinkSettings, secret: String) -> napi::Result<()> {
        let place = Box::new(place(settings, || AskJs::new(Arc::clone(&self.shared)))?);
        self.shared.outbox.push(|_| Command::UseOwn { place, secret });
        Ok(())
    }

    /// Redis has answered for all that JS gave to the user's clients without the link, which the event `drain` asked
    /// for.
    #[napi(catch_unwind)]
    pub fn drained(&self, secret: String) {
        self.shared.outbox.push(|_| Command::Drained(secret));
    }

    /// The counters.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> LinkStats {
        LinkStats::of(&self.shared.inbox.stats(), self.shared.outbox.late())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.outbox.push(|_| Command::Close);
        links::remove(self.id);
    }
}
