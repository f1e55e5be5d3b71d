//! A connection that is kept up: opened when it is wanted, asked for signs of life, and opened again after
//! growing pauses when it is lost. What is sent on it belongs to its users.

mod backoff;
mod liveness;
#[cfg(test)]
mod tests;

pub(super) use backoff::Backoff;
pub(super) use liveness::{PERIOD, Pulse};

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::transport::redis::buffer::{ReadBuffer, WriteBuffer};
use crate::transport::redis::connect::{Address, ClientId, Connected, Loss, RedisTarget, Socket, open};
use crate::transport::resp::{Message, ProtocolError, Reply};
use liveness::SignOfLife;

/// The first wait after a loss. A Redis that restarts or fails over needs tens of milliseconds at least, and
/// the other servers wait for this one.
const BACKOFF_BASE: Duration = Duration::from_millis(25);

/// The longest wait. Redis does not notice an attempt per second, but a longer wait would prolong an outage.
const BACKOFF_CAP: Duration = Duration::from_secs(1);

/// How long a connection must have been open for its loss to count as the first one. Otherwise a server that
/// accepts, answers and drops would be flooded with attempts.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// How long a pause in the reading ends the run of "last" messages. A node of a cluster forwards what it has
/// sent to its subscribers in the next round of its event loop, and the kernel may delay that by up to 40 ms.
const BREAK: Duration = Duration::from_millis(50);

/// One connection that is kept up: opened when wanted, and opened again with backoff when lost.
pub(super) struct Connection {
    target: Arc<RedisTarget>,
    state: ConnectionState,
    backoff: Backoff,
    /// What was read and is not parsed yet.
    replies: ReadBuffer,
    /// When the last message was read; `None` if it was forgotten since.
    message_at: Option<Instant>,
    /// What has to be written once the connection is open.
    pub(super) commands: WriteBuffer,
}

type Opening = Pin<Box<dyn Future<Output = Result<Connected, Loss>> + Send>>;

enum ConnectionState {
    /// Not wanted.
    Closed,
    /// The next poll opens it.
    Due,
    Opening(Opening),
    Open {
        socket: Socket,
        address: Address,
        /// Whether the node answers ROLE.
        tells_role: bool,
        /// How Redis identifies the connection.
        client: Option<ClientId>,
        life: SignOfLife,
        since: Instant,
        /// How many written bytes the socket may still buffer.
        unflushed: usize,
    },
    /// Lost. The next attempt follows after the backoff.
    Waiting(Pin<Box<Sleep>>),
}

/// Whether the connection was opened just now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Now,
    Before,
}

/// Where a connection goes.
pub(super) enum Whereabouts<'a> {
    /// It is open.
    At(&'a Address),
    /// It is being opened.
    OnItsWay,
    Nowhere,
}

impl Connection {
    /// Returns a connection that is not wanted yet.
    pub(super) fn new(target: Arc<RedisTarget>) -> Self {
        Self::with_backoff(target, Backoff::new(BACKOFF_BASE, BACKOFF_CAP))
    }

    /// Like `new`, but with other waits after a loss, until it is closed.
    pub(super) fn with_backoff(target: Arc<RedisTarget>, backoff: Backoff) -> Self {
        Self {
            target,
            state: ConnectionState::Closed,
            backoff,
            replies: ReadBuffer::new(),
            message_at: None,
            commands: WriteBuffer::new(),
        }
    }

    /// Uses another target from the next attempt on.
    pub(super) fn set_target(&mut self, target: Arc<RedisTarget>) {
        self.target = target;
    }

    /// Wants the connection.
    pub(super) fn open(&mut self) {
        if self.is_closed() {
            self.state = ConnectionState::Due;
        }
    }

    /// Drops the connection and its buffers. It is not wanted any more.
    pub(super) fn close(&mut self) {
        *self = Self::new(Arc::clone(&self.target));
    }

    /// Returns the connection as it is, and leaves one that is not wanted.
    pub(super) fn take(&mut self) -> Self {
        let new = Self::new(Arc::clone(&self.target));
        std::mem::replace(self, new)
    }

    /// Whether the connection is not wanted.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, ConnectionState::Closed)
    }

    /// Whether commands go out.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, ConnectionState::Open { .. })
    }

    /// Whether the last loss was reported, and the next attempt has not begun.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, ConnectionState::Waiting(_))
    }

    /// Becomes ready when the connection is open, or an attempt has failed. After a failure call
    /// [`Connection::lose`].
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opened, Loss>> {
        loop {
            match &mut self.state {
                ConnectionState::Closed => return Poll::Pending,
                ConnectionState::Open { .. } => return Poll::Ready(Ok(Opened::Before)),
                ConnectionState::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.state = ConnectionState::Due;
                }
                ConnectionState::Due => {
                    self.state = ConnectionState::Opening(Box::pin(open(Arc::clone(&self.target))));
                }
                ConnectionState::Opening(opening) => {
                    let opened = ready!(opening.as_mut().poll(cx))?;
                    let Connected { socket, replies, address, tells_role, client } = opened;
                    self.replies = replies;
                    self.message_at = None;
                    self.state = ConnectionState::Open {
                        socket,
                        address,
                        tells_role,
                        client,
                        life: SignOfLife::default(),
                        since: Instant::now(),
                        unflushed: 0,
                    };
                    return Poll::Ready(Ok(Opened::Now));
                }
            }
        }
    }

    /// The number of bytes that the kernel has not taken yet; 0 while the connection is not open.
    pub(super) fn unwritten(&self) -> usize {
        match &self.state {
            ConnectionState::Open { unflushed, .. } => self.commands.unwritten().len() + unflushed,
            _ => 0,
        }
    }

    /// Writes what is buffered, until the kernel takes no more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), Loss> {
        let ConnectionState::Open { socket, unflushed, address, .. } = &mut self.state else {
            return Ok(());
        };
        while !self.commands.unwritten().is_empty() {
            match socket.poll_write(cx, self.commands.unwritten()) {
                Poll::Ready(Ok(0)) => return Err(Loss::ClosedBy(address.clone())),
                Poll::Ready(Ok(len)) => {
                    self.commands.wrote(len);
                    *unflushed += len;
                }
                Poll::Ready(Err(loss)) => return Err(loss.at(address)),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(flushed) = socket.poll_flush(cx) {
            flushed.map_err(|loss| loss.at(address))?;
            *unflushed = 0;
        }
        Ok(())
    }

    /// Reads once into the reply buffer. All complete replies must have been taken before.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        match &mut self.state {
            ConnectionState::Open { address, life, .. } if life.is_missing() => {
                Poll::Ready(Err(Loss::Frozen(address.clone(), PERIOD)))
            }
            ConnectionState::Open { socket, life, address, .. } => {
                let filled = socket.poll_fill(cx, &mut self.replies);
                if matches!(filled, Poll::Ready(Ok(_))) {
                    // Answers between messages, to signs of life, are no messages.
                    if self.replies.take_news() {
                        self.message_at = life.heard_at();
                    }
                    let now = life.heard();
                    if self.message_at.take_if(|at| now.saturating_duration_since(*at) > BREAK).is_some() {
                        self.replies.forget_taken();
                    }
                }
                filled.map_err(|loss| loss.at(address))
            }
            _ => Poll::Pending,
        }
    }

    /// A period is over. Returns whether to send a command that is answered. If the last one was not
    /// answered, the next [`Connection::poll_fill`] reports the loss.
    pub(super) fn pulse(&mut self) -> bool {
        match &mut self.state {
            ConnectionState::Open { life, .. } => life.beat(),
            _ => false,
        }
    }

    /// For how long nothing was read, in milliseconds; 0 while the connection is not open.
    pub(super) fn silence(&self) -> u64 {
        match &self.state {
            ConnectionState::Open { life, since, .. } => {
                let silence = life.heard_at().unwrap_or(*since).elapsed();
                millis(silence)
            }
            _ => 0,
        }
    }

    /// A period is over in which nothing was read on purpose, so silence proves nothing.
    pub(super) fn pass_pulse(&mut self) {
        if let ConnectionState::Open { life, .. } = &mut self.state {
            life.pass();
        }
    }

    /// The connection is about to be dropped with commands that Redis may not have read. The next connection
    /// to this node first ends it there.
    pub(super) fn bequeath(&mut self) {
        if let ConnectionState::Open { address, client, .. } = &mut self.state
            && let (Some(client), Some(predecessors)) = (client.take(), &self.target.settings.predecessors)
        {
            predecessors.add(address, client);
        }
    }

    /// The connection is about to be dropped, and the node shall not run what it has not read yet: see
    /// [`Socket::discard`].
    pub(super) fn discard(&mut self) {
        if let ConnectionState::Open { socket, .. } = &self.state {
            socket.discard();
        }
    }

    /// Whether the node answers ROLE.
    pub(super) fn tells_role(&self) -> bool {
        matches!(self.state, ConnectionState::Open { tells_role: true, .. })
    }

    /// The address that it was opened with; `None` while it is not open.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.state {
            ConnectionState::Open { address, .. } => Some(address),
            _ => None,
        }
    }

    /// The address of the node at the other end; `None` while it is not open.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.state {
            ConnectionState::Open { socket, .. } => socket.peer(),
            _ => None,
        }
    }

    /// Takes the next complete reply.
    pub(super) fn next_reply(&mut self) -> Result<Option<Reply<'_>>, ProtocolError> {
        self.replies.next_reply()
    }

    /// Returns the last messages that came without a pause: the node may not have forwarded them to the other
    /// nodes.
    pub(super) fn last_messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.replies.taken()
    }

    /// Where it goes.
    pub(super) fn whereabouts(&self) -> Whereabouts<'_> {
        match &self.state {
            ConnectionState::Open { address, .. } => Whereabouts::At(address),
            ConnectionState::Opening(_) => Whereabouts::OnItsWay,
            ConnectionState::Closed | ConnectionState::Due | ConnectionState::Waiting(_) => {
                Whereabouts::Nowhere
            }
        }
    }

    /// Like [`Connection::lose`], for a connection that works but is not wanted there. The next attempt
    /// follows soon.
    pub(super) fn leave(&mut self) {
        self.backoff.reset();
        self.lose();
    }

    /// Drops a lost connection and its buffers, and waits for the next attempt. Needs the runtime's timer.
    pub(super) fn lose(&mut self) {
        if let ConnectionState::Open { since, .. } = &self.state
            && since.elapsed() >= STABLE_AFTER
        {
            self.backoff.reset();
        }
        let delay = self.backoff.next_delay();
        self.state = ConnectionState::Waiting(Box::pin(tokio::time::sleep(delay)));
        self.replies = ReadBuffer::new();
        self.commands.clear();
    }
}

/// How long something has taken, in milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
