//! Whether the nodes of a handover answer at once.

use std::time::Duration;

use tokio::time::Instant;

/// How long an answer may take, and how often is asked.
pub(super) const TICK: Duration = Duration::from_millis(25);

/// For how long a handover waits at most, in all, for nodes that are busy. 220 ms were seen: a node that
/// learns of a failover writes that to its disk, and serves nobody meanwhile.
pub(super) const MOST_BUSY: Duration = Duration::from_secs(2);

/// When a node was asked last; `None` if that is long ago.
#[derive(Default)]
pub(super) struct BusyCheck(Option<Instant>);

/// What a look at a node shows.
#[derive(PartialEq, Eq)]
pub(super) enum NodeState {
    /// It has had no time to answer, or no reason.
    Fine,
    /// It has not answered for longer than [`TICK`].
    Busy,
    /// It has to be asked again.
    Due,
}

impl BusyCheck {
    /// `is_asked` tells whether the node has a question that it has not answered.
    pub(super) fn look(&mut self, is_asked: bool, now: Instant) -> NodeState {
        let is_new = self.0.is_some_and(|at| now.saturating_duration_since(at) < TICK);
        match self.0 {
            Some(_) if is_new => NodeState::Fine,
            Some(_) if is_asked => NodeState::Busy,
            // Somebody else has asked it.
            None if is_asked => {
                self.0 = Some(now);
                NodeState::Fine
            }
            _ => {
                self.0 = None;
                NodeState::Due
            }
        }
    }

    /// The node is asked.
    pub(super) fn ask(&mut self, now: Instant) {
        self.0 = Some(now);
    }
}
