//! Long lists in answers, cut into pieces that JS reads one at a time: a list of 10,000 sockets would block its thread for
//! tens of milliseconds.

use super::typed::JSON_MARK;
use crate::packet::{Malformed, MsgpackReader, write_array_len};

/// How many bytes a piece has at least, but for the last one: reading it takes JS two milliseconds. It has more if one element
/// is that long.
const PIECE: usize = 128 << 10;

/// How a piece is encoded. The numbers are known to `lib/adapter/adapter.js`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PieceKind {
    /// An array of some elements of the list, in JSON.
    Json = 0,
    /// The same in msgpack.
    Msgpack = 1,
    /// Not a piece but the whole answer, which is no list.
    Whole = 2,
    /// As [`PieceKind::Json`], of ASCII characters alone: JS makes a string of those in a third of the time.
    Ascii = 3,
}

/// Takes the pieces: how each is encoded, whether it is the last one, and its bytes in parts.
type Take<'a> = dyn FnMut(PieceKind, bool, &[&[u8]]) + 'a;

/// Cuts the list that stands in a valid answer at `path`, and hands each piece to `each`. Hands over the answer
/// itself if there is no list.
///
/// # Errors
/// If the answer is not valid.
pub fn cut(answer: &[u8], path: &[&str], each: &mut Take<'_>) -> Result<(), Malformed> {
    let is_json = answer.first() == Some(&JSON_MARK);
    let list = if is_json { find_in_json(answer, path) } else { find_in_msgpack(answer, path)? };
    let Some(list) = list else {
        each(PieceKind::Whole, true, &[answer]);
        return Ok(());
    };
    if is_json {
        cut_json(list, each)
    } else {
        cut_msgpack(list, each)?
    }
    Ok(())
}

/// `list` begins with the bracket.
fn cut_json(list: &[u8], each: &mut Take<'_>) {
    let mut start = 1;
    let mut at = 1;
    loop {
        let end = skip_json(list, at).unwrap_or(list.len());
        let after = skip_space(list, end);
        let is_last = list.get(after) != Some(&b',');
        if is_last || end - start >= PIECE {
            let elements = list.get(start..end).unwrap_or_default();
            let kind = if elements.is_ascii() { PieceKind::Ascii } else { PieceKind::Json };
            each(kind, is_last, &[b"[", elements, b"]"]);
            start = after + 1;
        }
        if is_last {
            return;
        }
        at = after + 1;
    }
}

fn cut_msgpack(list: &[u8], each: &mut Take<'_>) -> Result<(), Malformed> {
    let mut reader = MsgpackReader::new(list);
    let count = reader.array_len()?;
    let (mut elements, mut piece) = (0, Vec::new());
    for n in 0..count {
        piece.extend_from_slice(reader.raw_value()?);
        elements += 1;
        if piece.len() >= PIECE && n + 1 < count {
            hand_over_msgpack(elements, &piece, false, each)?;
            (elements, piece) = (0, Vec::new());
        }
    }
    hand_over_msgpack(elements, &piece, true, each)
}

fn hand_over_msgpack(
    elements: usize,
    piece: &[u8],
    is_last: bool,
    each: &mut Take<'_>,
) -> Result<(), Malformed> {
    let mut head = Vec::new();
    write_array_len(&mut head, elements)?;
    each(PieceKind::Msgpack, is_last, &[&head, piece]);
    Ok(())
}

/// The list at `path`, from its bracket on. Only of a document that is known to be valid.
fn find_in_json<'a>(text: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    let at = skip_space(text, 0);
    let Some((key, rest)) = path.split_first() else {
        return (text.get(at) == Some(&b'[')).then(|| text.get(at..)).flatten();
    };
    if text.get(at) != Some(&b'{') {
        return None;
    }
    let mut at = skip_space(text, at + 1);
    while text.get(at) == Some(&b'"') {
        let end = skip_string(text, at)?;
        let name = text.get(at + 1..end - 1)?;
        let value = skip_space(text, skip_space(text, end) + 1);
        if name == key.as_bytes() {
            return find_in_json(text.get(value..)?, rest);
        }
        at = skip_space(text, skip_json(text, value)?);
        if text.get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
    }
    None
}

fn find_in_msgpack<'a>(bytes: &'a [u8], path: &[&str]) -> Result<Option<&'a [u8]>, Malformed> {
    let mut reader = MsgpackReader::new(bytes);
    let Some((key, rest)) = path.split_first() else {
        return Ok(reader.array_len().is_ok().then_some(bytes));
    };
    let Ok(members) = reader.map_len() else {
        return Ok(None);
    };
    for _ in 0..members {
        let name = reader.raw_value()?;
        let value = reader.raw_value()?;
        if MsgpackReader::new(name).str().is_ok_and(|name| name == *key) {
            return find_in_msgpack(value, rest);
        }
    }
    Ok(None)
}

/// Where the value that begins at `at`, or behind the space there, ends.
fn skip_json(text: &[u8], at: usize) -> Option<usize> {
    let mut at = skip_space(text, at);
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => at = skip_string(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            // The end of an empty list, or of a value without a bracket.
            b'}' | b']' => return Some(at),
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            _ => {
                at = text
                    .get(at..)?
                    .iter()
                    .position(|byte| b",:]} \t\n\r".contains(byte))
                    .map_or(text.len(), |n| at + n)
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where the string that begins at `at` ends.
fn skip_string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let space =
        text.get(at..).unwrap_or_default().iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
    at + space
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &[&str] = &["data", "sockets"];

    fn pieces(answer: &[u8], path: &[&str]) -> Vec<(PieceKind, bool, Vec<u8>)> {
        let mut all = Vec::new();
        cut(answer, path, &mut |kind, is_last, parts| all.push((kind, is_last, parts.concat()))).unwrap();
        all
    }

    #[test]
    fn a_short_list_is_one_piece() {
        for (answer, expected) in [
            (r#"{"data":{"requestId":"R","sockets":[{"id":"a]\"}"},2]}}"#, r#"[{"id":"a]\"}"},2]"#),
            (r#"{"data":{"sockets":[]}}"#, "[]"),
            (" { \"data\" : { \"sockets\" : [ \"a\" , \"\\\\\" ] } } ", "[ \"a\" , \"\\\\\"]"),
            (
                r#"{"x":[{"sockets":[1]}],"data":{"y":{"sockets":[2]},"sockets":[3,null,true,-1.5e3]}}"#,
                "[3,null,true,-1.5e3]",
            ),
        ] {
            let text = answer.trim_start();
            assert_eq!(
                pieces(text.as_bytes(), PATH),
                [(PieceKind::Ascii, true, expected.into())],
                "{answer}"
            );
        }
        for (room, kind) in [("r", PieceKind::Ascii), ("\u{e9}", PieceKind::Json)] {
            let answer = format!(r#"{{"requestId":"R","rooms":["{room}"]}}"#);
            let expected = format!(r#"["{room}"]"#).into_bytes();
            assert_eq!(pieces(answer.as_bytes(), &["rooms"]), [(kind, true, expected)]);
        }
    }

    #[test]
    fn what_is_no_list_is_handed_over_as_it_is() {
        for answer in [
            r#"{"data":{"packet":[1]}}"#,
            r#"{"data":{"sockets":{}}}"#,
            r#"{"data":[{"sockets":[]}]}"#,
            r#"{"data":7}"#,
            r#"{"data":{"so\u0063kets":[]}}"#,
            "{}",
        ] {
            assert_eq!(pieces(answer.as_bytes(), PATH), [(PieceKind::Whole, true, answer.into())]);
        }
        for answer in [&b"\x81\xa4data\x07"[..], b"\x81\xa4data\x81\xa7sockets\x80", b"\x90", b"\x07"] {
            assert_eq!(pieces(answer, PATH), [(PieceKind::Whole, true, answer.into())]);
        }
    }

    #[test]
    fn the_elements_of_a_long_list_are_in_its_pieces_in_their_order() {
        let sockets: Vec<serde_json::Value> = (0..3000)
            .map(|n| serde_json::json!({ "id": format!("s{n}"), "rooms": ["a,b", "[", n], "data": { "text": "\"}".repeat(n % 150) } }))
            .collect();
        let message =
            serde_json::json!({ "type": 8, "data": { "requestId": "R", "sockets": sockets }, "nsp": "/" });
        let json = serde_json::to_vec(&message).unwrap();
        let msgpack = rmp_serde::to_vec_named(&message).unwrap();
        for (answer, kind) in [(&json, PieceKind::Ascii), (&msgpack, PieceKind::Msgpack)] {
            let all = pieces(answer, PATH);
            assert!(all.len() > 2, "{}", all.len());
            let lasts = all.iter().filter(|(_, is_last, _)| *is_last).count();
            assert!(lasts == 1 && all.last().unwrap().1);
            let mut elements = Vec::new();
            for (found, _, bytes) in all {
                assert_eq!(found, kind);
                assert!(bytes.len() < 2 * PIECE);
                let some: Vec<serde_json::Value> = if kind == PieceKind::Ascii {
                    serde_json::from_slice(&bytes).unwrap()
                } else {
                    rmp_serde::from_slice(&bytes).unwrap()
                };
                elements.extend(some);
            }
            assert_eq!(elements, sockets);
        }
    }

    #[test]
    fn an_element_is_never_cut() {
        let long = format!("\"{}\"", "x".repeat(3 * PIECE));
        let answer = format!(r#"{{"rooms":["a",{long},"b"]}}"#);
        let all = pieces(answer.as_bytes(), &["rooms"]);
        let texts: Vec<String> =
            all.into_iter().map(|(.., bytes)| String::from_utf8(bytes).unwrap()).collect();
        assert_eq!(texts, [format!(r#"["a",{long}]"#), r#"["b"]"#.into()]);
    }
}
