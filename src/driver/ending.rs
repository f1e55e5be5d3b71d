//! The end of a link, or of its connections: how long it goes on trying to write what waits.

use std::time::{Duration, Instant};

/// How long a link that is closed, or whose clients have ended, goes on while Redis answers nothing.
const GRACE: Duration = Duration::from_secs(2);

/// How long it goes on at most.
const MAX_GRACE: Duration = Duration::from_secs(30);

/// The end of a link, or of its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    until: Instant,
    bound: Instant,
    /// How many messages Redis had answered for when that was last looked at.
    answered: u64,
}

impl Ending {
    /// An end that begins now, and leaves time for what waits.
    pub fn new(now: Instant) -> Self {
        Ending { until: now + GRACE, bound: now + MAX_GRACE, answered: 0 }
    }

    /// An end that waits for nothing.
    pub fn at_once(now: Instant) -> Self {
        Ending { until: now, bound: now, answered: 0 }
    }

    /// When it is over, unless Redis answers before.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Redis has answered for so many messages by now, ever. If these are more than before, there is more time.
    pub fn look_at(&mut self, answered: u64, now: Instant) {
        if std::mem::replace(&mut self.answered, answered) != answered {
            self.until = self.bound.min(now + GRACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_more_time_as_long_as_redis_goes_on_answering_and_a_bound() {
        let start = Instant::now();
        let mut ending = Ending::new(start);
        assert_eq!(ending.until(), start + GRACE);
        let later = start + GRACE / 2;
        ending.look_at(0, later);
        assert_eq!(ending.until(), start + GRACE, "nothing was answered");
        ending.look_at(1, later);
        assert_eq!(ending.until(), later + GRACE);
        ending.look_at(1, later + GRACE / 2);
        assert_eq!(ending.until(), later + GRACE, "nothing more was answered");
        ending.look_at(2, start + MAX_GRACE - GRACE / 2);
        assert_eq!(ending.until(), start + MAX_GRACE);
    }

    #[test]
    fn an_end_at_once_is_not_put_off() {
        let now = Instant::now();
        let mut ending = Ending::at_once(now);
        ending.look_at(5, now + GRACE);
        assert_eq!(ending.until(), now);
    }
}
