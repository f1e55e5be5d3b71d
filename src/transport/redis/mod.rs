//! The link's own connections to Redis. This is the only place that names the `redis` crate, and uses it off
//! the hot path only: through its multiplexed connection a publish cost 4 times as much, and a message
//! through its stream 5 times.
//!
//! All connections are state machines that one future polls, [`crate::transport::Transport::incoming`]: no
//! task, no channel and no timer stand between the socket and the driver. An idle link costs one small
//! command per connection every ten seconds (`connection/liveness.rs`).
//!
//! The rooms, from the lowest up. Each may use the ones before it:
//!
//! - `slot`: the slots of a cluster, and what Redis says about them
//! - `buffer`: bytes that were read, bytes that have to be written, and how commands are written
//! - `connect`: where Redis is, and all it takes to open a connection that Redis has answered on
//! - `connection`: a connection that is kept up
//! - `sentinel`: subscriptions to the sentinels, which announce a new master
//! - `commands`: the parts of connections for commands
//! - `subscriber`: a subscriber connection
//! - `standalone`: the [`RedisTransport`], for one Redis
//! - `cluster`: the [`ClusterTransport`], for the nodes of a cluster

mod buffer;
mod cluster;
mod commands;
mod connect;
mod connection;
#[cfg(test)]
mod mock;
mod sentinel;
mod slot;
mod standalone;
mod step;
mod subscriber;

pub use cluster::{ClusterSettings, ClusterTransport};
pub use connect::{
    Address, AllowedHosts, Answer, AskCredentials, Credentials, Endpoint, Login, Predecessors, RedisTarget,
    Role, Sentinels, Settings, SettingsError, Tls, TlsError, TlsOptions,
};
pub use slot::slot_of;
pub use standalone::RedisTransport;
