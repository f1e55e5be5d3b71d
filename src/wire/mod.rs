//! What goes over Redis: one file per message family, and the names of the channels.
//!
//! Bytes become types here, at the edge; nothing above this layer looks at raw payloads.

pub mod channel;
pub mod classic;
mod shape;
