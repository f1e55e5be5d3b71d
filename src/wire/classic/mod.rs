//! The messages of `@socket.io/redis-adapter` 8: broadcasts in msgpack, requests and responses in JSON or
//! msgpack.

use std::borrow::Cow;

use serde::Deserialize;

use super::broadcast::{Arguments, Broadcast, EVENT, check_type, whole};
use super::request::{Answer, Reply, RequestType};
use super::rooms::Rooms;
use super::shape::{ArrayOr, Items};
use super::target::{Target, is_nil, write_plain_opts};
use super::typed::{decode, write_json_string};
use crate::packet::{
    EventText, Malformed, Reader, check_event, json_to_msgpack, write_array_len, write_map_len, write_str,
    write_uint,
};

/// The uid of a broadcast, without looking at the rest.
pub fn peek_uid(payload: &[u8]) -> Result<&str, Malformed> {
    let mut reader = Reader::new(payload);
    if reader.array_len()? < 3 {
        return Err(Malformed::WrongShape("a broadcast is [uid, packet, opts]"));
    }
    reader.str()
}

/// Reads `[uid, packet, opts]`. Keys may come in any order, unknown ones are passed over, and what other
/// implementations leave out (Go leaves out whatever is empty) may be missing.
pub fn decode_broadcast(payload: &[u8]) -> Result<Broadcast<'_>, Malformed> {
    let mut reader = Reader::new(payload);
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
pub(super) struct Packet<'a> {
    /// `/` if the packet names none.
    pub(super) nsp: &'a str,
    pub(super) id: Option<u64>,
    pub(super) data: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
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

/// What this node has to know of a request to decide who deals with it. The rest is left to JS, which does
/// the local sockets' part, but its shape is checked here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The requesting member; older nodes and the emitter send none.
    #[serde(default)]
    pub uid: Option<String>,
    /// Present if an answer is wanted.
    #[serde(default)]
    pub request_id: Option<String>,
    #[serde(rename = "type")]
    request_type: u64,
    #[serde(default)]
    opts: Option<RequestOpts>,
    #[serde(default)]
    rooms: Option<Rooms>,
    #[serde(default)]
    data: Option<ArrayOr>,
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

#[derive(Debug, Deserialize)]
struct RequestPacket {
    #[serde(default)]
    nsp: Option<String>,
    #[serde(default)]
    data: Option<ArrayOr>,
}

/// The type of a request that says that its sender has joined. Other implementations pass over requests of a type that
/// they do not know.
const HELLO: u64 = 100;

/// What a member says that has joined.
pub fn hello(uid: &str) -> Vec<u8> {
    let mut request = br#"{"uid":"#.to_vec();
    write_json_string(&mut request, uid);
    request.extend_from_slice(format!(r#","type":{HELLO}}}"#).as_bytes());
    request
}

impl Request {
    /// Whether it says that its sender has joined.
    pub fn is_hello(&self) -> bool {
        self.request_type == HELLO
    }

    /// Reads a request, in JSON or in msgpack.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let request: Request = decode(payload)?;
        request.check()?;
        Ok(request)
    }

    /// What it asks for; `None` for a number that this version does not know.
    pub fn kind(&self) -> Option<RequestType> {
        Some(match self.request_type {
            0 => RequestType::Sockets,
            1 => RequestType::AllRooms,
            2 => RequestType::RemoteJoin,
            3 => RequestType::RemoteLeave,
            4 => RequestType::RemoteDisconnect,
            5 => RequestType::RemoteFetch,
            6 => RequestType::ServerSideEmit,
            7 => RequestType::Broadcast,
            _ => return None,
        })
    }

    /// The namespace of the packet of a broadcast request.
    pub fn packet_nsp(&self) -> &str {
        self.packet.as_ref().and_then(|packet| packet.nsp.as_deref()).unwrap_or("/")
    }

    /// Whether the sockets that it addresses may be here, given whether there is any socket and which rooms
    /// have one.
    pub fn addresses(&self, any_socket: bool, mut is_here: impl FnMut(&[u8]) -> bool) -> bool {
        match self.opts.as_ref().and_then(|opts| opts.rooms.as_ref()).filter(|rooms| !rooms.is_empty()) {
            None => any_socket,
            Some(rooms) => rooms.iter().any(|room| room.is_here(&mut is_here)),
        }
    }

    /// The same for a request of sockets' ids, whose rooms stand elsewhere.
    pub fn addresses_in_rooms(&self, any_socket: bool, mut is_here: impl FnMut(&[u8]) -> bool) -> bool {
        match self.rooms.as_ref().filter(|rooms| !rooms.is_empty()) {
            None => any_socket,
            Some(rooms) => rooms.iter().any(|room| room.is_here(&mut is_here)),
        }
    }

    /// Whether it says whom it is for by rooms, as today's nodes do; older ones name one socket.
    pub fn has_target(&self) -> bool {
        self.opts.is_some()
    }

    fn check(&self) -> Result<(), Malformed> {
        let wrong = |what| Err(Malformed::WrongShape(what));
        match self.kind() {
            Some(RequestType::RemoteFetch) if self.opts.is_none() => wrong("a fetch needs opts"),
            Some(RequestType::RemoteJoin | RequestType::RemoteLeave)
                if self.opts.is_some() && !self.rooms.as_ref().is_some_and(Rooms::are_names) =>
            {
                wrong("a join or leave needs rooms")
            }
            Some(RequestType::Sockets) if !self.rooms.as_ref().is_none_or(Rooms::are_names) => {
                wrong("rooms have names")
            }
            Some(RequestType::ServerSideEmit) if !matches!(self.data, Some(ArrayOr::Array(_))) => {
                wrong("a serverSideEmit needs an array")
            }
            Some(RequestType::Broadcast)
                if self.opts.is_none()
                    || self.request_id.is_none()
                    || !matches!(
                        self.packet.as_ref().and_then(|packet| packet.data.as_ref()),
                        Some(ArrayOr::Array(_))
                    ) =>
            {
                wrong("a broadcast request needs requestId, packet.data and opts")
            }
            _ => Ok(()),
        }
    }
}

/// What this node has to know of a response to find the request that it answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The request that it answers.
    #[serde(default)]
    pub request_id: Option<String>,
    #[serde(rename = "type", default)]
    response_type: Option<u64>,
    #[serde(default)]
    sockets: Option<ArrayOr>,
    #[serde(default)]
    rooms: Option<ArrayOr>,
    #[serde(default)]
    client_count: Option<f64>,
}

/// The id of the request that a response answers, if the response begins with it, as those of JSON do. The rest is not looked
/// at: it may be megabytes, and every node hears the responses to all.
pub fn peek_request_id(payload: &[u8]) -> Option<&str> {
    let rest = payload.strip_prefix(br#"{"requestId":""#)?;
    let end = memchr::memchr2(b'"', b'\\', rest)?;
    let id = rest.get(..end).filter(|_| rest.get(end) == Some(&b'"'))?;
    std::str::from_utf8(id).ok()
}

impl Response {
    /// Reads a response, in JSON or in msgpack.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        decode(payload)
    }

    /// The response, which came as `payload`.
    pub fn reply<'a>(&self, payload: &'a [u8]) -> Reply<'a> {
        let answer = self.answer();
        let list: &[&str] = match answer {
            Answer::Sockets | Answer::SocketIds | Answer::NoSockets => &["sockets"],
            Answer::Rooms => &["rooms"],
            _ => &[],
        };
        Reply { answer, list, payload }
    }

    fn answer(&self) -> Answer {
        match self.response_type {
            Some(8) => match self.client_count.map(whole) {
                Some(Ok(count)) => Answer::ClientCount(count),
                _ => Answer::Other,
            },
            Some(9) => Answer::Ack,
            Some(6) => Answer::ServerSideEmit,
            _ => match (&self.sockets, &self.rooms) {
                (Some(ArrayOr::Array(Items::None)), _) => Answer::NoSockets,
                (Some(ArrayOr::Array(Items::Sockets)), _) => Answer::Sockets,
                (Some(ArrayOr::Array(Items::Texts)), _) => Answer::SocketIds,
                (None, Some(ArrayOr::Array(_))) => Answer::Rooms,
                _ => Answer::Other,
            },
        }
    }
}

/// The response of a node that has no client for a broadcast: `{"type":8,"requestId":…,"clientCount":0}`.
pub fn no_client(request_id: &str) -> Vec<u8> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ClientCount<'a> {
        r#type: u8,
        request_id: &'a str,
        client_count: u8,
    }
    let count = ClientCount { r#type: 8, request_id, client_count: 0 };
    // A struct of two integers and a string always serialises.
    serde_json::to_vec(&count).unwrap_or_default()
}

/// The response of a node that has none of the sockets that were asked for: `{"requestId":…,"sockets":[]}`.
pub fn no_sockets(request_id: &str) -> Vec<u8> {
    respond_with(request_id, "sockets", std::iter::empty())
}

/// The response of a node with sockets that were asked for, whose descriptions stand in `pieces`, in JSON and with commas
/// between them: `{"requestId":…,"sockets":[…]}`. The id is `null` if the request had none.
pub fn sockets(request_id: Option<&str>, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = br#"{"requestId":"#.to_vec();
    match request_id {
        Some(id) => write_json_string(&mut out, id),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","sockets":["#);
    out.extend_from_slice(&pieces.join(&b','));
    out.extend_from_slice(b"]}");
    out
}

/// The response of a node that has sockets in these rooms: `{"requestId":…,"rooms":[…]}`.
pub fn rooms<'a>(request_id: &str, names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    respond_with(request_id, "rooms", names)
}

fn respond_with<'a>(request_id: &str, field: &str, names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = br#"{"requestId":"#.to_vec();
    write_json_string(&mut out, request_id);
    out.push(b',');
    write_json_string(&mut out, field);
    out.extend_from_slice(b":[");
    for (n, name) in names.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, name);
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from the reference: `io.emit("hello", 1, "a")`.
    const CAPTURED: &[u8] = b"\x93\xa65sZd1M\x83\xa4type\x02\xa4data\x93\xa5hello\x01\xa1a\xa3nsp\xa1/\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";

    #[test]
    fn a_broadcast_is_encoded_as_the_reference_does() {
        let mut out = Vec::new();
        encode_broadcast("5sZd1M", "/", br#"42["hello",1,"a"]"#, &[], None, None, &mut out).unwrap();
        assert_eq!(out, CAPTURED);
    }

    #[test]
    fn a_captured_broadcast_is_read() {
        let broadcast = decode_broadcast(CAPTURED).unwrap();
        assert_eq!(broadcast.uid, "5sZd1M");
        assert_eq!(broadcast.nsp, "/");
        assert_eq!(broadcast.arguments, Arguments::Msgpack(b"\x93\xa5hello\x01\xa1a"[..].into()));
        assert!(broadcast.target.is_trivial());
        assert_eq!(peek_uid(CAPTURED).unwrap(), "5sZd1M");
    }

    #[test]
    fn the_emitter_and_go_write_the_options_in_other_ways() {
        // rooms, flags, except
        let emitter =
            b"\x93\xa7emitter\x82\xa4type\x02\xa4data\x91\xa1e\x83\xa5rooms\x92\xa1r\x07\xa5flags\x81\xa8volatile\xc3\xa6except\x90";
        let broadcast = decode_broadcast(emitter).unwrap();
        assert_eq!(broadcast.nsp, "/");
        assert!(!broadcast.target.is_trivial());
        assert!(broadcast.target.any_room(|room| room == b"r"));
        assert!(broadcast.target.any_room(|room| room == b"7"));
        assert!(!broadcast.target.any_room(|room| room == b"s"));
        // all that is empty is left out
        let go = b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80";
        assert!(decode_broadcast(go).unwrap().target.is_trivial());
    }

    #[test]
    fn broadcasts_of_wrong_shape_are_refused() {
        for bytes in [
            &b""[..],
            b"\x90",
            b"\x91\xa1u",
            b"\x93\xa1u\xc0\x80",
            b"\x93\x01\x80\x80",
            b"\x93\xa1u\x80\x80\x00",
            b"\x93\xa1u\x80\x81\xa5rooms\x07",
            b"\x93\xa1u\x81\xa4type\xa1x\x80",
            b"{\"uid\":1}",
        ] {
            assert!(decode_broadcast(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn requests_are_read_in_both_encodings() {
        let json = br#"{"uid":"U","requestId":"R","type":5,"opts":{"rooms":["a",1],"except":[]}}"#;
        let request = Request::decode(json).unwrap();
        assert_eq!(request.kind(), Some(RequestType::RemoteFetch));
        assert_eq!(request.uid.as_deref(), Some("U"));
        assert_eq!(request.request_id.as_deref(), Some("R"));
        assert!(request.addresses(false, |room| room == b"1"));
        assert!(!request.addresses(true, |room| room == b"b"));

        let msgpack = b"\x85\xa3uid\xa1U\xa9requestId\xa1R\xa4type\x07\xa6packet\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa2/a\xa4opts\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";
        let request = Request::decode(msgpack).unwrap();
        assert_eq!(request.kind(), Some(RequestType::Broadcast));
        assert_eq!(request.packet_nsp(), "/a");
        assert!(request.addresses(true, |_| false));
        assert!(!request.addresses(false, |_| false));

        let dates = b"\x84\xa9requestId\xa1R\xa4type\x07\xa6packet\x81\xa4data\x93\xa1e\xd6\xff\0\0\0\x05\x81\xa1d\xd7\xff\0\0\0\0\0\0\0\x05\xa4opts\x80";
        assert!(Request::decode(dates).is_ok());
    }

    #[test]
    fn requests_of_wrong_shape_are_refused() {
        for text in [
            r#"{"type":5}"#,
            r#"{"type":2,"opts":{"rooms":[]}}"#,
            r#"{"type":2,"opts":{"rooms":[]},"rooms":[{"toString":1}]}"#,
            r#"{"type":0,"rooms":[[]]}"#,
            r#"{"type":2,"opts":{"rooms":7},"rooms":[]}"#,
            r#"{"type":6,"data":{}}"#,
            r#"{"type":6}"#,
            r#"{"type":7,"requestId":"R","opts":{}}"#,
            r#"{"type":"x"}"#,
            r#"{}"#,
            "{",
        ] {
            assert!(Request::decode(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Request::decode(b"\x95\x01\x01\x01\x01\x01").is_err());
        let deep = [b"{\"type\":6,\"data\":".to_vec(), vec![b'['; 100_000]].concat();
        assert!(Request::decode(&deep).is_err());
    }

    #[test]
    fn unknown_requests_are_told_apart() {
        assert_eq!(Request::decode(br#"{"type":99}"#).unwrap().kind(), None);
    }

    #[test]
    fn responses_are_read() {
        let answer = |text: &[u8]| Response::decode(text).unwrap().answer();
        assert_eq!(answer(br#"{"requestId":"R","sockets":[{"id":"1"}]}"#), Answer::Sockets);
        assert_eq!(answer(br#"{"requestId":"R","sockets":["id"]}"#), Answer::SocketIds);
        assert_eq!(answer(br#"{"requestId":"R","sockets":[]}"#), Answer::NoSockets);
        assert_eq!(answer(br#"{"requestId":"R","sockets":[{"id":"1"},null]}"#), Answer::Other);
        assert_eq!(answer(br#"{"requestId":"R","sockets":[{"id":1}]}"#), Answer::Other);
        assert_eq!(answer(br#"{"requestId":"R","rooms":["a"]}"#), Answer::Rooms);
        assert_eq!(answer(br#"{"requestId":"R","rooms":7}"#), Answer::Other);
        assert_eq!(answer(br#"{"type":6,"requestId":"R","data":1}"#), Answer::ServerSideEmit);
        assert_eq!(answer(br#"{"type":6,"requestId":"R"}"#), Answer::ServerSideEmit);
        assert_eq!(answer(br#"{"type":8,"requestId":"R","clientCount":3}"#), Answer::ClientCount(3));
        assert_eq!(answer(br#"{"type":8,"requestId":"R"}"#), Answer::Other);
        assert_eq!(answer(b"\x83\xa4type\x09\xa9requestId\xa1R\xa6packet\xc4\x01x"), Answer::Ack);
    }

    #[test]
    fn the_id_is_seen_at_the_beginning_of_a_response() {
        for (response, expected) in [
            (&br#"{"requestId":"R1","sockets":[]}"#[..], Some("R1")),
            (br#"{"requestId":"","#, Some("")),
            (br#"{"requestId":"R"#, None),
            (br#"{"requestId":"R\n1","sockets":[]}"#, None),
            (br#"{"requestId":null,"sockets":[]}"#, None),
            (br#"{"type":6,"requestId":"R1"}"#, None),
            (b"{\"requestId\":\"\xff\"}", None),
            (b"\x81\xa9requestId\xa1R", None),
            (b"", None),
        ] {
            assert_eq!(peek_request_id(response), expected, "{response:?}");
        }
    }

    #[test]
    fn no_client_is_what_the_reference_would_send() {
        assert_eq!(no_client("R"), br#"{"type":8,"requestId":"R","clientCount":0}"#);
    }

    #[test]
    fn what_this_node_has_is_told_as_the_reference_would() {
        assert_eq!(no_sockets("R\""), br#"{"requestId":"R\"","sockets":[]}"#);
        assert_eq!(sockets(None, &[]), br#"{"requestId":null,"sockets":[]}"#);
        let pieces = [&br#"{"id":"a"},{"id":"b"}"#[..], br#"{"id":"c"}"#];
        assert_eq!(
            sockets(Some("R"), &pieces),
            br#"{"requestId":"R","sockets":[{"id":"a"},{"id":"b"},{"id":"c"}]}"#
        );
        assert_eq!(rooms("R", std::iter::empty()), br#"{"requestId":"R","rooms":[]}"#);
        assert_eq!(
            rooms("R", ["a", "\u{1f600}\n"].into_iter()),
            "{\"requestId\":\"R\",\"rooms\":[\"a\",\"\u{1f600}\\n\"]}".as_bytes()
        );
    }
}
