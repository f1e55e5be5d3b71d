use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::fanout::hub::HELD;
use crate::fanout::slot::Settled;
use crate::fanout::sys::{self, Refusal};
use crate::fanout::writer::FAULT;

/// How long anything may take, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// Reads until so many bytes are there.
fn read(peer: &UnixStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    until("bytes", || {
        all.extend(read_all(peer).0);
        all.len() >= count
    });
    all
}

/// A hub whose writer stands still, in the middle of telling JS of a slot that has spilled, until `go_on` is dropped.
struct Held {
    hub: Hub,
    full: (UnixStream, UnixStream),
    slot: u32,
    // Declared after the hub in each test, and so dropped before it: the hub waits for its writer.
    go_on: Sender<()>,
}

fn held(max_waiting: usize) -> Held {
    held_with(Bounds { max_bytes: LARGE, max_waiting })
}

fn held_with(bounds: Bounds) -> Held {
    let (inside, is_inside) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = Mutex::new(may_go_on);
    let tell_js = move || {
        let _ = inside.send(());
        // There is no sender any more when it returns, now and later.
        let _: Result<(), _> = may_go_on.lock().unwrap().recv();
    };
    let mut hub = Hub::new(bounds, Box::new(tell_js));
    let full = pair();
    fill(&full.0);
    let slot = adopt(&mut hub, &full.0);
    push(&mut hub, b"spilled", &[slot]);
    is_inside.recv().unwrap();
    Held { hub, full, slot, go_on }
}

fn adopt_many(hub: &mut Hub, count: usize) -> Vec<(UnixStream, UnixStream, u32)> {
    (0..count)
        .map(|_| {
            let (node, peer) = pair();
            let slot = adopt(hub, &node);
            (node, peer, slot)
        })
        .collect()
}

#[test]
fn everybody_gets_each_frame_in_order() {
    let mut hub = hub();
    let all = adopt_many(&mut hub, 20);
    let slots: Vec<u32> = all.iter().map(|(.., slot)| *slot).collect();
    assert_eq!(slots, (0..20).collect::<Vec<_>>());
    for bytes in [b"one ", b"two ", b"last"] {
        assert!(push(&mut hub, bytes, &slots).is_empty());
    }
    for (_, peer, _) in &all {
        assert_eq!(read(peer, 12), b"one two last");
    }
    let stats = hub.stats();
    assert_eq!((stats.lent, stats.pushed, stats.is_dead), (20, 60, false));
    until("they are counted", || hub.stats().written == 60 && hub.stats().bytes == 240);
}

#[test]
fn nobody_gets_a_frame_twice_and_who_is_excepted_never() {
    let mut hub = hub();
    let all = adopt_many(&mut hub, 4);
    let (flags, refused) = (words(&[0; 4]), words(&[0; 4]));
    let push = |hub: &mut Hub, slots: &[i32]| {
        hub.push(Push { slots: &words(slots), flags: &flags, refused: &refused, is_volatile: false })
    };
    for bytes in [b"1", b"2"] {
        hub.load(bytes);
        hub.except(&words(&[3]));
        assert_eq!(push(&mut hub, &[0, 1, 1]), 0);
        assert_eq!(push(&mut hub, &[1, 3, 2]), 0);
        assert_eq!(push(&mut hub, &[0, 1, 2, 3]), 0);
    }
    hub.unload();
    assert_eq!(push(&mut hub, &[0, 1, 2, 3]), 0);
    assert_eq!(numbers(&flags), [HELD, HELD, HELD, 0]);
    assert_eq!(hub.stats().pushed, 6);
    for slot in 0..4 {
        hub.settle(slot, b"");
    }
    drop(hub);
    let read: Vec<_> = all.iter().map(|(_, peer, _)| read_all(peer).0).collect();
    assert_eq!(read, [b"12".to_vec(), b"12".to_vec(), b"12".to_vec(), Vec::new()]);
}

#[test]
fn a_connection_that_gets_the_number_of_another_one_has_had_nothing() {
    let mut hub = hub();
    let (node, _peer) = pair();
    let slot = adopt(&mut hub, &node);
    hub.load(b"1");
    hub.except(&words(&[0]));
    hub.release(slot);
    let (node, peer) = pair();
    assert_eq!(adopt(&mut hub, &node), slot);
    let (flags, refused) = (words(&[0]), words(&[0]));
    let push = Push { slots: &words(&[0]), flags: &flags, refused: &refused, is_volatile: false };
    assert_eq!(hub.push(push), 0);
    assert_eq!(read(&peer, 1), b"1");
}

#[test]
fn who_is_not_to_be_had_is_told_once() {
    let mut hub = hub();
    let all = adopt_many(&mut hub, 4);
    hub.hang_up(2);
    let flags = words(&[0, 1, 0, HELD]);
    let slots = words(&[-1, 0, 1, 2, 3, 4, 65_536, i32::MAX, i32::MIN, 1, 2]);
    let refused = words(&[77; 11]);
    hub.load(b"1");
    let push = Push { slots: &slots, flags: &flags, refused: &refused, is_volatile: false };
    assert_eq!(hub.push(push), 7);
    assert_eq!(numbers(&refused)[..8], [-1, 1, 2, 4, 65_536, i32::MAX, i32::MIN, 77]);
    assert_eq!(numbers(&flags), [HELD, 1, 0, HELD]);
    // Flags that are not there are not 0.
    hub.load(b"2");
    assert_eq!(hub.push(Push { flags: &flags[..3], slots: &words(&[3]), ..push }), 1);
    // Without room to tell of all, nobody gets anything.
    hub.load(b"3");
    assert_eq!(hub.push(Push { refused: &refused[..10], ..push }), 0);
    hub.load(b"");
    assert_eq!(hub.push(push), 0);
    assert_eq!(hub.stats().pushed, 2);
    assert_eq!((read(&all[0].1, 1), read(&all[3].1, 1)), (b"1".to_vec(), b"1".to_vec()));
}

#[test]
fn all_arrays_may_be_the_same() {
    let mut hub = hub();
    let all = adopt_many(&mut hub, 2);
    let same = words(&[0, 1]);
    hub.load(b"1");
    // The flags of slot 1 are its number, which is not 0.
    let push = Push { slots: &same, flags: &same, refused: &same, is_volatile: false };
    assert_eq!(hub.push(push), 1);
    assert_eq!(read(&all[0].1, 1), b"1");
}

#[test]
fn no_more_than_the_bound_waits() {
    let mut hub = Hub::new(Bounds { max_bytes: 10, max_waiting: LARGE }, Box::new(|| {}));
    let all = adopt_many(&mut hub, 2);
    assert_eq!(push(&mut hub, b"123456789ab", &[0, 1]), [0, 1], "it would be too much for any");
    fill(&all[0].0);
    for round in 0..4 {
        until("the writer is done", || hub.stats().waiting == 0);
        let refused = push(&mut hub, b"1234", &[0, 1]);
        assert_eq!(refused, if round < 2 { vec![] } else { vec![0] }, "{round}");
        assert_eq!(read(&all[1].1, 4), b"1234", "{round}");
    }
    assert_eq!(hub.settle(0, b""), Settled::Rest(b"12341234".to_vec()));
    read_all(&all[0].1);
    assert!(push(&mut hub, b"123456789a", &[0]).is_empty(), "nothing waits any more");
    assert_eq!(read(&all[0].1, 10), b"123456789a");
}

#[test]
fn what_waits_in_lists_counts() {
    let Held { mut hub, go_on, full: _full, .. } = held_with(Bounds { max_bytes: 10, max_waiting: LARGE });
    let all = adopt_many(&mut hub, 2);
    for round in 0..4 {
        assert_eq!(push(&mut hub, b"1234", &[1]), if round < 2 { vec![] } else { vec![1] }, "{round}");
    }
    assert!(push(&mut hub, b"5678", &[2]).is_empty());
    drop(go_on);
    assert_eq!(read(&all[0].1, 8), b"12341234");
    assert_eq!(read(&all[1].1, 4), b"5678");
}

#[test]
fn many_that_node_writes_to_are_settled_in_one_go() {
    let Held { mut hub, go_on, full: _full, .. } = held(LARGE);
    let all = adopt_many(&mut hub, 200);
    let slots: Vec<u32> = all.iter().map(|(.., slot)| *slot).collect();
    push(&mut hub, b"1", &slots);
    push(&mut hub, b"2", &slots);
    for (_, peer, slot) in &all {
        assert_eq!(hub.settle(*slot, b"3"), Settled::All);
        assert_eq!(read_all(peer).0, b"123");
    }
    assert_eq!(hub.listed(), 0, "the lists are not looked through for each of them");
    drop(go_on);
}

#[test]
fn node_writes_behind_what_was_pushed_though_the_writer_has_not_come_to_it() {
    let Held { mut hub, go_on, full: _full, .. } = held(LARGE);
    let all = adopt_many(&mut hub, 3);
    for bytes in [b"1", b"2"] {
        push(&mut hub, bytes, &[1, 2, 3]);
    }
    assert_eq!(hub.stats().waiting, 6);
    assert_eq!(hub.settle(2, b"own"), Settled::All);
    assert_eq!(read_all(&all[1].1).0, b"12own");
    hub.hang_up(3);
    assert_eq!(read_all(&all[2].1).0, b"12", "that of a connection that ends is written");
    hub.release(3);
    let (node, peer) = pair();
    assert_eq!(adopt(&mut hub, &node), 3);
    push(&mut hub, b"3", &[2, 3]);
    drop(go_on);
    assert_eq!(read(&all[0].1, 2), b"12");
    assert_eq!(read(&all[1].1, 1), b"3");
    assert_eq!(read(&peer, 1), b"3", "nothing of the one that had its number");
}

#[test]
fn a_volatile_frame_is_for_those_that_nothing_waits_for() {
    let Held { mut hub, go_on, full: _full, .. } = held(LARGE);
    let all = adopt_many(&mut hub, 2);
    push(&mut hub, b"1", &[all[0].2]);
    let (flags, refused) = (words(&[0; 3]), words(&[0; 2]));
    hub.load(b"2");
    let slots = words(&[1, 2]);
    assert_eq!(hub.push(Push { slots: &slots, flags: &flags, refused: &refused, is_volatile: true }), 0);
    drop(go_on);
    assert_eq!((read(&all[0].1, 1), read(&all[1].1, 1)), (b"1".to_vec(), b"2".to_vec()));
}

#[test]
fn only_streams_are_lent() {
    let mut hub = hub();
    let file = File::open("Cargo.toml").unwrap();
    assert_eq!(hub.adopt(|| Socket::duplicate(file.as_fd())), Err(Refusal::Impossible));
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(hub.adopt(|| Socket::duplicate(datagrams.as_fd())), Err(Refusal::Impossible));
    assert_eq!(hub.stats().lent, 0);
}

#[test]
fn file_descriptors_are_scarce_before_there_are_none() {
    let [scarce, needed] = [Refusal::Scarce, Refusal::Needed].map(Some);
    // Half of a small table is for others, and 1,024 of a large one.
    for (size, last_lent, last_unneeded) in
        [(100, 49, 74), (20_000, 18_975, 19_487), (1 << 20, 1_047_551, 1_048_063)]
    {
        let refusals = [(10, last_lent), (10, last_lent + 1), (last_unneeded, 11), (last_unneeded + 1, 11)]
            .map(|(own, duplicate)| sys::scarcity(own, duplicate, size));
        assert_eq!(refusals, [None, scarce, None, needed], "{size}");
    }
    assert_eq!(sys::scarcity(i32::MAX, i32::MAX, u64::MAX), None);
}

#[test]
fn numbers_are_given_again_and_as_many_as_there_are() {
    let mut hub = hub();
    let (node, _peer) = pair();
    let mut slots: HashSet<u32> = (0..260).map(|_| adopt(&mut hub, &node)).collect();
    assert_eq!(slots.len(), 260);
    for slot in [7, 259, 7, 260, u32::MAX] {
        hub.release(slot);
        slots.remove(&slot);
    }
    assert_eq!(hub.stats().lent, 258);
    for _ in 0..3 {
        assert!(slots.insert(adopt(&mut hub, &node)));
    }
    assert_eq!(hub.stats().lent, 261);
    assert_eq!(slots.into_iter().max(), Some(260));
}

#[test]
fn js_is_told_once_until_it_asks() {
    let told = Arc::new(AtomicUsize::new(0));
    let tell_js = {
        let told = Arc::clone(&told);
        move || {
            told.fetch_add(1, Ordering::SeqCst);
        }
    };
    let mut hub = Hub::new(Bounds { max_bytes: LARGE, max_waiting: LARGE }, Box::new(tell_js));
    let all = adopt_many(&mut hub, 5);
    all.iter().for_each(|(node, ..)| {
        fill(node);
    });
    push(&mut hub, b"1", &[0, 1, 2, 3, 4]);
    until("all have spilled", || hub.stats().spilled == 5);
    assert_eq!(told.load(Ordering::SeqCst), 1, "four of them at least are reported");
    let mut reported = Vec::new();
    until("a report", || {
        reported.extend(hub.take_reports(2));
        reported.len() == 5
    });
    reported.sort_unstable();
    assert_eq!(reported, [0, 1, 2, 3, 4]);
    assert!(hub.take_reports(10).is_empty());
    assert!(push(&mut hub, b"3", &[0]).is_empty());
    assert_eq!(hub.settle(0, b"own"), Settled::Rest(b"13own".to_vec()), "it is JS's in its order");
    read_all(&all[0].1);
    assert!(push(&mut hub, b"4", &[0]).is_empty());
    assert_eq!(read(&all[0].1, 1), b"4");
    // It waits for the writer, which tells of the last one a little after it can be taken.
    drop(hub);
    let told = told.load(Ordering::SeqCst);
    assert!((1..=5).contains(&told), "{told}");
}

#[test]
fn a_broken_connection_is_reported_with_its_error() {
    let mut hub = hub();
    let (node, peer) = pair();
    drop(peer);
    let slot = adopt(&mut hub, &node);
    push(&mut hub, b"1", &[slot]);
    until("a report", || hub.take_reports(9) == [slot]);
    assert_eq!(hub.stats().failed, 1);
    assert!(push(&mut hub, b"2", &[slot]).is_empty(), "it is dropped");
    assert_eq!(hub.take_errno(slot), rustix::io::Errno::PIPE.raw_os_error());
    assert_eq!(hub.take_errno(slot), 0);
    hub.hang_up(slot);
    assert_eq!(push(&mut hub, b"3", &[slot]), [slot]);
}

#[test]
fn what_the_writer_does_not_manage_js_does() {
    let Held { mut hub, go_on, full: _full, .. } = held(5);
    let all = adopt_many(&mut hub, 10);
    let slots: Vec<u32> = all.iter().map(|(.., slot)| *slot).collect();
    push(&mut hub, b"1", &slots[..5]);
    assert_eq!((hub.stats().helped, hub.stats().waiting), (0, 5));
    // Slots with several frames are one each.
    push(&mut hub, b"2", &slots[..5]);
    assert_eq!((hub.stats().helped, hub.stats().waiting), (0, 5));
    push(&mut hub, b"3", &slots);
    let stats = hub.stats();
    assert_eq!((stats.helped, stats.waiting, stats.written), (5, 5, 5));
    assert!(all[..5].iter().all(|(_, peer, _)| read_all(peer).0.is_empty()));
    assert!(all[5..].iter().all(|(_, peer, _)| read_all(peer).0 == b"3"));
    drop(go_on);
    all[..5].iter().for_each(|(_, peer, _)| assert_eq!(read(peer, 3), b"123"));
}

#[test]
fn at_the_end_of_the_process_all_is_written_that_the_kernel_takes() {
    let Held { mut hub, go_on, full, slot } = held(LARGE);
    let all = adopt_many(&mut hub, 10);
    let slots: Vec<u32> = all.iter().map(|(.., slot)| *slot).collect();
    push(&mut hub, b"1", &slots);
    push(&mut hub, b"2", &slots);
    hub.drain(Duration::ZERO);
    all.iter().for_each(|(_, peer, _)| assert_eq!(read_all(peer).0, b"12"));
    let zeros = read_all(&full.1).0;
    assert!(!zeros.contains(&b's'), "its client has not read");
    assert_eq!(hub.settle(slot, b"own"), Settled::Nothing);
    assert_eq!(push(&mut hub, b"3", &[slot]), [slot]);
    drop(go_on);
    drop(hub);
    drop(full.0);
    assert_eq!(read_all(&full.1), (Vec::new(), true));
}

#[test]
fn at_the_end_of_the_process_clients_that_read_are_waited_for() {
    let Held { mut hub, full: (_node, peer), go_on, .. } = held(LARGE);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        until("what has spilled", || {
            all.extend(read_all(&peer).0);
            all.ends_with(b"spilled")
        });
    });
    hub.drain(PATIENCE);
    assert_eq!(hub.stats().written, 1);
    reading.join().unwrap();
    drop(go_on);
}

#[test]
fn a_hub_that_goes_takes_its_thread_and_file_descriptors_with_it() {
    let mut hub = hub();
    let all = adopt_many(&mut hub, 10);
    let slots: Vec<u32> = all.iter().map(|(.., slot)| *slot).collect();
    fill(&all[0].0);
    push(&mut hub, b"1", &slots);
    drop(hub);
    for (node, peer, _) in all {
        drop(node);
        assert!(read_all(&peer).1);
    }
}

#[test]
fn a_writer_that_panics_leaves_all_that_waits_to_js() {
    let Held { mut hub, go_on, full, slot } = held(LARGE);
    let all = adopt_many(&mut hub, 3);
    push(&mut hub, b"1", &[1]);
    push(&mut hub, FAULT, &[2]);
    push(&mut hub, b"2", &[1, 2, 3]);
    drop(go_on);
    until("its death", || hub.stats().is_dead);
    let mut reported = HashSet::new();
    let expected = HashSet::from([slot, 2, 3]);
    until("reports", || {
        reported.extend(hub.take_reports(99));
        reported.len() >= expected.len()
    });
    assert_eq!(reported, expected);
    let (other, _other_peer) = pair();
    assert_eq!(hub.adopt(|| Socket::duplicate(other.as_fd())), Err(Refusal::Impossible));
    assert_eq!(push(&mut hub, b"3", &[0, 1, 2, 3]), [0, 1, 2, 3]);
    assert_eq!(hub.settle(slot, b""), Settled::Rest(b"spilled".to_vec()));
    assert_eq!(hub.settle(1, b"own"), Settled::Nothing);
    assert_eq!(hub.settle(2, b"own"), Settled::All);
    assert_eq!(hub.settle(3, b"own"), Settled::All);
    let read: Vec<_> = all.iter().map(|(_, peer, _)| read_all(peer).0).collect();
    assert_eq!(read, [b"12".to_vec(), [FAULT, b"2own"].concat(), b"2own".to_vec()]);
    drop(full);
}
