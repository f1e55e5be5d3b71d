//! Requests of other members.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess};

use super::kind;
use crate::packet::Malformed;
use crate::wire::any::{FromAny, Scalar, from_any, pass_over};
use crate::wire::request::RequestType;
use crate::wire::rooms::Rooms;
use crate::wire::shape::ArrayOr;
use crate::wire::typed::decode;

/// The part of a request by which this node decides who handles it. JS reads the rest, for the local sockets, but its
/// shape is checked here.
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
        from_any(deserializer)
    }
}

impl<'de> FromAny<'de> for RequestPacket {
    const EXPECTED: &'static str = "a packet or the arguments of an event";
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
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
    fn from_seq<A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error> {
        pass_over(seq).map(|()| RequestPacket { is_array: true, has_data: false })
    }
    fn from_scalar<E: de::Error>(scalar: Scalar) -> Result<Self, E> {
        match scalar {
            Scalar::Null => Ok(RequestPacket { is_array: false, has_data: false }),
            Scalar::Text | Scalar::Other => Err(E::custom(Self::EXPECTED)),
        }
    }
}

impl Request {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let request: Request = decode(payload)?;
        request.check()?;
        Ok(request)
    }

    /// Its type.
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
