//! The shapes that values in requests and responses have: what this node checks before JS reads them.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};

/// Whether a value is an array, and of what.
#[derive(Debug)]
pub(super) enum ArrayOr {
    /// An array.
    Array(Items),
    /// An object.
    Object,
    /// A string.
    Text,
    /// Anything else.
    Other,
}

/// What is in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Items {
    /// Nothing.
    None,
    /// Objects with an id.
    Sockets,
    /// Strings.
    Texts,
    /// Other values, or not all the same.
    Mixed,
}

impl<'de> Deserialize<'de> for ArrayOr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;
        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = ArrayOr;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<ArrayOr, A::Error> {
                let mut items = Items::None;
                while let Some(Shallow(kind)) = seq.next_element()? {
                    items = if items == Items::None || items == kind { kind } else { Items::Mixed };
                }
                Ok(ArrayOr::Array(items))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<ArrayOr, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(ArrayOr::Object)
            }
            fn visit_str<E>(self, _: &str) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Text)
            }
            fn visit_bytes<E>(self, _: &[u8]) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Other)
            }
            fn visit_unit<E>(self) -> Result<ArrayOr, E> {
                Ok(ArrayOr::Other)
            }
            /// An extension of msgpack: a Date.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, ext: D) -> Result<ArrayOr, D::Error> {
                IgnoredAny::deserialize(ext).map(|_| ArrayOr::Other)
            }
        }
        deserializer.deserialize_any(ShapeVisitor)
    }
}

/// The kind of one item, whose own items do not matter: they are passed over, however deep.
struct Shallow(Items);

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Shallow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Shallow, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Shallow(Items::Mixed))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Shallow, A::Error> {
                let mut named = false;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "id" {
                        named = matches!(map.next_value()?, ArrayOr::Text);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Shallow(if named { Items::Sockets } else { Items::Mixed }))
            }
            fn visit_str<E>(self, _: &str) -> Result<Shallow, E> {
                Ok(Shallow(Items::Texts))
            }
            fn visit_bytes<E>(self, _: &[u8]) -> Result<Shallow, E> {
                Ok(Shallow(Items::Mixed))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Shallow, E> {
                Ok(Shallow(Items::Mixed))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Shallow, E> {
                Ok(Shallow(Items::Mixed))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Shallow, E> {
                Ok(Shallow(Items::Mixed))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Shallow, E> {
                Ok(Shallow(Items::Mixed))
            }
            fn visit_unit<E>(self) -> Result<Shallow, E> {
                Ok(Shallow(Items::Mixed))
            }
            /// An extension of msgpack: a Date.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, ext: D) -> Result<Shallow, D::Error> {
                IgnoredAny::deserialize(ext).map(|_| Shallow(Items::Mixed))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}
