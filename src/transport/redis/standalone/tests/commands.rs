//! Commands about keys, on the shared connection and on readers.

use std::time::Duration;

use super::*;
use crate::transport::redis::mock::{Client, MockPeer, block_on};
use crate::transport::resp::Reply;
use crate::transport::{Args, Outcome};

pub(super) fn command(port: Port, token: u64, parts: &[&[u8]]) -> KeyCommand {
    KeyCommand { port, token, key: 1, args: Arc::new(Args::of(parts)), patience: None }
}

fn add(token: u64) -> KeyCommand {
    command(Port::Shared, token, &[b"XADD", b"s", b"*", b"f", b"v"])
}

const ADD: [&str; 5] = ["XADD", "s", "*", "f", "v"];

fn read(reader: usize, token: u64) -> KeyCommand {
    command(Port::Reader(reader), token, &[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"0-0"])
}

const READ: [&str; 6] = ["XREAD", "BLOCK", "0", "STREAMS", "s", "0-0"];

fn impatient(reader: usize, token: u64, patience: Duration) -> KeyCommand {
    KeyCommand { patience: Some(patience), ..read(reader, token) }
}

/// One stream with one entry, as XREAD answers it.
const ENTRY: &[u8] = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";

fn replied(token: u64, reply: &[u8]) -> Event {
    Event::Replied(token, format!("{:?}", Outcome::Replied(Reply::of(reply).unwrap())))
}

fn is_lost(event: &Event, token: u64) {
    assert!(matches!(event, Event::Replied(of, how) if *of == token && how.starts_with("Lost")), "{event:?}");
}

fn is_not_run(event: &Event, token: u64) {
    assert!(
        matches!(event, Event::Replied(of, how) if *of == token && how.starts_with("NotRun")),
        "{event:?}"
    );
}

impl Rig {
    /// With the command connection up, and the connection of reader 0, which runs the command with `token` 1.
    async fn reading() -> (Self, Client, Client) {
        let (mut rig, commands) = Self::up(MockPeer::tcp().await).await;
        rig.transport.command(read(0, 1));
        let mut reader = rig.accept().await;
        rig.with_peer(reader.expect(&READ)).await;
        (rig, commands, reader)
    }
}

#[test]
fn commands_keep_their_place_among_publishes_and_counts() {
    block_on(async {
        let (mut rig, mut client) = Rig::up(MockPeer::tcp().await).await;
        rig.transport.publish(b"a", b"1");
        rig.transport.command(add(1));
        rig.transport.count(7, &[b"a"]);
        rig.transport.command(command(Port::Shared, 2, &[b"XRANGE", b"s", b"-", b"+"]));
        rig.transport.command(command(Port::Shared, 3, &[b"GETDEL", b"k"]));
        rig.transport.publish(b"a", b"2");
        let expected = [
            push(&[b"PUBLISH", b"a", b"1"]),
            push(&[b"XADD", b"s", b"*", b"f", b"v"]),
            push(&[b"PUBSUB", b"NUMSUB", b"a"]),
            push(&[b"XRANGE", b"s", b"-", b"+"]),
            push(&[b"GETDEL", b"k"]),
            push(&[b"PUBLISH", b"a", b"2"]),
        ]
        .concat();
        assert_eq!(rig.transport.unwritten(), expected.len());
        rig.with_peer(client.read()).await;
        assert_eq!(client.input(), expected);
        assert!(rig.transport.is_flushed());
        let range = b"*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        let error = b"-WRONGTYPE no\r\n";
        let replies: [&[u8]; 6] =
            [b":1\r\n", b"$3\r\n1-0\r\n", b"*2\r\n$1\r\na\r\n:4\r\n", range, error, b":2\r\n"];
        // One byte at a time.
        rig.with_peer(async {
            for byte in replies.concat() {
                client.send(&[byte]).await;
                tokio::task::yield_now().await;
            }
        })
        .await;
        for expected in [
            Event::Published(1),
            replied(1, b"$3\r\n1-0\r\n"),
            Event::Counted(7, Some(vec![4])),
            replied(2, range),
            replied(3, error),
            Event::Published(2),
        ] {
            assert_eq!(rig.next().await, expected);
        }
    });
}

#[test]
fn a_command_that_was_begun_is_lost_and_one_that_was_not_has_not_run() {
    block_on(async {
        // The buffers of a unix socket are far smaller than what is added.
        let (mut rig, mut client) = Rig::up(MockPeer::unix("commands")).await;
        let large = vec![b'x'; 8_000_000];
        rig.transport.publish(b"a", b"written");
        rig.transport.command(add(1));
        rig.transport.command(add(2));
        rig.transport.command(command(Port::Shared, 3, &[b"XADD", b"s", b"*", b"f", &large]));
        rig.transport.count(4, &[b"a"]);
        rig.transport.command(add(5));
        rig.transport.publish(b"a", b"not written");
        rig.transport.command(add(6));
        rig.with_peer(async {
            client.expect(&["PUBLISH", "a", "written"]).await;
            client.expect(&ADD).await;
            client.expect(&ADD).await;
            client.command_head().await;
            client.send(b":1\r\n$3\r\n1-0\r\n").await;
        })
        .await;
        assert_eq!(rig.next().await, Event::Published(1));
        assert_eq!(rig.next().await, replied(1, b"$3\r\n1-0\r\n"));
        assert!(!rig.transport.is_flushed());
        drop(client);
        is_down(&rig.next().await, 0, 1);
        is_lost(&rig.next().await, 2);
        is_lost(&rig.next().await, 3);
        assert_eq!(rig.next().await, Event::Counted(4, None));
        is_not_run(&rig.next().await, 5);
        is_not_run(&rig.next().await, 6);
        assert!(rig.transport.is_flushed());
        // Commands that come meanwhile wait for the next connection.
        rig.transport.command(add(7));
        let mut client = rig.accept().await;
        rig.with_peer(client.expect(&ADD)).await;
        assert_eq!(rig.next().await, Event::Up);
        client.send(b"-READONLY no\r\n").await;
        assert_eq!(rig.next().await, replied(7, b"-READONLY no\r\n"));
    });
}

#[test]
fn commands_end_with_an_attempt_that_fails() {
    block_on(async {
        tokio::time::pause();
        let nowhere = Address::Unix("/nonexistent/redis.sock".into());
        let mut transport =
            RedisTransport::new(RedisTarget::new(nowhere, Settings::default()), ChannelKind::Global);
        transport.command(add(1));
        transport.command(read(0, 2));
        let mut events = Vec::new();
        while events.len() < 3 {
            transport.incoming(&mut |incoming| events.push(Event::of(incoming))).await;
        }
        is_down(&events[0], 0, 0);
        is_not_run(&events[1], 1);
        is_not_run(&events[2], 2);
        // Each attempt waits: 25 + 50 + 100 + 200 ms at most, and at least a quarter of that.
        let start = tokio::time::Instant::now();
        for token in 3..7 {
            transport.command(read(0, token));
            let mut how = None;
            while how.is_none() {
                transport
                    .incoming(&mut |incoming| match Event::of(incoming) {
                        event @ Event::Replied(..) => how = Some(event),
                        event => is_down(&event, 0, 0),
                    })
                    .await;
            }
            is_not_run(&how.unwrap(), token);
        }
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(375 / 4), "{waited:?}");
        assert!(waited < Duration::from_millis(400), "{waited:?}");
    });
}

#[test]
fn nothing_runs_while_the_transport_is_closed() {
    block_on(async {
        let (mut rig, mut commands, mut reader) = Rig::reading().await;
        rig.transport.command(add(2));
        rig.with_peer(commands.expect(&ADD)).await;
        rig.transport.command(add(3));
        rig.transport.command(read(0, 4));
        rig.transport.set_open(false);
        rig.transport.command(add(5));
        rig.transport.command(read(1, 6));
        is_down(&rig.next().await, 0, 0);
        is_lost(&rig.next().await, 2);
        is_not_run(&rig.next().await, 3);
        is_lost(&rig.next().await, 1);
        is_not_run(&rig.next().await, 4);
        is_not_run(&rig.next().await, 5);
        is_not_run(&rig.next().await, 6);
        rig.with_peer(async {
            commands.closed().await;
            reader.closed().await;
        })
        .await;
        rig.transport.set_open(true);
        let _commands = rig.accept().await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.command(read(0, 7));
        let mut reader = rig.accept().await;
        rig.with_peer(reader.expect(&READ)).await;
    });
}

#[test]
fn readers_are_connections_of_their_own() {
    block_on(async {
        let (mut rig, mut commands, mut first) = Rig::reading().await;
        rig.transport.command(read(9, 2));
        let mut second = rig.accept().await;
        rig.with_peer(second.expect(&READ)).await;
        // The others go on while these commands block.
        rig.transport.command(add(3));
        rig.with_peer(commands.expect(&ADD)).await;
        commands.send(b"$3\r\n1-0\r\n").await;
        assert_eq!(rig.next().await, replied(3, b"$3\r\n1-0\r\n"));
        second.send(b"*-1\r\n").await;
        assert_eq!(rig.next().await, replied(2, b"*-1\r\n"));
        first.send(ENTRY).await;
        assert_eq!(rig.next().await, replied(1, ENTRY));
    });
}

#[test]
fn a_reader_answers_a_pipeline_in_order_wherever_the_bytes_are_split() {
    block_on(async {
        let (mut rig, _commands, mut reader) = Rig::reading().await;
        let first = b"*1\r\n*2\r\n$3\r\n0-1\r\n*-1\r\n";
        let replies = [ENTRY, first].concat();
        for at in 1..replies.len() {
            rig.transport.command(command(
                Port::Reader(0),
                2,
                &[b"XRANGE", b"s", b"-", b"+", b"COUNT", b"1"],
            ));
            rig.with_peer(async {
                reader.expect(&["XRANGE", "s", "-", "+", "COUNT", "1"]).await;
                reader.send(&replies[..at]).await;
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                reader.send(&replies[at..]).await;
            })
            .await;
            assert_eq!(rig.next().await, replied(1, ENTRY));
            assert_eq!(rig.next().await, replied(2, first));
            rig.transport.command(read(0, 1));
            rig.with_peer(reader.expect(&READ)).await;
        }
        assert!(rig.events.is_empty());
    });
}

#[test]
fn a_reader_that_is_killed_comes_back_with_the_next_command() {
    block_on(async {
        let (mut rig, mut commands, reader) = Rig::reading().await;
        drop(reader);
        is_lost(&rig.next().await, 1);
        rig.transport.command(read(0, 2));
        let mut reader = rig.accept().await;
        rig.with_peer(reader.expect(&READ)).await;
        reader.send(ENTRY).await;
        assert_eq!(rig.next().await, replied(2, ENTRY));
        // Without a command nothing is reported and nobody connects: the next connection is that of the
        // subscriber.
        drop(reader);
        rig.transport.publish(b"a", b"1");
        rig.with_peer(commands.command()).await;
        rig.transport.subscribe(0, vec![channel("c")]);
        let mut subscriber = rig.accept().await;
        rig.serve(&mut subscriber, 1).await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
        rig.transport.command(read(0, 3));
        let mut reader = rig.accept().await;
        rig.with_peer(reader.expect(&READ)).await;
        // Replies without a command, and bytes that are no reply, cost the connection.
        reader.send(&[ENTRY, b":1\r\n"].concat()).await;
        assert_eq!(rig.next().await, replied(3, ENTRY));
        rig.transport.command(read(0, 4));
        let mut reader = rig.accept().await;
        rig.with_peer(reader.expect(&READ)).await;
        reader.send(b"\x16\x03\x01").await;
        is_lost(&rig.next().await, 4);
    });
}

#[test]
fn a_master_that_becomes_a_replica_ends_what_blocks_without_running_it() {
    block_on(async {
        let (mut rig, _commands, mut reader) = Rig::reading().await;
        let error = "UNBLOCKED force unblock from blocking operation, instance state changed";
        reader.send(format!("-{error}\r\n").as_bytes()).await;
        let expected = format!("{:?}", Outcome::NotRun { reason: error });
        assert_eq!(rig.next().await, Event::Replied(1, expected));
    });
}

#[test]
fn a_paused_transport_does_not_read_its_readers() {
    block_on(async {
        let (mut rig, mut commands, mut reader) = Rig::reading().await;
        rig.transport.pause(true);
        reader.send(ENTRY).await;
        for token in 2..5 {
            rig.transport.command(add(token));
            rig.with_peer(commands.expect(&ADD)).await;
            commands.send(b"$3\r\n1-0\r\n").await;
            assert_eq!(rig.next().await, replied(token, b"$3\r\n1-0\r\n"));
        }
        assert!(rig.events.is_empty());
        rig.transport.pause(false);
        assert_eq!(rig.next().await, replied(1, ENTRY));
    });
}

#[test]
fn a_closed_reader_is_heard_of_no_more() {
    block_on(async {
        let (mut rig, _commands, mut reader) = Rig::reading().await;
        rig.transport.close_reader(0);
        rig.transport.close_reader(3);
        rig.with_peer(reader.closed()).await;
        rig.transport.command(read(0, 2));
        let mut reader = rig.accept().await;
        rig.with_peer(reader.expect(&READ)).await;
        reader.send(ENTRY).await;
        assert_eq!(rig.next().await, replied(2, ENTRY));
        assert!(rig.events.is_empty());
    });
}

#[test]
fn a_reader_that_is_silent_for_too_long_is_taken_for_lost() {
    block_on(async {
        let (mut rig, mut commands, mut reader) = Rig::reading().await;
        // The other connection is asked for signs of life meanwhile.
        tokio::spawn(async move {
            while commands.next_command().await.is_some() {
                commands.send(b"+PONG\r\n").await;
            }
        });
        let patience = Duration::from_secs(10);
        /// Lets the time pass at once, and polls the transport. Otherwise the clock runs, so that the test
        /// waits for the sockets.
        async fn pass(rig: &mut Rig, time: Duration) {
            rig.with_peer(async {
                tokio::time::pause();
                tokio::time::advance(time).await;
                tokio::time::resume();
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        // The first command may wait for ever.
        pass(&mut rig, 10 * patience).await;
        reader.send(ENTRY).await;
        assert_eq!(rig.next().await, replied(1, ENTRY));
        // As long as bytes arrive, Redis is not silent, however slow they are.
        rig.transport.command(impatient(0, 2, patience));
        rig.with_peer(reader.expect(&READ)).await;
        let (last, pieces) = ENTRY.split_last().unwrap();
        for piece in pieces.chunks(20) {
            pass(&mut rig, patience - Duration::from_secs(1)).await;
            reader.send(piece).await;
        }
        reader.send(&[*last]).await;
        assert_eq!(rig.next().await, replied(2, ENTRY));
        rig.transport.command(read(0, 3));
        rig.transport.command(impatient(0, 4, patience));
        rig.with_peer(async {
            reader.expect(&READ).await;
            reader.expect(&READ).await;
        })
        .await;
        pass(&mut rig, patience - Duration::from_secs(1)).await;
        assert!(rig.events.is_empty());
        pass(&mut rig, Duration::from_secs(1)).await;
        let reason = &format!("{} has said nothing for 10 s", rig.peer.address());
        let lost = format!("{:?}", Outcome::Lost { reason });
        assert_eq!(rig.next().await, Event::Replied(3, lost.clone()));
        assert_eq!(rig.next().await, Event::Replied(4, lost));
        rig.with_peer(reader.closed()).await;
    });
}

#[test]
fn a_large_reply_arrives_whole() {
    block_on(async {
        let (mut rig, _commands, mut reader) = Rig::reading().await;
        let payload: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let entry = [&b"*2\r\n$3\r\n1-0\r\n"[..], &push(&[b"f", &payload])].concat();
        let reply = [&b"*1\r\n*2\r\n$1\r\ns\r\n*100\r\n"[..], &entry.repeat(100)].concat();
        let sending = tokio::spawn(async move {
            reader.send(&reply).await;
            reader
        });
        let mut whole = 0;
        while whole == 0 {
            let mut sink = |incoming: Incoming<'_>| {
                let Incoming::Replied { token: 1, outcome: Outcome::Replied(Reply::Array(mut streams)) } =
                    incoming
                else {
                    panic!();
                };
                let Some(Reply::Array(mut stream)) = streams.next() else { panic!() };
                assert_eq!(stream.next_bulk(), Some(&b"s"[..]));
                let Some(Reply::Array(entries)) = stream.next() else { panic!() };
                for entry in entries {
                    let Reply::Array(mut entry) = entry else { panic!() };
                    let (Some(b"1-0"), Some(Reply::Array(mut fields))) = (entry.next_bulk(), entry.next())
                    else {
                        panic!();
                    };
                    assert_eq!(fields.next_bulk(), Some(&b"f"[..]));
                    assert!(fields.next_bulk() == Some(&payload));
                    whole += 1;
                }
            };
            rig.transport.incoming(&mut sink).await;
        }
        assert_eq!(whole, 100);
        sending.await.unwrap();
    });
}
