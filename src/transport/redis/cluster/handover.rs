//! Names that go from a master to the replica that takes over from it, without doubles.
//!
//! Both nodes send the messages of their shard, and each lags behind with what the other one was published to: the
//! bus of the cluster lets small messages wait for acknowledgements. A message that the former owner has delivered may
//! so come again, from the new one, as soon as that is subscribed to. So what the former one delivers is counted, and
//! the copies are dropped. What it sends once the new one has confirmed the name is dropped, too: the new one sends it,
//! and sends it in order.
//!
//! The count begins when the former owner withdraws the name, which it does when it becomes a replica. If it does not,
//! it delivers for a while before the new owner is asked.
//!
//! Messages that are the same to the byte within twice [`LAG`] may be taken for copies.
//!
//! A slot that moves to another shard needs none of it: there each message is sent by one of the two nodes.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::super::settings::Address;
use super::super::{Incoming, Subscription};

/// How long a message may take from one node of a shard to another: 40 ms have been seen, which is how long the
/// kernel may delay an acknowledgement.
const LAG: Duration = Duration::from_millis(100);

/// How long after a withdrawal the topology has to say who is next, and that one to confirm the names.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many different messages of the former owner are remembered per [`LAG`] and handover; copies of more are
/// handed on.
const MAX_SEEN: usize = 65_536;

/// The handovers of a lane; hardly ever is there one.
#[derive(Default)]
pub(super) struct Handovers {
    all: Vec<Handover>,
    /// Nothing is read, so that the time that passes proves nothing.
    paused: bool,
}

struct Handover {
    former: Address,
    phase: Phase,
    /// When the phase ends.
    until: Instant,
    names: BTreeSet<Vec<u8>>,
    /// Those that the new owner has not confirmed.
    unconfirmed: BTreeSet<Vec<u8>>,
    seen: Seen,
}

#[derive(PartialEq, Eq)]
enum Phase {
    /// The former owner has withdrawn names; it is not known yet who is next.
    Withdrawn,
    /// The new owner is not to be asked yet.
    Waiting(Address),
    /// The new owner is asked, or has confirmed all.
    Asked(Address),
}

/// How often the former owner has delivered each message, of late.
struct Seen {
    keys: RandomState,
    counts: HashMap<u64, u32>,
    /// Those of the [`LAG`] before.
    earlier: HashMap<u64, u32>,
    since: Instant,
}

impl Handovers {
    /// Returns whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes note that a node that stands has withdrawn a name.
    pub(super) fn withdrawn(&mut self, former: &Address, name: &[u8], now: Instant) {
        let known = self.all.iter_mut().find(|one| one.former == *former && one.phase == Phase::Withdrawn);
        if let Some(known) = known {
            known.names.insert(name.into());
        } else {
            let names = BTreeSet::from([name.to_vec()]);
            self.all.push(Handover::new(former, Phase::Withdrawn, now + PATIENCE, names, now));
        }
    }

    /// Begins the handover of names to a new owner. Returns those that it is to be asked for at once; the others come
    /// with [`Handovers::due`].
    pub(super) fn begin(
        &mut self,
        former: &Address,
        owner: &Address,
        names: Vec<Subscription>,
        complete: bool,
        now: Instant,
    ) -> Vec<Subscription> {
        let withdrawn =
            self.all.iter().position(|one| one.former == *former && one.phase == Phase::Withdrawn);
        let withdrawn = withdrawn.map(|place| self.all.swap_remove(place));
        let was_withdrawn = |name: &Subscription| {
            withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.names.contains(&name.name))
        };
        // A node that does not get what the new owner is published to is not worth to be waited for.
        let (at_once, later): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| !complete || was_withdrawn(name));
        let bare = |names: &[Subscription]| names.iter().map(|name| name.name.clone()).collect();
        if !at_once.is_empty() {
            let names = bare(&at_once);
            let until = now + PATIENCE;
            let mut new = Handover::new(former, Phase::Asked(owner.clone()), until, names, now);
            if let Some(withdrawn) = withdrawn {
                new.seen = withdrawn.seen;
            }
            self.all.push(new);
        }
        if !later.is_empty() {
            let waiting = Phase::Waiting(owner.clone());
            self.all.push(Handover::new(former, waiting, now + LAG, bare(&later), now));
        }
        at_once
    }

    /// Returns whether a name is about to leave a node.
    pub(super) fn is_leaving(&self, former: &Address, name: &Subscription) -> bool {
        self.all
            .iter()
            .any(|one| one.former == *former && one.owner().is_some() && one.unconfirmed.contains(&name.name))
    }

    /// Returns whether the new owner of a name is not to be asked yet.
    pub(super) fn is_waiting(&self, name: &Subscription) -> bool {
        self.all.iter().any(|one| one.is_waiting() && one.names.contains(&name.name))
    }

    /// Returns when [`Handovers::due`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|one| one.until).min().filter(|_| !self.paused)
    }

    /// Takes note of what a node says; returns whether it is to be handed on.
    pub(super) fn hear(&mut self, from: &Address, incoming: &Incoming<'_>, now: Instant) -> bool {
        for one in &mut self.all {
            match incoming {
                Incoming::Message { name, payload, .. } if one.names.contains(*name) => {
                    if one.owner() == Some(from) {
                        if one.seen.take(name, payload, now) {
                            return false;
                        }
                    } else if one.former == *from {
                        if one.owner().is_some() && !one.unconfirmed.contains(*name) {
                            return false;
                        }
                        one.seen.add(name, payload, now);
                    }
                }
                Incoming::Subscribed { name, .. } if one.owner() == Some(from) => one.confirmed(name, now),
                _ => {}
            }
        }
        true
    }

    /// Puts all off while nothing is read.
    pub(super) fn pause(&mut self, paused: bool, now: Instant) {
        if self.paused && !paused {
            for one in &mut self.all {
                one.until = one.until.max(now + LAG);
                one.seen.since = now;
            }
        }
        self.paused = paused;
    }

    /// Returns the names whose new owners are to be asked now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Subscription> {
        let mut due = Vec::new();
        if self.paused {
            return due;
        }
        self.all.retain_mut(|one| {
            if now < one.until {
                return true;
            }
            let Phase::Waiting(owner) = &one.phase else {
                return false;
            };
            one.phase = Phase::Asked(owner.clone());
            one.until = now + PATIENCE;
            due.extend(one.names.iter().cloned().map(Subscription::shard));
            true
        });
        due
    }

    /// Takes note that nodes are lost: what they were to hand over has no time to wait.
    pub(super) fn lose(&mut self, lost: &[Address], now: Instant) {
        for one in &mut self.all {
            if one.is_waiting() && lost.contains(&one.former) {
                one.until = now;
            }
        }
    }

    /// Ends those whose names are to go elsewhere by now.
    pub(super) fn end_if(&mut self, elsewhere: impl Fn(&[u8], &Address) -> bool) {
        self.all.retain(|one| {
            let Some(owner) = one.owner() else {
                return true;
            };
            !one.names.iter().any(|name| elsewhere(name, owner))
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
        self.all.retain(|one| !one.names.is_empty());
    }

    /// Ends all at once; returns the names whose new owners were not asked.
    pub(super) fn clear(&mut self) -> Vec<Subscription> {
        let waiting = self.all.drain(..).filter(Handover::is_waiting);
        waiting.flat_map(|one| one.names).map(Subscription::shard).collect()
    }
}

impl Handover {
    fn new(former: &Address, phase: Phase, until: Instant, names: BTreeSet<Vec<u8>>, now: Instant) -> Self {
        let unconfirmed = names.clone();
        Self { former: former.clone(), phase, until, names, unconfirmed, seen: Seen::new(now) }
    }

    fn owner(&self) -> Option<&Address> {
        match &self.phase {
            Phase::Withdrawn => None,
            Phase::Waiting(owner) | Phase::Asked(owner) => Some(owner),
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_))
    }

    fn confirmed(&mut self, name: &[u8], now: Instant) {
        if self.unconfirmed.remove(name) && self.unconfirmed.is_empty() {
            self.until = now + 2 * LAG;
        }
    }
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self { keys: RandomState::new(), counts: HashMap::new(), earlier: HashMap::new(), since: now }
    }

    fn hash(&self, name: &[u8], payload: &[u8]) -> u64 {
        self.keys.hash_one((name, payload))
    }

    /// The former owner has delivered a message.
    fn add(&mut self, name: &[u8], payload: &[u8], now: Instant) {
        self.age(now);
        let hash = self.hash(name, payload);
        if self.counts.len() < MAX_SEEN || self.counts.contains_key(&hash) {
            *self.counts.entry(hash).or_default() += 1;
        }
    }

    /// The new owner has sent a message: returns whether it is a copy of one that the former owner has delivered.
    fn take(&mut self, name: &[u8], payload: &[u8], now: Instant) -> bool {
        self.age(now);
        if self.counts.is_empty() && self.earlier.is_empty() {
            return false;
        }
        let hash = self.hash(name, payload);
        [&mut self.earlier, &mut self.counts].into_iter().any(|counts| {
            let Some(count) = counts.get_mut(&hash) else {
                return false;
            };
            *count -= 1;
            if *count == 0 {
                counts.remove(&hash);
            }
            true
        })
    }

    /// Forgets what has no copies on their way any more.
    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < LAG {
            return;
        }
        let counts = std::mem::take(&mut self.counts);
        self.earlier = if age < 2 * LAG { counts } else { HashMap::new() };
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::SubscriptionKind;
    use super::*;

    fn node(port: u16) -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    fn message(payload: &[u8]) -> Incoming<'_> {
        Incoming::Message { lane: 0, kind: SubscriptionKind::Shard, name: b"a", channel: b"a", payload }
    }

    fn subscribed() -> Incoming<'static> {
        Incoming::Subscribed { lane: 0, kind: SubscriptionKind::Shard, name: b"a" }
    }

    #[test]
    fn copies_are_dropped_as_often_as_they_were_delivered_and_for_a_while() {
        let now = Instant::now();
        let (former, owner) = (node(1), node(2));
        let mut handovers = Handovers::default();
        handovers.withdrawn(&former, b"a", now);
        assert!(handovers.hear(&former, &message(b"1"), now));
        assert!(handovers.hear(&former, &message(b"1"), now));
        assert!(handovers.hear(&former, &message(b"2"), now));
        let names = vec![Subscription::shard("a")];
        assert_eq!(handovers.begin(&former, &owner, names.clone(), true, now), names);
        assert!(handovers.is_leaving(&former, &names[0]));
        assert!(handovers.hear(&owner, &subscribed(), now));
        assert!(!handovers.is_leaving(&former, &names[0]));
        assert!(!handovers.hear(&former, &message(b"3"), now), "the new owner sends it");
        for (payload, new) in [(b"1", false), (b"3", true), (b"1", false), (b"1", true)] {
            assert_eq!(handovers.hear(&owner, &message(payload), now + LAG), new, "{payload:?}");
        }
        assert!(handovers.hear(&owner, &message(b"2"), now + 3 * LAG), "that is no copy");
        assert_eq!(handovers.deadline(), Some(now + 2 * LAG));
        assert!(handovers.due(now + 2 * LAG).is_empty());
        assert!(handovers.is_empty());
    }

    #[test]
    fn without_a_withdrawal_the_new_owner_is_asked_later_unless_the_former_one_misses_something() {
        let now = Instant::now();
        let (former, owner) = (node(1), node(2));
        let names = vec![Subscription::shard("a")];
        let mut handovers = Handovers::default();
        assert_eq!(handovers.begin(&former, &owner, names.clone(), false, now), names);
        handovers.clear();
        assert!(handovers.begin(&former, &owner, names.clone(), true, now).is_empty());
        assert!(handovers.is_waiting(&names[0]));
        handovers.pause(true, now);
        assert_eq!(handovers.deadline(), None);
        assert!(handovers.due(now + LAG).is_empty());
        handovers.pause(false, now + LAG);
        assert!(handovers.due(now + LAG).is_empty(), "nothing was read meanwhile");
        assert_eq!(handovers.due(now + 2 * LAG), names);
        assert!(!handovers.is_waiting(&names[0]));
        handovers.clear();
        assert!(handovers.begin(&former, &owner, names.clone(), true, now).is_empty());
        handovers.lose(&[former], now);
        assert_eq!(handovers.due(now), names);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        for number in 0..=MAX_SEEN {
            seen.add(b"a", &number.to_be_bytes(), now);
        }
        assert_eq!(seen.counts.len(), MAX_SEEN);
        assert!(seen.take(b"a", &0_usize.to_be_bytes(), now));
        assert!(!seen.take(b"a", &MAX_SEEN.to_be_bytes(), now));
    }
}
