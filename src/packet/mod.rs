//! Socket.IO text, msgpack, and the way from each to the other.
//!
//! Outgoing, [`EventText`] takes apart what the JS parser printed and [`json_to_msgpack`] turns it into what
//! `notepack.io` would have put on Redis. Incoming, [`write_event_frame`] makes of a packet's `data` the
//! WebSocket frame that every local client gets. [`MsgpackReader`] and the `write_*` functions are for what surrounds
//! the data: uid, options, envelopes.
//!
//! Nothing here builds a tree of values, and nothing recurses: what is open waits in a short list that
//! moves to the heap beyond the first levels. Each direction is tested against a twin in `twin.rs` that
//! does build the tree and is too simple to be wrong.
//!
//! Not for typed messages (requests, responses): serde does those.

mod date;
mod event_text;
mod frame;
mod heads;
mod json_string;
mod json_to_msgpack;
mod malformed;
mod misleading;
mod msgpack;
mod msgpack_to_json;
mod nesting;
mod number;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod twin;
mod writer;

pub use event_text::EventText;
pub use frame::{Frame, check_event, write_event_frame, write_event_frame_of_text};
pub use json_to_msgpack::json_to_msgpack;
pub use malformed::Malformed;
pub use misleading::misleads;
pub use msgpack::{MsgpackReader, skip_value};
pub use msgpack_to_json::{Printed, msgpack_to_json};
pub use writer::{
    write_array_len, write_bin_len, write_double, write_int, write_map_len, write_str, write_uint,
};

/// How many arrays and maps may stand one in the other, in either direction; one more is
/// [`Malformed::TooDeep`]. Above what people send, below what exhausts the stack of a JS `JSON.parse`.
pub const MAX_DEPTH: usize = 1024;
