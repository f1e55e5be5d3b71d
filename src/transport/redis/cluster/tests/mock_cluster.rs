//! A cluster that a test plays: nodes that answer on their own, according to what each believes about the
//! slots.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::*;
use crate::transport::redis::connect::Settings;
use crate::transport::redis::slot::{SLOTS, Slot};
use crate::transport::resp::{Reply, Scanner};

/// A node as the test sees and changes it.
pub(super) struct MockNode {
    pub(super) port: u16,
    /// Ranges of slots with the indices of their nodes, master first.
    pub(super) view: Vec<(Slot, Slot, Vec<usize>)>,
    pub(super) epoch: u64,
    /// What CLUSTER SLOTS answers instead of the view. If it is empty, there is no answer.
    pub(super) slots: Option<Vec<u8>>,
    /// What each shard publish, and each command about a key, answers instead.
    pub(super) refusal: Option<&'static str>,
    /// What each count answers instead.
    pub(super) counting: Option<&'static str>,
    /// A script is running: the node refuses everything except HELLO.
    pub(super) busy: bool,
    /// It reads commands and does not answer.
    pub(super) hangs: bool,
    /// It refuses each subscription.
    pub(super) is_closed: bool,
    /// How many PINGs it answers, if not all.
    pub(super) pings: Option<u32>,
    /// It does not read until it is back, and then runs everything.
    pub(super) frozen: bool,
    /// The same for connections that have only sent publishes.
    pub(super) holds_back: bool,
    pub(super) subscribers: u64,
    /// What SPUBLISH answers if the node is the master.
    pub(super) receivers: u64,
    /// What HELLO answers instead of the role in the view.
    pub(super) hello: Option<&'static str>,
    /// All commands except those of the handshake.
    pub(super) log: Vec<String>,
    listeners: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    /// The connections that have sent XREAD.
    readers: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    task: AbortHandle,
}

pub(super) struct MockCluster {
    nodes: Arc<Mutex<Vec<MockNode>>>,
    _tasks: JoinSet<()>,
}

impl MockCluster {
    /// Starts as many nodes as `view` needs. All of them have this view.
    pub(super) async fn start(view: &[(Slot, Slot, &[usize])]) -> Self {
        let count = view.iter().flat_map(|(_, _, nodes)| nodes.iter()).max().unwrap() + 1;
        let nodes = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for index in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let task = tasks.spawn(accept(listener, index, Arc::clone(&nodes)));
            nodes.lock().unwrap().push(MockNode {
                port,
                view: Vec::new(),
                epoch: 1,
                slots: None,
                refusal: None,
                counting: None,
                busy: false,
                hangs: false,
                is_closed: false,
                pings: None,
                frozen: false,
                holds_back: false,
                subscribers: 0,
                receivers: 1,
                hello: None,
                log: Vec::new(),
                listeners: Vec::new(),
                readers: Vec::new(),
                task,
            });
        }
        let cluster = Self { nodes, _tasks: tasks };
        cluster.all_see(view);
        cluster
    }

    pub(super) fn nodes(&self) -> MutexGuard<'_, Vec<MockNode>> {
        self.nodes.lock().unwrap()
    }

    pub(super) fn all_see(&self, view: &[(Slot, Slot, &[usize])]) {
        for node in self.nodes().iter_mut() {
            node.see(view);
        }
    }

    /// Stops a node, and closes its connections.
    pub(super) fn kill(&self, index: usize) {
        let mut nodes = self.nodes();
        nodes[index].task.abort();
        nodes[index].listeners.clear();
        nodes[index].readers.clear();
    }

    /// Closes the connections of the subscribers of a node.
    pub(super) fn cut(&self, index: usize) {
        self.push(index, b"");
    }

    /// Sends something to all subscribers of a node.
    pub(super) fn push(&self, index: usize, bytes: &[u8]) {
        self.nodes()[index].listeners.retain(|listener| listener.send(bytes.to_vec()).is_ok());
    }

    /// Sends something to all readers of a node. If it is empty, closes their connections.
    pub(super) fn feed(&self, index: usize, bytes: &[u8]) {
        self.nodes()[index].readers.retain(|reader| reader.send(bytes.to_vec()).is_ok());
    }

    /// Returns how many subscribers are connected to a node.
    pub(super) fn listeners(&self, index: usize) -> usize {
        self.nodes()[index].listeners.iter().filter(|listener| !listener.is_closed()).count()
    }

    /// Returns how many readers a node has.
    pub(super) fn readers(&self, index: usize) -> usize {
        self.nodes()[index].readers.iter().filter(|reader| !reader.is_closed()).count()
    }

    pub(super) fn address(&self, index: usize) -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port: self.nodes()[index].port }
    }

    pub(super) fn settings(&self, seeds: &[usize]) -> ClusterSettings {
        let seeds: Vec<Address> = seeds.iter().map(|&index| self.address(index)).collect();
        ClusterSettings { base: Settings::default(), seeds, nat_map: Vec::new() }
    }

    /// Returns the commands of a node that begin with a word.
    pub(super) fn log(&self, index: usize, word: &str) -> Vec<String> {
        self.nodes()[index].log.iter().filter(|command| command.starts_with(word)).cloned().collect()
    }
}

impl MockNode {
    pub(super) fn see(&mut self, view: &[(Slot, Slot, &[usize])]) {
        self.view = view.iter().map(|(first, last, nodes)| (*first, *last, nodes.to_vec())).collect();
        self.epoch += 1;
    }
}

async fn accept(listener: TcpListener, index: usize, nodes: Arc<Mutex<Vec<MockNode>>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(serve(socket, index, Arc::clone(&nodes)));
    }
}

async fn serve(mut socket: TcpStream, index: usize, nodes: Arc<Mutex<Vec<MockNode>>>) {
    let (listener, mut pushes) = mpsc::unbounded_channel::<Vec<u8>>();
    let mut input = Vec::new();
    loop {
        while let Ok(Some(len)) = Scanner::default().scan(&input) {
            let command = words(&input[..len]);
            input.drain(..len);
            let waits = |node: &MockNode| node.frozen || (node.holds_back && command[0] == "SPUBLISH");
            while waits(&nodes.lock().unwrap()[index]) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let reply = answer(&command, index, &mut nodes.lock().unwrap(), &listener);
            if socket.write_all(&reply).await.is_err() {
                return;
            }
        }
        tokio::select! {
            read = socket.read_buf(&mut input) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
            Some(push) = pushes.recv() => {
                if push.is_empty() || socket.write_all(&push).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn words(command: &[u8]) -> Vec<String> {
    let Ok(Reply::Array(items)) = Reply::of(command) else {
        panic!("not a command");
    };
    let text = |item| match item {
        Reply::Bulk(bulk) => String::from_utf8_lossy(bulk).into_owned(),
        other => panic!("not an argument: {other:?}"),
    };
    items.map(text).collect()
}

pub(super) fn bulks(parts: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len());
    for part in parts {
        out += &format!("${}\r\n{part}\r\n", part.len());
    }
    out.into_bytes()
}

/// A push with one name and a number, as in a confirmation.
pub(super) fn confirmation(verb: &str, name: &str) -> Vec<u8> {
    format!("*3\r\n${}\r\n{verb}\r\n${}\r\n{name}\r\n:1\r\n", verb.len(), name.len()).into_bytes()
}

fn answer(
    command: &[String],
    index: usize,
    nodes: &mut [MockNode],
    listener: &mpsc::UnboundedSender<Vec<u8>>,
) -> Vec<u8> {
    if nodes[index].busy && command[0] != "HELLO" {
        return b"-BUSY Redis is busy running a script.\r\n".to_vec();
    }
    if command[0] == "PING" {
        let pings = nodes[index].pings;
        nodes[index].pings = pings.map(|left| left.saturating_sub(1));
        return if pings == Some(0) { Vec::new() } else { b"+PONG\r\n".to_vec() };
    }
    let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
    let node = &mut nodes[index];
    node.log.push(command.join(" "));
    if node.hangs {
        return Vec::new();
    }
    let is_replica =
        node.view.iter().any(|(_, _, owners)| owners.iter().skip(1).any(|&owner| owner == index));
    let owns_here = |name: &str| {
        let slot = slot_of(name.as_bytes());
        node.view
            .iter()
            .any(|(first, last, owners)| (*first..=*last).contains(&slot) && owners.contains(&index))
    };
    let moved = |name: &str| {
        let slot = slot_of(name.as_bytes());
        let range = node.view.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        match range {
            Some((_, _, owners)) if owners[0] == index => None,
            Some((_, _, owners)) => Some(format!("-MOVED {slot} 127.0.0.1:{}\r\n", ports[owners[0]])),
            None => Some("-CLUSTERDOWN Hash slot not served\r\n".to_owned()),
        }
    };
    match (command[0].as_str(), command.get(1).map_or("", String::as_str)) {
        ("HELLO", _) => node.hello.map_or_else(
            || bulks(&["server", "redis", "role", if is_replica { "replica" } else { "master" }]),
            |hello| hello.as_bytes().to_vec(),
        ),
        ("CLUSTER", "INFO") => {
            let covered: u32 = node.view.iter().map(|(first, last, _)| u32::from(last - first) + 1).sum();
            let state = if covered == u32::from(SLOTS) { "ok" } else { "fail" };
            let info = format!("cluster_state:{state}\r\ncluster_current_epoch:{}\r\n", node.epoch);
            format!("${}\r\n{info}\r\n", info.len()).into_bytes()
        }
        ("CLUSTER", "SLOTS") => node.slots.clone().unwrap_or_else(|| slots(&node.view, &ports)),
        ("PUBLISH", _) => b":1\r\n".to_vec(),
        ("SPUBLISH", channel) => {
            // A replica accepts it as its master does.
            let error =
                node.refusal.map(str::to_owned).or_else(|| moved(channel).filter(|_| !owns_here(channel)));
            let receivers = if moved(channel).is_some() { 0 } else { node.receivers };
            error.unwrap_or_else(|| format!(":{receivers}\r\n")).into_bytes()
        }
        ("XADD", key) => {
            let error = node.refusal.map(str::to_owned).or_else(|| moved(key));
            error.unwrap_or_else(|| "$3\r\n1-0\r\n".to_owned()).into_bytes()
        }
        // XREAD blocks.
        ("XREAD", _) => {
            let error = moved(&command[2]);
            if error.is_none() && !node.readers.iter().any(|known| known.same_channel(listener)) {
                node.readers.push(listener.clone());
            }
            error.unwrap_or_default().into_bytes()
        }
        ("PUBSUB", _) if node.counting.is_some() => node.counting.unwrap_or_default().as_bytes().to_vec(),
        ("PUBSUB", _) => {
            let channels = &command[2..];
            let mut out = format!("*{}\r\n", 2 * channels.len());
            for channel in channels {
                out += &format!("${}\r\n{channel}\r\n:{}\r\n", channel.len(), node.subscribers);
            }
            out.into_bytes()
        }
        ("SSUBSCRIBE", name) if moved(name).is_some() && !owns_here(name) => {
            moved(name).unwrap_or_default().into_bytes()
        }
        ("SUBSCRIBE", _) if node.is_closed => b"-NOPERM no\r\n".to_vec(),
        ("SSUBSCRIBE" | "SUNSUBSCRIBE" | "SUBSCRIBE" | "UNSUBSCRIBE" | "PSUBSCRIBE", _) => {
            if !node.listeners.iter().any(|known| known.same_channel(listener)) {
                node.listeners.push(listener.clone());
            }
            let verb = command[0].to_lowercase();
            command[1..].iter().flat_map(|name| confirmation(&verb, name)).collect()
        }
        other => panic!("unknown command {other:?}"),
    }
}

fn slots(view: &[(Slot, Slot, Vec<usize>)], ports: &[u16]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", view.len());
    for (first, last, nodes) in view {
        out += &format!("*{}\r\n:{first}\r\n:{last}\r\n", 2 + nodes.len());
        for &node in nodes {
            out += &format!("*3\r\n$9\r\n127.0.0.1\r\n:{}\r\n$2\r\nid\r\n", ports[node]);
        }
    }
    out.into_bytes()
}
