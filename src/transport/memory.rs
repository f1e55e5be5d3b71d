//! The Redis of the tests: a hub in memory that can simulate the faults of a real one.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tokio::sync::Notify;

use super::memory_streams::Keys;
use super::resp::Reply;
use super::{
    Args, Incoming, KeyCommand, Outcome, Port, Subscriber, Subscription, SubscriptionKind, Transport,
};

#[derive(Debug)]
enum Owned {
    Up,
    Down(u64),
    Subscribed(Subscriber, Subscription),
    Unsubscribed(Subscriber, Subscription),
    SubscriberDown(Subscriber),
    Message(Subscriber, Subscription, Vec<u8>, Vec<u8>),
    Published(u64),
    Returned(Vec<u8>, Vec<u8>),
    Counted(u64, Option<Vec<u64>>),
    Replied(u64, Vec<u8>),
    NotRun(u64),
    Lost(u64),
}

#[derive(Debug, Default)]
struct MemoryNode {
    subscribers: Vec<BTreeSet<Subscription>>,
    /// The node has lost its connections and is not back yet: it receives nothing, and is not counted.
    away: bool,
    events: VecDeque<Owned>,
    /// The reply to the next entry that it adds is lost, together with the connection.
    loses_reply: bool,
    /// That connection is lost. It is back after everything was reported.
    cut: bool,
    changed: Rc<Notify>,
}

#[derive(Debug, Default)]
struct HubState {
    nodes: Vec<MemoryNode>,
    down: bool,
    /// Channels whose slot has moved: publishes to them come back.
    moved: BTreeSet<Vec<u8>>,
    keys: Keys,
    /// Commands that block, and those behind them, each with its node.
    pending: Vec<(usize, KeyCommand)>,
}

impl HubState {
    /// Runs what does not block, until nothing changes any more.
    fn settle(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            let mut blocked: BTreeSet<(usize, Port)> = BTreeSet::new();
            for (node, command) in std::mem::take(&mut self.pending) {
                let place = (node, command.port);
                let reply = if blocked.contains(&place) { None } else { self.keys.run(&command.args) };
                let Some(reply) = reply else {
                    blocked.insert(place);
                    self.pending.push((node, command));
                    continue;
                };
                moved = true;
                self.nodes[node].answer(&command, reply);
            }
        }
    }

    /// Ends the commands that match as lost.
    fn lose(&mut self, lost: impl Fn(usize, Port) -> bool) {
        for (node, command) in std::mem::take(&mut self.pending) {
            if lost(node, command.port) {
                self.nodes[node].push(Owned::Lost(command.token));
            } else {
                self.pending.push((node, command));
            }
        }
    }
}

impl MemoryNode {
    fn push(&mut self, event: Owned) {
        self.events.push_back(event);
        self.changed.notify_one();
    }

    fn answer(&mut self, command: &KeyCommand, reply: Vec<u8>) {
        let adds = command.port == Port::Shared && command.args.get(0) == b"XADD";
        if adds && std::mem::take(&mut self.loses_reply) {
            self.cut = true;
            self.push(Owned::Down(0));
            self.push(Owned::Lost(command.token));
        } else {
            self.push(Owned::Replied(command.token, reply));
        }
    }
}

/// The server. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    state: Rc<RefCell<HubState>>,
}

impl Hub {
    /// A node's transport, connected if the hub is up.
    pub fn connect(&self) -> MemoryTransport {
        let mut state = self.state.borrow_mut();
        let mut node = MemoryNode { away: state.down, ..MemoryNode::default() };
        node.events.push_back(if state.down { Owned::Down(0) } else { Owned::Up });
        let changed = Rc::clone(&node.changed);
        state.nodes.push(node);
        MemoryTransport { hub: self.clone(), node: state.nodes.len() - 1, changed }
    }

    /// Kills the server: all connections are lost. It keeps its keys.
    pub fn kill(&self) {
        let mut state = self.state.borrow_mut();
        state.down = true;
        for node in &mut state.nodes {
            // What was not read is lost with the connection. Commands end all the same.
            let unread = std::mem::take(&mut node.events);
            node.cut = false;
            node.away = true;
            node.events.push_back(Owned::Down(0));
            node.events.extend(unread.into_iter().filter_map(|event| match event {
                Owned::Replied(token, _) => Some(Owned::Lost(token)),
                Owned::NotRun(_) | Owned::Lost(_) => Some(event),
                _ => None,
            }));
            for subscriber in 0..node.subscribers.len() {
                node.events.push_back(Owned::SubscriberDown(subscriber));
            }
            node.changed.notify_one();
        }
        state.lose(|_, _| true);
    }

    /// Kills the connections of a node's readers.
    pub fn cut_readers(&self, node: usize) {
        self.state.borrow_mut().lose(|of, port| of == node && port != Port::Shared);
    }

    /// The next entry of a node is added, but the node loses its connection before the reply.
    pub fn lose_reply(&self, node: usize) {
        self.state.borrow_mut().nodes[node].loses_reply = true;
    }

    /// Runs a command about a key as another client would, and returns the reply.
    pub fn run(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut state = self.state.borrow_mut();
        let reply = state.keys.run(&Args::of(parts)).expect("it blocks");
        state.settle();
        reply
    }

    /// Starts the server again: the given nodes come back, and subscribe again.
    pub fn revive(&self, nodes: &[usize]) {
        let mut state = self.state.borrow_mut();
        state.down = false;
        for &index in nodes {
            let node = &mut state.nodes[index];
            node.away = false;
            node.events.push_back(Owned::Up);
            for (subscriber, names) in node.subscribers.iter().enumerate() {
                for name in names {
                    node.events.push_back(Owned::Subscribed(subscriber, name.clone()));
                }
            }
            node.changed.notify_one();
        }
    }

    /// A slot moves: nobody is subscribed to this channel any more, and publishes to it come back, until
    /// [`Hub::follow`].
    pub fn move_away(&self, channel: &str) {
        let mut state = self.state.borrow_mut();
        state.moved.insert(channel.into());
        for node in &mut state.nodes {
            for (subscriber, names) in node.subscribers.iter().enumerate() {
                let lost = names.iter().filter(|name| *name.name == *channel.as_bytes());
                node.events.extend(lost.map(|name| Owned::Unsubscribed(subscriber, name.clone())));
            }
            node.changed.notify_one();
        }
    }

    /// The connections have found the slot again: a node has its subscription back, and its publishes are
    /// accepted.
    pub fn follow(&self, node: usize, channel: &str) {
        let mut state = self.state.borrow_mut();
        state.moved.remove(channel.as_bytes());
        let node = &mut state.nodes[node];
        for (subscriber, names) in node.subscribers.iter().enumerate() {
            let found = names.iter().filter(|name| *name.name == *channel.as_bytes());
            node.events.extend(found.map(|name| Owned::Subscribed(subscriber, name.clone())));
        }
        node.changed.notify_one();
    }

    /// Returns what a node is subscribed to.
    pub fn names(&self, node: usize) -> Vec<String> {
        let state = self.state.borrow();
        let names = state.nodes[node].subscribers.iter().flatten();
        names.map(|name| String::from_utf8_lossy(&name.name).into_owned()).collect()
    }

    /// Publishes as another client would.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> u64 {
        let mut state = self.state.borrow_mut();
        let mut receivers = 0;
        for node in state.nodes.iter_mut().filter(|node| !node.away) {
            for (subscriber, names) in node.subscribers.iter().enumerate() {
                for name in names {
                    let concerned = match name.kind {
                        SubscriptionKind::Pattern => matches(&name.name, channel),
                        SubscriptionKind::Channel | SubscriptionKind::Shard => *name.name == *channel,
                    };
                    if !concerned {
                        continue;
                    }
                    receivers += 1;
                    let message =
                        Owned::Message(subscriber, name.clone(), channel.to_vec(), payload.to_vec());
                    node.events.push_back(message);
                    node.changed.notify_one();
                }
            }
        }
        receivers
    }

    fn count(&self, channel: &[u8]) -> u64 {
        let state = self.state.borrow();
        let subscribers = state.nodes.iter().filter(|node| !node.away).flat_map(|node| &node.subscribers);
        subscribers
            .filter(|names| {
                names.iter().any(|name| name.kind != SubscriptionKind::Pattern && *name.name == *channel)
            })
            .count() as u64
    }
}

/// The globs of these tests end with a star, and may contain escaped characters.
fn matches(glob: &[u8], channel: &[u8]) -> bool {
    let fixed: Vec<u8> = glob[..glob.len() - 1].iter().copied().filter(|&byte| byte != b'\\').collect();
    channel.starts_with(&fixed)
}

/// A node's connection to a [`Hub`].
#[derive(Debug)]
pub struct MemoryTransport {
    hub: Hub,
    node: usize,
    changed: Rc<Notify>,
}

impl MemoryTransport {
    fn push(&self, event: Owned) {
        self.hub.state.borrow_mut().nodes[self.node].push(event);
    }

    fn is_down(&self) -> bool {
        let state = self.hub.state.borrow();
        let node = &state.nodes[self.node];
        state.down || node.away || node.cut
    }
}

impl Transport for MemoryTransport {
    fn opens_subscribers(&self) -> bool {
        true
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        if self.is_down() {
            return self.push(Owned::Down(1));
        }
        if self.hub.state.borrow().moved.contains(channel) {
            return self.push(Owned::Returned(channel.to_vec(), payload.to_vec()));
        }
        let receivers = self.hub.publish(channel, payload);
        self.push(Owned::Published(receivers));
    }

    fn unwritten(&self) -> usize {
        0
    }

    fn subscribe(&mut self, subscriber: Subscriber, names: Vec<Subscription>) {
        let down = self.is_down();
        for name in names {
            {
                let subscribers = &mut self.hub.state.borrow_mut().nodes[self.node].subscribers;
                if subscribers.len() <= subscriber {
                    subscribers.resize_with(subscriber + 1, BTreeSet::new);
                }
                subscribers[subscriber].insert(name.clone());
            }
            if !down {
                self.push(Owned::Subscribed(subscriber, name));
            }
        }
    }

    fn unsubscribe(&mut self, subscriber: Subscriber, names: Vec<Subscription>) {
        let mut state = self.hub.state.borrow_mut();
        for name in names {
            state.nodes[self.node].subscribers[subscriber].remove(&name);
        }
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        let counts =
            (!self.is_down()).then(|| channels.iter().map(|channel| self.hub.count(channel)).collect());
        self.push(Owned::Counted(token, counts));
    }

    fn command(&mut self, command: KeyCommand) {
        // Readers have other connections.
        let down = if command.port == Port::Shared { self.is_down() } else { self.hub.state.borrow().down };
        if down {
            return self.push(Owned::NotRun(command.token));
        }
        let mut state = self.hub.state.borrow_mut();
        state.pending.push((self.node, command));
        state.settle();
    }

    fn close_reader(&mut self, reader: usize) {
        let pending = &mut self.hub.state.borrow_mut().pending;
        pending.retain(|(node, command)| (*node, command.port) != (self.node, Port::Reader(reader)));
    }

    fn pause(&mut self, _paused: bool) {}

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        loop {
            let event = {
                let node = &mut self.hub.state.borrow_mut().nodes[self.node];
                let back = || std::mem::take(&mut node.cut).then_some(Owned::Up);
                node.events.pop_front().or_else(back)
            };
            let Some(event) = event else {
                self.changed.notified().await;
                continue;
            };
            match &event {
                Owned::Up => sink(Incoming::Up),
                Owned::Down(unwritten) => {
                    sink(Incoming::Down { reason: "killed", unanswered: 0, unwritten: *unwritten });
                }
                Owned::SubscriberDown(subscriber) => {
                    sink(Incoming::SubscriberDown { subscriber: *subscriber, reason: "killed", silence: 0 })
                }
                Owned::Subscribed(subscriber, Subscription { kind, name }) => {
                    sink(Incoming::Subscribed { subscriber: *subscriber, kind: *kind, name });
                }
                Owned::Message(subscriber, Subscription { kind, name }, channel, payload) => {
                    sink(Incoming::Message { subscriber: *subscriber, kind: *kind, name, channel, payload })
                }
                Owned::Unsubscribed(subscriber, Subscription { kind, name }) => {
                    sink(Incoming::Unsubscribed {
                        subscriber: *subscriber,
                        kind: *kind,
                        name,
                        reason: "moved",
                        silence: 0,
                    });
                }
                Owned::Returned(channel, payload) => sink(Incoming::Returned { channel, payload }),
                Owned::Published(receivers) => sink(Incoming::Published { receivers: *receivers }),
                Owned::Counted(token, counts) => {
                    sink(Incoming::Counted { token: *token, counts: counts.as_deref() });
                }
                &Owned::NotRun(token) => {
                    sink(Incoming::Replied { token, outcome: Outcome::NotRun { reason: "killed" } });
                }
                &Owned::Lost(token) => {
                    sink(Incoming::Replied { token, outcome: Outcome::Lost { reason: "killed" } });
                }
                Owned::Replied(token, reply) => {
                    let outcome = Outcome::Replied(Reply::of(reply).unwrap());
                    sink(Incoming::Replied { token: *token, outcome });
                }
            }
            return;
        }
    }
}
