//! Sessions that are to be kept: sent until Redis has taken them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commands::Commands;
use super::purpose::{Purpose, passes, reason_of};
use crate::core::context::Context;
use crate::core::effects::Effects;
use crate::core::event::{Event, Refused};
use crate::core::stats::Stats;
use crate::transport::resp::Reply;
use crate::transport::{Args, Outcome, Port};

/// How many bytes of sessions wait for Redis; at the bound the oldest give way, and their clients begin anew.
const MAX_BYTES: usize = 8 << 20;

/// How many may be with Redis and not answered.
const MAX_SENT: usize = 1000;

/// How long one that was not taken rests.
const REST: Duration = Duration::from_millis(200);

/// The sessions that Redis has not taken yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    list: BTreeMap<u64, UnkeptSession>,
    next: u64,
    bytes: usize,
    resting: Option<Instant>,
}

#[derive(Debug)]
struct UnkeptSession {
    args: Arc<Args>,
    sent: bool,
}

impl Sessions {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Commands that were under way do not end any more.
    pub(super) fn interrupt(&mut self) {
        self.list.values_mut().for_each(|session| session.sent = false);
    }

    /// Drops all; how many that were.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = self.list.len() as u64;
        self.list.clear();
        self.bytes = 0;
        dropped
    }

    /// When it is to be driven.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resting
    }

    fn remove(&mut self, number: u64) -> bool {
        match self.list.remove(&number) {
            Some(session) => {
                self.bytes -= session.args.held();
                true
            }
            None => false,
        }
    }

    /// Keeps a session under a key.
    pub(super) fn keep(&mut self, key: &[u8], session: &[u8], lifetime: Duration, stats: &mut Stats) {
        let lifetime = lifetime.as_millis().max(1).to_string();
        let args = Arc::new(Args::of(&[b"SET", key, session, b"PX", lifetime.as_bytes()]));
        self.bytes += args.held();
        self.list.insert(self.next, UnkeptSession { args, sent: false });
        self.next += 1;
        while self.bytes > MAX_BYTES
            && let Some((&first, _)) = self.list.first_key_value()
        {
            self.remove(first);
            stats.dropped += 1;
        }
    }

    /// Sends the sessions that are not sent.
    pub(super) fn drive(&mut self, commands: &mut Commands, fx: &mut Effects) {
        if self.resting.is_some_and(|until| fx.now < until) {
            return;
        }
        self.resting = None;
        for (&number, session) in self.list.iter_mut().take(MAX_SENT) {
            if !std::mem::replace(&mut session.sent, true) {
                let args = Arc::clone(&session.args);
                commands.send(Port::Shared, Purpose::Persist(number), 1, args, fx);
            }
        }
    }

    /// Redis has answered.
    pub(super) fn replied(&mut self, number: u64, outcome: &Outcome<'_>, cx: &mut Context<'_>) {
        match outcome {
            Outcome::Replied(Reply::Error(error)) if !passes(error) => {
                if self.remove(number) {
                    cx.stats.refused += 1;
                    let error = reason_of(outcome);
                    cx.event(0, &Event::Refused { what: Refused::Publish, error: &error, stream: None });
                }
            }
            Outcome::Replied(Reply::Error(_)) | Outcome::NotRun { .. } | Outcome::Lost { .. } => {
                // It is sent again: to keep it twice does no harm.
                if let Some(session) = self.list.get_mut(&number) {
                    session.sent = false;
                    self.resting = Some(cx.now() + REST);
                }
            }
            Outcome::Replied(_) => {
                self.remove(number);
            }
        }
    }
}
