//! Complete replies, borrowed from the read buffer.

use super::head::ItemHead;
use super::scanner::Scanner;
use super::{MAX_BULK, ProtocolError};
use crate::transport::pubsub::SubscriptionKind;

/// A complete reply, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A short text, such as `OK`.
    Simple(&'a [u8]),
    /// An error, in Redis' own words.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(&'a [u8]),
    /// Nothing: there is no such key, or no entry came in time.
    Nil,
    /// Any array except a pub/sub message.
    Array(Items<'a>),
    /// A pub/sub message.
    Message(Message<'a>),
}

impl<'a> Reply<'a> {
    /// Reads `bytes`, which [`Scanner::scan`] found to be exactly one reply.
    pub fn of(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        if let Some((message, _)) = Message::take(bytes) {
            return Ok(Self::Message(message));
        }
        let mut bytes = bytes;
        Self::take(&mut bytes)?.ok_or(ProtocolError::Unexpected)
    }

    /// Takes one item off the front; of an array only its head.
    fn take(bytes: &mut &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((head, head_len)) = ItemHead::of(bytes)? else {
            return Ok(None);
        };
        let rest = bytes.get(head_len..).unwrap_or_default();
        *bytes = rest;
        Ok(Some(match head {
            ItemHead::Line(b'+', line) => Self::Simple(line),
            ItemHead::Line(_, line) => Self::Error(line),
            ItemHead::Integer(number) => Self::Integer(number),
            ItemHead::Nil => Self::Nil,
            ItemHead::Bulk(len) => {
                let (Some(bulk), Some(after)) = (rest.get(..len), rest.get(len + 2..)) else {
                    return Ok(None);
                };
                *bytes = after;
                Self::Bulk(bulk)
            }
            ItemHead::Array(left) => Self::Array(Items { left, bytes: rest }),
        }))
    }
}

/// `message`, `pmessage` or `smessage`, which Redis pushes to subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The kind of the subscription that matched.
    pub kind: SubscriptionKind,
    /// The channel, or the glob that matched.
    pub name: &'a [u8],
    /// The channel it was published on.
    pub channel: &'a [u8],
    /// The bytes, unchecked.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Returns the message that `bytes` begin with, and its length. Returns `None` if they begin with
    /// anything else, or with an incomplete message: [`Scanner::scan`] tells which.
    pub fn take(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (kind, rest) = if let Some(rest) = bytes.strip_prefix(b"*4\r\n$8\r\npmessage\r\n") {
            (SubscriptionKind::Pattern, rest)
        } else if let Some(rest) = bytes.strip_prefix(b"*3\r\n$7\r\nmessage\r\n") {
            (SubscriptionKind::Channel, rest)
        } else {
            (SubscriptionKind::Shard, bytes.strip_prefix(b"*3\r\n$8\r\nsmessage\r\n")?)
        };
        let (name, rest) = take_bulk(rest)?;
        let (channel, rest) = if kind == SubscriptionKind::Pattern { take_bulk(rest)? } else { (name, rest) };
        let (payload, rest) = take_bulk(rest)?;
        let message = Self { kind, name, channel, payload };
        Some((message, bytes.len() - rest.len()))
    }
}

/// Returns a complete bulk string and what follows it. Nine digits suffice for any length up to [`MAX_BULK`].
fn take_bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes.strip_prefix(b"$")?;
    let mut len = 0;
    for digits in 0..10 {
        let (&byte, after) = rest.split_first()?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if digits == 0 || len > MAX_BULK {
                return None;
            }
            break;
        }
        len = len * 10 + usize::from(digit);
        rest = after;
    }
    let (bulk, rest) = rest.strip_prefix(b"\r\n")?.split_at_checked(len)?;
    Some((bulk, rest.strip_prefix(b"\r\n")?))
}

/// The items of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    /// Returns whether no items are left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Returns how many items are left.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Returns the next item if it is a bulk string.
    pub fn next_bulk(&mut self) -> Option<&'a [u8]> {
        match self.next() {
            Some(Reply::Bulk(bulk)) => Some(bulk),
            _ => None,
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.left = self.left.checked_sub(1)?;
        let start = self.bytes;
        let reply = Reply::take(&mut self.bytes).ok().flatten()?;
        if let Reply::Array(items) = &reply
            && items.left > 0
        {
            let len = Scanner::default().scan(start).ok().flatten()?;
            self.bytes = start.get(len..)?;
        }
        Some(reply)
    }
}
