//! Writes ready WebSocket frames to many connections, on a thread of its own: all of fan-out that needs no Node-API. Which
//! connections are lent, and what JS does with those that are not, is decided in JS.
//!
//! A connection that JS lends is a [`slot`](slot::Slot): a duplicate of its file descriptor, and the frames that wait for
//! it. JS pushes a frame to many slots at once ([`hub`]), which makes a list (`list.rs`) for the writer thread. That
//! appends the frame to each slot, and writes what waits (`writer.rs`).
//!
//! The invariant: **Node and this thread never both hold unsent bytes of a connection.** Frames are pushed only while Node
//! holds nothing. Before Node writes, JS settles the slot: what waits is written at once, together with what Node wants to
//! write, or handed over to Node. What the kernel does not take is handed over as well, so that a slow client is Node's.
//!
//! No memory is shared with JS beyond a call, and no lock is held over a system call by the writer thread.

pub mod hub;
mod list;
pub mod queue;
mod shared;
pub mod slot;
mod sync;
pub mod sys;
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod writer;
