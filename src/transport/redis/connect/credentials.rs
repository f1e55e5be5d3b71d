use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// With which user and password to log in to Redis.
#[derive(Clone)]
pub enum Credentials {
    /// Always the same.
    Fixed(Login),
    /// Asked for at each connection, once Redis can be reached.
    Asked(Arc<dyn AskCredentials>),
}

/// A user and a password. `Debug` shows whether there is a password, never the password itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user; `None` is Redis' `default`. Without a password it is not used.
    pub username: Option<String>,
    /// The password of the user. `AUTH` is sent only if there is one.
    pub password: Option<String>,
}

/// The login to come; or, for the operator, what went wrong. Dropped if nobody waits for it any more.
pub type Answer = Pin<Box<dyn Future<Output = Result<Login, String>> + Send>>;

/// A source of credentials that change.
pub trait AskCredentials: Send + Sync {
    /// Asks for the current credentials.
    fn ask(&self) -> Answer;
}

impl Credentials {
    /// Returns the current credentials.
    ///
    /// # Errors
    /// What the source says instead.
    pub(crate) async fn login(&self) -> Result<Login, String> {
        match self {
            Self::Fixed(login) => Ok(login.clone()),
            Self::Asked(source) => source.ask().await,
        }
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::Fixed(Login::default())
    }
}

impl PartialEq for Credentials {
    /// Whether both are the same login, or ask the same source.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(login), Self::Fixed(other)) => login == other,
            (Self::Asked(source), Self::Asked(other)) => Arc::ptr_eq(source, other),
            _ => false,
        }
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(login) => login.fmt(f),
            Self::Asked(_) => f.write_str("Asked"),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}
