//! The surroundings of a step: the settings, the counters, and the effects with the time.

use std::time::{Duration, Instant};

use super::effects::{Effects, Kind, MemberId};
use super::event::{Event, Refused};
use super::stats::Stats;
use crate::clock;
use crate::wire::Family;

/// How a link is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// What its members speak.
    pub family: Family,
    /// The bound of the backlog, in bytes.
    pub max_backlog: usize,
    /// How long the end of an outage lasts at least: in a cluster the rooms of other servers may be on another node
    /// than the channels that are counted.
    pub settle: Duration,
    /// The message that has to come back through the user's client before the link is trusted; `None` if the link is
    /// the only way to Redis.
    pub proof: Option<String>,
    /// Whether JS wants to hear why messages were dropped.
    pub verbose: bool,
}

#[cfg(test)]
impl Config {
    /// The configuration of a test that names the family alone.
    pub fn of(family: Family) -> Self {
        Config { family, max_backlog: 1 << 20, settle: Duration::ZERO, proof: None, verbose: false }
    }
}

/// The surroundings of one step.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// How the link was made.
    pub(super) settings: &'a Config,
    /// The counters of the link.
    pub(super) stats: &'a mut Stats,
    /// What the step wants done.
    pub(super) fx: &'a mut Effects,
}

impl Context<'_> {
    /// When the step is.
    pub(super) fn now(&self) -> Instant {
        self.fx.now
    }

    /// Tells JS something; `member` is 0 if it concerns the whole link.
    pub(super) fn event(&mut self, member: MemberId, event: &Event<'_>) {
        tell(self.fx, &[member], event);
    }

    /// Tells JS the same about many members.
    pub(super) fn events(&mut self, members: &[MemberId], event: &Event<'_>) {
        tell(self.fx, members, event);
    }

    /// Tells JS why a message was dropped, if JS wants to know.
    pub(super) fn note(&mut self, member: MemberId, text: &str) {
        if self.settings.verbose {
            self.event(member, &Event::Note { text });
        }
    }

    /// A broadcast cannot be put on the wire.
    pub(super) fn unencodable(&mut self, member: MemberId, error: &str) {
        self.stats.unencodable += 1;
        self.note(member, &format!("a broadcast was not published: {error}"));
        self.event(0, &Event::Refused { what: Refused::Encode, error, stream: None });
    }
}

/// Tells JS the same about many members; 0 stands for the whole link.
pub(super) fn tell(fx: &mut Effects, members: &[MemberId], event: &Event<'_>) {
    let text = serde_json::to_vec(event).unwrap_or_default();
    for &member in members {
        let mut draft = fx.batch.draft(Kind::Event, member);
        draft.record.token = clock::millis(fx.now);
        draft.part(0, &text);
        draft.done();
    }
}
