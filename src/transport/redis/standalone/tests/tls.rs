//! Connections to peers that speak TLS.

use std::sync::Arc;

use super::{Event, Rig, channel, push};
use crate::transport::Transport;
use crate::transport::redis::connect::{Loss, RedisTarget, Settings, Tls, TlsOptions, open};
use crate::transport::redis::mock::{Authority, Identity, MockPeer, block_on};

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca: vec![authority.pem()], ..TlsOptions::default() }
}

/// Connects to a server with the certificate `identity`, and makes Redis' handshake.
async fn connect(identity: &Identity, clients: Option<&Authority>, options: &TlsOptions) -> Result<(), Loss> {
    let mut peer = MockPeer::tls(identity.acceptor(clients)).await;
    let settings = Settings { tls: Some(Tls::new(options).unwrap()), ..Settings::default() };
    let target = RedisTarget::new(peer.address(), settings);
    let serve = async {
        // A client that rejects the server closes the connection.
        let mut client = peer.try_accept().await?;
        client.expect(&["PING"]).await;
        client.send(b"+PONG\r\n").await;
        std::io::Result::Ok(client)
    };
    let (opened, served) = tokio::join!(open(Arc::new(target)), serve);
    assert!(opened.is_err() || served.is_ok());
    opened.map(|_| ())
}

async fn reason(identity: &Identity, options: &TlsOptions) -> String {
    connect(identity, None, options).await.unwrap_err().to_string()
}

#[test]
fn a_server_is_known_by_its_authority_and_its_name() {
    block_on(async {
        let (ours, other) = (Authority::new("one"), Authority::new("two"));
        let by_address = ours.identity(&["127.0.0.1"]);
        connect(&by_address, None, &trusting(&ours)).await.unwrap();
        // Several certificates in one text, with words between them.
        let both = format!("first\n{}\nsecond\n{}", other.pem(), ours.pem());
        connect(&by_address, None, &TlsOptions { ca: vec![both], ..TlsOptions::default() }).await.unwrap();
        assert!(
            reason(&by_address, &trusting(&other))
                .await
                .contains("nobody who is trusted vouches for its certificate")
        );

        let by_name = ours.identity(&["redis.example"]);
        let error = reason(&by_name, &trusting(&ours)).await;
        assert!(error.starts_with("cannot connect to 127.0.0.1:"), "{error}");
        assert!(error.contains("its certificate is for another name"), "{error}");
        let named = |name: &str| TlsOptions { server_name: Some(name.to_owned()), ..trusting(&ours) };
        connect(&by_name, None, &named("redis.example")).await.unwrap();
        assert!(
            reason(&by_name, &named("other.example")).await.contains("its certificate is for another name")
        );
        connect(&by_address, None, &named("")).await.unwrap();
    });
}

#[test]
fn a_server_may_be_its_own_authority_if_it_is_the_one_that_was_given() {
    block_on(async {
        let server = Identity::of_its_own("127.0.0.1");
        let options = |given: &Identity| TlsOptions { ca: vec![given.cert.clone()], ..TlsOptions::default() };
        connect(&server, None, &options(&server)).await.unwrap();
        reason(&server, &options(&Identity::of_its_own("127.0.0.1"))).await;
        let named = TlsOptions { server_name: Some("other.example".to_owned()), ..options(&server) };
        assert!(reason(&server, &named).await.contains("its certificate is for another name"));
    });
}

#[test]
fn any_certificate_is_taken_only_if_asked_for() {
    block_on(async {
        let server = Authority::new("one").identity(&["other.example"]);
        let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
        connect(&server, None, &insecure).await.unwrap();
    });
}

#[test]
fn a_client_shows_its_certificate_where_one_is_wanted() {
    block_on(async {
        let (servers, clients) = (Authority::new("one"), Authority::new("two"));
        let server = servers.identity(&["127.0.0.1"]);
        let with = |identity: Identity| TlsOptions {
            cert: Some(identity.cert),
            key: Some(identity.key),
            ..trusting(&servers)
        };
        connect(&server, Some(&clients), &with(clients.identity(&["app"]))).await.unwrap();
        for options in [trusting(&servers), with(servers.identity(&["app"]))] {
            connect(&server, Some(&clients), &options).await.unwrap_err();
        }
    });
}

#[test]
fn large_messages_pass_both_ways() {
    block_on(async {
        let authority = Authority::new("one");
        let peer = MockPeer::tls(authority.identity(&["127.0.0.1"]).acceptor(None)).await;
        let tls = Some(Tls::new(&trusting(&authority)).unwrap());
        let mut rig = Rig::over(Settings { tls, ..Settings::default() }, peer);
        rig.transport.open();
        let mut commands = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.subscribe(0, vec![channel("c")]);
        let mut subscriber = rig.accept().await;
        rig.serve(&mut subscriber, 1).await;

        let payload: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        rig.transport.publish(b"a", &payload);
        assert!(!rig.transport.is_flushed());
        let expected = push(&[b"PUBLISH", b"a", &payload]);
        while commands.input().len() < expected.len() {
            rig.with_peer(commands.read()).await;
        }
        assert!(commands.input() == expected && rig.transport.is_flushed());
        commands.send(b":1\r\n").await;
        assert_eq!(rig.next().await, Event::Published(1));

        let message = push(&[b"message", b"c", &payload]);
        rig.with_peer(subscriber.send(&message)).await;
        assert_eq!(rig.next().await, Event::Message(0, None, "c".to_owned(), payload));
        drop(subscriber);
        let why = format!("{} closed the connection", rig.peer.address());
        assert!(matches!(rig.next().await, Event::SubscriberDown(0, reason) if reason == why));
    });
}

#[test]
fn says_which_part_cannot_be_read() {
    let authority = Authority::new("one");
    let client = authority.identity(&["app"]);
    let text = |text: &str| Some(text.to_owned());
    let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (part, options) in [
        ("tls.ca", TlsOptions::default()),
        ("tls.ca[1]", TlsOptions { ca: vec![authority.pem(), broken.to_owned()], ..TlsOptions::default() }),
        ("tls.ca[1]", TlsOptions { ca: vec![authority.pem(), "hidden".to_owned()], ..TlsOptions::default() }),
        ("tls.ca", TlsOptions { ca: vec![not_a_certificate.to_owned()], ..TlsOptions::default() }),
        ("tls.key", TlsOptions { cert: text(&client.cert), ..trusting(&authority) }),
        ("tls.cert", TlsOptions { key: text(&client.key), ..trusting(&authority) }),
        ("tls.cert", TlsOptions { cert: text("hidden"), key: text(&client.key), ..trusting(&authority) }),
        ("tls.key", TlsOptions { cert: text(&client.cert), key: text(encrypted), ..trusting(&authority) }),
        (
            "tls.cert and tls.key",
            TlsOptions {
                cert: text(&client.cert),
                key: text(&authority.identity(&["other"]).key),
                ..trusting(&authority)
            },
        ),
        ("tls.serverName", TlsOptions { server_name: text("no name!"), ..trusting(&authority) }),
    ] {
        let error = Tls::new(&options).unwrap_err();
        assert_eq!(error.part, part, "{error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
