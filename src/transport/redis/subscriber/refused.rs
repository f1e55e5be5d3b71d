//! Names that Redis refused. They are tried again after growing pauses.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::Sleep;

use crate::transport::Subscription;
use crate::transport::redis::connection::Backoff;

/// The first wait before a refused subscription is tried again.
const REFUSED_BASE: Duration = Duration::from_millis(250);

/// The longest such wait. A refusal ends when somebody changes an ACL: 5 s is soon enough for them, and rare
/// enough for Redis' log.
const REFUSED_CAP: Duration = Duration::from_secs(5);

/// The longest such wait if the refusal passes by itself.
const PASSING_CAP: Duration = Duration::from_secs(1);

/// Names that Redis refused. They are tried again together.
pub(super) struct Refused {
    pub(super) names: Vec<Subscription>,
    /// Names that are not wanted any more, but that Redis refuses to unsubscribe.
    pub(super) leaving: Vec<Subscription>,
    /// Whether the refusal passes by itself.
    pub(super) passes: bool,
    timer: Option<Pin<Box<Sleep>>>,
    backoff: Backoff,
    /// Whether this round of refusals was reported: 500 refused names are one report, not 500.
    pub(super) reported: bool,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self {
            names: Vec::new(),
            leaving: Vec::new(),
            passes: false,
            timer: None,
            backoff: Backoff::new(REFUSED_BASE, REFUSED_CAP),
            reported: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.leaving.is_empty()
    }

    /// Nothing is refused, and nothing in flight can be: the next refusal starts from the beginning.
    pub(super) fn start_over(&mut self) {
        if self.timer.is_none() {
            self.backoff.reset();
            self.reported = false;
        }
    }

    /// Returns whether it is time to try again. Starts the timer if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let cap = if self.passes { PASSING_CAP } else { REFUSED_CAP };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.backoff.next_delay().min(cap))));
        let is_due = timer.as_mut().poll(cx).is_ready();
        if is_due {
            self.timer = None;
            self.reported = false;
        }
        is_due
    }

    /// The connection is lost.
    pub(super) fn forget(&mut self) {
        self.names.clear();
        self.leaving.clear();
        self.timer = None;
        self.reported = false;
    }
}
