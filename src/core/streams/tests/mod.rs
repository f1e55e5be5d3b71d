//! The core's part of streams against a Redis of a few lines.

mod adding;
mod reading;
mod restoring;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::core::effects::{Effects, Kind};
use crate::core::member::{MemberSpec, StreamSpec, SubscriptionMode};
use crate::core::{Config, Core, Emit};
use crate::transport::resp::Reply;
use crate::transport::{Args, ChannelKind, Incoming, KeyCommand, Outcome, Port, SubscriptionKind};
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
        let config = Config::of(Family::Streams { channel_kind: ChannelKind::Global });
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
        for (subscriber, _, name) in std::mem::take(&mut self.fx.subscriptions) {
            let (kind, name) = (SubscriptionKind::Channel, &*name.name);
            self.core.incoming(Incoming::Subscribed { subscriber, kind, name }, &mut self.fx);
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
