//! Commands that are not answered.

/// A command that is not answered.
pub(super) enum InFlight {
    /// Its bytes are the next in `KeptPublishes`. `end` is the position of its last byte among all bytes that
    /// were appended.
    Publish {
        channel: usize,
        payload: usize,
        end: u64,
    },
    Count {
        token: u64,
        channels: usize,
        /// The node is asked as the master of the slots.
        as_master: bool,
    },
    /// `end` as for a publish. Its bytes are not kept. Without a token nobody waits for the reply.
    Command {
        token: Option<u64>,
        end: u64,
    },
    Info,
    Slots,
    Hello,
    /// Asks whether commands are accepted again.
    Hold,
}
