//! Peers that tests play byte by byte, and certificates for them.

mod authority;
mod peer;

pub(super) use authority::{Authority, Identity};
pub(super) use peer::{Client, MockPeer, block_on, drive};
