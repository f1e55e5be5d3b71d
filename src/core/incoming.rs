//! What the transport reports: connections that come and go, and messages.

use std::borrow::Cow;
use std::fmt::Display;

use super::effects::{Change, Effects, Encoding, Kind, MemberId};
use super::event::Event;
use super::member::{Member, MemberSpec};
use super::routes::Role;
use super::{Core, Destination};
use crate::packet::{Malformed, write_event_frame, write_event_frame_of_text};
use crate::transport::{Incoming, Lane, Subscription, SubscriptionKind};
use crate::wire::Family;
use crate::wire::broadcast::{Arguments, Broadcast};
use crate::wire::classic::{self, Request, Response};
use crate::wire::cluster;
use crate::wire::glance::glance;
use crate::wire::request::RequestType;
use crate::wire::streams::EntryId;
use crate::wire::typed::{JSON_MARK, check_nesting};

impl Core {
    /// Takes what the transport reports.
    pub fn incoming(&mut self, incoming: Incoming<'_>, fx: &mut Effects) {
        if self.passes(&incoming, fx) {
            return;
        }
        match incoming {
            Incoming::Message { lane, kind, name, channel, payload } => {
                self.stats.received += 1;
                self.message(lane, kind, name, channel, payload, fx);
            }
            Incoming::Published { receivers } => {
                self.fences.answered(1);
                self.flow.accepted();
                self.stats.acknowledged += 1;
                self.stats.receivers += receivers;
            }
            Incoming::PublishRefused { error } => {
                self.fences.answered(1);
                self.flow.accepted();
                self.stats.refused += 1;
                self.event(fx, 0, &Event::Refused { what: "publish", error, stream: None });
            }
            Incoming::Counted { token, counts } => self.counted(token, counts, fx),
            Incoming::CountRefused { token, error } => self.count_refused(token, error, fx),
            Incoming::Subscribed { lane, kind, name } => self.subscribed(lane, kind, name, fx),
            Incoming::Unsubscribed { lane, kind, name, reason, silence } => {
                self.unsubscribed(lane, Subscription::new(kind, name), reason, silence, fx);
            }
            Incoming::Returned { channel, payload } => {
                self.stats.published = self.stats.published.saturating_sub(1);
                if self.shut {
                    self.fences.answered(1);
                    self.stats.dropped += 1;
                } else {
                    self.fences.answered(1);
                    self.give_back(channel, payload, fx);
                }
            }
            Incoming::Settling { time } => {
                if !self.flow.is_waiting() {
                    self.flow.heal(fx.now, self.with_peers());
                }
                self.flow.settle(fx.now, time);
            }
            Incoming::Up => {
                self.flow.up(fx.now, self.with_peers());
                if self.clients_know_audiences() && !self.flow.backlog.is_empty() && !self.flow.is_waiting() {
                    self.flow.heal(fx.now, Vec::new());
                }
                self.counting.let_go();
                self.event(fx, 0, &Event::Up);
                self.announce_all(fx);
            }
            Incoming::Down { reason, unanswered, unwritten } => {
                self.fences.answered(unanswered + unwritten);
                self.stats.lost_in_flight += unanswered + unwritten;
                self.unwritten += unwritten;
                self.stats.outages += u64::from(self.flow.is_connected());
                self.flow.down();
                self.streams_down(fx);
                self.event(fx, 0, &Event::Down { reason, stands: false });
            }
            Incoming::Held { reason, trial } => {
                self.stats.outages += u64::from(self.flow.is_connected());
                self.flow.hold(trial);
                self.streams_down(fx);
                self.event(fx, 0, &Event::Down { reason, stands: true });
            }
            Incoming::Replica => self.event(fx, 0, &Event::Replica),
            Incoming::LaneDown { lane, reason, silence } => {
                let mut deaf = Vec::new();
                for (&id, member) in &mut self.members {
                    if member.lane == lane && member.subscriptions.lose_all() {
                        deaf.push(id);
                    }
                }
                self.routes.lose_lane(lane);
                self.deafen(&deaf, reason, silence, fx);
            }
            Incoming::Replied { token, outcome } => self.replied(token, outcome, fx),
            Incoming::SubscribeRefused { error, .. } => {
                self.event(fx, 0, &Event::Refused { what: "subscribe", error, stream: None });
            }
        }
    }

    fn subscribed(&mut self, lane: Lane, kind: SubscriptionKind, name: &[u8], fx: &mut Effects) {
        let mut complete = Vec::new();
        self.routes.set_confirmed(lane, kind, name, true);
        let name = Subscription::new(kind, name);
        let listeners: Vec<MemberId> =
            self.routes.listeners(lane, kind, &name.name).iter().map(|&(id, _)| id).collect();
        for &id in &listeners {
            if self.members.get_mut(&id).is_some_and(|member| member.subscriptions.confirm(&name)) {
                complete.push(id);
            }
        }
        self.announce(&complete, fx);
        for id in listeners {
            self.answer_waiters(id, fx);
        }
    }

    fn unsubscribed(&mut self, lane: Lane, name: Subscription, reason: &str, silence: u64, fx: &mut Effects) {
        self.routes.set_confirmed(lane, name.kind, &name.name, false);
        let mut deaf = Vec::new();
        for &(id, _) in self.routes.listeners(lane, name.kind, &name.name) {
            if self.members.get_mut(&id).is_some_and(|member| member.subscriptions.lose(&name)) {
                deaf.push(id);
            }
        }
        self.deafen(&deaf, reason, silence, fx);
    }

    /// Members have lost subscriptions that held.
    fn deafen(&mut self, ids: &[MemberId], reason: &str, silence: u64, fx: &mut Effects) {
        let has_peers = |id: &&MemberId| self.members.get(id).is_some_and(Member::has_peers);
        let with_peers: Vec<MemberId> = ids.iter().filter(has_peers).copied().collect();
        if !with_peers.is_empty() {
            self.flow.heal(fx.now, with_peers);
        }
        Core::events(fx, ids, &Event::Deaf { reason, silence });
    }

    /// The link has come up or is proven now: all members that are subscribed become ready.
    fn announce_all(&mut self, fx: &mut Effects) {
        let mut subscribed: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.is_subscribed()).map(|(&id, _)| id).collect();
        subscribed.sort_unstable();
        self.announce(&subscribed, fx);
    }

    /// Members have all their subscriptions: they are ready, or can help to prove the link.
    pub(super) fn announce(&mut self, ids: &[MemberId], fx: &mut Effects) {
        let Some(first) = ids.first().filter(|_| self.flow.is_connected()) else {
            return;
        };
        if !self.flow.is_proven() {
            if let Some(member) = self.members.get(first) {
                let channel = String::from_utf8_lossy(&member.routing.channels.own_response).into_owned();
                self.event(fx, 0, &Event::Prove { channel: &channel });
            }
            return;
        }
        for &id in ids {
            if self.streams.is_waiting(id) || !self.members.get(&id).is_some_and(Member::is_subscribed) {
                continue;
            }
            self.event(fx, id, &Event::Ready);
            if let Some(member) = self.members.get_mut(&id) {
                member.stays_deaf = false;
            }
            self.counting.let_go();
            if self.members.get(&id).is_some_and(|member| member.peers == 0) {
                self.count_soon(id, fx.now);
            }
            self.say_hello(id, fx);
        }
    }

    /// Tells the others that a member has joined, once it hears them: they wait for it at the end of an outage from now
    /// on.
    fn say_hello(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(member) = self.members.get_mut(&id).filter(|member| member.listens()) else {
            return;
        };
        if !std::mem::replace(&mut member.known, true) {
            let hello = self.config.family.hello(&member.spec.uid, &member.spec.nsp);
            self.send(id, &Destination::Request, &hello, fx);
        }
    }

    /// Trusts the link without a proof: the user's clients have ended, and nothing else can carry what waits.
    pub fn trust(&mut self, fx: &mut Effects) {
        if !self.flow.is_proven() {
            self.flow.set_proven(true);
            self.end_proofs(fx);
            self.announce_all(fx);
        }
    }

    /// Emitters need not listen any more.
    fn end_proofs(&mut self, fx: &mut Effects) {
        for (&id, member) in self.members.iter_mut().filter(|(_, member)| member.proves) {
            member.proves = false;
            for name in std::mem::take(&mut member.subscriptions).iter() {
                if self.routes.remove(member.lane, name, id) {
                    fx.subscriptions.push((member.lane, Change::Remove, name.clone()));
                }
            }
        }
    }

    pub(super) fn message(
        &mut self,
        lane: Lane,
        kind: SubscriptionKind,
        name: &[u8],
        channel: &[u8],
        payload: &[u8],
        fx: &mut Effects,
    ) {
        match *self.routes.listeners(lane, kind, name) {
            [] => self.stats.ignored += 1,
            [(id, role)] => self.deliver(id, role, channel, payload, fx),
            // Several members share a name only where a transport has one lane.
            ref many => {
                for (id, role) in Vec::from(many) {
                    self.deliver(id, role, channel, payload, fx);
                }
            }
        }
    }

    fn deliver(&mut self, id: MemberId, role: Role, channel: &[u8], payload: &[u8], fx: &mut Effects) {
        let done = match role {
            Role::Broadcast => self.on_broadcast(id, channel, payload, fx),
            Role::Request => self.on_request(id, payload, fx),
            Role::Response => self.on_response(id, payload, fx),
            Role::Cluster => self.on_cluster_message(id, payload, None, fx),
        };
        self.tally(id, &channel_name(channel), done, fx);
    }

    /// An entry of a stream, as an envelope; `offset` is what its clients are to know it by.
    pub(super) fn deliver_message(
        &mut self,
        id: MemberId,
        entry: &EntryId,
        envelope: &[u8],
        offset: Option<&str>,
        fx: &mut Effects,
    ) {
        let done = self.on_cluster_message(id, envelope, offset, fx);
        self.tally(id, entry, done, fx);
    }

    fn tally(&mut self, id: MemberId, place: &dyn Display, done: Result<Fate, Malformed>, fx: &mut Effects) {
        match done {
            Ok(Fate::Delivered) => self.stats.delivered += 1,
            Ok(Fate::Ignored) => self.stats.ignored += 1,
            Ok(Fate::Own) => self.stats.own += 1,
            Err(error) => {
                self.stats.malformed += 1;
                if self.config.verbose {
                    self.note(fx, id, &format!("ignoring malformed message, {place}: {error}"));
                }
            }
        }
    }

    fn on_broadcast(
        &mut self,
        id: MemberId,
        channel: &[u8],
        payload: &[u8],
        fx: &mut Effects,
    ) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get(&id) else {
            return Ok(Fate::Ignored);
        };
        match member.routing.channels.room_in(channel) {
            None => return Ok(Fate::Ignored),
            Some([]) => {}
            Some(room) if !member.wants_room(room) => return Ok(Fate::Ignored),
            Some(_) => {}
        }
        if member.spec.custom_parser {
            return Ok(raw_record(fx, Kind::Broadcast, id, Encoding::Custom, payload));
        }
        if classic::peek_uid(payload)? == member.spec.uid {
            return Ok(Fate::Own);
        }
        let broadcast = classic::decode_broadcast(payload)?;
        self.on_decoded_broadcast(id, &broadcast, payload, None, fx)
    }

    /// A broadcast of another member, in whatever family.
    fn on_decoded_broadcast(
        &mut self,
        id: MemberId,
        broadcast: &Broadcast<'_>,
        payload: &[u8],
        offset: Option<&str>,
        fx: &mut Effects,
    ) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get(&id) else {
            return Ok(Fate::Ignored);
        };
        if broadcast.nsp != member.spec.nsp {
            return Ok(Fate::Ignored);
        }
        let wanted = if broadcast.target.is_for_all() {
            member.wants_all()
        } else {
            broadcast.target.any_room(|room| member.wants_room(room))
        };
        if !wanted {
            return Ok(Fate::Ignored);
        }
        if !member.spec.frames {
            let encoding = match &broadcast.arguments {
                Arguments::Json(text) => {
                    check_nesting(text.as_bytes())?;
                    Encoding::Json
                }
                Arguments::Msgpack(_) => Encoding::Msgpack,
            };
            return Ok(broadcast_record(fx, id, encoding, payload, offset));
        }
        // It is one more argument.
        let arguments = match offset {
            Some(offset) if member.recovers() => broadcast.arguments.with(offset)?,
            _ => broadcast.arguments.clone(),
        };
        let mut draft = fx.batch.draft(Kind::Frame, id);
        let (nsp, packet_id) = (&broadcast.nsp, broadcast.id);
        let (frame, data) = match &arguments {
            Arguments::Msgpack(data) => (write_event_frame(nsp, packet_id, data, draft.bytes())?, &**data),
            Arguments::Json(text) => {
                (write_event_frame_of_text(nsp, packet_id, text, draft.bytes())?, &b""[..])
            }
        };
        draft.set(0, frame.frame);
        draft.set(1, frame.text);
        if !broadcast.target.is_trivial() {
            draft.part(2, broadcast.target.opts);
        }
        let exact = frame.exact && frame.attachments.is_empty();
        if !exact {
            draft.part(3, data);
            draft.table(&frame.attachments);
        }
        let attachments = u32::try_from(frame.attachments.len()).unwrap_or(u32::MAX);
        draft.record.n = (attachments << 1) | u32::from(exact);
        if let Some(offset) = offset.filter(|_| member.recovers()) {
            draft.record.token = u32::try_from(offset.len()).unwrap_or_default();
        }
        draft.done();
        Ok(Fate::Delivered)
    }

    fn on_request(&mut self, id: MemberId, payload: &[u8], fx: &mut Effects) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(Fate::Ignored);
        };
        let json = payload.first() == Some(&JSON_MARK);
        let encoding = match (json, member.spec.custom_parser) {
            (true, _) => Encoding::Json,
            (false, false) => Encoding::Msgpack,
            (false, true) => Encoding::Custom,
        };
        if encoding != Encoding::Custom {
            let request = Request::decode(payload)?;
            let ours = request.uid.as_deref() == Some(member.spec.uid.as_str());
            let Some(kind) = request.kind() else {
                if request.is_hello() && !ours {
                    self.greeted(id, fx.now);
                }
                return Ok(if ours { Fate::Own } else { Fate::Ignored });
            };
            if ours
                || request.request_id.as_deref().is_some_and(|request| self.requests.contains(id, request))
            {
                return Ok(Fate::Own);
            }
            if kind == RequestType::Broadcast && request.packet_nsp() != member.spec.nsp {
                return Ok(Fate::Ignored);
            }
            if let Some(alone) = answer_alone(member, kind, &request) {
                if let Alone::Answer(response) = alone {
                    let uid = member.routing.response_to(request.uid.as_deref()).map(str::to_owned);
                    self.send(id, &Destination::Response { uid }, &response, fx);
                }
                return Ok(Fate::Ignored);
            }
        }
        // It may end in sockets joining rooms, and what is published next may be for those.
        member.interest().unsettle();
        Ok(raw_record(fx, Kind::Request, id, encoding, payload))
    }

    fn on_cluster_message(
        &mut self,
        id: MemberId,
        payload: &[u8],
        offset: Option<&str>,
        fx: &mut Effects,
    ) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(Fate::Ignored);
        };
        if cluster::is_own(payload, &member.tail) {
            return Ok(Fate::Own);
        }
        if let Some(glance) = glance(payload, &member.ending) {
            let wanted = if glance.is_for_all() {
                member.wants_all()
            } else {
                glance.any_room(|room| member.wants_room(room))
            };
            if !wanted {
                return Ok(Fate::Ignored);
            }
            if let Some(broadcast) = glance.into_broadcast() {
                return self.on_decoded_broadcast(id, &broadcast, payload, offset, fx);
            }
        }
        match cluster::Message::decode(payload)? {
            None => Ok(Fate::Ignored),
            Some(cluster::Message::Broadcast(broadcast)) => {
                if broadcast.uid == member.spec.uid {
                    return Ok(Fate::Own);
                }
                self.on_decoded_broadcast(id, &broadcast, payload, offset, fx)
            }
            Some(cluster::Message::Request(request)) => {
                if request.uid.as_deref() == Some(member.spec.uid.as_str()) {
                    return Ok(Fate::Own);
                }
                if request.nsp() != Some(&member.spec.nsp) {
                    return Ok(Fate::Ignored);
                }
                let joined = request.joined();
                if !joined.is_empty() {
                    member.routing.cover(joined.iter().map(|room| &**room), fx.now);
                }
                let is_alone = match request.kind() {
                    // What a fetch finds nothing of may be asked to learn whether all rooms are listened to.
                    RequestType::RemoteFetch => !member.waits_for_rooms(),
                    RequestType::ServerSideEmit => false,
                    _ => true,
                };
                if is_alone && !request.addresses(member.wants_all(), |room| member.wants_room(room)) {
                    if matches!(request.kind(), RequestType::Broadcast | RequestType::RemoteFetch) {
                        let uid = request.uid.clone();
                        let MemberSpec { uid: own, nsp, .. } = &member.spec;
                        let msgpack = matches!(self.config.family, Family::Streams { .. });
                        let response = cluster::nothing_here(&request, own, nsp, msgpack);
                        self.send(id, &Destination::Response { uid }, &response, fx);
                    }
                    return Ok(Fate::Ignored);
                }
                // It may end in sockets joining rooms, and what is published next may be for those.
                member.interest().unsettle();
                let json = payload.first() == Some(&JSON_MARK);
                let encoding = if json { Encoding::Json } else { Encoding::Msgpack };
                Ok(raw_record(fx, Kind::Request, id, encoding, payload))
            }
            Some(cluster::Message::Hello(hello)) => {
                if hello.uid.as_deref() == Some(&member.spec.uid) {
                    return Ok(Fate::Own);
                }
                if hello.nsp.as_deref() == Some(&member.spec.nsp) {
                    self.greeted(id, fx.now);
                }
                Ok(Fate::Ignored)
            }
            Some(cluster::Message::Response(response)) => {
                let reply = response.reply(payload);
                let known = self.requests.answered(id, response.request_id(), &reply, fx.now, &mut fx.batch);
                Ok(if known { Fate::Delivered } else { Fate::Ignored })
            }
        }
    }

    fn on_response(&mut self, id: MemberId, payload: &[u8], fx: &mut Effects) -> Result<Fate, Malformed> {
        if !self.flow.is_proven()
            && self.config.proof.as_ref().is_some_and(|proof| proof.as_bytes() == payload)
        {
            self.flow.set_proven(true);
            self.event(fx, 0, &Event::Proven);
            self.end_proofs(fx);
            self.announce_all(fx);
            return Ok(Fate::Own);
        }
        let Some(member) = self.members.get(&id) else {
            return Ok(Fate::Ignored);
        };
        if self.config.family.has_envelopes() {
            return self.on_cluster_message(id, payload, None, fx);
        }
        if payload.first() != Some(&JSON_MARK) && member.spec.custom_parser {
            return Ok(raw_record(fx, Kind::Response, id, Encoding::Custom, payload));
        }
        if classic::peek_request_id(payload).is_some_and(|request| !self.requests.contains(id, request)) {
            return Ok(Fate::Ignored);
        }
        let response = Response::decode(payload)?;
        let Some(request_id) = &response.request_id else {
            return Ok(Fate::Ignored);
        };
        let known = self.requests.answered(id, request_id, &response.reply(payload), fx.now, &mut fx.batch);
        Ok(if known { Fate::Delivered } else { Fate::Ignored })
    }
}

/// What becomes of a request that concerns no socket of this node.
enum Alone {
    Answer(Vec<u8>),
    /// Nobody waits for an answer.
    Nothing,
}

/// Deals with a request of the classic family that needs no socket of this node. `None` if JS is to deal with it.
fn answer_alone(member: &Member, kind: RequestType, request: &Request) -> Option<Alone> {
    let wants_room = |room: &[u8]| member.wants_room(room);
    let is_for_nobody = || !request.addresses(member.wants_all(), wants_room);
    let answer = match kind {
        RequestType::RemoteJoin | RequestType::RemoteLeave | RequestType::RemoteDisconnect => {
            return (request.has_target() && is_for_nobody()).then_some(Alone::Nothing);
        }
        RequestType::Broadcast if is_for_nobody() => classic::no_client,
        RequestType::RemoteFetch if is_for_nobody() => classic::no_sockets,
        RequestType::Sockets if !request.addresses_in_rooms(member.wants_all(), wants_room) => {
            classic::no_sockets
        }
        RequestType::AllRooms => {
            let names = member.room_names()?;
            return request.request_id.as_ref().map(|id| Alone::Answer(classic::rooms(id, names)));
        }
        _ => return None,
    };
    request.request_id.as_ref().map(|id| Alone::Answer(answer(id)))
}

/// A broadcast that JS decodes.
fn broadcast_record(
    fx: &mut Effects,
    id: MemberId,
    encoding: Encoding,
    payload: &[u8],
    offset: Option<&str>,
) -> Fate {
    let mut draft = fx.batch.draft(Kind::Broadcast, id);
    draft.part(0, payload);
    draft.part(1, offset.unwrap_or_default().as_bytes());
    draft.record.n = encoding as u32;
    draft.done();
    Fate::Delivered
}

/// For the operator to read.
fn channel_name(channel: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(channel)
}

/// What became of a message.
enum Fate {
    Delivered,
    Ignored,
    Own,
}

fn raw_record(fx: &mut Effects, kind: Kind, id: MemberId, encoding: Encoding, payload: &[u8]) -> Fate {
    let mut draft = fx.batch.draft(kind, id);
    draft.part(0, payload);
    draft.record.n = encoding as u32;
    draft.done();
    Fate::Delivered
}
