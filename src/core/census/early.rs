//! Messages that were published at the end of an outage before all servers were back: they are counted, since some
//! servers may have missed them.
//!
//! Two things show such messages. Peers that were known before are still missing when the wait for them is over. Or more servers
//! are there soon afterwards than were known: some had joined too short a time before the outage to have been counted.

use std::time::Instant;

use super::Census;
use super::schedule::ALONE_EVERY;
use crate::core::context::Context;
use crate::core::effects::MemberId;
use crate::core::members::Members;
use crate::core::publisher::flow::{Flow, LATE_BOUND};
use crate::core::stats::Stats;

impl Census {
    /// The wait for the others is over; the peers of `missing` were not all found.
    pub(super) fn watch(&mut self, missing: Vec<MemberId>, now: Instant, members: &mut Members) {
        self.watch = Some(now + LATE_BOUND);
        for (_, member) in members.iter_mut() {
            member.since = 0;
            member.missed = false;
        }
        for id in missing {
            if let Some(member) = members.get_mut(id) {
                member.missed = true;
            }
            self.count_soon(id, now, members);
        }
    }

    /// Accounts for the messages that go out now.
    pub(in crate::core) fn note_early(&mut self, members: &mut Members, cx: &mut Context<'_>) {
        if self.watch.is_none() {
            return;
        }
        for id in cx.fx.publishes.owners() {
            self.note_published(id, cx.fx.now, members, cx.stats);
        }
    }

    fn note_published(&mut self, id: MemberId, now: Instant, members: &mut Members, stats: &mut Stats) {
        let Some(member) = members.get_mut(id) else {
            return;
        };
        if member.missed {
            stats.early += 1;
            return;
        }
        member.since += 1;
        if member.since == 1 && !member.has_peers() {
            // Nobody was waited for: a server that is back soon has missed this message, and no later one.
            self.count_soon(id, now + ALONE_EVERY, members);
        }
    }

    /// The user's client has carried what a member publishes, without the link.
    pub(in crate::core) fn carried(
        &mut self,
        id: MemberId,
        now: Instant,
        members: &mut Members,
        flow: &Flow,
        stats: &mut Stats,
    ) {
        self.published(id, now, members, flow);
        if self.watch.is_some() {
            self.note_published(id, now, members, stats);
        }
    }

    /// Ends the watch if it is time: those that have published are counted for the last time.
    pub(in crate::core) fn end_watch(&mut self, now: Instant, members: &mut Members) {
        if self.watch.is_none_or(|until| now < until) {
            return;
        }
        self.watch = None;
        let published = members.iter().filter(|(_, member)| member.since > 0);
        let published: Vec<MemberId> = published.map(|(id, _)| id).collect();
        for id in published {
            self.count_soon(id, now, members);
        }
    }

    /// A member has so many peers.
    pub(super) fn learn(&mut self, id: MemberId, count: u64, members: &mut Members, stats: &mut Stats) {
        let Some(member) = members.get_mut(id) else {
            return;
        };
        member.missed = false;
        let since = if self.watch.is_some() { member.since } else { std::mem::take(&mut member.since) };
        // A server that said hello has just joined, and is not back from anywhere.
        if count > member.peers && since > 0 {
            stats.early += since;
            member.since = 0;
        }
        // A server that said hello since Redis was asked may not be among those counted.
        member.peers = if member.greeted { member.peers.max(count) } else { count };
    }
}
