use super::*;
use proptest::prelude::*;
use redis::Value;

use crate::transport::pubsub::SubscriptionKind;

/// Scans the whole input at once. `Ok` holds the replies and the number of bytes that are left over.
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

/// The reply as the redis crate represents it.
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
            Value::Array(parts.into_iter().flatten().map(|part| Value::BulkString(part.to_vec())).collect())
        }
    }
}

/// Valid RESP2, written in the simplest way.
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
                // The redis crate requires UTF-8 in simple strings and errors; we do not.
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
