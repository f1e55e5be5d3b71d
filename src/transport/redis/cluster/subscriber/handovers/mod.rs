//! Names that move from a master to the replica that replaces it, without lost and without duplicate
//! messages.
//!
//! Both nodes send the messages of their shard, and each receives late what was published to the other one:
//! in the cluster bus small messages wait for acknowledgements. So for a while a subscriber listens to both:
//!
//! 1. For [`LAG`] only the former owner delivers. Then what was published to it has reached the new owner.
//! 2. The new owner is asked. Until it has confirmed all names, and for another [`LAG`], the former owner
//!    still delivers. What the new one sends is held back, and dropped when the former one delivers it.
//! 3. What is still held back is delivered, and from then on what the new owner sends. A message of the
//!    former owner is delivered only if the new one has not sent it: it was published before the new owner
//!    was subscribed to.
//! 4. After another [`LAG`] the former owner is left.
//!
//! A message is identified by the hash of its name and payload, and by how often it comes. Two messages that
//! are identical to the byte come twice from each node, and are delivered twice.
//!
//! Step 2 is left out if the former owner does not receive what is published to the new one, and so is step 1
//! if it has sent nothing for as long. The same holds from the moment at which it withdraws the names, or is
//! lost.
//!
//! A former owner that has left the cluster may hang. When it is back, it first runs the commands that it was
//! sent before. It sends these messages to its own subscribers, and forwards them to the new owner, whose
//! subscribers get them after newer ones. So such a node is asked whether it is alive. What it sends is
//! delivered if the new owner has sent nothing before the answer; otherwise it is late, and dropped. In
//! either case its copies are dropped. They may come half a second later, since both nodes first write the
//! news of the failover to their disks. So the former owner is still read for `PATIENCE` after its answer,
//! and a copy is recognised for `COPY_LAG`. If the same message comes later, it is another one. To recognise
//! the copies, messages of the new owner are delivered only when everything from the former one was read. The
//! same is done if the topology does not say that the two belong to one shard: a node that has hung for long
//! is not listed any more, and its replica may not be listed before it has taken over.
//!
//! When it is back, such a node may also forward what it had delivered right before it fell silent: see
//! [`LastMessages`].
//!
//! A node may also go on before it was left: see `hung`.
//!
//! All these times count only while we read, and while both nodes answer: see [`Handovers::wake`] and
//! [`MOST_BUSY`]. On a busy machine a thread may be kept waiting for seconds, and so may a node by its disk.
//!
//! A slot that moves to another shard needs none of this: there only one of the two nodes sends each message.

mod busy;
mod handover;
mod hung;
#[cfg(test)]
mod tests;

pub(super) use handover::{HeldShardMessage, Relation};

use std::collections::{BTreeSet, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::last::{ANSWER, LastMessages, Whom};
use super::seen::{COPY_LAG, Copies, LAG, SeenMessages};
use crate::transport::redis::connect::Address;
use crate::transport::resp::Message;
use crate::transport::{Incoming, Subscription, SubscriptionKind};
use busy::{BusyCheck, MOST_BUSY, TICK};
use handover::{Handover, PATIENCE, Phase};
use hung::HungNode;

/// The handovers of a subscriber. There is hardly ever one.
#[derive(Default)]
pub(super) struct Handovers {
    all: Vec<Handover>,
    /// Nodes that hang, or have just hung.
    hung: Vec<HungNode>,
    /// Messages that have to be delivered now.
    held: Vec<HeldShardMessage>,
    /// Names that the former owners can let go.
    over: Vec<Subscription>,
    /// Since when nothing is read, so that the time that passes proves nothing.
    paused_at: Option<Instant>,
    /// When [`Handovers::wake`] was called last; `None` if there was nothing to wait for then.
    woken_at: Option<Instant>,
    /// How much time has passed by then in which the nodes could have been heard.
    passed: Duration,
}

impl Handovers {
    /// Returns whether there is none, nothing left of one, and no node that hangs or has just hung.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.hung.is_empty() && self.held.is_empty() && self.over.is_empty()
    }

    /// A node does not answer. It has sent something `silence` ago.
    pub(super) fn hangs(&mut self, node: &Address, silence: Duration, now: Instant) {
        match self.hung.iter_mut().find(|one| one.node == *node) {
            Some(one) => one.hangs(silence, now),
            None => self.hung.push(HungNode::new(node, silence, now)),
        }
    }

    /// Returns for how long something may have been missed at a node that hangs, or has just hung; `None` if
    /// it does not, and has not.
    pub(super) fn missed_for(&self, node: &Address, now: Instant) -> Option<Duration> {
        let hung = self.hung.iter().find(|one| one.node == *node && !one.is_over(now));
        hung.map(|one| now.saturating_duration_since(one.heard_at))
    }

    /// A former owner has withdrawn a name, while its connection works.
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

    /// Begins the handover of names to a new owner. Returns the names for which that is asked at once; the
    /// others come with [`Handovers::due`]. The former owner has sent something `silence` ago, and the
    /// messages `last` at the end.
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
        let hung = self.missed_for(former, now).is_some();
        let bare: BTreeSet<Arc<[u8]>> = names.iter().map(|name| name.name.clone()).collect();
        // What it has just sent may not have reached the new owner yet.
        let waits = complete || (relation == Relation::Shard && silence < LAG);
        let (phase, until) = if waits { (Phase::Waiting, now + LAG) } else { (Phase::Asked, now + PATIENCE) };
        // What has passed until now counts for the others alone.
        self.wake(now);
        self.woken_at = Some(now);
        let keys = RandomState::new();
        let last = if complete { LastMessages::default() } else { LastMessages::of(last, &keys) };
        self.all.push(Handover {
            former: former.clone(),
            owner: owner.clone(),
            phase,
            until,
            leads: complete,
            doubles: relation != Relation::Unknown,
            doubted: !complete,
            silent: !complete,
            checks: [BusyCheck::default(), BusyCheck::default()],
            may_wait: MOST_BUSY,
            busy_for: Duration::ZERO,
            heard_at: now.checked_sub(silence).unwrap_or(now),
            hung,
            stays: if hung { now + PATIENCE } else { now },
            late: false,
            copies: Copies::default(),
            last,
            unconfirmed: bare.clone(),
            names: bare,
            keys,
            seen: SeenMessages::new(now, if hung { COPY_LAG } else { LAG }),
            held: VecDeque::new(),
            held_bytes: 0,
        });
        if waits { Vec::new() } else { names }
    }

    /// Returns whether a name is being handed over from a node.
    pub(super) fn is_leaving(&self, former: &Address, name: &Subscription) -> bool {
        self.all.iter().any(|one| one.former == *former && one.names.contains(&name.name))
    }

    /// Returns whether a name is being handed over.
    pub(super) fn is_under_way(&self, name: &[u8]) -> bool {
        self.all.iter().any(|one| one.names.contains(name))
    }

    /// Returns whether the new owner of a name must not be asked yet.
    pub(super) fn is_waiting(&self, name: &Subscription) -> bool {
        self.all.iter().any(|one| one.phase == Phase::Waiting && one.names.contains(&name.name))
    }

    /// Returns when [`Handovers::wake`] and [`Handovers::due`] have something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.end().filter(|_| self.paused_at.is_none())?;
        Some(self.woken_at.map_or(end, |at| end.min(at + TICK)))
    }

    /// Returns when the first of the times ends that are waited for.
    fn end(&self) -> Option<Instant> {
        let ends = self.all.iter().filter(|one| !one.waits()).map(|one| one.until);
        let held = self.all.iter().filter_map(|one| one.held.iter().find_map(|held| held.waits));
        ends.chain(held).chain(self.hung.iter().filter_map(HungNode::ends_at)).min()
    }

    /// Comes before anything is read. If that is late, nothing was read meanwhile: then the time that has
    /// passed says nothing about the nodes, and does not count.
    pub(super) fn wake(&mut self, now: Instant) {
        let passed = self.woken_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let late = passed.saturating_sub(TICK);
        if !late.is_zero() && self.paused_at.is_none() && self.end().is_some() {
            self.all.iter_mut().for_each(|one| one.put_off(late));
            self.hung.iter_mut().for_each(|one| one.put_off(late));
        }
        self.hung.retain(|one| self.paused_at.is_some() || !one.is_over(now));
        // Nor do we know then whether the nodes have answered. A timer is always a little late.
        self.passed = if late < TICK && self.paused_at.is_none() { passed.min(TICK) } else { Duration::ZERO };
        self.woken_at = (!self.all.is_empty() || !self.hung.is_empty()).then_some(now);
    }

    /// Returns whether what a node reports is the copy of a message of one that has hung. `may_succeed` tells
    /// whether the node may be the successor of that one.
    pub(super) fn is_copy(
        &mut self,
        from: &Address,
        incoming: &Incoming<'_>,
        now: Instant,
        may_succeed: impl Fn(&Address) -> bool,
    ) -> bool {
        let Incoming::Message { name, payload, .. } = incoming else {
            return false;
        };
        let mut others = self.hung.iter_mut().filter(|one| one.node != *from);
        others.any(|one| one.take(name, payload, now, &may_succeed))
    }

    /// Takes what a node reports. Returns whether to pass it on now.
    pub(super) fn hear(&mut self, from: &Address, incoming: &Incoming<'_>, now: Instant) -> bool {
        let Self { all, hung, held, .. } = self;
        for one in all {
            match incoming {
                Incoming::Message { name, payload, .. } if one.names.contains(*name) => {
                    if one.owner == *from {
                        return one.hear_owner(name, payload, held, now);
                    }
                    // If it has hung, it may still withdraw the names, which ends a handover that waits.
                    let is_noted = || hung.iter().any(|noted| noted.node == *from && noted.is_fresh(now));
                    if one.former == *from && !(one.phase == Phase::Waiting && is_noted()) {
                        return one.hear_former(name, payload, now);
                    }
                }
                Incoming::Subscribed { name, .. } if one.owner == *from => one.confirmed(name, now),
                _ => {}
            }
        }
        if let Incoming::Message { name, payload, .. } = incoming
            && let Some(one) = hung.iter_mut().find(|one| one.node == *from)
        {
            one.add(name, payload, now);
        }
        true
    }

    /// Puts everything off while nothing is read.
    pub(super) fn pause(&mut self, paused: bool, now: Instant) {
        if let Some(since) = self.paused_at.take_if(|_| !paused) {
            self.hung.iter_mut().for_each(|one| one.put_off(now.saturating_duration_since(since)));
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
        if paused {
            self.paused_at.get_or_insert(now);
        }
    }

    /// Continues the handovers that are due. Returns the names for which the new owners have to be asked now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Subscription> {
        let mut due = Vec::new();
        if self.paused_at.is_some() {
            return due;
        }
        let Self { all, held, over, .. } = self;
        all.retain_mut(|one| {
            if now < one.until + one.busy_for || one.waits() {
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

    /// Checks which nodes have answered: former owners that may hang, new owners that were asked after them,
    /// and all that may be busy. Returns the nodes that have to be asked.
    pub(super) fn look(&mut self, now: Instant, is_asked: impl Fn(&Address) -> bool) -> Vec<Address> {
        let mut asks = Vec::new();
        let Self { all, passed, .. } = self;
        let is_asked = &is_asked;
        for one in all {
            if one.silent {
                one.hung |= now.saturating_duration_since(one.heard_at) >= LAG;
                if !is_asked(&one.former) {
                    one.answered(now);
                }
            }
            let whom = one.last.asks({
                let (former, owner) = (&one.former, &one.owner);
                move |whom| is_asked(if whom == Whom::Former { former } else { owner })
            });
            asks.extend(whom.map(|whom| one.node(whom).clone()));
            asks.extend(one.look_at_nodes(*passed, now, is_asked));
        }
        asks
    }

    /// Returns the former owners that have to be read after the new ones.
    pub(super) fn doubted(&self) -> BTreeSet<Address> {
        self.all.iter().filter(|one| one.doubted).map(|one| one.former.clone()).collect()
    }

    /// Everything from a former owner that may hang was read. What the new one has sent since then is
    /// delivered.
    pub(super) fn pass(&mut self, former: &Address, now: Instant) {
        let Self { all, held, .. } = self;
        for one in all.iter_mut().filter(|one| one.doubted && one.former == *former) {
            let waits = |held: &HeldShardMessage| one.silent && held.waits.is_some_and(|until| now < until);
            let ready = one.held.iter().position(waits).unwrap_or(one.held.len());
            one.late |= one.silent && ready > 0;
            one.give(ready, held, now);
        }
    }

    /// Returns the messages that have to be delivered now.
    pub(super) fn take_held(&mut self) -> Vec<HeldShardMessage> {
        std::mem::take(&mut self.held)
    }

    /// Returns the names that the former owners can let go.
    pub(super) fn take_over(&mut self) -> Vec<Subscription> {
        std::mem::take(&mut self.over)
    }

    /// Nodes are lost: names that they were to hand over do not wait any longer.
    pub(super) fn lose(&mut self, lost: &[Address], now: Instant) {
        let Self { all, held, .. } = self;
        for one in all.iter_mut().filter(|one| lost.contains(&one.former)) {
            one.give_over(held, now);
            one.last = LastMessages::default();
            if one.phase == Phase::Waiting {
                one.until = now;
            }
        }
    }

    /// Ends the handovers whose names have to go elsewhere by now.
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

    /// Ends all at once. Returns the names whose new owners were not asked.
    pub(super) fn clear(&mut self) -> Vec<Subscription> {
        self.hung.clear();
        self.held.clear();
        self.over.clear();
        let waiting = self.all.drain(..).filter(|one| one.phase == Phase::Waiting);
        waiting.flat_map(|one| one.names).map(of_shard).collect()
    }
}

fn of_shard(name: Arc<[u8]>) -> Subscription {
    Subscription { kind: SubscriptionKind::Shard, name }
}
