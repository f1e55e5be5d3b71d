//! What is called for every message and every room, by the number of the link. Nothing here allocates beyond what the
//! command holds, and each call locks the outbox or the inbox once.

use std::sync::atomic::Ordering;
use std::time::Instant;

use napi::bindgen_prelude::{BufferSlice, Uint32Array};
use napi_derive::napi;

use super::args::{Bytes, List, Text};
use super::links::{LocalLink, with_link};
use super::numbers::to_f64;
use super::routing::destination;
use crate::core::effects::MemberId;
use crate::core::routing::has_replacement;
use crate::driver::command::{Command, Commands};
use crate::driver::inbox::Fetched;
use crate::packet::misleads;

/// Broadcasts an event with binary attachments. All else is as in the function that `fastBroadcast` returns.
#[napi(catch_unwind)]
pub fn broadcast_binary(
    link: u32,
    member: MemberId,
    payload: Bytes,
    #[napi(ts_arg_type = "Array<Bytes>")] attachments: List<Bytes>,
    room: Option<Text>,
    opts: Option<Bytes>,
    checked: bool,
) -> napi::Result<u32> {
    broadcast_parts(link, member, &payload, &attachments, room, opts, checked)
}

/// The first local socket has joined a room, or the last one has left it. `is_text` says whether JS has the room as a
/// string. Returns whether Redis is asked for a subscription, or for its end.
#[napi(catch_unwind)]
pub fn set_room(link: u32, member: MemberId, room: Text, present: bool, is_text: bool) -> napi::Result<bool> {
    with_link(link, |link| {
        if !is_text || has_replacement(room.as_bytes()) {
            link.shared.outbox.push_lazily(|_| Command::OddRoom(member, present));
        }
        let subscribes = link.routings.get(&member).is_some_and(|rules| rules.subscribes(room.as_bytes()));
        let add = |commands: &mut Commands| {
            let room = commands.put(room.as_bytes());
            Command::Room { member, room, present }
        };
        let outbox = &link.shared.outbox;
        if subscribes {
            outbox.push(add)
        } else {
            outbox.push_lazily(add)
        }
        subscribes
    })
}

/// Tells the link whether the namespace has any local socket.
#[napi(catch_unwind)]
pub fn set_occupied(link: u32, member: MemberId, occupied: bool) -> napi::Result<()> {
    with_link(link, |link| link.shared.outbox.push_lazily(|_| Command::Occupied(member, occupied)))
}

/// JS has worked off so many requests.
#[napi(catch_unwind)]
pub fn settled(link: u32, member: MemberId, count: u32) -> napi::Result<()> {
    with_link(link, |link| link.shared.outbox.push_lazily(|_| Command::Settled(member, count)))
}

/// Copies records into `slab` from `start` on. Returns how many; or 0; or, negated, how many bytes of slab the next
/// record needs. `table` gets 12 numbers for each record, and in its last place the number of bytes of all.
// Strict: otherwise `BufferSlice` asks for the bytes of what may be no Buffer, and until 20.12 Node aborts then.
#[napi(catch_unwind, strict)]
pub fn fetch(link: u32, mut slab: BufferSlice<'_>, start: u32, mut table: Uint32Array) -> napi::Result<f64> {
    // SAFETY: JS runs on this thread, so that nothing else looks at the table during the call.
    let table = unsafe { table.as_mut() };
    let Some((bytes_taken, rows)) = table.split_last_mut() else {
        return Ok(0.0);
    };
    let fetched = with_link(link, |link| {
        let LocalLink { shared: link, .. } = link;
        let fetched = link.inbox.fetch(&mut slab, start as usize, rows);
        if link.paused.load(Ordering::Acquire) {
            link.outbox.nudge();
        }
        fetched
    })?;
    Ok(match fetched {
        Fetched::Nothing => 0.0,
        Fetched::Needs(bytes) => -to_f64(bytes as u64),
        Fetched::Records { count, bytes } => {
            *bytes_taken = u32::try_from(bytes).unwrap_or(u32::MAX);
            to_f64(count as u64)
        }
    })
}

/// What has become of a broadcast.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Sent {
    /// It is on its way.
    Yes = 0,
    /// It is not: the text may not say what was meant, see `mayMislead`.
    Misleads = 1,
    /// It is not: the options have to name the room, and were not given.
    Ambiguous = 2,
}

/// See [`super::fast::fast_broadcast`].
pub fn broadcast_parts(
    link: u32,
    member: MemberId,
    payload: &Bytes,
    attachments: &[Bytes],
    room: Option<Text>,
    opts: Option<Bytes>,
    checked: bool,
) -> napi::Result<u32> {
    let payload = payload.as_slice();
    if !checked && misleads(payload, attachments.len()) {
        return Ok(Sent::Misleads as u32);
    }
    let sent = with_link(link, |link| {
        // A member that has left has no routing any more, but may still add to its streams.
        let rules = link.routings.get(&member);
        let takes_room_channel = match (&room, rules) {
            (Some(room), Some(rules)) => {
                if opts.is_none() && rules.is_ambiguous(room.as_bytes()) {
                    return Sent::Ambiguous;
                }
                rules.takes_room_channel(room.as_bytes(), Instant::now())
            }
            _ => false,
        };
        link.shared.outbox.push(|commands| {
            let payload = commands.put(payload);
            let attachments = attachments.iter().map(|bytes| commands.put(bytes.as_slice())).collect();
            let room = room.as_ref().map(|room| commands.put(room.as_bytes()));
            let opts = opts.map(|opts| commands.put(opts.as_slice()));
            Command::Broadcast { member, payload, attachments, room, opts, takes_room_channel }
        });
        Sent::Yes
    })?;
    Ok(sent as u32)
}

/// See [`super::fast::fast_send`].
pub fn send_parts(
    link: u32,
    member: MemberId,
    to: u32,
    name: Option<Text>,
    bytes: &[u8],
) -> napi::Result<bool> {
    with_link(link, |link| {
        let Some(rules) = link.routings.get(&member) else {
            return Ok(false);
        };
        let to = destination(to, name, rules)?;
        link.shared.outbox.push(|commands| Command::Send { member, to, bytes: commands.put(bytes) });
        Ok(true)
    })?
}
