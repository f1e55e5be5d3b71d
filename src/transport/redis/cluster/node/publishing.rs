//! The publishes of a node: those that wait until they may go out, and those that have reached nobody.

use std::time::Duration;

use tokio::time::Instant;

use super::in_flight::InFlight;
use super::{ClusterNode, GRACE, NodeReport};
use crate::transport::redis::buffer::write_publish;
use crate::transport::redis::connect::Address;
use crate::transport::{ChannelKind, Incoming};

/// How many bytes of publishes that have reached nobody wait for one question. With more, the node is asked
/// at once.
const MAX_DOUBTFUL: usize = 1 << 20;

/// For how long after the topology has named another master a publish that reaches nobody goes back: the node
/// had held it back. A later one was on its way for longer than subscribers stay away.
const LATE: Duration = Duration::from_millis(100);

impl ClusterNode {
    /// Appends a publish, or lets it wait until it may go out. Only while the connection is up.
    pub(crate) fn publish(&mut self, channel: &[u8], payload: &[u8], now: Instant) {
        self.active = true;
        let goes = self.waiting.is_empty() && self.may_send(now);
        self.kept.push(channel, payload);
        if goes {
            let channel_kind = self.channel_kind;
            let end = self.append(|out| write_publish(out, channel_kind, channel, payload));
            self.sent(channel.len(), payload.len(), end);
        } else {
            self.waiting.push_back((channel.len(), payload.len()));
            self.waiting_bytes += channel.len() + payload.len();
        }
    }

    /// Whether a publish may go out: the node is a master, and the publish cannot overtake one that is
    /// refused for now.
    fn may_send(&self, now: Instant) -> bool {
        let is_known = self.channel_kind == ChannelKind::Global || self.mastership.is_known(now);
        is_known && (self.publishes == 0 || self.hold.takes_more())
    }

    fn sent(&mut self, channel: usize, payload: usize, end: u64) {
        self.publishes += 1;
        self.in_flight.push_back(InFlight::Publish { channel, payload, end });
    }

    /// Sends the publishes that wait, as far as they may go out.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        let mut at = self.kept.len().saturating_sub(self.waiting_bytes);
        while self.may_send(now)
            && let Some((channel, payload)) = self.waiting.pop_front()
        {
            let out = self.connection.commands.commands();
            let before = out.len();
            let (of, text) = self.kept.at(at, channel, payload);
            write_publish(out, self.channel_kind, of, text);
            self.appended += u64::try_from(out.len() - before).unwrap_or_default();
            if self.in_flight.is_empty() {
                self.quiet_since = Instant::now();
            }
            at += channel + payload;
            self.waiting_bytes -= channel + payload;
            self.sent(channel, payload, self.appended);
        }
    }

    /// Returns the publishes that wait to the caller, if waiting is useless: all earlier ones are answered,
    /// and the node is not the one to run them.
    pub(super) fn return_waiting_if_ended(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        let ended = self.mastership.has_ended() || self.leaves_at.is_some() || self.hold.reason().is_some();
        if ended && self.publishes == 0 && !self.waiting.is_empty() {
            self.return_waiting(sink);
        }
    }

    /// Returns the publishes that wait to the caller.
    pub(super) fn return_waiting(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        let at = self.kept.len().saturating_sub(std::mem::take(&mut self.waiting_bytes));
        let mut next = at;
        for (channel, payload) in self.waiting.drain(..) {
            let (of, text) = self.kept.at(next, channel, payload);
            sink(Incoming::Returned { channel: of, payload: text });
            next += channel + payload;
        }
        self.kept.truncate(at);
    }

    /// Returns the publishes that have reached nobody to the caller, or reports them as answered.
    pub(super) fn settle_doubtful(
        &mut self,
        is_master: bool,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, NodeReport)>,
    ) {
        for (channel, payload) in self.doubtful.drain(..) {
            if is_master {
                sink(Incoming::Published { receivers: 0 });
            } else if self.frozen_at.is_some() {
                reports.push((self.address.clone(), NodeReport::Unknown));
            } else {
                let (channel, payload) = self.doubted.front(channel, payload);
                sink(Incoming::Returned { channel, payload });
            }
            self.doubted.pop(channel + payload);
        }
    }

    /// Asks the node what it is, if publishes have reached nobody and the question is due.
    pub(super) fn ask_about_doubtful(&mut self, now: Instant) {
        if self.ask_at().is_some_and(|at| now >= at) {
            self.say_hello(self.mastership.tenure(), false, now);
        }
    }

    /// Returns when the node has to be asked because publishes have reached nobody.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        if self.doubtful.is_empty() || self.mastership.is_asked() || !self.is_open() {
            return None;
        }
        let due = self.mastership.may_ask_at().filter(|_| self.doubted.len() < MAX_DOUBTFUL);
        Some(due.unwrap_or(self.quiet_since))
    }

    /// The node says that a publish has reached nobody.
    pub(super) fn reached_nobody(
        &mut self,
        channel: usize,
        payload: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, NodeReport)>,
    ) {
        let now = Instant::now();
        let late = self.leaves_at.is_some_and(|until| now + GRACE > until + LATE);
        if self.channel_kind == ChannelKind::Global || self.mastership.is_silent() {
            sink(Incoming::Published { receivers: 0 });
        } else if late || (self.frozen_at.is_some() && self.mastership.has_ended()) {
            reports.push((self.address.clone(), NodeReport::Unknown));
        } else {
            let (channel, payload) = self.kept.front(channel, payload);
            if self.mastership.has_ended() {
                sink(Incoming::Returned { channel, payload });
            } else {
                self.doubted.push(channel, payload);
                self.doubtful.push_back((channel.len(), payload.len()));
            }
        }
    }
}
