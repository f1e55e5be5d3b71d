//! Answers of other members to requests.

use serde::Deserialize;

use super::kind;
use crate::wire::broadcast::whole;
use crate::wire::request::{Answer, RequestReply};
use crate::wire::shape::{ArrayOr, ItemKinds};

/// The part of a response by which this node finds the request that it answers.
#[derive(Debug, Deserialize)]
pub struct Response {
    #[serde(rename = "type")]
    kind: u64,
    /// The answering member.
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
    pub fn reply<'a>(&self, payload: &'a [u8]) -> RequestReply<'a> {
        let answer = self.answer();
        let has_sockets = matches!(answer, Answer::Sockets | Answer::NoSockets);
        RequestReply { answer, list: if has_sockets { &["data", "sockets"] } else { &[] }, payload }
    }

    pub(super) fn answer(&self) -> Answer {
        match self.kind {
            kind::FETCH_SOCKETS_RESPONSE => match self.data.sockets {
                Some(ArrayOr::Array(ItemKinds::None)) => Answer::NoSockets,
                Some(ArrayOr::Array(ItemKinds::Sockets)) => Answer::Sockets,
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
