//! What JS reports of the user's clients: the rest of the `Link` class.

use std::time::Instant;

use napi_derive::napi;

use super::args::{Bytes, List};
use super::link::Link;
use super::numbers::subscription_kind;
use crate::core::effects::MemberId;
use crate::driver::command::Command;
use crate::transport::Subscription;
use crate::transport::client::Report;
use crate::transport::redis::Login;

#[napi]
impl Link {
    /// The user's client is connected.
    #[napi(catch_unwind)]
    pub fn client_up(&self) {
        self.report(Report::Up);
    }

    /// The user's client is not connected.
    #[napi(catch_unwind)]
    pub fn client_down(&self, reason: String) {
        self.report(Report::Down { reason });
    }

    /// The user's client is connected, but Redis takes nothing for now; `reason` is what Redis says.
    #[napi(catch_unwind)]
    pub fn client_held(&self, reason: String) {
        self.report(Report::Held { reason });
    }

    /// The user's client is subscribed: to a channel (0), a pattern (1), or a channel of a shard (2).
    #[napi(catch_unwind)]
    pub fn client_subscribed(&self, kind: u32, name: Bytes) {
        let subscription = Subscription::new(subscription_kind(kind), name.as_slice());
        self.report(Report::Subscribed(subscription));
    }

    /// The user's client could not subscribe.
    #[napi(catch_unwind)]
    pub fn client_subscribe_failed(&self, error: String) {
        self.report(Report::SubscribeFailed { error });
    }

    /// The user's client has received a message by a subscription of this kind; `name` is the subscription's, if it is
    /// not the channel.
    #[napi(catch_unwind)]
    pub fn client_message(&self, kind: u32, name: Option<Bytes>, channel: Bytes, payload: Bytes) {
        self.shared.outbox.push(|commands| Command::ClientMessage {
            kind: subscription_kind(kind),
            name: name.map(|name| commands.put(name.as_slice())),
            channel: commands.put(channel.as_slice()),
            payload: commands.put(payload.as_slice()),
        });
    }

    /// The user's client carries what a member publishes, without the link. JS repeats this now and then.
    #[napi(catch_unwind)]
    pub fn client_carries(&self, member: MemberId) {
        self.shared.outbox.push(|_| Command::Carried(member));
    }

    /// A publish of the user's client is done.
    #[napi(catch_unwind)]
    pub fn client_published(&self, receivers: u32) {
        self.report(Report::Published { receivers: receivers.into() });
    }

    /// A publish of the user's client has failed.
    #[napi(catch_unwind)]
    pub fn client_publish_failed(&self, error: String) {
        self.report(Report::PublishFailed { error });
    }

    /// A publish of the user's client reached nobody, though somebody listens. It is to be published again.
    #[napi(catch_unwind)]
    pub fn client_returned(&self, channel: Bytes, payload: Bytes) {
        let (channel, payload) = (channel.as_slice().to_vec(), payload.as_slice().to_vec());
        self.report(Report::Returned { channel, payload });
    }

    /// The same for a publish that JS gave to the client without the link.
    #[napi(catch_unwind)]
    pub fn publish_again(&self, channel: Bytes, payload: Bytes) {
        self.shared.outbox.push(|commands| Command::PublishAgain {
            channel: commands.put(channel.as_slice()),
            bytes: commands.put(payload.as_slice()),
        });
    }

    /// The user's client has lost a subscription, and is about to make it again. It may have heard nothing for the last
    /// `silence` milliseconds.
    #[napi(catch_unwind)]
    pub fn client_lost(&self, kind: u32, name: Bytes, reason: String, silence: u32) {
        let subscription = Subscription::new(subscription_kind(kind), name.as_slice());
        self.report(Report::Lost { subscription, reason, silence: silence.into(), at: Instant::now() });
    }

    /// The user's client has counted subscribers, or failed to; `refusal` is then what Redis said, if it said anything.
    #[napi(catch_unwind)]
    pub fn client_counted(
        &self,
        token: u32,
        #[napi(ts_arg_type = "Array<number> | undefined | null")] counts: Option<List<u32>>,
        refusal: Option<String>,
    ) {
        let counts = counts.map(|counts| counts.iter().map(|&count| count.into()).collect()).ok_or(refusal);
        self.report(Report::Counted { token: token.into(), counts });
    }

    /// The user's client has run a command; `reply` is what Redis said, in RESP2, or `error` why that is not known.
    #[napi(catch_unwind)]
    pub fn client_replied(&self, token: u32, reply: Option<Bytes>, error: Option<String>) {
        let reply = match reply {
            Some(reply) => Ok(reply.as_slice().to_vec()),
            None => Err(error.unwrap_or_default()),
        };
        self.report(Report::Replied { token: token.into(), reply });
    }

    /// Answers a `Credentials` record, with `error` or with a login, of which either part may be missing. An answer
    /// that comes too late is dropped.
    #[napi(catch_unwind)]
    pub fn credentials(
        &self,
        token: u32,
        username: Option<String>,
        password: Option<String>,
        error: Option<String>,
    ) {
        let answer = match error {
            Some(error) => Err(error),
            None => Ok(Login { username, password }),
        };
        self.shared.questions.answer(token, answer);
    }
}

impl Link {
    fn report(&self, report: Report) {
        self.shared.outbox.push(|_| Command::Client(report));
    }
}
