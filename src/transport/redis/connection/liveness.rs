//! Signs of life. A node that hangs, or a network that drops all, leaves connections standing that bring nothing: to a
//! subscriber that looks like silence. So each connection asks for a reply once in a while.

use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often each connection asks. One that has brought nothing since it asked last is given up: a node that hangs is
/// left after ten to twenty seconds. One that is busy for less, with a slow script say, is not.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);

/// The beat for all connections of a transport: one wake for all of them.
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
        // Polled until it is not ready, so that it wakes the next time.
        while interval.poll_tick(cx).is_ready() {
            over = true;
        }
        over
    }
}

/// What one connection has said since it was asked.
#[derive(Default)]
pub(crate) struct SignOfLife {
    asked: bool,
    heard: bool,
    heard_at: Option<Instant>,
    missing: bool,
}

impl SignOfLife {
    /// Something has come; returns when.
    pub(crate) fn heard(&mut self) -> Instant {
        self.heard = true;
        *self.heard_at.insert(Instant::now())
    }

    /// When something has come last.
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

    /// Nothing is read for now, so that silence says nothing.
    pub(crate) fn pass(&mut self) {
        self.asked = false;
    }

    /// Whether nothing has come for the last question.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }
}
