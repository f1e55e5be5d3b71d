//! The way back from the user's clients to the link's own connections, while both stand.
//!
//! Redis hands its messages to all subscribers in one order. So a *mark*, published on a channel that both listen to,
//! divides what comes in: messages in front of it are taken from the clients, messages behind it from the own connections,
//! and nothing is lost, doubled or out of order. Until the mark has come in everywhere, messages behind it are kept of both
//! ways: the link can still stay with the clients as if nothing had happened.
//!
//! So the own connections have to listen to everything before the mark is published. The rooms come first, in portions:
//! there may be 100,000 of them. Meanwhile the clients go on as before, and rooms that come and go are followed on both ways.
//! Messages of the own connections are dropped: the clients bring them, too.
//!
//! From then on publishes wait for a few round trips: until Redis has answered all that the clients were given, and the own
//! connections take over. Counts wait, too, since Redis counts both. That is why the own connections subscribe last to the
//! channels that other servers count, behind the last answer.

mod held;
mod takeover;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::context::Context;
use super::effects::{Change, Effects, MemberId};
use super::event::Event;
use super::member::Member;
use super::members::Members;
use super::messaging::Messaging;
use crate::transport::{Incoming, Subscriber, Subscription};
use held::Held;
use takeover::Takeover;

/// How long the own connections may take to be made, and to be proven.
const PROVING: Duration = Duration::from_secs(6);

/// How long each step may take while publishes wait for it; and how long Redis may confirm none of the rooms.
const STEP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CrossingStep {
    /// A message by the user's client is to come in on the own connections.
    Proving,
    /// The own connections subscribe to the rooms.
    Joining,
    /// Publishes wait: Redis is to answer all that the clients were given.
    Draining,
    /// The own connections subscribe to the rest, which others count.
    Completing,
    /// The mark is to come in everywhere.
    Marking,
    /// The mark has come in everywhere: the driver changes the carrier.
    Done,
}

/// What a report of the user's clients means for the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage<'a> {
    /// Nothing: the report is handled as usual.
    Open,
    /// The message is kept, or was the mark.
    Closed,
    /// The link stays with the clients, for this reason. The report is handled as usual.
    Stays(&'a str),
}

/// A change of the carrier that is under way.
#[derive(Debug)]
pub(super) struct Crossing {
    secret: String,
    proof: String,
    mark: String,
    began: Instant,
    step: CrossingStep,
    until: Instant,
    is_up: bool,
    is_confirmed: bool,
    is_drained: bool,
    takeover: Takeover,
    /// Where the mark has come in.
    marked: HashSet<Subscriber>,
    /// Whether it has come in by the clients.
    is_passed: bool,
    held: Held,
    /// Members that wait for subscriptions, with the tokens of their calls.
    waiters: Vec<(MemberId, u32)>,
}

impl Crossing {
    /// Begins to change to own connections, which are about to be made. Nobody else knows `secret`; `first` is one of the
    /// members.
    pub(super) fn begin(secret: &str, first: &Member, fx: &mut Effects) -> Self {
        let kind = first.routing.channels.counted().kind;
        let channel = Subscription { kind, name: first.routing.channels.own_response.as_slice().into() };
        fx.own_subscriptions.push((0, Change::Add, channel.clone()));
        Crossing {
            secret: secret.into(),
            // Type 0 does not exist, as in the proof at the start of a link.
            proof: format!(r#"{{"type":0,"proof":"{secret}"}}"#),
            mark: format!(r#"{{"type":0,"mark":"{secret}"}}"#),
            began: fx.now,
            step: CrossingStep::Proving,
            until: fx.now + PROVING,
            is_up: false,
            is_confirmed: false,
            is_drained: false,
            takeover: Takeover::new(channel),
            marked: HashSet::new(),
            is_passed: false,
            held: Held::default(),
            waiters: Vec::new(),
        }
    }

    fn enter(&mut self, step: CrossingStep, now: Instant) {
        self.step = step;
        self.until = now + STEP;
        self.takeover.pause();
    }

    /// Whether both listen to all rooms: subscriptions stay as they are until this is over.
    pub(super) fn is_joined(&self) -> bool {
        matches!(self.step, CrossingStep::Completing | CrossingStep::Marking | CrossingStep::Done)
    }

    /// Whether the carrier is to be changed now, by [`Crossing::finish`].
    pub(super) fn is_done(&self) -> bool {
        self.step == CrossingStep::Done
    }

    /// When [`Crossing::advance`] is to be called at the latest.
    pub(super) fn deadline(&self) -> Instant {
        if self.takeover.goes_on() { self.began } else { self.until }
    }

    // --- rooms and calls meanwhile ---------------------------------------------------------------------

    /// A member has come to listen to the channel of a room, or no longer does.
    pub(super) fn follow_room(
        &mut self,
        id: MemberId,
        change: Change,
        name: &Subscription,
        fx: &mut Effects,
    ) {
        match change {
            Change::Add => self.takeover.join_room(id, name, fx),
            Change::Remove => self.takeover.leave_room(id, name, fx),
        }
    }

    /// A call waits for subscriptions that are not asked for yet.
    pub(super) fn wait(&mut self, id: MemberId, token: u32) {
        self.waiters.push((id, token));
    }

    /// A call waits for subscriptions no longer.
    pub(super) fn give_up(&mut self, token: u32) {
        self.waiters.retain(|&(_, other)| other != token);
    }

    /// Redis has answered all that JS has given to the clients itself.
    pub(super) fn clients_drained(&mut self, secret: &str) {
        self.is_drained |= self.secret == secret;
    }

    // --- the steps -------------------------------------------------------------------------------------

    /// Takes the next steps, if they need not wait any more. To be called once all reports are handled. Returns why the
    /// link has to stay with the clients, if it has to.
    pub(super) fn advance(
        &mut self,
        messaging: &mut Messaging,
        cx: &mut Context<'_>,
    ) -> Option<&'static str> {
        match self.step {
            CrossingStep::Joining => {
                self.takeover.ask_for_rooms(&messaging.members, cx.fx);
                if self.takeover.goes_on() {
                    // The delay is not the fault of Redis.
                    self.until = cx.now() + STEP;
                }
            }
            CrossingStep::Completing => self.takeover.ask_for_counted(cx.fx),
            _ => {}
        }
        while self.take_step(messaging, cx) {}
        if self.step == CrossingStep::Done {
            None
        } else if cx.now() >= self.until {
            Some("it took too long")
        } else if self.held.is_too_much() {
            Some("too much came in meanwhile")
        } else {
            None
        }
    }

    /// Returns whether there was one to take.
    fn take_step(&mut self, messaging: &mut Messaging, cx: &mut Context<'_>) -> bool {
        let now = cx.now();
        match self.step {
            CrossingStep::Joining if self.takeover.has_rooms() => {
                self.enter(CrossingStep::Draining, now);
                messaging.publisher.flow.set_held(true);
                cx.event(0, &Event::Drain { secret: &self.secret });
            }
            CrossingStep::Draining
                if self.is_drained && messaging.publisher.is_answered() && !messaging.census.is_asking() =>
            {
                self.enter(CrossingStep::Completing, now);
                self.takeover.complete(cx.fx);
            }
            CrossingStep::Completing if self.takeover.has_all() => {
                let hears = messaging.members.iter().any(|(_, member)| member.listens());
                self.enter(if hears { CrossingStep::Marking } else { CrossingStep::Done }, now);
                if hears {
                    self.publish(&self.mark, cx);
                }
            }
            CrossingStep::Marking
                if self.is_passed && self.marked.len() == self.takeover.subscriber_count() =>
            {
                self.enter(CrossingStep::Done, now);
            }
            _ => return false,
        }
        true
    }

    /// Has the user's client publish the proof, or the mark.
    fn publish(&self, text: &str, cx: &mut Context<'_>) {
        let channel = String::from_utf8_lossy(&self.takeover.channel().name);
        cx.event(0, &Event::Mark { channel: &channel, text });
    }

    // --- reports and messages --------------------------------------------------------------------------

    /// Takes a report of the own connections before they carry the bytes. Returns why the link has to stay with the
    /// clients, if it has to.
    pub(super) fn incoming_own<'a>(
        &mut self,
        incoming: &Incoming<'a>,
        members: &Members,
        cx: &mut Context<'_>,
    ) -> Option<&'a str> {
        match *incoming {
            Incoming::Up => {
                self.is_up = true;
                if self.is_confirmed {
                    self.publish(&self.proof, cx);
                }
            }
            Incoming::Subscribed { subscriber, kind, name } => {
                let is_first = !std::mem::replace(&mut self.is_confirmed, true);
                if self.takeover.confirm(subscriber, kind, name) && self.step == CrossingStep::Joining {
                    self.until = cx.now() + STEP;
                }
                if is_first && self.is_up {
                    self.publish(&self.proof, cx);
                }
            }
            Incoming::Message { subscriber, payload, .. } => match self.step {
                CrossingStep::Proving if payload == self.proof.as_bytes() => {
                    self.enter(CrossingStep::Joining, cx.now());
                    self.takeover.begin(members.ids());
                }
                CrossingStep::Marking if payload == self.mark.as_bytes() => {
                    self.marked.insert(subscriber);
                }
                CrossingStep::Marking | CrossingStep::Done if self.marked.contains(&subscriber) => {
                    self.held.keep_of_own(incoming)
                }
                _ => {}
            },
            Incoming::Down { reason, .. }
            | Incoming::Held { reason, .. }
            | Incoming::SubscriberDown { reason, .. }
            | Incoming::Unsubscribed { reason, .. } => return Some(reason),
            Incoming::SubscribeRefused { error, .. } => return Some(error),
            _ => {}
        }
        None
    }

    /// Looks at a report of the user's clients.
    pub(super) fn pass<'a>(&mut self, incoming: &Incoming<'a>) -> Passage<'a> {
        match *incoming {
            Incoming::Message { payload, .. } => {
                if self.is_passed {
                    self.held.keep_of_clients(incoming);
                } else if self.step == CrossingStep::Marking && payload == self.mark.as_bytes() {
                    self.is_passed = true;
                } else {
                    return Passage::Open;
                }
                Passage::Closed
            }
            Incoming::Down { reason, .. }
            | Incoming::Held { reason, .. }
            | Incoming::Unsubscribed { reason, .. } => Passage::Stays(reason),
            Incoming::Returned { .. } | Incoming::SubscribeRefused { .. } => {
                Passage::Stays("the clients are in trouble")
            }
            _ => Passage::Open,
        }
    }

    // --- the end ---------------------------------------------------------------------------------------

    /// Stays with the clients.
    pub(super) fn abandon(mut self, reason: &str, messaging: &mut Messaging, cx: &mut Context<'_>) {
        cx.fx.own_subscriptions.clear();
        self.held.deliver_of_clients(messaging, cx);
        end(self.waiters, messaging, cx);
        cx.event(0, &Event::Stayed { reason });
    }

    /// The own connections carry the bytes from now on.
    pub(super) fn finish(self, messaging: &mut Messaging, cx: &mut Context<'_>) {
        let Crossing { takeover, mut held, waiters, .. } = self;
        let unused: Vec<Subscriber> =
            takeover.subscribers_without_listener(takeover.subscriber_count().max(1)).collect();
        for subscriber in unused {
            cx.fx.subscriptions.push((subscriber, Change::Remove, takeover.channel().clone()));
        }
        let (routes, subscribers) = takeover.into_routes();
        let complete = messaging.members.move_to(routes, &subscribers);
        cx.event(0, &Event::Own);
        held.deliver_of_own(messaging, cx);
        end(waiters, messaging, cx);
        messaging.announce(&complete, cx);
        for id in messaging.members.ids() {
            messaging.members.answer_waiters(id, cx.fx);
        }
    }
}

/// Publishes, counts and subscriptions go on.
fn end(waiters: Vec<(MemberId, u32)>, messaging: &mut Messaging, cx: &mut Context<'_>) {
    messaging.publisher.flow.set_held(false);
    messaging.census.let_go();
    // Rooms that were joined or left meanwhile.
    messaging.follow_rooms(|_, _, _, _| {}, cx);
    for (id, token) in waiters {
        messaging.when_subscribed(id, token, cx.fx);
    }
}
