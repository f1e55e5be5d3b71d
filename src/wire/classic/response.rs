//! Responses, in JSON or msgpack.

use serde::Deserialize;

use crate::packet::Malformed;
use crate::wire::broadcast::whole;
use crate::wire::request::{Answer, RequestReply};
use crate::wire::shape::{ArrayOr, ItemKinds};
use crate::wire::typed::{decode, write_json_string};

/// The part of a response by which this node finds the request that it answers.
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
    pub fn reply<'a>(&self, payload: &'a [u8]) -> RequestReply<'a> {
        let answer = self.answer();
        let list: &[&str] = match answer {
            Answer::Sockets | Answer::SocketIds | Answer::NoSockets => &["sockets"],
            Answer::Rooms => &["rooms"],
            _ => &[],
        };
        RequestReply { answer, list, payload }
    }

    pub(super) fn answer(&self) -> Answer {
        match self.response_type {
            Some(8) => match self.client_count.map(whole) {
                Some(Ok(count)) => Answer::ClientCount(count),
                _ => Answer::Other,
            },
            Some(9) => Answer::Ack,
            Some(6) => Answer::ServerSideEmit,
            _ => match (&self.sockets, &self.rooms) {
                (Some(ArrayOr::Array(ItemKinds::None)), _) => Answer::NoSockets,
                (Some(ArrayOr::Array(ItemKinds::Sockets)), _) => Answer::Sockets,
                (Some(ArrayOr::Array(ItemKinds::Texts)), _) => Answer::SocketIds,
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
