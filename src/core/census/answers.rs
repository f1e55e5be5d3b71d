//! The answers of Redis to counts, and who is told.

use std::time::Duration;

use super::{Asker, Census, Count, Named};
use crate::core::context::Context;
use crate::core::effects::{Effects, Kind, MemberId};
use crate::core::event::{Event, Refused};
use crate::core::member::Member;
use crate::core::members::Members;
use crate::core::publisher::flow::Flow;
use crate::core::requests::{Counted, Requests};
use crate::wire::Family;
use crate::wire::channel::Destination;

/// How long a count waits that Redis has refused, or that was lost.
const COUNT_AGAIN: Duration = Duration::from_millis(500);

/// How often the count for a request is repeated if it has found nobody, not even the member itself. With
/// [`COUNT_AGAIN`] between them this covers the clients of the reference, which wait up to 2.2 s between two attempts to
/// reconnect.
const MAX_DOUBTS: u8 = 5;

impl Census {
    /// Redis refuses a count. Calls that wait for the number are told why. Requests go on waiting for answers: the count is
    /// tried again, and their outcome says why it failed.
    pub(in crate::core) fn refused(
        &mut self,
        token: u64,
        error: &str,
        members: &mut Members,
        requests: &mut Requests,
        flow: &mut Flow,
        cx: &mut Context<'_>,
    ) {
        cx.event(0, &Event::Refused { what: Refused::Count, error, stream: None });
        if let Some(named) = self.asked_by_name.remove(&token) {
            return refused_record(cx.fx, 0, named.token, error);
        }
        if let Some(count) = self.asked.get_mut(&token) {
            for asker in &count.askers {
                match asker {
                    &Asker::Server { member, token } => refused_record(cx.fx, member, token, error),
                    Asker::Request { member, id, .. } => requests.not_counted(*member, id, error),
                }
            }
            count.askers.retain(|asker| matches!(asker, Asker::Request { .. }));
        }
        self.answered(token, None, members, requests, flow, cx);
    }

    /// Redis has counted; `counts` is none if it could not.
    pub(in crate::core) fn answered(
        &mut self,
        token: u64,
        counts: Option<&[u64]>,
        members: &mut Members,
        requests: &mut Requests,
        flow: &mut Flow,
        cx: &mut Context<'_>,
    ) {
        let now = cx.now();
        if let Some(named) = self.asked_by_name.remove(&token) {
            return self.answered_by_name(named, counts, cx.fx);
        }
        let Some(Count { members: ids, askers, heals }) = self.asked.remove(&token) else {
            return;
        };
        let Some(counts) = counts else {
            if heals {
                flow.counted(ids, now);
            }
            if !askers.is_empty() {
                // Redis has refused the count, or it was lost with the link: it is not asked for again at once.
                self.waiting_until = Some(now + COUNT_AGAIN);
                self.waiting.extend(askers);
            }
            return;
        };
        let per_member = if cx.settings.family == Family::Classic { 2 } else { 1 };
        let counts: Vec<u64> =
            counts.chunks(per_member).map(|pair| pair.iter().copied().min().unwrap_or(0)).collect();
        let count_of = |id: MemberId| {
            let place = ids.binary_search(&id).ok()?;
            counts.get(place).copied()
        };
        for &id in &ids {
            self.find_own(id, count_of(id).unwrap_or(0), members);
        }
        for asker in askers {
            let counted = count_of(asker.member());
            self.tell(asker, counted, members, requests, flow, cx);
        }
        if heals {
            let mut missing = ids.clone();
            missing.retain(|&id| !has_found(id, count_of(id).unwrap_or(0), members));
            flow.counted(missing, now);
        } else if flow.is_open() {
            // Otherwise the count was asked for before an outage: it says nothing.
            for &id in &ids {
                self.learn(id, count_of(id).unwrap_or(0), members, cx.stats);
            }
        }
    }

    fn answered_by_name(&mut self, named: Named, counts: Option<&[u64]>, fx: &mut Effects) {
        match counts {
            Some(counts) => fx.batch.count(0, named.token, counts.iter().copied().min().unwrap_or(0)),
            None => {
                self.waiting_until = Some(fx.now + COUNT_AGAIN);
                self.named.push(named);
            }
        }
    }

    fn tell(
        &mut self,
        asker: Asker,
        counted: Option<u64>,
        members: &mut Members,
        requests: &mut Requests,
        flow: &Flow,
        cx: &mut Context<'_>,
    ) {
        let now = cx.now();
        match asker {
            Asker::Server { member, token } => {
                cx.fx.batch.count(member, token, others_and_self(member, counted, members));
            }
            Asker::Request { member, id, doubts }
                if counted == Some(0) && self.doubts(member, doubts, members) =>
            {
                self.waiting_until = Some(now + COUNT_AGAIN);
                self.waiting.push(Asker::Request { member, id, doubts: doubts + 1 });
            }
            Asker::Request { member, id, .. } => {
                let count = others_and_self(member, counted, members);
                match requests.counted(member, &id, count, now, &mut cx.fx.batch) {
                    Counted::Publish(body) => {
                        if members.send(member, &Destination::Request, &body, cx) {
                            self.published(member, now, members, flow);
                        }
                    }
                    Counted::Nothing => {}
                }
            }
        }
    }

    /// A count has found so many subscribers of a member's channels: the member itself is one of them, if any.
    fn find_own(&mut self, id: MemberId, count: u64, members: &mut Members) {
        if let Some(member) = members.get_mut(id).filter(|member| count > 0 && member.is_subscribed()) {
            member.unfound = false;
            self.finds_own |= member.listens();
        }
    }

    /// Whether to doubt a count of 0, though this member is subscribed: a node says so that has just lost the
    /// subscriptions, and a node that never had them.
    fn doubts(&self, id: MemberId, before: u8, members: &mut Members) -> bool {
        let Some(member) = members.get_mut(id).filter(|member| member.is_subscribed()) else {
            return false;
        };
        member.unfound |= before >= MAX_DOUBTS;
        self.finds_own && !member.unfound
    }
}

/// Whether all peers of a member are back. There may be more of them than were known.
fn has_found(id: MemberId, count: u64, members: &mut Members) -> bool {
    members.get_mut(id).is_none_or(|member| {
        let found = count >= member.peers;
        member.peers = member.peers.max(count);
        found
    })
}

/// The number of members, given how many subscribers Redis has counted.
fn others_and_self(id: MemberId, counted: Option<u64>, members: &Members) -> u64 {
    let subscribed = members.get(id).is_some_and(Member::is_subscribed);
    counted.unwrap_or(0).max(u64::from(subscribed)) + members.sharing(id)
}

/// A count that Redis refuses, in its own words.
fn refused_record(fx: &mut Effects, id: MemberId, token: u32, error: &str) {
    let mut draft = fx.batch.draft(Kind::CountRefused, id);
    draft.record.token = token;
    draft.part(0, error.as_bytes());
    draft.done();
}
