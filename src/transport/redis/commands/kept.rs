//! Publishes that Redis has not answered. They are kept, since they may have to go back to the caller.

/// How many bytes of publishes may be unanswered. Above it the caller is told to hold back.
pub(crate) const MAX_UNANSWERED: usize = 8 << 20;

/// How much memory it keeps when it is empty.
const KEEP: usize = 256 * 1024;

/// Channels and payloads of publishes, one after the other, oldest first.
#[derive(Default)]
pub(crate) struct KeptPublishes {
    bytes: Vec<u8>,
    start: usize,
}

impl KeptPublishes {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn push(&mut self, channel: &[u8], payload: &[u8]) {
        self.bytes.extend_from_slice(channel);
        self.bytes.extend_from_slice(payload);
    }

    pub(crate) fn front(&self, channel: usize, payload: usize) -> (&[u8], &[u8]) {
        self.at(0, channel, payload)
    }

    /// Returns the publish that begins `at` bytes after the front.
    pub(crate) fn at(&self, at: usize, channel: usize, payload: usize) -> (&[u8], &[u8]) {
        let start = self.start + at;
        let both = self.bytes.get(start..start + channel + payload).unwrap_or_default();
        both.split_at_checked(channel).unwrap_or_default()
    }

    /// Drops everything after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    pub(crate) fn pop(&mut self, len: usize) {
        self.start += len;
        if self.start >= self.bytes.len() {
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
            self.start = 0;
        } else if self.start > KEEP && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_publishes_come_back_as_they_were() {
        let mut kept = KeptPublishes::default();
        let payload = |n: usize| n.to_string().repeat(n % 700).into_bytes();
        for n in 0..2000 {
            kept.push(b"channel", &payload(n));
            kept.push(b"", b"");
        }
        for n in 0..2000 {
            let bytes = payload(n);
            assert_eq!(kept.front(7, bytes.len()), (&b"channel"[..], &bytes[..]));
            kept.pop(7 + bytes.len());
            assert_eq!(kept.front(0, 0), (&b""[..], &b""[..]));
            kept.pop(0);
        }
        assert_eq!((kept.len(), kept.bytes.len()), (0, 0));
        assert!(kept.bytes.capacity() <= KEEP);
    }
}
