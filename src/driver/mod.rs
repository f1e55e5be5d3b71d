//! What gives the core its clock, its transport and its thread: all that runs beside the JS thread belongs here, save the
//! sockets, which are the transports'. What a message means is not decided here, but in the core.
//!
//! One OS thread for the whole process, with a current-thread runtime, serves the links of all adapters and of
//! all workers: waking a thread is the dearest thing here, so there are no others to wake.

mod apply;
mod batching;
mod carrier;
pub mod command;
pub mod credentials;
mod ending;
mod failure;
pub mod inbox;
mod intake;
pub mod link;
pub mod outbox;
mod records;
pub mod shared;
mod steps;
#[cfg(test)]
mod tests;
mod thread;

use std::rc::Rc;
use std::sync::Arc;

use crate::core::stats::Stats;

pub use steps::take_longest as take_longest_step;
pub use thread::spawn;

/// A link, from its making to its end, whatever ends it.
pub async fn run<W: Fn() + 'static>(config: link::LinkConfig, shared: Arc<shared::Shared>, wake_js: W) {
    let wake_js = Rc::new(wake_js);
    let made = {
        let (shared, wake_js) = (Arc::clone(&shared), Rc::clone(&wake_js));
        failure::caught(async move { link::LinkLoop::new(config, shared, move || wake_js()) }).await
    };
    match made {
        Ok(link) => link.run().await,
        Err(reason) => {
            shared.outbox.close();
            failure::tell(&shared.inbox, &reason, Stats::default(), &*wake_js);
        }
    }
}
