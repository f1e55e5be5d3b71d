//! msgpack, written in its smallest form, as notepack.io does.

use super::Malformed;

/// Appends a string.
///
/// # Errors
/// [`Malformed::TooLarge`] from 4 GiB on.
#[inline]
pub fn write_str(out: &mut Vec<u8>, text: &str) -> Result<(), Malformed> {
    write_str_len(out, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Appends the head of a string of `len` bytes.
///
/// # Errors
/// [`Malformed::TooLarge`] from 4 GiB on.
#[inline]
pub(super) fn write_str_len(out: &mut Vec<u8>, len: usize) -> Result<(), Malformed> {
    match u8::try_from(len) {
        Ok(len @ 0..32) => out.push(0xa0 | len),
        Ok(len) => out.extend_from_slice(&[0xd9, len]),
        Err(_) => write_wide_len(out, len, 0xda)?,
    }
    Ok(())
}

/// Appends the head of an array; its `len` values follow.
///
/// # Errors
/// [`Malformed::TooLarge`] from 2^32 on.
#[inline]
pub fn write_array_len(out: &mut Vec<u8>, len: usize) -> Result<(), Malformed> {
    match u8::try_from(len) {
        Ok(len @ 0..16) => out.push(0x90 | len),
        _ => write_wide_len(out, len, 0xdc)?,
    }
    Ok(())
}

/// Appends the head of a map; its `len` pairs of key and value follow.
///
/// # Errors
/// [`Malformed::TooLarge`] from 2^32 on.
#[inline]
pub fn write_map_len(out: &mut Vec<u8>, len: usize) -> Result<(), Malformed> {
    match u8::try_from(len) {
        Ok(len @ 0..16) => out.push(0x80 | len),
        _ => write_wide_len(out, len, 0xde)?,
    }
    Ok(())
}

/// Appends the head of binary data; its `len` bytes follow.
///
/// # Errors
/// [`Malformed::TooLarge`] from 4 GiB on.
#[inline]
pub fn write_bin_len(out: &mut Vec<u8>, len: usize) -> Result<(), Malformed> {
    match u8::try_from(len) {
        Ok(len) => out.extend_from_slice(&[0xc4, len]),
        Err(_) => write_wide_len(out, len, 0xc5)?,
    }
    Ok(())
}

/// Appends a 16-bit length after `marker16`, or a 32-bit one after the marker that follows it.
fn write_wide_len(out: &mut Vec<u8>, len: usize, marker16: u8) -> Result<(), Malformed> {
    if let Ok(len) = u16::try_from(len) {
        let [high, low] = len.to_be_bytes();
        out.extend_from_slice(&[marker16, high, low]);
    } else {
        let [a, b, c, d] = u32::try_from(len).map_err(|_| Malformed::TooLarge)?.to_be_bytes();
        out.extend_from_slice(&[marker16 + 1, a, b, c, d]);
    }
    Ok(())
}

/// Appends an integer that is not negative.
#[inline]
pub fn write_uint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(value @ 0..128) => out.push(value),
        Ok(value) => out.extend_from_slice(&[0xcc, value]),
        Err(_) => write_wide_uint(out, value),
    }
}

fn write_wide_uint(out: &mut Vec<u8>, value: u64) {
    if let Ok(value) = u16::try_from(value) {
        let [high, low] = value.to_be_bytes();
        out.extend_from_slice(&[0xcd, high, low]);
    } else if let Ok(value) = u32::try_from(value) {
        let [a, b, c, d] = value.to_be_bytes();
        out.extend_from_slice(&[0xce, a, b, c, d]);
    } else {
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        out.extend_from_slice(&[0xcf, a, b, c, d, e, f, g, h]);
    }
}

/// Appends an integer of either sign.
pub fn write_int(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        write_uint(out, value);
    } else if let Ok(value) = i8::try_from(value) {
        let [byte] = value.to_be_bytes();
        if value < -32 {
            out.push(0xd0);
        }
        out.push(byte);
    } else if let Ok(value) = i16::try_from(value) {
        let [high, low] = value.to_be_bytes();
        out.extend_from_slice(&[0xd1, high, low]);
    } else if let Ok(value) = i32::try_from(value) {
        let [a, b, c, d] = value.to_be_bytes();
        out.extend_from_slice(&[0xd2, a, b, c, d]);
    } else {
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        out.extend_from_slice(&[0xd3, a, b, c, d, e, f, g, h]);
    }
}

/// Appends a JS number: an integer if it is one and msgpack has room for it, else 64 bits of float.
/// Where notepack.io wraps (2^64 and beyond, below -2^63) the float arrives as sent.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    const TWO_64: f64 = 18_446_744_073_709_551_616.0;
    #[expect(clippy::cast_possible_truncation, reason = "compared with what they came from")]
    let (uint, int) = (value as u64, value as i64);
    if uint as f64 == value && value < TWO_64 {
        write_uint(out, uint);
    } else if int as f64 == value && value < TWO_63 {
        write_int(out, int);
    } else {
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        out.extend_from_slice(&[0xcb, a, b, c, d, e, f, g, h]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn integers_take_the_smallest_form() {
        for (value, bytes) in [
            (0_i64, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0xcc, 0x80]),
            (255, &[0xcc, 0xff]),
            (256, &[0xcd, 1, 0]),
            (0xffff, &[0xcd, 0xff, 0xff]),
            (0x1_0000, &[0xce, 0, 1, 0, 0]),
            (0xffff_ffff, &[0xce, 0xff, 0xff, 0xff, 0xff]),
            (1 << 32, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
            (1 << 53, &[0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0]),
            (-1, &[0xff]),
            (-32, &[0xe0]),
            (-33, &[0xd0, 0xdf]),
            (-128, &[0xd0, 0x80]),
            (-129, &[0xd1, 0xff, 0x7f]),
            (-32768, &[0xd1, 0x80, 0]),
            (-32769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
            (-(1 << 31), &[0xd2, 0x80, 0, 0, 0]),
            (-(1 << 31) - 1, &[0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(written(|out| write_int(out, value)), bytes, "{value}");
            assert_eq!(written(|out| write_double(out, value as f64)), bytes, "{value}");
        }
    }

    #[test]
    fn numbers_without_an_integer_form_are_floats() {
        for value in [0.5, 1e21, -1e19, 18_446_744_073_709_551_616.0, f64::INFINITY] {
            let mut bytes = vec![0xcb];
            bytes.extend_from_slice(&value.to_be_bytes());
            assert_eq!(written(|out| write_double(out, value)), bytes, "{value}");
        }
        let largest = written(|out| write_double(out, 18_446_744_073_709_549_568.0));
        assert_eq!(largest, [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf8, 0]);
        let smallest = written(|out| write_double(out, -9_223_372_036_854_775_808.0));
        assert_eq!(smallest, [0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(|out| write_double(out, -0.0)), [0]);
    }

    #[test]
    fn lengths_take_the_smallest_form() -> Result<(), Malformed> {
        type Write = fn(&mut Vec<u8>, usize) -> Result<(), Malformed>;
        let cases: [(Write, usize, &[u8]); 14] = [
            (write_str_len, 31, &[0xbf]),
            (write_str_len, 32, &[0xd9, 32]),
            (write_str_len, 255, &[0xd9, 255]),
            (write_str_len, 256, &[0xda, 1, 0]),
            (write_str_len, 0x1_0000, &[0xdb, 0, 1, 0, 0]),
            (write_array_len, 15, &[0x9f]),
            (write_array_len, 16, &[0xdc, 0, 16]),
            (write_array_len, 0x1_0000, &[0xdd, 0, 1, 0, 0]),
            (write_map_len, 15, &[0x8f]),
            (write_map_len, 16, &[0xde, 0, 16]),
            (write_map_len, 0x1_0000, &[0xdf, 0, 1, 0, 0]),
            (write_bin_len, 255, &[0xc4, 255]),
            (write_bin_len, 256, &[0xc5, 1, 0]),
            (write_bin_len, 0x1_0000, &[0xc6, 0, 1, 0, 0]),
        ];
        for (write, len, bytes) in cases {
            let mut out = Vec::new();
            write(&mut out, len)?;
            assert_eq!(out, bytes, "{len}");
            assert_eq!(write(&mut out, 1 << 32), Err(Malformed::TooLarge));
        }
        Ok(())
    }
}
