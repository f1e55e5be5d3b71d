//! Requests, in JSON or msgpack.

use serde::Deserialize;

use crate::packet::Malformed;
use crate::wire::request::RequestType;
use crate::wire::rooms::Rooms;
use crate::wire::shape::ArrayOr;
use crate::wire::typed::{decode, write_json_string};

/// The part of a request by which this node decides who handles it. JS reads the rest, for the local sockets, but its
/// shape is checked here.
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

/// The type of the message of a member that has joined. Other implementations pass over requests of a type that they do
/// not know.
const HELLO: u64 = 100;

/// The message of a member that has joined.
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

    /// Its type; `None` for a number that this version does not know.
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

    /// Whether the sockets may be here that a request for ids addresses: its rooms stand in another field.
    pub fn addresses_in_rooms(&self, any_socket: bool, mut is_here: impl FnMut(&[u8]) -> bool) -> bool {
        match self.rooms.as_ref().filter(|rooms| !rooms.is_empty()) {
            None => any_socket,
            Some(rooms) => rooms.iter().any(|room| room.is_here(&mut is_here)),
        }
    }

    /// Whether it addresses sockets by rooms, as today's nodes do; older nodes name one socket.
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
