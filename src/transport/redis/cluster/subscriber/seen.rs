//! Messages that two nodes send, but that are delivered once.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How long a message may need from one node of a shard to another. 40 ms were seen: the kernel may delay an
/// acknowledgement for that long.
pub(super) const LAG: Duration = Duration::from_millis(100);

/// How long a copy may need if its node was back just before. Half a second was seen.
pub(super) const COPY_LAG: Duration = Duration::from_secs(1);

/// How many different messages of both owners are remembered per half a [`LAG`] and handover. Copies of
/// others are delivered.
pub(super) const MAX_SEEN: usize = 65_536;

/// How much more often the former owner has sent each message recently than the new one.
pub(super) struct SeenMessages {
    pub(super) ahead: HashMap<u64, i32>,
    /// The same for the time before.
    pub(super) earlier: HashMap<u64, i32>,
    pub(super) since: Instant,
    /// How long a copy may need.
    pub(super) lag: Duration,
}

/// Copies that are expected of what a node has sent after it was back.
#[derive(Default)]
pub(super) struct Copies {
    /// When each of these messages was sent, oldest first.
    pub(super) of: HashMap<u64, VecDeque<Instant>>,
    pub(super) count: usize,
    /// When messages were last forgotten whose copies cannot come any more.
    pub(super) aged: Option<Instant>,
}

/// Who has sent a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Former,
    Owner,
}

impl SeenMessages {
    pub(super) fn new(now: Instant, lag: Duration) -> Self {
        Self { ahead: HashMap::new(), earlier: HashMap::new(), since: now, lag }
    }

    /// Returns whether to deliver a message: the other node has not sent it.
    pub(super) fn is_new(&mut self, hash: u64, by: Sender, now: Instant) -> bool {
        let new = !self.take(hash, by, now);
        if new {
            self.add(hash, by, now);
        }
        new
    }

    pub(super) fn add(&mut self, hash: u64, by: Sender, now: Instant) {
        self.age(now);
        if self.ahead.len() < MAX_SEEN || self.ahead.contains_key(&hash) {
            *self.ahead.entry(hash).or_default() += by.sign();
        }
    }

    /// Returns whether a message is a copy of one that the other node has sent. Then one copy less is
    /// expected.
    pub(super) fn take(&mut self, hash: u64, by: Sender, now: Instant) -> bool {
        self.age(now);
        if self.ahead.is_empty() && self.earlier.is_empty() {
            return false;
        }
        [&mut self.earlier, &mut self.ahead].into_iter().any(|ahead| {
            let Some(count) = ahead.get_mut(&hash).filter(|count| count.signum() == -by.sign()) else {
                return false;
            };
            *count += by.sign();
            if *count == 0 {
                ahead.remove(&hash);
            }
            true
        })
    }

    /// From now on a copy needs no longer than so long.
    pub(super) fn age_anew(&mut self, now: Instant, lag: Duration) {
        for (hash, count) in std::mem::take(&mut self.earlier) {
            *self.ahead.entry(hash).or_default() += count;
        }
        (self.since, self.lag) = (now, lag);
    }

    /// Forgets messages whose copies cannot come any more: after half the lag at the earliest, and after the
    /// whole lag at the latest.
    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < self.lag / 2 {
            return;
        }
        let ahead = std::mem::take(&mut self.ahead);
        self.earlier = if age < self.lag { ahead } else { HashMap::new() };
        self.since = now;
    }
}

impl Copies {
    /// Returns whether none is expected. Some that are may be too old.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Returns whether copies of a message are expected. They may be too old.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.of.contains_key(&hash)
    }

    pub(super) fn add(&mut self, hash: u64, now: Instant) {
        if now.saturating_duration_since(*self.aged.get_or_insert(now)) >= COPY_LAG {
            self.aged = Some(now);
            let Self { of, count, .. } = self;
            of.retain(|_, sent| {
                *count -= forget_old(sent, now);
                !sent.is_empty()
            });
        }
        if self.count < MAX_SEEN {
            self.of.entry(hash).or_default().push_back(now);
            self.count += 1;
        }
    }

    /// Returns whether a message is a copy. Then one copy less is expected.
    pub(super) fn take(&mut self, hash: u64, now: Instant) -> bool {
        let Some(sent) = self.of.get_mut(&hash) else {
            return false;
        };
        self.count -= forget_old(sent, now);
        let is_copy = sent.pop_front().is_some();
        self.count -= usize::from(is_copy);
        if sent.is_empty() {
            self.of.remove(&hash);
        }
        is_copy
    }

    /// The copies may come later.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.aged.iter_mut().chain(self.of.values_mut().flatten()).for_each(|at| *at += by);
    }

    /// Nothing was read for a while, so the copies may have come meanwhile.
    pub(super) fn renew(&mut self, now: Instant) {
        self.of.values_mut().flatten().for_each(|sent| *sent = now);
    }
}

/// Forgets messages whose copies cannot come any more. Returns how many there were.
fn forget_old(sent: &mut VecDeque<Instant>, now: Instant) -> usize {
    let old = sent.iter().take_while(|&&at| now.saturating_duration_since(at) >= COPY_LAG).count();
    sent.drain(..old);
    old
}

impl Sender {
    fn sign(self) -> i32 {
        match self {
            Self::Former => 1,
            Self::Owner => -1,
        }
    }
}
