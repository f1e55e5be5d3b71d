//! The subscriptions of a member, and which of them Redis has confirmed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::transport::Subscription;

/// The subscriptions of one member.
///
/// Without the *vital* ones the member is deaf: those of its namespace, and any that held and was lost. For a new one (the
/// channel of a room that has just got its first socket) only the calls wait that ask for it.
#[derive(Debug, Default)]
pub struct Subscriptions {
    states: HashMap<Subscription, SubscriptionState>,
    pending: Unconfirmed,
    /// Calls that wait: the ticket that each was given, and its token. Tickets only grow.
    waiters: VecDeque<(u64, u32)>,
}

/// The subscriptions that Redis has not confirmed.
#[derive(Debug, Default)]
struct Unconfirmed {
    /// By ticket: in the order in which it was asked for.
    asked: BTreeMap<u64, Subscription>,
    next_ticket: u64,
    /// How many of them are vital.
    vital: usize,
}

impl Unconfirmed {
    /// Asks for one; returns its state from now on.
    fn ask(&mut self, name: Subscription, vital: bool) -> SubscriptionState {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.vital += usize::from(vital);
        self.asked.insert(ticket, name);
        SubscriptionState::Asked { ticket, vital }
    }

    /// A subscription that was in this state is not waited for any more.
    fn forget(&mut self, state: SubscriptionState) {
        if let SubscriptionState::Asked { ticket, vital } = state {
            self.asked.remove(&ticket);
            self.vital -= usize::from(vital);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum SubscriptionState {
    Confirmed,
    Asked { ticket: u64, vital: bool },
}

impl Subscriptions {
    /// Adds one that is to be confirmed.
    pub fn add(&mut self, name: Subscription, vital: bool) {
        if let Entry::Vacant(vacant) = self.states.entry(name) {
            let state = self.pending.ask(vacant.key().clone(), vital);
            vacant.insert(state);
        }
    }

    /// Removes one; false if it was not there.
    pub fn remove(&mut self, name: &Subscription) -> bool {
        let Some(state) = self.states.remove(name) else {
            return false;
        };
        self.pending.forget(state);
        true
    }

    /// Redis has confirmed one. True if this makes the member whole.
    pub fn confirm(&mut self, name: &Subscription) -> bool {
        let whole = self.is_whole();
        if let Some(state) = self.states.get_mut(name) {
            let before = std::mem::replace(state, SubscriptionState::Confirmed);
            self.pending.forget(before);
        }
        !whole && self.is_whole()
    }

    /// Redis has confirmed all of them. True if this makes the member whole.
    pub fn confirm_all(&mut self) -> bool {
        let whole = self.is_whole();
        for name in std::mem::take(&mut self.pending.asked).into_values() {
            if let Some(state) = self.states.get_mut(&name) {
                *state = SubscriptionState::Confirmed;
            }
        }
        self.pending.vital = 0;
        !whole && self.is_whole()
    }

    /// One no longer holds. True if the member was whole until now.
    pub fn lose(&mut self, name: &Subscription) -> bool {
        let whole = self.is_whole();
        if let Some((name, SubscriptionState::Confirmed)) = self.states.get_key_value(name) {
            // The copy of the name that is held already.
            let name = name.clone();
            let state = self.pending.ask(name.clone(), true);
            self.states.insert(name, state);
        }
        whole && !self.is_whole()
    }

    /// None holds any more. True if the member was whole until now.
    pub fn lose_all(&mut self) -> bool {
        let whole = self.is_whole();
        for (name, state) in &mut self.states {
            if matches!(state, SubscriptionState::Confirmed) {
                *state = self.pending.ask(name.clone(), true);
            }
        }
        whole && !self.is_whole()
    }

    /// Whether all vital ones are confirmed.
    pub fn is_whole(&self) -> bool {
        self.pending.vital == 0 && !self.states.is_empty()
    }

    /// Whether it is one of the member's.
    pub fn contains(&self, name: &Subscription) -> bool {
        self.states.contains_key(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.states.keys()
    }

    /// Returns a ticket for all that was asked for by now, for [`Subscriptions::is_confirmed`].
    pub fn ticket(&self) -> u64 {
        self.pending.next_ticket
    }

    /// Whether all that was asked for before this ticket was given is confirmed.
    pub fn is_confirmed(&self, ticket: u64) -> bool {
        self.pending.asked.first_key_value().is_none_or(|(&first, _)| first >= ticket)
    }

    /// Has a call wait until all that was asked for by now is confirmed.
    pub fn wait(&mut self, token: u32) {
        self.waiters.push_back((self.ticket(), token));
    }

    /// A call waits no longer. Mostly it is the one that has waited longest.
    pub fn give_up(&mut self, token: u32) {
        if let Some(place) = self.waiters.iter().position(|&(_, other)| other == token) {
            self.waiters.remove(place);
        }
    }

    /// Takes the next call whose subscriptions are confirmed.
    pub fn pop_answered(&mut self) -> Option<u32> {
        let &(ticket, token) = self.waiters.front()?;
        if !self.is_confirmed(ticket) {
            return None;
        }
        self.waiters.pop_front();
        Some(token)
    }

    /// Takes all calls that wait.
    pub fn take_waiters(&mut self) -> impl Iterator<Item = u32> {
        std::mem::take(&mut self.waiters).into_iter().map(|(_, token)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(Subscription::shard("main"), true);
        subscriptions.add(Subscription::shard("own"), true);
        subscriptions
    }

    #[test]
    fn a_member_is_whole_when_the_last_of_the_vital_ones_is_confirmed() {
        let mut subscriptions = base();
        assert!(!subscriptions.is_whole());
        assert!(!subscriptions.confirm(&Subscription::shard("main")));
        assert!(!subscriptions.confirm(&Subscription::shard("main")), "twice");
        assert!(subscriptions.confirm(&Subscription::shard("own")));
        assert!(!subscriptions.confirm(&Subscription::shard("unknown")));
        assert!(!Subscriptions::default().is_whole(), "nothing is not whole");
    }

    #[test]
    fn a_new_room_does_not_make_deaf_and_a_lost_one_does() {
        let mut subscriptions = base();
        subscriptions.confirm(&Subscription::shard("main"));
        subscriptions.confirm(&Subscription::shard("own"));
        let room = Subscription::shard("room");
        subscriptions.add(room.clone(), false);
        assert!(subscriptions.is_whole());
        assert!(!subscriptions.lose(&room), "it has not held yet");
        subscriptions.confirm(&room);
        assert!(subscriptions.lose(&room));
        assert!(!subscriptions.lose(&room), "twice");
        assert!(subscriptions.confirm(&room));
        assert!(subscriptions.lose_all());
        assert!(subscriptions.remove(&room));
        assert!(!subscriptions.remove(&room));
        subscriptions.confirm(&Subscription::shard("main"));
        assert!(subscriptions.confirm(&Subscription::shard("own")), "what is left no longer counts");
    }

    #[test]
    fn all_are_confirmed_at_once_however_they_were_asked_for() {
        let mut subscriptions = base();
        let room = Subscription::shard("room");
        subscriptions.add(room.clone(), false);
        let ticket = subscriptions.ticket();
        assert!(subscriptions.confirm_all());
        assert!(subscriptions.is_confirmed(ticket));
        assert!(!subscriptions.confirm_all(), "twice");
        assert!(subscriptions.lose(&room));
        assert!(subscriptions.remove(&room));
        assert!(subscriptions.is_whole());
    }

    #[test]
    fn a_ticket_is_for_what_was_asked_before_it() {
        let mut subscriptions = Subscriptions::default();
        let [a, b] = ["a", "b"].map(Subscription::shard);
        subscriptions.add(a.clone(), false);
        let ticket = subscriptions.ticket();
        subscriptions.add(b.clone(), false);
        assert!(!subscriptions.is_confirmed(ticket));
        subscriptions.confirm(&a);
        assert!(subscriptions.is_confirmed(ticket));
        assert!(!subscriptions.is_confirmed(subscriptions.ticket()));
        subscriptions.remove(&b);
        assert!(subscriptions.is_confirmed(subscriptions.ticket()));
    }

    #[test]
    fn calls_are_answered_in_their_order_or_give_up() {
        let mut subscriptions = Subscriptions::default();
        let [a, b] = ["a", "b"].map(Subscription::shard);
        subscriptions.wait(1);
        subscriptions.add(a.clone(), false);
        for token in [2, 3, 4] {
            subscriptions.wait(token);
        }
        subscriptions.add(b, false);
        subscriptions.wait(5);
        let answered = |subscriptions: &mut Subscriptions| {
            std::iter::from_fn(|| subscriptions.pop_answered()).collect::<Vec<_>>()
        };
        assert_eq!(answered(&mut subscriptions), [1]);
        subscriptions.give_up(3);
        subscriptions.give_up(9);
        subscriptions.confirm(&a);
        assert_eq!(answered(&mut subscriptions), [2, 4]);
        assert_eq!(subscriptions.take_waiters().collect::<Vec<_>>(), [5]);
        assert_eq!(subscriptions.take_waiters().count(), 0);
    }
}
