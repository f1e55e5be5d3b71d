//! Who listens to what: from the name of a subscription to the members, in one look-up.

use std::collections::HashMap;

use super::effects::MemberId;
use super::member::Member;
use crate::transport::{Lane, Subscription};

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
}

impl LaneRoutes {
    fn of(&mut self, subscription: &Subscription) -> (&mut HashMap<Vec<u8>, Listeners>, Vec<u8>) {
        match subscription {
            Subscription::Channel(name) => (&mut self.channels, name.clone()),
            Subscription::Pattern(name) => (&mut self.patterns, name.clone()),
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
            let (names, name) = lane.of(&subscription);
            let listeners = names.entry(name).or_default();
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
            let (names, name) = lane.of(&subscription);
            if let Some(listeners) = names.get_mut(&name) {
                listeners.retain(|&(listener, _)| listener != id);
                if listeners.is_empty() {
                    names.remove(&name);
                    unused.push(subscription);
                }
            }
        }
        unused
    }

    /// Who listens to a channel or glob.
    pub fn listeners(&self, lane: Lane, pattern: bool, name: &[u8]) -> &[(MemberId, Role)] {
        let Some(lane) = self.lanes.get(lane) else {
            return &[];
        };
        let names = if pattern { &lane.patterns } else { &lane.channels };
        names.get(name).map_or(&[], Vec::as_slice)
    }
}
