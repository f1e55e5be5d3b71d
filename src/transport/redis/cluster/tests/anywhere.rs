//! Channels and globs, and publishes on global channels, for which any node will do.

use super::*;

#[test]
fn for_global_channels_any_node_will_do() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.transport.subscribe(1, vec![Subscription::channel("a")]);
        rig.expect_all(&["subscribed 0 a", "subscribed 1 a"]).await;
        // The subscribers are spread over the nodes.
        assert_eq!(rig.cluster.log(0, "SUBSCRIBE").len(), 1);
        assert_eq!(rig.cluster.log(1, "SUBSCRIBE").len(), 1);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.expect("published 1").await;
        let chosen = usize::from(rig.cluster.log(0, "PUBLISH").is_empty());
        let subscribed = rig.cluster.log(chosen, "SUBSCRIBE").len();
        assert_eq!(subscribed, 1);
        rig.cluster.kill(chosen);
        let mut seen = Vec::new();
        while !["down", "up", "subscriber down", "subscribed"]
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
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        rig.transport.publish(b"a", b"1");
        rig.expect("published 1").await;
        let at = |cluster: &MockCluster, word: &str| usize::from(cluster.log(0, word).is_empty());
        let (subscribed, chosen) = (at(&rig.cluster, "SUBSCRIBE"), at(&rig.cluster, "PUBLISH"));
        // Node 2 has replaced one of the two, and nobody knows yet that it is its replica.
        let other = 1 - subscribed;
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
        rig.cluster.push(subscribed, &bulks(&["message", "a", "x"]));
        rig.expect("message 0 a x").await;
        assert_eq!(rig.cluster.log(chosen, "PUBLISH").len(), 2);
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

/// Node 2 replaces a node, and nobody knows yet that it is its replica.
fn replace(rig: &mut Rig, former: usize) {
    rig.cluster.all_see(&[(0, 8191, &[2]), (8192, 16383, &[1 - former])]);
    rig.transport.refresh.hint(None, Instant::now());
}

/// A subscriber whose node, which is alive, is not listed any more. Returns the node, and its two others.
async fn delisted(rig: &mut Rig) -> (usize, usize) {
    rig.transport.subscribe(0, vec![Subscription::channel("a"), Subscription::pattern("b*")]);
    rig.expect_all(&["subscribed 0 a", "subscribed 0 b*"]).await;
    let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
    replace(rig, former);
    rig.until_cluster(|cluster| (0..3).any(|node| node != former && cluster.listeners(node) > 0)).await;
    let next = (0..3).find(|&node| node != former && rig.cluster.listeners(node) > 0).unwrap();
    (former, next)
}

/// The next messages of a subscriber that nothing is said of.
async fn heard(rig: &mut Rig, count: usize) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let event = rig.next().await;
        assert!(!event.starts_with("subscribe"), "{event}");
        messages.extend(event.strip_prefix("message 0 ").map(str::to_owned));
    }
    messages
}

const WITH_REPLICA: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[0]), (8192, 16383, &[1, 2])];

#[test]
fn a_node_that_is_alive_is_left_without_a_gap() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        let (former, next) = delisted(&mut rig).await;
        // Each comes from both, in whatever order, and two are the same to the byte.
        for payload in ["1", "2", "2"] {
            rig.cluster.push(former, &bulks(&["message", "a", payload]));
        }
        for payload in ["1", "2", "2", "3"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
        }
        rig.cluster.push(next, &bulks(&["pmessage", "b*", "b1", "4"]));
        assert_eq!(heard(&mut rig, 5).await, ["a 1", "a 2", "a 2", "a 3", "b1 4"]);
        rig.cluster.push(former, &bulks(&["message", "a", "3"]));
        rig.until_cluster(|cluster| cluster.listeners(former) == 0).await;
        rig.cluster.push(next, &bulks(&["message", "a", "5"]));
        assert_eq!(heard(&mut rig, 1).await, ["a 5"]);
        rig.transport.subscribe(0, vec![Subscription::channel("c")]);
        rig.until("subscribed 0 c").await;
        assert!(!rig.cluster.log(next, "SUBSCRIBE c").is_empty());
    });
}

#[test]
fn a_gap_is_reported_if_a_node_that_is_left_may_have_been_cut_off() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        let (former, next) = delisted(&mut rig).await;
        rig.cluster.push(next, &bulks(&["message", "a", "1"]));
        rig.until("message 0 a 1").await;
        rig.until("subscriber down 0").await;
        rig.expect_all(&["subscribed 0 a", "subscribed 0 b*"]).await;
        rig.until_cluster(|cluster| cluster.listeners(former) == 0).await;
    });
}

#[test]
fn a_node_is_left_with_a_gap_if_the_next_one_refuses_names() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        for node in (0..3).filter(|&node| node != former) {
            rig.cluster.nodes()[node].is_closed = true;
        }
        replace(&mut rig, former);
        // It delivers as long as the next one is tried.
        rig.until_cluster(|cluster| {
            (0..3).any(|node| node != former && !cluster.log(node, "SUBSCRIBE").is_empty())
        })
        .await;
        rig.cluster.push(former, &bulks(&["message", "a", "1"]));
        assert_eq!(heard(&mut rig, 1).await, ["a 1"]);
        rig.until("subscriber down 0").await;
        rig.until("subscribe refused 0 NOPERM no").await;
        for node in (0..3).filter(|&node| node != former) {
            rig.cluster.nodes()[node].is_closed = false;
        }
        rig.until("subscribed 0 a").await;
    });
}

#[test]
fn names_that_come_and_go_while_a_node_is_left_are_held_by_the_next_one() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        let (former, next) = delisted(&mut rig).await;
        rig.transport.unsubscribe(0, vec![Subscription::channel("a")]);
        rig.transport.subscribe(0, vec![Subscription::channel("c")]);
        rig.until("subscribed 0 c").await;
        rig.cluster.push(former, &bulks(&["message", "c", "1"]));
        assert_eq!(heard(&mut rig, 1).await, ["c 1"]);
        // It is tried again.
        rig.until_cluster(|cluster| !cluster.log(next, "SUBSCRIBE c").is_empty()).await;
        for node in [former, next] {
            rig.cluster.push(node, &bulks(&["message", "c", "2"]));
        }
        assert_eq!(heard(&mut rig, 1).await, ["c 2"]);
        rig.until_cluster(|cluster| cluster.listeners(former) == 0).await;
        rig.cluster.push(next, &bulks(&["message", "c", "3"]));
        assert_eq!(heard(&mut rig, 1).await, ["c 3"]);
    });
}

#[test]
fn a_node_that_is_listed_again_is_not_left() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        let (former, next) = delisted(&mut rig).await;
        let listed: &[(Slot, Slot, &[usize])] = &[(0, 8191, &[2, former]), (8192, 16383, &[1 - former])];
        rig.cluster.all_see(listed);
        rig.transport.refresh.hint(None, Instant::now());
        rig.until_cluster(|cluster| cluster.listeners(next) == 0).await;
        for payload in ["1", "2"] {
            rig.cluster.push(former, &bulks(&["message", "a", payload]));
            assert_eq!(heard(&mut rig, 1).await, [format!("a {payload}")]);
        }
    });
}

#[test]
fn a_node_that_hangs_while_it_is_left_is_left_as_one_that_hangs() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        // It answers that it is alive, and no more.
        rig.cluster.nodes()[former].pings = Some(1);
        replace(&mut rig, former);
        rig.until("subscriber down 0").await;
        rig.until("subscribed 0 a").await;
        let next = (0..3).find(|&node| node != former && rig.cluster.listeners(node) > 0).unwrap();
        rig.cluster.push(next, &bulks(&["message", "a", "1"]));
        assert_eq!(rig.until("message").await, "message 0 a 1");
    });
}

#[test]
fn a_node_that_is_lost_while_it_is_left_is_replaced_at_once() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        let (former, next) = delisted(&mut rig).await;
        rig.cluster.push(next, &bulks(&["message", "a", "1"]));
        rig.until("message 0 a 1").await;
        rig.cluster.kill(former);
        rig.until("subscriber down 0").await;
        rig.expect_all(&["subscribed 0 a", "subscribed 0 b*"]).await;
        rig.cluster.push(next, &bulks(&["message", "a", "2"]));
        rig.until("message 0 a 2").await;
        assert_eq!(rig.cluster.log(next, "PSUBSCRIBE").len(), 1, "it is the same connection");
    });
}

#[test]
fn what_a_node_delivered_before_it_hung_does_not_come_again_from_the_next_one() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a"), Subscription::pattern("b*")]);
        rig.expect_all(&["subscribed 0 a", "subscribed 0 b*"]).await;
        let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        for payload in ["tick", "1", "2"] {
            rig.cluster.push(former, &bulks(&["message", "a", payload]));
            rig.expect(&format!("message 0 a {payload}")).await;
        }
        rig.cluster.nodes()[former].frozen = true;
        replace(&mut rig, former);
        rig.until("subscriber down 0").await;
        rig.until("subscribed 0 a").await;
        let next = (0..3).find(|&node| node != former && rig.cluster.listeners(node) > 0).unwrap();
        // These were published elsewhere, though they are identical to the byte.
        for payload in ["tick", "new", "tick"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
        }
        rig.cluster.push(next, &bulks(&["pmessage", "b*", "b1", "glob"]));
        for message in ["a tick", "a new", "a tick", "b1 glob"] {
            assert_eq!(rig.until("message").await, format!("message 0 {message}"));
        }
        // The node goes on where it was stopped, and answers after that.
        for payload in ["1", "2"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
        }
        rig.cluster.nodes()[former].frozen = false;
        rig.cluster.push(next, &bulks(&["pmessage", "b*", "b1", "newer"]));
        assert_eq!(rig.until("message").await, "message 0 b1 newer");
        // It is not needed any more.
        rig.until_cluster(|cluster| cluster.listeners(former) == 0).await;
        for payload in ["tick", "1"] {
            rig.cluster.push(next, &bulks(&["message", "a", payload]));
            assert_eq!(rig.until("message").await, format!("message 0 a {payload}"));
        }
    });
}

#[test]
fn what_waits_for_a_node_that_was_left_is_delivered_if_that_is_lost() {
    block_on(async {
        let mut rig = Rig::up(WITH_REPLICA, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        let former = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        rig.cluster.push(former, &bulks(&["message", "a", "1"]));
        rig.expect("message 0 a 1").await;
        rig.cluster.nodes()[former].frozen = true;
        replace(&mut rig, former);
        rig.until("subscriber down 0").await;
        rig.until("subscribed 0 a").await;
        let next = (0..3).find(|&node| node != former && rig.cluster.listeners(node) > 0).unwrap();
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
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
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
fn a_subscriber_that_is_cut_off_returns_to_its_node_once() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Global).await;
        rig.transport.subscribe(0, vec![Subscription::channel("a")]);
        rig.expect("subscribed 0 a").await;
        let at = usize::from(rig.cluster.log(0, "SUBSCRIBE").is_empty());
        // The second loss comes too soon: something may be wrong with the node.
        for (subscribed, elsewhere) in [(2, 0), (2, 1)] {
            rig.cluster.cut(at);
            rig.expect("subscriber down 0").await;
            rig.expect("subscribed 0 a").await;
            assert_eq!(rig.cluster.log(at, "SUBSCRIBE").len(), subscribed);
            assert_eq!(rig.cluster.log(1 - at, "SUBSCRIBE").len(), elsewhere);
        }
    });
}
