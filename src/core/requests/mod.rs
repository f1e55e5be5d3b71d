//! The requests of this node that wait for answers: how many answers are expected, how many have come, until when.

mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::effects::{Batch, MemberId};
use crate::wire::request::{Answer, RequestReply, RequestType};
use records::{RequestOutcome, RequestStatus, ack_record, answer_records, tell_end};

/// How many requests of a link may wait at once. One more fails at once; a broadcast is published, but its acknowledgements
/// are not followed. At the default timeout of 5 s this is 13,000 requests a second.
pub const MAX_PENDING: usize = 65_536;

/// How many bytes of answers one request may gather, until it fails.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;

/// How often members are counted again while a request waits, so that it does not wait for one that died.
const RECOUNT: Duration = Duration::from_millis(500);

/// A request to the other members.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its type.
    pub kind: RequestType,
    /// The request as it goes over the wire.
    pub body: &'a [u8],
    /// How long to wait for the answers.
    pub timeout: Duration,
    /// Whether the user's client has published it already.
    pub carried: bool,
}

/// A request that waits.
#[derive(Debug)]
struct PendingRequest {
    member: MemberId,
    kind: RequestType,
    deadline: Instant,
    /// The request, if it is still to be published: once the members are counted.
    body: Option<Box<[u8]>>,
    /// How many other members are expected to answer; `None` until counted.
    expected: Option<u64>,
    /// Why Redis refuses to count them, in its own words.
    refusal: Option<Box<str>>,
    /// How many answers have come.
    answers: u64,
    /// How many bytes they took.
    held: usize,
    last_answer: Instant,
    recount: Instant,
    counting: bool,
    /// For acknowledged broadcasts: nodes that said how many clients they have, those clients, their acks.
    nodes: u64,
    clients: u64,
    acks: u64,
    /// Where it stands in [`Requests::due`].
    due: Option<Due>,
}

impl PendingRequest {
    fn is_ack(&self) -> bool {
        self.kind == RequestType::Broadcast
    }

    fn is_complete(&self) -> bool {
        let Some(expected) = self.expected else {
            return false;
        };
        if self.is_ack() {
            self.nodes >= expected && self.acks >= self.clients
        } else {
            self.body.is_none() && self.answers >= expected
        }
    }
}

/// What to do with a request that was counted for.
#[derive(Debug, PartialEq, Eq)]
pub enum Counted {
    /// The request is to be published now.
    Publish(Box<[u8]>),
    /// Nothing is to be done.
    Nothing,
}

/// All requests of a link that wait: of each member, by their id.
#[derive(Debug, Default)]
pub struct Requests {
    pending: HashMap<MemberId, HashMap<Box<str>, PendingRequest>>,
    count: usize,
    /// The requests by the time at which they are due, each once.
    due: BTreeMap<Due, (MemberId, Box<str>)>,
    next_due: u64,
}

/// When something is due; the number tells apart what is due at the same time.
type Due = (Instant, u64);

impl Requests {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a request with this id is one of this member's.
    pub fn contains(&self, member: MemberId, id: &str) -> bool {
        self.pending.get(&member).is_some_and(|requests| requests.contains_key(id))
    }

    /// Adds a request, to be published once the members are counted, if `later`. False if there is no room, or if one
    /// with its id waits.
    pub fn add(&mut self, member: MemberId, ask: &Ask<'_>, later: bool, now: Instant) -> bool {
        if self.is_full() || self.contains(member, ask.id) {
            return false;
        }
        let mut pending = PendingRequest {
            member,
            kind: ask.kind,
            deadline: now + ask.timeout,
            body: later.then(|| ask.body.into()),
            expected: None,
            refusal: None,
            answers: 0,
            held: 0,
            last_answer: now,
            recount: now + RECOUNT,
            counting: true,
            nodes: 0,
            clients: 0,
            acks: 0,
            due: None,
        };
        schedule(&mut self.due, &mut self.next_due, &mut pending, ask.id);
        self.pending.entry(member).or_default().insert(ask.id.into(), pending);
        self.count += 1;
        true
    }

    fn get_mut(&mut self, member: MemberId, id: &str) -> Option<&mut PendingRequest> {
        self.pending.get_mut(&member)?.get_mut(id)
    }

    /// The number of members could not be read: Redis refuses.
    pub fn not_counted(&mut self, member: MemberId, id: &str, error: &str) {
        if let Some(pending) = self.get_mut(member, id) {
            pending.refusal = Some(error.into());
        }
    }

    /// The number of members, this node's included, has been read.
    pub fn counted(
        &mut self,
        member: MemberId,
        id: &str,
        members: u64,
        now: Instant,
        batch: &mut Batch,
    ) -> Counted {
        let Some(pending) = self.pending.get_mut(&member).and_then(|requests| requests.get_mut(id)) else {
            return Counted::Nothing;
        };
        pending.counting = false;
        pending.refusal = None;
        pending.recount = now + RECOUNT;
        schedule(&mut self.due, &mut self.next_due, pending, id);
        let others = members.saturating_sub(1);
        match pending.expected {
            None => {
                pending.expected = Some(others);
                // A request that was published before the count may have been answered twice by one server: no more
                // answers count than there are servers.
                pending.answers = pending.answers.min(others);
            }
            // The lower number may be that of servers which have answered already, while another still works on its answer:
            // dead servers are given up only when no answer has come for a while.
            Some(expected) if others < expected && now >= pending.last_answer + RECOUNT => {
                pending.expected = Some(others);
            }
            Some(_) => {}
        }
        if let Some(body) = pending.body.take()
            && others > 0
        {
            pending.last_answer = now;
            return Counted::Publish(body);
        }
        self.finish_if_complete(member, id, batch);
        Counted::Nothing
    }

    /// A response has come to a member. False if it does not answer a request of this member: all members of a node hear the
    /// responses to each of them.
    pub fn answered(
        &mut self,
        member: MemberId,
        id: &str,
        reply: &RequestReply<'_>,
        now: Instant,
        batch: &mut Batch,
    ) -> bool {
        let &RequestReply { answer, payload, .. } = reply;
        let Some(pending) = self.get_mut(member, id) else {
            return false;
        };
        match (pending.kind, answer) {
            (RequestType::RemoteFetch, Answer::Sockets | Answer::NoSockets)
            | (RequestType::Sockets, Answer::SocketIds | Answer::NoSockets)
            | (RequestType::AllRooms, Answer::Rooms)
            | (RequestType::ServerSideEmit, Answer::ServerSideEmit) => {
                pending.held += payload.len();
                pending.answers += 1;
                answer_records(batch, member, id, reply);
            }
            (RequestType::Broadcast, Answer::ClientCount(clients)) => {
                pending.nodes += 1;
                pending.clients = pending.clients.saturating_add(clients);
                ack_record(batch, member, id, payload);
            }
            (RequestType::Broadcast, Answer::Ack) => {
                pending.acks += 1;
                ack_record(batch, member, id, payload);
            }
            _ => return false,
        }
        pending.last_answer = now;
        if pending.held > MAX_ANSWER_BYTES {
            self.finish(member, id, RequestStatus::TooLarge, batch);
        } else {
            self.finish_if_complete(member, id, batch);
        }
        true
    }

    /// Ends requests that are out of time. Returns the ids of those whose members are to be counted again.
    pub fn tick(&mut self, now: Instant, batch: &mut Batch) -> Vec<(MemberId, Box<str>)> {
        let mut recount = Vec::new();
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) {
            let (member, id) = first.remove();
            let requests = self.pending.get_mut(&member);
            let Some(pending) = requests.and_then(|requests| requests.get_mut(&id)) else {
                continue;
            };
            pending.due = None;
            if now >= pending.deadline {
                self.finish(member, &id, RequestStatus::Timeout, batch);
            } else {
                pending.counting = true;
                schedule(&mut self.due, &mut self.next_due, pending, &id);
                recount.push((member, id));
            }
        }
        recount
    }

    /// When [`Requests::tick`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(&(when, _), _)| when)
    }

    /// Tells the end of a request that was not added.
    pub fn refuse(&self, member: MemberId, ask: &Ask<'_>, batch: &mut Batch) {
        let status = if self.is_full() { RequestStatus::TooMany } else { RequestStatus::Failed };
        let is_ack = ask.kind == RequestType::Broadcast;
        tell_end(batch, member, ask.id, is_ack, &RequestOutcome { status, expected: 0, refusal: None });
    }

    /// Whether no more may wait.
    pub fn is_full(&self) -> bool {
        self.count >= MAX_PENDING
    }

    /// Ends all requests of a member that leaves.
    pub fn leave(&mut self, member: MemberId, batch: &mut Batch) {
        let ids: Vec<Box<str>> =
            self.pending.get(&member).map(|requests| requests.keys().cloned().collect()).unwrap_or_default();
        for id in ids {
            self.finish(member, &id, RequestStatus::Failed, batch);
        }
    }

    fn finish_if_complete(&mut self, member: MemberId, id: &str, batch: &mut Batch) {
        if self.get_mut(member, id).is_some_and(|pending| pending.is_complete()) {
            self.finish(member, id, RequestStatus::Done, batch);
        }
    }

    fn finish(&mut self, member: MemberId, id: &str, status: RequestStatus, batch: &mut Batch) {
        let Some(requests) = self.pending.get_mut(&member) else {
            return;
        };
        let Some(pending) = requests.remove(id) else {
            return;
        };
        if requests.is_empty() {
            self.pending.remove(&member);
        }
        self.count -= 1;
        if let Some(due) = pending.due {
            self.due.remove(&due);
        }
        let PendingRequest { expected, refusal, .. } = &pending;
        let outcome = RequestOutcome { status, expected: expected.unwrap_or(0), refusal: refusal.clone() };
        tell_end(batch, member, id, pending.is_ack(), &outcome);
    }
}

/// Gives a request its new place in the order of time.
fn schedule(
    all: &mut BTreeMap<Due, (MemberId, Box<str>)>,
    next: &mut u64,
    pending: &mut PendingRequest,
    id: &str,
) {
    let when = if pending.counting || pending.is_ack() {
        pending.deadline
    } else {
        pending.deadline.min(pending.recount)
    };
    let before = pending.due.and_then(|due| all.remove(&due));
    *next += 1;
    let due = (when, *next);
    pending.due = Some(due);
    all.insert(due, before.unwrap_or_else(|| (pending.member, id.into())));
}
