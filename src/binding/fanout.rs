//! The `FanOut` class of `binding.js`: one per JS environment. What it does stands in `src/fanout`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use napi::bindgen_prelude::{Buffer, Either, Error, Function, Status};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use super::args::{Bytes, Words};
use super::numbers::{to_f64, to_usize};
use crate::fanout::hub::{Bounds, Hub, HubStats, Push};
use crate::fanout::slot::Settled;
use crate::fanout::sys::{Refusal, Socket, is_needed};

/// How long the end of the process waits for clients that are slow.
const LAST_WRITES: Duration = Duration::from_millis(100);

/// Writes ready WebSocket frames to many connections, on a thread of its own.
///
/// JS lends a connection with `adopt`. While it is lent, JS and this class never both hold unsent bytes of it: JS hands over
/// frames (`push`) only while Node has written all, and calls `settle` before Node writes. `push` takes only slots whose
/// flags are 0, and sets the bit 65536 (HELD) in the flags of each slot that it takes. JS has to settle a slot with
/// this bit before Node writes, and to clear it when the result is not 2. Flags are JS's own memory, which this class looks
/// at during `push` alone.
#[napi]
pub struct FanOut {
    hub: Hub,
}

/// The counters of a `FanOut`.
#[napi(object, object_from_js = false)]
pub struct FanOutStats {
    /// Slots that have a number now: adopted, and not released.
    pub lent: f64,
    /// Slots on the lists of the writer now. Some may be there twice, or have been settled.
    pub waiting: f64,
    /// Frames that were pushed, one for each slot that was taken.
    pub pushed: f64,
    /// How many of them the kernel has taken from here, and not from Node.
    pub written: f64,
    /// How many times the kernel had no room, and what was left became JS's.
    pub spilled: f64,
    /// Connections that were broken when the writer wrote to them.
    pub failed: f64,
    /// Bytes that the kernel has taken from here. Those that Node wrote behind frames, with `settle`, are among them.
    pub bytes: f64,
    /// Slots that `push` has written itself, since more than `maxWaiting` waited.
    pub helped: f64,
    /// Whether the writer has panicked: nothing is taken any more.
    pub is_dead: bool,
}

#[napi]
impl FanOut {
    /// Starts no thread until a connection is adopted. `onReport` is called when there is something for `takeReports`,
    /// and not again before that is called; it keeps no process alive. No more than `maxBytes` wait for a connection.
    /// If more than `maxWaiting` slots wait to be written, `push` writes half of them itself.
    ///
    /// # Errors
    /// An `Error` if `onReport` is no function.
    #[napi(constructor, catch_unwind)]
    pub fn new(on_report: Function<'_, (), ()>, max_bytes: f64, max_waiting: f64) -> napi::Result<Self> {
        // Weak, so that it keeps no process alive. One place in the queue: a call that finds it taken has nothing to add.
        let on_report = on_report
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            .max_queue_size::<1>()
            .build()?;
        let bounds = Bounds { max_bytes: to_usize(max_bytes), max_waiting: to_usize(max_waiting) };
        let tell_js = move || {
            on_report.call((), ThreadsafeFunctionCallMode::NonBlocking);
        };
        Ok(FanOut { hub: Hub::new(bounds, Box::new(tell_js)) })
    }

    /// Duplicates the file descriptor of a connection, and returns the number of its slot. -1: the connection cannot be
    /// lent. -2: file descriptors are scarce, so no more are lent. -3: they are needed for clients who want to connect, and
    /// JS should give back those that it has lent.
    #[napi(catch_unwind)]
    pub fn adopt(&mut self, fd: i32) -> i32 {
        match self.hub.adopt(|| duplicate(fd)) {
            Ok(number) => i32::try_from(number).unwrap_or(-1),
            Err(Refusal::Impossible) => -1,
            Err(Refusal::Scarce) => -2,
            Err(Refusal::Needed) => -3,
        }
    }

    /// Whether a new connection with this file descriptor shows that those of lent connections are needed: JS should give them
    /// back.
    #[napi(catch_unwind)]
    pub fn needs_descriptors(&self, fd: i32) -> bool {
        is_needed(fd)
    }

    /// Copies the bytes that the next pushes are about. No slot has had them, or is excepted.
    #[napi(catch_unwind, ts_args_type = "frames: Buffer")]
    pub fn load(&mut self, frames: Bytes) {
        self.hub.load(frames.as_slice());
    }

    /// Lets go of the bytes that were loaded. Without any, `push` does nothing.
    #[napi(catch_unwind)]
    pub fn unload(&mut self) {
        self.hub.unload();
    }

    /// The first `count` of these slots do not get what is loaded, and are not refused.
    ///
    /// # Errors
    /// An `Error` if there are fewer.
    #[napi(catch_unwind, ts_args_type = "slots: Int32Array, count: number")]
    pub fn except(&mut self, slots: Words, count: u32) -> napi::Result<()> {
        self.hub.except(slots.first(count)?);
        Ok(())
    }

    /// What is loaded is for each of the first `count` slots that has not had it yet, is not excepted, and was not refused.
    /// Slots that are not to be had are written to `refused` from `refusedAt` on: those whose flags are not 0, those that
    /// are not lent, those that more than `maxBytes` would wait for. Returns where they end. What waits for a slot that
    /// spills later is JS's in its order. If it is volatile, slots that something waits for are left out.
    ///
    /// # Errors
    /// An `Error`, and nothing is pushed, if there are fewer slots, or less room than for all of them.
    #[napi(
        catch_unwind,
        ts_args_type = "slots: Int32Array, count: number, flags: Int32Array, refused: Int32Array, refusedAt: number, isVolatile: boolean"
    )]
    pub fn push(
        &mut self,
        slots: Words,
        count: u32,
        flags: Words,
        refused: Words,
        refused_at: u32,
        is_volatile: bool,
    ) -> napi::Result<u32> {
        let slots = slots.first(count)?;
        let room = refused.as_slice().get(refused_at as usize..).filter(|room| room.len() >= slots.len());
        let room = room.ok_or_else(|| Error::new(Status::InvalidArg, "`refused` has too little room"))?;
        let push = Push { slots, flags: flags.as_slice(), refused: room, is_volatile };
        // No more than there are slots, whose number is a u32.
        let count = u32::try_from(self.hub.push(push)).unwrap_or(u32::MAX);
        Ok(refused_at.saturating_add(count))
    }

    /// To be called before Node writes `own` (`null`: nothing yet) to a connection. Afterwards nothing waits for it here,
    /// unless the result is 2.
    ///
    /// 0: nothing waited, and Node writes its own. 1: all is written, `own` too. 2: the writer is in its system call;
    /// JS keeps what it wants to write, and settles again when the slot is reported. A Buffer: what the kernel has not
    /// taken of what waited and of `own`, which Node has to write instead of `own`.
    #[napi(
        catch_unwind,
        ts_args_type = "slot: number, own: Buffer | null",
        ts_return_type = "number | Buffer"
    )]
    pub fn settle(&mut self, slot: i32, own: Option<Bytes>) -> Either<u32, Buffer> {
        let own = own.as_ref().map_or(&[][..], Bytes::as_slice);
        let settled = number(slot).map_or(Settled::Nothing, |slot| self.hub.settle(slot, own));
        match settled {
            Settled::Nothing => Either::A(0),
            Settled::All => Either::A(1),
            Settled::Busy => Either::A(2),
            Settled::Rest(rest) => Either::B(rest.into()),
        }
    }

    /// Writes to `out` the slots that JS has to look at, and returns how many: they have spilled, so that JS settles them;
    /// or failed, which `errorOf` tells; or JS waits for them. If there are more than fit, `onReport` is called again. A
    /// report may be out of date: the slot has been settled since, or is another connection's.
    #[napi(catch_unwind, ts_args_type = "out: Int32Array")]
    pub fn take_reports(&mut self, out: Words) -> u32 {
        let out = out.as_slice();
        let mut count = 0;
        for (place, slot) in out.iter().zip(self.hub.take_reports(out.len())) {
            place.store(i32::try_from(slot).unwrap_or(-1), Ordering::Relaxed);
            count += 1;
        }
        count
    }

    /// The errno of a connection that was broken when the writer wrote to it: a positive number, once. 0 if it is whole.
    #[napi(catch_unwind)]
    pub fn error_of(&mut self, slot: i32) -> i32 {
        number(slot).map_or(0, |slot| self.hub.take_errno(slot))
    }

    /// Closes the file descriptor that was made for a slot, at once or when the writer is out of its system call. What
    /// waits is written at once, or dropped. The number stays taken.
    #[napi(catch_unwind)]
    pub fn hang_up(&mut self, slot: i32) {
        if let Some(slot) = number(slot) {
            self.hub.hang_up(slot);
        }
    }

    /// Hangs up, and makes the number of a slot free for the next connection.
    #[napi(catch_unwind)]
    pub fn release(&mut self, slot: i32) {
        if let Some(slot) = number(slot) {
            self.hub.release(slot);
        }
    }

    /// For the end of the process: writes what waits for any connection, on this thread, and hangs up the slots that
    /// something waited for. What the kernel does not take within 100 ms is dropped. From now on `push` refuses all slots.
    #[napi(catch_unwind)]
    pub fn drain(&mut self) {
        self.hub.drain(LAST_WRITES);
    }

    /// The counters.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> FanOutStats {
        FanOutStats::of(self.hub.stats())
    }
}

impl FanOutStats {
    fn of(stats: HubStats) -> Self {
        FanOutStats {
            lent: to_f64(stats.lent),
            waiting: to_f64(stats.waiting),
            pushed: to_f64(stats.pushed),
            written: to_f64(stats.written),
            spilled: to_f64(stats.spilled),
            failed: to_f64(stats.failed),
            bytes: to_f64(stats.bytes),
            helped: to_f64(stats.helped),
            is_dead: stats.is_dead,
        }
    }
}

/// The number of a slot. A negative one is none.
fn number(slot: i32) -> Option<u32> {
    u32::try_from(slot).ok()
}

#[cfg(unix)]
fn duplicate(fd: i32) -> Result<Socket, Refusal> {
    // The standard streams may be sockets, and are no connections.
    if fd <= 2 {
        return Err(Refusal::Impossible);
    }
    // SAFETY: it is not -1. JS does not run meanwhile, which could close it. If it is open nowhere, the kernel says so; it
    // is only asked what it is, and duplicated if that is a stream's.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    Socket::duplicate(fd)
}

#[cfg(not(unix))]
fn duplicate(_: i32) -> Result<Socket, Refusal> {
    Err(Refusal::Impossible)
}
