//! The way back from the user's clients to the link's own connections, while both stand.
//!
//! Redis hands its messages to all subscribers in one order. So a *mark*, published on a channel that both listen to,
//! divides what comes in: what is in front of it is taken from the clients, what is behind it from the own connections,
//! and nothing is lost, doubled or out of order. Until the mark has come in everywhere, both keep what is behind it: the
//! link can still stay with the clients, as if nothing had been.
//!
//! So the own connections have to listen to everything before the mark is published. The rooms come first, in portions:
//! there may be 100,000 of them. Meanwhile the clients go on as ever, and rooms that come and go are followed on both ways.
//! What the own connections bring is dropped: the clients bring it, too.
//!
//! From then on what goes out waits, for a few round trips: until Redis has answered for what the clients were given, and
//! the own connections take it. Counts wait, too, since Redis counts both. That is why the channels that others count are
//! subscribed to last, behind the last answer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::Core;
use super::effects::{Change, Effects, MemberId};
use super::event::Event;
use super::member::Member;
use super::routes::{Added, Role, Routes};
use crate::transport::{Incoming, Lane, Subscription, SubscriptionKind};
use crate::wire::Family;

/// How long the own connections may take to be made, and to be proven.
const PROVING: Duration = Duration::from_secs(6);

/// How long each step may take while publishes wait for it; and how long Redis may confirm none of the rooms.
const STEP: Duration = Duration::from_secs(1);

/// How many names are looked at in one go: some milliseconds of work, for which the other links of the process wait. No
/// more are asked for as long as so many are not confirmed.
const PORTION: usize = 1000;

/// How much may be kept of what comes in behind the mark, in bytes.
const MAX_HELD: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A message by the user's client is to come in on the own connections.
    Proving,
    /// The own connections subscribe to the rooms.
    Joining,
    /// Publishes wait: Redis is to answer for what the clients were given.
    Draining,
    /// The own connections subscribe to the rest, which others count.
    Completing,
    /// The mark is to come in everywhere.
    Marking,
    /// It has: the driver changes the carrier.
    Done,
}

/// A message that is kept.
#[derive(Debug)]
struct Held {
    lane: Lane,
    kind: SubscriptionKind,
    name: Box<[u8]>,
    channel: Box<[u8]>,
    payload: Box<[u8]>,
}

/// A change of the carrier that is under way.
#[derive(Debug)]
pub(super) struct Crossing {
    secret: String,
    proof: String,
    mark: String,
    /// Where the proof and the mark come in: a channel of this link alone, that nobody counts.
    channel: Subscription,
    began: Instant,
    step: Step,
    until: Instant,
    is_up: bool,
    is_confirmed: bool,
    is_drained: bool,
    /// As they will be.
    routes: Routes,
    lanes: HashMap<MemberId, Lane>,
    lane_count: usize,
    /// Members whose rooms are still to be looked at.
    members: VecDeque<MemberId>,
    /// The member whose turn it is, and its rooms that are left.
    rooms: Option<(MemberId, Vec<Subscription>)>,
    /// What others count: to be asked for last.
    counted: VecDeque<(Lane, Subscription)>,
    /// What Redis has not confirmed of that.
    missing: HashSet<(Lane, Subscription)>,
    /// The same of rooms that have come since.
    late: HashSet<(Lane, Subscription)>,
    /// The portion is used up, and Redis would take more.
    goes_on: bool,
    /// Where the mark has come in.
    marked: HashSet<Lane>,
    /// Whether it has come in by the clients.
    is_passed: bool,
    from_clients: Vec<Held>,
    from_own: Vec<Held>,
    held: usize,
    /// Members that wait for subscriptions, with the tokens of their calls.
    barriers: Vec<(MemberId, u32)>,
}

impl Crossing {
    fn enter(&mut self, step: Step, now: Instant) {
        self.step = step;
        self.until = now + STEP;
        self.goes_on = false;
    }

    /// Whether both listen to all rooms: subscriptions stay as they are until this is over.
    fn is_joined(&self) -> bool {
        matches!(self.step, Step::Completing | Step::Marking | Step::Done)
    }

    /// Whether the own connections have all rooms but those that come and go.
    fn has_rooms(&self) -> bool {
        self.members.is_empty() && self.rooms.is_none() && self.missing.is_empty()
    }

    /// Whether they have everything.
    fn has_all(&self) -> bool {
        self.counted.is_empty() && self.missing.is_empty() && self.late.is_empty()
    }

    /// A call waits for subscriptions no longer.
    pub(super) fn give_up(&mut self, token: u32) {
        self.barriers.retain(|&(_, other)| other != token);
    }

    fn hold(&mut self, message: &Incoming<'_>, by_clients: bool) {
        let &Incoming::Message { lane, kind, name, channel, payload } = message else {
            return;
        };
        self.held += size_of::<Held>() + name.len() + channel.len() + payload.len();
        let held = Held { lane, kind, name: name.into(), channel: channel.into(), payload: payload.into() };
        if by_clients { &mut self.from_clients } else { &mut self.from_own }.push(held);
    }

    /// A member has come to listen to the channel of a room.
    pub(super) fn join_room(&mut self, id: MemberId, name: &Subscription, fx: &mut Effects) {
        if let Some(lane) = self.add_room(id, name)
            && self.late.insert((lane, name.clone()))
        {
            fx.own_subscriptions.push((lane, Change::Add, name.clone()));
        }
    }

    /// A member no longer listens to the channel of a room.
    pub(super) fn leave_room(&mut self, id: MemberId, name: &Subscription, fx: &mut Effects) {
        let Some(&lane) = self.lanes.get(&id) else {
            return;
        };
        if self.routes.remove(lane, name, id) {
            self.no_longer_waits_for(lane, name.clone());
            fx.own_subscriptions.push((lane, Change::Remove, name.clone()));
        }
    }

    /// Returns the lane that is to subscribe to a room, if one is.
    fn add_room(&mut self, id: MemberId, name: &Subscription) -> Option<Lane> {
        // A member without a lane is looked at later, with all its rooms.
        let &lane = self.lanes.get(&id)?;
        let mut listeners = self.routes.listeners(lane, name.kind, &name.name).iter();
        let is_new = listeners.all(|&(listener, _)| listener != id);
        (is_new && self.routes.add(lane, name, id, Role::Cluster) == Added::Fresh).then_some(lane)
    }

    /// Gives a member its lane; returns how many names that concerned.
    fn place(&mut self, id: MemberId, member: &Member) -> usize {
        let lane = self.routes.free_lane(&member.routing.channels.counted());
        self.lanes.insert(id, lane);
        if !member.listens() {
            return 1;
        }
        self.lane_count = self.lane_count.max(lane + 1);
        let vital = member.vital();
        let count = vital.len();
        for (name, role) in vital {
            if self.routes.add(lane, &name, id, role) == Added::Fresh {
                self.counted.push_back((lane, name));
            }
        }
        let rooms: Vec<Subscription> = member.subscriptions.iter().cloned().collect();
        self.routes.reserve(lane, self.channel.kind, rooms.len());
        self.rooms = Some((id, rooms));
        count
    }

    /// Asks for the rooms of the members: a portion of them, unless as many are not confirmed.
    fn ask_for_rooms(&mut self, members: &HashMap<MemberId, Member>, fx: &mut Effects) {
        let mut left = if self.missing.len() < PORTION { PORTION } else { 0 };
        while left > 0 {
            let Some((id, rooms)) = &mut self.rooms else {
                let Some(id) = self.members.pop_front() else {
                    break;
                };
                if let Some(member) = members.get(&id) {
                    left = left.saturating_sub(self.place(id, member));
                }
                continue;
            };
            let id = *id;
            let Some(name) = rooms.pop() else {
                self.rooms = None;
                continue;
            };
            left -= 1;
            // It may be gone by now, and what is vital is there already.
            if members.get(&id).is_some_and(|member| member.subscriptions.contains(&name))
                && let Some(lane) = self.add_room(id, &name)
            {
                self.ask_for(lane, name, fx);
            }
        }
        self.goes_on = left == 0 && self.missing.len() < PORTION;
        if self.goes_on {
            // It is not Redis that takes its time.
            self.until = fx.now + STEP;
        }
    }

    /// Asks for what others count: a portion of it, unless as much is not confirmed.
    fn ask_for_counted(&mut self, fx: &mut Effects) {
        let count = if self.missing.len() < PORTION { PORTION } else { 0 };
        for (lane, name) in self.counted.drain(..count.min(self.counted.len())).collect::<Vec<_>>() {
            if lane == 0 && name == self.channel {
                // That is there since the proof.
                self.routes.set_confirmed(lane, name.kind, &name.name, true);
            } else {
                self.ask_for(lane, name, fx);
            }
        }
        self.goes_on = !self.counted.is_empty() && self.missing.len() < PORTION;
    }

    fn ask_for(&mut self, lane: Lane, name: Subscription, fx: &mut Effects) {
        self.missing.insert((lane, name.clone()));
        fx.own_subscriptions.push((lane, Change::Add, name));
    }

    /// Redis has confirmed a name, or need not any more; returns whether it was asked for with the others.
    fn no_longer_waits_for(&mut self, lane: Lane, name: Subscription) -> bool {
        let place = (lane, name);
        self.late.remove(&place);
        self.missing.remove(&place)
    }
}

impl Core {
    /// Begins to change to own connections, which are about to be made. `secret` is known to nobody else.
    pub fn begin_crossing(&mut self, secret: &str, fx: &mut Effects) {
        let first = self.members.keys().min().and_then(|id| self.members.get(id));
        let Some(first) = first.filter(|_| self.may_cross()) else {
            return self.event(fx, 0, &Event::Stayed { reason: "the link is busy" });
        };
        let kind = first.routing.channels.counted().kind;
        let channel = Subscription { kind, name: first.routing.channels.own_response.as_slice().into() };
        fx.own_subscriptions.push((0, Change::Add, channel.clone()));
        self.crossing = Some(Crossing {
            secret: secret.into(),
            // Of no type that there is, as the proof of the beginning.
            proof: format!(r#"{{"type":0,"proof":"{secret}"}}"#),
            mark: format!(r#"{{"type":0,"mark":"{secret}"}}"#),
            channel,
            began: fx.now,
            step: Step::Proving,
            until: fx.now + PROVING,
            is_up: false,
            is_confirmed: false,
            is_drained: false,
            routes: Routes::default(),
            lanes: HashMap::new(),
            lane_count: 0,
            members: VecDeque::new(),
            rooms: None,
            counted: VecDeque::new(),
            missing: HashSet::new(),
            late: HashSet::new(),
            goes_on: false,
            marked: HashSet::new(),
            is_passed: false,
            from_clients: Vec::new(),
            from_own: Vec::new(),
            held: 0,
            barriers: Vec::new(),
        });
    }

    fn may_cross(&self) -> bool {
        let is_streams = matches!(self.config.family, Family::Streams { .. });
        self.crossing.is_none() && !self.has_lanes && !is_streams && self.flow.is_open() && !self.shut
    }

    /// Whether a change is under way.
    pub fn is_crossing(&self) -> bool {
        self.crossing.is_some()
    }

    /// Whether the carrier is to be changed now, by [`Core::cross`].
    pub fn is_across(&self) -> bool {
        self.crossing.as_ref().is_some_and(|crossing| crossing.step == Step::Done)
    }

    /// Whether the user's clients carry the bytes.
    pub fn is_by_clients(&self) -> bool {
        !self.has_lanes
    }

    /// Whether subscriptions stay as they are for the moment.
    pub(super) fn keeps_subscriptions(&self) -> bool {
        self.crossing.as_ref().is_some_and(Crossing::is_joined)
    }

    /// Somebody waits for subscriptions that are not asked for yet.
    pub(super) fn wait_for_crossing(&mut self, id: MemberId, token: u32) {
        if let Some(crossing) = &mut self.crossing {
            crossing.barriers.push((id, token));
        }
    }

    /// Redis has answered for all that JS has given to the clients by itself.
    pub fn clients_drained(&mut self, secret: &str) {
        if let Some(crossing) = self.crossing.as_mut().filter(|crossing| crossing.secret == secret) {
            crossing.is_drained = true;
        }
    }

    /// Stays with the clients.
    pub fn abandon_crossing(&mut self, reason: &str, fx: &mut Effects) {
        let Some(crossing) = self.crossing.take() else {
            return;
        };
        fx.own_subscriptions.clear();
        self.deliver_held(crossing.from_clients, fx);
        self.end_crossing(crossing.barriers, fx);
        self.event(fx, 0, &Event::Stayed { reason });
    }

    /// The own connections carry the bytes from now on.
    pub fn cross(&mut self, fx: &mut Effects) {
        let Some(crossing) = self.crossing.take() else {
            return;
        };
        self.has_lanes = true;
        self.routes = crossing.routes;
        let mut whole = Vec::new();
        for (&id, member) in &mut self.members {
            member.lane = crossing.lanes.get(&id).copied().unwrap_or(0);
            member.proves = false;
            if member.subscriptions.confirm_all() {
                whole.push(id);
            }
        }
        for lane in 0..crossing.lane_count.max(1) {
            let Subscription { kind, name } = &crossing.channel;
            if self.routes.listeners(lane, *kind, name).is_empty() {
                fx.subscriptions.push((lane, Change::Remove, crossing.channel.clone()));
            }
        }
        self.event(fx, 0, &Event::Own);
        self.deliver_held(crossing.from_own, fx);
        self.end_crossing(crossing.barriers, fx);
        whole.sort_unstable();
        self.announce(&whole, fx);
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        for id in ids {
            self.answer_waiters(id, fx);
        }
    }

    fn end_crossing(&mut self, barriers: Vec<(MemberId, u32)>, fx: &mut Effects) {
        self.flow.set_held(false);
        self.counting.let_go();
        // Rooms that were joined or left meanwhile.
        self.follow_rooms(fx);
        for (id, token) in barriers {
            self.when_subscribed(id, token, fx);
        }
    }

    fn deliver_held(&mut self, held: Vec<Held>, fx: &mut Effects) {
        for Held { lane, kind, name, channel, payload } in held {
            self.stats.received += 1;
            self.message(lane, kind, &name, &channel, &payload, fx);
        }
    }

    /// Goes on, if what the step waits for is there. To be called once all that has come in is worked off.
    pub fn advance_crossing(&mut self, fx: &mut Effects) {
        if let Some(crossing) = &mut self.crossing {
            match crossing.step {
                Step::Joining => crossing.ask_for_rooms(&self.members, fx),
                Step::Completing => crossing.ask_for_counted(fx),
                _ => {}
            }
        }
        while self.take_step(fx) {}
        let Some(crossing) = &self.crossing else {
            return;
        };
        if crossing.step == Step::Done {
            return;
        }
        if fx.now >= crossing.until {
            self.abandon_crossing("it took too long", fx);
        } else if crossing.held > MAX_HELD {
            self.abandon_crossing("too much came in meanwhile", fx);
        }
    }

    /// Returns whether there was one to take.
    fn take_step(&mut self, fx: &mut Effects) -> bool {
        let Some(crossing) = &mut self.crossing else {
            return false;
        };
        match crossing.step {
            Step::Joining if crossing.has_rooms() => {
                crossing.enter(Step::Draining, fx.now);
                let secret = crossing.secret.clone();
                self.flow.set_held(true);
                self.event(fx, 0, &Event::Drain { secret: &secret });
            }
            Step::Draining
                if crossing.is_drained && self.fences.is_answered() && !self.counting.is_asking() =>
            {
                crossing.enter(Step::Completing, fx.now);
                let Subscription { kind, name } = &crossing.channel;
                // Somebody may have a room of that name.
                let lanes = (0..crossing.lane_count)
                    .filter(|&lane| crossing.routes.listeners(lane, *kind, name).is_empty());
                crossing.counted.extend(lanes.map(|lane| (lane, crossing.channel.clone())));
                crossing.ask_for_counted(fx);
            }
            Step::Completing if crossing.has_all() => {
                let hears = self.members.values().any(Member::listens);
                crossing.enter(if hears { Step::Marking } else { Step::Done }, fx.now);
                if hears {
                    self.publish_mark(true, fx);
                }
            }
            Step::Marking if crossing.is_passed && crossing.marked.len() == crossing.lane_count => {
                crossing.enter(Step::Done, fx.now);
            }
            _ => return false,
        }
        true
    }

    /// When [`Core::advance_crossing`] is to be called at the latest.
    pub(super) fn crossing_deadline(&self) -> Option<Instant> {
        self.crossing.as_ref().map(|crossing| if crossing.goes_on { crossing.began } else { crossing.until })
    }

    /// Has the user's client publish the proof, or the mark.
    fn publish_mark(&self, is_mark: bool, fx: &mut Effects) {
        if let Some(Crossing { channel, proof, mark, .. }) = &self.crossing {
            let channel = String::from_utf8_lossy(&channel.name);
            let text = if is_mark { mark } else { proof };
            self.event(fx, 0, &Event::Mark { channel: &channel, text });
        }
    }

    /// Takes what the own connections report before they carry the bytes.
    pub fn incoming_own(&mut self, incoming: &Incoming<'_>, fx: &mut Effects) {
        let Some(crossing) = &mut self.crossing else {
            return;
        };
        match *incoming {
            Incoming::Up => {
                crossing.is_up = true;
                if crossing.is_confirmed {
                    self.publish_mark(false, fx);
                }
            }
            Incoming::Subscribed { lane, kind, name } => {
                let name = Subscription { kind, name: name.into() };
                let is_first = !std::mem::replace(&mut crossing.is_confirmed, true);
                crossing.routes.set_confirmed(lane, kind, &name.name, true);
                if crossing.no_longer_waits_for(lane, name) && crossing.step == Step::Joining {
                    crossing.until = fx.now + STEP;
                }
                if is_first && crossing.is_up {
                    self.publish_mark(false, fx);
                }
            }
            Incoming::Message { lane, payload, .. } => match crossing.step {
                Step::Proving if payload == crossing.proof.as_bytes() => {
                    crossing.enter(Step::Joining, fx.now);
                    let mut ids: Vec<MemberId> = self.members.keys().copied().collect();
                    ids.sort_unstable();
                    crossing.members = ids.into();
                }
                Step::Marking if payload == crossing.mark.as_bytes() => {
                    crossing.marked.insert(lane);
                }
                Step::Marking | Step::Done if crossing.marked.contains(&lane) => {
                    crossing.hold(incoming, false)
                }
                _ => {}
            },
            Incoming::Down { reason, .. }
            | Incoming::Held { reason, .. }
            | Incoming::LaneDown { reason, .. }
            | Incoming::Unsubscribed { reason, .. } => self.abandon_crossing(reason, fx),
            Incoming::SubscribeRefused { error, .. } => self.abandon_crossing(error, fx),
            _ => {}
        }
    }

    /// Takes what the user's clients report; false if it is nothing that concerns the change.
    pub(super) fn passes(&mut self, incoming: &Incoming<'_>, fx: &mut Effects) -> bool {
        let Some(crossing) = &mut self.crossing else {
            return false;
        };
        match *incoming {
            Incoming::Message { payload, .. } => {
                if crossing.is_passed {
                    crossing.hold(incoming, true);
                } else if crossing.step == Step::Marking && payload == crossing.mark.as_bytes() {
                    crossing.is_passed = true;
                } else {
                    return false;
                }
                return true;
            }
            Incoming::Down { reason, .. }
            | Incoming::Held { reason, .. }
            | Incoming::Unsubscribed { reason, .. } => {
                self.abandon_crossing(reason, fx);
            }
            Incoming::Returned { .. } | Incoming::SubscribeRefused { .. } => {
                self.abandon_crossing("the clients are in trouble", fx);
            }
            _ => {}
        }
        false
    }
}
