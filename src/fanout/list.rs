//! A frame that was pushed, and the slots that it has not been appended to yet.

use std::sync::atomic::{AtomicU32, Ordering};

use super::queue::Frame;
use super::slot::{Appended, Slot};

/// No slot has this number: what stands in the place of one that has had the frame.
const DONE: u32 = u32::MAX;

/// A frame, and whom it is for. The JS thread makes the list and touches no slot; that is the writer's work.
///
/// Whoever needs a slot sooner appends the frame itself. Entries are taken under the slot's lock alone, so that each is
/// taken once, and the order of a slot's frames is that of the lists.
#[derive(Debug)]
pub struct List {
    /// Which load it comes from.
    pub epoch: u64,
    frame: Frame,
    /// Whether a slot that is busy is left out.
    is_volatile: bool,
    slots: Vec<AtomicU32>,
}

impl List {
    /// All slots wait for the frame.
    pub fn new(epoch: u64, frame: Frame, is_volatile: bool, slots: Vec<u32>) -> Self {
        List { epoch, frame, is_volatile, slots: slots.into_iter().map(AtomicU32::new).collect() }
    }

    /// How many slots it was made for.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slots that have not had the frame, by their places.
    pub fn left(&self) -> impl Iterator<Item = (usize, u32)> {
        let numbers = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        numbers.enumerate().filter(|(_, number)| *number != DONE)
    }

    /// The place of a slot that waits for the frame.
    pub fn place_of(&self, number: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.load(Ordering::Relaxed) == number)
    }

    /// Appends the frame to the slot of a place, which the caller has locked, unless that has had it.
    pub fn append(&self, place: usize, slot: &mut Slot) -> Option<Appended> {
        let number = self.slots.get(place)?;
        // The lock orders what is done to the entry as well.
        (number.load(Ordering::Relaxed) != DONE).then(|| {
            number.store(DONE, Ordering::Relaxed);
            slot.append(&self.frame, self.is_volatile)
        })
    }
}
