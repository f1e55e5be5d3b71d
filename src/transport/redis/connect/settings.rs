//! How to speak to a Redis, wherever it is.

use std::fmt;
use std::sync::Arc;

use super::allowed_hosts::AllowedHosts;
use super::credentials::Credentials;
use super::predecessors::Predecessors;
use super::tls::{Tls, TlsError};

/// How to speak to a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// With which user and password to log in.
    pub credentials: Credentials,
    /// The number of the database. Pub/sub ignores it, but a user's ACL or a proxy may not.
    pub database: i64,
    /// The name of the connections in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// How connections are encrypted; `None` if they are not. A unix socket never is.
    pub tls: Option<Tls>,
    /// The role that the Redis must have. If sentinels name it, it must be a master.
    pub role: Role,
    /// Which hosts a cluster or a sentinel may name; all if `None`.
    pub allowed: Option<Arc<AllowedHosts>>,
    /// Connections that have to be ended before their successors are used; `None` if that does not matter.
    pub predecessors: Option<Predecessors>,
}

/// The role that a Redis must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Any role; it is not asked for.
    Any,
    /// Not a replica, if it tells its role. A replica accepts PUBLISH, but delivers to its own subscribers
    /// only.
    NotReplica,
    /// A master that says so.
    Master,
}

/// Why the settings are invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// A part of the TLS options is missing, or cannot be read. It becomes a JS `Error`.
    Tls(TlsError),
    /// The URL is not a Redis URL. It becomes a JS `TypeError`. Holds the parser's words, never the URL.
    Url(String),
}

impl Default for Settings {
    /// Returns settings with no password, database 0, no client name, and no TLS.
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            database: 0,
            client_name: None,
            tls: None,
            role: Role::Any,
            allowed: None,
            predecessors: None,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Url(error) => write!(f, "not a Redis URL: {error}"),
        }
    }
}

impl std::error::Error for SettingsError {}
