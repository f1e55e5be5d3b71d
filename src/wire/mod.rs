//! What goes over Redis: one file per message family, and the names of the channels.
//!
//! Bytes become types here, at the edge; nothing above this layer looks at raw payloads.

use crate::transport::Space;

pub mod channel;
pub mod classic;
mod shape;

/// What the members of a link speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// As `createAdapter` of `@socket.io/redis-adapter`.
    Classic,
    /// As its `createShardedAdapter`.
    Sharded,
}

impl Family {
    /// Where its messages go.
    pub fn space(self) -> Space {
        match self {
            Family::Classic => Space::Global,
            Family::Sharded => Space::Shard,
        }
    }
}
