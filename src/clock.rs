//! The clock that links and JS have in common: JS may hear of an event long after it has happened.

use std::sync::OnceLock;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

/// Returns a time in milliseconds. The number begins anew every 49 days, so that only differences mean something.
pub fn millis(at: Instant) -> u32 {
    let since = at.saturating_duration_since(*START.get_or_init(Instant::now));
    u32::try_from(since.as_millis() & u128::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn differences_are_milliseconds() {
        // It starts with the first call.
        millis(Instant::now());
        let now = Instant::now();
        let at = millis(now);
        assert_eq!(millis(now + Duration::from_millis(1500)).wrapping_sub(at), 1500);
        assert_eq!(millis(now + Duration::from_millis(1 << 32)), at, "it has begun anew");
    }
}
