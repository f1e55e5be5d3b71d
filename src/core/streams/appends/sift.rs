//! Which of the entries that were sent have arrived.
//!
//! When a connection is lost, the last entries may have arrived or not. Those that have are found in the stream, behind the
//! last one that was answered; the others are sent again.

use std::time::{Duration, Instant};

use super::awaited::{Awaited, is_entry};
use super::queue::Queue;
use crate::core::context::Context;
use crate::core::effects::Effects;
use crate::core::streams::commands::{Commands, range};
use crate::core::streams::purpose::{Purpose, StreamKey, passes, rest};
use crate::core::streams::reader::entry_looked_at;
use crate::transport::resp::Reply;
use crate::transport::{Outcome, Port};
use crate::wire::streams::{EntryId, id_and_fields};

/// How many entries are looked at in one go for those that have arrived.
const SIFT_PAGE: usize = 200;

/// How long adding rests at most.
const MAX_REST: Duration = Duration::from_secs(1);

/// The end of a stream, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Sift {
    /// All entries that were added before stand up to this one.
    base: Option<EntryId>,
    state: SiftState,
    failures: u32,
}

#[derive(Debug, Default)]
enum SiftState {
    /// The stream is to be looked at before more is sent.
    #[default]
    Unknown,
    Looking,
    Ready,
    Resting(Instant),
}

impl Sift {
    /// Whether entries may be sent.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, SiftState::Ready)
    }

    /// When it is to be driven.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            SiftState::Resting(until) => Some(until),
            _ => None,
        }
    }

    /// Commands that were under way do not end any more.
    pub(super) fn interrupt(&mut self) {
        self.state = SiftState::Unknown;
    }

    /// Nothing is on its way any more.
    pub(super) fn clear(&mut self) {
        *self = Sift { base: self.base, ..Sift::default() };
    }

    /// A rest may be over.
    pub(super) fn wake(&mut self, now: Instant) {
        if let SiftState::Resting(until) = self.state
            && now >= until
        {
            self.state = SiftState::Unknown;
        }
    }

    /// Asks Redis what has to be known before more entries are sent. Returns whether it was asked.
    pub(super) fn drive(
        &mut self,
        queue: &Queue,
        key: &StreamKey,
        commands: &mut Commands,
        fx: &mut Effects,
    ) -> bool {
        if !matches!(self.state, SiftState::Unknown) || queue.sent() > 0 {
            return false;
        }
        match self.base {
            None => {
                self.state = SiftState::Looking;
                commands.look(Port::Shared, Purpose::Baseline(key.number), false, &key.name, fx);
                true
            }
            Some(base) if queue.is_unsure() => {
                self.state = SiftState::Looking;
                let args = range(&key.name, base.next(), SIFT_PAGE);
                commands.send(Port::Shared, Purpose::Sift(key.number), 1, args, fx);
                true
            }
            Some(_) => {
                self.state = SiftState::Ready;
                false
            }
        }
    }

    /// An entry was added in its order, and has this id.
    pub(super) fn added(&mut self, queue: &Queue, id: EntryId) {
        if !queue.is_unsure() {
            self.base = self.base.max(Some(id));
        }
        self.failures = 0;
    }

    /// If no more answers are to come, it rests before it looks for the entries that may have arrived.
    pub(super) fn settle(&mut self, queue: &Queue, now: Instant) {
        if queue.sent() == 0 && queue.is_unsure() && self.is_ready() {
            self.rest(now);
        }
    }

    fn rest(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.state = SiftState::Resting(now + rest(self.failures, MAX_REST));
    }

    /// The last entry of the stream is known, before any is added.
    pub(super) fn baseline(&mut self, outcome: &Outcome<'_>, now: Instant) {
        match (entry_looked_at(outcome), outcome) {
            (Some(last), _) => self.base = Some(last.unwrap_or(EntryId::ZERO)),
            // The look may be forbidden: then the whole stream is looked through, should that be needed.
            (None, Outcome::Replied(Reply::Error(error))) if !passes(error) => {
                self.base = Some(EntryId::ZERO);
            }
            _ => return self.rest(now),
        }
        self.state = SiftState::Unknown;
    }

    /// Entries behind the last one that was answered: those of this link among them have arrived.
    pub(super) fn sifted(
        &mut self,
        outcome: &Outcome<'_>,
        queue: &mut Queue,
        awaited: &mut Awaited,
        cx: &mut Context<'_>,
    ) {
        let items = match outcome {
            Outcome::Replied(Reply::Array(items)) => items.clone(),
            Outcome::Replied(Reply::Error(error)) if !passes(error) => {
                // Nobody can tell which have arrived: if they were sent again, some might be there twice.
                let lost = queue.take_unsure();
                lost.iter().for_each(|append| awaited.forgo(append.seq));
                cx.stats.published += lost.len() as u64;
                cx.stats.lost_in_flight += lost.len() as u64;
                self.state = SiftState::Unknown;
                return awaited.answer(cx.fx);
            }
            _ => return self.rest(cx.now()),
        };
        let mut count = 0;
        for item in items {
            count += 1;
            let Some((id, fields)) = id_and_fields(item) else {
                continue;
            };
            self.base = self.base.max(Some(id));
            if let Some(append) = queue.take_arrived(|args| is_entry(args, fields.clone())) {
                awaited.name(append.seq, id);
                cx.stats.published += 1;
                cx.stats.acknowledged += 1;
            }
        }
        if count < SIFT_PAGE {
            queue.send_again();
        }
        self.state = SiftState::Unknown;
    }
}
