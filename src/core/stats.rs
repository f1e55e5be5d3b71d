//! What the operator can see: counters since the link was made, and the state it is in.

use serde::Serialize;

/// The counters of a link; all are messages unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Handed to the transport.
    pub published: u64,
    /// That Redis has answered.
    pub acknowledged: u64,
    /// How many subscribers Redis has handed those to, in total.
    pub receivers: u64,
    /// That Redis has refused for good (NOPERM, OOM, …).
    pub refused: u64,
    /// That were in flight when the link was lost: Redis may or may not have had them.
    pub lost_in_flight: u64,
    /// That gave way in a full backlog, or were left in it when the link was closed.
    pub dropped: u64,
    /// That wait for the link now.
    pub backlog: u64,
    /// Published at the end of an outage before all servers were back: some servers may have missed them.
    pub early: u64,
    /// That could not be put on the wire (nested too deep).
    pub unencodable: u64,
    /// Received, of all kinds.
    pub received: u64,
    /// Handed to JS.
    pub delivered: u64,
    /// Received, and dropped since they concern no socket and no request of this node.
    pub ignored: u64,
    /// Received, and dropped since this node has sent them.
    pub own: u64,
    /// Received, and dropped since they are malformed.
    pub malformed: u64,
    /// How often the link was lost.
    pub outages: u64,
    /// Requests that wait for answers now.
    pub pending_requests: u64,
    /// How many bytes the records take now that wait for JS.
    pub inbox_bytes: u64,
}
