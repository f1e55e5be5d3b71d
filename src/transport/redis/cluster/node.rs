use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::super::abandoned::Abandoned;
use super::super::command::{write_args, write_count, write_publish};
use super::super::commands::read_counts;
use super::super::connection::{Connection, Opened};
use super::super::settings::Address;
use super::super::stream::Loss;
use super::super::{Incoming, KeyCommand, Outcome, Space, Step};
use super::redirect::Redirect;
use super::refresh::{Answer, read_info};
use super::settings::ClusterSettings;
use super::topology::Topology;
use crate::transport::resp::{ProtocolError, Reply};

/// How long a node may leave its commands without any reply before it is suspected to hang.
const QUIET: Duration = Duration::from_secs(1);

/// How long a node is kept for commands about keys after the last one.
const COMMANDED: Duration = Duration::from_secs(60);

/// What the room for publishes keeps when it is empty.
const KEEP: usize = 256 * 1024;

/// The command connection of one node: publishes, which are kept until they are answered, counts, commands about keys,
/// and questions about the cluster.
pub(super) struct Node {
    address: Address,
    space: Space,
    connection: Connection,
    in_flight: VecDeque<InFlight>,
    kept: Kept,
    publishes: u64,
    /// Commands about keys that are not answered.
    commands: u64,
    /// When the last one came.
    commanded: Option<Instant>,
    /// How many bytes of commands were appended on this connection.
    appended: u64,
    /// What the last CLUSTER INFO said.
    info: (bool, u64),
    counts: Vec<u64>,
    /// Since when a reply is missing.
    quiet_since: Instant,
    /// A reply, or the connection itself, is late: nothing is waited for until it answers something.
    pub(super) hangs: bool,
    /// Nobody wants the connection any more: what is unanswered then is given up.
    pub(super) leaves_at: Option<Instant>,
}

/// A command whose reply is not in.
enum InFlight {
    /// Its bytes are the next in [`Kept`]; `end` is where the command ends among all that was appended.
    Publish {
        channel: usize,
        payload: usize,
        end: u64,
    },
    Count {
        token: u64,
        channels: usize,
    },
    /// As with a publish, of which nothing is kept. Without a token nobody waits for the reply.
    Command {
        token: Option<u64>,
        end: u64,
    },
    Info,
    Slots,
}

/// What a node has to say.
pub(super) enum Report {
    /// The connection is up.
    Opened,
    /// The connection is lost, or could not be made.
    Lost {
        reason: String,
        /// Publishes that may or may not have run.
        unanswered: u64,
    },
    /// What the node knows of the cluster.
    Answer(Answer),
    /// The node does not say what it knows.
    NoAnswer(String),
    Counted {
        token: u64,
        counts: Option<Vec<u64>>,
    },
    /// A publish or a command was not run.
    Redirected {
        redirect: Redirect,
        /// What keeps publishes from being run there.
        stalls: Option<String>,
    },
    /// A command gets no reply.
    Abandoned {
        command: Abandoned,
        reason: String,
    },
}

impl Node {
    /// Returns a node whose connection opens with the next poll.
    pub(super) fn new(settings: &ClusterSettings, address: &Address, space: Space) -> Self {
        let mut connection = Connection::new(settings.of(address));
        connection.open();
        Self {
            address: address.clone(),
            space,
            connection,
            in_flight: VecDeque::new(),
            kept: Kept { bytes: Vec::new(), start: 0 },
            publishes: 0,
            commands: 0,
            commanded: None,
            appended: 0,
            info: (true, 0),
            counts: Vec::new(),
            quiet_since: Instant::now(),
            hangs: false,
            leaves_at: None,
        }
    }

    /// Returns whether commands go out.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Returns whether the last attempt has failed and the next is not begun.
    pub(super) fn is_waiting(&self) -> bool {
        self.connection.is_waiting()
    }

    /// Returns whether a publish or a command is not answered.
    pub(super) fn has_unanswered(&self) -> bool {
        self.publishes > 0 || self.commands > 0
    }

    /// Returns whether commands about keys go there.
    pub(super) fn is_commanded(&self, now: Instant) -> bool {
        self.commands > 0 || self.commanded.is_some_and(|last| now < last + COMMANDED)
    }

    /// The bytes that wait for the kernel, those that TLS holds included.
    pub(super) fn unwritten(&self) -> usize {
        self.connection.unwritten()
    }

    /// The bytes of all publishes that are not answered.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Appends a publish. Only while the connection is up.
    pub(super) fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        let space = self.space;
        let end = self.append(|out| write_publish(out, space, channel, payload));
        self.kept.push(channel, payload);
        self.publishes += 1;
        self.in_flight.push_back(InFlight::Publish { channel: channel.len(), payload: payload.len(), end });
    }

    /// Appends a count. Before the connection is up it waits for it, or for the failure of the attempt.
    pub(super) fn count(&mut self, token: u64, channels: &[&[u8]]) {
        let space = self.space;
        self.append(|out| write_count(out, space, channels));
        self.in_flight.push_back(InFlight::Count { token, channels: channels.len() });
    }

    /// Appends a command about a key. Waits as a count does.
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

    /// Asks what the node knows of the cluster.
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

    /// Returns when it is to be suspected to hang.
    pub(super) fn suspect_at(&self) -> Option<Instant> {
        (self.is_open() && !self.in_flight.is_empty()).then(|| self.quiet_since + QUIET)
    }

    /// Takes note of the suspicion; the next one comes as much later.
    pub(super) fn suspected(&mut self, now: Instant) {
        self.quiet_since = now;
        self.hangs = true;
    }

    /// Opens, writes all, reads once.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        settings: &ClusterSettings,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, Report)>,
    ) -> Step {
        let mut reported = false;
        let mut sink = |incoming: Incoming<'_>| {
            reported = true;
            sink(incoming);
        };
        let more = match self.advance(cx, settings, &mut sink, reports) {
            Ok(more) => more,
            Err(loss) => {
                let reason = self.reason(&loss);
                let unanswered = self.give_up(&reason, &mut sink, reports);
                self.connection.lose();
                reports.push((self.address.clone(), Report::Lost { reason, unanswered }));
                false
            }
        };
        Step { reported, more }
    }

    /// Gives back what has certainly not run; returns how many publishes may have.
    pub(super) fn give_up(
        &mut self,
        reason: &str,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, Report)>,
    ) -> u64 {
        // What waits for the connection included.
        let unwritten = u64::try_from(self.connection.commands.unwritten().len()).unwrap_or_default();
        let written = self.appended.saturating_sub(unwritten);
        let mut unanswered = 0;
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
                    reports.push((self.address.clone(), Report::Counted { token, counts: None }));
                }
                InFlight::Command { token: None, .. } => {}
                InFlight::Command { token: Some(token), end } => {
                    let command = Abandoned { token, begun: end <= written };
                    let reason = reason.to_owned();
                    reports.push((self.address.clone(), Report::Abandoned { command, reason }));
                }
                InFlight::Info | InFlight::Slots => {}
            }
        }
        self.publishes = 0;
        self.commands = 0;
        self.appended = 0;
        unanswered
    }

    /// Waits no more for the replies to commands about keys.
    pub(super) fn abandon_commands(&mut self, reason: &str, reports: &mut Vec<(Address, Report)>) {
        for command in &mut self.in_flight {
            if let InFlight::Command { token, .. } = command
                && let Some(token) = token.take()
            {
                let command = Abandoned { token, begun: true };
                let reason = reason.to_owned();
                reports.push((self.address.clone(), Report::Abandoned { command, reason }));
            }
        }
        self.commands = 0;
    }

    /// The loss in words that tell which node it was.
    fn reason(&self, loss: &Loss) -> String {
        match loss {
            Loss::Connect(..) | Loss::Slow(_) | Loss::Handshake(..) | Loss::Frozen(_) => loss.to_string(),
            _ => format!("{}: {loss}", self.address),
        }
    }

    /// Returns whether a read brought something.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        settings: &ClusterSettings,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, Report)>,
    ) -> Result<bool, Loss> {
        let mut more = false;
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    self.quiet_since = Instant::now();
                    self.hangs = false;
                    reports.push((self.address.clone(), Report::Opened));
                }
            }
        }
        self.connection.poll_flush(cx)?;
        if let Poll::Ready(filled) = self.connection.poll_fill(cx) {
            filled?;
            more = true;
            self.hangs = false;
            self.quiet_since = Instant::now();
        }
        while let Some(reply) = self.connection.next_reply()? {
            let Some(command) = self.in_flight.front() else {
                return Err(match reply {
                    Reply::Error(error) => Loss::Refused(String::from_utf8_lossy(error).into_owned()),
                    _ => ProtocolError::Unexpected.into(),
                });
            };
            match (command, reply) {
                (InFlight::Publish { .. }, Reply::Integer(receivers)) => {
                    let receivers = u64::try_from(receivers).map_err(|_| ProtocolError::Unexpected)?;
                    sink(Incoming::Published { receivers });
                }
                (&InFlight::Publish { channel, payload, .. }, Reply::Error(error)) => {
                    let text = String::from_utf8_lossy(error);
                    match Redirect::of(error) {
                        Some(redirect) => {
                            let (channel, payload) = self.kept.front(channel, payload);
                            sink(Incoming::Returned { channel, payload });
                            let stalls = Some(text.into_owned());
                            reports.push((self.address.clone(), Report::Redirected { redirect, stalls }));
                        }
                        None => sink(Incoming::PublishRefused { error: &text }),
                    }
                }
                (&InFlight::Count { token, channels }, Reply::Array(items)) => {
                    read_counts(items, channels, &mut self.counts)?;
                    let counts = Some(std::mem::take(&mut self.counts));
                    reports.push((self.address.clone(), Report::Counted { token, counts }));
                }
                (&InFlight::Count { token, .. }, Reply::Error(_)) => {
                    reports.push((self.address.clone(), Report::Counted { token, counts: None }));
                }
                (_, Reply::Message(_)) => return Err(ProtocolError::Unexpected.into()),
                (InFlight::Command { token: None, .. }, _) => {}
                (&InFlight::Command { token: Some(token), .. }, reply) => {
                    let redirect = match reply {
                        Reply::Error(error) => Redirect::of(error).map(|redirect| (redirect, error)),
                        _ => None,
                    };
                    let outcome = match &redirect {
                        Some((_, error)) => Outcome::NotRun { reason: &String::from_utf8_lossy(error) },
                        None => Outcome::Replied(reply),
                    };
                    sink(Incoming::Replied { token, outcome });
                    if let Some((redirect, _)) = redirect {
                        let report = Report::Redirected { redirect, stalls: None };
                        reports.push((self.address.clone(), report));
                    }
                }
                (InFlight::Info, Reply::Bulk(info)) => self.info = read_info(info),
                // An ACL may forbid it; the slots say enough.
                (InFlight::Info, Reply::Error(_)) => self.info = (true, u64::MAX),
                (InFlight::Slots, Reply::Array(slots)) => {
                    let topology = Topology::of(slots, settings, &self.address)?;
                    let (ok, epoch) = self.info;
                    reports.push((self.address.clone(), Report::Answer(Answer { ok, epoch, topology })));
                }
                (InFlight::Slots, Reply::Error(error)) => {
                    let error = String::from_utf8_lossy(error);
                    let reason = format!("{} does not say who owns which slot: {error}", self.address);
                    reports.push((self.address.clone(), Report::NoAnswer(reason)));
                }
                _ => return Err(ProtocolError::Unexpected.into()),
            }
            match self.in_flight.pop_front() {
                Some(InFlight::Publish { channel, payload, .. }) => {
                    self.kept.pop(channel + payload);
                    self.publishes -= 1;
                }
                Some(InFlight::Command { token: Some(_), .. }) => self.commands -= 1,
                _ => {}
            }
        }
        Ok(more)
    }
}

/// Channels and payloads of publishes, one after another, oldest first.
struct Kept {
    bytes: Vec<u8>,
    start: usize,
}

impl Kept {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn push(&mut self, channel: &[u8], payload: &[u8]) {
        self.bytes.extend_from_slice(channel);
        self.bytes.extend_from_slice(payload);
    }

    fn front(&self, channel: usize, payload: usize) -> (&[u8], &[u8]) {
        let front = self.bytes.get(self.start..self.start + channel + payload).unwrap_or_default();
        front.split_at_checked(channel).unwrap_or_default()
    }

    fn pop(&mut self, len: usize) {
        self.start += len;
        if self.start >= self.bytes.len() {
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
            self.start = 0;
        } else if self.start > KEEP && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::super::mock_authority::Authority;
    use super::super::super::mock_peer::{MockPeer, block_on};
    use super::super::super::settings::Settings;
    use super::super::super::tls::{Tls, TlsOptions};
    use super::*;

    #[test]
    fn what_tls_holds_back_is_not_written() {
        block_on(async {
            let authority = Authority::new("one");
            let mut peer = MockPeer::tls(authority.identity(&["127.0.0.1"]).acceptor(None)).await;
            let tls = TlsOptions { ca: vec![authority.pem()], ..TlsOptions::default() };
            let base = Settings { tls: Some(Tls::new(&tls).unwrap()), ..Settings::new(peer.address()) };
            let settings = ClusterSettings { base, seeds: vec![peer.address()], nat_map: Vec::new() };
            let mut node = Node::new(&settings, &peer.address(), Space::Global);
            let mut reports = Vec::new();
            let mut poll = |node: &mut Node, cx: &mut Context<'_>| {
                node.poll(cx, &settings, &mut |_| {}, &mut reports);
            };
            let open = poll_fn(|cx| {
                poll(&mut node, cx);
                if node.is_open() { Poll::Ready(()) } else { Poll::Pending }
            });
            let _client = peer.accept_while(open).await;
            while node.connection.unwritten() == 0 || !node.connection.commands.unwritten().is_empty() {
                node.publish(b"channel", &[b'x'; 1000]);
                poll_fn(|cx| Poll::Ready(poll(&mut node, cx))).await;
            }
            assert!(node.unwritten() > 0, "TLS has taken it, the kernel has not");
        });
    }

    #[test]
    fn kept_publishes_come_back_as_they_were() {
        let mut kept = Kept { bytes: Vec::new(), start: 0 };
        let payload = |n: usize| n.to_string().repeat(n % 700).into_bytes();
        for n in 0..2000 {
            kept.push(b"channel", &payload(n));
            kept.push(b"", b"");
        }
        for n in 0..2000 {
            let bytes = payload(n);
            assert_eq!(kept.front(7, bytes.len()), (&b"channel"[..], &bytes[..]));
            kept.pop(7 + bytes.len());
            assert_eq!(kept.front(0, 0), (&b""[..], &b""[..]));
            kept.pop(0);
        }
        assert_eq!((kept.len(), kept.bytes.len()), (0, 0));
        assert!(kept.bytes.capacity() <= KEEP);
    }
}
