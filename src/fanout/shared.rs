//! What the JS thread and the writer thread both have.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::queue::{Outcome, Written};
use super::slot::{Job, Next, Slot};
use super::sync::{Condvar, Mutex, MutexGuard, lock};

/// How many slots are made at a time. Each loom mutex costs each of its runs.
const SLOTS_PER_PAGE: usize = if cfg!(all(test, feature = "interleavings")) { 2 } else { 256 };

/// How many pages there are.
const PAGES: usize = 256;

/// How many connections can be lent at a time, at most.
pub const MAX_SLOTS: usize = SLOTS_PER_PAGE * PAGES;

/// How many slots the writer takes at a time. The others are left for the JS thread, if it has to help.
const BATCH: usize = 256;

/// Slots that wait to be written. One may be named twice, or have nothing any more.
#[derive(Debug, Default)]
struct Work {
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

    /// The slots wait to be written. Returns how many do now. Empties `slots`.
    pub fn enqueue(&self, slots: &mut Vec<u32>) -> usize {
        if slots.is_empty() {
            return 0;
        }
        let mut work = lock(&self.work);
        if work.end == Some(End::Dead) {
            drop(work);
            slots.drain(..).for_each(|number| self.orphan(number));
            return 0;
        }
        work.slots.extend(slots.drain(..));
        let waiting = work.slots.len();
        if std::mem::take(&mut work.is_writer_asleep) {
            drop(work);
            self.filled.notify_one();
        }
        waiting
    }

    /// How many slots wait to be written.
    pub fn waiting(&self) -> usize {
        lock(&self.work).slots.len()
    }

    /// Takes the later half of those that wait.
    pub fn take_half(&self) -> VecDeque<u32> {
        let mut work = lock(&self.work);
        let half = work.slots.len() / 2;
        work.slots.split_off(half)
    }

    /// The writer takes the next ones into `batch`, after those that it has `again`; it sleeps while there are none.
    /// Returns false at the end.
    pub fn next_batch(&self, batch: &mut Vec<u32>, again: &mut Vec<u32>) -> bool {
        let mut work = lock(&self.work);
        work.slots.extend(again.drain(..));
        while work.slots.is_empty() && work.end.is_none() {
            work.is_writer_asleep = true;
            work = self.filled.wait(work).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        work.is_writer_asleep = false;
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
        {
            // What JS appends from now on, it finds out itself: see `enqueue`.
            let mut work = lock(&self.work);
            work.end = Some(End::Dead);
            work.slots.clear();
        }
        if let Some((number, job)) = in_hand {
            self.put_back(number, job, Outcome::Full);
        }
        self.numbers().for_each(|number| self.orphan(number));
    }

    /// Whether the writer has panicked.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    fn orphan(&self, number: u32) {
        if self.slot(number).is_some_and(|mut slot| slot.orphan()) {
            self.report(number);
        }
    }
}
