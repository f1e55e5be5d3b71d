//! Requests of one member to the others, and their answers: the vocabulary that the families share.

/// The type of a request; the numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RequestType {
    /// The ids of the sockets in some rooms (asked by older nodes).
    Sockets = 0,
    /// The names of all rooms.
    AllRooms = 1,
    /// Sockets join rooms.
    RemoteJoin = 2,
    /// Sockets leave rooms.
    RemoteLeave = 3,
    /// Sockets are disconnected.
    RemoteDisconnect = 4,
    /// The details of sockets.
    RemoteFetch = 5,
    /// An event for the servers themselves.
    ServerSideEmit = 6,
    /// A broadcast that the clients acknowledge.
    Broadcast = 7,
}

/// How a payload is encoded. The numbers are known to `lib/messages/requests.js`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// JSON text.
    Json = 0,
    /// msgpack as notepack.io writes it.
    Msgpack = 1,
    /// The user's own parser.
    Custom = 2,
}

/// A response to a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestReply<'a> {
    /// The kind of its answer.
    pub answer: Answer,
    /// The names of the fields that lead to the list in the answer; empty if it is no list.
    pub list: &'static [&'static str],
    /// The response as it came.
    pub payload: &'a [u8],
}

/// The answer in a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// The sockets of a node.
    Sockets,
    /// The ids of the sockets of a node.
    SocketIds,
    /// The sockets of a node that has none, or their ids.
    NoSockets,
    /// The rooms of a node.
    Rooms,
    /// The answer of a node to a serverSideEmit.
    ServerSideEmit,
    /// How many clients of a node got a broadcast.
    ClientCount(u64),
    /// One client's acknowledgement.
    Ack,
    /// Nothing that answers a request of today's nodes.
    Other,
}
