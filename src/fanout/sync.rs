//! Locks and threads: those of the standard library, or, in the tests of all interleavings, those of loom.

use std::sync::PoisonError;

#[cfg(not(all(test, feature = "interleavings")))]
pub(super) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(all(test, feature = "interleavings"))]
pub(super) use loom::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

/// Locks, whatever a panic has left behind: each state of what is locked here is a whole one.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a moment pass without a system call, while another thread is about to be done.
pub(super) fn pause() {
    for _ in 0..20 {
        std::hint::spin_loop();
    }
}
