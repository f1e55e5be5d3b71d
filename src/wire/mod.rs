//! The messages on the wire: one folder per family, the shapes in them, and the names of the channels.
//!
//! Bytes become types here, at the edge; nothing above this layer looks at raw payloads.

use crate::packet::Malformed;
use crate::transport::ChannelKind;

mod any;
pub mod broadcast;
pub mod channel;
pub mod classic;
pub mod cluster;
pub mod descriptions;
pub mod glance;
pub mod request;
pub mod response;
mod rooms;
mod rooms_text;
mod scan;
mod shape;
pub mod slices;
pub mod streams;
pub mod target;
pub mod typed;

/// The family of messages that the members of a link speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// As `createAdapter` of `@socket.io/redis-adapter`.
    Classic,
    /// As its `createShardedAdapter`.
    Sharded,
    /// As `createAdapter` of `@socket.io/redis-streams-adapter`.
    Streams {
        /// Where messages go that are no entries of a stream: the `useShardedPubSub` option.
        channel_kind: ChannelKind,
    },
}

impl Family {
    /// Where its messages go.
    pub fn channel_kind(self) -> ChannelKind {
        match self {
            Family::Classic => ChannelKind::Global,
            Family::Sharded => ChannelKind::Shard,
            Family::Streams { channel_kind } => channel_kind,
        }
    }

    /// Whether its messages are envelopes on one channel for everything.
    pub fn has_envelopes(self) -> bool {
        self != Family::Classic
    }

    /// The message of a member that has joined. Servers with this package then know of it at once; all others do nothing
    /// about it.
    pub fn hello(self, uid: &str, nsp: &str) -> Vec<u8> {
        match self {
            Family::Classic => classic::hello(uid),
            Family::Sharded => cluster::hello(uid, nsp, false),
            Family::Streams { .. } => cluster::hello(uid, nsp, true),
        }
    }

    /// Appends a broadcast for an Engine.IO payload that socket.io-parser printed. `opts` are the options as this
    /// family encodes them; none for those of a plain emit to `room` or everyone.
    ///
    /// # Errors
    /// If the payload is not the text of an event, or nested too deep. The caller takes back the bytes that were appended
    /// by then.
    #[allow(clippy::too_many_arguments)] // they are the message
    pub fn encode_broadcast(
        self,
        uid: &str,
        nsp: &str,
        payload: &[u8],
        attachments: &[&[u8]],
        room: Option<&str>,
        opts: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let encode = match self {
            Family::Classic => classic::encode_broadcast,
            // Those of streams are entries, and do not come here.
            Family::Sharded | Family::Streams { .. } => cluster::encode_broadcast,
        };
        encode(uid, nsp, payload, attachments, room, opts, out)
    }
}
