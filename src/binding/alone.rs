//! Functions that need neither a link nor a member.

use std::time::Instant;

use napi_derive::napi;

use super::args::Bytes;
use crate::driver;
use crate::packet::misleads;
use crate::transport::passing::{Passing, passing};
use crate::transport::redis::{self, RedisTarget, TlsOptions};
use crate::wire::channel::prefix_of;
use crate::wire::streams::StreamNames;

/// Returns how long the longest step of the link thread took since the last call, in milliseconds. All other links wait
/// during a step.
#[napi(catch_unwind)]
pub fn longest_step() -> f64 {
    driver::take_longest_step().as_secs_f64() * 1000.0
}

/// Returns the time of the clock that events are stamped with, in milliseconds; see `clock.rs`.
#[napi(catch_unwind)]
pub fn clock() -> u32 {
    crate::clock::millis(Instant::now())
}

/// Says what is wrong with the URL of a Redis; `null` if nothing is.
#[napi(catch_unwind)]
pub fn url_problem(url: String) -> Option<String> {
    // Only the URL is looked at. Whether there are certificates is found out when a link is made.
    let tls = TlsOptions { insecure: true, ..TlsOptions::default() };
    RedisTarget::from_url(&url, Some(&tls)).err().map(|error| error.to_string())
}

/// Returns whether an error of Redis says that Redis takes later what it refuses now.
#[napi(catch_unwind)]
pub fn is_taken_later(error: String) -> bool {
    passing(error.as_bytes()).is_some_and(Passing::is_here)
}

/// Returns the stream that a namespace writes to, of `count` streams called `name`.
#[napi(catch_unwind)]
pub fn stream_of(name: String, count: u32, nsp: String) -> String {
    StreamNames::of(&name, count, &nsp).written
}

/// Returns the slot of a cluster that a channel or key belongs to.
#[napi(catch_unwind)]
pub fn slot_of(name: String) -> u32 {
    redis::slot_of(name.as_bytes()).into()
}

/// Whether a text may mean something else than the values that it was printed from; JS then looks at the values. See
/// `misleads` in `src/packet`.
#[napi(catch_unwind)]
pub fn may_mislead(payload: Bytes, attachments: u32) -> bool {
    misleads(payload.as_slice(), attachments as usize)
}

/// Returns the prefix of a broadcast channel: what comes before the namespace.
#[napi(catch_unwind)]
pub fn prefix_in(broadcast_channel: String, nsp: String) -> String {
    prefix_of(&broadcast_channel, &nsp).to_owned()
}
