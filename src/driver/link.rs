//! The loop of one link: commands from JS and messages from Redis into the core, its effects out again.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use super::apply::apply;
use super::carrier::{Carrier, in_runs};
use super::ending::{Ending, LINGER};
use super::failure;
use super::outbox::{Command, Commands, Outbox, Place};
use super::pace::Pace;
use super::records::task_record;
use super::shared::Shared;
use super::steps;
use crate::core::effects::{Change, Effects, Kind};
use crate::core::{Config, Core, Event};
use crate::transport::client::ClientTransport;
use crate::transport::{Incoming, Transport};

/// How many bytes may be with the transport but not with the kernel; what comes then waits in the backlog,
/// where it is counted and bounded.
const MAX_UNWRITTEN: usize = 1 << 20;

/// For how many changes of subscriptions the memory is kept.
const MAX_KEPT_CHANGES: usize = 1000;

/// How a link is made.
#[derive(Debug)]
pub struct Options {
    /// Its own connections go there; `None` if the user's clients carry the bytes.
    pub settings: Option<Place>,
    /// The bound of the inbox, in bytes: above it the link stops reading, and Redis sees a slow consumer.
    pub max_inbox: usize,
    /// The core's.
    pub config: Config,
}

/// A link.
pub struct Link<W: Fn()> {
    core: Core,
    carrier: Carrier,
    /// Own connections that may take over from the user's clients.
    next: Option<Carrier>,
    shared: Arc<Shared>,
    wake_js: W,
    effects: Effects,
    commands: Commands,
    /// Commands for the carrier, which is busy while the others are worked off.
    deferred: Vec<Command>,
    pace: Pace,
    max_inbox: usize,
    /// The user's clients have ended: the connections go as soon as all is written, or then.
    ending: Option<Ending>,
    closing: bool,
    /// The core has counted what `effects.publishes` has as published.
    released: bool,
}

/// Closes the outbox whatever ends the link, so that nobody waits for it.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.outbox.close();
    }
}

impl<W: Fn()> Link<W> {
    /// A link that runs with [`Link::run`]; `wake_js` is called when there is something in the inbox and JS
    /// does not know.
    pub fn new(options: Options, shared: Arc<Shared>, wake_js: W) -> Self {
        let carrier = match options.settings {
            Some(place) => Carrier::to(place, options.config.family),
            None => Carrier::Client(ClientTransport::default()),
        };
        Self::with_carrier(options.config, options.max_inbox, carrier, shared, wake_js)
    }

    /// A link over a Redis in memory.
    #[cfg(test)]
    pub fn over_memory(
        memory: crate::transport::memory::MemoryTransport,
        config: Config,
        shared: Arc<Shared>,
        wake_js: W,
    ) -> Self {
        Self::with_carrier(config, 1 << 20, Carrier::Memory(memory), shared, wake_js)
    }

    fn with_carrier(
        config: Config,
        max_inbox: usize,
        carrier: Carrier,
        shared: Arc<Shared>,
        wake_js: W,
    ) -> Self {
        Link {
            core: Core::new(config, carrier.has_lanes()),
            carrier,
            next: None,
            shared,
            wake_js,
            effects: Effects::new(Instant::now()),
            commands: Commands::default(),
            deferred: Vec::new(),
            pace: Pace::new(),
            max_inbox,
            ending: None,
            closing: false,
            released: false,
        }
    }

    /// Runs until the link is closed, or fails.
    pub async fn run(mut self) {
        let _guard = Guard(Arc::clone(&self.shared));
        if let Err(reason) = failure::caught(self.work()).await {
            self.fail(&reason);
        }
    }

    /// Gives up, and says what is lost with it. The core may be in any state: what it says is taken if it can say it.
    fn fail(&mut self, reason: &str) {
        let counted = catch_unwind(AssertUnwindSafe(|| {
            self.core.lose_in_flight();
            self.core.set_shut(true);
            let unreleased = if self.released { 0 } else { self.effects.publishes.len() as u64 };
            (self.core.seen(), unreleased, self.core.stats())
        }));
        let (seen, unreleased, mut stats) =
            counted.unwrap_or_else(|_| (u64::MAX, 0, self.shared.inbox.stats()));
        let unseen = self.shared.outbox.close().saturating_sub(seen);
        stats.dropped += unseen + unreleased + u64::from(self.commands.in_hand);
        failure::tell(&self.shared.inbox, reason, stats, &self.wake_js);
    }

    async fn work(&mut self) {
        let mut units = 0;
        loop {
            self.effects.now = Instant::now();
            units += self.work_off();
            self.carry_out();
            if self.is_over().await {
                break;
            }
            if self.pace.step(units, self.effects.now) {
                units = self.poll_incoming().await;
                self.carry_out();
                self.pace.nap().await;
            } else {
                units = self.wait().await;
                steps::give_way().await;
            }
            self.effects.now = Instant::now();
            self.core.tick(&mut self.effects);
        }
        // Whoever waits for the last events.
        self.carry_out();
    }

    /// Hands the commands of JS to the core; returns how many there were.
    fn work_off(&mut self) -> usize {
        self.shared.outbox.take(&mut self.commands);
        let count = self.commands.list.len();
        apply(&mut self.core, &mut self.commands, &mut self.deferred, &mut self.effects);
        for command in std::mem::take(&mut self.deferred) {
            self.apply_to_carrier(command);
        }
        count
    }

    fn apply_to_carrier(&mut self, command: Command) {
        match command {
            Command::UseClient => {
                self.carrier = Carrier::Client(ClientTransport::default());
                self.core.change_transport(false, false, &mut self.effects);
            }
            Command::UseOwn { place, secret } => {
                self.core.abandon_crossing("another attempt begins", &mut self.effects);
                if self.ending.is_some() {
                    // JS waits for an answer to each attempt before it makes another one.
                    let stayed = Event::Stayed { reason: "the clients have ended" };
                    self.core.event(&mut self.effects, 0, &stayed);
                } else {
                    self.core.begin_crossing(&secret, &mut self.effects);
                }
                self.next = self.core.is_crossing().then(|| Carrier::to(*place, self.core.family()));
            }
            Command::Drained(secret) => self.core.clients_drained(&secret),
            Command::Client(report) => {
                if let Carrier::Client(client) = &mut self.carrier {
                    client.report(report);
                }
            }
            Command::Open(true) => {
                self.ending = None;
                self.core.set_shut(false);
                self.carrier.set_open(true);
            }
            Command::Open(false) => {
                self.core.abandon_crossing("the clients have ended", &mut self.effects);
                // What waits for the proof goes out without: the clients that would bring it are gone.
                self.core.trust(&mut self.effects);
                self.ending = Some(Ending::new(self.effects.now));
            }
            Command::Close => {
                self.core.abandon_crossing("the link is closed", &mut self.effects);
                self.core.trust(&mut self.effects);
                let mut ending = Ending::new(self.effects.now);
                if let Carrier::Client(_) = self.carrier {
                    // Nobody hands anything to the clients any more.
                    ending.until = self.effects.now;
                    ending.bound = self.effects.now;
                }
                self.ending = Some(ending);
                self.closing = true;
            }
            _ => {}
        }
    }

    /// Carries out what the core wants, and wakes JS if there is something for it.
    fn carry_out(&mut self) {
        self.core.follow_rooms(&mut self.effects);
        self.change_carrier();
        let room = MAX_UNWRITTEN.saturating_sub(self.carrier.unwritten());
        self.core.release(room, &mut self.effects);
        self.released = true;
        for (channel, payload) in self.effects.publishes.iter() {
            self.carrier.publish(channel, payload);
        }
        self.effects.publishes.clear();
        self.released = false;
        for (lane, change, names) in in_runs(&mut self.effects.subscriptions) {
            match change {
                Change::Add => self.carrier.subscribe(lane, names),
                Change::Remove => self.carrier.unsubscribe(lane, names),
            }
        }
        // 100,000 rooms that come back at once are no measure for what follows.
        self.effects.subscriptions.shrink_to(MAX_KEPT_CHANGES);
        for (token, channels) in self.effects.counts.drain(..) {
            let channels: Vec<&[u8]> = channels.iter().map(Vec::as_slice).collect();
            self.carrier.count(token, &channels);
        }
        for reader in self.effects.closed_readers.drain(..) {
            self.carrier.close_reader(reader);
        }
        for command in self.effects.commands.drain(..) {
            self.carrier.command(command);
        }
        if let Carrier::Client(client) = &mut self.carrier {
            for task in client.tasks() {
                task_record(task, &mut self.effects.batch);
            }
        }
        for token in self.shared.questions.take_new() {
            let mut draft = self.effects.batch.draft(Kind::Credentials, 0);
            draft.record.token = token;
            draft.done();
        }
        self.core.tell_flowing(&mut self.effects);
        self.check_flushed();
        self.shared.inbox.set_stats(self.core.stats());
        let positions = self.core.take_positions();
        if !self.effects.batch.is_empty() {
            if self.shared.inbox.append(&mut self.effects.batch, positions) {
                (self.wake_js)();
            }
        } else if let Some(positions) = positions {
            self.shared.inbox.mark(positions);
        }
        self.check_inbox();
    }

    /// Goes on with the change to own connections, if there is one under way.
    fn change_carrier(&mut self) {
        self.core.advance_crossing(&mut self.effects);
        if !self.core.is_crossing() {
            self.next = None;
        }
        let Some(next) = &mut self.next else {
            return;
        };
        for (lane, change, names) in in_runs(&mut self.effects.own_subscriptions) {
            match change {
                Change::Add => next.subscribe(lane, names),
                Change::Remove => next.unsubscribe(lane, names),
            }
        }
        if self.core.is_across()
            && let Some(next) = self.next.take()
        {
            self.carrier = next;
            self.core.cross(&mut self.effects);
            self.carrier.pause(self.shared.paused.load(Ordering::Acquire));
        }
    }

    fn check_flushed(&mut self) {
        let flushed = self.core.is_flushed() && self.carrier.is_flushed();
        if flushed && self.shared.outbox.set_flushed() {
            self.core.event(&mut self.effects, 0, &Event::Flushed);
        }
    }

    fn check_inbox(&mut self) {
        let held = self.shared.inbox.held();
        let paused = self.shared.paused.load(Ordering::Acquire);
        if !paused && held > self.max_inbox {
            self.shared.paused.store(true, Ordering::Release);
            self.carrier.pause(true);
            // JS may have emptied it in between, and seen nothing to say.
            if self.shared.inbox.held() <= self.max_inbox / 2 {
                self.shared.outbox.nudge();
            }
        } else if paused && held <= self.max_inbox / 2 {
            self.shared.paused.store(false, Ordering::Release);
            self.carrier.pause(false);
        }
    }

    /// Whether the link has ended, or its clients have, in which case its connections are closed.
    async fn is_over(&mut self) -> bool {
        let now = self.effects.now;
        let Some(ending) = &mut self.ending else {
            return false;
        };
        let answered = self.core.stats().acknowledged;
        if std::mem::replace(&mut ending.answered, answered) != answered {
            ending.until = ending.bound.min(now + LINGER);
        }
        let until = ending.until;
        // What is written is not heard yet: a connection that is closed before the replies are read is reset.
        let flushed = self.core.is_flushed() && self.carrier.is_flushed() && self.core.is_answered();
        if !flushed && now < until {
            return false;
        }
        self.ending = None;
        // What the user's clients were given is theirs.
        let is_own = !matches!(self.carrier, Carrier::Client(_));
        let unwritten = is_own && !self.carrier.is_flushed();
        let given_up = self.core.given_up();
        self.core.set_shut(true);
        self.carrier.set_open(false);
        if is_own {
            // The connections say what they had not written as they are closed.
            self.poll_incoming().await;
        } else {
            self.core.lose_in_flight();
        }
        let messages = (self.core.given_up() - given_up).max(u64::from(unwritten));
        if messages > 0 {
            self.core.event(&mut self.effects, 0, &Event::GivenUp { messages });
        }
        // Whoever waits for the end of it hears it now: nothing else may happen any more.
        self.carry_out();
        self.closing
    }

    /// Takes what has arrived, without waiting; returns how much that was.
    async fn poll_incoming(&mut self) -> usize {
        let mut units = 0;
        {
            let is_next = Cell::new(false);
            let mut sink = sink(
                &mut self.core,
                &self.shared.outbox,
                &mut self.commands,
                &mut self.deferred,
                &mut self.effects,
                &mut units,
                &is_next,
            );
            let mut incoming =
                std::pin::pin!(receive(&mut self.carrier, self.next.as_mut(), &is_next, &mut sink));
            std::future::poll_fn(|context| {
                let _ = incoming.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
        units
    }

    /// Waits for a message, a command or a deadline, and takes the messages; returns how many there were.
    async fn wait(&mut self) -> usize {
        let mut units = 0;
        let ending = self.ending.map(|ending| ending.until);
        let deadline = [self.core.deadline(), ending].into_iter().flatten().min();
        let outbox = &self.shared.outbox;
        {
            let is_next = Cell::new(false);
            let mut sink = sink(
                &mut self.core,
                outbox,
                &mut self.commands,
                &mut self.deferred,
                &mut self.effects,
                &mut units,
                &is_next,
            );
            tokio::select! {
                biased;
                () = receive(&mut self.carrier, self.next.as_mut(), &is_next, &mut sink) => {}
                () = outbox.changed() => {}
                () = sleep_until(deadline) => {}
            }
        }
        outbox.unpark();
        units
    }
}

/// Takes what the carrier reports, or the one that may be the next: `is_next` says which, while the sink is called.
async fn receive(
    carrier: &mut Carrier,
    next: Option<&mut Carrier>,
    is_next: &Cell<bool>,
    sink: &mut dyn FnMut(Incoming<'_>),
) {
    let Some(next) = next else {
        return carrier.incoming(sink).await;
    };
    let sink = RefCell::new(sink);
    let mut of_carrier = |incoming: Incoming<'_>| {
        is_next.set(false);
        (sink.borrow_mut())(incoming);
    };
    let mut of_next = |incoming: Incoming<'_>| {
        is_next.set(true);
        (sink.borrow_mut())(incoming);
    };
    tokio::select! {
        biased;
        () = carrier.incoming(&mut of_carrier) => {}
        () = next.incoming(&mut of_next) => {}
    }
}

/// What takes the messages of a transport. Before each the outbox is worked off, so that a room which a socket
/// joined before the message came is known.
fn sink<'a>(
    core: &'a mut Core,
    outbox: &'a Outbox,
    commands: &'a mut Commands,
    deferred: &'a mut Vec<Command>,
    effects: &'a mut Effects,
    units: &'a mut usize,
    is_next: &'a Cell<bool>,
) -> impl FnMut(Incoming<'_>) + 'a {
    move |incoming| {
        if outbox.is_filled() {
            effects.now = Instant::now();
            outbox.take(commands);
            *units += commands.list.len();
            apply(core, commands, deferred, effects);
        }
        *units += 1;
        if is_next.get() {
            core.incoming_own(&incoming, effects);
        } else {
            core.incoming(incoming, effects);
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
