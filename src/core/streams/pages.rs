//! The past of a stream, read from Redis where the memory does not reach back: page by page, and once for all sessions
//! that need the same.

use std::sync::Arc;
use std::time::Duration;

use super::history::{History, Kept};
use super::purpose::{Purpose, StreamId, paging_port, reason_of};
use crate::core::Core;
use crate::core::effects::Effects;
use crate::transport::resp::Reply;
use crate::transport::{Args, Outcome, Port};
use crate::wire::streams::{Entry, EntryId};

/// How many entries come in one go. More would keep Redis from serving others: it runs a command whole.
const PAGE: usize = 500;

/// How many bytes of a passage go into the memory. What is more is for those alone who have asked.
const MAX_KEPT: usize = 8 << 20;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who waits for the past of a stream.
#[derive(Debug, Default)]
pub(super) struct Pages {
    run: Option<Run>,
    /// Those that need what the present run has passed already.
    queue: Vec<u32>,
}

/// One passage from some entry to where the memory begins.
#[derive(Debug)]
struct Run {
    begin: EntryId,
    /// Where the next page begins.
    from: EntryId,
    /// The restores that are served.
    served: Vec<u32>,
    /// The events that have come, for the memory: who comes back next has missed about the same.
    events: Vec<Kept>,
    bytes: usize,
}

impl Run {
    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.held();
        if self.bytes <= MAX_KEPT {
            self.events.push(kept);
        } else {
            self.events = Vec::new();
        }
    }
}

impl Core {
    /// A restore needs the entries of a stream from `from` on.
    pub(super) fn want_pages(&mut self, number: StreamId, restore: u32, from: EntryId, fx: &mut Effects) {
        let Some(pages) = self.streams.list.get_mut(&number).map(|stream| &mut stream.pages) else {
            return;
        };
        match &mut pages.run {
            Some(run) if run.from <= from => run.served.push(restore),
            _ => pages.queue.push(restore),
        }
        self.begin_run(number, fx);
    }

    fn begin_run(&mut self, number: StreamId, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        if stream.pages.run.is_some() {
            return;
        }
        let mut served = std::mem::take(&mut stream.pages.queue);
        // The memory may reach back by now.
        let floor = stream.history.as_ref().and_then(History::floor);
        served.retain(|&id| !self.streams.restores.is_in_memory(id, number, floor));
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        let from = served.iter().filter_map(|&id| self.streams.restores.wants_from(id, number)).min();
        let Some(from) = from else {
            // An idle connection would be one more for nothing.
            fx.closed_readers.push(paging_port(number));
            return;
        };
        stream.pages.run = Some(Run { begin: from, from, served, events: Vec::new(), bytes: 0 });
        self.ask_page(number, from, fx);
    }

    fn ask_page(&mut self, number: StreamId, from: EntryId, fx: &mut Effects) {
        let Some(name) = self.streams.list.get(&number).map(|stream| stream.name.clone()) else {
            return;
        };
        let (from, count) = (from.to_string(), PAGE.to_string());
        let args = Args::of(&[b"XRANGE", name.as_bytes(), from.as_bytes(), b"+", b"COUNT", count.as_bytes()]);
        let port = Port::Reader(paging_port(number));
        self.streams.send_patiently(port, Purpose::Page(number), 1, Arc::new(args), Some(PATIENCE), fx);
    }

    /// A page has come.
    pub(super) fn paged(&mut self, number: StreamId, outcome: Outcome<'_>, fx: &mut Effects) {
        let Some(stream) = self.streams.list.get_mut(&number) else {
            return;
        };
        let Some(mut run) = stream.pages.run.take() else {
            return;
        };
        let floor = stream.history.as_ref().and_then(History::floor);
        let (Outcome::Replied(Reply::Array(items)), Some(floor)) = (&outcome, floor) else {
            let reason = reason_of(&outcome);
            let mut failed = run.served;
            failed.append(&mut stream.pages.queue);
            self.fail_some_restores(&failed, &reason, fx);
            return self.begin_run(number, fx);
        };
        let (mut count, mut ends) = (0, false);
        let mut envelope = Vec::new();
        for item in items.clone() {
            count += 1;
            let mut id = EntryId::ZERO;
            let entry = Entry::of(item, &mut id);
            if id > floor {
                ends = true;
                break;
            }
            run.from = run.from.max(id.next());
            let event = match entry {
                Ok(Some(entry)) => entry.as_event(&mut envelope).map(|audience| (entry, audience)),
                _ => None,
            };
            self.streams.restores.see(number, &run.served, id, event.as_ref());
            if let Some((entry, audience)) = event {
                run.keep(Kept { id, nsp: entry.nsp.into(), audience, data: entry.data.into() });
            }
        }
        ends |= count < PAGE;
        if ends {
            self.streams.restores.reach(number, &run.served, floor);
            let stream = self.streams.list.get_mut(&number);
            if let Some(history) = stream.and_then(|stream| stream.history.as_mut())
                && run.bytes <= MAX_KEPT
            {
                history.extend_back(run.events, run.begin.previous());
            }
            return self.begin_run(number, fx);
        }
        // Those that have failed meanwhile are not served any more.
        run.served.retain(|&id| self.streams.restores.wants_from(id, number).is_some());
        if run.served.is_empty() {
            return self.begin_run(number, fx);
        }
        let from = run.from;
        if let Some(stream) = self.streams.list.get_mut(&number) {
            stream.pages.run = Some(run);
        }
        self.ask_page(number, from, fx);
    }
}
