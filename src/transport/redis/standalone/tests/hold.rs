//! What Redis refuses for now, as while a script runs: nothing is lost, and nothing is overtaken.

use super::{Event, Rig, channel, confirmation, push};
use crate::transport::Transport;
use crate::transport::redis::mock::{MockPeer, block_on};

const BUSY: &[u8] = b"-BUSY Redis is busy running a script.\r\n";

fn held() -> Event {
    Event::Held("BUSY Redis is busy running a script.".to_owned())
}

fn returned(payload: &[u8]) -> Event {
    Event::Returned("a".to_owned(), payload.to_vec())
}

#[test]
fn publishes_that_are_refused_for_now_come_back_in_order_and_the_others_do_not() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::tcp().await).await;
        for payload in [b"1", b"2", b"3", b"4"] {
            rig.transport.publish(b"a", payload);
        }
        for payload in ["1", "2", "3", "4"] {
            rig.with_peer(client.expect(&["PUBLISH", "a", payload])).await;
        }
        client.send(&[BUSY, BUSY, b":2\r\n-NOPERM no\r\n"].concat()).await;
        assert_eq!(rig.next().await, held());
        assert_eq!(rig.next().await, returned(b"1"));
        assert_eq!(rig.next().await, returned(b"2"));
        assert_eq!(rig.next().await, Event::Published(2));
        assert_eq!(rig.next().await, Event::PublishRefused("NOPERM no".to_owned()));
        for _ in 0..2 {
            rig.with_peer(client.expect(&["PING"])).await;
            client.send(BUSY).await;
        }
        rig.with_peer(client.expect(&["PING"])).await;
        assert_eq!(rig.events, [], "it is told once");
        client.send(b"+PONG\r\n").await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.publish(b"a", b"5");
        rig.with_peer(client.expect(&["PUBLISH", "a", "5"])).await;
        client.send(b":1\r\n").await;
        assert_eq!(rig.next().await, Event::Published(1));
    });
}

#[test]
fn a_count_that_is_refused_for_now_asks_whether_publishes_would_be() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::tcp().await).await;
        for ends in [true, false] {
            rig.transport.count(7, &[b"a"]);
            rig.with_peer(client.expect(&["PUBSUB", "NUMSUB", "a"])).await;
            client.send(BUSY).await;
            assert_eq!(rig.next().await, Event::Counted(7, None));
            rig.with_peer(client.expect(&["PING"])).await;
            if ends {
                client.send(b"+PONG\r\n").await;
                continue;
            }
            client.send(BUSY).await;
            assert_eq!(rig.next().await, held());
            rig.with_peer(client.expect(&["PING"])).await;
            client.send(b"+PONG\r\n").await;
            assert_eq!(rig.next().await, Event::Up);
        }
        rig.transport.count(8, &[b"a"]);
        rig.with_peer(client.expect(&["PUBSUB", "NUMSUB", "a"])).await;
        client.send(b"-NOPERM no\r\n").await;
        assert_eq!(rig.next().await, Event::CountRefused(8, "NOPERM no".to_owned()));
    });
}

#[test]
fn a_loss_ends_what_is_refused_for_now() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::tcp().await).await;
        rig.transport.publish(b"a", b"1");
        rig.transport.publish(b"a", b"2");
        rig.with_peer(client.expect(&["PUBLISH", "a", "1"])).await;
        client.send(BUSY).await;
        assert_eq!(rig.next().await, held());
        assert_eq!(rig.next().await, returned(b"1"));
        drop(client);
        assert!(matches!(rig.next().await, Event::Down(_, 1, 0)));
        let mut client = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.publish(b"a", b"3");
        rig.with_peer(client.read()).await;
        assert_eq!(client.input(), push(&[b"PUBLISH", b"a", b"3"]));
    });
}

#[test]
fn subscriptions_are_made_and_let_go_when_redis_takes_that_again() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[channel("a"), channel("b")]).await;
        rig.transport.unsubscribe(0, vec![channel("a")]);
        rig.transport.subscribe(0, vec![channel("c")]);
        rig.with_peer(subscriber.expect(&["UNSUBSCRIBE", "a"])).await;
        rig.with_peer(subscriber.expect(&["SUBSCRIBE", "c"])).await;
        subscriber.send(&[BUSY, BUSY].concat()).await;
        assert!(matches!(rig.next().await, Event::SubscribeRefused(0, _)));
        rig.with_peer(subscriber.expect(&["SUBSCRIBE", "c"])).await;
        rig.with_peer(subscriber.expect(&["UNSUBSCRIBE", "a"])).await;
        subscriber
            .send(&[confirmation("SUBSCRIBE", "c", 3), confirmation("UNSUBSCRIBE", "a", 2)].concat())
            .await;
        assert_eq!(rig.next().await, Event::Subscribed(0, false, "c".to_owned()));
        // A name that is wanted again meanwhile stays.
        rig.transport.unsubscribe(0, vec![channel("c")]);
        rig.with_peer(subscriber.expect(&["UNSUBSCRIBE", "c"])).await;
        subscriber.send(BUSY).await;
        assert!(matches!(rig.next().await, Event::SubscribeRefused(0, _)));
        rig.transport.subscribe(0, vec![channel("c")]);
        rig.with_peer(subscriber.expect(&["SUBSCRIBE", "c"])).await;
        subscriber.send(&confirmation("SUBSCRIBE", "c", 2)).await;
        assert_eq!(rig.next().await, Event::Subscribed(0, false, "c".to_owned()));
        rig.transport.subscribe(0, vec![channel("d")]);
        rig.with_peer(subscriber.expect(&["SUBSCRIBE", "d"])).await;
        // A refusal of the same round, which is reported already.
        subscriber.send(BUSY).await;
        rig.with_peer(subscriber.expect(&["SUBSCRIBE", "d"])).await;
    });
}
