//! The shapes of values in requests and responses, which this node checks before JS reads them.

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess};

use super::any::{FromAny, Scalar, from_any, pass_over};

/// Whether a value is an array, and of what.
#[derive(Debug)]
pub(super) enum ArrayOr {
    /// An array.
    Array(ItemKinds),
    /// An object.
    Object,
    /// A string.
    Text,
    /// Anything else.
    Other,
}

/// The kind of the items of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKinds {
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
        from_any(deserializer)
    }
}

impl<'de> FromAny<'de> for ArrayOr {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ArrayOr::Object)
    }
    fn from_seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut items = ItemKinds::None;
        while let Some(Shallow(kind)) = seq.next_element()? {
            items = if items == ItemKinds::None || items == kind { kind } else { ItemKinds::Mixed };
        }
        Ok(ArrayOr::Array(items))
    }
    fn from_scalar<E: de::Error>(scalar: Scalar) -> Result<Self, E> {
        Ok(if scalar == Scalar::Text { ArrayOr::Text } else { ArrayOr::Other })
    }
}

/// The kind of one item, whose own items do not matter: they are passed over, however deep.
struct Shallow(ItemKinds);

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_any(deserializer)
    }
}

impl<'de> FromAny<'de> for Shallow {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut named = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "id" {
                named = matches!(map.next_value()?, ArrayOr::Text);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Shallow(if named { ItemKinds::Sockets } else { ItemKinds::Mixed }))
    }
    fn from_seq<A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error> {
        pass_over(seq).map(|()| Shallow(ItemKinds::Mixed))
    }
    fn from_scalar<E: de::Error>(scalar: Scalar) -> Result<Self, E> {
        Ok(Shallow(if scalar == Scalar::Text { ItemKinds::Texts } else { ItemKinds::Mixed }))
    }
}
