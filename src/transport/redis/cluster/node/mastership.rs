//! Whether a node is still a master.
//!
//! A master that has become a replica still accepts SPUBLISH. It delivers to its own subscribers, of which it
//! has none after it has withdrawn all subscriptions, and to its new master, which has none yet. To the
//! publisher that looks like success without subscribers. Therefore:
//!
//! - If a publish has reached nobody, the node is asked afterwards what it is. Only if it is a master does
//!   the publish count as answered; otherwise the publish goes back.
//! - Publishes go out without a question only for [`LEASE`] after the node was last known to be a master.
//!   Later ones wait for the answer. The node is also known to be a master as long as it has not withdrawn
//!   the subscriptions that it held for us when it said so.
//! - After a former master has withdrawn its subscriptions, a subscriber stays away from the shard for
//!   [`AWAY`]. So what is published at the former master reaches nobody, and no publish that goes back has
//!   been delivered.
//! - Publishes that go back wait for [`SETTLE`], until the subscribers are there again.
//!
//! A node that hangs and is replaced runs the commands that it was sent as soon as it is back. Its
//! subscribers may have gone to its successor long before, and what the node forwards reaches them there. So
//! a publish that has reached nobody then counts as lost in flight. A PING distinguishes a node that hangs
//! from one that holds back publishes during a manual failover.
//!
//! The same holds for counts: what a node counts as the master of a slot is only used if it says afterwards
//! that it is a master.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::Subscriber;
use crate::transport::resp::{Items, Reply};

/// How long publishes go to a node without a question after it was known to be a master.
pub(crate) const LEASE: Duration = Duration::from_millis(50);

/// How long subscribers stay away from a shard whose master has withdrawn their subscriptions. This is longer
/// than a [`LEASE`] and than a message needs between nodes of a shard, with some time for a busy machine.
pub(crate) const AWAY: Duration = Duration::from_millis(150);

/// How long returned publishes wait: until the subscribers have stayed away for [`AWAY`], and have subscribed
/// again.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);

/// How long a node is not asked again, unless many bytes wait for its answer. So publishes without
/// subscribers cost the node a hundred questions a second at most.
const PAUSE: Duration = Duration::from_millis(10);

/// What a node holds for a subscriber: the subscriber's number, and the number of the unbroken time in which
/// the node has held something for it.
pub(crate) type Tenure = (Subscriber, u64);

struct Question {
    at: Instant,
    /// What the node held for us when it was asked.
    tenure: Option<Tenure>,
    /// Somebody waits for the answer.
    told: bool,
}

/// What is known about a node, on one connection.
#[derive(Default)]
pub(super) struct Mastership {
    /// When the node was last known to be a master.
    known_at: Option<Instant>,
    /// Questions that are not answered, oldest first.
    asked: VecDeque<Question>,
    /// When the last question was asked.
    last: Option<Instant>,
    /// What it held when it said that it was a master.
    tenure: Option<Tenure>,
    /// It has said that it is no master.
    ended: bool,
    /// It does not say what it is. Then its replies to publishes are believed.
    silent: bool,
}

impl Mastership {
    /// Returns whether publishes may go there without a question.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        self.silent || self.known_at.is_some_and(|at| now.saturating_duration_since(at) < LEASE)
    }

    /// Returns whether to ask again soon, so that no publish has to wait.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.silent && self.known_at.is_none_or(|at| now.saturating_duration_since(at) >= LEASE / 2)
    }

    /// Returns whether it has said that it is no master.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether it does not say what it is.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Returns what it held when it said that it was a master.
    pub(super) fn tenure(&self) -> Option<Tenure> {
        self.tenure
    }

    /// Returns whether a question is not answered yet.
    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns when it may be asked again.
    pub(super) fn may_ask_at(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }

    /// It is asked what it is, while it holds `tenure` for us. `told` means that somebody waits for the
    /// answer.
    pub(super) fn asks(&mut self, tenure: Option<Tenure>, told: bool, now: Instant) {
        self.asked.push_back(Question { at: now, tenure, told });
        self.last = Some(now);
    }

    /// It still holds `tenure` for us. If it has held the same all the time, it was a master all the time.
    pub(super) fn sees(&mut self, tenure: Option<Tenure>, now: Instant) {
        if self.tenure.is_some() && self.tenure == tenure && !self.ended {
            self.known_at = Some(now);
        } else {
            self.tenure = None;
        }
    }

    /// It may not be a master any more.
    pub(super) fn doubt(&mut self) {
        self.known_at = None;
        self.tenure = None;
    }

    /// Returns whether somebody waits for an answer.
    pub(super) fn is_told(&self) -> bool {
        self.asked.iter().any(|question| question.told)
    }

    /// It has answered. Returns whether somebody waits for the answer, and when it was asked.
    pub(super) fn answered(&mut self, role: NodeRole) -> Option<(bool, Instant)> {
        let question = self.asked.pop_front()?;
        self.ended = role == NodeRole::Replica;
        match role {
            NodeRole::Master => {
                self.known_at = self.known_at.max(Some(question.at));
                self.tenure = question.tenure;
            }
            NodeRole::Replica => self.doubt(),
            NodeRole::Unknown => self.silent = true,
        }
        Some((question.told, question.at))
    }
}

/// What a node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeRole {
    Master,
    Replica,
    /// It does not say.
    Unknown,
}

impl NodeRole {
    /// Reads the reply to HELLO.
    pub(super) fn of(mut hello: Items<'_>) -> Self {
        while let Some(name) = hello.next() {
            let value = hello.next();
            if name == Reply::Bulk(b"role") {
                return match value {
                    Some(Reply::Bulk(b"master")) => Self::Master,
                    Some(Reply::Bulk(b"replica" | b"slave")) => Self::Replica,
                    _ => Self::Unknown,
                };
            }
        }
        Self::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENURE: Option<Tenure> = Some((0, 1));

    #[test]
    fn a_master_is_known_for_a_while_after_it_was_asked_and_as_long_as_it_holds_something() {
        let now = Instant::now();
        let mut mastership = Mastership::default();
        assert!(!mastership.is_known(now));
        mastership.asks(TENURE, false, now);
        mastership.answered(NodeRole::Master);
        assert!(mastership.is_known(now + LEASE / 2));
        assert!(!mastership.is_known(now + LEASE), "counted from when it was asked");
        mastership.sees(TENURE, now + LEASE);
        assert!(mastership.is_known(now + LEASE));
        mastership.sees(Some((0, 2)), now + 2 * LEASE);
        assert!(!mastership.is_known(now + 2 * LEASE), "it has lost it in between");
        mastership.sees(TENURE, now + 2 * LEASE);
        assert!(!mastership.is_known(now + 2 * LEASE), "what is lost is lost");
    }

    #[test]
    fn one_that_is_none_is_not_published_to_until_it_says_otherwise() {
        let now = Instant::now();
        let mut mastership = Mastership::default();
        mastership.asks(TENURE, false, now);
        mastership.answered(NodeRole::Master);
        mastership.asks(TENURE, false, now);
        mastership.answered(NodeRole::Replica);
        mastership.sees(TENURE, now);
        assert!(mastership.has_ended() && !mastership.is_known(now));
        mastership.asks(TENURE, false, now);
        mastership.answered(NodeRole::Unknown);
        assert!(mastership.is_known(now) && !mastership.has_ended(), "there is nothing to go by");
    }

    #[test]
    fn reads_what_redis_says() {
        let role = |reply: &[u8]| match Reply::of(reply) {
            Ok(Reply::Array(items)) => NodeRole::of(items),
            _ => panic!("no array"),
        };
        let hello =
            b"*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
        assert_eq!(role(hello), NodeRole::Master);
        assert_eq!(role(b"*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n"), NodeRole::Replica);
        assert_eq!(role(b"*2\r\n$4\r\nrole\r\n:1\r\n"), NodeRole::Unknown);
        assert_eq!(role(b"*1\r\n$4\r\nrole\r\n"), NodeRole::Unknown);
        assert_eq!(role(b"*0\r\n"), NodeRole::Unknown);
    }
}
