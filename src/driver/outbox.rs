//! From JS to the link: commands in order, in memory that is reused, with at most one wake while the link
//! sleeps (waking a parked thread costs the JS thread 7 us, handing over a small message 50 ns).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::core::Destination;
use crate::core::effects::MemberId;
use crate::core::member::MemberSpec;
use crate::transport::SubscriptionKind;
use crate::transport::client::Report;
use crate::transport::redis::{ClusterSettings, Settings};
use crate::wire::request::RequestType;

/// Where a link's own connections go.
#[derive(Debug)]
pub enum Place {
    /// To one Redis, wherever it is at the moment.
    Redis(Settings),
    /// To the nodes of a cluster.
    Cluster(ClusterSettings),
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
    /// One of the rooms of a member that have come, or gone, is no string, or none that UTF-8 can say.
    OddRoom(MemberId, bool),
    /// Whether a namespace has any local socket.
    Occupied(MemberId, bool),
    /// JS has worked off requests that may have changed rooms.
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
    /// Bytes are to be published for a member that has left.
    Publish {
        /// The channel.
        channel: Range<usize>,
        /// What.
        bytes: Range<usize>,
    },
    /// The user's client has published this without the link, and nobody could hear it: it is to be published again,
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
        /// Its data, as they stand in an entry.
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
    /// JS wants to know when all that a member listens to by now is confirmed.
    WhenSubscribed(MemberId, u32),
    /// It does not want to know any more.
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
    /// Redis has answered for what JS has given to the user's clients by itself, as the change with this secret wants.
    Drained(String),
    /// What the user's client reports.
    Client(Report),
    /// The user's client has received a message.
    ClientMessage {
        /// The kind of the subscription.
        kind: SubscriptionKind,
        /// The name of the subscription, if it is another.
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
    fn held(&self) -> usize {
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

#[derive(Debug, Default)]
struct State {
    commands: Commands,
    /// The link sleeps: the next command has to wake it.
    parked: bool,
    closed: bool,
    /// Publishes are under way that are not with the kernel yet.
    unflushed: bool,
    /// Some of them have not even been taken by the link.
    untaken: bool,
    /// JS wants to hear when they are.
    watched: bool,
    /// How many threads wait for that in [`Outbox::wait_flushed`]: to wake nobody costs a system call, too.
    waiters: usize,
    /// How many messages were added.
    messages: u64,
    /// How many of them came when the link had ended.
    late: u64,
}

impl State {
    fn add(&mut self, add: impl FnOnce(&mut Commands) -> Command) {
        let command = add(&mut self.commands);
        if command.is_message() {
            self.unflushed = true;
            self.untaken = true;
            self.messages += 1;
        }
        self.commands.list.push(command);
    }

    /// Nobody takes it any more: if it is a message, it is counted.
    fn miss(&mut self, add: impl FnOnce(&mut Commands) -> Command) {
        self.late += u64::from(add(&mut self.commands).is_message());
        self.commands.clear();
    }
}

/// The outbox of a link.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    /// There is something to take: what the link looks at before each message.
    filled: AtomicBool,
    wake: Notify,
    flushed: Condvar,
}

/// When more than this is held, even what wants no wake (rooms that come and go) wakes the link.
const LAZY_BYTES: usize = 64 << 10;

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is held for copies alone, which do not panic; were one to, the data is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command that the link should see soon.
    pub fn push(&self, add: impl FnOnce(&mut Commands) -> Command) {
        let mut state = self.lock();
        if state.closed {
            return state.miss(add);
        }
        state.add(add);
        self.filled.store(true, Ordering::Release);
        self.wake(state);
    }

    /// Adds a command that is early enough with the next wake: the link looks here before it judges a message.
    pub fn push_lazily(&self, add: impl FnOnce(&mut Commands) -> Command) {
        let mut state = self.lock();
        if state.closed {
            return state.miss(add);
        }
        state.add(add);
        self.filled.store(true, Ordering::Release);
        if state.commands.held() > LAZY_BYTES {
            self.wake(state);
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.parked) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Whether there is something to take.
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Swaps what has gathered for `empty`, whose memory is used again.
    pub fn take(&self, empty: &mut Commands) {
        let mut state = self.lock();
        self.filled.store(false, Ordering::Release);
        if !state.commands.list.is_empty() {
            std::mem::swap(&mut state.commands, empty);
            state.untaken = false;
        }
    }

    /// Waits until something is added. The link is taken for asleep from now on.
    pub async fn changed(&self) {
        {
            let mut state = self.lock();
            if !state.commands.list.is_empty() {
                return;
            }
            state.parked = true;
        }
        self.wake.notified().await;
    }

    /// The link is awake: it will look here by itself.
    pub fn unpark(&self) {
        self.lock().parked = false;
    }

    /// Wakes the link without a command (JS has made room in the inbox).
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Says that all that was taken is with the kernel or given up; true if JS wants to hear of it.
    pub fn set_flushed(&self) -> bool {
        let mut state = self.lock();
        if state.untaken || !state.unflushed {
            return false;
        }
        state.unflushed = false;
        let watched = std::mem::take(&mut state.watched);
        self.tell_waiters(state);
        watched
    }

    /// Wants [`Event::Flushed`](crate::core::Event::Flushed) as soon as everything is flushed; false if it is.
    pub fn watch_flushed(&self) -> bool {
        let mut state = self.lock();
        state.watched = state.unflushed;
        state.unflushed
    }

    /// Whether nothing that was published is still on its way to the kernel.
    pub fn is_flushed(&self) -> bool {
        !self.lock().unflushed
    }

    /// Blocks until everything is flushed, for `timeout` at most. For a process that is about to exit.
    pub fn wait_flushed(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.waiters += 1;
        let (mut state, _) = self
            .flushed
            .wait_timeout_while(state, timeout, |state| state.unflushed && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        !state.unflushed
    }

    /// How many messages were added when the link had ended: they are lost.
    pub fn late(&self) -> u64 {
        self.lock().late
    }

    /// The link has ended: nothing is taken any more. Returns how many messages were added, ever.
    pub fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        state.unflushed = false;
        state.commands = Commands::default();
        let messages = state.messages;
        self.tell_waiters(state);
        messages
    }

    fn tell_waiters(&self, state: MutexGuard<'_, State>) {
        if state.waiters > 0 {
            drop(state);
            self.flushed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_out_in_order_with_their_bytes() {
        let outbox = Outbox::default();
        outbox.push_lazily(|commands| Command::Room { member: 1, room: commands.put(b"r"), present: true });
        outbox.push(|commands| Command::Send {
            member: 1,
            to: Destination::Request,
            bytes: commands.put(b"bytes"),
        });
        let mut commands = Commands::default();
        outbox.take(&mut commands);
        assert_eq!(commands.list.len(), 2);
        let Command::Send { bytes, .. } = &commands.list[1] else {
            panic!("order");
        };
        assert_eq!(commands.get(bytes), b"bytes");
    }

    #[test]
    fn only_publishes_are_waited_for() {
        let outbox = Outbox::default();
        outbox.push(|_| Command::Leave(1));
        assert!(outbox.is_flushed());
        outbox.push(|commands| Command::Send {
            member: 1,
            to: Destination::Request,
            bytes: commands.put(b"x"),
        });
        assert!(!outbox.is_flushed());
        assert!(outbox.watch_flushed());
        assert!(!outbox.set_flushed(), "not taken yet");
        outbox.take(&mut Commands::default());
        assert!(outbox.set_flushed());
        assert!(!outbox.set_flushed(), "no news");
        assert!(outbox.wait_flushed(Duration::ZERO));
    }

    #[test]
    fn whoever_waits_is_woken_when_all_is_flushed() {
        let outbox = Outbox::default();
        outbox.push(|commands| Command::Publish { channel: commands.put(b"c"), bytes: commands.put(b"x") });
        outbox.take(&mut Commands::default());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| outbox.wait_flushed(Duration::from_secs(10)));
            while outbox.lock().waiters == 0 {
                std::thread::yield_now();
            }
            assert!(!outbox.set_flushed(), "nobody watches");
            assert!(waiting.join().unwrap());
        });
        assert_eq!(outbox.lock().waiters, 0);
    }

    #[test]
    fn a_command_is_small() {
        assert!(size_of::<Command>() <= 104, "{}", size_of::<Command>());
    }

    #[test]
    fn a_closed_outbox_takes_nothing_and_holds_nobody() {
        let outbox = Outbox::default();
        outbox.close();
        outbox.push(|commands| Command::Send {
            member: 1,
            to: Destination::Request,
            bytes: commands.put(b"x"),
        });
        assert!(outbox.is_flushed());
        assert_eq!(outbox.late(), 1, "it is counted");
    }
}
