//! Who listens to what: from the name of a subscription to the members, in one look-up.

use std::collections::HashMap;

use super::effects::MemberId;
use super::member::Member;
use crate::transport::{Lane, Subscription, SubscriptionKind};

/// What a channel means to a member. The number is its place in `Channels::subscriptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The glob of the broadcasts.
    Broadcast = 0,
    /// The channel of the requests.
    Request = 1,
    /// The channel of the responses to anyone.
    Response = 2,
    /// The channel of the responses to this member.
    OwnResponse = 3,
}

const ROLES: [Role; 4] = [Role::Broadcast, Role::Request, Role::Response, Role::OwnResponse];

type Listeners = Vec<(MemberId, Role)>;

#[derive(Debug, Default)]
struct LaneRoutes {
    channels: HashMap<Vec<u8>, Listeners>,
    patterns: HashMap<Vec<u8>, Listeners>,
    shards: HashMap<Vec<u8>, Listeners>,
}

impl LaneRoutes {
    fn of(&self, kind: SubscriptionKind) -> &HashMap<Vec<u8>, Listeners> {
        match kind {
            SubscriptionKind::Channel => &self.channels,
            SubscriptionKind::Pattern => &self.patterns,
            SubscriptionKind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: SubscriptionKind) -> &mut HashMap<Vec<u8>, Listeners> {
        match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::Shard => &mut self.shards,
        }
    }
}

/// The subscriptions of all members, by lane.
#[derive(Debug, Default)]
pub struct Routes {
    lanes: Vec<LaneRoutes>,
}

impl Routes {
    /// The first lane in which nobody listens to this request channel yet: Redis counts the subscribers of
    /// that channel, and each member has to be one of them.
    pub fn free_lane(&self, request_channel: &[u8]) -> Lane {
        self.lanes
            .iter()
            .position(|lane| !lane.channels.contains_key(request_channel))
            .unwrap_or(self.lanes.len())
    }

    /// Adds a member; returns the subscriptions that its lane does not have yet.
    pub fn add(&mut self, id: MemberId, member: &Member) -> Vec<Subscription> {
        if self.lanes.len() <= member.lane {
            self.lanes.resize_with(member.lane + 1, LaneRoutes::default);
        }
        let Some(lane) = self.lanes.get_mut(member.lane) else {
            return Vec::new();
        };
        let subscriptions = member.channels.subscriptions();
        let mut fresh = Vec::new();
        for (subscription, role) in subscriptions.into_iter().zip(ROLES) {
            let listeners = lane.of_mut(subscription.kind).entry(subscription.name.clone()).or_default();
            if listeners.is_empty() {
                fresh.push(subscription);
            }
            listeners.push((id, role));
        }
        fresh
    }

    /// Removes a member; returns the subscriptions that its lane no longer needs.
    pub fn remove(&mut self, id: MemberId, member: &Member) -> Vec<Subscription> {
        let Some(lane) = self.lanes.get_mut(member.lane) else {
            return Vec::new();
        };
        let mut unused = Vec::new();
        for subscription in member.channels.subscriptions() {
            let names = lane.of_mut(subscription.kind);
            if let Some(listeners) = names.get_mut(&subscription.name) {
                listeners.retain(|&(listener, _)| listener != id);
                if listeners.is_empty() {
                    names.remove(&subscription.name);
                    unused.push(subscription);
                }
            }
        }
        unused
    }

    /// Who listens to a channel or glob.
    pub fn listeners(&self, lane: Lane, kind: SubscriptionKind, name: &[u8]) -> &[(MemberId, Role)] {
        let names = self.lanes.get(lane).map(|lane| lane.of(kind));
        names.and_then(|names| names.get(name)).map_or(&[], Vec::as_slice)
    }
}
