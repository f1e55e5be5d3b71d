//! Commands whose reply is not in.

/// A command whose reply is not in.
pub(super) enum InFlight {
    /// Its bytes are the next in `KeptPublishes`; `end` is where the command ends among all that was appended.
    Publish {
        channel: usize,
        payload: usize,
        end: u64,
    },
    Count {
        token: u64,
        channels: usize,
        /// It is asked as the master.
        as_master: bool,
    },
    /// As with a publish, of which nothing is kept. Without a token nobody waits for the reply.
    Command {
        token: Option<u64>,
        end: u64,
    },
    Info,
    Slots,
    Hello,
    /// The question whether commands are taken.
    Hold,
}
