//! Arguments taken from JS without the detours that the general conversions make: a Buffer costs 25 ns this way
//! instead of 140, a short string 30 instead of 200. And without the traps in them: see [`Bytes::if_buffer`], [`List`].

use std::cell::Cell;
use std::sync::atomic::AtomicI32;

use napi::bindgen_prelude::{Array, FromNapiValue, TypeName, ValidateNapiValue, sys};
use napi::{Result, Status, ValueType, check_status};

/// A Buffer or Uint8Array of the caller's. Only valid during the call that it was given to, which is why it
/// is neither `Clone` nor `Send`, and never leaves the binding.
pub struct Bytes {
    data: *const u8,
    len: usize,
}

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: Node-API gave this pointer and length for a Buffer that is an argument of the running call:
        // it is alive, and JS, which could change or detach it, does not run meanwhile. Other threads do not write
        // to it either: of memory that they share lib/delivery/outgoing.js hands over a copy.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

impl Bytes {
    /// The value if it is a Buffer.
    ///
    /// # Safety
    /// `env` and `value` are those of the running call.
    pub unsafe fn if_buffer(env: sys::napi_env, value: sys::napi_value) -> Option<Self> {
        let mut is_buffer = false;
        // SAFETY: the caller's; the out pointer is local.
        let status = unsafe { sys::napi_is_buffer(env, value, &mut is_buffer) };
        // `napi_get_buffer_info` says so itself only since Node 20.12: before, it aborts the process.
        if status != sys::Status::napi_ok || !is_buffer {
            return None;
        }
        let mut data = std::ptr::null_mut();
        let mut len = 0;
        // SAFETY: the caller's; the out pointers are local.
        let status = unsafe { sys::napi_get_buffer_info(env, value, &mut data, &mut len) };
        (status == sys::Status::napi_ok).then_some(Bytes { data: data.cast(), len })
    }
}

impl TypeName for Bytes {
    fn type_name() -> &'static str {
        "Uint8Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ValidateNapiValue for Bytes {}

impl FromNapiValue for Bytes {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: the caller's.
        unsafe { Self::if_buffer(env, value) }
            .ok_or_else(|| napi::Error::new(Status::InvalidArg, "a Buffer was expected"))
    }
}

/// An Int32Array of the caller's, during the call that it was given to. As atomic numbers: it may be memory that other
/// threads have as well, and two arguments may be the same memory.
pub struct Words {
    data: *const AtomicI32,
    len: usize,
}

impl Words {
    /// The numbers.
    pub fn as_slice(&self) -> &[AtomicI32] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: Node-API gave this pointer and length for an Int32Array that is an argument of the running call: it is
        // aligned and alive, and JS, which could detach it, does not run meanwhile. Writes through other pointers to the
        // same memory are atomic ones, or those of another thread's JS, which are too.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }

    /// The first so many numbers.
    ///
    /// # Errors
    /// An `Error` if there are fewer.
    pub fn first(&self, count: u32) -> Result<&[AtomicI32]> {
        let error = || napi::Error::new(Status::InvalidArg, format!("there are only {} numbers", self.len));
        self.as_slice().get(..count as usize).ok_or_else(error)
    }
}

impl TypeName for Words {
    fn type_name() -> &'static str {
        "Int32Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ValidateNapiValue for Words {}

impl FromNapiValue for Words {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        let mut is_typed = false;
        // SAFETY: the caller's; the out pointer is local.
        let status = unsafe { sys::napi_is_typedarray(env, value, &mut is_typed) };
        let (mut kind, mut len, mut data) = (0, 0, std::ptr::null_mut());
        if status == sys::Status::napi_ok && is_typed {
            let unwanted = std::ptr::null_mut();
            check_status!(
                // SAFETY: the caller's; the out pointers are local, or null for what is not wanted.
                unsafe {
                    sys::napi_get_typedarray_info(
                        env,
                        value,
                        &mut kind,
                        &mut len,
                        &mut data,
                        unwanted,
                        std::ptr::null_mut(),
                    )
                },
                "an array cannot be read"
            )?;
        }
        if !is_typed || kind != sys::TypedarrayType::int32_array {
            return Err(napi::Error::new(Status::InvalidArg, "an Int32Array was expected"));
        }
        // Memory that was taken away from it has no address, whatever length is told.
        let len = if data.is_null() { 0 } else { len };
        Ok(Words { data: data.cast_const().cast(), len })
    }
}

thread_local! {
    /// Memory of texts that are done with, for the next ones.
    static SPARE: Cell<Vec<Vec<u8>>> = const { Cell::new(Vec::new()) };
}

/// A string of the caller's, copied out as UTF-8; a lone surrogate becomes U+FFFD, as in `Buffer.from`.
///
/// Reading a string may make the runtime collect garbage, and that may run finalizers, ours too. So it is read before
/// anything is locked or borrowed, never meanwhile.
pub struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Rooms and ids are short: most are had with one call.
    const GUESS: usize = 256;
    /// How much memory is kept for the next text.
    const KEEP: usize = 1 << 20;

    /// The value if it is a string.
    ///
    /// # Safety
    /// `env` and `value` are those of the running call.
    pub unsafe fn if_string(env: sys::napi_env, value: sys::napi_value) -> Result<Option<Self>> {
        let mut kind = 0;
        // SAFETY: the caller's; the out pointer is local.
        check_status!(unsafe { sys::napi_typeof(env, value, &mut kind) }, "a value was expected")?;
        if kind != sys::ValueType::napi_string {
            return Ok(None);
        }
        // SAFETY: the caller's.
        unsafe { Self::read(env, value) }.map(Some)
    }

    /// # Safety
    /// `env` and `value` are those of the running call.
    unsafe fn read(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        let mut spare = SPARE.take();
        let mut text = Text { bytes: spare.pop().unwrap_or_default() };
        SPARE.set(spare);
        // SAFETY: the caller's.
        if unsafe { text.copy(env, value, Self::GUESS) }? {
            return Ok(text);
        }
        let mut len = 0;
        check_status!(
            // SAFETY: the caller's; without a buffer Node-API only measures.
            unsafe { sys::napi_get_value_string_utf8(env, value, std::ptr::null_mut(), 0, &mut len) },
            "a string was expected"
        )?;
        // SAFETY: the caller's.
        unsafe { text.copy(env, value, len + 5) }?;
        Ok(text)
    }

    /// Copies the string if it is shorter than `room`; says whether it was.
    ///
    /// # Safety
    /// `env` and `value` are those of the running call.
    unsafe fn copy(&mut self, env: sys::napi_env, value: sys::napi_value, room: usize) -> Result<bool> {
        self.bytes.clear();
        self.bytes.reserve(room);
        let mut written = 0;
        // SAFETY: the caller's; `room` bytes are reserved, and Node-API writes no more than that.
        let status = unsafe {
            let target = self.bytes.as_mut_ptr().cast();
            sys::napi_get_value_string_utf8(env, value, target, room, &mut written)
        };
        check_status!(status, "a string was expected")?;
        // It writes whole characters and a final NUL: what was cut off stopped at most 4 bytes before the end.
        let whole = written + 4 < room;
        if whole {
            // SAFETY: so many bytes were written, which is less than the `room` that is reserved.
            unsafe { self.bytes.set_len(written) };
        }
        Ok(whole)
    }

    /// Its bytes, in UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The string.
    pub fn to_string(&self) -> Result<String> {
        let text = std::str::from_utf8(&self.bytes);
        text.map(String::from).map_err(|error| napi::Error::new(Status::StringExpected, error.to_string()))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if self.bytes.capacity() > Self::KEEP {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        // At the end of a worker the thread's own data may be gone already.
        let _ = SPARE.try_with(|spare| {
            let mut list = spare.take();
            list.push(bytes);
            spare.set(list);
        });
    }
}

impl TypeName for Text {
    fn type_name() -> &'static str {
        "String"
    }

    fn value_type() -> ValueType {
        ValueType::String
    }
}

impl ValidateNapiValue for Text {}

impl FromNapiValue for Text {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: the caller's.
        unsafe { Self::read(env, value) }
    }
}

/// An array of the caller's.
///
/// It grows as it is read. The general conversion reserves memory for as many items as the array says it has, which may
/// be 2^32 - 1 though none of them is there; and what reserves more than there is ends the process.
pub struct List<T>(Vec<T>);

impl<T> List<T> {
    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        List(items)
    }
}

impl<T> TypeName for List<T> {
    fn type_name() -> &'static str {
        "Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl<T> ValidateNapiValue for List<T> {}

impl<T: FromNapiValue> FromNapiValue for List<T> {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: the caller's.
        let array = unsafe { Array::from_napi_value(env, value) }?;
        let mut items = Vec::new();
        for index in 0..array.len() {
            let missing = || napi::Error::new(Status::InvalidArg, format!("item {index} is missing"));
            items.push(array.get(index)?.ok_or_else(missing)?);
        }
        Ok(List(items))
    }
}
