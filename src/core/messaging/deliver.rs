//! Messages of other servers, on their way to the sockets of this node or to the request that they answer.

use std::borrow::Cow;
use std::fmt::Display;

use super::Messaging;
use super::alone::{Alone, answer_alone};
use crate::core::context::Context;
use crate::core::effects::{Effects, Encoding, Kind, MemberId};
use crate::core::event::Event;
use crate::core::member::MemberSpec;
use crate::core::routes::Role;
use crate::packet::{Malformed, write_event_frame, write_event_frame_of_text};
use crate::transport::{Subscriber, SubscriptionKind};
use crate::wire::Family;
use crate::wire::broadcast::{Arguments, Broadcast};
use crate::wire::channel::Destination;
use crate::wire::classic::{self, Request, Response};
use crate::wire::cluster;
use crate::wire::glance::glance;
use crate::wire::request::RequestType;
use crate::wire::streams::EntryId;
use crate::wire::typed::{JSON_MARK, check_nesting};

impl Messaging {
    /// A message has come in.
    pub(in crate::core) fn message(
        &mut self,
        subscriber: Subscriber,
        kind: SubscriptionKind,
        name: &[u8],
        channel: &[u8],
        payload: &[u8],
        cx: &mut Context<'_>,
    ) {
        match *self.members.listeners(subscriber, kind, name) {
            [] => cx.stats.ignored += 1,
            [(id, role)] => self.deliver(id, role, channel, payload, cx),
            // Several members share a name only where a transport has one subscriber connection.
            ref many => {
                for (id, role) in Vec::from(many) {
                    self.deliver(id, role, channel, payload, cx);
                }
            }
        }
    }

    fn deliver(&mut self, id: MemberId, role: Role, channel: &[u8], payload: &[u8], cx: &mut Context<'_>) {
        let done = match role {
            Role::Broadcast => self.on_broadcast(id, channel, payload, cx),
            Role::Request => self.on_request(id, payload, cx),
            Role::Response => self.on_response(id, payload, cx),
            Role::Cluster => self.on_cluster_message(id, payload, None, cx),
        };
        self.tally(id, &channel_name(channel), done, cx);
    }

    /// Delivers an entry of a stream, as an envelope; its clients are to know it by `offset`.
    pub(in crate::core) fn deliver_message(
        &mut self,
        id: MemberId,
        entry: &EntryId,
        envelope: &[u8],
        offset: Option<&str>,
        cx: &mut Context<'_>,
    ) {
        let done = self.on_cluster_message(id, envelope, offset, cx);
        self.tally(id, entry, done, cx);
    }

    fn tally(
        &mut self,
        id: MemberId,
        place: &dyn Display,
        done: Result<Fate, Malformed>,
        cx: &mut Context<'_>,
    ) {
        match done {
            Ok(Fate::Delivered) => cx.stats.delivered += 1,
            Ok(Fate::Ignored) => cx.stats.ignored += 1,
            Ok(Fate::Own) => cx.stats.own += 1,
            Err(error) => {
                cx.stats.malformed += 1;
                if cx.settings.verbose {
                    cx.note(id, &format!("ignoring malformed message, {place}: {error}"));
                }
            }
        }
    }

    fn on_broadcast(
        &mut self,
        id: MemberId,
        channel: &[u8],
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get(id) else {
            return Ok(Fate::Ignored);
        };
        match member.routing.channels.room_in(channel) {
            None => return Ok(Fate::Ignored),
            Some([]) => {}
            Some(room) if !member.wants_room(room) => return Ok(Fate::Ignored),
            Some(_) => {}
        }
        if member.spec.custom_parser {
            return Ok(raw_record(cx.fx, Kind::Broadcast, id, Encoding::Custom, payload));
        }
        if classic::peek_uid(payload)? == member.spec.uid {
            return Ok(Fate::Own);
        }
        let broadcast = classic::decode_broadcast(payload)?;
        self.on_decoded_broadcast(id, &broadcast, payload, None, cx)
    }

    /// A broadcast of another member, of any family.
    fn on_decoded_broadcast(
        &mut self,
        id: MemberId,
        broadcast: &Broadcast<'_>,
        payload: &[u8],
        offset: Option<&str>,
        cx: &mut Context<'_>,
    ) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get(id) else {
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
            return Ok(broadcast_record(cx.fx, id, encoding, payload, offset));
        }
        // The offset is one more argument.
        let arguments = match offset {
            Some(offset) if member.recovers() => broadcast.arguments.with(offset)?,
            _ => broadcast.arguments.clone(),
        };
        let mut draft = cx.fx.batch.draft(Kind::Frame, id);
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

    fn on_request(&mut self, id: MemberId, payload: &[u8], cx: &mut Context<'_>) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get_mut(id) else {
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
                    self.greeted(id, cx);
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
                    self.send(id, &Destination::Response { uid }, &response, cx);
                }
                return Ok(Fate::Ignored);
            }
        }
        // JS may make sockets join rooms, and the next message may be for those.
        member.interest().unsettle();
        Ok(raw_record(cx.fx, Kind::Request, id, encoding, payload))
    }

    fn on_cluster_message(
        &mut self,
        id: MemberId,
        payload: &[u8],
        offset: Option<&str>,
        cx: &mut Context<'_>,
    ) -> Result<Fate, Malformed> {
        let Some(member) = self.members.get_mut(id) else {
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
                return self.on_decoded_broadcast(id, &broadcast, payload, offset, cx);
            }
        }
        match cluster::Message::decode(payload)? {
            None => Ok(Fate::Ignored),
            Some(cluster::Message::Broadcast(broadcast)) => {
                if broadcast.uid == member.spec.uid {
                    return Ok(Fate::Own);
                }
                self.on_decoded_broadcast(id, &broadcast, payload, offset, cx)
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
                    member.routing.cover(joined.iter().map(|room| &**room), cx.now());
                }
                let is_alone = match request.kind() {
                    // A server may ask for sockets that do not exist, to learn whether all rooms are listened to.
                    RequestType::RemoteFetch => !member.waits_for_rooms(),
                    RequestType::ServerSideEmit => false,
                    _ => true,
                };
                if is_alone && !request.addresses(member.wants_all(), |room| member.wants_room(room)) {
                    if matches!(request.kind(), RequestType::Broadcast | RequestType::RemoteFetch) {
                        let uid = request.uid.clone();
                        let MemberSpec { uid: own, nsp, .. } = &member.spec;
                        let msgpack = matches!(cx.settings.family, Family::Streams { .. });
                        let response = cluster::nothing_here(&request, own, nsp, msgpack);
                        self.send(id, &Destination::Response { uid }, &response, cx);
                    }
                    return Ok(Fate::Ignored);
                }
                // JS may make sockets join rooms, and the next message may be for those.
                member.interest().unsettle();
                let json = payload.first() == Some(&JSON_MARK);
                let encoding = if json { Encoding::Json } else { Encoding::Msgpack };
                Ok(raw_record(cx.fx, Kind::Request, id, encoding, payload))
            }
            Some(cluster::Message::Hello(hello)) => {
                if hello.uid.as_deref() == Some(&member.spec.uid) {
                    return Ok(Fate::Own);
                }
                if hello.nsp.as_deref() == Some(&member.spec.nsp) {
                    self.greeted(id, cx);
                }
                Ok(Fate::Ignored)
            }
            Some(cluster::Message::Response(response)) => {
                let reply = response.reply(payload);
                let known =
                    self.requests.answered(id, response.request_id(), &reply, cx.now(), &mut cx.fx.batch);
                Ok(if known { Fate::Delivered } else { Fate::Ignored })
            }
        }
    }

    fn on_response(&mut self, id: MemberId, payload: &[u8], cx: &mut Context<'_>) -> Result<Fate, Malformed> {
        if !self.publisher.flow.is_proven()
            && cx.settings.proof.as_ref().is_some_and(|proof| proof.as_bytes() == payload)
        {
            self.publisher.flow.set_proven(true);
            cx.event(0, &Event::Proven);
            self.members.end_proofs(cx.fx);
            self.announce_all(cx);
            return Ok(Fate::Own);
        }
        let Some(member) = self.members.get(id) else {
            return Ok(Fate::Ignored);
        };
        if cx.settings.family.has_envelopes() {
            return self.on_cluster_message(id, payload, None, cx);
        }
        if payload.first() != Some(&JSON_MARK) && member.spec.custom_parser {
            return Ok(raw_record(cx.fx, Kind::Response, id, Encoding::Custom, payload));
        }
        if classic::peek_request_id(payload).is_some_and(|request| !self.requests.contains(id, request)) {
            return Ok(Fate::Ignored);
        }
        let response = Response::decode(payload)?;
        let Some(request_id) = &response.request_id else {
            return Ok(Fate::Ignored);
        };
        let known =
            self.requests.answered(id, request_id, &response.reply(payload), cx.now(), &mut cx.fx.batch);
        Ok(if known { Fate::Delivered } else { Fate::Ignored })
    }
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

/// The name of a channel, for the operator to read.
fn channel_name(channel: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(channel)
}

/// The end of a message.
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
