//! How far the names were sent on a new connection.

use std::ops::Bound;

use crate::transport::Subscription;

/// Where to go on with the names that have to be sent again. They are not copied, since there may be 100,000
/// of them.
pub(super) enum Unsent {
    /// At the last name.
    All,
    /// Before this name.
    Before(Subscription),
}

impl Unsent {
    pub(super) fn bound(&self) -> Bound<&Subscription> {
        match self {
            Unsent::All => Bound::Unbounded,
            Unsent::Before(name) => Bound::Excluded(name),
        }
    }

    /// Whether a name still has to be sent.
    pub(super) fn covers(&self, name: &Subscription) -> bool {
        match self {
            Unsent::All => true,
            Unsent::Before(sent) => name < sent,
        }
    }
}
