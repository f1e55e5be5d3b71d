//! Subscriptions and messages.

use super::*;

#[test]
fn subscribes_in_batches_and_again_after_a_loss() {
    block_on(async {
        let mut names: Vec<_> = (0..1200).map(|n| channel(&format!("c{n:04}"))).collect();
        names.push(pattern("p*"));
        let (mut rig, _commands, subscriber) = Rig::subscribed(&names).await;
        drop(subscriber);
        let event = rig.next().await;
        assert!(matches!(event, Event::SubscriberDown(0, _)), "{event:?}");
        let mut subscriber = rig.accept().await;
        for size in [1, 500, 499, 201] {
            let command = rig.with_peer(subscriber.command()).await;
            assert_eq!(command.len(), size + 1);
            for name in &command[1..] {
                subscriber.send(&confirmation(&command[0], name, 1)).await;
                assert!(matches!(rig.next().await, Event::Subscribed(0, ..)));
            }
        }
    });
}

#[test]
fn subscribers_are_connections_of_their_own() {
    block_on(async {
        let (mut rig, _commands, mut first) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.subscribe(1, vec![channel("c")]);
        let mut second = rig.accept().await;
        rig.with_peer(second.expect(&["SUBSCRIBE", "c"])).await;
        second.send(&confirmation("SUBSCRIBE", "c", 1)).await;
        assert_eq!(rig.next().await, Event::Subscribed(1, false, "c".to_owned()));
        let message = push(&[b"message", b"c", b"hello"]);
        for (subscriber, client) in [(0, &mut first), (1, &mut second)] {
            client.send(&message).await;
            assert_eq!(rig.next().await, Event::Message(subscriber, None, "c".to_owned(), b"hello".to_vec()));
        }
    });
}

#[test]
fn a_subscriber_closes_with_its_last_name() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[channel("c"), pattern("p*")]).await;
        rig.transport.unsubscribe(0, vec![channel("c"), channel("unknown")]);
        rig.with_peer(subscriber.expect(&["UNSUBSCRIBE", "c"])).await;
        subscriber.send(&confirmation("UNSUBSCRIBE", "c", 1)).await;
        rig.transport.unsubscribe(0, vec![pattern("p*")]);
        rig.with_peer(async {
            subscriber.expect(&["PUNSUBSCRIBE", "p*"]).await;
            subscriber.closed().await;
        })
        .await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
        // It opens again with the next name.
        rig.transport.subscribe(0, vec![channel("d")]);
        let mut subscriber = rig.accept().await;
        rig.serve(&mut subscriber, 1).await;
    });
}

#[test]
fn a_refused_name_does_not_hold_up_the_others_and_is_tried_again() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[channel("a")]).await;
        const ERROR: &str = "NOPERM No permissions to access a channel";
        let refusal = format!("-{ERROR}\r\n").into_bytes();
        rig.transport.subscribe(0, ["b", "c", "no", "d"].map(channel).to_vec());
        let mut commands = Vec::new();
        while commands.len() < 5 {
            let command = rig.with_peer(subscriber.command()).await;
            if command.iter().any(|name| name == "no") {
                subscriber.send(&refusal).await;
            } else {
                for name in &command[1..] {
                    subscriber.send(&confirmation("SUBSCRIBE", name, 1)).await;
                }
            }
            commands.push(command[1..].join(" "));
        }
        assert_eq!(commands, ["b c no d", "b c", "no d", "no", "d"]);
        for expected in [
            Event::Subscribed(0, false, "b".to_owned()),
            Event::Subscribed(0, false, "c".to_owned()),
            Event::SubscribeRefused(0, ERROR.to_owned()),
            Event::Subscribed(0, false, "d".to_owned()),
        ] {
            assert_eq!(rig.next().await, expected);
        }
        // The subscriber connection stays up, and each further round of refusals is reported once.
        subscriber.send(&push(&[b"message", b"b", b"x"])).await;
        assert!(matches!(rig.next().await, Event::Message(..)));
        rig.with_peer(subscriber.expect(&["SUBSCRIBE", "no"])).await;
        subscriber.send(&refusal).await;
        assert_eq!(rig.next().await, Event::SubscribeRefused(0, ERROR.to_owned()));
        rig.serve(&mut subscriber, 1).await;
    });
}

#[test]
fn a_refused_command_is_tried_again_whole() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[channel("a")]).await;
        rig.transport.subscribe(0, vec![pattern("p*"), pattern("q*")]);
        rig.with_peer(subscriber.expect(&["PSUBSCRIBE", "p*", "q*"])).await;
        subscriber.send(b"-ERR unknown command 'PSUBSCRIBE'\r\n").await;
        assert_eq!(
            rig.next().await,
            Event::SubscribeRefused(0, "ERR unknown command 'PSUBSCRIBE'".to_owned())
        );
        rig.with_peer(subscriber.expect(&["PSUBSCRIBE", "p*", "q*"])).await;
    });
}

#[test]
fn a_message_may_be_split_anywhere() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[pattern("p*")]).await;
        let payload = b"bytes \r\n\0\xff $3\r\n".to_vec();
        let message = push(&[b"pmessage", b"p*", b"p#1", &payload]);
        let expected = Event::Message(0, Some("p*".to_owned()), "p#1".to_owned(), payload.clone());
        for at in 1..message.len() {
            rig.with_peer(async {
                subscriber.send(&message[..at]).await;
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                subscriber.send(&message[at..]).await;
            })
            .await;
            assert_eq!(rig.next().await, expected);
        }
        assert!(rig.events.is_empty());
    });
}

#[test]
fn a_large_message_arrives_whole() {
    block_on(async {
        let (mut rig, _commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        let payload: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let message = push(&[b"message", b"c", &payload]);
        rig.with_peer(subscriber.send(&message)).await;
        assert_eq!(rig.next().await, Event::Message(0, None, "c".to_owned(), payload));
    });
}

#[test]
fn a_paused_transport_publishes_and_does_not_read_its_subscribers() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        rig.transport.pause(true);
        subscriber.send(&push(&[b"message", b"c", b"x"])).await;
        for _ in 0..3 {
            rig.transport.publish(b"a", b"1");
            rig.with_peer(commands.command()).await;
            commands.send(b":1\r\n").await;
            assert_eq!(rig.next().await, Event::Published(1));
        }
        assert!(rig.events.is_empty());
        rig.transport.pause(false);
        assert!(matches!(rig.next().await, Event::Message(..)));
    });
}

/// Sets the clock forward, and lets it run on. A clock that is paused would jump while the test waits for the
/// peer.
async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

#[test]
fn a_subscriber_that_is_lost_before_it_was_read_to_its_end_says_since_when() {
    let paused = Duration::from_millis(1500);
    for catches_up in [false, true] {
        block_on(async {
            let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
            let began = tokio::time::Instant::now();
            rig.transport.pause(true);
            rig.transport.publish(b"a", b"1");
            rig.with_peer(commands.command()).await;
            commands.send(b":1\r\n").await;
            assert_eq!(rig.next().await, Event::Published(1));
            subscriber.send(&push(&[b"message", b"c", b"x"])).await;
            later(paused).await;
            rig.transport.pause(false);
            assert!(matches!(rig.next().await, Event::Message(..)));
            if catches_up {
                // Nothing is left to be read, for long enough.
                for _ in 0..2 {
                    rig.transport.publish(b"a", b"1");
                    rig.with_peer(commands.command()).await;
                    later(paused).await;
                }
            }
            drop(subscriber);
            let mut said = None;
            while said.is_none() {
                let sink = &mut |incoming: Incoming<'_>| {
                    if let Incoming::SubscriberDown { reason, silence, .. } = incoming {
                        said = Some((reason.to_owned(), silence));
                    }
                };
                rig.transport.incoming(sink).await;
            }
            let (reason, silence) = said.unwrap();
            if catches_up {
                let why = format!("{} closed the connection", rig.peer.address());
                assert_eq!((reason, silence), (why, 0));
            } else {
                // A busy machine needs some time as well.
                let longest = began.elapsed().as_secs_f64() * 1000.0;
                assert!(silence >= 1500 && silence as f64 <= longest, "{silence} of {longest}");
                let why = format!(
                    "{} closed the connection; it had not been read for {:.1} s: see client-output-buffer-limit",
                    rig.peer.address(),
                    silence as f64 / 1000.0
                );
                assert_eq!(reason, why);
            }
        });
    }
}

#[test]
fn a_flood_on_a_subscriber_does_not_starve_the_others() {
    block_on(async {
        let (mut rig, mut commands, mut subscriber) = Rig::subscribed(&[channel("c")]).await;
        let flood = push(&[b"message", b"c", &[b'x'; 200]]).repeat(1000);
        let flooding = tokio::spawn(async move {
            loop {
                subscriber.send(&flood).await;
            }
        });
        for _ in 0..5 {
            rig.transport.publish(b"a", b"1");
            rig.with_peer(async {
                commands.command().await;
                commands.send(b":1\r\n").await;
            })
            .await;
            while rig.next().await != Event::Published(1) {}
        }
        flooding.abort();
    });
}
