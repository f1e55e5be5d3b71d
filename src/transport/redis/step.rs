//! One look at a connection: what it brings, and how long the looks of one poll may go on.

use std::time::Duration;

/// How many reads of 64 KiB one `Transport::incoming` does per connection before the driver gets its turn.
pub(super) const READS_PER_CALL: usize = 16;

/// How long one `Transport::incoming` goes on with what is there: the other links of the process wait meanwhile.
pub(super) const BUDGET: Duration = Duration::from_millis(2);

/// What one look at a connection brought.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    /// Something went to the sink.
    pub(super) reported: bool,
    /// A read brought something, so that another one may.
    pub(super) more: bool,
}

impl Step {
    pub(super) const REPORTED: Self = Self { reported: true, more: false };
}
