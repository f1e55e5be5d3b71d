//! The reports of the transports, each handed to the part that it concerns.

use super::crossing::Passage;
use super::effects::Effects;
use super::event::{Event, Refused};
use super::{Context, Core, context_of};
use crate::transport::{Incoming, Subscription};

impl Core {
    /// Takes what the own connections report before they carry the bytes.
    pub fn incoming_own(&mut self, incoming: &Incoming<'_>, fx: &mut Effects) {
        let Some(crossing) = &mut self.crossing else {
            return;
        };
        let stays = crossing.incoming_own(incoming, &self.messaging.members, context_of!(self, fx));
        if let Some(reason) = stays {
            self.abandon_crossing(reason, fx);
        }
    }

    /// Takes what the transport reports.
    pub fn incoming(&mut self, incoming: Incoming<'_>, fx: &mut Effects) {
        match self.crossing.as_mut().map_or(Passage::Open, |crossing| crossing.pass(&incoming)) {
            Passage::Open => {}
            Passage::Closed => return,
            Passage::Stays(reason) => self.abandon_crossing(reason, fx),
        }
        let Core { messaging, streams, .. } = self;
        let cx = context_of!(self, fx);
        match incoming {
            Incoming::Message { subscriber, kind, name, channel, payload } => {
                cx.stats.received += 1;
                messaging.message(subscriber, kind, name, channel, payload, cx);
            }
            Incoming::Published { receivers } => {
                messaging.publisher.answered();
                cx.stats.acknowledged += 1;
                cx.stats.receivers += receivers;
            }
            Incoming::PublishRefused { error } => {
                messaging.publisher.answered();
                cx.stats.refused += 1;
                cx.event(0, &Event::Refused { what: Refused::Publish, error, stream: None });
            }
            Incoming::Counted { token, counts } => messaging.counted(token, counts, cx),
            Incoming::CountRefused { token, error } => messaging.count_refused(token, error, cx),
            Incoming::Subscribed { subscriber, kind, name } => {
                messaging.subscribed(subscriber, kind, name, cx)
            }
            Incoming::Unsubscribed { subscriber, kind, name, reason, silence } => {
                let deaf = messaging.members.lost(subscriber, &Subscription::new(kind, name));
                messaging.deafen(&deaf, reason, silence, cx);
            }
            Incoming::Returned { channel, payload } => {
                messaging.publisher.returned(channel, payload, &messaging.members, cx);
            }
            Incoming::Settling { time } => {
                let flow = &mut messaging.publisher.flow;
                if !flow.is_waiting() {
                    flow.heal(cx.now(), messaging.members.with_peers());
                }
                flow.settle(cx.now(), time);
            }
            Incoming::Up => messaging.up(cx),
            Incoming::Down { reason, unanswered, unwritten } => {
                messaging.publisher.down(unanswered, unwritten, cx.stats);
                streams.down(cx.fx);
                cx.event(0, &Event::Down { reason, stands: false });
            }
            Incoming::Held { reason, trial } => {
                cx.stats.outages += u64::from(messaging.publisher.flow.is_connected());
                messaging.publisher.flow.hold(trial);
                streams.down(cx.fx);
                cx.event(0, &Event::Down { reason, stands: true });
            }
            Incoming::Replica => cx.event(0, &Event::Replica),
            Incoming::SubscriberDown { subscriber, reason, silence } => {
                let deaf = messaging.members.subscriber_lost(subscriber);
                messaging.deafen(&deaf, reason, silence, cx);
            }
            Incoming::Replied { token, outcome } => streams.replied(token, outcome, messaging, cx),
            Incoming::SubscribeRefused { error, .. } => {
                cx.event(0, &Event::Refused { what: Refused::Subscribe, error, stream: None });
            }
        }
    }
}
