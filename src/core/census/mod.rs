//! Counting the members of the cluster: for JS, for requests that wait for answers, and for outages that end.
//!
//! All counts that are wanted in a step are one question to Redis, which names each member once.

mod answers;
mod early;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Instant;

use super::context::Context;
use super::effects::{Effects, MemberId};
use super::members::Members;
use super::publisher::flow::Flow;
use super::requests::Requests;
use crate::wire::Family;
use schedule::Schedule;

/// How many members are named in one count at most.
const CHUNK: usize = 250;

/// Who waits for a count.
#[derive(Debug)]
enum Asker {
    /// JS asked for the number of members.
    Server { member: MemberId, token: u32 },
    /// A request wants to know how many answers to wait for. `doubts` says how often nobody was counted for it.
    Request { member: MemberId, id: Box<str>, doubts: u8 },
}

impl Asker {
    /// The member that is to be counted for it.
    fn member(&self) -> MemberId {
        match self {
            Asker::Server { member, .. } | Asker::Request { member, .. } => *member,
        }
    }
}

/// A count that Redis was asked for.
#[derive(Debug)]
struct Count {
    /// The members that it counts, in order, each once.
    members: Vec<MemberId>,
    askers: Vec<Asker>,
    /// Whether the end of an outage waits for it.
    heals: bool,
}

/// A count of the subscribers of channels, for a member that has left.
#[derive(Debug)]
struct Named {
    channels: Vec<Vec<u8>>,
    /// The token of the call.
    token: u32,
}

/// The counts of a link: those that Redis was asked for, and those that it will be asked for.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// The counts that Redis has not answered, by token.
    asked: HashMap<u64, Count>,
    next_token: u64,
    /// The counts by name that Redis has not answered, by token.
    asked_by_name: HashMap<u64, Named>,
    /// The counts by name that wait for the link.
    named: Vec<Named>,
    /// Those who wait for the count at the end of this step.
    asking: Vec<Asker>,
    /// Those who wait for the link, or for the subscriptions of their member.
    waiting: Vec<Asker>,
    /// How many of them were still wanted when they were last looked through.
    most_kept: usize,
    /// Until when no count is asked for, after one that failed.
    waiting_until: Option<Instant>,
    /// Something has happened that may let those in `waiting` go on.
    may_go: bool,
    /// Who is to be counted without being asked for, and when.
    schedule: Schedule,
    /// A count has found a member of this link: so counts go to the node where the members are subscribed. They do not if
    /// one of the user's clients is connected to a primary and the other to its replica.
    finds_own: bool,
    /// An outage has ended: servers that are found until then came too late for the first publishes.
    watch: Option<Instant>,
}

impl Census {
    /// How many wait for the link, or for their member.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether Redis has still to answer.
    pub(super) fn is_asking(&self) -> bool {
        !(self.asked.is_empty() && self.asked_by_name.is_empty())
    }

    /// Those who wait may perhaps go on: they are looked at when counts are next asked for.
    pub(super) fn let_go(&mut self) {
        self.may_go = true;
    }

    /// When a count is due. `open` says whether publishes may go out.
    pub(super) fn deadline(&self, open: bool) -> Option<Instant> {
        let waiting = self.waiting_until.filter(|_| !(self.waiting.is_empty() && self.named.is_empty()));
        let scheduled = self.schedule.deadline().filter(|_| open);
        [waiting, scheduled, self.schedule.idle_deadline(), self.watch].into_iter().flatten().min()
    }

    /// Another transport begins: counts that somebody waits for are asked for again.
    pub(super) fn interrupt(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.waiting.extend(asked.into_values().flat_map(|count| count.askers));
        self.waiting.append(&mut self.asking);
        self.named.extend(std::mem::take(&mut self.asked_by_name).into_values());
        self.finds_own = false;
        self.may_go = true;
    }

    /// A member leaves: JS is told 0 where it has asked for the number of members. Counts that are under way are answered
    /// to nobody.
    pub(super) fn leave(&mut self, id: MemberId, fx: &mut Effects) {
        let mut gone = Vec::new();
        for askers in [&mut self.asking, &mut self.waiting] {
            gone.extend(askers.extract_if(.., |asker| asker.member() == id));
        }
        for asker in gone {
            if let Asker::Server { token, .. } = asker {
                fx.batch.count(id, token, 0);
            }
        }
    }

    // --- who asks --------------------------------------------------------------------------------------

    /// Counts the members for JS, which hears of it by a [`Kind::Count`](super::effects::Kind::Count) record with this token.
    pub(super) fn server_count(
        &mut self,
        id: MemberId,
        token: u32,
        members: &Members,
        flow: &Flow,
        fx: &mut Effects,
    ) {
        if members.contains(id) {
            self.count_when_ready(Asker::Server { member: id, token }, members, flow);
        } else {
            fx.batch.count(id, token, 0);
        }
    }

    /// Counts the members that are to answer a request.
    pub(super) fn count_for_request(
        &mut self,
        member: MemberId,
        id: Box<str>,
        members: &Members,
        flow: &Flow,
    ) {
        self.count_when_ready(Asker::Request { member, id, doubts: 0 }, members, flow);
    }

    fn count_when_ready(&mut self, asker: Asker, members: &Members, flow: &Flow) {
        if flow.is_open() && members.is_subscribed(asker.member()) {
            self.asking.push(asker);
        } else {
            self.waiting.push(asker);
        }
    }

    /// Forgets requests that wait for a count and are out of time: in a long outage there are many.
    pub(super) fn forget_late_askers(&mut self, requests: &Requests) {
        let waiting = &mut self.waiting;
        if waiting.len() > 2 * requests.len() + self.most_kept {
            waiting.retain(|asker| match asker {
                Asker::Server { .. } => true,
                Asker::Request { member, id, .. } => requests.contains(*member, id),
            });
            self.most_kept = waiting.len();
        }
    }

    /// Counts the subscribers of channels for a member that has left. JS hears of the smallest number by a record with
    /// this token.
    pub(super) fn count_subscribers(&mut self, token: u32, channels: Vec<Vec<u8>>) {
        self.named.push(Named { channels, token });
    }

    /// The peers of a member are counted at `when`, or together with others before.
    pub(super) fn count_soon(&mut self, id: MemberId, when: Instant, members: &mut Members) {
        if let Some(member) = members.get_mut(id) {
            if std::mem::replace(&mut member.queued, true) {
                self.schedule.hasten(when);
            } else if member.counted.is_none() {
                self.schedule.queue_first(id, when);
            } else {
                self.schedule.queue(id, when);
            }
        }
    }

    /// A member publishes: its peers are counted now and then, so that the end of an outage waits for them. They are not
    /// counted while it does.
    pub(super) fn published(&mut self, id: MemberId, now: Instant, members: &mut Members, flow: &Flow) {
        if !flow.is_open() {
            return;
        }
        if let Some(member) = members.get(id).filter(|member| !member.queued) {
            let next = |counted| self.schedule.next(counted, !member.has_peers());
            let due = member.counted.map_or(now, next);
            self.count_soon(id, due, members);
        }
    }

    /// Another server says hello.
    pub(super) fn greeted(&mut self, id: MemberId, now: Instant, members: &mut Members, flow: &Flow) {
        let Some(member) = members.get_mut(id) else {
            return;
        };
        // While an outage ends, the server hears what will be published; it may be the one that is awaited.
        if flow.is_open() {
            member.peers = member.peers.max(1).saturating_add(1);
        }
        member.greeted = true;
        self.count_soon(id, now, members);
    }

    /// Counts the peers of members that have not published for a while: other servers may have joined since.
    pub(super) fn count_idle(&mut self, now: Instant, members: &mut Members, flow: &Flow) {
        if members.is_empty() {
            return self.schedule.stop();
        }
        if !self.schedule.is_idle_due(now) || !flow.is_open() {
            return;
        }
        for (id, member) in members.iter_mut() {
            let is_due = member.counted.is_none_or(|counted| Schedule::is_old(counted, now));
            if is_due && member.is_subscribed() && !std::mem::replace(&mut member.queued, true) {
                self.schedule.queue(id, now);
            }
        }
    }

    // --- questions to Redis ----------------------------------------------------------------------------

    /// Asks Redis for the counts that are due: one for all members, or a few if there are many.
    pub(super) fn ask(&mut self, members: &mut Members, flow: &mut Flow, cx: &mut Context<'_>) {
        let now = cx.now();
        if self.waiting_until.is_some_and(|until| now >= until) {
            self.waiting_until = None;
            self.may_go = true;
        }
        if self.waiting_until.is_none() && std::mem::take(&mut self.may_go) {
            self.most_kept = 0;
            for asker in std::mem::take(&mut self.waiting) {
                self.count_when_ready(asker, members, flow);
            }
        }
        self.ask_by_name(flow, cx.fx);
        let mut askers = std::mem::take(&mut self.asking);
        askers.sort_by_key(Asker::member);
        let mut ids: Vec<MemberId> = askers.iter().map(Asker::member).collect();
        let due = self.schedule.take(now);
        let is_due = !due.is_empty();
        for id in due {
            if let Some(member) = members.get_mut(id) {
                member.queued = false;
                ids.push(id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let mut askers = askers.into_iter().peekable();
        let mut names = 0;
        for chunk in ids.chunks(CHUNK) {
            let last = chunk.last().copied().unwrap_or_default();
            let of_chunk = std::iter::from_fn(|| askers.next_if(|asker| asker.member() <= last)).collect();
            let count = Count { members: chunk.to_vec(), askers: of_chunk, heals: false };
            names += self.count(count, members, flow, cx);
        }
        if is_due {
            self.schedule.asked(now, names);
        }
    }

    fn ask_by_name(&mut self, flow: &Flow, fx: &mut Effects) {
        if !flow.is_open() || self.waiting_until.is_some() {
            return;
        }
        for named in self.named.drain(..) {
            let token = self.next_token;
            self.next_token += 1;
            fx.counts.push((token, named.channels.clone()));
            self.asked_by_name.insert(token, named);
        }
    }

    /// Asks Redis; returns for how many names.
    fn count(
        &mut self,
        mut count: Count,
        members: &mut Members,
        flow: &mut Flow,
        cx: &mut Context<'_>,
    ) -> usize {
        let now = cx.now();
        let mut channels = Vec::new();
        count.members.retain(|&id| {
            let Some(member) = members.get_mut(id) else {
                return false;
            };
            member.counted = Some(now);
            member.greeted = false;
            channels.push(member.routing.channels.request.clone());
            // A member listens on both channels; a subscriber of one of them alone is no member.
            if cx.settings.family == Family::Classic {
                channels.push(member.routing.channels.response.clone());
            }
            true
        });
        // Redis is not asked for an empty list; members that have left are not waited for.
        if channels.is_empty() && !(count.heals && clients_know_audiences(members, cx)) {
            if count.heals {
                flow.counted(Vec::new(), now);
            }
            return 0;
        }
        let token = self.next_token;
        self.next_token += 1;
        let names = channels.len();
        self.asked.insert(token, count);
        cx.fx.counts.push((token, channels));
        names
    }

    /// Asks for the counts that the end of an outage needs, and ends it if it is over.
    pub(super) fn heal(&mut self, members: &mut Members, flow: &mut Flow, cx: &mut Context<'_>) {
        let now = cx.now();
        if let Some(mut ids) = flow.wants_count(now) {
            ids.sort_unstable();
            self.count(Count { members: ids, askers: Vec::new(), heals: true }, members, flow, cx);
        }
        if let Some(missing) = flow.take_ended() {
            self.let_go();
            self.watch(missing, now, members);
        }
        if flow.waits_for_hearing() {
            let is_deaf = |id| members.get(id).is_some_and(|member| !member.is_subscribed());
            for id in flow.heard(now, is_deaf) {
                if let Some(member) = members.get_mut(id) {
                    member.stays_deaf = true;
                }
            }
            if !flow.waits_for_hearing() {
                self.let_go();
            }
        }
    }
}

/// Whether users' clients carry shard channels. They know who has listened to each, and answer a count at the end of an
/// outage once all servers listen again that have missed a message. So they are asked even if no other server is known: an
/// emitter knows of none, nor does a member that has counted the others in the midst of a failover.
pub(super) fn clients_know_audiences(members: &Members, cx: &Context<'_>) -> bool {
    members.are_by_clients() && cx.settings.family == Family::Sharded
}
