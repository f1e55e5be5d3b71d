//! Whether a node still is the master that it was taken for.
//!
//! A master that has become a replica goes on taking SPUBLISH: it hands the messages to the subscribers that it has,
//! which are none right after it has withdrawn all subscriptions, and to its new master, which has none yet. To the
//! publisher that looks like success with nobody there. So
//!
//! - a publish that has reached nobody is taken for answered only once the node has said, behind it, that it is a
//!   master; if it is none, the publish goes back;
//! - publishes go out only for [`LEASE`] after it was last known that the node was a master: later ones wait for the
//!   answer. It is known, too, as long as the node has not withdrawn the subscriptions that it was holding for us when
//!   it said so;
//! - a subscriber whose subscriptions a former master has withdrawn stays away from the shard for [`AWAY`]. So what is
//!   published at the former master after its end reaches nobody, and nothing that goes back has arrived somewhere;
//! - and what goes back waits for [`SETTLE`], until the subscribers are there again.
//!
//! A node that hangs and is replaced meanwhile runs what it was sent when it is back: its subscribers may have gone to its
//! successor long before, and what it hands on reaches them there. What has reached nobody then is lost in flight, and
//! counted as that. A node that holds back publishes for a failover by hand is told from one that hangs by a PING.
//!
//! What a node counts as the master of a slot is believed in the same way: only if it says behind it that it is one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::Lane;
use crate::transport::resp::{Items, Reply};

/// How long after it was known that a node was a master it is published to without asking.
pub(crate) const LEASE: Duration = Duration::from_millis(50);

/// How long subscribers stay away from a shard whose master has withdrawn their subscriptions: longer than a
/// [`LEASE`] and than a message takes from one node of a shard to another, and some for a machine that is busy.
pub(crate) const AWAY: Duration = Duration::from_millis(150);

/// How long what comes back waits: until the subscribers have stayed [`AWAY`] and subscribed again.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);

/// How long a node is not asked again, unless many bytes wait for its answer. A publish to nobody costs it no more
/// than a hundred questions a second then.
const PAUSE: Duration = Duration::from_millis(10);

/// What a node holds for a lane: the number of the lane, and that of the unbroken time for which it has held something.
pub(crate) type Tenure = (Lane, u64);

struct Question {
    at: Instant,
    /// What the node was holding for us then.
    tenure: Option<Tenure>,
    /// Somebody waits to hear the answer.
    told: bool,
}

/// What is known of a node, by one connection.
#[derive(Default)]
pub(super) struct Mastership {
    /// When it was last known that the node was a master.
    known_at: Option<Instant>,
    /// Questions that are on their way, oldest first.
    asked: VecDeque<Question>,
    /// When the last one was asked.
    last: Option<Instant>,
    /// What it was holding when it said that it was a master.
    tenure: Option<Tenure>,
    /// It has said that it is none.
    ended: bool,
    /// It does not say what it is. Then it is believed what it says of publishes.
    silent: bool,
}

impl Mastership {
    /// Returns whether the node may be published to without asking.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        self.silent || self.known_at.is_some_and(|at| now.saturating_duration_since(at) < LEASE)
    }

    /// Returns whether it is soon to be asked again, so that nothing has to wait.
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

    /// What it was holding when it said that it was a master.
    pub(super) fn tenure(&self) -> Option<Tenure> {
        self.tenure
    }

    /// Returns whether an answer is on its way.
    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns when it may be asked.
    pub(super) fn may_ask_at(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }

    /// Takes note that it is asked while it holds something, and whether somebody waits to hear the answer.
    pub(super) fn asks(&mut self, tenure: Option<Tenure>, told: bool, now: Instant) {
        self.asked.push_back(Question { at: now, tenure, told });
        self.last = Some(now);
    }

    /// Takes note of what it still holds. That it was holding it all the time means that it was a master all the time.
    pub(super) fn sees(&mut self, tenure: Option<Tenure>, now: Instant) {
        if self.tenure.is_some() && self.tenure == tenure && !self.ended {
            self.known_at = Some(now);
        } else {
            self.tenure = None;
        }
    }

    /// It may be a master no longer.
    pub(super) fn doubt(&mut self) {
        self.known_at = None;
        self.tenure = None;
    }

    /// Returns whether somebody waits to hear what it is.
    pub(super) fn is_told(&self) -> bool {
        self.asked.iter().any(|question| question.told)
    }

    /// It has answered. Returns whether somebody waits to hear it, and when it was asked.
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

/// What a node says that it is.
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
