//! Values of any type, of which only some types are looked into.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value that is neither an object nor an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// A string.
    Text,
    /// `null`.
    Null,
    /// A number, a boolean, bytes, or an extension of msgpack.
    Other,
}

/// A type that can be read from a value of any type.
pub(super) trait FromAny<'de>: Sized {
    /// The expected value, as errors name it.
    const EXPECTED: &'static str = "any value";

    /// Reads it from an object.
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;

    /// Reads it from an array.
    fn from_seq<A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error>;

    /// Reads it from anything else.
    fn from_scalar<E: de::Error>(scalar: Scalar) -> Result<Self, E>;
}

/// Reads a value of any type.
pub(super) fn from_any<'de, T: FromAny<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyVisitor(PhantomData))
}

/// Passes over the items of an array, however deep they are.
pub(super) fn pass_over<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: FromAny<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        T::from_seq(seq)
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
        T::from_scalar(Scalar::Text)
    }
    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        T::from_scalar(Scalar::Null)
    }
    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<T, E> {
        T::from_scalar(Scalar::Other)
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<T, E> {
        T::from_scalar(Scalar::Other)
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
        T::from_scalar(Scalar::Other)
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
        T::from_scalar(Scalar::Other)
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
        T::from_scalar(Scalar::Other)
    }
    /// An extension of msgpack: a Date.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<T, D::Error> {
        IgnoredAny::deserialize(extension)?;
        T::from_scalar(Scalar::Other)
    }
}
