//! The incoming way: what Redis brought becomes the text that clients get.

use core::ops::Range;

use super::Malformed;
use super::date::{legacy_date, print_date, timestamp};
use super::json_string::print_string;
use super::msgpack::{Item, MsgpackReader};
use super::nesting::Nesting;
use super::number::{print_double, print_int, print_uint};

/// What became of a value when it was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Whether `JSON.parse` of the text gives what a msgpack decoder gives of the value. False if it holds
    /// binary data, a Date or another ext, a number that is not finite, or -0.
    pub exact: bool,
}

/// Appends what `JSON.stringify` prints for the value that notepack.io decodes from the start of `input`,
/// and returns how many bytes the value took.
///
/// Binary data prints as socket.io-parser's placeholder, numbered from `attachments.len()` at entry; its
/// place in `input` is appended to `attachments`. Keys print in the order and as often as they come, where
/// JS would sort those that look like indexes and keep one of each.
///
/// # Errors
/// If it is malformed or nests too deep, or if a key is neither string nor integer; `out` and
/// `attachments` are then as before.
pub fn msgpack_to_json(
    input: &[u8],
    out: &mut Vec<u8>,
    attachments: &mut Vec<Range<usize>>,
) -> Result<(usize, Printed), Malformed> {
    let (text, parts) = (out.len(), attachments.len());
    let mut transcoder = Transcoder { reader: MsgpackReader::new(input), exact: true, out, attachments };
    let result = transcoder.run();
    let done = (transcoder.reader.position(), Printed { exact: transcoder.exact });
    if result.is_err() {
        out.truncate(text);
        attachments.truncate(parts);
    }
    result.map(|()| done)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenKind {
    /// Around the one value.
    Nothing,
    Array,
    Map,
}

/// An array or map, and how many of its members are still to come.
#[derive(Clone, Copy)]
struct Container {
    kind: OpenKind,
    left: u32,
}

struct Transcoder<'a, 'o> {
    reader: MsgpackReader<'a>,
    exact: bool,
    out: &'o mut Vec<u8>,
    attachments: &'o mut Vec<Range<usize>>,
}

impl Transcoder<'_, '_> {
    /// Prints the value. Each member is followed by a comma, which the closing bracket replaces.
    fn run(&mut self) -> Result<(), Malformed> {
        let mut here = Container { kind: OpenKind::Nothing, left: 0 };
        let mut outer = Nesting::new(here);
        loop {
            let opened = match self.reader.item()? {
                Item::Array(left) => Some((Container { kind: OpenKind::Array, left }, b'[')),
                Item::Map(left) => Some((Container { kind: OpenKind::Map, left }, b'{')),
                leaf => {
                    self.leaf(leaf)?;
                    None
                }
            };
            if let Some((container, bracket)) = opened {
                outer.push(here)?;
                here = container;
                self.out.push(bracket);
            } else if here.kind == OpenKind::Nothing {
                return Ok(());
            } else {
                self.out.push(b',');
            }
            while !self.next(&mut here)? {
                let bracket = if here.kind == OpenKind::Map { b'}' } else { b']' };
                match self.out.last_mut() {
                    Some(comma @ b',') => *comma = bracket,
                    _ => self.out.push(bracket),
                }
                here = outer.pop().ok_or(Malformed::TrailingBytes)?;
                if here.kind == OpenKind::Nothing {
                    return Ok(());
                }
                self.out.push(b',');
            }
        }
    }

    /// Goes to the next member that prints: false if there is none. Takes the key of a pair.
    #[inline]
    fn next(&mut self, here: &mut Container) -> Result<bool, Malformed> {
        while let Some(left) = here.left.checked_sub(1) {
            here.left = left;
            if here.kind == OpenKind::Array || self.key()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Prints a key and its colon: not if its value is `undefined`, which is taken too.
    #[inline]
    fn key(&mut self) -> Result<bool, Malformed> {
        let start = self.out.len();
        match self.reader.item()? {
            Item::Str(text) => self.string(text.len())?,
            // JS makes a string of what it is given for a key.
            Item::Uint(value) => {
                self.out.push(b'"');
                print_uint(value, self.out);
                self.out.push(b'"');
            }
            Item::Int(value) => {
                self.out.push(b'"');
                print_int(value, self.out);
                self.out.push(b'"');
            }
            _ => return Err(Malformed::WrongShape("a string or an integer for a key")),
        }
        if self.reader.take_undefined() {
            self.exact = false;
            self.out.truncate(start);
            return Ok(false);
        }
        self.out.push(b':');
        Ok(true)
    }

    #[inline]
    fn leaf(&mut self, leaf: Item<'_>) -> Result<(), Malformed> {
        match leaf {
            Item::Str(text) => self.string(text.len())?,
            Item::Uint(value) => print_uint(value, self.out),
            Item::Int(value) => print_int(value, self.out),
            Item::Nil => self.out.extend_from_slice(b"null"),
            Item::Bool(true) => self.out.extend_from_slice(b"true"),
            Item::Bool(false) => self.out.extend_from_slice(b"false"),
            Item::Double(value) => {
                self.exact &= value.is_finite() && value.to_bits() != (-0.0_f64).to_bits();
                print_double(value, self.out);
            }
            Item::Bin(data) => self.placeholder(data.len()),
            Item::Ext { marker, kind, data } => self.ext(marker, kind, data)?,
            Item::Array(_) | Item::Map(_) => {}
        }
        Ok(())
    }

    /// Prints the string of `len` bytes that was taken last.
    #[inline]
    fn string(&mut self, len: usize) -> Result<(), Malformed> {
        print_string(self.reader.looking_back(len), len, self.out)
    }

    /// Prints what notepack.io's decoder makes of an ext.
    fn ext(&mut self, marker: u8, kind: i8, data: &[u8]) -> Result<(), Malformed> {
        self.exact = false;
        match (kind, marker) {
            (0, 0xd4) => self.out.extend_from_slice(b"null"),
            (0, 0xd7) => print_date(legacy_date(data)?, self.out),
            (0, 0xc7..=0xc9) => self.placeholder(data.len()),
            // notepack.io takes 12 bytes for a timestamp after 0xc7, whatever the length says.
            (-1, 0xc7) if data.len() != 12 => {
                return Err(Malformed::WrongShape("a timestamp of 12 bytes"));
            }
            (-1, 0xc7 | 0xd6 | 0xd7) => print_date(timestamp(data)?, self.out),
            _ => {
                self.out.push(b'[');
                print_int(i64::from(kind), self.out);
                self.out.push(b',');
                self.placeholder(data.len());
                self.out.push(b']');
            }
        }
        Ok(())
    }

    /// Prints what socket.io-parser puts in place of the `len` bytes that were taken last.
    fn placeholder(&mut self, len: usize) {
        self.exact = false;
        self.out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
        self.out.extend_from_slice(itoa::Buffer::new().format(self.attachments.len()).as_bytes());
        self.out.push(b'}');
        let end = self.reader.position();
        self.attachments.push(end - len..end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{MAX_DEPTH, samples, skip_value, twin};
    use super::*;

    type Text = (String, usize, Vec<Range<usize>>, bool);

    fn json(input: &[u8]) -> Result<Text, Malformed> {
        let mut out = b"before".to_vec();
        let mut parts = Vec::new();
        let result = msgpack_to_json(input, &mut out, &mut parts);
        assert_eq!(out.get(..6), Some(&b"before"[..]));
        assert!(result.is_ok() || (out.len() == 6 && parts.is_empty()), "as before on error");
        let text = String::from_utf8(out.split_off(6)).expect("UTF-8");
        result.map(|(taken, printed)| (text, taken, parts, printed.exact))
    }

    fn twin_json(input: &[u8]) -> Option<Text> {
        let (tree, taken) = twin::decode(input)?;
        let mut parts = Vec::new();
        let text = twin::stringify(&tree, &mut parts).unwrap_or("null".to_owned());
        Some((text, taken, parts, is_exact(&tree)))
    }

    fn is_exact(tree: &twin::Tree) -> bool {
        match tree {
            twin::Tree::Null | twin::Tree::Bool(_) | twin::Tree::Text(_) => true,
            twin::Tree::Number(value) => value.is_finite() && (*value != 0.0 || value.is_sign_positive()),
            twin::Tree::Undefined | twin::Tree::Date(_) | twin::Tree::Bin(_) => false,
            twin::Tree::Array(members) => members.iter().all(is_exact),
            twin::Tree::Map(members) => members.iter().all(|(_, value)| is_exact(value)),
        }
    }

    fn text(input: &[u8]) -> Result<String, Malformed> {
        json(input).map(|(text, ..)| text)
    }

    #[test]
    fn golden() {
        assert_eq!(text(b"\x93\xa5hello\x01\xa1a").as_deref(), Ok(r#"["hello",1,"a"]"#));
        assert_eq!(text(b"\x82\xa1a\x80\xa1b\x90").as_deref(), Ok(r#"{"a":{},"b":[]}"#));
        assert_eq!(text(b"\xa8\"\\\x08\x0c\n\r\t\x1f").as_deref(), Ok("\"\\\"\\\\\\b\\f\\n\\r\\t\\u001f\""));
        assert_eq!(text(b"\xa7\x7f\xe2\x80\xa8/\xc3\xa9").as_deref(), Ok("\"\u{7f}\u{2028}/é\""));
        assert_eq!(text(b"\xca\x3d\xcc\xcc\xcd").as_deref(), Ok("0.10000000149011612"));
        assert_eq!(text(b"\xd4\x05\x00").as_deref(), Ok(r#"[5,{"_placeholder":true,"num":0}]"#));
        assert_eq!(text(b"\xd6\xff\0\0\0\0").as_deref(), Ok("\"1970-01-01T00:00:00.000Z\""));
    }

    #[test]
    fn undefined_is_null_in_arrays_and_missing_in_maps() {
        assert_eq!(text(b"\x93\xd4\0\0\x01\xd4\0\0").as_deref(), Ok("[null,1,null]"));
        assert_eq!(text(b"\x81\xa1a\xd4\0\0").as_deref(), Ok("{}"));
        assert_eq!(text(b"\x83\xa1a\xd4\0\0\xa1b\x01\xa1c\xd4\0\0").as_deref(), Ok(r#"{"b":1}"#));
        assert_eq!(json(b"\x81\xa1a\xd4\0\0").map(|(.., exact)| exact), Ok(false));
        assert_eq!(text(b"\x81\xa1\xff\xd4\0\0"), Err(Malformed::InvalidUtf8));
    }

    #[test]
    fn binary_data_is_set_aside() {
        let input = b"\x93\xc4\x02ab\x81\xa1k\xc7\x03\0cde\xc4\x00";
        let (text, taken, parts, exact) = json(input).expect("well-formed");
        let place = samples::placeholder;
        assert_eq!(text, format!(r#"[{},{{"k":{}}},{}]"#, place(0), place(1), place(2)));
        assert_eq!((taken, exact), (input.len(), false));
        let parts: Vec<_> = parts.into_iter().map(|part| &input[part]).collect();
        assert_eq!(parts, [&b"ab"[..], b"cde", b""]);
    }

    #[test]
    fn keys_are_strings_or_integers() {
        assert_eq!(
            text(b"\x83\x05\x01\xff\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x03").as_deref(),
            Ok(r#"{"5":1,"-1":2,"18446744073709552000":3}"#)
        );
        assert_eq!(text(b"\x81\xa9__proto__\x01").as_deref(), Ok(r#"{"__proto__":1}"#));
        for key in [&b"\xc0"[..], b"\xc3", b"\x90", b"\x80", b"\xc4\0", b"\xd4\0\0", b"\xcb\0\0\0\0\0\0\0\0"]
        {
            let input = [b"\x81", key, b"\x01"].concat();
            assert!(matches!(text(&input), Err(Malformed::WrongShape(_))), "{key:?}");
            assert_eq!(skip_value(&input), Ok(input.len()));
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        for level in [&b"\x91"[..], b"\x81\xa1a", b"\xdd\0\0\0\x01"] {
            let nested = |depth| [&level.repeat(depth)[..], &[1]].concat();
            assert!(text(&nested(MAX_DEPTH)).is_ok());
            assert_eq!(skip_value(&nested(MAX_DEPTH)), Ok(level.len() * MAX_DEPTH + 1));
            for depth in [MAX_DEPTH + 1, 100_000] {
                assert_eq!(text(&nested(depth)), Err(Malformed::TooDeep));
                assert_eq!(skip_value(&nested(depth)), Err(Malformed::TooDeep));
            }
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        for head in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
            let mut input = vec![head, 0xff, 0xff, 0xff, 0xff];
            assert_eq!(text(&input), Err(Malformed::Truncated));
            assert_eq!(skip_value(&input), Err(Malformed::Truncated));
            input.extend_from_slice(&[0xa1; 200]);
            assert!(text(&input).is_err());
            assert!(skip_value(&input).is_err());
        }
    }

    #[test]
    fn truncation_is_seen_everywhere() {
        let input = b"\x95\xa3abc\xcd\x01\x00\x81\xa1k\xd9\x01v\xcb\0\0\0\0\0\0\0\0\xd7\xff\0\0\0\0\0\0\0\0";
        assert!(text(input).is_ok());
        for len in 0..input.len() {
            assert_eq!(text(&input[..len]), Err(Malformed::Truncated), "{len}");
            assert_eq!(skip_value(&input[..len]), Err(Malformed::Truncated), "{len}");
        }
    }

    #[test]
    fn strings_of_all_lengths() {
        for len in 0..200 {
            for content in
                ["a".repeat(len), "é".repeat(len), "\n".repeat(len), format!("{}\"", "b".repeat(len))]
            {
                let mut input = Vec::new();
                super::super::write_str(&mut input, &content).expect("short");
                assert_eq!(json(&input).ok(), twin_json(&input), "{len}");
                input.extend_from_slice(b"\"\\\n\xff and more");
                assert_eq!(json(&input).ok(), twin_json(&input), "{len}");
                let marker = input.len() - 13 - content.len();
                input[marker] = 0xff;
                assert!(len == 0 || json(&input) == Err(Malformed::InvalidUtf8), "{len}");
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_twin(input in samples::msgpack(), damage in samples::damage()) {
            let input = samples::damaged(input, &damage);
            let printed = json(&input);
            let twin = twin_json(&input);
            prop_assert_eq!(printed.as_ref().ok(), twin.as_ref());
            if let Ok((text, taken, parts, exact)) = printed {
                prop_assert_eq!(skip_value(&input), Ok(taken));
                prop_assert!(twin::parse_json(text.as_bytes()).is_some());
                prop_assert!(parts.is_empty() || !exact);
                prop_assert!(text.len() <= 40 * input.len(), "out of proportion");
            }
        }

        #[test]
        fn any_bytes_are_taken_calmly(input in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(json(&input).ok(), twin_json(&input));
            let _ = skip_value(&input);
        }
    }
}
