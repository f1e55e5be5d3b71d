//! Commands about keys, in a cluster of mock nodes.

use std::time::Duration;

use super::mock_cluster::MockCluster;
use super::*;
use crate::transport::Args;
use crate::transport::redis::mock::block_on;

fn add(token: u64, key: &str) -> KeyCommand {
    let args = Arc::new(Args::of(&[b"XADD", key.as_bytes(), b"*", b"f", b"v"]));
    KeyCommand { port: Port::Shared, token, key: 1, args, patience: None }
}

/// The mock nodes expect the key as the third part.
fn read(reader: usize, token: u64, key: &str) -> KeyCommand {
    let args = Arc::new(Args::of(&[b"XREAD", b"STREAMS", key.as_bytes(), b"0-0"]));
    KeyCommand { port: Port::Reader(reader), token, key: 2, args, patience: None }
}

fn added(token: u64) -> String {
    format!("replied {token} Replied(Bulk([49, 45, 48]))")
}

fn entries(token: u64) -> String {
    format!("replied {token} Replied(Nil)")
}

impl Rig {
    /// With reader 0 at the owner of a key, where it runs the command with `token` 1.
    async fn reading(key: &str) -> Self {
        let mut rig = Self::up(HALVES, ChannelKind::Global).await;
        rig.transport.command(read(0, 1, key));
        let owner = usize::from(key == HIGH);
        rig.until_cluster(|cluster| cluster.readers(owner) == 1).await;
        rig
    }

    /// Skips all events up to this end of a command, and returns that.
    async fn not_run(&mut self, token: u64) -> String {
        self.until(&format!("replied {token} NotRun")).await
    }

    async fn lost(&mut self, token: u64) -> String {
        self.until(&format!("replied {token} Lost")).await
    }
}

#[test]
fn commands_run_at_the_owners_of_their_slots_whatever_the_channel_kind() {
    block_on(async {
        for kind in [ChannelKind::Global, ChannelKind::Shard] {
            let mut rig = Rig::new(HALVES, kind).await;
            // The topology is not known yet.
            for (token, key) in [(1, LOW), (2, HIGH), (3, LOW)] {
                rig.transport.command(add(token, key));
            }
            rig.expect_all(&["up".to_owned(), added(1), added(2), added(3)]).await;
            rig.transport.command(add(4, HIGH));
            rig.expect(&added(4)).await;
            assert_eq!(rig.cluster.log(0, "XADD"), ["XADD bar * f v"; 2]);
            assert_eq!(rig.cluster.log(1, "XADD"), ["XADD foo * f v"; 2]);
            assert!(rig.transport.is_flushed());
        }
    });
}

#[test]
fn commands_run_in_order_with_the_publishes_to_their_node() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
        rig.trusted(&[LOW]).await;
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.transport.command(add(1, LOW));
        rig.transport.publish(LOW.as_bytes(), b"y");
        assert!(rig.transport.unwritten() > 3 * "XADD bar".len());
        for event in ["published 1", &added(1), "published 1"] {
            rig.expect(event).await;
        }
        let log = rig.cluster.nodes()[0].log.clone();
        assert_eq!(log[log.len() - 3..], ["SPUBLISH bar x", "XADD bar * f v", "SPUBLISH bar y"]);
    });
}

#[test]
fn a_slot_that_has_moved_is_found_by_the_next_command() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
        for node in rig.cluster.nodes().iter_mut() {
            // MOVED is the only hint.
            node.slots = Some(SILENCE.to_vec());
            node.see(ALL_AT_1);
        }
        rig.transport.command(add(1, LOW));
        let how = rig.next().await;
        assert!(how.starts_with("replied 1 NotRun { reason: \"MOVED 5061 127.0.0.1:"), "{how}");
        rig.transport.command(add(2, LOW));
        rig.expect(&added(2)).await;
        assert_eq!(rig.cluster.log(1, "XADD"), ["XADD bar * f v"]);
    });
}

#[test]
fn what_a_node_cannot_run_now_has_not_run_and_stops_nothing_else() {
    block_on(async {
        for kind in [ChannelKind::Global, ChannelKind::Shard] {
            let mut rig = Rig::up(HALVES, kind).await;
            for (token, refusal) in
                [(1, "ASK 5061 127.0.0.1:1"), (2, "TRYAGAIN later"), (3, "CLUSTERDOWN The cluster is down")]
            {
                rig.cluster.nodes()[0].refusal = Some(match token {
                    1 => "-ASK 5061 127.0.0.1:1\r\n",
                    2 => "-TRYAGAIN later\r\n",
                    _ => "-CLUSTERDOWN The cluster is down\r\n",
                });
                rig.transport.command(add(token, LOW));
                rig.expect(&format!("replied {token} NotRun {{ reason: {refusal:?} }}")).await;
            }
            rig.transport.publish(HIGH.as_bytes(), b"x");
            rig.expect("published 1").await;
            // An error that does not pass is a reply.
            rig.cluster.nodes()[0].refusal = Some("-NOPERM no\r\n");
            rig.transport.command(add(4, LOW));
            rig.expect(&format!("replied 4 Replied(Error({:?}))", b"NOPERM no")).await;
        }
    });
}

#[test]
fn commands_of_a_lost_node_are_lost_and_those_that_find_none_have_not_run() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
        rig.trusted(&[LOW]).await;
        rig.cluster.nodes()[0].hangs = true;
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.transport.command(add(1, LOW));
        rig.until_cluster(|cluster| cluster.log(0, "XADD").len() == 1).await;
        rig.cluster.kill(0);
        let down = rig.next().await;
        assert!(down.starts_with("down 1 0: 127.0.0.1:"), "{down}");
        let lost = rig.next().await;
        assert!(lost.starts_with("replied 1 Lost { reason: \"127.0.0.1:"), "{lost}");
        // The transport is not up, but the other master is connected.
        rig.transport.command(add(2, HIGH));
        rig.until(&added(2)).await;
        rig.transport.command(add(3, LOW));
        rig.until("down 0 0: cannot connect to").await;
        let not_run = rig.next().await;
        assert!(not_run.starts_with("replied 3 NotRun { reason: \"cannot connect to"), "{not_run}");
        rig.cluster.all_see(ALL_AT_1);
        rig.until("up").await;
        rig.transport.command(add(4, LOW));
        rig.expect(&added(4)).await;
    });
}

#[test]
fn without_an_owner_or_a_topology_nothing_runs() {
    block_on(async {
        let mut rig = Rig::new(HALVES, ChannelKind::Global).await;
        rig.cluster.nodes()[0].slots = Some(SILENCE.to_vec());
        rig.transport.command(add(1, LOW));
        rig.transport.command(read(0, 2, LOW));
        rig.until("down 0 0").await;
        for token in [1, 2] {
            let event = rig.next().await;
            assert!(event.starts_with(&format!("replied {token} NotRun")), "{event}");
        }
        rig.cluster.nodes()[0].slots = None;
        rig.cluster.all_see(&[(0, 8191, &[0])]);
        rig.until("up").await;
        rig.transport.command(add(3, HIGH));
        rig.expect("replied 3 NotRun { reason: \"no node of the cluster owns slot 12182\" }").await;
        rig.transport.command(add(4, LOW));
        rig.expect(&added(4)).await;
    });
}

#[test]
fn a_key_whose_slot_its_owner_disowns_is_at_no_node() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
        rig.cluster.nodes()[0].see(WITHOUT_LOW);
        rig.transport.command(add(1, LOW));
        rig.expect("replied 1 NotRun { reason: \"CLUSTERDOWN Hash slot not served\" }").await;
        poll_until(&mut rig, |transport| !transport.covered).await;
        for token in 2..6 {
            rig.asked(1).await;
            rig.transport.command(add(token, LOW));
            let reason = "no node of the cluster owns slot 5061";
            rig.expect(&format!("replied {token} NotRun {{ reason: {reason:?} }}")).await;
        }
        rig.cluster.nodes()[0].see(HALVES);
        poll_until(&mut rig, |transport| transport.covered).await;
        rig.transport.command(add(6, LOW));
        rig.expect(&added(6)).await;
    });
}

#[test]
fn a_master_that_hangs_and_is_replaced_loses_its_commands() {
    block_on(async {
        // A node that gets publishes, or is counted at, is kept as a replica.
        for (kind, chosen, counts) in [
            (ChannelKind::Global, 0, false),
            (ChannelKind::Global, 1, false),
            (ChannelKind::Global, 1, true),
            (ChannelKind::Shard, 0, true),
        ] {
            let mut rig = Rig::new(BEFORE_FAILOVER, kind).await;
            rig.transport.spread = chosen;
            rig.transport.open();
            rig.expect("up").await;
            if counts {
                rig.transport.count(0, &[LOW.as_bytes()]);
                rig.until("counted").await;
            }
            rig.transport.command(read(0, 1, LOW));
            rig.until_cluster(|cluster| cluster.readers(0) == 1).await;
            rig.cluster.nodes()[0].hangs = true;
            rig.transport.command(add(2, LOW));
            rig.until_cluster(|cluster| cluster.log(0, "XADD").len() == 1).await;
            rig.cluster.all_see(AFTER_FAILOVER);
            let mut ended = vec![rig.until("replied").await, rig.until("replied").await];
            ended.sort();
            assert!(ended[0].starts_with("replied 1 Lost"), "{ended:?}");
            assert!(ended[1].starts_with("replied 2 Lost"), "{ended:?}");
            rig.transport.command(add(3, LOW));
            rig.transport.command(read(0, 4, LOW));
            rig.until(&added(3)).await;
            rig.until_cluster(|cluster| cluster.readers(2) == 1 && cluster.readers(0) == 0).await;
            rig.cluster.feed(2, b"*-1\r\n");
            rig.expect(&entries(4)).await;
        }
    });
}

#[test]
fn a_node_that_gets_no_commands_is_let_go() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
        let chosen = rig.transport.chosen.clone();
        let (other, key) = if chosen == Some(rig.cluster.address(0)) { (1, HIGH) } else { (0, LOW) };
        let other = rig.cluster.address(other);
        let pass = async |time| {
            tokio::time::pause();
            tokio::time::advance(time).await;
            tokio::time::resume();
        };
        rig.transport.command(add(1, key));
        rig.expect(&added(1)).await;
        for (time, stays) in [(Duration::from_secs(55), true), (Duration::from_secs(6), false)] {
            pass(time).await;
            let asked = |cluster: &MockCluster| -> usize {
                (0..2).map(|index| cluster.log(index, "CLUSTER SLOTS").len()).sum()
            };
            let before = asked(&rig.cluster);
            rig.until_cluster(|cluster| asked(cluster) > before).await;
            // The answer, and what follows from it.
            let mut sink = |_: Incoming<'_>| {};
            let settling = rig.transport.incoming(&mut sink);
            assert!(tokio::time::timeout(Duration::from_millis(50), settling).await.is_err());
            assert_eq!(rig.transport.nodes.contains_key(&other), stays);
        }
        rig.transport.command(add(2, key));
        rig.expect(&added(2)).await;
    });
}

#[test]
fn nothing_runs_while_the_transport_is_closed() {
    block_on(async {
        let mut rig = Rig::reading(LOW).await;
        rig.cluster.nodes()[0].hangs = true;
        rig.transport.command(add(2, LOW));
        rig.until_cluster(|cluster| cluster.log(0, "XADD").len() == 1).await;
        rig.transport.command(add(3, LOW));
        rig.transport.command(read(0, 4, LOW));
        rig.transport.set_open(false);
        rig.transport.command(add(5, LOW));
        rig.expect("down 0 0: the link is closed").await;
        for (token, how) in [(2, "Lost"), (3, "NotRun"), (1, "Lost"), (4, "NotRun"), (5, "NotRun")] {
            rig.expect(&format!("replied {token} {how} {{ reason: \"the link is closed\" }}")).await;
        }
        rig.cluster.nodes()[0].hangs = false;
        rig.transport.set_open(true);
        rig.transport.command(add(6, LOW));
        rig.transport.command(read(0, 7, LOW));
        rig.expect_all(&["up".to_owned(), added(6)]).await;
        rig.until_cluster(|cluster| cluster.readers(0) == 1).await;
        rig.cluster.feed(0, b"*-1\r\n");
        rig.expect(&entries(7)).await;
        // It is closed before anything is known.
        let mut rig = Rig::new(HALVES, ChannelKind::Global).await;
        rig.transport.command(add(1, LOW));
        rig.transport.close();
        rig.expect("replied 1 NotRun { reason: \"the link is closed\" }").await;
    });
}

#[test]
fn a_reader_is_at_the_owner_of_its_slot_and_returns_after_a_loss() {
    block_on(async {
        let mut rig = Rig::reading(HIGH).await;
        rig.transport.command(read(1, 2, LOW));
        rig.until_cluster(|cluster| cluster.readers(0) == 1).await;
        rig.cluster.feed(1, b"*-1\r\n");
        rig.expect(&entries(1)).await;
        rig.cluster.feed(0, b"");
        let lost = rig.next().await;
        assert!(lost.starts_with("replied 2 Lost"), "{lost}");
        rig.transport.command(read(1, 3, LOW));
        rig.until_cluster(|cluster| cluster.readers(0) == 1).await;
        rig.cluster.feed(0, b"*-1\r\n");
        rig.expect(&entries(3)).await;
        // The next key has another owner: the reader goes there.
        rig.transport.command(read(1, 4, HIGH));
        rig.until_cluster(|cluster| (cluster.readers(0), cluster.readers(1)) == (0, 2)).await;
        rig.transport.close_reader(0);
        rig.until_cluster(|cluster| cluster.readers(1) == 1).await;
        rig.cluster.feed(1, b"*-1\r\n");
        rig.expect(&entries(4)).await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn a_reader_follows_its_slot() {
    block_on(async {
        // The node says so, and ends the command that blocks there.
        let mut rig = Rig::reading(LOW).await;
        for node in rig.cluster.nodes().iter_mut() {
            node.slots = Some(SILENCE.to_vec());
            node.see(ALL_AT_1);
        }
        let port = rig.cluster.nodes()[1].port;
        rig.cluster.feed(0, format!("-MOVED 5061 127.0.0.1:{port}\r\n").as_bytes());
        rig.not_run(1).await;
        rig.transport.command(read(0, 2, LOW));
        rig.until_cluster(|cluster| cluster.readers(1) == 1).await;
        rig.cluster.feed(1, b"*-1\r\n");
        rig.until(&entries(2)).await;

        // The topology says so; the node says nothing.
        let mut rig = Rig::reading(LOW).await;
        rig.cluster.all_see(ALL_AT_1);
        let lost = rig.lost(1).await;
        assert!(lost.contains(super::super::reader::MOVED), "{lost}");
        rig.transport.command(read(0, 2, LOW));
        rig.until_cluster(|cluster| cluster.readers(1) == 1 && cluster.readers(0) == 0).await;

        // A master that becomes a replica ends the command that blocks, and the cluster is asked at once.
        let mut rig = Rig::reading(LOW).await;
        let asked = rig.cluster.log(0, "CLUSTER SLOTS").len() + rig.cluster.log(1, "CLUSTER SLOTS").len();
        rig.cluster.feed(0, b"-UNBLOCKED force unblock\r\n");
        rig.expect("replied 1 NotRun { reason: \"UNBLOCKED force unblock\" }").await;
        let start = Instant::now();
        rig.until_cluster(|cluster| {
            cluster.log(0, "CLUSTER SLOTS").len() + cluster.log(1, "CLUSTER SLOTS").len() > asked
        })
        .await;
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    });
}

#[test]
fn a_paused_transport_does_not_read_its_readers() {
    block_on(async {
        let mut rig = Rig::reading(LOW).await;
        rig.transport.pause(true);
        rig.cluster.feed(0, b"*-1\r\n");
        for token in 2..5 {
            rig.transport.command(add(token, LOW));
            rig.expect(&added(token)).await;
        }
        rig.transport.pause(false);
        rig.expect(&entries(1)).await;
    });
}
