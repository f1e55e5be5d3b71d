//! The entries that are added to a stream: each is kept until Redis has answered, so that none is lost and none is there
//! twice.
//!
//! [`Queue`] has the entries on their way, [`Sift`] finds those that have arrived when a connection was lost, [`Unread`]
//! bounds how many the link adds ahead of its own reader, and [`Awaited`] tells the members the ids.

mod awaited;
mod queue;
mod sift;
mod unread;

use std::sync::Arc;
use std::time::Instant;

use super::commands::Commands;
use super::purpose::{Purpose, StreamKey, passes, reason_of};
use crate::core::context::Context;
use crate::core::effects::{Effects, MemberId};
use crate::core::event::{Event, Refused};
use crate::transport::resp::{Items, Reply};
use crate::transport::{Args, Outcome, Port};
use crate::wire::streams::EntryId;
use awaited::Awaited;
use queue::Queue;
use sift::Sift;
use unread::Unread;

/// The entries that are added to one stream.
#[derive(Debug, Default)]
pub(super) struct Appends {
    queue: Queue,
    awaited: Awaited,
    sift: Sift,
    unread: Unread,
}

impl Appends {
    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many entries there were, ever.
    pub(super) fn added(&self) -> u64 {
        self.queue.added()
    }

    /// How many of these, the oldest, have arrived for certain or never will.
    pub(super) fn settled(&self) -> u64 {
        self.queue.settled()
    }

    /// How many entries are not sent, or may have to be sent again.
    pub(super) fn unsent(&self) -> u64 {
        self.queue.unsent()
    }

    /// Whether the reader has to look for entries of this link.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.is_awaited()
    }

    /// Whether JS knows of all entries of this link that the reader has come by.
    pub(super) fn is_told(&self) -> bool {
        self.awaited.is_told()
    }

    /// When it is to be driven, or somebody is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.sift.deadline(), self.awaited.deadline(), self.unread.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Tells JS which entries have no id in time.
    pub(super) fn tick(&mut self, fx: &mut Effects) {
        self.awaited.tick(fx);
    }

    /// Nobody waits for ids any more.
    pub(super) fn answer_all(&mut self, fx: &mut Effects) {
        self.awaited.answer_all(fx);
    }

    /// The reader comes by an entry with these fields, which one of the link's members has added.
    pub(super) fn pass(&mut self, id: EntryId, fields: &Items<'_>, fx: &mut Effects) {
        self.awaited.pass(id, fields);
        self.awaited.answer(fx);
    }

    /// This node has read up to `position`.
    pub(super) fn has_read(&mut self, position: EntryId) {
        self.unread.has_read(position);
    }

    /// Commands that were under way do not end any more.
    pub(super) fn interrupt(&mut self) {
        self.queue.doubt_all();
        self.sift.interrupt();
    }

    /// Drops everything; how many entries were never sent, and how many may have arrived.
    pub(super) fn clear(&mut self) -> (u64, u64) {
        self.awaited = Awaited::default();
        self.sift.clear();
        self.unread = Unread::default();
        self.queue.clear()
    }

    /// Adds an entry. `waiter` is the member that waits for its id, and the number by which it is told.
    pub(super) fn push(&mut self, args: Args, waiter: Option<(MemberId, u32)>, now: Instant) {
        let args = Arc::new(args);
        let seq = self.queue.push(Arc::clone(&args));
        if let Some((member, ticket)) = waiter {
            self.awaited.push(seq, args, member, ticket, now);
        }
    }

    /// At the bound the oldest give way.
    pub(super) fn bound(&mut self, cx: &mut Context<'_>) {
        while let Some(append) = self.queue.take_beyond(cx.settings.max_backlog) {
            cx.stats.dropped += 1;
            self.awaited.forgo(append.seq);
        }
        self.awaited.answer(cx.fx);
    }

    /// Sends entries, `room` bytes at most. Returns how many bytes are left of that. The stream keeps `max_len` entries, and
    /// `reads` says whether this node reads it.
    pub(super) fn drive(
        &mut self,
        key: &StreamKey,
        max_len: u64,
        reads: bool,
        mut room: usize,
        commands: &mut Commands,
        cx: &mut Context<'_>,
    ) -> usize {
        self.sift.wake(cx.now());
        if self.queue.is_empty() || self.sift.drive(&self.queue, key, commands, cx.fx) {
            return room;
        }
        let mut entries = self.unread.room(&self.queue, max_len, reads, cx.now());
        while self.sift.is_ready()
            && !self.queue.is_unsure()
            && room > 0
            && entries > 0
            && let Some(args) = self.queue.send()
        {
            room = room.saturating_sub(args.len());
            entries -= 1;
            cx.stats.published += 1;
            commands.send(Port::Shared, Purpose::Add(key.number), 1, args, cx.fx);
        }
        room
    }

    /// The reply to the oldest entry that was sent. `position` is the last entry that this node has read.
    pub(super) fn replied(
        &mut self,
        key: &StreamKey,
        outcome: &Outcome<'_>,
        position: Option<EntryId>,
        cx: &mut Context<'_>,
    ) {
        let Some(append) = self.queue.take_sent() else {
            return;
        };
        let id = match outcome {
            Outcome::Replied(Reply::Bulk(id)) => EntryId::parse(id),
            _ => None,
        };
        match (id, outcome) {
            (Some(id), _) => {
                self.sift.added(&self.queue, id);
                self.queue.forget(&append);
                self.awaited.name(append.seq, id);
                if position.is_some_and(|position| position < id) {
                    self.unread.push(id);
                }
                cx.stats.acknowledged += 1;
                self.sift.settle(&self.queue, cx.now());
            }
            (None, Outcome::Replied(Reply::Error(error))) if !passes(error) => {
                self.queue.forget(&append);
                self.awaited.forgo(append.seq);
                cx.stats.refused += 1;
                self.sift.settle(&self.queue, cx.now());
                self.awaited.answer(cx.fx);
                let error = reason_of(outcome);
                cx.event(
                    0,
                    &Event::Refused { what: Refused::Publish, error: &error, stream: Some(&key.name) },
                );
            }
            _ => {
                self.queue.doubt(append);
                cx.stats.published = cx.stats.published.saturating_sub(1);
                self.sift.settle(&self.queue, cx.now());
            }
        }
    }

    /// The last entry of the stream is known, before any is added.
    pub(super) fn baseline(&mut self, outcome: &Outcome<'_>, now: Instant) {
        self.sift.baseline(outcome, now);
    }

    /// Entries behind the last one that was answered.
    pub(super) fn sifted(&mut self, outcome: &Outcome<'_>, cx: &mut Context<'_>) {
        self.sift.sifted(outcome, &mut self.queue, &mut self.awaited, cx);
    }
}
