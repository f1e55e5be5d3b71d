//! The node that channels and globs were moved away from, since it is missing from the topology. If it hangs,
//! it forwards its last messages to the other nodes as soon as it is back: see [`LastMessages`]. So its
//! connection is kept until it answers or is lost. Messages on that connection are ignored: the new node
//! sends them, too.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::last::{ANSWER, HeldMessage, LastMessages, MAX_HELD, MAX_HELD_BYTES, Whom, hash};
use crate::transport::redis::buffer::write_names;
use crate::transport::redis::connect::Loss;
use crate::transport::redis::connection::Connection;
use crate::transport::redis::step::PollStep;
use crate::transport::redis::subscriber::{SubscriberConnection, Verb};
use crate::transport::resp::Reply;
use crate::transport::{Incoming, Subscriber};

/// A node that was left, as long as copies of its last messages may come.
pub(super) struct FormerNode {
    connection: Connection,
    /// It has not answered.
    silent: bool,
    /// A question is not answered yet.
    asked: bool,
    last: LastMessages,
    keys: RandomState,
    /// What the new node has sent: a message that may be a copy, and everything after it.
    held: VecDeque<Held>,
    held_bytes: usize,
}

struct Held {
    message: HeldMessage,
    hash: u64,
    /// Until when it waits for the answer, since it may be a copy.
    waits: Option<Instant>,
}

impl FormerNode {
    /// Takes the connection of a node that is left. Returns `None` if it is not open, or has brought no
    /// messages lately.
    pub(super) fn of(subscriber: &mut SubscriberConnection) -> Option<Self> {
        let keys = RandomState::new();
        let last = LastMessages::of(subscriber.last_messages(), &keys);
        if !subscriber.is_open() || last.is_empty() {
            return None;
        }
        let connection = subscriber.take_connection();
        let (held, held_bytes) = (VecDeque::new(), 0);
        let mut former = Self { connection, silent: true, asked: false, last, keys, held, held_bytes };
        former.ask();
        Some(former)
    }

    /// Takes what the new node sends. Returns whether to deliver it now.
    pub(super) fn hear(&mut self, incoming: &Incoming<'_>, now: Instant) -> bool {
        let &Incoming::Message { name, payload, .. } = incoming else {
            return true;
        };
        let hash = hash(&self.keys, name, payload);
        let may_be_copy = self.last.take(hash, self.silent);
        if may_be_copy && !self.silent {
            return false;
        }
        if !may_be_copy && self.held.is_empty() {
            return true;
        }
        let waits = may_be_copy.then_some(now + ANSWER);
        if let Some(message) = HeldMessage::of(incoming) {
            self.held_bytes += message.size();
            self.held.push_back(Held { message, hash, waits });
        }
        false
    }

    /// Returns when [`FormerNode::poll`] has something to do even if nothing is read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.front().and_then(|held| held.waits)
    }

    /// Asks for a sign of life, unless the connection is not read.
    pub(super) fn pulse(&mut self, paused: bool) {
        if paused {
            self.connection.pass_pulse();
        } else if self.connection.pulse() {
            self.ask();
        }
    }

    fn ask(&mut self) {
        write_names(self.connection.commands.commands(), Verb::Ping.command(), []);
        self.asked = true;
    }

    /// Checks whether the node has answered, and reports messages that were held back and are no copies.
    /// Everything from the new node must have been read before. An error means that the connection is lost:
    /// nobody will know when the node is back.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
        subscriber: Subscriber,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<PollStep, Loss> {
        if paused {
            // Its answer is not read either.
            self.held
                .iter_mut()
                .filter_map(|held| held.waits.as_mut())
                .for_each(|until| *until = now + ANSWER);
            return Ok(PollStep::default());
        }
        let more = self.read(cx)?;
        let waits = |held: &Held| self.silent && held.waits.is_some_and(|until| now < until);
        let is_too_much = self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES;
        let ready = self.held.iter().position(waits).filter(|_| !is_too_much);
        let reported = self.give(ready.unwrap_or(self.held.len()), subscriber, sink);
        Ok(PollStep { reported, more })
    }

    /// Reports everything that is held back. Returns whether there was any.
    pub(super) fn give_all(&mut self, subscriber: Subscriber, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        self.give(self.held.len(), subscriber, sink)
    }

    /// Returns whether to ask the new node now.
    pub(super) fn asks(&mut self, new_is_asked: bool) -> bool {
        let asked = self.asked;
        let whom = self.last.asks(|whom| if whom == Whom::New { new_is_asked } else { asked });
        if whom == Some(Whom::Former) {
            self.ask();
        }
        whom == Some(Whom::New)
    }

    /// Returns whether no more copies can come.
    pub(super) fn is_over(&self) -> bool {
        self.last.is_empty() && self.held.is_empty()
    }

    /// Returns whether a read brought something.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Loss> {
        self.connection.poll_flush(cx)?;
        let Poll::Ready(filled) = self.connection.poll_fill(cx) else {
            return Ok(false);
        };
        filled?;
        while let Some(reply) = self.connection.next_reply()? {
            let answers = match reply {
                Reply::Array(mut items) => items.next_bulk() == Some(b"pong"),
                Reply::Message(_) => false,
                _ => true,
            };
            if answers {
                self.asked = false;
                if std::mem::take(&mut self.silent) {
                    self.last.is_back();
                }
            }
        }
        Ok(true)
    }

    fn give(&mut self, count: usize, subscriber: Subscriber, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let mut any = false;
        for held in self.held.drain(..count) {
            let Held { message, hash, waits } = held;
            self.held_bytes -= message.size();
            if waits.is_some() {
                if !self.silent {
                    continue;
                }
                self.last.is_repeated(hash);
            }
            any = true;
            sink(message.incoming(subscriber));
        }
        any
    }
}
