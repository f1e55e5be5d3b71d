//! The names of a namespace's channels, and the room in the name of a broadcast channel.

use crate::transport::Subscription;

/// The channels of one member of a classic cluster: one Socket.IO server's adapter for one namespace.
#[derive(Clone, Debug)]
pub struct Channels {
    /// `P#N#`: broadcasts to everyone or to several rooms. One room has a channel below it.
    pub broadcast: Vec<u8>,
    /// The glob that matches the broadcast channel and every room below it, and nothing else.
    pub pattern: Vec<u8>,
    /// `P-request#N#`.
    pub request: Vec<u8>,
    /// `P-response#N#`.
    pub response: Vec<u8>,
    /// `P-response#N#U#`: where only this member listens.
    pub own_response: Vec<u8>,
}

impl Channels {
    /// The channels under `prefix` (the `key` option) for a namespace, for the member with this uid.
    pub fn new(prefix: &str, nsp: &str, uid: &str) -> Self {
        let broadcast = format!("{prefix}#{nsp}#").into_bytes();
        let mut pattern = escape_glob(&broadcast);
        pattern.push(b'*');
        let response = format!("{prefix}-response#{nsp}#").into_bytes();
        Channels {
            own_response: response_of(&response, uid),
            request: format!("{prefix}-request#{nsp}#").into_bytes(),
            broadcast,
            pattern,
            response,
        }
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

    /// The room in the name of a broadcast channel: empty for the channel of the whole namespace, `None` if the
    /// channel is not one of this namespace. As in the reference, the last character is cut off unseen.
    pub fn room_in<'a>(&self, channel: &'a [u8]) -> Option<&'a [u8]> {
        let rest = channel.strip_prefix(self.broadcast.as_slice())?;
        Some(rest.split_last().map_or(rest, |(_, room)| room))
    }

    /// All that a member subscribes to.
    pub fn subscriptions(&self) -> [Subscription; 4] {
        [
            Subscription::pattern(self.pattern.as_slice()),
            Subscription::channel(self.request.as_slice()),
            Subscription::channel(self.response.as_slice()),
            Subscription::channel(self.own_response.as_slice()),
        ]
    }
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
        let channels = Channels::new("socket.io", "/chat", "5sZd1M");
        assert_eq!(channels.broadcast, b"socket.io#/chat#");
        assert_eq!(channels.pattern, b"socket.io#/chat#*");
        assert_eq!(channels.request, b"socket.io-request#/chat#");
        assert_eq!(channels.response, b"socket.io-response#/chat#");
        assert_eq!(channels.own_response, b"socket.io-response#/chat#5sZd1M#");
        assert_eq!(channels.room(b"r1"), b"socket.io#/chat#r1#");
    }

    #[test]
    fn globs_in_names_are_escaped() {
        let channels = Channels::new("a*", "/tenant[1]?\\", "u");
        assert_eq!(channels.pattern, br"a\*#/tenant\[1\]\?\\#*");
    }

    #[test]
    fn the_room_is_what_stands_between_the_prefix_and_the_last_hash() {
        let channels = Channels::new("k", "/", "u");
        assert_eq!(channels.room_in(b"k#/#"), Some(&b""[..]));
        assert_eq!(channels.room_in(b"k#/#a#"), Some(&b"a"[..]));
        assert_eq!(channels.room_in(b"k#/#a#b#"), Some(&b"a#b"[..]));
        assert_eq!(channels.room_in(b"k#/#"), Some(&b""[..]));
        assert_eq!(channels.room_in(b"k#/other"), None);
    }
}
