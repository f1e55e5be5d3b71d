//! Bytes on their way: those that came and are not parsed, those that are to be written, and how commands are written.

mod command;

pub(super) use command::{MAX_NAMES, write_args, write_count, write_names, write_publish};

use crate::transport::resp::{Message, ProtocolError, Reply, Scanner};

/// What one read takes at most unless a large reply is under way: some 250 messages of 200 B, so that the system
/// call is shared by many.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// From here on the next read goes to the front of the buffer again. Until then what was read stays behind.
const TURN: usize = READ_SIZE / 4;

/// What a write buffer keeps when it is empty: several ticks' worth of publishes.
const KEEP: usize = 256 * 1024;

/// After how many uses that did not need it an outgrown buffer shrinks again. A lone large message costs its
/// memory for a moment; a stream of them does not allocate each time.
const QUIET_USES: u32 = 64;

/// Bytes that came, up to the next whole reply, and the last replies that were taken.
pub(super) struct ReadBuffer {
    /// All of it is initialised; what counts is `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the replies begin that were taken last; they end at `start`.
    taken: usize,
    /// Where they end as long as `start` is at the front and nothing has come since.
    turned: Option<usize>,
    scanner: Scanner,
    quiet: u32,
}

impl ReadBuffer {
    /// Returns an empty buffer that allocates with its first use.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
            taken: 0,
            turned: None,
            scanner: Scanner::default(),
            quiet: 0,
        }
    }

    /// Returns the room for the next read, never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 && self.end >= TURN {
            self.turned = Some(self.start);
            if self.start < self.end {
                // What is left is a part of one reply, moved at most once: it then stands at the front.
                self.bytes.copy_within(self.start..self.end, 0);
                self.turned = Some(0);
            }
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() > READ_SIZE && self.end + READ_SIZE / 4 < READ_SIZE {
            self.quiet += 1;
            if self.quiet > QUIET_USES {
                self.bytes.truncate(READ_SIZE);
                self.bytes.shrink_to_fit();
            }
        }
        if self.bytes.len() - self.end < READ_SIZE / 4 {
            // Doubling, not the length that was promised: the memory follows what really comes.
            let doubled = (self.bytes.len() * 2).max(READ_SIZE);
            let needed = self.scanner.need().next_multiple_of(READ_SIZE).max(READ_SIZE);
            let grown = doubled.min(needed).max(self.end + 1);
            if grown > self.bytes.len() {
                self.bytes.resize(grown, 0);
            }
        }
        if self.end >= READ_SIZE {
            self.quiet = 0;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Takes note that `len` bytes of the room were filled.
    pub(super) fn filled(&mut self, len: usize) {
        if len > 0 && self.turned.take().is_some() {
            self.taken = 0;
        }
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// Takes the next whole reply off the front.
    pub(super) fn next_reply(&mut self) -> Result<Option<Reply<'_>>, ProtocolError> {
        let input = self.bytes.get(self.start..self.end).unwrap_or_default();
        if self.scanner.is_fresh()
            && let Some((message, len)) = Message::take(input)
        {
            self.start += len;
            return Ok(Some(Reply::Message(message)));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let Some(len) = self.scanner.scan(input)? else {
            return Ok(None);
        };
        self.start += len;
        Reply::of(input.get(..len).unwrap_or_default()).map(Some)
    }

    /// Forgets the replies that were taken.
    pub(super) fn forget_taken(&mut self) {
        self.taken = self.start;
        self.turned = None;
    }

    /// Returns the messages among the replies that were taken last: all since [`ReadBuffer::forget_taken`], or of those
    /// the last, at least what the last read has brought.
    pub(super) fn taken(&self) -> impl Iterator<Item = Message<'_>> {
        let end = self.turned.unwrap_or(self.start);
        let mut rest = self.bytes.get(self.taken..end).unwrap_or_default();
        std::iter::from_fn(move || {
            loop {
                let message = Message::take(rest);
                let len = match &message {
                    Some((_, len)) => *len,
                    None => Scanner::default().scan(rest).ok().flatten()?,
                };
                rest = rest.get(len..)?;
                if let Some((message, _)) = message {
                    return Some(message);
                }
            }
        })
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Commands that are to be written; begins with a whole command, of which some may be written.
pub(super) struct WriteBuffer {
    bytes: Vec<u8>,
    written: usize,
    quiet: u32,
}

impl WriteBuffer {
    /// Returns an empty buffer.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), written: 0, quiet: 0 }
    }

    /// Returns the place to append commands to.
    pub(super) fn commands(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns what is to be written.
    pub(super) fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Takes note that `len` bytes more are written.
    pub(super) fn wrote(&mut self, len: usize) {
        self.written = (self.written + len).min(self.bytes.len());
        if self.written == self.bytes.len() {
            self.empty();
        } else if self.written > KEEP && self.written > self.bytes.len() / 2 {
            let whole = self.whole_written();
            self.bytes.drain(..whole);
            self.written -= whole;
        }
    }

    /// Returns how many commands there are of which not a byte is written: the last ones that were appended.
    pub(super) fn unwritten_commands(&self) -> u64 {
        let mut commands = 0;
        self.walk(|start, _| commands += u64::from(start >= self.written));
        commands
    }

    /// Forgets all commands.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }

    fn empty(&mut self) {
        if self.bytes.capacity() > KEEP {
            let large = self.bytes.len() > KEEP;
            self.quiet = if large { 0 } else { self.quiet + 1 };
            if self.quiet > QUIET_USES {
                self.quiet = 0;
                self.bytes = Vec::with_capacity(KEEP);
            }
        }
        self.clear();
    }

    /// The length of the commands at the front that are written whole.
    fn whole_written(&self) -> usize {
        let mut whole = 0;
        self.walk(|start, command| {
            let end = start + command.len();
            if end <= self.written {
                whole = end;
            }
        });
        whole
    }

    /// Visits the commands in order. They were written here, so they are their own record: the hot path keeps none.
    fn walk(&self, mut visit: impl FnMut(usize, &[u8])) {
        let mut scanner = Scanner::default();
        let mut start = 0;
        while let Some(rest) = self.bytes.get(start..)
            && !rest.is_empty()
            && let Ok(Some(len)) = scanner.scan(rest)
        {
            visit(start, rest.get(..len).unwrap_or_default());
            start += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Space;
    use crate::transport::redis::buffer::{write_count, write_publish};

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
            // Whole, or in two reads.
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
        // Even of a buffer that has shrunk.
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
            write_publish(buffer.commands(), Space::Global, b"channel", b"payload");
            write_count(buffer.commands(), Space::Global, &[b"channel"]);
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
        write_publish(buffer.commands(), Space::Global, b"channel", &payload);
        let command = buffer.unwritten().len();
        for _ in 0..199 {
            write_publish(buffer.commands(), Space::Global, b"channel", &payload);
        }
        for round in 1..20_000 {
            write_publish(buffer.commands(), Space::Global, b"channel", &payload);
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
        write_publish(buffer.commands(), Space::Global, b"channel", &vec![b'x'; 10 * KEEP]);
        for _ in 0..=QUIET_USES + 1 {
            let len = buffer.unwritten().len();
            buffer.wrote(len);
            write_publish(buffer.commands(), Space::Global, b"channel", b"payload");
        }
        assert!(buffer.bytes.capacity() <= KEEP);
    }
}
