//! Requests of the classic family that concern no socket of this node: they are handled without JS.

use crate::core::member::Member;
use crate::wire::classic::{self, Request};
use crate::wire::request::RequestType;

/// How a request is handled that concerns no socket of this node.
pub(super) enum Alone {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Nobody waits for an answer.
    Nothing,
}

/// Handles a request that concerns no socket of this node. `None` if JS has to handle it.
pub(super) fn answer_alone(member: &Member, kind: RequestType, request: &Request) -> Option<Alone> {
    let wants_room = |room: &[u8]| member.wants_room(room);
    let is_for_nobody = || !request.addresses(member.wants_all(), wants_room);
    let answer = match kind {
        RequestType::RemoteJoin | RequestType::RemoteLeave | RequestType::RemoteDisconnect => {
            return (request.has_target() && is_for_nobody()).then_some(Alone::Nothing);
        }
        RequestType::Broadcast if is_for_nobody() => classic::no_client,
        RequestType::RemoteFetch if is_for_nobody() => classic::no_sockets,
        RequestType::Sockets if !request.addresses_in_rooms(member.wants_all(), wants_room) => {
            classic::no_sockets
        }
        RequestType::AllRooms => {
            let names = member.room_names()?;
            return request.request_id.as_ref().map(|id| Alone::Answer(classic::rooms(id, names)));
        }
        _ => return None,
    };
    request.request_id.as_ref().map(|id| Alone::Answer(answer(id)))
}
