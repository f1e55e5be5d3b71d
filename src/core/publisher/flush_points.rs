//! Calls that wait until Redis has answered for everything that was published before them.
//!
//! Replies say how many publishes are answered, not which: the nodes of a cluster answer in an order of their own. So
//! messages behind a *flush point* stay in the backlog until the flush point is reached, and everything in flight
//! stands before it.

use std::collections::VecDeque;

use crate::core::streams::StreamId;

/// How many entries were ever added to each stream.
pub(in crate::core) type Entries = Vec<(StreamId, u64)>;

/// The flush points of a link, and how many of its messages are in flight.
#[derive(Debug, Default)]
pub(super) struct FlushPoints {
    points: VecDeque<FlushPoint>,
    in_flight: u64,
}

#[derive(Debug)]
struct FlushPoint {
    /// Messages between the flush point before and this one that are not released yet.
    before: usize,
    /// What had been added to the streams: those keep their entries until they are answered.
    entries: Entries,
    token: u32,
}

impl FlushPoints {
    /// Adds a flush point behind all that waits: `waiting` messages that are not released yet, and these entries.
    pub(super) fn add(&mut self, waiting: usize, entries: Entries, token: u32) {
        let counted: usize = self.points.iter().map(|point| point.before).sum();
        self.points.push_back(FlushPoint { before: waiting.saturating_sub(counted), entries, token });
    }

    /// How many messages may be released; `None` if all may.
    pub(super) fn room(&self) -> Option<usize> {
        self.points.front().map(|point| point.before)
    }

    /// The oldest messages that waited have been handed to the transport.
    pub(super) fn released(&mut self, count: usize) {
        self.in_flight += count as u64;
        self.no_longer_wait(count as u64);
    }

    /// The oldest messages that waited have been dropped.
    pub(super) fn no_longer_wait(&mut self, mut count: u64) {
        for point in &mut self.points {
            let gone = usize::try_from(count).unwrap_or(usize::MAX).min(point.before);
            point.before -= gone;
            count -= gone as u64;
        }
    }

    /// All messages that waited have been dropped.
    pub(super) fn nothing_waits(&mut self) {
        self.points.iter_mut().for_each(|point| point.before = 0);
    }

    /// So many messages are no longer in flight, whatever became of them.
    pub(super) fn answered(&mut self, count: u64) {
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// A message that is no longer in flight waits again, before all others.
    pub(super) fn returned(&mut self) {
        if let Some(point) = self.points.front_mut() {
            point.before += 1;
        }
    }

    /// Nobody will answer for the messages in flight: returns how many there are.
    pub(super) fn lose_all(&mut self) -> u64 {
        std::mem::take(&mut self.in_flight)
    }

    /// Whether nothing is in flight.
    pub(super) fn is_answered(&self) -> bool {
        self.in_flight == 0
    }

    /// Takes the first flush point if it is reached, and returns its token. `settled` says whether Redis has answered
    /// for so many entries of a stream.
    pub(super) fn take_reached(&mut self, settled: impl Fn(StreamId, u64) -> bool) -> Option<u32> {
        let first = self.points.front()?;
        let reached = self.in_flight == 0
            && first.before == 0
            && first.entries.iter().all(|&(stream, count)| settled(stream, count));
        if !reached {
            return None;
        }
        self.points.pop_front().map(|point| point.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(points: &mut FlushPoints) -> Option<u32> {
        points.take_reached(|_, _| true)
    }

    #[test]
    fn a_flush_point_is_reached_when_all_before_it_is_answered() {
        let mut points = FlushPoints::default();
        points.released(2);
        points.add(3, Vec::new(), 7);
        assert_eq!(points.room(), Some(3));
        points.answered(2);
        assert_eq!(reached(&mut points), None, "three are not even released");
        points.released(3);
        assert_eq!((points.room(), reached(&mut points)), (Some(0), None));
        points.answered(3);
        assert_eq!(reached(&mut points), Some(7));
        assert_eq!((points.room(), reached(&mut points)), (None, None));
    }

    #[test]
    fn flush_points_stand_one_behind_the_other() {
        let mut points = FlushPoints::default();
        points.add(1, Vec::new(), 1);
        points.add(3, Vec::new(), 2);
        points.add(3, Vec::new(), 3);
        points.released(1);
        assert_eq!((points.room(), reached(&mut points)), (Some(0), None));
        points.answered(1);
        assert_eq!(reached(&mut points), Some(1));
        assert_eq!(points.room(), Some(2));
        points.released(2);
        points.answered(2);
        assert_eq!(reached(&mut points), Some(2));
        assert_eq!(reached(&mut points), Some(3), "nothing stood between the two");
    }

    #[test]
    fn what_is_dropped_or_comes_back_is_accounted_for() {
        let mut points = FlushPoints::default();
        points.released(1);
        points.add(2, Vec::new(), 1);
        points.add(4, Vec::new(), 2);
        points.no_longer_wait(3);
        points.answered(1);
        points.returned();
        assert_eq!(points.room(), Some(1), "what came back is before the first flush point");
        points.released(1);
        points.answered(1);
        assert_eq!(reached(&mut points), Some(1));
        assert_eq!(points.room(), Some(1));
        points.nothing_waits();
        assert_eq!(reached(&mut points), Some(2));
        points.no_longer_wait(5);
        points.answered(5);
        assert!(points.is_answered());
        points.released(4);
        assert_eq!((points.lose_all(), points.lose_all()), (4, 0));
    }

    #[test]
    fn entries_of_streams_are_waited_for() {
        let mut points = FlushPoints::default();
        points.add(0, vec![(3, 5), (4, 1)], 1);
        assert_eq!(points.take_reached(|stream, count| (stream, count) == (3, 5)), None);
        assert_eq!(points.take_reached(|stream, count| [(3, 5), (4, 1)].contains(&(stream, count))), Some(1));
    }
}
