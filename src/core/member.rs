//! A member of the cluster: one Socket.IO server's adapter for one namespace, and what is known of its sockets.

use std::collections::HashMap;
use std::time::Instant;

use crate::transport::Lane;
use crate::wire::channel::Channels;

/// What JS says of a member when it joins.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Its uid: six characters, its own.
    pub uid: String,
    /// Its namespace.
    pub nsp: String,
    /// The `key` option: the prefix of the channels.
    pub prefix: String,
    /// Whether the user gave a parser of his own: then only JS can read what does not begin with `{`.
    pub custom_parser: bool,
    /// The `publishOnSpecificResponseChannel` option: responses go to the requester alone.
    pub specific_responses: bool,
    /// Whether the server's Socket.IO parser prints the standard text: then broadcasts become frames here.
    pub frames: bool,
}

/// A member.
#[derive(Debug)]
pub struct Member {
    /// As it joined.
    pub spec: MemberSpec,
    /// Its channels.
    pub channels: Channels,
    /// Where its subscriptions sit.
    pub lane: Lane,
    /// Which of its subscriptions Redis has confirmed, in the order of [`Channels::subscriptions`].
    pub confirmed: [bool; 4],
    /// Subscribers of its channels when last counted, itself included: what an outage waits for at its end.
    pub peers: u64,
    /// When they are to be counted again, if it publishes.
    pub peers_due: Option<Instant>,
    interest: Interest,
}

impl Member {
    /// A member whose subscriptions are to sit in `lane`.
    pub fn new(spec: MemberSpec, lane: Lane) -> Self {
        Member {
            channels: Channels::new(&spec.prefix, &spec.nsp, &spec.uid),
            spec,
            lane,
            confirmed: [false; 4],
            peers: 0,
            peers_due: None,
            interest: Interest::default(),
        }
    }

    /// Whether all its subscriptions hold.
    pub fn is_subscribed(&self) -> bool {
        self.confirmed.iter().all(|&confirmed| confirmed)
    }

    /// What is known of its sockets.
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

/// Which rooms have local sockets, so that what nobody here needs is dropped before it costs the JS thread
/// anything.
#[derive(Debug, Default)]
pub struct Interest {
    /// A room may be there twice: as the number 1 and as the string "1".
    rooms: HashMap<Box<[u8]>, u32>,
    occupied: bool,
    /// Requests on their way to JS that may make sockets join rooms. Until JS has worked them off, a message
    /// behind them cannot be judged here.
    unsettled: u32,
}

impl Interest {
    /// The first local socket has joined a room.
    pub fn add_room(&mut self, room: &[u8]) {
        match self.rooms.get_mut(room) {
            Some(count) => *count += 1,
            None => {
                self.rooms.insert(room.into(), 1);
            }
        }
    }

    /// The last local socket has left a room.
    pub fn remove_room(&mut self, room: &[u8]) {
        if let Some(count) = self.rooms.get_mut(room) {
            *count -= 1;
            if *count == 0 {
                self.rooms.remove(room);
            }
        }
    }

    /// Whether the namespace has any local socket.
    pub fn set_occupied(&mut self, occupied: bool) {
        self.occupied = occupied;
    }

    /// A request that may change rooms is on its way to JS.
    pub fn unsettle(&mut self) {
        self.unsettled += 1;
    }

    /// JS has worked off `count` of those.
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
        };
        Member::new(spec, 0)
    }

    #[test]
    fn a_room_counts_as_often_as_it_was_added() {
        let mut member = member();
        member.interest().add_room(b"1");
        member.interest().add_room(b"1");
        member.interest().remove_room(b"1");
        assert!(member.wants_room(b"1"));
        member.interest().remove_room(b"1");
        assert!(!member.wants_room(b"1"));
        member.interest().remove_room(b"1");
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
