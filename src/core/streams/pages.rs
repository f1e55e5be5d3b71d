//! The past of a stream, read from Redis where the memory does not reach back: page by page, and once for all sessions
//! that need the same entries.

use std::time::Duration;

use super::commands::{Commands, range};
use super::history::{History, Kept};
use super::purpose::{Purpose, StreamKey, paging_port, reason_of};
use super::restores::{NotRestored, Restores};
use crate::core::effects::Effects;
use crate::transport::resp::Reply;
use crate::transport::{Outcome, Port};
use crate::wire::streams::{Entry, EntryId};

/// How many entries come in one go. More would keep Redis from serving others: it runs a command whole.
const PAGE: usize = 500;

/// How many bytes of a passage go into the memory. Further entries are only for the sessions that have asked.
const MAX_KEPT: usize = 8 << 20;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who waits for the past of a stream.
#[derive(Debug, Default)]
pub(super) struct Pages {
    run: Option<PageRun>,
    /// The restores that need entries which the present run has passed already.
    queue: Vec<u32>,
}

/// One passage from some entry to where the memory begins.
#[derive(Debug)]
struct PageRun {
    begin: EntryId,
    /// Where the next page begins.
    from: EntryId,
    /// The restores that are served.
    served: Vec<u32>,
    /// The events that have come, for the memory: the next session has missed about the same.
    events: Vec<Kept>,
    bytes: usize,
}

impl PageRun {
    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.held();
        if self.bytes <= MAX_KEPT {
            self.events.push(kept);
        } else {
            self.events = Vec::new();
        }
    }
}

impl Pages {
    /// A restore needs the entries of a stream from `from` on. [`Pages::begin`] follows.
    pub(super) fn want(&mut self, restore: u32, from: EntryId) {
        match &mut self.run {
            Some(run) if run.from <= from => run.served.push(restore),
            _ => self.queue.push(restore),
        }
    }

    /// Begins a passage for those that wait, if there is none. `floor` is where the memory begins.
    pub(super) fn begin(
        &mut self,
        key: &StreamKey,
        floor: Option<EntryId>,
        restores: &mut Restores,
        commands: &mut Commands,
        fx: &mut Effects,
    ) {
        if self.run.is_some() {
            return;
        }
        let mut served = std::mem::take(&mut self.queue);
        // The memory may reach back by now.
        served.retain(|&id| !restores.is_in_memory(id, key.number, floor));
        let from = served.iter().filter_map(|&id| restores.wants_from(id, key.number)).min();
        let Some(from) = from else {
            // The connection would be idle.
            fx.closed_readers.push(paging_port(key.number));
            return;
        };
        self.run = Some(PageRun { begin: from, from, served, events: Vec::new(), bytes: 0 });
        ask(key, from, commands, fx);
    }

    /// A page has come.
    pub(super) fn paged(
        &mut self,
        outcome: &Outcome<'_>,
        key: &StreamKey,
        history: &mut Option<History>,
        restores: &mut Restores,
        commands: &mut Commands,
        fx: &mut Effects,
    ) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        let number = key.number;
        let floor = history.as_ref().and_then(History::floor);
        let (Outcome::Replied(Reply::Array(items)), Some(begins)) = (outcome, floor) else {
            let mut failed = run.served;
            failed.append(&mut self.queue);
            restores.fail(&failed, NotRestored::Failed(&reason_of(outcome)), fx);
            return self.begin(key, floor, restores, commands, fx);
        };
        let (mut count, mut ends) = (0, false);
        let mut envelope = Vec::new();
        for item in items.clone() {
            count += 1;
            let mut id = EntryId::ZERO;
            let entry = Entry::of(item, &mut id);
            if id > begins {
                ends = true;
                break;
            }
            run.from = run.from.max(id.next());
            let event = match entry {
                Ok(Some(entry)) => entry.as_event(&mut envelope).map(|audience| (entry, audience)),
                _ => None,
            };
            restores.see(number, &run.served, id, event.as_ref());
            if let Some((entry, audience)) = event {
                run.keep(Kept { id, nsp: entry.nsp.into(), audience, data: entry.data.into() });
            }
        }
        ends |= count < PAGE;
        if ends {
            restores.reach(number, &run.served, begins);
            if let Some(history) = history
                && run.bytes <= MAX_KEPT
            {
                history.extend_back(run.events, run.begin.previous());
            }
            let floor = history.as_ref().and_then(History::floor);
            return self.begin(key, floor, restores, commands, fx);
        }
        // Restores that have failed meanwhile are not served any more.
        run.served.retain(|&id| restores.wants_from(id, number).is_some());
        if run.served.is_empty() {
            return self.begin(key, floor, restores, commands, fx);
        }
        ask(key, run.from, commands, fx);
        self.run = Some(run);
    }
}

/// Asks for the page that begins with this entry.
fn ask(key: &StreamKey, from: EntryId, commands: &mut Commands, fx: &mut Effects) {
    let port = Port::Reader(paging_port(key.number));
    let args = range(&key.name, from, PAGE);
    commands.send_patiently(port, Purpose::Page(key.number), 1, args, Some(PATIENCE), fx);
}
