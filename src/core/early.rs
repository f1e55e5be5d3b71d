//! What was published at the end of an outage before all servers were back: counted, since it may not have reached
//! them all.
//!
//! Two things show it. Peers that were known before are still missing when the wait for them is over. Or more servers
//! are there soon afterwards than were known: some had joined too short a time before the outage to have been counted.

use std::time::Instant;

use super::Core;
use super::census::ALONE_EVERY;
use super::effects::{Effects, MemberId};
use super::flow::LATE_BOUND;

impl Core {
    /// The wait for the others is over; those of `missing` were not all found.
    pub(super) fn watch(&mut self, missing: Vec<MemberId>, now: Instant) {
        self.counting.watch = Some(now + LATE_BOUND);
        for member in self.members.values_mut() {
            member.since = 0;
            member.missed = false;
        }
        for id in missing {
            if let Some(member) = self.members.get_mut(&id) {
                member.missed = true;
            }
            self.count_soon(id, now);
        }
    }

    /// Accounts for what goes out now.
    pub(super) fn note_early(&mut self, fx: &Effects) {
        if self.counting.watch.is_none() {
            return;
        }
        for id in fx.publishes.owners() {
            self.note_published(id, fx.now);
        }
    }

    fn note_published(&mut self, id: MemberId, now: Instant) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.missed {
            self.stats.early += 1;
            return;
        }
        member.since += 1;
        if member.since == 1 && !member.has_peers() {
            // Nobody was waited for: whoever is back soon has missed this, and nothing later.
            self.count_soon(id, now + ALONE_EVERY);
        }
    }

    /// The user's client has carried what a member publishes, without the link.
    pub fn carried(&mut self, id: MemberId, now: Instant) {
        self.published(id, now);
        if self.counting.watch.is_some() {
            self.note_published(id, now);
        }
    }

    /// Ends the watch if it is time: those that have published are counted for the last time.
    pub(super) fn end_watch(&mut self, now: Instant) {
        if self.counting.watch.is_none_or(|until| now < until) {
            return;
        }
        self.counting.watch = None;
        let published = self.members.iter().filter(|(_, member)| member.since > 0);
        let published: Vec<MemberId> = published.map(|(&id, _)| id).collect();
        for id in published {
            self.count_soon(id, now);
        }
    }

    /// A member has so many peers.
    pub(super) fn learn(&mut self, id: MemberId, count: u64) {
        let watching = self.counting.watch.is_some();
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.missed = false;
        let since = if watching { member.since } else { std::mem::take(&mut member.since) };
        // One that said hello has just joined, and is not back from anywhere.
        if count > member.peers && since > 0 {
            self.stats.early += since;
            member.since = 0;
        }
        // What said hello since Redis was asked may not be among those counted.
        member.peers = if member.greeted { member.peers.max(count) } else { count };
    }
}
