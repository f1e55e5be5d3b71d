//! A broadcast in an envelope of JSON at one glance: most broadcasts are for nobody here, and reading them as a whole
//! costs ten times as much.
//!
//! Only the text that all publishers print is understood, byte for byte. Anything else is for the reader of
//! [`super::cluster`], which takes JSON of any form.

use std::borrow::Cow;

use memchr::memmem::FinderRev;
use once_cell::sync::Lazy;
use serde::de::IgnoredAny;

use super::broadcast::{Arguments, Broadcast};
use super::rooms_text::RoomsText;
use super::target::Target;
use super::typed::write_json_string;

/// How a broadcast begins that wants no acknowledgement.
const HEAD: &[u8] = br#"{"type":3,"data":{"packet":{"type":2,"data":["#;

/// The text between the arguments and the rooms. No string contains it: its quotes would be escaped.
const ROOMS: &[u8] = br#"]},"opts":{"rooms":["#;

/// Where the options begin in it.
const TO_OPTS: usize = br#"]},"opts":"#.len();

/// The text behind the rooms if there are no exceptions and no flags.
const PLAIN: &[u8] = br#"],"except":[],"flags":{}}}"#;

static BEFORE_ROOMS: Lazy<FinderRev<'static>> = Lazy::new(|| FinderRev::new(ROOMS));

/// A broadcast, as far as it was looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// The arguments: an array whose items are unchecked.
    arguments: &'a [u8],
    /// The options.
    opts: &'a [u8],
    /// The rooms as they stand there.
    rooms: RoomsText<'a>,
    /// Who sent it.
    uid: &'a [u8],
    /// The namespace, as it is printed.
    nsp: &'a [u8],
}

/// Where the name of the namespace begins in the end of a message.
const OF_NSP: usize = br#"","nsp":""#.len();

/// The end of the messages to a namespace.
pub fn ending(nsp: &str) -> Vec<u8> {
    let mut ending = br#"","nsp":"#.to_vec();
    write_json_string(&mut ending, nsp);
    ending.push(b'}');
    ending
}

/// Looks at a message to the namespace with this [`ending`]; `None` if it takes more than a glance.
pub fn glance<'a>(payload: &'a [u8], ending: &[u8]) -> Option<Glance<'a>> {
    if !payload.starts_with(HEAD) {
        return None;
    }
    let rest = payload.strip_suffix(ending)?;
    let nsp = ending.get(OF_NSP..ending.len().checked_sub(2)?)?.len();
    let nsp = payload.get(payload.len().checked_sub(nsp + 2)?..payload.len() - 2)?;
    let quote = memchr::memrchr(b'"', rest)?;
    let (rest, uid) = rest.split_at_checked(quote + 1)?;
    if uid.contains(&b'\\') {
        return None;
    }
    let data = rest.strip_suffix(br#","uid":""#)?;
    let rest = data.strip_suffix(PLAIN)?;
    let at = BEFORE_ROOMS.rfind(rest)?;
    let rooms = RoomsText::new(rest.get(at + ROOMS.len()..)?);
    let opts = data.get(at + TO_OPTS..data.len().checked_sub(1)?)?;
    let arguments = payload.get(HEAD.len() - 1..=at)?;
    Some(Glance { arguments, opts, rooms, uid, nsp })
}

impl<'a> Glance<'a> {
    /// Whether it is for everyone in the namespace.
    pub fn is_for_all(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Whether any of the rooms satisfies `is_here`; true as well if there is one that takes more than a glance.
    pub fn any_room(&self, is_here: impl FnMut(&[u8]) -> bool) -> bool {
        self.rooms.any(is_here)
    }

    /// The broadcast; `None` if it is malformed, or takes more than a glance.
    pub fn into_broadcast(self) -> Option<Broadcast<'a>> {
        if self.nsp.contains(&b'\\') || !self.rooms.is_plain() {
            return None;
        }
        let arguments = std::str::from_utf8(self.arguments).ok()?;
        serde_json::from_str::<IgnoredAny>(arguments).ok()?;
        Some(Broadcast {
            uid: Cow::Borrowed(std::str::from_utf8(self.uid).ok()?),
            nsp: Cow::Borrowed(std::str::from_utf8(self.nsp).ok()?),
            id: None,
            arguments: Arguments::Json(Cow::Borrowed(arguments)),
            target: Target::plain(self.opts, self.rooms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cluster::{self, Message};

    fn message(rooms: &str, more: &str) -> String {
        format!(
            r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["e",{{"opts":{{"rooms":["x"]}}}}]}},"opts":{{"rooms":[{rooms}],"except":[],"flags":{{}}{more}}}}},"uid":"U1","nsp":"/a\"b"}}"#
        )
    }

    fn seen<'a>(text: &'a str) -> Option<Glance<'a>> {
        glance(text.as_bytes(), &ending("/a\"b"))
    }

    #[test]
    fn the_usual_text_is_understood() {
        let all = message("", "");
        let all = seen(&all).unwrap();
        assert!(all.is_for_all());
        assert_eq!((all.uid, all.arguments), (&b"U1"[..], &br#"["e",{"opts":{"rooms":["x"]}}]"#[..]));
        let some = message(r#""a","é],\u005b""#.replace("\\u005b", "[").as_str(), "");
        let some = seen(&some).unwrap();
        assert!(!some.is_for_all());
        assert!(some.any_room(|room| room == b"a"));
        assert!(some.any_room(|room| room == "é],[".as_bytes()));
        assert!(!some.any_room(|room| room == b"x"));
    }

    #[test]
    fn what_takes_more_than_a_glance_counts_as_here() {
        for rooms in [r#""a\"b""#, "1", r#""a",2"#, r#""a","#, r#"["a"]"#, r#""a" "#, r#"" "#] {
            let text = message(rooms, "");
            assert!(seen(&text).is_none_or(|glance| glance.any_room(|_| false)), "{rooms}");
            let text = text.replace(r#""/a\"b""#, r#""/a""#);
            let glance = glance(text.as_bytes(), &ending("/a"));
            assert!(glance.is_none_or(|glance| glance.into_broadcast().is_none()), "{rooms}");
        }
    }

    #[test]
    fn names_of_rooms_that_no_json_has_are_left_to_the_reader() {
        for bad in [&b"\xff"[..], b"r\xc3", b"\xed\xa0\x80", b"a\nb", b"\0"] {
            for rooms in [[bad, &b"x"[..]], [b"x", bad]] {
                let text = message(r#""ROOMS""#, "").replace(r#""/a\"b""#, r#""/a""#);
                let (before, after) = text.split_once("ROOMS").unwrap();
                let text = [before.as_bytes(), &rooms.join(&b"\",\""[..]), after.as_bytes()].concat();
                assert!(glance(&text, &ending("/a")).unwrap().any_room(|_| false));
                assert!(glance(&text, &ending("/a")).unwrap().into_broadcast().is_none());
                assert!(Message::decode(&text).is_err(), "{bad:?}");
            }
        }
    }

    #[test]
    fn all_else_is_somebody_elses() {
        let text = message("", "");
        assert!(glance(text.as_bytes(), &ending("/")).is_none(), "another namespace");
        assert!(seen(&message("", r#","more":1"#)).is_none());
        for (part, other) in [
            (r#""type":3"#, r#""type":4"#),
            (r#"]},"opts""#, r#"]},"requestId":"R","opts""#),
            (r#"]},"opts""#, r#"],"id":1},"opts""#),
            (r#""flags":{}"#, r#""flags":{"volatile":true}"#),
            (r#""except":[]"#, r#""except":["a"]"#),
            (r#""uid":"U1""#, r#""uid":"U\"1""#),
            (r#""uid":"U1""#, r#""uid":7"#),
        ] {
            assert!(seen(&text.replace(part, other)).is_none(), "{other}");
        }
        for cut in 0..text.len() {
            assert!(seen(&text[..cut]).is_none());
        }
    }

    #[test]
    fn malformed_arguments_are_seen() {
        for arguments in ["[}]", "[\"e\",]", "[\"\u{1}\"]"] {
            let text = message("", "").replace(r#"["e",{"opts":{"rooms":["x"]}}]"#, arguments);
            let text = text.replace(r#""/a\"b""#, r#""/a""#);
            assert!(glance(text.as_bytes(), &ending("/a")).unwrap().into_broadcast().is_none(), "{text}");
        }
        let text = message("", "");
        assert!(seen(&text).unwrap().into_broadcast().is_none(), "a namespace with an escape");
    }

    #[test]
    fn it_sees_what_the_reader_reads() {
        let mut out = Vec::new();
        for room in [None, Some("room"), Some("a\"b"), Some("]},\"opts\":{\"rooms\":[")] {
            for arguments in [r#"["e"]"#, r#"["]},\"opts\":{\"rooms\":[",[[]],{"a":{}}]"#] {
                out.clear();
                let payload = format!("42/n,{arguments}");
                cluster::encode_broadcast("U", "/n", payload.as_bytes(), &[], room, None, &mut out).unwrap();
                let glance = glance(&out, &ending("/n")).unwrap();
                let Ok(Some(Message::Broadcast(read))) = Message::decode(&out) else {
                    panic!("a broadcast");
                };
                assert_eq!(glance.is_for_all(), read.target.is_for_all());
                assert_eq!(glance.arguments, arguments.as_bytes());
                assert_eq!((glance.uid, &*read.uid), (&b"U"[..], "U"));
                assert_eq!(glance.opts, read.target.opts);
                for name in ["room", "x"] {
                    let is = |room: &[u8]| room == name.as_bytes();
                    assert!(glance.is_for_all() || glance.any_room(is) || !read.target.any_room(is));
                }
                let Some(seen) = glance.into_broadcast() else {
                    assert!(room.is_some_and(|room| room.contains('"')), "an escape");
                    continue;
                };
                assert_eq!((&seen.nsp, &seen.uid, seen.id), (&read.nsp, &read.uid, read.id));
                assert_eq!(seen.arguments, read.arguments);
                assert_eq!(seen.target.is_trivial(), read.target.is_trivial());
            }
        }
    }
}
