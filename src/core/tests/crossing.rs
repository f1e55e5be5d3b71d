//! The way back to own connections, message by message.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::core::effects::{Change, Effects, Kind};
use crate::core::member::{MemberSpec, SubscriptionMode};
use crate::core::{Config, Core};
use crate::transport::{Incoming, Subscriber, Subscription};
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
    own: HashSet<(Subscriber, Subscription)>,
    /// What of it Redis has not confirmed.
    asked: VecDeque<(Subscriber, Subscription)>,
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
        Self::begin_with(family, (1..=servers).map(spec), rooms)
    }

    fn begin_with(family: Family, members: impl Iterator<Item = MemberSpec>, rooms: &[&str]) -> Self {
        let core = Core::new(Config::of(family), false);
        let mut it = Crossing {
            family,
            core,
            fx: Effects::new(Instant::now()),
            own: HashSet::new(),
            asked: VecDeque::new(),
            told: Vec::new(),
            published: 0,
        };
        for (id, spec) in (1..).zip(members) {
            it.core.join(id, spec, &mut it.fx);
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
        for (subscriber, change, name) in std::mem::take(&mut self.fx.own_subscriptions) {
            let place = (subscriber, name);
            if change == Change::Add {
                assert!(self.own.insert(place.clone()), "{place:?} twice");
                self.asked.push_back(place);
            } else {
                assert!(self.own.remove(&place), "{place:?} is not there");
            }
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

    /// Redis confirms so much of what the own connections have asked for.
    fn confirm(&mut self, count: usize) {
        assert!(!self.asked.is_empty(), "nothing is asked for: {:?}", self.told);
        for (subscriber, name) in self.asked.drain(..count.min(self.asked.len())) {
            let confirmed = Incoming::Subscribed { subscriber, kind: name.kind, name: &name.name };
            self.core.incoming_own(&confirmed, &mut self.fx);
        }
        self.step();
    }

    /// Redis confirms what the carrier has asked for.
    fn confirm_to_clients(&mut self) {
        for (subscriber, change, name) in std::mem::take(&mut self.fx.subscriptions) {
            if change == Change::Add {
                let confirmed = Incoming::Subscribed { subscriber, kind: name.kind, name: &name.name };
                self.core.incoming(confirmed, &mut self.fx);
            }
        }
    }

    /// Until the own connections are proven.
    fn reach_the_proof(&mut self) {
        self.core.incoming_own(&Incoming::Up, &mut self.fx);
        self.confirm(1);
        assert!(self.has_told(PROOF));
        self.by_own(0, PROOF);
    }

    /// Until the own connections have all rooms.
    fn reach_the_drain(&mut self) {
        self.reach_the_proof();
        while !self.has_told("drain") {
            self.go_on();
        }
    }

    /// What comes next: a deadline that is due, or what Redis confirms.
    fn go_on(&mut self) {
        if self.core.deadline().is_some_and(|deadline| deadline <= self.fx.now) {
            self.step();
        } else {
            self.confirm(usize::MAX);
        }
    }

    /// What the own connections are to listen to: what the clients do.
    fn all(&self) -> HashSet<(Subscriber, Subscription)> {
        let names = self.core.messaging.members.iter().flat_map(|(_, member)| member.subscriptions.iter());
        names.map(|name| (0, name.clone())).collect()
    }

    /// Whether what is published goes out.
    fn publishes(&mut self) -> bool {
        let before = self.published;
        self.core.publish(1, b"channel", b"payload", &mut self.fx);
        self.step();
        self.published > before
    }

    /// Until the mark is to be published.
    fn reach_the_mark(&mut self) {
        self.reach_the_drain();
        self.core.clients_drained(SECRET);
        self.step();
        while !self.has_told(MARK) {
            self.go_on();
        }
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

    fn by_own(&mut self, subscriber: Subscriber, payload: &str) {
        with_message(self.family, subscriber, payload, |message| {
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
fn with_message(family: Family, subscriber: Subscriber, payload: &str, take: impl FnOnce(Incoming<'_>)) {
    let (own, all) = match family {
        Family::Classic => (Subscription::channel("p-response#/#server1#"), Subscription::pattern("p#/#*")),
        _ => (Subscription::shard("p#/#server1#"), Subscription::shard("p#/#")),
    };
    let (Subscription { kind, name }, channel, bytes) = if payload.starts_with('{') {
        (&own, &*own.name, payload.into())
    } else {
        (&all, b"p#/#".as_slice(), broadcast_of(family, payload))
    };
    take(Incoming::Message { subscriber, kind: *kind, name, channel, payload: &bytes });
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
        joins: Default::default(),
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
    it.core.incoming_own(&Incoming::SubscriberDown { subscriber: 0, reason: "gone", silence: 0 }, &mut it.fx);
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
    let removed: Vec<_> =
        it.fx.subscriptions.iter().map(|(subscriber, change, _)| (*subscriber, *change)).collect();
    assert_eq!(removed, [(1, Change::Remove)], "the channel of the first, on the connection of the second");
}

#[test]
fn what_is_published_meanwhile_waits_and_a_member_that_joins_ends_it() {
    let mut it = Crossing::begin(1);
    it.reach_the_mark();
    let before = it.published;
    assert!(!it.publishes());
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

/// So many rooms that they are asked for in several portions.
fn many_rooms() -> Vec<String> {
    (0..3500).map(|number| format!("room{number}")).collect()
}

fn begin_with_many_rooms() -> Crossing {
    let rooms = many_rooms();
    Crossing::begin_in(Family::Sharded, 1, &rooms.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn rooms_are_asked_for_in_portions_and_publishes_go_on() {
    let mut it = begin_with_many_rooms();
    it.reach_the_proof();
    let counted = (0, Subscription::shard("p#/#"));
    let mut asked_for = it.own.len();
    while !it.has_told("drain") {
        assert!(it.own.len() - asked_for <= 1000, "{} at once", it.own.len() - asked_for);
        assert!(it.asked.len() <= 2000, "{} are not confirmed", it.asked.len());
        assert!(!it.own.contains(&counted), "others count it");
        assert!(it.publishes());
        it.by_own(0, "doubled");
        it.by_clients("once");
        asked_for = it.own.len();
        // All of it takes longer than a step.
        it.fx.now += Duration::from_millis(600);
        it.confirm(700);
    }
    assert_eq!(it.own.len(), 3500 + 1, "the rooms, and the channel of the proof");
    assert!(!it.publishes());
    assert!(it.delivered()[&'1'].iter().all(|event| event.contains("once")));
    it.core.clients_drained(SECRET);
    it.step();
    assert!(it.own.contains(&counted));
    it.confirm(usize::MAX);
    assert!(it.has_told(MARK));
    assert_eq!(it.own, it.all());
}

#[test]
fn rooms_are_not_waited_for_if_redis_confirms_none_of_them() {
    let mut it = begin_with_many_rooms();
    it.reach_the_proof();
    it.fx.now += Duration::from_millis(600);
    it.confirm(1);
    // Rooms that come are no progress with the others.
    it.core.set_room(1, b"comes", true);
    it.fx.now = it.core.deadline().unwrap();
    it.step();
    assert!(it.has_told("took too long"));
    assert!(it.core.is_by_clients());
}

#[test]
fn rooms_that_change_while_the_others_are_asked_for_are_followed_on_both_ways() {
    let mut it = begin_with_many_rooms();
    it.reach_the_proof();
    it.confirm(usize::MAX);
    it.core.set_room(1, b"comes", true);
    it.core.set_room(1, b"comes and goes", true);
    it.step();
    it.confirm_to_clients();
    it.core.set_room(1, b"comes and goes", false);
    // Some are asked for by now, some are not.
    for room in many_rooms().iter().step_by(3) {
        it.core.set_room(1, room.as_bytes(), false);
    }
    it.step();
    for room in many_rooms().iter().step_by(6) {
        it.core.set_room(1, room.as_bytes(), true);
    }
    it.step();
    it.confirm_to_clients();
    while !it.has_told("drain") {
        it.go_on();
    }
    it.core.set_room(1, b"comes late", true);
    it.step();
    assert!(it.asked.contains(&(0, room("comes late"))));
    it.core.clients_drained(SECRET);
    it.step();
    while !it.has_told(MARK) {
        it.go_on();
    }
    assert_eq!(it.own, it.all());
    assert!(it.own.contains(&(0, room("comes"))) && it.own.contains(&(0, room("room0"))));
    assert!(!it.own.contains(&(0, room("room3"))) && !it.own.contains(&(0, room("comes and goes"))));
    it.by_clients(MARK);
    it.by_own(0, MARK);
    assert!(!it.core.is_by_clients());
    // As the own connections carry the bytes now, they hear of what changes.
    it.core.set_room(1, b"comes", false);
    it.step();
    assert_eq!(it.fx.subscriptions.pop(), Some((0, Change::Remove, room("comes"))));
}

#[test]
fn namespaces_are_taken_in_portions_too() {
    let members = (1..=3000).map(|id| MemberSpec { nsp: format!("/{id}"), ..spec(id) });
    let mut it = Crossing::begin_with(Family::Sharded, members, &[]);
    it.core.incoming_own(&Incoming::Up, &mut it.fx);
    it.confirm(1);
    let (name, payload) = (Subscription::shard("p#/1#server1#"), PROOF.as_bytes());
    let proof =
        Incoming::Message { subscriber: 0, kind: name.kind, name: &name.name, channel: &name.name, payload };
    it.core.incoming_own(&proof, &mut it.fx);
    let mut steps = 0;
    while !it.has_told("drain") {
        it.step();
        steps += 1;
    }
    assert!(steps >= 6, "{steps} steps for 6000 names");
    it.core.clients_drained(SECRET);
    it.step();
    while !it.has_told(MARK) {
        assert!(it.asked.len() <= 2000, "{} are not confirmed", it.asked.len());
        it.go_on();
    }
    assert_eq!(it.own, it.all());
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
            it.core.incoming_own(
                &Incoming::SubscriberDown { subscriber: 0, reason: "gone", silence: 0 },
                &mut it.fx,
            );
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
