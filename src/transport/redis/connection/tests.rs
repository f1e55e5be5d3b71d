use super::*;
use crate::transport::ChannelKind;
use crate::transport::redis::buffer::write_publish;
use crate::transport::redis::connect::{Settings, Tls, TlsOptions};
use crate::transport::redis::mock::{Authority, MockPeer, block_on};
use std::future::poll_fn;

#[test]
fn waits_longer_after_each_failure() {
    block_on(async {
        tokio::time::pause();
        let nowhere = Address::Unix("/nonexistent/redis.sock".into());
        let mut connection = Connection::new(Arc::new(RedisTarget::new(nowhere, Settings::default())));
        connection.open();
        let mut last = Instant::now();
        for attempt in 0..12 {
            let loss = poll_fn(|cx| connection.poll_open(cx)).await.err().unwrap();
            assert!(loss.to_string().starts_with("cannot connect to /nonexistent"));
            let waited = last.elapsed();
            if attempt > 0 {
                let full = (BACKOFF_BASE * (1 << (attempt - 1))).min(BACKOFF_CAP);
                // The timer has a resolution of one millisecond.
                assert!(waited >= full / 4 && waited <= full + Duration::from_millis(2));
            }
            last = Instant::now();
            connection.lose();
            assert!(connection.is_waiting());
        }
    });
}

#[test]
fn what_tls_holds_back_is_not_written() {
    block_on(async {
        let authority = Authority::new("one");
        let mut peer = MockPeer::tls(authority.identity(&["127.0.0.1"]).acceptor(None)).await;
        let tls = TlsOptions { ca: vec![authority.pem()], ..TlsOptions::default() };
        let settings = Settings { tls: Some(Tls::new(&tls).unwrap()), ..Settings::default() };
        let mut connection = Connection::new(Arc::new(RedisTarget::new(peer.address(), settings)));
        connection.open();
        let mut client = peer.accept_while(poll_fn(|cx| connection.poll_open(cx))).await;
        let mut published = 0;
        while connection.unwritten() == 0 {
            write_publish(connection.commands.commands(), ChannelKind::Global, b"channel", &[b'x'; 1000]);
            published += 1;
            poll_fn(|cx| Poll::Ready(connection.poll_flush(cx))).await.unwrap();
        }
        assert!(connection.commands.unwritten().is_empty(), "TLS has taken it, the kernel has not");
        let serve = async {
            for _ in 0..published {
                client.command().await;
            }
        };
        let flush = poll_fn(|cx| match connection.poll_flush(cx) {
            Ok(()) if connection.unwritten() > 0 => Poll::Pending,
            flushed => Poll::Ready(flushed),
        });
        tokio::join!(serve, flush).1.unwrap();
    });
}

#[test]
fn the_last_messages_are_those_since_the_last_break() {
    block_on(async {
        let mut peer = MockPeer::tcp().await;
        let mut connection = Connection::new(Arc::new(RedisTarget::new(peer.address(), Settings::default())));
        connection.open();
        let mut client = peer.accept_while(poll_fn(|cx| connection.poll_open(cx))).await;
        tokio::time::pause();
        let none = Vec::<&str>::new;
        for (payload, pause, last) in [
            (Some("1"), BREAK, vec!["1"]),
            (Some("2"), BREAK / 2, vec!["1", "2"]),
            // An answer is no message.
            (None, BREAK / 2, vec!["1", "2"]),
            (None, BREAK / 2, vec!["1", "2"]),
            (Some("3"), BREAK, vec!["3"]),
            (None, BREAK / 2, vec!["3"]),
            (None, BREAK / 2, none()),
        ] {
            let push = payload.map_or_else(
                || "+PONG\r\n".to_owned(),
                |payload| format!("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n{payload}\r\n"),
            );
            client.send(push.as_bytes()).await;
            poll_fn(|cx| connection.poll_fill(cx)).await.unwrap();
            assert!(connection.next_reply().unwrap().is_some());
            assert!(poll_fn(|cx| Poll::Ready(connection.poll_fill(cx))).await.is_pending());
            let all: Vec<&str> = connection
                .last_messages()
                .map(|message| std::str::from_utf8(message.payload).unwrap())
                .collect();
            assert_eq!(all, last);
            tokio::time::advance(pause).await;
        }
    });
}

#[test]
fn a_server_that_accepts_and_drops_is_not_stormed() {
    block_on(async {
        let mut peer = MockPeer::tcp().await;
        let mut connection = Connection::new(Arc::new(RedisTarget::new(peer.address(), Settings::default())));
        connection.open();
        for failures in 1..4 {
            let client = peer.accept_while(poll_fn(|cx| connection.poll_open(cx))).await;
            drop(client);
            let loss = poll_fn(|cx| connection.poll_fill(cx)).await.unwrap_err();
            assert!(matches!(loss, Loss::ClosedBy(_) | Loss::Broken(..)));
            connection.lose();
            assert_eq!(connection.backoff.failures(), failures);
        }
        // The backoff begins anew after a connection that was open for long enough.
        let client = peer.accept_while(poll_fn(|cx| connection.poll_open(cx))).await;
        tokio::time::pause();
        tokio::time::advance(STABLE_AFTER).await;
        drop(client);
        poll_fn(|cx| connection.poll_fill(cx)).await.unwrap_err();
        connection.lose();
        assert_eq!(connection.backoff.failures(), 1);
    });
}
