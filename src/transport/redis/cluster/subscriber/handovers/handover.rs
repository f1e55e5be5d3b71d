//! Names that move from one former owner to one new owner, and what both send meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::seen::{COPY_LAG, Copies, LAG, SeenMessages, Sender};
use super::busy::{BusyCheck, NodeState, TICK};
use crate::transport::redis::cluster::subscriber::last::{
    ANSWER, LastMessages, MAX_HELD, MAX_HELD_BYTES, Whom, hash,
};
use crate::transport::redis::connect::Address;

/// How long the new owner has to confirm the names.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A message of a new owner that is held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldShardMessage {
    pub(super) hash: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Until when it waits for the answer of the former owner, since it may be a copy of one of that node's
    /// last messages.
    pub(super) waits: Option<Instant>,
}

pub(super) struct Handover {
    pub(super) former: Address,
    pub(super) owner: Address,
    pub(super) phase: Phase,
    /// When the phase ends.
    pub(super) until: Instant,
    /// The former owner's messages are delivered, and those of the new one held back.
    pub(super) leads: bool,
    /// Both may send the same messages.
    pub(super) doubles: bool,
    /// The former owner may hang.
    pub(super) doubted: bool,
    /// It was asked whether it is alive, and has not answered.
    pub(super) silent: bool,
    /// Whether the former and the new owner are busy.
    pub(super) checks: [BusyCheck; 2],
    /// For how long it may still wait for nodes that are busy.
    pub(super) may_wait: Duration,
    /// How long a node was busy by which nothing was put off yet.
    pub(super) busy_for: Duration,
    /// When the former owner had sent something last.
    pub(super) heard_at: Instant,
    /// It did not answer for longer than messages need between nodes.
    pub(super) hung: bool,
    /// Until when it is still read, at least.
    pub(super) stays: Instant,
    /// The new owner has sent something before the former one answered.
    pub(super) late: bool,
    pub(super) copies: Copies,
    pub(super) last: LastMessages,
    pub(super) names: BTreeSet<Arc<[u8]>>,
    /// The names that the new owner has not confirmed.
    pub(super) unconfirmed: BTreeSet<Arc<[u8]>>,
    pub(super) keys: RandomState,
    pub(super) seen: SeenMessages,
    pub(super) held: VecDeque<HeldShardMessage>,
    pub(super) held_bytes: usize,
}

/// How a former owner is related to the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Its replica: it receives what is published to the new one.
    Replica,
    /// A node of the same shard that may have left the cluster.
    Shard,
    /// It has left the cluster, and nobody knows whether it was of the same shard.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The new owner must not be asked yet.
    Waiting,
    /// The new owner was asked.
    Asked,
    /// It has confirmed all names.
    Confirmed,
    /// Its messages are delivered.
    Ending,
}

impl Handover {
    /// Whether it cannot end before the former owner has answered or is lost.
    pub(super) fn waits(&self) -> bool {
        self.silent && matches!(self.phase, Phase::Confirmed | Phase::Ending)
    }

    pub(super) fn hash(&self, name: &[u8], payload: &[u8]) -> u64 {
        hash(&self.keys, name, payload)
    }

    /// The former owner has answered, and goes on where it was stopped.
    pub(super) fn answered(&mut self, now: Instant) {
        self.silent = false;
        // What it has forwarded to the new owner is on its way.
        self.stays = now + if self.hung || self.late { PATIENCE } else { LAG };
        if self.hung {
            // It writes to its disk before it writes to its subscribers, and may have forwarded the messages
            // before.
            self.seen.lag = COPY_LAG;
        }
        self.last.is_back();
    }

    pub(super) fn node(&self, whom: Whom) -> &Address {
        if whom == Whom::Former { &self.former } else { &self.owner }
    }

    /// Puts everything off by what has `passed`, if a node is busy. Returns the nodes that have to be asked
    /// whether they are.
    pub(super) fn look_at_nodes(
        &mut self,
        passed: Duration,
        now: Instant,
        is_asked: impl Fn(&Address) -> bool,
    ) -> Vec<Address> {
        let mut asks = Vec::new();
        let mut busy = false;
        // The last messages have questions of their own.
        let may_ask = !self.silent && self.last.is_empty();
        for (check, (whom, node)) in
            self.checks.iter_mut().zip([(Whom::Former, &self.former), (Whom::New, &self.owner)])
        {
            match check.look(is_asked(node), now) {
                // One that may hang is waited for in another way.
                NodeState::Busy => busy |= !self.silent || whom == Whom::New,
                NodeState::Due if may_ask => {
                    check.ask(now);
                    asks.push(node.clone());
                }
                _ => {}
            }
        }
        if busy {
            let by = passed.min(self.may_wait);
            self.may_wait -= by;
            self.busy_for += by;
        }
        // That goes through all that is remembered.
        if self.busy_for >= TICK || (!busy && !self.busy_for.is_zero()) {
            let by = std::mem::take(&mut self.busy_for);
            self.put_off(by);
        }
        asks
    }

    /// Everything happens later.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.until += by;
        self.heard_at += by;
        self.stays += by;
        self.seen.since += by;
        self.copies.put_off(by);
        self.held.iter_mut().filter_map(|held| held.waits.as_mut()).for_each(|until| *until += by);
    }

    pub(super) fn hear_owner(
        &mut self,
        name: &[u8],
        payload: &[u8],
        ready: &mut Vec<HeldShardMessage>,
        now: Instant,
    ) -> bool {
        let hash = self.hash(name, payload);
        if !self.leads && !self.doubted {
            return !self.copies.take(hash, now) && self.seen.is_new(hash, Sender::Owner, now);
        }
        if (self.doubles && self.seen.take(hash, Sender::Owner, now)) || self.copies.take(hash, now) {
            return false;
        }
        let may_be_copy = self.last.take(hash, self.silent);
        if may_be_copy && !self.silent {
            return false;
        }
        let waits = may_be_copy.then_some(now + ANSWER);
        self.held_bytes += name.len() + payload.len();
        self.held.push_back(HeldShardMessage { hash, name: name.to_vec(), payload: payload.to_vec(), waits });
        if self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
            self.give_over(ready, now);
        }
        false
    }

    pub(super) fn hear_former(&mut self, name: &[u8], payload: &[u8], now: Instant) -> bool {
        let hash = self.hash(name, payload);
        let remembers = self.late || self.hung;
        if !self.doubles && !remembers {
            return true;
        }
        if let Some(place) = self.held.iter().position(|held| held.hash == hash) {
            if let Some(held) = self.held.remove(place) {
                self.held_bytes -= held.name.len() + held.payload.len();
            }
            return !self.late;
        }
        if !remembers {
            return self.seen.is_new(hash, Sender::Former, now);
        }
        if self.seen.take(hash, Sender::Former, now) {
            return false;
        }
        self.copies.add(hash, now);
        !self.late
    }

    /// The former owner's messages are not the only ones any more: those of the new one are delivered, too.
    pub(super) fn give_over(&mut self, ready: &mut Vec<HeldShardMessage>, now: Instant) {
        self.leads = false;
        self.give(self.held.len(), ready, now);
    }

    /// Delivers the first messages that are held back.
    pub(super) fn give(&mut self, count: usize, ready: &mut Vec<HeldShardMessage>, now: Instant) {
        for held in self.held.drain(..count) {
            self.held_bytes -= held.name.len() + held.payload.len();
            if held.waits.is_some() {
                if !self.silent {
                    continue;
                }
                self.last.is_repeated(held.hash);
            }
            // The former owner may still send it.
            self.seen.add(held.hash, Sender::Owner, now);
            if self.names.contains(held.name.as_slice()) {
                ready.push(held);
            }
        }
    }

    pub(super) fn confirmed(&mut self, name: &[u8], now: Instant) {
        if self.unconfirmed.remove(name) && self.unconfirmed.is_empty() && self.phase == Phase::Asked {
            self.phase = Phase::Confirmed;
            self.until = now + LAG;
        }
    }
}
