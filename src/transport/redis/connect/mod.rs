//! From a [`RedisTarget`] to a connection that Redis has answered on: address, name lookup, TLS, login and
//! the rest of the handshake, and the texts that explain failures. What keeps a connection up belongs in
//! `connection`.

mod address;
mod allowed_hosts;
mod credentials;
mod endpoint;
mod handshake;
mod loss;
mod open;
mod predecessors;
mod refusal;
mod resolver;
mod sentinels;
mod settings;
mod socket;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod unreachable;

pub use address::Address;
pub use allowed_hosts::AllowedHosts;
pub use credentials::{Answer, AskCredentials, Credentials, Login};
pub use endpoint::Endpoint;
pub use predecessors::Predecessors;
pub use sentinels::Sentinels;
pub use settings::{Role, Settings, SettingsError};
pub use target::RedisTarget;
pub use tls::{Tls, TlsError, TlsOptions};

pub(super) use handshake::SaidRole;
pub(super) use loss::Loss;
pub(super) use open::Connected;
pub(super) use predecessors::ClientId;
pub(super) use sentinels::parse_address;
pub(super) use socket::Socket;
pub(super) use target::open;
