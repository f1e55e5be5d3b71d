//! The names that a connection has to hold, and whether Redis has confirmed each.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::transport::Subscription;

/// The names that a connection has to hold. They are sent again on each new connection.
#[derive(Default)]
pub(super) struct Names {
    /// Whether Redis has confirmed each name on this connection. Searching the commands in flight for each
    /// name instead would be quadratic.
    all: BTreeMap<Subscription, bool>,
    /// How many names are confirmed.
    held: usize,
    /// How often the number of confirmed names has become 0.
    unheld: u64,
}

impl Names {
    /// Adds a name as not confirmed, unless it is there.
    pub(super) fn add(&mut self, name: &Subscription) {
        if !self.all.contains_key(name) {
            self.all.insert(name.clone(), false);
        }
    }

    /// Removes a name; returns whether it was there.
    pub(super) fn remove(&mut self, name: &Subscription) -> bool {
        let removed = self.all.remove(name);
        if removed == Some(true) {
            self.holds_one_less();
        }
        removed.is_some()
    }

    /// Removes all names.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.holds_none();
    }

    /// Stores whether Redis has confirmed a name. Returns whether the name is there.
    pub(super) fn set_held(&mut self, name: &Subscription, now: bool) -> bool {
        let Some(held) = self.all.get_mut(name) else {
            return false;
        };
        match (std::mem::replace(held, now), now) {
            (false, true) => self.held += 1,
            (true, false) => self.holds_one_less(),
            _ => {}
        }
        true
    }

    /// Redis does not hold any of them any more.
    pub(super) fn let_go(&mut self) {
        self.all.values_mut().for_each(|held| *held = false);
        self.holds_none();
    }

    fn holds_one_less(&mut self) {
        self.held -= 1;
        self.unheld += u64::from(self.held == 0);
    }

    fn holds_none(&mut self) {
        self.held = 0;
        self.unheld += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn has(&self, name: &Subscription) -> bool {
        self.all.contains_key(name)
    }

    /// Returns whether Redis has confirmed a name.
    pub(super) fn holds(&self, name: &Subscription) -> bool {
        self.all.get(name) == Some(&true)
    }

    /// Returns a number that stays the same as long as Redis holds at least one name without a break; `None`
    /// if it holds none.
    pub(super) fn tenure(&self) -> Option<u64> {
        (self.held > 0).then_some(self.unheld)
    }

    /// Returns the names, and whether Redis has confirmed each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Subscription, bool)> {
        self.all.iter().map(|(name, &held)| (name, held))
    }

    /// Returns the names below a bound, last one first.
    pub(super) fn backwards(&self, from: Bound<&Subscription>) -> impl Iterator<Item = &Subscription> {
        self.all.range((Bound::Unbounded, from)).rev().map(|(name, _)| name)
    }
}
