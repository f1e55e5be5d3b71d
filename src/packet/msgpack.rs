//! msgpack, read in place: nothing is copied and no length is believed before its bytes are there.

use super::Malformed;
use super::json_string::check_utf8;
use super::nesting::Nesting;

/// One value, or the head of an array or map whose members follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Double(f64),
    /// Not yet known to be UTF-8.
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Array(u32),
    Map(u32),
    /// With its marker, since notepack.io tells by that too what it means.
    Ext {
        marker: u8,
        kind: i8,
        data: &'a [u8],
    },
}

/// A place in msgpack, from which values are taken one after another.
///
/// After an error it stands somewhere within the value that was refused.
#[derive(Clone, Copy, Debug)]
pub struct MsgpackReader<'a> {
    input: &'a [u8],
    rest: &'a [u8],
}

impl<'a> MsgpackReader<'a> {
    /// A reader at the start of `input`.
    #[inline]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, rest: input }
    }

    /// How many bytes have been taken.
    #[inline]
    pub const fn position(&self) -> usize {
        self.input.len() - self.rest.len()
    }

    /// What is not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been taken.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The marker of the next value, which stays where it is.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] at the end.
    #[inline]
    pub fn peek(&self) -> Result<u8, Malformed> {
        self.rest.first().copied().ok_or(Malformed::Truncated)
    }

    /// Takes the head of an array and returns how many values follow.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn array_len(&mut self) -> Result<usize, Malformed> {
        match self.item()? {
            Item::Array(len) => usize::try_from(len).map_err(|_| Malformed::TooLarge),
            _ => Err(Malformed::WrongShape("an array")),
        }
    }

    /// Takes the head of a map and returns how many pairs follow.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn map_len(&mut self) -> Result<usize, Malformed> {
        match self.item()? {
            Item::Map(len) => usize::try_from(len).map_err(|_| Malformed::TooLarge),
            _ => Err(Malformed::WrongShape("a map")),
        }
    }

    /// Takes a string.
    ///
    /// # Errors
    /// If something else stands there, or it is not UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        match self.item()? {
            Item::Str(bytes) => check_utf8(bytes),
            _ => Err(Malformed::WrongShape("a string")),
        }
    }

    /// Takes binary data.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn bin(&mut self) -> Result<&'a [u8], Malformed> {
        match self.item()? {
            Item::Bin(bytes) => Ok(bytes),
            _ => Err(Malformed::WrongShape("binary data")),
        }
    }

    /// Takes an integer that is not negative, in whatever form it stands, be it a whole float below 2^53.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        const WANTED: Malformed = Malformed::WrongShape("an integer that is not negative");
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        match self.item()? {
            Item::Uint(value) => Ok(value),
            Item::Int(value) => u64::try_from(value).map_err(|_| WANTED),
            Item::Double(value) if value.trunc() == value && (0.0..super::number::EXACT).contains(&value) => {
                Ok(value as u64)
            }
            _ => Err(WANTED),
        }
    }

    /// Takes a number and returns the double nearest to it.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn number(&mut self) -> Result<f64, Malformed> {
        match self.item()? {
            Item::Uint(value) => Ok(value as f64),
            Item::Int(value) => Ok(value as f64),
            Item::Double(value) => Ok(value),
            _ => Err(Malformed::WrongShape("a number")),
        }
    }

    /// Takes a boolean.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.item()? {
            Item::Bool(value) => Ok(value),
            _ => Err(Malformed::WrongShape("a boolean")),
        }
    }

    /// Takes nil.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn nil(&mut self) -> Result<(), Malformed> {
        match self.item()? {
            Item::Nil => Ok(()),
            _ => Err(Malformed::WrongShape("nil")),
        }
    }

    /// Takes the next value, whatever it is, and returns its bytes: complete, its strings UTF-8.
    ///
    /// # Errors
    /// If it is malformed or nested too deep.
    pub fn raw_value(&mut self) -> Result<&'a [u8], Malformed> {
        let from = self.rest;
        // How many values are still to come on this level.
        let mut left = 1_u64;
        let mut outer = Nesting::new(0);
        loop {
            let members = match self.item()? {
                Item::Str(bytes) => {
                    // Cheaper than the whole check where it suffices, as for most keys.
                    if !bytes.is_ascii() {
                        check_utf8(bytes)?;
                    }
                    None
                }
                Item::Array(len) => Some(u64::from(len)),
                Item::Map(len) => Some(2 * u64::from(len)),
                _ => None,
            };
            left -= 1;
            if let Some(members) = members {
                outer.push(left)?;
                left = members;
            }
            while left == 0 {
                match outer.pop() {
                    Some(outer_left) => left = outer_left,
                    None => {
                        let taken = from.len() - self.rest.len();
                        return from.get(..taken).ok_or(Malformed::Truncated);
                    }
                }
            }
        }
    }

    /// Takes one value, or the head of an array or map.
    #[inline(always)]
    pub(super) fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let (&marker, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(match marker {
            0x00..=0x7f => Item::Uint(u64::from(marker)),
            0x80..=0x8f => Item::Map(u32::from(marker & 0x0f)),
            0x90..=0x9f => Item::Array(u32::from(marker & 0x0f)),
            0xa0..=0xbf => Item::Str(self.bytes(u32::from(marker & 0x1f))?),
            0xc0 => Item::Nil,
            0xc1 => return Err(Malformed::UnknownMarker),
            0xc2 => Item::Bool(false),
            0xc3 => Item::Bool(true),
            0xc4 => Item::Bin(self.counted8()?),
            0xc5 => Item::Bin(self.counted16()?),
            0xc6 => Item::Bin(self.counted32()?),
            0xc7 => {
                let len = u32::from(u8::from_be_bytes(self.fixed()?));
                self.ext(marker, len)?
            }
            0xc8 => {
                let len = u32::from(u16::from_be_bytes(self.fixed()?));
                self.ext(marker, len)?
            }
            0xc9 => {
                let len = u32::from_be_bytes(self.fixed()?);
                self.ext(marker, len)?
            }
            0xca => Item::Double(f64::from(f32::from_be_bytes(self.fixed()?))),
            0xcb => Item::Double(f64::from_be_bytes(self.fixed()?)),
            0xcc => Item::Uint(u64::from(u8::from_be_bytes(self.fixed()?))),
            0xcd => Item::Uint(u64::from(u16::from_be_bytes(self.fixed()?))),
            0xce => Item::Uint(u64::from(u32::from_be_bytes(self.fixed()?))),
            0xcf => Item::Uint(u64::from_be_bytes(self.fixed()?)),
            0xd0 => Item::Int(i64::from(i8::from_be_bytes(self.fixed()?))),
            0xd1 => Item::Int(i64::from(i16::from_be_bytes(self.fixed()?))),
            0xd2 => Item::Int(i64::from(i32::from_be_bytes(self.fixed()?))),
            0xd3 => Item::Int(i64::from_be_bytes(self.fixed()?)),
            0xd4..=0xd8 => self.ext(marker, 1 << (marker - 0xd4))?,
            0xd9 => Item::Str(self.counted8()?),
            0xda => Item::Str(self.counted16()?),
            0xdb => Item::Str(self.counted32()?),
            0xdc => Item::Array(u32::from(u16::from_be_bytes(self.fixed()?))),
            0xdd => Item::Array(u32::from_be_bytes(self.fixed()?)),
            0xde => Item::Map(u32::from(u16::from_be_bytes(self.fixed()?))),
            0xdf => Item::Map(u32::from_be_bytes(self.fixed()?)),
            0xe0..=0xff => Item::Int(i64::from(i8::from_be_bytes([marker]))),
        })
    }

    /// The bytes from the last `len` that were taken on.
    #[inline]
    pub(super) fn looking_back(&self, len: usize) -> &'a [u8] {
        self.input.get(self.position().saturating_sub(len)..).unwrap_or_default()
    }

    /// Takes the ext that notepack.io once made of `undefined`, if that comes next.
    #[inline]
    pub(super) fn take_undefined(&mut self) -> bool {
        match self.rest {
            [0xd4, 0x00, _, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn bytes(&mut self, len: u32) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed::TooLarge)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn counted8(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u8::from_be_bytes(self.fixed()?);
        self.bytes(u32::from(len))
    }

    fn counted16(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u16::from_be_bytes(self.fixed()?);
        self.bytes(u32::from(len))
    }

    fn counted32(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u32::from_be_bytes(self.fixed()?);
        self.bytes(len)
    }

    fn ext(&mut self, marker: u8, len: u32) -> Result<Item<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.fixed()?);
        let data = self.bytes(len)?;
        Ok(Item::Ext { marker, kind, data })
    }
}

/// The length in bytes of the value at the start of `input`: complete, its strings UTF-8, what it is
/// unknown. Any value may be a key.
///
/// # Errors
/// If it is malformed or nested too deep.
pub fn skip_value(input: &[u8]) -> Result<usize, Malformed> {
    MsgpackReader::new(input).raw_value().map(<[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_walked() -> Result<(), Malformed> {
        let input = b"\x93\xa65sZd1M\x83\xa4type\x02\xa4data\x91\xa1a\xa3nsp\xa1/\xc0";
        let mut reader = MsgpackReader::new(input);
        assert_eq!(reader.peek(), Ok(0x93));
        assert_eq!(reader.array_len(), Ok(3));
        assert_eq!(reader.str(), Ok("5sZd1M"));
        assert_eq!(reader.map_len(), Ok(3));
        assert_eq!(reader.str(), Ok("type"));
        assert_eq!(reader.uint(), Ok(2));
        assert_eq!(reader.str(), Ok("data"));
        let start = reader.position();
        assert_eq!(reader.raw_value(), Ok(&b"\x91\xa1a"[..]));
        assert_eq!(input.get(start..reader.position()), Some(&b"\x91\xa1a"[..]));
        assert_eq!((reader.str()?, reader.str()?), ("nsp", "/"));
        assert!(!reader.is_empty());
        assert_eq!(reader.nil(), Ok(()));
        assert!(reader.is_empty());
        assert_eq!(reader.peek(), Err(Malformed::Truncated));
        assert_eq!(reader.position(), input.len());
        Ok(())
    }

    #[test]
    fn numbers_are_taken_in_any_form() {
        let uint = |input| MsgpackReader::new(input).uint();
        for input in [&b"\x07"[..], b"\xcc\x07", b"\xcd\0\x07", b"\xce\0\0\0\x07", b"\xcf\0\0\0\0\0\0\0\x07"]
        {
            assert_eq!(uint(input), Ok(7));
        }
        for input in [&b"\xd0\x07"[..], b"\xd1\0\x07", b"\xd2\0\0\0\x07", b"\xd3\0\0\0\0\0\0\0\x07"] {
            assert_eq!(uint(input), Ok(7));
        }
        assert_eq!(uint(b"\xcb\x40\x1c\0\0\0\0\0\0"), Ok(7));
        assert_eq!(uint(b"\xca\x40\xe0\0\0"), Ok(7));
        for input in [
            &b"\xff"[..],
            b"\xca\x40\xe8\0\0",
            b"\xcb\x43\x40\0\0\0\0\0\0",
            b"\xca\xff\xff\0\0",
            b"\xa17",
            b"\xc3",
        ] {
            assert!(uint(input).is_err(), "{input:?}");
        }
        assert_eq!(MsgpackReader::new(b"\xff").number(), Ok(-1.0));
        assert_eq!(MsgpackReader::new(b"\xca\x40\xe8\0\0").number(), Ok(7.25));
        assert_eq!(
            MsgpackReader::new(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff").number(),
            Ok(18_446_744_073_709_551_616.0)
        );
    }

    #[test]
    fn other_shapes_are_refused() {
        let shape = |result: Result<(), Malformed>| matches!(result, Err(Malformed::WrongShape(_)));
        assert!(shape(MsgpackReader::new(b"\x80").array_len().map(drop)));
        assert!(shape(MsgpackReader::new(b"\x90").map_len().map(drop)));
        assert!(shape(MsgpackReader::new(b"\xc4\0").str().map(drop)));
        assert!(shape(MsgpackReader::new(b"\xa0").bin().map(drop)));
        assert!(shape(MsgpackReader::new(b"\xc0").bool().map(drop)));
        assert!(shape(MsgpackReader::new(b"\xc2").nil()));
        assert!(shape(MsgpackReader::new(b"\xc0").number().map(drop)));
        assert_eq!(MsgpackReader::new(b"\xc3").bool(), Ok(true));
        assert_eq!(MsgpackReader::new(b"\xc4\x01x").bin(), Ok(&b"x"[..]));
        assert_eq!(MsgpackReader::new(b"\xa1\xff").str(), Err(Malformed::InvalidUtf8));
        assert_eq!(MsgpackReader::new(b"\xc1").raw_value(), Err(Malformed::UnknownMarker));
    }

    #[test]
    fn values_are_skipped_whole() {
        for value in [
            &b"\x01"[..],
            b"\x80",
            b"\xdd\0\0\0\0",
            b"\x92\x81\xa1a\x90\xc0",
            b"\xc8\0\x02\x05ab",
            b"\xd8\x01\
            0123456789abcdef",
            b"\x81\x90\x01",
        ] {
            assert_eq!(skip_value(&[value, b"\xc1more"].concat()), Ok(value.len()), "{value:?}");
        }
    }
}
