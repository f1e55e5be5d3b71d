//! The end of a link, or of its connections: how long it goes on trying to write what waits.

use std::time::{Duration, Instant};

/// How long a link that is closed, or whose clients have ended, goes on trying to write what waits.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The same as long as Redis goes on answering.
const MAX_LINGER: Duration = Duration::from_secs(30);

/// The end of a link, or of its connections.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// Then at the latest, if nothing gets on.
    pub until: Instant,
    /// Then at the latest.
    pub bound: Instant,
    /// What Redis had answered when that was last looked at.
    pub answered: u64,
}

impl Ending {
    /// It begins now.
    pub fn new(now: Instant) -> Self {
        Ending { until: now + LINGER, bound: now + MAX_LINGER, answered: 0 }
    }
}
