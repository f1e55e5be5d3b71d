//! A reader, and the node where it is.

use super::settings::ClusterSettings;
use crate::transport::redis::commands::{Abandoned, ReaderConnection};
use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::Slot;

/// Why a reader leaves a node.
pub(super) const MOVED: &str = "the slot of the key is another node's now";

/// A command without a reply.
pub(super) struct Ended {
    pub(super) command: Abandoned,
    pub(super) reason: String,
}

/// A reader, and the node where it is: the master of the slot of its last command.
pub(super) struct ClusterReader {
    pub(super) reader: ReaderConnection,
    pub(super) at: Address,
    pub(super) slot: Slot,
}

impl ClusterReader {
    pub(super) fn new(settings: &ClusterSettings, at: &Address, slot: Slot) -> Self {
        Self { reader: ReaderConnection::new(settings.of(at), true), at: at.clone(), slot }
    }

    /// Goes to a node, unless it is there. Returns the commands that end because of that.
    pub(super) fn move_to(
        &mut self,
        settings: &ClusterSettings,
        owner: &Address,
    ) -> impl Iterator<Item = Ended> + use<> {
        let mut abandoned = Vec::new();
        if self.at != *owner {
            self.at = owner.clone();
            abandoned = self.reader.move_to(settings.of(owner));
        }
        abandoned.into_iter().map(|command| Ended { command, reason: MOVED.to_owned() })
    }
}
