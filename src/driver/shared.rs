//! What JS and the driver share of a link, and what the connections ask of JS by way of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::credentials::Questions;
use super::inbox::Inbox;
use super::outbox::Outbox;
use crate::transport::redis::{Answer, AskCredentials};

/// What JS and the driver share of a link.
#[derive(Debug, Default)]
pub struct Shared {
    /// From JS.
    pub outbox: Outbox,
    /// To JS.
    pub inbox: Inbox,
    /// What the connections ask of JS.
    pub questions: Questions,
    /// The link does not read, since the inbox is full. Whoever empties the inbox has to wake the link.
    pub paused: AtomicBool,
}

/// Asks the JS side of a link, by a record in its inbox.
pub struct AskJs(Arc<Shared>);

impl AskJs {
    /// Asks through the link of `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl AskCredentials for AskJs {
    fn ask(&self) -> Answer {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let (token, answer) = shared.questions.ask();
            let _forget = Forget { shared: &shared, token };
            // The link puts the question where JS finds it.
            shared.outbox.nudge();
            answer.await.unwrap_or_else(|_| Err("there was no answer".to_owned()))
        })
    }
}

/// Forgets a question when nobody waits for its answer any more.
struct Forget<'a> {
    shared: &'a Shared,
    token: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.questions.forget(self.token);
    }
}
