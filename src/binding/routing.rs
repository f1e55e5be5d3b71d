//! The `Routing` class of `binding.js`: the channels of one member, and which of them a message takes.
//!
//! The functions that are called for every message find the routing by the number of the member. What the user's
//! clients carry in the tick in which it is emitted goes out without the link thread. For that, JS asks here for the
//! channel.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use napi::bindgen_prelude::{Buffer, Error, Status};
use napi_derive::napi;

use super::args::{Bytes, List, Text};
use super::member::{LinkMember, family_of, spec_of};
use super::registry::{Registry, forget};
use crate::core::Destination;
use crate::core::member::MemberSpec;
use crate::core::routing::Routing as Rules;

/// The names of a member's channels.
#[napi(object)]
pub struct ChannelNames {
    /// Broadcasts to everyone, or to several rooms.
    pub broadcast: String,
    /// Requests.
    pub request: String,
    /// Responses that all servers get.
    pub response: String,
    /// Responses to this member alone.
    pub own_response: String,
}

/// A member that is not part of a link, or not yet.
pub(super) struct Candidate {
    pub(super) spec: MemberSpec,
    pub(super) rules: Rc<Rules>,
}

thread_local! {
    /// Those of this JS thread.
    static CANDIDATES: RefCell<Registry<Rc<Candidate>>> = const { RefCell::new(Registry::new()) };
}

/// The candidate with a number.
pub(super) fn candidate(routing: u32) -> napi::Result<Rc<Candidate>> {
    CANDIDATES
        .with_borrow(|candidates| candidates.get(routing).cloned())
        .ok_or_else(|| Error::new(Status::InvalidArg, "there is no such routing"))
}

/// The channels of one member of a link.
#[napi]
pub struct Routing {
    id: u32,
    member: Rc<Candidate>,
}

impl Drop for Routing {
    fn drop(&mut self) {
        forget(&CANDIDATES, self.id);
    }
}

#[napi]
impl Routing {
    /// The channels of a member that speaks `family`, as in `LinkOptions`.
    #[napi(constructor, catch_unwind)]
    pub fn new(member: LinkMember, family: String) -> Self {
        let spec = spec_of(member);
        let rules = Rc::new(spec.routing(family_of(&family)));
        let member = Rc::new(Candidate { spec, rules });
        let id = CANDIDATES.with_borrow_mut(|candidates| candidates.add(Rc::clone(&member)));
        Routing { id, member }
    }

    /// Its number, for the functions that take it.
    #[napi(getter)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The names of the channels.
    #[napi(catch_unwind)]
    pub fn names(&self) -> ChannelNames {
        let channels = &self.member.rules.channels;
        ChannelNames {
            broadcast: text(&channels.broadcast),
            request: text(&channels.request),
            response: text(&channels.response),
            own_response: text(&channels.own_response),
        }
    }

    /// The channel of a message: of a broadcast (`to` 0, `name` the room if it is exactly one), a request (1) or a
    /// response (2, `name` the uid of the requester).
    #[napi(catch_unwind)]
    pub fn channel(&self, to: u32, name: Option<Text>) -> napi::Result<String> {
        let to = destination(to, name, &self.member.rules)?;
        Ok(text(&self.member.rules.channels.of(&to)))
    }

    /// The channel of a room that servers with sockets in the room subscribe to; `null` if there is none.
    #[napi(catch_unwind)]
    pub fn room_channel(&self, room: Text) -> Option<String> {
        let rules = &self.member.rules;
        rules.subscribes(room.as_bytes()).then(|| text(&rules.channels.room(room.as_bytes())))
    }

    /// Sockets, here or elsewhere, are told to join rooms.
    #[napi(catch_unwind)]
    pub fn cover(&self, #[napi(ts_arg_type = "Array<Text>")] rooms: List<Text>) {
        self.member.rules.cover(rooms.iter().map(Text::as_bytes), Instant::now());
    }

    /// The rules of an ACL that allow these channels, as `ACL SETUSER` takes them.
    #[napi(catch_unwind)]
    pub fn acl_rules(&self) -> String {
        self.member.rules.channels.acl_rules(&self.member.spec.prefix)
    }

    /// A broadcast as it goes over the wire, for a client that carries it at once; the parameters are those of the
    /// function `broadcast`. `null` if the options have to name the room, and are not given.
    ///
    /// # Errors
    /// An `Error` if the payload is not the text of an event.
    #[napi(catch_unwind)]
    pub fn encode_broadcast(
        &self,
        payload: Bytes,
        #[napi(ts_arg_type = "Array<Bytes>")] attachments: List<Bytes>,
        room: Option<Text>,
        opts: Option<Bytes>,
    ) -> napi::Result<Option<Buffer>> {
        let is_ambiguous = |room: &Text| self.member.rules.is_ambiguous(room.as_bytes());
        if opts.is_none() && room.as_ref().is_some_and(is_ambiguous) {
            return Ok(None);
        }
        let attachments: Vec<&[u8]> = attachments.iter().map(Bytes::as_slice).collect();
        let (payload, opts) = (payload.as_slice(), opts.as_ref().map(Bytes::as_slice));
        let room = room.map(|room| room.to_string()).transpose()?;
        let mut out = Vec::with_capacity(payload.len() + 128);
        let MemberSpec { uid, nsp, .. } = &self.member.spec;
        self.member
            .rules
            .channels
            .family
            .encode_broadcast(uid, nsp, payload, &attachments, room.as_deref(), opts, &mut out)
            .map_err(|error| Error::new(Status::InvalidArg, error.to_string()))?;
        Ok(Some(out.into()))
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Where a message goes: `to` and `name` as in [`Routing::channel`].
pub(super) fn destination(to: u32, name: Option<Text>, rules: &Rules) -> napi::Result<Destination> {
    let name = name.map(|name| name.to_string()).transpose()?;
    Ok(match to {
        0 => Destination::Broadcast {
            room: name.filter(|room| rules.takes_room_channel(room.as_bytes(), Instant::now())),
        },
        1 => Destination::Request,
        _ => Destination::Response { uid: rules.response_to(name.as_deref()).map(str::to_owned) },
    })
}
