//! Reads the numbers of JS, which are doubles and may have any value.

use std::time::Duration;

use crate::transport::SubscriptionKind;
use crate::wire::request::RequestType;

/// A counter. Those below 2^53 are exact.
#[allow(clippy::cast_precision_loss)]
pub(super) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// A time in milliseconds: none for NaN and what is negative, a year at most. That is far beyond any timeout, and far
/// from what an `Instant` cannot hold.
pub(super) fn to_duration(milliseconds: f64) -> Duration {
    let seconds = milliseconds / 1e3;
    if seconds.is_nan() { Duration::ZERO } else { Duration::from_secs_f64(seconds.clamp(0.0, 3.2e7)) }
}

/// A number of bytes or of other things: 0 for NaN and what is negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
pub(super) fn to_u64(count: f64) -> u64 {
    count.clamp(0.0, 9e15) as u64
}

/// The same in memory.
pub(super) fn to_usize(count: f64) -> usize {
    usize::try_from(to_u64(count)).unwrap_or(usize::MAX)
}

/// The kind of a subscription, by the number that stands in the records for JS, too.
pub(super) fn subscription_kind(number: u32) -> SubscriptionKind {
    match number {
        0 => SubscriptionKind::Channel,
        1 => SubscriptionKind::Pattern,
        _ => SubscriptionKind::Shard,
    }
}

/// The type of a request, by the number that stands in it on the wire; `None` for one that nobody answers.
pub(super) fn request_type(number: u32) -> Option<RequestType> {
    match number {
        0 => Some(RequestType::Sockets),
        1 => Some(RequestType::AllRooms),
        5 => Some(RequestType::RemoteFetch),
        6 => Some(RequestType::ServerSideEmit),
        7 => Some(RequestType::Broadcast),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn any_double_is_a_count() {
        let counts = [f64::NAN, f64::NEG_INFINITY, -1.0, -0.0, 0.9, 1.0, 2_f64.powi(53), f64::INFINITY];
        assert_eq!(counts.map(to_u64), [0, 0, 0, 0, 0, 1, 9_000_000_000_000_000, 9_000_000_000_000_000]);
        assert_eq!(to_usize(f64::NAN), 0);
        assert_eq!(to_usize(1e6), 1_000_000);
    }

    #[test]
    fn any_double_is_a_time() {
        let year = Duration::from_secs(32_000_000);
        let times = [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1.5, 1e300, f64::INFINITY];
        let none = Duration::ZERO;
        assert_eq!(times.map(to_duration), [none, none, none, none, Duration::from_micros(1500), year, year]);
        assert!(Instant::now().checked_add(year).is_some());
    }

    #[test]
    fn a_counter_is_exact_up_to_2_to_the_53() {
        assert_eq!(to_u64(to_f64(8_999_999_999_999_999)), 8_999_999_999_999_999);
    }

    #[test]
    fn the_kind_of_a_subscription_is_the_number_in_its_record() {
        for number in 0..3 {
            assert_eq!(subscription_kind(number) as u32, number);
        }
        assert_eq!(subscription_kind(u32::MAX), SubscriptionKind::Shard);
    }

    #[test]
    fn the_type_of_a_request_is_the_number_on_the_wire() {
        for number in 0..100 {
            if let Some(kind) = request_type(number) {
                assert_eq!(kind as u32, number);
            }
        }
        let refused: Vec<u32> = (0..9).filter(|&number| request_type(number).is_none()).collect();
        assert_eq!(refused, [2, 3, 4, 8], "these say something and want no answer, or are answers");
    }
}
