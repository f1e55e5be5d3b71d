//! The protocol without any I/O: commands, messages and `now` in, [`Effects`] out.
//!
//! No clock, lock, thread or socket here; the driver has those. All state of a link is in [`Core`].

pub mod effects;
pub mod flow;
pub mod member;
pub mod requests;
pub mod routes;
pub mod stats;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::packet::{Malformed, write_event_frame};
use crate::transport::{Incoming, Lane};
use crate::wire::classic::{
    self, Broadcast, EVENT, JSON_MARK, Request, RequestType, Response, encode_broadcast,
};
use effects::{Effects, Encoding, Kind, MemberId};
use flow::Flow;
use member::{Member, MemberSpec};
use requests::{Counted, Requests};
use routes::{Role, Routes};
use stats::Stats;

/// How often the peers of a member that publishes are counted: the number that an outage waits for at its end
/// is at most this old.
const PEERS_EVERY: Duration = Duration::from_secs(2);

/// How a link is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bound of the backlog, in bytes.
    pub max_backlog: usize,
    /// What has to come back through the user's client before the link is trusted; `None` if it is the only
    /// way to Redis anyway.
    pub proof: Option<String>,
    /// Whether JS wants to hear why messages were dropped.
    pub verbose: bool,
}

/// Something that JS should know, sent as JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event<'a> {
    /// The link is connected.
    Up,
    /// The link is lost, or could not be made.
    Down {
        /// What went wrong.
        reason: &'a str,
    },
    /// The link listens on `channel`: the proof may be sent there through the user's client.
    Prove {
        /// A channel that only this link listens on.
        channel: &'a str,
    },
    /// The proof has come back.
    Proven,
    /// A member's subscriptions hold, and the link is proven.
    Ready,
    /// A member's subscriptions are lost until it is ready again.
    Deaf {
        /// What went wrong.
        reason: &'a str,
    },
    /// Redis refuses something.
    Refused {
        /// What it refuses: `publish` or `subscribe`.
        what: &'a str,
        /// Its own words.
        error: &'a str,
    },
    /// Publishes go out at once, or wait from now on.
    Flowing {
        /// Which of the two.
        flowing: bool,
    },
    /// All that was published is with the kernel, or given up.
    Flushed,
    /// A message was dropped; only if JS asked to hear of it.
    Note {
        /// Why.
        text: &'a str,
    },
}

/// Where a message of this node goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The broadcast channel, or the one of a single room.
    Broadcast {
        /// The room.
        room: Option<String>,
    },
    /// The request channel.
    Request,
    /// The response channel, or the one of a single member.
    Response {
        /// The member.
        uid: Option<String>,
    },
}

#[derive(Debug)]
enum Purpose {
    /// JS asked for the number of members.
    Server { member: MemberId, token: u32 },
    /// A request wants to know how many answers to wait for.
    Request { member: MemberId, id: Box<str> },
    /// How many peers a member has, for the end of an outage to come.
    Peers { member: MemberId },
    /// Whether the peers are back.
    Healing { members: Vec<MemberId> },
}

impl Purpose {
    /// Whether somebody waits for it, so that it is counted again after an outage.
    fn outlives_the_link(&self) -> bool {
        matches!(self, Purpose::Server { .. } | Purpose::Request { .. })
    }
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
    was_flowing: bool,
    shut: bool,
    counts: HashMap<u64, Purpose>,
    next_count: u64,
    /// Counts that wait for the link.
    waiting: Vec<Purpose>,
    stats: Stats,
}

impl Core {
    /// A link without members; `has_lanes` is the transport's.
    pub fn new(config: Config, has_lanes: bool) -> Self {
        Core {
            flow: Flow::new(config.max_backlog, config.proof.is_none()),
            config,
            has_lanes,
            members: HashMap::new(),
            routes: Routes::default(),
            requests: Requests::default(),
            was_flowing: false,
            shut: false,
            counts: HashMap::new(),
            next_count: 0,
            waiting: Vec::new(),
            stats: Stats::default(),
        }
    }

    // --- members ---------------------------------------------------------------------------------------

    /// A member joins: its channels are subscribed to.
    pub fn join(&mut self, id: MemberId, spec: MemberSpec, fx: &mut Effects) {
        let mut member = Member::new(spec, 0);
        if self.has_lanes {
            member.lane = self.routes.free_lane(&member.channels.request);
        }
        self.subscribe(id, &member, fx);
        self.members.insert(id, member);
    }

    /// A member leaves: its subscriptions and requests end.
    pub fn leave(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        let unused = self.routes.remove(id, &member);
        fx.unsubscribe.extend(unused.into_iter().map(|name| (member.lane, name)));
        self.requests.leave(id, &mut fx.batch);
        self.waiting.retain(|purpose| match purpose {
            Purpose::Server { member, .. } | Purpose::Request { member, .. } => *member != id,
            Purpose::Peers { .. } | Purpose::Healing { .. } => true,
        });
    }

    /// Whether any member is left.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// What is known of a member's sockets, to be updated by JS.
    pub fn interest(&mut self, id: MemberId) -> Option<&mut member::Interest> {
        self.members.get_mut(&id).map(Member::interest)
    }

    fn subscribe(&mut self, id: MemberId, member: &Member, fx: &mut Effects) {
        let fresh = self.routes.add(id, member);
        fx.subscribe.extend(fresh.into_iter().map(|name| (member.lane, name)));
    }

    /// Another transport carries the bytes from now on.
    pub fn change_transport(&mut self, has_lanes: bool, needs_proof: bool, fx: &mut Effects) {
        self.has_lanes = has_lanes;
        self.flow.down();
        self.flow.set_proven(!needs_proof);
        self.routes = Routes::default();
        let counts = std::mem::take(&mut self.counts);
        self.waiting.extend(counts.into_values().filter(Purpose::outlives_the_link));
        let mut members: Vec<(MemberId, Member)> = self.members.drain().collect();
        members.sort_by_key(|&(id, _)| id);
        for (id, mut member) in members {
            member.confirmed = [false; 4];
            member.lane = if has_lanes { self.routes.free_lane(&member.channels.request) } else { 0 };
            self.subscribe(id, &member, fx);
            self.members.insert(id, member);
        }
    }

    // --- outgoing --------------------------------------------------------------------------------------

    /// Publishes an event that socket.io-parser has printed: `payload` is the Engine.IO text, `opts` the
    /// options in msgpack, or none for those of a plain emit to `room` or everyone.
    pub fn broadcast(
        &mut self,
        id: MemberId,
        payload: &[u8],
        attachments: &[&[u8]],
        room: Option<&str>,
        opts: Option<&[u8]>,
        now: Instant,
        fx: &mut Effects,
    ) {
        let Some(member) = self.members.get(&id) else {
            self.stats.dropped += 1;
            return;
        };
        let channel = match room {
            Some(room) => std::borrow::Cow::Owned(member.channels.room(room.as_bytes())),
            None => std::borrow::Cow::Borrowed(member.channels.broadcast.as_slice()),
        };
        let spec = &member.spec;
        let written = fx.publishes.push(&channel, |out| {
            encode_broadcast(
                &spec.uid,
                &spec.nsp,
                payload,
                attachments,
                |out| match opts {
                    Some(opts) => {
                        out.extend_from_slice(opts);
                        Ok(())
                    }
                    None => classic::write_plain_opts(out, room),
                },
                out,
            )
        });
        match written {
            Ok(()) => self.published(id, now, fx),
            Err(error) => {
                self.stats.unencodable += 1;
                self.note(fx, id, &format!("a broadcast was not published: {error}"));
            }
        }
    }

    /// Publishes bytes that are ready for the wire.
    pub fn send(&mut self, id: MemberId, to: &Destination, bytes: &[u8], now: Instant, fx: &mut Effects) {
        let Some(member) = self.members.get(&id) else {
            self.stats.dropped += 1;
            return;
        };
        let channels = &member.channels;
        let channel = match to {
            Destination::Broadcast { room: Some(room) } => channels.room(room.as_bytes()),
            Destination::Broadcast { room: None } => channels.broadcast.clone(),
            Destination::Request => channels.request.clone(),
            Destination::Response { uid: Some(uid) } => channels.response_of(uid),
            Destination::Response { uid: None } => channels.response.clone(),
        };
        self.publish(&channel, bytes, fx);
        self.published(id, now, fx);
    }

    /// Publishes bytes that are ready for the wire on any channel.
    pub fn publish(&mut self, channel: &[u8], bytes: &[u8], fx: &mut Effects) {
        let written = fx.publishes.push::<()>(channel, |out| {
            out.extend_from_slice(bytes);
            Ok(())
        });
        debug_assert!(written.is_ok());
    }

    fn published(&mut self, id: MemberId, now: Instant, fx: &mut Effects) {
        if !self.flow.is_up() {
            return;
        }
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.peers_due.is_none_or(|due| now >= due) {
            member.peers_due = Some(now + PEERS_EVERY);
            self.count(Purpose::Peers { member: id }, fx);
        }
    }

    /// Sorts what [`Effects::publishes`] gathered: what may go out stays there, the rest goes to the backlog.
    /// To be called before the publishes are handed to the transport. `room` is how many bytes it takes now.
    pub fn release(&mut self, mut room: usize, now: Instant, fx: &mut Effects) {
        if self.shut {
            self.stats.dropped += fx.publishes.len() as u64;
            fx.publishes.clear();
        }
        let open = self.flow.is_open();
        if !open || !self.flow.backlog.is_empty() || room == 0 {
            for (channel, payload) in fx.publishes.iter() {
                self.flow.backlog.push(channel, payload);
            }
            fx.publishes.clear();
        }
        if open {
            while room > 0 {
                let Some((channel, payload)) = self.flow.backlog.pop() else {
                    break;
                };
                room = room.saturating_sub(channel.len() + payload.len());
                self.publish(&channel, &payload, fx);
            }
        }
        self.stats.published += fx.publishes.len() as u64;
        let flowing = open && self.flow.backlog.is_empty();
        if flowing != self.was_flowing {
            self.was_flowing = flowing;
            self.event(fx, 0, &Event::Flowing { flowing });
        }
        self.heal(now, fx);
    }

    /// Whether nothing waits in the backlog.
    pub fn is_flushed(&self) -> bool {
        self.flow.backlog.is_empty()
    }

    /// Says whether the link is shut for good, as far as anyone knows: then nothing waits for it, and what is
    /// published is dropped and counted.
    pub fn set_shut(&mut self, shut: bool) {
        self.shut = shut;
        if shut {
            self.flow.backlog.clear();
        }
    }

    // --- requests --------------------------------------------------------------------------------------

    /// Sends a request that other members answer. All but an acknowledged broadcast wait for the members to be
    /// counted first.
    pub fn request(
        &mut self,
        id: MemberId,
        request_id: &str,
        kind: RequestType,
        body: &[u8],
        timeout: Duration,
        now: Instant,
        fx: &mut Effects,
    ) {
        let at_once = kind == RequestType::Broadcast;
        let later = (!at_once).then(|| body.into());
        if !self.members.contains_key(&id) || !self.requests.add(id, request_id, kind, later, timeout, now) {
            // Added for its end alone.
            let mut refused = Requests::default();
            refused.add(id, request_id, kind, None, timeout, now);
            return refused.fail(request_id, &mut fx.batch);
        }
        if at_once {
            self.send(id, &Destination::Request, body, now, fx);
        }
        self.count_when_ready(Purpose::Request { member: id, id: request_id.into() }, fx);
    }

    /// Counts the members for JS, which hears of it by a [`Kind::Count`] record with this token.
    pub fn server_count(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        if self.members.contains_key(&id) {
            self.count_when_ready(Purpose::Server { member: id, token }, fx);
        } else {
            count_record(fx, id, token, 0);
        }
    }

    fn count_when_ready(&mut self, purpose: Purpose, fx: &mut Effects) {
        let member = match &purpose {
            Purpose::Server { member, .. } | Purpose::Request { member, .. } | Purpose::Peers { member } => {
                self.members.get(member)
            }
            Purpose::Healing { .. } => None,
        };
        if self.flow.is_up() && member.is_some_and(Member::is_subscribed) {
            self.count(purpose, fx);
        } else {
            self.waiting.push(purpose);
        }
    }

    fn count(&mut self, purpose: Purpose, fx: &mut Effects) {
        let ids: &[MemberId] = match &purpose {
            Purpose::Server { member, .. } | Purpose::Request { member, .. } | Purpose::Peers { member } => {
                std::slice::from_ref(member)
            }
            Purpose::Healing { members } => members,
        };
        // A member listens on both; what listens on one of them alone is not a member.
        let channels = ids
            .iter()
            .filter_map(|id| self.members.get(id))
            .flat_map(|member| [member.channels.request.clone(), member.channels.response.clone()])
            .collect();
        let token = self.next_count;
        self.next_count += 1;
        self.counts.insert(token, purpose);
        fx.counts.push((token, channels));
    }

    fn counted(&mut self, token: u64, counts: Option<&[u64]>, now: Instant, fx: &mut Effects) {
        let Some(purpose) = self.counts.remove(&token) else {
            return;
        };
        let Some(counts) = counts else {
            match purpose {
                Purpose::Healing { .. } => self.flow.counted(false, now),
                purpose if purpose.outlives_the_link() => self.waiting.push(purpose),
                _ => {}
            }
            return;
        };
        let mut members = counts.chunks(2).map(|pair| pair.iter().copied().min().unwrap_or(0));
        match purpose {
            Purpose::Server { member, token } => {
                let count = members.next().unwrap_or(0) + self.sharing(member);
                count_record(fx, member, token, count);
            }
            Purpose::Request { member, id } => {
                let count = members.next().unwrap_or(0) + self.sharing(member);
                match self.requests.counted(&id, count, now, &mut fx.batch) {
                    Counted::Publish(member, body) => {
                        self.send(member, &Destination::Request, &body, now, fx);
                    }
                    Counted::Nothing => {}
                }
            }
            Purpose::Peers { member } => {
                if let Some(member) = self.members.get_mut(&member) {
                    member.peers = members.next().unwrap_or(0);
                }
            }
            Purpose::Healing { members: ids } => {
                let found = ids
                    .iter()
                    .zip(members)
                    .all(|(id, count)| self.members.get(id).is_none_or(|member| count >= member.peers));
                self.flow.counted(found, now);
            }
        }
    }

    /// How many other members share this one's subscriptions, as they must where a transport has one lane:
    /// Redis does not count them.
    fn sharing(&self, id: MemberId) -> u64 {
        self.members.get(&id).map_or(0, |member| {
            let listeners = self.routes.listeners(member.lane, false, &member.channels.request);
            (listeners.len() as u64).saturating_sub(1)
        })
    }

    // --- time ------------------------------------------------------------------------------------------

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, fx: &mut Effects) {
        for (member, id) in self.requests.tick(now, &mut fx.batch) {
            self.count_when_ready(Purpose::Request { member, id }, fx);
        }
        self.heal(now, fx);
    }

    /// When [`Core::tick`] is to be called; `None` if nothing is due ever.
    pub fn deadline(&self) -> Option<Instant> {
        [self.requests.deadline(), self.flow.deadline()].into_iter().flatten().min()
    }

    fn heal(&mut self, now: Instant, fx: &mut Effects) {
        if !self.flow.wants_count(now) {
            return;
        }
        let mut members: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.peers > 1).map(|(&id, _)| id).collect();
        members.sort_unstable();
        self.count(Purpose::Healing { members }, fx);
    }

    // --- incoming --------------------------------------------------------------------------------------

    /// Takes what the transport reports.
    pub fn incoming(&mut self, incoming: Incoming<'_>, now: Instant, fx: &mut Effects) {
        match incoming {
            Incoming::Message { lane, pattern, channel, payload } => {
                self.stats.received += 1;
                self.message(lane, pattern, channel, payload, now, fx);
            }
            Incoming::Published { .. } => self.stats.acknowledged += 1,
            Incoming::PublishRefused { error } => {
                self.stats.refused += 1;
                self.event(fx, 0, &Event::Refused { what: "publish", error });
            }
            Incoming::Counted { token, counts } => self.counted(token, counts, now, fx),
            Incoming::Subscribed { lane, pattern, name } => self.subscribed(lane, pattern, name, fx),
            Incoming::Up => {
                let peers_before = self.members.values().any(|member| member.peers > 1);
                self.flow.up(now, peers_before);
                self.event(fx, 0, &Event::Up);
                self.announce_all(fx);
            }
            Incoming::Down { reason, unanswered, unwritten } => {
                self.stats.lost_in_flight += unanswered + unwritten;
                self.stats.outages += u64::from(self.flow.is_connected());
                self.flow.down();
                self.event(fx, 0, &Event::Down { reason });
            }
            Incoming::LaneDown { lane, reason } => {
                let mut deaf = Vec::new();
                for (&id, member) in &mut self.members {
                    if member.lane == lane {
                        if member.is_subscribed() {
                            deaf.push(id);
                        }
                        member.confirmed = [false; 4];
                    }
                }
                for id in deaf {
                    self.event(fx, id, &Event::Deaf { reason });
                }
            }
            Incoming::SubscribeRefused { error, .. } => {
                self.event(fx, 0, &Event::Refused { what: "subscribe", error });
            }
        }
    }

    fn subscribed(&mut self, lane: Lane, pattern: bool, name: &[u8], fx: &mut Effects) {
        let mut complete = Vec::new();
        for &(id, role) in self.routes.listeners(lane, pattern, name) {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            let before = member.is_subscribed();
            if let Some(confirmed) = member.confirmed.get_mut(role as usize) {
                *confirmed = true;
            }
            if !before && member.is_subscribed() {
                complete.push(id);
            }
        }
        self.announce(&complete, fx);
    }

    /// The link has come up or is proven now: all members that are subscribed become ready.
    fn announce_all(&mut self, fx: &mut Effects) {
        let mut subscribed: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.is_subscribed()).map(|(&id, _)| id).collect();
        subscribed.sort_unstable();
        self.announce(&subscribed, fx);
    }

    /// Members have all their subscriptions: they are ready, or can help to prove the link.
    fn announce(&mut self, ids: &[MemberId], fx: &mut Effects) {
        let Some(first) = ids.first().filter(|_| self.flow.is_connected()) else {
            return;
        };
        if !self.flow.is_proven() {
            if let Some(member) = self.members.get(first) {
                let channel = String::from_utf8_lossy(&member.channels.own_response).into_owned();
                self.event(fx, 0, &Event::Prove { channel: &channel });
            }
            return;
        }
        for &id in ids {
            self.event(fx, id, &Event::Ready);
            if self.members.get(&id).is_some_and(|member| member.peers == 0) {
                self.count(Purpose::Peers { member: id }, fx);
            }
        }
        for purpose in std::mem::take(&mut self.waiting) {
            self.count_when_ready(purpose, fx);
        }
    }

    /// Trusts the link without a proof: the user's clients have ended, and nothing else can carry what waits.
    pub fn trust(&mut self, fx: &mut Effects) {
        if !self.flow.is_proven() {
            self.flow.set_proven(true);
            self.announce_all(fx);
        }
    }

    fn message(
        &mut self,
        lane: Lane,
        pattern: Option<&[u8]>,
        channel: &[u8],
        payload: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) {
        let name = pattern.unwrap_or(channel);
        match *self.routes.listeners(lane, pattern.is_some(), name) {
            [] => self.stats.ignored += 1,
            [(id, role)] => self.deliver(id, role, channel, payload, now, fx),
            // Several members share a name only where a transport has one lane.
            ref many => {
                for (id, role) in many.to_vec() {
                    self.deliver(id, role, channel, payload, now, fx);
                }
            }
        }
    }

    fn deliver(
        &mut self,
        id: MemberId,
        role: Role,
        channel: &[u8],
        payload: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) {
        let done = match role {
            Role::Broadcast => self.on_broadcast(id, channel, payload, fx),
            Role::Request => self.on_request(id, payload, now, fx),
            Role::Response | Role::OwnResponse => self.on_response(id, payload, now, fx),
        };
        match done {
            Ok(Fate::Delivered) => self.stats.delivered += 1,
            Ok(Fate::Ignored) => self.stats.ignored += 1,
            Ok(Fate::Own) => self.stats.own += 1,
            Err(error) => {
                self.stats.malformed += 1;
                if self.config.verbose {
                    let channel = String::from_utf8_lossy(channel);
                    self.note(fx, id, &format!("ignoring malformed message on {channel}: {error}"));
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
        match member.channels.room_in(channel) {
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
        let broadcast = Broadcast::decode(payload)?;
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
        let Some(data) =
            broadcast.data.filter(|_| member.spec.frames && broadcast.packet_type == Some(EVENT))
        else {
            return Ok(raw_record(fx, Kind::Broadcast, id, Encoding::Msgpack, payload));
        };
        let mut draft = fx.batch.draft(Kind::Frame, id);
        let frame = write_event_frame(broadcast.nsp, broadcast.id, data, draft.bytes())?;
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
        draft.done();
        Ok(Fate::Delivered)
    }

    fn on_request(
        &mut self,
        id: MemberId,
        payload: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) -> Result<Fate, Malformed> {
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
            let Some(kind) = request.kind() else {
                return Ok(Fate::Ignored);
            };
            let ours = request.uid.as_deref() == Some(member.spec.uid.as_str());
            if ours || request.request_id.as_deref().is_some_and(|id| self.requests.contains(id)) {
                return Ok(Fate::Own);
            }
            if kind == RequestType::Broadcast {
                if request.packet_nsp() != member.spec.nsp {
                    return Ok(Fate::Ignored);
                }
                if !request.addresses(member.wants_all(), |room| member.wants_room(room)) {
                    return Ok(self.no_client(id, &request, now, fx));
                }
            }
        }
        // It may end in sockets joining rooms, and what is published next may be for those.
        member.interest().unsettle();
        Ok(raw_record(fx, Kind::Request, id, encoding, payload))
    }

    /// Answers an acknowledged broadcast that concerns nobody here, without JS.
    fn no_client(&mut self, id: MemberId, request: &Request, now: Instant, fx: &mut Effects) -> Fate {
        let specific = self.members.get(&id).is_some_and(|member| member.spec.specific_responses);
        let uid = request.uid.clone().filter(|_| specific);
        if let Some(request_id) = &request.request_id {
            let response = classic::no_client(request_id);
            self.send(id, &Destination::Response { uid }, &response, now, fx);
        }
        Fate::Ignored
    }

    fn on_response(
        &mut self,
        id: MemberId,
        payload: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) -> Result<Fate, Malformed> {
        if !self.flow.is_proven()
            && self.config.proof.as_ref().is_some_and(|proof| proof.as_bytes() == payload)
        {
            self.flow.set_proven(true);
            self.event(fx, 0, &Event::Proven);
            self.announce_all(fx);
            return Ok(Fate::Own);
        }
        let Some(member) = self.members.get(&id) else {
            return Ok(Fate::Ignored);
        };
        if payload.first() != Some(&JSON_MARK) && member.spec.custom_parser {
            return Ok(raw_record(fx, Kind::Response, id, Encoding::Custom, payload));
        }
        let response = Response::decode(payload)?;
        let Some(request_id) = &response.request_id else {
            return Ok(Fate::Ignored);
        };
        let known = self.requests.answered(request_id, response.answer(), payload, now, &mut fx.batch);
        Ok(if known { Fate::Delivered } else { Fate::Ignored })
    }

    // --- the operator ----------------------------------------------------------------------------------

    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        Stats {
            dropped: self.stats.dropped + self.flow.backlog.dropped(),
            backlog: self.flow.backlog.len() as u64,
            pending_requests: self.requests.len() as u64,
            ..self.stats.clone()
        }
    }

    /// Tells JS something; `member` is 0 where it concerns the whole link.
    pub fn event(&self, fx: &mut Effects, member: MemberId, event: &Event<'_>) {
        let mut draft = fx.batch.draft(Kind::Event, member);
        draft.part(0, &serde_json::to_vec(event).unwrap_or_default());
        draft.done();
    }

    fn note(&self, fx: &mut Effects, member: MemberId, text: &str) {
        if self.config.verbose {
            self.event(fx, member, &Event::Note { text });
        }
    }
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

fn count_record(fx: &mut Effects, id: MemberId, token: u32, count: u64) {
    let mut draft = fx.batch.draft(Kind::Count, id);
    draft.record.token = token;
    draft.record.n = u32::try_from(count).unwrap_or(u32::MAX);
    draft.done();
}
