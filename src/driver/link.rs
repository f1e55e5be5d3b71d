//! The loop of one link: it hands the core the commands of JS and the messages of Redis, and carries out what the core
//! wants.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use super::apply::apply;
use super::batching::Batching;
use super::carrier::Carrier;
use super::command::{Command, Commands, Place};
use super::ending::Ending;
use super::failure;
use super::intake::{Intake, receive};
use super::records;
use super::shared::Shared;
use super::steps;
use crate::core::effects::Effects;
use crate::core::{Config, Core, Event};
use crate::transport::Transport;

/// How many bytes may be with the transport but not with the kernel. More waits in the backlog, where it is counted and
/// bounded.
const MAX_UNWRITTEN: usize = 1 << 20;

/// Memory for so many changes of subscriptions is kept.
const MAX_KEPT_CHANGES: usize = 1000;

/// How a link is made.
#[derive(Debug)]
pub struct LinkConfig {
    /// Its own connections go there; `None` if the user's clients carry the bytes.
    pub place: Option<Place>,
    /// The bound of the inbox, in bytes: above it the link stops reading, and Redis sees a slow consumer.
    pub max_inbox: usize,
    /// What the core has to know.
    pub core: Config,
}

/// What runs one link.
pub struct LinkLoop<W: Fn()> {
    core: Core,
    carrier: Carrier,
    /// Own connections that may take over from the user's clients.
    next: Option<Carrier>,
    shared: Arc<Shared>,
    wake_js: W,
    effects: Effects,
    commands: Commands,
    /// Commands for the carrier, which is busy while the other commands are worked off.
    deferred: Vec<Command>,
    batching: Batching,
    max_inbox: usize,
    /// The link is closed, or its clients have ended: the connections go when all is written, or when this is over.
    ending: Option<Ending>,
    closing: bool,
    /// The core has counted the messages in `effects.publishes` as published.
    released: bool,
}

/// Closes the outbox, whatever ends the link, so that nobody waits for it.
struct CloseOutbox(Arc<Shared>);

impl Drop for CloseOutbox {
    fn drop(&mut self) {
        self.0.outbox.close();
    }
}

impl<W: Fn()> LinkLoop<W> {
    /// A link that runs with [`LinkLoop::run`]; `wake_js` is called when there is something in the inbox and JS
    /// does not know.
    pub fn new(config: LinkConfig, shared: Arc<Shared>, wake_js: W) -> Self {
        let carrier = match config.place {
            Some(place) => Carrier::own(place, config.core.family),
            None => Carrier::client(),
        };
        Self::with_carrier(config.core, config.max_inbox, carrier, shared, wake_js)
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
        LinkLoop {
            core: Core::new(config, carrier.opens_subscribers()),
            carrier,
            next: None,
            shared,
            wake_js,
            effects: Effects::new(Instant::now()),
            commands: Commands::default(),
            deferred: Vec::new(),
            batching: Batching::new(),
            max_inbox,
            ending: None,
            closing: false,
            released: false,
        }
    }

    /// Runs until the link is closed, or fails.
    pub async fn run(mut self) {
        let _close = CloseOutbox(Arc::clone(&self.shared));
        if let Err(reason) = failure::caught(self.work()).await {
            self.fail(&reason);
        }
    }

    /// Gives up, and says what is lost. The core may be in any state: its counts are taken if it can still make them.
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
            if self.batching.step(units, self.effects.now) {
                units = self.poll_incoming().await;
                self.carry_out();
                self.batching.linger().await;
            } else {
                units = self.wait().await;
                steps::give_way().await;
            }
            self.effects.now = Instant::now();
            self.core.tick(&mut self.effects);
        }
        // Somebody may wait for the last events.
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
                self.carrier = Carrier::client();
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
                self.next = self.core.is_crossing().then(|| Carrier::own(*place, self.core.family()));
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
                // What waits for the proof goes out without it: the clients that would bring it are gone.
                self.core.trust(&mut self.effects);
                self.ending = Some(Ending::new(self.effects.now));
            }
            Command::Close => {
                self.core.abandon_crossing("the link is closed", &mut self.effects);
                self.core.trust(&mut self.effects);
                self.ending = Some(match self.carrier {
                    // Nobody hands anything to the clients any more.
                    Carrier::Client(_) => Ending::at_once(self.effects.now),
                    _ => Ending::new(self.effects.now),
                });
                self.closing = true;
            }
            _ => {}
        }
    }

    /// Carries out what the core wants, and wakes JS if there is something for it.
    fn carry_out(&mut self) {
        self.core.follow_rooms(&mut self.effects);
        self.change_carrier();
        self.instruct_carrier();
        for token in self.shared.questions.take_new() {
            records::credentials(token, &mut self.effects.batch);
        }
        self.core.tell_flowing(&mut self.effects);
        self.check_flushed();
        self.fill_inbox();
        self.check_inbox();
    }

    /// Hands the carrier what it is to do.
    fn instruct_carrier(&mut self) {
        let room = MAX_UNWRITTEN.saturating_sub(self.carrier.unwritten());
        self.core.release(room, &mut self.effects);
        self.released = true;
        for (channel, payload) in self.effects.publishes.iter() {
            self.carrier.publish(channel, payload);
        }
        self.effects.publishes.clear();
        self.released = false;
        self.carrier.change_subscriptions(&mut self.effects.subscriptions);
        // As many rooms as come back at once after an outage do not change at a time otherwise.
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
                records::task(task, &mut self.effects.batch);
            }
        }
    }

    /// Hands JS what is for it.
    fn fill_inbox(&mut self) {
        self.shared.inbox.set_stats(self.core.stats());
        let positions = self.core.take_positions();
        if !self.effects.batch.is_empty() {
            if self.shared.inbox.append(&mut self.effects.batch, positions) {
                (self.wake_js)();
            }
        } else if let Some(positions) = positions {
            self.shared.inbox.mark(positions);
        }
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
        next.change_subscriptions(&mut self.effects.own_subscriptions);
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
            // JS may have emptied it before it could see that the link is paused.
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
        ending.look_at(self.core.stats().acknowledged, now);
        let until = ending.until();
        // Written is not enough: a connection that is closed before the replies are read is reset.
        let flushed = self.core.is_flushed() && self.carrier.is_flushed() && self.core.is_answered();
        if !flushed && now < until {
            return false;
        }
        self.ending = None;
        // What the user's clients were given is theirs to write.
        let is_own = !matches!(self.carrier, Carrier::Client(_));
        let unwritten = is_own && !self.carrier.is_flushed();
        let given_up = self.core.given_up();
        self.core.set_shut(true);
        self.carrier.set_open(false);
        if is_own {
            // As they are closed, the connections report what they had not written.
            self.poll_incoming().await;
        } else {
            self.core.lose_in_flight();
        }
        let messages = (self.core.given_up() - given_up).max(u64::from(unwritten));
        if messages > 0 {
            self.core.event(&mut self.effects, 0, &Event::GivenUp { messages });
        }
        // Whoever waits for the end hears of it now: there may be no further step.
        self.carry_out();
        self.closing
    }

    /// Takes what has arrived, without waiting; returns how much that was.
    async fn poll_incoming(&mut self) -> usize {
        let (carrier, next, mut intake) = self.receiving();
        {
            let mut incoming = std::pin::pin!(receive(carrier, next, &mut intake));
            std::future::poll_fn(|context| {
                let _ = incoming.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
        intake.units
    }

    /// Waits for a message, a command or a deadline, and takes the messages; returns how many there were.
    async fn wait(&mut self) -> usize {
        let ending = self.ending.map(|ending| ending.until());
        let deadline = [self.core.deadline(), ending].into_iter().flatten().min();
        let (carrier, next, mut intake) = self.receiving();
        let outbox = intake.outbox;
        tokio::select! {
            biased;
            () = receive(carrier, next, &mut intake) => {}
            () = outbox.changed() => {}
            () = sleep_until(deadline) => {}
        }
        outbox.unpark();
        intake.units
    }

    /// The carriers, and what takes in their reports.
    fn receiving(&mut self) -> (&mut Carrier, Option<&mut Carrier>, Intake<'_>) {
        let intake = Intake {
            core: &mut self.core,
            effects: &mut self.effects,
            outbox: &self.shared.outbox,
            commands: &mut self.commands,
            deferred: &mut self.deferred,
            units: 0,
        };
        (&mut self.carrier, self.next.as_mut(), intake)
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
