//! Who moves the bytes of a link: its own connections, or the user's clients.

use crate::core::effects::Change;
use crate::transport::client::ClientTransport;
use crate::transport::redis::{ClusterTransport, Predecessors, RedisTransport};
use crate::transport::{Incoming, KeyCommand, Subscriber, Subscription, Transport};
use crate::wire::Family;

use super::command::Place;

/// Who moves the bytes of a link.
pub(super) enum Carrier {
    Redis(Box<RedisTransport>),
    Cluster(Box<ClusterTransport>),
    Client(ClientTransport),
    #[cfg(test)]
    Memory(crate::transport::memory::MemoryTransport),
}

/// Runs an expression on whichever carrier it is.
macro_rules! on_each {
    ($carrier:expr, $transport:ident => $call:expr) => {
        match $carrier {
            Carrier::Redis($transport) => $call,
            Carrier::Cluster($transport) => $call,
            Carrier::Client($transport) => $call,
            #[cfg(test)]
            Carrier::Memory($transport) => $call,
        }
    };
}

impl Carrier {
    /// Own connections, which are being made.
    pub fn own(place: Place, family: Family) -> Self {
        let channel_kind = family.channel_kind();
        // An entry that is added twice is in the stream twice; a message that is published late is only late.
        let predecessors = || matches!(family, Family::Streams { .. }).then(Predecessors::default);
        match place {
            Place::Redis(mut target) => {
                target.settings.predecessors = predecessors();
                let mut redis = RedisTransport::new(target, channel_kind);
                redis.open();
                Carrier::Redis(Box::new(redis))
            }
            Place::Cluster(mut settings) => {
                settings.base.predecessors = predecessors();
                let mut cluster = ClusterTransport::new(settings, channel_kind);
                cluster.open();
                Carrier::Cluster(Box::new(cluster))
            }
        }
    }

    /// The user's clients.
    pub fn client() -> Self {
        Carrier::Client(ClientTransport::default())
    }

    /// Opens own connections, or closes them; the user's clients are theirs to open.
    pub fn set_open(&mut self, open: bool) {
        match self {
            Carrier::Redis(redis) => redis.set_open(open),
            Carrier::Cluster(cluster) => cluster.set_open(open),
            Carrier::Client(client) if !open => client.abandon(),
            Carrier::Client(_) => {}
            #[cfg(test)]
            Carrier::Memory(_) => {}
        }
    }

    /// Makes and ends subscriptions, in order.
    pub fn change_subscriptions(&mut self, changes: &mut Vec<(Subscriber, Change, Subscription)>) {
        for (subscriber, change, names) in in_runs(changes) {
            match change {
                Change::Add => self.subscribe(subscriber, names),
                Change::Remove => self.unsubscribe(subscriber, names),
            }
        }
    }
}

impl Transport for Carrier {
    fn opens_subscribers(&self) -> bool {
        on_each!(self, transport => transport.opens_subscribers())
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        on_each!(self, transport => transport.publish(channel, payload));
    }

    fn unwritten(&self) -> usize {
        on_each!(self, transport => transport.unwritten())
    }

    fn subscribe(&mut self, subscriber: Subscriber, names: Vec<Subscription>) {
        on_each!(self, transport => transport.subscribe(subscriber, names));
    }

    fn unsubscribe(&mut self, subscriber: Subscriber, names: Vec<Subscription>) {
        on_each!(self, transport => transport.unsubscribe(subscriber, names));
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        on_each!(self, transport => transport.count(token, channels));
    }

    fn command(&mut self, command: KeyCommand) {
        on_each!(self, transport => transport.command(command));
    }

    fn close_reader(&mut self, reader: usize) {
        on_each!(self, transport => transport.close_reader(reader));
    }

    fn pause(&mut self, paused: bool) {
        on_each!(self, transport => transport.pause(paused));
    }

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        on_each!(self, transport => transport.incoming(sink).await);
    }
}

/// Puts changes of the same kind that follow each other on a subscriber connection into one command. The
/// order stays.
fn in_runs(
    changes: &mut Vec<(Subscriber, Change, Subscription)>,
) -> Vec<(Subscriber, Change, Vec<Subscription>)> {
    let mut runs: Vec<(Subscriber, Change, Vec<Subscription>)> = Vec::new();
    for (subscriber, change, name) in changes.drain(..) {
        // The last run of this subscriber connection: connections do not wait for each other.
        match runs.iter_mut().rev().find(|run| run.0 == subscriber) {
            Some(run) if run.1 == change => run.2.push(name),
            _ => runs.push((subscriber, change, vec![name])),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SubscriptionKind;

    #[test]
    fn changes_of_a_subscriber_stay_in_order_and_go_together_where_they_can() {
        let name = |name: &str| Subscription::new(SubscriptionKind::Channel, name.as_bytes());
        let (one, other): (Subscriber, Subscriber) = (1, 2);
        let mut changes = vec![
            (one, Change::Add, name("a")),
            (other, Change::Add, name("b")),
            (one, Change::Add, name("c")),
            (one, Change::Remove, name("a")),
            (other, Change::Add, name("d")),
            (one, Change::Add, name("a")),
        ];
        let expected = vec![
            (one, Change::Add, vec![name("a"), name("c")]),
            (other, Change::Add, vec![name("b"), name("d")]),
            (one, Change::Remove, vec![name("a")]),
            (one, Change::Add, vec![name("a")]),
        ];
        assert_eq!(in_runs(&mut changes), expected);
        assert!(changes.is_empty());
    }
}
