//! The requests of this node that wait for answers: how many are expected, what has come, until when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Ask;
use super::effects::{Batch, Kind, MemberId};
use crate::wire::request::{Answer, RequestType};

/// How many requests of a link may wait at once; one more fails at once. At the default timeout of 5 s this is
/// 13,000 requests a second.
pub const MAX_PENDING: usize = 65_536;

/// How many bytes of answers one request may gather, until it fails.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;

/// How often the number of members is read again while a request waits, so that one that died is let go.
const RECOUNT: Duration = Duration::from_millis(500);

/// What a finished request tells JS, in JSON.
#[derive(Debug, serde::Serialize)]
pub struct Outcome {
    /// `done`, `timeout` or `failed`.
    pub status: &'static str,
    /// How many answers were expected.
    pub expected: u64,
}

/// A request that waits.
#[derive(Debug)]
struct Pending {
    member: MemberId,
    kind: RequestType,
    deadline: Instant,
    /// What is still to be published, once the members are counted.
    body: Option<Box<[u8]>>,
    /// How many other members are expected to answer; `None` until counted.
    expected: Option<u64>,
    answers: Vec<Box<[u8]>>,
    answer_bytes: usize,
    last_answer: Instant,
    recount: Instant,
    counting: bool,
    /// For acknowledged broadcasts: nodes that said how many clients they have, those clients, their acks.
    nodes: u64,
    clients: u64,
    acks: u64,
}

impl Pending {
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
            self.body.is_none() && self.answers.len() as u64 >= expected
        }
    }
}

/// What a count means for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Counted {
    /// The request is to be published now, by this member.
    Publish(MemberId, Box<[u8]>),
    /// Nothing is to be done.
    Nothing,
}

/// All requests of a link that wait, by their id.
#[derive(Debug, Default)]
pub struct Requests {
    pending: HashMap<Box<str>, Pending>,
}

impl Requests {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether a request with this id is one of this member's.
    pub fn contains(&self, member: MemberId, id: &str) -> bool {
        self.pending.get(id).is_some_and(|pending| pending.member == member)
    }

    /// Adds a request, to be published once the members are counted, if `later`. False if there is no room.
    pub fn add(&mut self, member: MemberId, ask: &Ask<'_>, later: bool, now: Instant) -> bool {
        if self.pending.len() >= MAX_PENDING {
            return false;
        }
        let pending = Pending {
            member,
            kind: ask.kind,
            deadline: now + ask.timeout,
            body: later.then(|| ask.body.into()),
            expected: None,
            answers: Vec::new(),
            answer_bytes: 0,
            last_answer: now,
            recount: now + RECOUNT,
            counting: true,
            nodes: 0,
            clients: 0,
            acks: 0,
        };
        self.pending.insert(ask.id.into(), pending);
        true
    }

    /// The number of members, this node's included, has been read.
    pub fn counted(&mut self, id: &str, members: u64, now: Instant, batch: &mut Batch) -> Counted {
        let Some(pending) = self.pending.get_mut(id) else {
            return Counted::Nothing;
        };
        pending.counting = false;
        pending.recount = now + RECOUNT;
        let others = members.saturating_sub(1);
        match pending.expected {
            None => pending.expected = Some(others),
            // The lowered number may be that of nodes which have answered already, while another still works
            // on it: let the dead go only when nothing has come for a while.
            Some(expected) if others < expected && now >= pending.last_answer + RECOUNT => {
                pending.expected = Some(others);
            }
            Some(_) => {}
        }
        if let Some(body) = pending.body.take()
            && others > 0
        {
            pending.last_answer = now;
            return Counted::Publish(pending.member, body);
        }
        self.finish_if_complete(id, batch);
        Counted::Nothing
    }

    /// A response has come to a member. False if it does not answer anything that this one has asked: all members
    /// of a node hear the responses to each of them.
    pub fn answered(
        &mut self,
        member: MemberId,
        id: &str,
        answer: Answer,
        payload: &[u8],
        now: Instant,
        batch: &mut Batch,
    ) -> bool {
        let Some(pending) = self.pending.get_mut(id).filter(|pending| pending.member == member) else {
            return false;
        };
        match (pending.kind, answer) {
            (RequestType::RemoteFetch, Answer::Sockets | Answer::NoSockets)
            | (RequestType::Sockets, Answer::SocketIds | Answer::NoSockets)
            | (RequestType::AllRooms, Answer::Rooms)
            | (RequestType::ServerSideEmit, Answer::ServerSideEmit) => {
                pending.answer_bytes += payload.len();
                pending.answers.push(payload.into());
            }
            (RequestType::Broadcast, Answer::ClientCount(clients)) => {
                pending.nodes += 1;
                pending.clients = pending.clients.saturating_add(clients);
                ack_record(batch, pending.member, id, payload);
            }
            (RequestType::Broadcast, Answer::Ack) => {
                pending.acks += 1;
                ack_record(batch, pending.member, id, payload);
            }
            _ => return false,
        }
        pending.last_answer = now;
        if pending.answer_bytes > MAX_ANSWER_BYTES {
            self.finish(id, "failed", batch);
        } else {
            self.finish_if_complete(id, batch);
        }
        true
    }

    /// Ends what is out of time; returns the ids whose members are to be counted again.
    pub fn tick(&mut self, now: Instant, batch: &mut Batch) -> Vec<(MemberId, Box<str>)> {
        let late: Vec<Box<str>> = self
            .pending
            .iter()
            .filter(|(_, pending)| now >= pending.deadline)
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            self.finish(&id, "timeout", batch);
        }
        let mut recount = Vec::new();
        for (id, pending) in &mut self.pending {
            if !pending.is_ack() && !pending.counting && now >= pending.recount {
                pending.counting = true;
                recount.push((pending.member, id.clone()));
            }
        }
        recount
    }

    /// When [`Requests::tick`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending
            .values()
            .map(|pending| {
                if pending.counting || pending.is_ack() {
                    pending.deadline
                } else {
                    pending.deadline.min(pending.recount)
                }
            })
            .min()
    }

    /// Ends a request without an answer.
    pub fn fail(&mut self, id: &str, batch: &mut Batch) {
        self.finish(id, "failed", batch);
    }

    /// Ends all requests of a member that leaves.
    pub fn leave(&mut self, member: MemberId, batch: &mut Batch) {
        let ids: Vec<Box<str>> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.member == member)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.finish(&id, "failed", batch);
        }
    }

    fn finish_if_complete(&mut self, id: &str, batch: &mut Batch) {
        if self.pending.get(id).is_some_and(Pending::is_complete) {
            self.finish(id, "done", batch);
        }
    }

    fn finish(&mut self, id: &str, status: &'static str, batch: &mut Batch) {
        let Some(pending) = self.pending.remove(id) else {
            return;
        };
        if pending.is_ack() {
            let mut draft = batch.draft(Kind::AckEnd, pending.member);
            draft.part(0, id.as_bytes());
            return draft.done();
        }
        let outcome = Outcome { status, expected: pending.expected.unwrap_or(0) };
        let mut draft = batch.draft(Kind::Answers, pending.member);
        draft.part(0, id.as_bytes());
        draft.part(1, &serde_json::to_vec(&outcome).unwrap_or_default());
        draft.list(pending.answers.iter().map(|answer| &**answer));
        draft.done();
    }
}

fn ack_record(batch: &mut Batch, member: MemberId, id: &str, payload: &[u8]) {
    let mut draft = batch.draft(Kind::Ack, member);
    draft.part(0, id.as_bytes());
    draft.part(1, payload);
    draft.done();
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn ask(kind: RequestType) -> Ask<'static> {
        Ask { id: "R", kind, body: b"q", timeout: TIMEOUT }
    }

    fn outcome(batch: &Batch) -> Option<String> {
        let record = batch.records.iter().find(|r| r.kind == Kind::Answers as u8)?;
        let text = &batch.bytes[record.parts[1].clone()];
        Some(format!("{} {}", String::from_utf8_lossy(text), record.n))
    }

    #[test]
    fn a_request_ends_with_the_last_expected_answer() {
        let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
        assert!(requests.add(0, &ask(RequestType::RemoteFetch), true, now));
        assert_eq!(requests.counted("R", 3, now, &mut batch), Counted::Publish(0, b"q"[..].into()));
        assert!(requests.answered(0, "R", Answer::Sockets, b"1", now, &mut batch));
        assert!(!requests.answered(0, "R", Answer::Rooms, b"x", now, &mut batch), "another shape");
        assert!(!requests.answered(0, "S", Answer::Sockets, b"x", now, &mut batch), "another request");
        assert!(!requests.answered(1, "R", Answer::Sockets, b"x", now, &mut batch), "another member");
        assert_eq!(outcome(&batch), None);
        assert!(requests.answered(0, "R", Answer::Sockets, b"2", now, &mut batch));
        assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":2} 2"#));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn a_node_alone_asks_nobody() {
        let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
        requests.add(0, &ask(RequestType::AllRooms), true, now);
        assert_eq!(requests.counted("R", 1, now, &mut batch), Counted::Nothing);
        assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":0} 0"#));
    }

    #[test]
    fn a_request_that_is_out_of_time_gives_what_it_has() {
        let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
        requests.add(0, &ask(RequestType::ServerSideEmit), true, now);
        requests.counted("R", 3, now, &mut batch);
        requests.answered(0, "R", Answer::ServerSideEmit, b"1", now, &mut batch);
        assert_eq!(requests.deadline(), Some(now + RECOUNT));
        requests.tick(now + TIMEOUT, &mut batch);
        assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"timeout","expected":2} 1"#));
    }

    #[test]
    fn a_node_that_died_is_let_go_but_a_slow_one_is_not() {
        let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
        requests.add(0, &ask(RequestType::RemoteFetch), true, now);
        requests.counted("R", 3, now, &mut batch);
        let later = now + RECOUNT;
        requests.answered(0, "R", Answer::Sockets, b"1", later, &mut batch);
        assert_eq!(requests.tick(later, &mut batch).len(), 1);
        requests.counted("R", 2, later, &mut batch);
        assert_eq!(outcome(&batch), None, "an answer has just come");
        let later = later + RECOUNT;
        assert_eq!(requests.tick(later, &mut batch).len(), 1);
        requests.counted("R", 2, later, &mut batch);
        assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":1} 1"#));
    }

    #[test]
    fn an_acknowledged_broadcast_ends_when_all_acks_are_in() {
        let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
        requests.add(0, &ask(RequestType::Broadcast), false, now);
        requests.answered(0, "R", Answer::ClientCount(2), b"c", now, &mut batch);
        requests.counted("R", 2, now, &mut batch);
        requests.answered(0, "R", Answer::Ack, b"a", now, &mut batch);
        assert_eq!(requests.len(), 1);
        requests.answered(0, "R", Answer::Ack, b"a", now, &mut batch);
        assert_eq!(requests.len(), 0);
        let kinds: Vec<u8> = batch.records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [4, 4, 4, 5]);
    }
}
