//! A connection that was not read for a while, and may be behind.

use std::time::Duration;

use tokio::time::Instant;

/// How long the end of a connection may be noticed after everything was read.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Set while a connection is not read, and until it was read to the end and a moment has passed.
#[derive(Clone, Copy)]
pub(super) struct Behind {
    pub(super) since: Instant,
    /// When there was nothing more to read. The connection may have ended by then, and be noticed later.
    pub(super) caught_up: Option<Instant>,
}

impl Behind {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.caught_up.is_some_and(|at| now.saturating_duration_since(at) >= CATCH_UP)
    }
}
