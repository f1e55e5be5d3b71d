//! The connections that one JS environment lends: what JS calls, on its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::list::List;
use super::queue::{Frame, Outcome};
use super::shared::{MAX_SLOTS, Shared};
use super::slot::{Job, Settled};
use super::sync::{pause, thread};
use super::sys::{Refusal, Socket, wait_until_writable};
use super::writer;

/// Numbers in memory of the caller's. Atomic, since other threads may have that memory, and two arrays may be one.
pub type Words = [AtomicI32];

/// In the flags of a slot: native may hold something for it, so that JS settles before Node writes. Set here, cleared by JS.
pub const HELD: i32 = 1 << 16;

/// How many times JS looks whether the writer is out of its system call, before it waits for a report.
const LOOKS: usize = if cfg!(all(test, feature = "interleavings")) { 1 } else { 20 };

/// How many times JS looks through all lists for one slot, before it appends all of them: that takes about as long.
const MOST_SEARCHES: usize = 64;

/// How long the process's exit waits for the writer to come out of a system call, which never blocks.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The bounds of a hub.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many bytes may wait for a connection.
    pub max_bytes: usize,
    /// How many slots may wait to be written until the JS thread writes half of them itself.
    pub max_waiting: usize,
}

/// A push: what is loaded goes to these slots.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The slots.
    pub slots: &'a Words,
    /// The flags of all slots, by number.
    pub flags: &'a Words,
    /// Where to write the slots that are not to be had. It has room for all of them.
    pub refused: &'a Words,
    /// Whether a slot that is busy is left out.
    pub is_volatile: bool,
}

/// The counters of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // see FanOutStats
pub struct HubStats {
    pub lent: u64,
    pub waiting: u64,
    pub pushed: u64,
    pub written: u64,
    pub spilled: u64,
    pub failed: u64,
    pub bytes: u64,
    pub helped: u64,
    pub is_dead: bool,
}

/// What JS's thread knows of a slot, without a look at it.
#[derive(Debug, Default)]
struct Place {
    /// The last load that it has had, or is not to have. No list of a later one names it.
    epoch: u64,
    /// Whether a connection is lent, which may be broken.
    is_lent: bool,
    /// No more bytes wait: so many were pushed since it was known.
    bytes: usize,
}

/// The connections that one JS environment lends.
pub struct Hub {
    shared: Arc<Shared>,
    /// It is started with the first connection.
    writer: Option<thread::JoinHandle<()>>,
    bounds: Bounds,
    loaded: Option<Frame>,
    /// Counts what was loaded.
    epoch: u64,
    /// By number.
    places: Vec<Place>,
    /// Numbers of places that are nobody's.
    free: Vec<u32>,
    /// How many entries of lists were looked through since there were none.
    searched: usize,
    pushed: u64,
    helped: u64,
}

impl Hub {
    /// Nothing is lent. `tell_js` is called, on any thread, when there is something to take from [`Hub::take_reports`],
    /// and not again before that is called.
    pub fn new(bounds: Bounds, tell_js: Box<dyn Fn() + Send + Sync>) -> Self {
        Hub {
            shared: Arc::new(Shared::new(tell_js)),
            writer: None,
            bounds,
            loaded: None,
            epoch: 0,
            places: Vec::new(),
            free: Vec::new(),
            searched: 0,
            pushed: 0,
            helped: 0,
        }
    }

    /// Takes a connection; returns the number of its slot.
    ///
    /// # Errors
    /// If there is no such number, no writer, or `socket` cannot be had.
    pub fn adopt(&mut self, socket: impl FnOnce() -> Result<Socket, Refusal>) -> Result<u32, Refusal> {
        if self.shared.is_dead() || (self.free.is_empty() && self.places.len() >= MAX_SLOTS) {
            return Err(Refusal::Impossible);
        }
        let socket = socket()?;
        self.start_writer()?;
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.places.len()).map_err(|_| Refusal::Impossible)?;
                if !self.shared.make_slot(number) {
                    return Err(Refusal::Impossible);
                }
                self.places.push(Place::default());
                number
            }
        };
        // It was nobody's, and so has had nothing of what is loaded.
        if let Some(place) = self.places.get_mut(number as usize) {
            *place = Place { epoch: 0, is_lent: true, bytes: 0 };
        }
        if let Some(mut slot) = self.shared.slot(number) {
            slot.lend(socket);
        }
        Ok(number)
    }

    fn start_writer(&mut self) -> Result<(), Refusal> {
        if self.writer.is_none() {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name("fan-out".into()).spawn(move || writer::run(&shared));
            self.writer = Some(started.map_err(|_| Refusal::Impossible)?);
        }
        Ok(())
    }

    /// Keeps a copy of bytes for the next pushes. No slot has had them.
    pub fn load(&mut self, frames: &[u8]) {
        self.loaded = (!frames.is_empty()).then(|| frames.into());
        self.epoch += 1;
    }

    /// Lets go of what is loaded.
    pub fn unload(&mut self) {
        self.loaded = None;
    }

    /// The slots do not get what is loaded.
    pub fn except(&mut self, slots: &Words) {
        for slot in slots {
            self.mark(slot.load(Ordering::Relaxed));
        }
    }

    /// Marks a slot, whatever it is. Returns whether a connection is lent there; nothing if the slot was marked before.
    fn mark(&mut self, slot: i32) -> Option<bool> {
        let place = usize::try_from(slot).ok().and_then(|slot| self.places.get_mut(slot));
        // One that was never made is not to be had, as often as it is named.
        let Some(place) = place else {
            return Some(false);
        };
        (std::mem::replace(&mut place.epoch, self.epoch) != self.epoch).then_some(place.is_lent)
    }

    /// Hands what is loaded to each slot that is not marked, and marks it. Returns how many are not to be had. Does nothing if
    /// there is no room to tell of all, or nothing is loaded.
    pub fn push(&mut self, push: Push<'_>) -> usize {
        let Some(frame) = self.loaded.clone().filter(|_| push.refused.len() >= push.slots.len()) else {
            return 0;
        };
        let is_dead = self.shared.is_dead();
        let mut refused = push.refused.iter();
        let mut list = Vec::with_capacity(push.slots.len());
        for word in push.slots {
            let slot = word.load(Ordering::Relaxed);
            let Some(is_lent) = self.mark(slot) else {
                continue;
            };
            match u32::try_from(slot) {
                Ok(number)
                    if !is_dead
                        && is_lent
                        && is_free(number, push.flags)
                        && self.has_room(number, frame.len()) =>
                {
                    hold(number, push.flags);
                    list.push(number);
                }
                _ => {
                    if let Some(place) = refused.next() {
                        place.store(slot, Ordering::Relaxed);
                    }
                }
            }
        }
        if !list.is_empty() {
            self.pushed += list.len() as u64;
            let waiting = self.shared.push(List::new(self.epoch, frame, push.is_volatile, list));
            if waiting > self.bounds.max_waiting {
                self.help();
            }
        }
        push.refused.len() - refused.len()
    }

    /// Whether so many bytes more may wait for a slot, which counts them then.
    fn has_room(&mut self, number: u32, more: usize) -> bool {
        let Some(place) = self.places.get_mut(number as usize) else {
            return false;
        };
        if place.bytes.saturating_add(more) > self.bounds.max_bytes {
            // Nearly all is written by now, as a rule.
            self.shared.distribute();
            place.bytes = self.shared.slot(number).map_or(0, |slot| slot.bytes());
        }
        let has_room = place.bytes.saturating_add(more) <= self.bounds.max_bytes;
        if has_room {
            place.bytes += more;
        }
        has_room
    }

    /// The writer lags: this thread does a part of its work, so that JS is slowed down as it would be without a thread.
    fn help(&mut self) {
        self.shared.distribute();
        for number in self.shared.take_half(self.bounds.max_waiting) {
            self.shared.write(number);
            self.helped += 1;
        }
    }

    /// Before Node writes `own` to a connection: see [`Settled`]. If the writer is at it, a report comes when it is done.
    pub fn settle(&mut self, number: u32, own: &[u8]) -> Settled {
        let listed = self.shared.listed();
        let Some(place) = self.places.get_mut(number as usize) else {
            return Settled::Nothing;
        };
        place.bytes = 0;
        // What was pushed before stands before it.
        self.searched = if listed == 0 { 0 } else { self.searched + listed };
        if self.searched > MOST_SEARCHES * listed {
            self.shared.distribute();
        } else {
            self.shared.append_to(number, place.epoch);
        }
        for look in 1..=LOOKS {
            let Some(mut slot) = self.shared.slot(number) else {
                return Settled::Nothing;
            };
            let (settled, written) = slot.settle(own);
            if settled == Settled::Busy && look == LOOKS {
                slot.wait();
            }
            drop(slot);
            if let Some(written) = written {
                self.shared.counters.add(written);
            }
            if settled != Settled::Busy {
                return settled;
            }
            pause();
        }
        Settled::Busy
    }

    /// Hands over slots that JS has to look at, so many at most: they have spilled or failed, or JS waits for them. JS is
    /// told again if there are more. A slot may have been settled since, or have become another connection's.
    pub fn take_reports(&mut self, at_most: usize) -> Vec<u32> {
        self.shared.take_reports(at_most)
    }

    /// The errno of a connection that is broken, once; 0 if there is none.
    pub fn take_errno(&mut self, number: u32) -> i32 {
        self.shared.slot(number).map_or(0, |mut slot| slot.take_errno())
    }

    /// Closes the file descriptor of a slot, or has the writer do it. What waits is written at once, or dropped.
    pub fn hang_up(&mut self, number: u32) {
        let place = self.places.get_mut(number as usize);
        if place.is_some_and(|place| std::mem::take(&mut place.is_lent)) {
            // Afterwards no list names it, and so none names the next connection with its number.
            self.settle(number, &[]);
        }
        if let Some(mut slot) = self.shared.slot(number) {
            slot.hang_up();
        }
    }

    /// Hangs up, and makes the number free for another connection.
    pub fn release(&mut self, number: u32) {
        self.hang_up(number);
        if self.shared.slot(number).is_some_and(|mut slot| slot.release()) {
            self.free.push(number);
        }
    }

    /// The process ends: writes what waits for any connection, and hangs up those that something waited for. Clients that
    /// are slow are waited for so long, together; what they do not take is dropped. From now on no slot is to be had.
    pub fn drain(&mut self, patience: Duration) {
        let end_of_calls = Instant::now() + LAST_CALL;
        let mut full = Vec::new();
        self.places.iter_mut().for_each(|place| place.is_lent = false);
        self.shared.distribute();
        for number in self.shared.numbers() {
            if let Some(job) = self.take_last(number, end_of_calls) {
                full.extend(self.write_last(job));
            }
        }
        let end = Instant::now() + patience;
        while !full.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            wait_until_writable(full.iter().map(|job: &Job| &job.socket), left);
            full = full.into_iter().filter_map(|job| self.write_last(job)).collect();
        }
    }

    /// Takes out what waits for a slot, once the writer is not at it.
    fn take_last(&self, number: u32, end: Instant) -> Option<Job> {
        loop {
            let mut slot = self.shared.slot(number)?;
            if !slot.is_in_call() {
                return slot.take_last();
            }
            // The writer leaves to us what has come since.
            slot.wait();
            drop(slot);
            if Instant::now() >= end {
                return None;
            }
            thread::yield_now();
        }
    }

    /// Writes; returns what has to wait for the client.
    fn write_last(&self, mut job: Job) -> Option<Job> {
        let written = job.queue.write(&job.socket);
        self.shared.counters.add(written);
        (written.outcome == Outcome::Full).then_some(job)
    }

    /// How many entries the lists have.
    #[cfg(test)]
    pub(super) fn listed(&self) -> usize {
        self.shared.listed()
    }

    /// The counters.
    pub fn stats(&self) -> HubStats {
        let counters = &self.shared.counters;
        HubStats {
            lent: (self.places.len() - self.free.len()) as u64,
            waiting: self.shared.waiting() as u64,
            pushed: self.pushed,
            written: counters.written.load(Ordering::Relaxed),
            spilled: counters.spilled.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            helped: self.helped,
            is_dead: self.shared.is_dead(),
        }
    }
}

/// Whether the flags of a slot say nothing but that it is held.
fn is_free(number: u32, flags: &Words) -> bool {
    flags.get(number as usize).is_some_and(|word| word.load(Ordering::Relaxed) & !HELD == 0)
}

/// Says that it is.
fn hold(number: u32, flags: &Words) {
    if let Some(word) = flags.get(number as usize) {
        word.store(HELD, Ordering::Relaxed);
    }
}

impl Drop for Hub {
    /// Writes what can be written at once: the thread of JS may have been ended behind a broadcast. Then ends the writer, which
    /// may be in a system call: none blocks. Nothing holds a file descriptor any more.
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
        self.shared.end();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
