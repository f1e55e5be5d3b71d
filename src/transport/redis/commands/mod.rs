//! The parts of connections for commands, whether to one Redis or to a node of a cluster: publishes that wait
//! for their answer, the state of a Redis that refuses publishes for now, the replies to counts, and the
//! connection of a reader.

mod abandoned;
mod counts;
mod hold;
mod kept;
mod reader;

pub(super) use abandoned::Abandoned;
pub(super) use counts::read_counts;
pub(super) use hold::{Hold, HoldChange};
pub(super) use kept::{KeptPublishes, MAX_UNANSWERED};
pub(super) use reader::{ReaderConnection, ReaderNews};
