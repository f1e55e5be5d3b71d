//! RESP2 replies, found in a read buffer and borrowed from it.
//!
//! This takes two steps. [`Scanner`] finds the end of the first reply; if bytes are missing, it later goes on
//! where it stopped. [`Reply::of`] then reads a reply that is known to be complete. Both together take 95 ns
//! for a message of 200 B. So a message that is complete in the buffer is read in one step by
//! [`Message::take`], in 25 ns.

mod head;
mod reply;
mod scanner;
#[cfg(test)]
mod tests;

pub use reply::{Items, Message, Reply};
pub use scanner::Scanner;

use std::fmt;

/// The longest bulk string, Redis' own default (`proto-max-bulk-len`). A longer one is a [`ProtocolError`].
pub const MAX_BULK: usize = 512 * 1024 * 1024;

/// The longest reply. A longer one is a [`ProtocolError`]: the read buffer has to hold a reply completely.
pub const MAX_REPLY: usize = MAX_BULK + 1024 * 1024;

/// The longest simple string, error or number, as long as Redis' own inline limit. A longer one is a
/// [`ProtocolError`].
pub const MAX_LINE: usize = 64 * 1024;

/// The most items of one array: NUMSUB answers two per channel. A longer array is a [`ProtocolError`].
pub const MAX_ITEMS: usize = 1024 * 1024;

/// How deep arrays may nest. The replies that are used here nest once. Deeper ones are a [`ProtocolError`].
pub const MAX_DEPTH: usize = 8;

/// Bytes that are not RESP2, or that exceed a limit. The connection that sent them is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A reply begins with another byte than one of `+-:$*`.
    Type(u8),
    /// A length or an integer is not a number.
    Number,
    /// A bulk string does not end at its length.
    Terminator,
    /// A bulk string, line, array or reply exceeds its limit.
    TooLong,
    /// Arrays nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// The reply is valid RESP, but does not answer what was asked.
    Unexpected,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the Redis protocol: ")?;
        match self {
            Self::Type(byte) => write!(f, "a reply begins with byte 0x{byte:02x}"),
            Self::Number => f.write_str("a length or an integer is not a number"),
            Self::Terminator => f.write_str("a bulk string does not end at its length"),
            Self::TooLong => f.write_str("a reply is too long"),
            Self::TooDeep => f.write_str("arrays nest too deep"),
            Self::Unexpected => f.write_str("a reply that nothing was asked for"),
        }
    }
}
