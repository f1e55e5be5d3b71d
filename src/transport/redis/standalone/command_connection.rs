use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::transport::passing::{Passing, passing};
use crate::transport::redis::buffer::{write_args, write_count, write_names, write_publish};
use crate::transport::redis::commands::{
    Abandoned, Hold, HoldChange, KeptPublishes, MAX_UNANSWERED, read_counts,
};
use crate::transport::redis::connect::{Loss, RedisTarget, SaidRole};
use crate::transport::redis::connection::{Connection, Opened};
use crate::transport::redis::sentinel::Master;
use crate::transport::redis::step::PollStep;
use crate::transport::resp::{ProtocolError, Reply};
use crate::transport::{ChannelKind, Incoming, KeyCommand, Outcome, Trial};

/// The command connection: publishes, counts, commands about keys, and the replies to all of them.
pub(super) struct CommandConnection {
    channel_kind: ChannelKind,
    connection: Connection,
    in_flight: VecDeque<SentRun>,
    /// Publishes that are not answered, and may have to come back.
    kept: KeptPublishes,
    /// The lengths of their channels and payloads.
    lengths: VecDeque<(usize, usize)>,
    hold: Hold,
    /// Publishes while the connection was not up.
    too_early: u64,
    counts: Vec<u64>,
    /// The address of the node that it goes to, or went to last.
    peer: Option<SocketAddr>,
    /// A node that it has left, and why.
    left: Option<(Option<SocketAddr>, String)>,
}

/// Commands that are not answered. Publishes are many and alike, so a run of them is one number.
enum SentRun {
    Publishes(u64),
    Count {
        token: u64,
        channels: usize,
    },
    Command {
        token: u64,
    },
    /// Asks for a sign of life; nobody waits for the reply.
    Pulse,
    /// Asks whether commands are accepted again.
    Hold,
}

/// What was lost with a connection.
pub(super) struct Lost {
    pub(super) unanswered: u64,
    pub(super) unwritten: u64,
    /// What else gets no reply, in order.
    asked: Vec<LostRequest>,
}

enum LostRequest {
    Count { token: u64 },
    Command(Abandoned),
}

impl Lost {
    /// Reports it.
    pub(super) fn report(&self, reason: &str, sink: &mut dyn FnMut(Incoming<'_>)) {
        sink(Incoming::Down { reason, unanswered: self.unanswered, unwritten: self.unwritten });
        for asked in &self.asked {
            match asked {
                &LostRequest::Count { token } => sink(Incoming::Counted { token, counts: None }),
                LostRequest::Command(command) => command.report(reason, sink),
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.unanswered == 0 && self.unwritten == 0 && self.asked.is_empty()
    }
}

impl CommandConnection {
    /// Returns a connection that opens when it is first needed.
    pub(super) fn new(target: Arc<RedisTarget>, channel_kind: ChannelKind) -> Self {
        Self {
            channel_kind,
            connection: Connection::new(target),
            in_flight: VecDeque::new(),
            kept: KeptPublishes::default(),
            lengths: VecDeque::new(),
            hold: Hold::new(),
            too_early: 0,
            counts: Vec::new(),
            peer: None,
            left: None,
        }
    }

    /// Wants the connection.
    pub(super) fn open(&mut self) {
        self.connection.open();
    }

    /// Drops the connection. Returns what was lost with it if it was up or being opened.
    pub(super) fn close(&mut self) -> Option<Lost> {
        let reported = self.connection.is_closed() || self.connection.is_waiting();
        let lost = self.lost();
        self.connection.close();
        (!reported || !lost.is_nothing()).then_some(lost)
    }

    /// Appends a publish; counts it as unwritten if the connection is not up.
    pub(super) fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        if !self.connection.is_open() {
            self.too_early += 1;
            return;
        }
        write_publish(self.connection.commands.commands(), self.channel_kind, channel, payload);
        self.kept.push(channel, payload);
        self.lengths.push_back((channel.len(), payload.len()));
        if let Some(SentRun::Publishes(run)) = self.in_flight.back_mut() {
            *run += 1;
        } else {
            self.in_flight.push_back(SentRun::Publishes(1));
        }
    }

    /// Appends a count. If there is no connection yet, it waits until that is up or the attempt has failed.
    pub(super) fn count(&mut self, token: u64, channels: &[&[u8]]) {
        write_count(self.connection.commands.commands(), self.channel_kind, channels);
        self.in_flight.push_back(SentRun::Count { token, channels: channels.len() });
    }

    /// Appends a command about a key. It waits as a count does.
    pub(super) fn command(&mut self, command: &KeyCommand) {
        write_args(self.connection.commands.commands(), &command.args);
        self.in_flight.push_back(SentRun::Command { token: command.token });
    }

    /// Asks for a sign of life: for the role, if the node answers ROLE.
    pub(super) fn pulse(&mut self) {
        if self.connection.pulse() {
            let question = if self.connection.tells_role() { "ROLE" } else { "PING" };
            write_names(self.connection.commands.commands(), question, []);
            self.in_flight.push_back(SentRun::Pulse);
        }
    }

    /// Returns the node that it has left since the last call, and why.
    pub(super) fn take_left(&mut self) -> Option<(Option<SocketAddr>, String)> {
        self.left.take()
    }

    #[cfg(test)]
    pub(super) fn redirect_for_tests(&mut self, target: Arc<RedisTarget>) {
        self.connection.set_target(target);
    }

    fn note_peer(&mut self) {
        let peer = self.connection.peer();
        let before = std::mem::replace(&mut self.peer, peer);
        if let (Some(before), Some(peer)) = (before, peer)
            && before != peer
        {
            self.left = Some((Some(before), format!("the address of Redis leads to {peer} now")));
        }
    }

    /// The number of bytes that the kernel has not taken yet, and of those by which the unanswered publishes
    /// exceed their limit.
    pub(super) fn unwritten(&self) -> usize {
        self.connection.unwritten() + self.kept.len().saturating_sub(MAX_UNANSWERED)
    }

    /// Opens, writes everything, and reads once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, sink: &mut dyn FnMut(Incoming<'_>)) -> PollStep {
        match self.advance(cx, sink) {
            Ok(step) => step,
            Err(loss) => {
                if let Loss::Replica(_) = loss {
                    sink(Incoming::Replica);
                    if self.connection.is_open() {
                        self.left = Some((self.connection.peer(), loss.to_string()));
                    }
                }
                let lost = self.lost();
                self.connection.lose();
                lost.report(&loss.to_string(), sink);
                PollStep::REPORTED
            }
        }
    }

    /// Leaves a connection that does not go to the master. Returns whether it did, which was reported.
    pub(super) fn follow(
        &mut self,
        master: &Master,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> bool {
        let astray = master.is_missed_by(&self.connection);
        if astray {
            let lost = self.lost();
            self.connection.leave();
            lost.report(reason, sink);
        }
        astray
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<PollStep, Loss> {
        let mut step = PollStep::default();
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(step),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    self.note_peer();
                    sink(Incoming::Up);
                    step.reported = true;
                }
            }
        }
        if self.hold.poll_asks(cx) {
            write_names(self.connection.commands.commands(), "PING", []);
            self.in_flight.push_back(SentRun::Hold);
        }
        self.connection.poll_flush(cx)?;
        if let Poll::Ready(filled) = self.connection.poll_fill(cx) {
            filled?;
            step.more = true;
        }
        while let Some(reply) = self.connection.next_reply()? {
            step.reported |= !matches!(self.in_flight.front(), Some(SentRun::Pulse | SentRun::Hold));
            match (self.in_flight.front_mut(), reply) {
                (Some(SentRun::Publishes(run)), reply) => {
                    let (channel, payload) = self.lengths.pop_front().unwrap_or_default();
                    match reply {
                        Reply::Integer(receivers) => {
                            self.hold.accepted();
                            sink(Incoming::Published {
                                receivers: u64::try_from(receivers).map_err(|_| ProtocolError::Unexpected)?,
                            });
                        }
                        Reply::Error(error) if passing(error).is_some_and(Passing::is_here) => {
                            if self.hold.refused(error) {
                                tell_held(&self.hold, sink);
                            }
                            let (channel, payload) = self.kept.front(channel, payload);
                            sink(Incoming::Returned { channel, payload });
                        }
                        Reply::Error(error) => {
                            sink(Incoming::PublishRefused { error: &String::from_utf8_lossy(error) });
                        }
                        _ => return Err(ProtocolError::Unexpected.into()),
                    }
                    self.kept.pop(channel + payload);
                    *run -= 1;
                    if *run == 0 {
                        self.in_flight.pop_front();
                    }
                }
                (Some(&mut SentRun::Count { token, channels }), reply) => {
                    match reply {
                        Reply::Array(items) => {
                            read_counts(items, channels, &mut self.counts)?;
                            sink(Incoming::Counted { token, counts: Some(&self.counts) });
                        }
                        Reply::Error(error) if passing(error).is_some_and(Passing::is_here) => {
                            self.hold.suspect();
                            sink(Incoming::Counted { token, counts: None });
                        }
                        Reply::Error(error) => {
                            sink(Incoming::CountRefused { token, error: &String::from_utf8_lossy(error) });
                        }
                        _ => return Err(ProtocolError::Unexpected.into()),
                    }
                    self.in_flight.pop_front();
                }
                (_, Reply::Message(_)) => return Err(ProtocolError::Unexpected.into()),
                (Some(SentRun::Pulse), reply) => {
                    let is_replica = is_of_replica(reply);
                    self.in_flight.pop_front();
                    if is_replica && let Some(address) = self.connection.address() {
                        return Err(Loss::Replica(address.clone()));
                    }
                }
                (Some(SentRun::Hold), reply) => {
                    let error = match reply {
                        Reply::Error(error) if passing(error).is_some_and(Passing::is_here) => Some(error),
                        _ => None,
                    };
                    let change = self.hold.answered(error);
                    step.reported |= change != HoldChange::Nothing;
                    match change {
                        HoldChange::Begins => tell_held(&self.hold, sink),
                        HoldChange::Ends => sink(Incoming::Up),
                        HoldChange::Nothing => {}
                    }
                    self.in_flight.pop_front();
                }
                (Some(&mut SentRun::Command { token }), reply) => {
                    // The sender sends it again.
                    if matches!(reply, Reply::Error(error) if passing(error).is_some_and(Passing::is_here)) {
                        self.hold.suspect();
                    }
                    sink(Incoming::Replied { token, outcome: Outcome::Replied(reply) });
                    self.in_flight.pop_front();
                }
                (None, Reply::Error(error)) => {
                    return Err(Loss::Refused(String::from_utf8_lossy(error).into_owned()));
                }
                (None, _) => return Err(ProtocolError::Unexpected.into()),
            }
        }
        Ok(step)
    }

    /// Takes what is lost if the connection is lost now.
    fn lost(&mut self) -> Lost {
        self.hold.forget();
        self.kept = KeptPublishes::default();
        self.lengths = VecDeque::new();
        // They were appended in order, and are answered in order. So those that are not begun are the last
        // ones.
        let mut not_begun = self.connection.commands.unwritten_commands();
        let mut lost =
            Lost { unanswered: 0, unwritten: std::mem::take(&mut self.too_early), asked: Vec::new() };
        for run in self.in_flight.drain(..).rev() {
            let begun = not_begun == 0;
            let commands = if let SentRun::Publishes(run) = run { run } else { 1 };
            let unwritten = commands.min(not_begun);
            not_begun -= unwritten;
            match run {
                SentRun::Publishes(run) => {
                    lost.unwritten += unwritten;
                    lost.unanswered += run - unwritten;
                }
                SentRun::Count { token, .. } => lost.asked.push(LostRequest::Count { token }),
                SentRun::Pulse | SentRun::Hold => {}
                SentRun::Command { token } => {
                    lost.asked.push(LostRequest::Command(Abandoned { token, begun }))
                }
            }
        }
        lost.asked.reverse();
        if lost.asked.iter().any(|asked| matches!(asked, LostRequest::Command(Abandoned { begun: true, .. })))
        {
            self.connection.bequeath();
        }
        lost
    }
}

fn tell_held(hold: &Hold, sink: &mut dyn FnMut(Incoming<'_>)) {
    if let Some(reason) = hold.reason() {
        sink(Incoming::Held { reason, trial: Trial::One });
    }
}

/// Whether the reply to ROLE is that of a replica.
fn is_of_replica(reply: Reply<'_>) -> bool {
    match reply {
        Reply::Array(mut items) => items.next_bulk().map(SaidRole::of) == Some(SaidRole::Replica),
        _ => false,
    }
}
