use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long to wait before the next attempt. It doubles from a base up to a cap, with jitter.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    jitter: u64,
}

impl Backoff {
    /// Returns a backoff without failures.
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        // The hasher's keys are random per process and differ per state. Xorshift works with any seed except
        // 0.
        let seed = RandomState::new().build_hasher().finish() | 1;
        Self { base, cap, failures: 0, jitter: seed }
    }

    /// Returns the delay after one more failure: between a quarter of the doubled base and all of it. All
    /// servers lose Redis at the same moment, and must not come back at the same moment.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let doubled = self.base.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let full = doubled.min(self.cap);
        let quarter = full / 4;
        let span = u64::try_from((full - quarter).as_micros()).unwrap_or(u64::MAX);
        quarter + Duration::from_micros(self.random() % span.saturating_add(1))
    }

    /// Forgets the failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    #[cfg(test)]
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Xorshift64 is random enough for jitter.
    fn random(&mut self) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(25), Duration::from_secs(1));
        for _ in 0..2 {
            for full in [25, 50, 100, 200, 400, 800, 1000, 1000] {
                let delay = backoff.next_delay();
                assert!(delay <= Duration::from_millis(full), "{delay:?} of {full}");
                assert!(delay >= Duration::from_millis(full) / 4, "{delay:?} of {full}");
            }
            backoff.reset();
        }
        for _ in 0..100 {
            assert!(backoff.next_delay() <= Duration::from_secs(1));
        }
    }

    #[test]
    fn two_nodes_wait_differently() {
        let mut one = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let mut two = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let delays: Vec<_> = (0..8).map(|_| (one.next_delay(), two.next_delay())).collect();
        assert!(delays.iter().any(|(one, two)| one != two));
    }
}
