//! When members are counted: one count names all namespaces that are due, and the more names it has, the longer Redis
//! rests before the next one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::core::effects::MemberId;

/// How often the peers of a member that publishes are counted. Servers with this package say hello; the number of
/// others is at most this old when an outage begins.
const PEERS_EVERY: Duration = Duration::from_secs(2);

/// How often as long as it is alone: other servers may be about to join.
pub(super) const ALONE_EVERY: Duration = Duration::from_millis(200);

/// How often the peers of members that do not publish are counted, all at once.
pub(super) const IDLE_EVERY: Duration = Duration::from_secs(5);

/// How long Redis rests for each name that it was asked for: 4,000 names a second.
const REST: Duration = Duration::from_micros(250);

/// How long it rests at least: servers that say hello again and again cannot make a link count more often.
const MIN_REST: Duration = Duration::from_millis(20);

/// How many members are counted in one go at most: the other links of the process wait meanwhile.
const MOST: usize = 1000;

/// Who is to be counted, and when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: VecDeque<MemberId>,
    due: Option<Instant>,
    /// Members that were never counted: they do not wait until Redis has rested for the others.
    first: VecDeque<MemberId>,
    /// When they are counted.
    first_due: Option<Instant>,
    /// Redis rests until then.
    rests: Option<Instant>,
    /// When it was last asked.
    last: Option<Instant>,
    /// When members that do not publish are counted.
    idle: Option<Instant>,
}

impl Schedule {
    /// A member is to be counted at `when`, or as soon after that as Redis has rested. To be called once for each count.
    pub(super) fn queue(&mut self, id: MemberId, when: Instant) {
        self.queue.push_back(id);
        self.due = Some(self.due.map_or(when, |due| due.min(when)));
    }

    /// A member that was never counted is to be counted as soon as possible.
    pub(super) fn queue_first(&mut self, id: MemberId, now: Instant) {
        self.first.push_back(id);
        self.first_due.get_or_insert(now);
    }

    /// When a member that publishes is due again, given when it was last counted: together with the others that are due by
    /// then.
    pub(super) fn next(&self, counted: Instant, alone: bool) -> Instant {
        let due = counted + if alone { ALONE_EVERY } else { PEERS_EVERY };
        self.last.map_or(due, |last| due.max(last + ALONE_EVERY))
    }

    /// Whether a member that does not publish was not counted for a while.
    pub(super) fn is_old(counted: Instant, now: Instant) -> bool {
        now >= counted + PEERS_EVERY
    }

    /// A member that is queued is due earlier than it was.
    pub(super) fn hasten(&mut self, when: Instant) {
        self.due = self.due.map(|due| due.min(when));
    }

    /// Takes the members that are queued, if any of them is due now; of many the first ones, and the others when Redis has
    /// rested. The caller then calls [`Schedule::asked`].
    pub(super) fn take(&mut self, now: Instant) -> Vec<MemberId> {
        let mut members = Vec::new();
        if self.first_deadline().is_some_and(|due| now >= due) {
            members.extend(self.first.drain(..self.first.len().min(MOST)));
            self.first_due = self.first_due.filter(|_| !self.first.is_empty());
        }
        if self.queue_deadline().is_some_and(|due| now >= due) {
            let room = MOST.saturating_sub(members.len());
            members.extend(self.queue.drain(..self.queue.len().min(room)));
            self.due = self.due.filter(|_| !self.queue.is_empty());
        }
        members
    }

    /// Redis was asked for so many names.
    pub(super) fn asked(&mut self, now: Instant, names: usize) {
        let rest = REST.saturating_mul(u32::try_from(names).unwrap_or(u32::MAX));
        self.rests = Some(now + rest.clamp(MIN_REST, IDLE_EVERY));
        self.last = Some(now);
    }

    /// Whether members that do not publish are due. The time begins with the first call.
    pub(super) fn is_idle_due(&mut self, now: Instant) -> bool {
        let due = *self.idle.get_or_insert(now + IDLE_EVERY);
        if now < due {
            return false;
        }
        self.idle = Some(now + IDLE_EVERY);
        true
    }

    /// There are no members.
    pub(super) fn stop(&mut self) {
        self.idle = None;
        self.due = None;
        self.queue.clear();
        self.first.clear();
        self.first_due = None;
    }

    /// When members that publish are due, or that were never counted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.first_deadline(), self.queue_deadline()].into_iter().flatten().min()
    }

    fn queue_deadline(&self) -> Option<Instant> {
        let due = self.due?;
        Some(self.rests.map_or(due, |rests| rests.max(due)))
    }

    fn first_deadline(&self) -> Option<Instant> {
        let due = self.first_due?;
        Some(self.last.map_or(due, |last| due.max(last + MIN_REST)))
    }

    /// When members that do not publish are due.
    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        self.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_counted_together() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.queue(1, now + PEERS_EVERY);
        assert!(schedule.take(now).is_empty());
        schedule.queue(2, now);
        assert_eq!(schedule.take(now), [1, 2]);
        assert!(schedule.take(now).is_empty());
        assert_eq!(schedule.deadline(), None);
    }

    #[test]
    fn of_many_some_are_counted_in_one_go_and_the_others_follow() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        let many = u32::try_from(MOST).unwrap() + 7;
        for id in 1..=many {
            schedule.queue(id, now);
        }
        for id in 1..=many {
            schedule.queue_first(many + id, now);
        }
        assert_eq!(schedule.take(now).len(), MOST);
        schedule.asked(now, MOST);
        assert_eq!(schedule.deadline(), Some(now + MIN_REST));
        // Those that were never counted come first, and do not wait for as long.
        let mut seen = schedule.take(now + MIN_REST);
        assert_eq!(seen, (2 * many - 6..=2 * many).collect::<Vec<_>>());
        schedule.asked(now + MIN_REST, seen.len());
        let later = now + IDLE_EVERY;
        seen = schedule.take(later);
        assert_eq!(seen.len(), MOST);
        schedule.asked(later, MOST);
        assert_eq!(schedule.take(later + IDLE_EVERY).len(), 7);
        assert_eq!(schedule.deadline(), None);
    }

    #[test]
    fn redis_rests_for_as_long_as_the_names_are_many() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        for (names, rest) in [(2, MIN_REST), (400, Duration::from_millis(100)), (1_000_000, IDLE_EVERY)] {
            schedule.asked(now, names);
            schedule.queue(1, now);
            assert_eq!(schedule.deadline(), Some(now + rest));
            assert!(schedule.take(now).is_empty());
            assert_eq!(schedule.take(now + rest), [1]);
        }
    }

    #[test]
    fn those_that_were_never_counted_do_not_wait_for_the_others() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.asked(now, 1_000_000);
        schedule.queue(1, now);
        schedule.queue_first(2, now);
        schedule.queue_first(3, now);
        assert_eq!(schedule.deadline(), Some(now + MIN_REST));
        assert!(schedule.take(now).is_empty());
        assert_eq!(schedule.take(now + MIN_REST), [2, 3]);
        assert_eq!(schedule.take(now + IDLE_EVERY), [1]);
        assert_eq!(schedule.deadline(), None);
    }

    #[test]
    fn those_that_publish_one_after_another_are_counted_together() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(now, true), now + ALONE_EVERY);
        assert_eq!(schedule.next(now, false), now + PEERS_EVERY);
        schedule.asked(now + ALONE_EVERY, 2);
        assert_eq!(schedule.next(now, true), now + 2 * ALONE_EVERY);
        assert_eq!(schedule.next(now, false), now + PEERS_EVERY);
    }

    #[test]
    fn the_idle_ones_are_due_now_and_then() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        assert!(!schedule.is_idle_due(now));
        assert_eq!(schedule.idle_deadline(), Some(now + IDLE_EVERY));
        assert!(schedule.is_idle_due(now + IDLE_EVERY));
        assert!(!schedule.is_idle_due(now + IDLE_EVERY));
        schedule.stop();
        assert_eq!(schedule.idle_deadline(), None);
    }
}
