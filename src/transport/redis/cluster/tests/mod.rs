//! Scripts against a cluster of mock nodes, over the whole transport.

mod keys;
mod mock_cluster;

use std::collections::VecDeque;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::transport::redis::cluster::node::{AWAY, LEASE};
use crate::transport::redis::cluster::subscriber::Hints;
use crate::transport::redis::mock::block_on;
use crate::transport::redis::slot::Slot;
use crate::transport::resp::ProtocolError;
use mock_cluster::{MockCluster, bulks, confirmation};

/// Channels of the slots 5061, 12182 and 866.
const LOW: &str = "bar";
const HIGH: &str = "foo";
const LOWEST: &str = "hello";

const HALVES: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1])];
/// What the owner of [`LOW`] says when it has lost its slot.
const WITHOUT_LOW: &[(Slot, Slot, &[usize])] = &[(0, 5060, &[0]), (5062, 8191, &[0]), (8192, 16383, &[1])];
const ALL_AT_0: &[(Slot, Slot, &[usize])] = &[(0, 16383, &[0])];
const ALL_AT_1: &[(Slot, Slot, &[usize])] = &[(0, 16383, &[1])];

/// What a node answers to CLUSTER SLOTS that does not say.
const SILENCE: &[u8] = b"-NOPERM no\r\n";

/// How long something may take to happen. It is bounded: while a cluster is in trouble there is always another event.
const PATIENCE: Duration = Duration::from_secs(10);

fn words(incoming: Incoming<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match incoming {
        Incoming::Up => "up".to_owned(),
        Incoming::Replica => panic!("that is said of a single Redis"),
        Incoming::Down { reason, unanswered, unwritten } => {
            format!("down {unanswered} {unwritten}: {reason}")
        }
        Incoming::Subscribed { lane, name, .. } => format!("subscribed {lane} {}", text(name)),
        Incoming::Unsubscribed { lane, name, .. } => format!("unsubscribed {lane} {}", text(name)),
        Incoming::LaneDown { lane, .. } => format!("lane down {lane}"),
        Incoming::SubscribeRefused { lane, error } => format!("subscribe refused {lane} {error}"),
        Incoming::Message { lane, channel, payload, .. } => {
            format!("message {lane} {} {}", text(channel), text(payload))
        }
        Incoming::Published { receivers } => format!("published {receivers}"),
        Incoming::PublishRefused { error } => format!("publish refused {error}"),
        Incoming::Returned { channel, payload } => format!("returned {} {}", text(channel), payload.len()),
        Incoming::Held { reason, .. } => format!("held: {reason}"),
        Incoming::CountRefused { token, error } => format!("count refused {token} {error}"),
        Incoming::Settling { .. } => "settling".to_owned(),
        Incoming::Counted { token, counts } => format!("counted {token} {counts:?}"),
        Incoming::Replied { token, outcome } => format!("replied {token} {outcome:?}"),
    }
}

struct Rig {
    transport: ClusterTransport,
    events: VecDeque<String>,
    cluster: MockCluster,
}

impl Rig {
    async fn new(view: &[(Slot, Slot, &[usize])], space: Space) -> Self {
        let cluster = MockCluster::start(view).await;
        let transport = ClusterTransport::new(cluster.settings(&[0]), space);
        Self { transport, events: VecDeque::new(), cluster }
    }

    async fn up(view: &[(Slot, Slot, &[usize])], space: Space) -> Self {
        let mut rig = Self::new(view, space).await;
        rig.transport.open();
        rig.expect("up").await;
        rig
    }

    /// With confirmed names on lane 0.
    async fn subscribed(view: &[(Slot, Slot, &[usize])], names: &[&str]) -> Self {
        let mut rig = Self::up(view, Space::Shard).await;
        rig.transport.subscribe(0, names.iter().copied().map(Subscription::shard).collect());
        rig.expect_all(&names.iter().map(|name| format!("subscribed 0 {name}")).collect::<Vec<_>>()).await;
        rig
    }

    /// No node says what it is, and the owners of these channels are known not to say: what is published there does
    /// not wait.
    async fn trusted(&mut self, channels: &[&str]) {
        for node in self.cluster.nodes().iter_mut() {
            node.hello = Some("-ERR unknown command\r\n");
        }
        for channel in channels {
            self.transport.publish(channel.as_bytes(), b"trust");
            self.expect("published 1").await;
        }
    }

    async fn next(&mut self) -> String {
        let Self { transport, events, .. } = self;
        let work = async {
            loop {
                if let Some(event) = events.pop_front() {
                    return event;
                }
                transport.incoming(&mut |incoming| events.push_back(words(incoming))).await;
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("nothing happens")
    }

    async fn expect(&mut self, event: &str) {
        assert_eq!(self.next().await, event);
    }

    /// All of these come next, in any order.
    async fn expect_all(&mut self, events: &[impl AsRef<str>]) {
        let mut expected: Vec<&str> = events.iter().map(AsRef::as_ref).collect();
        while !expected.is_empty() {
            let event = self.next().await;
            let at = expected.iter().position(|one| *one == event);
            expected.remove(at.unwrap_or_else(|| panic!("{event} is none of {expected:?}")));
        }
    }

    /// Passes over everything up to an event that begins so, which is returned.
    async fn until(&mut self, beginning: &str) -> String {
        let work = async {
            loop {
                let event = self.next().await;
                if event.starts_with(beginning) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("it does not happen")
    }

    /// Runs until a node is asked who owns what.
    async fn asked(&mut self, index: usize) {
        let before = self.cluster.log(index, "CLUSTER SLOTS").len();
        self.until_cluster(|cluster| cluster.log(index, "CLUSTER SLOTS").len() > before).await;
    }

    /// Runs until the mock nodes show something.
    async fn until_cluster(&mut self, mut shows: impl FnMut(&MockCluster) -> bool) {
        let Self { transport, events, cluster } = self;
        let work = async {
            while !shows(cluster) {
                let mut sink = |incoming: Incoming<'_>| events.push_back(words(incoming));
                let one = transport.incoming(&mut sink);
                let _ = tokio::time::timeout(Duration::from_millis(2), one).await;
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("nothing happens");
    }
}

#[test]
fn publishes_go_to_the_owners_of_their_slots() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Shard).await;
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
        let mut rig = Rig::up(HALVES, Space::Shard).await;
        for node in rig.cluster.nodes().iter_mut() {
            // Nobody says more than MOVED.
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
        let mut rig = Rig::up(HALVES, Space::Shard).await;
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

/// Runs until the cluster was asked some more times who owns what; asserts that the transport is never up.
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
        let mut rig = Rig::up(HALVES, Space::Shard).await;
        rig.trusted(&[LOW]).await;
        rig.cluster.nodes()[0].see(WITHOUT_LOW);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("returned bar 1").await;
        rig.expect("down 0 0: CLUSTERDOWN Hash slot not served").await;
        stays_down(&mut rig).await;
        // The news has spread.
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
        for space in [Space::Shard, Space::Global] {
            let mut rig = Rig::up(HALVES, space).await;
            let chosen = rig.transport.chosen.clone();
            let busy = usize::from(chosen == Some(rig.cluster.address(1)));
            let verb = if space == Space::Shard { "SPUBLISH" } else { "PUBLISH" };
            rig.trusted(&[LOW, HIGH]).await;
            rig.cluster.nodes()[busy].busy = true;
            rig.transport.publish(LOW.as_bytes(), b"1");
            rig.expect_all(&["returned bar 1", "held: BUSY Redis is busy running a script."]).await;
            rig.cluster.nodes()[busy].busy = false;
            rig.expect("up").await;
            // It takes the next one, and does not answer it.
            rig.cluster.nodes()[busy].hangs = true;
            for payload in [&b"1"[..], b"22", b"333"] {
                rig.transport.publish(LOW.as_bytes(), payload);
            }
            if space == Space::Shard {
                rig.transport.publish(HIGH.as_bytes(), b"x");
                rig.expect("published 1").await;
            }
            let sent = |cluster: &MockCluster| cluster.log(busy, &format!("{verb} {LOW}")).split_off(1);
            rig.until_cluster(|cluster| !sent(cluster).is_empty()).await;
            assert_eq!(sent(&rig.cluster), [format!("{verb} {LOW} 1")]);
            // What has not gone out comes back if it is lost.
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
            let mut rig = Rig::up(HALVES, Space::Shard).await;
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
fn a_node_that_refuses_to_count_has_subscribers_all_the_same() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Global).await;
        for node in rig.cluster.nodes().iter_mut() {
            node.subscribers = 2;
        }
        rig.transport.count(1, &[LOW.as_bytes()]);
        rig.expect("counted 1 Some([4])").await;
        // Not the one that is published to.
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
fn a_withdrawn_subscription_follows_its_slot_without_waiting_for_a_refresh() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW, HIGH]).await;
        for node in rig.cluster.nodes().iter_mut() {
            node.slots = Some(SILENCE.to_vec());
            node.see(ALL_AT_1);
        }
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.expect("unsubscribed 0 bar").await;
        rig.expect("subscribed 0 bar").await;
        assert_eq!(rig.cluster.log(0, "SSUBSCRIBE"), ["SSUBSCRIBE bar", "SSUBSCRIBE bar"]);
        assert_eq!(rig.cluster.log(1, "SSUBSCRIBE"), ["SSUBSCRIBE foo", "SSUBSCRIBE bar"]);
        rig.cluster.push(1, &bulks(&["smessage", LOW, "x"]));
        rig.until("message 0 bar x").await;
        // What it holds no longer is not withdrawn.
        rig.transport.unsubscribe(0, vec![Subscription::shard(LOW)]);
        rig.until_cluster(|cluster| cluster.log(1, "SUNSUBSCRIBE").len() == 1).await;
        rig.cluster.push(1, &confirmation("sunsubscribe", LOW));
        rig.cluster.push(1, &bulks(&["smessage", HIGH, "y"]));
        rig.until("message 0 foo y").await;
    });
}

#[test]
fn a_slot_with_a_new_owner_takes_its_names_along() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW, HIGH]).await;
        // The old owner still holds it, and goes on until the new one does.
        rig.cluster.all_see(&[(0, 16383, &[1, 0])]);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("returned bar 1").await;
        rig.expect("settling").await;
        rig.expect("subscribed 0 bar").await;
        rig.until_cluster(|cluster| cluster.log(0, "SUNSUBSCRIBE") == ["SUNSUBSCRIBE bar"]).await;
        assert_eq!(rig.cluster.log(1, "SSUBSCRIBE bar").len(), 1);
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn thousands_of_names_move_while_they_are_asked_for() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Shard).await;
        rig.cluster.nodes()[0].hangs = true;
        let names = (0..).map(|number: usize| format!("room-{number}"));
        let names = names.filter(|name| slot_of(name.as_bytes()) < 8192).take(8000);
        rig.transport.subscribe(0, names.map(Subscription::shard).collect());
        rig.until_cluster(|cluster| cluster.log(0, "SSUBSCRIBE").len() > 1000).await;
        rig.cluster.all_see(ALL_AT_1);
        rig.transport.publish(HIGH.as_bytes(), b"x");
        rig.expect("published 1").await;
        rig.transport.publish(LOW.as_bytes(), b"x");
        for _ in 0..8000 {
            rig.until("subscribed 0 room-").await;
        }
    });
}

/// The first half goes from node 0 to its replica, node 2.
const BEFORE_FAILOVER: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0, 2]), (8192, 16383, &[1])];
const AFTER_FAILOVER: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2, 0]), (8192, 16383, &[1])];

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

/// As they see it who know of nothing, and as a node says what it is that has become a replica.
const BEFORE_ANYBODY_KNOWS: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1])];
const REPLICA: &str = "*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";

#[test]
fn the_cluster_is_asked_until_it_knows_that_a_master_is_none_and_names_do_not_go_back_to_it() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.nodes()[0].hello = Some(REPLICA);
        // Something else has changed: the replica is not named.
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
        let mut rig = Rig::up(BEFORE_FAILOVER, Space::Shard).await;
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
        // Not the one whose turn it is.
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
        // The last of what comes from both, in either order, and what comes from one alone.
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
fn a_name_that_its_new_owner_holds_is_not_lost_with_the_former_one() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.until("subscribed 0 bar").await;
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.until_cluster(|cluster| cluster.lanes(0) == 0).await;
        rig.cluster.push(2, &bulks(&["smessage", LOW, "x"]));
        rig.expect("message 0 bar x").await;
        assert_eq!(rig.cluster.log(2, "SSUBSCRIBE").len(), 1);
    });
}

#[test]
fn what_reaches_nobody_is_answered_by_a_master_alone() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, Space::Shard).await;
        rig.cluster.nodes()[0].receivers = 0;
        rig.transport.publish(LOW.as_bytes(), b"1");
        rig.expect("published 0").await;
        assert_eq!(rig.cluster.log(0, "").last().map(String::as_str), Some("HELLO"), "asked behind it");
        // It takes them as before.
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
                let is_asked = rig.transport.lanes[0].is_silent(&former, Instant::now() + far);
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

/// Its slots are another node's, and it is not listed.
const SUCCEEDED: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2]), (8192, 16383, &[1])];

const WITHOUT_REPLICA: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1])];

/// Runs until the transport shows something, and passes over what it reports.
async fn poll_until(rig: &mut Rig, shows: impl Fn(&ClusterTransport) -> bool) {
    let work = async {
        while !shows(&rig.transport) {
            let mut sink = |_: Incoming<'_>| {};
            let one = rig.transport.incoming(&mut sink);
            let _ = tokio::time::timeout(Duration::from_millis(2), one).await;
        }
    };
    tokio::time::timeout(PATIENCE, work).await.expect("it does not happen");
}

#[test]
fn what_a_node_that_hung_sends_behind_its_successor_is_dropped_and_so_are_its_copies() {
    block_on(async {
        // That both are of one shard may not be known.
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
            // Longer than a handover takes from a node that answers.
            let far = Instant::now() + Duration::from_millis(500);
            rig.until_cluster(|_| Instant::now() > far).await;
            rig.cluster.push(0, &bulks(&["smessage", LOW, "late"]));
            rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
            let asked = rig.cluster.log(0, "CLUSTER SLOTS").len();
            rig.cluster.nodes()[0].frozen = false;
            // It has taken note of what was withdrawn behind the message.
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
            // Published there, though it is the same to the byte.
            for payload in ["tick", "new", "tick"] {
                rig.cluster.push(2, &bulks(&["smessage", LOW, payload]));
            }
            for payload in ["tick", "new", "tick"] {
                assert_eq!(rig.until("message 0 bar").await, format!("message 0 bar {payload}"));
            }
            // It goes on where it stood, and answers after that.
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
        let ClusterTransport { lanes, topology, .. } = &mut rig.transport;
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
                lanes[0].poll(cx, topology, false, begun, &mut sink, &mut Hints::default());
                Poll::Ready(())
            })
            .await;
        }
        assert!(many < MANY, "it came behind all others");
    });
}

#[test]
fn publishes_wait_for_those_that_a_former_master_has_not_answered() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, Space::Shard).await;
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
fn a_node_that_does_not_say_what_it_is_is_believed() {
    block_on(async {
        for hello in ["-NOPERM no\r\n", "*0\r\n", "*2\r\n$4\r\nrole\r\n:1\r\n"] {
            let mut rig = Rig::up(HALVES, Space::Shard).await;
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
        // One that holds nothing is asked each time.
        for asked in 1..3 {
            rig.transport.publish(HIGH.as_bytes(), b"x");
            rig.expect("published 1").await;
            assert_eq!(rig.cluster.log(1, "HELLO").len(), asked);
            tokio::time::sleep(LEASE).await;
        }
    });
}

#[test]
fn a_lost_master_costs_its_names_and_its_successor_gets_them() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW, LOWEST, HIGH]).await;
        rig.trusted(&[LOW]).await;
        rig.cluster.nodes()[0].hangs = true;
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.until_cluster(|cluster| cluster.log(0, "SPUBLISH").len() == 2).await;
        rig.cluster.kill(0);
        let mut events = vec![rig.next().await, rig.next().await, rig.next().await];
        events.sort();
        assert!(events[0].starts_with("down 1 0: 127.0.0.1:"), "{events:?}");
        assert_eq!(events[1..], ["unsubscribed 0 bar", "unsubscribed 0 hello"]);
        rig.until("down 0 0: cannot connect to").await;
        rig.cluster.all_see(ALL_AT_1);
        let mut events = vec![rig.until("up").await, rig.next().await, rig.next().await];
        events.sort();
        assert_eq!(events, ["subscribed 0 bar", "subscribed 0 hello", "up"]);
    });
}

#[test]
fn what_was_not_written_comes_back_when_a_node_is_lost() {
    block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let deaf = listener.local_addr().unwrap();
        let mut rig = Rig::new(ALL_AT_0, Space::Shard).await;
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
        let mut rig = Rig::up(ALL_AT_0, Space::Shard).await;
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

#[test]
fn one_command_for_each_slot() {
    block_on(async {
        let names = ["{x}1", "{x}2", "{x}", "{y}1", "{y}2"];
        let rig = Rig::subscribed(ALL_AT_0, &names).await;
        let mut log = rig.cluster.log(0, "SSUBSCRIBE");
        log.sort();
        // Backwards, since the connection was not up yet.
        assert_eq!(log, ["SSUBSCRIBE {x}2 {x}1 {x}", "SSUBSCRIBE {y}2 {y}1"]);
    });
}

#[test]
fn counts_are_summed_over_those_who_may_know() {
    block_on(async {
        let view: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0, 2]), (8192, 16383, &[1, 3])];
        for (space, sums) in [(Space::Shard, "[101, 1010]"), (Space::Global, "[1111, 1111]")] {
            let mut rig = Rig::up(view, space).await;
            for (index, node) in rig.cluster.nodes().iter_mut().enumerate() {
                node.subscribers = [1, 10, 100, 1000][index];
            }
            rig.transport.count(7, &[LOW.as_bytes(), HIGH.as_bytes()]);
            rig.expect(&format!("counted 7 Some({sums})")).await;

            // A replica that is gone has no subscribers; one that hangs is waited for once.
            rig.cluster.kill(2);
            rig.cluster.nodes()[3].hangs = true;
            let sums = if space == Space::Shard { "[1, 10]" } else { "[11, 11]" };
            for patience in [1500, 300] {
                let start = Instant::now();
                rig.transport.count(8, &[LOW.as_bytes(), HIGH.as_bytes()]);
                // A node that is lost is news of its own.
                assert_eq!(rig.until("counted").await, format!("counted 8 Some({sums})"));
                assert!(start.elapsed() < Duration::from_millis(patience), "{:?}", start.elapsed());
            }
            // Without the master of a shard there is no count.
            rig.cluster.nodes()[1].hangs = true;
            rig.transport.count(9, &[LOW.as_bytes(), HIGH.as_bytes()]);
            let counts = if space == Space::Shard { "None" } else { "Some([1, 1])" };
            rig.expect(&format!("counted 9 {counts}")).await;
        }
    });
}

#[test]
fn what_a_node_counts_that_is_no_master_is_not_believed() {
    block_on(async {
        let mut rig = Rig::up(BEFORE_FAILOVER, Space::Shard).await;
        rig.transport.count(1, &[LOW.as_bytes()]);
        rig.expect("counted 1 Some([0])").await;
        assert_eq!(rig.cluster.log(0, "").last().map(String::as_str), Some("HELLO"), "asked behind it");
        rig.cluster.nodes()[0].hello = Some(REPLICA);
        rig.transport.count(2, &[LOW.as_bytes()]);
        rig.expect_all(&["counted 2 None", "settling"]).await;
        // It does not say what it is.
        rig.cluster.nodes()[0].hello = Some("-NOPERM no\r\n");
        for token in [3, 4] {
            rig.transport.count(token, &[LOW.as_bytes()]);
            rig.until(&format!("counted {token} Some([0])")).await;
        }
        // One that is lost before it has said what it is.
        let mut rig = Rig::up(BEFORE_FAILOVER, Space::Shard).await;
        rig.cluster.nodes()[0].hello = Some("");
        rig.transport.count(5, &[LOW.as_bytes()]);
        rig.until_cluster(|cluster| !cluster.log(0, "HELLO").is_empty()).await;
        rig.cluster.kill(0);
        rig.until("counted 5 None").await;
    });
}

#[test]
fn nodes_that_name_each_other_are_not_stormed() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Shard).await;
        rig.cluster.nodes()[0].see(ALL_AT_1);
        rig.cluster.nodes()[1].see(ALL_AT_0);
        rig.transport.subscribe(0, vec![Subscription::shard(LOW)]);
        let idle = async {
            loop {
                rig.transport.incoming(&mut |_| {}).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(1000), idle).await.is_err());
        let commands = rig.cluster.log(0, "SSUBSCRIBE").len() + rig.cluster.log(1, "SSUBSCRIBE").len();
        assert!((2..80).contains(&commands), "{commands}");
        rig.cluster.all_see(HALVES);
        rig.until("subscribed 0 bar").await;
    });
}

#[test]
fn asks_other_nodes_when_one_is_gone_or_hangs() {
    block_on(async {
        let cluster = MockCluster::start(HALVES).await;
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let mut settings = cluster.settings(&[0, 1]);
        settings.seeds.insert(0, Address::Tcp { host: "127.0.0.1".to_owned(), port });
        cluster.nodes()[0].slots = Some(Vec::new());
        let transport = ClusterTransport::new(settings, Space::Shard);
        let mut rig = Rig { transport, events: VecDeque::new(), cluster };
        rig.transport.open();
        rig.expect("up").await;
    });
}

#[test]
fn nonsense_costs_the_connection_and_no_more() {
    block_on(async {
        let mut rig = Rig::new(HALVES, Space::Shard).await;
        rig.transport.open();
        for nonsense in
            [&b"*1\r\n:1\r\n"[..], b"*0\r\n", b"-ERR This instance has cluster support disabled\r\n"]
        {
            rig.cluster.nodes()[0].slots = Some(nonsense.to_vec());
            let down = rig.until("down").await;
            assert!(down.starts_with("down 0 0: "), "{down}");
        }
        rig.until("down 0 0: 127.0.0.1").await;
        rig.cluster.nodes()[0].slots = None;
        rig.until("up").await;
        rig.transport.subscribe(0, vec![Subscription::shard(LOW)]);
        rig.until("subscribed").await;
        for push in [&b":1\r\n"[..], b"-ERR what\r\n", b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n"] {
            rig.cluster.push(0, push);
            rig.until("unsubscribed 0 bar").await;
            rig.until("subscribed 0 bar").await;
        }
        assert!(ProtocolError::Unexpected.to_string().contains("nothing was asked for"));
    });
}

#[test]
fn in_the_global_space_any_node_will_do() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.transport.subscribe(1, vec![Subscription::channel("a")]);
        rig.expect_all(&["subscribed 0 a", "subscribed 1 a"]).await;
        // Lanes are spread.
        assert_eq!(rig.cluster.log(0, "SUBSCRIBE").len(), 1);
        assert_eq!(rig.cluster.log(1, "SUBSCRIBE").len(), 1);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("published 1").await;
        let chosen = usize::from(rig.cluster.log(0, "PUBLISH").is_empty());
        let lane = rig.cluster.log(chosen, "SUBSCRIBE").len();
        assert_eq!(lane, 1);
        rig.cluster.kill(chosen);
        let mut seen = Vec::new();
        while !["down", "up", "lane down", "subscribed"]
            .iter()
            .all(|what| seen.iter().any(|event: &String| event.starts_with(what)))
        {
            seen.push(rig.next().await);
        }
        rig.transport.publish(LOW.as_bytes(), b"y");
        rig.until("published 1").await;
        assert_eq!(rig.cluster.log(1 - chosen, "PUBLISH bar y").len(), 1);
        assert_eq!(rig.cluster.log(1 - chosen, "SUBSCRIBE").len(), 2);
    });
}

#[test]
fn a_node_that_is_missing_from_the_topology_for_a_moment_is_not_left() {
    block_on(async {
        let view: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1, 2])];
        let mut rig = Rig::up(view, Space::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        rig.transport.publish(b"a", b"1");
        rig.expect("published 1").await;
        let at = |cluster: &MockCluster, word: &str| usize::from(cluster.log(0, word).is_empty());
        let (lane, chosen) = (at(&rig.cluster, "SUBSCRIBE"), at(&rig.cluster, "PUBLISH"));
        // Node 2 has taken over from either, which nobody knows as its replica yet.
        let other = 1 - lane;
        let moved: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2]), (8192, 16383, &[other])];
        rig.cluster.all_see(moved);
        rig.transport.refresh.hint(None, Instant::now());
        let asked = rig.cluster.log(0, "CLUSTER SLOTS").len() + rig.cluster.log(1, "CLUSTER SLOTS").len();
        rig.until_cluster(|cluster| {
            let slots = |node| cluster.log(node, "CLUSTER SLOTS").len();
            slots(0) + slots(1) + slots(2) > asked
        })
        .await;
        rig.transport.publish(b"a", b"2");
        rig.expect("published 1").await;
        rig.cluster.push(lane, &bulks(&["message", "a", "x"]));
        rig.expect("message 0 a x").await;
        assert_eq!(rig.cluster.log(chosen, "PUBLISH").len(), 2);
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn what_a_node_delivered_before_it_hung_does_not_come_again_from_the_next_one() {
    block_on(async {
        let view: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1, 2])];
        let mut rig = Rig::up(view, Space::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a"), Subscription::pattern("b*")]);
        rig.expect_all(&["subscribed 0 a", "subscribed 0 b*"]).await;
        let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        for payload in ["tick", "1", "2"] {
            rig.cluster.push(former, &bulks(&["message", "a", payload]));
            rig.expect(&format!("message 0 a {payload}")).await;
        }
        rig.cluster.nodes()[former].frozen = true;
        let moved: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2]), (8192, 16383, &[1 - former])];
        rig.cluster.all_see(moved);
        rig.transport.refresh.hint(None, Instant::now());
        rig.until("lane down 0").await;
        rig.until("subscribed 0 a").await;
        let next = (0..3).find(|&node| node != former && rig.cluster.lanes(node) > 0).unwrap();
        // Published elsewhere, though it is the same to the byte.
        for payload in ["tick", "new", "tick"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
        }
        rig.cluster.push(next, &bulks(&["pmessage", "b*", "b1", "glob"]));
        for message in ["a tick", "a new", "a tick", "b1 glob"] {
            assert_eq!(rig.until("message").await, format!("message 0 {message}"));
        }
        // It goes on where it stood, and answers after that.
        for payload in ["1", "2"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
        }
        rig.cluster.nodes()[former].frozen = false;
        rig.cluster.push(next, &bulks(&["pmessage", "b*", "b1", "newer"]));
        assert_eq!(rig.until("message").await, "message 0 b1 newer");
        // It is of no more use then.
        rig.until_cluster(|cluster| cluster.lanes(former) == 0).await;
        for payload in ["tick", "1"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
            assert_eq!(rig.until("message").await, format!("message 0 a {payload}"));
        }
    });
}

#[test]
fn what_waits_for_a_node_that_was_left_is_delivered_if_that_is_lost() {
    block_on(async {
        let view: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1, 2])];
        let mut rig = Rig::up(view, Space::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        rig.cluster.push(former, &bulks(&["message", "a", "1"]));
        rig.expect("message 0 a 1").await;
        rig.cluster.nodes()[former].frozen = true;
        let moved: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2]), (8192, 16383, &[1 - former])];
        rig.cluster.all_see(moved);
        rig.transport.refresh.hint(None, Instant::now());
        rig.until("lane down 0").await;
        rig.until("subscribed 0 a").await;
        let next = (0..3).find(|&node| node != former && rig.cluster.lanes(node) > 0).unwrap();
        rig.cluster.push(next, &bulks(&["message", "a", "1"]));
        rig.cluster.push(next, &bulks(&["message", "a", "2"]));
        rig.cluster.kill(former);
        assert_eq!(rig.until("message").await, "message 0 a 1");
        assert_eq!(rig.until("message").await, "message 0 a 2");
        rig.cluster.push(next, &bulks(&["message", "a", "1"]));
        assert_eq!(rig.until("message").await, "message 0 a 1");
    });
}

#[test]
fn a_lost_node_may_take_along_the_subscriptions_of_others() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Global).await;
        rig.transport.count(1, &[b"a"]);
        rig.expect("counted 1 Some([0])").await;
        rig.transport.publish(b"a", b"1");
        rig.expect("published 1").await;
        let chosen = usize::from(rig.cluster.log(0, "PUBLISH").is_empty());
        rig.cluster.kill(1 - chosen);
        rig.expect("settling").await;
        rig.transport.publish(b"a", b"2");
        rig.expect("published 1").await;
    });
}

#[test]
fn a_lane_that_is_cut_off_returns_to_its_node_once() {
    block_on(async {
        let mut rig = Rig::up(HALVES, Space::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        let at = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        // The second loss comes too soon: there may be something wrong with the node.
        for (subscribed, elsewhere) in [(2, 0), (2, 1)] {
            rig.cluster.cut(at);
            rig.expect("lane down 0").await;
            rig.expect("subscribed 0 a").await;
            assert_eq!(rig.cluster.log(at, "SUBSCRIBE").len(), subscribed);
            assert_eq!(rig.cluster.log(1 - at, "SUBSCRIBE").len(), elsewhere);
        }
    });
}

#[test]
fn closes_with_the_users_clients_and_opens_again() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW, HIGH]).await;
        rig.trusted(&[LOW]).await;
        rig.cluster.nodes()[0].hangs = true;
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.until_cluster(|cluster| cluster.log(0, "SPUBLISH").len() == 2).await;
        rig.transport.publish(LOW.as_bytes(), b"not written");
        rig.transport.count(1, &[LOW.as_bytes()]);
        rig.transport.set_open(false);
        rig.transport.set_open(false);
        rig.transport.count(2, &[LOW.as_bytes()]);
        for event in ["down 1 1: the link is closed", "lane down 0", "counted 1 None", "counted 2 None"] {
            rig.expect(event).await;
        }
        rig.transport.publish(LOW.as_bytes(), b"closed");
        rig.cluster.nodes()[0].hangs = false;
        rig.transport.set_open(true);
        rig.expect_all(&["up", "subscribed 0 bar", "subscribed 0 foo"]).await;
        rig.transport.close();
        rig.expect("down 0 1: the link is closed").await;
        rig.expect("lane down 0").await;
        rig.transport.set_open(true);
        rig.transport.open();
        rig.expect("up").await;
        assert!(rig.events.is_empty());
    });
}

#[test]
fn a_paused_transport_publishes_and_does_not_read_its_lanes() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW]).await;
        rig.transport.pause(true);
        rig.cluster.push(0, &bulks(&["smessage", LOW, "x"]));
        for _ in 0..3 {
            rig.transport.publish(LOW.as_bytes(), b"1");
            rig.expect("published 1").await;
        }
        rig.transport.pause(false);
        rig.expect("message 0 bar x").await;
    });
}

/// How often the transport is looked at within a time in which the test does nothing.
async fn looks(rig: &mut Rig, time: Duration) -> usize {
    let mut looks = 0;
    let mut sink = |_: Incoming<'_>| {};
    let idle = async {
        loop {
            let mut incoming = std::pin::pin!(rig.transport.incoming(&mut sink));
            poll_fn(|cx| {
                looks += 1;
                incoming.as_mut().poll(cx)
            })
            .await;
        }
    };
    assert!(tokio::time::timeout(time, idle).await.is_err());
    looks
}

#[test]
fn costs_next_to_nothing_when_idle_or_down() {
    block_on(async {
        let mut rig = Rig::subscribed(HALVES, &[LOW, HIGH]).await;
        let time = Duration::from_millis(500);
        let idle = looks(&mut rig, time).await;
        assert!(idle < 5, "{idle}");
        rig.cluster.nodes()[1].hangs = true;
        rig.transport.publish(HIGH.as_bytes(), b"x");
        let hanging = looks(&mut rig, 4 * time).await;
        assert!(hanging < 50, "{hanging}");
        rig.cluster.kill(0);
        let down = looks(&mut rig, 2 * time).await;
        assert!(down < 150, "{down}");
        assert!(rig.cluster.log(1, "CLUSTER SLOTS").len() < 40);
    });
}
