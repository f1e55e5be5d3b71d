//! Streams: what is added to them, what is read from them, and the sessions that are restored from them.

use std::time::Duration;

use super::Core;
use super::effects::{Effects, MemberId};
use crate::transport::Outcome;

impl Core {
    /// Adds a message that JS has encoded to the stream of a member.
    pub fn append(&mut self, _id: MemberId, _kind: u32, _data: &[u8], _fx: &mut Effects) {}

    /// Keeps a session under a key.
    pub fn persist(
        &mut self,
        _id: MemberId,
        _key: &[u8],
        _session: &[u8],
        _lifetime: Duration,
        _fx: &mut Effects,
    ) {
    }

    /// Takes a session from a key, and gathers what it has missed.
    pub fn restore(&mut self, _id: MemberId, _token: u32, _key: &[u8], _offset: &[u8], _fx: &mut Effects) {}

    /// Takes the end of a command.
    pub(super) fn replied(&mut self, _token: u64, _outcome: Outcome<'_>, _fx: &mut Effects) {}
}
