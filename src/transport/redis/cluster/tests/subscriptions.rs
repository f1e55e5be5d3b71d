//! Subscriptions, each at the owner of its slot.

use super::*;

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
        // A name that it does not hold any more is not withdrawn.
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
        // The old owner still holds the name until the new one does.
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
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
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

#[test]
fn a_name_that_its_new_owner_holds_is_not_lost_with_the_former_one() {
    block_on(async {
        let mut rig = Rig::subscribed(BEFORE_FAILOVER, &[LOW]).await;
        rig.cluster.all_see(AFTER_FAILOVER);
        rig.transport.publish(LOW.as_bytes(), b"x");
        rig.until("subscribed 0 bar").await;
        rig.cluster.push(0, &confirmation("sunsubscribe", LOW));
        rig.until_cluster(|cluster| cluster.listeners(0) == 0).await;
        rig.cluster.push(2, &bulks(&["smessage", LOW, "x"]));
        rig.expect("message 0 bar x").await;
        assert_eq!(rig.cluster.log(2, "SSUBSCRIBE").len(), 1);
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
fn a_paused_transport_publishes_and_does_not_read_its_subscribers() {
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
