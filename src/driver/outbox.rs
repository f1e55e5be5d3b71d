//! From JS to the link: commands in order, in memory that is reused, with at most one wake while the link
//! sleeps (waking a parked thread costs the JS thread 7 us, handing over a small message 50 ns).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::command::{Command, Commands};

#[derive(Debug, Default)]
struct OutboxState {
    commands: Commands,
    /// The link sleeps. The next command has to wake it.
    parked: bool,
    closed: bool,
    /// Some publishes are not with the kernel yet.
    unflushed: bool,
    /// Some of them have not even been taken by the link.
    untaken: bool,
    /// JS wants to hear when all publishes are.
    watched: bool,
    /// How many threads wait in [`Outbox::wait_flushed`]. Waking none would cost a system call, too.
    waiters: usize,
    /// How many messages were added.
    messages: u64,
    /// How many of them came when the link had ended.
    late: u64,
}

impl OutboxState {
    fn add(&mut self, add: impl FnOnce(&mut Commands) -> Command) {
        let command = add(&mut self.commands);
        if command.is_message() {
            self.unflushed = true;
            self.untaken = true;
            self.messages += 1;
        }
        self.commands.list.push(command);
    }

    /// Counts a message that nobody takes any more.
    fn miss(&mut self, add: impl FnOnce(&mut Commands) -> Command) {
        self.late += u64::from(add(&mut self.commands).is_message());
        self.commands.clear();
    }
}

/// The outbox of a link.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<OutboxState>,
    /// There is something to take. The link looks here before each message.
    filled: AtomicBool,
    wake: Notify,
    flushed: Condvar,
}

/// Above so many bytes even a command that wants no wake (a room that comes or goes) wakes the link.
const LAZY_BYTES: usize = 64 << 10;

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        // The lock is held for copies alone, which do not panic. If one did, the data would still be whole.
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

    /// Adds a command that can wait for the next wake: the link looks here before it judges a message.
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

    fn wake(&self, mut state: MutexGuard<'_, OutboxState>) {
        if std::mem::take(&mut state.parked) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Whether there is something to take.
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Swaps what has gathered for `empty`, whose memory the next commands use.
    pub fn take(&self, empty: &mut Commands) {
        let mut state = self.lock();
        self.filled.store(false, Ordering::Release);
        if !state.commands.list.is_empty() {
            std::mem::swap(&mut state.commands, empty);
            state.untaken = false;
        }
    }

    /// Waits until something is added. From now on the link counts as asleep.
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

    /// The link is awake, and looks here by itself.
    pub fn unpark(&self) {
        self.lock().parked = false;
    }

    /// Wakes the link without a command (JS has made room in the inbox).
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Notes that all that was taken is with the kernel or given up. Returns whether JS wants to hear of it.
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

    /// Asks for [`Event::Flushed`](crate::core::Event::Flushed) as soon as everything is flushed; false if it is already.
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

    /// How many messages were added after the end of the link. They are lost.
    pub fn late(&self) -> u64 {
        self.lock().late
    }

    /// Ends the outbox with its link: nothing is taken any more. Returns how many messages were ever added.
    pub fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        state.unflushed = false;
        state.commands = Commands::default();
        let messages = state.messages;
        self.tell_waiters(state);
        messages
    }

    fn tell_waiters(&self, state: MutexGuard<'_, OutboxState>) {
        if state.waiters > 0 {
            drop(state);
            self.flushed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Destination;

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
