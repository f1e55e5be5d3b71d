//! The slots of a cluster: which one a channel belongs to, as Redis computes it (`keyHashSlot` in cluster.c),
//! and what an error says about the owner of a slot.

mod redirect;

pub(super) use redirect::Redirect;

use std::collections::BTreeMap;

use crate::transport::Subscription;

/// The number of slots of a cluster.
pub(super) const SLOTS: u16 = 16384;

/// The number of a slot, below [`SLOTS`].
pub type Slot = u16;

/// Returns the slot of a channel. It depends on the text between the first `{` and the next `}` if there is
/// any, else on the whole name.
pub fn slot_of(channel: &[u8]) -> Slot {
    crc16(hash_tag(channel).unwrap_or(channel)) % SLOTS
}

fn hash_tag(channel: &[u8]) -> Option<&[u8]> {
    let tag = channel.get(memchr::memchr(b'{', channel)? + 1..)?;
    let tag = tag.get(..memchr::memchr(b'}', tag)?)?;
    (!tag.is_empty()).then_some(tag)
}

/// Groups names by slot. The names of a slot keep their order. The slots are ordered by their last name.
pub(super) fn in_slots(names: Vec<Subscription>) -> Vec<(Slot, Vec<Subscription>)> {
    let mut slots: BTreeMap<Slot, (usize, Vec<Subscription>)> = BTreeMap::new();
    for (place, name) in names.into_iter().enumerate() {
        let (last, names) = slots.entry(slot_of(&name.name)).or_default();
        *last = place;
        names.push(name);
    }
    let mut slots: Vec<_> = slots.into_iter().map(|(slot, (last, names))| (last, slot, names)).collect();
    slots.sort_unstable_by_key(|&(last, ..)| last);
    slots.into_iter().map(|(_, slot, names)| (slot, names)).collect()
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        let [high, _] = crc.to_be_bytes();
        let index = usize::from(high ^ byte);
        (crc << 8) ^ CRC16.get(index).copied().unwrap_or_default()
    })
}

static CRC16: [u16; 256] = crc16_table();

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)] // Runs in the compiler.
const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_as_redis_answers_cluster_keyslot() {
        for (channel, slot) in [
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("somekey", 11058),
            ("foo{hash_tag}", 2515),
            ("bar{hash_tag}", 2515),
        ] {
            assert_eq!(slot_of(channel.as_bytes()), slot, "{channel}");
        }
    }

    #[test]
    fn hash_tags() {
        let tagged = slot_of(b"user1000");
        assert_eq!(slot_of(b"{user1000}.following"), tagged);
        assert_eq!(slot_of(b"x{user1000}{other}"), tagged);
        // For "foo{{bar}}zap" Redis hashes "{bar". An empty tag, or one without an end, does not count.
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(hash_tag(b"foo{}{bar}"), None);
        assert_eq!(hash_tag(b"foo{bar"), None);
        assert_eq!(hash_tag(b"foo}bar{"), None);
    }

    #[test]
    fn a_slot_comes_with_the_last_of_its_names() {
        let names = ["{a}1", "{b}1", "{a}2", "{b}2", "{c}"].map(Subscription::shard).to_vec();
        let slots: Vec<_> = in_slots(names)
            .into_iter()
            .flat_map(|(slot, names)| names.into_iter().map(move |name| (slot, name.name)))
            .collect();
        let expected: Vec<_> = ["{a}1", "{a}2", "{b}1", "{b}2", "{c}"]
            .map(|name| (slot_of(name.as_bytes()), name.as_bytes().into()))
            .to_vec();
        assert_eq!(slots, expected);
    }
}
