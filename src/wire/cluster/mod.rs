//! The messages of the cluster adapters, sharded and streams: one envelope for everything,
//! `{type, data, uid, nsp}`, in JSON, or in msgpack where there is something binary in it.
//!
//! An envelope in JSON is never parsed into a tree: the packet's arguments are cut out of it as they are.

mod decode;
mod encode;
mod kind;
mod message;
mod request;
mod response;
mod tail;
#[cfg(test)]
mod tests;

pub use encode::{encode_broadcast, encode_broadcast_data, hello, nothing_here};
pub use kind::BROADCAST;
pub use message::{Hello, Message};
pub use request::Request;
pub use response::Response;
pub use tail::{is_own, tail};
