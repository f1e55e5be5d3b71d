//! Who waits until Redis has answered for everything that was published so far.
//!
//! Replies say how many publishes are answered, not which: the nodes of a cluster answer in an order of their own. So
//! what is published behind a fence stays in the backlog until the fence is lifted, and what is in flight is what
//! stands before it.

use std::collections::VecDeque;

use super::streams::StreamId;

/// How many entries were added to each stream, ever.
pub type Entries = Vec<(StreamId, u64)>;

/// The fences of a link, and how much of it is in flight.
#[derive(Debug, Default)]
pub struct Fences {
    fences: VecDeque<Fence>,
    in_flight: u64,
}

#[derive(Debug)]
struct Fence {
    /// Messages between the fence before and this one that are not released yet.
    before: usize,
    /// What had been added to the streams: those keep their entries until they are answered.
    entries: Entries,
    token: u32,
}

impl Fences {
    /// A fence behind all that waits: `waiting` messages that are not released yet, and these entries.
    pub fn add(&mut self, waiting: usize, entries: Entries, token: u32) {
        let counted: usize = self.fences.iter().map(|fence| fence.before).sum();
        self.fences.push_back(Fence { before: waiting.saturating_sub(counted), entries, token });
    }

    /// How many messages may be released; `None` if all may.
    pub fn room(&self) -> Option<usize> {
        self.fences.front().map(|fence| fence.before)
    }

    /// The oldest of what waits has been handed to the transport.
    pub fn released(&mut self, count: usize) {
        self.in_flight += count as u64;
        self.no_longer_wait(count as u64);
    }

    /// The oldest of what waits has been dropped.
    pub fn no_longer_wait(&mut self, mut count: u64) {
        for fence in &mut self.fences {
            let gone = usize::try_from(count).unwrap_or(usize::MAX).min(fence.before);
            fence.before -= gone;
            count -= gone as u64;
        }
    }

    /// Nothing waits any more: it has been dropped.
    pub fn nothing_waits(&mut self) {
        self.fences.iter_mut().for_each(|fence| fence.before = 0);
    }

    /// So many are no longer in flight, whatever became of them.
    pub fn answered(&mut self, count: u64) {
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// One that is no longer in flight waits again, before all others.
    pub fn returned(&mut self) {
        if let Some(fence) = self.fences.front_mut() {
            fence.before += 1;
        }
    }

    /// Nobody will answer for what is in flight: returns how much that is.
    pub fn lose_all(&mut self) -> u64 {
        std::mem::take(&mut self.in_flight)
    }

    /// Whether nothing is in flight.
    pub fn is_answered(&self) -> bool {
        self.in_flight == 0
    }

    /// Takes the first fence if it is lifted: its token. `settled` says whether so many entries of a stream are.
    pub fn lifted(&mut self, settled: impl Fn(StreamId, u64) -> bool) -> Option<u32> {
        let first = self.fences.front()?;
        let lifted = self.in_flight == 0
            && first.before == 0
            && first.entries.iter().all(|&(stream, count)| settled(stream, count));
        if !lifted {
            return None;
        }
        self.fences.pop_front().map(|fence| fence.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(fences: &mut Fences) -> Option<u32> {
        fences.lifted(|_, _| true)
    }

    #[test]
    fn a_fence_is_lifted_when_all_before_it_is_answered() {
        let mut fences = Fences::default();
        fences.released(2);
        fences.add(3, Vec::new(), 7);
        assert_eq!(fences.room(), Some(3));
        fences.answered(2);
        assert_eq!(lifted(&mut fences), None, "three are not even released");
        fences.released(3);
        assert_eq!((fences.room(), lifted(&mut fences)), (Some(0), None));
        fences.answered(3);
        assert_eq!(lifted(&mut fences), Some(7));
        assert_eq!((fences.room(), lifted(&mut fences)), (None, None));
    }

    #[test]
    fn fences_stand_one_behind_the_other() {
        let mut fences = Fences::default();
        fences.add(1, Vec::new(), 1);
        fences.add(3, Vec::new(), 2);
        fences.add(3, Vec::new(), 3);
        fences.released(1);
        assert_eq!((fences.room(), lifted(&mut fences)), (Some(0), None));
        fences.answered(1);
        assert_eq!(lifted(&mut fences), Some(1));
        assert_eq!(fences.room(), Some(2));
        fences.released(2);
        fences.answered(2);
        assert_eq!(lifted(&mut fences), Some(2));
        assert_eq!(lifted(&mut fences), Some(3), "nothing stood between the two");
    }

    #[test]
    fn what_is_dropped_or_comes_back_is_accounted_for() {
        let mut fences = Fences::default();
        fences.released(1);
        fences.add(2, Vec::new(), 1);
        fences.add(4, Vec::new(), 2);
        fences.no_longer_wait(3);
        fences.answered(1);
        fences.returned();
        assert_eq!(fences.room(), Some(1), "what came back is before the first fence");
        fences.released(1);
        fences.answered(1);
        assert_eq!(lifted(&mut fences), Some(1));
        assert_eq!(fences.room(), Some(1));
        fences.nothing_waits();
        assert_eq!(lifted(&mut fences), Some(2));
        fences.no_longer_wait(5);
        fences.answered(5);
        assert!(fences.is_answered());
        fences.released(4);
        assert_eq!((fences.lose_all(), fences.lose_all()), (4, 0));
    }

    #[test]
    fn entries_of_streams_are_waited_for() {
        let mut fences = Fences::default();
        fences.add(0, vec![(3, 5), (4, 1)], 1);
        assert_eq!(fences.lifted(|stream, count| (stream, count) == (3, 5)), None);
        assert_eq!(fences.lifted(|stream, count| [(3, 5), (4, 1)].contains(&(stream, count))), Some(1));
    }
}
