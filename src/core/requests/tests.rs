//! How requests end.

use super::*;
use crate::core::effects::Kind;

const TIMEOUT: Duration = Duration::from_secs(5);

fn ask(kind: RequestType) -> Ask<'static> {
    Ask { id: "R", kind, body: b"q", timeout: TIMEOUT, carried: false }
}

fn outcome(batch: &Batch) -> Option<String> {
    let record = batch.records.iter().find(|r| r.kind == Kind::Answers as u8)?;
    let text = &batch.bytes[record.parts[1].clone()];
    let answers = batch.records.iter().filter(|r| r.kind == Kind::Answer as u8 && r.n & 1 == 1).count();
    Some(format!("{} {answers}", String::from_utf8_lossy(text)))
}

fn reply(answer: Answer, payload: &[u8]) -> RequestReply<'_> {
    RequestReply { answer, list: &[], payload }
}

#[test]
fn a_request_ends_with_the_last_expected_answer() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    assert!(requests.add(0, &ask(RequestType::RemoteFetch), true, now));
    assert_eq!(requests.counted(0, "R", 3, now, &mut batch), Counted::Publish(b"q"[..].into()));
    assert!(requests.answered(0, "R", &reply(Answer::Sockets, b"1"), now, &mut batch));
    assert!(!requests.answered(0, "R", &reply(Answer::Rooms, b"x"), now, &mut batch), "another shape");
    assert!(!requests.answered(0, "S", &reply(Answer::Sockets, b"x"), now, &mut batch), "another request");
    assert!(!requests.answered(1, "R", &reply(Answer::Sockets, b"x"), now, &mut batch), "another member");
    assert_eq!(outcome(&batch), None);
    assert!(requests.answered(0, "R", &reply(Answer::Sockets, b"2"), now, &mut batch));
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":2} 2"#));
    assert_eq!(requests.len(), 0);
}

#[test]
fn what_came_ahead_of_the_count_counts_as_far_as_there_are_others() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    requests.add(0, &ask(RequestType::RemoteFetch), false, now);
    for answer in [b"1", b"1"] {
        assert!(requests.answered(0, "R", &reply(Answer::Sockets, answer), now, &mut batch));
    }
    assert_eq!(outcome(&batch), None);
    assert_eq!(requests.counted(0, "R", 2, now, &mut batch), Counted::Nothing);
    assert_eq!(
        outcome(&batch).as_deref(),
        Some(r#"{"status":"done","expected":1} 2"#),
        "JS has got both, and drops one"
    );
}

#[test]
fn a_node_alone_asks_nobody() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    requests.add(0, &ask(RequestType::AllRooms), true, now);
    assert_eq!(requests.counted(0, "R", 1, now, &mut batch), Counted::Nothing);
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":0} 0"#));
}

#[test]
fn a_request_that_is_out_of_time_gives_what_it_has() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    requests.add(0, &ask(RequestType::ServerSideEmit), true, now);
    requests.counted(0, "R", 3, now, &mut batch);
    requests.answered(0, "R", &reply(Answer::ServerSideEmit, b"1"), now, &mut batch);
    assert_eq!(requests.deadline(), Some(now + RECOUNT));
    requests.tick(now + TIMEOUT, &mut batch);
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"timeout","expected":2} 1"#));
}

#[test]
fn a_node_that_died_is_let_go_but_a_slow_one_is_not() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    requests.add(0, &ask(RequestType::RemoteFetch), true, now);
    requests.counted(0, "R", 3, now, &mut batch);
    let later = now + RECOUNT;
    requests.answered(0, "R", &reply(Answer::Sockets, b"1"), later, &mut batch);
    assert_eq!(requests.tick(later, &mut batch).len(), 1);
    requests.counted(0, "R", 2, later, &mut batch);
    assert_eq!(outcome(&batch), None, "an answer has just come");
    let later = later + RECOUNT;
    assert_eq!(requests.tick(later, &mut batch).len(), 1);
    requests.counted(0, "R", 2, later, &mut batch);
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":1} 1"#));
}

#[test]
fn an_acknowledged_broadcast_ends_when_all_acks_are_in() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    requests.add(0, &ask(RequestType::Broadcast), false, now);
    requests.answered(0, "R", &reply(Answer::ClientCount(2), b"c"), now, &mut batch);
    requests.counted(0, "R", 2, now, &mut batch);
    requests.answered(0, "R", &reply(Answer::Ack, b"a"), now, &mut batch);
    assert_eq!(requests.len(), 1);
    requests.answered(0, "R", &reply(Answer::Ack, b"a"), now, &mut batch);
    assert_eq!(requests.len(), 0);
    let kinds: Vec<u8> = batch.records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [4, 4, 4, 5]);
}

#[test]
fn an_id_that_waits_is_not_taken_by_another_request() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    assert!(requests.add(0, &ask(RequestType::RemoteFetch), true, now));
    assert!(!requests.add(0, &ask(RequestType::AllRooms), true, now), "the first one waits");
    assert!(requests.add(1, &ask(RequestType::AllRooms), true, now), "of another member");
    assert_eq!(requests.len(), 2);
    requests.counted(0, "R", 2, now, &mut batch);
    assert!(requests.answered(0, "R", &reply(Answer::Sockets, b"1"), now, &mut batch));
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"done","expected":1} 1"#));
    assert!(requests.contains(1, "R"));
    requests.leave(1, &mut batch);
    assert_eq!((requests.len(), requests.deadline()), (0, None));
    assert!(requests.add(0, &ask(RequestType::AllRooms), true, now), "it is free again");
}

#[test]
fn a_request_says_which_bound_it_has_met() {
    let (mut requests, mut batch, now) = (Requests::default(), Batch::default(), Instant::now());
    assert!(requests.add(0, &ask(RequestType::RemoteFetch), true, now));
    requests.counted(0, "R", 3, now, &mut batch);
    requests.get_mut(0, "R").unwrap().held = MAX_ANSWER_BYTES;
    assert!(requests.answered(0, "R", &reply(Answer::Sockets, b"1"), now, &mut batch));
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"tooLarge","expected":2} 1"#));
    let mut batch = Batch::default();
    requests.count = MAX_PENDING;
    assert!(!requests.add(0, &ask(RequestType::RemoteFetch), true, now));
    requests.refuse(0, &ask(RequestType::RemoteFetch), &mut batch);
    assert_eq!(outcome(&batch).as_deref(), Some(r#"{"status":"tooMany","expected":0} 0"#));
}

#[test]
fn each_request_has_one_place_in_the_order_of_time() {
    let (mut requests, mut batch, mut now) = (Requests::default(), Batch::default(), Instant::now());
    for n in 0..100 {
        let id = format!("{n}");
        let timeout = TIMEOUT + Duration::from_millis(n);
        let ask = Ask { id: &id, timeout, ..ask(RequestType::RemoteFetch) };
        assert!(requests.add(0, &ask, true, now));
        requests.counted(0, &id, 3, now, &mut batch);
    }
    for _ in 0..5 {
        now = requests.deadline().unwrap();
        let due = requests.tick(now, &mut batch);
        assert_eq!(due.len(), 100);
        assert!(requests.tick(now, &mut batch).is_empty(), "they are being counted");
        for (member, id) in due {
            requests.counted(member, &id, 3, now, &mut batch);
        }
        assert_eq!(requests.due.len(), 100);
    }
    while let Some(due) = requests.deadline() {
        requests.tick(due, &mut batch);
    }
    assert!(requests.is_empty() && requests.due.is_empty() && requests.pending.is_empty());
}
