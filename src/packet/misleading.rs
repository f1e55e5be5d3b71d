//! Finds texts that may not mean what was printed.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Whether a text with so many attachments may mean something else than the values that it was printed from. A Date is
/// printed as a string, but the wire of the reference tells the two apart. And an object of the user's may look like the
/// place of a binary attachment. A text that means what it says may be suspected, too.
pub fn misleads(payload: &[u8], attachments: usize) -> bool {
    static DATE_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"Z\""));
    static PLACEHOLDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"{\"_placeholder\":true"));
    let dates = DATE_END.find_iter(payload).any(|end| {
        // .123Z"
        let fraction = end.checked_sub(4).and_then(|start| payload.get(start..end));
        matches!(fraction, Some([b'.', digits @ ..]) if digits.iter().all(u8::is_ascii_digit))
    });
    dates || (attachments > 0 && PLACEHOLDER.find_iter(payload).count() != attachments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(payload: &str) -> bool {
        misleads(payload.as_bytes(), 0)
    }

    #[test]
    fn what_looks_like_a_printed_date_misleads() {
        assert!(dates(r#"42["at","2026-11-30T13:35:07.123Z"]"#));
        assert!(dates(r#"42["at",{"a":["x",{"b":"-000001-01-01T00:00:00.000Z"}]}]"#));
        assert!(dates(r#"42["Z","AZ","+275760-09-13T00:00:00.000Z"]"#), "behind what only ends alike");
        assert!(dates(r#"42["version",".123Z"]"#), "it is not read any closer");
    }

    #[test]
    fn what_no_date_is_printed_as_does_not() {
        for payload in [
            "",
            "Z\"",
            ".1Z\"",
            "42[\"Z\"]",
            r#"42["A to Z"]"#,
            r#"42["12:00:00Z"]"#,
            r#"42["12:00:00.12Z"]"#,
            r#"42["12:00:00.1234Z"]"#,
            r#"42["12:00:00.12aZ"]"#,
            r#"42["12:00:00.123z"]"#,
            r#"42["12:00:00.123Z "]"#,
        ] {
            assert!(!dates(payload), "{payload}");
        }
    }

    #[test]
    fn as_many_places_as_attachments_mean_what_they_say() {
        let one = br#"451-["x",{"_placeholder":true,"num":0}]"#;
        assert!(!misleads(one, 1));
        assert!(misleads(one, 2));
        let two = br#"451-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":7}]"#;
        assert!(misleads(two, 1), "one of them is the user's");
        assert!(!misleads(two, 2));
    }

    #[test]
    fn without_attachments_nothing_is_the_place_of_one() {
        assert!(!misleads(br#"42["x",{"_placeholder":true,"num":0}]"#, 0));
    }
}
