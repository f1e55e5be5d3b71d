//! Names that go from a master to the replica that takes over from it, without losses and without doubles.
//!
//! Both nodes send the messages of their shard, and each lags behind with what the other one was published to: the bus of
//! the cluster lets small messages wait for acknowledgements. So for a while a lane listens to both:
//!
//! 1. The former owner delivers alone for [`LAG`]: what was published to it has come to the new one by then.
//! 2. The new owner is asked. Until it has confirmed all names, and for another [`LAG`], the former one goes on
//!    delivering; what the new one sends is held back, and dropped when the former one delivers it.
//! 3. What is still held back is delivered, and from then on what the new owner sends. What the former one sends is
//!    delivered only if the new one has not sent it: that was published before the new one was subscribed to.
//! 4. After another [`LAG`] the former one is left.
//!
//! A message is told by the hash of its name and payload, as often as it comes: two that are the same to the byte come
//! twice from each node, and are delivered twice.
//!
//! A former owner that does not hear of what the new one is published to does not lead: 2 is left out, and so is 1 if it has
//! sent nothing for as long. So it is from the moment on at which it withdraws the names, or is lost.
//!
//! A former owner that is not part of the cluster any more may hang. When it is back, it first runs what it was sent
//! before: it sends that to those who are subscribed there, and hands it to the new owner, whose subscribers get it behind
//! newer messages. So such a node is asked whether it is alive. What it sends then is delivered if the new one had sent
//! nothing before it answered; else it is late, and dropped. Its copies are dropped in either case. They come as much as half
//! a second later, since both nodes write the news of the failover to their disks first: so the former owner is listened to
//! for [`PATIENCE`] after its answer, and a copy is known as one for [`COPY_LAG`]. The same message that comes later is
//! another one. To know the copies, what the new owner sends is delivered only when all is read that the former one has
//! sent. So it is too if the topology does not say that the two are of one shard: a node that hung for long is named no
//! more, and its replica may not be either until it has taken over.
//!
//! Such a node may also hand on, when it is back, what it had delivered right before it fell silent: see [`Last`].
//!
//! A slot that moves to another shard needs none of it: there each message is sent by one of the two nodes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::last::{ANSWER, Last, MAX_HELD, MAX_HELD_BYTES, Whom, hash};
use crate::transport::redis::connect::Address;
use crate::transport::resp::Message;
use crate::transport::{Incoming, Subscription, SubscriptionKind};

/// How long a message may take from one node of a shard to another: 40 ms have been seen, which is how long the
/// kernel may delay an acknowledgement.
const LAG: Duration = Duration::from_millis(100);

/// How long a copy may take of what a node has sent that is back. Half a second has been seen.
const COPY_LAG: Duration = Duration::from_secs(1);

/// How long the new owner has to confirm the names.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many different messages of either owner are remembered per half a [`LAG`] and handover; copies of more are
/// handed on.
const MAX_SEEN: usize = 65_536;

/// The handovers of a lane; hardly ever is there one.
#[derive(Default)]
pub(super) struct Handovers {
    all: Vec<Handover>,
    /// Messages to be delivered now.
    held: Vec<Held>,
    /// Names that the former owners need not hold any longer.
    over: Vec<Subscription>,
    /// Nothing is read, so that the time that passes proves nothing.
    paused: bool,
}

/// A message of a new owner that was held back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    hash: u64,
    pub(super) name: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// Until when it waits for the answer of the former owner, since it may be a copy of what that has sent last.
    waits: Option<Instant>,
}

struct Handover {
    former: Address,
    owner: Address,
    phase: Phase,
    /// When the phase ends.
    until: Instant,
    /// The former owner is the one that delivers.
    leads: bool,
    /// Both may send the same.
    doubles: bool,
    /// The former owner may hang.
    doubted: bool,
    /// It was asked whether it is alive, and has not answered.
    silent: bool,
    /// When the former owner had sent something last.
    heard_at: Instant,
    /// It had not answered for longer than messages take.
    hung: bool,
    /// Until when it is listened to at least.
    stays: Instant,
    /// The new owner has sent something before that was answered.
    late: bool,
    copies: Copies,
    last: Last,
    names: BTreeSet<Arc<[u8]>>,
    /// Those that the new owner has not confirmed.
    unconfirmed: BTreeSet<Arc<[u8]>>,
    keys: RandomState,
    seen: Seen,
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// What a former owner is to the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Its replica: it hears of what the new one is published to.
    Replica,
    /// A node of its shard, that may not be part of the cluster any more.
    Shard,
    /// Not part of the cluster any more, and whether it was of that shard is not known.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The new owner is not to be asked yet.
    Waiting,
    /// The new owner is asked.
    Asked,
    /// It has confirmed all.
    Confirmed,
    /// It delivers.
    Ending,
}

/// How much more often the former owner has sent each message than the new one, of late.
struct Seen {
    ahead: HashMap<u64, i32>,
    /// The same of the time before.
    earlier: HashMap<u64, i32>,
    since: Instant,
    /// How long a copy may take.
    lag: Duration,
}

/// The copies that are to come of what the former owner has sent when it was back.
#[derive(Default)]
struct Copies {
    /// When each of those was sent, the oldest first.
    of: HashMap<u64, VecDeque<Instant>>,
    count: usize,
    /// When those were last forgotten that are not to come any more.
    aged: Option<Instant>,
}

/// Who has sent a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Former,
    Owner,
}

impl Handovers {
    /// Returns whether there is none, and nothing of one.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.held.is_empty() && self.over.is_empty()
    }

    /// Takes note that a former owner that stands has withdrawn a name.
    pub(super) fn withdrawn(&mut self, former: &Address, name: &Subscription, now: Instant) {
        let Self { all, held, .. } = self;
        all.retain_mut(|one| {
            if one.former != *former || !one.names.contains(&name.name) {
                return true;
            }
            if one.phase == Phase::Waiting {
                one.names.remove(&name.name);
                one.unconfirmed.remove(&name.name);
                return !one.names.is_empty();
            }
            if one.silent {
                one.answered(now);
            }
            one.give_over(held, now);
            true
        });
    }

    /// Begins the handover of names to a new owner. Returns those that it is to be asked for at once; the others come
    /// with [`Handovers::due`]. The former owner has been heard of `silence` ago, with the messages that came `last`.
    pub(super) fn begin<'a>(
        &mut self,
        former: &Address,
        owner: &Address,
        names: Vec<Subscription>,
        relation: Relation,
        (silence, last): (Duration, impl Iterator<Item = Message<'a>>),
        now: Instant,
    ) -> Vec<Subscription> {
        let complete = relation == Relation::Replica;
        let bare: BTreeSet<Arc<[u8]>> = names.iter().map(|name| name.name.clone()).collect();
        // What it has just sent may be on its way to the new one.
        let waits = complete || (relation == Relation::Shard && silence < LAG);
        let (phase, until) = if waits { (Phase::Waiting, now + LAG) } else { (Phase::Asked, now + PATIENCE) };
        let keys = RandomState::new();
        let last = if complete { Last::default() } else { Last::of(last, &keys) };
        self.all.push(Handover {
            former: former.clone(),
            owner: owner.clone(),
            phase,
            until,
            leads: complete,
            doubles: relation != Relation::Unknown,
            doubted: !complete,
            silent: !complete,
            heard_at: now.checked_sub(silence).unwrap_or(now),
            hung: false,
            stays: now,
            late: false,
            copies: Copies::default(),
            last,
            unconfirmed: bare.clone(),
            names: bare,
            keys,
            seen: Seen::new(now),
            held: VecDeque::new(),
            held_bytes: 0,
        });
        if waits { Vec::new() } else { names }
    }

    /// Returns whether a name is about to leave a node.
    pub(super) fn is_leaving(&self, former: &Address, name: &Subscription) -> bool {
        self.all.iter().any(|one| one.former == *former && one.names.contains(&name.name))
    }

    /// Returns whether a name is being handed over.
    pub(super) fn is_under_way(&self, name: &[u8]) -> bool {
        self.all.iter().any(|one| one.names.contains(name))
    }

    /// Returns whether the new owner of a name is not to be asked yet.
    pub(super) fn is_waiting(&self, name: &Subscription) -> bool {
        self.all.iter().any(|one| one.phase == Phase::Waiting && one.names.contains(&name.name))
    }

    /// Returns when [`Handovers::due`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let ends = self.all.iter().filter(|one| !one.waits()).map(|one| one.until);
        let held = self.all.iter().filter_map(|one| one.held.iter().find_map(|held| held.waits));
        ends.chain(held).min().filter(|_| !self.paused)
    }

    /// Takes note of what a node says; returns whether it is to be handed on.
    pub(super) fn hear(&mut self, from: &Address, incoming: &Incoming<'_>, now: Instant) -> bool {
        let Self { all, held, .. } = self;
        for one in all {
            match incoming {
                Incoming::Message { name, payload, .. } if one.names.contains(*name) => {
                    if one.owner == *from {
                        return one.hear_owner(name, payload, held, now);
                    }
                    if one.former == *from {
                        return one.hear_former(name, payload, now);
                    }
                }
                Incoming::Subscribed { name, .. } if one.owner == *from => one.confirmed(name, now),
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
                one.copies.renew(now);
                one.held
                    .iter_mut()
                    .filter_map(|held| held.waits.as_mut())
                    .for_each(|until| *until = now + ANSWER);
            }
        }
        self.paused = paused;
    }

    /// Goes on with those whose time has come; returns the names whose new owners are to be asked now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Subscription> {
        let mut due = Vec::new();
        if self.paused {
            return due;
        }
        let Self { all, held, over, .. } = self;
        all.retain_mut(|one| {
            if now < one.until || one.waits() {
                return true;
            }
            match one.phase {
                Phase::Waiting => {
                    one.phase = Phase::Asked;
                    one.until = now + PATIENCE;
                    due.extend(one.names.iter().cloned().map(of_shard));
                    true
                }
                Phase::Confirmed => {
                    one.give_over(held, now);
                    one.phase = Phase::Ending;
                    one.until = now + LAG;
                    true
                }
                Phase::Ending if now < one.stays => {
                    one.until = one.stays;
                    true
                }
                Phase::Asked | Phase::Ending => {
                    one.give_over(held, now);
                    let confirmed = one.names.difference(&one.unconfirmed).cloned();
                    over.extend(confirmed.map(of_shard));
                    false
                }
            }
        });
        due
    }

    /// Looks which nodes have answered: of the former owners that may hang, and of the new ones that were asked behind those.
    /// Returns those that are to be asked.
    pub(super) fn look(&mut self, now: Instant, is_asked: impl Fn(&Address) -> bool) -> Vec<Address> {
        let mut asks = Vec::new();
        for one in &mut self.all {
            if one.silent {
                one.hung |= now.saturating_duration_since(one.heard_at) >= LAG;
                if !is_asked(&one.former) {
                    one.answered(now);
                }
            }
            let Handover { former, owner, last, .. } = one;
            let (former, owner) = (&*former, &*owner);
            let node = |whom| if whom == Whom::Former { former } else { owner };
            let whom = last.asks(|whom| is_asked(node(whom)));
            asks.extend(whom.map(|whom| node(whom).clone()));
        }
        asks
    }

    /// Returns the former owners that are to be read after the new ones.
    pub(super) fn doubted(&self) -> BTreeSet<Address> {
        self.all.iter().filter(|one| one.doubted).map(|one| one.former.clone()).collect()
    }

    /// All is read that a former owner which may hang has sent: what the new one has sent since then is to be delivered.
    pub(super) fn pass(&mut self, former: &Address, now: Instant) {
        let Self { all, held, .. } = self;
        for one in all.iter_mut().filter(|one| one.doubted && one.former == *former) {
            let waits = |held: &Held| one.silent && held.waits.is_some_and(|until| now < until);
            let ready = one.held.iter().position(waits).unwrap_or(one.held.len());
            one.late |= one.silent && ready > 0;
            one.give(ready, held, now);
        }
    }

    /// Takes the messages that are to be delivered now.
    pub(super) fn take_held(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.held)
    }

    /// Takes the names that the former owners need not hold any longer.
    pub(super) fn take_over(&mut self) -> Vec<Subscription> {
        std::mem::take(&mut self.over)
    }

    /// Takes note that nodes are lost: what they were to hand over has no time to wait.
    pub(super) fn lose(&mut self, lost: &[Address], now: Instant) {
        let Self { all, held, .. } = self;
        for one in all.iter_mut().filter(|one| lost.contains(&one.former)) {
            one.give_over(held, now);
            one.last = Last::default();
            if one.phase == Phase::Waiting {
                one.until = now;
            }
        }
    }

    /// Ends those whose names are to go elsewhere by now.
    pub(super) fn end_if(&mut self, now: Instant, elsewhere: impl Fn(&[u8], &Address) -> bool) {
        let Self { all, held, .. } = self;
        all.retain_mut(|one| {
            let goes_on = !one.names.iter().any(|name| elsewhere(name, &one.owner));
            if !goes_on {
                one.give_over(held, now);
            }
            goes_on
        });
    }

    /// Forgets names.
    pub(super) fn forget<'a>(&mut self, names: impl Iterator<Item = &'a Subscription>) {
        if self.is_empty() {
            return;
        }
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
        self.held.clear();
        self.over.clear();
        let waiting = self.all.drain(..).filter(|one| one.phase == Phase::Waiting);
        waiting.flat_map(|one| one.names).map(of_shard).collect()
    }
}

fn of_shard(name: Arc<[u8]>) -> Subscription {
    Subscription { kind: SubscriptionKind::Shard, name }
}

impl Handover {
    /// Whether it ends only when the former owner has answered, or is lost.
    fn waits(&self) -> bool {
        self.silent && matches!(self.phase, Phase::Confirmed | Phase::Ending)
    }

    fn hash(&self, name: &[u8], payload: &[u8]) -> u64 {
        hash(&self.keys, name, payload)
    }

    /// The former owner has answered, and goes on where it stood.
    fn answered(&mut self, now: Instant) {
        self.silent = false;
        // What it has handed to the new owner is on its way.
        self.stays = now + if self.hung || self.late { PATIENCE } else { LAG };
        if self.hung {
            // It writes to its disk before it writes to its subscribers, and may have handed on by then what those get.
            self.seen.lag = COPY_LAG;
        }
        self.last.is_back();
    }

    fn hear_owner(&mut self, name: &[u8], payload: &[u8], ready: &mut Vec<Held>, now: Instant) -> bool {
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
        self.held.push_back(Held { hash, name: name.to_vec(), payload: payload.to_vec(), waits });
        if self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
            self.give_over(ready, now);
        }
        false
    }

    fn hear_former(&mut self, name: &[u8], payload: &[u8], now: Instant) -> bool {
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
    fn give_over(&mut self, ready: &mut Vec<Held>, now: Instant) {
        self.leads = false;
        self.give(self.held.len(), ready, now);
    }

    /// The first of what is held back is to be delivered.
    fn give(&mut self, count: usize, ready: &mut Vec<Held>, now: Instant) {
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

    fn confirmed(&mut self, name: &[u8], now: Instant) {
        if self.unconfirmed.remove(name) && self.unconfirmed.is_empty() && self.phase == Phase::Asked {
            self.phase = Phase::Confirmed;
            self.until = now + LAG;
        }
    }
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self { ahead: HashMap::new(), earlier: HashMap::new(), since: now, lag: LAG }
    }

    /// Returns whether a message is to be delivered: the other node has not sent it.
    fn is_new(&mut self, hash: u64, by: Sender, now: Instant) -> bool {
        let new = !self.take(hash, by, now);
        if new {
            self.add(hash, by, now);
        }
        new
    }

    fn add(&mut self, hash: u64, by: Sender, now: Instant) {
        self.age(now);
        if self.ahead.len() < MAX_SEEN || self.ahead.contains_key(&hash) {
            *self.ahead.entry(hash).or_default() += by.sign();
        }
    }

    /// Returns whether a message is a copy of one that the other node has sent, of which there is one less then.
    fn take(&mut self, hash: u64, by: Sender, now: Instant) -> bool {
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

    /// Forgets what has no copies on their way any more: after half the lag at the earliest, and a whole one at the latest.
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
    fn add(&mut self, hash: u64, now: Instant) {
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

    /// Returns whether a message is a copy, of which there is one less then.
    fn take(&mut self, hash: u64, now: Instant) -> bool {
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

    /// Nothing was read, so that the copies may have come meanwhile.
    fn renew(&mut self, now: Instant) {
        self.of.values_mut().flatten().for_each(|sent| *sent = now);
    }
}

/// Forgets what has no copy on its way any more; returns how many that were.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SubscriptionKind;

    const PAYLOADS: [&[u8]; 3] = [b"1", b"2", b"3"];

    fn node(port: u16) -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    fn message(payload: &[u8]) -> Incoming<'_> {
        Incoming::Message { lane: 0, kind: SubscriptionKind::Shard, name: b"a", channel: b"a", payload }
    }

    fn subscribed() -> Incoming<'static> {
        Incoming::Subscribed { lane: 0, kind: SubscriptionKind::Shard, name: b"a" }
    }

    /// The former owner has sent nothing of late.
    fn none() -> impl Iterator<Item = Message<'static>> {
        std::iter::empty()
    }

    fn names() -> Vec<Subscription> {
        vec![Subscription::shard("a")]
    }

    fn held(handovers: &mut Handovers) -> Vec<Vec<u8>> {
        handovers.take_held().into_iter().map(|held| held.payload).collect()
    }

    /// A handover from node 1 to node 2 whose new owner has just confirmed.
    fn confirmed(now: Instant) -> Handovers {
        let mut handovers = Handovers::default();
        assert!(
            handovers
                .begin(&node(1), &node(2), names(), Relation::Replica, (Duration::ZERO, none()), now)
                .is_empty()
        );
        assert_eq!(handovers.due(now + LAG), names());
        assert!(handovers.hear(&node(2), &subscribed(), now + LAG));
        handovers
    }

    #[test]
    fn the_former_owner_delivers_until_its_copies_are_all_there() {
        let (former, owner) = (node(1), node(2));
        let start = Instant::now();
        let now = start + LAG;
        let mut handovers = confirmed(start);
        assert!(handovers.is_leaving(&former, &names()[0]));
        for payload in PAYLOADS {
            assert!(!handovers.hear(&owner, &message(payload), now), "the former one is to deliver it first");
        }
        // Published before the new owner was subscribed to: it comes from the former one alone, and in order.
        assert!(handovers.hear(&former, &message(b"0"), now));
        assert!(handovers.hear(&former, &message(b"1"), now));
        assert!(handovers.due(now + LAG).is_empty());
        assert_eq!(held(&mut handovers), [b"2", b"3"]);
        for (payload, is_new) in [(b"2", false), (b"3", false), (b"4", true)] {
            assert_eq!(handovers.hear(&former, &message(payload), now + LAG), is_new, "{payload:?}");
        }
        assert!(!handovers.hear(&owner, &message(b"4"), now + LAG));
        assert!(handovers.hear(&owner, &message(b"5"), now + LAG));
        assert_eq!(handovers.deadline(), Some(now + 2 * LAG));
        assert!(handovers.take_over().is_empty());
        assert!(handovers.due(now + 2 * LAG).is_empty());
        assert_eq!(handovers.take_over(), names());
        assert!(handovers.is_empty());
    }

    #[test]
    fn two_messages_that_are_the_same_to_the_byte_are_delivered_twice() {
        let (former, owner) = (node(1), node(2));
        for leads in [true, false] {
            for second in [LAG / 2, LAG] {
                let start = Instant::now();
                let mut now = start + LAG;
                let mut handovers = confirmed(start);
                let mut delivered = 0;
                if !leads {
                    handovers.lose(&[node(1)], now);
                }
                // The first was published before the new owner was subscribed to, the second behind that.
                delivered += usize::from(handovers.hear(&former, &message(b"x"), now));
                now += second;
                delivered += usize::from(handovers.hear(&owner, &message(b"x"), now));
                delivered += usize::from(handovers.hear(&former, &message(b"x"), now));
                handovers.due(start + 2 * LAG);
                delivered += held(&mut handovers).len();
                assert_eq!(delivered, 2, "{leads} {second:?}");
            }
        }
    }

    #[test]
    fn what_either_owner_alone_sends_is_delivered() {
        let (former, owner) = (node(1), node(2));
        let start = Instant::now();
        let now = start + LAG;
        let mut handovers = confirmed(start);
        assert!(!handovers.hear(&owner, &message(b"1"), now));
        handovers.withdrawn(&former, &names()[0], now);
        assert_eq!(held(&mut handovers), [b"1"]);
        assert!(handovers.hear(&owner, &message(b"2"), now));
        assert!(handovers.hear(&former, &message(b"3"), now));

        let mut handovers = Handovers::default();
        handovers.begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now);
        handovers.withdrawn(&former, &names()[0], now);
        assert!(handovers.is_empty(), "nobody is asked yet");
    }

    #[test]
    fn the_new_owner_is_asked_later_unless_the_former_one_misses_something() {
        let now = Instant::now();
        let (former, owner) = (node(1), node(2));
        let mut handovers = Handovers::default();
        assert_eq!(handovers.begin(&former, &owner, names(), Relation::Shard, (LAG, none()), now), names());
        assert!(!handovers.hear(&owner, &message(b"1"), now), "what the former one has sent is read first");
        handovers.pass(&former, now);
        assert_eq!(held(&mut handovers), [b"1"], "nobody else may deliver it");
        assert!(!handovers.hear(&former, &message(b"1"), now));
        handovers.clear();
        assert!(
            handovers
                .begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now)
                .is_empty()
        );
        assert!(handovers.is_waiting(&names()[0]));
        handovers.pause(true, now);
        assert_eq!(handovers.deadline(), None);
        assert!(handovers.due(now + LAG).is_empty());
        handovers.pause(false, now + LAG);
        assert!(handovers.due(now + LAG).is_empty(), "nothing was read meanwhile");
        assert_eq!(handovers.due(now + 2 * LAG), names());
        assert!(!handovers.is_waiting(&names()[0]));
        handovers.clear();
        assert!(
            handovers
                .begin(&former, &owner, names(), Relation::Replica, (Duration::ZERO, none()), now)
                .is_empty()
        );
        handovers.lose(&[former], now);
        assert_eq!(handovers.due(now), names());
    }

    #[test]
    fn what_a_node_sends_that_was_replaced_while_it_hung_is_late_and_so_are_its_copies() {
        let (former, owner) = (node(1), node(2));
        for hangs in [true, false] {
            let mut now = Instant::now();
            let mut handovers = Handovers::default();
            handovers.begin(&former, &owner, names(), Relation::Shard, (LAG, none()), now);
            handovers.look(now, |_| hangs);
            assert!(handovers.hear(&owner, &subscribed(), now));
            assert_eq!(handovers.doubted(), BTreeSet::from([former.clone()]));
            // Nothing newer has come, so that it is in order.
            assert!(!handovers.hear(&owner, &message(b"1"), now));
            assert!(handovers.hear(&former, &message(b"1"), now));
            handovers.pass(&former, now);
            assert!(held(&mut handovers).is_empty());
            assert!(!handovers.hear(&owner, &message(b"3"), now));
            handovers.pass(&former, now);
            assert_eq!(held(&mut handovers), [b"3"]);
            now += 100 * LAG;
            if hangs {
                assert_eq!(handovers.deadline(), None, "the former one may be back at any time");
                assert!(handovers.due(now).is_empty() && handovers.take_over().is_empty());
            }
            assert!(
                !handovers.hear(&owner, &message(b"2"), now),
                "a copy may come before what it is a copy of"
            );
            assert_eq!(handovers.hear(&former, &message(b"2"), now), !hangs);
            handovers.look(now, |_| false);
            assert_eq!(handovers.hear(&former, &message(b"4"), now), !hangs);
            handovers.pass(&former, now);
            assert!(held(&mut handovers).is_empty());
            now += if hangs { COPY_LAG / 2 } else { LAG / 4 };
            handovers.due(now);
            assert!(!handovers.hear(&owner, &message(b"4"), now), "a copy");
            for _ in 0..2 {
                assert!(!handovers.hear(&owner, &message(b"4"), now));
                handovers.pass(&former, now);
                assert_eq!(held(&mut handovers), [b"4"]);
            }
            for _ in 0..3 {
                now += PATIENCE;
                handovers.due(now);
            }
            assert_eq!(handovers.take_over(), names());
            assert!(handovers.is_empty());
        }
    }

    /// A handover from node 1, that hangs and has sent these before, to node 2, which has confirmed.
    fn hanging(payloads: &[&'static [u8]], now: Instant) -> Handovers {
        let mut handovers = Handovers::default();
        let last = payloads.iter().map(|payload| Message {
            kind: SubscriptionKind::Shard,
            name: b"a",
            channel: b"a",
            payload,
        });
        handovers.begin(&node(1), &node(2), names(), Relation::Shard, (LAG, last), now);
        assert!(handovers.look(now, |_| true).is_empty());
        handovers.hear(&node(2), &subscribed(), now);
        handovers
    }

    /// What is delivered of that which the new owner sends.
    fn deliver(handovers: &mut Handovers, payloads: &[&[u8]], now: Instant) -> Vec<Vec<u8>> {
        for payload in payloads {
            assert!(!handovers.hear(&node(2), &message(payload), now), "the former one is read first");
        }
        handovers.pass(&node(1), now);
        held(handovers)
    }

    #[test]
    fn copies_of_what_a_node_sent_before_it_hung_come_before_the_new_owner_answers_and_no_later() {
        let is = |port| move |address: &Address| *address == node(port);
        let mut now = Instant::now();
        let mut handovers = hanging(&[b"1", b"2", b"2", b"3"], now);
        assert_eq!(deliver(&mut handovers, &[b"4"], now), [b"4"]);
        // Before it answers: what comes behind waits, too.
        assert!(deliver(&mut handovers, &[b"1", b"5"], now).is_empty());
        assert_eq!(handovers.deadline(), Some(now + ANSWER));
        now += ANSWER / 2;
        assert!(deliver(&mut handovers, &[b"2"], now).is_empty());
        assert_eq!(handovers.look(now, |_| false), [node(1)], "it is asked once more");
        assert!(handovers.look(now, is(1)).is_empty());
        assert_eq!(handovers.look(now, |_| false), [node(2)], "it is to be asked");
        // It is read before its answer is.
        assert!(handovers.look(now, is(2)).is_empty());
        assert_eq!(deliver(&mut handovers, &[b"2", b"2", b"6"], now), [&b"5"[..], b"2", b"6"]);
        assert!(handovers.look(now, |_| false).is_empty());
        assert_eq!(deliver(&mut handovers, &[b"3", b"3"], now), [b"3", b"3"], "no copy comes any more");
    }

    #[test]
    fn a_node_that_is_back_may_send_what_it_has_handed_on_long_before() {
        let mut now = Instant::now();
        let mut handovers = hanging(&[], now);
        handovers.look(now, |_| false);
        assert_eq!(deliver(&mut handovers, &[b"1", b"2"], now), [b"1", b"2"]);
        for payload in [b"1", b"2"] {
            now += COPY_LAG / 4;
            assert!(!handovers.hear(&node(1), &message(payload), now));
        }
        assert!(handovers.hear(&node(1), &message(b"3"), now));
        assert!(deliver(&mut handovers, &[b"3"], now).is_empty());
    }

    #[test]
    fn what_is_like_the_last_messages_of_a_node_that_hangs_is_delivered() {
        let mut now = Instant::now();
        let mut handovers = hanging(&[b"tick", b"tick", b"1", b"2"], now);
        let hears = |handovers: &mut Handovers, payloads: &[&[u8]], now| {
            assert!(handovers.look(now, |_| true).is_empty());
            deliver(handovers, payloads, now)
        };
        assert!(hears(&mut handovers, &[b"tick", b"a"], now).is_empty());
        now += ANSWER / 2;
        assert!(hears(&mut handovers, &[b"tick", b"1"], now).is_empty());
        now += ANSWER / 2;
        assert_eq!(hears(&mut handovers, &[], now), [&b"tick"[..], b"a"]);
        now += ANSWER / 2;
        assert_eq!(hears(&mut handovers, &[b"b"], now), [&b"tick"[..], b"1", b"b"]);
        for _ in 0..3 {
            assert_eq!(hears(&mut handovers, &[b"tick", b"1"], now), [&b"tick"[..], b"1"], "each waits once");
        }
        // Nothing is read for a while.
        assert!(hears(&mut handovers, &[b"2"], now).is_empty());
        handovers.pause(true, now);
        now += ANSWER;
        handovers.pause(false, now);
        assert!(hears(&mut handovers, &[], now).is_empty());
        // It is back without an answer.
        handovers.withdrawn(&node(1), &names()[0], now);
        assert!(held(&mut handovers).is_empty());
        assert_eq!(handovers.look(now, |_| true), [node(1)]);
        assert!(deliver(&mut handovers, &[b"1", b"tick", b"tick"], now).is_empty());
        assert_eq!(deliver(&mut handovers, &[b"2", b"1", b"tick"], now), [&b"2"[..], b"1", b"tick"]);

        // One that is lost is not back.
        let mut handovers = hanging(&[b"1", b"2"], now);
        assert!(hears(&mut handovers, &[b"1"], now).is_empty());
        handovers.lose(&[node(1)], now);
        assert_eq!(held(&mut handovers), [b"1"]);
        assert!(handovers.look(now, |_| false).is_empty());
        assert_eq!(deliver(&mut handovers, &[b"2"], now), [b"2"]);
    }

    #[test]
    fn a_message_that_is_like_a_late_one_is_its_copy_only_as_long_as_copies_take() {
        let (former, owner) = (node(1), node(2));
        for relation in [Relation::Shard, Relation::Unknown] {
            let mut now = Instant::now();
            let mut handovers = Handovers::default();
            handovers.begin(&former, &owner, names(), relation, (LAG, none()), now);
            handovers.look(now, |_| true);
            handovers.hear(&owner, &subscribed(), now);
            now += 10 * LAG;
            handovers.look(now, |_| false);
            // Each second the same, of which the former owner has got one while it hung, whose copy never comes.
            assert!(handovers.hear(&former, &message(b"tick"), now), "nothing newer has come");
            now += Duration::from_secs(1);
            assert!(!handovers.hear(&owner, &message(b"tick"), now));
            handovers.pass(&former, now);
            assert_eq!(held(&mut handovers), [b"tick"]);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        for number in 0..=MAX_SEEN as u64 {
            seen.add(number, Sender::Former, now);
        }
        assert_eq!(seen.ahead.len(), MAX_SEEN);
        assert!(seen.take(0, Sender::Owner, now));
        assert!(!seen.take(MAX_SEEN as u64, Sender::Owner, now));

        let mut copies = Copies::default();
        for number in 0..=MAX_SEEN as u64 {
            copies.add(number % 2, now);
        }
        assert_eq!(copies.count, MAX_SEEN);
        copies.add(3, now + COPY_LAG);
        assert_eq!((copies.count, copies.of.len()), (1, 1), "the others are not to come any more");
        copies.renew(now + 2 * COPY_LAG);
        assert!(copies.take(3, now + 2 * COPY_LAG) && !copies.take(3, now + 2 * COPY_LAG));
        assert_eq!((copies.count, copies.of.len()), (0, 0));

        let mut handovers = confirmed(now);
        for number in 0..=MAX_HELD {
            assert!(!handovers.hear(&node(2), &message(&number.to_be_bytes()), now));
        }
        assert_eq!(handovers.take_held().len(), MAX_HELD + 1);
        assert!(handovers.hear(&node(2), &message(b"x"), now), "it delivers by now");
    }
}
