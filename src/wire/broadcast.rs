//! A broadcast of an event, whatever the family that brought it.

use std::borrow::Cow;

use super::target::Target;
use crate::packet::{Malformed, MsgpackReader, write_array_len, write_str};

/// The type of an event packet in the Socket.IO protocol.
pub const EVENT: u64 = 2;

/// The type that old emitters give to an event with binary attachments. The attachments stand in its data anyway.
pub(super) const BINARY_EVENT: u64 = 5;

/// A broadcast, with its parts still in the buffer.
#[derive(Debug)]
pub struct Broadcast<'a> {
    /// The uid of its sender.
    pub uid: Cow<'a, str>,
    /// The namespace.
    pub nsp: Cow<'a, str>,
    /// The packet's own acknowledgement id, which no broadcast of the reference has.
    pub id: Option<u64>,
    /// The packet's arguments: an array that begins with the name of the event.
    pub arguments: Arguments<'a>,
    /// Where it goes.
    pub target: Target<'a>,
}

/// The arguments of an event, in the encoding in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments<'a> {
    /// msgpack as notepack.io writes it.
    Msgpack(Cow<'a, [u8]>),
    /// JSON, well-formed.
    Json(Cow<'a, str>),
}

impl Arguments<'_> {
    /// These arguments with one more, a text that needs no escapes.
    ///
    /// # Errors
    /// If they are no array, or an empty one.
    pub fn with(&self, text: &str) -> Result<Self, Malformed> {
        Ok(match self {
            Arguments::Msgpack(data) => Arguments::Msgpack(Cow::Owned(with_argument(data, text)?)),
            Arguments::Json(json) => Arguments::Json(Cow::Owned(with_argument_text(json, text)?)),
        })
    }
}

/// Appends a value to the arguments of an event, in JSON.
fn with_argument_text(arguments: &str, text: &str) -> Result<String, Malformed> {
    let open = arguments.trim_end().strip_suffix(']').ok_or(NO_EVENT)?;
    if open.trim() == "[" {
        return Err(NO_EVENT);
    }
    Ok(format!("{open},\"{text}\"]"))
}

/// The appended value would be taken for its name.
const NO_EVENT: Malformed = Malformed::WrongShape("an event without a name");

/// Appends a value to the arguments of an event, in msgpack.
fn with_argument(arguments: &[u8], text: &str) -> Result<Vec<u8>, Malformed> {
    let mut reader = MsgpackReader::new(arguments);
    let len = reader.array_len()?;
    if len == 0 {
        return Err(NO_EVENT);
    }
    let mut out = Vec::with_capacity(arguments.len() + text.len() + 8);
    write_array_len(&mut out, len + 1)?;
    out.extend_from_slice(reader.rest());
    write_str(&mut out, text)?;
    Ok(out)
}

pub(super) fn whole(number: f64) -> Result<u64, Malformed> {
    // 2^53: above it a double does not tell neighbours apart.
    if number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // just checked
        return Ok(number as u64);
    }
    Err(Malformed::WrongShape("a whole number was expected"))
}

/// Whether a packet of this type is an event: anything else would make the clients close their connections.
pub(super) fn check_type(packet_type: Option<u64>) -> Result<(), Malformed> {
    if matches!(packet_type, Some(EVENT | BINARY_EVENT)) {
        return Ok(());
    }
    Err(Malformed::WrongShape("a broadcast is an event"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_one_more_argument() {
        assert_eq!(with_argument_text(r#"["e",{"a":[1]}]"#, "1-0").unwrap(), r#"["e",{"a":[1]},"1-0"]"#);
        for none in ["[]", "[ ]", "", "{}"] {
            assert!(with_argument_text(none, "1-0").is_err(), "{none}");
        }
        assert_eq!(with_argument(b"\x92\xa1e\x01", "1-0").unwrap(), b"\x93\xa1e\x01\xa31-0");
        assert!(with_argument(b"\x80", "1-0").is_err());
        assert!(with_argument(b"\x90", "1-0").is_err());
    }
}
