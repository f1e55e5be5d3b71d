use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::transport::redis::connection::Backoff;

/// The first wait before the node is asked whether it takes commands again.
const BASE: Duration = Duration::from_millis(25);

/// The longest such wait: it is felt as that much more of an outage.
const CAP: Duration = Duration::from_secs(1);

/// What is known of a node that stands and refuses what it will run later (see [`crate::transport::passing`]): nothing
/// is published there until it runs a PING. Redis answers a connection in order, so that by then all that was in flight
/// is answered, too.
pub(crate) struct Hold {
    /// Publishes wait: why, in Redis' own words.
    reason: Option<String>,
    /// A question is to be sent at once.
    is_due: bool,
    /// A question is on its way.
    is_asked: bool,
    /// It takes commands again, and has answered no publish since: one is to show that it takes those.
    is_tried: bool,
    timer: Option<Pin<Box<Sleep>>>,
    backoff: Backoff,
}

/// What the answer to the question says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldChange {
    Nothing,
    /// Publishes wait from now on.
    Begins,
    /// They no longer do.
    Ends,
}

impl Hold {
    pub(crate) fn new() -> Self {
        Self {
            reason: None,
            is_due: false,
            is_asked: false,
            is_tried: false,
            timer: None,
            backoff: Backoff::new(BASE, CAP),
        }
    }

    /// Returns why publishes wait, if they do.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// A publish is refused; returns whether publishes wait from now on.
    pub(crate) fn refused(&mut self, error: &[u8]) -> bool {
        self.rest();
        let begins = self.reason.is_none();
        if begins {
            self.reason = Some(String::from_utf8_lossy(error).into_owned());
        }
        begins
    }

    /// Something else is refused, that has a way of its own to be sent again: asks whether publishes would be.
    pub(crate) fn suspect(&mut self) {
        self.is_due |= self.reason.is_none() && !self.is_asked && self.timer.is_none();
    }

    /// A publish is answered for good: the next refusal begins anew.
    pub(crate) fn accepted(&mut self) {
        if self.reason.is_none() {
            self.is_tried = false;
            self.backoff.reset();
        }
    }

    /// Returns whether a publish may go out behind others that are not answered: if those are refused and this one is taken,
    /// it overtakes them.
    pub(crate) fn takes_more(&self) -> bool {
        !self.is_tried && self.reason.is_none()
    }

    /// Returns whether the question is to be sent now.
    pub(crate) fn poll_asks(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx) == Poll::Ready(())
        {
            self.timer = None;
            self.is_due = true;
        }
        let asks = std::mem::take(&mut self.is_due);
        self.is_asked |= asks;
        asks
    }

    /// The question is answered, or refused with an error.
    pub(crate) fn answered(&mut self, error: Option<&[u8]>) -> HoldChange {
        self.is_asked = false;
        match error {
            Some(error) if self.refused(error) => HoldChange::Begins,
            None if self.reason.take().is_some() => {
                self.is_tried = true;
                HoldChange::Ends
            }
            _ => HoldChange::Nothing,
        }
    }

    /// The connection is gone.
    pub(crate) fn forget(&mut self) {
        self.reason = None;
        self.is_due = false;
        self.is_asked = false;
        self.is_tried = false;
        self.timer = None;
    }

    fn rest(&mut self) {
        if !self.is_asked && self.timer.is_none() {
            self.is_due = false;
            self.timer = Some(Box::pin(tokio::time::sleep(self.backoff.next_delay())));
        }
    }
}
