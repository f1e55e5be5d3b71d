//! The protocol without any I/O: commands, messages and `now` in, [`Effects`] out.
//!
//! No clock, lock, thread or socket here; the driver has those. [`Core`] has all state of a link, and only dispatches
//! commands, messages and timers to its parts:
//!
//! ```text
//! Core ─┬─ Messaging ─┬─ Members    members, their subscriptions, who listens to what
//!       │             ├─ Publisher  when messages go out, what waits, what is in flight; needs Members
//!       │             ├─ Requests   which requests wait for answers
//!       │             └─ Census     how many other servers there are; needs the three above
//!       ├─ Streams                  entries and sessions; hands entries to Messaging
//!       └─ Crossing                 a change to own connections that is under way; needs Messaging
//! ```
//!
//! Each step has a `Context`: the settings, the counters, and the effects with the time. It is handed down with every
//! call; nothing calls back up.

mod census;
mod context;
mod crossing;
pub mod effects;
mod event;
mod incoming;
pub mod member;
mod members;
mod messaging;
mod publisher;
pub mod requests;
pub mod routes;
pub mod routing;
pub mod stats;
mod streams;
pub mod subscriptions;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::wire::Family;
pub use crate::wire::channel::Destination;
pub use context::Config;
use context::{Context, tell};
use crossing::Crossing;
use effects::{Effects, MemberId};
pub use event::Event;
use member::{Interest, MemberSpec};
pub use messaging::Emit;
use messaging::Messaging;
pub use requests::Ask;
use stats::Stats;
pub use streams::Position;
use streams::Streams;

/// A link's state.
#[derive(Debug)]
pub struct Core {
    config: Config,
    stats: Stats,
    messaging: Messaging,
    streams: Streams,
    /// The own connections are about to take over from the user's clients.
    crossing: Option<Crossing>,
}

/// The context of a step: only the fields that it needs are borrowed.
macro_rules! context_of {
    ($core:ident, $fx:ident) => {
        &mut Context { settings: &$core.config, stats: &mut $core.stats, fx: $fx }
    };
}
use context_of;

impl Core {
    /// A link without members; `opens_subscribers` is the transport's.
    pub fn new(config: Config, opens_subscribers: bool) -> Self {
        Core {
            messaging: Messaging::new(&config, opens_subscribers),
            config,
            stats: Stats::default(),
            streams: Streams::default(),
            crossing: None,
        }
    }

    /// The family of messages that its members speak.
    pub fn family(&self) -> Family {
        self.config.family
    }

    fn is_streams(&self) -> bool {
        matches!(self.config.family, Family::Streams { .. })
    }

    // --- members ---------------------------------------------------------------------------------------

    /// A member joins: its channels are subscribed to.
    pub fn join(&mut self, id: MemberId, spec: MemberSpec, fx: &mut Effects) {
        self.abandon_crossing("a namespace has come", fx);
        let waits_for_streams = self.streams.join(id, &spec, fx);
        self.messaging.join(id, spec, waits_for_streams, context_of!(self, fx));
    }

    /// A member leaves: its subscriptions and requests end.
    pub fn leave(&mut self, id: MemberId, fx: &mut Effects) {
        self.abandon_crossing("a namespace has gone", fx);
        if let Some(member) = self.messaging.members.remove(id, fx) {
            self.streams.leave(id, fx);
            self.messaging.forget(id, member, fx);
        }
    }

    /// Whether any member is left.
    pub fn has_members(&self) -> bool {
        !self.messaging.members.is_empty()
    }

    /// The sockets of a member, as far as they are known. JS updates them.
    pub fn interest(&mut self, id: MemberId) -> Option<&mut Interest> {
        self.messaging.members.interest(id)
    }

    /// The first local socket of a member has joined a room, or the last one has left it.
    pub fn set_room(&mut self, id: MemberId, room: &[u8], present: bool) {
        self.messaging.members.set_room(id, room, present);
    }

    /// Subscribes to the channels of rooms that have got their first socket, and no longer to those of rooms that have lost
    /// their last one: once for all rooms of a step.
    pub fn follow_rooms(&mut self, fx: &mut Effects) {
        if self.keeps_subscriptions() {
            return;
        }
        let Core { crossing, messaging, .. } = self;
        messaging.follow_rooms(
            |id, change, name, fx| {
                if let Some(crossing) = crossing {
                    crossing.follow_room(id, change, name, fx);
                }
            },
            context_of!(self, fx),
        );
    }

    /// Waits until all that a member has come to listen to by now is confirmed; JS hears of it by a
    /// [`Kind::Count`](effects::Kind::Count) record with this token.
    pub fn when_subscribed(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        if let Some(crossing) = self.crossing.as_mut().filter(|crossing| crossing.is_joined()) {
            return crossing.wait(id, token);
        }
        self.follow_rooms(fx);
        self.messaging.when_subscribed(id, token, fx);
    }

    /// A call of [`Core::when_subscribed`] waits no longer, and is not answered.
    pub fn give_up_waiting(&mut self, id: MemberId, token: u32) {
        if let Some(crossing) = &mut self.crossing {
            crossing.give_up(token);
        }
        if let Some(member) = self.messaging.members.get_mut(id) {
            member.subscriptions.give_up(token);
        }
    }

    // --- the carrier -----------------------------------------------------------------------------------

    /// Whether the user's clients carry the bytes.
    pub fn is_by_clients(&self) -> bool {
        self.messaging.members.are_by_clients()
    }

    /// Another transport carries the bytes from now on.
    pub fn change_transport(&mut self, opens_subscribers: bool, needs_proof: bool, fx: &mut Effects) {
        let known = self.messaging.publisher.flow.is_proven();
        self.messaging.change_transport(opens_subscribers, needs_proof, context_of!(self, fx));
        self.streams.change_transport(known, &mut self.messaging.members, fx);
    }

    /// Trusts the link without a proof: the user's clients have ended, and nothing else can carry the backlog.
    pub fn trust(&mut self, fx: &mut Effects) {
        self.messaging.trust(context_of!(self, fx));
    }

    /// Begins to change to own connections, which are about to be made. Nobody else knows `secret`.
    pub fn begin_crossing(&mut self, secret: &str, fx: &mut Effects) {
        let Messaging { members, publisher, .. } = &self.messaging;
        let may_cross = self.crossing.is_none()
            && members.are_by_clients()
            && !self.is_streams()
            && publisher.flow.is_open()
            && !publisher.is_shut();
        let first = members.ids().first().and_then(|&id| members.get(id));
        match first.filter(|_| may_cross) {
            Some(first) => self.crossing = Some(Crossing::begin(secret, first, fx)),
            None => self.event(fx, 0, &Event::Stayed { reason: "the link is busy" }),
        }
    }

    /// Whether a change is under way.
    pub fn is_crossing(&self) -> bool {
        self.crossing.is_some()
    }

    /// Whether the carrier is to be changed now, by [`Core::cross`].
    pub fn is_across(&self) -> bool {
        self.crossing.as_ref().is_some_and(Crossing::is_done)
    }

    /// Whether subscriptions stay as they are for the moment.
    fn keeps_subscriptions(&self) -> bool {
        self.crossing.as_ref().is_some_and(Crossing::is_joined)
    }

    /// Redis has answered for all that JS has given to the clients by itself.
    pub fn clients_drained(&mut self, secret: &str) {
        if let Some(crossing) = &mut self.crossing {
            crossing.clients_drained(secret);
        }
    }

    /// Goes on with a change of the carrier. To be called once all reports are handled.
    pub fn advance_crossing(&mut self, fx: &mut Effects) {
        if let Some(crossing) = &mut self.crossing
            && let Some(reason) = crossing.advance(&mut self.messaging, context_of!(self, fx))
        {
            self.abandon_crossing(reason, fx);
        }
    }

    /// Stays with the clients.
    pub fn abandon_crossing(&mut self, reason: &str, fx: &mut Effects) {
        if let Some(crossing) = self.crossing.take() {
            crossing.abandon(reason, &mut self.messaging, context_of!(self, fx));
        }
    }

    /// The own connections carry the bytes from now on.
    pub fn cross(&mut self, fx: &mut Effects) {
        if let Some(crossing) = self.crossing.take() {
            crossing.finish(&mut self.messaging, context_of!(self, fx));
        }
    }

    // --- outgoing --------------------------------------------------------------------------------------

    /// Publishes an event.
    pub fn broadcast(&mut self, id: MemberId, emit: &Emit<'_>, fx: &mut Effects) {
        if self.is_streams() {
            self.streams.broadcast(id, emit, &self.messaging.publisher, context_of!(self, fx));
        } else {
            self.messaging.broadcast(id, emit, context_of!(self, fx));
        }
    }

    /// Publishes bytes that are ready for the wire.
    pub fn send(&mut self, id: MemberId, to: &Destination, bytes: &[u8], fx: &mut Effects) {
        self.messaging.send(id, to, bytes, context_of!(self, fx));
    }

    /// Publishes bytes that are ready for the wire on any channel; `owner` is 0 for a member that has left.
    pub fn publish(&mut self, owner: MemberId, channel: &[u8], bytes: &[u8], fx: &mut Effects) {
        fx.publishes.push_bytes(owner, channel, bytes);
    }

    /// The user's client has published a message without the link, and nobody could hear it: it waits for the peers like
    /// a message that a transport has given back.
    pub fn publish_again(&mut self, channel: &[u8], bytes: &[u8], fx: &mut Effects) {
        let Messaging { members, publisher, .. } = &mut self.messaging;
        publisher.publish_again(channel, bytes, members, context_of!(self, fx));
    }

    /// The user's client has carried what a member publishes, without the link.
    pub fn carried(&mut self, id: MemberId, now: Instant) {
        self.messaging.carried(id, now, &mut self.stats);
    }

    /// Adds a message that JS has encoded to the stream of a member.
    pub fn append(&mut self, id: MemberId, kind: u32, data: &[u8], fx: &mut Effects) {
        self.streams.append(id, kind, data, &self.messaging.publisher, context_of!(self, fx));
    }

    /// Sends a request that other members answer.
    pub fn request(&mut self, id: MemberId, ask: &Ask<'_>, fx: &mut Effects) {
        self.messaging.request(id, ask, context_of!(self, fx));
    }

    /// Counts the members for JS, which hears of it by a [`Kind::Count`](effects::Kind::Count) record with this token.
    pub fn server_count(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        self.messaging.server_count(id, token, fx);
    }

    /// Counts the subscribers of channels for a member that has left. JS hears of the smallest number by a
    /// [`Kind::Count`](effects::Kind::Count) record with this token.
    pub fn count_subscribers(&mut self, token: u32, channels: Vec<Vec<u8>>) {
        self.messaging.census.count_subscribers(token, channels);
    }

    /// Sorts the messages in [`Effects::publishes`]: those that may go out stay there, the others go to the backlog.
    /// To be called before the publishes are handed to the transport. `room` is how many bytes it takes now.
    pub fn release(&mut self, room: usize, fx: &mut Effects) {
        let Core { messaging, streams, .. } = self;
        let cx = context_of!(self, fx);
        messaging.publisher.drop_if_shut(cx);
        messaging.heal(cx);
        let settled = |stream, count| streams.has_settled(stream, count);
        let room = messaging.publisher.release(room, settled, cx.fx);
        messaging.released(cx);
        streams.release(room, &messaging.publisher, cx);
    }

    /// Waits until Redis has answered for all that was published by now, or it is lost or dropped; JS hears of it by a
    /// [`Kind::Count`](effects::Kind::Count) record with this token. What is published later waits for it, too.
    pub fn when_answered(&mut self, token: u32, fx: &Effects) {
        self.messaging.publisher.when_answered(token, self.streams.unsettled(), fx);
    }

    /// Whether Redis has answered for all that was handed to the transport.
    pub fn is_answered(&self) -> bool {
        self.messaging.publisher.is_answered()
    }

    /// Nobody will answer for the messages that were handed to the transport.
    pub fn lose_in_flight(&mut self) {
        self.messaging.publisher.lose_in_flight(&mut self.stats);
    }

    /// Whether nothing waits in the backlog.
    pub fn is_flushed(&self) -> bool {
        self.messaging.publisher.flow.backlog.is_empty() && self.streams.is_flushed()
    }

    /// How many messages Redis has not taken, and never will, as far as anyone knows.
    pub fn given_up(&self) -> u64 {
        self.stats().dropped + self.messaging.publisher.unwritten()
    }

    /// Says whether the link is shut for good, as far as anyone knows: then nothing waits for it, and messages are dropped
    /// and counted.
    pub fn set_shut(&mut self, shut: bool) {
        self.messaging.publisher.set_shut(shut);
        if shut {
            self.streams.shut(&mut self.messaging.publisher, &mut self.stats);
        }
    }

    // --- sessions --------------------------------------------------------------------------------------

    /// Keeps a session under a key.
    pub fn persist(&mut self, id: MemberId, key: &[u8], session: &[u8], lifetime: Duration) {
        let is_shut = self.messaging.publisher.is_shut();
        self.streams.persist(id, key, session, lifetime, is_shut, &mut self.stats);
    }

    /// Takes a session from a key, and gathers the entries that it has missed.
    pub fn restore(&mut self, id: MemberId, token: u32, key: &[u8], offset: &[u8], fx: &mut Effects) {
        self.streams.restore(id, token, key, offset, &self.messaging.publisher, fx);
    }

    /// How far the streams are read whose clients are recovered, if that has changed. JS gets the records of all entries up
    /// to there before.
    pub fn take_positions(&mut self) -> Option<Vec<Position>> {
        self.streams.take_positions()
    }

    // --- time ------------------------------------------------------------------------------------------

    /// Does all that is due.
    pub fn tick(&mut self, fx: &mut Effects) {
        self.messaging.tick_requests(fx);
        self.streams.tick(fx);
        self.messaging.tick_census(fx);
    }

    /// When [`Core::tick`] is to be called; `None` if nothing is due ever.
    pub fn deadline(&self) -> Option<Instant> {
        let Messaging { publisher, census, requests, .. } = &self.messaging;
        [
            requests.deadline(),
            publisher.flow.deadline(),
            census.deadline(publisher.flow.is_open()),
            self.streams.deadline(),
            self.crossing.as_ref().map(Crossing::deadline),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // --- for JS and the operator -----------------------------------------------------------------------

    /// A message of JS has been seen, of whatever kind.
    pub fn saw_message(&mut self) {
        self.messaging.publisher.saw_message();
    }

    /// How many messages of JS have been seen.
    pub fn seen(&self) -> u64 {
        self.messaging.publisher.seen()
    }

    /// Tells JS if publishes go out at once now, or no longer do. To be called when the released messages are carried.
    pub fn tell_flowing(&mut self, fx: &mut Effects) {
        let by_clients = self.is_by_clients();
        self.messaging.publisher.tell_flowing(by_clients, context_of!(self, fx));
    }

    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        let backlog = &self.messaging.publisher.flow.backlog;
        Stats {
            dropped: self.stats.dropped + backlog.dropped(),
            backlog: backlog.len() as u64 + self.streams.backlog(),
            pending_requests: self.messaging.requests.len() as u64,
            ..self.stats.clone()
        }
    }

    /// Tells JS something; `member` is 0 where it concerns the whole link.
    pub fn event(&self, fx: &mut Effects, member: MemberId, event: &Event<'_>) {
        tell(fx, &[member], event);
    }

    /// A member, for tests.
    #[cfg(test)]
    fn member(&self, id: MemberId) -> &member::Member {
        self.messaging.members.get(id).unwrap()
    }
}
