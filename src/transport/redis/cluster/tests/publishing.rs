//! Publishes, and the return of those that were not run.

use super::*;

#[test]
fn publishes_go_to_the_owners_of_their_slots() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
        for channel in [LOW, HIGH, LOWEST] {
            rig.transport.publish(channel.as_bytes(), b"x");
            rig.expect("published 1").await;
        }
        assert_eq!(rig.cluster.log(0, "SPUBLISH"), ["SPUBLISH bar x", "SPUBLISH hello x"]);
        assert_eq!(rig.cluster.log(1, "SPUBLISH"), ["SPUBLISH foo x"]);
        assert!(rig.transport.is_flushed());
    });
}

#[test]
fn a_publish_that_was_moved_comes_back_and_the_next_one_goes_to_the_new_owner() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
        for node in rig.cluster.nodes().iter_mut() {
            // MOVED is the only hint.
            node.slots = Some(SILENCE.to_vec());
            node.see(ALL_AT_1);
        }
        for payload in [&b"1"[..], b"22", b"333"] {
            rig.transport.publish(LOW.as_bytes(), payload);
        }
        rig.transport.publish(HIGH.as_bytes(), b"x");
        rig.expect_all(&["returned bar 1", "returned bar 2", "returned bar 3", "published 1"]).await;
        rig.transport.publish(LOW.as_bytes(), b"4444");
        rig.expect("published 1").await;
        assert_eq!(rig.cluster.log(1, "SPUBLISH bar"), ["SPUBLISH bar 4444"]);
    });
}

#[test]
fn a_cluster_that_is_down_is_down_until_it_says_otherwise() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
        rig.cluster.nodes()[0].refusal = Some("-CLUSTERDOWN The cluster is down\r\n");
        for node in rig.cluster.nodes().iter_mut() {
            node.slots = Some(SILENCE.to_vec());
        }
        rig.transport.publish(LOW.as_bytes(), b"1");
        rig.transport.publish(LOW.as_bytes(), b"22");
        let down = "down 0 0: CLUSTERDOWN The cluster is down";
        rig.expect_all(&["returned bar 1", "returned bar 2", down]).await;
        rig.cluster.nodes()[0].refusal = Some("-NOPERM no\r\n");
        for node in rig.cluster.nodes().iter_mut() {
            node.slots = None;
        }
        rig.until("up").await;
        rig.transport.publish(LOW.as_bytes(), b"1");
        rig.expect("publish refused NOPERM no").await;
    });
}

/// Runs until the cluster was asked a few more times. Checks that the transport is never up meanwhile.
async fn stays_down(rig: &mut Rig) {
    for _ in 0..4 {
        rig.asked(1).await;
    }
    let down = "down 0 0: no node of the cluster owns slot 5061";
    assert!(rig.events.iter().all(|event| event == down), "{:?}", rig.events);
    rig.events.clear();
}

#[test]
fn a_slot_that_its_owner_disowns_has_no_owner_whatever_the_others_say() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW, HIGH]).await;
        rig.cluster.nodes()[0].see(WITHOUT_LOW);
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.expect("unsubscribed 0 bar").await;
        rig.until("down 0 0: no node of the cluster owns slot 5061").await;
        stays_down(&mut rig).await;
        rig.transport.count(1, &[LOW.as_bytes()]);
        rig.until("counted 1 None").await;
        rig.cluster.nodes()[0].see(HALVES);
        rig.until("up").await;
        rig.until("subscribed 0 bar").await;
    });
}

#[test]
fn who_refuses_a_publish_is_asked_first_whether_the_slot_is_its_own() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
        rig.trusted(&[LOW]).await;
        rig.cluster.nodes()[0].see(WITHOUT_LOW);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("returned bar 1").await;
        rig.expect("down 0 0: CLUSTERDOWN Hash slot not served").await;
        stays_down(&mut rig).await;
        // All nodes know it now.
        rig.cluster.all_see(WITHOUT_LOW);
        stays_down(&mut rig).await;
        rig.cluster.all_see(ALL_AT_1);
        rig.until("up").await;
    });
}

#[test]
fn a_busy_node_is_waited_for_whatever_the_others_say() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOWEST]).await;
        rig.trusted(&[LOW, HIGH]).await;
        rig.cluster.nodes()[0].busy = true;
        for payload in [&b"1"[..], b"22", b"333"] {
            rig.transport.publish(LOW.as_bytes(), payload);
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(rig.next().await);
        }
        let held = seen.iter().position(|event| event == "held: BUSY Redis is busy running a script.");
        seen.remove(held.expect("it is told"));
        assert_eq!(seen, ["returned bar 1", "returned bar 2", "returned bar 3"]);
        rig.transport.publish(LOW.as_bytes(), b"4444");
        rig.expect("returned bar 4").await;
        rig.transport.subscribe(0, vec![Subscription::shard(LOW)]);
        rig.expect("subscribe refused 0 BUSY Redis is busy running a script.").await;
        rig.cluster.nodes()[0].busy = false;
        rig.expect_all(&["up".to_owned(), format!("subscribed 0 {LOW}")]).await;
        rig.transport.publish(LOW.as_bytes(), b"1");
        rig.expect("published 1").await;
        let all = ["SPUBLISH bar trust", "SPUBLISH bar 1"];
        assert_eq!(rig.cluster.log(0, "SPUBLISH"), all);
    });
}

#[test]
fn after_a_refusal_that_passes_one_message_goes_first_to_that_node_and_the_others_do_not_wait_for_it() {
    block_on(async {
        for kind in [ChannelKind::Shard, ChannelKind::Global] {
            let mut rig = Rig::up(HALVES, kind).await;
            let chosen = rig.transport.chosen.clone();
            let busy = usize::from(chosen == Some(rig.cluster.address(1)));
            let verb = if kind == ChannelKind::Shard { "SPUBLISH" } else { "PUBLISH" };
            rig.trusted(&[LOW, HIGH]).await;
            rig.cluster.nodes()[busy].busy = true;
            rig.transport.publish(LOW.as_bytes(), b"1");
            rig.expect_all(&["returned bar 1", "held: BUSY Redis is busy running a script."]).await;
            rig.cluster.nodes()[busy].busy = false;
            rig.expect("up").await;
            // It reads the next publish, and does not answer.
            rig.cluster.nodes()[busy].hangs = true;
            for payload in [&b"1"[..], b"22", b"333"] {
                rig.transport.publish(LOW.as_bytes(), payload);
            }
            if kind == ChannelKind::Shard {
                rig.transport.publish(HIGH.as_bytes(), b"x");
                rig.expect("published 1").await;
            }
            let sent = |cluster: &MockCluster| cluster.log(busy, &format!("{verb} {LOW}")).split_off(1);
            rig.until_cluster(|cluster| !sent(cluster).is_empty()).await;
            assert_eq!(sent(&rig.cluster), [format!("{verb} {LOW} 1")]);
            // What was not sent comes back if the node is lost.
            rig.cluster.kill(busy);
            rig.expect_all(&["returned bar 2".to_owned(), "returned bar 3".to_owned()]).await;
            assert!(rig.next().await.starts_with("down 1 0"));
        }
    });
}

#[test]
fn what_waits_for_one_message_goes_out_when_that_is_answered_and_comes_back_in_order_if_it_is_refused() {
    block_on(async {
        for passes in [true, false] {
            let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
            rig.trusted(&[LOW]).await;
            rig.cluster.nodes()[0].busy = true;
            rig.transport.publish(LOW.as_bytes(), b"1");
            rig.expect_all(&["returned bar 1", "held: BUSY Redis is busy running a script."]).await;
            rig.cluster.nodes()[0].busy = false;
            rig.expect("up").await;
            rig.cluster.nodes()[0].busy = !passes;
            for payload in [&b"1"[..], b"22", b"333"] {
                rig.transport.publish(LOW.as_bytes(), payload);
            }
            if passes {
                for _ in 0..3 {
                    rig.expect("published 1").await;
                }
                let sent = rig.cluster.log(0, "SPUBLISH").split_off(1);
                assert_eq!(sent, ["SPUBLISH bar 1", "SPUBLISH bar 22", "SPUBLISH bar 333"]);
                continue;
            }
            for length in 1..=3 {
                rig.expect(&format!("returned bar {length}")).await;
            }
            rig.expect("held: BUSY Redis is busy running a script.").await;
        }
    });
}

#[test]
fn what_was_not_written_comes_back_when_a_node_is_lost() {
    block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let deaf = listener.local_addr().unwrap();
        let mut rig = Rig::new(ALL_AT_0, ChannelKind::Shard).await;
        let answer = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n", deaf.port());
        rig.cluster.nodes()[0].slots = Some(answer.into_bytes());
        rig.transport.open();
        let handshake = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut socket, b"+PONG\r\n").await.unwrap();
            socket
        };
        let (socket, ()) = tokio::join!(handshake, rig.expect("up"));
        // More than the buffers of a socket that nobody reads.
        let large = vec![b'x'; 4_000_000];
        for _ in 0..5 {
            rig.transport.publish(b"large", &large);
        }
        rig.transport.publish(b"small", b"1");
        let mut sink = |_: Incoming<'_>| {};
        let idle = rig.transport.incoming(&mut sink);
        assert!(tokio::time::timeout(Duration::from_millis(50), idle).await.is_err());
        assert!(!rig.transport.is_flushed());
        drop(socket);
        let mut returned = Vec::new();
        let down = loop {
            let event = rig.next().await;
            if event.starts_with("down") {
                break event;
            }
            returned.push(event);
        };
        let unanswered = 6 - returned.len();
        assert!(returned.len() >= 2, "{returned:?}");
        assert_eq!(returned.pop().unwrap(), "returned small 1");
        assert!(returned.iter().all(|event| event == "returned large 4000000"));
        assert!(down.starts_with(&format!("down {unanswered} 0:")), "{down}");
        assert!(rig.transport.is_flushed());
    });
}

#[test]
fn many_unanswered_bytes_hold_the_caller_back() {
    block_on(async {
        let mut rig = Rig::up(ALL_AT_0, ChannelKind::Shard).await;
        rig.trusted(&["c"]).await;
        rig.cluster.nodes()[0].hangs = true;
        let payload = vec![b'x'; MAX_UNANSWERED / 8];
        for _ in 0..7 {
            rig.transport.publish(b"c", &payload);
        }
        rig.until_cluster(|cluster| cluster.log(0, "SPUBLISH").len() == 8).await;
        assert!(rig.transport.is_flushed());
        rig.transport.publish(b"c", &payload);
        rig.until_cluster(|cluster| cluster.log(0, "SPUBLISH").len() == 9).await;
        assert_eq!(rig.transport.unwritten(), 8);
    });
}
