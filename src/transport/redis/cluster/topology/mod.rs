//! Who owns which slot, how the cluster is asked for it, and which answers are believed.

mod disowned;
mod refresh;

pub(super) use disowned::Disowned;
pub(super) use refresh::{Refresh, TopologyAnswer, Turn, read_info};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::settings::ClusterSettings;
use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::{SLOTS, Slot};
use crate::transport::resp::{Items, ProtocolError, Reply};

/// The most nodes that are accepted. Redis' own documentation ends at 1000.
const MAX_NODES: usize = 4096;

/// How often MOVED may give a slot to another node before the cluster has to be asked again. Two nodes that
/// name each other would otherwise pass its names to and fro for ever.
const MAX_PATCHES: u8 = 3;

/// Marks a slot without an owner.
const NOBODY: u16 = u16::MAX;

/// Who owns which slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    /// For each slot, the index of its owner in `shards`.
    owners: Vec<u16>,
    shards: Vec<Shard>,
    patches: BTreeMap<Slot, u8>,
}

/// A master and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) master: Address,
    pub(super) replicas: Vec<Address>,
    /// How many slots it owns.
    slots: u16,
}

impl Topology {
    /// Returns a topology without owners.
    pub(super) fn unknown() -> Self {
        Self { owners: vec![NOBODY; usize::from(SLOTS)], shards: Vec::new(), patches: BTreeMap::new() }
    }

    /// Reads the reply of `asked` to `CLUSTER SLOTS`.
    ///
    /// # Errors
    /// If the reply is malformed, or names more nodes than are accepted.
    pub(super) fn of(
        slots: Items<'_>,
        settings: &ClusterSettings,
        asked: &Address,
    ) -> Result<Self, ProtocolError> {
        let mut topology = Self::unknown();
        let mut indices: BTreeMap<Address, u16> = BTreeMap::new();
        for range in slots {
            let Reply::Array(mut range) = range else {
                return Err(ProtocolError::Unexpected);
            };
            let (first, last) = (next_slot(&mut range)?, next_slot(&mut range)?);
            let mut holders = Vec::new();
            for node in range {
                let Reply::Array(node) = node else {
                    return Err(ProtocolError::Unexpected);
                };
                holders.extend(read_node(node, settings, asked)?);
            }
            if first > last {
                return Err(ProtocolError::Unexpected);
            }
            let mut holders = holders.into_iter();
            // A master without an endpoint cannot be reached.
            let Some(master) = holders.next() else {
                continue;
            };
            let index = match indices.get(&master) {
                Some(&index) => index,
                None => {
                    let index = topology.add_shard(master.clone(), holders.collect())?;
                    indices.insert(master, index);
                    index
                }
            };
            for slot in first..=last {
                if topology.shard(slot).is_some() {
                    return Err(ProtocolError::Unexpected);
                }
                topology.give(slot, index);
            }
        }
        if topology.nodes().count() > MAX_NODES {
            return Err(ProtocolError::Unexpected);
        }
        Ok(topology)
    }

    /// Returns the nodes of a slot.
    pub(super) fn shard(&self, slot: Slot) -> Option<&Shard> {
        let owner = self.owners.get(usize::from(slot))?;
        self.shards.get(usize::from(*owner))
    }

    /// Returns the owner of a slot.
    pub(super) fn master(&self, slot: Slot) -> Option<&Address> {
        self.shard(slot).map(|shard| &shard.master)
    }

    /// Returns the nodes that own slots.
    pub(super) fn masters(&self) -> impl Iterator<Item = &Address> {
        self.shards.iter().filter(|shard| shard.slots > 0).map(|shard| &shard.master)
    }

    /// Returns all nodes, masters first.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.masters().chain(self.shards.iter().flat_map(|shard| &shard.replicas))
    }

    /// Returns all nodes, each once.
    pub(super) fn node_set(&self) -> BTreeSet<Address> {
        self.nodes().cloned().collect()
    }

    /// Returns whether two nodes belong to the same shard.
    pub(super) fn is_shard_of(&self, one: &Address, other: &Address) -> bool {
        let has = |shard: &Shard, node: &Address| shard.master == *node || shard.replicas.contains(node);
        self.shards.iter().any(|shard| has(shard, one) && has(shard, other))
    }

    /// Returns whether a slot has another owner than in `other`.
    pub(super) fn has_other_owners(&self, other: &Self) -> bool {
        (0..SLOTS).any(|slot| self.master(slot) != other.master(slot))
    }

    /// Returns the nodes that owned slots in `before`, if another node of their shard owns these now.
    pub(super) fn successions<'a>(&self, before: &'a Self) -> BTreeSet<&'a Address> {
        let owners = (0..SLOTS).filter_map(|slot| Some((before.master(slot)?, self.master(slot)?)));
        let changes: BTreeSet<_> = owners.filter(|(former, owner)| former != owner).collect();
        let succeeds =
            |one: &Address, other: &Address| before.is_shard_of(one, other) || self.is_shard_of(one, other);
        changes
            .into_iter()
            .filter(|(former, owner)| succeeds(former, owner))
            .map(|(former, _)| former)
            .collect()
    }

    /// Returns a slot that nobody owns.
    pub(super) fn first_uncovered(&self) -> Option<Slot> {
        (0..SLOTS).find(|&slot| self.shard(slot).is_none())
    }

    /// Returns the slots that nobody owns.
    pub(super) fn uncovered(&self) -> Vec<RangeInclusive<Slot>> {
        let mut ranges: Vec<RangeInclusive<Slot>> = Vec::new();
        for slot in (0..SLOTS).filter(|&slot| self.shard(slot).is_none()) {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == slot => *last = *last.start()..=slot,
                _ => ranges.push(slot..=slot),
            }
        }
        ranges
    }

    /// Removes the owner of a slot.
    pub(super) fn disown(&mut self, slot: Slot) {
        self.give(slot, NOBODY);
    }

    /// Gives a slot to a node that was named as its owner. Returns whether that changed anything. It does not
    /// if the slot was given away too often since the cluster was asked.
    pub(super) fn patch(&mut self, slot: Slot, owner: Address) -> bool {
        if self.master(slot) == Some(&owner) {
            return false;
        }
        let patches = self.patches.entry(slot).or_default();
        if *patches == MAX_PATCHES {
            return false;
        }
        *patches += 1;
        let known = self.shards.iter().position(|shard| shard.master == owner);
        let index = match known.map(u16::try_from) {
            Some(Ok(index)) => index,
            Some(Err(_)) => return false,
            None => match self.add_shard(owner, Vec::new()) {
                Ok(index) => index,
                Err(_) => return false,
            },
        };
        self.give(slot, index);
        true
    }

    fn add_shard(&mut self, master: Address, replicas: Vec<Address>) -> Result<u16, ProtocolError> {
        let index = u16::try_from(self.shards.len()).ok().filter(|&index| usize::from(index) < MAX_NODES);
        let index = index.ok_or(ProtocolError::Unexpected)?;
        self.shards.push(Shard { master, replicas, slots: 0 });
        Ok(index)
    }

    fn give(&mut self, slot: Slot, index: u16) {
        let Some(owner) = self.owners.get_mut(usize::from(slot)) else {
            return;
        };
        let before = std::mem::replace(owner, index);
        if let Some(shard) = self.shards.get_mut(usize::from(before)) {
            shard.slots -= 1;
        }
        if let Some(shard) = self.shards.get_mut(usize::from(index)) {
            shard.slots += 1;
        }
    }
}

fn next_slot(items: &mut Items<'_>) -> Result<Slot, ProtocolError> {
    match items.next() {
        Some(Reply::Integer(slot)) => {
            Slot::try_from(slot).ok().filter(|&slot| slot < SLOTS).ok_or(ProtocolError::Unexpected)
        }
        _ => Err(ProtocolError::Unexpected),
    }
}

/// Reads `host, port, id, …` and ignores the rest. Returns `None` for a node without a port, which cannot be
/// reached.
fn read_node(
    mut node: Items<'_>,
    settings: &ClusterSettings,
    asked: &Address,
) -> Result<Option<Address>, ProtocolError> {
    let host = match node.next() {
        Some(Reply::Bulk(host)) => Some(std::str::from_utf8(host).map_err(|_| ProtocolError::Unexpected)?),
        Some(Reply::Nil) => None,
        _ => return Err(ProtocolError::Unexpected),
    };
    let Some(Reply::Integer(port)) = node.next() else {
        return Err(ProtocolError::Unexpected);
    };
    let port = u16::try_from(port).map_err(|_| ProtocolError::Unexpected)?;
    Ok((port != 0).then(|| settings.resolve(host, port, asked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::redis::connect::Settings;
    use crate::transport::resp::Scanner;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    fn read(reply: &[u8]) -> Result<Topology, ProtocolError> {
        let asked = tcp("asked", 1);
        let settings = ClusterSettings {
            base: Settings::default(),
            seeds: Vec::new(),
            nat_map: vec![("10.0.0.9:9".to_owned(), tcp("outside", 99))],
        };
        let len = Scanner::default().scan(reply)?.ok_or(ProtocolError::Unexpected)?;
        match Reply::of(&reply[..len])? {
            Reply::Array(items) => Topology::of(items, &settings, &asked),
            _ => Err(ProtocolError::Unexpected),
        }
    }

    /// A reply of Redis 7.0.
    const SLOTS_REPLY: &[u8] = b"*3\r\n\
        *4\r\n:0\r\n:5460\r\n\
        *4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n*2\r\n$8\r\nhostname\r\n$1\r\na\r\n\
        *4\r\n$9\r\n127.0.0.1\r\n:7004\r\n$2\r\nid\r\n*0\r\n\
        *3\r\n:5461\r\n:10922\r\n*3\r\n$-1\r\n:7002\r\n$2\r\nid\r\n\
        *3\r\n:10923\r\n:16383\r\n*3\r\n$8\r\n10.0.0.9\r\n:9\r\n$2\r\nid\r\n";

    #[test]
    fn reads_cluster_slots() {
        let topology = read(SLOTS_REPLY).unwrap();
        let one = tcp("127.0.0.1", 7001);
        let replica = tcp("127.0.0.1", 7004);
        assert_eq!(topology.master(0), Some(&one));
        assert_eq!(topology.master(5460), Some(&one));
        assert_eq!(topology.master(5461), Some(&tcp("asked", 7002)));
        assert_eq!(topology.master(16383), Some(&tcp("outside", 99)));
        assert_eq!(topology.first_uncovered(), None);
        assert_eq!(topology.masters().count(), 3);
        assert_eq!(topology.node_set().len(), 4);
        assert_eq!(topology.shard(17).unwrap().replicas, [replica]);
    }

    #[test]
    fn slots_without_an_owner() {
        let topology = read(b"*1\r\n*3\r\n:1\r\n:16383\r\n*3\r\n$1\r\na\r\n:7\r\n$2\r\nid\r\n").unwrap();
        assert_eq!(topology.uncovered(), [0..=0]);
        // A master that has lost its port, and a range without nodes.
        let topology = read(b"*2\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n*2\r\n:2\r\n:3\r\n").unwrap();
        assert_eq!(topology, Topology::unknown());
        assert_eq!(read(b"*0\r\n").unwrap(), Topology::unknown());
    }

    #[test]
    fn a_patch_gives_a_slot_away() {
        let mut topology = read(SLOTS_REPLY).unwrap();
        let (one, two) = (tcp("127.0.0.1", 7001), tcp("asked", 7002));
        assert!(topology.patch(7, two.clone()));
        assert!(!topology.patch(7, two.clone()), "nothing new");
        assert_eq!(topology.master(7), Some(&two));
        assert_eq!(topology.master(6), Some(&one));
        let new = tcp("new", 1);
        assert!(topology.patch(7, new.clone()));
        assert!(topology.masters().any(|node| *node == new));
        assert!(topology.patch(7, one.clone()));
        assert!(!topology.masters().any(|node| *node == new), "it owns nothing any more");
        assert!(!topology.patch(7, two), "too often");
        assert_eq!(topology.master(7), Some(&one));
    }

    #[test]
    fn a_master_is_succeeded_by_a_node_of_its_shard() {
        let before = read(SLOTS_REPLY).unwrap();
        let (one, two, replica) = (tcp("127.0.0.1", 7001), tcp("asked", 7002), tcp("127.0.0.1", 7004));
        let mut after = before.clone();
        // If a slot goes to another shard, its subscribers go there, too.
        assert!(after.patch(7, two));
        assert!(after.successions(&before).is_empty());
        assert!(after.patch(8, replica));
        assert_eq!(after.successions(&before), BTreeSet::from([&one]));
    }

    #[test]
    fn nonsense_is_refused() {
        for reply in [
            &b"+OK\r\n"[..],
            b"*1\r\n:1\r\n",
            b"*1\r\n*0\r\n",
            b"*1\r\n*2\r\n:5\r\n:4\r\n",
            b"*2\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:7\r\n*3\r\n:1\r\n:2\r\n*2\r\n$1\r\na\r\n:7\r\n",
            b"*1\r\n*2\r\n:0\r\n:16384\r\n",
            b"*1\r\n*2\r\n:-1\r\n:1\r\n",
            b"*1\r\n*2\r\n$1\r\n0\r\n:1\r\n",
            b"*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n",
            b"*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
            b"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",
            b"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\n\xff\r\n:1\r\n",
        ] {
            assert_eq!(read(reply), Err(ProtocolError::Unexpected), "{}", String::from_utf8_lossy(reply));
        }
    }

    proptest! {
        #[test]
        fn mutilated_replies_never_panic(at in 0..SLOTS_REPLY.len(), byte: u8) {
            let mut reply = SLOTS_REPLY.to_vec();
            reply[at] = byte;
            let _ = read(&reply);
        }
    }
}
