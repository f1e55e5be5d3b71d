//! The writer thread: writes what waits, slot by slot, and never waits for a connection.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::shared::Shared;
use super::slot::Job;

/// A frame with these bytes makes the writer of a debug build panic.
#[cfg(debug_assertions)]
pub const FAULT: &[u8] = b"panic";

/// Writes until the hub ends. If it panics, what it had in its hands and all that waits is JS's.
pub fn run(shared: &Shared) {
    let mut in_hand = None;
    let ended = catch_unwind(AssertUnwindSafe(|| write_until_end(shared, &mut in_hand)));
    if ended.is_err() {
        shared.die(in_hand);
    }
}

fn write_until_end(shared: &Shared, in_hand: &mut Option<(u32, Job)>) {
    let (mut batch, mut again) = (Vec::new(), Vec::new());
    while shared.next_batch(&mut batch, &mut again) {
        for number in batch.drain(..) {
            let taken = shared.slot(number).and_then(|mut slot| slot.take());
            let Some(job) = taken else {
                continue;
            };
            // Not a local one: a panic must not lose it.
            let (_, job) = in_hand.insert((number, job));
            #[cfg(debug_assertions)]
            fail_if_wanted(job);
            let written = job.queue.write(&job.socket);
            shared.counters.add(written);
            if let Some((number, job)) = in_hand.take()
                && shared.put_back(number, job, written.outcome)
            {
                again.push(number);
            }
        }
    }
}

#[cfg(debug_assertions)]
fn fail_if_wanted(job: &Job) {
    if job.queue.holds(FAULT) {
        // As `panic!`, without a word: loom comes here a thousand times.
        std::panic::resume_unwind(Box::new("a test wants it to"));
    }
}
