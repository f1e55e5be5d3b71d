//! Where a broadcast goes: its rooms, its exceptions, its flags.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::rooms::{IsFilled, Rooms as List};
use super::rooms_text::RoomsText;
use crate::packet::{Malformed, MsgpackReader, write_array_len, write_map_len, write_str};

/// The options of a broadcast.
#[derive(Debug)]
pub struct Target<'a> {
    /// The object as it came, in msgpack or JSON.
    pub opts: &'a [u8],
    rooms: TargetRooms<'a>,
    /// Whether there is nothing but (at most) rooms in it: no exception, no flag.
    plain: bool,
}

#[derive(Debug)]
enum TargetRooms<'a> {
    /// Where they stand, one after another, and how many there are.
    Msgpack(MsgpackReader<'a>, usize),
    Json(List),
    /// In JSON as it is usually printed.
    Text(RoomsText<'a>),
}

impl<'a> Target<'a> {
    /// To everyone.
    pub fn everyone() -> Self {
        Target { opts: &[], rooms: TargetRooms::Json(List::default()), plain: true }
    }

    /// To these rooms, with nothing else in `opts`.
    pub(super) fn plain(opts: &'a [u8], rooms: RoomsText<'a>) -> Self {
        Target { opts, rooms: TargetRooms::Text(rooms), plain: true }
    }

    /// Reads it off the front of msgpack. Empty fields may be missing: Go leaves them out.
    pub fn from_msgpack(reader: &mut MsgpackReader<'a>) -> Result<Self, Malformed> {
        let opts = reader.raw_value()?;
        let mut target =
            Target { opts, rooms: TargetRooms::Msgpack(MsgpackReader::new(&[]), 0), plain: true };
        let mut inner = MsgpackReader::new(opts);
        for _ in 0..inner.map_len()? {
            match inner.str()? {
                "rooms" if !is_nil(&inner) => {
                    let list = inner.raw_value()?;
                    let mut items = MsgpackReader::new(list);
                    let len = items.array_len()?;
                    target.rooms = TargetRooms::Msgpack(items, len);
                }
                "except" if !is_nil(&inner) => {
                    target.plain &= MsgpackReader::new(inner.raw_value()?).array_len()? == 0;
                }
                "flags" if !is_nil(&inner) => {
                    target.plain &= MsgpackReader::new(inner.raw_value()?).map_len()? == 0;
                }
                _ => {
                    inner.raw_value()?;
                }
            }
        }
        Ok(target)
    }

    /// The same in JSON.
    pub fn from_json(opts: &'a str) -> Result<Self, Malformed> {
        // Nearly all broadcasts to everyone have these options.
        if opts == r#"{"rooms":[],"except":[],"flags":{}}"# {
            return Ok(Target { opts: opts.as_bytes(), ..Self::everyone() });
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct TargetOptions {
            rooms: Option<List>,
            except: Option<Vec<IgnoredAny>>,
            flags: Option<IsFilled>,
        }
        let options: TargetOptions = super::typed::decode(opts.as_bytes())?;
        let plain = options.except.is_none_or(|except| except.is_empty())
            && options.flags.is_none_or(|flags| !flags.0);
        let rooms = TargetRooms::Json(options.rooms.unwrap_or_default());
        Ok(Target { opts: opts.as_bytes(), rooms, plain })
    }

    /// Whether it goes to everyone in the namespace, without exception or flag.
    pub fn is_trivial(&self) -> bool {
        self.plain && self.is_for_all()
    }

    /// Whether it is for everyone rather than for rooms.
    pub fn is_for_all(&self) -> bool {
        match &self.rooms {
            TargetRooms::Msgpack(_, count) => *count == 0,
            TargetRooms::Json(rooms) => rooms.is_empty(),
            TargetRooms::Text(rooms) => rooms.is_empty(),
        }
    }

    /// Whether any of the rooms satisfies `is_here`. A room of another kind than a string or a number counts as
    /// here: JS decides about those.
    pub fn any_room(&self, mut is_here: impl FnMut(&[u8]) -> bool) -> bool {
        let (mut reader, count) = match &self.rooms {
            TargetRooms::Msgpack(reader, count) => (*reader, *count),
            TargetRooms::Json(rooms) => return rooms.iter().any(|room| room.is_here(&mut is_here)),
            TargetRooms::Text(rooms) => return rooms.any(is_here),
        };
        let mut digits = ryu_js::Buffer::new();
        for _ in 0..count {
            let here = match { reader }.str() {
                Ok(room) => is_here(room.as_bytes()),
                Err(_) => match { reader }.number() {
                    Ok(number) => is_here(digits.format(number).as_bytes()),
                    Err(_) => true,
                },
            };
            if here || reader.raw_value().is_err() {
                return true;
            }
        }
        false
    }
}

pub(super) fn is_nil(reader: &MsgpackReader<'_>) -> bool {
    reader.peek() == Ok(0xc0)
}

/// Appends `{rooms: [room] or [], except: [], flags: {}}` in msgpack.
pub fn write_plain_opts(out: &mut Vec<u8>, room: Option<&str>) -> Result<(), Malformed> {
    write_map_len(out, 3)?;
    write_str(out, "rooms")?;
    write_array_len(out, usize::from(room.is_some()))?;
    if let Some(room) = room {
        write_str(out, room)?;
    }
    write_str(out, "except")?;
    write_array_len(out, 0)?;
    write_str(out, "flags")?;
    write_map_len(out, 0)
}

/// Appends the same in JSON.
pub fn write_plain_opts_json(out: &mut Vec<u8>, room: Option<&str>) {
    out.extend_from_slice(br#"{"rooms":["#);
    if let Some(room) = room {
        super::typed::write_json_string(out, room);
    }
    out.extend_from_slice(br#"],"except":[],"flags":{}}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_say_the_same() {
        for (room, trivial) in [(None, true), (Some("a \"room\" \u{1}é"), false)] {
            let (mut msgpack, mut json) = (Vec::new(), Vec::new());
            write_plain_opts(&mut msgpack, room).unwrap();
            write_plain_opts_json(&mut json, room);
            let json = String::from_utf8(json).unwrap();
            for target in [
                Target::from_msgpack(&mut MsgpackReader::new(&msgpack)).unwrap(),
                Target::from_json(&json).unwrap(),
            ] {
                assert_eq!(target.is_trivial(), trivial);
                assert_eq!(target.is_for_all(), room.is_none());
                assert_eq!(target.any_room(|name| Some(name) == room.map(str::as_bytes)), room.is_some());
                assert!(!target.any_room(|name| name == b"other"));
            }
        }
    }

    #[test]
    fn json_may_leave_out_what_is_empty() {
        assert!(Target::from_json("{}").unwrap().is_trivial());
        assert!(Target::from_json(r#"{"rooms":null,"flags":{}}"#).unwrap().is_trivial());
        assert!(!Target::from_json(r#"{"flags":{"volatile":true}}"#).unwrap().is_trivial());
        assert!(!Target::from_json(r#"{"except":["a"]}"#).unwrap().is_trivial());
        let numbers = Target::from_json(r#"{"rooms":[12,"a\ud800"]}"#).unwrap();
        assert!(numbers.any_room(|room| room == b"12"));
        assert!(numbers.any_room(|room| room == "a\u{fffd}".as_bytes()));
        assert!(Target::from_json(r#"{"rooms":[{}]}"#).unwrap().any_room(|_| false));
        for wrong in ["[]", r#"{"rooms":7}"#, r#"{"except":"x"}"#, r#"{"flags":[]}"#] {
            assert!(Target::from_json(wrong).is_err(), "{wrong}");
        }
    }
}
