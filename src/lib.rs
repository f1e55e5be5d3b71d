//! The core of `socket.io-redis-native`: what the Redis adapter of Socket.IO does off the JS thread.
//!
//! The layers import only downwards: [`binding`] → [`driver`] → [`core`] → [`wire`] → [`packet`], with
//! [`transport`] beside the core. [`fanout`] needs none of them. ARCHITECTURE.md draws the way of a message through them.

// `unsafe` is for the binding alone, where Node-API's raw handles are.
#![cfg_attr(not(feature = "binding"), forbid(unsafe_code))]

// In tests nothing registers what Node would call.
#[cfg(feature = "binding")]
#[cfg_attr(test, allow(dead_code))]
pub mod binding;
pub mod clock;
pub mod core;
pub mod driver;
pub mod fanout;
pub mod packet;
pub mod transport;
pub mod wire;
