//! The functions that are called for every message that goes out, made with Node-API itself. A call costs 60 ns; one of a
//! function of napi-rs costs 230, since that guards borrows of JS memory that outlive the call. None does here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, Function, ToNapiValue, sys};
use napi::{Env, Error, Result, Status, check_status};
use napi_derive::napi;

use super::args::{Bytes, Text};
use super::hot::{broadcast_parts, send_parts};

/// Returns the function that broadcasts an event: `payload` is the Engine.IO text that socket.io-parser has
/// printed, `room` the room if it is exactly one, `opts` the options in msgpack if they say more than the room. It
/// returns 0 if the event is on its way. It returns 1, and sends nothing, if the text may mislead (see `mayMislead`) and
/// is not `checked`; 2, if the options have to name the room and are not given.
#[napi(
    catch_unwind,
    ts_return_type = "(link: number, member: number, payload: Buffer, room: string | null, opts: Buffer | null, checked: boolean) => number"
)]
pub fn fast_broadcast(env: &Env) -> Result<Function<'_, (), ()>> {
    env.create_function("broadcast", broadcast)
}

/// Returns the function that publishes what is ready for the wire, on the channel of
/// broadcasts (`to` 0, `name` the room if it is exactly one), of requests (1) or of responses (2, `name` the uid of the
/// requester): `bytes` may be a string. It returns false for a member that the link does not have.
#[napi(
    catch_unwind,
    ts_return_type = "(link: number, member: number, to: number, name: string | null, bytes: Buffer | string) => boolean"
)]
pub fn fast_send(env: &Env) -> Result<Function<'_, (), ()>> {
    env.create_function("send", send)
}

extern "C" fn broadcast(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: Node-API calls this with a live `env` and `info`, on the thread of that `env`.
    answer(env, || unsafe { read_and_broadcast(env, info) })
}

extern "C" fn send(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: Node-API calls this with a live `env` and `info`, on the thread of that `env`.
    answer(env, || unsafe { read_and_send(env, info) })
}

/// Turns a result into the value that JS gets, or throws its error.
fn answer<T: ToNapiValue>(env: sys::napi_env, call: impl FnOnce() -> Result<T>) -> sys::napi_value {
    let done = catch_unwind(AssertUnwindSafe(call));
    let result = done.unwrap_or_else(|_| Err(Error::new(Status::GenericFailure, "a message has panicked")));
    // SAFETY: `env` is that of the running call, on its thread; no exception is pending, since nothing above runs JS.
    match result.and_then(|sent| unsafe { ToNapiValue::to_napi_value(env, sent) }) {
        Ok(value) => value,
        Err(error) => {
            // SAFETY: as above.
            unsafe { napi::JsError::from(error).throw_into(env) };
            ptr::null_mut()
        }
    }
}

/// # Safety
/// `env` and `info` are those of a call that is running.
unsafe fn read_and_broadcast(env: sys::napi_env, info: sys::napi_callback_info) -> Result<u32> {
    // SAFETY: the caller's.
    let [link, member, payload, room, opts, checked] = unsafe { arguments(env, info)? };
    // SAFETY: Node-API fills what was not given with `undefined`, so that all are values of this call.
    unsafe {
        broadcast_parts(
            u32::from_napi_value(env, link)?,
            u32::from_napi_value(env, member)?,
            &Bytes::from_napi_value(env, payload)?,
            &[],
            Text::if_string(env, room)?,
            Bytes::if_buffer(env, opts),
            bool::from_napi_value(env, checked)?,
        )
    }
}

/// # Safety
/// `env` and `info` are those of a call that is running.
unsafe fn read_and_send(env: sys::napi_env, info: sys::napi_callback_info) -> Result<bool> {
    // SAFETY: the caller's.
    let [link, member, to, name, bytes] = unsafe { arguments(env, info)? };
    // SAFETY: Node-API fills what was not given with `undefined`, so that all are values of this call.
    unsafe {
        let (link, member) = (u32::from_napi_value(env, link)?, u32::from_napi_value(env, member)?);
        let (to, name) = (u32::from_napi_value(env, to)?, Text::if_string(env, name)?);
        match Text::if_string(env, bytes)? {
            Some(text) => send_parts(link, member, to, name, text.as_bytes()),
            None => send_parts(link, member, to, name, Bytes::from_napi_value(env, bytes)?.as_slice()),
        }
    }
}

/// # Safety
/// `env` and `info` are those of a call that is running.
unsafe fn arguments<const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> Result<[sys::napi_value; N]> {
    let mut count = N;
    let mut arguments = [ptr::null_mut(); N];
    check_status!(
        // SAFETY: `arguments` has room for `count` values; the other out pointers may be null.
        unsafe {
            sys::napi_get_cb_info(
                env,
                info,
                &mut count,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        },
        "the arguments cannot be read"
    )?;
    Ok(arguments)
}
