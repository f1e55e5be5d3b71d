//! When publishes may go out.
//!
//! They wait while the link is down, while it is not proven to reach the Redis of the user's clients, and after an outage
//! until the peers that were there before have subscribed again: they would miss earlier messages. An acknowledged
//! broadcast, and all messages behind it, wait until its acknowledgements can be heard.

use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::healing::Healing;
use crate::core::effects::MemberId;
use crate::transport::Trial;

/// How long the end of an outage waits for the peers. The clients of the reference wait up to 2.2 s between two
/// attempts to reconnect; this covers one that just missed, and leaves a request of the default timeout (5 s) some
/// time to be answered.
pub const HEAL_BOUND: Duration = Duration::from_secs(4);

/// How long a link waits if its first attempts to connect have failed: other servers may have tried as long, and all of
/// them try again within that time.
pub const LATE_BOUND: Duration = Duration::from_millis(2500);

/// How long publishes wait at least when subscriptions have to be made elsewhere though Redis stands: the other servers are
/// told when this one is, and follow within milliseconds.
const MOVE_SETTLE: Duration = Duration::from_millis(100);

/// How long an acknowledged broadcast waits for the subscription to its acknowledgements: Redis takes a millisecond for it,
/// and a cluster some hundred milliseconds if slots move.
pub const HEAR_BOUND: Duration = Duration::from_secs(1);

/// How long one message goes first at most if its node may hang: a node that is silent for that long is suspected of it.
const TRIAL_BOUND: Duration = Duration::from_secs(1);

/// Whether publishes may go out.
#[derive(Debug)]
pub struct Flow {
    up: bool,
    proven: bool,
    /// The carrier is about to change.
    held: bool,
    wait: Option<Wait>,
    /// Members that have asked for acknowledgements, and are not subscribed to them yet.
    deaf: Vec<MemberId>,
    /// How long they are waited for. It begins when nothing else is waited for.
    deaf_until: Option<Instant>,
    /// Redis has refused messages for now, and has taken none since: this goes out first.
    trial: Option<Trial>,
    /// When a brief trial ends, once it has begun.
    trial_ends: Option<Instant>,
    /// The link has not been up yet, though it was tried.
    late: bool,
    was_up: bool,
    settle: Duration,
    /// The wait is over since [`Flow::take_ended`] was last asked: the members whose peers may be missing.
    ended: Option<Vec<MemberId>>,
    /// The messages that wait.
    pub backlog: Backlog,
}

/// What the end of an outage waits for.
#[derive(Debug)]
enum Wait {
    /// For the peers that were there before, but not longer than until then.
    Peers(Healing, Instant),
    /// Until then: it is not known which peers to wait for.
    Time(Instant),
}

impl Flow {
    /// A flow that is down; `bound` is the backlog's, in bytes.
    pub fn new(bound: usize, proven: bool, settle: Duration) -> Self {
        let backlog = Backlog::new(bound);
        Flow {
            up: false,
            proven,
            held: false,
            wait: None,
            deaf: Vec::new(),
            deaf_until: None,
            trial: None,
            trial_ends: None,
            late: false,
            was_up: false,
            settle,
            ended: None,
            backlog,
        }
    }

    /// Whether publishes may go out. Those in the backlog go first.
    pub fn is_open(&self) -> bool {
        self.deaf.is_empty() && self.waits_for_no_other()
    }

    fn waits_for_no_other(&self) -> bool {
        self.up && self.proven && !self.held && self.wait.is_none()
    }

    /// A member asks for acknowledgements that it cannot hear yet: publishes wait from now on until it can.
    pub fn wait_for_hearing(&mut self, id: MemberId) {
        if !self.deaf.contains(&id) {
            self.deaf.push(id);
        }
    }

    /// Whether such members are waited for.
    pub fn waits_for_hearing(&self) -> bool {
        !self.deaf.is_empty()
    }

    /// Ends the wait for those of them that are not `deaf` any more. Returns those that are given up.
    pub fn heard(&mut self, now: Instant, deaf: impl Fn(MemberId) -> bool) -> Vec<MemberId> {
        self.deaf.retain(|&id| deaf(id));
        if self.deaf.is_empty() || !self.waits_for_no_other() {
            self.deaf_until = None;
            return Vec::new();
        }
        let until = *self.deaf_until.get_or_insert(now + HEAR_BOUND);
        if now < until {
            return Vec::new();
        }
        self.deaf_until = None;
        std::mem::take(&mut self.deaf)
    }

    /// The link is connected; `with_peers` are the members that had peers before.
    pub fn up(&mut self, now: Instant, with_peers: Vec<MemberId>) {
        self.up = true;
        let late = std::mem::take(&mut self.late);
        let again = std::mem::replace(&mut self.was_up, true);
        self.wait = match (with_peers.is_empty(), late) {
            (false, _) => Some(Wait::Peers(Healing::new(now, self.settle, with_peers), now + HEAL_BOUND)),
            (true, true) => Some(Wait::Time(now + LATE_BOUND)),
            (true, false) => None,
        };
        self.ended = (self.wait.is_none() && again).then(Vec::new);
    }

    /// A publish has come back, since its slot has moved: it waits until the other servers have followed. Returns how many
    /// messages the backlog has dropped for it.
    pub fn give_back(&mut self, channel: &[u8], payload: &[u8]) -> u64 {
        let dropped = self.backlog.dropped();
        self.backlog.give_back(channel, payload);
        self.backlog.dropped() - dropped
    }

    /// Whether something is waited for.
    pub fn is_waiting(&self) -> bool {
        self.wait.is_some()
    }

    /// Subscriptions of these members are lost, though the link stands. Other servers may have lost theirs, too: publishes
    /// wait until those are back.
    pub fn heal(&mut self, now: Instant, members: Vec<MemberId>) {
        match &mut self.wait {
            Some(Wait::Peers(healing, _)) => healing.extend(&members),
            None if self.up => {
                let settle = self.settle.min(MOVE_SETTLE);
                self.wait = Some(Wait::Peers(Healing::new(now, settle, members), now + HEAL_BOUND));
            }
            _ => {}
        }
    }

    /// The peers that are waited for are on their way to another node, which takes this long: they are counted afterwards.
    pub fn settle(&mut self, now: Instant, time: Duration) {
        if let Some(Wait::Peers(healing, until)) = &mut self.wait {
            healing.rest(now + time);
            *until = (*until).max(now + HEAL_BOUND);
        }
    }

    /// The link is lost.
    pub fn down(&mut self) {
        self.late |= !self.was_up;
        self.up = false;
        self.wait = None;
        self.ended = None;
        self.trial_ends = None;
    }

    /// The link stands, but Redis takes no messages for now.
    pub fn hold(&mut self, trial: Trial) {
        self.down();
        self.trial = Some(trial).filter(|&trial| trial != Trial::Transport);
    }

    /// Redis has answered a publish for good.
    pub fn accepted(&mut self) {
        self.trial = None;
        self.trial_ends = None;
    }

    /// How many messages may go out. `is_answered` says whether Redis has answered all earlier ones.
    pub fn room(&mut self, is_answered: bool, now: Instant) -> usize {
        if self.trial == Some(Trial::Brief) && self.is_open() {
            self.trial_ends.get_or_insert(now + TRIAL_BOUND);
        }
        if self.trial_ends.is_some_and(|ends| now >= ends) {
            self.accepted();
        }
        if self.trial.is_none() { usize::MAX } else { usize::from(is_answered) }
    }

    /// Another transport begins; the backlog goes on waiting.
    pub fn reset(&mut self, proven: bool) {
        self.up = false;
        self.wait = None;
        self.ended = None;
        self.proven = proven;
        self.accepted();
    }

    /// Whether the link stands, proven or not.
    pub fn is_connected(&self) -> bool {
        self.up
    }

    /// Says whether the link is known to reach the Redis of the user's clients.
    pub fn set_proven(&mut self, proven: bool) {
        self.proven = proven;
    }

    /// Says whether publishes wait for a change of the carrier.
    pub fn set_held(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether the link is known to reach the Redis of the user's clients.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// The members whose peers are to be counted now, if any. To be answered by [`Flow::counted`].
    pub fn wants_count(&mut self, now: Instant) -> Option<Vec<MemberId>> {
        match self.wait.take() {
            Some(Wait::Peers(healing, until)) if now >= until => {
                self.ended = Some(healing.into_missing());
                None
            }
            Some(Wait::Time(until)) if now >= until => {
                self.ended = Some(Vec::new());
                None
            }
            mut wait => {
                let wanted = match &mut wait {
                    Some(Wait::Peers(healing, _)) => healing.ask(now),
                    _ => None,
                };
                self.wait = wait;
                wanted
            }
        }
    }

    /// The answer: those of the members asked for whose peers were not all found.
    pub fn counted(&mut self, missing: Vec<MemberId>, now: Instant) {
        if let Some(Wait::Peers(healing, _)) = &mut self.wait
            && healing.counted(missing, now)
        {
            self.wait = None;
            self.ended = Some(Vec::new());
        }
    }

    /// If the wait for the peers has ended since this was last called: the members whose peers may be missing all the same.
    pub fn take_ended(&mut self) -> Option<Vec<MemberId>> {
        self.ended.take()
    }

    /// When [`Flow::wants_count`] or [`Flow::heard`] is to be asked again.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.wait {
            Some(Wait::Peers(healing, until)) => {
                Some(healing.deadline().map_or(*until, |next| next.min(*until)))
            }
            Some(Wait::Time(until)) => Some(*until),
            None => [self.deaf_until, self.trial_ends].into_iter().flatten().min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::backlog::BacklogMessage;
    use super::*;

    const STEP: Duration = Duration::from_millis(25);

    fn flow() -> Flow {
        Flow::new(1000, true, Duration::ZERO)
    }

    #[test]
    fn after_a_refusal_that_passes_one_message_goes_first() {
        let mut flow = flow();
        let now = Instant::now();
        assert_eq!(flow.room(false, now), usize::MAX);
        flow.up(now, vec![]);
        flow.hold(Trial::One);
        assert!(!flow.is_open());
        flow.up(now, vec![]);
        assert!(flow.is_open());
        let far = now + 10 * TRIAL_BOUND;
        assert_eq!((flow.room(false, now), flow.room(false, far), flow.room(true, far)), (0, 0, 1));
        assert_eq!(flow.deadline(), None);
        flow.accepted();
        assert_eq!(flow.room(false, now), usize::MAX);
        flow.hold(Trial::Transport);
        assert_eq!(flow.room(false, now), usize::MAX);
    }

    #[test]
    fn what_may_be_with_a_node_that_hangs_goes_first_for_a_bounded_time() {
        let mut now = Instant::now();
        let mut flow = flow();
        flow.up(now, vec![]);
        flow.hold(Trial::Brief);
        flow.up(now, vec![1]);
        assert_eq!(flow.room(true, now), 1);
        // What waits for the peers has not gone out.
        now += HEAL_BOUND;
        assert_eq!(flow.wants_count(now), None);
        assert!(flow.is_open());
        assert_eq!((flow.room(true, now), flow.room(false, now)), (1, 0));
        assert_eq!(flow.deadline(), Some(now + TRIAL_BOUND));
        now += TRIAL_BOUND;
        flow.set_held(true);
        assert_eq!(flow.room(false, now), usize::MAX);
        assert_eq!(flow.deadline(), None);
    }

    #[test]
    fn subscriptions_that_move_are_looked_for_when_they_have_moved() {
        let now = Instant::now();
        let mut flow = flow();
        flow.settle(now, STEP);
        assert!(!flow.is_waiting(), "for nobody");
        flow.up(now, vec![7]);
        flow.settle(now, 4 * STEP);
        assert!(!flow.is_open());
        assert_eq!(flow.deadline(), Some(now + 4 * STEP));
        assert_eq!(flow.wants_count(now + STEP), None);
        assert_eq!(flow.wants_count(now + 4 * STEP), Some(vec![7]));
        // Another node goes meanwhile.
        flow.settle(now + 4 * STEP, 4 * STEP);
        flow.counted(vec![], now + 5 * STEP);
        for step in [8, 9] {
            assert!(!flow.is_open(), "counted too early");
            assert_eq!(flow.wants_count(now + step * STEP), Some(vec![7]));
            flow.counted(vec![], now + step * STEP);
        }
        assert!(flow.is_open());
    }

    #[test]
    fn an_unproven_link_holds_back() {
        let mut flow = Flow::new(10, false, Duration::ZERO);
        flow.up(Instant::now(), vec![]);
        assert!(!flow.is_open());
        flow.set_proven(true);
        assert!(flow.is_open());
        flow.down();
        assert!(!flow.is_open());
    }

    #[test]
    fn after_an_outage_the_peers_are_awaited() {
        let now = Instant::now();
        let mut flow = flow();
        flow.up(now, vec![1]);
        assert!(!flow.is_open());
        assert_eq!(flow.wants_count(now), Some(vec![1]));
        assert_eq!(flow.wants_count(now), None, "one count at a time");
        flow.counted(vec![1], now);
        assert_eq!(flow.deadline(), Some(now + STEP));
        for step in 1..3 {
            let later = now + STEP * step;
            assert_eq!(flow.take_ended(), None);
            assert!(flow.wants_count(later).is_some());
            flow.counted(vec![], later);
        }
        assert!(flow.is_open());
        assert_eq!(flow.take_ended(), Some(vec![]));
        assert_eq!(flow.take_ended(), None);
        assert_eq!(flow.deadline(), None);
    }

    #[test]
    fn a_link_that_comes_late_gives_the_others_time() {
        let now = Instant::now();
        let mut flow = flow();
        flow.down();
        flow.up(now, vec![]);
        assert!(!flow.is_open());
        assert_eq!(flow.wants_count(now), None);
        assert_eq!(flow.wants_count(flow.deadline().unwrap()), None);
        assert!(flow.is_open());
        flow.down();
        flow.up(now, vec![]);
        assert!(flow.is_open(), "an outage with nobody to wait for");
        assert_eq!(flow.take_ended(), Some(vec![]));
    }

    #[test]
    fn what_came_back_goes_first_and_waits_for_the_others() {
        let now = Instant::now();
        let settle = Duration::from_millis(500);
        let mut flow = Flow::new(1000, true, settle);
        flow.up(now, vec![]);
        flow.backlog.push(1, b"c", b"3");
        flow.give_back(b"c", b"1");
        flow.give_back(b"c", b"2");
        flow.heal(now, vec![1]);
        assert!(!flow.is_open());
        assert_eq!(flow.wants_count(now), None);
        assert_eq!(flow.wants_count(now + MOVE_SETTLE), Some(vec![1]));
        let order: Vec<_> =
            std::iter::from_fn(|| flow.backlog.pop()).map(|message| message.parts().1[0]).collect();
        assert_eq!(order, b"123");
        let mut small = Backlog::new(2 + BacklogMessage::OVERHEAD);
        small.push(1, b"c", b"1");
        small.give_back(b"c", b"2");
        assert_eq!((small.dropped(), small.len()), (1, 1));
    }

    #[test]
    fn peers_that_stay_away_are_given_up() {
        let now = Instant::now();
        let mut flow = flow();
        flow.up(now, vec![1]);
        assert!(flow.wants_count(now).is_some());
        assert_eq!(flow.deadline(), Some(now + HEAL_BOUND));
        assert_eq!(flow.wants_count(now + HEAL_BOUND), None);
        assert!(flow.is_open());
        assert_eq!(flow.take_ended(), Some(vec![1]), "whose peers are missing");
    }
}
