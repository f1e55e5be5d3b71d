//! A Redis of the tests: a hub in memory, with switches for the faults that a real one has.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tokio::sync::Notify;

use super::{Incoming, KeyCommand, Lane, Outcome, Subscription, SubscriptionKind, Transport};

#[derive(Debug)]
enum Owned {
    Up,
    Down(u64),
    Subscribed(Lane, Subscription),
    Unsubscribed(Lane, Subscription),
    LaneDown(Lane),
    Message(Lane, Subscription, Vec<u8>, Vec<u8>),
    Published(u64),
    Returned(Vec<u8>, Vec<u8>),
    Counted(u64, Option<Vec<u64>>),
    NotRun(u64),
}

#[derive(Debug, Default)]
struct Node {
    lanes: Vec<BTreeSet<Subscription>>,
    events: VecDeque<Owned>,
    changed: Rc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Node>,
    down: bool,
    /// Channels whose slot is elsewhere: publishes to them come back.
    moved: BTreeSet<Vec<u8>>,
}

/// The server. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    state: Rc<RefCell<State>>,
}

impl Hub {
    /// A node's transport, connected if the hub is up.
    pub fn connect(&self) -> MemoryTransport {
        let mut state = self.state.borrow_mut();
        let mut node = Node::default();
        node.events.push_back(if state.down { Owned::Down(0) } else { Owned::Up });
        let changed = Rc::clone(&node.changed);
        state.nodes.push(node);
        MemoryTransport { hub: self.clone(), node: state.nodes.len() - 1, changed }
    }

    /// Kills the server: all connections are lost.
    pub fn kill(&self) {
        let mut state = self.state.borrow_mut();
        state.down = true;
        for node in &mut state.nodes {
            // What was not read is lost with the connection.
            node.events.clear();
            node.events.push_back(Owned::Down(0));
            for lane in 0..node.lanes.len() {
                node.events.push_back(Owned::LaneDown(lane));
            }
            node.changed.notify_one();
        }
    }

    /// Starts it again: the given nodes come back, and subscribe anew.
    pub fn revive(&self, nodes: &[usize]) {
        let mut state = self.state.borrow_mut();
        state.down = false;
        for &index in nodes {
            let node = &mut state.nodes[index];
            node.events.push_back(Owned::Up);
            for (lane, names) in node.lanes.iter().enumerate() {
                for name in names {
                    node.events.push_back(Owned::Subscribed(lane, name.clone()));
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
            for (lane, names) in node.lanes.iter().enumerate() {
                let lost = names.iter().filter(|name| name.name == channel.as_bytes());
                node.events.extend(lost.map(|name| Owned::Unsubscribed(lane, name.clone())));
            }
            node.changed.notify_one();
        }
    }

    /// The connections have found the slot again: a node has its subscription back, and its publishes pass.
    pub fn follow(&self, node: usize, channel: &str) {
        let mut state = self.state.borrow_mut();
        state.moved.remove(channel.as_bytes());
        let node = &mut state.nodes[node];
        for (lane, names) in node.lanes.iter().enumerate() {
            let found = names.iter().filter(|name| name.name == channel.as_bytes());
            node.events.extend(found.map(|name| Owned::Subscribed(lane, name.clone())));
        }
        node.changed.notify_one();
    }

    /// What a node is subscribed to.
    pub fn names(&self, node: usize) -> Vec<String> {
        let state = self.state.borrow();
        let names = state.nodes[node].lanes.iter().flatten();
        names.map(|name| String::from_utf8_lossy(&name.name).into_owned()).collect()
    }

    /// Publishes as a foreign client would.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> u64 {
        let mut state = self.state.borrow_mut();
        let mut receivers = 0;
        for node in &mut state.nodes {
            for (lane, names) in node.lanes.iter().enumerate() {
                for name in names {
                    let concerned = match name.kind {
                        SubscriptionKind::Pattern => matches(&name.name, channel),
                        SubscriptionKind::Channel | SubscriptionKind::Shard => name.name == channel,
                    };
                    if !concerned {
                        continue;
                    }
                    receivers += 1;
                    let message = Owned::Message(lane, name.clone(), channel.to_vec(), payload.to_vec());
                    node.events.push_back(message);
                    node.changed.notify_one();
                }
            }
        }
        receivers
    }

    fn count(&self, channel: &[u8]) -> u64 {
        let state = self.state.borrow();
        let lanes = state.nodes.iter().flat_map(|node| &node.lanes);
        lanes
            .filter(|names| {
                names.iter().any(|name| name.kind != SubscriptionKind::Pattern && name.name == channel)
            })
            .count() as u64
    }
}

/// The globs of these tests end in a star and may escape characters.
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
        self.hub.state.borrow_mut().nodes[self.node].events.push_back(event);
        self.changed.notify_one();
    }

    fn is_down(&self) -> bool {
        self.hub.state.borrow().down
    }
}

impl Transport for MemoryTransport {
    fn has_lanes(&self) -> bool {
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

    fn subscribe(&mut self, lane: Lane, names: Vec<Subscription>) {
        let down = self.is_down();
        for name in names {
            {
                let lanes = &mut self.hub.state.borrow_mut().nodes[self.node].lanes;
                if lanes.len() <= lane {
                    lanes.resize_with(lane + 1, BTreeSet::new);
                }
                lanes[lane].insert(name.clone());
            }
            if !down {
                self.push(Owned::Subscribed(lane, name));
            }
        }
    }

    fn unsubscribe(&mut self, lane: Lane, names: Vec<Subscription>) {
        let mut state = self.hub.state.borrow_mut();
        for name in names {
            state.nodes[self.node].lanes[lane].remove(&name);
        }
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        let counts =
            (!self.is_down()).then(|| channels.iter().map(|channel| self.hub.count(channel)).collect());
        self.push(Owned::Counted(token, counts));
    }

    fn command(&mut self, command: KeyCommand) {
        self.push(Owned::NotRun(command.token));
    }

    fn close_reader(&mut self, _reader: usize) {}

    fn pause(&mut self, _paused: bool) {}

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        loop {
            let event = self.hub.state.borrow_mut().nodes[self.node].events.pop_front();
            let Some(event) = event else {
                self.changed.notified().await;
                continue;
            };
            match &event {
                Owned::Up => sink(Incoming::Up),
                Owned::Down(unwritten) => {
                    sink(Incoming::Down { reason: "killed", unanswered: 0, unwritten: *unwritten });
                }
                Owned::LaneDown(lane) => sink(Incoming::LaneDown { lane: *lane, reason: "killed" }),
                Owned::Subscribed(lane, Subscription { kind, name }) => {
                    sink(Incoming::Subscribed { lane: *lane, kind: *kind, name });
                }
                Owned::Message(lane, Subscription { kind, name }, channel, payload) => {
                    sink(Incoming::Message { lane: *lane, kind: *kind, name, channel, payload })
                }
                Owned::Unsubscribed(lane, Subscription { kind, name }) => {
                    sink(Incoming::Unsubscribed { lane: *lane, kind: *kind, name, reason: "moved" });
                }
                Owned::Returned(channel, payload) => sink(Incoming::Returned { channel, payload }),
                Owned::Published(receivers) => sink(Incoming::Published { receivers: *receivers }),
                Owned::Counted(token, counts) => {
                    sink(Incoming::Counted { token: *token, counts: counts.as_deref() });
                }
                &Owned::NotRun(token) => {
                    sink(Incoming::Replied { token, outcome: Outcome::NotRun { reason: "no streams" } });
                }
            }
            return;
        }
    }
}
