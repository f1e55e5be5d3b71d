//! Frames that wait for one connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::sys::{SendError, Socket};

/// Bytes that are ready for the wire, for any number of connections.
pub type Frame = Arc<[u8]>;

/// How many frames go into a system call: beyond that a call more costs little.
const FRAMES_PER_CALL: usize = 64;

/// What has become of a queue that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel has taken all.
    Done,
    /// It has taken what it had room for; the rest is still in the queue.
    Full,
    /// The connection is broken, with this errno.
    Failed(i32),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How it ended.
    pub outcome: Outcome,
    /// How many frames the kernel has taken to their ends.
    pub frames: u64,
    /// How many bytes it has taken.
    pub bytes: u64,
}

/// Frames in order, of which the kernel may have taken the beginning of the first one.
///
/// The first has a place of its own: most queues never hold two, and take no memory then.
#[derive(Debug, Default)]
pub struct Queue {
    first: Option<Frame>,
    rest: VecDeque<Frame>,
    /// How many bytes of the first frame the kernel has taken.
    offset: usize,
    bytes: usize,
}

impl Queue {
    /// A queue of one frame.
    pub fn of(frame: Frame) -> Self {
        Queue { bytes: frame.len(), first: Some(frame), ..Queue::default() }
    }

    /// Adds a frame at the end.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.rest.push_back(frame),
        }
    }

    /// Adds those of a queue of which nothing has been written.
    pub fn append(&mut self, later: Queue) {
        later.first.into_iter().chain(later.rest).for_each(|frame| self.push(frame));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many bytes the kernel has not taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes all that the kernel takes now, and keeps the rest.
    pub fn write(&mut self, socket: &Socket) -> Written {
        let mut written = Written { outcome: Outcome::Done, frames: 0, bytes: 0 };
        while !self.is_empty() {
            let mut parts = [IoSlice::new(&[]); FRAMES_PER_CALL];
            let (mut count, mut asked) = (0, 0);
            for (part, bytes) in parts.iter_mut().zip(self.unsent()) {
                *part = IoSlice::new(bytes);
                count += 1;
                asked += bytes.len();
            }
            match socket.send(parts.get(..count).unwrap_or_default()) {
                Ok(taken) => {
                    written.frames += self.consume(taken);
                    written.bytes += taken as u64;
                    // Less than all: there is no room for more, which needs no call to find out.
                    if taken < asked {
                        return Written { outcome: Outcome::Full, ..written };
                    }
                }
                Err(SendError::Full) => return Written { outcome: Outcome::Full, ..written },
                Err(SendError::Failed(errno)) => {
                    return Written { outcome: Outcome::Failed(errno), ..written };
                }
            }
        }
        written
    }

    /// The bytes that the kernel has not taken.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        self.unsent().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// Whether a frame with these bytes waits.
    #[cfg(debug_assertions)]
    pub fn holds(&self, frame: &[u8]) -> bool {
        self.unsent().any(|bytes| bytes == frame)
    }

    fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.as_deref().and_then(|frame| frame.get(self.offset..));
        first.into_iter().chain(self.rest.iter().map(|frame| &**frame))
    }

    /// Lets go of what was written; returns how many frames ended in it.
    fn consume(&mut self, mut taken: usize) -> u64 {
        let mut frames = 0;
        while let Some(first) = &self.first {
            let left = first.len() - self.offset;
            if taken < left {
                self.offset += taken;
                self.bytes -= taken;
                break;
            }
            taken -= left;
            self.bytes -= left;
            self.offset = 0;
            self.first = self.rest.pop_front();
            frames += 1;
        }
        frames
    }
}
