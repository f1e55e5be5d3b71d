//! What a node has to say to the transport.

use super::mastership::NodeRole;
use crate::transport::redis::cluster::topology::TopologyAnswer;
use crate::transport::redis::commands::Abandoned;
use crate::transport::redis::slot::Redirect;

/// What a node has to say.
pub(crate) enum NodeReport {
    /// The connection is up.
    Opened,
    /// The connection is lost, or could not be made.
    Lost {
        reason: String,
        /// Publishes that may or may not have run.
        unanswered: u64,
        /// The connection was up.
        stood: bool,
    },
    /// What the node knows of the cluster.
    Answer(TopologyAnswer),
    /// The node does not say what it knows.
    NoAnswer(String),
    Counted {
        token: u64,
        counts: Result<Vec<u64>, Uncounted>,
    },
    /// A publish or a command was not run.
    Redirected {
        redirect: Redirect,
        /// What keeps publishes from being run there.
        stalls: Option<String>,
    },
    /// The node says what it is, to who wanted to hear it, or since it is no master any more.
    Role(NodeRole),
    /// A publish has run, and nobody knows whom it has reached.
    Unknown,
    /// A command gets no reply.
    Abandoned {
        command: Abandoned,
        reason: String,
    },
}

/// Why a node has not counted.
pub(crate) enum Uncounted {
    /// It was lost, or is not the one to ask.
    Lost,
    /// It stands, and so do those who are subscribed there; it takes nothing for now.
    Busy,
    /// It stands, and refuses, in its own words.
    Refused(String),
}
