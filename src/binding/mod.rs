//! Node-API: the only place that names `napi`, and the only one with `unsafe`. It converts and forwards.
//!
//! Plain data crosses, with the same names on both sides, `null` and never `undefined`. Every function catches
//! panics: a plain one that panicked would end the process.

mod args;
mod fast;
mod link;
mod member;
mod routing;
mod settings;
