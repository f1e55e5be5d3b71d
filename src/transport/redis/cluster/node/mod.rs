//! The command connection to one node of a cluster, and whether that node is still a master.

mod in_flight;
mod mastership;
mod publishing;
mod replies;
mod report;
#[cfg(test)]
mod tests;

pub(super) use mastership::{AWAY, LEASE, NodeRole, SETTLE, Tenure};
pub(super) use report::{NodeReport, Uncounted};

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::settings::ClusterSettings;
use crate::transport::redis::buffer::{write_args, write_count};
use crate::transport::redis::commands::{Abandoned, Hold, KeptPublishes};
use crate::transport::redis::connect::{Address, Loss};
use crate::transport::redis::connection::Connection;
use crate::transport::redis::step::PollStep;
use crate::transport::{ChannelKind, Incoming, KeyCommand};
use in_flight::InFlight;
use mastership::Mastership;

/// How long a node may leave its commands without any reply before it is suspected to hang.
const QUIET: Duration = Duration::from_secs(1);

/// How long a node is kept for commands about keys after the last one.
const COMMANDED: Duration = Duration::from_secs(60);

/// How long a node that is not needed any more has to answer its commands.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The command connection to one node. It carries publishes, which are kept until they are answered, counts,
/// commands about keys, and questions about the cluster.
pub(super) struct ClusterNode {
    address: Address,
    channel_kind: ChannelKind,
    connection: Connection,
    in_flight: VecDeque<InFlight>,
    /// Publishes that are not answered: first those that were sent, then those that wait.
    kept: KeptPublishes,
    /// The lengths of the channels and payloads of publishes that wait until the node is known to be a
    /// master, or accepts publishes again.
    waiting: VecDeque<(usize, usize)>,
    /// How many bytes these have.
    waiting_bytes: usize,
    /// Publishes that have reached nobody, until it is known what the node was then.
    doubtful: VecDeque<(usize, usize)>,
    doubted: KeptPublishes,
    /// Counts that are only valid if the node was the master, until that is known.
    doubtful_counts: Vec<(u64, Vec<u64>)>,
    mastership: Mastership,
    hold: Hold,
    /// Something was published since the last poll.
    active: bool,
    publishes: u64,
    /// The number of commands about keys that are not answered.
    commands: u64,
    /// When the last command about a key came.
    commanded: Option<Instant>,
    /// How many bytes of commands were appended on this connection.
    appended: u64,
    /// What CLUSTER INFO said last.
    info: (bool, u64),
    counts: Vec<u64>,
    /// Since when a reply is missing.
    quiet_since: Instant,
    /// The first attempt to connect has not ended.
    is_new: bool,
    /// A reply, or the connection itself, is late. Nobody waits for the node until it answers something.
    pub(super) hangs: bool,
    /// When it was last seen to hang. Cleared when it was asked later and has said that it is a master. If it
    /// was replaced meanwhile, subscribers that know of that are at its successor already. What it forwards
    /// then has reached them, or has not.
    pub(super) frozen_at: Option<Instant>,
    /// It is not a master any more according to the topology.
    pub(super) superseded: bool,
    /// When everything unanswered is given up. Set when the connection is not needed any more.
    pub(super) leaves_at: Option<Instant>,
}

impl ClusterNode {
    /// Returns a node. The next poll opens its connection.
    pub(super) fn new(settings: &ClusterSettings, address: &Address, channel_kind: ChannelKind) -> Self {
        let mut connection = Connection::new(settings.of(address));
        connection.open();
        Self {
            address: address.clone(),
            channel_kind,
            connection,
            in_flight: VecDeque::new(),
            kept: KeptPublishes::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            doubtful: VecDeque::new(),
            doubted: KeptPublishes::default(),
            doubtful_counts: Vec::new(),
            mastership: Mastership::default(),
            hold: Hold::new(),
            active: false,
            publishes: 0,
            commands: 0,
            commanded: None,
            appended: 0,
            info: (true, 0),
            counts: Vec::new(),
            quiet_since: Instant::now(),
            is_new: true,
            hangs: false,
            frozen_at: None,
            superseded: false,
            leaves_at: None,
        }
    }

    /// Returns whether commands go out.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Returns why publishes wait while it is busy, if they do.
    pub(super) fn held(&self) -> Option<&str> {
        self.hold.reason()
    }

    /// Returns whether the first attempt to connect has not ended.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns whether it has said that it is no master.
    pub(super) fn is_replica(&self) -> bool {
        self.mastership.has_ended()
    }

    /// Returns whether it hangs, or its connection is lost and not open again.
    pub(super) fn is_failing(&self) -> bool {
        self.hangs || !(self.is_open() || self.is_new)
    }

    /// Returns whether the last attempt has failed and the next has not begun.
    pub(super) fn is_waiting(&self) -> bool {
        self.connection.is_waiting()
    }

    /// Returns whether a publish or a command is not answered for good.
    pub(super) fn has_unanswered(&self) -> bool {
        self.publishes > 0 || self.commands > 0 || !self.doubtful.is_empty()
    }

    /// Returns whether it may still run publishes which those to its successor must not overtake.
    pub(super) fn is_outrun(&self) -> bool {
        self.superseded && self.publishes > 0 && self.channel_kind == ChannelKind::Shard
    }

    /// Returns whether it hangs and its subscribers receive nothing either.
    pub(super) fn is_frozen(&self) -> bool {
        self.hangs && self.frozen_at.is_some()
    }

    /// The connection is about to be dropped. The node must not run unread publishes after its successor has
    /// got newer ones.
    pub(super) fn discard(&mut self) {
        // On global channels messages may come from any node, whichever gets the publishes.
        if self.channel_kind == ChannelKind::Shard {
            self.connection.discard();
        }
    }

    /// Returns whether commands about keys go there.
    pub(super) fn is_commanded(&self, now: Instant) -> bool {
        self.commands > 0 || self.commanded.is_some_and(|last| now < last + COMMANDED)
    }

    /// The number of bytes that the kernel has not taken yet, including those in TLS buffers and the
    /// publishes that wait.
    pub(super) fn unwritten(&self) -> usize {
        self.connection.unwritten() + self.waiting_bytes
    }

    /// Returns whether the kernel has taken everything, except the publishes that wait.
    pub(super) fn is_written(&self) -> bool {
        self.connection.unwritten() == 0
    }

    /// The number of bytes of all publishes that are not answered for good.
    pub(super) fn kept(&self) -> usize {
        self.kept.len() + self.doubted.len()
    }

    /// Returns whether it has to be checked what the node holds for us.
    pub(super) fn is_watched(&self, now: Instant) -> bool {
        self.is_open()
            && self.channel_kind == ChannelKind::Shard
            && (self.active || !self.waiting.is_empty())
            && self.mastership.is_due(now)
    }

    /// Returns what it held when it was last known to be a master.
    pub(super) fn tenure(&self) -> Option<Tenure> {
        self.mastership.tenure()
    }

    /// It has been checked what the node holds: `same` of what it held before, and `any` of everything.
    pub(super) fn sees(&mut self, same: Option<Tenure>, any: Option<Tenure>, now: Instant) {
        self.mastership.sees(same, now);
        self.send_waiting(now);
        self.inquire(any, now);
    }

    /// Asks the node what it is, if that is due.
    pub(super) fn inquire(&mut self, tenure: Option<Tenure>, now: Instant) {
        self.active = false;
        if self.mastership.is_due(now) && !self.mastership.is_asked() {
            self.say_hello(tenure, false, now);
        }
    }

    /// It may not be a master any more: asks it, and reports the answer.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.mastership.doubt();
        if self.is_open() {
            self.say_hello(None, true, now);
        }
    }

    fn say_hello(&mut self, tenure: Option<Tenure>, told: bool, now: Instant) {
        self.mastership.asks(tenure, told, now);
        self.append(|out| out.extend_from_slice(HELLO));
        self.in_flight.push_back(InFlight::Hello);
    }

    /// The node has said what it is.
    fn take_role(
        &mut self,
        role: NodeRole,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, NodeReport)>,
    ) {
        let Some((told, asked_at)) = self.mastership.answered(role) else {
            return;
        };
        let is_master = role != NodeRole::Replica;
        self.settle_doubtful(is_master, sink, reports);
        self.frozen_at = self.frozen_at.filter(|&at| !is_master || asked_at <= at);
        for (token, counts) in self.doubtful_counts.drain(..) {
            let counts = if is_master { Ok(counts) } else { Err(Uncounted::Lost) };
            reports.push((self.address.clone(), NodeReport::Counted { token, counts }));
        }
        if told || !is_master {
            reports.push((self.address.clone(), NodeReport::Role(role)));
        }
        if is_master {
            self.send_waiting(Instant::now());
        }
    }

    /// Appends a count. If there is no connection yet, it waits until that is up or the attempt has failed.
    pub(super) fn count(&mut self, token: u64, channels: &[&[u8]], as_master: bool) {
        let channel_kind = self.channel_kind;
        let as_master = as_master && !self.mastership.is_silent();
        self.append(|out| write_count(out, channel_kind, channels));
        self.in_flight.push_back(InFlight::Count { token, channels: channels.len(), as_master });
        if as_master {
            self.say_hello(self.mastership.tenure(), false, Instant::now());
        }
    }

    /// Appends a command about a key. It waits as a count does.
    pub(super) fn command(&mut self, command: &KeyCommand) {
        let end = self.append(|out| write_args(out, &command.args));
        self.commands += 1;
        self.commanded = Some(Instant::now());
        self.in_flight.push_back(InFlight::Command { token: Some(command.token), end });
    }

    /// Asks for a sign of life.
    pub(super) fn pulse(&mut self) {
        if self.connection.pulse() {
            let end = self.append(|out| redis::cmd("PING").write_packed_command(out));
            self.in_flight.push_back(InFlight::Command { token: None, end });
        }
    }

    /// Asks what the node knows about the cluster.
    pub(super) fn ask(&mut self) {
        self.append(|out| {
            redis::cmd("CLUSTER").arg("INFO").write_packed_command(out);
            redis::cmd("CLUSTER").arg("SLOTS").write_packed_command(out);
        });
        self.in_flight.push_back(InFlight::Info);
        self.in_flight.push_back(InFlight::Slots);
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        if self.in_flight.is_empty() {
            self.quiet_since = Instant::now();
        }
        let out = self.connection.commands.commands();
        let before = out.len();
        write(out);
        self.appended += u64::try_from(out.len() - before).unwrap_or_default();
        self.appended
    }

    /// Returns when the node will be suspected to hang.
    pub(super) fn suspect_at(&self) -> Option<Instant> {
        (self.is_open() && !self.in_flight.is_empty()).then(|| self.quiet_since + QUIET)
    }

    /// It is suspected to hang. The next suspicion comes after the same time.
    pub(super) fn suspected(&mut self, now: Instant) {
        self.quiet_since = now;
        self.hangs = true;
    }

    /// Opens, writes everything, and reads once.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        settings: &ClusterSettings,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, NodeReport)>,
    ) -> PollStep {
        let mut reported = false;
        let mut sink = |incoming: Incoming<'_>| {
            reported = true;
            sink(incoming);
        };
        let more = match self.advance(cx, settings, &mut sink, reports) {
            Ok(more) => more,
            Err(loss) => {
                self.is_new = false;
                let reason = self.reason(&loss);
                let unanswered = self.give_up(&reason, &mut sink, reports);
                let stood = self.is_open();
                if unanswered > 0 {
                    self.discard();
                }
                self.connection.lose();
                reports.push((self.address.clone(), NodeReport::Lost { reason, unanswered, stood }));
                false
            }
        };
        PollStep { reported, more }
    }

    /// Returns publishes that have certainly not run. The result is the number of those that may have run.
    pub(super) fn give_up(
        &mut self,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, NodeReport)>,
    ) -> u64 {
        // Including what waits for the connection.
        let unwritten = u64::try_from(self.connection.commands.unwritten().len()).unwrap_or_default();
        let written = self.appended.saturating_sub(unwritten);
        let mut unanswered = 0;
        // Whatever the node was, they have reached nobody.
        self.settle_doubtful(false, sink, reports);
        self.frozen_at = None;
        for (token, _) in self.doubtful_counts.drain(..) {
            reports.push((self.address.clone(), NodeReport::Counted { token, counts: Err(Uncounted::Lost) }));
        }
        let begun = |sent: &InFlight| matches!(sent, InFlight::Command { end, .. } if *end <= written);
        if self.in_flight.iter().any(begun) {
            self.connection.bequeath();
        }
        for command in std::mem::take(&mut self.in_flight) {
            match command {
                InFlight::Publish { channel, payload, end } => {
                    if end <= written {
                        unanswered += 1;
                    } else {
                        let (channel, payload) = self.kept.front(channel, payload);
                        sink(Incoming::Returned { channel, payload });
                    }
                    self.kept.pop(channel + payload);
                }
                InFlight::Count { token, .. } => {
                    let counts = Err(Uncounted::Lost);
                    reports.push((self.address.clone(), NodeReport::Counted { token, counts }));
                }
                InFlight::Command { token: None, .. } => {}
                InFlight::Command { token: Some(token), end } => {
                    let command = Abandoned { token, begun: end <= written };
                    let reason = reason.to_owned();
                    reports.push((self.address.clone(), NodeReport::Abandoned { command, reason }));
                }
                InFlight::Info | InFlight::Slots | InFlight::Hello | InFlight::Hold => {}
            }
        }
        self.return_waiting(sink);
        self.hold.forget();
        if std::mem::take(&mut self.mastership).is_told() {
            reports.push((self.address.clone(), NodeReport::Role(NodeRole::Unknown)));
        }
        self.publishes = 0;
        self.commands = 0;
        self.appended = 0;
        unanswered
    }

    /// Stops waiting for the replies to commands about keys.
    pub(super) fn abandon_commands(&mut self, reason: &str, reports: &mut Vec<(Address, NodeReport)>) {
        for command in &mut self.in_flight {
            if let InFlight::Command { token, .. } = command
                && let Some(token) = token.take()
            {
                let command = Abandoned { token, begun: true };
                let reason = reason.to_owned();
                reports.push((self.address.clone(), NodeReport::Abandoned { command, reason }));
            }
        }
        self.commands = 0;
    }

    /// Returns the loss in words that name the node.
    fn reason(&self, loss: &Loss) -> String {
        match loss {
            Loss::Connect(..)
            | Loss::Slow(..)
            | Loss::Handshake(..)
            | Loss::Frozen(..)
            | Loss::Broken(..)
            | Loss::ClosedBy(_)
            | Loss::Silent(..)
            | Loss::NotAllowed(_)
            | Loss::NoAddress(..) => loss.to_string(),
            _ => format!("{}: {loss}", self.address),
        }
    }
}

/// Asks a node what it is, among other things. Unlike ROLE, an ACL cannot forbid it.
const HELLO: &[u8] = b"*1\r\n$5\r\nHELLO\r\n";
