//! Functions that need neither a link nor a member.

use std::time::Instant;

use napi_derive::napi;

use super::args::Bytes;
use crate::driver;
use crate::packet::misleads;
use crate::transport::passing::{Passing, passing};
use crate::transport::redis::{self, Settings, TlsOptions};
use crate::wire::channel::prefix_of;
use crate::wire::streams::StreamNames;

/// Returns for how long one link of this process has kept the others waiting at most since the last call, in
/// milliseconds: the longest step of the link thread.
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
    // The URL alone is looked at: whether there are certificates is for the link to say.
    let tls = TlsOptions { insecure: true, ..TlsOptions::default() };
    Settings::from_url(&url, Some(&tls)).err().map(|error| error.to_string())
}

/// Returns whether an error of Redis says that it takes later what it refuses.
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

/// Whether a text may say something else than the values that it was printed from: a Date is printed as a string,
/// which the wire of the reference keeps apart, and an object of the user's may look like the place of a binary
/// attachment. JS then looks at the values.
#[napi(catch_unwind)]
pub fn may_mislead(payload: Bytes, attachments: u32) -> bool {
    misleads(payload.as_slice(), attachments as usize)
}

/// Returns the prefix of a broadcast channel: what stands in it before the namespace.
#[napi(catch_unwind)]
pub fn prefix_in(broadcast_channel: String, nsp: String) -> String {
    prefix_of(&broadcast_channel, &nsp).to_owned()
}
