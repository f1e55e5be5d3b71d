//! The system calls, all of them. Where there is no Unix no connection can be lent: there is no [`Socket`] then.

/// Why a connection is not lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be.
    Impossible,
    /// What is lent has its share of the file descriptors: the others are for clients who want to connect.
    Scarce,
    /// They are so scarce that clients who want to connect need those of what is lent.
    Needed,
}

/// Why the kernel has taken nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// It has no room at the moment.
    Full,
    /// The connection is broken, with this errno.
    Failed(i32),
}

/// How many file descriptors are for others than duplicates, or half of the table if that is less. A server of Node takes
/// up to 511 clients in a turn of its event loop: so many more may come before those of what is lent are given back.
#[cfg(unix)]
const RESERVE: u64 = 1024;

#[cfg(not(unix))]
pub use elsewhere::{Socket, is_needed, wait_until_writable};
#[cfg(all(test, unix))]
pub(super) use unix::scarcity;
#[cfg(unix)]
pub use unix::{Socket, is_needed, wait_until_writable};

#[cfg(unix)]
mod unix {
    use std::io::IoSlice;
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::{Errno, fcntl_dupfd_cloexec};
    use rustix::net::sockopt::socket_type;
    use rustix::net::{SendAncillaryBuffer, SendFlags, SocketType, sendmsg};
    use rustix::process::{Resource, getrlimit};

    use super::{RESERVE, Refusal, SendError};

    /// A duplicate of a connection's file descriptor. Whoever closes the other one, nothing that is written here can get
    /// into another connection.
    #[derive(Debug)]
    pub struct Socket(OwnedFd);

    impl Socket {
        /// Duplicates a file descriptor.
        ///
        /// # Errors
        /// If it is not that of a stream, or file descriptors are scarce: see `RESERVE`.
        pub fn duplicate(fd: BorrowedFd<'_>) -> Result<Self, Refusal> {
            if socket_type(fd) != Ok(SocketType::STREAM) {
                return Err(Refusal::Impossible);
            }
            // Above the three that a program may take for its standard streams.
            let duplicate = fcntl_dupfd_cloexec(fd, 3).map_err(|error| match error {
                Errno::MFILE => Refusal::Needed,
                _ => Refusal::Impossible,
            })?;
            if let Some(refusal) = scarcity(fd.as_raw_fd(), duplicate.as_raw_fd(), table_size()) {
                return Err(refusal);
            }
            #[cfg(target_vendor = "apple")]
            rustix::net::sockopt::set_socket_nosigpipe(&duplicate, true).map_err(|_| Refusal::Impossible)?;
            Ok(Socket(duplicate))
        }

        /// Writes what the kernel takes now, and returns how many bytes that are.
        ///
        /// # Errors
        /// If it takes nothing.
        pub fn send(&self, parts: &[IoSlice<'_>]) -> Result<usize, SendError> {
            loop {
                return match sendmsg(&self.0, parts, &mut SendAncillaryBuffer::default(), flags()) {
                    Ok(bytes) => Ok(bytes),
                    Err(Errno::INTR) => continue,
                    // The kernel is short of memory, and the connection is whole: Node tries again.
                    Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Err(SendError::Full),
                    Err(error) => Err(SendError::Failed(error.raw_os_error())),
                };
            }
        }
    }

    /// Whether a connection with this file descriptor shows that those of what is lent are needed: half of the reserve is
    /// taken.
    pub fn is_needed(own: i32) -> bool {
        is_needed_of(own, table_size())
    }

    fn table_size() -> u64 {
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    }

    /// How scarce file descriptors are in a table of so many, going by the numbers of a connection and its duplicate.
    pub(in crate::fanout) fn scarcity(own: i32, duplicate: i32, size: u64) -> Option<Refusal> {
        if is_needed_of(own, size) {
            return Some(Refusal::Needed);
        }
        (number(duplicate) >= size - reserve(size)).then_some(Refusal::Scarce)
    }

    fn is_needed_of(own: i32, size: u64) -> bool {
        number(own) >= size - reserve(size) / 2
    }

    fn reserve(size: u64) -> u64 {
        RESERVE.min(size / 2)
    }

    /// None is negative: they are open.
    fn number(fd: i32) -> u64 {
        u64::try_from(fd).unwrap_or(u64::MAX)
    }

    /// Apple has an option of the socket instead of the second one.
    fn flags() -> SendFlags {
        #[cfg(target_vendor = "apple")]
        return SendFlags::DONTWAIT;
        #[cfg(not(target_vendor = "apple"))]
        return SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    }

    /// Waits until the kernel has room for one of them at least, or the time is up. It may return early.
    pub fn wait_until_writable<'a>(sockets: impl Iterator<Item = &'a Socket>, at_most: Duration) {
        let mut all: Vec<_> = sockets.map(|Socket(fd)| PollFd::new(fd, PollFlags::OUT)).collect();
        let Ok(timeout) = Timespec::try_from(at_most) else {
            return;
        };
        // Interrupted or refused: the caller tries to write, and looks at the clock.
        let _ = poll(&mut all, Some(&timeout));
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io::IoSlice;
    use std::time::Duration;

    use super::SendError;

    /// There is none.
    #[derive(Debug)]
    pub enum Socket {}

    impl Socket {
        /// Is not called: there is no socket.
        ///
        /// # Errors
        /// Neither.
        pub fn send(&self, _: &[IoSlice<'_>]) -> Result<usize, SendError> {
            match *self {}
        }
    }

    /// Nothing is lent.
    pub fn is_needed(_: i32) -> bool {
        false
    }

    /// There is nothing to wait for.
    pub fn wait_until_writable<'a>(_: impl Iterator<Item = &'a Socket>, _: Duration) {}
}
