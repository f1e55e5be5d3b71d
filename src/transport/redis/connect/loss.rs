//! Why a connection was lost, or could not be opened.

use std::fmt;
use std::io;
use std::time::Duration;

use super::address::Address;
use super::unreachable;
use crate::transport::resp::ProtocolError;

/// Why a connection was lost, or could not be opened. The operator sees the text with `degraded`.
#[derive(Debug)]
pub(crate) enum Loss {
    /// The socket could not be opened.
    Connect(Address, io::Error),
    /// The name of the host could not be looked up.
    NoAddress(Address, io::Error),
    /// Reading or writing failed, and the server is not known here.
    Io(io::Error),
    /// Reading or writing failed on a connection to this server.
    Broken(Address, io::Error),
    /// The server closed the connection, and is not known here.
    Closed,
    /// This server closed the connection.
    ClosedBy(Address),
    /// Opening a connection to there took longer than this.
    Slow(String, Duration),
    /// A cluster or a sentinel names a host that the user does not allow.
    NotAllowed(Address),
    /// No sentinel knows where the master is; the problem of the last one.
    NoMaster { name: String, problem: String },
    /// The sentinels name this as the master, but it has another role.
    NotMaster { address: Address, role: String },
    /// There are no credentials for the login.
    Credentials(String),
    /// The server refused or ended the handshake; what is wrong, and what to do about it.
    Handshake(Address, String),
    /// Redis ended the connection later on, in its own words.
    Refused(String),
    /// The node was asked for a sign of life, and has not answered for this long.
    Frozen(Address, Duration),
    /// The node is a replica, or has become one.
    Replica(Address),
    /// A command got no reply for as long as it may take.
    Silent(Address, Duration),
    /// Redis sent something that is not valid.
    Protocol(ProtocolError),
    /// The user's clients are closed, and so is the link.
    Ended,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(address, error) => {
                write!(f, "cannot connect to {address}: {}", unreachable::explain(error))
            }
            Self::NoAddress(address, error) => {
                write!(f, "cannot find {address}: {error}. Check the name of the host, and DNS")
            }
            Self::Io(error) => write!(f, "connection to Redis lost: {error}"),
            Self::Broken(address, error) => write!(f, "connection to {address} lost: {error}"),
            Self::Closed => f.write_str("Redis closed the connection"),
            Self::ClosedBy(address) => write!(f, "{address} closed the connection"),
            Self::Slow(endpoint, timeout) => {
                write!(
                    f,
                    "no connection to {endpoint} within {} s: it hangs, the network between drops everything, or \
                     one side speaks TLS and the other does not",
                    timeout.as_secs()
                )
            }
            Self::NotAllowed(address) => {
                write!(
                    f,
                    "{address} is not among `allowedHosts`, so nothing connects to it: add it if it is yours"
                )
            }
            Self::NoMaster { name, problem } => {
                write!(
                    f,
                    "no sentinel says where the master \"{name}\" is: {problem}. Check the name and the sentinels"
                )
            }
            Self::NotMaster { address, role } => {
                write!(f, "the sentinels take {address} for the master, but its role is {role}")
            }
            Self::Credentials(problem) => write!(f, "no credentials for Redis: {problem}"),
            Self::Handshake(address, problem) => write!(f, "{address} {problem}"),
            Self::Refused(error) => f.write_str(error),
            Self::Frozen(address, silence) => write!(
                f,
                "{address} has not answered for {} s: it hangs, or the network between drops everything",
                silence.as_secs()
            ),
            Self::Replica(address) => write!(
                f,
                "{address} is a replica: what is published there reaches its own subscribers alone. Connect to the \
                 primary; if this was the address of the primary, it is followed as soon as the name leads to the new one"
            ),
            Self::Silent(address, patience) => {
                write!(f, "{address} has said nothing for {} s", patience.as_secs_f32())
            }
            Self::Protocol(error) => error.fmt(f),
            Self::Ended => f.write_str("the link is closed"),
        }
    }
}

impl Loss {
    /// Adds the address of the server: with several servers the operator has to know which one it is.
    pub(crate) fn at(self, address: &Address) -> Self {
        match self {
            Self::Io(error) => Self::Broken(address.clone(), error),
            Self::Closed => Self::ClosedBy(address.clone()),
            loss => loss,
        }
    }
}

impl From<ProtocolError> for Loss {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}
