//! Signs of life. If a node hangs, or the network drops everything, a connection stays open but brings
//! nothing. To a subscriber that looks like silence. So each connection regularly asks for a reply.

use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often each connection asks. A connection that has brought nothing since the last question is given up,
/// so that a node that hangs is left after ten to twenty seconds. A node that is busy for less, as with a
/// slow script, is not left.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);

/// The timer for all connections of a transport, so that one wake serves all of them.
#[derive(Default)]
pub(crate) struct Pulse {
    interval: Option<Interval>,
}

impl Pulse {
    /// Returns whether a period is over. Needs the runtime's timer.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let interval = self.interval.get_or_insert_with(|| {
            let mut interval = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let mut over = false;
        // Polls until the timer is pending, so that it wakes the task again.
        while interval.poll_tick(cx).is_ready() {
            over = true;
        }
        over
    }
}

/// Whether a connection has brought something since it was asked.
#[derive(Default)]
pub(crate) struct SignOfLife {
    asked: bool,
    heard: bool,
    heard_at: Option<Instant>,
    missing: bool,
}

impl SignOfLife {
    /// Something was read; returns when.
    pub(crate) fn heard(&mut self) -> Instant {
        self.heard = true;
        *self.heard_at.insert(Instant::now())
    }

    /// When something was read last.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    /// A period is over; returns whether to ask.
    pub(crate) fn beat(&mut self) -> bool {
        self.missing = self.asked && !self.heard;
        self.asked = !self.missing;
        self.heard = false;
        self.asked
    }

    /// Nothing is read for now, so silence proves nothing.
    pub(crate) fn pass(&mut self) {
        self.asked = false;
    }

    /// Whether the last question was not answered.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }
}
