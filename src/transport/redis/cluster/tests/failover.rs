//! Masters that are replaced, and that answer.

use super::*;

#[test]
fn names_that_a_new_replica_has_withdrawn_stay_away_from_its_shard_for_a_while() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW, LOWEST]).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        let start = Instant::now();
        rig.cluster
            .push(0, &[confirmation("sunsubscribe", LOW), confirmation("sunsubscribe", LOWEST)].concat());
        rig.expect_all(&["unsubscribed 0 bar", "unsubscribed 0 hello"]).await;
        rig.expect("settling").await;
        rig.expect_all(&["subscribed 0 bar", "subscribed 0 hello"]).await;
        assert!(start.elapsed() >= AWAY);
        assert_eq!(rig.cluster.log(0, "SSUBSCRIBE").len(), 2);
        assert_eq!(rig.cluster.log(2, "SSUBSCRIBE").len(), 2);
    });
}

#[test]
fn the_cluster_is_asked_until_it_knows_that_a_master_is_none_and_names_do_not_go_back_to_it() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.nodes()[0].hello = Some(REPLICA);
        // Something else has changed: the replica is not listed.
        rig.cluster.all_see(BEFORE_ANYBODY_KNOWS);
        let asked = |cluster: &MockCluster| -> usize {
            (0..3).map(|node| cluster.log(node, "CLUSTER SLOTS").len()).sum()
        };
        let before = asked(&rig.cluster);
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.until_cluster(|cluster| asked(cluster) >= before + 10).await;
        assert_eq!(rig.cluster.log(0, "SSUBSCRIBE").len(), 1);
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.until("subscribed 0 bar").await;
        assert_eq!(rig.cluster.log(0, "SSUBSCRIBE").len(), 1);
        assert_eq!(rig.cluster.log(2, "SSUBSCRIBE").len(), 1);
    });
}

#[test]
fn names_go_back_to_a_replica_that_becomes_the_master_again() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.nodes()[0].hello = Some(REPLICA);
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.until_cluster(|cluster| cluster.log(0, "HELLO").len() > 3).await;
        assert_eq!(rig.cluster.log(0, "SSUBSCRIBE").len(), 1);
        rig.cluster.nodes()[0].hello = None;
        rig.until("subscribed 0 bar").await;
        assert_eq!(rig.cluster.log(0, "SSUBSCRIBE").len(), 2);
    });
}

#[test]
fn publishes_settle_if_the_topology_knows_of_a_failover_before_the_former_master_says_so() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, ChannelKind::Shard).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.transport.refresh.hint(None, Instant::now());
        rig.expect("settling").await;
    });
}

#[test]
fn a_node_that_has_withdrawn_something_is_asked_first_who_owns_what() {
    block_on(async {
        let before: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0, 2]), (8192, 16383, &[1, 3])];
        let after: [&[(Slot, Slot, &[usize])]; 2] =
            [&[(0, 8191, &[2, 0]), (8192, 16383, &[1, 3])], &[(0, 8191, &[0, 2]), (8192, 16383, &[3, 1])]];
        let mut rig = Rig::subscribed(before, &[LOW, HIGH]).await;
        // Not the node whose turn it is.
        let former = usize::from(rig.cluster.address(0) < rig.cluster.address(1));
        let name = [LOW, HIGH][former];
        let asked = |cluster: &MockCluster| cluster.log(1 - former, "CLUSTER SLOTS").len();
        let others = asked(&rig.cluster);
        rig.cluster.all_see(after[former]);
        rig.cluster.push(former, &confirmation("sunsubscribe", name));
        rig.until(&format!("subscribed 0 {name}")).await;
        assert_eq!(rig.cluster.log(2 + former, "SSUBSCRIBE").len(), 1);
        assert_eq!(asked(&rig.cluster), others);
    });
}

#[test]
fn a_master_that_withdraws_nothing_delivers_before_its_replica_is_asked() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("returned bar 1").await;
        let mut delivered = Vec::new();
        let mut pushed = 0;
        loop {
            pushed += 1;
            rig.cluster.push(0, &bulks(&["smessage", LOW, &pushed.to_string()]));
            let event = rig.next().await;
            if event == "subscribed 0 bar" {
                break;
            }
            delivered.extend(event.strip_prefix("message 0 bar ").map(str::to_owned));
        }
        // The last of the messages that both send, in either order, and of those that only one sends.
        rig.cluster.push(2, &bulks(&["smessage", LOW, &pushed.to_string()]));
        for payload in ["both", "new"] {
            rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
        }
        for payload in ["old", "both"] {
            rig.cluster.push(0, &bulks(&["smessage", LOW, payload]));
        }
        while delivered.last().is_none_or(|last| last != "new") {
            delivered.extend(rig.next().await.strip_prefix("message 0 bar ").map(str::to_owned));
        }
        let mut expected: Vec<String> = (1..=pushed).map(|number| number.to_string()).collect();
        expected.extend(["old", "both", "new"].map(str::to_owned));
        assert_eq!(delivered, expected);
        rig.until_cluster(|cluster| cluster.log(0, "SUNSUBSCRIBE") == ["SUNSUBSCRIBE bar"]).await;
    });
}

#[test]
fn a_copy_that_was_not_read_for_a_while_is_still_one() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("returned bar 1").await;
        rig.until("subscribed 0 bar").await;
        rig.cluster.push(0, &bulks(&["smessage", LOW, "1"]));
        rig.expect("message 0 bar 1").await;
        rig.transport.pause(true);
        rig.cluster.push(2, &bulks(&["smessage", LOW, "1"]));
        rig.idle(Duration::from_millis(300)).await;
        rig.transport.pause(false);
        for node in [2, 0] {
            rig.cluster.push(node, &bulks(&["smessage", LOW, "2"]));
        }
        rig.expect("message 0 bar 2").await;
        // Until both are delivered, and the former owner is left.
        rig.until_cluster(|cluster| cluster.log(0, "SUNSUBSCRIBE") == ["SUNSUBSCRIBE bar"]).await;
        assert!(!rig.events.iter().any(|event| event.starts_with("message")), "{:?}", rig.events);
    });
}

#[test]
fn what_reaches_nobody_is_answered_by_a_master_alone() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, ChannelKind::Shard).await;
        rig.cluster.nodes()[0].receivers = 0;
        rig.transport.publish(LOW.as_bytes(), b"1");
        rig.expect("published 0").await;
        assert_eq!(rig.cluster.log(0, "").last().map(String::as_str), Some("HELLO"), "asked behind it");
        // It accepts publishes as before.
        rig.cluster.all_see(AFTER_FAILOVER);
        for payload in [&b"1"[..], b"22", b"333"] {
            rig.transport.publish(LOW.as_bytes(), payload);
        }
        for event in ["returned bar 1", "returned bar 2", "returned bar 3", "settling"] {
            rig.expect(event).await;
        }
        rig.until_cluster(|cluster| {
            !cluster.log(2, "PING").is_empty() || !cluster.log(0, "CLUSTER").is_empty()
        })
        .await;
        assert!(rig.transport.is_flushed());
    });
}

#[test]
fn publishes_wait_for_those_that_a_former_master_has_not_answered() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, ChannelKind::Shard).await;
        rig.trusted(&[LOW]).await;
        rig.cluster.nodes()[0].holds_back = true;
        rig.transport.publish(LOW.as_bytes(), b"1");
        let former = rig.cluster.address(0);
        poll_until(&mut rig, |transport| {
            transport.nodes[&former].has_unanswered() && transport.nodes[&former].is_written()
        })
        .await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.transport.refresh.hint(None, Instant::now());
        for _ in 0..3 {
            rig.until("settling").await;
        }
        rig.cluster.nodes()[0].holds_back = false;
        rig.until("published 0").await;
    });
}

#[test]
fn a_node_that_does_not_say_what_it_is_is_believed() {
    block_on(async {
        for hello in ["-NOPERM no\r\n", "*0\r\n", "*2\r\n$4\r\nrole\r\n:1\r\n"] {
            let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
            rig.cluster.nodes()[0].hello = Some(hello);
            rig.cluster.nodes()[0].receivers = 0;
            for _ in 0..2 {
                rig.transport.publish(LOW.as_bytes(), b"x");
                rig.expect("published 0").await;
            }
            assert_eq!(rig.cluster.log(0, "HELLO").len(), 1);
        }
    });
}

#[test]
fn a_node_that_holds_something_for_us_is_not_asked_again_until_it_is_lost() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW]).await;
        for _ in 0..3 {
            rig.transport.publish(LOW.as_bytes(), b"x");
            rig.expect("published 1").await;
            tokio::time::sleep(LEASE).await;
        }
        assert_eq!(rig.cluster.log(0, "HELLO").len(), 1);
        rig.cluster.cut(0);
        rig.until("unsubscribed 0 bar").await;
        rig.until("subscribed 0 bar").await;
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("published 1").await;
        assert_eq!(rig.cluster.log(0, "HELLO").len(), 2);
        // A node that holds nothing for us is asked each time.
        for asked in 1..3 {
            rig.transport.publish(HIGH.as_bytes(), b"x");
            rig.expect("published 1").await;
            assert_eq!(rig.cluster.log(1, "HELLO").len(), asked);
            tokio::time::sleep(LEASE).await;
        }
    });
}
