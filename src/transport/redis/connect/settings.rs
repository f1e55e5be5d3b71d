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
    /// As whom to speak to it.
    pub credentials: Credentials,
    /// The database. Pub/sub ignores it; a user's ACL and proxies may not.
    pub database: i64,
    /// The name of the connections in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// How connections are made secret; `None` if they are not. A unix socket never is.
    pub tls: Option<Tls>,
    /// What the Redis there has to be. Who is named by sentinels has to be a master.
    pub role: Role,
    /// Who may be connected to besides; `None` is whoever is named by a cluster or a sentinel.
    pub allowed: Option<Arc<AllowedHosts>>,
    /// Connections that have to be ended before their successors are used; `None` if it does not matter.
    pub predecessors: Option<Predecessors>,
}

/// What a Redis has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody asks.
    Any,
    /// Not a replica, if it says what it is: that would take a PUBLISH, too, and tell nobody but its own subscribers.
    NotReplica,
    /// A master that says so.
    Master,
}

/// Why there are no [`Settings`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// A part of the TLS options cannot be read, or is missing. Becomes a JS `Error`.
    Tls(TlsError),
    /// The URL is not one of Redis'. Becomes a JS `TypeError`; holds the parser's words, never the URL.
    Url(String),
}

impl Default for Settings {
    /// No password, database 0, no client name, no TLS.
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
