//! What gives the core its clock, its transport and its thread.
//!
//! One OS thread for the whole process, with a current-thread runtime, serves the links of all adapters and of
//! all workers: waking a thread is the dearest thing here, so there are no others to wake.

mod apply;
mod carrier;
pub mod credentials;
mod ending;
mod failure;
pub mod inbox;
pub mod link;
pub mod outbox;
mod pace;
mod records;
pub mod shared;
mod steps;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use tokio::sync::mpsc;

use crate::core::stats::Stats;

use steps::Timed;
pub use steps::take_longest as take_longest_step;

type Task = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

static LINK_THREAD: OnceCell<mpsc::UnboundedSender<Task>> = OnceCell::new();

/// Runs what `make` returns on the link thread, which is started with the first call.
///
/// # Errors
/// If the thread or its runtime cannot be made; the next call tries again. In JS: an `Error` from
/// `createAdapter`'s function.
pub fn spawn<F>(make: impl FnOnce() -> F + Send + 'static) -> std::io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    let thread = LINK_THREAD.get_or_try_init(start)?;
    thread
        .send(Box::new(|| Box::pin(Timed::new(make()))))
        .map_err(|_| std::io::Error::other("the link thread has ended"))
}

/// A link, from its making to its end, whatever ends it.
pub async fn run<W: Fn() + 'static>(options: link::Options, shared: Arc<shared::Shared>, wake_js: W) {
    let wake_js = Rc::new(wake_js);
    let made = {
        let (shared, wake_js) = (Arc::clone(&shared), Rc::clone(&wake_js));
        failure::caught(async move { link::Link::new(options, shared, move || wake_js()) }).await
    };
    match made {
        Ok(link) => link.run().await,
        Err(reason) => {
            shared.outbox.close();
            failure::tell(&shared.inbox, &reason, Stats::default(), &*wake_js);
        }
    }
}

fn start() -> std::io::Result<mpsc::UnboundedSender<Task>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, mut receiver) = mpsc::unbounded_channel::<Task>();
    std::thread::Builder::new().name("socket.io-redis".into()).spawn(move || {
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            while let Some(make) = receiver.recv().await {
                // Its panics are its own: see `failure`.
                drop(tokio::task::spawn_local(make()));
            }
        });
    })?;
    Ok(sender)
}
