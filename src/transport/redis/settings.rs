use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::allowed::AllowedHosts;
use super::credentials::{Credentials, Login};
use super::predecessor::Predecessors;
use super::sentinel::Sentinels;
use super::tls::{Tls, TlsError, TlsOptions};

/// Where a Redis is, and as whom to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where Redis listens.
    pub address: Address,
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

/// Where Redis listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// A host name or IP address (IPv6 without brackets) and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
    /// Where these say, asked at each connect.
    Sentinels(Arc<Sentinels>),
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

impl Settings {
    /// Returns settings for `address`: no password, database 0, no client name, no TLS.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            credentials: Credentials::default(),
            database: 0,
            client_name: None,
            tls: None,
            role: Role::Any,
            allowed: None,
            predecessors: None,
        }
    }

    /// Returns the settings that a URL stands for: `redis://[user][:password@]host[:port][/database]`, the same with
    /// `rediss://`, or `redis+unix:///path[?db=…&user=…&pass=…]` (also `unix://`).
    ///
    /// `rediss://` needs `tls`, unless it ends in `#insecure`, which takes any certificate; else `tls` goes unused.
    ///
    /// # Errors
    /// [`SettingsError::Url`] for what is no Redis URL, [`SettingsError::Tls`] if there is no TLS to be had.
    pub fn from_url(url: &str, tls: Option<&TlsOptions>) -> Result<Self, SettingsError> {
        // The redis crate knows `rediss://` only along with TLS of its own.
        let (plain, secure) = without_tls(url.trim());
        let (plain, insecure) = match plain.split_once('#') {
            Some((plain, "insecure")) if secure => (plain.to_owned(), true),
            Some(_) if secure => {
                return Err(SettingsError::Url("only #insecure may end a rediss:// URL".to_owned()));
            }
            _ => (plain, false),
        };
        let info = redis::IntoConnectionInfo::into_connection_info(plain.as_str())
            .map_err(|error| SettingsError::Url(error.to_string()))?;
        let address = match info.addr() {
            redis::ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port },
            redis::ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            other => return Err(SettingsError::Url(format!("unknown address {other}"))),
        };
        let tls = if secure {
            let mut options = tls.cloned().unwrap_or_default();
            options.insecure |= insecure;
            Some(Tls::new(&options).map_err(SettingsError::Tls)?)
        } else {
            None
        };
        let login = info.redis_settings();
        Ok(Self {
            credentials: Credentials::Fixed(Login {
                username: login.username().map(str::to_owned),
                password: login.password().map(str::to_owned),
            }),
            database: login.db(),
            tls,
            ..Self::new(address)
        })
    }
}

/// Returns a URL without the mark of TLS in its scheme, and whether it had it.
fn without_tls(url: &str) -> (String, bool) {
    match url.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rediss") => (format!("redis:{rest}"), true),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("valkeys") => (format!("valkey:{rest}"), true),
        _ => (url.to_owned(), false),
    }
}

impl Address {
    /// What two addresses of the same place share; sentinels are the same only as one.
    fn key(&self) -> (u8, &[u8], u16, usize) {
        match self {
            Self::Tcp { host, port } => (0, host.as_bytes(), *port, 0),
            Self::Unix(path) => (1, path.as_os_str().as_encoded_bytes(), 0, 0),
            Self::Sentinels(sentinels) => (2, &[], 0, Arc::as_ptr(sentinels).addr()),
        }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Sentinels(sentinels) => sentinels.fmt(f),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    fn login(username: &str, password: &str) -> Credentials {
        Credentials::Fixed(Login { username: Some(username.to_owned()), password: Some(password.to_owned()) })
    }

    #[test]
    fn reads_a_tcp_url() {
        let settings = Settings::from_url("redis://app:s%40cret@example.org:7000/3", None).unwrap();
        assert_eq!(
            settings,
            Settings {
                credentials: login("app", "s@cret"),
                database: 3,
                ..Settings::new(tcp("example.org", 7000))
            }
        );
        assert_eq!(Settings::from_url("redis://[::1]", None).unwrap(), Settings::new(tcp("::1", 6379)));
        assert_eq!(tcp("::1", 6379).to_string(), "[::1]:6379");
    }

    #[test]
    fn reads_a_unix_url() {
        for scheme in ["unix", "redis+unix"] {
            let settings =
                Settings::from_url(&format!("{scheme}:///run/r.sock?db=2&user=u&pass=p"), None).unwrap();
            assert_eq!(settings.address, Address::Unix(PathBuf::from("/run/r.sock")));
            assert_eq!(settings.database, 2);
            assert_eq!(settings.credentials, login("u", "p"));
        }
    }

    #[test]
    fn reads_a_tls_url() {
        for url in ["rediss://app:secret@h:7000/3#insecure", "VALKEYS://app:secret@h:7000/3#insecure"] {
            let settings = Settings::from_url(url, None).unwrap();
            assert_eq!(settings.address, tcp("h", 7000));
            assert_eq!(settings.credentials, login("app", "secret"));
            assert_eq!(settings.database, 3);
            assert!(format!("{:?}", settings.tls.unwrap()).contains("insecure: true"));
        }
        let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
        assert!(Settings::from_url("rediss://h", Some(&insecure)).unwrap().tls.is_some());
        assert!(Settings::from_url("redis://h", Some(&insecure)).unwrap().tls.is_none());
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        let error = Settings::from_url("rediss://h", None).unwrap_err();
        assert_eq!(error.to_string(), "tls.ca: there is no certificate of an authority in it");
        for url in ["http://u:hidden@h", "rediss://u:hidden@h#secure", "rediss+unix:///hidden"] {
            let error = Settings::from_url(url, None).unwrap_err();
            assert!(matches!(error, SettingsError::Url(_)));
            assert!(!error.to_string().contains("hidden"));
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let settings = Settings::from_url("redis://:hidden@h", None).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hidden"));
        assert!(shown.contains("***"));
    }
}
