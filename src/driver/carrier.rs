//! Who moves the bytes of a link: its own connections, or the user's clients.

use crate::core::effects::Change;
use crate::transport::client::ClientTransport;
use crate::transport::redis::{ClusterTransport, Predecessors, RedisTransport, Settings};
use crate::transport::{Incoming, KeyCommand, Lane, Subscription, Transport};
use crate::wire::Family;

use super::outbox::Place;

/// Who moves the bytes of a link.
pub(super) enum Carrier {
    Redis(Box<RedisTransport>),
    Cluster(Box<ClusterTransport>),
    Client(ClientTransport),
    #[cfg(test)]
    Memory(crate::transport::memory::MemoryTransport),
}

impl Carrier {
    /// Own connections, which are being made.
    pub fn to(place: Place, family: Family) -> Self {
        let space = family.space();
        // What is added to a stream twice stands there twice; what is published late is only late.
        let predecessors = || matches!(family, Family::Streams { .. }).then(Predecessors::default);
        match place {
            Place::Redis(settings) => {
                let settings = Settings { predecessors: predecessors(), ..settings };
                let mut redis = RedisTransport::new(settings, space);
                redis.open();
                Carrier::Redis(Box::new(redis))
            }
            Place::Cluster(mut settings) => {
                settings.base.predecessors = predecessors();
                let mut cluster = ClusterTransport::new(settings, space);
                cluster.open();
                Carrier::Cluster(Box::new(cluster))
            }
        }
    }

    /// Opens the connections of a carrier that is not the user's clients, or closes them.
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
}

impl Transport for Carrier {
    fn has_lanes(&self) -> bool {
        match self {
            Carrier::Redis(redis) => redis.has_lanes(),
            Carrier::Cluster(cluster) => cluster.has_lanes(),
            Carrier::Client(client) => client.has_lanes(),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.has_lanes(),
        }
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        match self {
            Carrier::Redis(redis) => redis.publish(channel, payload),
            Carrier::Cluster(cluster) => cluster.publish(channel, payload),
            Carrier::Client(client) => client.publish(channel, payload),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.publish(channel, payload),
        }
    }

    fn unwritten(&self) -> usize {
        match self {
            Carrier::Redis(redis) => redis.unwritten(),
            Carrier::Cluster(cluster) => cluster.unwritten(),
            Carrier::Client(client) => client.unwritten(),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.unwritten(),
        }
    }

    fn subscribe(&mut self, lane: Lane, names: Vec<Subscription>) {
        match self {
            Carrier::Redis(redis) => redis.subscribe(lane, names),
            Carrier::Cluster(cluster) => cluster.subscribe(lane, names),
            Carrier::Client(client) => client.subscribe(lane, names),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.subscribe(lane, names),
        }
    }

    fn unsubscribe(&mut self, lane: Lane, names: Vec<Subscription>) {
        match self {
            Carrier::Redis(redis) => redis.unsubscribe(lane, names),
            Carrier::Cluster(cluster) => cluster.unsubscribe(lane, names),
            Carrier::Client(client) => client.unsubscribe(lane, names),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.unsubscribe(lane, names),
        }
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        match self {
            Carrier::Redis(redis) => redis.count(token, channels),
            Carrier::Cluster(cluster) => cluster.count(token, channels),
            Carrier::Client(client) => client.count(token, channels),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.count(token, channels),
        }
    }

    fn command(&mut self, command: KeyCommand) {
        match self {
            Carrier::Redis(redis) => redis.command(command),
            Carrier::Cluster(cluster) => cluster.command(command),
            Carrier::Client(client) => client.command(command),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.command(command),
        }
    }

    fn close_reader(&mut self, reader: usize) {
        match self {
            Carrier::Redis(redis) => redis.close_reader(reader),
            Carrier::Cluster(cluster) => cluster.close_reader(reader),
            Carrier::Client(client) => client.close_reader(reader),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.close_reader(reader),
        }
    }

    fn pause(&mut self, paused: bool) {
        match self {
            Carrier::Redis(redis) => redis.pause(paused),
            Carrier::Cluster(cluster) => cluster.pause(paused),
            Carrier::Client(client) => client.pause(paused),
            #[cfg(test)]
            Carrier::Memory(memory) => memory.pause(paused),
        }
    }

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        match self {
            Carrier::Redis(redis) => redis.incoming(sink).await,
            Carrier::Cluster(cluster) => cluster.incoming(sink).await,
            Carrier::Client(client) => client.incoming(sink).await,
            #[cfg(test)]
            Carrier::Memory(memory) => memory.incoming(sink).await,
        }
    }
}

/// What comes one after another for the same lane goes into one command, in order.
pub(super) fn in_runs(
    changes: &mut Vec<(Lane, Change, Subscription)>,
) -> Vec<(Lane, Change, Vec<Subscription>)> {
    let mut runs: Vec<(Lane, Change, Vec<Subscription>)> = Vec::new();
    for (lane, change, name) in changes.drain(..) {
        // The last run of the lane: lanes do not wait for each other.
        match runs.iter_mut().rev().find(|run| run.0 == lane) {
            Some(run) if run.1 == change => run.2.push(name),
            _ => runs.push((lane, change, vec![name])),
        }
    }
    runs
}
