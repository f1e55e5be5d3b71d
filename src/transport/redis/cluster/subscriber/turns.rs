//! The order in which the connections to owners are polled.

use std::ops::Range;

/// A place among the connections to owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PollPlace {
    pub(super) class: PollClass,
    /// Its index among all connections. The poll goes on there.
    pub(super) at: usize,
}

/// What is polled in one stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollClass {
    /// The owners of slots.
    Owners,
    /// Former owners that may send late what others have forwarded. They are polled after the owners.
    Doubted,
}

/// Returns the stretches of a poll that goes on at a place. What comes before that place is polled after all
/// others. Doubted connections come last again: what was read before is delivered when everything from them
/// was read.
pub(super) fn stretches(from: Option<PollPlace>) -> [(PollClass, Range<usize>); 4] {
    use PollClass::{Doubted, Owners};
    let all = 0..usize::MAX;
    match from {
        None => [(Owners, all.clone()), (Doubted, all), (Owners, 0..0), (Doubted, 0..0)],
        Some(PollPlace { class: Owners, at }) => {
            [(Owners, at..usize::MAX), (Doubted, all.clone()), (Owners, 0..at), (Doubted, all)]
        }
        Some(PollPlace { class: Doubted, at }) => {
            [(Doubted, at..usize::MAX), (Owners, all.clone()), (Doubted, all), (Owners, 0..0)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_polled_in_turn_if_each_poll_stops_at_once() {
        let classes =
            [PollClass::Owners, PollClass::Doubted, PollClass::Owners, PollClass::Doubted, PollClass::Owners];
        let mut stopped = None;
        let mut order = Vec::new();
        for _ in 0..classes.len() {
            let all = stretches(stopped);
            let mut places = all.iter().flat_map(|(class, stretch)| {
                (0..classes.len())
                    .filter(|at| classes[*at] == *class && stretch.contains(at))
                    .map(|at| (*class, at))
            });
            let (class, at) = places.next().unwrap();
            order.push(at);
            stopped = Some(PollPlace { class, at: at + 1 });
        }
        assert_eq!(order, [0, 2, 4, 1, 3]);
    }

    #[test]
    fn a_poll_that_is_not_stopped_ends_with_the_doubted_ones() {
        let places =
            [None, Some((PollClass::Owners, 0)), Some((PollClass::Owners, 2)), Some((PollClass::Doubted, 2))];
        for from in places.map(|place| place.map(|(class, at)| PollPlace { class, at })) {
            let all = stretches(from);
            let of = |class| all.iter().filter(move |(of, _)| *of == class).map(|(_, stretch)| stretch);
            for at in 0..3 {
                assert_eq!(
                    of(PollClass::Owners).filter(|stretch| stretch.contains(&at)).count(),
                    1,
                    "{from:?}"
                );
            }
            let last = all.iter().rfind(|(_, stretch)| !stretch.is_empty()).unwrap();
            assert_eq!(*last, (PollClass::Doubted, 0..usize::MAX), "{from:?}");
        }
    }
}
