//! The protocol without any I/O: commands, messages and `now` in, [`Effects`] out.
//!
//! No clock, lock, thread or socket here; the driver has those. All state of a link is in [`Core`].

#[cfg(test)]
mod alone_tests;
mod census;
mod counting;
mod crossing;
#[cfg(test)]
mod crossing_tests;
mod early;
pub mod effects;
mod event;
mod fences;
pub mod flow;
mod healing;
#[cfg(test)]
mod hearing_tests;
mod incoming;
pub mod member;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod own_count_tests;
pub mod requests;
pub mod routes;
pub mod routing;
pub mod stats;
mod streams;
pub mod subscriptions;
#[cfg(test)]
mod waiting_tests;
#[cfg(test)]
mod world;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::clock;
use crate::transport::{Lane, Subscription};
use crate::wire::Family;
pub use crate::wire::channel::Destination;
use crate::wire::request::RequestType;
use counting::{Asker, Counting};
use crossing::Crossing;
use effects::{Change, Effects, Kind, MemberId};
pub use event::Event;
use fences::Fences;
use flow::Flow;
use member::{Member, MemberSpec};
pub use requests::Ask;
use requests::Requests;
use routes::{Added, Role, Routes};
use stats::Stats;
pub use streams::Position;
use streams::Streams;
use subscriptions::Subscriptions;

/// How long a count waits that Redis has refused, or that was lost.
const COUNT_AGAIN: Duration = Duration::from_millis(500);

/// How a link is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// What its members speak.
    pub family: Family,
    /// The bound of the backlog, in bytes.
    pub max_backlog: usize,
    /// How long the end of an outage lasts at least: in a cluster the rooms of the others may sit on another node
    /// than what is counted.
    pub settle: Duration,
    /// What has to come back through the user's client before the link is trusted; `None` if it is the only
    /// way to Redis anyway.
    pub proof: Option<String>,
    /// Whether JS wants to hear why messages were dropped.
    pub verbose: bool,
}

#[cfg(test)]
impl Config {
    /// What a test has that says no more than the family.
    pub fn of(family: Family) -> Self {
        Config { family, max_backlog: 1 << 20, settle: Duration::ZERO, proof: None, verbose: false }
    }
}

/// An event to be broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Emit<'a> {
    /// The Engine.IO text that socket.io-parser has printed.
    pub payload: &'a [u8],
    /// Its binary attachments.
    pub attachments: &'a [&'a [u8]],
    /// The room, if it is exactly one.
    pub room: Option<&'a str>,
    /// The options in msgpack; none for those of a plain emit to `room` or everyone.
    pub opts: Option<&'a [u8]>,
    /// Whether it takes the channel of the room, as [`routing::Routing`] says.
    pub takes_room_channel: bool,
}

/// A link's state.
#[derive(Debug)]
pub struct Core {
    config: Config,
    has_lanes: bool,
    members: HashMap<MemberId, Member>,
    routes: Routes,
    requests: Requests,
    flow: Flow,
    fences: Fences,
    was_flowing: bool,
    seen: u64,
    told_seen: u64,
    shut: bool,
    /// What was lost before it was with the kernel, and entries of streams that nobody will answer for.
    unwritten: u64,
    /// Members whose rooms have changed.
    dirty: Vec<MemberId>,
    counting: Counting,
    stats: Stats,
    streams: Streams,
    /// The own connections are about to take over from the user's clients.
    crossing: Option<Crossing>,
    /// Memory for what is put together.
    envelope: Vec<u8>,
}

impl Core {
    /// A link without members; `has_lanes` is the transport's.
    pub fn new(config: Config, has_lanes: bool) -> Self {
        Core {
            flow: Flow::new(config.max_backlog, config.proof.is_none(), config.settle),
            fences: Fences::default(),
            config,
            has_lanes,
            members: HashMap::new(),
            routes: Routes::default(),
            requests: Requests::default(),
            was_flowing: false,
            seen: 0,
            told_seen: 0,
            shut: false,
            unwritten: 0,
            dirty: Vec::new(),
            counting: Counting::default(),
            stats: Stats::default(),
            streams: Streams::default(),
            crossing: None,
            envelope: Vec::new(),
        }
    }

    /// What its members speak.
    pub fn family(&self) -> Family {
        self.config.family
    }

    // --- members ---------------------------------------------------------------------------------------

    /// A member joins: its channels are subscribed to.
    pub fn join(&mut self, id: MemberId, spec: MemberSpec, fx: &mut Effects) {
        self.abandon_crossing("a namespace has come", fx);
        let mut member = Member::new(self.config.family, spec, 0);
        if self.has_lanes {
            member.lane = self.routes.free_lane(&member.routing.channels.counted());
        }
        member.proves = !member.listens() && !self.flow.is_proven();
        for (name, _) in member.vital() {
            member.subscriptions.add(name, true);
        }
        self.join_streams(id, &member.spec, fx);
        let complete = member.is_subscribed();
        self.members.insert(id, member);
        if complete {
            self.announce(&[id], fx);
        }
        self.subscribe(id, fx);
    }

    /// A member leaves: its subscriptions and requests end.
    pub fn leave(&mut self, id: MemberId, fx: &mut Effects) {
        self.abandon_crossing("a namespace has gone", fx);
        let Some(mut member) = self.members.remove(&id) else {
            return;
        };
        for name in member.subscriptions.iter() {
            if self.routes.remove(member.lane, name, id) {
                fx.subscriptions.push((member.lane, Change::Remove, name.clone()));
            }
        }
        self.leave_streams(id, fx);
        self.requests.leave(id, &mut fx.batch);
        for token in member.subscriptions.take_waiters() {
            counting::count_record(fx, id, token, 0);
        }
        for asker in self.counting.leave(id) {
            if let Asker::Server { token, .. } = asker {
                counting::count_record(fx, id, token, 0);
            }
        }
    }

    /// Whether any member is left.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// What is known of a member's sockets, to be updated by JS.
    pub fn interest(&mut self, id: MemberId) -> Option<&mut member::Interest> {
        self.members.get_mut(&id).map(Member::interest)
    }

    /// The first local socket of a member has joined a room, or the last one has left it.
    pub fn set_room(&mut self, id: MemberId, room: &[u8], present: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            let clean = !member.is_dirty();
            member.set_room(room, present);
            if clean && member.is_dirty() {
                self.dirty.push(id);
            }
        }
    }

    /// Subscribes to what members have come to want since the last time, and no longer to what they do not want:
    /// once for all that came in a step.
    pub fn follow_rooms(&mut self, fx: &mut Effects) {
        if self.keeps_subscriptions() {
            return;
        }
        for id in std::mem::take(&mut self.dirty) {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            let lane = member.lane;
            let (added, removed) = member.changed_rooms();
            let has_removed = !removed.is_empty();
            for name in removed {
                if let Some(crossing) = &mut self.crossing {
                    crossing.leave_room(id, &name, fx);
                }
                if self.routes.remove(lane, &name, id) {
                    fx.subscriptions.push((lane, Change::Remove, name));
                }
            }
            // What is not wanted any more is not waited for.
            if has_removed {
                self.answer_waiters(id, fx);
            }
            for name in added {
                if let Some(crossing) = &mut self.crossing {
                    crossing.join_room(id, &name, fx);
                }
                self.listen(id, lane, name, Role::Cluster, fx);
            }
        }
    }

    /// Waits until all that a member has come to listen to by now is confirmed; JS hears of it by a
    /// [`Kind::Count`] record with this token.
    pub fn when_subscribed(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        if self.keeps_subscriptions() {
            return self.wait_for_crossing(id, token);
        }
        self.follow_rooms(fx);
        let Some(member) = self.members.get_mut(&id) else {
            return counting::count_record(fx, id, token, 0);
        };
        member.subscriptions.wait(token);
        self.answer_waiters(id, fx);
    }

    /// A call of [`Core::when_subscribed`] waits no longer, and is not answered.
    pub fn give_up_waiting(&mut self, id: MemberId, token: u32) {
        if let Some(crossing) = &mut self.crossing {
            crossing.give_up(token);
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.subscriptions.give_up(token);
        }
    }

    /// Answers the calls that wait for subscriptions of a member which are all confirmed by now.
    pub(super) fn answer_waiters(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        while let Some(token) = member.subscriptions.pop_answered() {
            counting::count_record(fx, id, token, 0);
        }
    }

    /// Makes all the subscriptions of a member.
    fn subscribe(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let lane = member.lane;
        let vital = member.vital();
        let rooms: Vec<Subscription> = member
            .subscriptions
            .iter()
            .filter(|&name| !vital.iter().any(|(other, _)| other == name))
            .cloned()
            .collect();
        // The others count the subscribers of the last ones: by then the rooms have theirs.
        for name in rooms {
            self.listen(id, lane, name, Role::Cluster, fx);
        }
        for (name, role) in vital {
            self.listen(id, lane, name, role, fx);
        }
    }

    fn listen(&mut self, id: MemberId, lane: Lane, name: Subscription, role: Role, fx: &mut Effects) {
        match self.routes.add(lane, &name, id, role) {
            Added::Fresh => fx.subscriptions.push((lane, Change::Add, name)),
            Added::Asked => {}
            Added::Confirmed => {
                let whole =
                    self.members.get_mut(&id).is_some_and(|member| member.subscriptions.confirm(&name));
                if whole {
                    self.announce(&[id], fx);
                }
                self.answer_waiters(id, fx);
            }
        }
    }

    /// Another transport carries the bytes from now on.
    pub fn change_transport(&mut self, has_lanes: bool, needs_proof: bool, fx: &mut Effects) {
        self.has_lanes = has_lanes;
        let known = self.flow.is_proven();
        self.flow.reset(!needs_proof);
        // The transport that was has taken it along.
        self.lose_in_flight();
        self.routes = Routes::default();
        self.counting.interrupt();
        let mut ids: Vec<MemberId> = self.members.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(member) = self.members.get_mut(&id) {
                member.subscriptions.lose_all();
                if member.proves && !needs_proof {
                    member.proves = false;
                    member.subscriptions = Subscriptions::default();
                }
                let counted = member.routing.channels.counted();
                member.lane = if has_lanes { self.routes.free_lane(&counted) } else { 0 };
            }
            self.subscribe(id, fx);
        }
        self.change_streams(known, fx);
    }

    // --- outgoing --------------------------------------------------------------------------------------

    /// Publishes an event.
    pub fn broadcast(&mut self, id: MemberId, emit: &Emit<'_>, fx: &mut Effects) {
        let &Emit { payload, attachments, room, opts, takes_room_channel } = emit;
        if matches!(self.config.family, Family::Streams { .. }) {
            return self.broadcast_entry(id, emit, fx);
        }
        let Some(member) = self.members.get(&id) else {
            self.stats.dropped += 1;
            return;
        };
        let spec = &member.spec;
        let family = self.config.family;
        let channels = &member.routing.channels;
        let channel = match room.filter(|_| takes_room_channel) {
            Some(room) => Cow::Owned(channels.room(room.as_bytes())),
            None => Cow::Borrowed(channels.broadcast.as_slice()),
        };
        let written = fx.publishes.push(id, &channel, |out| {
            family.encode_broadcast(&spec.uid, &spec.nsp, payload, attachments, room, opts, out)
        });
        match written {
            Ok(()) => self.published(id, fx.now),
            Err(error) => {
                self.stats.unencodable += 1;
                self.note(fx, id, &format!("a broadcast was not published: {error}"));
                self.event(
                    fx,
                    0,
                    &Event::Refused { what: "encode", error: &error.to_string(), stream: None },
                );
            }
        }
    }

    /// Publishes bytes that are ready for the wire.
    pub fn send(&mut self, id: MemberId, to: &Destination, bytes: &[u8], fx: &mut Effects) {
        let Some(member) = self.members.get(&id) else {
            self.stats.dropped += 1;
            return;
        };
        let channel = member.routing.channels.of(to).into_owned();
        self.publish(id, &channel, bytes, fx);
        self.published(id, fx.now);
    }

    /// Publishes bytes that are ready for the wire on any channel; `owner` is 0 for a member that has left.
    pub fn publish(&mut self, owner: MemberId, channel: &[u8], bytes: &[u8], fx: &mut Effects) {
        let written = fx.publishes.push::<()>(owner, channel, |out| {
            out.extend_from_slice(bytes);
            Ok(())
        });
        debug_assert!(written.is_ok());
    }

    /// What the user's client has published without the link, and nobody could hear, waits for the peers like what a
    /// transport has given back.
    pub fn publish_again(&mut self, channel: &[u8], bytes: &[u8], fx: &Effects) {
        if self.shut {
            self.stats.dropped += 1;
        } else {
            self.give_back(channel, bytes, fx);
        }
    }

    fn give_back(&mut self, channel: &[u8], bytes: &[u8], fx: &Effects) {
        self.fences.returned();
        let dropped = self.flow.give_back(channel, bytes);
        self.fences.no_longer_wait(dropped);
        // A wait that is about to end looks once more: what was counted before says nothing of those who have missed this.
        let members = if self.flow.is_waiting() { Vec::new() } else { self.with_peers() };
        self.flow.heal(fx.now, members);
    }

    /// Whether users' clients carry channels of shards: they know who has listened to each, and answer a count that ends an
    /// outage once those listen again who have missed something. So they are asked even if no other server is known: an
    /// emitter knows of none, nor does who has counted them in the midst of a failover.
    fn clients_know_audiences(&self) -> bool {
        self.is_by_clients() && self.config.family == Family::Sharded
    }

    /// A member publishes: its peers are counted now and then, so that an outage knows whom to wait for at its end.
    /// Not while it is still waiting for them.
    pub fn published(&mut self, id: MemberId, now: Instant) {
        if !self.flow.is_open() {
            return;
        }
        if let Some(member) = self.members.get(&id).filter(|member| !member.queued) {
            let census = &self.counting.census;
            let due = member.counted.map_or(now, |counted| census.next(counted, !member.has_peers()));
            self.count_soon(id, due);
        }
    }

    /// Sorts what [`Effects::publishes`] gathered: what may go out stays there, the rest goes to the backlog.
    /// To be called before the publishes are handed to the transport. `room` is how many bytes it takes now.
    pub fn release(&mut self, mut room: usize, fx: &mut Effects) {
        if self.shut {
            self.stats.dropped += fx.publishes.len() as u64;
            fx.publishes.clear();
            self.fences.nothing_waits();
        }
        self.heal(fx);
        let open = self.flow.is_open();
        let mut messages = self.lift_fences(fx);
        if !open || !self.flow.backlog.is_empty() || room == 0 || fx.publishes.len() > messages {
            let dropped = self.flow.backlog.dropped();
            for (owner, (channel, payload)) in fx.publishes.owners().zip(fx.publishes.iter()) {
                self.flow.backlog.push(owner, channel, payload);
            }
            fx.publishes.clear();
            self.fences.no_longer_wait(self.flow.backlog.dropped() - dropped);
            messages = self.lift_fences(fx);
        }
        if open {
            while room > 0 && fx.publishes.len() < messages {
                let Some(message) = self.flow.backlog.pop() else {
                    break;
                };
                let (channel, payload) = message.parts();
                room = room.saturating_sub(channel.len() + payload.len());
                self.publish(message.owner, channel, payload, fx);
            }
        }
        self.fences.released(fx.publishes.len());
        if open {
            self.ask_for_counts(fx);
        }
        self.note_early(fx);
        self.stats.published += fx.publishes.len() as u64;
        self.release_streams(room, fx);
    }

    /// Returns how many messages may be released, now that some are answered or gone.
    fn lift_fences(&mut self, fx: &mut Effects) -> usize {
        let Core { fences, streams, flow, .. } = self;
        while let Some(token) = fences.lifted(|stream, count| streams.has_settled(stream, count)) {
            counting::count_record(fx, 0, token, 0);
        }
        fences.room().unwrap_or(usize::MAX).min(flow.room(fences.is_answered(), fx.now))
    }

    /// Waits until Redis has answered for all that was published by now, or it is lost or dropped; JS hears of it by a
    /// [`Kind::Count`] record with this token. What is published later waits for it, too.
    pub fn when_answered(&mut self, token: u32, fx: &Effects) {
        let waiting = self.flow.backlog.len() + fx.publishes.len();
        self.fences.add(waiting, self.streams.unsettled(), token);
    }

    /// Whether Redis has answered for all that was handed to the transport.
    pub fn is_answered(&self) -> bool {
        self.fences.is_answered()
    }

    /// Nobody will answer for what was handed to the transport.
    pub fn lose_in_flight(&mut self) {
        self.stats.lost_in_flight += self.fences.lose_all();
    }

    /// Tells JS if publishes go out at once now, or no longer do. To be called when what was released is carried.
    /// Where the user's clients carry the bytes, JS may then hand them what it publishes by itself, if nothing of
    /// what it has handed to the link is still on its way.
    pub fn tell_flowing(&mut self, fx: &mut Effects) {
        let flowing = self.flow.is_open() && self.flow.backlog.is_empty();
        let more_seen = !self.has_lanes && flowing && self.seen != self.told_seen;
        if flowing != self.was_flowing || more_seen {
            self.was_flowing = flowing;
            self.told_seen = self.seen;
            self.event(fx, 0, &Event::Flowing { flowing, seen: self.seen });
        }
    }

    /// A message of JS has been seen, of whatever kind.
    pub fn saw_message(&mut self) {
        self.seen += 1;
    }

    /// How many messages of JS have been seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether nothing waits in the backlog.
    pub fn is_flushed(&self) -> bool {
        self.flow.backlog.is_empty() && self.streams.is_flushed()
    }

    /// How many messages Redis has not taken, and never will, as far as anyone knows.
    pub fn given_up(&self) -> u64 {
        self.stats().dropped + self.unwritten
    }

    /// Says whether the link is shut for good, as far as anyone knows: then nothing waits for it, and what is
    /// published is dropped and counted.
    pub fn set_shut(&mut self, shut: bool) {
        self.shut = shut;
        if shut {
            self.flow.backlog.clear();
            self.fences.nothing_waits();
            self.shut_streams();
        }
    }

    // --- requests --------------------------------------------------------------------------------------

    /// Sends a request that other members answer. All but an acknowledged broadcast wait for the members to be
    /// counted first. A broadcast keeps its place among what is published: where its acknowledgements cannot be heard
    /// yet, it and what comes behind it wait for that. It goes out even if its acknowledgements cannot be followed,
    /// since too many others wait.
    pub fn request(&mut self, id: MemberId, ask: &Ask<'_>, fx: &mut Effects) {
        let at_once = ask.kind == RequestType::Broadcast;
        let known = self.members.contains_key(&id);
        let added = known && self.requests.add(id, ask, !at_once && !ask.carried, fx.now);
        let publishes = at_once && !ask.carried && (added || (known && self.requests.is_full()));
        if publishes {
            let is_deaf = |member: &Member| member.listens() && !member.is_subscribed() && !member.stays_deaf;
            if added && self.members.get(&id).is_some_and(is_deaf) {
                self.flow.wait_for_hearing(id);
            }
            self.send(id, &Destination::Request, ask.body, fx);
        }
        if added {
            self.count_when_ready(Asker::Request { member: id, id: ask.id.into(), doubts: 0 });
        } else {
            self.requests.refuse(id, ask, &mut fx.batch);
        }
    }

    // --- time ------------------------------------------------------------------------------------------

    /// Does what is due.
    pub fn tick(&mut self, fx: &mut Effects) {
        for (member, id) in self.requests.tick(fx.now, &mut fx.batch) {
            self.count_when_ready(Asker::Request { member, id, doubts: 0 });
        }
        self.tick_streams(fx);
        self.forget_late_askers();
        self.end_watch(fx.now);
        self.count_idle(fx.now);
    }

    /// When [`Core::tick`] is to be called; `None` if nothing is due ever.
    pub fn deadline(&self) -> Option<Instant> {
        let counting = self.counting.deadline(self.flow.is_open());
        [
            self.requests.deadline(),
            self.flow.deadline(),
            counting,
            self.streams_deadline(),
            self.crossing_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // --- the operator ----------------------------------------------------------------------------------

    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        Stats {
            dropped: self.stats.dropped + self.flow.backlog.dropped(),
            backlog: self.flow.backlog.len() as u64 + self.streams.backlog(),
            pending_requests: self.requests.len() as u64,
            ..self.stats.clone()
        }
    }

    /// Tells JS something; `member` is 0 where it concerns the whole link.
    pub fn event(&self, fx: &mut Effects, member: MemberId, event: &Event<'_>) {
        Core::events(fx, &[member], event);
    }

    /// Tells JS the same of many members.
    fn events(fx: &mut Effects, members: &[MemberId], event: &Event<'_>) {
        let text = serde_json::to_vec(event).unwrap_or_default();
        for &member in members {
            let mut draft = fx.batch.draft(Kind::Event, member);
            draft.record.token = clock::millis(fx.now);
            draft.part(0, &text);
            draft.done();
        }
    }

    fn note(&self, fx: &mut Effects, member: MemberId, text: &str) {
        if self.config.verbose {
            self.event(fx, member, &Event::Note { text });
        }
    }
}
