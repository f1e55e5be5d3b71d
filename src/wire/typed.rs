//! Messages with a type of their own: in JSON, or in msgpack, as the first byte says.

use serde::de::DeserializeOwned;

use crate::packet::{MAX_DEPTH, Malformed, MsgpackReader};

/// The first byte of a JSON request or response; anything else is the parser's encoding.
pub const JSON_MARK: u8 = b'{';

/// Reads a message.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Malformed> {
    if payload.first() == Some(&JSON_MARK) {
        check_nesting(payload)?;
        return serde_json::from_slice(payload)
            .or_else(|_| serde_json::from_slice(&without_lone_surrogates(payload)))
            .map_err(|_| Malformed::WrongShape("JSON"));
    }
    // Measured by the packet layer first: rmp-serde neither refuses trailing bytes nor long claims early.
    if crate::packet::skip_value(payload)? != payload.len() {
        return Err(Malformed::TrailingBytes);
    }
    let first = MsgpackReader::new(payload).map_len();
    if first.is_err() {
        // rmp-serde would read an array as a struct, field by field.
        return Err(Malformed::WrongShape("a map was expected"));
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
    // Its own limit counts the value within the innermost array, too.
    deserializer.set_max_depth(MAX_DEPTH + 1);
    T::deserialize(&mut deserializer).map_err(|_| Malformed::WrongShape("msgpack"))
}

/// Refuses JSON that is nested too deep to be printed again: serde passes over unknown fields, however deep. Text that is no
/// JSON is refused elsewhere.
pub fn check_nesting(json: &[u8]) -> Result<(), Malformed> {
    if nests_deeper(json, MAX_DEPTH) { Err(Malformed::TooDeep) } else { Ok(()) }
}

/// Whether more than so many arrays and objects stand one in the other somewhere in this JSON.
pub fn nests_deeper(json: &[u8], levels: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if quoted {
            quoted = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// JSON with U+FFFD for each half of a surrogate pair that stands alone: JavaScript prints such, serde refuses them.
fn without_lone_surrogates(json: &[u8]) -> Vec<u8> {
    let unit = |at: usize| {
        let escape = json.get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(json.len());
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let len = match (byte, unit(at), unit(at + 6)) {
            (b'\\', Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (b'\\', Some(0xd800..=0xdfff), _) => {
                out.extend_from_slice(b"\\ufffd");
                at += 6;
                continue;
            }
            (b'\\', ..) => 2,
            _ => 1,
        };
        out.extend_from_slice(json.get(at..at + len).unwrap_or(&[byte]));
        at += len;
    }
    out
}

/// Appends a string as `JSON.stringify` prints it.
pub(super) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // A string always serialises, and a Vec always takes it.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn deep_nesting_is_refused_wherever_it_stands() {
        let nested = |depth: usize| [&vec![b'['; depth][..], &vec![b']'; depth]].concat();
        assert_eq!(check_nesting(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check_nesting(&nested(MAX_DEPTH + 1)), Err(Malformed::TooDeep));
        let flat = [&br#"{"a\"":["#[..], &br#"[],{},"[[[\\","#.repeat(2000), b"1]}"].concat();
        assert_eq!(check_nesting(&flat), Ok(()));
    }

    /// In bytes.
    const STACK: usize = 16 << 20;

    #[test]
    fn msgpack_is_read_as_deep_as_it_is_written() {
        // Within the map.
        let nested = |depth: usize| [&b"\x81\xa1a"[..], &vec![0x91; depth - 1], b"\x01"].concat();
        let read = move |depth| {
            let message = nested(depth);
            // Without optimisation, rmp-serde takes more stack for it than the thread of a test has.
            let run = move || decode::<HashMap<String, IgnoredAny>>(&message).map(|map| map.len());
            std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
        };
        assert_eq!(read(MAX_DEPTH), Ok(1));
        assert_eq!(read(MAX_DEPTH + 1), Err(Malformed::TooDeep));
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        assert_eq!(
            without_lone_surrogates(br#""\\ud83d\ud83d\ude00\ud83d""#),
            br#""\\ud83d\ud83d\ude00\ufffd""#
        );
        assert_eq!(decode::<String>(br#"{"#).ok(), None);
    }
}
