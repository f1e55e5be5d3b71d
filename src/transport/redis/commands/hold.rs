use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::transport::redis::connection::Backoff;

/// The first wait before the node is asked whether it accepts commands again.
const BASE: Duration = Duration::from_millis(25);

/// The longest such wait. It prolongs the outage by as much.
const CAP: Duration = Duration::from_secs(1);

/// The state of a node that is connected, but refuses commands that it will run later (see
/// [`crate::transport::passing`]). Nothing is published there until it answers a PING. Redis answers the
/// commands of a connection in order, so all earlier ones are answered by then.
pub(crate) struct Hold {
    /// Why publishes wait, in Redis' own words; `None` if they do not.
    reason: Option<String>,
    /// A question has to be sent at once.
    is_due: bool,
    /// A question has been sent.
    is_asked: bool,
    /// It accepts commands again, but has answered no publish since. One publish goes first as a trial.
    is_tried: bool,
    timer: Option<Pin<Box<Sleep>>>,
    backoff: Backoff,
}

/// How the answer changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldChange {
    Nothing,
    /// Publishes wait from now on.
    Begins,
    /// Publishes do not wait any more.
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

    /// A publish was refused. Returns whether publishes wait from now on.
    pub(crate) fn refused(&mut self, error: &[u8]) -> bool {
        self.rest();
        let begins = self.reason.is_none();
        if begins {
            self.reason = Some(String::from_utf8_lossy(error).into_owned());
        }
        begins
    }

    /// Another command was refused, which its sender sends again. Asks whether publishes would be refused,
    /// too.
    pub(crate) fn suspect(&mut self) {
        self.is_due |= self.reason.is_none() && !self.is_asked && self.timer.is_none();
    }

    /// A publish was answered for good: the next refusal starts from the beginning.
    pub(crate) fn accepted(&mut self) {
        if self.reason.is_none() {
            self.is_tried = false;
            self.backoff.reset();
        }
    }

    /// Returns whether a publish may go out while others are not answered. If those were refused and this one
    /// accepted, it would overtake them.
    pub(crate) fn takes_more(&self) -> bool {
        !self.is_tried && self.reason.is_none()
    }

    /// Returns whether to send the question now.
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

    /// The question was answered. `error` is the refusal, if it was refused.
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

    /// The connection is lost.
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
