//! The names of a namespace's channels, and the room in the name of a broadcast channel.

use std::borrow::Cow;

use super::Family;
use crate::transport::{ChannelKind, Subscription};

/// The channels of one member: one Socket.IO server's adapter for one namespace.
///
/// A sharded one has a single channel, `P#N#`, for broadcasts and requests, and its own below it, `P#N#U#`.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The family of its messages.
    pub family: Family,
    /// `P#N#`: broadcasts to everyone or to several rooms. One room has a channel below it.
    pub broadcast: Vec<u8>,
    /// Classic: `P-request#N#`.
    pub request: Vec<u8>,
    /// Classic: `P-response#N#`.
    pub response: Vec<u8>,
    /// `P-response#N#U#`: where only this member listens.
    pub own_response: Vec<u8>,
}

/// Where a message of this node goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The broadcast channel, or the one of a single room.
    Broadcast {
        /// The room.
        room: Option<String>,
    },
    /// The request channel.
    Request,
    /// The response channel, or the one of a single member.
    Response {
        /// The member.
        uid: Option<String>,
    },
}

impl Channels {
    /// The channels under `prefix` (the `key` option) for a namespace, for the member with this uid.
    pub fn new(family: Family, prefix: &str, nsp: &str, uid: &str) -> Self {
        let broadcast = format!("{prefix}#{nsp}#").into_bytes();
        let (request, response) = match family {
            Family::Classic => (
                format!("{prefix}-request#{nsp}#").into_bytes(),
                format!("{prefix}-response#{nsp}#").into_bytes(),
            ),
            Family::Sharded | Family::Streams { .. } => (broadcast.clone(), broadcast.clone()),
        };
        Channels { family, own_response: response_of(&response, uid), broadcast, request, response }
    }

    /// The glob that matches the broadcast channel and every room below it, and nothing else.
    pub fn pattern(&self) -> Vec<u8> {
        let mut pattern = escape_glob(&self.broadcast);
        pattern.push(b'*');
        pattern
    }

    /// The channel of a broadcast to exactly one room.
    pub fn room(&self, room: &[u8]) -> Vec<u8> {
        let mut channel = Vec::with_capacity(self.broadcast.len() + room.len() + 1);
        channel.extend_from_slice(&self.broadcast);
        channel.extend_from_slice(room);
        channel.push(b'#');
        channel
    }

    /// The response channel of the member with this uid.
    pub fn response_of(&self, uid: &str) -> Vec<u8> {
        response_of(&self.response, uid)
    }

    /// The channel of a message.
    pub fn of(&self, to: &Destination) -> Cow<'_, [u8]> {
        match to {
            Destination::Broadcast { room: Some(room) } => self.room(room.as_bytes()).into(),
            Destination::Broadcast { room: None } => self.broadcast.as_slice().into(),
            Destination::Request => self.request.as_slice().into(),
            Destination::Response { uid: Some(uid) } => self.response_of(uid).into(),
            Destination::Response { uid: None } => self.response.as_slice().into(),
        }
    }

    /// The rules of an ACL that allow these channels, as `ACL SETUSER` takes them. Those of a sharded cluster are the same for
    /// all namespaces: their names begin with `prefix`.
    pub fn acl_rules(&self, prefix: &str) -> String {
        let name = |channel: &[u8]| String::from_utf8_lossy(channel).into_owned();
        match self.family {
            Family::Classic => {
                let [broadcast, request, response] =
                    [&self.broadcast, &self.request, &self.response].map(|channel| name(channel));
                format!("&{broadcast}* &{request} &{response}*")
            }
            Family::Sharded | Family::Streams { .. } => format!("&{prefix}#*"),
        }
    }

    /// The room in the name of a broadcast channel: empty for the channel of the whole namespace, `None` if the
    /// channel is not one of this namespace. As in the reference, the last character is cut off unseen.
    pub fn room_in<'a>(&self, channel: &'a [u8]) -> Option<&'a [u8]> {
        let rest = channel.strip_prefix(self.broadcast.as_slice())?;
        Some(rest.split_last().map_or(rest, |(_, room)| room))
    }

    /// The channel whose subscribers answer requests.
    pub fn answering(&self) -> Vec<Vec<u8>> {
        match self.family {
            Family::Classic => vec![self.request.clone(), self.response.clone()],
            Family::Sharded | Family::Streams { .. } => vec![self.request.clone()],
        }
    }

    /// The one whose subscribers are the members.
    pub fn counted(&self) -> Subscription {
        match self.family {
            Family::Classic => Subscription::channel(self.request.as_slice()),
            Family::Sharded | Family::Streams { channel_kind: ChannelKind::Shard } => {
                Subscription::shard(self.request.as_slice())
            }
            Family::Streams { channel_kind: ChannelKind::Global } => {
                Subscription::channel(self.request.as_slice())
            }
        }
    }
}

/// The prefix of the broadcast channel of a namespace: what stands before `#N#`.
pub fn prefix_of<'a>(broadcast: &'a str, nsp: &str) -> &'a str {
    broadcast
        .strip_suffix('#')
        .and_then(|rest| rest.strip_suffix(nsp)?.strip_suffix('#'))
        .unwrap_or(broadcast)
}

fn response_of(response: &[u8], uid: &str) -> Vec<u8> {
    let mut channel = response.to_vec();
    channel.extend_from_slice(uid.as_bytes());
    channel.push(b'#');
    channel
}

/// Puts a backslash before each character that PSUBSCRIBE would read as part of a glob, so that a namespace
/// `/tenant[1]` or a prefix `app*` matches itself alone.
fn escape_glob(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 8);
    for &byte in name {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_reference() {
        let channels = Channels::new(Family::Classic, "socket.io", "/chat", "5sZd1M");
        assert_eq!(channels.broadcast, b"socket.io#/chat#");
        assert_eq!(channels.pattern(), b"socket.io#/chat#*");
        assert_eq!(channels.request, b"socket.io-request#/chat#");
        assert_eq!(channels.response, b"socket.io-response#/chat#");
        assert_eq!(channels.own_response, b"socket.io-response#/chat#5sZd1M#");
        assert_eq!(channels.room(b"r1"), b"socket.io#/chat#r1#");
    }

    #[test]
    fn sharded_members_have_one_channel_and_their_own() {
        let channels = Channels::new(Family::Sharded, "socket.io", "/", "0123456789abcdef");
        assert_eq!(channels.counted(), Subscription::shard("socket.io#/#"));
        assert_eq!(channels.own_response, b"socket.io#/#0123456789abcdef#");
        assert_eq!(channels.response_of("U"), b"socket.io#/#U#");
        assert_eq!(channels.room(b"r"), b"socket.io#/#r#");
    }

    #[test]
    fn globs_in_names_are_escaped() {
        let channels = Channels::new(Family::Classic, "a*", "/tenant[1]?\\", "u");
        assert_eq!(channels.pattern(), br"a\*#/tenant\[1\]\?\\#*");
    }

    #[test]
    fn the_room_is_what_stands_between_the_prefix_and_the_last_hash() {
        let channels = Channels::new(Family::Classic, "k", "/", "u");
        assert_eq!(channels.room_in(b"k#/#"), Some(&b""[..]));
        assert_eq!(channels.room_in(b"k#/#a#"), Some(&b"a"[..]));
        assert_eq!(channels.room_in(b"k#/#a#b#"), Some(&b"a#b"[..]));
        assert_eq!(channels.room_in(b"k#/#"), Some(&b""[..]));
        assert_eq!(channels.room_in(b"k#/other"), None);
    }
}
