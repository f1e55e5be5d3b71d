//! How the transport opens and closes, and what it costs.

use super::*;

#[test]
fn nodes_that_name_each_other_are_not_stormed() {
    block_on(async {
        let mut rig = Rig::up(HALVES, ChannelKind::Shard).await;
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
        let transport = ClusterTransport::new(settings, ChannelKind::Shard);
        let mut rig = Rig { transport, events: VecDeque::new(), cluster };
        rig.transport.open();
        rig.expect("up").await;
    });
}

#[test]
fn nonsense_costs_the_connection_and_no_more() {
    block_on(async {
        let mut rig = Rig::new(HALVES, ChannelKind::Shard).await;
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
        for event in ["down 1 1: the link is closed", "subscriber down 0", "counted 1 None", "counted 2 None"]
        {
            rig.expect(event).await;
        }
        rig.transport.publish(LOW.as_bytes(), b"closed");
        rig.cluster.nodes()[0].hangs = false;
        rig.transport.set_open(true);
        rig.expect_all(&["up", "subscribed 0 bar", "subscribed 0 foo"]).await;
        rig.transport.close();
        rig.expect("down 0 1: the link is closed").await;
        rig.expect("subscriber down 0").await;
        rig.transport.set_open(true);
        rig.transport.open();
        rig.expect("up").await;
        assert!(rig.events.is_empty());
    });
}

/// Returns how often the transport is polled while the test does nothing for this time.
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
