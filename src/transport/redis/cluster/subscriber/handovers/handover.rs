//! Names on their way from one former owner to one new owner, and what the two of them send meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::seen::{COPY_LAG, Copies, LAG, Seen, Sender};
use crate::transport::redis::cluster::subscriber::last::{
    ANSWER, LastMessages, MAX_HELD, MAX_HELD_BYTES, hash,
};
use crate::transport::redis::connect::Address;

/// How long the new owner has to confirm the names.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A message of a new owner that was held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldShardMessage {
    pub(super) hash: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Until when it waits for the answer of the former owner, since it may be a copy of what that has sent last.
    pub(super) waits: Option<Instant>,
}

pub(super) struct Handover {
    pub(super) former: Address,
    pub(super) owner: Address,
    pub(super) phase: Phase,
    /// When the phase ends.
    pub(super) until: Instant,
    /// The former owner is the one that delivers.
    pub(super) leads: bool,
    /// Both may send the same.
    pub(super) doubles: bool,
    /// The former owner may hang.
    pub(super) doubted: bool,
    /// It was asked whether it is alive, and has not answered.
    pub(super) silent: bool,
    /// When the former owner had sent something last.
    pub(super) heard_at: Instant,
    /// It had not answered for longer than messages take.
    pub(super) hung: bool,
    /// Until when it is listened to at least.
    pub(super) stays: Instant,
    /// The new owner has sent something before that was answered.
    pub(super) late: bool,
    pub(super) copies: Copies,
    pub(super) last: LastMessages,
    pub(super) names: BTreeSet<Arc<[u8]>>,
    /// Those that the new owner has not confirmed.
    pub(super) unconfirmed: BTreeSet<Arc<[u8]>>,
    pub(super) keys: RandomState,
    pub(super) seen: Seen,
    pub(super) held: VecDeque<HeldShardMessage>,
    pub(super) held_bytes: usize,
}

/// What a former owner is to the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Its replica: it hears of what the new one is published to.
    Replica,
    /// A node of its shard, that may not be part of the cluster any more.
    Shard,
    /// Not part of the cluster any more, and whether it was of that shard is not known.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The new owner is not to be asked yet.
    Waiting,
    /// The new owner is asked.
    Asked,
    /// It has confirmed all.
    Confirmed,
    /// It delivers.
    Ending,
}

impl Handover {
    /// Whether it ends only when the former owner has answered, or is lost.
    pub(super) fn waits(&self) -> bool {
        self.silent && matches!(self.phase, Phase::Confirmed | Phase::Ending)
    }

    pub(super) fn hash(&self, name: &[u8], payload: &[u8]) -> u64 {
        hash(&self.keys, name, payload)
    }

    /// The former owner has answered, and goes on where it stood.
    pub(super) fn answered(&mut self, now: Instant) {
        self.silent = false;
        // What it has handed to the new owner is on its way.
        self.stays = now + if self.hung || self.late { PATIENCE } else { LAG };
        if self.hung {
            // It writes to its disk before it writes to its subscribers, and may have handed on by then what those get.
            self.seen.lag = COPY_LAG;
        }
        self.last.is_back();
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
            return self.seen.is_new(hash, Sender::Owner, now);
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

    /// The former owner delivers no longer alone: what the new one has sent is to be delivered.
    pub(super) fn give_over(&mut self, ready: &mut Vec<HeldShardMessage>, now: Instant) {
        self.leads = false;
        self.give(self.held.len(), ready, now);
    }

    /// The first of what is held back is to be delivered.
    pub(super) fn give(&mut self, count: usize, ready: &mut Vec<HeldShardMessage>, now: Instant) {
        for held in self.held.drain(..count) {
            self.held_bytes -= held.name.len() + held.payload.len();
            if held.waits.is_some() {
                if !self.silent {
                    continue;
                }
                self.last.is_repeated(held.hash);
            }
            // The former one may send it yet.
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
