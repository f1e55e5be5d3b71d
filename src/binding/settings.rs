//! Where a link's own connections go, as JS says it.

use std::path::PathBuf;

use napi::bindgen_prelude::{Error, Status};
use napi_derive::napi;

use crate::transport::redis::{Address, Settings};

/// Where a link's own connections go.
#[napi(object)]
pub struct LinkSettings {
    /// `redis://user:password@host:port/db` or `redis+unix:///path`; the rest then only adds to it.
    pub url: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The path of a unix socket.
    pub path: Option<String>,
    /// The ACL user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database. Pub/sub does not care, but the user may only be allowed in one.
    pub database: Option<i64>,
    /// The name that the connections give themselves.
    pub name: Option<String>,
}

/// Makes settings of what JS has read out of the user's clients.
///
/// # Errors
/// An `Error` if the URL makes no sense.
pub fn settings(given: LinkSettings) -> napi::Result<Settings> {
    let invalid = |error: String| Error::new(Status::InvalidArg, error);
    let mut settings = match (&given.url, &given.path) {
        (Some(url), _) => Settings::from_url(url).map_err(|error| invalid(error.to_string()))?,
        (None, Some(path)) => Settings::new(Address::Unix(PathBuf::from(path))),
        (None, None) => Settings::new(Address::Tcp {
            host: given.host.unwrap_or_else(|| "localhost".into()),
            port: given.port.unwrap_or(6379),
        }),
    };
    settings.username = given.username.or(settings.username);
    settings.password = given.password.or(settings.password);
    settings.database = given.database.unwrap_or(settings.database);
    settings.client_name = given.name.or(settings.client_name);
    Ok(settings)
}
