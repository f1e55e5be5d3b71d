//! Why bytes were refused.

use core::fmt;

/// Why bytes were refused.
///
/// From Redis it is nobody's mistake here: the message is counted and dropped. From the local parser it
/// sends the packet the slow way, through JS.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The msgpack ends before the value does.
    Truncated,
    /// Something stands after the value.
    TrailingBytes,
    /// More than [`MAX_DEPTH`](super::MAX_DEPTH) arrays and maps stand one in the other.
    TooDeep,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// 0xc1, which msgpack never uses.
    UnknownMarker,
    /// The text is not JSON.
    NotJson,
    /// Well-formed, but something else was expected: the text says what.
    WrongShape(&'static str),
    /// A length that msgpack's 32 bits do not hold.
    TooLarge,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the msgpack ends early",
            Self::TrailingBytes => "bytes after the value",
            Self::TooDeep => "nested too deep",
            Self::InvalidUtf8 => "a string is not UTF-8",
            Self::UnknownMarker => "not a msgpack marker: 0xc1",
            Self::NotJson => "not JSON",
            Self::WrongShape(wanted) => return write!(f, "expected {wanted}"),
            Self::TooLarge => "longer than msgpack can say",
        })
    }
}

impl core::error::Error for Malformed {}
