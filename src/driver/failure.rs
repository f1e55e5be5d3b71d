//! A link that panics tells JS, so that nobody waits for it, and what it loses is counted.
//! The other links of the thread go on.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::inbox::Inbox;
use super::records;
use crate::core::effects::Batch;
use crate::core::stats::Stats;

/// Runs a future to its end. If a panic ends it, returns the words of that as the error.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(words_of(&*panic))),
        }
    })
    .await
}

/// Tells JS that a link has failed, with its last counters.
pub fn tell(inbox: &Inbox, reason: &str, stats: Stats, wake_js: &impl Fn()) {
    inbox.set_stats(stats);
    let mut batch = Batch::default();
    records::failed(reason, &mut batch);
    if inbox.append(&mut batch, None) {
        wake_js();
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it does not say why")
        .to_owned()
}
