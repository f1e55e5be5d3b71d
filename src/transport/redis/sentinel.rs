//! Sentinels: who is the master, asked at each connect, and heard of when it changes.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::command::write_names;
use super::connection::{Connection, Opened};
use super::settings::{Address, Role, Settings};
use super::stream::{self, Connected, Loss};
use crate::transport::resp::{ProtocolError, Reply};

/// How long one sentinel has to answer before the next is asked. They answer in milliseconds, and the first of
/// three may be on the very host that is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The first wait before a lost watch is made again, and the longest: a sentinel that is listed and gone for good
/// costs next to nothing.
const WATCH_BASE: Duration = Duration::from_millis(100);
const WATCH_CAP: Duration = Duration::from_secs(10);

const SWITCH: &[u8] = b"+switch-master";

/// The sentinels of one master.
pub struct Sentinels {
    name: String,
    /// The one that named a master which proved to be one comes first. One that did not answer, or named a node that
    /// could not be used, goes to the end.
    nodes: Mutex<VecDeque<Node>>,
}

struct Node {
    settings: Arc<Settings>,
    /// Where it said that the master is, unless the watch of it was lost since.
    said: Option<Address>,
}

impl Sentinels {
    /// Returns the sentinels that know a master by `name`, each with how to connect to it.
    pub fn new(name: impl Into<String>, nodes: impl IntoIterator<Item = Settings>) -> Self {
        let node = |settings| Node { settings: Arc::new(settings), said: None };
        Self { name: name.into(), nodes: Mutex::new(nodes.into_iter().map(node).collect()) }
    }

    /// Asks one sentinel after the other where the master is. Drop the answer if the master cannot be used: then the
    /// next attempt asks another sentinel first.
    ///
    /// # Errors
    /// [`Loss::NoMaster`] if none of them knows.
    pub(super) async fn master(self: &Arc<Self>) -> Result<Named, Loss> {
        let mut problem = "there are none".to_owned();
        for node in self.in_turn() {
            problem = match self.ask(&node).await {
                Ok(Some(master)) => {
                    return Ok(Named { address: master, sentinels: Arc::clone(self), by: node, good: false });
                }
                Ok(None) => format!("{} does not know it", node.address),
                Err(problem) => problem,
            };
            self.put_last(&node);
        }
        Err(Loss::NoMaster { name: self.name.clone(), problem })
    }

    /// Asks one sentinel, and notes what it says; `None` if it does not know the master.
    async fn ask(&self, node: &Arc<Settings>) -> Result<Option<Address>, String> {
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, ask(node, &self.name)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(loss)) => return Err(loss.to_string()),
            Err(_) => return Err(format!("{} does not answer", node.address)),
        };
        self.note(node, answer.clone());
        Ok(answer)
    }

    /// Notes what a sentinel says.
    fn note(&self, node: &Arc<Settings>, said: Option<Address>) {
        if let Some(node) = self.nodes().iter_mut().find(|other| Arc::ptr_eq(&other.settings, node)) {
            node.said = said;
        }
    }

    /// How many sentinels say that the master is there.
    fn votes(&self, address: &Address) -> usize {
        self.nodes().iter().filter(|node| node.said.as_ref() == Some(address)).count()
    }

    fn in_turn(&self) -> Vec<Arc<Settings>> {
        self.nodes().iter().map(|node| Arc::clone(&node.settings)).collect()
    }

    fn prefer(&self, node: &Arc<Settings>) {
        let mut nodes = self.nodes();
        if let Some(node) = take(&mut nodes, node) {
            nodes.push_front(node);
        }
    }

    fn put_last(&self, node: &Arc<Settings>) {
        let mut nodes = self.nodes();
        if let Some(node) = take(&mut nodes, node) {
            nodes.push_back(node);
        }
    }

    fn nodes(&self) -> MutexGuard<'_, VecDeque<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(nodes: &mut VecDeque<Node>, node: &Arc<Settings>) -> Option<Node> {
    let place = nodes.iter().position(|other| Arc::ptr_eq(&other.settings, node))?;
    nodes.remove(place)
}

/// Where a sentinel says that the master is.
pub(super) struct Named {
    pub(super) address: Address,
    sentinels: Arc<Sentinels>,
    by: Arc<Settings>,
    good: bool,
}

impl Named {
    /// The master was there, and could be used.
    pub(super) fn was_right(mut self) {
        self.good = true;
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.good {
            self.sentinels.prefer(&self.by);
        } else {
            self.sentinels.put_last(&self.by);
        }
    }
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("name", &self.name).field("nodes", &self.in_turn()).finish()
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the master \"{}\"", self.name)
    }
}

/// Asks one sentinel; `None` if it does not know the master.
async fn ask(node: &Settings, name: &str) -> Result<Option<Address>, Loss> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let connected = stream::open_at(&node.address, node, Role::Any, deadline).await?;
    let Connected { mut stream, mut replies, .. } = connected;
    let question = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).get_packed_command();
    stream.write_all(&question).await.map_err(Loss::Io)?;
    loop {
        match replies.next_reply()? {
            Some(Reply::Array(mut items)) => {
                let (host, port) = (items.next_bulk(), items.next_bulk());
                return match (host, port) {
                    (Some(host), Some(port)) => Ok(Some(address(host, port)?)),
                    _ => Err(ProtocolError::Unexpected.into()),
                };
            }
            Some(Reply::Nil) => return Ok(None),
            Some(Reply::Error(error)) => {
                return Err(Loss::Refused(String::from_utf8_lossy(error).into_owned()));
            }
            Some(_) => return Err(ProtocolError::Unexpected.into()),
            None => std::future::poll_fn(|cx| stream.poll_fill(cx, &mut replies)).await?,
        }
    }
}

fn address(host: &[u8], port: &[u8]) -> Result<Address, ProtocolError> {
    let host = std::str::from_utf8(host).map_err(|_| ProtocolError::Unexpected)?.to_owned();
    let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    Ok(Address::Tcp { host, port: port.ok_or(ProtocolError::Unexpected)? })
}

/// Where the master is, by what a sentinel has just said.
pub(super) struct Master {
    pub(super) address: Address,
    /// Whether it was known to be elsewhere: who is on the way may be on the way there.
    pub(super) moved: bool,
    /// Whether the sentinel has announced it. Else it was asked, and may be the only one that is behind.
    announced: bool,
    sentinels: Arc<Sentinels>,
}

impl Master {
    /// Returns whether a connection that goes to `address` is to be given up for this master.
    pub(super) fn replaces(&self, address: &Address) -> bool {
        let Self { sentinels, .. } = self;
        *address != self.address
            && (self.announced || sentinels.votes(&self.address) > sentinels.votes(address))
    }
}

/// Subscriptions to all sentinels of a master. A master that hangs, or that is cut off along with the sentinel
/// beside it, leaves its connections standing; the other sentinels tell.
pub(super) struct Watches {
    watches: Vec<Watch>,
    /// What was last said, and believed.
    master: Option<Address>,
}

impl Watches {
    /// Returns watches that are not wanted yet, or none where there are no sentinels.
    pub(super) fn new(settings: &Settings) -> Self {
        let watches = match &settings.address {
            Address::Sentinels(sentinels) => {
                let watch = |node| Watch::new(Arc::clone(sentinels), node);
                sentinels.in_turn().into_iter().map(watch).collect()
            }
            _ => Vec::new(),
        };
        Self { watches, master: None }
    }

    /// Wants them.
    pub(super) fn open(&mut self) {
        self.watches.iter_mut().for_each(|watch| watch.connection.open());
    }

    /// Drops them, and wants them no more.
    pub(super) fn close(&mut self) {
        self.master = None;
        self.watches.iter_mut().for_each(Watch::close);
    }

    /// Asks them for signs of life.
    pub(super) fn pulse(&mut self) {
        self.watches.iter_mut().for_each(Watch::pulse);
    }

    /// Becomes ready each time a sentinel says where the master is. To be polled until it is not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Master> {
        for watch in &mut self.watches {
            if let Poll::Ready(Told { address, announced }) = watch.poll(cx) {
                let sentinels = Arc::clone(&watch.sentinels);
                let mut master = Master { address, moved: false, announced, sentinels };
                master.moved = self.master.as_ref().is_some_and(|before| master.replaces(before));
                if master.moved || self.master.is_none() {
                    self.master = Some(master.address.clone());
                }
                if master.moved {
                    // The others may not have heard of it.
                    master.sentinels.prefer(&watch.node);
                }
                return Poll::Ready(master);
            }
        }
        Poll::Pending
    }
}

/// What a watched sentinel says.
struct Told {
    address: Address,
    announced: bool,
}

type Asking = Pin<Box<dyn Future<Output = Result<Option<Address>, String>> + Send>>;

/// The subscription to one sentinel.
struct Watch {
    sentinels: Arc<Sentinels>,
    node: Arc<Settings>,
    connection: Connection,
    /// Whether the subscription stands.
    stands: bool,
    /// What this sentinel said while the subscription did not hold has to be asked for.
    asking: Option<Asking>,
}

impl Watch {
    fn new(sentinels: Arc<Sentinels>, node: Arc<Settings>) -> Self {
        let backoff = Backoff::new(WATCH_BASE, WATCH_CAP);
        let connection = Connection::with_backoff(Arc::clone(&node), backoff);
        Self { sentinels, node, connection, stands: false, asking: None }
    }

    fn close(&mut self) {
        *self = Self::new(Arc::clone(&self.sentinels), Arc::clone(&self.node));
    }

    fn pulse(&mut self) {
        // Until the subscription stands an error is about that.
        if self.stands && self.connection.pulse() {
            write_names(self.connection.commands.commands(), "PING", []);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        loop {
            match self.advance(cx) {
                Ok(told) => return told,
                // Polled again for the timer of the next attempt.
                Err(_) => {
                    self.asking = None;
                    self.stands = false;
                    self.sentinels.note(&self.node, None);
                    self.connection.lose();
                }
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Result<Poll<Told>, Loss> {
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    write_names(self.connection.commands.commands(), "SUBSCRIBE", [SWITCH]);
                }
            }
        }
        self.connection.poll_flush(cx)?;
        loop {
            while let Some(reply) = self.connection.next_reply()? {
                match reply {
                    Reply::Message(message) => {
                        if let Some(address) = new_master(&self.sentinels.name, message.payload)? {
                            self.sentinels.note(&self.node, Some(address.clone()));
                            self.asking = None;
                            return Ok(Poll::Ready(Told { address, announced: true }));
                        }
                    }
                    Reply::Array(_) if self.stands => {}
                    Reply::Error(_) if self.stands => {}
                    Reply::Array(_) => {
                        self.stands = true;
                        let (sentinels, node) = (Arc::clone(&self.sentinels), Arc::clone(&self.node));
                        self.asking = Some(Box::pin(async move { sentinels.ask(&node).await }));
                    }
                    Reply::Error(error) => {
                        return Err(Loss::Refused(String::from_utf8_lossy(error).into_owned()));
                    }
                    _ => return Err(ProtocolError::Unexpected.into()),
                }
            }
            if let Some(asking) = &mut self.asking
                && let Poll::Ready(answer) = asking.as_mut().poll(cx)
            {
                self.asking = None;
                match answer {
                    Ok(Some(address)) => return Ok(Poll::Ready(Told { address, announced: false })),
                    // It tells when it comes to know one.
                    Ok(None) => {}
                    Err(problem) => return Err(Loss::Refused(problem)),
                }
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(filled) => filled?,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }
}

/// Returns where the master of this name is now: `name old-host old-port new-host new-port`, of any master.
fn new_master(name: &str, payload: &[u8]) -> Result<Option<Address>, ProtocolError> {
    let mut words = payload.split(|&byte| byte == b' ');
    if words.next() != Some(name.as_bytes()) {
        return Ok(None);
    }
    match (words.nth(2), words.next()) {
        (Some(host), Some(port)) => address(host, port).map(Some),
        _ => Err(ProtocolError::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_of_one_master() {
        let payload = b"mymaster 10.0.0.1 6379 10.0.0.2 6380";
        let expected = Address::Tcp { host: "10.0.0.2".to_owned(), port: 6380 };
        assert_eq!(new_master("mymaster", payload), Ok(Some(expected)));
        assert_eq!(new_master("my", payload), Ok(None));
        for payload in [&b"mymaster"[..], b"mymaster a 1 b", b"mymaster a 1 b 65536", b"mymaster a 1 \xff 1"]
        {
            assert_eq!(new_master("mymaster", payload), Err(ProtocolError::Unexpected));
        }
    }
}
