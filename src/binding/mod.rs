//! Node-API: the only place that names `napi`, and the only one with `unsafe`. It converts and forwards.
//!
//! Here belongs what turns a value of JS into one of Rust, or the other way, and hands it on: `args` and `numbers` read
//! arguments, `objects`, `member` and `settings` are what crosses as plain objects, `registry` and `links` find what JS
//! names by a number, the others are the classes and functions that JS sees. What decides something belongs below.
//!
//! Plain data crosses, with the same names on both sides. What an object may lack is left out of it, and never `null`; an
//! argument or a result that is not there is `null`. Every function catches panics, since a panic would end the process.

mod alone;
mod args;
mod fanout;
mod fast;
mod handshakes;
mod hot;
mod link;
mod links;
mod member;
mod numbers;
mod objects;
mod registry;
mod reports;
mod routing;
mod settings;
