//! The messages of `@socket.io/redis-adapter` 8: broadcasts in msgpack, requests and responses in JSON or
//! msgpack.

mod broadcast;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub(super) use broadcast::Packet;
pub use broadcast::{decode_broadcast, encode_broadcast, peek_uid};
pub use request::{Request, hello};
pub use response::{Response, no_client, no_sockets, peek_request_id, rooms};
