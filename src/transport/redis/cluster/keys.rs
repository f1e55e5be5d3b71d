//! Commands about keys: which node runs them, and the readers.

use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::node::ClusterNode;
use super::reader::{ClusterReader, Ended};
use super::{ClusterDeferred, ClusterTransport};
use crate::transport::redis::commands::{Abandoned, ReaderNews};
use crate::transport::redis::slot::slot_of;
use crate::transport::redis::step::PollStep;
use crate::transport::{Incoming, KeyCommand, Port};

impl ClusterTransport {
    /// Sends a command to the master of its key's slot, or keeps it until the topology is known.
    pub(super) fn route(&mut self, command: KeyCommand, now: Instant) {
        if !self.knows_nodes() {
            self.waiting.push(command);
            return;
        }
        let slot = slot_of(command.key());
        let settings = Arc::clone(&self.settings);
        let Some(owner) = self.topology.master(slot) else {
            self.refresh.hint(None, now);
            self.end(&command, &format!("no node of the cluster owns slot {slot}"));
            return;
        };
        match command.port {
            Port::Shared => {
                let channel_kind = self.channel_kind;
                let node = self.nodes.entry(owner.clone());
                node.or_insert_with_key(|owner| ClusterNode::new(&settings, owner, channel_kind))
                    .command(&command);
            }
            Port::Reader(reader) => {
                let reader = self.readers.entry(reader);
                let reader = reader.or_insert_with(|| ClusterReader::new(&settings, owner, slot));
                self.ended.extend(reader.move_to(&settings, owner));
                reader.slot = slot;
                reader.reader.command(&command);
            }
        }
    }

    /// Sends the commands that have waited for the topology.
    pub(super) fn route_waiting(&mut self, now: Instant) {
        if !self.knows_nodes() {
            self.end_waiting("the topology of the cluster is not known");
        }
        for command in std::mem::take(&mut self.waiting) {
            self.route(command, now);
        }
    }

    /// Ends the commands that wait: the topology cannot be found out.
    pub(super) fn end_waiting(&mut self, reason: &str) {
        for command in std::mem::take(&mut self.waiting) {
            self.end(&command, reason);
        }
    }

    fn end(&mut self, command: &KeyCommand, reason: &str) {
        let command = Abandoned { token: command.token, begun: false };
        self.ended.push(Ended { command, reason: reason.to_owned() });
    }

    /// Reports the commands that get no reply. Returns whether there were any.
    pub(super) fn tell_ended(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let any = !self.ended.is_empty();
        for Ended { command, reason } in self.ended.drain(..) {
            command.report(&reason, sink);
        }
        any
    }

    /// Moves the readers to the owners of their slots, writes, and reads.
    pub(super) fn poll_readers(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> PollStep {
        let mut step = PollStep::default();
        let mut told = Vec::new();
        for ClusterReader { reader, at, .. } in self.readers.values_mut() {
            let one = reader.poll(cx, self.paused, sink);
            step.reported |= one.reported;
            step.more |= one.more;
            let ReaderNews { redirects, trouble } = reader.take_news();
            if trouble {
                self.refresh.hint(None, now);
                step.more = true;
            }
            told.extend(redirects.into_iter().map(|redirect| (at.clone(), redirect)));
        }
        step.more |= !told.is_empty();
        for (asked, redirect) in told {
            self.follow(&redirect, &asked, now);
        }
        // A node that hangs says nothing, so its readers go where the topology says.
        for reader in self.readers.values_mut() {
            if let Some(owner) = self.topology.master(reader.slot) {
                self.ended.extend(reader.move_to(&self.settings, owner));
            }
        }
        step
    }

    /// Drops the connections of the readers, and ends their commands.
    pub(super) fn close_readers(&mut self) {
        let ended = self.ended.drain(..).map(|ended| ended.command);
        let readers = self.readers.values_mut().flat_map(|reader| reader.reader.close());
        let waiting = self.waiting.drain(..);
        let waiting = waiting.map(|command| Abandoned { token: command.token, begun: false });
        self.deferred.extend(ended.chain(readers).chain(waiting).map(ClusterDeferred::Abandoned));
    }
}
