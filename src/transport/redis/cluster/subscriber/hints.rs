//! What a lane has learned about the cluster.

use std::collections::BTreeSet;

use crate::transport::redis::connect::Address;
use crate::transport::redis::slot::Redirect;

/// What a lane has learned about the cluster.
#[derive(Default)]
pub(crate) struct Hints {
    /// What nodes said of slots that they do not own.
    pub(crate) redirects: Vec<(Address, Redirect)>,
    /// A connection is lost, or a name has no home.
    pub(crate) trouble: bool,
    /// The nodes that have withdrawn subscriptions.
    pub(crate) withdrawn: BTreeSet<Address>,
}
