//! RESP2 as Redis answers it: found in a read buffer and borrowed from it.
//!
//! Two steps. [`Scanner`] finds the end of the first reply, and goes on where it stopped when more bytes come;
//! [`Reply::of`] then looks into a reply that is known to be whole. Both take 95 ns for a message of 200 B, so
//! one that stands whole in the buffer is taken in one step by [`Message::take`], in 25 ns.

use std::fmt;

use super::pubsub::SubscriptionKind;

/// The longest bulk, Redis' own default (`proto-max-bulk-len`). A longer one is a [`ProtocolError`].
pub const MAX_BULK: usize = 512 * 1024 * 1024;

/// The longest reply in all. What is longer is a [`ProtocolError`]: the read buffer must hold it whole.
pub const MAX_REPLY: usize = MAX_BULK + 1024 * 1024;

/// The longest simple string, error or number, as Redis' own inline limit. A longer one is a [`ProtocolError`].
pub const MAX_LINE: usize = 64 * 1024;

/// The most items of one array: NUMSUB answers two per channel. More are a [`ProtocolError`].
pub const MAX_ITEMS: usize = 1024 * 1024;

/// How deep arrays may nest; what is used here nests once. Deeper is a [`ProtocolError`].
pub const MAX_DEPTH: usize = 8;

/// Bytes that are not RESP2, or more than the bounds allow. The connection that sent them is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A reply begins with something else than one of `+-:$*`.
    Type(u8),
    /// A length or an integer is not one.
    Number,
    /// A bulk does not end where its length says.
    Terminator,
    /// A bulk, line, array or reply is over its bound.
    TooLong,
    /// Arrays nest beyond [`MAX_DEPTH`].
    TooDeep,
    /// A reply that is RESP, and none to what was asked.
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

/// Finds where replies end. One per stream; after an error it is of no more use.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the next item begins: all before it is scanned.
    offset: usize,
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
            let Some((head, head_len)) = Head::of(rest)? else {
                return self.wait_for(input.len() + 1);
            };
            let mut item_len = head_len;
            match head {
                Head::Bulk(len) => {
                    item_len += len + 2;
                    match rest.get(head_len + len..item_len) {
                        Some(b"\r\n") => {}
                        Some(_) => return Err(ProtocolError::Terminator),
                        None => return self.wait_for(self.offset + item_len),
                    }
                }
                Head::Array(items) if items > 0 => {
                    if self.missing.len() == MAX_DEPTH {
                        return Err(ProtocolError::TooDeep);
                    }
                    self.missing.push(items);
                    self.offset += item_len;
                    continue;
                }
                Head::Array(_) | Head::Nil | Head::Line(..) | Head::Integer(_) => {}
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

/// A whole reply, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A short text, as `OK` is.
    Simple(&'a [u8]),
    /// Redis refuses, in these words.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(&'a [u8]),
    /// Nothing: no such key, or no entry in time.
    Nil,
    /// Any array but a message.
    Array(Items<'a>),
    /// A message of pub/sub.
    Message(Message<'a>),
}

impl<'a> Reply<'a> {
    /// Returns what `bytes` say, which [`Scanner::scan`] found to be one whole reply.
    pub fn of(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        if let Some((message, _)) = Message::take(bytes) {
            return Ok(Self::Message(message));
        }
        let mut bytes = bytes;
        Self::take(&mut bytes)?.ok_or(ProtocolError::Unexpected)
    }

    /// Takes one item off the front; of an array only its head.
    fn take(bytes: &mut &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((head, head_len)) = Head::of(bytes)? else {
            return Ok(None);
        };
        let rest = bytes.get(head_len..).unwrap_or_default();
        *bytes = rest;
        Ok(Some(match head {
            Head::Line(b'+', line) => Self::Simple(line),
            Head::Line(_, line) => Self::Error(line),
            Head::Integer(number) => Self::Integer(number),
            Head::Nil => Self::Nil,
            Head::Bulk(len) => {
                let (Some(bulk), Some(after)) = (rest.get(..len), rest.get(len + 2..)) else {
                    return Ok(None);
                };
                *bytes = after;
                Self::Bulk(bulk)
            }
            Head::Array(left) => Self::Array(Items { left, bytes: rest }),
        }))
    }
}

/// `message`, `pmessage` or `smessage`, the push that a subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The kind of the subscription that it came by.
    pub kind: SubscriptionKind,
    /// The channel, or the glob that matched it.
    pub name: &'a [u8],
    /// The channel it was published on.
    pub channel: &'a [u8],
    /// The bytes, unchecked.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Returns the message that `bytes` begin with and its length, or `None` if they begin with something else,
    /// or with a part of one: [`Scanner::scan`] tells which.
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

/// Returns a whole bulk and what follows it. Nine digits hold any length within [`MAX_BULK`].
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
    /// Returns whether no item is to come.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Returns how many items are still to come.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Returns the next item if it is a bulk.
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

/// What the first line of an item says.
enum Head<'a> {
    /// A simple string or an error, by its first byte.
    Line(u8, &'a [u8]),
    Integer(i64),
    Nil,
    Bulk(usize),
    Array(usize),
}

impl<'a> Head<'a> {
    /// Returns the head and the length of its line, or `None` if the line is not whole.
    fn of(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        match kind {
            b'$' | b'*' => {
                let bound = if kind == b'$' { MAX_BULK } else { MAX_ITEMS };
                let Some((number, len)) = number(rest)? else {
                    return Ok(None);
                };
                if number < 0 {
                    return Ok(Some((Self::Nil, 1 + len)));
                }
                let size = usize::try_from(number).map_err(|_| ProtocolError::TooLong)?;
                if size > bound {
                    return Err(ProtocolError::TooLong);
                }
                let head = if kind == b'$' { Self::Bulk(size) } else { Self::Array(size) };
                Ok(Some((head, 1 + len)))
            }
            b':' => Ok(number(rest)?.map(|(number, len)| (Self::Integer(number), 1 + len))),
            b'+' | b'-' => Ok(line(rest)?.map(|line| (Self::Line(kind, line), line.len() + 3))),
            other => Err(ProtocolError::Type(other)),
        }
    }
}

/// Returns the line up to its end, or `None` if there is no end yet.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ProtocolError> {
    let within = bytes.get(..MAX_LINE + 2).unwrap_or(bytes);
    for end in memchr::memchr_iter(b'\r', within) {
        if bytes.get(end + 1) == Some(&b'\n') {
            return Ok(bytes.get(..end));
        }
    }
    if within.len() == MAX_LINE + 2 {
        return Err(ProtocolError::TooLong);
    }
    Ok(None)
}

/// Returns a number and the length of its line, or `None` if the line is not whole.
fn number(bytes: &[u8]) -> Result<Option<(i64, usize)>, ProtocolError> {
    let negative = bytes.first() == Some(&b'-');
    let first = usize::from(negative);
    let mut magnitude: i64 = 0;
    let mut len = first;
    for &byte in bytes.get(first..).unwrap_or_default() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            // Downwards, since there is one more negative number than there are positive ones.
            magnitude = magnitude
                .checked_mul(10)
                .and_then(|n| n.checked_sub(i64::from(digit)))
                .ok_or(ProtocolError::Number)?;
            len += 1;
            continue;
        }
        if byte != b'\r' || len == first {
            return Err(ProtocolError::Number);
        }
        let value =
            if negative { magnitude } else { magnitude.checked_neg().ok_or(ProtocolError::Number)? };
        return match bytes.get(len + 1) {
            Some(b'\n') => Ok(Some((value, len + 2))),
            Some(_) => Err(ProtocolError::Number),
            None => Ok(None),
        };
    }
    // Leading zeros are the only way on without an overflow.
    if len > MAX_LINE {
        return Err(ProtocolError::TooLong);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redis::Value;

    /// Scans the whole input at once; `Ok` holds the replies and what is left over.
    fn all(input: &[u8]) -> Result<(Vec<Reply<'_>>, usize), ProtocolError> {
        let mut scanner = Scanner::default();
        let mut replies = Vec::new();
        let mut rest = input;
        while let Some(len) = scanner.scan(rest)? {
            replies.push(Reply::of(&rest[..len])?);
            rest = &rest[len..];
        }
        Ok((replies, rest.len()))
    }

    /// The reply as the redis crate would say it.
    fn to_value(reply: Reply<'_>) -> Value {
        match reply {
            Reply::Simple(b"OK") => Value::Okay,
            Reply::Simple(text) => Value::SimpleString(String::from_utf8(text.to_vec()).unwrap()),
            Reply::Error(text) => {
                let raw = [b"-", text, b"\r\n"].concat();
                redis::parse_redis_value(&raw).unwrap()
            }
            Reply::Integer(number) => Value::Int(number),
            Reply::Bulk(bytes) => Value::BulkString(bytes.to_vec()),
            Reply::Nil => Value::Nil,
            Reply::Array(items) => Value::Array(items.map(to_value).collect()),
            Reply::Message(message) => {
                let (kind, glob) = match message.kind {
                    SubscriptionKind::Pattern => (&b"pmessage"[..], Some(message.name)),
                    SubscriptionKind::Channel => (&b"message"[..], None),
                    SubscriptionKind::Shard => (&b"smessage"[..], None),
                };
                let parts = [Some(kind), glob, Some(message.channel), Some(message.payload)];
                Value::Array(
                    parts.into_iter().flatten().map(|part| Value::BulkString(part.to_vec())).collect(),
                )
            }
        }
    }

    /// Valid RESP2, written as simply as it can be.
    fn reply() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![tree(), message()]
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let part = || prop::collection::vec(any::<u8>(), 0..130);
        (0..3, part(), part(), part()).prop_map(|(kind, glob, channel, payload)| match kind {
            0 => [b"*4\r\n$8\r\npmessage\r\n".to_vec(), bulk(&glob), bulk(&channel), bulk(&payload)].concat(),
            1 => [b"*3\r\n$7\r\nmessage\r\n".to_vec(), bulk(&channel), bulk(&payload)].concat(),
            _ => [b"*3\r\n$8\r\nsmessage\r\n".to_vec(), bulk(&channel), bulk(&payload)].concat(),
        })
    }

    fn tree() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            "[ -~]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
            "[A-Z]{1,9} [ -~]{0,20}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
            any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| bulk(&bytes)),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop::collection::vec(inner, 0..5).prop_map(|items| {
                let mut out = format!("*{}\r\n", items.len()).into_bytes();
                out.extend(items.concat());
                out
            })
        })
    }

    fn bulk(bytes: &[u8]) -> Vec<u8> {
        [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
    }

    proptest! {
        #[test]
        fn says_what_the_redis_crate_says(raw in reply()) {
            let (replies, left) = all(&raw).unwrap();
            prop_assert_eq!(left, 0);
            prop_assert_eq!(replies.len(), 1);
            let ours = to_value(replies.into_iter().next().unwrap());
            prop_assert_eq!(ours, redis::parse_redis_value(&raw).unwrap());
        }

        #[test]
        fn a_message_is_taken_only_whole(raw in message(), more in prop::collection::vec(any::<u8>(), 0..9)) {
            for end in 0..raw.len() {
                prop_assert_eq!(Message::take(&raw[..end]), None);
            }
            let longer = [raw.as_slice(), &more].concat();
            let (message, len) = Message::take(&longer).unwrap();
            prop_assert_eq!(len, raw.len());
            prop_assert_eq!(Reply::of(&raw), Ok(Reply::Message(message)));
        }

        #[test]
        fn split_anywhere_it_ends_in_the_same_place(first in reply(), second in reply()) {
            let raw = [first.as_slice(), &second].concat();
            let mut scanner = Scanner::default();
            for end in 0..first.len() {
                prop_assert_eq!(scanner.scan(&raw[..end]).unwrap(), None);
                prop_assert!(scanner.need() > end && scanner.need() <= first.len());
            }
            prop_assert_eq!(scanner.scan(&raw).unwrap(), Some(first.len()));
            for end in 0..=raw.len() {
                let mut scanner = Scanner::default();
                let early = scanner.scan(&raw[..end]).unwrap();
                prop_assert_eq!(early.is_some(), end >= first.len());
                if early.is_none() {
                    prop_assert_eq!(scanner.scan(&raw).unwrap(), Some(first.len()));
                }
            }
        }

        #[test]
        fn garbage_is_an_error_or_what_the_redis_crate_says(
            raw in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(prop::sample::select(b"+-:$*012\r\na ".to_vec()), 0..24),
                (reply(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut raw, at, byte)| {
                    let at = at.index(raw.len());
                    raw[at] = byte;
                    raw
                }),
            ]
        ) {
            let mut scanner = Scanner::default();
            match scanner.scan(&raw) {
                Ok(Some(len)) => {
                    let reply = Reply::of(&raw[..len]).unwrap();
                    // The redis crate wants UTF-8 in simple strings and errors; we do not care.
                    if let Ok(twin) = redis::parse_redis_value(&raw[..len]) {
                        prop_assert_eq!(to_value(reply), twin);
                    } else {
                        prop_assert!(std::str::from_utf8(&raw[..len]).is_err());
                    }
                }
                Ok(None) => prop_assert!(redis::parse_redis_value(&raw).is_err()),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn a_partial_bulk_is_waited_for_by_its_length() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(b"*2\r\n$3\r\nabc\r\n$1000\r\nx"), Ok(None));
        assert_eq!(scanner.need(), 13 + 7 + 1000 + 2);
    }

    #[test]
    fn holds_to_its_bounds() {
        let error = |input: &[u8]| Scanner::default().scan(input).unwrap_err();
        assert_eq!(error(b"$536870913\r\n"), ProtocolError::TooLong);
        assert_eq!(error(b"*1048577\r\n"), ProtocolError::TooLong);
        assert_eq!(error(b"$99999999999999999999\r\n"), ProtocolError::Number);
        assert_eq!(error(&b"*1\r\n".repeat(9)), ProtocolError::TooDeep);
        assert_eq!(error(&[b'+'; MAX_LINE + 3]), ProtocolError::TooLong);
        assert_eq!(error(&[b'0'; 1]), ProtocolError::Type(b'0'));
        assert_eq!(error(&[&b":"[..], &[b'0'; MAX_LINE + 1]].concat()), ProtocolError::TooLong);
        assert_eq!(error(b"$1\r\nabc"), ProtocolError::Terminator);
        let mut line = vec![b'-'];
        line.extend([b'x'; MAX_LINE]);
        line.extend(b"\r\n");
        assert_eq!(Scanner::default().scan(&line), Ok(Some(MAX_LINE + 3)));
    }

    #[test]
    fn many_small_items_are_scanned_once() {
        let raw = [&b"*1000\r\n"[..], &b":1\r\n".repeat(1000)].concat();
        let mut scanner = Scanner::default();
        for end in 0..raw.len() {
            assert_eq!(scanner.scan(&raw[..end]), Ok(None));
            assert!(scanner.offset + 8 > end);
        }
        assert_eq!(scanner.scan(&raw), Ok(Some(raw.len())));
    }
}
