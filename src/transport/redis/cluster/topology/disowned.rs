use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Topology;
use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::Slot;

/// The slots that have no owner, according to each node.
///
/// A node that loses a slot without a new owner does not tell the others: they still name it as the owner,
/// and report that all is well. About its own slots each node itself is believed.
#[derive(Default)]
pub(crate) struct Disowned {
    slots: BTreeMap<Address, Vec<RangeInclusive<Slot>>>,
}

impl Disowned {
    /// A node has said who owns which slot. Returns whether it disowns a slot that is `believed` to be its
    /// own.
    pub(crate) fn hear(&mut self, node: &Address, said: &Topology, believed: &Topology) -> bool {
        let slots = said.uncovered();
        if slots.is_empty() {
            self.slots.remove(node);
            return false;
        }
        let any = slots.iter().cloned().flatten().any(|slot| believed.master(slot) == Some(node));
        self.slots.insert(node.clone(), slots);
        any
    }

    /// Takes slots away from owners that disown them. Returns such an owner: it has to be asked when that
    /// ends.
    pub(crate) fn correct(&mut self, topology: &mut Topology) -> Option<Address> {
        let mut owner = None;
        for (node, slots) in &self.slots {
            for slot in slots.iter().cloned().flatten() {
                if topology.master(slot) == Some(node) {
                    topology.disown(slot);
                    owner = Some(node.clone());
                }
            }
        }
        owner
    }

    /// Forgets nodes that are not known any more.
    pub(crate) fn retain(&mut self, is_known: impl Fn(&Address) -> bool) {
        self.slots.retain(|node, _| is_known(node));
    }
}
