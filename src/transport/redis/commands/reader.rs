use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::abandoned::Abandoned;
use crate::transport::redis::buffer::write_args;
use crate::transport::redis::connect::{Loss, RedisTarget};
use crate::transport::redis::connection::{Connection, Opened};
use crate::transport::redis::sentinel::Master;
use crate::transport::redis::slot::Redirect;
use crate::transport::redis::step::PollStep;
use crate::transport::resp::{ProtocolError, Reply};
use crate::transport::{Incoming, KeyCommand, Outcome};

/// What Redis answers to a command that blocks if the node must not run it any more: a master that becomes a
/// replica ends all blocking commands with it.
const UNBLOCKED: &[u8] = b"UNBLOCKED";

/// One connection for commands that may block. They are pipelined, and answered in order.
pub(crate) struct ReaderConnection {
    connection: Connection,
    /// The commands that are not answered.
    in_flight: VecDeque<PendingCommand>,
    /// Since when nothing was read while they wait.
    silent_since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the node may answer that another node has the key.
    in_cluster: bool,
    news: ReaderNews,
    /// Whether the last read brought something, so that there may be more.
    pub(crate) more: bool,
}

struct PendingCommand {
    token: u64,
    patience: Option<Duration>,
}

/// What concerns more than this connection.
#[derive(Default)]
pub(crate) struct ReaderNews {
    /// What the node said about keys that it does not have.
    pub(crate) redirects: Vec<Redirect>,
    /// The connection was lost or could not be opened, or the node is not a master any more.
    pub(crate) trouble: bool,
}

impl ReaderConnection {
    /// Returns a reader whose first command opens the connection.
    pub(crate) fn new(target: Arc<RedisTarget>, in_cluster: bool) -> Self {
        Self {
            connection: Connection::new(target),
            in_flight: VecDeque::new(),
            silent_since: Instant::now(),
            timer: None,
            in_cluster,
            news: ReaderNews::default(),
            more: false,
        }
    }

    /// Appends a command. If there is no connection yet, the command waits until that is up or the attempt
    /// has failed.
    pub(crate) fn command(&mut self, command: &KeyCommand) {
        self.connection.open();
        if self.in_flight.is_empty() {
            self.silent_since = Instant::now();
        }
        write_args(self.connection.commands.commands(), &command.args);
        self.in_flight.push_back(PendingCommand { token: command.token, patience: command.patience });
    }

    /// Drops the connection; returns the commands that end with it.
    pub(crate) fn close(&mut self) -> Vec<Abandoned> {
        let abandoned = self.abandon();
        self.connection.close();
        abandoned
    }

    /// Goes to another node: with the next command if there is a connection, else with the next attempt.
    /// Returns the commands that end with the connection.
    pub(crate) fn move_to(&mut self, target: Arc<RedisTarget>) -> Vec<Abandoned> {
        let abandoned = self.abandon();
        if !self.connection.is_waiting() {
            self.connection.close();
        }
        self.connection.set_target(target);
        abandoned
    }

    /// Returns what has come up since the last call.
    pub(crate) fn take_news(&mut self) -> ReaderNews {
        std::mem::take(&mut self.news)
    }

    /// Opens, writes everything, and reads once unless paused.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> PollStep {
        let mut reported = false;
        let mut sink = |incoming: Incoming<'_>| {
            reported = true;
            sink(incoming);
        };
        match self.advance(cx, paused, &mut sink) {
            Ok(more) => self.more = more,
            Err(loss) => {
                self.news.trouble = true;
                let abandoned = self.abandon();
                self.connection.lose();
                report(&abandoned, &loss.to_string(), &mut sink);
            }
        }
        PollStep { reported, more: self.more }
    }

    /// Leaves a connection that does not go to the master. Returns whether something was reported.
    pub(crate) fn follow(
        &mut self,
        master: &Master,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        if !master.is_missed_by(&self.connection) {
            return false;
        }
        let abandoned = self.abandon();
        self.connection.leave();
        report(&abandoned, reason, sink);
        !abandoned.is_empty()
    }

    /// Leaves the connection if it goes to this node. Returns whether something was reported.
    pub(crate) fn leave(
        &mut self,
        node: Option<SocketAddr>,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        if !self.connection.is_open() || self.connection.peer() != node {
            return false;
        }
        let abandoned = self.abandon();
        self.connection.leave();
        report(&abandoned, reason, sink);
        !abandoned.is_empty()
    }

    /// Returns whether a read brought something.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<bool, Loss> {
        // A lost connection is opened again only if a command waits.
        if self.in_flight.is_empty() && !self.connection.is_open() {
            return Ok(false);
        }
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    self.silent_since = Instant::now();
                }
            }
        }
        self.connection.poll_flush(cx)?;
        if paused {
            return Ok(false);
        }
        let filled = self.connection.poll_fill(cx);
        let more = filled.is_ready();
        if let Poll::Ready(filled) = filled {
            filled?;
            self.silent_since = Instant::now();
        }
        self.take_replies(sink)?;
        if !more {
            self.poll_patience(cx)?;
        }
        Ok(more)
    }

    /// Reports all complete replies.
    fn take_replies(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), Loss> {
        while let Some(reply) = self.connection.next_reply()? {
            if matches!(reply, Reply::Message(_)) {
                return Err(ProtocolError::Unexpected.into());
            }
            let Some(PendingCommand { token, .. }) = self.in_flight.pop_front() else {
                return Err(match reply {
                    Reply::Error(error) => Loss::Refused(String::from_utf8_lossy(error).into_owned()),
                    _ => ProtocolError::Unexpected.into(),
                });
            };
            let not_run = match &reply {
                Reply::Error(error) if error.starts_with(UNBLOCKED) => {
                    self.news.trouble = true;
                    Some(String::from_utf8_lossy(error))
                }
                Reply::Error(error) if self.in_cluster => Redirect::of(error).map(|redirect| {
                    self.news.redirects.push(redirect);
                    String::from_utf8_lossy(error)
                }),
                _ => None,
            };
            let outcome = match &not_run {
                Some(reason) => Outcome::NotRun { reason },
                None => Outcome::Replied(reply),
            };
            sink(Incoming::Replied { token, outcome });
        }
        Ok(())
    }

    /// Fails if Redis was silent for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Result<(), Loss> {
        let patience = self.in_flight.iter().find_map(|asked| asked.patience);
        let deadline = patience.and_then(|patience| self.silent_since.checked_add(patience));
        let (Some(patience), Some(deadline), Some(address)) = (patience, deadline, self.connection.address())
        else {
            self.timer = None;
            return Ok(());
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // A timer that fires early costs less than one that is reset with each read.
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Err(Loss::Silent(address.clone(), patience));
            }
            timer.as_mut().reset(deadline);
        }
        Ok(())
    }

    /// Takes the commands that end if the connection is lost now.
    fn abandon(&mut self) -> Vec<Abandoned> {
        let not_begun = usize::try_from(self.connection.commands.unwritten_commands()).unwrap_or(usize::MAX);
        let begun = self.in_flight.len().saturating_sub(not_begun);
        self.connection.commands.clear();
        self.timer = None;
        self.more = false;
        let commands = self.in_flight.drain(..).enumerate();
        commands
            .map(|(place, PendingCommand { token, .. })| Abandoned { token, begun: place < begun })
            .collect()
    }
}

fn report(abandoned: &[Abandoned], reason: &str, sink: &mut dyn FnMut(Incoming<'_>)) {
    abandoned.iter().for_each(|command| command.report(reason, sink));
}
