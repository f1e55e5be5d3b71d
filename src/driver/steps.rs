//! How long the steps of links take. While one runs, all other links of the process wait: the bench looks at the
//! longest.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// In nanoseconds.
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// How long a link goes on before the others get their turn.
pub(super) const TURN: Duration = Duration::from_millis(2);

thread_local! {
    // When the running step has begun.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    // How long the running step has slept.
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Returns how long the longest step of all links of the process took since the last call. The time that a busy link
/// sleeps does not count; the time that the kernel gives to other processes does.
pub fn take_longest() -> Duration {
    Duration::from_nanos(LONGEST.swap(0, Ordering::Relaxed))
}

/// Sleeps within a step.
pub(super) fn sleep(time: Duration) {
    let start = Instant::now();
    std::thread::sleep(time);
    SLEPT.set(SLEPT.get() + start.elapsed());
}

/// Ends the step if it has taken its turn, so that the other links have theirs. A link that always has more to read would
/// not end its step otherwise.
pub(super) async fn give_way() {
    if BEGAN.get().is_some_and(|began| began.elapsed() >= TURN) {
        tokio::task::yield_now().await;
    }
}

/// A future whose polls are timed: each is a step.
pub(super) struct Timed<F> {
    future: Pin<Box<F>>,
    longest: &'static AtomicU64,
}

impl<F> Timed<F> {
    /// Times what runs on the link thread.
    pub fn new(future: F) -> Self {
        Timed { future: Box::pin(future), longest: &LONGEST }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        SLEPT.set(Duration::ZERO);
        let start = Instant::now();
        BEGAN.set(Some(start));
        let polled = self.future.as_mut().poll(context);
        let busy = start.elapsed().saturating_sub(SLEPT.get());
        self.longest.fetch_max(u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn the_longest_step_counts_without_its_sleep() {
        static HERE: AtomicU64 = AtomicU64::new(0);
        const PAUSE: Duration = Duration::from_millis(300);
        const WORK: Duration = Duration::from_millis(20);
        let mut future = Timed {
            longest: &HERE,
            future: Box::pin(async {
                let start = Instant::now();
                while start.elapsed() < WORK {
                    std::hint::spin_loop();
                }
                sleep(PAUSE);
            }),
        };
        let start = Instant::now();
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        let all = start.elapsed();
        let longest = Duration::from_nanos(HERE.load(Ordering::Relaxed));
        assert!(longest >= WORK, "{longest:?}");
        assert!(longest <= all - PAUSE, "{longest:?} of {all:?}");
    }
}
