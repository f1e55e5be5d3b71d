//! Whether a node hangs: what it is asked in time shows that, even if it is back before the next sign of life
//! is due.
//!
//! A node that stops sending is asked soon, and one that has sent nothing since then now and then. A failover
//! needs `cluster-node-timeout` and about a second, so a node that is replaced was asked meanwhile, unless
//! that is set to less than [`CALM`].

use std::time::Duration;

use tokio::time::Instant;

/// How long a node that sends messages may be quiet until it is asked.
const QUIET: Duration = Duration::from_millis(250);

/// The same for a node that has sent none since it was asked last.
const CALM: Duration = Duration::from_secs(5);

/// How long a node has to answer the question whether it is alive. After that it counts as one that hangs. A
/// node that merely holds back publishes during a manual failover answers at once, and one that writes to its
/// disk was seen to take 220 ms. The replica of one that hangs waits for 500 ms at least before it takes over.
pub(super) const SILENT: Duration = Duration::from_millis(500);

/// For how long it matters that a node has hung: it may need that until it is in order.
const BRIEF: Duration = Duration::from_secs(2);

/// What is known about a node by what it sends.
#[derive(Default)]
pub(super) struct Watch {
    /// When something was read last; `None` while nothing is read.
    heard_at: Option<Instant>,
    /// When it was asked whether it is alive first since then.
    asked_at: Option<Instant>,
    /// It has sent messages since it was asked last.
    talks: bool,
    /// It does not answer.
    hangs: bool,
    /// Of the last time that it hung.
    hang: Option<Hang>,
}

#[derive(Clone, Copy)]
struct Hang {
    /// When it fell silent.
    since: Instant,
    /// When something was read again; `None` if nothing was.
    until: Option<Instant>,
}

impl Watch {
    /// Something was read.
    pub(super) fn heard(&mut self, now: Instant) {
        // One that is back may not be in order yet.
        let talks = self.talks || self.hangs;
        let hang = self.hang.map(|hang| Hang { until: hang.until.or(Some(now)), ..hang });
        *self = Self { heard_at: Some(now), talks, hang, ..Self::default() };
    }

    /// It has sent messages.
    pub(super) fn talks(&mut self) {
        self.talks = true;
    }

    /// There is nothing to read.
    pub(super) fn quiet(&mut self, now: Instant) {
        let heard_at = *self.heard_at.get_or_insert(now);
        self.hangs = self.asked_at.is_some_and(|at| now.saturating_duration_since(at) >= SILENT);
        if self.hangs {
            // It may have stood still shortly before, too.
            let before = self.hang.filter(|hang| hang.matters(heard_at));
            self.hang = Some(Hang { since: before.map_or(heard_at, |hang| hang.since), until: None });
        }
    }

    /// Nothing is read, so silence proves nothing. It may send meanwhile.
    pub(super) fn pass(&mut self) {
        *self = Self { talks: true, hang: self.hang, ..Self::default() };
    }

    /// It was asked whether it is alive.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked_at.get_or_insert(now);
        self.talks = false;
    }

    /// Returns whether it hangs.
    pub(super) fn hangs(&self) -> bool {
        self.hangs
    }

    /// Returns for how long something may have been missed there: it hangs, or has just hung.
    pub(super) fn missed_for(&self, now: Instant) -> Option<Duration> {
        let hang = self.hang.filter(|hang| hang.matters(now));
        hang.map(|hang| now.saturating_duration_since(hang.since))
    }

    /// Returns whether to ask it now.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.asked_at.is_none() && self.look_at().is_some_and(|at| now >= at)
    }

    /// Returns when to look at it again; `None` if there is no reason to.
    pub(super) fn look_at(&self) -> Option<Instant> {
        match (self.heard_at, self.asked_at) {
            (Some(_), Some(at)) => (!self.hangs).then(|| at + SILENT),
            (heard_at, None) => heard_at.map(|at| at + if self.talks { QUIET } else { CALM }),
            (None, _) => None,
        }
    }
}

impl Hang {
    fn matters(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now.saturating_duration_since(until) < BRIEF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_soon_when_it_stops_sending_and_seldom_after_that() {
        let start = Instant::now();
        let mut watch = Watch::default();
        assert_eq!(watch.look_at(), None, "nothing is read");
        watch.quiet(start);
        assert_eq!(watch.look_at(), Some(start + CALM));
        watch.heard(start);
        watch.talks();
        assert_eq!(watch.look_at(), Some(start + QUIET));
        assert!(!watch.asks(start));
        assert!(watch.asks(start + QUIET));
        watch.asked(start + QUIET);
        assert!(!watch.asks(start + CALM), "once");
        // It answers.
        watch.heard(start + QUIET);
        assert_eq!(watch.look_at(), Some(start + QUIET + CALM));
    }

    #[test]
    fn a_node_hangs_if_there_is_nothing_to_read_long_after_it_was_asked() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.heard(start);
        watch.asked(start);
        watch.asked(start + SILENT);
        assert_eq!(watch.look_at(), Some(start + SILENT), "the first question counts");
        // We are late ourselves, and there is an answer.
        watch.heard(start + 2 * SILENT);
        assert!(!watch.hangs());
        watch.asked(start);
        watch.quiet(start + SILENT);
        assert!(watch.hangs());
        assert_eq!(watch.look_at(), None);
        watch.pass();
        assert!(!watch.hangs());
        assert_eq!(watch.look_at(), None);
        // It may have sent meanwhile.
        watch.quiet(start);
        assert_eq!(watch.look_at(), Some(start + QUIET));
    }

    #[test]
    fn a_node_that_has_hung_is_asked_soon_again() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.heard(start);
        watch.asked(start);
        watch.quiet(start + SILENT);
        watch.heard(start + SILENT);
        assert_eq!(watch.look_at(), Some(start + SILENT + QUIET));
    }

    #[test]
    fn what_was_missed_begins_where_a_node_fell_silent_first_and_matters_for_a_while() {
        let start = Instant::now();
        let later = |quarters: u32| start + quarters * (BRIEF / 4);
        let mut watch = Watch::default();
        watch.heard(start);
        watch.asked(start);
        assert_eq!(watch.missed_for(later(1)), None);
        watch.quiet(later(8));
        // Nothing happens until it is back.
        assert_eq!(watch.missed_for(later(9)), Some(BRIEF * 9 / 4));
        watch.heard(later(9));
        assert_eq!(watch.missed_for(later(10)), Some(BRIEF * 10 / 4), "it is back");
        assert_eq!(watch.missed_for(later(13)), None, "it is in order");
        // It stands still again, before it has learned that it was replaced.
        watch.asked(later(9));
        watch.quiet(later(20));
        assert_eq!(watch.missed_for(later(20)), Some(5 * BRIEF));
        // What it has sent is not read yet.
        watch.pass();
        assert_eq!(watch.missed_for(later(40)), Some(10 * BRIEF));
        watch.heard(later(41));
        watch.pass();
        assert_eq!(watch.missed_for(later(50)), None);
    }
}
