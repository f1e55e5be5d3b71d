use std::collections::BTreeSet;
use std::future::poll_fn;

use super::*;
use crate::transport::redis::connect::Settings;
use crate::transport::redis::mock::{Client, MockPeer, block_on};

fn channel(name: &str) -> Subscription {
    Subscription::channel(name)
}

/// Returns the next command of a subscriber, which is polled meanwhile.
async fn command(subscriber: &mut SubscriberConnection, client: &mut Client) -> Vec<String> {
    let polled = poll_fn(|cx| {
        if subscriber.poll(cx, false, &mut |_| {}).more {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    });
    tokio::select! {
        command = client.command() => command,
        () = polled => Vec::new(),
    }
}

#[test]
fn what_changes_while_the_names_are_sent_anew_is_sent_once() {
    block_on(async {
        let mut peer = MockPeer::tcp().await;
        let target = RedisTarget::new(peer.address(), Settings::default());
        let mut subscriber = SubscriberConnection::new(0, Arc::new(target), Holding::Whole);
        let name = |n: usize| format!("m{n:05}");
        subscriber.subscribe((0..3 * PORTION).map(|n| channel(&name(n))).collect());
        subscriber.open();
        let opened = poll_fn(|cx| {
            subscriber.poll(cx, false, &mut |_| {});
            if subscriber.is_open() { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut client = peer.accept_while(opened).await;
        assert!(subscriber.unsent.is_some(), "a portion is sent, and no more");
        // Two of these still have to be sent. One of them is there already.
        subscriber.subscribe(vec![channel("a"), channel(&name(7)), channel("z")]);
        subscriber.unsubscribe(vec![channel(&name(8))]);
        let mut wanted: BTreeSet<String> = (0..3 * PORTION).filter(|&n| n != 8).map(name).collect();
        wanted.extend(["a".to_owned(), "z".to_owned()]);
        while !wanted.is_empty() {
            let command = command(&mut subscriber, &mut client).await;
            match command[0].as_str() {
                "SUBSCRIBE" => {
                    for name in &command[1..] {
                        assert!(wanted.remove(name), "{name} is not wanted, or was sent before");
                    }
                }
                _ => assert_eq!(command, ["UNSUBSCRIBE".to_owned(), name(8)]),
            }
        }
        subscriber.unsubscribe(vec![channel("z")]);
        assert_eq!(
            command(&mut subscriber, &mut client).await,
            ["UNSUBSCRIBE", "z"],
            "nothing else was to be sent"
        );
    });
}
