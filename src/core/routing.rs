//! Which channel a message takes.
//!
//! A broadcast to one room may take that room's channel, which only the servers with sockets in the room listen to. All
//! other messages take a channel of the namespace, which all its servers listen to. The `subscriptionMode` option decides which
//! rooms have channels. A room that sockets were told to join a moment ago is treated as if it had none: the servers that
//! have these sockets may not be subscribed to its channel yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::Family;
use crate::wire::channel::Channels;

/// How long a room that sockets were told to join is treated as if it had no channel. A server subscribes within
/// milliseconds of the message; this leaves time for a server whose event loop is blocked.
const JOIN_COVER: Duration = Duration::from_secs(2);

/// More joins than this are not remembered one by one: all rooms are then treated as if they had no channel.
const MAX_JOINS: usize = 10_000;

/// U+FFFD in UTF-8. JavaScript's strings may hold half a surrogate pair, which has no UTF-8: each arrives here as this.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Which rooms have channels of their own in a sharded cluster: the `subscriptionMode` option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// None.
    Static,
    /// All but those that look like the id of a socket.
    Dynamic,
    /// All.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Whether a room has a channel. The reference takes a name of 20 characters, as JavaScript counts them, for the id of
    /// a socket.
    fn has_channel(self, room: &[u8]) -> bool {
        match self {
            SubscriptionMode::Static => false,
            SubscriptionMode::Dynamic => {
                // No character takes more than three bytes for each unit.
                !(20..=60).contains(&room.len()) || String::from_utf8_lossy(room).encode_utf16().count() != 20
            }
            SubscriptionMode::DynamicPrivate => true,
        }
    }
}

/// The channels of one member, and the rules by which messages take them.
#[derive(Clone, Debug)]
pub struct Routing {
    /// The names.
    pub channels: Channels,
    mode: SubscriptionMode,
    specific_responses: bool,
    joins: Joins,
}

impl Routing {
    /// The routing of a member with these channels; `specific_responses` is the `publishOnSpecificResponseChannel` option.
    pub fn new(channels: Channels, mode: SubscriptionMode, specific_responses: bool, joins: Joins) -> Self {
        Routing { channels, mode, specific_responses, joins }
    }

    /// Whether the servers with sockets in a room subscribe to a channel of the room. Servers of the classic family listen
    /// to the channels of all rooms, by a pattern; those with streams to none.
    pub fn subscribes(&self, room: &[u8]) -> bool {
        self.channels.family == Family::Sharded && self.mode.has_channel(room)
    }

    /// Whether a broadcast to exactly this room takes the channel of the room.
    pub fn takes_room_channel(&self, room: &[u8], now: Instant) -> bool {
        match self.channels.family {
            Family::Classic => true,
            Family::Sharded => {
                self.mode.has_channel(room) && !self.is_ambiguous(room) && !self.joins.contains(room, now)
            }
            Family::Streams { .. } => false,
        }
    }

    /// Whether the name may be that of another room, too: then no server can tell by the channel, and the options of the
    /// message have to name the room.
    pub fn is_ambiguous(&self, room: &[u8]) -> bool {
        self.channels.family != Family::Classic && has_replacement(room)
    }

    /// Sockets somewhere are told to join rooms.
    pub fn cover<'a>(&self, rooms: impl ExactSizeIterator<Item = &'a [u8]>, now: Instant) {
        if self.channels.family == Family::Sharded && self.mode != SubscriptionMode::Static {
            self.joins.add(rooms, now);
        }
    }

    /// The requester, if a response goes to its channel; none if it goes to all servers.
    pub fn response_to<'a>(&self, requester: Option<&'a str>) -> Option<&'a str> {
        requester.filter(|_| self.specific_responses)
    }
}

/// Whether a name may hold half a surrogate pair.
pub fn has_replacement(name: &[u8]) -> bool {
    memchr::memmem::find(name, REPLACEMENT).is_some()
}

/// The rooms that sockets were recently told to join. Clones share them: the JS thread asks, and both threads add to them.
#[derive(Clone, Debug, Default)]
pub struct Joins(Arc<Mutex<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    /// Until when each counts.
    until: HashMap<Box<[u8]>, Instant>,
    /// The same in the order in which they end; a room that was renewed stands there again.
    order: VecDeque<(Instant, Box<[u8]>)>,
    /// Until when all rooms count.
    all: Option<Instant>,
}

impl Joins {
    fn add<'a>(&self, rooms: impl ExactSizeIterator<Item = &'a [u8]>, now: Instant) {
        let until = now + JOIN_COVER;
        self.with(|recent| {
            recent.age(now);
            if recent.order.len() + rooms.len() > MAX_JOINS {
                *recent = Recent { all: Some(until), ..Recent::default() };
                return;
            }
            for room in rooms {
                recent.until.insert(room.into(), until);
                recent.order.push_back((until, room.into()));
            }
        });
    }

    fn contains(&self, room: &[u8], now: Instant) -> bool {
        self.with(|recent| {
            recent.age(now);
            recent.all.is_some() || recent.until.contains_key(room)
        })
    }

    /// A thread that has panicked with the lock may have left a room half added, which does no harm.
    fn with<R>(&self, call: impl FnOnce(&mut Recent) -> R) -> R {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recent {
    /// Forgets what no longer counts.
    fn age(&mut self, now: Instant) {
        self.all = self.all.filter(|&until| now < until);
        while self.order.front().is_some_and(|&(until, _)| until <= now) {
            if let Some((until, room)) = self.order.pop_front()
                && self.until.get(&room) == Some(&until)
            {
                self.until.remove(&room);
            }
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Recent { all: self.all, ..Recent::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ChannelKind;

    const CLASSIC: Family = Family::Classic;
    const SHARDED: Family = Family::Sharded;
    const STREAMS: Family = Family::Streams { channel_kind: ChannelKind::Global };
    const STREAMS_SHARDED: Family = Family::Streams { channel_kind: ChannelKind::Shard };
    use SubscriptionMode::{Dynamic, DynamicPrivate, Static};

    fn routing(family: Family, mode: SubscriptionMode) -> Routing {
        Routing::new(Channels::new(family, "k", "/", "u"), mode, true, Joins::default())
    }

    #[test]
    fn a_broadcast_to_one_room_takes_the_channel_that_the_table_says() {
        let id = "twenty-characters-ab";
        let surrogates = "twenty-characters-\u{1f600}";
        // Family, mode, room: whether servers subscribe to a channel of the room, and whether a broadcast takes it.
        let table = [
            (CLASSIC, Static, "room", false, true),
            (CLASSIC, Static, id, false, true),
            (CLASSIC, Static, "", false, true),
            (CLASSIC, Static, "half \u{fffd}", false, true),
            (SHARDED, Static, "room", false, false),
            (SHARDED, Static, id, false, false),
            (SHARDED, Dynamic, "room", true, true),
            (SHARDED, Dynamic, "", true, true),
            (SHARDED, Dynamic, id, false, false),
            (SHARDED, Dynamic, "twenty-characters-abc", true, true),
            (SHARDED, Dynamic, "twenty-characters-a", true, true),
            (SHARDED, Dynamic, surrogates, false, false),
            (SHARDED, Dynamic, "twenty-characters-\u{1f600}b", true, true),
            (
                SHARDED,
                Dynamic,
                "\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}\u{4e00}",
                false,
                false,
            ),
            // Of an old client in a namespace.
            (SHARDED, Dynamic, "/nsp#twenty-characters-ab", true, true),
            (SHARDED, Dynamic, "half \u{fffd}", true, false),
            (SHARDED, DynamicPrivate, "room", true, true),
            (SHARDED, DynamicPrivate, id, true, true),
            (SHARDED, DynamicPrivate, "half \u{fffd}", true, false),
            (STREAMS, Static, "room", false, false),
            (STREAMS_SHARDED, Static, "room", false, false),
        ];
        for (family, mode, room, subscribes, takes) in table {
            let routing = routing(family, mode);
            let got = (
                routing.subscribes(room.as_bytes()),
                routing.takes_room_channel(room.as_bytes(), Instant::now()),
            );
            assert_eq!(got, (subscribes, takes), "{family:?} {mode:?} {room:?}");
        }
    }

    #[test]
    fn a_room_that_was_joined_of_late_is_reached_by_the_channel_of_the_namespace() {
        let now = Instant::now();
        let late = now + JOIN_COVER / 2;
        for (family, mode, covers) in
            [(CLASSIC, Static, false), (SHARDED, Dynamic, true), (SHARDED, DynamicPrivate, true)]
        {
            let routing = routing(family, mode);
            routing.cover([&b"a"[..], b"b"].into_iter(), now);
            assert_eq!(routing.takes_room_channel(b"a", now), !covers);
            assert!(routing.takes_room_channel(b"other", now));
            routing.cover([&b"b"[..]].into_iter(), late);
            assert!(routing.takes_room_channel(b"a", now + JOIN_COVER));
            assert_eq!(routing.takes_room_channel(b"b", now + JOIN_COVER), !covers, "it was renewed");
            assert!(routing.takes_room_channel(b"b", late + JOIN_COVER));
        }
    }

    #[test]
    fn joins_of_very_many_rooms_cover_all_for_a_while() {
        let now = Instant::now();
        let routing = routing(SHARDED, Dynamic);
        let names: Vec<String> = (0..=MAX_JOINS).map(|n| format!("room {n}")).collect();
        routing.cover(names.iter().map(String::as_bytes), now);
        assert!(!routing.takes_room_channel(b"any", now));
        assert_eq!(routing.joins.with(|recent| recent.order.len()), 0, "they are not kept");
        assert!(routing.takes_room_channel(b"any", now + JOIN_COVER));
    }

    #[test]
    fn one_room_that_is_joined_again_and_again_is_kept_within_the_bound() {
        let now = Instant::now();
        let routing = routing(SHARDED, Dynamic);
        for n in 0..3 * MAX_JOINS {
            routing.cover([&b"a"[..]].into_iter(), now + Duration::from_micros(n as u64));
            assert!(routing.joins.with(|recent| recent.order.len()) <= MAX_JOINS);
        }
        assert!(!routing.takes_room_channel(b"a", now));
        assert!(routing.takes_room_channel(b"a", now + 2 * JOIN_COVER));
        assert_eq!(routing.joins.with(|recent| recent.order.len() + recent.until.len()), 0);
    }

    #[test]
    fn a_response_goes_to_its_requester_alone_if_the_option_says_so() {
        let channels = Channels::new(CLASSIC, "k", "/", "u");
        for (specific, requester, expected) in
            [(true, Some("r"), Some("r")), (true, None, None), (false, Some("r"), None), (false, None, None)]
        {
            let routing = Routing::new(channels.clone(), Static, specific, Joins::default());
            assert_eq!(routing.response_to(requester), expected);
        }
    }
}
