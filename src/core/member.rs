//! A member of the cluster: one Socket.IO server's adapter for one namespace, and its sockets as far as they are known.

use std::collections::HashMap;
use std::time::Instant;

use super::routes::Role;
pub use super::routing::SubscriptionMode;
use super::routing::{Joins, Routing};
use super::subscriptions::Subscriptions;
use crate::transport::{ChannelKind, Subscriber, Subscription};
use crate::wire::Family;
use crate::wire::channel::Channels;

/// A member as it joins.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Its uid: six characters that no other member has.
    pub uid: String,
    /// Its namespace.
    pub nsp: String,
    /// The `key` option: the prefix of the channels.
    pub prefix: String,
    /// Whether the user gave a parser: then only JS can read a message that does not begin with `{`.
    pub custom_parser: bool,
    /// The `publishOnSpecificResponseChannel` option: responses go to the requester alone.
    pub specific_responses: bool,
    /// Which rooms have channels of their own, if it is sharded.
    pub mode: SubscriptionMode,
    /// Whether the server's Socket.IO parser prints the standard text: then broadcasts become frames here.
    pub frames: bool,
    /// The streams that it adds to and reads, if it is one of streams.
    pub stream: Option<StreamSpec>,
    /// The name of its own channel if it is an emitter: it publishes as `uid`, listens to nothing but that channel as
    /// long as the link is not proven, and no server counts it.
    pub emitter: Option<String>,
    /// The rooms that sockets were recently told to join.
    pub joins: Joins,
}

impl MemberSpec {
    /// The channels that its messages take.
    pub fn routing(&self, family: Family) -> Routing {
        let own = self.emitter.as_deref().unwrap_or(&self.uid);
        let channels = Channels::new(family, &self.prefix, &self.nsp, own);
        Routing::new(channels, self.mode, self.specific_responses, self.joins.clone())
    }
}

/// The options of a member about its streams.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// `streamName`.
    pub name: String,
    /// `streamCount`.
    pub count: u32,
    /// `maxLen`.
    pub max_len: u64,
    /// `readCount`.
    pub read_count: u64,
    /// `blockTimeInMs`, in milliseconds.
    pub block: u64,
    /// Whether the server recovers connections: then packets carry the ids of their entries.
    pub recovers: bool,
}

/// A member.
#[derive(Debug)]
pub struct Member {
    /// As it joined.
    pub spec: MemberSpec,
    /// Its channels.
    pub routing: Routing,
    /// The subscriber connection that has its subscriptions.
    pub subscriber: Subscriber,
    /// Its subscriptions.
    pub subscriptions: Subscriptions,
    /// Whether it is an emitter that listens for the proof.
    pub proves: bool,
    /// The end of its messages, if it is sharded.
    pub tail: Vec<u8>,
    /// The end of the messages to its namespace, if it is sharded.
    pub ending: Vec<u8>,
    /// Rooms that have come or gone since their subscriptions were last looked at.
    dirty: Vec<Box<[u8]>>,
    /// Subscribers of its channels when last counted, itself included if it listens: the end of an outage waits for as many.
    pub peers: u64,
    /// When they were last counted.
    pub counted: Option<Instant>,
    /// Whether they are to be counted again.
    pub queued: bool,
    /// Whether another server has said hello since they were last counted.
    pub greeted: bool,
    /// Whether several counts in a row did not find it, though it was found before: the next one is believed.
    pub unfound: bool,
    /// Whether Redis has still to let it read one of its streams.
    pub waits_for_streams: bool,
    /// Whether it has said hello itself.
    pub known: bool,
    /// Whether publishes have waited in vain until it was subscribed, and wait no more: Redis may refuse it.
    pub stays_deaf: bool,
    /// Whether some of its peers were not found when an outage ended, and have not been counted since.
    pub missed: bool,
    /// How many messages it has published since an outage ended.
    pub since: u64,
    interest: Interest,
}

impl Member {
    /// A member whose subscriptions are to be on `subscriber`.
    pub fn new(family: Family, spec: MemberSpec, subscriber: Subscriber) -> Self {
        Member {
            routing: spec.routing(family),
            tail: crate::wire::cluster::tail(&spec.uid, &spec.nsp),
            ending: crate::wire::glance::ending(&spec.nsp),
            spec,
            subscriber,
            subscriptions: Subscriptions::default(),
            proves: false,
            dirty: Vec::new(),
            peers: 0,
            counted: None,
            queued: false,
            greeted: false,
            unfound: false,
            waits_for_streams: false,
            known: false,
            stays_deaf: false,
            missed: false,
            since: 0,
            interest: Interest::default(),
        }
    }

    /// Whether all its subscriptions hold.
    pub fn is_subscribed(&self) -> bool {
        self.subscriptions.is_whole() || (!self.listens() && !self.proves)
    }

    /// Whether it hears all messages of the other servers.
    pub fn is_ready(&self) -> bool {
        self.is_subscribed() && !self.waits_for_streams
    }

    /// Whether it hears the other servers, and they count it.
    pub fn listens(&self) -> bool {
        self.spec.emitter.is_none()
    }

    /// Whether there were other servers when last counted.
    pub fn has_peers(&self) -> bool {
        self.peers > u64::from(self.listens())
    }

    /// Whether its packets carry the ids of their entries.
    pub fn recovers(&self) -> bool {
        self.spec.stream.as_ref().is_some_and(|stream| stream.recovers)
    }

    /// The subscriptions that it has as long as it is there.
    pub fn vital(&self) -> Vec<(Subscription, Role)> {
        let channels = &self.routing.channels;
        let own = channels.own_response.as_slice();
        if !self.listens() {
            let own = Subscription::new(channels.counted().kind, own);
            return if self.proves { vec![(own, Role::Response)] } else { Vec::new() };
        }
        match channels.family {
            Family::Classic => vec![
                (Subscription::pattern(channels.pattern()), Role::Broadcast),
                (Subscription::channel(channels.request.as_slice()), Role::Request),
                (Subscription::channel(channels.response.as_slice()), Role::Response),
                (Subscription::channel(own), Role::Response),
            ],
            Family::Sharded | Family::Streams { channel_kind: ChannelKind::Shard } => vec![
                (Subscription::shard(channels.broadcast.as_slice()), Role::Cluster),
                (Subscription::shard(own), Role::Response),
            ],
            Family::Streams { channel_kind: ChannelKind::Global } => vec![
                (Subscription::channel(channels.broadcast.as_slice()), Role::Cluster),
                (Subscription::channel(own), Role::Response),
            ],
        }
    }

    /// The first local socket has joined a room, or the last one has left it.
    pub fn set_room(&mut self, room: &[u8], present: bool) {
        if present {
            self.interest.add_room(room);
        } else {
            self.interest.remove_room(room);
        }
        if self.routing.subscribes(room) {
            self.dirty.push(room.into());
        }
    }

    /// Whether there are rooms that it does not listen to yet.
    pub fn waits_for_rooms(&self) -> bool {
        self.is_dirty() || !self.subscriptions.is_confirmed(self.subscriptions.ticket())
    }

    /// Whether there are rooms to look at.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The subscriptions of rooms that are to be made, and those that are to end. A room that came and went in one tick is
    /// in neither list.
    pub fn changed_rooms(&mut self) -> (Vec<Subscription>, Vec<Subscription>) {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for room in std::mem::take(&mut self.dirty) {
            let name = Subscription::shard(self.routing.channels.room(&room));
            // A room may have the name of this member, which listens to that channel anyway.
            if *name.name == *self.routing.channels.own_response {
                continue;
            }
            match (self.interest.rooms.contains_key(&room), self.subscriptions.contains(&name)) {
                (true, false) => {
                    self.subscriptions.add(name.clone(), false);
                    added.push(name);
                }
                (false, true) => {
                    self.subscriptions.remove(&name);
                    removed.push(name);
                }
                _ => {}
            }
        }
        (added, removed)
    }

    /// The names of the rooms that have local sockets; `None` if only JS knows them all.
    pub fn room_names(&self) -> Option<impl Iterator<Item = &str>> {
        let Interest { rooms, odd_rooms, unsettled, .. } = &self.interest;
        (*unsettled == 0 && *odd_rooms == 0)
            .then(|| rooms.keys().filter_map(|name| std::str::from_utf8(name).ok()))
    }

    /// Its sockets, as far as they are known.
    pub fn interest(&mut self) -> &mut Interest {
        &mut self.interest
    }

    /// Whether a message to `room` may concern a socket here.
    pub fn wants_room(&self, room: &[u8]) -> bool {
        self.interest.unsettled > 0 || self.interest.rooms.contains_key(room)
    }

    /// Whether a message to everyone may concern a socket here.
    pub fn wants_all(&self) -> bool {
        self.interest.unsettled > 0 || self.interest.occupied
    }
}

/// Which rooms have local sockets, so that a message that no socket here needs is dropped before it costs the JS
/// thread anything.
#[derive(Debug, Default)]
pub struct Interest {
    /// A room may be there twice: as the number 1 and as the string "1".
    rooms: HashMap<Box<[u8]>, u32>,
    /// How many of them are no strings, or strings that UTF-8 cannot express.
    odd_rooms: u32,
    occupied: bool,
    /// Requests on their way to JS that may make sockets join rooms. Until JS has handled them, no message behind them can
    /// be dropped here.
    unsettled: u32,
}

impl Interest {
    /// The first local socket has joined a room.
    fn add_room(&mut self, room: &[u8]) {
        match self.rooms.get_mut(room) {
            Some(count) => *count += 1,
            None => {
                self.rooms.insert(room.into(), 1);
            }
        }
    }

    /// The last local socket has left a room.
    fn remove_room(&mut self, room: &[u8]) {
        if let Some(count) = self.rooms.get_mut(room) {
            *count -= 1;
            if *count == 0 {
                self.rooms.remove(room);
            }
        }
    }

    /// One of the rooms is no string, or one that UTF-8 cannot express.
    pub fn set_odd_room(&mut self, present: bool) {
        self.odd_rooms = if present { self.odd_rooms + 1 } else { self.odd_rooms.saturating_sub(1) };
    }

    /// Whether the namespace has any local socket.
    pub fn set_occupied(&mut self, occupied: bool) {
        self.occupied = occupied;
    }

    /// A request that may change rooms is on its way to JS.
    pub fn unsettle(&mut self) {
        self.unsettled += 1;
    }

    /// JS has handled `count` of those.
    pub fn settle(&mut self, count: u32) {
        self.unsettled = self.unsettled.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Member {
        let spec = MemberSpec {
            uid: "u".into(),
            nsp: "/".into(),
            prefix: "socket.io".into(),
            custom_parser: false,
            specific_responses: false,
            frames: true,
            stream: None,
            emitter: None,
            joins: Default::default(),
            mode: SubscriptionMode::Dynamic,
        };
        Member::new(Family::Sharded, spec, 0)
    }

    #[test]
    fn rooms_that_come_and_go_change_subscriptions() {
        let mut member = member();
        for (room, present) in [("a", true), ("b", true), ("b", false), ("twenty-characters-ab", true)] {
            member.set_room(room.as_bytes(), present);
        }
        assert_eq!(member.changed_rooms(), (vec![Subscription::shard("socket.io#/#a#")], vec![]));
        assert!(!member.is_dirty());
        member.set_room(b"a", false);
        member.set_room(b"a", true);
        assert_eq!(member.changed_rooms(), (vec![], vec![]));
        member.set_room(b"a", false);
        assert_eq!(member.changed_rooms(), (vec![], vec![Subscription::shard("socket.io#/#a#")]));
        for (name, _) in member.vital() {
            member.subscriptions.add(name, true);
        }
        for present in [true, false] {
            member.set_room(b"u", present);
            assert_eq!(member.changed_rooms(), (vec![], vec![]), "the name of the member itself");
        }
    }

    #[test]
    fn a_room_counts_as_often_as_it_was_added() {
        let mut member = member();
        member.set_room(b"1", true);
        member.set_room(b"1", true);
        member.set_room(b"1", false);
        assert!(member.wants_room(b"1"));
        member.set_room(b"1", false);
        assert!(!member.wants_room(b"1"));
        member.set_room(b"1", false);
        assert!(!member.wants_room(b"1"));
    }

    #[test]
    fn while_rooms_may_change_everything_is_wanted() {
        let mut member = member();
        assert!(!member.wants_all());
        member.interest().unsettle();
        assert!(member.wants_all());
        assert!(member.wants_room(b"any"));
        member.interest().settle(5);
        assert!(!member.wants_room(b"any"));
        member.interest().set_occupied(true);
        assert!(member.wants_all());
    }
}
