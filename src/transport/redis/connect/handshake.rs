//! The first commands on a new connection, and what their replies say.

use std::fmt;

use super::address::Address;
use super::credentials::Login;
use super::loss::Loss;
use super::predecessors::ClientId;
use super::refusal::{HandshakeCommand, explain};
use super::settings::{Role, Settings};
use super::socket::{Socket, lost};
use super::unreachable;
use crate::transport::redis::buffer::ReadBuffer;
use crate::transport::resp::{ProtocolError, Reply};

/// Returns why the server ended the connection, or sent something that is not RESP, before it answered.
/// Returns `None` if it did answer.
pub(super) fn ended(loss: &Loss) -> Option<String> {
    match loss {
        Loss::Io(error) if unreachable::wants_certificate(error) => {
            Some(unreachable::WANTS_CERTIFICATE.replacen("it wants", "wants", 1))
        }
        Loss::Io(_) | Loss::Closed => Some(ENDED.to_owned()),
        Loss::Protocol(error) => Some(format!(
            "answers with something else than a Redis ({error}): check the port; if it speaks TLS, use rediss:// or `tls`"
        )),
        _ => None,
    }
}

const ENDED: &str = "closed the connection before it answered: if it speaks TLS on this port, use rediss:// or `tls`; else look at its log";

/// The role of a Redis, in its own words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SaidRole {
    Master,
    Replica,
    Sentinel,
    /// Another role.
    Other(String),
}

impl SaidRole {
    /// Reads the first item of the reply to ROLE.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"master" => Self::Master,
            b"slave" => Self::Replica,
            b"sentinel" => Self::Sentinel,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }
}

impl fmt::Display for SaidRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Replica => "slave",
            Self::Sentinel => "sentinel",
            Self::Other(name) => name,
        })
    }
}

pub(super) const IS_SENTINEL: &str = "is a sentinel: name it among the `sentinels`, with the `name` of the master, or connect to the master itself";

/// How to treat an error reply to a command of the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    /// The connection cannot be used.
    GiveUp,
    /// The command is optional.
    Ignore,
    /// NOPERM may mean that only this command is forbidden.
    GiveUpUnlessForbidden,
}

/// What the handshake found out.
#[derive(Default)]
pub(super) struct HandshakeResult {
    pub(super) role: Option<SaidRole>,
    pub(super) client: Option<ClientId>,
}

/// Sends the whole handshake in one write, and reads the replies.
///
/// PING comes after login and SELECT: a server that is loading, wants a password or has too many clients
/// refuses it. So `Up` means a Redis that answers. After it come the question for the role, and the end of a
/// lost connection.
pub(super) async fn shake_hands(
    address: &Address,
    settings: &Settings,
    login: Login,
    role: Role,
    socket: &mut Socket,
    replies: &mut ReadBuffer,
) -> Result<HandshakeResult, Loss> {
    let mut out = Vec::new();
    let mut expected = Vec::new();
    let mut send = |command: &redis::Cmd, asked, on_error| {
        command.write_packed_command(&mut out);
        expected.push((asked, on_error));
    };
    if let Some(password) = &login.password {
        let mut auth = redis::cmd("AUTH");
        if let Some(username) = &login.username {
            auth.arg(username);
        }
        let asked = HandshakeCommand::Auth { user: login.username.is_some(), secret: password };
        send(auth.arg(password), asked, OnError::GiveUp);
    }
    if settings.database != 0 {
        let asked = HandshakeCommand::Select(settings.database);
        send(redis::cmd("SELECT").arg(settings.database), asked, OnError::GiveUp);
    }
    if let Some(name) = &settings.client_name {
        send(redis::cmd("CLIENT").arg("SETNAME").arg(name), HandshakeCommand::Other, OnError::Ignore);
    }
    send(&redis::cmd("PING"), HandshakeCommand::Other, OnError::GiveUpUnlessForbidden);
    match role {
        Role::Any => {}
        // An ACL may forbid ROLE, and some services do not have it.
        Role::NotReplica => send(&redis::cmd("ROLE"), HandshakeCommand::Other, OnError::Ignore),
        Role::Master => send(&redis::cmd("ROLE"), HandshakeCommand::Other, OnError::GiveUp),
    }
    let predecessor = settings.predecessors.as_ref().and_then(|predecessors| predecessors.at(address));
    if settings.predecessors.is_some() {
        // An ACL may forbid both. Redis before 6.2 has no CLIENT INFO.
        if let Some(client) = &predecessor {
            send(&client.end(), HandshakeCommand::Other, OnError::Ignore);
        }
        send(redis::cmd("CLIENT").arg("INFO"), HandshakeCommand::Other, OnError::Ignore);
    }
    socket.write_all(&out).await.map_err(lost)?;

    let mut found = HandshakeResult::default();
    for (asked, on_error) in expected {
        loop {
            match replies.next_reply()? {
                Some(Reply::Error(error)) => {
                    let fatal = match on_error {
                        OnError::GiveUp => true,
                        OnError::Ignore => false,
                        OnError::GiveUpUnlessForbidden => !error.starts_with(b"NOPERM"),
                    };
                    if fatal {
                        return Err(Loss::Handshake(address.clone(), explain(asked, error)));
                    }
                    break;
                }
                Some(Reply::Simple(_)) => break,
                Some(Reply::Array(mut items)) if role != Role::Any => {
                    let name = items.next_bulk().ok_or(ProtocolError::Unexpected)?;
                    found.role = Some(SaidRole::of(name));
                    break;
                }
                Some(Reply::Integer(_)) if settings.predecessors.is_some() => break,
                Some(Reply::Bulk(info)) if settings.predecessors.is_some() => {
                    found.client = ClientId::of(info);
                    break;
                }
                Some(_) => return Err(ProtocolError::Unexpected.into()),
                None => std::future::poll_fn(|cx| socket.poll_fill(cx, replies)).await?,
            }
        }
    }
    if let (Some(predecessors), Some(client)) = (&settings.predecessors, &predecessor) {
        predecessors.forget(address, client);
    }
    Ok(found)
}
