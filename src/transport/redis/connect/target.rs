//! A Redis to connect to: where it is, and how to speak to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use super::credentials::{Credentials, Login};
use super::endpoint::Endpoint;
use super::loss::Loss;
use super::open::{Connected, open_at};
use super::settings::{Settings, SettingsError};
use super::tls::{Tls, TlsOptions};

/// How long an attempt may take in total, including name lookup and handshake. Redis answers in milliseconds.
/// Without this limit a host that drops packets would block an attempt for minutes.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// A Redis to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisTarget {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How to speak to it.
    pub settings: Settings,
}

impl RedisTarget {
    /// Returns the Redis at `endpoint`.
    pub fn new(endpoint: impl Into<Endpoint>, settings: Settings) -> Self {
        Self { endpoint: endpoint.into(), settings }
    }

    /// Returns the Redis that a URL names: `redis://[user][:password@]host[:port][/database]`, the same with
    /// `rediss://`, or `redis+unix:///path[?db=…&user=…&pass=…]` (also `unix://`).
    ///
    /// `rediss://` needs `tls`, unless the URL ends with `#insecure`, which accepts any certificate. Other
    /// URLs ignore `tls`.
    ///
    /// # Errors
    /// [`SettingsError::Url`] if it is not a Redis URL, [`SettingsError::Tls`] if TLS is wanted and not
    /// possible.
    pub fn from_url(url: &str, tls: Option<&TlsOptions>) -> Result<Self, SettingsError> {
        // The redis crate only accepts `rediss://` together with its own TLS.
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
        let settings = Settings {
            credentials: Credentials::Fixed(Login {
                username: login.username().map(str::to_owned),
                password: login.password().map(str::to_owned),
            }),
            database: login.db(),
            tls,
            ..Settings::default()
        };
        Ok(Self::new(address, settings))
    }
}

/// Connects to a Redis.
///
/// # Errors
/// Any [`Loss`] that can occur before the connection is open.
pub(crate) async fn open(target: Arc<RedisTarget>) -> Result<Connected, Loss> {
    let RedisTarget { endpoint, settings } = &*target;
    let deadline = Instant::now() + OPEN_TIMEOUT;
    let attempt = async {
        let located = endpoint.locate().await?;
        let role = located.role(settings.role);
        let connected = open_at(located.address(), settings, role, deadline).await?;
        located.was_right();
        Ok(connected)
    };
    tokio::time::timeout_at(deadline, attempt)
        .await
        .unwrap_or_else(|_| Err(Loss::Slow(endpoint.to_string(), OPEN_TIMEOUT)))
}

/// Returns a URL without TLS in its scheme, and whether TLS was there.
fn without_tls(url: &str) -> (String, bool) {
    match url.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rediss") => (format!("redis:{rest}"), true),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("valkeys") => (format!("valkey:{rest}"), true),
        _ => (url.to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    fn login(username: &str, password: &str) -> Credentials {
        Credentials::Fixed(Login { username: Some(username.to_owned()), password: Some(password.to_owned()) })
    }

    #[test]
    fn reads_a_tcp_url() {
        let target = RedisTarget::from_url("redis://app:s%40cret@example.org:7000/3", None).unwrap();
        assert_eq!(
            target,
            RedisTarget::new(
                tcp("example.org", 7000),
                Settings { credentials: login("app", "s@cret"), database: 3, ..Settings::default() }
            )
        );
        assert_eq!(
            RedisTarget::from_url("redis://[::1]", None).unwrap(),
            RedisTarget::new(tcp("::1", 6379), Settings::default())
        );
        assert_eq!(tcp("::1", 6379).to_string(), "[::1]:6379");
    }

    #[test]
    fn reads_a_unix_url() {
        for scheme in ["unix", "redis+unix"] {
            let RedisTarget { endpoint, settings } =
                RedisTarget::from_url(&format!("{scheme}:///run/r.sock?db=2&user=u&pass=p"), None).unwrap();
            assert_eq!(endpoint, Address::Unix(PathBuf::from("/run/r.sock")).into());
            assert_eq!(settings.database, 2);
            assert_eq!(settings.credentials, login("u", "p"));
        }
    }

    #[test]
    fn reads_a_tls_url() {
        for url in ["rediss://app:secret@h:7000/3#insecure", "VALKEYS://app:secret@h:7000/3#insecure"] {
            let RedisTarget { endpoint, settings } = RedisTarget::from_url(url, None).unwrap();
            assert_eq!(endpoint, tcp("h", 7000).into());
            assert_eq!(settings.credentials, login("app", "secret"));
            assert_eq!(settings.database, 3);
            assert!(format!("{:?}", settings.tls.unwrap()).contains("insecure: true"));
        }
        let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
        assert!(RedisTarget::from_url("rediss://h", Some(&insecure)).unwrap().settings.tls.is_some());
        assert!(RedisTarget::from_url("redis://h", Some(&insecure)).unwrap().settings.tls.is_none());
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        let error = RedisTarget::from_url("rediss://h", None).unwrap_err();
        assert_eq!(error.to_string(), "tls.ca: there is no certificate of an authority in it");
        for url in ["http://u:hidden@h", "rediss://u:hidden@h#secure", "rediss+unix:///hidden"] {
            let error = RedisTarget::from_url(url, None).unwrap_err();
            assert!(matches!(error, SettingsError::Url(_)));
            assert!(!error.to_string().contains("hidden"));
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let target = RedisTarget::from_url("redis://:hidden@h", None).unwrap();
        let shown = format!("{target:?}");
        assert!(!shown.contains("hidden"));
        assert!(shown.contains("***"));
    }
}
