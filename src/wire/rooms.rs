//! A list of rooms, kept about as small as it came: there may be millions of them in a message.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// How an item begins: the lowest two bits say what it is, the others belong to it.
mod mark {
    /// A name; the others are its length.
    pub(super) const NAME: u64 = 0;
    /// A small whole number; the others are that.
    pub(super) const WHOLE: u64 = 1;
    /// Any other number; its eight bytes follow.
    pub(super) const NUMBER: u64 = 2;
    /// Nothing that names a room.
    pub(super) const OTHER: u64 = 3;
}

/// Whole numbers below this are kept in their mark.
const SMALL: u64 = 1 << 32;

/// Rooms: strings, numbers since JavaScript allows them too, and values that name no room.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// The items, one after another.
    bytes: Vec<u8>,
    /// Whether there is one that is no name.
    odd: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Room<'a> {
    /// The usual one.
    Name(&'a [u8]),
    /// JavaScript allows it.
    Number(f64),
    /// Nothing that names a room.
    Other,
}

impl Room<'_> {
    /// Whether it satisfies `is_here`, which knows names. A value that names no room counts as here: JS decides about it.
    pub(super) fn is_here(&self, is_here: &mut impl FnMut(&[u8]) -> bool) -> bool {
        match *self {
            Room::Name(name) => is_here(name),
            Room::Number(number) => is_here(ryu_js::Buffer::new().format(number).as_bytes()),
            Room::Other => true,
        }
    }
}

impl<'a> Room<'a> {
    /// Its name; `None` for a value that names no room.
    pub(super) fn name(&self) -> Option<Cow<'a, [u8]>> {
        match *self {
            Room::Name(name) => Some(name.into()),
            Room::Number(number) => Some(ryu_js::Buffer::new().format(number).as_bytes().to_vec().into()),
            Room::Other => None,
        }
    }
}

impl Rooms {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether all of them are names, so that sockets can join them.
    pub(super) fn are_names(&self) -> bool {
        !self.odd
    }

    /// How many bytes they take.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The rooms, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Room<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (head, after) = read_mark(rest)?;
            let value = head >> 2;
            let (room, after) = match head & 3 {
                mark::NAME => {
                    let (name, after) = after.split_at_checked(usize::try_from(value).ok()?)?;
                    (Room::Name(name), after)
                }
                #[allow(clippy::cast_precision_loss)] // it is small
                mark::WHOLE => (Room::Number(value as f64), after),
                mark::NUMBER => {
                    let (number, after) = after.split_first_chunk()?;
                    (Room::Number(f64::from_le_bytes(*number)), after)
                }
                _ => (Room::Other, after),
            };
            rest = after;
            Some(room)
        })
    }

    fn add(&mut self, item: RoomItem<'_>) {
        match item {
            RoomItem::Name(name) => {
                self.mark(mark::NAME, name.len() as u64);
                self.bytes.extend_from_slice(name.as_bytes());
            }
            RoomItem::Whole(number) => self.mark(mark::WHOLE, number),
            RoomItem::Number(number) => {
                self.mark(mark::NUMBER, 0);
                self.bytes.extend_from_slice(&number.to_le_bytes());
            }
            RoomItem::Other => {
                self.mark(mark::OTHER, 0);
                self.odd = true;
            }
        }
    }

    /// Seven bits a byte, the lowest first; the highest bit says that there are more.
    fn mark(&mut self, kind: u64, value: u64) {
        let mut rest = (value << 2) | kind;
        loop {
            let [low, ..] = (rest & 0x7f).to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.bytes.push(low);
            }
            self.bytes.push(low | 0x80);
        }
    }
}

fn read_mark(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut head, mut shift) = (0, 0);
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        head |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        rest = after;
        if byte & 0x80 == 0 {
            return Some((head, rest));
        }
    }
}

impl<'de> Deserialize<'de> for Rooms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoomsVisitor;
        impl<'de> Visitor<'de> for RoomsVisitor {
            type Value = Rooms;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rooms")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rooms, A::Error> {
                let mut rooms = Rooms::default();
                while seq.next_element_seed(AddTo(&mut rooms))?.is_some() {}
                Ok(rooms)
            }
        }
        deserializer.deserialize_seq(RoomsVisitor)
    }
}

enum RoomItem<'a> {
    Name(&'a str),
    Whole(u64),
    Number(f64),
    Other,
}

/// Adds the next value to the list, without one of its own in between.
struct AddTo<'a>(&'a mut Rooms);

impl<'de> de::DeserializeSeed<'de> for AddTo<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AddTo<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a room")
    }
    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        self.0.add(RoomItem::Name(name));
        Ok(())
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.0.add(RoomItem::Number(number));
        Ok(())
    }
    #[allow(clippy::cast_precision_loss)] // as JS reads it
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.0.add(if number < SMALL { RoomItem::Whole(number) } else { RoomItem::Number(number as f64) });
        Ok(())
    }
    #[allow(clippy::cast_precision_loss)] // as JS reads it
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.0.add(RoomItem::Number(number as f64));
        Ok(())
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.0.add(RoomItem::Other);
        Ok(())
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.add(RoomItem::Other);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.0.add(RoomItem::Other);
        Ok(())
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.0.add(RoomItem::Other);
        Ok(())
    }
}

/// Whether a list or an object has any item.
#[derive(Debug, Default)]
pub(super) struct IsFilled(pub(super) bool);

impl<'de> Deserialize<'de> for IsFilled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FilledVisitor;
        impl<'de> Visitor<'de> for FilledVisitor {
            type Value = IsFilled;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<IsFilled, A::Error> {
                let mut filled = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(IsFilled(filled))
            }
        }
        deserializer.deserialize_map(FilledVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_back_as_they_were() {
        let long = "x".repeat(100_000);
        let json = format!(
            r#"["a","",0,31,4294967295,4294967296,-1,1.5,1e300,null,true,[1,[2]],{{"b":1}},"{long}"]"#
        );
        let rooms: Rooms = serde_json::from_str(&json).unwrap();
        let read: Vec<Room<'_>> = rooms.iter().collect();
        let numbers = [0.0, 31.0, 4_294_967_295.0, 4_294_967_296.0, -1.0, 1.5, 1e300].map(Room::Number);
        assert_eq!(read[..2], [Room::Name(b"a"), Room::Name(b"")]);
        assert_eq!(read[2..9], numbers);
        assert_eq!(read[9..13], [Room::Other; 4]);
        assert_eq!(read[13..], [Room::Name(long.as_bytes())]);
        assert!(!rooms.are_names() && !rooms.is_empty());
        let rooms: Rooms = serde_json::from_str(r#"["a",1]"#).unwrap();
        assert!(rooms.are_names());
        assert!(Rooms::default().is_empty() && Rooms::default().are_names());
        for wrong in ["7", "{}", r#""a""#, "null", r#"["a""#] {
            assert!(serde_json::from_str::<Rooms>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_takes_about_as_much_as_its_text() {
        for item in ["0", "\"\"", "1e20", "-1", "null", "\"room\"", "[]"] {
            let json = format!("[{}]", vec![item; 100_000].join(","));
            let rooms: Rooms = serde_json::from_str(&json).unwrap();
            assert_eq!(rooms.iter().count(), 100_000);
            // 9 bytes for 3; and a list that grows takes twice as much for a while.
            assert!(rooms.held() <= 6 * json.len(), "{item}: {} for {}", rooms.held(), json.len());
            if item == "0" {
                assert!(rooms.held() <= json.len(), "{} for {}", rooms.held(), json.len());
            }
        }
    }

    #[test]
    fn what_is_in_an_object_is_not_kept() {
        let is_filled = |json: &str| serde_json::from_str::<IsFilled>(json).map(|filled| filled.0);
        assert!(!is_filled("{}").unwrap());
        assert!(is_filled(r#"{"a":1,"b":{}}"#).unwrap());
        assert!(is_filled("[]").is_err());
    }
}
