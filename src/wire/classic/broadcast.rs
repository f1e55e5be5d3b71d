//! Broadcasts: `[uid, packet, opts]` in msgpack.

use std::borrow::Cow;

use crate::packet::{
    EventText, Malformed, MsgpackReader, check_event, json_to_msgpack, write_array_len, write_map_len,
    write_str, write_uint,
};
use crate::wire::broadcast::{Arguments, Broadcast, EVENT, check_type, whole};
use crate::wire::target::{Target, is_nil, write_plain_opts};

/// The uid of a broadcast, without looking at the rest.
pub fn peek_uid(payload: &[u8]) -> Result<&str, Malformed> {
    let mut reader = MsgpackReader::new(payload);
    if reader.array_len()? < 3 {
        return Err(Malformed::WrongShape("a broadcast is [uid, packet, opts]"));
    }
    reader.str()
}

/// Reads `[uid, packet, opts]`. Keys may come in any order, unknown ones are passed over, and fields may be missing that
/// other implementations leave out: Go leaves out empty ones.
pub fn decode_broadcast(payload: &[u8]) -> Result<Broadcast<'_>, Malformed> {
    let mut reader = MsgpackReader::new(payload);
    let len = reader.array_len()?;
    if len < 3 {
        return Err(Malformed::WrongShape("a broadcast is [uid, packet, opts]"));
    }
    let uid = Cow::Borrowed(reader.str()?);
    let packet = Packet::decode(&mut reader)?;
    let target = Target::from_msgpack(&mut reader)?;
    for _ in 3..len {
        reader.raw_value()?;
    }
    if !reader.is_empty() {
        return Err(Malformed::TrailingBytes);
    }
    Ok(Broadcast {
        uid,
        nsp: Cow::Borrowed(packet.nsp),
        id: packet.id,
        arguments: Arguments::Msgpack(packet.data.into()),
        target,
    })
}

/// The packet of a broadcast in msgpack.
#[derive(Debug)]
pub(in crate::wire) struct Packet<'a> {
    /// `/` if the packet names none.
    pub(in crate::wire) nsp: &'a str,
    pub(in crate::wire) id: Option<u64>,
    pub(in crate::wire) data: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(in crate::wire) fn decode(reader: &mut MsgpackReader<'a>) -> Result<Self, Malformed> {
        let mut packet = Packet { nsp: "/", id: None, data: &[] };
        let mut packet_type = None;
        for _ in 0..reader.map_len()? {
            match reader.str()? {
                "type" => packet_type = Some(whole(reader.number()?)?),
                "nsp" if !is_nil(reader) => packet.nsp = reader.str()?,
                "id" if !is_nil(reader) => packet.id = Some(whole(reader.number()?)?),
                "data" => packet.data = reader.raw_value()?,
                _ => {
                    reader.raw_value()?;
                }
            }
        }
        check_type(packet_type)?;
        check_event(packet.data)?;
        Ok(packet)
    }
}

/// Appends the broadcast `[uid, {type, data, nsp}, opts]` for an Engine.IO payload that socket.io-parser
/// printed. `opts` is the msgpack of `{rooms, except, flags}`; none for those of a plain emit to `room` or everyone.
///
/// # Errors
/// If the payload is not the text of an event, or nested too deep. The caller takes back the bytes that were appended by
/// then.
pub fn encode_broadcast(
    uid: &str,
    nsp: &str,
    payload: &[u8],
    attachments: &[&[u8]],
    room: Option<&str>,
    opts: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let text = EventText::parse(payload, nsp)?;
    if text.attachments != attachments.len() {
        return Err(Malformed::WrongShape("attachments are missing"));
    }
    write_array_len(out, 3)?;
    write_str(out, uid)?;
    write_map_len(out, 3)?;
    write_str(out, "type")?;
    write_uint(out, EVENT);
    write_str(out, "data")?;
    json_to_msgpack(text.json, attachments, out)?;
    write_str(out, "nsp")?;
    write_str(out, nsp)?;
    match opts {
        Some(opts) => {
            out.extend_from_slice(opts);
            Ok(())
        }
        None => write_plain_opts(out, room),
    }
}
