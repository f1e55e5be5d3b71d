//! The orders in which the JS thread and the writer can get on, as far as they meet at locks: all of those in which they
//! are taken off four times or less. With each time more there are about ten times as many orders.
//! `cargo test --no-default-features --features interleavings --lib fanout`.
//!
//! The sockets are real ones: what a system call does depends on nothing but the order of the calls.

use super::*;
use crate::fanout::slot::Settled;
use crate::fanout::writer::FAULT;

fn in_all_orders(test: impl Fn() + Send + Sync + 'static) {
    let mut orders = loom::model::Builder::new();
    orders.preemption_bound = Some(4);
    orders.check(test);
}

/// Node writes, as JS has to do it.
fn write(hub: &mut Hub, slot: u32, node: &UnixStream, own: &[u8]) {
    loop {
        let rest = match hub.settle(slot, own) {
            Settled::Nothing => own.to_vec(),
            Settled::All => return,
            Settled::Rest(rest) => rest,
            Settled::Busy => {
                // The report comes, whatever the writer does meanwhile.
                while !hub.take_reports(9).contains(&slot) {
                    loom::thread::yield_now();
                }
                continue;
            }
        };
        assert_eq!(write_some(node, &rest), rest.len());
        return;
    }
}

#[test]
fn node_writes_behind_what_was_pushed_and_before_what_is() {
    in_all_orders(|| {
        let (node, peer) = pair();
        let mut hub = hub();
        let slot = adopt(&mut hub, &node);
        assert!(push(&mut hub, b"1", &[slot]).is_empty());
        assert!(push(&mut hub, b"2", &[slot]).is_empty());
        write(&mut hub, slot, &node, b"3");
        assert!(push(&mut hub, b"4", &[slot]).is_empty());
        write(&mut hub, slot, &node, b"5");
        drop(hub);
        assert_eq!(read_all(&peer).0, b"12345");
    });
}

#[test]
fn what_the_kernel_does_not_take_is_handed_over() {
    in_all_orders(|| {
        let (node, peer) = pair();
        let zeros = fill(&node);
        let mut hub = hub();
        let slot = adopt(&mut hub, &node);
        let mut expected = vec![0; zeros];
        let mut later = Vec::new();
        assert!(push(&mut hub, b"1", &[slot]).is_empty());
        // It has spilled, or not yet.
        if push(&mut hub, b"2", &[slot]).is_empty() {
            expected.extend(b"12");
        } else {
            expected.extend(b"1");
            later.push(b'2');
        }
        let mut all = read_all(&peer).0;
        later.push(b'3');
        write(&mut hub, slot, &node, &later);
        expected.extend(&later);
        drop(hub);
        all.extend(read_all(&peer).0);
        assert!(all == expected);
    });
}

#[test]
fn a_number_that_another_connection_gets_is_not_mixed_up() {
    in_all_orders(|| {
        let (old, old_peer) = pair();
        let (new, new_peer) = pair();
        let mut hub = hub();
        let slot = adopt(&mut hub, &old);
        push(&mut hub, b"1", &[slot]);
        hub.hang_up(slot);
        hub.release(slot);
        assert_eq!(adopt(&mut hub, &new), slot);
        assert!(push(&mut hub, b"2", &[slot]).is_empty());
        write(&mut hub, slot, &new, b"3");
        drop(hub);
        drop(old);
        let (bytes, is_end) = read_all(&old_peer);
        assert!(is_end && b"1".starts_with(&bytes));
        drop(new);
        assert_eq!(read_all(&new_peer), (b"23".to_vec(), true));
    });
}

#[test]
fn at_the_end_of_the_process_nothing_is_left() {
    in_all_orders(|| {
        let connections = [pair(), pair()];
        let mut hub = hub();
        let slots = [adopt(&mut hub, &connections[0].0), adopt(&mut hub, &connections[1].0)];
        push(&mut hub, b"1", &slots);
        push(&mut hub, b"2", &slots[..1]);
        hub.drain(std::time::Duration::ZERO);
        assert_eq!(read_all(&connections[0].1).0, b"12");
        assert_eq!(read_all(&connections[1].1).0, b"1");
    });
}

#[test]
fn a_writer_that_panics_loses_nothing() {
    in_all_orders(|| {
        let connections = [pair(), pair()];
        let mut hub = hub();
        let slots = [adopt(&mut hub, &connections[0].0), adopt(&mut hub, &connections[1].0)];
        push(&mut hub, FAULT, &slots[..1]);
        for (at, &slot) in slots.iter().enumerate() {
            let node = &connections[at].0;
            if push(&mut hub, b"1", &[slot]).contains(&slot) {
                write(&mut hub, slot, node, b"1");
            }
            write(&mut hub, slot, node, b"2");
        }
        drop(hub);
        assert_eq!(read_all(&connections[0].1).0, [FAULT, b"12"].concat());
        assert_eq!(read_all(&connections[1].1).0, b"12");
    });
}
