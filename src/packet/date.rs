//! Dates as JS prints them.

use super::Malformed;

/// The furthest a JS Date goes from 1970, in ms: <https://tc39.es/ecma262/#sec-timeclip>.
const FURTHEST: f64 = 8.64e15;
const DAY: i64 = 86_400_000;

/// The time value, in ms, of the `Date` that notepack.io makes of a timestamp ext.
///
/// # Errors
/// [`Malformed::WrongShape`] for a length that no timestamp has.
pub fn timestamp(data: &[u8]) -> Result<f64, Malformed> {
    if let Ok(seconds) = data.try_into().map(u32::from_be_bytes) {
        Ok(f64::from(seconds) * 1e3)
    } else if let Ok(both) = data.try_into().map(u64::from_be_bytes) {
        let seconds = both & ((1 << 34) - 1);
        Ok(seconds as f64 * 1e3 + (both >> 34) as f64 / 1e6)
    } else if let Some((nanos, seconds)) = data.split_first_chunk::<4>()
        && let Ok(seconds) = seconds.try_into().map(i64::from_be_bytes)
    {
        Ok(seconds as f64 * 1e3 + f64::from(u32::from_be_bytes(*nanos)) / 1e6)
    } else {
        Err(Malformed::WrongShape("a timestamp of 4, 8 or 12 bytes"))
    }
}

/// The time value of the `Date` that older versions of notepack wrote as ext 0.
///
/// # Errors
/// [`Malformed::WrongShape`] unless there are 8 bytes.
pub fn legacy_date(data: &[u8]) -> Result<f64, Malformed> {
    let data = data.try_into().map_err(|_| Malformed::WrongShape("a date of 8 bytes"))?;
    Ok(i64::from_be_bytes(data) as f64)
}

/// Appends what `JSON.stringify` prints for a Date: `toISOString` in quotes, `null` if it is out of range.
pub fn print_date(time: f64, out: &mut Vec<u8>) {
    if time.is_nan() || time.abs() > FURTHEST {
        out.extend_from_slice(b"null");
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "within 8.64e15; TimeClip truncates")]
    let time = time as i64;
    let (year, month, day) = civil(time.div_euclid(DAY));
    let ms = time.rem_euclid(DAY);
    out.push(b'"');
    if !(0..=9999).contains(&year) {
        out.push(if year < 0 { b'-' } else { b'+' });
        print_padded(year.abs() / 10_000, 2, out);
    }
    print_padded(year.abs() % 10_000, 4, out);
    for (before, field, width) in [
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', ms / 3_600_000, 2),
        (b':', ms / 60_000 % 60, 2),
        (b':', ms / 1_000 % 60, 2),
        (b'.', ms % 1_000, 3),
    ] {
        out.push(before);
        print_padded(field, width, out);
    }
    out.extend_from_slice(b"Z\"");
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>: years begin in March, so that
/// the leap day is the last.
fn civil(day: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let day = day + 719_468;
    let era = day.div_euclid(ERA);
    let day = day.rem_euclid(ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// Appends a number below 10^width, with zeros before it.
fn print_padded(value: i64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        let digit = u8::try_from(value / 10_i64.pow(place) % 10).unwrap_or(0);
        out.push(b'0' | digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of an ext -1, and what `JSON.stringify` prints for what notepack.io 3.0.1 decodes, in Node 20.
    const TIMESTAMPS: &[(&str, &str)] = &[
        ("00000000", "1970-01-01T00:00:00.000Z"),
        ("00000001", "1970-01-01T00:00:01.000Z"),
        ("38bb0bff", "2000-02-28T23:59:59.000Z"),
        ("38bb0c00", "2000-02-29T00:00:00.000Z"),
        ("38bc5d7f", "2000-02-29T23:59:59.000Z"),
        ("38bc5d80", "2000-03-01T00:00:00.000Z"),
        ("65dfc900", "2024-02-29T00:00:00.000Z"),
        ("65e11a7f", "2024-02-29T23:59:59.000Z"),
        ("6553f100", "2023-11-14T22:13:20.000Z"),
        ("ffffffff", "2106-02-07T06:28:15.000Z"),
        ("0000000000000000", "1970-01-01T00:00:00.000Z"),
        ("003d090000000001", "1970-01-01T00:00:01.001Z"),
        ("ee6b27fc6553f100", "2023-11-14T22:13:21.000Z"),
        ("1d6f34546553f100", "2023-11-14T22:13:20.123Z"),
        ("003d08fc00000000", "1970-01-01T00:00:00.000Z"),
        ("fffffffc00000005", "1970-01-01T00:00:06.073Z"),
        ("ee2e1f03ffffffff", "2514-05-30T01:53:03.999Z"),
        ("7735940100000000", "2106-02-07T06:28:16.500Z"),
        ("003d0903e4e6b080", "2500-01-01T00:00:00.001Z"),
        ("00000000ffffffffffffffff", "1969-12-31T23:59:59.000Z"),
        ("000f4240ffffffffffffffff", "1969-12-31T23:59:59.001Z"),
        ("3b9ac9ffffffffffffffffff", "1970-01-01T00:00:00.000Z"),
        ("0007a120ffffffffffffffff", "1969-12-31T23:59:59.001Z"),
        ("000000010000000000000000", "1970-01-01T00:00:00.000Z"),
        ("00000000fffffff1886e0900", "0001-01-01T00:00:00.000Z"),
        ("00000000fffffff1868b8400", "0000-01-01T00:00:00.000Z"),
        ("00000000fffffff1868b83ff", "-000001-12-31T23:59:59.000Z"),
        ("00000000fffffff184aa5080", "-000001-01-01T00:00:00.000Z"),
        ("000000000000003afff4417f", "9999-12-31T23:59:59.000Z"),
        ("000000000000003afff44180", "+010000-01-01T00:00:00.000Z"),
        ("00000000000007dba8218000", "+275760-09-13T00:00:00.000Z"),
        ("00000001000007dba8218000", "+275760-09-13T00:00:00.000Z"),
        ("000f423f000007dba8218000", "null"),
        ("000f4240000007dba8218000", "null"),
        ("00000000000007dba8218001", "null"),
        ("00000000fffff82457de8000", "-271821-04-20T00:00:00.000Z"),
        ("000f4240fffff82457de8000", "-271821-04-20T00:00:00.001Z"),
        ("00000000fffff82457de7fff", "null"),
        ("ffffffff0000000000000000", "1970-01-01T00:00:04.294Z"),
        ("000000007fffffffffffffff", "null"),
        ("000000008000000000000000", "null"),
        ("00000000ffffffa80f054b80", "-009999-01-01T00:00:00.000Z"),
        ("0754d4c0ffffffff7c558180", "1900-01-01T00:00:00.123Z"),
    ];

    /// The same for ext 0.
    const LEGACY: &[(&str, &str)] = &[
        ("0000000000000000", "1970-01-01T00:00:00.000Z"),
        ("0000000000000001", "1970-01-01T00:00:00.001Z"),
        ("ffffffffffffffff", "1969-12-31T23:59:59.999Z"),
        ("0000018bcfe5687b", "2023-11-14T22:13:20.123Z"),
        ("ffffc76e394a7400", "-000001-01-01T00:00:00.000Z"),
        ("001eb208c2dc0000", "+275760-09-13T00:00:00.000Z"),
        ("001eb208c2dc0001", "null"),
        ("ffe14df73d240000", "-271821-04-20T00:00:00.000Z"),
        ("ffe14df73d23ffff", "null"),
        ("7fffffffffffffff", "null"),
        ("8000000000000000", "null"),
        ("000000dd9aa6e000", "2000-02-29T00:00:00.000Z"),
        ("fffffdfeddd90fff", "1900-02-28T23:59:59.999Z"),
        ("000003bc5c9b0c00", "2100-03-01T00:00:00.000Z"),
        ("0020000000000001", "null"),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(pair).collect()
    }

    fn printed(time: f64) -> String {
        let mut out = Vec::new();
        print_date(time, &mut out);
        String::from_utf8(out).expect("ASCII").trim_matches('"').to_owned()
    }

    #[test]
    fn dates_print_as_in_node() -> Result<(), Malformed> {
        for (hex, text) in TIMESTAMPS {
            assert_eq!(printed(timestamp(&bytes(hex))?), *text, "{hex}");
        }
        for (hex, text) in LEGACY {
            assert_eq!(printed(legacy_date(&bytes(hex))?), *text, "{hex}");
        }
        assert_eq!(printed(f64::NAN), "null");
        assert_eq!(printed(f64::NEG_INFINITY), "null");
        Ok(())
    }

    #[test]
    fn other_lengths_are_refused() {
        for len in (0..20).filter(|len| ![4, 8, 12].contains(len)) {
            assert!(timestamp(&vec![0; len]).is_err(), "{len}");
        }
        assert!(legacy_date(&[0; 4]).is_err());
    }
}
