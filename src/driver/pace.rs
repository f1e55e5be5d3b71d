//! How fast a link goes: an idle one reacts at once, a busy one works in steps of a millisecond, which makes
//! one read, one write and one wake of many.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::steps;

/// How long a busy link sleeps between two steps: what a message waits at most, on either side. A step costs
/// some 15 us over both threads, so that this bounds it to 1.5 % of a core.
const NAP: Duration = Duration::from_millis(1);

/// Two steps with less than this between them are taken for a load.
const CLOSE: Duration = Duration::from_millis(1);

/// So many close steps in a row make a link busy; a request and its answers are fewer.
const BUSY: u32 = 8;

/// A busy link stays busy for so many naps with a single message each.
const INERTIA: u32 = 8;

thread_local! {
    // Counts the naps of the link thread: links that are busy at the same time take them together.
    static NAPS: Cell<u64> = const { Cell::new(0) };
}

/// The pace of one link.
#[derive(Debug)]
pub struct Pace {
    last: Option<Instant>,
    streak: u32,
    nap: u64,
}

impl Pace {
    /// That of an idle link.
    pub fn new() -> Self {
        Pace { last: None, streak: 0, nap: 0 }
    }

    /// A step is done in which `units` messages or commands were worked off. True if the link is busy.
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
    pub async fn nap(&mut self) {
        let naps = NAPS.get();
        if self.nap == naps {
            // Not the runtime's sleep: that would end, and start again, with every message that arrives.
            steps::sleep(NAP);
            NAPS.set(naps + 1);
        }
        self.nap = NAPS.get();
        // Lets the other links have their turn, and the runtime look at the sockets.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_close_steps_are_not_a_load() {
        let mut pace = Pace::new();
        let now = Instant::now();
        for _ in 0..BUSY {
            assert!(!pace.step(1, now));
        }
        assert!(pace.step(1, now));
    }

    #[test]
    fn steps_far_apart_are_never_a_load() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        for _ in 0..100 {
            assert!(!pace.step(5, now));
            now += CLOSE;
        }
    }

    #[test]
    fn a_busy_link_calms_down() {
        let mut pace = Pace::new();
        let now = Instant::now();
        while !pace.step(9, now) {}
        assert!(pace.step(2, now));
        for _ in 0..INERTIA {
            assert!(pace.step(1, now));
        }
        assert!(!pace.step(1, now), "single messages do not need steps");
        while !pace.step(9, now) {}
        assert!(!pace.step(0, now), "nothing to do");
    }
}
