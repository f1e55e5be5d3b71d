//! A whole core against a Redis that answers within a millisecond ([`world`]).

mod alone;
mod crossing;
mod hearing;
mod names;
mod outage;
mod own_count;
mod waiting;
pub(in crate::core) mod world;
