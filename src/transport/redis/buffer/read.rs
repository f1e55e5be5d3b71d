//! Bytes that were read.

use super::QUIET_USES;
use crate::transport::resp::{Message, ProtocolError, Reply, Scanner};

/// How many bytes one read takes at most, unless a large reply is incomplete: some 250 messages of 200 B, so
/// that many messages share one system call.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// When the buffer is filled up to here, the next read goes to its front again. Until then the bytes of
/// earlier replies stay where they are.
pub(super) const TURN: usize = READ_SIZE / 4;

/// Bytes that were read up to the next complete reply, and the replies that were taken last.
pub(crate) struct ReadBuffer {
    /// All of it is initialised. Only `start..end` counts.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the replies begin that were taken last. They end at `start`.
    taken: usize,
    /// Where those replies end, if `start` has gone back to the front and nothing was read since.
    turned: Option<usize>,
    /// A message was taken since [`ReadBuffer::take_news`].
    has_news: bool,
    scanner: Scanner,
    quiet: u32,
}

impl ReadBuffer {
    /// Returns an empty buffer. It allocates when it is first used.
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
            taken: 0,
            turned: None,
            has_news: false,
            scanner: Scanner::default(),
            quiet: 0,
        }
    }

    /// Returns the space for the next read. It is never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 && self.end >= TURN {
            self.turned = Some(self.start);
            if self.start < self.end {
                // The rest is part of one reply. It is moved once at most, since it then stands at the front.
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
            // The buffer doubles instead of growing to the announced length, so that memory follows what
            // really arrives.
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

    /// Marks `len` bytes of the space as filled.
    pub(crate) fn filled(&mut self, len: usize) {
        if len > 0 && self.turned.take().is_some() {
            self.taken = 0;
        }
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// Takes the next complete reply off the front.
    pub(crate) fn next_reply(&mut self) -> Result<Option<Reply<'_>>, ProtocolError> {
        let input = self.bytes.get(self.start..self.end).unwrap_or_default();
        if self.scanner.is_fresh()
            && let Some((message, len)) = Message::take(input)
        {
            self.start += len;
            self.has_news = true;
            return Ok(Some(Reply::Message(message)));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let Some(len) = self.scanner.scan(input)? else {
            return Ok(None);
        };
        self.start += len;
        let reply = Reply::of(input.get(..len).unwrap_or_default())?;
        self.has_news |= matches!(reply, Reply::Message(_));
        Ok(Some(reply))
    }

    /// Returns whether a message was taken since the last call.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Forgets the replies that were taken.
    pub(crate) fn forget_taken(&mut self) {
        self.taken = self.start;
        self.turned = None;
    }

    /// Returns the messages among the replies that were taken last: all since [`ReadBuffer::forget_taken`],
    /// or only the latest of them, but always those of the last read.
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
