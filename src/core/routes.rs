//! The listeners of each subscription: from its name to the members, in one look-up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::effects::MemberId;
use crate::transport::{Subscriber, Subscription, SubscriptionKind};

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

/// The listeners of one name on one subscriber connection.
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
struct SubscriberRoutes {
    channels: HashMap<Arc<[u8]>, Listeners>,
    patterns: HashMap<Arc<[u8]>, Listeners>,
    shards: HashMap<Arc<[u8]>, Listeners>,
}

impl SubscriberRoutes {
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

/// How a subscriber connection takes one more listener to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The connection has to subscribe.
    Fresh,
    /// It has asked for it already.
    Asked,
    /// It has it already.
    Confirmed,
}

/// The subscriptions of all members, by subscriber connection.
#[derive(Debug, Default)]
pub struct Routes {
    subscribers: Vec<SubscriberRoutes>,
}

impl Routes {
    /// The first subscriber connection on which nobody listens to this name: Redis counts the subscribers of
    /// that channel, and each member has to be one of them.
    pub fn free_subscriber(&self, counted: &Subscription) -> Subscriber {
        self.subscribers
            .iter()
            .position(|routes| !routes.of(counted.kind).contains_key(&counted.name))
            .unwrap_or(self.subscribers.len())
    }

    /// Adds a listener.
    pub fn add(&mut self, subscriber: Subscriber, name: &Subscription, id: MemberId, role: Role) -> Added {
        if self.subscribers.len() <= subscriber {
            self.subscribers.resize_with(subscriber + 1, SubscriberRoutes::default);
        }
        let Some(routes) = self.subscribers.get_mut(subscriber) else {
            return Added::Fresh;
        };
        match routes.of_mut(name.kind).entry(Arc::clone(&name.name)) {
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
    pub fn reserve(&mut self, subscriber: Subscriber, kind: SubscriptionKind, count: usize) {
        if let Some(routes) = self.subscribers.get_mut(subscriber) {
            routes.of_mut(kind).reserve(count);
        }
    }

    /// Removes a listener; true if the subscriber connection no longer needs the name.
    pub fn remove(&mut self, subscriber: Subscriber, name: &Subscription, id: MemberId) -> bool {
        let Some(routes) = self.subscribers.get_mut(subscriber) else {
            return false;
        };
        let names = routes.of_mut(name.kind);
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
    pub fn listeners(
        &self,
        subscriber: Subscriber,
        kind: SubscriptionKind,
        name: &[u8],
    ) -> &[(MemberId, Role)] {
        let names = self.subscribers.get(subscriber).map(|routes| routes.of(kind));
        names.and_then(|names| names.get(name)).map_or(&[], |listeners| listeners.members.as_slice())
    }

    /// Redis has confirmed a name, or it no longer holds.
    pub fn set_confirmed(
        &mut self,
        subscriber: Subscriber,
        kind: SubscriptionKind,
        name: &[u8],
        confirmed: bool,
    ) {
        let names = self.subscribers.get_mut(subscriber).map(|routes| routes.of_mut(kind));
        if let Some(listeners) = names.and_then(|names| names.get_mut(name)) {
            listeners.confirmed = confirmed;
        }
    }

    /// No subscription of a subscriber connection holds any more.
    pub fn lose_subscriber(&mut self, subscriber: Subscriber) {
        let Some(routes) = self.subscribers.get_mut(subscriber) else {
            return;
        };
        for names in [&mut routes.channels, &mut routes.patterns, &mut routes.shards] {
            names.values_mut().for_each(|listeners| listeners.confirmed = false);
        }
    }
}
