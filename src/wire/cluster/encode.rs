//! The messages of the cluster adapters, sharded and streams: one envelope for everything,
//! `{type, data, uid, nsp}`, in JSON, or in msgpack where there is something binary in it.
//!
//! An envelope in JSON is never parsed into a tree: the packet's arguments are cut out of it as they are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::broadcast::{Arguments, Broadcast, EVENT, check_type, whole};
use super::classic::Packet;
use super::request::{Answer, Encoding, Reply, RequestType};
use super::rooms::Rooms;
use super::shape::{ArrayOr, Items};
use super::target::{Target, is_nil, write_plain_opts, write_plain_opts_json};
use super::typed::{JSON_MARK, decode, write_json_string};
use crate::packet::{
    EventText, Malformed, Reader, json_to_msgpack, write_array_len, write_map_len, write_str, write_uint,
};

/// The type of a broadcast.
pub const BROADCAST: u64 = 3;

/// The types of messages, as far as this node does something about them.
mod kind {
    /// What a member says that has joined. The adapters of streams and sharded channels of the reference do nothing
    /// about it.
    pub(super) const HEARTBEAT: u64 = 2;
    pub(super) use super::BROADCAST;
    pub(super) const SOCKETS_JOIN: u64 = 4;
    pub(super) const SOCKETS_LEAVE: u64 = 5;
    pub(super) const DISCONNECT_SOCKETS: u64 = 6;
    pub(super) const FETCH_SOCKETS: u64 = 7;
    pub(super) const FETCH_SOCKETS_RESPONSE: u64 = 8;
    pub(super) const SERVER_SIDE_EMIT: u64 = 9;
    pub(super) const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
    pub(super) const BROADCAST_CLIENT_COUNT: u64 = 11;
    pub(super) const BROADCAST_ACK: u64 = 12;
}

/// A message, as far as this node has to know it.
#[derive(Debug)]
pub enum Message<'a> {
    /// An event for the sockets, without acknowledgement.
    Broadcast(Broadcast<'a>),
    /// Anything that JS has to do something about.
    Request(Request),
    /// The answer to a request.
    Response(Response),
    /// Its sender has joined.
    Hello(Hello),
}

impl<'a> Message<'a> {
    /// Reads a message; `None` for a type that nothing is done about (heartbeats, and what is not known yet).
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let head = if payload.first() == Some(&JSON_MARK) {
            Head::from_json(payload)?
        } else {
            Head::from_msgpack(payload)?
        };
        Ok(Some(match head {
            Head::Broadcast(broadcast) => Message::Broadcast(broadcast),
            Head::Other(
                kind::BROADCAST
                | kind::SOCKETS_JOIN
                | kind::SOCKETS_LEAVE
                | kind::DISCONNECT_SOCKETS
                | kind::FETCH_SOCKETS
                | kind::SERVER_SIDE_EMIT,
            ) => Message::Request(Request::decode(payload)?),
            Head::Other(
                kind::FETCH_SOCKETS_RESPONSE
                | kind::SERVER_SIDE_EMIT_RESPONSE
                | kind::BROADCAST_CLIENT_COUNT
                | kind::BROADCAST_ACK,
            ) => Message::Response(decode(payload)?),
            Head::Other(kind::HEARTBEAT) => Message::Hello(decode(payload)?),
            Head::Other(_) => return Ok(None),
        }))
    }
}

/// Whether this is a message in JSON that the member with this [`tail`] has sent, without looking at the rest.
pub fn is_own(payload: &[u8], tail: &[u8]) -> bool {
    payload.first() == Some(&JSON_MARK) && payload.ends_with(tail)
}

/// What the messages of a member end with, in JSON.
pub fn tail(uid: &str, nsp: &str) -> Vec<u8> {
    let mut tail = br#","uid":"#.to_vec();
    write_json_string(&mut tail, uid);
    tail.extend_from_slice(br#","nsp":"#);
    write_json_string(&mut tail, nsp);
    tail.push(b'}');
    tail
}

/// What a member says that has joined.
#[derive(Debug, Deserialize)]
pub struct Hello {
    /// Who.
    #[serde(default)]
    pub uid: Option<String>,
    /// Where.
    #[serde(default)]
    pub nsp: Option<String>,
}

/// What a member says that has joined: in msgpack where all messages are.
pub fn hello(uid: &str, nsp: &str, msgpack: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if msgpack {
        // A short map and two short names always have room.
        let _ = write_map_len(&mut out, 3);
        let _ = write_str(&mut out, "type");
        write_uint(&mut out, kind::HEARTBEAT);
        let _ = write_str(&mut out, "uid");
        let _ = write_str(&mut out, uid);
        let _ = write_str(&mut out, "nsp");
        let _ = write_str(&mut out, nsp);
    } else {
        out.extend_from_slice(format!(r#"{{"type":{}"#, kind::HEARTBEAT).as_bytes());
        out.extend_from_slice(&tail(uid, nsp));
    }
    out
}

/// What a first look at a message shows.
enum Head<'a> {
    Broadcast(Broadcast<'a>),
    /// Its type.
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
        struct PacketVisitor;
        impl<'de> Visitor<'de> for PacketVisitor {
            type Value = JsonPacket<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a packet")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
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
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(JsonPacket::default())
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(JsonPacket::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(JsonPacket::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(JsonPacket::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(JsonPacket::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(JsonPacket::default())
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonPacket::default())
            }
        }
        deserializer.deserialize_any(PacketVisitor)
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

impl<'a> Head<'a> {
    fn from_json(payload: &'a [u8]) -> Result<Self, Malformed> {
        let Ok(envelope) = serde_json::from_slice::<JsonEnvelope<'a>>(payload) else {
            // Half a surrogate pair, perhaps, in what a broadcast does not have.
            #[derive(Deserialize)]
            struct Envelope {
                #[serde(rename = "type")]
                kind: u64,
            }
            return decode::<Envelope>(payload).map(|envelope| Head::Other(envelope.kind));
        };
        let JsonEnvelope { kind: kind::BROADCAST, data: Some(data), .. } = envelope else {
            return Ok(Head::Other(envelope.kind));
        };
        if data.request_id.is_some() {
            return Ok(Head::Other(envelope.kind));
        }
        let packet = data.packet.unwrap_or_default();
        check_type(packet.kind)?;
        let arguments = packet.data.ok_or(Malformed::WrongShape("a packet needs data"))?.get();
        Ok(Head::Broadcast(Broadcast {
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

    fn from_msgpack(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
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
            return Ok(Head::Other(kind));
        };
        let mut reader = Reader::new(data);
        let (mut packet, mut target) = (None, Target::everyone());
        for _ in 0..reader.map_len()? {
            match reader.str()? {
                "packet" => packet = Some(Packet::decode(&mut reader)?),
                "opts" if !is_nil(&reader) => target = Target::from_msgpack(&mut reader)?,
                "requestId" if !is_nil(&reader) => return Ok(Head::Other(kind)),
                _ => {
                    reader.raw_value()?;
                }
            }
        }
        let packet = packet.ok_or(Malformed::WrongShape("a broadcast needs a packet"))?;
        Ok(Head::Broadcast(Broadcast {
            uid: Cow::Borrowed(uid),
            nsp: Cow::Borrowed(nsp.ok_or(Malformed::WrongShape("an envelope needs nsp"))?),
            id: packet.id,
            arguments: Arguments::Msgpack(packet.data.into()),
            target,
        }))
    }
}

/// What this node has to know of a request to decide who deals with it. The rest is left to JS, which does the local
/// sockets' part, but its shape is checked here.
#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(rename = "type")]
    kind: u64,
    /// The requesting member.
    #[serde(default)]
    pub uid: Option<String>,
    #[serde(default)]
    nsp: Option<String>,
    data: RequestData,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestData {
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    opts: Option<RequestOpts>,
    #[serde(default)]
    rooms: Option<Rooms>,
    #[serde(default)]
    packet: Option<RequestPacket>,
}

#[derive(Debug, Default, Deserialize)]
struct RequestOpts {
    #[serde(default)]
    rooms: Option<Rooms>,
    #[serde(default)]
    #[allow(dead_code)] // decoded for the check of its shape
    except: Option<Rooms>,
}

/// The packet of an acknowledged broadcast is an object with data, that of a serverSideEmit is an array.
#[derive(Debug)]
struct RequestPacket {
    is_array: bool,
    has_data: bool,
}

impl<'de> Deserialize<'de> for RequestPacket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PacketVisitor;
        impl<'de> Visitor<'de> for PacketVisitor {
            type Value = RequestPacket;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a packet or the arguments of an event")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RequestPacket, A::Error> {
                let mut has_data = false;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "data" {
                        has_data = matches!(map.next_value()?, ArrayOr::Array(_));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(RequestPacket { is_array: false, has_data })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RequestPacket, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(RequestPacket { is_array: true, has_data: false })
            }
            fn visit_unit<E: de::Error>(self) -> Result<RequestPacket, E> {
                Ok(RequestPacket { is_array: false, has_data: false })
            }
        }
        deserializer.deserialize_any(PacketVisitor)
    }
}

impl Request {
    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let request: Request = decode(payload)?;
        request.check()?;
        Ok(request)
    }

    /// What it asks for.
    pub fn kind(&self) -> RequestType {
        match self.kind {
            kind::SOCKETS_JOIN => RequestType::RemoteJoin,
            kind::SOCKETS_LEAVE => RequestType::RemoteLeave,
            kind::DISCONNECT_SOCKETS => RequestType::RemoteDisconnect,
            kind::FETCH_SOCKETS => RequestType::RemoteFetch,
            kind::SERVER_SIDE_EMIT => RequestType::ServerSideEmit,
            _ => RequestType::Broadcast,
        }
    }

    /// The namespace that it is for.
    pub fn nsp(&self) -> Option<&str> {
        self.nsp.as_deref()
    }

    /// Its id, present if an answer is wanted.
    pub fn request_id(&self) -> Option<&str> {
        self.data.request_id.as_deref()
    }

    /// Whether the sockets that it addresses may be here, given whether there is any socket and which rooms have
    /// one.
    pub fn addresses(&self, any_socket: bool, mut is_here: impl FnMut(&[u8]) -> bool) -> bool {
        let opts = self.data.opts.as_ref();
        match opts.and_then(|opts| opts.rooms.as_ref()).filter(|rooms| !rooms.is_empty()) {
            None => any_socket,
            Some(rooms) => rooms.iter().any(|room| room.is_here(&mut is_here)),
        }
    }

    /// The rooms that sockets are to join.
    pub fn joined(&self) -> Vec<Cow<'_, [u8]>> {
        let rooms = self.data.rooms.as_ref().filter(|_| self.kind == kind::SOCKETS_JOIN);
        rooms.map(|rooms| rooms.iter().filter_map(|room| room.name()).collect()).unwrap_or_default()
    }

    fn check(&self) -> Result<(), Malformed> {
        let RequestData { request_id, opts, rooms, packet } = &self.data;
        let right = match self.kind() {
            RequestType::RemoteJoin | RequestType::RemoteLeave => {
                opts.is_some() && rooms.as_ref().is_some_and(Rooms::are_names)
            }
            RequestType::RemoteFetch => opts.is_some() && request_id.is_some() && self.uid.is_some(),
            RequestType::ServerSideEmit => packet.as_ref().is_some_and(|packet| packet.is_array),
            RequestType::Broadcast => {
                opts.is_some()
                    && request_id.is_some()
                    && self.uid.is_some()
                    && packet.as_ref().is_some_and(|packet| packet.has_data)
            }
            _ => opts.is_some(),
        };
        if right { Ok(()) } else { Err(Malformed::WrongShape("the data of a request")) }
    }
}

/// What this node has to know of a response to find the request that it answers.
#[derive(Debug, Deserialize)]
pub struct Response {
    #[serde(rename = "type")]
    kind: u64,
    /// Who answers.
    #[serde(default)]
    pub uid: Option<String>,
    data: ResponseData,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseData {
    request_id: String,
    #[serde(default)]
    sockets: Option<ArrayOr>,
    #[serde(default)]
    client_count: Option<f64>,
}

impl Response {
    /// The request that it answers.
    pub fn request_id(&self) -> &str {
        &self.data.request_id
    }

    /// The response, which came as `payload`.
    pub fn reply<'a>(&self, payload: &'a [u8]) -> Reply<'a> {
        let answer = self.answer();
        let has_sockets = matches!(answer, Answer::Sockets | Answer::NoSockets);
        Reply { answer, list: if has_sockets { &["data", "sockets"] } else { &[] }, payload }
    }

    fn answer(&self) -> Answer {
        match self.kind {
            kind::FETCH_SOCKETS_RESPONSE => match self.data.sockets {
                Some(ArrayOr::Array(Items::None)) => Answer::NoSockets,
                Some(ArrayOr::Array(Items::Sockets)) => Answer::Sockets,
                _ => Answer::Other,
            },
            kind::SERVER_SIDE_EMIT_RESPONSE => Answer::ServerSideEmit,
            kind::BROADCAST_CLIENT_COUNT => match self.data.client_count.map(whole) {
                Some(Ok(count)) => Answer::ClientCount(count),
                _ => Answer::Other,
            },
            kind::BROADCAST_ACK => Answer::Ack,
            _ => Answer::Other,
        }
    }
}

/// Appends a broadcast for an Engine.IO payload that socket.io-parser printed: in JSON, or in msgpack if there are
/// attachments. `opts` are the options, in the same encoding; none for those of a plain emit to `room` or everyone.
///
/// # Errors
/// If the payload is not the text of an event, or nested too deep. What was appended by then is the caller's to
/// take back.
pub fn encode_broadcast(
    uid: &str,
    nsp: &str,
    payload: &[u8],
    attachments: &[&[u8]],
    room: Option<&str>,
    opts: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if attachments.is_empty() {
        out.extend_from_slice(br#"{"type":3,"data":"#);
        encode_broadcast_data(nsp, payload, attachments, room, opts, out)?;
        out.extend_from_slice(&tail(uid, nsp));
        return Ok(());
    }
    write_map_len(out, 4)?;
    write_str(out, "type")?;
    write_uint(out, BROADCAST);
    write_str(out, "data")?;
    encode_broadcast_data(nsp, payload, attachments, room, opts, out)?;
    write_str(out, "uid")?;
    write_str(out, uid)?;
    write_str(out, "nsp")?;
    write_str(out, nsp)
}

/// Appends the `data` of the same message.
///
/// # Errors
/// As [`encode_broadcast`].
pub fn encode_broadcast_data(
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
    if attachments.is_empty() {
        out.extend_from_slice(br#"{"packet":{"type":2,"data":"#);
        out.extend_from_slice(text.json);
        out.extend_from_slice(br#"},"opts":"#);
        match opts {
            Some(opts) => out.extend_from_slice(opts),
            None => write_plain_opts_json(out, room),
        }
        out.push(b'}');
        return Ok(());
    }
    write_map_len(out, 2)?;
    write_str(out, "packet")?;
    write_map_len(out, 2)?;
    write_str(out, "type")?;
    write_uint(out, EVENT);
    write_str(out, "data")?;
    json_to_msgpack(text.json, attachments, out)?;
    write_str(out, "opts")?;
    match opts {
        Some(opts) => out.extend_from_slice(opts),
        None => write_plain_opts(out, room)?,
    }
    Ok(())
}

/// What a node answers that has no client for an acknowledged broadcast, or no socket to tell of: in JSON, or in msgpack
/// as those of streams speak.
pub fn nothing_here(request: &Request, uid: &str, nsp: &str, msgpack: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        r#type: u64,
        data: Data<'a>,
        uid: &'a str,
        nsp: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_count: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sockets: Option<[u8; 0]>,
    }
    let request_id = request.request_id().unwrap_or_default();
    let (kind, data) = if request.kind() == RequestType::RemoteFetch {
        (kind::FETCH_SOCKETS_RESPONSE, Data { request_id, client_count: None, sockets: Some([]) })
    } else {
        (kind::BROADCAST_CLIENT_COUNT, Data { request_id, client_count: Some(0), sockets: None })
    };
    let envelope = Envelope { r#type: kind, data, uid, nsp };
    // Structs of integers and strings always serialise.
    if msgpack {
        rmp_serde::to_vec_named(&envelope).unwrap_or_default()
    } else {
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

/// What a node answers that has sockets which were asked for. Their descriptions stand in `pieces`: in JSON with commas between
/// them; or in msgpack, `count` of them.
///
/// # Errors
/// If there are more than msgpack can count.
pub fn sockets(
    request_id: &str,
    uid: &str,
    nsp: &str,
    encoding: Encoding,
    count: usize,
    pieces: &[&[u8]],
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    if encoding == Encoding::Json {
        out.extend_from_slice(br#"{"type":8,"data":{"requestId":"#);
        write_json_string(&mut out, request_id);
        out.extend_from_slice(br#","sockets":["#);
        out.extend_from_slice(&pieces.join(&b','));
        out.extend_from_slice(b"]}");
        out.extend_from_slice(&tail(uid, nsp));
        return Ok(out);
    }
    write_map_len(&mut out, 4)?;
    write_str(&mut out, "type")?;
    write_uint(&mut out, kind::FETCH_SOCKETS_RESPONSE);
    write_str(&mut out, "data")?;
    write_map_len(&mut out, 2)?;
    write_str(&mut out, "requestId")?;
    write_str(&mut out, request_id)?;
    write_str(&mut out, "sockets")?;
    write_array_len(&mut out, count)?;
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    for (name, value) in [("uid", uid), ("nsp", nsp)] {
        write_str(&mut out, name)?;
        write_str(&mut out, value)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from the reference: `io.emit("hello", 1, "a")`.
    const CAPTURED: &str = r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"a"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"0123456789abcdef","nsp":"/"}"#;

    fn encoded(payload: &str, attachments: &[&[u8]], room: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        let payload = payload.as_bytes();
        encode_broadcast("0123456789abcdef", "/", payload, attachments, room, None, &mut out).unwrap();
        out
    }

    fn broadcast(payload: &[u8]) -> Broadcast<'_> {
        match Message::decode(payload).unwrap() {
            Some(Message::Broadcast(broadcast)) => broadcast,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_data_of_a_broadcast_stand_alone_in_an_entry() {
        let data = |payload: &str, attachments: &[&[u8]]| {
            let mut out = Vec::new();
            encode_broadcast_data("/", payload.as_bytes(), attachments, Some("r"), None, &mut out)
                .map(|()| out)
        };
        assert_eq!(
            String::from_utf8(data(r#"42["hello",1]"#, &[]).unwrap()).unwrap(),
            r#"{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["r"],"except":[],"flags":{}}}"#
        );
        let binary = r#"451-["b",{"_placeholder":true,"num":0}]"#;
        let bytes = data(binary, &[&[1, 2]]).unwrap();
        assert!(
            bytes.starts_with(b"\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa1b\xc4\x02\x01\x02\xa4opts\x83")
        );
        assert!(data(binary, &[]).is_err(), "attachments are missing");
    }

    #[test]
    fn a_broadcast_is_encoded_as_the_reference_does() {
        let out = encoded(r#"42["hello",1,"a"]"#, &[], None);
        assert_eq!(String::from_utf8(out).unwrap(), CAPTURED);
    }

    #[test]
    fn a_captured_broadcast_is_read() {
        let broadcast = broadcast(CAPTURED.as_bytes());
        assert_eq!(broadcast.uid, "0123456789abcdef");
        assert_eq!(broadcast.nsp, "/");
        assert_eq!(broadcast.arguments, Arguments::Json(r#"["hello",1,"a"]"#.into()));
        assert!(broadcast.target.is_trivial());
    }

    #[test]
    fn binary_goes_in_msgpack_and_comes_back() {
        let out = encoded(r#"451-["e",{"_placeholder":true,"num":0}]"#, &[b"bytes"], Some("r"));
        assert!(out.starts_with(b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa1e\xc4\x05bytes\xa4opts\x83\xa5rooms\x91\xa1r"));
        let broadcast = broadcast(&out);
        assert_eq!(broadcast.arguments, Arguments::Msgpack(b"\x92\xa1e\xc4\x05bytes"[..].into()));
        assert!(broadcast.target.any_room(|room| room == b"r"));
    }

    #[test]
    fn own_messages_are_known_by_their_end() {
        let own = tail("0123456789abcdef", "/");
        assert!(is_own(CAPTURED.as_bytes(), &own));
        assert!(!is_own(CAPTURED.as_bytes(), &tail("0123456789abcdef", "/a")));
        assert!(!is_own(&own, &own), "not a message");
    }

    #[test]
    fn requests_are_read_in_both_encodings() {
        let request = |payload: &[u8]| match Message::decode(payload) {
            Ok(Some(Message::Request(request))) => request,
            other => panic!("{other:?}"),
        };
        let fetch = request(
            br#"{"type":7,"data":{"opts":{"rooms":["a",1],"except":[],"flags":{}},"requestId":"R"},"uid":"U","nsp":"/"}"#,
        );
        assert_eq!(fetch.kind(), RequestType::RemoteFetch);
        assert_eq!(
            (fetch.request_id(), fetch.uid.as_deref(), fetch.nsp()),
            (Some("R"), Some("U"), Some("/"))
        );
        assert!(fetch.addresses(false, |room| room == b"1"));
        assert!(!fetch.addresses(true, |room| room == b"b"));
        let acked = request(
            br#"{"type":3,"data":{"packet":{"type":2,"data":["e"]},"requestId":"R","opts":{"rooms":[],"except":[],"flags":{"timeout":5}}},"uid":"U","nsp":"/"}"#,
        );
        assert_eq!(acked.kind(), RequestType::Broadcast);
        assert!(acked.addresses(true, |_| false));
        let emit = request(br#"{"type":9,"data":{"packet":["e",{"packet":[]}]},"uid":"U","nsp":"/"}"#);
        assert_eq!((emit.kind(), emit.request_id()), (RequestType::ServerSideEmit, None));
        let binary =
            request(b"\x84\xa4type\x09\xa4data\x81\xa6packet\x92\xa1e\xc4\x01x\xa3uid\xa1U\xa3nsp\xa1/");
        assert_eq!(binary.kind(), RequestType::ServerSideEmit);
        let half = request(br#"{"type":4,"data":{"opts":{"rooms":[]},"rooms":["\ud800"]},"nsp":"/"}"#);
        assert_eq!(half.kind(), RequestType::RemoteJoin);
    }

    #[test]
    fn responses_are_read() {
        let answer = |payload: &[u8]| match Message::decode(payload) {
            Ok(Some(Message::Response(response))) => (response.request_id().to_owned(), response.answer()),
            other => panic!("{other:?}"),
        };
        let of = |kind: u32, data: &str| {
            let text = format!(r#"{{"type":{kind},"data":{{"requestId":"R",{data}}},"uid":"U","nsp":"/"}}"#);
            answer(text.as_bytes()).1
        };
        assert_eq!(of(8, r#""sockets":[{"id":"1"}]"#), Answer::Sockets);
        assert_eq!(of(8, r#""sockets":[]"#), Answer::NoSockets);
        assert_eq!(of(8, r#""sockets":[1]"#), Answer::Other);
        assert_eq!(of(10, r#""packet":{"type":"x"}"#), Answer::ServerSideEmit);
        assert_eq!(of(11, r#""clientCount":2"#), Answer::ClientCount(2));
        assert_eq!(of(11, r#""clientCount":-2"#), Answer::Other);
        assert_eq!(of(12, r#""packet":[1]"#), Answer::Ack);
        assert_eq!(of(12, r#""packet":true"#), Answer::Ack);
        assert_eq!(of(12, r#""packet":{"\ud800":1}"#), Answer::Ack);
        assert_eq!(
            answer(br#"{"type":10,"data":{"requestId":"Q"},"uid":"U"}"#),
            ("Q".to_owned(), Answer::ServerSideEmit)
        );
    }

    #[test]
    fn nothing_here_is_what_the_reference_would_send() {
        let answer = |text: &str| {
            let request = Request::decode(text.as_bytes()).unwrap();
            String::from_utf8(nothing_here(&request, "U", "/n", false)).unwrap()
        };
        assert_eq!(
            answer(r#"{"type":7,"data":{"opts":{},"requestId":"R"},"uid":"V","nsp":"/n"}"#),
            r#"{"type":8,"data":{"requestId":"R","sockets":[]},"uid":"U","nsp":"/n"}"#
        );
        assert_eq!(
            answer(r#"{"type":3,"data":{"packet":{"data":[]},"opts":{},"requestId":"R"},"uid":"V"}"#),
            r#"{"type":11,"data":{"requestId":"R","clientCount":0},"uid":"U","nsp":"/n"}"#
        );
        let request = Request::decode(br#"{"type":7,"data":{"opts":{},"requestId":"R"},"uid":"V"}"#).unwrap();
        assert_eq!(
            nothing_here(&request, "U", "/n", true),
            b"\x84\xa4type\x08\xa4data\x82\xa9requestId\xa1R\xa7sockets\x90\xa3uid\xa1U\xa3nsp\xa2/n"
        );
    }

    #[test]
    fn sockets_are_told_of_in_both_encodings() {
        let json =
            sockets("R", "U", "/n", Encoding::Json, 3, &[br#"{"id":"a"},{"id":"b"}"#, br#"{"id":"c"}"#]);
        let expected = r#"{"type":8,"data":{"requestId":"R","sockets":[{"id":"a"},{"id":"b"},{"id":"c"}]},"uid":"U","nsp":"/n"}"#;
        assert_eq!(String::from_utf8(json.unwrap()).unwrap(), expected);
        let msgpack =
            sockets("R", "U", "/n", Encoding::Msgpack, 2, &[b"\x81\xa2id\xa1a", b"\x81\xa2id\xa1b"]);
        assert_eq!(
            msgpack.unwrap(),
            b"\x84\xa4type\x08\xa4data\x82\xa9requestId\xa1R\xa7sockets\x92\x81\xa2id\xa1a\x81\xa2id\xa1b\xa3uid\xa1U\xa3nsp\xa2/n"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_or_passed_over() {
        for text in [
            "{",
            "{}",
            r#"{"type":"3"}"#,
            r#"{"type":3}"#,
            r#"{"type":3,"data":{}}"#,
            r#"{"type":3,"data":{"packet":{"type":2,"data":["e"]}}}"#,
            r#"{"type":3,"data":{"packet":{"type":0,"data":["e"]}},"nsp":"/"}"#,
            r#"{"type":3,"data":{"packet":{"type":2}},"nsp":"/"}"#,
            r#"{"type":3,"data":{"packet":["e"]},"nsp":"/"}"#,
            r#"{"type":3,"data":7,"nsp":"/"}"#,
            r#"{"type":4,"data":{"opts":{}},"nsp":"/"}"#,
            r#"{"type":4,"data":{"opts":{},"rooms":[[]]},"nsp":"/"}"#,
            r#"{"type":7,"data":{"opts":{}},"nsp":"/"}"#,
            r#"{"type":9,"data":{"packet":{}},"nsp":"/"}"#,
            r#"{"type":11,"data":{}}"#,
        ] {
            let read = Message::decode(text.as_bytes());
            // Without data it is a request whose data are missed.
            assert!(read.is_err(), "{text}: {read:?}");
        }
        for bytes in [
            &b"\x80"[..],
            b"\x81\xa4type\xa13",
            b"\x82\xa4type\x03\xa4data\x80",
            b"\x90",
            b"\x81\xa4type\x03x",
        ] {
            assert!(Message::decode(bytes).is_err(), "{bytes:?}");
        }
        let hello = hello("U", "/", false);
        assert_eq!(hello, br#"{"type":2,"uid":"U","nsp":"/"}"#);
        assert!(matches!(Message::decode(&hello), Ok(Some(Message::Hello(_)))));
        for text in [r#"{"type":13,"uid":"U","nsp":"/"}"#, r#"{"type":99,"data":{"packet":[{}]}}"#] {
            assert!(matches!(Message::decode(text.as_bytes()), Ok(None)), "{text}");
        }
        let deep = [&br#"{"type":9,"data":{"packet":["#[..], &vec![b'['; 100_000]].concat();
        assert!(Message::decode(&deep).is_err());
    }
}
