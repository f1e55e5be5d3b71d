//! The commands that a new connection begins with, and what their replies say.

use super::address::Address;
use super::credentials::Login;
use super::loss::Loss;
use super::predecessors::ClientId;
use super::refusal::{Asked, explain};
use super::settings::{Role, Settings};
use super::stream::{Stream, lost};
use super::unreachable;
use crate::transport::redis::buffer::ReadBuffer;
use crate::transport::resp::{ProtocolError, Reply};

/// Why the server ends a connection, or makes no sense, before it has answered; `None` if it has said more.
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

/// What a replica calls itself.
pub(crate) const REPLICA: &str = "slave";

pub(super) const IS_SENTINEL: &str = "is a sentinel: name it among the `sentinels`, with the `name` of the master, or connect to the master itself";

/// What an error reply to a command of the handshake means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    /// The connection is of no use.
    GiveUp,
    /// The command was a wish.
    Ignore,
    /// An ACL may forbid the command and all else be well.
    GiveUpUnlessForbidden,
}

/// What the handshake brings.
#[derive(Default)]
pub(super) struct Found {
    pub(super) role: Option<String>,
    pub(super) client: Option<ClientId>,
}

/// Sends all of the handshake in one write and reads its replies.
///
/// It ends with a PING: a server that is loading, wants a password or has no client slot left says so here, so
/// that `Up` means a Redis that answers. Behind that come what the Redis is, and the end of a lost connection.
pub(super) async fn shake_hands(
    address: &Address,
    settings: &Settings,
    login: Login,
    role: Role,
    stream: &mut Stream,
    replies: &mut ReadBuffer,
) -> Result<Found, Loss> {
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
        let asked = Asked::Auth { user: login.username.is_some(), secret: password };
        send(auth.arg(password), asked, OnError::GiveUp);
    }
    if settings.database != 0 {
        let asked = Asked::Select(settings.database);
        send(redis::cmd("SELECT").arg(settings.database), asked, OnError::GiveUp);
    }
    if let Some(name) = &settings.client_name {
        send(redis::cmd("CLIENT").arg("SETNAME").arg(name), Asked::Other, OnError::Ignore);
    }
    send(&redis::cmd("PING"), Asked::Other, OnError::GiveUpUnlessForbidden);
    match role {
        Role::Any => {}
        // An ACL may forbid it, and some services do not have it.
        Role::NotReplica => send(&redis::cmd("ROLE"), Asked::Other, OnError::Ignore),
        Role::Master => send(&redis::cmd("ROLE"), Asked::Other, OnError::GiveUp),
    }
    let predecessor = settings.predecessors.as_ref().and_then(|predecessors| predecessors.at(address));
    if settings.predecessors.is_some() {
        // An ACL may forbid both, and before 6.2 there is no CLIENT INFO.
        if let Some(client) = &predecessor {
            send(&client.end(), Asked::Other, OnError::Ignore);
        }
        send(redis::cmd("CLIENT").arg("INFO"), Asked::Other, OnError::Ignore);
    }
    stream.write_all(&out).await.map_err(lost)?;

    let mut found = Found::default();
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
                    found.role = Some(String::from_utf8_lossy(name).into_owned());
                    break;
                }
                Some(Reply::Integer(_)) if settings.predecessors.is_some() => break,
                Some(Reply::Bulk(info)) if settings.predecessors.is_some() => {
                    found.client = ClientId::of(info);
                    break;
                }
                Some(_) => return Err(ProtocolError::Unexpected.into()),
                None => std::future::poll_fn(|cx| stream.poll_fill(cx, replies)).await?,
            }
        }
    }
    if let (Some(predecessors), Some(client)) = (&settings.predecessors, &predecessor) {
        predecessors.forget(address, client);
    }
    Ok(found)
}
