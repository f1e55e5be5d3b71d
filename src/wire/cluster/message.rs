//! A message of any type.

use serde::Deserialize;

use super::decode::FirstLook;
use super::kind;
use super::request::Request;
use super::response::Response;
use crate::packet::Malformed;
use crate::wire::broadcast::Broadcast;
use crate::wire::typed::{JSON_MARK, decode};

/// A message, as far as this node has to know it.
#[derive(Debug)]
pub enum Message<'a> {
    /// An event for the sockets, without acknowledgement.
    Broadcast(Broadcast<'a>),
    /// A request that JS may have to handle.
    Request(Request),
    /// The answer to a request.
    Response(Response),
    /// Its sender has joined.
    Hello(Hello),
}

impl<'a> Message<'a> {
    /// Reads a message; `None` for types that this node does not handle (heartbeats, and unknown ones).
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let head = if payload.first() == Some(&JSON_MARK) {
            FirstLook::from_json(payload)?
        } else {
            FirstLook::from_msgpack(payload)?
        };
        Ok(Some(match head {
            FirstLook::Broadcast(broadcast) => Message::Broadcast(broadcast),
            FirstLook::Other(
                kind::BROADCAST
                | kind::SOCKETS_JOIN
                | kind::SOCKETS_LEAVE
                | kind::DISCONNECT_SOCKETS
                | kind::FETCH_SOCKETS
                | kind::SERVER_SIDE_EMIT,
            ) => Message::Request(Request::decode(payload)?),
            FirstLook::Other(
                kind::FETCH_SOCKETS_RESPONSE
                | kind::SERVER_SIDE_EMIT_RESPONSE
                | kind::BROADCAST_CLIENT_COUNT
                | kind::BROADCAST_ACK,
            ) => Message::Response(decode(payload)?),
            FirstLook::Other(kind::HEARTBEAT) => Message::Hello(decode(payload)?),
            FirstLook::Other(_) => return Ok(None),
        }))
    }
}

/// The message of a member that has joined.
#[derive(Debug, Deserialize)]
pub struct Hello {
    /// The uid of the member.
    #[serde(default)]
    pub uid: Option<String>,
    /// Its namespace.
    #[serde(default)]
    pub nsp: Option<String>,
}
