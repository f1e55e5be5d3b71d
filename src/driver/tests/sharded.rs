//! Sharded members: rooms with channels of their own, and slots that move.

use super::*;
use crate::wire::slices::PieceKind;

const MAIN: &str = "socket.io#/#";
const ROOM: &str = "socket.io#/#room#";

impl Node {
    fn sharded(hub: &Hub, uid: &str) -> Self {
        Self::start_in(hub, uid, 1 << 20, Family::Sharded)
    }

    /// Waits until all that has been asked for is confirmed.
    async fn subscribed(&mut self, token: u32) {
        self.shared.outbox.push(|_| Command::WhenSubscribed(1, token));
        self.until("the subscriptions", |seen| seen.kind == Kind::Count as u32 && seen.token == token).await;
    }

    async fn opened(&mut self) {
        self.until("the flow", |seen| seen.parts[0].starts_with(r#"{"type":"flowing","flowing":true"#)).await;
    }
}

async fn sharded_pair(hub: &Hub) -> (Node, Node) {
    let mut a = Node::sharded(hub, "aaaaaaaaaaaaaaaa");
    let mut b = Node::sharded(hub, "bbbbbbbbbbbbbbbb");
    a.event("ready").await;
    b.event("ready").await;
    (a, b)
}

#[test]
fn a_broadcast_arrives_as_the_text_that_it_was() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = sharded_pair(&hub).await;
        b.occupy();
        a.emit(r#"42["hello",1,{"a":1.50}]"#, None);
        assert_eq!(b.frame().await, r#"2["hello",1,{"a":1.50}]"#);
    });
}

#[test]
fn only_who_has_a_room_listens_to_its_channel() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = sharded_pair(&hub).await;
        for room in ["room", "gone", "twenty-characters-ab"] {
            b.join_room(room);
        }
        b.set_room("gone", false);
        b.subscribed(1).await;
        assert_eq!(hub.names(1), ["socket.io#/#", "socket.io#/#bbbbbbbbbbbbbbbb#", ROOM]);
        assert_eq!(hub.names(0).len(), 2);
        a.emit(r#"42["to",1]"#, Some("room"));
        a.emit(r#"42["to",2]"#, Some("twenty-characters-ab"));
        assert_eq!(b.frame().await, r#"2["to",1]"#);
        assert_eq!(b.frame().await, r#"2["to",2]"#);
        b.set_room("room", false);
        b.subscribed(2).await;
        assert_eq!(hub.names(1).len(), 2);
        b.shared.outbox.push(|_| Command::Leave(1));
        b.subscribed(3).await;
        assert_eq!(hub.names(1).len(), 0);
    });
}

#[test]
fn rooms_are_subscribed_to_again_after_an_outage() {
    run(async {
        let hub = Hub::default();
        let (a, mut b) = sharded_pair(&hub).await;
        b.join_room("room");
        b.subscribed(1).await;
        hub.kill();
        b.event("deaf").await;
        a.emit(r#"42["to",1]"#, Some("room"));
        b.shared.outbox.push(|_| Command::WhenSubscribed(1, 2));
        hub.revive(&[0, 1]);
        b.event("ready").await;
        b.until("the barrier", |seen| seen.kind == Kind::Count as u32 && seen.token == 2).await;
        assert_eq!(b.frame().await, r#"2["to",1]"#);
    });
}

#[test]
fn a_slot_that_moves_costs_no_message() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = sharded_pair(&hub).await;
        b.occupy();
        a.emit(r#"42["to",0]"#, None);
        assert_eq!(b.frame().await, r#"2["to",0]"#);
        a.opened().await;
        hub.move_away(MAIN);
        a.event("deaf").await;
        b.event("deaf").await;
        for n in 1..4 {
            a.emit(&format!(r#"42["to",{n}]"#), None);
        }
        a.until("the end of the flow", |seen| seen.parts[0].contains(r#""flowing":false"#)).await;
        a.emit(r#"42["to",4]"#, None);
        hub.follow(0, MAIN);
        a.event("ready").await;
        hub.follow(1, MAIN);
        b.event("ready").await;
        for n in 1..5 {
            assert_eq!(b.frame().await, format!(r#"2["to",{n}]"#));
        }
        a.opened().await;
        assert_eq!(a.shared.inbox.stats().dropped, 0);
        assert_eq!(a.shared.inbox.stats().published, 6, "with the hello");
    });
}

#[test]
fn who_has_nobody_answers_without_js() {
    run(async {
        let hub = Hub::default();
        let (mut a, b) = sharded_pair(&hub).await;
        let fetch = r#"{"type":7,"data":{"opts":{"rooms":["x"]},"requestId":"R"},"uid":"aaaaaaaaaaaaaaaa","nsp":"/"}"#;
        a.shared.outbox.push(|commands| Command::Request {
            member: 1,
            id: "R".into(),
            kind: RequestType::RemoteFetch,
            bytes: commands.put(fetch.as_bytes()),
            timeout: Duration::from_secs(5),
            carried: false,
        });
        let answer = a.until("the answer", |seen| seen.kind == Kind::Answer as u32).await;
        let ascii = u32::from(PieceKind::Ascii as u8) << 2;
        assert_eq!((answer.n, &*answer.parts[1]), (ascii | 1, "[]"), "a list in one piece");
        let end = a.until("the end", |seen| seen.kind == Kind::Answers as u32).await;
        assert_eq!(end.parts[1], r#"{"status":"done","expected":1}"#);
        assert_eq!(b.shared.inbox.stats().delivered, 0);
    });
}
