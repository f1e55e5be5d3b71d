//! What a node reports to the transport.

use super::mastership::NodeRole;
use crate::transport::redis::cluster::topology::TopologyAnswer;
use crate::transport::redis::commands::Abandoned;
use crate::transport::redis::slot::Redirect;

/// What a node reports.
pub(crate) enum NodeReport {
    /// The connection is up.
    Opened,
    /// The connection is lost, or could not be opened.
    Lost {
        reason: String,
        /// Publishes that may or may not have run.
        unanswered: u64,
        /// The connection was up.
        stood: bool,
    },
    /// What the node says about the cluster.
    Answer(TopologyAnswer),
    /// The node does not say what it knows about the cluster.
    NoAnswer(String),
    Counted {
        token: u64,
        counts: Result<Vec<u64>, Uncounted>,
    },
    /// A publish or a command was not run.
    Redirected {
        redirect: Redirect,
        /// The error, if it keeps publishes from being run there.
        stalls: Option<String>,
    },
    /// The node has said what it is, and somebody waits for that, or it is no master any more.
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
    /// It was lost, or another node has to be asked.
    Lost,
    /// It is connected, and so are its subscribers. It accepts nothing for now.
    Busy,
    /// It is connected, and refuses in its own words.
    Refused(String),
}
