//! The core's part of streams against a Redis of a few lines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::effects::{Effects, Kind};
use crate::core::member::{MemberSpec, StreamSpec, SubscriptionMode};
use crate::core::{Config, Core, Emit};
use crate::transport::resp::Reply;
use crate::transport::{Args, Incoming, KeyCommand, Outcome, Port, Space, SubscriptionKind};
use crate::wire::Family;
use crate::wire::streams::EntryId;

/// An entry: its id, and its fields and values in turn.
type Stored = (EntryId, Vec<Vec<u8>>);

/// What XADD and its like do, and no more.
#[derive(Default)]
struct Redis {
    streams: BTreeMap<Vec<u8>, Vec<Stored>>,
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    ran: Vec<String>,
    /// What the commands begin with that are not allowed.
    forbidden: &'static str,
    /// Ids are greater.
    floor: EntryId,
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

impl Redis {
    fn add(&mut self, stream: &[u8], fields: Vec<Vec<u8>>) -> EntryId {
        let entries = self.streams.entry(stream.to_vec()).or_default();
        let id = entries.last().map_or(EntryId { time: 1, seq: 0 }, |(id, _)| *id).max(self.floor).next();
        entries.push((id, fields));
        id
    }

    fn foreign(&mut self, stream: &str, nsp: &str, data: &str) -> EntryId {
        let fields = ["uid", "other", "nsp", nsp, "type", "3", "data", data];
        self.add(stream.as_bytes(), fields.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    fn event(&mut self, name: &str, opts: &str) -> EntryId {
        self.foreign("s", "/", &format!(r#"{{"packet":{{"type":2,"data":["{name}"]}},"opts":{opts}}}"#))
    }

    fn entries(&self, stream: &[u8]) -> &[Stored] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Runs a command; `None` if it blocks.
    fn run(&mut self, args: &Args) -> Option<Vec<u8>> {
        let parts: Vec<&[u8]> = args.iter().collect();
        let text = |index: usize| String::from_utf8_lossy(parts[index]).into_owned();
        self.ran.push(text(0));
        let mut out = Vec::new();
        let refuses = self.forbidden.split(' ').zip(&parts).all(|(word, part)| word.as_bytes() == *part);
        if !self.forbidden.is_empty() && refuses {
            return Some(b"-NOPERM no\r\n".to_vec());
        }
        match text(0).as_str() {
            "XADD" => {
                let id = self.add(parts[1], parts[6..].iter().map(|part| part.to_vec()).collect());
                bulk(&mut out, id.to_string().as_bytes());
            }
            "XRANGE" => {
                let from = if parts[2] == b"-" { EntryId::ZERO } else { EntryId::parse(parts[2]).unwrap() };
                let count = text(5).parse().unwrap();
                let found = self.entries(parts[1]).iter().filter(|(id, _)| *id >= from).take(count);
                write_entries(&mut out, found.collect());
            }
            "XREVRANGE" => write_entries(&mut out, self.entries(parts[1]).iter().rev().take(1).collect()),
            "XREAD" => {
                let [.., count, _, key, after] = parts[..] else { panic!("{parts:?}") };
                let after = EntryId::parse(after).unwrap();
                let count = String::from_utf8_lossy(count).parse().unwrap();
                let found: Vec<_> =
                    self.entries(key).iter().filter(|(id, _)| *id > after).take(count).collect();
                match parts[1..3] {
                    _ if !found.is_empty() => {
                        out.extend_from_slice(b"*1\r\n*2\r\n");
                        bulk(&mut out, key);
                        write_entries(&mut out, found);
                    }
                    [b"BLOCK", b"1"] | [b"COUNT", _] => out.extend_from_slice(b"*-1\r\n"),
                    _ => return None,
                }
            }
            "SET" => {
                self.keys.insert(parts[1].to_vec(), parts[2].to_vec());
                out.extend_from_slice(b"+OK\r\n");
            }
            "GETDEL" => match self.keys.remove(parts[1]) {
                Some(value) => bulk(&mut out, &value),
                None => out.extend_from_slice(b"$-1\r\n"),
            },
            other => panic!("{other}"),
        }
        Some(out)
    }
}

fn write_entries(out: &mut Vec<u8>, entries: Vec<&Stored>) {
    out.extend_from_slice(format!("*{}\r\n", entries.len()).as_bytes());
    for (id, fields) in entries {
        out.extend_from_slice(b"*2\r\n");
        bulk(out, id.to_string().as_bytes());
        out.extend_from_slice(format!("*{}\r\n", fields.len()).as_bytes());
        fields.iter().for_each(|field| bulk(out, field));
    }
}

struct Rig {
    core: Core,
    fx: Effects,
    redis: Redis,
    /// XREADs that wait for an entry.
    blocked: Vec<KeyCommand>,
    /// Commands that are handed in and get no answer yet.
    held: Vec<KeyCommand>,
    holds: bool,
}

impl Rig {
    /// A node with a member in `/`, connected, before anything is run.
    fn new(recovers: bool) -> Self {
        let config = Config::of(Family::Streams { space: Space::Global });
        let mut rig = Rig {
            core: Core::new(config, true),
            fx: Effects::new(Instant::now()),
            redis: Redis::default(),
            blocked: Vec::new(),
            held: Vec::new(),
            holds: false,
        };
        let spec = MemberSpec {
            uid: "me".into(),
            nsp: "/".into(),
            prefix: "p".into(),
            custom_parser: false,
            specific_responses: true,
            mode: SubscriptionMode::Static,
            frames: true,
            stream: Some(StreamSpec {
                name: "s".into(),
                count: 1,
                max_len: 1000,
                read_count: 10,
                block: 5000,
                recovers,
            }),
            emitter: None,
            joins: Default::default(),
        };
        rig.core.join(1, spec, &mut rig.fx);
        rig.core.incoming(Incoming::Up, &mut rig.fx);
        rig
    }

    /// The same, reading.
    fn reading(recovers: bool) -> Self {
        let mut rig = Self::new(recovers);
        rig.subscribe();
        rig.settle();
        rig.records();
        rig.core.interest(1).unwrap().set_occupied(true);
        rig
    }

    fn subscribe(&mut self) {
        for (lane, _, name) in std::mem::take(&mut self.fx.subscriptions) {
            let (kind, name) = (SubscriptionKind::Channel, &*name.name);
            self.core.incoming(Incoming::Subscribed { lane, kind, name }, &mut self.fx);
        }
    }

    fn answer(&mut self, token: u64, bytes: &[u8]) {
        let outcome = Outcome::Replied(Reply::of(bytes).unwrap());
        self.core.incoming(Incoming::Replied { token, outcome }, &mut self.fx);
    }

    /// Runs all that is to be run, until everything waits for entries.
    fn settle(&mut self) {
        loop {
            self.core.tick(&mut self.fx);
            self.core.release(1 << 20, &mut self.fx);
            let mut commands = std::mem::take(&mut self.fx.commands);
            let waited = commands.len();
            commands.append(&mut self.blocked);
            let mut progress = waited > 0;
            for command in commands {
                if self.holds && command.port == Port::Shared {
                    self.held.push(command);
                    continue;
                }
                match self.redis.run(&command.args) {
                    Some(reply) => {
                        progress = true;
                        self.answer(command.token, &reply);
                    }
                    None => self.blocked.push(command),
                }
            }
            if !progress {
                return;
            }
        }
    }

    /// The connections are lost. What was held is run before if `arrives` says so of it.
    fn lose(&mut self, arrives: impl Fn(usize) -> bool) {
        for (index, command) in std::mem::take(&mut self.held).into_iter().enumerate() {
            if arrives(index) {
                self.redis.run(&command.args);
            }
            self.end(command.token);
        }
        for command in std::mem::take(&mut self.blocked) {
            self.end(command.token);
        }
        self.holds = false;
        self.fx.now += Duration::from_secs(40);
    }

    fn end(&mut self, token: u64) {
        let outcome = Outcome::Lost { reason: "gone" };
        self.core.incoming(Incoming::Replied { token, outcome }, &mut self.fx);
    }

    fn emit(&mut self, name: &str) {
        let payload = format!(r#"42["{name}"]"#);
        let emit = Emit {
            payload: payload.as_bytes(),
            attachments: &[],
            room: None,
            opts: None,
            takes_room_channel: false,
        };
        self.core.broadcast(1, &emit, &mut self.fx);
    }

    /// What JS got since the last time: the kind, the token, and what the parts say.
    fn records(&mut self) -> Vec<(u8, u32, [String; 4])> {
        let batch = &self.fx.batch;
        let text = |range: &std::ops::Range<usize>| {
            String::from_utf8_lossy(batch.bytes.get(range.clone()).unwrap_or_default()).into_owned()
        };
        let records =
            batch.records.iter().map(|one| (one.kind, one.token, [0, 1, 2, 3].map(|i| text(&one.parts[i]))));
        let records = records.collect();
        self.fx.batch.clear();
        records
    }

    fn of_kind(&mut self, kind: Kind) -> Vec<(u32, [String; 4])> {
        let records = self.records().into_iter().filter(|record| record.0 == kind as u8);
        records.map(|(_, token, parts)| (token, parts)).collect()
    }

    /// The frames that JS got, as text.
    fn heard(&mut self) -> Vec<String> {
        self.of_kind(Kind::Frame).into_iter().map(|(_, [_, text, ..])| text).collect()
    }

    fn added(&self) -> Vec<String> {
        let entries = self.redis.entries(b"s").iter().filter(|(_, fields)| fields[1] == b"me");
        entries.map(|(_, fields)| String::from_utf8_lossy(&fields[7]).into_owned()).collect()
    }
}

fn data(name: &str) -> String {
    format!(r#"{{"packet":{{"type":2,"data":["{name}"]}},"opts":{{"rooms":[],"except":[],"flags":{{}}}}}}"#)
}

const ALL: &str = r#"{"rooms":[],"except":[],"flags":{}}"#;

#[test]
fn it_is_ready_when_it_is_known_where_to_begin() {
    let mut rig = Rig::new(false);
    rig.redis.event("before", ALL);
    rig.subscribe();
    assert!(rig.of_kind(Kind::Event).iter().all(|(_, [event, ..])| !event.contains("ready")));
    rig.settle();
    assert!(rig.of_kind(Kind::Event).iter().any(|(_, [event, ..])| event.contains("ready")));
    rig.core.interest(1).unwrap().set_occupied(true);
    rig.redis.event("after", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["after"]"#]);
}

#[test]
fn what_the_reference_may_do_is_enough() {
    let mut rig = Rig::new(true);
    rig.redis.forbidden = "XREVRANGE";
    for n in 0..1200 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.subscribe();
    rig.settle();
    rig.records();
    rig.core.interest(1).unwrap().set_occupied(true);
    let seen = rig.redis.event("after", ALL);
    rig.emit("mine");
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["after","1-1201"]"#]);
    assert_eq!(rig.added(), [data("mine")]);
    restore(&mut rig, 1, &seen.to_string());
    rig.settle();
    assert_eq!(restored(&mut rig), [(1, "1-1202".to_owned())]);
    rig.lose(|_| false);
    rig.redis.event("later", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["later","1-1203"]"#]);
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let mut rig = Rig::reading(false);
    rig.lose(|_| false);
    rig.redis.event("first", ALL);
    rig.settle();
    rig.lose(|_| false);
    for n in 0..25 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.settle();
    let wanted: Vec<String> = (0..25).map(|n| format!(r#"2["{n}"]"#)).collect();
    assert_eq!(rig.heard(), [vec![r#"2["first"]"#.to_owned()], wanted].concat());
}

#[test]
fn entries_that_are_gone_are_reported() {
    let mut rig = Rig::reading(false);
    rig.redis.event("read", ALL);
    rig.settle();
    rig.lose(|_| false);
    for n in 0..3 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().drain(..3);
    rig.settle();
    let records = rig.records();
    let trimmed = r#"{"type":"trimmed","stream":"s","after":"1-1","before":"1-4"}"#;
    assert_eq!(records.iter().filter(|(.., [event, ..])| event == trimmed).count(), 1);
    assert!(records.iter().any(|(kind, _, [_, text, ..])| *kind == Kind::Frame as u8 && text == r#"2["2"]"#));
}

#[test]
fn what_was_read_is_not_read_again_from_an_older_state() {
    let mut rig = Rig::reading(true);
    for n in 0..5 {
        rig.redis.event(&n.to_string(), ALL);
    }
    rig.settle();
    rig.records();
    rig.lose(|_| false);
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().truncate(3);
    rig.settle();
    rig.redis.event("new", ALL);
    rig.settle();
    let records = rig.records();
    assert!(records.iter().all(|(.., [event, ..])| !event.contains("trimmed")));
    let frames = records.iter().filter(|record| record.0 == Kind::Frame as u8);
    assert_eq!(frames.map(|(.., [_, text, ..])| text.as_str()).collect::<Vec<_>>(), [r#"2["new","1-4"]"#]);
    restore(&mut rig, 1, "1-2");
    rig.settle();
    assert_eq!(restored(&mut rig), [(1, "1-3 1-4".to_owned())]);
    // Without any state there is nothing that could have been read.
    rig.lose(|_| false);
    rig.redis.streams.clear();
    rig.settle();
    rig.redis.event("first", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["first","1-1"]"#]);
}

#[test]
fn a_stream_that_a_cluster_has_elsewhere_or_nowhere_is_said_once() {
    for (reply, attempts) in
        [("-MOVED 1 127.0.0.1:7000\r\n", 3), ("-CLUSTERDOWN Hash slot not served\r\n", 12)]
    {
        let mut rig = Rig::reading(false);
        let mut told = Vec::new();
        for attempt in 1..20 {
            // The end of one rest, and of a second one for both commands of a look.
            let mut commands = std::mem::take(&mut rig.blocked);
            for _ in 0..300 {
                commands.append(&mut rig.fx.commands);
                if !commands.is_empty() {
                    break;
                }
                rig.fx.now += Duration::from_millis(5);
                rig.core.tick(&mut rig.fx);
            }
            assert!(!commands.is_empty(), "it is tried again");
            for command in commands {
                rig.answer(command.token, reply.as_bytes());
            }
            let events = rig.of_kind(Kind::Event);
            told.extend(
                events.iter().filter(|(_, [event, ..])| event.contains("unreadable")).map(|_| attempt),
            );
        }
        assert_eq!(told, [attempts], "{reply}");
        rig.fx.now += Duration::from_secs(2);
        rig.settle();
        rig.redis.event("at last", ALL);
        rig.settle();
        assert_eq!(rig.heard(), [r#"2["at last"]"#]);
    }
}

#[test]
fn a_stream_that_cannot_be_read_is_said_once_and_tried_ever_more_seldom() {
    let mut rig = Rig::reading(false);
    let mut tries = 0;
    let begin = rig.fx.now;
    while rig.fx.now - begin < Duration::from_secs(120) {
        let mut commands = std::mem::take(&mut rig.blocked);
        commands.append(&mut rig.fx.commands);
        tries += commands.len();
        for command in commands {
            rig.answer(command.token, b"-WRONGTYPE no stream\r\n");
        }
        rig.fx.now += Duration::from_millis(5);
        rig.core.tick(&mut rig.fx);
    }
    assert!(tries < 40, "{tries}");
    let told = rig.of_kind(Kind::Event);
    assert_eq!(told.iter().filter(|(_, [event, ..])| event.contains("unreadable")).count(), 1);
    rig.fx.now += Duration::from_secs(31);
    rig.settle();
    rig.redis.event("at last", ALL);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["at last"]"#]);
}

#[test]
fn reading_that_alone_is_refused_makes_nobody_ready_and_is_tried_ever_more_seldom() {
    let events = |rig: &mut Rig, what: &str| {
        let told = rig.of_kind(Kind::Event).into_iter();
        told.filter(|(_, [event, ..])| event.contains(what)).count()
    };
    // From the start; then it is revoked while nothing is to be read; and where a proxy lets nobody block.
    for (forbidden, revoked) in [("XREAD", false), ("XREAD", true), ("XREAD BLOCK", true)] {
        let mut rig = if revoked { Rig::reading(false) } else { Rig::new(false) };
        rig.redis.forbidden = forbidden;
        rig.subscribe();
        rig.settle();
        assert_eq!(events(&mut rig, "unreadable"), 1, "{forbidden}");
        rig.redis.ran.clear();
        let begin = rig.fx.now;
        while rig.fx.now - begin < Duration::from_secs(120) {
            rig.fx.now += Duration::from_millis(5);
            rig.settle();
        }
        let tries = rig.redis.ran.iter().filter(|name| *name == "XREAD").count();
        assert!((5..20).contains(&tries), "{forbidden}: {tries}");
        assert_eq!(events(&mut rig, ""), 0, "{forbidden}");
        rig.redis.forbidden = "";
        rig.fx.now += Duration::from_secs(31);
        rig.settle();
        assert_eq!(events(&mut rig, "ready"), 1, "{forbidden}");
        rig.core.interest(1).unwrap().set_occupied(true);
        rig.redis.event("at last", ALL);
        rig.settle();
        assert_eq!(rig.heard(), [r#"2["at last"]"#]);
    }
}

#[test]
fn what_is_added_is_there_once_whatever_was_lost() {
    for arrived in 0..=4 {
        let mut rig = Rig::reading(true);
        rig.emit("first");
        rig.settle();
        rig.holds = true;
        for n in 0..4 {
            rig.emit(&n.to_string());
        }
        rig.redis.event("of another", ALL);
        rig.settle();
        rig.lose(|index| index < arrived);
        rig.emit("behind");
        rig.settle();
        rig.fx.now += Duration::from_secs(1);
        rig.settle();
        let names = ["first", "0", "1", "2", "3", "behind"];
        assert_eq!(rig.added(), names.map(data), "{arrived} had arrived");
        let tokens: Vec<u32> = rig.of_kind(Kind::Added).into_iter().map(|(token, _)| token).collect();
        assert_eq!(tokens, [1, 2, 3, 4, 5, 6]);
        assert!(rig.core.is_flushed());
    }
}

#[test]
fn ids_are_told_in_order_or_not_waited_for() {
    let mut rig = Rig::reading(true);
    rig.emit("a");
    rig.settle();
    rig.holds = true;
    rig.emit("b");
    rig.settle();
    rig.fx.now += Duration::from_millis(1001);
    rig.core.tick(&mut rig.fx);
    let told: Vec<_> = rig.of_kind(Kind::Added).into_iter().map(|(token, [id, ..])| (token, id)).collect();
    assert_eq!(told, [(1, "1-1".to_owned()), (2, String::new())]);
    rig.lose(|_| true);
    rig.core.incoming(Incoming::Down { reason: "gone", unanswered: 0, unwritten: 0 }, &mut rig.fx);
    rig.emit("c");
    assert_eq!(rig.of_kind(Kind::Added).into_iter().map(|(token, _)| token).collect::<Vec<_>>(), [3]);
    rig.core.incoming(Incoming::Up, &mut rig.fx);
    rig.settle();
    assert_eq!(rig.added(), ["a", "b", "c"].map(data));
    assert!(rig.of_kind(Kind::Added).is_empty());
}

#[test]
fn ids_are_told_where_the_entries_stand_among_those_of_others() {
    let mut rig = Rig::reading(true);
    rig.emit("early");
    rig.settle();
    rig.records();
    rig.redis.event("before", ALL);
    rig.emit("mine");
    rig.settle();
    rig.redis.event("behind", ALL);
    rig.settle();
    let kinds: Vec<u8> = rig.records().into_iter().map(|(kind, ..)| kind).collect();
    let (frame, added) = (Kind::Frame as u8, Kind::Added as u8);
    assert_eq!(
        kinds.into_iter().filter(|&kind| kind == frame || kind == added).collect::<Vec<_>>(),
        [frame, added, frame]
    );
}

#[test]
fn what_is_gone_before_it_is_read_does_not_hold_up_what_looks_like_it() {
    let mut rig = Rig::reading(true);
    rig.emit("tick");
    rig.settle();
    rig.records();
    let blocked = std::mem::take(&mut rig.blocked);
    for _ in 0..3 {
        rig.emit("tick");
    }
    rig.settle();
    // Flushed: the reader will never come by.
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().truncate(1);
    rig.redis.floor = EntryId { time: 2, seq: 0 };
    rig.fx.now += Duration::from_millis(1001);
    rig.core.tick(&mut rig.fx);
    rig.blocked = blocked;
    rig.emit("tick");
    rig.settle();
    let told: Vec<String> = rig.of_kind(Kind::Added).into_iter().map(|(_, [id, ..])| id).collect();
    assert_eq!(told, ["", "", "", "2-1"]);
}

#[test]
fn offsets_are_added_to_what_may_be_missed() {
    let mut rig = Rig::reading(true);
    rig.redis.event("kept", ALL);
    rig.redis.event("volatile", r#"{"rooms":[],"except":[],"flags":{"volatile":true}}"#);
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["kept","1-1"]"#, r#"2["volatile"]"#]);
    let mut rig = Rig::reading(false);
    rig.redis.event("plain", ALL);
    rig.redis.foreign("s", "", "no namespace");
    rig.redis.foreign("s", "/other", "{}");
    rig.redis.foreign("s", "/", "!");
    rig.settle();
    assert_eq!(rig.heard(), [r#"2["plain"]"#]);
    let stats = rig.core.stats();
    assert_eq!((stats.received, stats.delivered, stats.ignored, stats.malformed), (4, 1, 2, 1));
}

/// base64 of msgpack: `{ sid: "S", rooms: ["S", "r"] }`.
const SESSION: &[u8] = b"gqNzaWShU6Vyb29tc5KhU6Fy";

fn restore(rig: &mut Rig, token: u32, offset: &str) {
    let key = format!("k{token}");
    rig.redis.keys.insert(key.clone().into_bytes(), SESSION.to_vec());
    rig.core.restore(1, token, key.as_bytes(), offset.as_bytes(), &mut rig.fx);
}

/// The ids that were missed, or why there is nothing.
fn restored(rig: &mut Rig) -> Vec<(u32, String)> {
    let records = rig.of_kind(Kind::Restored).into_iter();
    records
        .map(|(token, [_, reason, _, items])| {
            let ids = items.split(['{', '}']).filter(|text| text.contains('-') && !text.contains(':'));
            (token, if reason.is_empty() { ids.collect::<Vec<_>>().join(" ") } else { reason })
        })
        .collect()
}

#[test]
fn a_session_gets_what_it_missed_from_memory() {
    let mut rig = Rig::reading(true);
    rig.redis.event("a", ALL);
    rig.redis.event("b", r#"{"rooms":["r"],"except":[]}"#);
    rig.redis.event("c", r#"{"rooms":["x"],"except":[]}"#);
    rig.redis.event("d", r#"{"rooms":[],"except":["r"]}"#);
    rig.redis.event("e", r#"{"rooms":[],"except":[],"flags":{"volatile":true}}"#);
    rig.emit("mine");
    rig.settle();
    rig.records();
    rig.redis.ran.clear();
    restore(&mut rig, 1, "1-1");
    restore(&mut rig, 2, "1-6");
    restore(&mut rig, 3, "1-5");
    restore(&mut rig, 4, "9-9");
    restore(&mut rig, 5, "x");
    rig.settle();
    let not_found = "session or offset not found".to_owned();
    assert_eq!(
        restored(&mut rig),
        [
            (5, "invalid offset".to_owned()),
            (1, "1-2 1-6".to_owned()),
            (2, String::new()),
            (3, not_found.clone()),
            (4, not_found.clone()),
        ]
    );
    let looks = rig.redis.ran.iter().filter(|name| *name == "XRANGE").count();
    assert!(looks <= 2, "{looks}");
    rig.core.restore(1, 6, b"k1", b"1-1", &mut rig.fx);
    rig.settle();
    assert_eq!(restored(&mut rig), [(6, not_found)]);
}

#[test]
fn what_memory_does_not_have_is_read_in_pages_once_for_all() {
    let mut rig = Rig::new(true);
    for n in 0..1200 {
        rig.redis
            .event(&n.to_string(), if n % 400 == 7 { r#"{"rooms":["r"]}"# } else { r#"{"rooms":["x"]}"# });
    }
    rig.subscribe();
    rig.settle();
    rig.redis.event("live", ALL);
    rig.settle();
    rig.records();
    rig.redis.ran.clear();
    for token in 1..=50 {
        restore(&mut rig, token, if token % 2 == 0 { "1-1" } else { "1-900" });
    }
    restore(&mut rig, 51, "1-1200");
    rig.settle();
    let mut restored = restored(&mut rig);
    restored.sort_unstable();
    for (token, ids) in restored {
        let wanted = match token {
            51 => "1-1201",
            token if token % 2 == 0 => "1-8 1-408 1-808 1-1201",
            _ => "1-1201",
        };
        assert_eq!(ids, wanted, "{token}");
    }
    let pages = rig.redis.ran.iter().filter(|name| *name == "XRANGE").count();
    assert!(pages <= 8, "{pages}");
    // What is gone is gone, from memory too.
    rig.redis.streams.get_mut(&b"s"[..]).unwrap().drain(..1200);
    rig.redis.event("last", ALL);
    rig.fx.now += Duration::from_millis(100);
    rig.settle();
    rig.records();
    restore(&mut rig, 1, "1-500");
    restore(&mut rig, 2, "1-1201");
    rig.settle();
    let not_found = "session or offset not found".to_owned();
    let gone = [(1, not_found), (2, "1-1202".to_owned())];
    let mut answers = self::restored(&mut rig);
    answers.sort_unstable();
    assert_eq!(answers, gone);
}

#[test]
fn a_session_waits_for_what_this_node_has_not_read() {
    let mut rig = Rig::reading(true);
    rig.redis.event("a", ALL);
    rig.settle();
    let blocked = std::mem::take(&mut rig.blocked);
    let seen_elsewhere = rig.redis.event("b", ALL);
    rig.redis.event("c", ALL);
    restore(&mut rig, 1, &seen_elsewhere.to_string());
    rig.settle();
    assert_eq!(restored(&mut rig), []);
    rig.blocked = blocked;
    rig.settle();
    assert_eq!(restored(&mut rig), [(1, "1-3".to_owned())]);
}

#[test]
fn sessions_are_kept_until_redis_has_them() {
    let mut rig = Rig::reading(true);
    rig.holds = true;
    rig.core.persist(1, b"k", SESSION, Duration::from_secs(1));
    rig.settle();
    assert!(!rig.core.is_flushed());
    rig.lose(|_| false);
    rig.settle();
    rig.fx.now += Duration::from_secs(1);
    rig.settle();
    assert_eq!(rig.redis.keys.get(&b"k"[..]).map(Vec::as_slice), Some(SESSION));
    assert!(rig.core.is_flushed());
}

#[test]
fn who_has_left_can_still_add_and_leaves_no_reader() {
    let mut rig = Rig::reading(true);
    rig.core.leave(1, &mut rig.fx);
    assert_eq!(rig.fx.closed_readers, [0, 1]);
    rig.blocked.clear();
    rig.emit("late");
    rig.settle();
    assert_eq!(rig.added(), [data("late")]);
    assert!(rig.core.is_flushed());
    let args = Arc::new(Args::of(&[b"SET", b"k", b"v"]));
    assert_eq!((args.get(1), args.get(7), args.len()), (&b"k"[..], &b""[..], 5));
}
