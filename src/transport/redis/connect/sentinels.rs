//! Sentinels are asked one after the other who the master is.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use super::loss::Loss;
use super::open::{Connected, open_at};
use super::settings::{Role, Settings};
use crate::transport::resp::{ProtocolError, Reply};

/// How long one sentinel has to answer before the next is asked. They answer in milliseconds, and the first
/// of three may run on the very host that is down.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The sentinels of one master.
pub struct Sentinels {
    name: String,
    /// A sentinel moves to the front if the master that it named could be used. It moves to the end if it did
    /// not answer, or named a node that could not be used.
    nodes: Mutex<VecDeque<Sentinel>>,
    /// How to speak to each of them.
    settings: Settings,
}

struct Sentinel {
    address: Arc<Address>,
    /// The master that it named last, unless its subscription was lost since.
    said: Option<Address>,
}

impl Sentinels {
    /// Returns the sentinels at `addresses`, which know a master by `name`.
    pub fn new(
        name: impl Into<String>,
        addresses: impl IntoIterator<Item = Address>,
        settings: Settings,
    ) -> Self {
        let node = |address| Sentinel { address: Arc::new(address), said: None };
        Self { name: name.into(), nodes: Mutex::new(addresses.into_iter().map(node).collect()), settings }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks one sentinel after the other for the master. Drop the answer if the master cannot be used: the
    /// next attempt then asks another sentinel first.
    ///
    /// # Errors
    /// [`Loss::NoMaster`] if none of them knows it.
    pub(crate) async fn master(self: &Arc<Self>) -> Result<NamedMaster, Loss> {
        let mut problem = "there are none".to_owned();
        for node in self.in_turn() {
            problem = match self.ask(&node).await {
                Ok(Some(master)) => {
                    return Ok(NamedMaster {
                        address: master,
                        sentinels: Arc::clone(self),
                        by: node,
                        good: false,
                    });
                }
                Ok(None) => format!("{node} does not know it"),
                Err(problem) => problem,
            };
            self.put_last(&node);
        }
        Err(Loss::NoMaster { name: self.name.clone(), problem })
    }

    /// Asks one sentinel, and stores its answer; `None` if it does not know the master.
    pub(crate) async fn ask(&self, node: &Arc<Address>) -> Result<Option<Address>, String> {
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, ask(node, &self.settings, &self.name)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(loss)) => return Err(loss.to_string()),
            Err(_) => return Err(format!("{node} does not answer")),
        };
        self.note(node, answer.clone());
        Ok(answer)
    }

    /// Stores what a sentinel says.
    pub(crate) fn note(&self, node: &Arc<Address>, said: Option<Address>) {
        if let Some(node) = self.nodes().iter_mut().find(|other| Arc::ptr_eq(&other.address, node)) {
            node.said = said;
        }
    }

    /// Returns how many sentinels name this address.
    pub(crate) fn votes(&self, address: &Address) -> usize {
        self.nodes().iter().filter(|node| node.said.as_ref() == Some(address)).count()
    }

    pub(crate) fn in_turn(&self) -> Vec<Arc<Address>> {
        self.nodes().iter().map(|node| Arc::clone(&node.address)).collect()
    }

    pub(crate) fn prefer(&self, node: &Arc<Address>) {
        let mut nodes = self.nodes();
        if let Some(node) = take(&mut nodes, node) {
            nodes.push_front(node);
        }
    }

    fn put_last(&self, node: &Arc<Address>) {
        let mut nodes = self.nodes();
        if let Some(node) = take(&mut nodes, node) {
            nodes.push_back(node);
        }
    }

    fn nodes(&self) -> MutexGuard<'_, VecDeque<Sentinel>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(nodes: &mut VecDeque<Sentinel>, node: &Arc<Address>) -> Option<Sentinel> {
    let place = nodes.iter().position(|other| Arc::ptr_eq(&other.address, node))?;
    nodes.remove(place)
}

/// The master that a sentinel named.
pub(crate) struct NamedMaster {
    pub(crate) address: Address,
    sentinels: Arc<Sentinels>,
    by: Arc<Address>,
    good: bool,
}

impl NamedMaster {
    /// The master could be used.
    pub(crate) fn was_right(mut self) {
        self.good = true;
    }
}

impl Drop for NamedMaster {
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
async fn ask(node: &Address, settings: &Settings, name: &str) -> Result<Option<Address>, Loss> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let connected = open_at(node, settings, Role::Any, deadline).await?;
    let Connected { mut socket, mut replies, .. } = connected;
    let question = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).get_packed_command();
    socket.write_all(&question).await.map_err(Loss::Io)?;
    loop {
        match replies.next_reply()? {
            Some(Reply::Array(mut items)) => {
                let (host, port) = (items.next_bulk(), items.next_bulk());
                return match (host, port) {
                    (Some(host), Some(port)) => Ok(Some(parse_address(host, port)?)),
                    _ => Err(ProtocolError::Unexpected.into()),
                };
            }
            Some(Reply::Nil) => return Ok(None),
            Some(Reply::Error(error)) => {
                return Err(Loss::Refused(String::from_utf8_lossy(error).into_owned()));
            }
            Some(_) => return Err(ProtocolError::Unexpected.into()),
            None => std::future::poll_fn(|cx| socket.poll_fill(cx, &mut replies)).await?,
        }
    }
}

pub(crate) fn parse_address(host: &[u8], port: &[u8]) -> Result<Address, ProtocolError> {
    let host = std::str::from_utf8(host).map_err(|_| ProtocolError::Unexpected)?.to_owned();
    let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    Ok(Address::Tcp { host, port: port.ok_or(ProtocolError::Unexpected)? })
}
