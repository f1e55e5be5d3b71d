//! What a subscriber has learned about the cluster.

use std::collections::BTreeSet;

use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::Redirect;

/// What a subscriber has learned about the cluster.
#[derive(Default)]
pub(crate) struct Hints {
    /// What nodes said about slots that they do not own.
    pub(crate) redirects: Vec<(Address, Redirect)>,
    /// A connection was lost, or a node has refused a name.
    pub(crate) trouble: bool,
    /// The nodes that have withdrawn subscriptions.
    pub(crate) withdrawn: BTreeSet<Address>,
}
