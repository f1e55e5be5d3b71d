//! Batching: an idle link reacts at once; a busy one lingers for a millisecond between two steps, which makes one read,
//! one write and one wake of many.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::steps;

/// How long a busy link lingers between two steps. A message waits no longer than this on either side. A step costs
/// some 15 us over both threads, so that this bounds it to 1.5 % of a core.
const LINGER: Duration = Duration::from_millis(1);

/// Two steps with less than this between them are a sign of load.
const CLOSE: Duration = Duration::from_millis(1);

/// So many close steps in a row make a link busy; a request and its answers are fewer.
const BUSY: u32 = 8;

/// A busy link stays busy for so many steps with a single message each.
const INERTIA: u32 = 8;

thread_local! {
    // How often the link thread has lingered. Links that are busy at the same time linger together.
    static LINGERED: Cell<u64> = const { Cell::new(0) };
}

/// Whether one link is busy.
#[derive(Debug)]
pub struct Batching {
    /// When something was last worked off.
    last: Option<Instant>,
    /// How many steps in a row were close to the one before; more than that while the link is busy.
    streak: u32,
    /// How often the thread had lingered when this link did so last.
    lingered: u64,
}

impl Batching {
    /// The link is idle.
    pub fn new() -> Self {
        Batching { last: None, streak: 0, lingered: 0 }
    }

    /// Counts a step in which `units` messages or commands were worked off. True if the link is busy.
    pub fn step(&mut self, units: usize, now: Instant) -> bool {
        if self.streak >= BUSY {
            self.streak = match units {
                0 => 0,
                1 => self.streak - 1,
                _ => BUSY + INERTIA,
            };
        } else if units > 0 {
            let close = self.last.is_some_and(|last| now - last < CLOSE);
            self.streak = if close { self.streak + 1 } else { 0 };
            if self.streak == BUSY {
                self.streak = BUSY + INERTIA;
            }
        }
        if units > 0 {
            self.last = Some(now);
        }
        self.streak >= BUSY
    }

    /// Sleeps until the next step is due, together with the other busy links of the thread.
    pub async fn linger(&mut self) {
        let lingered = LINGERED.get();
        if self.lingered == lingered {
            // Not the runtime's sleep: that would end, and start again, with every message that arrives.
            steps::sleep(LINGER);
            LINGERED.set(lingered + 1);
        }
        self.lingered = LINGERED.get();
        // Lets the other links have their turn, and the runtime look at the sockets.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_close_steps_are_not_a_load() {
        let mut batching = Batching::new();
        let now = Instant::now();
        for _ in 0..BUSY {
            assert!(!batching.step(1, now));
        }
        assert!(batching.step(1, now));
    }

    #[test]
    fn steps_far_apart_are_never_a_load() {
        let mut batching = Batching::new();
        let mut now = Instant::now();
        for _ in 0..100 {
            assert!(!batching.step(5, now));
            now += CLOSE;
        }
    }

    #[test]
    fn a_busy_link_calms_down() {
        let mut batching = Batching::new();
        let now = Instant::now();
        while !batching.step(9, now) {}
        assert!(batching.step(2, now));
        for _ in 0..INERTIA {
            assert!(batching.step(1, now));
        }
        assert!(!batching.step(1, now), "single messages do not need steps");
        while !batching.step(9, now) {}
        assert!(!batching.step(0, now), "nothing to do");
    }
}
