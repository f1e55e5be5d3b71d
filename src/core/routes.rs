//! The listeners of each subscription: from its name to the members, in one look-up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::effects::MemberId;
use crate::transport::{Lane, Subscription, SubscriptionKind};

/// What a channel means to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Classic: the glob of the broadcasts.
    Broadcast,
    /// Classic: the channel of the requests.
    Request,
    /// Classic: a channel of responses. Sharded: the channel of this member alone, for responses too.
    Response,
    /// Sharded: the channel of the namespace or of a room, for broadcasts and requests.
    Cluster,
}

/// The listeners of one name in one lane.
#[derive(Debug)]
struct Listeners {
    members: ListenerList,
    /// Whether Redis has confirmed it: a listener that comes later need not wait.
    confirmed: bool,
}

/// Most names have one listener, and there may be 100,000 names: a single listener needs no memory of its own.
#[derive(Debug)]
enum ListenerList {
    One((MemberId, Role)),
    Many(Vec<(MemberId, Role)>),
}

impl ListenerList {
    fn as_slice(&self) -> &[(MemberId, Role)] {
        match self {
            ListenerList::One(one) => std::slice::from_ref(one),
            ListenerList::Many(many) => many,
        }
    }

    fn push(&mut self, member: (MemberId, Role)) {
        match self {
            ListenerList::One(one) => *self = ListenerList::Many(vec![*one, member]),
            ListenerList::Many(many) => many.push(member),
        }
    }

    /// Removes a member; true if none is left.
    fn remove(&mut self, id: MemberId) -> bool {
        match self {
            ListenerList::One((one, _)) => *one == id,
            ListenerList::Many(many) => {
                many.retain(|&(listener, _)| listener != id);
                many.is_empty()
            }
        }
    }
}

#[derive(Debug, Default)]
struct LaneRoutes {
    channels: HashMap<Arc<[u8]>, Listeners>,
    patterns: HashMap<Arc<[u8]>, Listeners>,
    shards: HashMap<Arc<[u8]>, Listeners>,
}

impl LaneRoutes {
    fn of(&self, kind: SubscriptionKind) -> &HashMap<Arc<[u8]>, Listeners> {
        match kind {
            SubscriptionKind::Channel => &self.channels,
            SubscriptionKind::Pattern => &self.patterns,
            SubscriptionKind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: SubscriptionKind) -> &mut HashMap<Arc<[u8]>, Listeners> {
        match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::Shard => &mut self.shards,
        }
    }
}

/// How a lane takes one more listener to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The lane has to subscribe.
    Fresh,
    /// It has asked for it already.
    Asked,
    /// It has it already.
    Confirmed,
}

/// The subscriptions of all members, by lane.
#[derive(Debug, Default)]
pub struct Routes {
    lanes: Vec<LaneRoutes>,
}

impl Routes {
    /// The first lane in which nobody listens to this name: Redis counts the subscribers of that channel, and each
    /// member has to be one of them.
    pub fn free_lane(&self, counted: &Subscription) -> Lane {
        self.lanes
            .iter()
            .position(|lane| !lane.of(counted.kind).contains_key(&counted.name))
            .unwrap_or(self.lanes.len())
    }

    /// Adds a listener.
    pub fn add(&mut self, lane: Lane, name: &Subscription, id: MemberId, role: Role) -> Added {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, LaneRoutes::default);
        }
        let Some(lane) = self.lanes.get_mut(lane) else {
            return Added::Fresh;
        };
        match lane.of_mut(name.kind).entry(Arc::clone(&name.name)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Listeners { members: ListenerList::One((id, role)), confirmed: false });
                Added::Fresh
            }
            Entry::Occupied(mut occupied) => {
                let listeners = occupied.get_mut();
                listeners.members.push((id, role));
                if listeners.confirmed { Added::Confirmed } else { Added::Asked }
            }
        }
    }

    /// Makes room for so many names of a kind, which come one after another: moving 50,000 of them takes longer than a link
    /// may be busy for.
    pub fn reserve(&mut self, lane: Lane, kind: SubscriptionKind, count: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.of_mut(kind).reserve(count);
        }
    }

    /// Removes a listener; true if the lane no longer needs the name.
    pub fn remove(&mut self, lane: Lane, name: &Subscription, id: MemberId) -> bool {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return false;
        };
        let names = lane.of_mut(name.kind);
        let Some(listeners) = names.get_mut(&name.name) else {
            return false;
        };
        let unused = listeners.members.remove(id);
        if unused {
            names.remove(&name.name);
        }
        unused
    }

    /// Who listens to a channel or glob.
    pub fn listeners(&self, lane: Lane, kind: SubscriptionKind, name: &[u8]) -> &[(MemberId, Role)] {
        let names = self.lanes.get(lane).map(|lane| lane.of(kind));
        names.and_then(|names| names.get(name)).map_or(&[], |listeners| listeners.members.as_slice())
    }

    /// Redis has confirmed a name, or it no longer holds.
    pub fn set_confirmed(&mut self, lane: Lane, kind: SubscriptionKind, name: &[u8], confirmed: bool) {
        let names = self.lanes.get_mut(lane).map(|lane| lane.of_mut(kind));
        if let Some(listeners) = names.and_then(|names| names.get_mut(name)) {
            listeners.confirmed = confirmed;
        }
    }

    /// No subscription of a lane holds any more.
    pub fn lose_lane(&mut self, lane: Lane) {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return;
        };
        for names in [&mut lane.channels, &mut lane.patterns, &mut lane.shards] {
            names.values_mut().for_each(|listeners| listeners.confirmed = false);
        }
    }
}
