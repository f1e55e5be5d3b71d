//! One step of a connection: what it brings, and how long the steps of one poll may go on.

use std::time::Duration;

/// How many reads of 64 KiB one `Transport::incoming` makes per connection before the driver gets its turn.
pub(super) const READS_PER_CALL: usize = 16;

/// How long one `Transport::incoming` goes on while there is something to read. The other links of the
/// process wait meanwhile.
pub(super) const BUDGET: Duration = Duration::from_millis(2);

/// What one step of a connection brought.
#[derive(Clone, Copy, Default)]
pub(super) struct PollStep {
    /// Something was reported to the sink.
    pub(super) reported: bool,
    /// A read brought something, so there may be more.
    pub(super) more: bool,
}

impl PollStep {
    pub(super) const REPORTED: Self = Self { reported: true, more: false };
}
