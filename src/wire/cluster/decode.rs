//! A first look at a message: whose it is, and the whole of a broadcast.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::kind;
use crate::packet::{Malformed, MsgpackReader};
use crate::wire::any::{FromAny, Scalar, from_any, pass_over};
use crate::wire::broadcast::{Arguments, Broadcast, check_type, whole};
use crate::wire::classic::Packet;
use crate::wire::target::{Target, is_nil};
use crate::wire::typed::decode;

/// The result of a first look at a message.
pub(super) enum FirstLook<'a> {
    /// All of a broadcast without acknowledgements.
    Broadcast(Broadcast<'a>),
    /// The type of another message.
    Other(u64),
}

/// In one pass, whatever the type.
#[derive(Deserialize)]
struct JsonEnvelope<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow, default)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    nsp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<JsonData<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonData<'a> {
    #[serde(borrow, default)]
    packet: Option<JsonPacket<'a>>,
    #[serde(borrow, default)]
    opts: Option<&'a RawValue>,
    #[serde(default)]
    request_id: Option<IgnoredAny>,
}

/// The packet of a broadcast. What other messages call a packet (the arguments of a serverSideEmit, an answer) is
/// passed over.
#[derive(Default)]
struct JsonPacket<'a> {
    kind: Option<u64>,
    id: Option<u64>,
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum PacketKey {
    Type,
    Id,
    Data,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonPacket<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_any(deserializer)
    }
}

impl<'de: 'a, 'a> FromAny<'de> for JsonPacket<'a> {
    const EXPECTED: &'static str = "a packet";
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut packet = JsonPacket::default();
        while let Some(key) = map.next_key::<PacketKey>()? {
            match key {
                PacketKey::Type => packet.kind = map.next_value::<Number>()?.0,
                PacketKey::Id => packet.id = map.next_value::<Number>()?.0,
                PacketKey::Data => packet.data = Some(map.next_value()?),
                PacketKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(packet)
    }
    fn from_seq<A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error> {
        pass_over(seq).map(|()| JsonPacket::default())
    }
    fn from_scalar<E: de::Error>(_: Scalar) -> Result<Self, E> {
        Ok(JsonPacket::default())
    }
}

/// A whole number, or something else that is not looked at.
struct Number(Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Number(raw.get().parse::<f64>().ok().and_then(|number| whole(number).ok())))
    }
}

impl<'a> FirstLook<'a> {
    /// Looks at a message in JSON.
    pub(super) fn from_json(payload: &'a [u8]) -> Result<Self, Malformed> {
        let Ok(envelope) = serde_json::from_slice::<JsonEnvelope<'a>>(payload) else {
            // There may be half a surrogate pair in a field that broadcasts do not have.
            #[derive(Deserialize)]
            struct Envelope {
                #[serde(rename = "type")]
                kind: u64,
            }
            return decode::<Envelope>(payload).map(|envelope| FirstLook::Other(envelope.kind));
        };
        let JsonEnvelope { kind: kind::BROADCAST, data: Some(data), .. } = envelope else {
            return Ok(FirstLook::Other(envelope.kind));
        };
        if data.request_id.is_some() {
            return Ok(FirstLook::Other(envelope.kind));
        }
        let packet = data.packet.unwrap_or_default();
        check_type(packet.kind)?;
        let arguments = packet.data.ok_or(Malformed::WrongShape("a packet needs data"))?.get();
        Ok(FirstLook::Broadcast(Broadcast {
            uid: envelope.uid.unwrap_or_default(),
            nsp: envelope.nsp.ok_or(Malformed::WrongShape("an envelope needs nsp"))?,
            id: packet.id,
            arguments: Arguments::Json(arguments.into()),
            target: match data.opts {
                Some(opts) => Target::from_json(opts.get())?,
                None => Target::everyone(),
            },
        }))
    }

    /// Looks at a message in msgpack.
    pub(super) fn from_msgpack(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = MsgpackReader::new(payload);
        let (mut kind, mut uid, mut nsp, mut data) = (None, "", None, None);
        for _ in 0..reader.map_len()? {
            match reader.str()? {
                "type" => kind = Some(whole(reader.number()?)?),
                "uid" if !is_nil(&reader) => uid = reader.str()?,
                "nsp" if !is_nil(&reader) => nsp = Some(reader.str()?),
                "data" => data = Some(reader.raw_value()?),
                _ => {
                    reader.raw_value()?;
                }
            }
        }
        if !reader.is_empty() {
            return Err(Malformed::TrailingBytes);
        }
        let kind = kind.ok_or(Malformed::WrongShape("an envelope needs a type"))?;
        let Some(data) = data.filter(|_| kind == kind::BROADCAST) else {
            return Ok(FirstLook::Other(kind));
        };
        let mut reader = MsgpackReader::new(data);
        let (mut packet, mut target) = (None, Target::everyone());
        for _ in 0..reader.map_len()? {
            match reader.str()? {
                "packet" => packet = Some(Packet::decode(&mut reader)?),
                "opts" if !is_nil(&reader) => target = Target::from_msgpack(&mut reader)?,
                "requestId" if !is_nil(&reader) => return Ok(FirstLook::Other(kind)),
                _ => {
                    reader.raw_value()?;
                }
            }
        }
        let packet = packet.ok_or(Malformed::WrongShape("a broadcast needs a packet"))?;
        Ok(FirstLook::Broadcast(Broadcast {
            uid: Cow::Borrowed(uid),
            nsp: Cow::Borrowed(nsp.ok_or(Malformed::WrongShape("an envelope needs nsp"))?),
            id: packet.id,
            arguments: Arguments::Msgpack(packet.data.into()),
            target,
        }))
    }
}
