//! The connections to one Redis: one for commands, the subscriber connections, one for each reader, and one
//! to each sentinel if there are any.

mod command_connection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::commands::{Abandoned, ReaderConnection};
use super::connect::{Loss, RedisTarget};
use super::connection::Pulse;
use super::sentinel::{Master, Watches};
use super::step::{BUDGET, READS_PER_CALL};
use super::subscriber::{Holding, SubscriberConnection};
use crate::transport::{ChannelKind, Incoming, KeyCommand, Port, Subscriber, Subscription, Transport};
use command_connection::{CommandConnection, Lost};

/// A [`Transport`] over its own connections, opened when first needed and kept up from then on. It needs a
/// tokio runtime with I/O and time enabled.
pub struct RedisTransport {
    target: Arc<RedisTarget>,
    watches: Watches,
    commands: CommandConnection,
    /// Whether the command connection was ever needed.
    wanted: bool,
    subscribers: Vec<SubscriberConnection>,
    /// The subscriber that is polled first next time.
    first_subscriber: Subscriber,
    readers: BTreeMap<usize, ReaderConnection>,
    open: bool,
    paused: bool,
    pulse: Pulse,
    /// What has to be reported by the next `incoming`.
    deferred: Vec<Deferred>,
}

enum Deferred {
    Lost(Lost),
    SubscriberDown(Subscriber),
    NotCounted(u64),
    Abandoned(Abandoned),
}

impl RedisTransport {
    /// Returns a transport that connects when it is first needed, and publishes and counts channels of the
    /// kind `channel_kind`.
    pub fn new(target: RedisTarget, channel_kind: ChannelKind) -> Self {
        let target = Arc::new(target);
        Self {
            commands: CommandConnection::new(Arc::clone(&target), channel_kind),
            watches: Watches::new(&target.endpoint),
            target,
            wanted: false,
            subscribers: Vec::new(),
            first_subscriber: 0,
            readers: BTreeMap::new(),
            open: true,
            paused: false,
            pulse: Pulse::default(),
            deferred: Vec::new(),
        }
    }

    /// Opens the command connection without waiting for the first publish. [`Incoming::Up`] tells when it is
    /// open.
    pub fn open(&mut self) {
        self.wanted = true;
        if self.open {
            self.watches.open();
            self.commands.open();
        }
    }

    /// Drops all connections at once (`false`), or lets them open again with all subscriptions (`true`).
    /// Publishes that were not written are lost and counted: to avoid that, first wait for
    /// [`Transport::is_flushed`]. The next [`Transport::incoming`] reports a `Down` and a `SubscriberDown`
    /// for each connection that was open or being opened, and the end of each command. While closed it
    /// reports nothing else, and waits.
    pub fn set_open(&mut self, open: bool) {
        self.open = open;
        if open {
            if self.wanted {
                self.watches.open();
                self.commands.open();
            }
            self.subscribers.iter_mut().for_each(SubscriberConnection::open);
            return;
        }
        self.watches.close();
        self.deferred.extend(self.commands.close().map(Deferred::Lost));
        for (number, subscriber) in self.subscribers.iter_mut().enumerate() {
            if subscriber.close() {
                self.deferred.push(Deferred::SubscriberDown(number));
            }
        }
        for reader in self.readers.values_mut() {
            self.deferred.extend(reader.close().into_iter().map(Deferred::Abandoned));
        }
    }

    /// Drops all connections at once, and forgets all subscriptions. Otherwise like `set_open(false)`.
    pub fn close(&mut self) {
        self.set_open(false);
        self.wanted = false;
        self.subscribers.iter_mut().for_each(SubscriberConnection::clear);
        self.readers.clear();
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>, sink: &mut dyn FnMut(Incoming<'_>)) -> Poll<()> {
        let mut reported = self.report_deferred(sink);
        let beats = self.pulse.poll(cx);
        while let Poll::Ready(master) = self.watches.poll(cx) {
            reported |= self.follow(&master, sink);
        }
        let subscribers = self.subscribers.len();
        self.first_subscriber = (self.first_subscriber + 1).checked_rem(subscribers).unwrap_or(0);
        let mut more_commands = true;
        let mut more = true;
        let begun = Instant::now();
        for round in 0..READS_PER_CALL {
            more = false;
            if more_commands {
                let step = self.commands.poll(cx, sink);
                reported |= step.reported;
                reported |= self.leave_with_commands(sink);
                more_commands = step.more;
                more |= step.more;
            }
            let (before, from) = self.subscribers.split_at_mut(self.first_subscriber);
            for subscriber in from.iter_mut().chain(before) {
                if round == 0 || subscriber.more {
                    let step = subscriber.poll(cx, self.paused, sink);
                    reported |= step.reported;
                    more |= step.more;
                }
            }
            for reader in self.readers.values_mut() {
                if round == 0 || reader.more {
                    let step = reader.poll(cx, self.paused, sink);
                    reported |= step.reported;
                    more |= step.more;
                }
            }
            if !more || begun.elapsed() > BUDGET {
                break;
            }
        }
        if beats {
            // Everything that had arrived was read before.
            self.beat();
            cx.waker().wake_by_ref();
        }
        if reported {
            return Poll::Ready(());
        }
        if more {
            // A large reply is incomplete. After a read that brought something no waker is set.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Leaves connections that do not go to the master.
    fn follow(&mut self, master: &Master, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let reason = format!("the sentinels say that the master is {}", master.address);
        let mut reported = self.commands.follow(master, &reason, sink);
        for subscriber in &mut self.subscribers {
            reported |= subscriber.follow(master, &reason, sink);
        }
        for reader in self.readers.values_mut() {
            reported |= reader.follow(master, &reason, sink);
        }
        reported
    }

    /// From now on the name of the address resolves to another Redis.
    #[cfg(test)]
    fn redirect_for_tests(&mut self, address: super::connect::Address) {
        let target = Arc::new(RedisTarget { endpoint: address.into(), ..(*self.target).clone() });
        self.commands.redirect_for_tests(Arc::clone(&target));
        self.target = target;
    }

    /// Asks for signs of life.
    fn beat(&mut self) {
        self.watches.pulse();
        self.commands.pulse();
        self.subscribers.iter_mut().for_each(|subscriber| subscriber.pulse(self.paused));
    }

    /// Leaves the node that the command connection has left: it has become a replica, or the address now
    /// leads elsewhere.
    fn leave_with_commands(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let Some((left, reason)) = self.commands.take_left() else {
            return false;
        };
        let mut reported = false;
        for subscriber in &mut self.subscribers {
            reported |= subscriber.leave(left, &reason, sink);
        }
        for reader in self.readers.values_mut() {
            reported |= reader.leave(left, &reason, sink);
        }
        reported
    }

    fn report_deferred(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> bool {
        let any = !self.deferred.is_empty();
        let reason = if any { Loss::Ended.to_string() } else { String::new() };
        for deferred in self.deferred.drain(..) {
            match deferred {
                Deferred::Lost(lost) => lost.report(&reason, sink),
                Deferred::SubscriberDown(subscriber) => {
                    sink(Incoming::SubscriberDown { subscriber, reason: &reason, silence: 0 })
                }
                Deferred::NotCounted(token) => sink(Incoming::Counted { token, counts: None }),
                Deferred::Abandoned(command) => command.report(&reason, sink),
            }
        }
        any
    }
}

impl Transport for RedisTransport {
    fn opens_subscribers(&self) -> bool {
        true
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        if !self.wanted {
            self.open();
        }
        self.commands.publish(channel, payload);
    }

    fn unwritten(&self) -> usize {
        self.commands.unwritten()
    }

    fn subscribe(&mut self, number: Subscriber, names: Vec<Subscription>) {
        self.open();
        while self.subscribers.len() <= number {
            let next = self.subscribers.len();
            self.subscribers.push(SubscriberConnection::new(next, Arc::clone(&self.target), Holding::Whole));
        }
        if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.subscribe(names);
            if self.open {
                subscriber.open();
            }
        }
    }

    fn unsubscribe(&mut self, number: Subscriber, names: Vec<Subscription>) {
        if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.unsubscribe(names);
        }
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        self.open();
        if self.open {
            self.commands.count(token, channels);
        } else {
            self.deferred.push(Deferred::NotCounted(token));
        }
    }

    fn command(&mut self, command: KeyCommand) {
        self.open();
        if !self.open {
            self.deferred.push(Deferred::Abandoned(Abandoned { token: command.token, begun: false }));
            return;
        }
        match command.port {
            Port::Shared => self.commands.command(&command),
            Port::Reader(reader) => {
                let reader = self.readers.entry(reader);
                reader
                    .or_insert_with(|| ReaderConnection::new(Arc::clone(&self.target), false))
                    .command(&command);
            }
        }
    }

    fn close_reader(&mut self, reader: usize) {
        self.readers.remove(&reader);
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        // Every connection is read before its silence is judged, however many there are.
        tokio::task::unconstrained(poll_fn(|cx| self.poll_incoming(cx, sink))).await;
    }
}
