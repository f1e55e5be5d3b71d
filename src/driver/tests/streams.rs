//! Members that speak by streams: entries that come once whatever is lost, and sessions.

use super::*;
use crate::core::member::StreamSpec;
use crate::transport::ChannelKind;

impl Node {
    fn start_streaming(hub: &Hub, uid: &str) -> Self {
        let node = Self::alone(hub, 1 << 20, Family::Streams { channel_kind: ChannelKind::Global }, None);
        let stream = StreamSpec {
            name: "s".into(),
            count: 1,
            max_len: 10_000,
            read_count: 100,
            block: 5000,
            recovers: true,
        };
        let spec = MemberSpec { stream: Some(stream), ..spec_of(uid) };
        node.shared.outbox.push(|_| Command::Join(1, Box::new(spec)));
        node
    }

    async fn streaming(hub: &Hub, uid: &str) -> Self {
        let mut node = Self::start_streaming(hub, uid);
        node.event("ready").await;
        node.occupy();
        node
    }

    /// The id of the next entry of its own; empty if it is not known.
    async fn added(&mut self) -> (u32, String) {
        let seen = self.until("an id", |seen| seen.kind == Kind::Added as u32).await;
        (seen.token, seen.parts[0].clone())
    }

    async fn frames(&mut self, numbers: impl Iterator<Item = usize>) {
        for number in numbers {
            let frame = self.frame().await;
            assert!(frame.starts_with(&format!("2[\"n\",{number},")), "{frame} is not {number}");
        }
    }
}

async fn streaming_pair(hub: &Hub) -> (Node, Node) {
    (Node::streaming(hub, "aaaaaaaaaaaaaaaa").await, Node::streaming(hub, "bbbbbbbbbbbbbbbb").await)
}

fn numbered(number: usize) -> String {
    format!("42[\"n\",{number}]")
}

/// Adds an event as another server would.
fn add(hub: &Hub, number: usize) {
    let data = format!(
        r#"{{"packet":{{"type":2,"data":["n",{number}]}},"opts":{{"rooms":[],"except":[],"flags":{{}}}}}}"#
    );
    let fields: [&[u8]; 8] = [b"uid", b"other", b"nsp", b"/", b"type", b"3", b"data", data.as_bytes()];
    hub.run(&[&[&b"XADD"[..], b"s", b"*"], &fields[..]].concat());
}

/// How many entries there are.
fn entries(hub: &Hub) -> usize {
    let entries = hub.run(&[b"XRANGE", b"s", b"-", b"+"]);
    memchr::memmem::find_iter(&entries, b"$3\r\nuid\r\n").count()
}

#[test]
fn an_entry_becomes_a_frame_on_the_other_nodes_and_its_id_is_told_on_its_own() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = streaming_pair(&hub).await;
        a.emit(r#"42["hello"]"#, None);
        assert_eq!(b.frame().await, r#"2["hello","1-0"]"#);
        assert_eq!(a.added().await, (1, "1-0".to_owned()));
        b.emit(r#"42["back"]"#, None);
        assert_eq!(a.frame().await, r#"2["back","2-0"]"#, "and not its own");
    });
}

#[test]
fn readers_that_are_killed_go_on_where_they_were() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = streaming_pair(&hub).await;
        for number in 0..200 {
            a.emit(&numbered(number), None);
            if number % 7 == 0 {
                hub.cut_readers(0);
                hub.cut_readers(1);
                tokio::task::yield_now().await;
            }
        }
        b.frames(0..200).await;
    });
}

#[test]
fn an_entry_whose_reply_is_lost_is_there_once() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = streaming_pair(&hub).await;
        a.emit(&numbered(0), None);
        b.frames(0..1).await;
        hub.lose_reply(0);
        for number in 1..4 {
            a.emit(&numbered(number), None);
        }
        a.event("down").await;
        b.frames(1..4).await;
        assert_eq!(entries(&hub), 4);
        a.emit(&numbered(4), None);
        b.frames(4..5).await;
        assert_eq!(entries(&hub), 5);
    });
}

#[test]
fn what_is_emitted_and_added_in_an_outage_arrives_after_it() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = streaming_pair(&hub).await;
        a.emit(&numbered(0), None);
        b.frames(0..1).await;
        hub.kill();
        a.event("down").await;
        a.emit(&numbered(3), None);
        // By another server, which is back before.
        add(&hub, 1);
        add(&hub, 2);
        hub.revive(&[0, 1]);
        b.frames(1..4).await;
        assert_eq!(entries(&hub), 4);
    });
}

#[test]
fn what_is_trimmed_unread_is_reported() {
    run(async {
        let hub = Hub::default();
        let (mut a, _b) = streaming_pair(&hub).await;
        add(&hub, 0);
        a.frames(0..1).await;
        hub.kill();
        for number in 1..5 {
            add(&hub, number);
        }
        assert_eq!(hub.run(&[b"XTRIM", b"s", b"MAXLEN", b"2"]), b":3\r\n");
        hub.revive(&[0, 1]);
        let gap = a.event("trimmed").await;
        assert_eq!(gap.parts[0], r#"{"type":"trimmed","stream":"s","after":"1-0","before":"4-0"}"#);
        a.frames(3..5).await;
    });
}

#[test]
fn a_stream_that_is_something_else_is_said_to_be_unreadable() {
    run(async {
        let hub = Hub::default();
        hub.run(&[b"SET", b"s", b"text"]);
        let mut node = Node::start_streaming(&hub, "aaaaaaaaaaaaaaaa");
        let seen = node.event("unreadable").await;
        assert!(seen.parts[0].contains("WRONGTYPE"), "{seen:?}");
        assert_eq!(hub.run(&[b"DEL", b"s"]), b":1\r\n");
        node.event("ready").await;
    });
}

#[test]
fn a_session_is_restored_once_with_what_it_missed() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = streaming_pair(&hub).await;
        a.shared.outbox.push(|commands| Command::Persist {
            member: 1,
            key: commands.put(b"session"),
            // { sid: "i", rooms: ["i"] }
            session: commands.put(b"gqNzaWShaaVyb29tc5GhaQ=="),
            lifetime: Duration::from_secs(60),
        });
        for number in 0..3 {
            a.emit(&numbered(number), None);
        }
        b.frames(0..3).await;
        for (token, found) in [(1, 4), (2, 0)] {
            b.shared.outbox.push(|commands| Command::Restore {
                member: 1,
                token,
                key: commands.put(b"session"),
                offset: commands.put(b"1-0"),
            });
            let restored = b
                .until("the session", |seen| seen.kind == Kind::Restored as u32 && seen.token == token)
                .await;
            assert_eq!(restored.n, found, "{restored:?}");
        }
        assert_eq!(hub.run(&[b"GET", b"session"]), b"$-1\r\n");
    });
}
