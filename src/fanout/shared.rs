//! What the JS thread and the writer thread both have.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::list::List;
use super::queue::{Outcome, Written};
use super::slot::{Appended, Job, Next, Slot};
use super::sync::{Condvar, Mutex, MutexGuard, lock};

/// How many slots are made at a time. Each loom mutex costs each of its runs.
const SLOTS_PER_PAGE: usize = if cfg!(all(test, feature = "interleavings")) { 2 } else { 256 };

/// How many pages there are.
const PAGES: usize = 256;

/// How many connections can be lent at a time, at most.
pub const MAX_SLOTS: usize = SLOTS_PER_PAGE * PAGES;

/// How many slots the writer takes at a time. The others are left for the JS thread, if it has to help.
const BATCH: usize = 256;

/// What there is to do for the writer: first the lists, then the slots.
#[derive(Debug, Default)]
struct Work {
    /// Frames that were not appended to all of their slots. One is here until it was.
    lists: VecDeque<Arc<List>>,
    /// How many slots the lists were made for.
    listed: usize,
    /// Slots that wait to be written. One may be named twice, or have nothing any more.
    slots: VecDeque<u32>,
    is_writer_asleep: bool,
    end: Option<End>,
}

/// Why there is no writer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// JS lets go of the hub.
    Dropped,
    /// It has panicked.
    Dead,
}

/// Slots that JS has to look at.
#[derive(Debug, Default)]
struct Reports {
    slots: Vec<u32>,
    /// JS has been told, and has not come yet.
    is_told: bool,
}

/// What both threads have.
pub struct Shared {
    pages: [OnceLock<Box<[Mutex<Slot>]>>; PAGES],
    work: Mutex<Work>,
    filled: Condvar,
    reports: Mutex<Reports>,
    tell_js: Box<dyn Fn() + Send + Sync>,
    is_dead: AtomicBool,
    /// The counters.
    pub counters: Counters,
}

/// What was ever counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that the kernel has taken.
    pub written: AtomicU64,
    /// Bytes that the kernel has taken, those of Node that were written behind frames among them.
    pub bytes: AtomicU64,
    /// How many times the kernel did not take all that waited for a connection.
    pub spilled: AtomicU64,
    /// Connections that were broken.
    pub failed: AtomicU64,
}

impl Counters {
    /// Counts what was written.
    pub fn add(&self, written: Written) {
        self.written.fetch_add(written.frames, Ordering::Relaxed);
        self.bytes.fetch_add(written.bytes, Ordering::Relaxed);
    }
}

impl Shared {
    /// Nothing is lent. `tell_js` is called when there is something to take from [`Shared::take_reports`].
    pub fn new(tell_js: Box<dyn Fn() + Send + Sync>) -> Self {
        Shared {
            pages: [const { OnceLock::new() }; PAGES],
            work: Mutex::default(),
            filled: Condvar::new(),
            reports: Mutex::default(),
            tell_js,
            is_dead: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// Makes the slot with a number, unless it is there; false if there are no such numbers.
    pub fn make_slot(&self, number: u32) -> bool {
        let page = self.pages.get(number as usize / SLOTS_PER_PAGE);
        page.map(|page| page.get_or_init(|| (0..SLOTS_PER_PAGE).map(|_| Mutex::default()).collect()))
            .is_some()
    }

    /// Locks the slot with a number, if it was ever made.
    pub fn slot(&self, number: u32) -> Option<MutexGuard<'_, Slot>> {
        let page = self.pages.get(number as usize / SLOTS_PER_PAGE)?.get()?;
        Some(lock(page.get(number as usize % SLOTS_PER_PAGE)?))
    }

    /// The numbers of all slots that were ever made.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..).take_while(|number| {
            self.pages.get(*number as usize / SLOTS_PER_PAGE).is_some_and(|page| page.get().is_some())
        })
    }

    /// The slots of a list wait for its frame. Returns how many slots now wait for anything.
    pub fn push(&self, list: List) -> usize {
        let mut work = lock(&self.work);
        work.listed += list.len();
        work.lists.push_back(Arc::new(list));
        if work.end == Some(End::Dead) {
            drop(work);
            self.distribute();
            self.orphan_all();
            return 0;
        }
        let waiting = work.listed + work.slots.len();
        self.wake(work);
        waiting
    }

    fn wake(&self, mut work: MutexGuard<'_, Work>) {
        if std::mem::take(&mut work.is_writer_asleep) {
            drop(work);
            self.filled.notify_one();
        }
    }

    /// How many slots the lists were made for that are not done.
    pub fn listed(&self) -> usize {
        lock(&self.work).listed
    }

    /// How many slots wait for anything.
    pub fn waiting(&self) -> usize {
        let work = lock(&self.work);
        work.listed + work.slots.len()
    }

    /// Appends the frames of all lists to their slots. The writer and JS may do it at the same time: each goes through all of
    /// a list before the next one, and so no frame overtakes another.
    pub fn distribute(&self) {
        loop {
            let first = lock(&self.work).lists.front().cloned();
            let Some(list) = first else {
                return;
            };
            let fresh = self.append(&list);
            let mut work = lock(&self.work);
            work.slots.extend(fresh);
            if work.lists.front().is_some_and(|first| Arc::ptr_eq(first, &list)) {
                work.lists.pop_front();
                work.listed -= list.len();
            }
            self.wake(work);
        }
    }

    /// Appends the frame of a list; returns the slots that have to be written now.
    fn append(&self, list: &List) -> Vec<u32> {
        let mut fresh = Vec::new();
        for (place, number) in list.left() {
            let appended = self.slot(number).and_then(|mut slot| list.append(place, &mut slot));
            if appended == Some(Appended::First) {
                fresh.push(number);
            }
        }
        fresh
    }

    /// Appends to one slot the frames of the lists that name it, which may be those up to a load. JS has to settle it: the
    /// writer does not hear that something waits.
    pub fn append_to(&self, number: u32, epoch: u64) {
        let lists: Vec<_> =
            lock(&self.work).lists.iter().take_while(|list| list.epoch <= epoch).cloned().collect();
        if lists.is_empty() {
            return;
        }
        if let Some(mut slot) = self.slot(number) {
            for list in lists {
                if let Some(place) = list.place_of(number) {
                    list.append(place, &mut slot);
                }
            }
        }
    }

    /// Takes the later half of those that wait to be written, if there are more than so many.
    pub fn take_half(&self, most: usize) -> VecDeque<u32> {
        let mut work = lock(&self.work);
        let count = work.slots.len();
        if count <= most {
            return VecDeque::new();
        }
        work.slots.split_off(count / 2)
    }

    /// The writer takes the next slots into `batch`, behind those that it has `again`; it sleeps while there is nothing to
    /// do. Returns false at the end.
    pub fn next_batch(&self, batch: &mut Vec<u32>, again: &mut Vec<u32>) -> bool {
        let mut work = lock(&self.work);
        work.slots.extend(again.drain(..));
        while work.lists.is_empty() && work.slots.is_empty() && work.end.is_none() {
            work.is_writer_asleep = true;
            work = self.filled.wait(work).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        work.is_writer_asleep = false;
        if !work.lists.is_empty() && work.end.is_none() {
            drop(work);
            // Before anything is written: frames for the same connection become one system call.
            self.distribute();
            work = lock(&self.work);
        }
        let count = work.slots.len().min(BATCH);
        batch.extend(work.slots.drain(..count));
        work.end.is_none()
    }

    /// The writer puts back what it had. Returns whether there is more to write.
    pub fn put_back(&self, number: u32, job: Job, outcome: Outcome) -> bool {
        let done = self.slot(number).map(|mut slot| slot.put_back(job, outcome));
        // What is not kept is dropped here, and not under the lock.
        done.is_some_and(|(next, _left)| self.tell(number, next))
    }

    /// Writes what waits for a slot, on the JS thread.
    pub fn write(&self, number: u32) {
        let done = self.slot(number).and_then(|mut slot| slot.write());
        if let Some((written, next)) = done {
            self.counters.add(written);
            self.tell(number, next);
        }
    }

    /// Tells JS what it has to hear. Returns whether there is more to write.
    fn tell(&self, number: u32, next: Next) -> bool {
        match next {
            Next::Nothing => {}
            Next::Again => return true,
            Next::Awaited => self.report(number),
            Next::Spilled => {
                self.counters.spilled.fetch_add(1, Ordering::Relaxed);
                self.report(number);
            }
            Next::Failed => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                self.report(number);
            }
        }
        false
    }

    fn report(&self, number: u32) {
        let mut reports = lock(&self.reports);
        reports.slots.push(number);
        if !std::mem::replace(&mut reports.is_told, true) {
            drop(reports);
            (self.tell_js)();
        }
    }

    /// Hands over the slots that JS has to look at, `at_most` so many of them. JS is told again of those that are left.
    pub fn take_reports(&self, at_most: usize) -> Vec<u32> {
        let mut reports = lock(&self.reports);
        reports.is_told = false;
        let count = reports.slots.len().min(at_most);
        let taken = reports.slots.drain(..count).collect();
        if !reports.slots.is_empty() {
            reports.is_told = true;
            drop(reports);
            (self.tell_js)();
        }
        taken
    }

    /// Ends the writer, since JS lets go of the hub.
    pub fn end(&self) {
        let mut work = lock(&self.work);
        work.end = work.end.or(Some(End::Dropped));
        drop(work);
        self.filled.notify_one();
    }

    /// The writer has panicked, with this in its hands. All that waits is JS's.
    pub fn die(&self, in_hand: Option<(u32, Job)>) {
        self.is_dead.store(true, Ordering::Release);
        // What JS pushes from now on, it appends itself.
        lock(&self.work).end = Some(End::Dead);
        if let Some((number, job)) = in_hand {
            self.put_back(number, job, Outcome::Full);
        }
        self.distribute();
        self.orphan_all();
    }

    /// Whether the writer has panicked.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// There is no writer: what waits for it is JS's.
    fn orphan_all(&self) {
        lock(&self.work).slots.clear();
        for number in self.numbers() {
            if self.slot(number).is_some_and(|mut slot| slot.orphan()) {
                self.report(number);
            }
        }
    }
}
