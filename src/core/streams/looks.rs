//! Looks at the ends of streams, for the sessions that are being restored: one serves all that came before it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::commands::Commands;
use super::purpose::{Purpose, StreamId, StreamKey};
use super::restores::Bounds;
use crate::core::effects::Effects;
use crate::transport::Port;
use crate::wire::streams::EntryId;

/// How long a look at a stream serves sessions that come to be restored.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The looks at the streams of a link.
#[derive(Debug, Default)]
pub(super) struct Looks {
    list: BTreeMap<StreamId, Look>,
    /// The ends of each stream when it was last looked at, and when that was.
    seen: BTreeMap<StreamId, (Instant, Bounds)>,
}

/// A look at a stream.
#[derive(Debug, Default)]
struct Look {
    /// The restores that it is for. Those that come later are for the next one.
    under_way: Vec<u32>,
    waiting: Vec<u32>,
    oldest: Option<Option<EntryId>>,
    newest: Option<Option<EntryId>>,
}

impl Looks {
    /// The ends of a stream as of a moment ago: they will do for all sessions of a burst, unless the client knows of a later
    /// entry.
    pub(super) fn recent(&self, stream: StreamId, offset: EntryId, now: Instant) -> Option<Bounds> {
        let &(at, bounds) = self.seen.get(&stream)?;
        (now < at + LOOK_AGAIN && bounds.newest >= Some(offset)).then_some(bounds)
    }

    /// A restore wants to know the ends of a stream.
    pub(super) fn want(&mut self, restore: u32, key: &StreamKey, commands: &mut Commands, fx: &mut Effects) {
        self.list.entry(key.number).or_default().waiting.push(restore);
        self.begin(key, commands, fx);
    }

    /// Looks at a stream for all that have come since the last look began.
    pub(super) fn begin(&mut self, key: &StreamKey, commands: &mut Commands, fx: &mut Effects) {
        let number = key.number;
        let Some(look) = self.list.get_mut(&number) else {
            return;
        };
        if !look.under_way.is_empty() {
            return;
        }
        if look.waiting.is_empty() {
            self.list.remove(&number);
            return;
        }
        *look = Look { under_way: std::mem::take(&mut look.waiting), ..Look::default() };
        commands.look(Port::Shared, Purpose::NewestKept(number), false, &key.name, fx);
        commands.look(Port::Shared, Purpose::OldestKept(number), true, &key.name, fx);
    }

    /// Whether a stream is being looked at.
    pub(super) fn is_looking(&self, stream: StreamId) -> bool {
        self.list.contains_key(&stream)
    }

    /// No restore needs a look at a stream any more.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.list.remove(&stream);
    }

    /// A look has failed: returns the restores that it was for.
    pub(super) fn fail(&mut self, stream: StreamId) -> Vec<u32> {
        self.list.get_mut(&stream).map(|look| std::mem::take(&mut look.under_way)).unwrap_or_default()
    }

    /// The oldest or the newest entry is known. Once both are, returns them, with the restores that wanted to know.
    pub(super) fn looked(
        &mut self,
        stream: StreamId,
        is_oldest: bool,
        entry: Option<EntryId>,
        now: Instant,
    ) -> Option<(Bounds, Vec<u32>)> {
        let look = self.list.get_mut(&stream)?;
        *(if is_oldest { &mut look.oldest } else { &mut look.newest }) = Some(entry);
        let bounds = Bounds { oldest: look.oldest?, newest: look.newest? };
        self.seen.insert(stream, (now, bounds));
        Some((bounds, std::mem::take(&mut look.under_way)))
    }
}
