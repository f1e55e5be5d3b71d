//! Nodes that have hung, and go on without having been left: see `subscriber/watch.rs` for how that is seen.
//!
//! If such a node was replaced meanwhile, it may not know that yet. It first runs the publishes that it was
//! sent before. It sends them to its subscribers, and forwards them to its successor. Then it withdraws the
//! names, and the successor sends the copies to those who have just come from there: 105 of them were seen.
//! So what the node sends for [`COPY_LAG`] is remembered, and copies of it are dropped when its successor
//! sends them. These times count only while we read.
//!
//! What its successor was sent while the node hung may never reach the node, so that time counts as missed.

use std::hash::RandomState;
use std::time::Duration;

use tokio::time::Instant;

use super::super::seen::{COPY_LAG, Copies};
use crate::transport::redis::cluster::subscriber::last::hash;
use crate::transport::redis::connect::Address;

/// A node that hangs, or goes on since less than twice [`COPY_LAG`].
pub(super) struct HungNode {
    pub(super) node: Address,
    /// When it had sent something last, before it hung.
    pub(super) heard_at: Instant,
    /// When it was seen to hang last.
    hung_at: Instant,
    copies: Copies,
    keys: RandomState,
}

impl HungNode {
    pub(super) fn new(node: &Address, silence: Duration, now: Instant) -> Self {
        let (copies, keys) = (Copies::default(), RandomState::new());
        let mut new = Self { node: node.clone(), heard_at: now, hung_at: now, copies, keys };
        new.hangs(silence, now);
        new
    }

    /// It has sent nothing for `silence`.
    pub(super) fn hangs(&mut self, silence: Duration, now: Instant) {
        self.heard_at = now.checked_sub(silence).unwrap_or(now);
        self.hung_at = now;
    }

    /// Whether there may be copies of what it sends now.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.hung_at) < COPY_LAG
    }

    /// When all copies have come; `None` if none is expected.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        (!self.copies.is_empty()).then(|| self.hung_at + 2 * COPY_LAG)
    }

    /// Whether it does not matter any more that it has hung.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.hung_at) >= 2 * COPY_LAG
    }

    /// Everything happens later.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.hung_at += by;
        self.copies.put_off(by);
    }

    /// Remembers what the node sends.
    pub(super) fn add(&mut self, name: &[u8], payload: &[u8], now: Instant) {
        if self.is_fresh(now) {
            self.copies.add(hash(&self.keys, name, payload), now);
        }
    }

    /// Returns whether what a node sends that may be its successor is a copy.
    pub(super) fn take(
        &mut self,
        name: &[u8],
        payload: &[u8],
        now: Instant,
        may_succeed: impl Fn(&Address) -> bool,
    ) -> bool {
        if self.copies.is_empty() {
            return false;
        }
        let hash = hash(&self.keys, name, payload);
        self.copies.has(hash) && may_succeed(&self.node) && self.copies.take(hash, now)
    }
}
