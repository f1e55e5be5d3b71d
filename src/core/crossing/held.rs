//! Messages that come in behind the mark: they are kept until it is clear whose are delivered.

use crate::core::context::Context;
use crate::core::messaging::Messaging;
use crate::transport::{Incoming, Subscriber, SubscriptionKind};

/// How much may be kept, in bytes.
const MAX_HELD: usize = 8 << 20;

/// A message that is kept.
#[derive(Debug)]
struct HeldMessage {
    subscriber: Subscriber,
    kind: SubscriptionKind,
    name: Box<[u8]>,
    channel: Box<[u8]>,
    payload: Box<[u8]>,
}

/// The messages behind the mark, of both ways.
#[derive(Debug, Default)]
pub(super) struct Held {
    from_clients: Vec<HeldMessage>,
    from_own: Vec<HeldMessage>,
    bytes: usize,
}

impl Held {
    /// Keeps a message that the user's clients have brought.
    pub(super) fn keep_of_clients(&mut self, message: &Incoming<'_>) {
        let kept = self.take(message);
        self.from_clients.extend(kept);
    }

    /// Keeps a message that the own connections have brought.
    pub(super) fn keep_of_own(&mut self, message: &Incoming<'_>) {
        let kept = self.take(message);
        self.from_own.extend(kept);
    }

    fn take(&mut self, message: &Incoming<'_>) -> Option<HeldMessage> {
        let &Incoming::Message { subscriber, kind, name, channel, payload } = message else {
            return None;
        };
        self.bytes += size_of::<HeldMessage>() + name.len() + channel.len() + payload.len();
        Some(HeldMessage {
            subscriber,
            kind,
            name: name.into(),
            channel: channel.into(),
            payload: payload.into(),
        })
    }

    /// Whether more is kept than may be.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes > MAX_HELD
    }

    /// Delivers what the user's clients have brought.
    pub(super) fn deliver_of_clients(&mut self, messaging: &mut Messaging, cx: &mut Context<'_>) {
        deliver(std::mem::take(&mut self.from_clients), messaging, cx);
    }

    /// Delivers what the own connections have brought.
    pub(super) fn deliver_of_own(&mut self, messaging: &mut Messaging, cx: &mut Context<'_>) {
        deliver(std::mem::take(&mut self.from_own), messaging, cx);
    }
}

fn deliver(messages: Vec<HeldMessage>, messaging: &mut Messaging, cx: &mut Context<'_>) {
    for HeldMessage { subscriber, kind, name, channel, payload } in messages {
        cx.stats.received += 1;
        messaging.message(subscriber, kind, &name, &channel, &payload, cx);
    }
}
