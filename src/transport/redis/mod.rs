//! The link's own connections to Redis.
