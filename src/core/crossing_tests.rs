//! The way back to own connections, message by message.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::effects::{Change, Effects, Kind};
use super::member::{MemberSpec, SubscriptionMode};
use super::{Config, Core};
use crate::transport::{Incoming, Lane, Subscription};
use crate::wire::Family;

const SECRET: &str = "s3cret";
const MARK: &str = r#"{"type":0,"mark":"s3cret"}"#;
const PROOF: &str = r#"{"type":0,"proof":"s3cret"}"#;

/// A link by the user's clients that is about to have own connections.
struct Crossing {
    family: Family,
    core: Core,
    fx: Effects,
    /// What the own connections listen to.
    own: Vec<(Lane, Subscription)>,
    told: Vec<String>,
    published: usize,
}

impl Crossing {
    /// `servers` of the same namespace share the clients.
    fn begin(servers: u32) -> Self {
        Self::begin_in(Family::Classic, servers, &[])
    }

    /// The same in any family, with rooms in which each server has a socket.
    fn begin_in(family: Family, servers: u32, rooms: &[&str]) -> Self {
        let config =
            Config { family, max_backlog: 1 << 20, settle: Duration::ZERO, proof: None, verbose: false };
        let core = Core::new(config, false);
        let mut it = Crossing {
            family,
            core,
            fx: Effects::new(Instant::now()),
            own: Vec::new(),
            told: Vec::new(),
            published: 0,
        };
        for id in 1..=servers {
            it.core.join(id, spec(id), &mut it.fx);
            if let Some(interest) = it.core.interest(id) {
                interest.set_occupied(true);
            }
            rooms.iter().for_each(|room| it.core.set_room(id, room.as_bytes(), true));
        }
        it.core.follow_rooms(&mut it.fx);
        it.core.incoming(Incoming::Up, &mut it.fx);
        it.confirm_to_clients();
        it.core.begin_crossing(SECRET, &mut it.fx);
        it.step();
        it
    }

    /// What the driver does.
    fn step(&mut self) {
        self.core.follow_rooms(&mut self.fx);
        self.core.advance_crossing(&mut self.fx);
        for (lane, change, name) in std::mem::take(&mut self.fx.own_subscriptions) {
            assert_eq!(change, Change::Add);
            assert!(!self.own.contains(&(lane, name.clone())), "{name:?} twice");
            self.own.push((lane, name));
        }
        if self.core.is_across() {
            self.core.cross(&mut self.fx);
        }
        self.core.release(1 << 20, &mut self.fx);
        for _ in 0..self.fx.publishes.len() {
            self.published += 1;
            self.core.incoming(Incoming::Published { receivers: 1 }, &mut self.fx);
        }
        self.fx.publishes.clear();
        for (token, channels) in std::mem::take(&mut self.fx.counts) {
            let counts = vec![1; channels.len()];
            self.core.incoming(Incoming::Counted { token, counts: Some(&counts) }, &mut self.fx);
        }
        let batch = std::mem::take(&mut self.fx.batch);
        for record in batch.records {
            let text = String::from_utf8_lossy(&batch.bytes[record.parts[0].clone()]).into_owned();
            if record.kind == Kind::Event as u8 {
                self.told.push(text);
            } else if record.kind == Kind::Frame as u8 {
                let text = &batch.bytes[record.parts[1].clone()];
                self.told.push(format!("{}: {}", record.member, String::from_utf8_lossy(text)));
            }
        }
    }

    /// Redis confirms what the own connections have asked for since.
    fn confirm(&mut self, from: usize) {
        for (lane, name) in self.own.clone().into_iter().skip(from) {
            self.core.incoming_own(
                &Incoming::Subscribed { lane, kind: name.kind, name: &name.name },
                &mut self.fx,
            );
        }
        self.step();
    }

    /// Redis confirms what the carrier has asked for.
    fn confirm_to_clients(&mut self) {
        for (lane, change, name) in std::mem::take(&mut self.fx.subscriptions) {
            if change == Change::Add {
                let confirmed = Incoming::Subscribed { lane, kind: name.kind, name: &name.name };
                self.core.incoming(confirmed, &mut self.fx);
            }
        }
    }

    /// Until the mark is to be published.
    fn reach_the_mark(&mut self) {
        self.core.incoming_own(&Incoming::Up, &mut self.fx);
        self.confirm(0);
        assert!(self.has_told(PROOF));
        self.by_own(0, PROOF);
        assert!(self.has_told("drain"));
        self.core.clients_drained(SECRET);
        let from = self.own.len();
        self.step();
        self.confirm(from);
        assert!(self.has_told(MARK), "{:?}", self.told);
    }

    fn has_told(&self, what: &str) -> bool {
        self.told.iter().any(|text| text.replace('\\', "").contains(what))
    }

    /// What was delivered, to which members.
    fn delivered(&self) -> HashMap<char, Vec<String>> {
        let mut delivered: HashMap<char, Vec<String>> = HashMap::new();
        for text in self.told.iter().filter(|text| !text.starts_with('{')) {
            if let (Some(member), Some((_, what))) = (text.chars().next(), text.split_once(": ")) {
                delivered.entry(member).or_default().push(what.into());
            }
        }
        delivered
    }

    fn by_own(&mut self, lane: Lane, payload: &str) {
        with_message(self.family, lane, payload, |message| {
            if self.core.is_by_clients() {
                self.core.incoming_own(&message, &mut self.fx);
            } else {
                self.core.incoming(message, &mut self.fx);
            }
        });
        self.step();
    }

    fn by_clients(&mut self, payload: &str) {
        with_message(self.family, 0, payload, |message| self.core.incoming(message, &mut self.fx));
        self.step();
    }
}

/// The proof or the mark on the channel of the first member, or a broadcast of another server.
fn with_message(family: Family, lane: Lane, payload: &str, take: impl FnOnce(Incoming<'_>)) {
    let (own, all) = match family {
        Family::Classic => (Subscription::channel("p-response#/#server1#"), Subscription::pattern("p#/#*")),
        _ => (Subscription::shard("p#/#server1#"), Subscription::shard("p#/#")),
    };
    let (Subscription { kind, name }, channel, bytes) = if payload.starts_with('{') {
        (&own, &*own.name, payload.into())
    } else {
        (&all, b"p#/#".as_slice(), broadcast_of(family, payload))
    };
    take(Incoming::Message { lane, kind: *kind, name, channel, payload: &bytes });
}

fn spec(id: u32) -> MemberSpec {
    MemberSpec {
        uid: format!("server{id}"),
        nsp: "/".into(),
        prefix: "p".into(),
        custom_parser: false,
        specific_responses: false,
        mode: SubscriptionMode::Dynamic,
        frames: true,
        stream: None,
        emitter: None,
    }
}

fn broadcast_of(family: Family, event: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let text = format!("42[\"{event}\"]");
    family.encode_broadcast("others", "/", text.as_bytes(), &[], None, None, &mut out).unwrap();
    out
}

fn events(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("2[\"{name}\"]")).collect()
}

#[test]
fn each_message_is_delivered_once_whoever_is_ahead() {
    for own_is_ahead in [true, false] {
        let mut it = Crossing::begin(1);
        it.by_clients("a");
        it.reach_the_mark();
        let sequence = ["b", MARK, "c", "d"];
        if own_is_ahead {
            sequence.iter().for_each(|payload| it.by_own(0, payload));
            assert_eq!(it.delivered()[&'1'], events(&["a"]));
            sequence[..2].iter().for_each(|payload| it.by_clients(payload));
        } else {
            sequence.iter().for_each(|payload| it.by_clients(payload));
            assert_eq!(it.delivered()[&'1'], events(&["a", "b"]));
            sequence.iter().for_each(|payload| it.by_own(0, payload));
        }
        it.by_own(0, "e");
        assert_eq!(it.delivered()[&'1'], events(&["a", "b", "c", "d", "e"]), "{own_is_ahead}");
        assert!(!it.core.is_by_clients());
        assert!(it.has_told(r#""own""#));
    }
}

#[test]
fn what_was_kept_is_delivered_once_if_the_own_connections_break_at_the_mark() {
    let mut it = Crossing::begin(1);
    it.reach_the_mark();
    for payload in ["a", MARK, "b"] {
        it.by_clients(payload);
    }
    it.by_own(0, "a");
    it.core.incoming_own(&Incoming::LaneDown { lane: 0, reason: "gone" }, &mut it.fx);
    it.step();
    it.by_clients("c");
    assert_eq!(it.delivered()[&'1'], events(&["a", "b", "c"]));
    assert!(it.core.is_by_clients());
    assert!(it.has_told(r#""stayed","reason":"gone""#));
}

#[test]
fn servers_that_share_the_clients_cross_together() {
    let mut it = Crossing::begin(2);
    it.reach_the_mark();
    for payload in [MARK, "a"] {
        it.by_clients(payload);
        it.by_own(0, payload);
    }
    assert_eq!(it.delivered().len(), 0, "the other one is not across");
    for payload in [MARK, "a"] {
        it.by_own(1, payload);
    }
    let delivered = it.delivered();
    assert_eq!((&delivered[&'1'], &delivered[&'2']), (&events(&["a"]), &events(&["a"])));
    let removed: Vec<_> = it.fx.subscriptions.iter().map(|(lane, change, _)| (*lane, *change)).collect();
    assert_eq!(removed, [(1, Change::Remove)], "the channel of the first, on the connection of the second");
}

#[test]
fn what_is_published_meanwhile_waits_and_a_member_that_joins_ends_it() {
    let mut it = Crossing::begin(1);
    it.reach_the_mark();
    let before = it.published;
    it.core.publish(1, b"channel", b"payload", &mut it.fx);
    it.step();
    assert_eq!(it.published, before);
    it.core.join(7, spec(7), &mut it.fx);
    it.step();
    assert_eq!(it.published, before + 1);
    assert!(!it.core.is_crossing());
}

#[test]
fn a_mark_that_does_not_come_is_not_waited_for() {
    let mut it = Crossing::begin(1);
    it.reach_the_mark();
    it.by_clients(MARK);
    it.by_clients("a");
    it.fx.now = it.core.deadline().unwrap();
    it.step();
    assert_eq!(it.delivered()[&'1'], events(&["a"]));
    assert!(it.has_told("took too long"));
}

fn room(name: &str) -> Subscription {
    Subscription::shard(format!("p#/#{name}#"))
}

#[test]
fn rooms_that_change_at_the_mark_are_followed_when_it_is_over() {
    for breaks in [false, true] {
        let mut it = Crossing::begin_in(Family::Sharded, 1, &["stays", "goes"]);
        it.reach_the_mark();
        it.core.set_room(1, b"comes", true);
        it.core.set_room(1, b"goes", false);
        it.step();
        assert!(it.fx.subscriptions.is_empty(), "not before it is over");
        if breaks {
            it.core.incoming_own(&Incoming::LaneDown { lane: 0, reason: "gone" }, &mut it.fx);
        } else {
            it.by_clients(MARK);
            it.by_own(0, MARK);
        }
        let mut changes = std::mem::take(&mut it.fx.subscriptions);
        changes.sort_by_key(|(_, change, _)| *change == Change::Remove);
        assert_eq!(changes, [(0, Change::Add, room("comes")), (0, Change::Remove, room("goes"))]);
        assert_eq!(it.core.is_by_clients(), breaks);
    }
}
