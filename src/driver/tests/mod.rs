//! Links over a Redis in memory: from the commands of JS to the records for JS, with the faults between.

mod emitter;
mod failure;
mod sharded;
mod streams;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{Command, Place};
use super::inbox::{Fetched, STRIDE};
use super::link::LinkLoop;
use super::shared::Shared;
use crate::core::effects::Kind;
use crate::core::member::{MemberSpec, SubscriptionMode};
use crate::core::routing::Routing;
use crate::core::{Config, Destination};
use crate::transport::memory::Hub;
use crate::transport::redis::{Address, RedisTarget, Settings};
use crate::wire::Family;
use crate::wire::request::RequestType;

/// One fetched record.
#[derive(Clone, Debug)]
struct Seen {
    kind: u32,
    n: u32,
    token: u32,
    parts: Vec<String>,
}

/// A node: a link on a hub, with one member.
struct Node {
    shared: Arc<Shared>,
    woken: Arc<tokio::sync::Notify>,
    seen: Vec<Seen>,
    /// Of its member.
    routing: Routing,
}

impl Node {
    fn start(hub: &Hub, uid: &str, max_backlog: usize) -> Self {
        Self::start_in(hub, uid, max_backlog, Family::Classic)
    }

    fn start_in(hub: &Hub, uid: &str, max_backlog: usize, family: Family) -> Self {
        let node = Self::alone(hub, max_backlog, family, None);
        node.shared.outbox.push(|_| Command::Join(1, Box::new(spec_of(uid))));
        node
    }

    /// A node without members.
    fn alone(hub: &Hub, max_backlog: usize, family: Family, proof: Option<String>) -> Self {
        let shared = Arc::new(Shared::default());
        let woken = Arc::new(tokio::sync::Notify::new());
        let config = Config { max_backlog, proof, verbose: true, ..Config::of(family) };
        let wake = Arc::clone(&woken);
        let link =
            LinkLoop::over_memory(hub.connect(), config, Arc::clone(&shared), move || wake.notify_one());
        tokio::task::spawn_local(link.run());
        Node { shared, woken, seen: Vec::new(), routing: spec_of("").routing(family) }
    }

    /// Fetches until a record satisfies `wanted`, and returns it.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let search = async {
            loop {
                if let Some(at) = self.seen.iter().position(&wanted) {
                    return self.seen.remove(at);
                }
                if !self.fetch() {
                    self.woken.notified().await;
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), search).await {
            Ok(seen) => seen,
            Err(_) => panic!("{what} did not come"),
        }
    }

    /// Waits until so many messages have come.
    async fn heard(&self, count: u64) {
        let heard = async {
            while self.shared.inbox.stats().received < count {
                tokio::task::yield_now().await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(10), heard).await;
        assert!(heard.is_ok(), "{count} messages did not come");
    }

    async fn event(&mut self, name: &str) -> Seen {
        let text = format!("{{\"type\":\"{name}\"");
        self.until(name, |seen| seen.kind == Kind::Event as u32 && seen.parts[0].starts_with(&text)).await
    }

    async fn frame(&mut self) -> String {
        self.until("a frame", |seen| seen.kind == Kind::Frame as u32).await.parts[1].clone()
    }

    fn fetch(&mut self) -> bool {
        let mut slab = vec![0; 1 << 20];
        let mut table = vec![0; STRIDE * 64];
        let Fetched::Records { count, .. } = self.shared.inbox.fetch(&mut slab, 0, &mut table) else {
            return false;
        };
        for row in table.chunks(STRIDE).take(count) {
            let part = |i: usize| {
                let range = row[4 + 2 * i] as usize..row[5 + 2 * i] as usize;
                String::from_utf8_lossy(&slab[range]).into_owned()
            };
            self.seen.push(Seen {
                kind: row[0],
                n: row[2],
                token: row[3],
                parts: (0..4).map(part).collect(),
            });
        }
        true
    }

    fn emit(&self, payload: &str, room: Option<&str>) {
        self.shared.outbox.push(|commands| Command::Broadcast {
            member: 1,
            payload: commands.put(payload.as_bytes()),
            attachments: Vec::new(),
            room: room.map(|room| commands.put(room.as_bytes())),
            opts: None,
            takes_room_channel: room
                .is_some_and(|room| self.routing.takes_room_channel(room.as_bytes(), Instant::now())),
        });
    }

    fn send(&self, to: Destination, bytes: &str) {
        self.shared.outbox.push(|commands| Command::Send {
            member: 1,
            to,
            bytes: commands.put(bytes.as_bytes()),
        });
    }

    fn occupy(&self) {
        self.shared.outbox.push_lazily(|_| Command::Occupied(1, true));
    }

    fn join_room(&self, room: &str) {
        self.set_room(room, true);
    }

    fn set_room(&self, room: &str, present: bool) {
        self.shared.outbox.push_lazily(|commands| Command::Room {
            member: 1,
            room: commands.put(room.as_bytes()),
            present,
        });
    }
}

fn spec_of(uid: &str) -> MemberSpec {
    MemberSpec {
        uid: uid.into(),
        nsp: "/".into(),
        prefix: "socket.io".into(),
        custom_parser: false,
        specific_responses: false,
        frames: true,
        stream: None,
        emitter: None,
        joins: Default::default(),
        mode: SubscriptionMode::Dynamic,
    }
}

async fn pair(hub: &Hub) -> (Node, Node) {
    let mut a = Node::start(hub, "aaaaaa", 1 << 20);
    let mut b = Node::start(hub, "bbbbbb", 1 << 20);
    a.event("ready").await;
    b.event("ready").await;
    (a, b)
}

fn run(test: impl std::future::Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_broadcast_becomes_a_frame_on_the_other_node_alone() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = pair(&hub).await;
        a.occupy();
        b.occupy();
        a.emit(r#"42["hello",{"a":1}]"#, None);
        assert_eq!(b.frame().await, r#"2["hello",{"a":1}]"#);
        b.emit(r#"42["back"]"#, None);
        assert_eq!(a.frame().await, r#"2["back"]"#, "and not its own");
    });
}

#[test]
fn what_nobody_here_needs_is_dropped() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = pair(&hub).await;
        b.join_room("here");
        a.emit(r#"42["first"]"#, Some("here"));
        assert_eq!(b.frame().await, r#"2["first"]"#);
        let before = b.shared.inbox.stats().ignored;
        a.emit(r#"42["nobody"]"#, None);
        a.emit(r#"42["nobody"]"#, Some("elsewhere"));
        a.emit(r#"42["somebody"]"#, Some("here"));
        assert_eq!(b.frame().await, r#"2["somebody"]"#);
        assert_eq!(b.shared.inbox.stats().ignored, before + 2);
    });
}

#[test]
fn a_broadcast_behind_a_join_is_not_judged_by_rooms_of_before() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = pair(&hub).await;
        b.occupy();
        a.send(
            Destination::Request,
            r#"{"uid":"aaaaaa","type":2,"opts":{"rooms":[],"except":[]},"rooms":["r"]}"#,
        );
        a.emit(r#"42["to the new room"]"#, Some("r"));
        b.until("the request", |seen| seen.kind == Kind::Request as u32).await;
        assert_eq!(b.frame().await, r#"2["to the new room"]"#);
        b.shared.outbox.push_lazily(|_| Command::Settled(1, 1));
        a.emit(r#"42["again"]"#, Some("r"));
        a.emit(r#"42["marker"]"#, None);
        assert_eq!(b.frame().await, r#"2["marker"]"#, "JS has not joined anybody");
    });
}

#[test]
fn members_of_one_process_are_counted_apart() {
    run(async {
        let hub = Hub::default();
        let (mut a, _b) = pair(&hub).await;
        a.shared.outbox.push(|_| Command::Join(2, Box::new(spec_of("a2a2a2"))));
        a.event("ready").await;
        a.shared.outbox.push(|_| Command::ServerCount(1, 9));
        let count = a.until("the count", |seen| seen.kind == Kind::Count as u32).await;
        assert_eq!((count.n, count.token), (3, 9));
    });
}

#[test]
fn a_request_gathers_the_answers() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = pair(&hub).await;
        a.shared.outbox.push(|commands| Command::Request {
            member: 1,
            id: "R1".into(),
            kind: RequestType::ServerSideEmit,
            bytes: commands.put(br#"{"uid":"aaaaaa","requestId":"R1","type":6,"data":["e"]}"#),
            timeout: Duration::from_secs(5),
            carried: false,
        });
        let request = b.until("the request", |seen| seen.kind == Kind::Request as u32).await;
        assert!(request.parts[0].contains("R1"));
        b.send(Destination::Response { uid: None }, r#"{"requestId":"R1","rooms":["x"]}"#);
        b.send(Destination::Response { uid: None }, r#"{"type":6,"requestId":"R1","data":1}"#);
        let answer = a.until("the answer", |seen| seen.kind == Kind::Answer as u32).await;
        assert_eq!(answer.parts[..2], ["R1", r#"{"type":6,"requestId":"R1","data":1}"#]);
        let answers = a.until("the end", |seen| seen.kind == Kind::Answers as u32).await;
        assert_eq!(answers.parts[1], r#"{"status":"done","expected":1}"#);
    });
}

/// A broadcast of `aaaaaa` to all, with the id `R2`.
const ACKNOWLEDGED: &[u8] = b"\x85\xa3uid\xa6aaaaaa\xa9requestId\xa2R2\xa4type\x07\xa6packet\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1/\xa4opts\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";

#[test]
fn an_acknowledged_broadcast_for_nobody_is_answered_without_js() {
    run(async {
        let hub = Hub::default();
        let (mut a, b) = pair(&hub).await;
        a.shared.outbox.push(|commands| Command::Request {
            member: 1,
            id: "R2".into(),
            kind: RequestType::Broadcast,
            bytes: commands.put(ACKNOWLEDGED),
            timeout: Duration::from_secs(5),
            carried: false,
        });
        let ack = a.until("the count of clients", |seen| seen.kind == Kind::Ack as u32).await;
        assert_eq!(ack.parts[1], r#"{"type":8,"requestId":"R2","clientCount":0}"#);
        a.until("the end", |seen| seen.kind == Kind::AckEnd as u32).await;
        assert_eq!(b.shared.inbox.stats().delivered, 0);
    });
}

#[test]
fn an_acknowledged_broadcast_goes_out_though_too_many_requests_wait() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = pair(&hub).await;
        let ask = |node: &Node, id: String, kind| {
            node.shared.outbox.push(|commands| Command::Request {
                member: 1,
                id,
                kind,
                bytes: commands.put(br#"{"uid":"aaaaaa","requestId":"Q","type":1}"#),
                timeout: Duration::from_secs(60),
                carried: false,
            });
        };
        for n in 0..crate::core::requests::MAX_PENDING {
            ask(&a, format!("{n}"), RequestType::AllRooms);
        }
        ask(&a, "one more".into(), RequestType::AllRooms);
        let answers = a.until("the end", |seen| seen.kind == Kind::Answers as u32).await;
        assert_eq!(answers.parts[1], r#"{"status":"tooMany","expected":0}"#);
        assert_eq!(answers.parts[0], "one more");
        b.occupy();
        a.shared.outbox.push(|commands| Command::Request {
            member: 1,
            id: "acknowledged".into(),
            kind: RequestType::Broadcast,
            bytes: commands.put(ACKNOWLEDGED),
            timeout: Duration::from_secs(60),
            carried: false,
        });
        a.until("the end", |seen| seen.kind == Kind::AckEnd as u32).await;
        b.until("the broadcast", |seen| seen.kind == Kind::Request as u32 && seen.parts[0].contains("R2"))
            .await;
    });
}

#[test]
fn after_an_outage_nothing_goes_out_before_the_others_are_back() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = pair(&hub).await;
        b.occupy();
        // The peers are counted with the first broadcast; the frame comes after.
        a.emit(r#"42["before"]"#, None);
        assert_eq!(b.frame().await, r#"2["before"]"#);
        a.shared.outbox.push(|_| Command::ServerCount(1, 1));
        a.until("the count", |seen| seen.kind == Kind::Count as u32).await;
        hub.kill();
        a.event("down").await;
        b.event("deaf").await;
        a.emit(r#"42["during 1"]"#, None);
        a.emit(r#"42["during 2"]"#, None);
        assert!(!a.shared.outbox.is_flushed());
        hub.revive(&[0]);
        a.event("up").await;
        assert!(!a.shared.outbox.is_flushed(), "b is not back");
        hub.revive(&[1]);
        assert_eq!(b.frame().await, r#"2["during 1"]"#);
        assert_eq!(b.frame().await, r#"2["during 2"]"#);
        let stats = a.shared.inbox.stats();
        assert_eq!((stats.dropped, stats.outages), (0, 1));
    });
}

#[test]
fn one_that_has_just_joined_is_waited_for_after_an_outage() {
    for family in [Family::Classic, Family::Sharded] {
        run(async {
            let hub = Hub::default();
            let mut a = Node::start_in(&hub, "aaaaaa", 1 << 20, family);
            a.event("ready").await;
            let mut b = Node::start_in(&hub, "bbbbbb", 1 << 20, family);
            b.event("ready").await;
            b.occupy();
            // Nothing is published, and nothing is counted: the other one says that it is there.
            a.heard(2).await;
            hub.kill();
            a.event("down").await;
            b.event("deaf").await;
            a.emit(r#"42["during"]"#, None);
            hub.revive(&[0]);
            a.event("up").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(a.shared.inbox.stats().backlog, 1, "b is not back");
            hub.revive(&[1]);
            assert_eq!(b.frame().await, r#"2["during"]"#);
        });
    }
}

#[test]
fn a_full_backlog_drops_the_oldest_and_says_so() {
    run(async {
        let hub = Hub::default();
        hub.kill();
        let mut a = Node::start(&hub, "aaaaaa", 400);
        let mut b = Node::start(&hub, "bbbbbb", 400);
        b.occupy();
        a.event("down").await;
        for i in 0..10 {
            a.emit(&format!("42[\"n\",{i}]"), None);
        }
        while a.shared.inbox.stats().dropped == 0 {
            tokio::task::yield_now().await;
        }
        hub.revive(&[0, 1]);
        b.event("ready").await;
        let first = b.frame().await;
        let dropped = a.shared.inbox.stats().dropped;
        assert_eq!(first, format!("2[\"n\",{dropped}]"));
    });
}

#[test]
fn a_closed_link_writes_what_waits_and_then_takes_nothing() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = pair(&hub).await;
        b.occupy();
        a.emit(r#"42["last"]"#, None);
        a.shared.outbox.push(|_| Command::Close);
        assert_eq!(b.frame().await, r#"2["last"]"#);
        // It ends when Redis has answered.
        while Arc::strong_count(&a.shared) > 1 {
            tokio::task::yield_now().await;
        }
        a.emit(r#"42["late"]"#, None);
        assert!(a.shared.outbox.is_flushed());
    });
}

#[test]
fn a_closed_link_says_how_much_it_gives_up() {
    for family in [Family::Classic, Family::Sharded] {
        run(async {
            let hub = Hub::default();
            let mut a = Node::start_in(&hub, "aaaaaa", 1 << 20, family);
            a.event("ready").await;
            hub.kill();
            a.event("down").await;
            for i in 0..3 {
                a.emit(&format!("42[\"n\",{i}]"), None);
            }
            a.shared.outbox.push(|_| Command::Leave(1));
            a.shared.outbox.push(|_| Command::Close);
            assert!(a.shared.outbox.watch_flushed());
            assert_eq!(a.event("givenUp").await.parts[0], r#"{"type":"givenUp","messages":3}"#);
            a.event("flushed").await;
        });
    }
}

#[test]
fn hostile_bytes_are_counted_and_the_next_message_comes() {
    run(async {
        let hub = Hub::default();
        let (_a, mut b) = pair(&hub).await;
        b.occupy();
        let hostile: [&[u8]; 6] = [
            b"",
            b"\xc1",
            b"\xdd\xff\xff\xff\xff",
            b"{\"uid\":1}",
            &[0x91; 100_000],
            b"\x93\xa1u\x80\x80\x00",
        ];
        for channel in ["socket.io#/#", "socket.io-request#/#", "socket.io-response#/#"] {
            for bytes in hostile {
                hub.publish(channel.as_bytes(), bytes);
            }
        }
        hub.publish(b"socket.io#/#", b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa4good\x80");
        assert_eq!(b.frame().await, r#"2["good"]"#);
        // `{"uid":1}` is a response to nothing rather than a malformed one.
        assert!(b.shared.inbox.stats().malformed >= 16);
    });
}

#[test]
fn an_attempt_to_have_own_connections_is_answered_even_if_the_clients_have_ended() {
    run(async {
        let mut node = Node::start(&Hub::default(), "a", 1 << 20);
        node.shared.outbox.push(|_| Command::Open(false));
        node.shared.outbox.push(|_| Command::UseOwn {
            place: Box::new(Place::Redis(RedisTarget::new(
                Address::Unix("nowhere".into()),
                Settings::default(),
            ))),
            secret: "secret".into(),
        });
        let stayed = node.event("stayed").await;
        assert!(stayed.parts[0].contains("the clients have ended"), "{}", stayed.parts[0]);
    });
}
