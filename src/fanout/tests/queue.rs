use super::*;
use crate::fanout::queue::{Outcome, Queue};

#[test]
fn frames_are_written_in_order_and_counted() {
    let (node, peer) = pair();
    let mut queue = Queue::default();
    assert!(queue.is_empty());
    // More than go into a system call.
    let expected: Vec<u8> = (0..200).collect();
    expected.iter().for_each(|&byte| queue.push(frame(&[byte])));
    assert_eq!(queue.bytes(), 200);
    let written = queue.write(&lent(&node));
    assert_eq!((written.outcome, written.frames, written.bytes), (Outcome::Done, 200, 200));
    assert!(queue.is_empty());
    assert_eq!(queue.bytes(), 0);
    assert_eq!(read_all(&peer).0, expected);
}

#[test]
fn what_the_kernel_does_not_take_stays_and_no_byte_of_it_is_written_twice() {
    let (node, peer) = pair();
    let frames: Vec<Vec<u8>> = (0..200_u8).map(|byte| vec![byte; 1 + usize::from(byte) * 7]).collect();
    let mut queue = Queue::default();
    frames.iter().for_each(|bytes| queue.push(frame(bytes)));
    let socket = lent(&node);
    let (mut read, mut counted, mut bytes, mut rounds) = (Vec::new(), 0, 0, 0);
    loop {
        let written = queue.write(&socket);
        counted += written.frames;
        bytes += written.bytes;
        rounds += 1;
        read.extend(read_all(&peer).0);
        assert_eq!(queue.bytes(), frames.concat().len() - read.len());
        if written.outcome == Outcome::Done {
            break;
        }
        assert_eq!(written.outcome, Outcome::Full);
    }
    assert!(rounds > 2, "the buffer is small");
    assert_eq!((counted, bytes), (200, read.len() as u64));
    assert!(read == frames.concat());
}

#[test]
fn the_rest_is_what_was_not_written_and_what_was_appended() {
    let (node, peer) = pair();
    let bytes: Vec<u8> = (0..LARGE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut queue = Queue::of(frame(&bytes));
    assert_eq!(queue.write(&lent(&node)).outcome, Outcome::Full);
    let mut later = Queue::of(frame(b"1"));
    later.push(frame(b"2"));
    queue.append(later);
    let mut all = read_all(&peer).0;
    all.extend(queue.into_bytes());
    assert!(all == [&bytes[..], b"12"].concat());
}

#[test]
fn a_broken_connection_is_told() {
    let (node, peer) = pair();
    drop(peer);
    let broken = rustix::io::Errno::PIPE.raw_os_error();
    assert_eq!(Queue::of(frame(b"1")).write(&lent(&node)).outcome, Outcome::Failed(broken));
}
