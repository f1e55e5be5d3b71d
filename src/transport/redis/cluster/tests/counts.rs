//! Counts, which are sums over the nodes.

use super::*;

#[test]
fn a_node_that_refuses_to_count_has_subscribers_all_the_same() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
        for node in rig.cluster.nodes().iter_mut() {
            node.subscribers = 2;
        }
        rig.transport.count(1, &[LOW.as_bytes()]);
        rig.expect("counted 1 Some([4])").await;
        // Not the node that gets the publishes.
        let chosen = rig.transport.chosen.clone();
        let other = usize::from(chosen == Some(rig.cluster.address(0)));
        rig.cluster.nodes()[other].busy = true;
        rig.transport.count(2, &[LOW.as_bytes()]);
        rig.expect("counted 2 None").await;
        rig.cluster.nodes()[other].busy = false;
        rig.cluster.nodes()[other].counting = Some("-NOPERM no\r\n");
        rig.transport.count(3, &[LOW.as_bytes()]);
        rig.expect("count refused 3 NOPERM no").await;
    });
}

#[test]
fn counts_are_summed_over_those_who_may_know() {
    block_on(async {
        let view: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0, 2]), (8192, 16383, &[1, 3])];
        for (kind, sums) in [(ChannelKind::Shard, "[101, 1010]"), (ChannelKind::Global, "[1111, 1111]")] {
            let mut rig = Rig::up(view, kind).await;
            for (index, node) in rig.cluster.nodes().iter_mut().enumerate() {
                node.subscribers = [1, 10, 100, 1000][index];
            }
            rig.transport.count(7, &[LOW.as_bytes(), HIGH.as_bytes()]);
            rig.expect(&format!("counted 7 Some({sums})")).await;

            // A replica that is down has no subscribers. One that hangs is waited for once.
            rig.cluster.kill(2);
            rig.cluster.nodes()[3].hangs = true;
            let sums = if kind == ChannelKind::Shard { "[1, 10]" } else { "[11, 11]" };
            for patience in [1500, 300] {
                let start = Instant::now();
                rig.transport.count(8, &[LOW.as_bytes(), HIGH.as_bytes()]);
                // A lost node is reported on its own.
                assert_eq!(rig.until("counted").await, format!("counted 8 Some({sums})"));
                assert!(start.elapsed() < Duration::from_millis(patience), "{:?}", start.elapsed());
            }
            // Without the master of a shard there is no count.
            rig.cluster.nodes()[1].hangs = true;
            rig.transport.count(9, &[LOW.as_bytes(), HIGH.as_bytes()]);
            let counts = if kind == ChannelKind::Shard { "None" } else { "Some([1, 1])" };
            rig.expect(&format!("counted 9 {counts}")).await;
        }
    });
}

#[test]
fn what_a_node_counts_that_is_no_master_is_not_believed() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, ChannelKind::Shard).await;
        rig.transport.count(1, &[LOW.as_bytes()]);
        rig.expect("counted 1 Some([0])").await;
        assert_eq!(rig.cluster.log(0, "").last().map(String::as_str), Some("HELLO"), "asked behind it");
        rig.cluster.nodes()[0].hello = Some(REPLICA);
        rig.transport.count(2, &[LOW.as_bytes()]);
        rig.expect_all(&["counted 2 None", "settling"]).await;
        // The node does not say what it is.
        rig.cluster.nodes()[0].hello = Some("-NOPERM no\r\n");
        for token in [3, 4] {
            rig.transport.count(token, &[LOW.as_bytes()]);
            rig.until(&format!("counted {token} Some([0])")).await;
        }
        // A node that is lost before it has said what it is.
        let mut rig = Rig::up(BEFORE_FAILOVER, ChannelKind::Shard).await;
        rig.cluster.nodes()[0].hello = Some("");
        rig.transport.count(5, &[LOW.as_bytes()]);
        rig.until_cluster(|cluster| !cluster.log(0, "HELLO").is_empty()).await;
        rig.cluster.kill(0);
        rig.until("counted 5 None").await;
    });
}
