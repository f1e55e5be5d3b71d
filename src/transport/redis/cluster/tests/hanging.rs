//! Masters that hang and are replaced, and come back.

use super::*;

#[test]
fn what_a_node_held_back_is_published_again_and_what_it_was_sent_while_it_hung_is_not() {
    block_on(async {
        for hung in [false, true] {
            let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
            rig.transport.publish(LOW.as_bytes(), b"x");
            rig.expect("published 1").await;
            let former = rig.cluster.address(0);
            let set = |cluster: &MockCluster, now: bool| {
                let node = &mut cluster.nodes()[0];
                *(if hung { &mut node.frozen } else { &mut node.holds_back }) = now;
            };
            set(&rig.cluster, true);
            rig.transport.publish(LOW.as_bytes(), b"1");
            // Until it is known why it does not answer.
            let far = Duration::from_secs(3600);
            while {
                let node = &rig.transport.nodes[&former];
                let is_asked = rig.transport.subscribers[0].is_silent(&former, Instant::now() + far);
                !(node.hangs && node.frozen_at.is_some() == hung && is_asked == hung)
            } {
                let mut sink = |_: Incoming<'_>| {};
                let one = rig.transport.incoming(&mut sink);
                let _ = tokio::time::timeout(Duration::from_millis(2), one).await;
            }
            rig.cluster.nodes()[0].hello = Some(REPLICA);
            rig.cluster.nodes()[0].receivers = 0;
            set(&rig.cluster, false);
            rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
            let event = loop {
                let event = rig.next().await;
                if event.starts_with("down") || event.starts_with("returned") {
                    break event;
                }
            };
            assert!(event.starts_with(if hung { "down 1 0" } else { "returned bar 1" }), "{event}");
        }
    });
}

#[test]
fn what_a_node_that_hung_sends_behind_its_successor_is_dropped_and_so_are_its_copies() {
    block_on(async {
        // It may not be known that both belong to one shard.
        for is_known in [true, false] {
            let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
            let replica = rig.cluster.address(2);
            if !is_known {
                rig.cluster.all_see(WITHOUT_REPLICA);
                rig.transport.refresh.hint(None, Instant::now());
                poll_until(&mut rig, |transport| !transport.topology.nodes().any(|node| *node == replica))
                    .await;
            }
            rig.cluster.nodes()[0].frozen = true;
            rig.cluster.all_see(SUCCEEDED);
            rig.transport.refresh.hint(None, Instant::now());
            rig.until("subscribed 0 bar").await;
            rig.cluster.push(2, &bulks(&["smessage", LOW, "new"]));
            rig.until("message 0 bar new").await;
            // Longer than a handover from a node that answers.
            let far = Instant::now() + Duration::from_millis(500);
            rig.until_cluster(|_| Instant::now() > far).await;
            rig.cluster.push(0, &bulks(&["smessage", LOW, "late"]));
            rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
            let asked = rig.cluster.log(0, "CLUSTER SLOTS").len();
            rig.cluster.nodes()[0].frozen = false;
            // It has read the withdrawal after the message.
            rig.until_cluster(|cluster| cluster.log(0, "CLUSTER SLOTS").len() > asked).await;
            for payload in ["late", "newer"] {
                rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
            }
            assert_eq!(rig.until("message").await, "message 0 bar newer");
        }
    });
}

#[test]
fn what_a_node_delivered_before_it_hung_is_not_delivered_again_by_its_successor() {
    block_on(async {
        for is_known in [true, false] {
            let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW, HIGH]).await;
            let replica = rig.cluster.address(2);
            if !is_known {
                rig.cluster.all_see(WITHOUT_REPLICA);
                rig.transport.refresh.hint(None, Instant::now());
                poll_until(&mut rig, |transport| !transport.topology.nodes().any(|node| *node == replica))
                    .await;
            }
            for payload in ["tick", "1", "2"] {
                rig.cluster.push(0, &bulks(&["smessage", LOW, payload]));
                rig.until(&format!("message 0 bar {payload}")).await;
            }
            rig.cluster.nodes()[0].frozen = true;
            rig.cluster.all_see(SUCCEEDED);
            rig.transport.refresh.hint(None, Instant::now());
            rig.until("subscribed 0 bar").await;
            // These were published there, though they are identical to the byte.
            for payload in ["tick", "new", "tick"] {
                rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
            }
            for payload in ["tick", "new", "tick"] {
                assert_eq!(rig.until("message 0 bar").await, format!("message 0 bar {payload}"));
            }
            // The node goes on where it was stopped, and answers after that.
            for payload in ["1", "2"] {
                rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
            }
            rig.cluster.push(1, &bulks(&["smessage", HIGH, "read"]));
            rig.until("message 0 foo read").await;
            rig.cluster.nodes()[0].frozen = false;
            rig.cluster.push(2, &bulks(&["smessage", LOW, "newer"]));
            assert_eq!(rig.until("message 0 bar").await, "message 0 bar newer");
        }
    });
}

#[test]
fn a_former_master_that_may_hang_is_read_however_much_the_others_send() {
    const MANY: usize = 8000;
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW, HIGH]).await;
        rig.cluster.nodes()[0].frozen = true;
        rig.cluster.all_see(SUCCEEDED);
        rig.transport.refresh.hint(None, Instant::now());
        rig.until("subscribed 0 bar").await;
        rig.cluster.push(1, &bulks(&["smessage", HIGH, &"x".repeat(1000)]).repeat(MANY));
        rig.cluster.push(2, &bulks(&["smessage", LOW, "y"]));
        let ClusterTransport { subscribers, topology, .. } = &mut rig.transport;
        let (mut many, mut is_there) = (0, false);
        while !is_there {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // Each poll is out of time at once.
            let begun = Instant::now() - Duration::from_secs(1);
            let mut sink = |incoming: Incoming<'_>| {
                let of_the_successor = |name: &[u8]| name == LOW.as_bytes();
                if let Incoming::Message { name, .. } = incoming {
                    many += usize::from(!of_the_successor(name));
                    is_there |= of_the_successor(name);
                }
            };
            poll_fn(|cx| {
                subscribers[0].poll(cx, topology, false, begun, &mut sink, &mut Hints::default());
                Poll::Ready(())
            })
            .await;
        }
        assert!(many < MANY, "it came behind all others");
    });
}

#[test]
fn a_node_that_hangs_is_left_so_that_it_does_not_run_what_it_was_sent() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("published 1").await;
        rig.cluster.nodes()[0].frozen = true;
        for payload in [b"1", b"2", b"3"] {
            rig.transport.publish(LOW.as_bytes(), payload);
        }
        let former = rig.cluster.address(0);
        poll_until(&mut rig, |transport| transport.nodes[&former].is_frozen()).await;
        rig.cluster.all_see(SUCCEEDED);
        rig.until("down 3 0").await;
        rig.cluster.nodes()[0].frozen = false;
        rig.until("subscribed 0 bar").await;
        let far = Instant::now() + Duration::from_millis(100);
        rig.until_cluster(|_| Instant::now() > far).await;
        assert_eq!(rig.cluster.log(0, "SPUBLISH").len(), 2, "the first of them finds out");
    });
}

#[test]
fn what_a_node_that_hung_sends_before_it_withdraws_is_not_delivered_again_by_its_successor() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.push(0, &bulks(&["smessage", LOW, "0"]));
        rig.expect("message 0 bar 0").await;
        // It is asked soon, since it was sending.
        let hung = Duration::from_secs(2);
        rig.cluster.nodes()[0].frozen = true;
        rig.idle(hung).await;
        // It goes on, does not know yet that it was replaced, and learns it.
        for payload in ["1", "2", "1"] {
            rig.cluster.push(0, &bulks(&["smessage", LOW, payload]));
        }
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.cluster.nodes()[0].frozen = false;
        for payload in ["1", "2", "1"] {
            rig.expect(&format!("message 0 bar {payload}")).await;
        }
        let unsubscribed = rig.until("unsubscribed 0 bar").await;
        assert!(silence_in(&unsubscribed) >= hung, "{unsubscribed}");
        rig.until("subscribed 0 bar").await;
        for payload in ["2", "1", "1", "1", "new"] {
            rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
        }
        for payload in ["1", "new"] {
            assert_eq!(rig.until("message").await, format!("message 0 bar {payload}"));
        }
    });
}

#[test]
fn what_a_node_missed_while_it_hung_is_told_though_it_is_known_to_be_a_replica_by_then() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.nodes()[0].frozen = true;
        rig.transport.subscribers[0].pulse(false);
        rig.idle(Duration::from_millis(700)).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.cluster.nodes()[0].frozen = false;
        rig.cluster.push(0, &bulks(&["smessage", LOW, "1"]));
        rig.until("message 0 bar 1").await;
        rig.transport.refresh.hint(None, Instant::now());
        rig.until("unsubscribed 0 bar").await;
        rig.until("subscribed 0 bar").await;
        for payload in ["1", "new"] {
            rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
        }
        assert_eq!(rig.until("message").await, "message 0 bar new");
    });
}

#[test]
fn what_a_node_that_hung_and_is_ended_has_missed_is_told() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.nodes()[0].frozen = true;
        rig.transport.subscribers[0].pulse(false);
        let hung = Duration::from_millis(700);
        rig.idle(hung).await;
        rig.cluster.kill(0);
        let unsubscribed = rig.until("unsubscribed 0 bar").await;
        assert!(silence_in(&unsubscribed) >= hung, "{unsubscribed}");
    });
}

/// What an event says after which time something was withdrawn or lost.
fn silence_in(event: &str) -> Duration {
    let after = event.split(' ').skip_while(|word| *word != "after").nth(1);
    Duration::from_millis(after.map_or(0, |ms| ms.parse().unwrap()))
}
