//! Emitters: they publish, hear nothing, and are counted by nobody.

use super::*;

fn spec(own: &str) -> MemberSpec {
    MemberSpec { emitter: Some(own.into()), frames: false, ..spec_of("emitter") }
}

fn start(hub: &Hub, proof: Option<&str>) -> Node {
    let node = Node::alone(hub, 1 << 20, Family::Classic, proof.map(String::from));
    node.shared.outbox.push(|_| Command::Join(1, Box::new(spec("own"))));
    node
}

impl Node {
    async fn answered(&mut self, token: u32) {
        self.shared.outbox.push(|_| Command::WhenAnswered(token));
        self.until("the fence", |seen| seen.kind == Kind::Count as u32 && seen.token == token).await;
    }
}

#[test]
fn an_emitter_is_heard_and_not_counted() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = pair(&hub).await;
        let mut emitter = start(&hub, None);
        emitter.event("ready").await;
        assert_eq!(hub.names(2), Vec::<String>::new());
        for node in [&a, &b] {
            node.occupy();
        }
        emitter.emit(r#"42["hello"]"#, None);
        emitter.answered(1).await;
        for node in [&mut a, &mut b] {
            assert_eq!(node.frame().await, r#"2["hello"]"#);
        }
        let stats = emitter.shared.inbox.stats();
        assert_eq!((stats.published, stats.acknowledged, stats.receivers), (1, 1, 2));
        a.shared.outbox.push(|_| Command::ServerCount(1, 9));
        let count = a.until("the count", |seen| seen.kind == Kind::Count as u32).await;
        assert_eq!(count.n, 2);
    });
}

#[test]
fn it_listens_for_the_proof_alone() {
    run(async {
        let hub = Hub::default();
        let (_a, mut b) = pair(&hub).await;
        b.occupy();
        let mut emitter = start(&hub, Some("proof"));
        let wanted = emitter.event("prove").await;
        assert!(wanted.parts[0].contains("socket.io-response#/#own#"), "{}", wanted.parts[0]);
        assert_eq!(hub.names(2), ["socket.io-response#/#own#"]);
        emitter.emit(r#"42["early"]"#, None);
        hub.publish(b"socket.io-response#/#own#", b"proof");
        emitter.event("ready").await;
        assert_eq!(b.frame().await, r#"2["early"]"#);
        emitter.answered(1).await;
        assert_eq!(hub.names(2), Vec::<String>::new());
        emitter.shared.outbox.push(|_| Command::Join(2, Box::new(spec("other"))));
        emitter.event("ready").await;
        assert_eq!(hub.names(2), Vec::<String>::new(), "there is nothing to prove any more");
    });
}

#[test]
fn after_an_outage_it_waits_for_those_who_were_there() {
    run(async {
        let hub = Hub::default();
        let mut b = Node::start(&hub, "bbbbbb", 1 << 20);
        b.event("ready").await;
        b.occupy();
        let mut emitter = start(&hub, None);
        emitter.event("ready").await;
        emitter.emit(r#"42["before"]"#, None);
        assert_eq!(b.frame().await, r#"2["before"]"#);
        emitter.answered(1).await;
        hub.kill();
        emitter.event("down").await;
        emitter.emit(r#"42["meanwhile"]"#, None);
        emitter.shared.outbox.push(|_| Command::WhenAnswered(2));
        // Redis is back, and the only server is not yet.
        hub.revive(&[1]);
        emitter.event("up").await;
        hub.revive(&[0]);
        assert_eq!(b.frame().await, r#"2["meanwhile"]"#);
        emitter.until("the fence", |seen| seen.kind == Kind::Count as u32 && seen.token == 2).await;
        assert_eq!(emitter.shared.inbox.stats().receivers, 2);
    });
}

#[test]
fn what_is_published_behind_a_fence_waits_for_it() {
    run(async {
        let hub = Hub::default();
        let mut emitter = start(&hub, None);
        emitter.event("ready").await;
        for (n, token) in [(3, 1), (0, 2), (2, 3)] {
            for _ in 0..n {
                publish(&emitter);
            }
            emitter.shared.outbox.push(|_| Command::WhenAnswered(token));
        }
        publish(&emitter);
        for (token, least) in [(1, 3), (2, 3), (3, 5)] {
            emitter.until("the fence", |seen| seen.kind == Kind::Count as u32 && seen.token == token).await;
            let stats = emitter.shared.inbox.stats();
            assert!(stats.acknowledged >= least, "{stats:?}");
        }
        emitter.answered(4).await;
        assert_eq!(emitter.shared.inbox.stats().acknowledged, 6);
    });
}

#[test]
fn a_fence_falls_with_what_stands_before_it() {
    run(async {
        let hub = Hub::default();
        let mut emitter = Node::alone(&hub, 100, Family::Classic, None);
        emitter.shared.outbox.push(|_| Command::Join(1, Box::new(spec("own"))));
        emitter.event("ready").await;
        hub.kill();
        emitter.event("down").await;
        for _ in 0..10 {
            publish(&emitter);
        }
        emitter.shared.outbox.push(|_| Command::WhenAnswered(1));
        while emitter.shared.inbox.stats().dropped == 0 {
            tokio::task::yield_now().await;
        }
        hub.revive(&[0]);
        emitter.until("the fence", |seen| seen.kind == Kind::Count as u32 && seen.token == 1).await;
        let stats = emitter.shared.inbox.stats();
        assert_eq!(stats.acknowledged + stats.dropped, 10, "{stats:?}");
        assert!(stats.acknowledged > 0, "{stats:?}");
    });
}

fn publish(emitter: &Node) {
    emitter.send(Destination::Broadcast { room: None }, "a message of some length");
}
