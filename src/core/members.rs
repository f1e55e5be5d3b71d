//! The members of a link: which there are, what each listens to, and who listens to a name.

use std::collections::HashMap;

use super::context::Context;
use super::effects::{Change, Effects, MemberId};
use super::member::{Interest, Member, MemberSpec};
use super::routes::{Added, Role, Routes};
use super::subscriptions::Subscriptions;
use crate::transport::{Subscriber, Subscription, SubscriptionKind};
use crate::wire::Family;
use crate::wire::channel::Destination;

/// The members of a link.
#[derive(Debug)]
pub(super) struct Members {
    list: HashMap<MemberId, Member>,
    routes: Routes,
    /// Members whose rooms have changed since [`Members::take_changed`].
    changed: Vec<MemberId>,
    /// Whether the transport can open more than one subscriber connection.
    opens_subscribers: bool,
}

/// Who is affected by a confirmed subscription.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    /// All that listen to it.
    pub(super) listeners: Vec<MemberId>,
    /// Those of them that this makes whole.
    pub(super) complete: Vec<MemberId>,
}

impl Members {
    /// No members yet; `opens_subscribers` is the transport's.
    pub(super) fn new(opens_subscribers: bool) -> Self {
        Members { list: HashMap::new(), routes: Routes::default(), changed: Vec::new(), opens_subscribers }
    }

    /// A member joins: it gets its subscriber connection, and its vital subscriptions are wanted. `is_proven`
    /// says whether the link is.
    pub(super) fn add(
        &mut self,
        id: MemberId,
        spec: MemberSpec,
        family: Family,
        is_proven: bool,
    ) -> &mut Member {
        let mut member = Member::new(family, spec, 0);
        if self.opens_subscribers {
            member.subscriber = self.routes.free_subscriber(&member.routing.channels.counted());
        }
        member.proves = !member.listens() && !is_proven;
        for (name, _) in member.vital() {
            member.subscriptions.add(name, true);
        }
        self.list.entry(id).insert_entry(member).into_mut()
    }

    /// A member leaves: its subscriptions end.
    pub(super) fn remove(&mut self, id: MemberId, fx: &mut Effects) -> Option<Member> {
        let member = self.list.remove(&id)?;
        for name in member.subscriptions.iter() {
            if self.routes.remove(member.subscriber, name, id) {
                fx.subscriptions.push((member.subscriber, Change::Remove, name.clone()));
            }
        }
        Some(member)
    }

    /// A member.
    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        self.list.get(&id)
    }

    /// A member.
    pub(super) fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.list.get_mut(&id)
    }

    /// All members.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.list.iter().map(|(&id, member)| (id, member))
    }

    /// All members.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (MemberId, &mut Member)> {
        self.list.iter_mut().map(|(&id, member)| (id, member))
    }

    /// The numbers of all members, in order.
    pub(super) fn ids(&self) -> Vec<MemberId> {
        let mut ids: Vec<MemberId> = self.list.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Whether there is such a member.
    pub(super) fn contains(&self, id: MemberId) -> bool {
        self.list.contains_key(&id)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether all subscriptions of a member are confirmed.
    pub(super) fn is_subscribed(&self, id: MemberId) -> bool {
        self.get(id).is_some_and(Member::is_subscribed)
    }

    /// The members that are subscribed, in order.
    pub(super) fn subscribed(&self) -> Vec<MemberId> {
        let mut ids: Vec<MemberId> =
            self.iter().filter(|(_, member)| member.is_subscribed()).map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// The members that had others when last counted.
    pub(super) fn with_peers(&self) -> Vec<MemberId> {
        self.iter().filter(|(_, member)| member.has_peers()).map(|(id, _)| id).collect()
    }

    /// Publishes bytes of a member that are ready for the wire. False if it has left.
    pub(super) fn send(&self, id: MemberId, to: &Destination, bytes: &[u8], cx: &mut Context<'_>) -> bool {
        let Some(member) = self.get(id) else {
            cx.stats.dropped += 1;
            return false;
        };
        cx.fx.publishes.push_bytes(id, &member.routing.channels.of(to), bytes);
        true
    }

    // --- rooms -----------------------------------------------------------------------------------------

    /// The sockets of a member, as far as they are known.
    pub(super) fn interest(&mut self, id: MemberId) -> Option<&mut Interest> {
        self.get_mut(id).map(Member::interest)
    }

    /// The first local socket of a member has joined a room, or the last one has left it.
    pub(super) fn set_room(&mut self, id: MemberId, room: &[u8], present: bool) {
        if let Some(member) = self.list.get_mut(&id) {
            let clean = !member.is_dirty();
            member.set_room(room, present);
            if clean && member.is_dirty() {
                self.changed.push(id);
            }
        }
    }

    /// Takes the members whose rooms have changed.
    pub(super) fn take_changed(&mut self) -> Vec<MemberId> {
        std::mem::take(&mut self.changed)
    }

    // --- subscriptions ---------------------------------------------------------------------------------

    /// Whether the user's clients carry the bytes: they have one subscriber connection alone.
    pub(super) fn are_by_clients(&self) -> bool {
        !self.opens_subscribers
    }

    /// Who listens to a name.
    pub(super) fn listeners(
        &self,
        subscriber: Subscriber,
        kind: SubscriptionKind,
        name: &[u8],
    ) -> &[(MemberId, Role)] {
        self.routes.listeners(subscriber, kind, name)
    }

    /// How many other members share a member's subscriptions, as they must where a transport has one
    /// subscriber connection: Redis does not count them.
    pub(super) fn sharing(&self, id: MemberId) -> u64 {
        self.get(id).map_or(0, |member| {
            let counted = member.routing.channels.counted();
            let listeners = self.listeners(member.subscriber, counted.kind, &counted.name);
            (listeners.len() as u64).saturating_sub(1)
        })
    }

    /// A member is to hear a name.
    pub(super) fn listen(
        &mut self,
        id: MemberId,
        subscriber: Subscriber,
        name: &Subscription,
        role: Role,
    ) -> Added {
        self.routes.add(subscriber, name, id, role)
    }

    /// A member no longer hears a name: the subscription ends if nobody else needs it.
    pub(super) fn stop_listening(
        &mut self,
        id: MemberId,
        subscriber: Subscriber,
        name: Subscription,
        fx: &mut Effects,
    ) {
        if self.routes.remove(subscriber, &name, id) {
            fx.subscriptions.push((subscriber, Change::Remove, name));
        }
    }

    /// A subscription of a member is confirmed. True if this makes the member whole.
    pub(super) fn confirm(&mut self, id: MemberId, name: &Subscription) -> bool {
        self.get_mut(id).is_some_and(|member| member.subscriptions.confirm(name))
    }

    /// Redis has confirmed a name.
    pub(super) fn confirmed(
        &mut self,
        subscriber: Subscriber,
        kind: SubscriptionKind,
        name: &[u8],
    ) -> Confirmed {
        self.routes.set_confirmed(subscriber, kind, name, true);
        let name = Subscription::new(kind, name);
        let listeners: Vec<MemberId> =
            self.listeners(subscriber, kind, &name.name).iter().map(|&(id, _)| id).collect();
        let complete = listeners.iter().copied().filter(|&id| self.confirm(id, &name)).collect();
        Confirmed { listeners, complete }
    }

    /// A name no longer holds. Returns the members that this makes deaf.
    pub(super) fn lost(&mut self, subscriber: Subscriber, name: &Subscription) -> Vec<MemberId> {
        self.routes.set_confirmed(subscriber, name.kind, &name.name, false);
        let mut deaf = Vec::new();
        for &(id, _) in self.routes.listeners(subscriber, name.kind, &name.name) {
            if self.list.get_mut(&id).is_some_and(|member| member.subscriptions.lose(name)) {
                deaf.push(id);
            }
        }
        deaf
    }

    /// No subscription of a subscriber connection holds any more. Returns the members that this makes deaf.
    pub(super) fn subscriber_lost(&mut self, subscriber: Subscriber) -> Vec<MemberId> {
        let mut deaf = Vec::new();
        for (&id, member) in &mut self.list {
            if member.subscriber == subscriber && member.subscriptions.lose_all() {
                deaf.push(id);
            }
        }
        self.routes.lose_subscriber(subscriber);
        deaf
    }

    /// Answers the calls that wait for subscriptions of a member which are all confirmed by now.
    pub(super) fn answer_waiters(&mut self, id: MemberId, fx: &mut Effects) {
        let Some(member) = self.get_mut(id) else {
            return;
        };
        while let Some(token) = member.subscriptions.pop_answered() {
            fx.batch.count(id, token, 0);
        }
    }

    /// The link is proven: emitters need not listen any more.
    pub(super) fn end_proofs(&mut self, fx: &mut Effects) {
        for (&id, member) in self.list.iter_mut().filter(|(_, member)| member.proves) {
            member.proves = false;
            for name in std::mem::take(&mut member.subscriptions).iter() {
                if self.routes.remove(member.subscriber, name, id) {
                    fx.subscriptions.push((member.subscriber, Change::Remove, name.clone()));
                }
            }
        }
    }

    // --- another carrier -------------------------------------------------------------------------------

    /// Another transport carries the bytes from now on: it has no subscriptions yet.
    pub(super) fn change_transport(&mut self, opens_subscribers: bool) {
        self.opens_subscribers = opens_subscribers;
        self.routes = Routes::default();
    }

    /// A member's subscriptions are lost with the transport that had them. `needs_proof` says whether the link has to
    /// be proven anew.
    pub(super) fn change_subscriber(&mut self, id: MemberId, needs_proof: bool) {
        let Some(member) = self.list.get_mut(&id) else {
            return;
        };
        member.subscriptions.lose_all();
        if member.proves && !needs_proof {
            member.proves = false;
            member.subscriptions = Subscriptions::default();
        }
        let counted = member.routing.channels.counted();
        member.subscriber = if self.opens_subscribers { self.routes.free_subscriber(&counted) } else { 0 };
    }

    /// Own connections carry the bytes from now on, and have all subscriptions already. Returns the members that this
    /// makes whole.
    pub(super) fn move_to(
        &mut self,
        routes: Routes,
        subscribers: &HashMap<MemberId, Subscriber>,
    ) -> Vec<MemberId> {
        self.opens_subscribers = true;
        self.routes = routes;
        let mut complete = Vec::new();
        for (&id, member) in &mut self.list {
            member.subscriber = subscribers.get(&id).copied().unwrap_or(0);
            member.proves = false;
            if member.subscriptions.confirm_all() {
                complete.push(id);
            }
        }
        complete.sort_unstable();
        complete
    }
}
