//! The outgoing way: what the JS parser printed becomes what notepack.io would have put on Redis.

use super::Malformed;
use super::heads::{Container, ContainerKind, Heads};
use super::json_string::{check_utf8, plain_start, read_string, split_plain};
use super::nesting::Nesting;
use super::number::read_number;
use super::writer::write_str_len;

/// Appends the msgpack that notepack.io 3.0.1 would make of the value that `json` prints.
///
/// Objects that print as `{"_placeholder":true,"num":0}` become the binary part of that number where
/// socket.io-parser would have numbered it so, that is in order; others stay maps. A user's own object of
/// that shape, sent along with binary parts, cannot be told from the parser's.
///
/// Whole numbers that notepack.io wraps are sent as floats; half surrogate pairs become
/// U+FFFD. Dates were printed already: they go as strings.
///
/// # Errors
/// If it is not JSON or nests too deep, or if a part is left over; `out` is then as before.
pub fn json_to_msgpack(json: &[u8], attachments: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    let result = transcode(json, attachments, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Writes the value that `json` prints. What has not been taken of it is handed from call to call, not kept
/// in a struct, which the compiler would keep in memory.
fn transcode(json: &[u8], attachments: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut heads = Heads::new(attachments);
    let mut here = Container { kind: ContainerKind::Nothing, head: 0, count: 0 };
    let mut outer = Nesting::new(here);
    let mut rest = json;
    'value: loop {
        let (first, after) = token(rest)?;
        rest = match first {
            b'"' => string(after, out)?,
            b'{' | b'[' => {
                outer.push(here)?;
                let (kind, end) =
                    if first == b'{' { (ContainerKind::Map, b'}') } else { (ContainerKind::Array, b']') };
                here = Container { kind, head: out.len(), count: 0 };
                out.push(0);
                match token(after)? {
                    (next, after) if next == end => {
                        heads.close(here, out)?;
                        here = outer.pop().ok_or(Malformed::NotJson)?;
                        after
                    }
                    _ => {
                        rest = if kind == ContainerKind::Map { key(after, out)? } else { after };
                        continue 'value;
                    }
                }
            }
            // A number's first byte is part of it.
            b'-' | b'0'..=b'9' => {
                read_number(json.get(json.len() - after.len() - 1..).unwrap_or_default(), out)?
            }
            _ => word(first, after, out)?,
        };
        // A value is complete, and perhaps what it stands in.
        loop {
            here.count += 1;
            if here.kind == ContainerKind::Nothing {
                return match token(rest) {
                    Ok(_) => Err(Malformed::TrailingBytes),
                    Err(_) => heads.finish(out),
                };
            }
            let (next, after) = token(rest)?;
            rest = match (here.kind, next) {
                (ContainerKind::Map, b',') => {
                    rest = key(after, out)?;
                    continue 'value;
                }
                (_, b',') => {
                    rest = after;
                    continue 'value;
                }
                (ContainerKind::Map, b'}') | (ContainerKind::Array, b']') => after,
                _ => return Err(Malformed::NotJson),
            };
            heads.close(here, out)?;
            here = outer.pop().ok_or(Malformed::NotJson)?;
        }
    }
}

/// The next byte that is not white space, and what follows it. `JSON.stringify` prints no white space.
#[inline(always)]
fn token(text: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    match text {
        [token @ 0x21..=0xff, rest @ ..] => Ok((*token, rest)),
        _ => spaced_token(text),
    }
}

#[cold]
fn spaced_token(mut text: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    let (&token, rest) = text.split_first().ok_or(Malformed::NotJson)?;
    Ok((token, rest))
}

/// Writes a key and returns what follows its colon.
#[inline(always)]
fn key<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let (b'"', rest) = token(text)? else {
        return Err(Malformed::NotJson);
    };
    let (b':', rest) = token(string(rest, out)?)? else {
        return Err(Malformed::NotJson);
    };
    Ok(rest)
}

/// Writes the string whose opening quote stands before `text`, and returns what follows it.
#[inline(always)]
fn string<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    if let Some(start) = text.first_chunk() {
        let (len, ascii) = plain_start(start);
        if ascii && let Some([b'"', rest @ ..]) = text.get(usize::from(len)..) {
            out.push(0xa0 | len);
            let end = out.len() + usize::from(len);
            out.extend_from_slice(start);
            out.truncate(end);
            return Ok(rest);
        }
    }
    unusual_string(text, out)
}

/// As [`string`]: for one that is long, escaped, not ASCII, or near the end.
#[inline(never)]
fn unusual_string<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let (plain, rest, ascii) = split_plain(text);
    let [b'"', rest @ ..] = rest else {
        return escaped_string(text, out);
    };
    if !ascii {
        check_utf8(plain)?;
    }
    write_str_len(out, plain.len())?;
    out.extend_from_slice(plain);
    Ok(rest)
}

fn escaped_string<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let start = out.len();
    let rest = read_string(text, out)?;
    // Only now is its length known: the head is written behind it and rotated to the front.
    let end = out.len();
    write_str_len(out, end - start)?;
    let head = out.len() - end;
    if let Some(string) = out.get_mut(start..) {
        string.rotate_right(head);
    }
    Ok(rest)
}

/// Writes `null`, `false` or `true`, of which `first` was taken, and returns what follows it.
#[inline]
fn word<'a>(first: u8, text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let (marker, rest) = match (first, text) {
        (b'n', [b'u', b'l', b'l', rest @ ..]) => (0xc0, rest),
        (b'f', [b'a', b'l', b's', b'e', rest @ ..]) => (0xc2, rest),
        (b't', [b'r', b'u', b'e', rest @ ..]) => (0xc3, rest),
        _ => return Err(Malformed::NotJson),
    };
    out.push(marker);
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{MAX_DEPTH, msgpack_to_json, samples, twin};
    use super::*;

    fn msgpack(json: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = b"before".to_vec();
        let result = json_to_msgpack(json, &[], &mut out);
        assert_eq!(out.get(..6), Some(&b"before"[..]));
        assert!(result.is_ok() || out.len() == 6, "truncated on error");
        result.map(|()| out.split_off(6))
    }

    fn twin_msgpack(json: &[u8]) -> Option<Vec<u8>> {
        let tree = twin::parse_json(json)?;
        let mut out = Vec::new();
        twin::encode(&tree, &mut out);
        Some(out)
    }

    #[test]
    fn golden() {
        assert_eq!(msgpack(br#"["hello",1,"a"]"#).as_deref(), Ok(&b"\x93\xa5hello\x01\xa1a"[..]));
        assert_eq!(msgpack(b"9007199254740992").as_deref(), Ok(&[0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(msgpack(br#"{"a":{},"b":[]}"#).as_deref(), Ok(&b"\x82\xa1a\x80\xa1b\x90"[..]));
        let surrogates = msgpack(br#"" \ud83d\ude00\ud83d\ude00\ude00\ud83d!""#);
        assert_eq!(surrogates.as_deref(), Ok(&[b"\xb0 ", "😀😀\u{fffd}\u{fffd}!".as_bytes()].concat()[..]));
    }

    #[test]
    fn long_containers_get_long_heads() {
        for outer in [0, 1, 15, 16, 17, 300] {
            for inner in [0, 15, 16, 65_535, 65_536] {
                let list = vec!["7"; inner].join(",");
                let map = vec!["\"k\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"; outer].join(",");
                let json = format!("[[{list}],{{{map}}},[{list}]]");
                assert_eq!(msgpack(json.as_bytes()).ok(), twin_msgpack(json.as_bytes()), "{outer} {inner}");
            }
        }
    }

    #[test]
    fn strings_of_all_lengths() {
        for len in (0..300).chain([65_535, 65_536, 65_537]) {
            for text in [
                "a".repeat(len),
                "é".repeat(len),
                format!("\\n{}", "b".repeat(len)),
                format!("{}\\u00e9", "c".repeat(len)),
            ] {
                let json = format!("[\"{text}\",\"x\"]");
                assert_eq!(msgpack(json.as_bytes()).ok(), twin_msgpack(json.as_bytes()), "{len}");
            }
        }
    }

    #[test]
    fn placeholders_in_order_become_attachments() {
        let part = |num| samples::placeholder(num);
        let parts: [&[u8]; 2] = [b"one", &[2; 300]];
        let json = format!(r#"["ev",{},{{"a":{}}},{}]"#, part(0), part(1), part(2));
        let mut out = Vec::new();
        assert_eq!(json_to_msgpack(json.as_bytes(), &parts, &mut out), Ok(()));
        let wanted: [&[u8]; 6] = [
            b"\x94\xa2ev\xc4\x03one\x81\xa1a\xc5\x01\x2c",
            &[2; 300],
            b"\x82\xac_placeholder\xc3\xa3num\x02",
            b"",
            b"",
            b"",
        ];
        assert_eq!(out, wanted.concat());

        for json in [
            format!("[{}]", part(0)),
            format!("[{},{}]", part(1), part(0)),
            format!(r#"[{},{{"num":1,"_placeholder":true}}]"#, part(0)),
            format!(r#"[{},{{"_placeholder":true,"num":1,"x":0}}]"#, part(0)),
            format!(r#"[{},{{"_placeholder":false,"num":1}}]"#, part(0)),
            format!(r#"[{},{{"_placeholder":true,"num":"1"}}]"#, part(0)),
            format!(r#"[{},["_placeholder",true,"num",1]]"#, part(0)),
        ] {
            let mut out = Vec::new();
            assert!(json_to_msgpack(json.as_bytes(), &parts, &mut out).is_err(), "{json}");
            assert!(out.is_empty());
        }
        assert_eq!(msgpack(part(0).as_bytes()).as_deref(), Ok(&b"\x82\xac_placeholder\xc3\xa3num\x00"[..]));
    }

    #[test]
    fn many_placeholders() {
        let json = (0..700).map(samples::placeholder).collect::<Vec<_>>().join(",");
        let mut out = Vec::new();
        let parts = vec![&b"p"[..]; 700];
        assert_eq!(json_to_msgpack(format!("[{json}]").as_bytes(), &parts, &mut out), Ok(()));
        assert_eq!(out, [&b"\xdc\x02\xbc"[..], &b"\xc4\x01p".repeat(700)].concat());
    }

    #[test]
    fn deep_nesting_is_refused() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(msgpack(nested(MAX_DEPTH).as_bytes()).is_ok());
            assert_eq!(msgpack(nested(MAX_DEPTH + 1).as_bytes()), Err(Malformed::TooDeep));
            assert_eq!(msgpack(nested(100_000).as_bytes()), Err(Malformed::TooDeep));
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in [
            "",
            " ",
            "[",
            "]",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "nul",
            "True",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u123",
            "\"\n\"",
            "\"a\u{1}\"",
            "[1}",
            "{\"a\":1]",
            "1 1",
            "[]]",
            "undefined",
            "NaN",
            "'a'",
            "\u{feff}1",
            "[\"a\":1]",
            "{\"a\",1}",
        ] {
            assert!(msgpack(json.as_bytes()).is_err(), "{json}");
        }
        assert_eq!(msgpack(b"[] x"), Err(Malformed::TrailingBytes));
        assert_eq!(msgpack(b"\"\xc3\""), Err(Malformed::InvalidUtf8));
        assert_eq!(msgpack(b"\"\\n\xed\xa0\x80\""), Err(Malformed::InvalidUtf8));
    }

    proptest! {
        #[test]
        fn agrees_with_the_twin(json in samples::json(), damage in samples::damage()) {
            let json = samples::damaged(json.into_bytes(), &damage);
            let packed = msgpack(&json);
            let twin = twin_msgpack(&json);
            prop_assert_eq!(packed.as_ref().ok(), twin.as_ref());
            let grammatical = core::str::from_utf8(&json)
                .is_ok_and(|json| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok());
            prop_assert_eq!(packed.is_ok(), grammatical);
        }

        #[test]
        fn comes_back(json in samples::json()) {
            let packed = msgpack(json.as_bytes())?;
            let mut text = Vec::new();
            let (taken, printed) = msgpack_to_json(&packed, &mut text, &mut Vec::new())?;
            prop_assert_eq!(taken, packed.len());
            prop_assert!(printed.exact);
            prop_assert_eq!(msgpack(&text)?, packed);
        }

        #[test]
        fn any_bytes_are_taken_calmly(json in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(msgpack(&json).ok(), twin_msgpack(&json));
        }
    }
}
