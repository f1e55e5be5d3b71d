//! What a subscriber connection sends: names, in portions and several per command, and questions for signs of
//! life.

use std::task::Context;

use tokio::time::Instant;

use super::sent::{SentCommand, Verb};
use super::unsent::Unsent;
use super::{Holding, PORTION, SubscriberConnection};
use crate::transport::redis::buffer::{MAX_NAMES, write_names};
use crate::transport::redis::slot::{Slot, in_slots};
use crate::transport::{Subscription, SubscriptionKind};

impl SubscriberConnection {
    pub(super) fn ping(&mut self) {
        write_names(self.connection.commands.commands(), Verb::Ping.command(), []);
        self.watch.asked(Instant::now());
        self.in_flight.push_back(SentCommand {
            verb: Verb::Ping,
            slot: None,
            names: Vec::new(),
            confirmed: 0,
        });
    }

    /// Sends some of the names that have to be sent again.
    pub(super) fn send_portion(&mut self) {
        let Some(unsent) = self.unsent.take() else {
            return;
        };
        let left = self.names.backwards(unsent.bound());
        let names: Vec<Subscription> = left.take(PORTION).cloned().collect();
        if names.len() == PORTION {
            self.unsent = names.last().cloned().map(Unsent::Before);
        }
        self.send_all(names, Verb::subscribe);
    }

    /// Sends a refused command again as two, so that the names that are allowed are accepted.
    pub(super) fn send_halves(&mut self, sent: SentCommand) {
        let SentCommand { verb, slot, mut names, .. } = sent;
        if verb.subscribes() {
            names.retain(|name| self.names.has(name));
        }
        let second = names.split_off(names.len() / 2);
        self.send(verb, slot, names);
        self.send(verb, slot, second);
    }

    /// Sends the refused names again when it is time.
    pub(super) fn try_refused_again(&mut self, cx: &mut Context<'_>) {
        if self.refused.is_empty() {
            if self.in_flight.is_empty() {
                self.refused.start_over();
            }
        } else if self.refused.poll(cx) {
            let mut names = std::mem::take(&mut self.refused.names);
            names.retain(|name| self.names.has(name));
            let mut leaving = std::mem::take(&mut self.refused.leaving);
            leaving.retain(|name| !self.names.has(name));
            self.send_all(names, Verb::subscribe);
            self.send_all(leaving, Verb::unsubscribe);
        }
    }

    pub(super) fn send_all(&mut self, names: Vec<Subscription>, verb: fn(SubscriptionKind) -> Verb) {
        if self.holding == Holding::BySlot {
            for (slot, names) in in_slots(names) {
                self.send_kinds(names, Some(slot), verb);
            }
        } else {
            self.send_kinds(names, None, verb);
        }
    }

    fn send_kinds(
        &mut self,
        names: Vec<Subscription>,
        slot: Option<Slot>,
        verb: fn(SubscriptionKind) -> Verb,
    ) {
        // Globs first: other servers count the subscribers of exact channels.
        for kind in [SubscriptionKind::Pattern, SubscriptionKind::Channel, SubscriptionKind::Shard] {
            let mut names = names.iter().filter(|name| name.kind == kind).cloned().peekable();
            while names.peek().is_some() {
                self.send(verb(kind), slot, names.by_ref().take(MAX_NAMES).collect());
            }
        }
    }

    fn send(&mut self, verb: Verb, slot: Option<Slot>, names: Vec<Subscription>) {
        if names.is_empty() {
            // UNSUBSCRIBE without a name would unsubscribe from everything.
            return;
        }
        write_names(
            self.connection.commands.commands(),
            verb.command(),
            names.iter().map(|name| &*name.name),
        );
        self.in_flight.push_back(SentCommand { verb, slot, names, confirmed: 0 });
    }
}
