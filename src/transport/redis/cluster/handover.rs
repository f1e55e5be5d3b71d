//! Names that go from a master to the replica that takes over from it, without a loss, a double or another order.
//!
//! Both nodes send all messages of their shard, and each lags behind the other with what the other was published to:
//! the bus of the cluster lets small messages wait for acknowledgements. So the former owner is listened to until all
//! that it has and the new one has not is here, and the new one is heard from there on:
//!
//! 1. The former one delivers, the new one is not asked: it might send again what the former one has sent before.
//! 2. The new one is subscribed to. What it sends is held back.
//! 3. All names are confirmed. The former one delivers on, since what was published before may come late.
//! 4. The former one is let go. What was held back is delivered, and all that the new one sends, but for what the
//!    former one has delivered.
//!
//! Of messages that are the same to the byte, at this time, one may be taken for a copy of another.
//!
//! A slot that moves to another shard needs none of it: there each message is sent by one of the two nodes.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::super::settings::Address;
use super::super::{Incoming, Lane, Subscription, SubscriptionKind};

/// How long a message may take from one node of a shard to another: 40 ms have been seen, which is how long the
/// kernel may delay an acknowledgement.
const LAG: Duration = Duration::from_millis(100);

/// How long the new owner has to confirm all names. Those that it has not confirmed then move as they would to
/// another shard: the former one holds them until the new one does.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many different messages of the former owner are remembered, per lane and handover; of more, copies are
/// handed on.
const MAX_SEEN: usize = 65_536;

/// How many bytes of the new owner are held back; with more, the former one is let go at once.
const MAX_HELD: usize = 4 << 20;

/// The handovers of a lane; hardly ever is there one.
#[derive(Default)]
pub(super) struct Handovers {
    all: Vec<Handover>,
    /// Nothing is read, so that time proves nothing.
    paused: bool,
}

struct Handover {
    former: Address,
    owner: Address,
    names: BTreeSet<Vec<u8>>,
    /// Those that the new owner has not confirmed.
    unconfirmed: BTreeSet<Vec<u8>>,
    phase: Phase,
    until: Instant,
    /// How often the former owner has delivered a message, by the hash of its name and payload.
    seen: HashMap<u64, u32>,
    /// The same of what it has delivered earlier. What is older still has no copies on their way.
    seen_before: HashMap<u64, u32>,
    seen_since: Instant,
    keys: RandomState,
    held: Vec<Held>,
    held_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Asked,
    Confirmed,
    Over,
}

/// A message that the new owner has sent while the former one was listened to.
struct Held {
    name: Vec<u8>,
    channel: Vec<u8>,
    payload: Vec<u8>,
}

/// What a handover wants to be done.
#[derive(Default)]
pub(super) struct Wanted {
    /// To be subscribed to at their owners.
    pub(super) ask: Vec<Subscription>,
    /// To be let go of by their former owners.
    pub(super) let_go: Vec<Subscription>,
    /// Whether messages were delivered.
    pub(super) reported: bool,
}

impl Handovers {
    /// Returns whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Begins one.
    pub(super) fn begin(&mut self, former: &Address, owner: &Address, names: &[Subscription], now: Instant) {
        let names: BTreeSet<_> = names.iter().map(|name| name.name.clone()).collect();
        self.all.push(Handover {
            former: former.clone(),
            owner: owner.clone(),
            unconfirmed: names.clone(),
            names,
            phase: Phase::Waiting,
            until: now + LAG,
            seen: HashMap::new(),
            seen_before: HashMap::new(),
            seen_since: now,
            keys: RandomState::new(),
            held: Vec::new(),
            held_bytes: 0,
        });
    }

    /// Returns whether a node is about to hand over a name.
    pub(super) fn is_leaving(&self, former: &Address, name: &Subscription) -> bool {
        let here = |one: &Handover| one.is_underway() && one.former == *former;
        self.all.iter().any(|one| here(one) && one.names.contains(&name.name))
    }

    /// Returns whether the new owner of a name is not to be asked yet.
    pub(super) fn is_waiting(&self, name: &Subscription) -> bool {
        self.all.iter().any(|one| one.phase == Phase::Waiting && one.names.contains(&name.name))
    }

    /// Returns when [`Handovers::turn`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|one| one.until).min().filter(|_| !self.paused)
    }

    /// Takes note of what a node says; returns whether it is to be handed on.
    pub(super) fn hear(&mut self, from: &Address, incoming: &Incoming<'_>, now: Instant) -> bool {
        for one in &mut self.all {
            match incoming {
                Incoming::Message { name, channel, payload, .. } if one.names.contains(*name) => {
                    if one.former == *from {
                        one.count(name, payload, now);
                        return true;
                    }
                    if one.owner == *from {
                        return one.is_new(name, channel, payload, now);
                    }
                }
                Incoming::Subscribed { name, .. } if one.owner == *from => one.confirmed(name, now),
                // It goes on from here, and what it has missed is with the new owner, in order.
                Incoming::Unsubscribed { name, .. }
                    if one.former == *from && one.names.contains(*name) && one.is_asked() =>
                {
                    one.until = now;
                }
                _ => {}
            }
        }
        true
    }

    /// Puts all off while nothing is read.
    pub(super) fn pause(&mut self, paused: bool, now: Instant) {
        if self.paused && !paused {
            self.all.iter_mut().for_each(|one| one.until = one.until.max(now + LAG));
        }
        self.paused = paused;
    }

    /// Does what is due.
    pub(super) fn turn(&mut self, lane: Lane, now: Instant, sink: &mut dyn FnMut(Incoming<'_>)) -> Wanted {
        let mut wanted = Wanted::default();
        if self.paused {
            return wanted;
        }
        self.all.retain_mut(|one| {
            if now < one.until {
                return true;
            }
            match one.phase {
                Phase::Waiting => {
                    one.phase = Phase::Asked;
                    one.until = now + PATIENCE;
                    wanted.ask.extend(one.names.iter().cloned().map(Subscription::shard));
                }
                Phase::Asked | Phase::Confirmed => one.finish(lane, now, sink, &mut wanted),
                Phase::Over => return false,
            }
            true
        });
        wanted
    }

    /// Takes note of lost nodes.
    pub(super) fn lose(&mut self, lost: &[Address], now: Instant) {
        for one in &mut self.all {
            if lost.contains(&one.former) {
                if one.phase == Phase::Waiting {
                    one.phase = Phase::Over;
                    one.until = now + LAG;
                } else if one.is_asked() {
                    one.until = now;
                }
            } else if lost.contains(&one.owner) && one.is_asked() {
                // The former one has it all.
                one.held.clear();
                one.held_bytes = 0;
                one.unconfirmed = one.names.clone();
                one.phase = Phase::Asked;
                one.until = now + PATIENCE;
            }
        }
    }

    /// Ends those whose names are to go elsewhere by now.
    pub(super) fn end_if(&mut self, elsewhere: impl Fn(&[u8], &Address) -> bool, now: Instant) {
        self.all.retain_mut(|one| {
            if !one.is_underway() || !one.names.iter().any(|name| elsewhere(name, &one.owner)) {
                return true;
            }
            one.until = now;
            one.phase != Phase::Waiting
        });
    }

    /// Forgets names.
    pub(super) fn forget<'a>(&mut self, names: impl Iterator<Item = &'a Subscription>) {
        for Subscription { name, .. } in names {
            for one in &mut self.all {
                one.names.remove(name);
                one.unconfirmed.remove(name);
            }
        }
    }

    /// Ends all at once; returns the names whose new owners were not asked.
    pub(super) fn clear(&mut self) -> Vec<Subscription> {
        let waiting = self.all.drain(..).filter(|one| one.phase == Phase::Waiting);
        waiting.flat_map(|one| one.names).map(Subscription::shard).collect()
    }
}

impl Handover {
    fn is_asked(&self) -> bool {
        matches!(self.phase, Phase::Asked | Phase::Confirmed)
    }

    fn is_underway(&self) -> bool {
        self.phase != Phase::Over
    }

    fn confirmed(&mut self, name: &[u8], now: Instant) {
        self.unconfirmed.remove(name);
        if self.phase == Phase::Asked && self.unconfirmed.is_empty() {
            self.phase = Phase::Confirmed;
            self.until = now + LAG;
        }
    }

    fn hash(&self, name: &[u8], payload: &[u8]) -> u64 {
        let mut hasher = self.keys.build_hasher();
        (name, payload).hash(&mut hasher);
        hasher.finish()
    }

    /// The former owner has delivered a message.
    fn count(&mut self, name: &[u8], payload: &[u8], now: Instant) {
        if matches!(self.phase, Phase::Waiting | Phase::Asked) && now - self.seen_since >= LAG {
            self.seen_before = std::mem::take(&mut self.seen);
            self.seen_since = now;
        }
        let hash = self.hash(name, payload);
        if self.seen.len() < MAX_SEEN || self.seen.contains_key(&hash) {
            *self.seen.entry(hash).or_default() += 1;
        }
    }

    /// The new owner has sent a message: returns whether it is to be handed on.
    fn is_new(&mut self, name: &[u8], channel: &[u8], payload: &[u8], now: Instant) -> bool {
        if !self.is_asked() {
            return !self.is_copy(name, payload);
        }
        self.held_bytes += name.len() + channel.len() + payload.len();
        self.held.push(Held { name: name.into(), channel: channel.into(), payload: payload.into() });
        if self.held_bytes > MAX_HELD {
            self.until = now;
        }
        false
    }

    fn is_copy(&mut self, name: &[u8], payload: &[u8]) -> bool {
        let hash = self.hash(name, payload);
        [&mut self.seen_before, &mut self.seen].into_iter().any(|seen| {
            let Some(count) = seen.get_mut(&hash) else {
                return false;
            };
            *count -= 1;
            if *count == 0 {
                seen.remove(&hash);
            }
            true
        })
    }

    /// Goes over to the new owner.
    fn finish(&mut self, lane: Lane, now: Instant, sink: &mut dyn FnMut(Incoming<'_>), wanted: &mut Wanted) {
        self.phase = Phase::Over;
        self.until = now + LAG;
        for name in std::mem::take(&mut self.unconfirmed) {
            self.names.remove(&name);
        }
        wanted.let_go.extend(self.names.iter().cloned().map(Subscription::shard));
        self.held_bytes = 0;
        for Held { name, channel, payload } in std::mem::take(&mut self.held) {
            if self.is_copy(&name, &payload) {
                continue;
            }
            let kind = SubscriptionKind::Shard;
            sink(Incoming::Message { lane, kind, name: &name, channel: &channel, payload: &payload });
            wanted.reported = true;
        }
    }
}
