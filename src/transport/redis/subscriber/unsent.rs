//! How far the names of a new connection are sent.

use std::ops::Bound;

use crate::transport::Subscription;

/// Where to go on with the names that are to be sent anew. They are not copied: there may be 100,000 of them.
pub(super) enum Unsent {
    /// With the last one.
    All,
    /// Before this one.
    Before(Subscription),
}

impl Unsent {
    pub(super) fn bound(&self) -> Bound<&Subscription> {
        match self {
            Unsent::All => Bound::Unbounded,
            Unsent::Before(name) => Bound::Excluded(name),
        }
    }

    /// Whether a name is still to come.
    pub(super) fn covers(&self, name: &Subscription) -> bool {
        match self {
            Unsent::All => true,
            Unsent::Before(sent) => name < sent,
        }
    }
}
