use super::read::{READ_SIZE, TURN};
use super::write::KEEP;
use super::*;
use crate::transport::ChannelKind;
use crate::transport::resp::Reply;

fn fill(buffer: &mut ReadBuffer, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = buffer.room();
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        buffer.filled(len);
        bytes = &bytes[len..];
    }
}

fn bulk(len: usize) -> Vec<u8> {
    let mut bytes = format!("${len}\r\n").into_bytes();
    bytes.resize(bytes.len() + len, b'x');
    bytes.extend(b"\r\n");
    bytes
}

#[test]
fn a_read_buffer_grows_for_a_large_reply_and_shrinks_again() {
    let mut buffer = ReadBuffer::new();
    fill(&mut buffer, b":1\r\n");
    assert_eq!(buffer.next_reply(), Ok(Some(Reply::Integer(1))));
    assert_eq!(buffer.capacity(), READ_SIZE);
    fill(&mut buffer, &bulk(3_000_000));
    assert!(matches!(buffer.next_reply(), Ok(Some(Reply::Bulk(bulk))) if bulk.len() == 3_000_000));
    for _ in 0..=QUIET_USES + 1 {
        assert_eq!(buffer.next_reply(), Ok(None));
        fill(&mut buffer, b":1\r\n");
        assert_eq!(buffer.next_reply(), Ok(Some(Reply::Integer(1))));
    }
    assert_eq!(buffer.capacity(), READ_SIZE);
}

#[test]
fn what_was_taken_last_can_be_read_again() {
    let message = |number: usize| {
        let payload = format!("{number:0>100}");
        let text = format!("*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$100\r\n{payload}\r\n");
        (payload, text.into_bytes())
    };
    let mut buffer = ReadBuffer::new();
    let mut last = 0;
    for (number, more) in (0..10 * READ_SIZE / 100).zip([0, 50, 0, 0, 3].into_iter().cycle()) {
        // In one piece, or in two reads.
        let (payload, text) = message(number);
        let (first, second) = text.split_at(more);
        fill(&mut buffer, b":1\r\n");
        while buffer.next_reply().unwrap().is_some() {}
        for part in [first, second] {
            fill(&mut buffer, part);
            while buffer.next_reply().unwrap().is_some() {}
            // A read that brings nothing.
            buffer.room();
            buffer.filled(0);
        }
        let taken: Vec<String> =
            buffer.taken().map(|one| String::from_utf8_lossy(one.payload).into_owned()).collect();
        assert_eq!(taken.last(), Some(&payload));
        let all: Vec<String> = (0..=number).map(|number| message(number).0).collect();
        assert!(all.ends_with(&taken));
        assert!(taken.len() <= last + 1 && taken.len() <= TURN / 100);
        last = taken.len();
    }
    buffer.forget_taken();
    assert_eq!(buffer.taken().count(), 0);
    fill(&mut buffer, &message(0).1);
    assert!(matches!(buffer.next_reply(), Ok(Some(Reply::Message(_)))));
    assert_eq!(buffer.taken().count(), 1);
    // The same for a buffer that has shrunk.
    fill(&mut buffer, &bulk(3_000_000));
    assert!(matches!(buffer.next_reply(), Ok(Some(Reply::Bulk(_)))));
    for _ in 0..=QUIET_USES + 1 {
        buffer.room();
    }
    assert_eq!((buffer.capacity(), buffer.taken().count()), (READ_SIZE, 0));
}

#[test]
fn a_promised_length_takes_no_memory() {
    let mut buffer = ReadBuffer::new();
    fill(&mut buffer, b"$500000000\r\nabc");
    assert_eq!(buffer.next_reply(), Ok(None));
    assert!(!buffer.room().is_empty());
    assert!(buffer.capacity() <= 2 * READ_SIZE);
}

#[test]
fn replies_split_over_reads_keep_their_order() {
    let mut input = Vec::new();
    for number in 0..50_000 {
        input.extend(format!(":{number}\r\n").into_bytes());
    }
    let mut buffer = ReadBuffer::new();
    let mut next = 0;
    for chunk in input.chunks(7919) {
        fill(&mut buffer, chunk);
        while let Some(reply) = buffer.next_reply().unwrap() {
            assert_eq!(reply, Reply::Integer(next));
            next += 1;
        }
    }
    assert_eq!(next, 50_000);
}

#[test]
fn counts_commands_that_are_not_begun() {
    let mut buffer = WriteBuffer::new();
    for _ in 0..3 {
        write_publish(buffer.commands(), ChannelKind::Global, b"channel", b"payload");
        write_count(buffer.commands(), ChannelKind::Global, &[b"channel"]);
    }
    assert_eq!(buffer.unwritten_commands(), 6);
    buffer.wrote(1);
    assert_eq!(buffer.unwritten_commands(), 5);
    let left = buffer.unwritten().len();
    buffer.wrote(left - 1);
    assert_eq!(buffer.unwritten_commands(), 0);
    buffer.wrote(1);
    assert!(buffer.unwritten().is_empty());
}

#[test]
fn a_backlog_that_never_empties_does_not_grow() {
    let mut buffer = WriteBuffer::new();
    let payload = vec![b'x'; 1000];
    write_publish(buffer.commands(), ChannelKind::Global, b"channel", &payload);
    let command = buffer.unwritten().len();
    for _ in 0..199 {
        write_publish(buffer.commands(), ChannelKind::Global, b"channel", &payload);
    }
    for round in 1..20_000 {
        write_publish(buffer.commands(), ChannelKind::Global, b"channel", &payload);
        buffer.wrote(command);
        assert_eq!(buffer.unwritten().len(), 200 * command);
        assert!(buffer.unwritten().starts_with(b"*3\r\n"), "round {round}");
    }
    assert_eq!(buffer.unwritten_commands(), 200);
    assert!(buffer.bytes.capacity() < 4 * KEEP);
}

#[test]
fn a_burst_gives_its_memory_back() {
    let mut buffer = WriteBuffer::new();
    write_publish(buffer.commands(), ChannelKind::Global, b"channel", &vec![b'x'; 10 * KEEP]);
    for _ in 0..=QUIET_USES + 1 {
        let len = buffer.unwritten().len();
        buffer.wrote(len);
        write_publish(buffer.commands(), ChannelKind::Global, b"channel", b"payload");
    }
    assert!(buffer.bytes.capacity() <= KEEP);
}
