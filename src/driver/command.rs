//! What JS wants of a link, and the bytes of that in one stretch of memory.

use std::ops::Range;
use std::time::Duration;

use crate::core::Destination;
use crate::core::effects::MemberId;
use crate::core::member::MemberSpec;
use crate::transport::SubscriptionKind;
use crate::transport::client::Report;
use crate::transport::redis::{ClusterSettings, RedisTarget};
use crate::wire::request::RequestType;
use crate::wire::response::SocketsResponse;

/// How long publishes wait at least after a failover. All servers learn of it by the same lost connections, ask who is
/// master every 50 to 250 ms, and may be told by a node that has not heard yet: the slowest was 700 ms behind the
/// first.
const CLUSTER_SETTLE: Duration = Duration::from_millis(1500);

/// Where a link's own connections go.
#[derive(Debug)]
pub enum Place {
    /// To one Redis, wherever it is at the moment.
    Redis(RedisTarget),
    /// To the nodes of a cluster.
    Cluster(ClusterSettings),
}

impl Place {
    /// How long publishes wait at least after a failover there.
    pub fn settle(&self) -> Duration {
        match self {
            Place::Redis(_) => Duration::ZERO,
            Place::Cluster(_) => CLUSTER_SETTLE,
        }
    }
}

/// What JS wants of the link.
#[derive(Debug)]
pub enum Command {
    /// A member joins.
    Join(MemberId, Box<MemberSpec>),
    /// A member leaves.
    Leave(MemberId),
    /// The first local socket has joined a room, or the last one has left it.
    Room {
        /// Whose room.
        member: MemberId,
        /// Its name.
        room: Range<usize>,
        /// Whether there is a socket in it now.
        present: bool,
    },
    /// A room that has come, or gone, has a name that is no string, or that UTF-8 cannot express.
    OddRoom(MemberId, bool),
    /// Whether a namespace has any local socket.
    Occupied(MemberId, bool),
    /// JS has worked off so many requests that may have changed rooms.
    Settled(MemberId, u32),
    /// An event that socket.io-parser has printed is to be broadcast.
    Broadcast {
        /// By whom.
        member: MemberId,
        /// The Engine.IO text.
        payload: Range<usize>,
        /// Its binary attachments.
        attachments: Vec<Range<usize>>,
        /// The room, if there is exactly one.
        room: Option<Range<usize>>,
        /// The options in msgpack, if they say more than the room.
        opts: Option<Range<usize>>,
        /// Whether it takes the channel of the room.
        takes_room_channel: bool,
    },
    /// Bytes are to be published.
    Send {
        /// By whom.
        member: MemberId,
        /// Where to.
        to: Destination,
        /// What.
        bytes: Range<usize>,
    },
    /// An answer to a request for sockets is to be published.
    SendSockets {
        /// By whom.
        member: MemberId,
        /// Where to.
        to: Destination,
        /// What.
        response: Box<SocketsResponse>,
    },
    /// Bytes are to be published for a member that has left.
    Publish {
        /// The channel.
        channel: Range<usize>,
        /// What.
        bytes: Range<usize>,
    },
    /// The user's client has published this without the link, and nobody could hear it. It is to be published again,
    /// before all that waits.
    PublishAgain {
        /// The channel.
        channel: Range<usize>,
        /// What.
        bytes: Range<usize>,
    },
    /// Something that JS has encoded is to be added to the stream.
    Append {
        /// By whom.
        member: MemberId,
        /// The type of the message.
        kind: u32,
        /// Its data, as an entry has them.
        data: Range<usize>,
    },
    /// A session is to be kept.
    Persist {
        /// Whose.
        member: MemberId,
        /// The key.
        key: Range<usize>,
        /// What.
        session: Range<usize>,
        /// For how long.
        lifetime: Duration,
    },
    /// A session is to be restored, and what it missed to be gathered.
    Restore {
        /// By whom.
        member: MemberId,
        /// The token to answer with.
        token: u32,
        /// The key of the session.
        key: Range<usize>,
        /// The id of the last entry that its client has got.
        offset: Range<usize>,
    },
    /// The user's client carries what a member publishes, without the link.
    Carried(MemberId),
    /// A request is to be sent and its answers gathered.
    Request {
        /// By whom.
        member: MemberId,
        /// Its id.
        id: String,
        /// What it asks for.
        kind: RequestType,
        /// The request as it goes over the wire.
        bytes: Range<usize>,
        /// How long to wait for the answers.
        timeout: Duration,
        /// Whether the user's client has published it already.
        carried: bool,
    },
    /// JS wants to know when all present subscriptions of a member are confirmed.
    WhenSubscribed(MemberId, u32),
    /// JS does not want to know that any more.
    GiveUpWaiting(MemberId, u32),
    /// JS wants to know when Redis has answered for all that was published by now.
    WhenAnswered(u32),
    /// The members are to be counted.
    ServerCount(MemberId, u32),
    /// The subscribers of channels are to be counted.
    CountSubscribers(u32, Vec<Vec<u8>>),
    /// The user's clients carry the bytes from now on.
    UseClient,
    /// Own connections are to carry the bytes instead of the user's clients, once they are proven to reach the same
    /// Redis.
    UseOwn {
        /// Where they go.
        place: Box<Place>,
        /// What nobody else knows.
        secret: String,
    },
    /// Redis has answered for all that JS gave to the user's clients without the link. The change with this secret
    /// waits for that.
    Drained(String),
    /// What the user's client reports.
    Client(Report),
    /// The user's client has received a message.
    ClientMessage {
        /// The kind of the subscription.
        kind: SubscriptionKind,
        /// The name of the subscription, if that is not the channel.
        name: Option<Range<usize>>,
        /// The channel.
        channel: Range<usize>,
        /// The bytes.
        payload: Range<usize>,
    },
    /// The user's clients are open, or have ended.
    Open(bool),
    /// The link is no longer needed.
    Close,
}

impl Command {
    /// Whether it is something to be published.
    pub fn is_message(&self) -> bool {
        matches!(
            self,
            Command::Broadcast { .. }
                | Command::Send { .. }
                | Command::SendSockets { .. }
                | Command::Publish { .. }
                | Command::PublishAgain { .. }
                | Command::Append { .. }
                | Command::Persist { .. }
                | Command::Request { carried: false, .. }
        )
    }
}

/// Commands, and the bytes that their ranges point into.
#[derive(Debug, Default)]
pub struct Commands {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The commands.
    pub list: Vec<Command>,
    /// A message is being worked off.
    pub in_hand: bool,
}

impl Commands {
    /// Copies bytes in, for the range of a command.
    pub fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// The bytes of a range.
    pub fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or(&[])
    }

    /// How many bytes they take.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() + self.list.len() * size_of::<Command>()
    }

    /// Forgets everything, keeping the memory unless it is much.
    pub fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.list.clear();
        self.list.shrink_to(KEEP / size_of::<Command>());
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_small() {
        assert!(size_of::<Command>() <= 104, "{}", size_of::<Command>());
    }
}
