//! Long lists in answers, cut into pieces that JS reads one at a time: a list of 10,000 sockets would block its thread for
//! tens of milliseconds.

use super::descriptions::{self, Element, Gathered, Handshakes};
use super::scan::{skip_json, skip_space, skip_string};
use super::typed::JSON_MARK;
use crate::packet::{Malformed, MsgpackReader, write_array_len};

/// How many bytes a piece has at least, but for the last one: reading it takes JS two milliseconds. It has more if one element
/// is that long.
const PIECE: usize = 128 << 10;

/// How a piece is encoded. The numbers are known to `lib/messages/answers.js`.
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

/// A piece of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// How it is encoded.
    pub kind: PieceKind,
    /// Whether it is the last one.
    pub is_last: bool,
    /// Its bytes, in parts.
    pub body: &'a [&'a [u8]],
    /// The handshakes of the sockets in it, if they stand apart. The body then is an array of the id, the rooms and the
    /// data of each socket in turn.
    pub handshakes: Option<Handshakes<'a>>,
}

/// Takes the pieces.
type Take<'a> = dyn FnMut(Piece<'_>) + 'a;

/// Cuts the list that stands in a valid answer at `path`, and hands each piece to `each`. Hands over the answer
/// itself if there is no list.
///
/// # Errors
/// If the answer is not valid.
pub fn cut(answer: &[u8], path: &[&str], each: &mut Take<'_>) -> Result<(), Malformed> {
    let is_json = answer.first() == Some(&JSON_MARK);
    let list = if is_json { find_in_json(answer, path) } else { find_in_msgpack(answer, path)? };
    match list {
        Some(list) if is_json => cut_json(list, each),
        Some(list) => cut_msgpack(list, each),
        None => {
            each(Piece { kind: PieceKind::Whole, is_last: true, body: &[answer], handshakes: None });
            Ok(())
        }
    }
}

/// `list` begins with the bracket.
fn cut_json(list: &[u8], each: &mut Take<'_>) -> Result<(), Malformed> {
    let mut gathered = Gathered::default();
    let mut at = 1;
    loop {
        let description = descriptions::in_json(list, at);
        let end = match description {
            Some((_, end)) => end,
            None => skip_json(list, at).unwrap_or(list.len()),
        };
        let after = skip_space(list, end);
        let is_last = list.get(after) != Some(&b',');
        let element = match description {
            Some((description, _)) => Element::Socket(description),
            None => Element::Whole(list.get(at..if is_last { end } else { after }).unwrap_or_default()),
        };
        gather(&mut gathered, &element, true, each)?;
        if is_last {
            return hand_over(&mut gathered, true, true, each);
        }
        at = after + 1;
    }
}

fn cut_msgpack(list: &[u8], each: &mut Take<'_>) -> Result<(), Malformed> {
    let mut gathered = Gathered::default();
    let mut reader = MsgpackReader::new(list);
    for _ in 0..reader.array_len()? {
        let value = reader.raw_value()?;
        let element = descriptions::in_msgpack(value).map_or(Element::Whole(value), Element::Socket);
        gather(&mut gathered, &element, false, each)?;
    }
    hand_over(&mut gathered, false, true, each)
}

/// Adds an element to the piece that is being made, or to the next one.
fn gather(
    gathered: &mut Gathered,
    element: &Element<'_>,
    is_json: bool,
    each: &mut Take<'_>,
) -> Result<(), Malformed> {
    if gathered.len() >= PIECE || !gathered.takes(element) {
        hand_over(gathered, is_json, false, each)?;
    }
    gathered.add(element, is_json);
    Ok(())
}

fn hand_over(
    gathered: &mut Gathered,
    is_json: bool,
    is_last: bool,
    each: &mut Take<'_>,
) -> Result<(), Malformed> {
    let Gathered { count, body, handshakes, ends } = std::mem::take(gathered);
    let kind = match is_json {
        true if body.is_ascii() && handshakes.is_ascii() => PieceKind::Ascii,
        true => PieceKind::Json,
        false => PieceKind::Msgpack,
    };
    let mut head = Vec::new();
    if !is_json {
        write_array_len(&mut head, count)?;
    }
    let (open, close): (&[u8], &[u8]) = if is_json { (b"[", b"]") } else { (&head, b"") };
    let handshakes = (!ends.is_empty()).then_some(Handshakes { bytes: &handshakes, ends: &ends });
    each(Piece { kind, is_last, body: &[open, &body, close], handshakes });
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

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &[&str] = &["data", "sockets"];

    fn pieces(answer: &[u8], path: &[&str]) -> Vec<(PieceKind, bool, Vec<u8>)> {
        let mut all = Vec::new();
        cut(answer, path, &mut |Piece { kind, is_last, body, .. }| all.push((kind, is_last, body.concat())))
            .unwrap();
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

    /// The body of a piece, and its handshakes if they stand apart.
    type Apart = (Vec<u8>, Option<Vec<Vec<u8>>>);

    fn apart(answer: &[u8]) -> Vec<Apart> {
        let mut all = Vec::new();
        cut(answer, &["sockets"], &mut |Piece { body, handshakes, .. }| {
            let handshakes = handshakes.map(|Handshakes { bytes, ends }| {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                starts.zip(ends).map(|(start, &end)| bytes[start as usize..end as usize].to_vec()).collect()
            });
            all.push((body.concat(), handshakes));
        })
        .unwrap();
        all
    }

    #[test]
    fn the_handshakes_of_sockets_stand_apart() {
        let answer = br#"{"sockets":[{"id":"a\"","handshake":{"auth":{"x":"}"}},"rooms":["r",1],"data":{}},{"id":"b","handshake":{},"rooms":[],"data":null}]}"#;
        let handshakes = vec![br#"{"auth":{"x":"}"}}"#.to_vec(), b"{}".to_vec()];
        assert_eq!(apart(answer), [(br#"["a\"",["r",1],{},"b",[],null]"#.to_vec(), Some(handshakes))]);
        let value = serde_json::json!({ "sockets": [{ "id": "a", "handshake": { "auth": 7 }, "rooms": [], "data": 1 }] });
        // serde_json sorts the names.
        let sorted = rmp_serde::to_vec_named(&value).unwrap();
        assert_eq!(apart(&sorted)[0].1, None);
        let mut answer = b"\x81\xa7sockets\x91\x84".to_vec();
        for (name, value) in
            [("id", &b"\xa1a"[..]), ("handshake", b"\x81\xa4auth\x07"), ("rooms", b"\x90"), ("data", b"\x01")]
        {
            crate::packet::write_str(&mut answer, name).unwrap();
            answer.extend_from_slice(value);
        }
        let handshakes = vec![b"\x81\xa4auth\x07".to_vec()];
        assert_eq!(apart(&answer), [(b"\x93\xa1a\x90\x01".to_vec(), Some(handshakes))]);
    }

    #[test]
    fn a_description_that_is_odd_is_left_whole() {
        for odd in [
            r#"{"id":7,"handshake":{},"rooms":[],"data":1}"#,
            r#"{"id":"a","handshake":"h","rooms":[],"data":1}"#,
            r#"{"id":"a","handshake":[],"rooms":[],"data":1}"#,
            r#"{"id":"a","handshake":{},"rooms":{},"data":1}"#,
            r#"{"id":"a","handshake":{},"rooms":[]}"#,
            r#"{"id":"a","handshake":{},"rooms":[],"data":1,"server":true}"#,
            r#"{"handshake":{},"id":"a","rooms":[],"data":1}"#,
            r#"{"id":"a", "handshake":{},"rooms":[],"data":1}"#,
            r#"{"id":"a"}"#,
            "7",
        ] {
            let usual = r#"{"id":"u","handshake":{"n":1},"rooms":[],"data":1}"#;
            let answer = format!(r#"{{"sockets":[{usual},{odd},{usual}]}}"#);
            let usual = (br#"["u",[],1]"#.to_vec(), Some(vec![br#"{"n":1}"#.to_vec()]));
            let whole = (format!("[{odd}]").into_bytes(), None);
            assert_eq!(apart(answer.as_bytes()), [usual.clone(), whole, usual], "{odd}");
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
