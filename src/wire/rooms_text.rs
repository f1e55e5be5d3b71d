//! Rooms in JSON as it is usually printed: looked through without being read.

/// A list of rooms in JSON, without the brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoomsText<'a>(&'a [u8]);

impl<'a> RoomsText<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is a list of strings that stand there as they are.
    pub(super) fn is_plain(self) -> bool {
        self.is_empty() || !self.any(|_| false)
    }

    pub(super) fn any(self, mut is_here: impl FnMut(&[u8]) -> bool) -> bool {
        let mut rest = self.0;
        loop {
            let Some(name) = rest.strip_prefix(b"\"") else {
                return true;
            };
            let Some((name, after)) = memchr::memchr(b'"', name).and_then(|end| name.split_at_checked(end))
            else {
                return true;
            };
            if is_here(name) || !is_plain(name) {
                return true;
            }
            match after {
                b"\"" => return false,
                [b'"', b',', next @ ..] => rest = next,
                _ => return true,
            }
        }
    }
}

/// Whether text between quotes is what it stands for: an escape may be one of the quote, and what is not UTF-8 is
/// malformed.
fn is_plain(text: &[u8]) -> bool {
    let odd = text.iter().fold(false, |odd, &byte| odd | (byte < b' ') | (byte == b'\\'));
    !odd && std::str::from_utf8(text).is_ok()
}
