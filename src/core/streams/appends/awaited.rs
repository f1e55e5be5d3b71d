//! Members that wait for the ids of entries that they have added.
//!
//! A member is told the id in the order of the stream, between what other servers have added before and behind: when the
//! reader comes by. So the offsets that a client sees only grow.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::effects::{Effects, MemberId};
use crate::core::streams::purpose::added_record;
use crate::transport::Args;
use crate::transport::resp::Items;
use crate::wire::streams::EntryId;

/// How long a packet waits for the id of its entry before it is delivered here without.
const ID_BOUND: Duration = Duration::from_secs(1);

/// How many entries are remembered that nobody waits for any more.
const MAX_LATE: usize = 10_000;

/// Where the fields begin in `XADD stream MAXLEN ~ n * field value…`.
const FIELDS: usize = 6;

/// A member waits for the id of an entry.
#[derive(Debug)]
struct Waiter {
    /// The number of the entry, of all that were ever added.
    seq: u64,
    since: Instant,
    member: MemberId,
    ticket: u32,
    args: Arc<Args>,
    /// The id, once Redis has answered.
    named: Option<EntryId>,
    fate: EntryFate,
}

/// The fate of an entry that a member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryFate {
    /// The reader has not come by.
    Open,
    /// It has this id, and the reader has come by.
    Passed(EntryId),
    /// It is not in the stream, and will not be sent again.
    Gone,
}

/// The members that wait, in the order in which they will get their ids.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    waiters: VecDeque<Waiter>,
    /// How many of these the reader has come by, though their members are not told yet: an earlier one is open.
    passed: usize,
    /// Those that have waited too long, though the reader may still come by their entries: an entry that looks alike is not
    /// to be taken for a later one.
    late: VecDeque<Waiter>,
    /// The ids of those among them that Redis has named.
    late_ids: BTreeSet<EntryId>,
}

impl Awaited {
    /// A member waits for the id of the entry with this number.
    pub(super) fn push(&mut self, seq: u64, args: Arc<Args>, member: MemberId, ticket: u32, now: Instant) {
        let waiter = Waiter { seq, since: now, member, ticket, args, named: None, fate: EntryFate::Open };
        self.waiters.push_back(waiter);
    }

    /// Whether the reader has to look for any entry.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiters.is_empty() || !self.late.is_empty()
    }

    /// Whether JS knows of all entries of this link that the reader has come by.
    pub(super) fn is_told(&self) -> bool {
        self.passed == 0
    }

    /// When somebody is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiters.front().map(|waiter| waiter.since + ID_BOUND)
    }

    /// Tells JS which entries have no id in time.
    pub(super) fn tick(&mut self, fx: &mut Effects) {
        while self.waiters.front().is_some_and(|waiter| fx.now >= waiter.since + ID_BOUND) {
            self.give_up_first(fx);
        }
    }

    /// Nobody waits for ids any more.
    pub(super) fn answer_all(&mut self, fx: &mut Effects) {
        while !self.waiters.is_empty() {
            self.give_up_first(fx);
        }
    }

    /// Tells JS that there is no id for the first one. The reader may still come by its entry.
    fn give_up_first(&mut self, fx: &mut Effects) {
        if let Some(waiter) = self.tell_first(fx)
            && waiter.fate == EntryFate::Open
        {
            self.late_ids.extend(waiter.named);
            self.late.push_back(waiter);
        }
        if self.late.len() > MAX_LATE {
            self.remove_late(0);
        }
    }

    /// Tells JS what can be told.
    pub(super) fn answer(&mut self, fx: &mut Effects) {
        while self.waiters.front().is_some_and(|waiter| waiter.fate != EntryFate::Open) {
            self.tell_first(fx);
        }
    }

    /// Tells the first one the id, or that there is none.
    fn tell_first(&mut self, fx: &mut Effects) -> Option<Waiter> {
        let waiter = self.waiters.pop_front()?;
        let id = match waiter.fate {
            EntryFate::Passed(id) => Some(id),
            EntryFate::Open | EntryFate::Gone => None,
        };
        self.passed = self.passed.saturating_sub(usize::from(id.is_some()));
        added_record(waiter.member, waiter.ticket, id, fx);
        Some(waiter)
    }

    /// The entry with this number is not in the stream, and will not be sent again.
    pub(super) fn forgo(&mut self, seq: u64) {
        if let Some(waiter) = find(&mut self.waiters, seq) {
            let before = std::mem::replace(&mut waiter.fate, EntryFate::Gone);
            self.passed = self.passed.saturating_sub(usize::from(matches!(before, EntryFate::Passed(_))));
        } else if let Ok(place) = self.late.binary_search_by_key(&seq, |late| late.seq) {
            self.remove_late(place);
        }
    }

    fn remove_late(&mut self, place: usize) {
        if let Some(Waiter { named: Some(id), .. }) = self.late.remove(place) {
            self.late_ids.remove(&id);
        }
    }

    /// Redis has given an id to the entry with this number.
    pub(super) fn name(&mut self, seq: u64, id: EntryId) {
        if let Some(waiter) = find(&mut self.waiters, seq) {
            waiter.named = Some(id);
        } else if let Some(late) = find(&mut self.late, seq) {
            if let Some(before) = late.named.replace(id) {
                self.late_ids.remove(&before);
            }
            self.late_ids.insert(id);
        }
    }

    /// The reader comes by an entry with these fields, which one of the link's members has added.
    pub(super) fn pass(&mut self, id: EntryId, fields: &Items<'_>) {
        // Entries with this id or an earlier one that were not passed are not in the stream any more.
        let was_late = self.late_ids.contains(&id);
        while self.late.front().is_some_and(|late| late.named.is_some_and(|named| named <= id)) {
            self.remove_late(0);
        }
        for waiter in &mut self.waiters {
            match waiter.named {
                Some(named) if named < id && waiter.fate == EntryFate::Open => waiter.fate = EntryFate::Gone,
                Some(named) if named < id => {}
                _ => break,
            }
        }
        if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.named == Some(id)) {
            let before = std::mem::replace(&mut waiter.fate, EntryFate::Passed(id));
            self.passed += usize::from(!matches!(before, EntryFate::Passed(_)));
            return;
        }
        if was_late {
            return;
        }
        // The reply to it is still on its way.
        let is_it = |waiter: &Waiter| {
            waiter.named.is_none() && waiter.fate == EntryFate::Open && is_entry(&waiter.args, fields.clone())
        };
        let all_named = self.late.len() == self.late_ids.len();
        let place = if all_named { None } else { self.late.iter().position(is_it) };
        if let Some(place) = place {
            self.remove_late(place);
        } else if let Some(waiter) = self.waiters.iter_mut().find(|waiter| is_it(waiter)) {
            waiter.fate = EntryFate::Passed(id);
            self.passed += 1;
        }
    }
}

/// Who waits for the entry with this number.
fn find(waiters: &mut VecDeque<Waiter>, seq: u64) -> Option<&mut Waiter> {
    let place = waiters.binary_search_by_key(&seq, |waiter| waiter.seq).ok()?;
    waiters.get_mut(place)
}

/// Whether an entry with these fields is what a command adds.
pub(super) fn is_entry(args: &Args, mut fields: Items<'_>) -> bool {
    let mut wanted = args.iter().skip(FIELDS);
    fields.len() == wanted.len() && wanted.all(|part| fields.next_bulk() == Some(part))
}
