use super::*;
use crate::fanout::queue::{Outcome, Queue};
use crate::fanout::slot::{Appended, Job, Next, Settled, Slot, Then};

fn append(slot: &mut Slot, bytes: &[u8]) -> Appended {
    slot.append(&frame(bytes), false)
}

fn settle(slot: &mut Slot, own: &[u8]) -> Settled {
    slot.settle(own).0
}

fn rest_of(job: &mut Option<Job>) -> Vec<u8> {
    job.take().unwrap().queue.into_bytes()
}

/// A slot in each state that has a socket or waits for one, by name.
fn in_each_state(node: &UnixStream) -> Vec<(&'static str, Slot, Option<Job>)> {
    let mut all = Vec::new();
    let mut add = |name, steps: fn(&mut Slot) -> Option<Job>| {
        let mut slot = Slot::default();
        slot.lend(lent(node));
        let job = steps(&mut slot);
        all.push((name, slot, job));
    };
    add("idle", |_| None);
    add("queued", |slot| {
        append(slot, b"1");
        None
    });
    add("writing", |slot| {
        append(slot, b"1");
        let job = slot.take();
        append(slot, b"2");
        job
    });
    add("writing, awaited", |slot| {
        append(slot, b"1");
        let job = slot.take();
        slot.wait();
        job
    });
    add("spilled", |slot| {
        append(slot, b"1");
        let job = slot.take().unwrap();
        slot.put_back(job, Outcome::Full);
        None
    });
    add("failed", |slot| {
        append(slot, b"1");
        let job = slot.take().unwrap();
        slot.put_back(job, Outcome::Failed(7));
        None
    });
    add("hung up", |slot| {
        slot.hang_up();
        None
    });
    all
}

#[test]
fn a_free_slot_takes_a_connection_and_nothing_else() {
    let (node, _peer) = pair();
    let mut slot = Slot::default();
    slot.hang_up();
    assert_eq!(append(&mut slot, b"1"), Appended::Dropped);
    assert!(slot.take().is_none() && slot.take_last().is_none() && slot.write().is_none());
    assert_eq!(settle(&mut slot, b"own"), Settled::Nothing);
    assert_eq!(slot.take_errno(), 0);
    assert!(!slot.orphan() && !slot.is_in_call() && !slot.release());
    slot.lend(lent(&node));
    assert!(matches!(slot, Slot::Idle(_)));
}

#[test]
fn a_slot_that_is_taken_takes_no_other_connection() {
    let (node, _peer) = pair();
    let (other, other_peer) = pair();
    for (name, mut slot, _job) in in_each_state(&node) {
        let before = std::mem::discriminant(&slot);
        slot.lend(lent(&other));
        assert_eq!(std::mem::discriminant(&slot), before, "{name}");
    }
    drop(other);
    assert!(read_all(&other_peer).1, "it is closed");
}

#[test]
fn frames_wait_in_order_and_the_first_one_wakes_the_writer() {
    let (node, _peer) = pair();
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    assert_eq!(append(&mut slot, b"1"), Appended::First);
    assert_eq!(append(&mut slot, b"2"), Appended::Behind);
    let job = slot.take().unwrap();
    assert!(slot.is_in_call() && slot.take().is_none());
    assert_eq!(append(&mut slot, b"3"), Appended::Behind);
    assert_eq!(job.queue.bytes(), 2);
    let Job { socket, queue } = job;
    assert_eq!(queue.into_bytes(), b"12");
    let done = Job { socket, queue: Queue::default() };
    assert!(matches!(slot.put_back(done, Outcome::Done), (Next::Again, None)));
    assert_eq!(rest_of(&mut slot.take()), b"3");
}

#[test]
fn a_slot_with_nothing_behind_is_idle_again() {
    let (node, peer) = pair();
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    append(&mut slot, b"1");
    let mut job = slot.take().unwrap();
    let written = job.queue.write(&job.socket);
    assert!(matches!(slot.put_back(job, written.outcome), (Next::Nothing, None)));
    assert!(matches!(slot, Slot::Idle(_)));
    assert_eq!(append(&mut slot, b"2"), Appended::First);
    assert_eq!(read_all(&peer).0, b"1");
}

#[test]
fn what_waits_is_counted_in_each_state() {
    let (node, _peer) = pair();
    let waiting: Vec<_> =
        in_each_state(&node).iter().map(|(name, slot, _job)| (*name, slot.bytes())).collect();
    let expected = [
        ("idle", 0),
        ("queued", 1),
        ("writing", 2),
        ("writing, awaited", 1),
        ("spilled", 1),
        ("failed", 0),
        ("hung up", 0),
    ];
    assert_eq!(waiting, expected);
}

#[test]
fn a_volatile_frame_is_for_an_idle_slot() {
    let (node, _peer) = pair();
    let taking: Vec<_> = in_each_state(&node)
        .into_iter()
        .filter_map(|(name, mut slot, _job)| {
            let appended = slot.append(&frame(b"3"), true);
            (appended != Appended::Dropped).then_some((name, appended))
        })
        .collect();
    assert_eq!(taking, [("idle", Appended::First)]);
}

#[test]
fn a_frame_is_dropped_where_there_is_no_connection() {
    let (node, _peer) = pair();
    let dropping: Vec<_> = in_each_state(&node)
        .into_iter()
        .filter_map(|(name, mut slot, _job)| (append(&mut slot, b"3") == Appended::Dropped).then_some(name))
        .collect();
    assert_eq!(dropping, ["failed", "hung up"]);
}

#[test]
fn what_the_kernel_does_not_take_is_handed_over_in_order() {
    let (node, peer) = pair();
    let zeros = fill(&node);
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    append(&mut slot, b"1");
    let mut job = slot.take().unwrap();
    append(&mut slot, b"2");
    let written = job.queue.write(&job.socket);
    assert_eq!(written.outcome, Outcome::Full);
    assert!(matches!(slot.put_back(job, Outcome::Full), (Next::Spilled, None)));
    assert_eq!(settle(&mut slot, b"own"), Settled::Rest(b"12own".to_vec()));
    assert!(matches!(slot, Slot::Idle(_)));
    assert_eq!(settle(&mut slot, b"own"), Settled::Nothing, "all is with Node");
    assert_eq!(read_all(&peer).0.len(), zeros);
}

#[test]
fn what_has_spilled_is_written_if_there_is_room_by_now() {
    let (node, peer) = pair();
    fill(&node);
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    append(&mut slot, b"1");
    assert!(matches!(slot.write(), Some((_, Next::Spilled))));
    read_all(&peer);
    let (settled, written) = slot.settle(b"own");
    assert_eq!(settled, Settled::All);
    assert_eq!(written.map(|written| (written.frames, written.bytes)), Some((1, 4)), "Node's is no frame");
    assert_eq!(read_all(&peer).0, b"1own");
}

#[test]
fn node_writes_behind_what_waits() {
    let (node, peer) = pair();
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    assert_eq!(settle(&mut slot, b"0"), Settled::Nothing, "Node writes it itself");
    append(&mut slot, b"1");
    append(&mut slot, b"2");
    assert_eq!(settle(&mut slot, b"3"), Settled::All);
    append(&mut slot, b"4");
    assert_eq!(settle(&mut slot, b""), Settled::All);
    assert_eq!(read_all(&peer).0, b"1234");
}

#[test]
fn a_connection_that_breaks_while_node_settles_is_for_node_to_notice() {
    let (node, peer) = pair();
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    append(&mut slot, b"1");
    drop(peer);
    assert_eq!(settle(&mut slot, b"own"), Settled::Rest(b"1own".to_vec()));
    assert_eq!(slot.take_errno(), 0);
}

#[test]
fn node_waits_for_a_writer_in_its_call() {
    let (node, _peer) = pair();
    for (behind, rest) in [(&b""[..], Settled::Nothing), (&b"2"[..], Settled::All)] {
        let mut slot = Slot::default();
        slot.lend(lent(&node));
        append(&mut slot, b"1");
        let job = slot.take().unwrap();
        if !behind.is_empty() {
            append(&mut slot, behind);
        }
        assert_eq!(settle(&mut slot, b"own"), Settled::Busy);
        assert!(matches!(slot, Slot::Writing { then: Then::GoOn, .. }), "it has not said that it waits");
        slot.wait();
        let done = Job { queue: Queue::default(), ..job };
        assert!(matches!(slot.put_back(done, Outcome::Done), (Next::Awaited, None)));
        assert!(slot.take().is_none(), "what has come since is not the writer's");
        assert_eq!(settle(&mut slot, b""), rest);
    }
}

#[test]
fn only_a_slot_in_a_call_is_waited_for() {
    let (node, _peer) = pair();
    for (name, mut slot, _job) in in_each_state(&node) {
        let before = std::mem::discriminant(&slot);
        assert_eq!(slot.is_in_call(), name.starts_with("writing"));
        slot.wait();
        assert_eq!(std::mem::discriminant(&slot), before, "{name}");
    }
}

#[test]
fn an_error_is_told_once() {
    let (node, peer) = pair();
    let mut slot = Slot::default();
    slot.lend(lent(&node));
    append(&mut slot, b"1");
    drop(peer);
    assert!(matches!(slot.write(), Some((_, Next::Failed))));
    assert_eq!(settle(&mut slot, b"own"), Settled::Nothing, "what waited is dropped");
    assert_eq!(slot.take_errno(), rustix::io::Errno::PIPE.raw_os_error());
    assert!(matches!(slot, Slot::HungUp));
    assert_eq!(slot.take_errno(), 0);
}

#[test]
fn hanging_up_closes_the_socket_in_every_state() {
    for at in 0..7 {
        for is_released in [false, true] {
            let (node, peer) = pair();
            let (name, mut slot, job) = in_each_state(&node).swap_remove(at);
            if is_released {
                assert!(slot.release(), "{name}");
                assert!(matches!(slot, Slot::Free), "{name}");
            } else {
                slot.hang_up();
                assert!(matches!(slot, Slot::HungUp), "{name}");
            }
            drop(node);
            assert_eq!(job.is_some(), !read_all(&peer).1, "{name}: only the writer's is still open");
            if let Some(job) = job {
                let (next, left) = slot.put_back(job, Outcome::Full);
                assert_eq!(next, Next::Nothing, "{name}");
                drop(left);
                assert!(read_all(&peer).1, "{name}");
            }
        }
    }
}

#[test]
fn the_writer_does_not_put_back_into_another_connection() {
    let (old, old_peer) = pair();
    let (new, new_peer) = pair();
    let mut slot = Slot::default();
    slot.lend(lent(&old));
    append(&mut slot, b"old");
    let job = slot.take().unwrap();
    slot.release();
    slot.lend(lent(&new));
    append(&mut slot, b"new");
    let (next, left) = slot.put_back(job, Outcome::Full);
    assert_eq!(next, Next::Nothing);
    assert_eq!(left.unwrap().queue.into_bytes(), b"old");
    assert!(matches!(slot.write(), Some((_, Next::Nothing))));
    assert_eq!(read_all(&new_peer).0, b"new");
    drop(old);
    assert_eq!(read_all(&old_peer), (Vec::new(), true));
}

#[test]
fn without_a_writer_what_waits_is_for_js() {
    let (node, peer) = pair();
    for (name, mut slot, _job) in in_each_state(&node) {
        let before = std::mem::discriminant(&slot);
        assert_eq!(slot.orphan(), name == "queued", "{name}");
        if name == "queued" {
            assert_eq!(append(&mut slot, b"2"), Appended::Behind);
            assert_eq!(settle(&mut slot, b"3"), Settled::All);
            assert_eq!(read_all(&peer).0, b"123");
        } else {
            assert_eq!(std::mem::discriminant(&slot), before, "{name}");
        }
    }
}

#[test]
fn at_the_end_what_waits_is_taken_out_and_the_slot_hung_up() {
    let (node, _peer) = pair();
    for (name, mut slot, _job) in in_each_state(&node) {
        let before = std::mem::discriminant(&slot);
        match slot.take_last() {
            Some(job) => {
                assert!(["queued", "spilled"].contains(&name), "{name}");
                assert_eq!(job.queue.into_bytes(), b"1");
                assert!(matches!(slot, Slot::HungUp), "{name}");
            }
            None => assert_eq!(std::mem::discriminant(&slot), before, "{name}"),
        }
    }
}

#[test]
fn a_slot_is_small() {
    assert!(size_of::<std::sync::Mutex<Slot>>() <= 96, "{}", size_of::<std::sync::Mutex<Slot>>());
}
