//! The types of messages that this node handles.

/// A member has joined. The adapters of streams and sharded channels of the reference do nothing about it.
pub(super) const HEARTBEAT: u64 = 2;
/// A broadcast.
pub const BROADCAST: u64 = 3;
pub(super) const SOCKETS_JOIN: u64 = 4;
pub(super) const SOCKETS_LEAVE: u64 = 5;
pub(super) const DISCONNECT_SOCKETS: u64 = 6;
pub(super) const FETCH_SOCKETS: u64 = 7;
pub(super) const FETCH_SOCKETS_RESPONSE: u64 = 8;
pub(super) const SERVER_SIDE_EMIT: u64 = 9;
pub(super) const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
pub(super) const BROADCAST_CLIENT_COUNT: u64 = 11;
pub(super) const BROADCAST_ACK: u64 = 12;
