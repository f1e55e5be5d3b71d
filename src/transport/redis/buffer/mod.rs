//! Bytes that were read and are not parsed yet, bytes that have to be written, and how commands are written.

mod command;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use command::{MAX_NAMES, write_args, write_count, write_names, write_publish};
pub(super) use read::ReadBuffer;
pub(super) use write::WriteBuffer;

/// An outgrown buffer shrinks again after so many uses that did not need its size. A single large message
/// costs its memory for a short time; many of them do not allocate each time.
const QUIET_USES: u32 = 64;
