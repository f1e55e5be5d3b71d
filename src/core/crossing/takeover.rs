//! The subscriptions that the own connections make while the user's clients still have theirs.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::core::effects::{Change, Effects, MemberId};
use crate::core::member::Member;
use crate::core::members::Members;
use crate::core::routes::{Added, Role, Routes};
use crate::transport::{Subscriber, Subscription, SubscriptionKind};

/// How many names are looked at in one go: some milliseconds of work, for which the other links of the process wait. No
/// more are asked for as long as so many are not confirmed.
const PORTION: usize = 1000;

/// What the own connections subscribe to.
#[derive(Debug)]
pub(super) struct Takeover {
    /// Where the proof and the mark come in: a channel of this link alone, that nobody counts.
    channel: Subscription,
    /// The routes, as they will be.
    routes: Routes,
    subscribers: HashMap<MemberId, Subscriber>,
    subscriber_count: usize,
    /// Members whose rooms are still to be looked at.
    members: VecDeque<MemberId>,
    /// The member whose turn it is, and its rooms that are left.
    rooms: Option<(MemberId, Vec<Subscription>)>,
    /// The names that others count: to be asked for last.
    counted: VecDeque<(Subscriber, Subscription)>,
    /// The names that were asked for and that Redis has not confirmed, apart from `late`.
    missing: HashSet<(Subscriber, Subscription)>,
    /// Those of rooms that have come since the member was looked at.
    late: HashSet<(Subscriber, Subscription)>,
    /// The portion is used up, and Redis would take more.
    goes_on: bool,
}

impl Takeover {
    /// Nothing is subscribed to but this channel.
    pub(super) fn new(channel: Subscription) -> Self {
        Takeover {
            channel,
            routes: Routes::default(),
            subscribers: HashMap::new(),
            subscriber_count: 0,
            members: VecDeque::new(),
            rooms: None,
            counted: VecDeque::new(),
            missing: HashSet::new(),
            late: HashSet::new(),
            goes_on: false,
        }
    }

    /// Where the proof and the mark come in.
    pub(super) fn channel(&self) -> &Subscription {
        &self.channel
    }

    /// How many subscriber connections there are by now.
    pub(super) fn subscriber_count(&self) -> usize {
        self.subscriber_count
    }

    /// Whether there is more to be asked for, and Redis would take it.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The next step begins.
    pub(super) fn pause(&mut self) {
        self.goes_on = false;
    }

    /// Whether the own connections have all rooms but those that come and go.
    pub(super) fn has_rooms(&self) -> bool {
        self.members.is_empty() && self.rooms.is_none() && self.missing.is_empty()
    }

    /// Whether they have everything.
    pub(super) fn has_all(&self) -> bool {
        self.counted.is_empty() && self.missing.is_empty() && self.late.is_empty()
    }

    /// The subscriber connections on which nobody listens to the channel of the mark. Somebody may have a
    /// room of that name.
    pub(super) fn subscribers_without_listener(&self, count: usize) -> impl Iterator<Item = Subscriber> {
        let Subscription { kind, name } = &self.channel;
        (0..count).filter(|&subscriber| self.routes.listeners(subscriber, *kind, name).is_empty())
    }

    /// The rooms of these members are to be asked for.
    pub(super) fn begin(&mut self, members: Vec<MemberId>) {
        self.members = members.into();
    }

    /// Gives a member its subscriber connection; returns how many names that concerned.
    fn place(&mut self, id: MemberId, member: &Member) -> usize {
        let subscriber = self.routes.free_subscriber(&member.routing.channels.counted());
        self.subscribers.insert(id, subscriber);
        if !member.listens() {
            return 1;
        }
        self.subscriber_count = self.subscriber_count.max(subscriber + 1);
        let vital = member.vital();
        let count = vital.len();
        for (name, role) in vital {
            if self.routes.add(subscriber, &name, id, role) == Added::Fresh {
                self.counted.push_back((subscriber, name));
            }
        }
        let rooms: Vec<Subscription> = member.subscriptions.iter().cloned().collect();
        self.routes.reserve(subscriber, self.channel.kind, rooms.len());
        self.rooms = Some((id, rooms));
        count
    }

    /// Asks for the rooms of the members: a portion of them, unless as many are not confirmed.
    pub(super) fn ask_for_rooms(&mut self, members: &Members, fx: &mut Effects) {
        let mut left = if self.missing.len() < PORTION { PORTION } else { 0 };
        while left > 0 {
            let Some((id, rooms)) = &mut self.rooms else {
                let Some(id) = self.members.pop_front() else {
                    break;
                };
                if let Some(member) = members.get(id) {
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
            // It may be gone by now, and vital names are there already.
            if members.get(id).is_some_and(|member| member.subscriptions.contains(&name))
                && let Some(subscriber) = self.add_room(id, &name)
            {
                self.ask_for(subscriber, name, fx);
            }
        }
        self.goes_on = left == 0 && self.missing.len() < PORTION;
    }

    /// Asks for the names that others count: a portion of them, unless as many are not confirmed.
    pub(super) fn ask_for_counted(&mut self, fx: &mut Effects) {
        let count = if self.missing.len() < PORTION { PORTION } else { 0 };
        for (subscriber, name) in self.counted.drain(..count.min(self.counted.len())).collect::<Vec<_>>() {
            if subscriber == 0 && name == self.channel {
                // That is there since the proof.
                self.routes.set_confirmed(subscriber, name.kind, &name.name, true);
            } else {
                self.ask_for(subscriber, name, fx);
            }
        }
        self.goes_on = !self.counted.is_empty() && self.missing.len() < PORTION;
    }

    /// Asks for the names that others count, and for the channel of the mark on each subscriber connection.
    pub(super) fn complete(&mut self, fx: &mut Effects) {
        let subscribers: Vec<Subscriber> = self.subscribers_without_listener(self.subscriber_count).collect();
        self.counted.extend(subscribers.into_iter().map(|subscriber| (subscriber, self.channel.clone())));
        self.ask_for_counted(fx);
    }

    fn ask_for(&mut self, subscriber: Subscriber, name: Subscription, fx: &mut Effects) {
        self.missing.insert((subscriber, name.clone()));
        fx.own_subscriptions.push((subscriber, Change::Add, name));
    }

    /// A member has come to listen to the channel of a room.
    pub(super) fn join_room(&mut self, id: MemberId, name: &Subscription, fx: &mut Effects) {
        if let Some(subscriber) = self.add_room(id, name)
            && self.late.insert((subscriber, name.clone()))
        {
            fx.own_subscriptions.push((subscriber, Change::Add, name.clone()));
        }
    }

    /// A member no longer listens to the channel of a room.
    pub(super) fn leave_room(&mut self, id: MemberId, name: &Subscription, fx: &mut Effects) {
        let Some(&subscriber) = self.subscribers.get(&id) else {
            return;
        };
        if self.routes.remove(subscriber, name, id) {
            self.no_longer_waits_for(subscriber, name.clone());
            fx.own_subscriptions.push((subscriber, Change::Remove, name.clone()));
        }
    }

    /// Returns the subscriber connection that is to subscribe to a room, if one is.
    fn add_room(&mut self, id: MemberId, name: &Subscription) -> Option<Subscriber> {
        // A member without a subscriber connection is looked at later, with all its rooms.
        let &subscriber = self.subscribers.get(&id)?;
        let mut listeners = self.routes.listeners(subscriber, name.kind, &name.name).iter();
        let is_new = listeners.all(|&(listener, _)| listener != id);
        (is_new && self.routes.add(subscriber, name, id, Role::Cluster) == Added::Fresh).then_some(subscriber)
    }

    /// Redis has confirmed a name; returns whether it was asked for with the others.
    pub(super) fn confirm(&mut self, subscriber: Subscriber, kind: SubscriptionKind, name: &[u8]) -> bool {
        let name = Subscription { kind, name: name.into() };
        self.routes.set_confirmed(subscriber, kind, &name.name, true);
        self.no_longer_waits_for(subscriber, name)
    }

    /// Redis has confirmed a name, or need not any more; returns whether it was asked for with the others.
    fn no_longer_waits_for(&mut self, subscriber: Subscriber, name: Subscription) -> bool {
        let place = (subscriber, name);
        self.late.remove(&place);
        self.missing.remove(&place)
    }

    /// What the members listen to from now on, by subscriber connection, and which of these each has.
    pub(super) fn into_routes(self) -> (Routes, HashMap<MemberId, Subscriber>) {
        (self.routes, self.subscribers)
    }
}
