//! Events of the link that JS is told of.

use serde::Serialize;

/// Something that JS should know, sent as JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event<'a> {
    /// The link is connected.
    Up,
    /// The link is lost, or could not be made.
    Down {
        /// What went wrong.
        reason: &'a str,
        /// Whether the connection stands, and Redis takes nothing for now.
        stands: bool,
    },
    /// The address leads to a replica; a `Down` that says so follows.
    Replica,
    /// The link has ended by a fault of its own, and answers nothing any more.
    Failed {
        /// The message of the fault.
        reason: &'a str,
    },
    /// The link listens on `channel`: the proof may be sent there through the user's client.
    Prove {
        /// A channel that only this link listens on.
        channel: &'a str,
    },
    /// The user's client is to publish this, as part of the way back to own connections.
    Mark {
        /// Where.
        channel: &'a str,
        /// What.
        text: &'a str,
    },
    /// Own connections are about to carry the bytes: nothing more goes straight to the user's clients, and JS says with
    /// `drained` when Redis has answered for what did.
    Drain {
        /// The secret of the call that it belongs to.
        secret: &'a str,
    },
    /// Own connections carry the bytes.
    Own,
    /// Own connections do not carry the bytes: the user's clients go on.
    Stayed {
        /// Why.
        reason: &'a str,
    },
    /// The proof has come back.
    Proven,
    /// A member's subscriptions hold, and the link is proven.
    Ready,
    /// A member's subscriptions are lost until it is ready again.
    Deaf {
        /// What went wrong.
        reason: &'a str,
        /// For how long nothing may have been heard, in milliseconds.
        silence: u64,
    },
    /// Redis refuses something, or a broadcast cannot be put on the wire.
    Refused {
        /// What is refused.
        what: Refused,
        /// Its own words.
        error: &'a str,
        /// The stream that something was to be added to.
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<&'a str>,
    },
    /// Entries of a stream were gone before they were read.
    Trimmed {
        /// The stream.
        stream: &'a str,
        /// The id of the last entry that was read before.
        after: &'a str,
        /// The id of the first that is still there.
        before: &'a str,
    },
    /// A stream cannot be read (WRONGTYPE, NOPERM and the like), so that a member is deaf until it is ready again. Said
    /// once.
    Unreadable {
        /// The stream.
        stream: &'a str,
        /// Redis' own words.
        error: &'a str,
    },
    /// Publishes go out at once, or wait from now on.
    Flowing {
        /// Whether they go out at once.
        flowing: bool,
        /// How many messages of JS the link has seen by now.
        seen: u64,
    },
    /// The link ends, or its clients have ended, and Redis has not taken what waited.
    GivenUp {
        /// How many messages that were.
        messages: u64,
    },
    /// All that was published has been handed to the kernel, or is given up.
    Flushed,
    /// A message was dropped; only if JS asked to hear of it.
    Note {
        /// Why.
        text: &'a str,
    },
}

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Refused {
    /// A message, an entry or a session.
    Publish,
    /// A subscription.
    Subscribe,
    /// A count.
    Count,
    /// A broadcast, since it cannot be put on the wire.
    Encode,
}
