//! Bytes that came.

use super::QUIET_USES;
use crate::transport::resp::{Message, ProtocolError, Reply, Scanner};

/// What one read takes at most unless a large reply is under way: some 250 messages of 200 B, so that the system
/// call is shared by many.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// From here on the next read goes to the front of the buffer again. Until then what was read stays behind.
pub(super) const TURN: usize = READ_SIZE / 4;

/// Bytes that came, up to the next whole reply, and the last replies that were taken.
pub(crate) struct ReadBuffer {
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
    pub(crate) fn new() -> Self {
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
    pub(crate) fn room(&mut self) -> &mut [u8] {
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
    pub(crate) fn filled(&mut self, len: usize) {
        if len > 0 && self.turned.take().is_some() {
            self.taken = 0;
        }
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// Takes the next whole reply off the front.
    pub(crate) fn next_reply(&mut self) -> Result<Option<Reply<'_>>, ProtocolError> {
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
    pub(crate) fn forget_taken(&mut self) {
        self.taken = self.start;
        self.turned = None;
    }

    /// Returns the messages among the replies that were taken last: all since [`ReadBuffer::forget_taken`], or of those
    /// the last, at least what the last read has brought.
    pub(crate) fn taken(&self) -> impl Iterator<Item = Message<'_>> {
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
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
