//! The first line of an item: its type, and a number or a short text.

use super::{MAX_BULK, MAX_ITEMS, MAX_LINE, ProtocolError};

/// What the first line of an item says.
pub(super) enum ItemHead<'a> {
    /// A simple string or an error. The byte tells which.
    Line(u8, &'a [u8]),
    Integer(i64),
    Nil,
    Bulk(usize),
    Array(usize),
}

impl<'a> ItemHead<'a> {
    /// Returns the head and the length of its line, or `None` if the line is incomplete.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        match kind {
            b'$' | b'*' => {
                let bound = if kind == b'$' { MAX_BULK } else { MAX_ITEMS };
                let Some((number, len)) = number(rest)? else {
                    return Ok(None);
                };
                if number < 0 {
                    return Ok(Some((Self::Nil, 1 + len)));
                }
                let size = usize::try_from(number).map_err(|_| ProtocolError::TooLong)?;
                if size > bound {
                    return Err(ProtocolError::TooLong);
                }
                let head = if kind == b'$' { Self::Bulk(size) } else { Self::Array(size) };
                Ok(Some((head, 1 + len)))
            }
            b':' => Ok(number(rest)?.map(|(number, len)| (Self::Integer(number), 1 + len))),
            b'+' | b'-' => Ok(line(rest)?.map(|line| (Self::Line(kind, line), line.len() + 3))),
            other => Err(ProtocolError::Type(other)),
        }
    }
}

/// Returns the line without its end, or `None` if the end is missing.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ProtocolError> {
    let within = bytes.get(..MAX_LINE + 2).unwrap_or(bytes);
    for end in memchr::memchr_iter(b'\r', within) {
        if bytes.get(end + 1) == Some(&b'\n') {
            return Ok(bytes.get(..end));
        }
    }
    if within.len() == MAX_LINE + 2 {
        return Err(ProtocolError::TooLong);
    }
    Ok(None)
}

/// Returns a number and the length of its line, or `None` if the line is incomplete.
fn number(bytes: &[u8]) -> Result<Option<(i64, usize)>, ProtocolError> {
    let negative = bytes.first() == Some(&b'-');
    let first = usize::from(negative);
    let mut magnitude: i64 = 0;
    let mut len = first;
    for &byte in bytes.get(first..).unwrap_or_default() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            // Counts downwards, since there is one more negative number than there are positive ones.
            magnitude = magnitude
                .checked_mul(10)
                .and_then(|n| n.checked_sub(i64::from(digit)))
                .ok_or(ProtocolError::Number)?;
            len += 1;
            continue;
        }
        if byte != b'\r' || len == first {
            return Err(ProtocolError::Number);
        }
        let value =
            if negative { magnitude } else { magnitude.checked_neg().ok_or(ProtocolError::Number)? };
        return match bytes.get(len + 1) {
            Some(b'\n') => Ok(Some((value, len + 2))),
            Some(_) => Err(ProtocolError::Number),
            None => Ok(None),
        };
    }
    // Only leading zeros get here without an overflow.
    if len > MAX_LINE {
        return Err(ProtocolError::TooLong);
    }
    Ok(None)
}
