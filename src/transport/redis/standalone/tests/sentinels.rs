//! A master that moves, and mock sentinels that know where it is.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::commands::command;
use super::{Event, Rig, channel, confirmation, push};
use crate::transport::redis::connect::{Address, Endpoint, RedisTarget, Sentinels, Settings};
use crate::transport::redis::mock::{Client, MockPeer, block_on};
use crate::transport::{Outcome, Port, Transport};

/// A sentinel that runs on its own.
struct MockSentinel {
    address: Address,
    known: watch::Sender<Known>,
    asked: Rc<RefCell<Vec<Address>>>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Known {
    master: Option<Address>,
    /// What its subscribers are told.
    said: Option<String>,
    /// Changes when its subscribers have to be dropped.
    subscribers: u32,
}

fn host_and_port(address: &Address) -> (String, String) {
    let Address::Tcp { host, port } = address else {
        panic!("{address}");
    };
    (host.clone(), port.to_string())
}

impl MockSentinel {
    /// Adds its address to `asked` when it is asked for the master.
    async fn start(master: Option<&MockPeer>, asked: &Rc<RefCell<Vec<Address>>>) -> Self {
        let mut peer = MockPeer::tcp().await;
        let address = peer.address();
        let known = Known { master: master.map(MockPeer::address), said: None, subscribers: 0 };
        let known = watch::Sender::new(known);
        let (sender, log, here) = (known.clone(), Rc::clone(asked), address.clone());
        let serving = tokio::task::spawn_local(async move {
            loop {
                let client = peer.accept_raw().await;
                let (known, log, here) = (sender.clone(), Rc::clone(&log), here.clone());
                tokio::task::spawn_local(serve(client, known, log, here));
            }
        });
        Self { address, known, asked: Rc::clone(asked), serving }
    }

    /// The failover is over.
    fn switch(&self, name: &str, from: &MockPeer, to: &MockPeer) {
        let [(from_host, from_port), (to_host, to_port)] =
            [from, to].map(|peer| host_and_port(&peer.address()));
        self.known.send_modify(|known| {
            known.master = Some(to.address());
            known.said = Some(format!("{name} {from_host} {from_port} {to_host} {to_port}"));
        });
    }

    /// The failover is over, and the subscribers are dropped.
    fn switch_unseen(&self, to: &MockPeer) {
        self.known.send_modify(|known| {
            known.master = Some(to.address());
            known.subscribers += 1;
        });
    }

    fn times_asked(&self) -> usize {
        self.asked.borrow().iter().filter(|&asked| *asked == self.address).count()
    }

    /// Waits until it was asked this often.
    async fn asked_times(&self, rig: &mut Rig, times: usize) {
        rig.with_peer(async {
            while self.times_asked() < times {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until it has this many subscribers.
    async fn watched(&self, rig: &mut Rig, watchers: usize) {
        rig.with_peer(async {
            while self.known.receiver_count() < watchers {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Drop for MockSentinel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut client: Client,
    known: watch::Sender<Known>,
    log: Rc<RefCell<Vec<Address>>>,
    here: Address,
) {
    while let Some(command) = client.next_command().await {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["PING"] => client.send(b"+PONG\r\n").await,
            ["SENTINEL", "get-master-addr-by-name", "mymaster"] => {
                log.borrow_mut().push(here.clone());
                let master = known.borrow().master.clone();
                let reply = match master.as_ref().map(host_and_port) {
                    Some((host, port)) => push(&[host.as_bytes(), port.as_bytes()]),
                    None => b"*-1\r\n".to_vec(),
                };
                client.send(&reply).await;
            }
            ["SUBSCRIBE", "+switch-master"] => {
                client.send(&confirmation("SUBSCRIBE", "+switch-master", 1)).await;
                return tell(client, known.subscribe()).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn tell(mut client: Client, mut known: watch::Receiver<Known>) {
    let subscribers = known.borrow_and_update().subscribers;
    loop {
        tokio::select! {
            changed = known.changed() => assert!(changed.is_ok()),
            () = client.closed() => return,
        }
        let now = known.borrow_and_update().clone();
        if now.subscribers != subscribers {
            return;
        }
        if let Some(said) = now.said {
            client.send(&push(&[b"message", b"+switch-master", said.as_bytes()])).await;
        }
    }
}

async fn rig(nodes: &[&Address]) -> Rig {
    let sentinels = Sentinels::new("mymaster", nodes.iter().copied().cloned(), Settings::default());
    let nobody = MockPeer::tcp().await;
    Rig::to(RedisTarget::new(Endpoint::Sentinels(Arc::new(sentinels)), Settings::default()), nobody)
}

/// Accepts a connection that asks for the role.
async fn accept(rig: &mut Rig, peer: &mut MockPeer, role: &str) -> Client {
    rig.with_peer(async {
        let mut client = peer.accept_raw().await;
        client.expect(&["PING"]).await;
        client.expect(&["ROLE"]).await;
        client.send(format!("+PONG\r\n*3\r\n${}\r\n{role}\r\n:0\r\n*0\r\n", role.len()).as_bytes()).await;
        client
    })
    .await
}

fn run(test: impl Future<Output = ()>) {
    block_on(async { tokio::task::LocalSet::new().run_until(test).await });
}

#[test]
fn sentinels_are_asked_in_turn_and_the_one_that_answers_goes_first() {
    run(async {
        let asked = Rc::default();
        let mut master = MockPeer::tcp().await;
        let ignorant = MockSentinel::start(None, &asked).await;
        let knowing = MockSentinel::start(Some(&master), &asked).await;
        let nobody = MockPeer::tcp().await.address();
        let mut rig = rig(&[&nobody, &ignorant.address, &knowing.address]).await;
        rig.transport.open();
        let first = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        // Once by the connection, and once by the subscription to each sentinel.
        ignorant.asked_times(&mut rig, 2).await;
        knowing.asked_times(&mut rig, 2).await;
        drop(first);
        assert!(matches!(rig.next().await, Event::Down(..)));
        let _second = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        assert_eq!((ignorant.times_asked(), knowing.times_asked()), (2, 3));
    });
}

#[test]
fn a_replica_is_never_used() {
    run(async {
        let asked = Rc::default();
        let (mut replica, mut master) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let sentinel = MockSentinel::start(Some(&replica), &asked).await;
        let mut rig = rig(&[&sentinel.address]).await;
        rig.transport.open();
        let mut client = accept(&mut rig, &mut replica, "slave").await;
        let Event::Down(reason, 0, 0) = rig.next().await else {
            panic!("a replica is in use");
        };
        assert!(reason.ends_with("but its role is slave"), "{reason}");
        rig.with_peer(client.closed()).await;
        sentinel.known.send_modify(|known| known.master = Some(master.address()));
        let _client = accept(&mut rig, &mut master, "master").await;
        while rig.next().await != Event::Up {}
    });
}

#[test]
fn a_sentinel_that_names_a_master_that_is_gone_is_asked_last() {
    run(async {
        let asked = Rc::default();
        let (gone, mut master) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let stale = MockSentinel::start(Some(&gone), &asked).await;
        let right = MockSentinel::start(Some(&master), &asked).await;
        drop(gone);
        let mut rig = rig(&[&stale.address, &right.address]).await;
        rig.transport.open();
        let Event::Down(reason, 0, 0) = rig.next().await else {
            panic!("nobody is there");
        };
        assert!(reason.starts_with("cannot connect to"), "{reason}");
        let accepted = accept(&mut rig, &mut master, "master");
        let first = tokio::time::timeout(Duration::from_secs(10), accepted).await.unwrap();
        assert_eq!(rig.next().await, Event::Up);
        stale.asked_times(&mut rig, 2).await;
        right.asked_times(&mut rig, 2).await;
        drop(first);
        assert!(matches!(rig.next().await, Event::Down(..)));
        let _second = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        assert_eq!((stale.times_asked(), right.times_asked()), (2, 3));
    });
}

#[test]
fn a_sentinel_that_hangs_a_connection_is_asked_last() {
    run(async {
        let asked = Rc::default();
        let (frozen, mut master) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let stale = MockSentinel::start(Some(&frozen), &asked).await;
        let right = MockSentinel::start(Some(&master), &asked).await;
        let mut rig = rig(&[&stale.address, &right.address]).await;
        tokio::time::pause();
        rig.transport.open();
        assert!(matches!(rig.next().await, Event::Down(..)));
        let accepted = accept(&mut rig, &mut master, "master");
        let _client = tokio::time::timeout(Duration::from_secs(60), accepted).await.unwrap();
        assert_eq!(rig.next().await, Event::Up);
    });
}

#[test]
fn one_sentinel_that_is_behind_moves_nobody() {
    run(async {
        let asked = Rc::default();
        let (old, mut master) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let behind = MockSentinel::start(Some(&old), &asked).await;
        let one = MockSentinel::start(Some(&master), &asked).await;
        let two = MockSentinel::start(Some(&master), &asked).await;
        let mut rig = rig(&[&one.address, &two.address, &behind.address]).await;
        rig.transport.open();
        let mut client = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        for sentinel in [&behind, &one, &two] {
            sentinel.watched(&mut rig, 1).await;
        }
        // The subscription to it is lost and comes back, and it names the same master as before.
        let before = behind.times_asked();
        behind.switch_unseen(&old);
        behind.asked_times(&mut rig, before + 1).await;
        behind.watched(&mut rig, 1).await;
        rig.transport.publish(b"c", b"1");
        rig.with_peer(client.expect(&["PUBLISH", "c", "1"])).await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn says_why_there_is_no_master() {
    run(async {
        let asked = Rc::default();
        let ignorant = MockSentinel::start(None, &asked).await;
        let mut rig = rig(&[&ignorant.address]).await;
        rig.transport.open();
        let expected = format!(
            "no sentinel says where the master \"mymaster\" is: {} does not know it. Check the name and \
             the sentinels",
            ignorant.address
        );
        assert_eq!(rig.next().await, Event::Down(expected, 0, 0));
    });
}

#[test]
fn a_sentinel_that_does_not_answer_is_passed_over() {
    run(async {
        let asked = Rc::default();
        let mut master = MockPeer::tcp().await;
        let silent = MockPeer::tcp().await;
        let knowing = MockSentinel::start(Some(&master), &asked).await;
        let mut rig = rig(&[&silent.address(), &knowing.address]).await;
        tokio::time::pause();
        rig.transport.open();
        let _client = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
    });
}

#[test]
fn all_connections_follow_the_master() {
    run(async {
        let asked = Rc::default();
        let (mut old, mut new) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let one = MockSentinel::start(Some(&old), &asked).await;
        let two = MockSentinel::start(Some(&old), &asked).await;
        let mut rig = rig(&[&one.address, &two.address]).await;
        rig.transport.open();
        let mut commands = accept(&mut rig, &mut old, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        rig.transport.subscribe(0, vec![channel("c")]);
        let mut subscriber = accept(&mut rig, &mut old, "master").await;
        rig.serve(&mut subscriber, 1).await;
        rig.transport.command(command(Port::Reader(0), 1, &[b"XREAD"]));
        let mut reader = accept(&mut rig, &mut old, "master").await;
        rig.with_peer(reader.command()).await;
        one.watched(&mut rig, 1).await;
        two.watched(&mut rig, 1).await;
        rig.transport.publish(b"a", b"1");
        rig.transport.command(command(Port::Shared, 2, &[b"XADD"]));
        rig.with_peer(async {
            commands.expect(&["PUBLISH", "a", "1"]).await;
            commands.expect(&["XADD"]).await;
        })
        .await;

        two.switch("mymaster", &old, &new);
        let reason = format!("the sentinels say that the master is {}", new.address());
        assert_eq!(rig.next().await, Event::Down(reason.clone(), 1, 0));
        let lost = format!("{:?}", Outcome::Lost { reason: &reason });
        assert_eq!(rig.next().await, Event::Replied(2, lost.clone()));
        assert_eq!(rig.next().await, Event::SubscriberDown(0, reason));
        assert_eq!(rig.next().await, Event::Replied(1, lost));
        rig.with_peer(async {
            commands.closed().await;
            subscriber.closed().await;
            reader.closed().await;
        })
        .await;
        // The other sentinel hears of the switch later, and says nothing new.
        let (mut a, mut b) =
            (accept(&mut rig, &mut new, "master").await, accept(&mut rig, &mut new, "master").await);
        one.switch("mymaster", &old, &new);
        let names = rig
            .with_peer(async {
                tokio::select! {
                    command = a.command() => { a.send(&confirmation("SUBSCRIBE", "c", 1)).await; command }
                    command = b.command() => { b.send(&confirmation("SUBSCRIBE", "c", 1)).await; command }
                }
            })
            .await;
        assert_eq!(names, ["SUBSCRIBE", "c"]);
        assert_eq!(rig.next().await, Event::Up);
        assert_eq!(rig.next().await, Event::Subscribed(0, false, "c".to_owned()));
        assert!(rig.events.is_empty(), "{:?}", rig.events);
        rig.transport.command(command(Port::Reader(0), 3, &[b"XREAD"]));
        let mut reader = accept(&mut rig, &mut new, "master").await;
        rig.with_peer(reader.expect(&["XREAD"])).await;
    });
}

#[test]
fn a_switch_that_nobody_saw_is_noticed_when_the_watch_is_back() {
    run(async {
        let asked = Rc::default();
        let (mut old, mut new) = (MockPeer::tcp().await, MockPeer::tcp().await);
        let sentinel = MockSentinel::start(Some(&old), &asked).await;
        let mut rig = rig(&[&sentinel.address]).await;
        rig.transport.open();
        let mut client = accept(&mut rig, &mut old, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        sentinel.watched(&mut rig, 1).await;
        sentinel.switch_unseen(&new);
        let reason = format!("the sentinels say that the master is {}", new.address());
        assert_eq!(rig.next().await, Event::Down(reason, 0, 0));
        rig.with_peer(client.closed()).await;
        let _client = accept(&mut rig, &mut new, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        // A subscription that is lost without a switch changes nothing.
        let before = sentinel.times_asked();
        sentinel.switch_unseen(&new);
        rig.with_peer(async {
            while sentinel.times_asked() == before {
                tokio::task::yield_now().await;
            }
        })
        .await;
        sentinel.watched(&mut rig, 1).await;
        assert!(rig.events.is_empty(), "{:?}", rig.events);
    });
}

#[test]
fn a_closed_transport_watches_nobody() {
    run(async {
        let asked = Rc::default();
        let mut master = MockPeer::tcp().await;
        let sentinel = MockSentinel::start(Some(&master), &asked).await;
        let mut rig = rig(&[&sentinel.address]).await;
        rig.transport.open();
        let _client = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
        sentinel.watched(&mut rig, 1).await;
        rig.transport.set_open(false);
        assert!(matches!(rig.next().await, Event::Down(..)));
        while sentinel.known.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
        rig.transport.set_open(true);
        sentinel.watched(&mut rig, 1).await;
        let _client = accept(&mut rig, &mut master, "master").await;
        assert_eq!(rig.next().await, Event::Up);
    });
}
