//! When publishes go out, and what waits meanwhile.
//!
//! They wait while the link is down, while it is not proven to reach the Redis of the user's clients, and after
//! an outage until the peers that were there before have subscribed again: what is published earlier is lost to
//! them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the end of an outage waits for the peers. The clients of the reference wait up to 2.2 s between two
/// attempts to reconnect; this covers one that just missed, and leaves a request of the default timeout (5 s) some
/// time to be answered.
pub const HEAL_BOUND: Duration = Duration::from_secs(4);

/// How long a link waits whose first attempts to connect have failed: nobody knows how many peers have tried as
/// long, but all of them try again within that time.
pub const LATE_BOUND: Duration = Duration::from_millis(2500);

/// How long publishes wait at least when subscriptions have to be made elsewhere and Redis stands: the others are told
/// as this node is, and follow within milliseconds.
const MOVE_SETTLE: Duration = Duration::from_millis(100);

/// How often the peers are counted meanwhile.
const HEAL_STEP: Duration = Duration::from_millis(25);

/// How many counts in a row must find all peers: a client may send its subscriptions in several writes.
const HEAL_COUNTS: u8 = 2;

/// A message that waits: its channel and its payload.
pub type Message = (Box<[u8]>, Box<[u8]>);

/// The messages that wait, oldest first, within a bound of bytes: at the bound the oldest give way.
#[derive(Debug)]
pub struct Backlog {
    messages: VecDeque<Message>,
    /// What was published already and came back: it goes before the others.
    returned: VecDeque<Message>,
    bytes: usize,
    bound: usize,
    dropped: u64,
}

impl Backlog {
    fn new(bound: usize) -> Self {
        Backlog { messages: VecDeque::new(), returned: VecDeque::new(), bytes: 0, bound, dropped: 0 }
    }

    /// Adds a message, dropping the oldest ones for it.
    pub fn push(&mut self, channel: &[u8], payload: &[u8]) {
        self.bytes += channel.len() + payload.len();
        self.messages.push_back((channel.into(), payload.into()));
        self.give_way();
    }

    /// Adds a message that has been published before all others that are here but those which came back too.
    pub fn give_back(&mut self, channel: &[u8], payload: &[u8]) {
        self.bytes += channel.len() + payload.len();
        self.returned.push_back((channel.into(), payload.into()));
        self.give_way();
    }

    fn give_way(&mut self) {
        while self.bytes > self.bound && self.pop().is_some() {
            self.dropped += 1;
        }
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Message> {
        let (channel, payload) = self.returned.pop_front().or_else(|| self.messages.pop_front())?;
        self.bytes -= channel.len() + payload.len();
        if self.messages.is_empty() {
            self.messages.shrink_to(64);
        }
        Some((channel, payload))
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.dropped += self.len() as u64;
        self.messages = VecDeque::new();
        self.returned = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.returned.is_empty()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.messages.len() + self.returned.len()
    }

    /// How many were dropped, ever.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether publishes may go out.
#[derive(Debug)]
pub struct Flow {
    up: bool,
    proven: bool,
    healing: Option<Healing>,
    /// The link has not been up yet, and not for want of trying.
    late: bool,
    was_up: bool,
    settle: Duration,
    /// What waits.
    pub backlog: Backlog,
}

#[derive(Debug)]
struct Healing {
    until: Instant,
    next: Instant,
    found: u8,
    counting: bool,
}

impl Flow {
    /// A flow that is down; `bound` is the backlog's, in bytes.
    pub fn new(bound: usize, proven: bool, settle: Duration) -> Self {
        let backlog = Backlog::new(bound);
        Flow { up: false, proven, healing: None, late: false, was_up: false, settle, backlog }
    }

    /// Whether publishes may go out at once, apart from what waits.
    pub fn is_open(&self) -> bool {
        self.up && self.proven && self.healing.is_none()
    }

    /// The link is connected; `peers_before` says whether there were other members before.
    pub fn up(&mut self, now: Instant, peers_before: bool) {
        self.up = true;
        let late = std::mem::take(&mut self.late);
        self.was_up = true;
        self.healing = match (peers_before, late) {
            (true, _) => {
                Some(Healing { until: now + HEAL_BOUND, next: now + self.settle, found: 0, counting: false })
            }
            // Nothing to count for: the time has to pass.
            (false, true) => Some(Healing { until: now + LATE_BOUND, next: now, found: 0, counting: true }),
            (false, false) => None,
        };
    }

    /// A publish has come back, since its slot has moved: it waits until the others have followed. Returns how many
    /// have given way to it.
    pub fn give_back(&mut self, now: Instant, channel: &[u8], payload: &[u8]) -> u64 {
        let dropped = self.backlog.dropped();
        self.backlog.give_back(channel, payload);
        self.heal(now);
        self.backlog.dropped() - dropped
    }

    /// Subscriptions of this node are lost, though the link stands. So may be those of the others: publishes wait until
    /// they are back.
    pub fn heal(&mut self, now: Instant) {
        if self.up && self.healing.is_none() {
            let next = now + self.settle.min(MOVE_SETTLE);
            self.healing = Some(Healing { until: now + HEAL_BOUND, next, found: 0, counting: false });
        }
    }

    /// The link is lost.
    pub fn down(&mut self) {
        self.late |= !self.was_up;
        self.up = false;
        self.healing = None;
    }

    /// Another transport begins; what waits goes on waiting.
    pub fn reset(&mut self, proven: bool) {
        self.up = false;
        self.healing = None;
        self.proven = proven;
    }

    /// Whether the link stands, proven or not.
    pub fn is_connected(&self) -> bool {
        self.up
    }

    /// Says whether the link is known to reach the Redis of the user's clients.
    pub fn set_proven(&mut self, proven: bool) {
        self.proven = proven;
    }

    /// Whether it is known.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether the peers are to be counted now. To be answered by [`Flow::counted`].
    pub fn wants_count(&mut self, now: Instant) -> bool {
        let Some(healing) = &mut self.healing else {
            return false;
        };
        if now >= healing.until {
            self.healing = None;
            return false;
        }
        let wanted = !healing.counting && now >= healing.next;
        healing.counting |= wanted;
        wanted
    }

    /// The answer: whether all peers were found.
    pub fn counted(&mut self, all_found: bool, now: Instant) {
        let Some(healing) = &mut self.healing else {
            return;
        };
        healing.counting = false;
        healing.next = now + HEAL_STEP;
        healing.found = if all_found { healing.found + 1 } else { 0 };
        if healing.found >= HEAL_COUNTS {
            self.healing = None;
        }
    }

    /// When [`Flow::wants_count`] is to be asked again.
    pub fn deadline(&self) -> Option<Instant> {
        self.healing
            .as_ref()
            .map(|healing| if healing.counting { healing.until } else { healing.next.min(healing.until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_at_the_bound() {
        let mut backlog = Backlog::new(10);
        backlog.push(b"c", b"123");
        backlog.push(b"c", b"456");
        backlog.push(b"c", b"789");
        assert_eq!(backlog.dropped(), 1);
        assert_eq!(backlog.pop(), Some((b"c"[..].into(), b"456"[..].into())));
        backlog.push(b"c", b"longer than the bound");
        assert!(backlog.is_empty());
        assert_eq!(backlog.dropped(), 3);
    }

    #[test]
    fn an_unproven_link_holds_back() {
        let mut flow = Flow::new(10, false, Duration::ZERO);
        flow.up(Instant::now(), false);
        assert!(!flow.is_open());
        flow.set_proven(true);
        assert!(flow.is_open());
        flow.down();
        assert!(!flow.is_open());
    }

    #[test]
    fn after_an_outage_the_peers_are_awaited() {
        let now = Instant::now();
        let mut flow = Flow::new(10, true, Duration::ZERO);
        flow.up(now, true);
        assert!(!flow.is_open());
        assert!(flow.wants_count(now));
        assert!(!flow.wants_count(now), "one count at a time");
        flow.counted(false, now);
        assert_eq!(flow.deadline(), Some(now + HEAL_STEP));
        for step in 1..3 {
            let later = now + HEAL_STEP * step;
            assert!(flow.wants_count(later));
            flow.counted(true, later);
        }
        assert!(flow.is_open());
        assert_eq!(flow.deadline(), None);
    }

    #[test]
    fn a_link_that_comes_late_gives_the_others_time() {
        let now = Instant::now();
        let mut flow = Flow::new(10, true, Duration::ZERO);
        flow.down();
        flow.up(now, false);
        assert!(!flow.is_open());
        assert!(!flow.wants_count(now));
        assert!(!flow.wants_count(flow.deadline().unwrap()));
        assert!(flow.is_open());
        flow.down();
        flow.up(now, false);
        assert!(flow.is_open(), "an outage with nobody to wait for");
    }

    #[test]
    fn what_came_back_goes_first_and_waits_for_the_others() {
        let now = Instant::now();
        let settle = Duration::from_millis(500);
        let mut flow = Flow::new(100, true, settle);
        flow.up(now, false);
        flow.backlog.push(b"c", b"3");
        flow.give_back(now, b"c", b"1");
        flow.give_back(now, b"c", b"2");
        assert!(!flow.is_open());
        assert!(!flow.wants_count(now));
        assert!(flow.wants_count(now + MOVE_SETTLE));
        let order: Vec<_> =
            std::iter::from_fn(|| flow.backlog.pop()).map(|(_, payload)| payload[0]).collect();
        assert_eq!(order, b"123");
        let mut small = Backlog::new(2);
        small.push(b"c", b"1");
        small.give_back(b"c", b"2");
        assert_eq!((small.dropped(), small.len()), (1, 1));
    }

    #[test]
    fn peers_that_stay_away_are_given_up() {
        let now = Instant::now();
        let mut flow = Flow::new(10, true, Duration::ZERO);
        flow.up(now, true);
        assert!(flow.wants_count(now));
        assert_eq!(flow.deadline(), Some(now + HEAL_BOUND));
        assert!(!flow.wants_count(now + HEAL_BOUND));
        assert!(flow.is_open());
    }
}
