//! A broadcast of an event, whatever the family that brought it.

use std::borrow::Cow;

use super::target::Target;
use crate::packet::Malformed;

/// The type of an event packet in the Socket.IO protocol.
pub const EVENT: u64 = 2;

/// The type that old emitters give to an event with binary attachments; what is in it says so anyway.
pub(super) const BINARY_EVENT: u64 = 5;

/// A broadcast, with its parts still in the buffer.
#[derive(Debug)]
pub struct Broadcast<'a> {
    /// Who sent it.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments<'a> {
    /// msgpack as notepack.io writes it.
    Msgpack(&'a [u8]),
    /// JSON, well-formed.
    Json(&'a str),
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
