//! Counting the members of the cluster: for JS, for requests that wait for answers, and for outages that end.

use super::Destination;
use super::effects::{Effects, Kind, MemberId};
use super::member::Member;
use super::requests::Counted;
use super::{ALONE_EVERY, COUNT_AGAIN, Core, IDLE_EVERY};
use crate::wire::Family;

/// Whom a count is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// JS asked for the number of members.
    Server { member: MemberId, token: u32 },
    /// A request wants to know how many answers to wait for.
    Request { member: MemberId, id: Box<str> },
    /// How many peers members have, for the end of an outage to come.
    Peers { members: Vec<MemberId> },
    /// Whether the peers are back.
    Healing { members: Vec<MemberId> },
}

impl Purpose {
    /// Whether somebody waits for it, so that it is counted again after an outage.
    pub(super) fn outlives_the_link(&self) -> bool {
        matches!(self, Purpose::Server { .. } | Purpose::Request { .. })
    }
}

impl Core {
    /// Counts the members for JS, which hears of it by a [`Kind::Count`] record with this token.
    pub fn server_count(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        if self.members.contains_key(&id) {
            self.count_when_ready(Purpose::Server { member: id, token }, fx);
        } else {
            count_record(fx, id, token, 0);
        }
    }

    pub(super) fn count_when_ready(&mut self, purpose: Purpose, fx: &mut Effects) {
        let member = match &purpose {
            Purpose::Server { member, .. } | Purpose::Request { member, .. } => self.members.get(member),
            Purpose::Peers { .. } | Purpose::Healing { .. } => None,
        };
        if self.flow.is_open() && member.is_some_and(Member::is_subscribed) {
            self.count(purpose, fx);
        } else {
            self.waiting.push(purpose);
        }
    }

    pub(super) fn count(&mut self, purpose: Purpose, fx: &mut Effects) {
        let ids: &[MemberId] = match &purpose {
            Purpose::Server { member, .. } | Purpose::Request { member, .. } => std::slice::from_ref(member),
            Purpose::Peers { members } | Purpose::Healing { members } => members,
        };
        // A member listens on both; what listens on one of them alone is not a member.
        let channels = ids
            .iter()
            .filter_map(|id| self.members.get(id))
            .flat_map(|member| match self.config.family {
                Family::Classic => vec![member.channels.request.clone(), member.channels.response.clone()],
                Family::Sharded | Family::Streams { .. } => vec![member.channels.request.clone()],
            })
            .collect();
        let token = self.next_count;
        self.next_count += 1;
        self.counts.insert(token, purpose);
        fx.counts.push((token, channels));
    }

    pub(super) fn counted(&mut self, token: u64, counts: Option<&[u64]>, fx: &mut Effects) {
        let Some(purpose) = self.counts.remove(&token) else {
            return;
        };
        let Some(counts) = counts else {
            match purpose {
                Purpose::Healing { .. } => self.flow.counted(false, fx.now),
                purpose if purpose.outlives_the_link() => {
                    // Refused, or lost with the link: not again at once.
                    self.waiting_until = Some(fx.now + COUNT_AGAIN);
                    self.waiting.push(purpose);
                }
                _ => {}
            }
            return;
        };
        let per_member = if self.config.family == Family::Classic { 2 } else { 1 };
        let mut members = counts.chunks(per_member).map(|pair| pair.iter().copied().min().unwrap_or(0));
        match purpose {
            Purpose::Server { member, token } => {
                let count = self.others_and_self(member, members.next());
                count_record(fx, member, token, count);
            }
            // Nobody, though this member itself is there: whoever counted has not looked everywhere.
            purpose @ Purpose::Request { member, .. }
                if counts.first() == Some(&0)
                    && self.members.get(&member).is_some_and(Member::is_subscribed) =>
            {
                self.waiting_until = Some(fx.now + COUNT_AGAIN);
                self.waiting.push(purpose);
            }
            Purpose::Request { member, id } => {
                let count = self.others_and_self(member, members.next());
                match self.requests.counted(&id, count, fx.now, &mut fx.batch) {
                    Counted::Publish(member, body) => {
                        self.send(member, &Destination::Request, &body, fx);
                    }
                    Counted::Nothing => {}
                }
            }
            // Counted before an outage, answered after: it says nothing.
            Purpose::Peers { .. } if !self.flow.is_open() => {}
            Purpose::Peers { members: ids } => {
                // Those that have left since were not counted for anybody.
                for (id, count) in ids.iter().zip(members) {
                    if let Some(member) = self.members.get_mut(id) {
                        member.peers = count;
                        if !member.has_peers() {
                            member.peers_due = Some(fx.now + ALONE_EVERY);
                        }
                    }
                }
            }
            Purpose::Healing { members: ids } => {
                let found = ids
                    .iter()
                    .zip(members)
                    .all(|(id, count)| self.members.get(id).is_none_or(|member| count >= member.peers));
                self.flow.counted(found, fx.now);
            }
        }
    }

    /// The number of members, given how many subscribers Redis has counted.
    fn others_and_self(&self, id: MemberId, counted: Option<u64>) -> u64 {
        let subscribed = self.members.get(&id).is_some_and(Member::is_subscribed);
        counted.unwrap_or(0).max(u64::from(subscribed)) + self.sharing(id)
    }

    /// How many other members share this one's subscriptions, as they must where a transport has one lane:
    /// Redis does not count them.
    fn sharing(&self, id: MemberId) -> u64 {
        self.members.get(&id).map_or(0, |member| {
            let counted = member.channels.counted();
            let listeners = self.routes.listeners(member.lane, counted.kind, &counted.name);
            (listeners.len() as u64).saturating_sub(1)
        })
    }

    /// Counts the peers of those who have not published for a while: others may have joined since.
    pub(super) fn count_idle(&mut self, fx: &mut Effects) {
        if self.members.is_empty() {
            self.idle_due = None;
            return;
        }
        let due = *self.idle_due.get_or_insert(fx.now + IDLE_EVERY);
        if fx.now < due {
            return;
        }
        self.idle_due = Some(fx.now + IDLE_EVERY);
        if !self.flow.is_open() {
            return;
        }
        let idle =
            |member: &Member| member.is_subscribed() && member.peers_due.is_none_or(|due| due <= fx.now);
        let mut members: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| idle(member)).map(|(&id, _)| id).collect();
        members.sort_unstable();
        if !members.is_empty() {
            self.count(Purpose::Peers { members }, fx);
        }
    }

    pub(super) fn heal(&mut self, fx: &mut Effects) {
        if !self.flow.wants_count(fx.now) {
            return;
        }
        let mut members: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.has_peers()).map(|(&id, _)| id).collect();
        members.sort_unstable();
        self.count(Purpose::Healing { members }, fx);
    }
}

pub(super) fn count_record(fx: &mut Effects, id: MemberId, token: u32, count: u64) {
    let mut draft = fx.batch.draft(Kind::Count, id);
    draft.record.token = token;
    draft.record.n = u32::try_from(count).unwrap_or(u32::MAX);
    draft.done();
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::core::Config;
    use crate::core::member::{MemberSpec, SubscriptionMode};
    use crate::transport::Incoming;

    #[test]
    fn one_that_does_not_publish_knows_for_whom_to_wait_after_an_outage() {
        let config = Config {
            family: Family::Classic,
            max_backlog: 1 << 20,
            settle: Duration::ZERO,
            proof: None,
            verbose: false,
        };
        let (mut core, mut fx) = (Core::new(config, true), Effects::new(Instant::now()));
        let spec = MemberSpec {
            uid: "me".into(),
            nsp: "/".into(),
            prefix: "p".into(),
            custom_parser: false,
            specific_responses: false,
            mode: SubscriptionMode::Static,
            frames: true,
            stream: None,
            emitter: None,
        };
        core.join(1, spec, &mut fx);
        core.incoming(Incoming::Up, &mut fx);
        for (lane, _, name) in std::mem::take(&mut fx.subscriptions) {
            core.incoming(Incoming::Subscribed { lane, kind: name.kind, name: &name.name }, &mut fx);
        }
        core.tick(&mut fx);
        let answer = |core: &mut Core, fx: &mut Effects, count: u64| {
            for (token, channels) in std::mem::take(&mut fx.counts) {
                let counts = vec![count; channels.len()];
                core.incoming(Incoming::Counted { token, counts: Some(&counts) }, fx);
            }
        };
        // Alone at first; then somebody joins.
        answer(&mut core, &mut fx, 1);
        fx.now += IDLE_EVERY;
        assert_eq!(core.deadline(), Some(fx.now));
        core.tick(&mut fx);
        assert_eq!(fx.counts.len(), 1);
        answer(&mut core, &mut fx, 2);
        core.incoming(Incoming::Down { reason: "gone", unanswered: 0, unwritten: 0 }, &mut fx);
        core.incoming(Incoming::Up, &mut fx);
        assert!(!core.flow.is_open(), "it waits for the other one");
    }
}
