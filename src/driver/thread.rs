//! The one thread that all links of the process run on.

use std::future::Future;
use std::pin::Pin;

use once_cell::sync::OnceCell;
use tokio::sync::mpsc;

use super::steps::Timed;

/// Makes, on the link thread, what is to run there.
type Start = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

static LINK_THREAD: OnceCell<mpsc::UnboundedSender<Start>> = OnceCell::new();

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

fn start() -> std::io::Result<mpsc::UnboundedSender<Start>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, mut receiver) = mpsc::unbounded_channel::<Start>();
    std::thread::Builder::new().name("socket.io-redis".into()).spawn(move || {
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            while let Some(make) = receiver.recv().await {
                // A link catches its own panics: see `failure`.
                drop(tokio::task::spawn_local(make()));
            }
        });
    })?;
    Ok(sender)
}
