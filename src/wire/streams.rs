//! The entries of streams, as `@socket.io/redis-streams-adapter` adds them: `uid`, `nsp`, `type` and `data`.
//!
//! Its `data` are those of an envelope of [`super::cluster`]: JSON, or base64 of msgpack.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::cluster;
use super::rooms::{Room, Rooms};
use super::typed::{JSON_MARK, decode, write_json_string};
use crate::packet::{Malformed, write_map_len, write_str, write_uint};
use crate::transport::resp::{Items, Reply};

/// The id of an entry: when it was added, in milliseconds, and which of that millisecond it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The time, in milliseconds.
    pub time: u64,
    /// Its number within that.
    pub seq: u64,
}

impl EntryId {
    /// Before all entries.
    pub const ZERO: EntryId = EntryId { time: 0, seq: 0 };

    /// Reads `time-seq`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (time, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        // `parse` would take a sign.
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        Some(EntryId { time: number(time)?, seq: number(seq)? })
    }

    /// The next one that there could be.
    #[must_use]
    pub fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => EntryId { seq, ..self },
            None => EntryId { time: self.time.saturating_add(1), seq: 0 },
        }
    }

    /// The last one that there could be before it.
    #[must_use]
    pub fn previous(self) -> Self {
        match (self.time.checked_sub(1), self.seq.checked_sub(1)) {
            (_, Some(seq)) => EntryId { seq, ..self },
            (Some(time), None) => EntryId { time, seq: u64::MAX },
            (None, None) => EntryId::ZERO,
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time, self.seq)
    }
}

/// The streams of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNames {
    /// The stream that this package adds to, and the reference reads.
    pub written: String,
    /// The stream that the reference adds to and does not read: its hash is signed, and so is the number of the stream.
    pub astray: Option<String>,
}

impl StreamNames {
    /// The streams of `nsp`, where there are `count` of them.
    pub fn of(name: &str, count: u32, nsp: &str) -> Self {
        if count <= 1 {
            return StreamNames { written: name.to_owned(), astray: None };
        }
        let hash =
            nsp.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        let (hash, count) = (i64::from(hash), i64::from(count));
        let signed = hash % count;
        StreamNames {
            written: format!("{name}-{}", hash.rem_euclid(count)),
            astray: (signed < 0).then(|| format!("{name}-{signed}")),
        }
    }
}

/// An entry that is a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its id.
    pub id: EntryId,
    /// The uid of the member that has added it.
    pub uid: &'a str,
    /// The namespace.
    pub nsp: &'a str,
    /// The type of the message.
    pub kind: u64,
    /// Its data: JSON, or base64 of msgpack.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads an item of what XREAD and XRANGE answer: the id, and what is in the entry. `None` for a foreign one, which
    /// has no namespace.
    ///
    /// # Errors
    /// If it is malformed. `id` is set even so, if there is one.
    pub fn of(item: Reply<'a>, id: &mut EntryId) -> Result<Option<Self>, Malformed> {
        let (read, fields) = id_and_fields(item).ok_or(Malformed::WrongShape("an entry"))?;
        *id = read;
        let (mut uid, mut nsp, mut kind, mut data) = ("", "", "", &b""[..]);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::WrongShape("UTF-8 in an entry"));
        let mut fields = fields;
        while let (Some(name), Some(value)) = (fields.next_bulk(), fields.next_bulk()) {
            match name {
                b"uid" => uid = text(value)?,
                b"nsp" => nsp = text(value)?,
                b"type" => kind = text(value)?,
                b"data" => data = value,
                _ => {}
            }
        }
        if nsp.is_empty() {
            return Ok(None);
        }
        let kind = kind.parse().map_err(|_| Malformed::WrongShape("the type of an entry"))?;
        Ok(Some(Entry { id: read, uid, nsp, kind, data }))
    }

    /// Whether it is an event for the sockets.
    pub fn is_broadcast(&self) -> bool {
        self.kind == cluster::BROADCAST
    }

    /// Whom it is for, if it is an event that its clients may miss: one that is no request, wants no acknowledgement and
    /// is not volatile. `envelope` is memory for its envelope, which is then in it.
    pub fn as_event(&self, envelope: &mut Vec<u8>) -> Option<Audience> {
        envelope.clear();
        if !self.is_broadcast() || self.write_envelope(envelope).is_err() {
            return None;
        }
        event_of(envelope)
    }

    /// Appends the message as an envelope of [`super::cluster`].
    ///
    /// # Errors
    /// If the data are neither JSON nor base64.
    pub fn write_envelope(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.data.is_empty() || self.data.first() == Some(&JSON_MARK) {
            out.extend_from_slice(br#"{"type":"#);
            out.extend_from_slice(itoa::Buffer::new().format(self.kind).as_bytes());
            if !self.data.is_empty() {
                out.extend_from_slice(br#","data":"#);
                out.extend_from_slice(self.data);
            }
            out.extend_from_slice(br#","uid":"#);
            write_json_string(out, self.uid);
            out.extend_from_slice(br#","nsp":"#);
            write_json_string(out, self.nsp);
            out.push(b'}');
            return Ok(());
        }
        write_map_len(out, 4)?;
        write_str(out, "type")?;
        write_uint(out, self.kind);
        write_str(out, "data")?;
        BASE64.decode_vec(self.data, out).map_err(|_| Malformed::WrongShape("neither JSON nor base64"))?;
        write_str(out, "uid")?;
        write_str(out, self.uid)?;
        write_str(out, "nsp")?;
        write_str(out, self.nsp)
    }
}

/// The same for an envelope.
pub fn event_of(envelope: &[u8]) -> Option<Audience> {
    let Ok(Some(cluster::Message::Broadcast(broadcast))) = cluster::Message::decode(envelope) else {
        return None;
    };
    let target = &broadcast.target;
    let audience = if target.is_trivial() { Audience::default() } else { Audience::of(target.opts).ok()? };
    (broadcast.id.is_none() && !audience.is_volatile()).then_some(audience)
}

/// Splits an item of what XREAD and XRANGE answer.
pub fn id_and_fields(item: Reply<'_>) -> Option<(EntryId, Items<'_>)> {
    let Reply::Array(mut parts) = item else {
        return None;
    };
    let id = EntryId::parse(parts.next_bulk()?)?;
    // An entry that was deleted meanwhile has no fields.
    match parts.next()? {
        Reply::Array(fields) => Some((id, fields)),
        _ => None,
    }
}

/// Whom a broadcast is for, kept to be looked at later.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Audience {
    rooms: Option<Rooms>,
    except: Option<Rooms>,
    flags: Option<Flags>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flags {
    #[serde(deserialize_with = "is_there")]
    volatile: bool,
}

/// Whatever the value is, `null` too.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Audience {
    /// Reads the options of a broadcast, in JSON or msgpack; none mean everyone.
    ///
    /// # Errors
    /// If they are malformed.
    pub fn of(opts: &[u8]) -> Result<Self, Malformed> {
        if opts.is_empty() { Ok(Audience::default()) } else { decode(opts) }
    }

    /// Whether the broadcast may be lost: then it has no offset, and is not sent again.
    pub fn is_volatile(&self) -> bool {
        self.flags.as_ref().is_some_and(|flags| flags.volatile)
    }

    /// Whether it was for a socket in these rooms.
    pub fn includes(&self, rooms: &SessionRooms) -> bool {
        let any = |list: &Option<Rooms>| {
            list.as_ref().is_some_and(|list| list.iter().any(|room| rooms.contains(room)))
        };
        let for_all = self.rooms.as_ref().is_none_or(Rooms::is_empty);
        (for_all || any(&self.rooms)) && !any(&self.except)
    }

    /// How many bytes it takes beyond itself.
    pub fn held(&self) -> usize {
        let held = |list: &Option<Rooms>| list.as_ref().map_or(0, Rooms::held);
        held(&self.rooms) + held(&self.except)
    }
}

/// How far a client had got when it went. Its session says so in a field that the reference does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The event up to which its server had sent it all that was for it.
    pub read: EntryId,
    /// The last event among these that it was sent on that connection, if there was one.
    pub sent: Option<EntryId>,
}

impl Progress {
    /// That of a session as it was kept; none if another implementation has kept it.
    pub fn of(session: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Session {
            read: Option<String>,
            sent: Option<String>,
        }
        let bytes = BASE64.decode(session).ok()?;
        let session: Session = decode(&bytes).ok()?;
        let read = EntryId::parse(session.read?.as_bytes())?;
        let sent = match session.sent {
            Some(sent) => Some(EntryId::parse(sent.as_bytes())?),
            None => None,
        };
        Some(Progress { read, sent })
    }

    /// From where a client can be restored that says that it has got as far as `offset`: it has got all that it was sent.
    #[must_use]
    pub fn resumes(&self, offset: EntryId) -> Option<EntryId> {
        self.sent.is_none_or(|sent| sent <= offset).then_some(self.read)
    }
}

/// The rooms of a session. As in JavaScript, the number 1 and the text "1" are two.
#[derive(Debug, Default)]
pub struct SessionRooms {
    names: HashSet<Vec<u8>>,
    numbers: Vec<f64>,
}

impl SessionRooms {
    /// Those of a session as it was kept: base64 of msgpack.
    ///
    /// # Errors
    /// If it is not one.
    pub fn of(session: &[u8]) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Session {
            rooms: Rooms,
        }
        let bytes = BASE64.decode(session).map_err(|_| Malformed::WrongShape("a session"))?;
        let session: Session = decode(&bytes)?;
        let mut rooms = SessionRooms::default();
        for room in session.rooms.iter() {
            match room {
                Room::Name(name) => _ = rooms.names.insert(name.to_vec()),
                Room::Number(number) => rooms.numbers.push(number),
                Room::Other => {}
            }
        }
        Ok(rooms)
    }

    #[allow(clippy::float_cmp)] // as JavaScript compares them
    fn contains(&self, room: Room<'_>) -> bool {
        match room {
            Room::Name(name) => self.names.contains(name),
            Room::Number(number) => self.numbers.contains(&number),
            Room::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::write_array_len;

    #[test]
    fn ids_are_read_and_printed() {
        let id = EntryId::parse(b"1526919030474-55").unwrap();
        assert_eq!(id, EntryId { time: 1_526_919_030_474, seq: 55 });
        assert_eq!(id.to_string(), "1526919030474-55");
        assert!(id < id.next() && id.previous() < id && id.next().previous() == id);
        assert_eq!(EntryId { time: 1, seq: 0 }.previous().next(), EntryId { time: 1, seq: 0 });
        assert_eq!(EntryId::ZERO.previous(), EntryId::ZERO);
        for wrong in ["", "-", "1", "1-", "-1-1", "+1-1", "1-1-1", "1-x", "99999999999999999999-1"] {
            assert_eq!(EntryId::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn streams_are_those_of_the_reference_wherever_it_has_some() {
        let of = |nsp: &str| StreamNames::of("s", 4, nsp);
        // "/" is 47, and so is its hash.
        assert_eq!(of("/"), StreamNames { written: "s-3".into(), astray: None });
        // hashCode("/namespace-1") is -1553009806 in the reference: -2 of 4.
        let negative = (0..50).map(|n| of(&format!("/namespace-{n}"))).find(|names| names.astray.is_some());
        let names = negative.unwrap();
        let signed: i64 = names.astray.unwrap()["s-".len()..].parse().unwrap();
        assert_eq!(names.written, format!("s-{}", signed + 4));
        assert_eq!(StreamNames::of("s", 1, "/x"), StreamNames { written: "s".into(), astray: None });
    }

    #[test]
    fn envelopes_of_entries() {
        let entry = Entry { id: EntryId::ZERO, uid: "U\"", nsp: "/", kind: 5, data: br#"{"a":1}"# };
        let envelope = |entry: &Entry<'_>| {
            let mut out = Vec::new();
            entry.write_envelope(&mut out).map(|()| out)
        };
        assert_eq!(
            String::from_utf8(envelope(&entry).unwrap()).unwrap(),
            r#"{"type":5,"data":{"a":1},"uid":"U\"","nsp":"/"}"#
        );
        assert_eq!(
            String::from_utf8(envelope(&Entry { data: b"", ..entry }).unwrap()).unwrap(),
            r#"{"type":5,"uid":"U\"","nsp":"/"}"#
        );
        let binary = envelope(&Entry { data: b"gaFhxAEB", ..entry }).unwrap();
        assert_eq!(binary, b"\x84\xa4type\x05\xa4data\x81\xa1a\xc4\x01\x01\xa3uid\xa2U\"\xa3nsp\xa1/");
        for data in ["gaFhxAE", "!", " {}"] {
            assert!(envelope(&Entry { data: data.as_bytes(), ..entry }).is_err(), "{data}");
        }
    }

    #[test]
    fn audiences() {
        let of = |opts: &str| Audience::of(opts.as_bytes()).unwrap();
        let includes = |opts: &str, names: &[&str]| {
            let names = names.iter().map(|&name| name.as_bytes().to_vec()).collect();
            of(opts).includes(&SessionRooms { names, numbers: vec![7.0] })
        };
        assert!(includes(r#"{"rooms":[],"except":[]}"#, &[]));
        assert!(Audience::of(b"").unwrap().includes(&SessionRooms::default()));
        assert!(includes(r#"{"rooms":["a",7],"except":["b"]}"#, &[]));
        assert!(!includes(r#"{"rooms":["a","7"],"except":["b"]}"#, &[]), "the text is another room");
        assert!(includes(r#"{"rooms":[],"except":["7"]}"#, &[]));
        assert!(!includes(r#"{"rooms":["a"],"except":["b"]}"#, &["a", "b"]));
        assert!(!includes(r#"{"rooms":["a"]}"#, &["b"]));
        assert!(!of(r#"{"flags":{"compress":true}}"#).is_volatile());
        for there in ["true", "false", "null"] {
            assert!(of(&format!(r#"{{"flags":{{"volatile":{there}}}}}"#)).is_volatile());
        }
        assert!(Audience::of(b"\x81\xa5flags\x81\xa8volatile\xc3").unwrap().is_volatile());
    }

    #[test]
    fn sessions_tell_how_far_their_clients_had_got() {
        let session = |fields: &[(&str, &str)]| {
            let mut bytes = Vec::new();
            write_map_len(&mut bytes, fields.len() + 1).unwrap();
            write_str(&mut bytes, "rooms").unwrap();
            write_array_len(&mut bytes, 0).unwrap();
            for (name, value) in fields {
                write_str(&mut bytes, name).unwrap();
                write_str(&mut bytes, value).unwrap();
            }
            BASE64.encode(&bytes)
        };
        let of = |fields: &[(&str, &str)]| Progress::of(session(fields).as_bytes());
        let id = |seq| EntryId { time: 5, seq };
        assert_eq!(of(&[]), None, "the reference's");
        assert_eq!(of(&[("sent", "5-1")]), None);
        assert_eq!(of(&[("read", "5")]), None);
        assert_eq!(of(&[("read", "5-3"), ("sent", "-")]), None);
        assert_eq!(Progress::of(b"!"), None);
        let idle = of(&[("read", "5-3")]).unwrap();
        assert_eq!(idle.resumes(EntryId::ZERO), Some(id(3)), "nothing was sent to it");
        let sent = of(&[("read", "5-3"), ("sent", "5-1")]).unwrap();
        assert_eq!((sent.resumes(id(1)), sent.resumes(id(2))), (Some(id(3)), Some(id(3))));
        assert_eq!(sent.resumes(id(0)), None, "it has not got what was sent last");
    }

    #[test]
    fn sessions_tell_their_rooms() {
        let mut bytes = Vec::new();
        write_map_len(&mut bytes, 2).unwrap();
        write_str(&mut bytes, "sid").unwrap();
        write_str(&mut bytes, "S").unwrap();
        write_str(&mut bytes, "rooms").unwrap();
        write_array_len(&mut bytes, 2).unwrap();
        write_str(&mut bytes, "S").unwrap();
        write_uint(&mut bytes, 7);
        let rooms = SessionRooms::of(BASE64.encode(&bytes).as_bytes()).unwrap();
        assert_eq!((rooms.names.into_iter().collect(), rooms.numbers), (vec![b"S".to_vec()], vec![7.0]));
        assert!(SessionRooms::of(b"!").is_err());
        assert!(SessionRooms::of(b"gA==").is_err());
    }
}
