//! Numbers as JS prints and reads them.

use super::Malformed;
use super::writer::{write_double, write_int, write_uint};

/// 2^53: below it every whole number is a double, and prints as the same digits.
pub const EXACT: f64 = 9_007_199_254_740_992.0;
const EXACT_INT: u64 = 1 << 53;

/// Appends an integer as JS would print it, which holds the nearest double instead.
#[inline]
pub fn print_uint(value: u64, out: &mut Vec<u8>) {
    if value < 10 {
        out.push(b'0' | value.to_be_bytes()[7]);
    } else if value < EXACT_INT {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    } else {
        print_double(value as f64, out);
    }
}

/// Appends an integer as JS would print it, which holds the nearest double instead.
#[inline]
pub fn print_int(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    print_uint(value.unsigned_abs(), out);
}

/// Appends a number as `JSON.stringify` prints it: `null` if it is not finite.
pub fn print_double(value: f64, out: &mut Vec<u8>) {
    #[expect(clippy::cast_possible_truncation, reason = "compared with what it came from")]
    let whole = value as i64;
    if value.abs() < EXACT && whole as f64 == value {
        print_int(whole, out);
    } else if value.is_finite() {
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends the msgpack of the JSON number at the start of `text`, and returns what follows it.
///
/// # Errors
/// [`Malformed::NotJson`].
#[inline]
pub fn read_number<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    let mut rest = digits;
    let mut whole = 0_u64;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = after;
    }
    let count = digits.len() - rest.len();
    if count == 0 || (count > 1 && digits.first() == Some(&b'0')) {
        return Err(Malformed::NotJson);
    }
    // Up to 15 digits, every integer is a double.
    if count > 15 || matches!(rest, [b'.' | b'e' | b'E', ..]) {
        return read_double(text, rest, out);
    }
    if negative {
        write_int(out, 0_i64.saturating_sub_unsigned(whole));
    } else {
        write_uint(out, whole);
    }
    Ok(rest)
}

/// Appends the msgpack of the number at the start of `text`; `rest` follows its integer part.
fn read_double<'a>(text: &'a [u8], rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let mut rest = rest;
    if let [b'.', fraction @ ..] = rest {
        rest = skip_digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = match exponent {
            [b'+' | b'-', digits @ ..] => skip_digits(digits)?,
            digits => skip_digits(digits)?,
        };
    }
    let number = text.get(..text.len() - rest.len()).unwrap_or_default();
    // The standard library rounds correctly, as ECMAScript demands.
    let number = core::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    write_double(out, number.ok_or(Malformed::NotJson)?);
    Ok(rest)
}

/// What follows the digits, of which there must be one.
fn skip_digits(text: &[u8]) -> Result<&[u8], Malformed> {
    let mut rest = text;
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    if rest.len() == text.len() {
        return Err(Malformed::NotJson);
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bits of a double, and what `JSON.stringify` of Node 20 prints for it.
    const PRINTED: &[(u64, &str)] = &[
        (0x3fb9_9999_9999_999a, "0.1"),
        (0x3fe0_0000_0000_0000, "0.5"),
        (0x3ff8_0000_0000_0000, "1.5"),
        (0xbff8_0000_0000_0000, "-1.5"),
        (0x3fd5_5555_5555_5555, "0.3333333333333333"),
        (0x3fe5_5555_5555_5555, "0.6666666666666666"),
        (0x4009_21fb_5444_2d18, "3.141592653589793"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x3e7a_d7f2_9abc_af48, "1e-7"),
        (0x3e84_21f5_f40d_8376, "1.5e-7"),
        (0x3eb4_a2cf_4d5a_a6c0, "0.00000123"),
        (0x4415_af1d_78b5_8c40, "100000000000000000000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x4454_542b_a12a_337c, "1.5e+21"),
        (0xc44b_1ae4_d6e2_ef50, "-1e+21"),
        (0x441a_c53a_7e04_bcda, "123456789012345680000"),
        (0x4480_f0cf_064d_d592, "1e+22"),
        (0x54b2_49ad_2594_c37d, "1e+100"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x0010_0000_0000_0000, "2.2250738585072014e-308"),
        (0x000f_ffff_ffff_ffff, "2.225073858507201e-308"),
        (0x4011_6666_6666_6666, "4.35"),
        (0x3eb4_b3fd_5942_cd96, "0.000001234"),
        (0x3fd3_3333_3333_3334, "0.30000000000000004"),
        (0x4059_1000_0000_0000, "100.25"),
        (0x433f_ffff_ffff_ffff, "9007199254740991"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0x4340_0000_0000_0001, "9007199254740994"),
        (0xc33f_ffff_ffff_ffff, "-9007199254740991"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0xc340_0000_0000_0001, "-9007199254740994"),
        (0x4330_0000_0000_0000, "4503599627370496"),
        (0x432f_ffff_ffff_ffff, "4503599627370495.5"),
        (0x4320_0000_0000_0000, "2251799813685248"),
        (0x43e0_0000_0000_0000, "9223372036854776000"),
        (0x43f0_0000_0000_0000, "18446744073709552000"),
        (0xc3e0_0000_0000_0000, "-9223372036854776000"),
        (0x43b9_9999_9999_9999, "1844674407370955000"),
        (0x41ef_ffff_ffe0_0000, "4294967295"),
        (0x41f0_0000_0000_0000, "4294967296"),
        (0xc1e0_0000_0000_0000, "-2147483648"),
        (0x430c_6bf5_2634_0000, "1000000000000000"),
        (0x4341_c379_37e0_8000, "10000000000000000"),
        (0x4376_3457_85d8_a000, "100000000000000000"),
        (0x419d_6f34_5480_0000, "123456789.125"),
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x7ff8_0000_0000_0000, "null"),
        (0x7ff0_0000_0000_0000, "null"),
        (0xfff0_0000_0000_0000, "null"),
        (0x3fb9_9999_a000_0000, "0.10000000149011612"),
        (0x47ef_f933_c000_0000, "3.3999999521443642e+38"),
        (0x36a0_0000_0000_0000, "1.401298464324817e-45"),
        (0x3f18_e757_928e_0c9e, "0.000095"),
        (0x3ff0_0000_0000_0001, "1.0000000000000002"),
        (0x43e5_6a95_319d_63e1, "12345678901234567000"),
        (0x3ea0_c6f7_a0b5_ed8d, "5e-7"),
        (0x4415_af1d_78b5_8c3f, "99999999999999980000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x3fe9_9999_9999_9999, "0.7999999999999999"),
    ];

    fn printed(value: f64) -> String {
        let mut out = Vec::new();
        print_double(value, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn read(text: &str) -> Result<(Vec<u8>, &[u8]), Malformed> {
        let mut out = Vec::new();
        let rest = read_number(text.as_bytes(), &mut out)?;
        Ok((out, rest))
    }

    fn msgpack(value: f64) -> Vec<u8> {
        let mut out = Vec::new();
        write_double(&mut out, value);
        out
    }

    #[test]
    fn numbers_print_as_in_node() {
        for &(bits, text) in PRINTED {
            let value = f64::from_bits(bits);
            assert_eq!(printed(value), text, "{bits:x}");
            if value.is_finite() {
                assert_eq!(read(text), Ok((msgpack(value), &[][..])), "{text}");
            }
        }
    }

    #[test]
    fn large_integers_print_as_the_nearest_double() {
        for (value, text) in [
            (u64::MAX, "18446744073709552000"),
            ((1 << 53) + 1, "9007199254740992"),
            ((1 << 53) + 3, "9007199254740996"),
            ((1 << 53) - 1, "9007199254740991"),
        ] {
            let mut out = Vec::new();
            print_uint(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
            if let Ok(value) = i64::try_from(value) {
                out.clear();
                print_int(-value, &mut out);
                assert_eq!(String::from_utf8_lossy(&out), format!("-{text}"));
            }
        }
        let mut out = Vec::new();
        print_int(i64::MIN, &mut out);
        assert_eq!(out, b"-9223372036854776000");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", "-", "00", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "1E-", "+1", "a", "-a", "1.e"]
        {
            assert_eq!(read(text), Err(Malformed::NotJson), "{text}");
        }
        assert_eq!(read("0,"), Ok((vec![0], &b","[..])));
        assert_eq!(read("-0.0e-0]"), Ok((vec![0], &b"]"[..])));
        assert_eq!(read("12.50E+1x"), Ok((vec![125], &b"x"[..])));
    }

    proptest! {
        #[test]
        fn doubles_come_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = printed(value);
            prop_assert_eq!(text.as_str(), ryu_js::Buffer::new().format(value).to_owned());
            prop_assert_eq!(read(&text), Ok((msgpack(value), &[][..])));
        }

        #[test]
        fn integers_print_as_doubles_do(value in any::<i64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            print_int(value, &mut out);
            prop_assert_eq!(String::from_utf8_lossy(&out), printed(value as f64));
        }

        #[test]
        fn any_digits_read_as_the_nearest_double(text in "-?(0|[1-9][0-9]{0,24})([.][0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            let value: f64 = text.parse().expect("a number");
            prop_assert_eq!(read(&text), Ok((msgpack(value), &[][..])));
        }
    }
}
