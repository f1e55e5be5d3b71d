//! The messages between the members and the other servers, by channels.
//!
//! Four parts: [`Members`] knows who is here and who listens to what, [`Publisher`] when messages may go out,
//! [`Census`] how many other servers there are, and [`Requests`] which requests wait for answers. This file has what
//! needs several of them: to announce members, to send, to ask, and to deliver.

mod alone;
mod deliver;

use std::borrow::Cow;
use std::time::Instant;

use super::census::{Census, clients_know_audiences};
use super::context::{Config, Context};
use super::effects::{Change, Effects, MemberId};
use super::event::Event;
use super::member::{Member, MemberSpec};
use super::members::{Confirmed, Members};
use super::publisher::Publisher;
use super::requests::{Ask, Requests};
use super::routes::{Added, Role};
use super::stats::Stats;
use crate::transport::{Subscriber, Subscription, SubscriptionKind};
use crate::wire::channel::Destination;
use crate::wire::request::RequestType;

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
    /// Whether it takes the channel of the room, as [`Routing`](super::routing::Routing) says.
    pub takes_room_channel: bool,
}

/// The members of a link, and the messages between them and the other servers.
#[derive(Debug)]
pub(super) struct Messaging {
    pub(super) members: Members,
    pub(super) publisher: Publisher,
    pub(super) census: Census,
    pub(super) requests: Requests,
}

impl Messaging {
    /// A link without members; `opens_subscribers` is the transport's.
    pub(super) fn new(config: &Config, opens_subscribers: bool) -> Self {
        Messaging {
            members: Members::new(opens_subscribers),
            publisher: Publisher::new(config),
            census: Census::default(),
            requests: Requests::default(),
        }
    }

    // --- members ---------------------------------------------------------------------------------------

    /// A member joins: its channels are subscribed to. `waits_for_streams` says whether Redis has still to let it read
    /// its streams.
    pub(super) fn join(
        &mut self,
        id: MemberId,
        spec: MemberSpec,
        waits_for_streams: bool,
        cx: &mut Context<'_>,
    ) {
        let member = self.members.add(id, spec, cx.settings.family, self.publisher.flow.is_proven());
        member.waits_for_streams = waits_for_streams;
        if member.is_subscribed() {
            self.announce(&[id], cx);
        }
        self.subscribe(id, cx);
    }

    /// A member has left: its requests end, and the calls that wait for it are answered.
    pub(super) fn forget(&mut self, id: MemberId, mut member: Member, fx: &mut Effects) {
        self.requests.leave(id, &mut fx.batch);
        for token in member.subscriptions.take_waiters() {
            fx.batch.count(id, token, 0);
        }
        self.census.leave(id, fx);
    }

    /// Members have all their subscriptions: they are ready, or can help to prove the link.
    pub(super) fn announce(&mut self, ids: &[MemberId], cx: &mut Context<'_>) {
        let Some(&first) = ids.first().filter(|_| self.publisher.flow.is_connected()) else {
            return;
        };
        if !self.publisher.flow.is_proven() {
            if let Some(member) = self.members.get(first) {
                let channel = String::from_utf8_lossy(&member.routing.channels.own_response);
                cx.event(0, &Event::Prove { channel: &channel });
            }
            return;
        }
        for &id in ids {
            let Some(member) = self.members.get_mut(id).filter(|member| member.is_ready()) else {
                continue;
            };
            cx.event(id, &Event::Ready);
            member.stays_deaf = false;
            let knows_nobody = member.peers == 0;
            self.census.let_go();
            if knows_nobody {
                self.census.count_soon(id, cx.now(), &mut self.members);
            }
            self.say_hello(id, cx);
        }
    }

    /// The link has come up, or is proven now: all members that are subscribed become ready.
    pub(super) fn announce_all(&mut self, cx: &mut Context<'_>) {
        self.announce(&self.members.subscribed(), cx);
    }

    /// Tells the other servers that a member has joined, once it hears them: from now on they wait for it at the end of an
    /// outage.
    fn say_hello(&mut self, id: MemberId, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(id).filter(|member| member.listens()) else {
            return;
        };
        if !std::mem::replace(&mut member.known, true) {
            let hello = cx.settings.family.hello(&member.spec.uid, &member.spec.nsp);
            self.send(id, &Destination::Request, &hello, cx);
        }
    }

    /// Another server says hello.
    fn greeted(&mut self, id: MemberId, cx: &mut Context<'_>) {
        self.census.greeted(id, cx.now(), &mut self.members, &self.publisher.flow);
    }

    /// Trusts the link without a proof: the user's clients have ended, and nothing else can carry the backlog.
    pub(super) fn trust(&mut self, cx: &mut Context<'_>) {
        if !self.publisher.flow.is_proven() {
            self.publisher.flow.set_proven(true);
            self.members.end_proofs(cx.fx);
            self.announce_all(cx);
        }
    }

    // --- subscriptions ---------------------------------------------------------------------------------

    /// Makes all the subscriptions of a member.
    pub(super) fn subscribe(&mut self, id: MemberId, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let subscriber = member.subscriber;
        let vital = member.vital();
        let rooms: Vec<Subscription> = member
            .subscriptions
            .iter()
            .filter(|&name| !vital.iter().any(|(other, _)| other == name))
            .cloned()
            .collect();
        // Other servers count the subscribers of the vital channels: by then those of the rooms are there.
        for name in rooms {
            self.listen(id, subscriber, name, Role::Cluster, cx);
        }
        for (name, role) in vital {
            self.listen(id, subscriber, name, role, cx);
        }
    }

    fn listen(
        &mut self,
        id: MemberId,
        subscriber: Subscriber,
        name: Subscription,
        role: Role,
        cx: &mut Context<'_>,
    ) {
        match self.members.listen(id, subscriber, &name, role) {
            Added::Fresh => cx.fx.subscriptions.push((subscriber, Change::Add, name)),
            Added::Asked => {}
            Added::Confirmed => {
                if self.members.confirm(id, &name) {
                    self.announce(&[id], cx);
                }
                self.members.answer_waiters(id, cx.fx);
            }
        }
    }

    /// Subscribes to the channels of rooms that have got their first socket, and no longer to those of rooms that have lost
    /// their last one. `changed` hears of each.
    pub(super) fn follow_rooms(
        &mut self,
        mut changed: impl FnMut(MemberId, Change, &Subscription, &mut Effects),
        cx: &mut Context<'_>,
    ) {
        for id in self.members.take_changed() {
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            let subscriber = member.subscriber;
            let (added, removed) = member.changed_rooms();
            let has_removed = !removed.is_empty();
            for name in removed {
                changed(id, Change::Remove, &name, cx.fx);
                self.members.stop_listening(id, subscriber, name, cx.fx);
            }
            // Calls do not wait for rooms that are not wanted any more.
            if has_removed {
                self.members.answer_waiters(id, cx.fx);
            }
            for name in added {
                changed(id, Change::Add, &name, cx.fx);
                self.listen(id, subscriber, name, Role::Cluster, cx);
            }
        }
    }

    /// Has a call wait until all that a member has come to listen to by now is confirmed.
    pub(super) fn when_subscribed(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        let Some(member) = self.members.get_mut(id) else {
            return fx.batch.count(id, token, 0);
        };
        member.subscriptions.wait(token);
        self.members.answer_waiters(id, fx);
    }

    /// Redis has confirmed a subscription.
    pub(super) fn subscribed(
        &mut self,
        subscriber: Subscriber,
        kind: SubscriptionKind,
        name: &[u8],
        cx: &mut Context<'_>,
    ) {
        let Confirmed { listeners, complete } = self.members.confirmed(subscriber, kind, name);
        self.announce(&complete, cx);
        for id in listeners {
            self.members.answer_waiters(id, cx.fx);
        }
    }

    /// Members have lost subscriptions that held.
    pub(super) fn deafen(&mut self, ids: &[MemberId], reason: &str, silence: u64, cx: &mut Context<'_>) {
        let has_peers = |id: &MemberId| self.members.get(*id).is_some_and(Member::has_peers);
        let with_peers: Vec<MemberId> = ids.iter().copied().filter(has_peers).collect();
        if !with_peers.is_empty() {
            self.publisher.flow.heal(cx.now(), with_peers);
        }
        cx.events(ids, &Event::Deaf { reason, silence });
    }

    /// Another transport carries the bytes from now on. Messages in flight are lost with the one before.
    pub(super) fn change_transport(
        &mut self,
        opens_subscribers: bool,
        needs_proof: bool,
        cx: &mut Context<'_>,
    ) {
        self.publisher.flow.reset(!needs_proof);
        self.publisher.lose_in_flight(cx.stats);
        self.members.change_transport(opens_subscribers);
        self.census.interrupt();
        for id in self.members.ids() {
            self.members.change_subscriber(id, needs_proof);
            self.subscribe(id, cx);
        }
    }

    // --- the link --------------------------------------------------------------------------------------

    /// The link is connected.
    pub(super) fn up(&mut self, cx: &mut Context<'_>) {
        let flow = &mut self.publisher.flow;
        flow.up(cx.now(), self.members.with_peers());
        if clients_know_audiences(&self.members, cx) && !flow.backlog.is_empty() && !flow.is_waiting() {
            flow.heal(cx.now(), Vec::new());
        }
        self.census.let_go();
        cx.event(0, &Event::Up);
        self.announce_all(cx);
    }

    // --- outgoing --------------------------------------------------------------------------------------

    /// Publishes an event.
    pub(super) fn broadcast(&mut self, id: MemberId, emit: &Emit<'_>, cx: &mut Context<'_>) {
        let &Emit { payload, attachments, room, opts, takes_room_channel } = emit;
        let Some(member) = self.members.get(id) else {
            cx.stats.dropped += 1;
            return;
        };
        let spec = &member.spec;
        let family = cx.settings.family;
        let channels = &member.routing.channels;
        let channel = match room.filter(|_| takes_room_channel) {
            Some(room) => Cow::Owned(channels.room(room.as_bytes())),
            None => Cow::Borrowed(channels.broadcast.as_slice()),
        };
        let written = cx.fx.publishes.push(id, &channel, |out| {
            family.encode_broadcast(&spec.uid, &spec.nsp, payload, attachments, room, opts, out)
        });
        match written {
            Ok(()) => self.published(id, cx),
            Err(error) => cx.unencodable(id, &error.to_string()),
        }
    }

    /// Publishes bytes of a member that are ready for the wire.
    pub(super) fn send(&mut self, id: MemberId, to: &Destination, bytes: &[u8], cx: &mut Context<'_>) {
        if self.members.send(id, to, bytes, cx) {
            self.published(id, cx);
        }
    }

    fn published(&mut self, id: MemberId, cx: &Context<'_>) {
        self.census.published(id, cx.now(), &mut self.members, &self.publisher.flow);
    }

    /// The user's client has carried what a member publishes, without the link.
    pub(super) fn carried(&mut self, id: MemberId, now: Instant, stats: &mut Stats) {
        self.census.carried(id, now, &mut self.members, &self.publisher.flow, stats);
    }

    // --- requests --------------------------------------------------------------------------------------

    /// Sends a request that other members answer. All but an acknowledged broadcast wait for the members to be
    /// counted first. A broadcast keeps its place among the other publishes: if its acknowledgements cannot be heard yet,
    /// it waits until they can, with all publishes behind it. It goes out even if its acknowledgements cannot be followed
    /// since too many other requests wait.
    pub(super) fn request(&mut self, id: MemberId, ask: &Ask<'_>, cx: &mut Context<'_>) {
        let at_once = ask.kind == RequestType::Broadcast;
        let known = self.members.contains(id);
        let added = known && self.requests.add(id, ask, !at_once && !ask.carried, cx.now());
        let publishes = at_once && !ask.carried && (added || (known && self.requests.is_full()));
        if publishes {
            let is_deaf = |member: &Member| member.listens() && !member.is_subscribed() && !member.stays_deaf;
            if added && self.members.get(id).is_some_and(is_deaf) {
                self.publisher.flow.wait_for_hearing(id);
            }
            self.send(id, &Destination::Request, ask.body, cx);
        }
        if added {
            self.count_for_request(id, ask.id.into());
        } else {
            self.requests.refuse(id, ask, &mut cx.fx.batch);
        }
    }

    fn count_for_request(&mut self, id: MemberId, request: Box<str>) {
        self.census.count_for_request(id, request, &self.members, &self.publisher.flow);
    }

    /// Ends the requests that are out of time, and counts again for others.
    pub(super) fn tick_requests(&mut self, fx: &mut Effects) {
        for (member, id) in self.requests.tick(fx.now, &mut fx.batch) {
            self.count_for_request(member, id);
        }
    }

    // --- counts ----------------------------------------------------------------------------------------

    /// Counts the members for JS.
    pub(super) fn server_count(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        self.census.server_count(id, token, &self.members, &self.publisher.flow, fx);
    }

    /// Redis has counted; `counts` is none if it could not.
    pub(super) fn counted(&mut self, token: u64, counts: Option<&[u64]>, cx: &mut Context<'_>) {
        let Messaging { members, publisher, census, requests } = self;
        census.answered(token, counts, members, requests, &mut publisher.flow, cx);
    }

    /// Redis refuses to count.
    pub(super) fn count_refused(&mut self, token: u64, error: &str, cx: &mut Context<'_>) {
        let Messaging { members, publisher, census, requests } = self;
        census.refused(token, error, members, requests, &mut publisher.flow, cx);
    }

    /// Asks for the counts that the end of an outage needs, and ends it if it is over.
    pub(super) fn heal(&mut self, cx: &mut Context<'_>) {
        self.census.heal(&mut self.members, &mut self.publisher.flow, cx);
    }

    /// Messages are about to go out: asks for the counts that are due, and notes which messages go out early.
    pub(super) fn released(&mut self, cx: &mut Context<'_>) {
        if self.publisher.flow.is_open() {
            self.census.ask(&mut self.members, &mut self.publisher.flow, cx);
        }
        self.census.note_early(&mut self.members, cx);
        cx.stats.published += cx.fx.publishes.len() as u64;
    }

    /// Looks after the counts that are due.
    pub(super) fn tick_census(&mut self, fx: &Effects) {
        self.census.forget_late_askers(&self.requests);
        self.census.end_watch(fx.now, &mut self.members);
        self.census.count_idle(fx.now, &mut self.members, &self.publisher.flow);
    }
}
