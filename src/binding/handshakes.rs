//! Printed handshakes of sockets, kept for the next answer, and the answers that they are put into.

use std::cell::RefCell;
use std::sync::Arc;

use napi::bindgen_prelude::{Buffer, Error, Status, Uint32Array};
use napi_derive::napi;

use super::args::{Bytes, Text};
use super::links::with_link;
use super::registry::Registry;
use super::routing::{candidate, destination};
use crate::core::effects::MemberId;
use crate::core::member::MemberSpec;
use crate::driver::command::Command;
use crate::wire::Family;
use crate::wire::response::SocketsResponse;
use crate::wire::typed;

thread_local! {
    /// Those of this JS thread, by their numbers less one: 0 is none of them.
    static KEPT: RefCell<Registry<Arc<[u8]>>> = const { RefCell::new(Registry::new()) };
}

/// Keeps a handshake, printed as answers need it, and returns its number: not 0.
#[napi(catch_unwind)]
pub fn keep_handshake(printed: Bytes) -> u32 {
    KEPT.with_borrow_mut(|kept| kept.add(Arc::from(printed.as_slice()))) + 1
}

/// Forgets it. Answers that it was put into still have it.
#[napi(catch_unwind)]
pub fn forget_handshake(number: u32) {
    if let Some(place) = number.checked_sub(1) {
        KEPT.with_borrow_mut(|kept| kept.remove(place));
    }
}

/// Whether more than so many arrays and objects stand one in the other somewhere in this JSON.
#[napi(catch_unwind)]
pub fn nests_deeper(json: Bytes, levels: u32) -> bool {
    typed::nests_deeper(json.as_slice(), levels as usize)
}

/// An answer to a request for sockets, in the making.
#[napi]
pub struct SocketsAnswer {
    /// `None` when it was sent.
    response: Option<SocketsResponse>,
}

#[napi]
impl SocketsAnswer {
    /// The answer of a member, as its family has it: to a request with this id, if it had one, of `count` sockets.
    ///
    /// # Errors
    /// An `Error` if there are more than msgpack can count.
    #[napi(constructor, catch_unwind)]
    pub fn new(routing: u32, request_id: Option<Text>, is_json: bool, count: u32) -> napi::Result<Self> {
        let candidate = candidate(routing)?;
        let id = request_id.map(|id| id.to_string()).transpose()?;
        let MemberSpec { uid, nsp, .. } = &candidate.spec;
        let response = if candidate.rules.channels.family == Family::Classic {
            SocketsResponse::classic(id.as_deref())
        } else if is_json {
            SocketsResponse::json(&id.unwrap_or_default(), uid, nsp)
        } else {
            SocketsResponse::msgpack(&id.unwrap_or_default(), uid, nsp, count as usize)
                .map_err(|error| Error::new(Status::InvalidArg, error.to_string()))?
        };
        Ok(SocketsAnswer { response: Some(response) })
    }

    /// Adds descriptions, in JSON with commas between them, or in msgpack. There is a number for each: of the kept handshake
    /// that is to stand where it has a 0, or 0 if it has its own. Returns false, and nothing is added, if one is not kept.
    #[napi(catch_unwind)]
    pub fn add(&mut self, descriptions: Bytes, handshakes: Uint32Array) -> bool {
        let Some(response) = &mut self.response else {
            return true;
        };
        let find = |number: &u32| match number.checked_sub(1) {
            None => Some(None),
            Some(place) => KEPT.with_borrow(|kept| kept.get(place).cloned()).map(Some),
        };
        let Some(handshakes) = handshakes.iter().map(find).collect() else {
            return false;
        };
        response.add(descriptions.as_slice(), handshakes);
        true
    }

    /// Sends it to the member that has asked, by its uid. Returns false for a member that the link does not have.
    #[napi(catch_unwind)]
    pub fn send(&mut self, link: u32, member: MemberId, requester: Option<Text>) -> napi::Result<bool> {
        let Some(response) = self.response.take() else {
            return Ok(false);
        };
        with_link(link, |link| {
            let Some(rules) = link.routings.get(&member) else {
                return Ok(false);
            };
            let to = destination(2, requester, rules)?;
            link.shared.outbox.push(|_| Command::SendSockets { member, to, response: Box::new(response) });
            Ok(true)
        })?
    }

    /// Its bytes, for what sends it otherwise.
    #[napi(catch_unwind)]
    pub fn bytes(&self) -> Buffer {
        self.response.as_ref().map(SocketsResponse::bytes).unwrap_or_default().into()
    }
}
