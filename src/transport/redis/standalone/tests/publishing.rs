//! Publishes and counts, and how the transport opens and closes.

use super::*;

#[test]
fn publishes_of_a_tick_go_out_in_one_write_and_replies_keep_their_order() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::tcp().await).await;
        rig.transport.publish(b"a", b"1");
        rig.transport.publish(b"a", b"2");
        rig.transport.count(7, &[b"a", b"b"]);
        rig.transport.publish(b"a", b"3");
        let expected = [
            push(&[b"PUBLISH", b"a", b"1"]),
            push(&[b"PUBLISH", b"a", b"2"]),
            push(&[b"PUBSUB", b"NUMSUB", b"a", b"b"]),
            push(&[b"PUBLISH", b"a", b"3"]),
        ]
        .concat();
        assert_eq!(rig.transport.unwritten(), expected.len());
        rig.with_peer(client.read()).await;
        assert_eq!(client.input(), expected);
        assert!(rig.transport.is_flushed());
        client.send(b":1\r\n-NOPERM no\r\n*4\r\n$1\r\na\r\n:4\r\n$1\r\nb\r\n:0\r\n:2\r\n").await;
        assert_eq!(rig.next().await, Event::Published(1));
        assert_eq!(rig.next().await, Event::PublishRefused("NOPERM no".to_owned()));
        assert_eq!(rig.next().await, Event::Counted(7, Some(vec![4, 0])));
        assert_eq!(rig.next().await, Event::Published(2));
    });
}

#[test]
fn a_loss_amid_a_burst_is_counted_to_the_publish() {
    block_on(async {
        // The buffers of a unix socket are far smaller than what is published.
        let (mut rig, mut client) = Rig::up(MockPeer::unix("burst")).await;
        let large = vec![b'x'; 8_000_000];
        rig.transport.publish(b"a", b"answered");
        rig.transport.publish(b"a", b"not answered");
        rig.transport.count(1, &[b"a"]);
        for _ in 0..3 {
            rig.transport.publish(b"a", &large);
        }
        rig.with_peer(async {
            for _ in 0..3 {
                client.command_head().await;
            }
        })
        .await;
        client.send(b":1\r\n").await;
        assert_eq!(rig.next().await, Event::Published(1));
        assert!(!rig.transport.is_flushed());
        drop(client);
        is_down(&rig.next().await, 2, 2);
        assert_eq!(rig.next().await, Event::Counted(1, None));
        assert!(rig.transport.is_flushed());

        rig.transport.publish(b"a", b"too early");
        let mut client = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.publish(b"a", b"again");
        rig.with_peer(client.expect(&["PUBLISH", "a", "again"])).await;
        drop(client);
        is_down(&rig.next().await, 1, 1);
    });
}

#[test]
fn connects_when_first_needed_and_answers_a_count_that_waited() {
    block_on(async {
        let mut rig = Rig::tcp().await;
        rig.transport.count(3, &[b"a"]);
        assert!(rig.transport.is_flushed());
        let mut client = rig.accept().await;
        rig.with_peer(client.expect(&["PUBSUB", "NUMSUB", "a"])).await;
        client.send(b"-NOPERM no\r\n").await;
        assert_eq!(rig.next().await, Event::Up);
        assert_eq!(rig.next().await, Event::CountRefused(3, "NOPERM no".to_owned()));
    });
}

#[test]
fn an_attempt_that_fails_is_reported_once_with_what_waited() {
    block_on(async {
        tokio::time::pause();
        let nowhere = Address::Unix("/nonexistent/redis.sock".into());
        let mut transport =
            RedisTransport::new(RedisTarget::new(nowhere, Settings::default()), ChannelKind::Global);
        transport.publish(b"a", b"1");
        transport.count(9, &[b"a"]);
        let mut events = Vec::new();
        while events.len() < 4 {
            transport.incoming(&mut |incoming| events.push(Event::of(incoming))).await;
        }
        is_down(&events[0], 0, 1);
        assert_eq!(events[1], Event::Counted(9, None));
        is_down(&events[2], 0, 0);
        is_down(&events[3], 0, 0);
    });
}

#[test]
fn garbage_costs_the_connection_and_no_more() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        subscriber.send(b"\x16\x03\x01").await;
        let reason = "not the Redis protocol: a reply begins with byte 0x16".to_owned();
        assert_eq!(rig.next().await, Event::SubscriberDown(0, reason));
        rig.transport.publish(b"a", b"1");
        rig.with_peer(commands.command()).await;
        commands.send(b"$1\r\nx\r\n").await;
        is_down(&rig.next().await, 1, 0);
        // Both connections come back, in either order.
        let (_one, _two) = (rig.accept().await, rig.accept().await);
        while rig.next().await != Event::Up {}
    });
}

#[test]
fn replies_that_nobody_asked_for_cost_the_connection() {
    block_on(async {
        for (bytes, reason) in [
            (&b":1\r\n"[..], "not the Redis protocol: a reply that nothing was asked for"),
            (b"-ERR max number of clients\r\n", "ERR max number of clients"),
        ] {
            let (mut rig, mut client, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
            client.send(bytes).await;
            assert_eq!(rig.next().await, Event::Down(reason.to_owned(), 0, 0));
            subscriber.send(bytes).await;
            let mut event = rig.next().await;
            while !matches!(event, Event::SubscriberDown(..)) {
                event = rig.next().await;
            }
            assert_eq!(event, Event::SubscriberDown(0, reason.to_owned()));
        }
    });
}

#[test]
fn speaks_through_a_unix_socket() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::unix("plain")).await;
        rig.transport.publish(b"a", b"1");
        rig.with_peer(client.expect(&["PUBLISH", "a", "1"])).await;
        client.send(b":0\r\n").await;
        assert_eq!(rig.next().await, Event::Published(0));
    });
}

#[test]
fn closes_with_the_users_clients_and_opens_again() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.publish(b"a", b"answered");
        rig.with_peer(commands.command()).await;
        rig.transport.publish(b"a", b"not written");
        rig.transport.count(5, &[b"a"]);
        rig.transport.set_open(false);
        rig.transport.set_open(false);
        rig.transport.count(6, &[b"a"]);
        rig.transport.publish(b"a", b"closed");
        let reason = "the link is closed".to_owned();
        for expected in [
            Event::Down(reason.clone(), 1, 1),
            Event::Counted(5, None),
            Event::SubscriberDown(0, reason),
            Event::Counted(6, None),
        ] {
            assert_eq!(rig.next().await, expected);
        }
        rig.with_peer(async {
            commands.closed().await;
            subscriber.closed().await;
        })
        .await;
        assert!(rig.events.is_empty());

        rig.transport.subscribe(0, vec![channel("d")]);
        rig.transport.set_open(true);
        let (mut one, mut two) = (rig.accept().await, rig.accept().await);
        let command = rig
            .with_peer(async {
                tokio::select! {
                    command = one.command() => command,
                    command = two.command() => command,
                }
            })
            .await;
        assert_eq!(command, ["SUBSCRIBE", "d", "c"]);
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.close();
        assert!(matches!(rig.next().await, Event::Down(_, 0, 1)));
        assert!(matches!(rig.next().await, Event::SubscriberDown(0, _)));
        rig.transport.set_open(true);
        assert!(rig.transport.subscribers[0].is_closed());
    });
}
