//! Whether the other servers are back after an outage: Redis is asked for as few names as possible.
//!
//! As long as peers are missing, a few namespaces are looked at again and again: the *probe*. Once the probe is complete
//! the others are looked at, each once, in chunks. So Redis is asked for every namespace about once in an
//! outage, however long the others take to come back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::core::effects::MemberId;

/// How often the probe is looked at.
const STEP: Duration = Duration::from_millis(25);

/// How often the probe is looked at once this has lasted [`PATIENT`].
const LATE_STEP: Duration = Duration::from_millis(50);

/// After this time no server is expected from one moment to the next.
const PATIENT: Duration = Duration::from_secs(1);

/// How many members are a probe.
const PROBE: usize = 8;

/// How many members are looked at in one go when the probe is complete.
const CHUNK: usize = 1000;

/// The wait for the peers of some members.
#[derive(Debug)]
pub(super) struct Healing {
    began: Instant,
    next: Instant,
    /// Until then a server that is found may be about to go.
    rests: Instant,
    /// Members whose peers have not been found. The last ones are asked for first: a server that comes back subscribes to
    /// them last.
    missing: BTreeSet<MemberId>,
    /// The members that are being looked at.
    asked: Vec<MemberId>,
    counting: bool,
    /// The probe is complete, and the others are looked at.
    walking: bool,
    /// All peers have been found. The probe is looked at once more, a step later: a client may send its subscriptions
    /// in several writes.
    found: bool,
}

impl Healing {
    /// Waits for the peers of these members; the first look is due `after` this.
    pub(super) fn new(now: Instant, after: Duration, members: Vec<MemberId>) -> Self {
        Healing {
            began: now,
            next: now + after,
            rests: now,
            missing: members.into_iter().collect(),
            asked: Vec::new(),
            counting: false,
            walking: false,
            found: false,
        }
    }

    /// Waits for the peers of these members, too.
    pub(super) fn extend(&mut self, members: &[MemberId]) {
        self.missing.extend(members);
        self.walking = false;
        self.found = false;
    }

    /// Looks at no member until then, and then again at those whose peers have been found.
    pub(super) fn rest(&mut self, until: Instant) {
        self.rests = self.rests.max(until);
        self.next = self.next.max(until);
        self.walking = false;
        self.found = false;
    }

    /// The members to be counted now, if any. To be answered by [`Healing::counted`].
    pub(super) fn ask(&mut self, now: Instant) -> Option<Vec<MemberId>> {
        if self.counting || now < self.next {
            return None;
        }
        self.counting = true;
        if !self.missing.is_empty() {
            let count = if self.walking { CHUNK } else { PROBE };
            self.asked = std::iter::from_fn(|| self.missing.pop_last()).take(count).collect();
            self.asked.reverse();
        }
        Some(self.asked.clone())
    }

    /// The answer: those of the members asked for whose peers were not all found. True if all peers of all members were.
    pub(super) fn counted(&mut self, missing: Vec<MemberId>, now: Instant) -> bool {
        self.counting = false;
        if now < self.rests {
            self.missing.extend(self.asked.drain(..));
            self.next = self.rests;
            return false;
        }
        let step = if now < self.began + PATIENT { STEP } else { LATE_STEP };
        if !missing.is_empty() {
            self.missing.extend(missing);
            self.walking = false;
            self.found = false;
            self.next = now + step;
        } else if !self.missing.is_empty() {
            self.walking = true;
            self.next = now;
        } else if self.found {
            return true;
        } else {
            self.found = true;
            self.asked.truncate(PROBE);
            self.next = now + STEP;
        }
        false
    }

    /// The members whose peers may not all be there.
    pub(super) fn into_missing(self) -> Vec<MemberId> {
        let mut missing = self.missing;
        if self.counting && !self.found {
            missing.extend(self.asked);
        }
        missing.into_iter().collect()
    }

    /// When [`Healing::ask`] is to be called; `None` while it waits for an answer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.counting).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_is_looked_at_until_it_is_found_twice() {
        let now = Instant::now();
        let mut healing = Healing::new(now, Duration::ZERO, vec![7]);
        assert_eq!(healing.ask(now), Some(vec![7]));
        assert_eq!(healing.ask(now), None, "one count at a time");
        assert_eq!(healing.deadline(), None);
        assert!(!healing.counted(vec![7], now));
        assert_eq!(healing.deadline(), Some(now + STEP));
        assert_eq!(healing.ask(now), None, "too early");
        assert_eq!(healing.ask(now + STEP), Some(vec![7]));
        assert!(!healing.counted(vec![], now + STEP));
        assert_eq!(healing.ask(now + STEP), None);
        assert_eq!(healing.ask(now + 2 * STEP), Some(vec![7]));
        assert!(healing.counted(vec![], now + 2 * STEP));
    }

    #[test]
    fn many_namespaces_are_looked_at_once_when_the_probe_is_complete() {
        let now = Instant::now();
        let mut healing = Healing::new(now, Duration::ZERO, (1..=3000).collect());
        let probe: Vec<MemberId> = (2993..=3000).collect();
        assert_eq!(healing.ask(now).as_deref(), Some(&*probe));
        healing.counted(vec![2996], now);
        assert!(healing.ask(now + STEP).unwrap().contains(&2996));
        assert!(!healing.counted(vec![], now + STEP));
        let mut seen = 0;
        while let Some(asked) = healing.ask(now + STEP) {
            seen += asked.len();
            assert!(!healing.counted(vec![], now + STEP));
        }
        assert_eq!(seen + 15, 3000, "the probe was looked at already: seven members, and eight");
        assert_eq!(healing.ask(now + 2 * STEP).map(|asked| asked.len()), Some(PROBE));
        assert!(healing.counted(vec![], now + 2 * STEP));
    }

    #[test]
    fn what_is_lost_again_is_waited_for_again() {
        let now = Instant::now();
        let mut healing = Healing::new(now, Duration::ZERO, vec![1]);
        healing.ask(now);
        healing.counted(vec![], now);
        healing.extend(&[2]);
        assert_eq!(healing.ask(now + STEP), Some(vec![2]));
        assert!(!healing.counted(vec![2], now + STEP), "not found");
        assert_eq!(healing.into_missing(), vec![2]);
    }

    #[test]
    fn those_who_are_lost_one_after_another_are_each_waited_for_once() {
        let now = Instant::now();
        let mut healing = Healing::new(now, Duration::ZERO, (1..=10).collect());
        let asked = healing.ask(now).unwrap();
        // They are lost again, while they are being counted.
        healing.extend(&asked);
        healing.extend(&[11, 12, 11]);
        healing.counted(asked, now);
        healing.extend(&[12]);
        assert_eq!(healing.ask(now + STEP), Some((5..=12).collect()));
        healing.counted(vec![], now + STEP);
        assert_eq!(healing.into_missing(), [1, 2, 3, 4]);
    }

    #[test]
    fn with_time_it_becomes_more_patient() {
        let now = Instant::now();
        let mut healing = Healing::new(now, Duration::ZERO, vec![1]);
        let later = now + PATIENT;
        healing.ask(later);
        healing.counted(vec![1], later);
        assert_eq!(healing.deadline(), Some(later + LATE_STEP));
        healing.ask(later + LATE_STEP);
        assert_eq!(healing.into_missing(), vec![1], "it is being looked at");
    }
}
