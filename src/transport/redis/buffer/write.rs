//! Bytes that have to be written.

use super::QUIET_USES;
use crate::transport::resp::Scanner;

/// How much memory an empty write buffer keeps: enough for the publishes of several ticks.
pub(super) const KEEP: usize = 256 * 1024;

/// Commands that have to be written. The buffer begins with a complete command, part of which may be written
/// already.
pub(crate) struct WriteBuffer {
    pub(super) bytes: Vec<u8>,
    written: usize,
    quiet: u32,
}

impl WriteBuffer {
    /// Returns an empty buffer.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), written: 0, quiet: 0 }
    }

    /// Returns the place to append commands to.
    pub(crate) fn commands(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the bytes that have to be written.
    pub(crate) fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Marks `len` more bytes as written.
    pub(crate) fn wrote(&mut self, len: usize) {
        self.written = (self.written + len).min(self.bytes.len());
        if self.written == self.bytes.len() {
            self.empty();
        } else if self.written > KEEP && self.written > self.bytes.len() / 2 {
            let whole = self.whole_written();
            self.bytes.drain(..whole);
            self.written -= whole;
        }
    }

    /// Returns how many commands have not even a byte written: the last ones that were appended.
    pub(crate) fn unwritten_commands(&self) -> u64 {
        let mut commands = 0;
        self.walk(|start, _| commands += u64::from(start >= self.written));
        commands
    }

    /// Forgets all commands.
    pub(crate) fn clear(&mut self) {
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

    /// Returns the length of the commands at the front that are completely written.
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

    /// Visits the commands in order. The buffer itself tells where they begin, so that the hot path need not
    /// record it.
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
