use std::fmt;
use std::path::PathBuf;

/// Where a standalone Redis is, and as whom to speak to it.
///
/// `Debug` shows whether there is a password, never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where Redis listens.
    pub address: Address,
    /// The ACL user; `None` is Redis' `default`. Says nothing without a password.
    pub username: Option<String>,
    /// The password of the user. `AUTH` is sent only if there is one.
    pub password: Option<String>,
    /// The database. Pub/sub ignores it; a user's ACL and proxies may not.
    pub database: i64,
    /// The name of the connections in `CLIENT LIST`.
    pub client_name: Option<String>,
}

/// Where Redis listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
}

/// Why a URL gives no [`Settings`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// The URL asks for TLS. Becomes a JS `Error`; with `transport: "auto"` the JS client carries the bytes.
    Tls,
    /// The URL is not one of Redis'. Becomes a JS `TypeError`; holds the parser's words, never the URL.
    Url(String),
}

impl Settings {
    /// Returns settings for `address`: no password, database 0, no client name.
    pub fn new(address: Address) -> Self {
        Self { address, username: None, password: None, database: 0, client_name: None }
    }

    /// Returns the settings that a URL stands for: `redis://[user][:password@]host[:port][/database]`, or
    /// `redis+unix:///path[?db=…&user=…&pass=…]` (also `unix://`).
    ///
    /// # Errors
    /// [`SettingsError::Tls`] for `rediss://`, [`SettingsError::Url`] for what is no Redis URL.
    pub fn from_url(url: &str) -> Result<Self, SettingsError> {
        let scheme = url.trim_start().split(':').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("rediss") || scheme.eq_ignore_ascii_case("valkeys") {
            return Err(SettingsError::Tls);
        }
        let info = redis::IntoConnectionInfo::into_connection_info(url)
            .map_err(|error| SettingsError::Url(error.to_string()))?;
        let address = match info.addr() {
            redis::ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port },
            redis::ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            redis::ConnectionAddr::TcpTls { .. } => return Err(SettingsError::Tls),
            other => return Err(SettingsError::Url(format!("unknown address {other}"))),
        };
        let login = info.redis_settings();
        Ok(Self {
            address,
            username: login.username().map(str::to_owned),
            password: login.password().map(str::to_owned),
            database: login.db(),
            client_name: None,
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("client_name", &self.client_name)
            .finish()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str(
                "the link's own connections do not speak TLS: hand in clients that do, and leave transport at \"auto\"",
            ),
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

    #[test]
    fn reads_a_tcp_url() {
        let settings = Settings::from_url("redis://app:s%40cret@example.org:7000/3").unwrap();
        assert_eq!(
            settings,
            Settings {
                username: Some("app".to_owned()),
                password: Some("s@cret".to_owned()),
                database: 3,
                ..Settings::new(tcp("example.org", 7000))
            }
        );
        assert_eq!(Settings::from_url("redis://[::1]").unwrap(), Settings::new(tcp("::1", 6379)));
        assert_eq!(tcp("::1", 6379).to_string(), "[::1]:6379");
    }

    #[test]
    fn reads_a_unix_url() {
        for scheme in ["unix", "redis+unix"] {
            let settings = Settings::from_url(&format!("{scheme}:///run/r.sock?db=2&user=u&pass=p")).unwrap();
            assert_eq!(settings.address, Address::Unix(PathBuf::from("/run/r.sock")));
            assert_eq!(settings.database, 2);
            assert_eq!(settings.username.as_deref(), Some("u"));
            assert_eq!(settings.password.as_deref(), Some("p"));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        assert_eq!(Settings::from_url("rediss://h").unwrap_err(), SettingsError::Tls);
        assert!(SettingsError::Tls.to_string().contains("TLS"));
        let error = Settings::from_url("http://u:hidden@h").unwrap_err();
        assert!(matches!(error, SettingsError::Url(_)));
        assert!(!error.to_string().contains("hidden"));
    }

    #[test]
    fn debug_hides_the_password() {
        let settings = Settings::from_url("redis://:hidden@h").unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hidden"));
        assert!(shown.contains("***"));
    }
}
