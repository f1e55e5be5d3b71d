//! Connections that were lost with commands on them. If Redis, or a proxy on the way, still holds unread
//! commands, they would be run later: after the look at the stream that tells which entries have arrived.
//! Some entries would then be added twice. So the next connection first ends the lost one in Redis.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::Address;

/// The last connection to each node that may have left commands behind.
#[derive(Clone, Default)]
pub struct Predecessors(Arc<Mutex<BTreeMap<Address, ClientId>>>);

/// How Redis identifies a connection. The id alone is not enough: another server may have the same address by
/// now, and its connections have ids of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientId {
    id: String,
    /// Both ends, as Redis sees them.
    address: String,
    local_address: String,
}

impl Predecessors {
    /// Returns the connection to end at a node.
    pub(crate) fn at(&self, node: &Address) -> Option<ClientId> {
        self.all().get(node).cloned()
    }

    /// Adds a connection that may have left commands behind.
    pub(crate) fn add(&self, node: &Address, client: ClientId) {
        self.all().insert(node.clone(), client);
    }

    /// Forgets a connection that was ended.
    pub(crate) fn forget(&self, node: &Address, client: &ClientId) {
        let mut all = self.all();
        if all.get(node) == Some(client) {
            all.remove(node);
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Address, ClientId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Predecessors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Predecessors").field(&*self.all()).finish()
    }
}

impl PartialEq for Predecessors {
    /// Whether both are the same.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Predecessors {}

impl ClientId {
    /// Reads the reply to `CLIENT INFO`: `id=3 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 …`.
    pub(crate) fn of(info: &[u8]) -> Option<Self> {
        let info = std::str::from_utf8(info).ok()?;
        let value = |name: &str| {
            let mut words = info.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix(name)).map(str::to_owned)
        };
        Some(Self { id: value("id=")?, address: value("addr=")?, local_address: value("laddr=")? })
    }

    /// Returns the command that ends this connection and no other. If the connection is gone, it does
    /// nothing.
    pub(crate) fn end(&self) -> redis::Cmd {
        let mut command = redis::cmd("CLIENT");
        command.arg("KILL").arg("ID").arg(&self.id);
        command.arg("ADDR").arg(&self.address).arg("LADDR").arg(&self.local_address);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_by_its_id_and_both_ends() {
        let info = b"id=3 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=8 name= db=0 user=default\n";
        let client = ClientId::of(info).unwrap();
        let expected = ["CLIENT", "KILL", "ID", "3", "ADDR", "127.0.0.1:5000", "LADDR", "127.0.0.1:6379"];
        let mut twin = redis::Cmd::new();
        for part in expected {
            twin.arg(part);
        }
        assert_eq!(client.end().get_packed_command(), twin.get_packed_command());
        for nonsense in [&b""[..], b"id=3", b"id=3 addr=x", b"\xff"] {
            assert_eq!(ClientId::of(nonsense), None);
        }
    }
}
