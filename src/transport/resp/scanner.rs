//! Where replies end.

use super::head::ItemHead;
use super::{MAX_DEPTH, MAX_REPLY, ProtocolError};

/// Finds where replies end. One per stream; after an error it is of no more use.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the next item begins: all before it is scanned.
    pub(super) offset: usize,
    /// How long the input must be at least before another look makes sense.
    need: usize,
    /// How many items are missing from each array that is begun.
    missing: Vec<usize>,
}

impl Scanner {
    /// Returns the length of the reply that `input` begins with, or `None` if it is not whole. Until it is,
    /// each call must bring the same bytes and more; what was scanned is not looked at again.
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

    /// Whether no reply is scanned in part.
    pub fn is_fresh(&self) -> bool {
        self.need == 0
    }

    /// Returns how long the input must be at least for [`Scanner::scan`] to get on.
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
