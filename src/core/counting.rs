//! Counting the members of the cluster: for JS, for requests that wait for answers, and for outages that end.
//!
//! What is asked for in a step goes into one count, which names each member once.

use std::collections::HashMap;
use std::time::Instant;

use super::census::Census;
use super::effects::{Effects, Kind, MemberId};
use super::event::Event;
use super::member::Member;
use super::requests::Counted;
use super::{COUNT_AGAIN, Core, Destination};
use crate::wire::Family;

/// How many members are named in one count at most.
const CHUNK: usize = 250;

/// How often a request is counted for again because nobody was counted, not even the member itself. With
/// [`COUNT_AGAIN`] between them this covers the clients of the reference, which wait up to 2.2 s between two attempts to
/// reconnect.
const MAX_DOUBTS: u8 = 5;

/// Who waits for a count.
#[derive(Debug)]
pub(super) enum Asker {
    /// JS asked for the number of members.
    Server { member: MemberId, token: u32 },
    /// A request wants to know how many answers to wait for. `doubts` says how often nobody was counted for it.
    Request { member: MemberId, id: Box<str>, doubts: u8 },
}

impl Asker {
    /// The member that is to be counted for it.
    pub(super) fn member(&self) -> MemberId {
        match self {
            Asker::Server { member, .. } | Asker::Request { member, .. } => *member,
        }
    }
}

/// What Redis was asked.
#[derive(Debug)]
pub(super) struct Count {
    /// Whom it counts, in order, each once.
    members: Vec<MemberId>,
    askers: Vec<Asker>,
    /// Whether the end of an outage waits for it.
    heals: bool,
}

/// A count of the subscribers of channels, for a member that has left.
#[derive(Debug)]
struct Named {
    channels: Vec<Vec<u8>>,
    /// For the answer.
    token: u32,
}

/// The counts of a link: those that Redis was asked for, and those that it will be.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// What Redis has not answered, by token.
    asked: HashMap<u64, Count>,
    next_token: u64,
    /// The same of those by name.
    asked_by_name: std::collections::HashMap<u64, Named>,
    /// Those by name that wait for the link.
    named: Vec<Named>,
    /// To be asked at the end of this step.
    asking: Vec<Asker>,
    /// What waits for the link, or for the subscriptions of its member.
    waiting: Vec<Asker>,
    /// How many of them were still wanted when that was last looked at.
    most_kept: usize,
    /// When it is tried again, after a count that failed.
    waiting_until: Option<Instant>,
    /// Something has happened that it may have waited for.
    may_go: bool,
    pub(super) census: Census,
    /// A count has found a member that is here: Redis is asked where the members are subscribed. It is not where the
    /// user's clients are connected to a primary and to its replica.
    finds_own: bool,
    /// An outage has ended: until then it shows who came too late for what was published.
    pub(super) watch: Option<Instant>,
}

impl Counting {
    /// How many wait for the link, or for their member.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether Redis has not answered yet.
    pub(super) fn is_asking(&self) -> bool {
        !(self.asked.is_empty() && self.asked_by_name.is_empty())
    }

    /// What waits may be asked now, perhaps.
    pub(super) fn let_go(&mut self) {
        self.may_go = true;
    }

    /// When something is due, apart from what waits for the link.
    pub(super) fn deadline(&self, open: bool) -> Option<Instant> {
        let waiting = self.waiting_until.filter(|_| !(self.waiting.is_empty() && self.named.is_empty()));
        let census = self.census.deadline().filter(|_| open);
        [waiting, census, self.census.idle_deadline(), self.watch].into_iter().flatten().min()
    }

    /// Another transport begins: what was asked is asked again, if somebody waits for it.
    pub(super) fn interrupt(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.waiting.extend(asked.into_values().flat_map(|count| count.askers));
        self.waiting.append(&mut self.asking);
        self.named.extend(std::mem::take(&mut self.asked_by_name).into_values());
        self.finds_own = false;
        self.may_go = true;
    }

    /// Takes what a member wants to know; what was asked for it already is answered for nobody.
    pub(super) fn leave(&mut self, id: MemberId) -> Vec<Asker> {
        let mut gone = Vec::new();
        for askers in [&mut self.asking, &mut self.waiting] {
            gone.extend(askers.extract_if(.., |asker| asker.member() == id));
        }
        gone
    }
}

impl Core {
    /// Counts the members for JS, which hears of it by a [`Kind::Count`] record with this token.
    pub fn server_count(&mut self, id: MemberId, token: u32, fx: &mut Effects) {
        if self.members.contains_key(&id) {
            self.count_when_ready(Asker::Server { member: id, token });
        } else {
            count_record(fx, id, token, 0);
        }
    }

    /// Forgets the requests that are out of time, and wait for a count: in a long outage they are many.
    pub(super) fn forget_late_askers(&mut self) {
        let (waiting, requests) = (&mut self.counting.waiting, &self.requests);
        if waiting.len() > 2 * requests.len() + self.counting.most_kept {
            waiting.retain(|asker| match asker {
                Asker::Server { .. } => true,
                Asker::Request { member, id, .. } => requests.contains(*member, id),
            });
            self.counting.most_kept = waiting.len();
        }
    }

    /// Counts the subscribers of channels, of all the least, for a member that has left; JS hears of it as above.
    pub fn count_subscribers(&mut self, token: u32, channels: Vec<Vec<u8>>) {
        self.counting.named.push(Named { channels, token });
    }

    fn ask_by_name(&mut self, fx: &mut Effects) {
        let counting = &mut self.counting;
        if !self.flow.is_open() || counting.waiting_until.is_some() {
            return;
        }
        for named in counting.named.drain(..) {
            let token = counting.next_token;
            counting.next_token += 1;
            fx.counts.push((token, named.channels.clone()));
            counting.asked_by_name.insert(token, named);
        }
    }

    fn counted_by_name(&mut self, named: Named, counts: Option<&[u64]>, fx: &mut Effects) {
        match counts {
            Some(counts) => {
                count_record(fx, 0, named.token, counts.iter().copied().min().unwrap_or(0));
            }
            None => {
                self.counting.waiting_until = Some(fx.now + COUNT_AGAIN);
                self.counting.named.push(named);
            }
        }
    }

    pub(super) fn count_when_ready(&mut self, asker: Asker) {
        let ready = self.members.get(&asker.member()).is_some_and(Member::is_subscribed);
        if self.flow.is_open() && ready {
            self.counting.asking.push(asker);
        } else {
            self.counting.waiting.push(asker);
        }
    }

    /// Asks Redis for what is due: one count for all, or a few if they are many.
    pub(super) fn ask_for_counts(&mut self, fx: &mut Effects) {
        let counting = &mut self.counting;
        if counting.waiting_until.is_some_and(|until| fx.now >= until) {
            counting.waiting_until = None;
            counting.may_go = true;
        }
        if counting.waiting_until.is_none() && std::mem::take(&mut counting.may_go) {
            counting.most_kept = 0;
            for asker in std::mem::take(&mut counting.waiting) {
                self.count_when_ready(asker);
            }
        }
        self.ask_by_name(fx);
        let mut askers = std::mem::take(&mut self.counting.asking);
        askers.sort_by_key(Asker::member);
        let mut members: Vec<MemberId> = askers.iter().map(Asker::member).collect();
        let due = self.counting.census.take(fx.now);
        let is_due = !due.is_empty();
        for id in due {
            if let Some(member) = self.members.get_mut(&id) {
                member.queued = false;
                members.push(id);
            }
        }
        members.sort_unstable();
        members.dedup();
        let mut askers = askers.into_iter().peekable();
        let mut names = 0;
        for chunk in members.chunks(CHUNK) {
            let last = chunk.last().copied().unwrap_or_default();
            let of_chunk = std::iter::from_fn(|| askers.next_if(|asker| asker.member() <= last)).collect();
            names += self.count(chunk.to_vec(), of_chunk, false, fx);
        }
        if is_due {
            self.counting.census.asked(fx.now, names);
        }
    }

    /// Asks Redis; returns for how many names.
    fn count(
        &mut self,
        mut members: Vec<MemberId>,
        askers: Vec<Asker>,
        heals: bool,
        fx: &mut Effects,
    ) -> usize {
        let mut channels = Vec::new();
        members.retain(|id| {
            let Some(member) = self.members.get_mut(id) else {
                return false;
            };
            member.counted = Some(fx.now);
            member.greeted = false;
            channels.push(member.routing.channels.request.clone());
            // A member listens on both; what listens on one of them alone is not a member.
            if self.config.family == Family::Classic {
                channels.push(member.routing.channels.response.clone());
            }
            true
        });
        // Redis is not asked for nothing; those who are gone are not waited for.
        if channels.is_empty() && !(heals && self.clients_know_audiences()) {
            if heals {
                self.flow.counted(Vec::new(), fx.now);
            }
            return 0;
        }
        let token = self.counting.next_token;
        self.counting.next_token += 1;
        let names = channels.len();
        self.counting.asked.insert(token, Count { members, askers, heals });
        fx.counts.push((token, channels));
        names
    }

    /// Redis does not let itself be asked, and says why: those who wait for the number alone are told. Requests wait for
    /// answers; they are told in the end, and it is tried again until then.
    pub(super) fn count_refused(&mut self, token: u64, error: &str, fx: &mut Effects) {
        self.event(fx, 0, &Event::Refused { what: "count", error, stream: None });
        if let Some(named) = self.counting.asked_by_name.remove(&token) {
            return refused_record(fx, 0, named.token, error);
        }
        if let Some(count) = self.counting.asked.get_mut(&token) {
            for asker in &count.askers {
                match asker {
                    &Asker::Server { member, token } => refused_record(fx, member, token, error),
                    Asker::Request { member, id, .. } => self.requests.not_counted(*member, id, error),
                }
            }
            count.askers.retain(|asker| matches!(asker, Asker::Request { .. }));
        }
        self.counted(token, None, fx);
    }

    pub(super) fn counted(&mut self, token: u64, counts: Option<&[u64]>, fx: &mut Effects) {
        if let Some(named) = self.counting.asked_by_name.remove(&token) {
            return self.counted_by_name(named, counts, fx);
        }
        let Some(Count { members, askers, heals }) = self.counting.asked.remove(&token) else {
            return;
        };
        let Some(counts) = counts else {
            if heals {
                self.flow.counted(members, fx.now);
            }
            if !askers.is_empty() {
                // Refused, for now or for good, or lost with the link: not again at once.
                self.counting.waiting_until = Some(fx.now + COUNT_AGAIN);
                self.counting.waiting.extend(askers);
            }
            return;
        };
        let per_member = if self.config.family == Family::Classic { 2 } else { 1 };
        let counts: Vec<u64> =
            counts.chunks(per_member).map(|pair| pair.iter().copied().min().unwrap_or(0)).collect();
        let count_of = |id: MemberId| {
            let place = members.binary_search(&id).ok()?;
            counts.get(place).copied()
        };
        for &id in &members {
            self.find_own(id, count_of(id).unwrap_or(0));
        }
        for asker in askers {
            self.tell(asker, &count_of, fx);
        }
        if heals {
            let mut missing = members.clone();
            missing.retain(|&id| !self.has_found(id, count_of(id).unwrap_or(0)));
            self.flow.counted(missing, fx.now);
        } else if self.flow.is_open() {
            // Counted before an outage and answered in it, it says nothing.
            for &id in &members {
                self.learn(id, count_of(id).unwrap_or(0));
            }
        }
    }

    fn tell(&mut self, asker: Asker, count_of: &impl Fn(MemberId) -> Option<u64>, fx: &mut Effects) {
        let counted = count_of(asker.member());
        match asker {
            Asker::Server { member, token } => {
                let count = self.others_and_self(member, counted);
                count_record(fx, member, token, count);
            }
            Asker::Request { member, id, doubts } if counted == Some(0) && self.doubts(member, doubts) => {
                self.counting.waiting_until = Some(fx.now + COUNT_AGAIN);
                self.counting.waiting.push(Asker::Request { member, id, doubts: doubts + 1 });
            }
            Asker::Request { member, id, .. } => {
                let count = self.others_and_self(member, counted);
                match self.requests.counted(member, &id, count, fx.now, &mut fx.batch) {
                    Counted::Publish(body) => {
                        self.send(member, &Destination::Request, &body, fx);
                    }
                    Counted::Nothing => {}
                }
            }
        }
    }

    /// A member is counted, itself included, or nobody is.
    fn find_own(&mut self, id: MemberId, count: u64) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| count > 0 && member.is_subscribed()) {
            member.unfound = false;
            self.counting.finds_own |= member.listens();
        }
    }

    /// Whether it is to be doubted that nobody is subscribed to a channel, though this member is: a node that has just
    /// lost the subscriptions says so, and one that never had them.
    fn doubts(&mut self, id: MemberId, before: u8) -> bool {
        let finds_own = self.counting.finds_own;
        let Some(member) = self.members.get_mut(&id).filter(|member| member.is_subscribed()) else {
            return false;
        };
        member.unfound |= before >= MAX_DOUBTS;
        finds_own && !member.unfound
    }

    /// Whether all peers of a member are back. There may be more of them than were known.
    fn has_found(&mut self, id: MemberId, count: u64) -> bool {
        self.members.get_mut(&id).is_none_or(|member| {
            let found = count >= member.peers;
            member.peers = member.peers.max(count);
            found
        })
    }

    /// Another server says that it is there.
    pub(super) fn greeted(&mut self, id: MemberId, now: Instant) {
        // While an outage ends, it hears what will be published; it may have come for one that is awaited in vain.
        let open = self.flow.is_open();
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if open {
            member.peers = member.peers.max(1).saturating_add(1);
        }
        member.greeted = true;
        self.count_soon(id, now);
    }

    /// The peers of a member are counted at `when`, or together with others before.
    pub(super) fn count_soon(&mut self, id: MemberId, when: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            if std::mem::replace(&mut member.queued, true) {
                self.counting.census.hasten(when);
            } else if member.counted.is_none() {
                self.counting.census.queue_first(id, when);
            } else {
                self.counting.census.queue(id, when);
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
            let counted = member.routing.channels.counted();
            let listeners = self.routes.listeners(member.lane, counted.kind, &counted.name);
            (listeners.len() as u64).saturating_sub(1)
        })
    }

    /// Counts the peers of those who have not published for a while: others may have joined since.
    pub(super) fn count_idle(&mut self, now: Instant) {
        if self.members.is_empty() {
            return self.counting.census.stop();
        }
        if !self.counting.census.is_idle_due(now) || !self.flow.is_open() {
            return;
        }
        let census = &mut self.counting.census;
        for (&id, member) in &mut self.members {
            let is_due = member.counted.is_none_or(|counted| Census::is_old(counted, now));
            if is_due && member.is_subscribed() && !std::mem::replace(&mut member.queued, true) {
                census.queue(id, now);
            }
        }
    }

    /// The members that had others when last counted.
    pub(super) fn with_peers(&self) -> Vec<MemberId> {
        self.members.iter().filter(|(_, member)| member.has_peers()).map(|(&id, _)| id).collect()
    }

    /// Goes on with the end of an outage.
    pub(super) fn heal(&mut self, fx: &mut Effects) {
        if let Some(mut members) = self.flow.wants_count(fx.now) {
            members.sort_unstable();
            self.count(members, Vec::new(), true, fx);
        }
        if let Some(missing) = self.flow.take_ended() {
            self.counting.let_go();
            self.watch(missing, fx.now);
        }
        if self.flow.waits_for_hearing() {
            let Core { flow, members, .. } = self;
            let given_up =
                flow.heard(fx.now, |id| members.get(&id).is_some_and(|member| !member.is_subscribed()));
            for id in given_up {
                if let Some(member) = members.get_mut(&id) {
                    member.stays_deaf = true;
                }
            }
            if !flow.waits_for_hearing() {
                self.counting.let_go();
            }
        }
    }
}

pub(super) fn count_record(fx: &mut Effects, id: MemberId, token: u32, count: u64) {
    let mut draft = fx.batch.draft(Kind::Count, id);
    draft.record.token = token;
    draft.record.n = u32::try_from(count).unwrap_or(u32::MAX);
    draft.done();
}

/// A count that Redis refuses, in its own words.
fn refused_record(fx: &mut Effects, id: MemberId, token: u32, error: &str) {
    let mut draft = fx.batch.draft(Kind::CountRefused, id);
    draft.record.token = token;
    draft.part(0, error.as_bytes());
    draft.done();
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::core::census::IDLE_EVERY;
    use crate::core::member::{MemberSpec, SubscriptionMode};
    use crate::core::world::World;
    use crate::core::{Ask, Config};
    use crate::transport::Incoming;
    use crate::wire::request::RequestType;

    #[test]
    fn what_redis_says_instead_of_a_count_is_told() {
        let mut world = World::new(Family::Classic);
        world.join(1);
        world.pass(Duration::from_secs(10), &|_| 2);
        let text = |world: &World, kind: Kind, part: usize| {
            let batch = &world.fx.batch;
            let record = batch.records.iter().find(|record| record.kind == kind as u8)?;
            Some(String::from_utf8_lossy(&batch.bytes[record.parts[part].clone()]).into_owned())
        };
        let ask = Ask {
            id: "R",
            kind: RequestType::AllRooms,
            body: b"q",
            timeout: Duration::from_secs(1),
            carried: false,
        };
        world.core.server_count(1, 7, &mut world.fx);
        world.core.request(1, &ask, &mut world.fx);
        world.core.release(1 << 20, &mut world.fx);
        for (token, _) in std::mem::take(&mut world.fx.counts) {
            world.core.incoming(Incoming::CountRefused { token, error: "NOPERM no" }, &mut world.fx);
        }
        assert_eq!(text(&world, Kind::CountRefused, 0).as_deref(), Some("NOPERM no"));
        let event = text(&world, Kind::Event, 0);
        assert_eq!(event.as_deref(), Some(r#"{"type":"refused","what":"count","error":"NOPERM no"}"#));
        world.fx.now += ask.timeout;
        world.core.tick(&mut world.fx);
        let outcome = text(&world, Kind::Answers, 1);
        assert_eq!(outcome.as_deref(), Some(r#"{"status":"timeout","expected":0,"refusal":"NOPERM no"}"#));
    }

    #[test]
    fn one_that_does_not_publish_knows_for_whom_to_wait_after_an_outage() {
        let config = Config::of(Family::Classic);
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
            joins: Default::default(),
        };
        core.join(1, spec, &mut fx);
        core.incoming(Incoming::Up, &mut fx);
        for (lane, _, name) in std::mem::take(&mut fx.subscriptions) {
            core.incoming(Incoming::Subscribed { lane, kind: name.kind, name: &name.name }, &mut fx);
        }
        core.tick(&mut fx);
        core.release(1, &mut fx);
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
        core.release(1, &mut fx);
        assert_eq!(fx.counts.len(), 1);
        answer(&mut core, &mut fx, 2);
        core.incoming(Incoming::Down { reason: "gone", unanswered: 0, unwritten: 0 }, &mut fx);
        core.incoming(Incoming::Up, &mut fx);
        assert!(!core.flow.is_open(), "it waits for the other one");
    }
}
