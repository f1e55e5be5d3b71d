//! One connection that JS may lend: its state, and each step from one state to the next.
//!
//! ```text
//!            lend           append             take               put_back
//!   Free ──────────► Idle ──────────► Queued ────────► Writing ───────────────► Idle, Queued, Spilled, Failed
//!                     ▲                 │                                                    │       │
//!                     └──── settle ─────┴─────────────── settle ─────────────────────────────┘       │ take_errno
//!                                                                                                    ▼
//!   any state: hang_up ► HungUp, release ► Free                                                   HungUp
//! ```
//!
//! A slot has one writer, which takes out what it writes together with the socket: while it is in the system call nobody
//! else can write to the connection, and nobody can close it. If the slot has been hung up meanwhile, what the writer puts
//! back is dropped, and so closed. Since no other writer takes from the slot, the state `Writing` tells that it has not.

use super::queue::{Frame, Outcome, Queue, Written};
use super::sys::Socket;

/// A connection, or the place for one.
#[derive(Debug, Default)]
pub enum Slot {
    /// Its number is nobody's.
    #[default]
    Free,
    /// The connection is lent, and nothing waits for it.
    Idle(Socket),
    /// Frames wait for the writer.
    Queued(Socket, Queue),
    /// The writer has taken the socket and the frames that waited.
    Writing {
        /// The frames that have come since.
        behind: Queue,
        /// How many bytes the writer has taken.
        taken: usize,
        /// What happens when it puts back.
        then: Then,
    },
    /// What waits is JS's: the kernel was full, JS has asked, or there is no writer any more. What comes is JS's as well,
    /// until that has settled.
    Spilled(Socket, Queue),
    /// The connection is broken, with this errno. What waited is dropped, and the socket closed.
    Failed(i32),
    /// JS has hung up, or knows the error. The number is still taken, since lists of JS may name it.
    HungUp,
}

/// What happens after a system call of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It writes what has come since.
    GoOn,
    /// JS wants to write, and has to be told.
    Report,
}

/// What the writer has taken out of a slot.
#[derive(Debug)]
pub struct Job {
    /// Where to.
    pub socket: Socket,
    /// What. What is not written has to be put back.
    pub queue: Queue,
}

/// What has become of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It waits, as the first: the writer has to be told.
    First,
    /// It waits behind others.
    Behind,
    /// It was volatile, and the connection is busy; or there is no connection any more.
    Dropped,
}

/// Who has to hear that a writer has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nobody.
    Nothing,
    /// The writer: there is more to write.
    Again,
    /// JS, which has asked for it.
    Awaited,
    /// JS: what the kernel did not take is for Node.
    Spilled,
    /// JS: the connection is broken.
    Failed,
}

/// What JS hears when it wants to write.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing waited: JS writes what it wants to write.
    Nothing,
    /// All is written.
    All,
    /// The writer is in its system call.
    Busy,
    /// So much is not, and is for Node to write.
    Rest(Vec<u8>),
}

impl Slot {
    /// Takes a connection. Only a free slot does.
    pub fn lend(&mut self, socket: Socket) {
        if matches!(self, Slot::Free) {
            *self = Slot::Idle(socket);
        }
    }

    /// Adds a frame.
    pub fn append(&mut self, frame: &Frame, is_volatile: bool) -> Appended {
        match self {
            Slot::Idle(_) => {
                if let Slot::Idle(socket) = std::mem::take(self) {
                    *self = Slot::Queued(socket, Queue::of(frame.clone()));
                }
                Appended::First
            }
            Slot::Free | Slot::Failed(_) | Slot::HungUp => Appended::Dropped,
            Slot::Queued(..) | Slot::Writing { .. } | Slot::Spilled(..) if is_volatile => Appended::Dropped,
            Slot::Queued(_, queue) | Slot::Spilled(_, queue) | Slot::Writing { behind: queue, .. } => {
                queue.push(frame.clone());
                Appended::Behind
            }
        }
    }

    /// How many bytes wait, those that the writer has taken among them.
    pub fn bytes(&self) -> usize {
        match self {
            Slot::Queued(_, queue) | Slot::Spilled(_, queue) => queue.bytes(),
            Slot::Writing { behind, taken, .. } => taken.saturating_add(behind.bytes()),
            Slot::Free | Slot::Idle(_) | Slot::Failed(_) | Slot::HungUp => 0,
        }
    }

    /// The writer takes what waits.
    pub fn take(&mut self) -> Option<Job> {
        match std::mem::take(self) {
            Slot::Queued(socket, queue) => {
                *self = Slot::Writing { behind: Queue::default(), taken: queue.bytes(), then: Then::GoOn };
                Some(Job { socket, queue })
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// The writer puts back what it has taken. What is returned beside who has to hear of it is to be dropped, which closes
    /// the socket: the connection is broken, or the slot was hung up meanwhile.
    pub fn put_back(&mut self, job: Job, outcome: Outcome) -> (Next, Option<Job>) {
        let Slot::Writing { behind, then, .. } = self else {
            return (Next::Nothing, Some(job));
        };
        if let Outcome::Failed(errno) = outcome {
            *self = Slot::Failed(errno);
            return (Next::Failed, Some(job));
        }
        let (behind, then) = (std::mem::take(behind), *then);
        let Job { socket, mut queue } = job;
        queue.append(behind);
        let next;
        (*self, next) = match (outcome, then) {
            (Outcome::Full | Outcome::Failed(_), _) => (Slot::Spilled(socket, queue), Next::Spilled),
            (Outcome::Done, Then::GoOn) if queue.is_empty() => (Slot::Idle(socket), Next::Nothing),
            (Outcome::Done, Then::GoOn) => (Slot::Queued(socket, queue), Next::Again),
            (Outcome::Done, Then::Report) if queue.is_empty() => (Slot::Idle(socket), Next::Awaited),
            (Outcome::Done, Then::Report) => (Slot::Spilled(socket, queue), Next::Awaited),
        };
        (next, None)
    }

    /// Writes what waits for the writer here and now, under the lock. Only for the JS thread, which nobody waits for.
    pub fn write(&mut self) -> Option<(Written, Next)> {
        let Job { socket, mut queue } = self.take()?;
        let written = queue.write(&socket);
        let (next, _) = self.put_back(Job { socket, queue }, written.outcome);
        Some((written, next))
    }

    /// Before Node writes: afterwards nothing waits. What does is written at once, and `own` behind it.
    ///
    /// An error is not told. Node meets it when it writes the rest, if it is one that lasts.
    pub fn settle(&mut self, own: &[u8]) -> (Settled, Option<Written>) {
        match std::mem::take(self) {
            Slot::Queued(socket, mut queue) | Slot::Spilled(socket, mut queue) => {
                if !own.is_empty() {
                    queue.push(own.into());
                }
                let mut written = queue.write(&socket);
                *self = Slot::Idle(socket);
                if written.outcome == Outcome::Done {
                    // That of JS was not appended, and does not count.
                    written.frames -= u64::from(!own.is_empty());
                    return (Settled::All, Some(written));
                }
                (Settled::Rest(queue.into_bytes()), Some(written))
            }
            other => {
                let is_busy = matches!(other, Slot::Writing { .. });
                *self = other;
                (if is_busy { Settled::Busy } else { Settled::Nothing }, None)
            }
        }
    }

    /// JS wants to be told when the writer has put back.
    pub fn wait(&mut self) {
        if let Slot::Writing { then, .. } = self {
            *then = Then::Report;
        }
    }

    /// Whether the writer is in its system call.
    pub fn is_in_call(&self) -> bool {
        matches!(self, Slot::Writing { .. })
    }

    /// There is no writer any more: what waits for it is JS's. Returns whether something does.
    pub fn orphan(&mut self) -> bool {
        match std::mem::take(self) {
            Slot::Queued(socket, queue) => {
                *self = Slot::Spilled(socket, queue);
                true
            }
            other => {
                *self = other;
                false
            }
        }
    }

    /// The process ends: takes out all that waits, and hangs up.
    pub fn take_last(&mut self) -> Option<Job> {
        match std::mem::take(self) {
            Slot::Queued(socket, queue) | Slot::Spilled(socket, queue) => {
                *self = Slot::HungUp;
                Some(Job { socket, queue })
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// The errno of a connection that is broken; 0 if it is not, or JS has taken it.
    pub fn take_errno(&mut self) -> i32 {
        let Slot::Failed(errno) = *self else {
            return 0;
        };
        *self = Slot::HungUp;
        errno
    }

    /// Closes the socket, at once or when the writer puts it back, and drops what waits.
    pub fn hang_up(&mut self) {
        if !matches!(self, Slot::Free) {
            *self = Slot::HungUp;
        }
    }

    /// Hangs up, and frees the slot; returns whether it was not free already.
    pub fn release(&mut self) -> bool {
        !matches!(std::mem::take(self), Slot::Free)
    }
}
