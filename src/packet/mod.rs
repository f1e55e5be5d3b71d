//! Socket.IO text, msgpack, and the way from each to the other.
