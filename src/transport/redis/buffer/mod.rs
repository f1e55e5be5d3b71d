//! Bytes on their way: those that came and are not parsed, those that are to be written, and how commands are written.

mod command;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use command::{MAX_NAMES, write_args, write_count, write_names, write_publish};
pub(super) use read::ReadBuffer;
pub(super) use write::WriteBuffer;

/// After how many uses that did not need it an outgrown buffer shrinks again. A lone large message costs its
/// memory for a moment; a stream of them does not allocate each time.
const QUIET_USES: u32 = 64;
