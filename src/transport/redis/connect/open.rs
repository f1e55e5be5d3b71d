//! One attempt to connect to an address, up to Redis' answer.

use std::io;

use tokio::time::Instant;

use super::address::Address;
use super::handshake::{HandshakeResult, IS_SENTINEL, SaidRole, ended, shake_hands};
use super::loss::Loss;
use super::predecessors::ClientId;
use super::resolver;
use super::settings::{Role, Settings};
use super::socket::Socket;
use crate::transport::redis::buffer::ReadBuffer;

/// A connection that Redis has answered on.
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    pub(crate) replies: ReadBuffer,
    /// The address that was connected to; with sentinels, that of the master.
    pub(crate) address: Address,
    /// Whether the node answers ROLE.
    pub(crate) tells_role: bool,
    /// How Redis identifies the connection, if that is needed and Redis tells it.
    pub(crate) client: Option<ClientId>,
}

/// Connects to an address. The caller waits until the deadline at most. If the credentials are missing by
/// then, the error says so.
pub(crate) async fn open_at(
    address: &Address,
    settings: &Settings,
    role: Role,
    deadline: Instant,
) -> Result<Connected, Loss> {
    if settings.allowed.as_ref().is_some_and(|allowed| !allowed.allows(address)) {
        return Err(Loss::NotAllowed(address.clone()));
    }
    let addresses = match address {
        Address::Tcp { host, port } => tokio::time::timeout_at(deadline, resolver::addresses(host, *port))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the look-up takes too long")))
            .map_err(|error| Loss::NoAddress(address.clone(), error))?,
        _ => Vec::new(),
    };
    let mut socket = Socket::connect(address, &addresses, settings.tls.as_ref())
        .await
        .map_err(|error| Loss::Connect(address.clone(), error))?;
    let mut replies = ReadBuffer::new();
    let login = tokio::time::timeout_at(deadline, settings.credentials.login())
        .await
        .unwrap_or_else(|_| Err("they were asked for, and did not come in time".to_owned()))
        .map_err(Loss::Credentials)?;
    let HandshakeResult { role: found, client } =
        shake_hands(address, settings, login, role, &mut socket, &mut replies).await.map_err(|loss| {
            match ended(&loss) {
                Some(problem) => Loss::Handshake(address.clone(), problem),
                None => loss,
            }
        })?;
    let address = address.clone();
    match (role, found) {
        (Role::Master, Some(found)) if found != SaidRole::Master => {
            Err(Loss::NotMaster { address, role: found.to_string() })
        }
        (Role::NotReplica, Some(SaidRole::Replica)) => Err(Loss::Replica(address)),
        (Role::NotReplica, Some(SaidRole::Sentinel)) => Err(Loss::Handshake(address, IS_SENTINEL.to_owned())),
        (_, found) => Ok(Connected { socket, replies, address, tells_role: found.is_some(), client }),
    }
}
