//! Finds where replies end.

use super::head::ItemHead;
use super::{MAX_DEPTH, MAX_REPLY, ProtocolError};

/// Finds where replies end. One per connection. After an error it cannot be used any more.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the next item begins: everything before it is scanned.
    pub(super) offset: usize,
    /// How long the input has to be before it is worth scanning again.
    need: usize,
    /// How many items are missing from each array that has begun.
    missing: Vec<usize>,
}

impl Scanner {
    /// Returns the length of the reply that `input` begins with, or `None` if the reply is incomplete. Until
    /// it is complete, each call has to pass the same bytes and further ones; bytes that were scanned are not
    /// scanned again.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        if input.len() < self.need {
            return Ok(None);
        }
        loop {
            let rest = input.get(self.offset..).unwrap_or_default();
            let Some((head, head_len)) = ItemHead::of(rest)? else {
                return self.wait_for(input.len() + 1);
            };
            let mut item_len = head_len;
            match head {
                ItemHead::Bulk(len) => {
                    item_len += len + 2;
                    match rest.get(head_len + len..item_len) {
                        Some(b"\r\n") => {}
                        Some(_) => return Err(ProtocolError::Terminator),
                        None => return self.wait_for(self.offset + item_len),
                    }
                }
                ItemHead::Array(items) if items > 0 => {
                    if self.missing.len() == MAX_DEPTH {
                        return Err(ProtocolError::TooDeep);
                    }
                    self.missing.push(items);
                    self.offset += item_len;
                    continue;
                }
                ItemHead::Array(_) | ItemHead::Nil | ItemHead::Line(..) | ItemHead::Integer(_) => {}
            }
            self.offset += item_len;
            while let Some(missing) = self.missing.last_mut() {
                *missing -= 1;
                if *missing > 0 {
                    break;
                }
                self.missing.pop();
            }
            if self.missing.is_empty() {
                self.need = 0;
                return Ok(Some(std::mem::take(&mut self.offset)));
            }
        }
    }

    /// Whether no reply is partly scanned.
    pub fn is_fresh(&self) -> bool {
        self.need == 0
    }

    /// Returns how long the input has to be before [`Scanner::scan`] can make progress.
    pub fn need(&self) -> usize {
        self.need
    }

    fn wait_for(&mut self, need: usize) -> Result<Option<usize>, ProtocolError> {
        if need > MAX_REPLY {
            return Err(ProtocolError::TooLong);
        }
        self.need = need;
        Ok(None)
    }
}
