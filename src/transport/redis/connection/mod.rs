//! A connection that is kept up: opened when it is wanted, asked for signs of life, and opened again with growing pauses when
//! it is lost. What goes through it is the affair of those who use it.

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

/// The first wait after a loss: a Redis that restarts or fails over is back within tens of milliseconds at the
/// earliest, and the whole cluster waits for this node.
const BACKOFF_BASE: Duration = Duration::from_millis(25);

/// The longest wait: an attempt per second is nothing to Redis, and more would be felt as an outage after it.
const BACKOFF_CAP: Duration = Duration::from_secs(1);

/// How long a connection must have stood for its loss to count as the first. A server that accepts, answers and
/// drops would otherwise be stormed at the base rate.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// How long nothing has come when what came before no longer counts as the last. A node of a cluster hands to the others
/// what it has sent to its subscribers in the next round of its loop, and the kernel holds that back for up to 40 ms.
const BREAK: Duration = Duration::from_millis(50);

/// One connection that is kept up: opened when wanted, and opened again with backoff when lost.
pub(super) struct Connection {
    target: Arc<RedisTarget>,
    state: ConnectionState,
    backoff: Backoff,
    /// What came and is not yet parsed.
    replies: ReadBuffer,
    /// What is to be written once the connection is open.
    pub(super) commands: WriteBuffer,
}

type Opening = Pin<Box<dyn Future<Output = Result<Connected, Loss>> + Send>>;

enum ConnectionState {
    /// Not wanted.
    Closed,
    /// To be opened by the next poll.
    Due,
    Opening(Opening),
    Open {
        socket: Socket,
        address: Address,
        /// Whether the node says what role it has.
        tells_role: bool,
        /// How Redis knows the connection.
        client: Option<ClientId>,
        life: SignOfLife,
        since: Instant,
        /// How much of what was written is with the socket, and may not be with the kernel.
        unflushed: usize,
    },
    /// Lost; the next attempt comes after the backoff.
    Waiting(Pin<Box<Sleep>>),
}

/// What [`Connection::poll_open`] found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Now,
    Before,
}

/// Where a connection goes.
pub(super) enum Whereabouts<'a> {
    /// It stands.
    At(&'a Address),
    /// An attempt is under way.
    OnItsWay,
    Nowhere,
}

impl Connection {
    /// Returns a connection that is not wanted yet.
    pub(super) fn new(target: Arc<RedisTarget>) -> Self {
        Self::with_backoff(target, Backoff::new(BACKOFF_BASE, BACKOFF_CAP))
    }

    /// The same, with other waits after a loss, until it is closed.
    pub(super) fn with_backoff(target: Arc<RedisTarget>, backoff: Backoff) -> Self {
        Self {
            target,
            state: ConnectionState::Closed,
            backoff,
            replies: ReadBuffer::new(),
            commands: WriteBuffer::new(),
        }
    }

    /// Goes elsewhere with the next attempt.
    pub(super) fn set_target(&mut self, target: Arc<RedisTarget>) {
        self.target = target;
    }

    /// Wants the connection.
    pub(super) fn open(&mut self) {
        if self.is_closed() {
            self.state = ConnectionState::Due;
        }
    }

    /// Drops the connection and what it holds, and wants it no more.
    pub(super) fn close(&mut self) {
        *self = Self::new(Arc::clone(&self.target));
    }

    /// Returns the connection as it is, in place of which is one that is not wanted.
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

    /// Whether the last loss is reported and the next attempt not begun.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, ConnectionState::Waiting(_))
    }

    /// Becomes ready once the connection is open, or an attempt has failed; call [`Connection::lose`] then.
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

    /// The bytes that wait for the kernel; of those that wait for the connection, none.
    pub(super) fn unwritten(&self) -> usize {
        match &self.state {
            ConnectionState::Open { unflushed, .. } => self.commands.unwritten().len() + unflushed,
            _ => 0,
        }
    }

    /// Writes what is buffered until the kernel takes no more.
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

    /// Reads once into the buffer of replies. All whole replies must have been taken before.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        match &mut self.state {
            ConnectionState::Open { address, life, .. } if life.is_missing() => {
                Poll::Ready(Err(Loss::Frozen(address.clone(), PERIOD)))
            }
            ConnectionState::Open { socket, life, address, .. } => {
                let filled = socket.poll_fill(cx, &mut self.replies);
                if filled.is_ready() {
                    let before = life.heard_at();
                    let now = life.heard();
                    if before.is_some_and(|before| now.saturating_duration_since(before) > BREAK) {
                        self.replies.forget_taken();
                    }
                }
                filled.map_err(|loss| loss.at(address))
            }
            _ => Poll::Pending,
        }
    }

    /// A period is over: returns whether to send something that is answered. A connection that has brought nothing
    /// since the last time is lost with the next [`Connection::poll_fill`].
    pub(super) fn pulse(&mut self) -> bool {
        match &mut self.state {
            ConnectionState::Open { life, .. } => life.beat(),
            _ => false,
        }
    }

    /// For how long it has brought nothing, in milliseconds; 0 while it is not open.
    pub(super) fn silence(&self) -> u64 {
        match &self.state {
            ConnectionState::Open { life, since, .. } => {
                let silence = life.heard_at().unwrap_or(*since).elapsed();
                u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }

    /// The same while nothing is read: silence says nothing.
    pub(super) fn pass_pulse(&mut self) {
        if let ConnectionState::Open { life, .. } = &mut self.state {
            life.pass();
        }
    }

    /// The connection is about to be dropped with commands that Redis may not have read yet: the next one to this node
    /// ends it there first.
    pub(super) fn bequeath(&mut self) {
        if let ConnectionState::Open { address, client, .. } = &mut self.state
            && let (Some(client), Some(predecessors)) = (client.take(), &self.target.settings.predecessors)
        {
            predecessors.add(address, client);
        }
    }

    /// The connection is about to be dropped, and what the node has not run of it is not to be run: see
    /// [`Socket::discard`].
    pub(super) fn discard(&mut self) {
        if let ConnectionState::Open { socket, .. } = &self.state {
            socket.discard();
        }
    }

    /// Whether the node says what role it has.
    pub(super) fn tells_role(&self) -> bool {
        matches!(self.state, ConnectionState::Open { tells_role: true, .. })
    }

    /// Where it goes, as it was named; `None` while it is not open.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.state {
            ConnectionState::Open { address, .. } => Some(address),
            _ => None,
        }
    }

    /// The node at the other end; `None` while it is not open.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.state {
            ConnectionState::Open { socket, .. } => socket.peer(),
            _ => None,
        }
    }

    /// Takes the next whole reply.
    pub(super) fn next_reply(&mut self) -> Result<Option<Reply<'_>>, ProtocolError> {
        self.replies.next_reply()
    }

    /// Returns the messages that came last, without a break: those that the node may not have handed to the others.
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

    /// As [`Connection::lose`], for a connection that stands and is not wanted: the next attempt comes soon.
    pub(super) fn leave(&mut self) {
        self.backoff.reset();
        self.lose();
    }

    /// Drops a lost connection and what it holds, and waits for the next attempt. Needs the runtime's timer.
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
