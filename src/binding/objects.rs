//! The plain objects of a link: how it is made, and what it says of itself.

use napi_derive::napi;

use super::numbers::to_f64;
use super::settings::LinkSettings;
use crate::core::stats::Stats;

/// How a link is made.
#[napi(object, object_to_js = false)]
pub struct LinkOptions {
    /// Where its own connections go; left out if the user's clients carry the bytes.
    pub settings: Option<LinkSettings>,
    /// What its members speak: `classic`, `sharded`, `streams`, or `streams-sharded` for those of streams with
    /// `useShardedPubSub`.
    pub family: String,
    /// What has to come back through the user's client before the link is trusted; may be left out.
    pub proof: Option<String>,
    /// The bound of the publish backlog, in bytes.
    pub max_backlog: f64,
    /// The bound of the inbox, in bytes.
    pub max_inbox: f64,
    /// Whether to report why messages are dropped.
    pub verbose: bool,
}

/// How far a stream is read.
#[napi(object)]
pub struct LinkPosition {
    /// The id of the last event that was read.
    pub last: String,
    /// Between this id and `last` no event was left out.
    pub since: String,
}

/// The counters of a link; `src/core/stats.rs` says what each is.
#[napi(object)]
#[allow(missing_docs)]
pub struct LinkStats {
    pub published: f64,
    pub acknowledged: f64,
    pub receivers: f64,
    pub refused: f64,
    pub lost_in_flight: f64,
    pub early: f64,
    pub dropped: f64,
    pub backlog: f64,
    pub unencodable: f64,
    pub received: f64,
    pub delivered: f64,
    pub ignored: f64,
    pub own: f64,
    pub malformed: f64,
    pub outages: f64,
    pub pending_requests: f64,
    pub inbox_bytes: f64,
}

impl LinkStats {
    /// The counters of a link. The `late` messages came after its end, and count as dropped.
    pub(super) fn of(stats: &Stats, late: u64) -> Self {
        LinkStats {
            published: to_f64(stats.published),
            acknowledged: to_f64(stats.acknowledged),
            receivers: to_f64(stats.receivers),
            refused: to_f64(stats.refused),
            lost_in_flight: to_f64(stats.lost_in_flight),
            early: to_f64(stats.early),
            dropped: to_f64(stats.dropped.saturating_add(late)),
            backlog: to_f64(stats.backlog),
            unencodable: to_f64(stats.unencodable),
            received: to_f64(stats.received),
            delivered: to_f64(stats.delivered),
            ignored: to_f64(stats.ignored),
            own: to_f64(stats.own),
            malformed: to_f64(stats.malformed),
            outages: to_f64(stats.outages),
            pending_requests: to_f64(stats.pending_requests),
            inbox_bytes: to_f64(stats.inbox_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_too_late_is_dropped_as_well() {
        let stats = Stats { dropped: 2, published: 5, ..Stats::default() };
        let seen = LinkStats::of(&stats, 3);
        assert_eq!((seen.dropped, seen.published), (5.0, 5.0));
        assert!(LinkStats::of(&Stats { dropped: u64::MAX, ..stats }, 1).dropped >= 2_f64.powi(63));
    }
}
