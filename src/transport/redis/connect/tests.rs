//! Handshakes with a peer that plays Redis.

use super::target::OPEN_TIMEOUT;
use super::*;
use crate::transport::redis::mock::{MockPeer, block_on};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

fn target(peer: &MockPeer) -> Arc<RedisTarget> {
    let settings = Settings {
        credentials: Credentials::Fixed(Login {
            username: Some("app".to_owned()),
            password: Some("secret".to_owned()),
        }),
        database: 3,
        client_name: Some("link".to_owned()),
        ..Settings::default()
    };
    Arc::new(RedisTarget::new(peer.address(), settings))
}

const HANDSHAKE: &[&[&str]] =
    &[&["AUTH", "app", "secret"], &["SELECT", "3"], &["CLIENT", "SETNAME", "link"], &["PING"]];

async fn answered(answer: &str) -> Result<(), Loss> {
    let mut peer = MockPeer::tcp().await;
    let opening = tokio::spawn(open(target(&peer)));
    let mut client = peer.accept_raw().await;
    for command in HANDSHAKE {
        client.expect(command).await;
    }
    client.send(answer.as_bytes()).await;
    opening.await.unwrap().map(|_| ())
}

#[test]
fn shakes_hands_in_one_write() {
    block_on(async {
        answered("+OK\r\n+OK\r\n+OK\r\n+PONG\r\n").await.unwrap();
        // CLIENT SETNAME is optional, and PING may be forbidden.
        answered("+OK\r\n+OK\r\n-ERR unknown command\r\n-NOPERM no ping\r\n").await.unwrap();
    });
}

#[test]
fn surfaces_what_redis_refuses() {
    block_on(async {
        for (answer, reason) in [
            (
                "-WRONGPASS invalid username-password pair\r\n-NOAUTH\r\n-NOAUTH\r\n-NOAUTH\r\n",
                "does not take the user name or the password (WRONGPASS)",
            ),
            ("+OK\r\n-ERR DB index is out of range\r\n", "has no database 3"),
            ("+OK\r\n+OK\r\n+OK\r\n-LOADING Redis is loading\r\n", "is loading its data (LOADING)"),
            ("HTTP/1.1 400\r\n", "not the Redis protocol: a reply begins with byte 0x48"),
        ] {
            let loss = answered(answer).await.unwrap_err().to_string();
            assert!(loss.contains(reason), "{loss}");
        }
    });
}

#[test]
fn what_auth_was_given_is_not_repeated() {
    block_on(async {
        let answer = "-ERR unknown command 'AUTH', with args beginning with: 'app' 'secret'\r\n";
        let loss = answered(answer).await.unwrap_err();
        let text = format!("{loss} {loss:?}");
        assert!(text.contains("does not know AUTH"), "{text}");
        assert!(!text.contains("secret") && !text.contains("'app'"), "{text}");
    });
}

/// Gives these answers one after the other, then never answers again.
struct Source(Mutex<VecDeque<Result<Login, String>>>);

impl AskCredentials for Source {
    fn ask(&self) -> Answer {
        match self.0.lock().unwrap().pop_front() {
            Some(answer) => Box::pin(std::future::ready(answer)),
            None => Box::pin(std::future::pending()),
        }
    }
}

#[test]
fn credentials_are_asked_for_at_each_connect() {
    block_on(async {
        let login = |username: Option<&str>, password: Option<&str>| {
            Ok(Login { username: username.map(str::to_owned), password: password.map(str::to_owned) })
        };
        let answers = [
            login(Some("app"), Some("one")),
            login(None, Some("two")),
            login(None, None),
            Err("the vault is sealed".to_owned()),
        ];
        let mut peer = MockPeer::tcp().await;
        let settings = Settings {
            credentials: Credentials::Asked(Arc::new(Source(Mutex::new(answers.into())))),
            ..Settings::default()
        };
        let target = Arc::new(RedisTarget::new(peer.address(), settings));
        for auth in [&["AUTH", "app", "one"][..], &["AUTH", "two"], &[]] {
            let serve = async {
                let mut client = peer.accept_raw().await;
                if !auth.is_empty() {
                    client.expect(auth).await;
                    client.send(b"+OK\r\n").await;
                }
                client.expect(&["PING"]).await;
                client.send(b"+PONG\r\n").await;
            };
            tokio::join!(open(Arc::clone(&target)), serve).0.unwrap();
        }
        let loss = open(Arc::clone(&target)).await.err().unwrap();
        assert_eq!(loss.to_string(), "no credentials for Redis: the vault is sealed");
        tokio::time::pause();
        let asked = Instant::now();
        let loss = open(target).await.err().unwrap();
        assert!(matches!(loss, Loss::Credentials(_)), "{loss}");
        assert!(asked.elapsed() >= OPEN_TIMEOUT);
    });
}

#[test]
fn gives_up_on_a_silent_peer() {
    block_on(async {
        tokio::time::pause();
        let peer = MockPeer::tcp().await;
        let loss = open(target(&peer)).await.err().unwrap();
        assert!(matches!(loss, Loss::Slow(..)), "{loss}");
    });
}
