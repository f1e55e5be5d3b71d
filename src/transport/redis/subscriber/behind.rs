//! A connection that may be behind, since it was not read.

use std::time::Duration;

use tokio::time::Instant;

/// How long the end of a connection may take to be told behind what it has brought.
const CATCH_UP: Duration = Duration::from_millis(100);

/// What came while a connection was not read is not read to its end yet, or was a moment ago.
#[derive(Clone, Copy)]
pub(super) struct Behind {
    pub(super) since: Instant,
    /// When there was nothing more to read. The end of the connection may have come by then, and be told later.
    pub(super) caught_up: Option<Instant>,
}

impl Behind {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.caught_up.is_some_and(|at| now.saturating_duration_since(at) >= CATCH_UP)
    }
}
