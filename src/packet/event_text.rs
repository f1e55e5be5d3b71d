//! An event as socket.io-parser prints it, taken apart.

use super::Malformed;

/// The parts of an event that socket.io-parser printed and Engine.IO marked as a message.
///
/// Not for packets of other types: connect, ack and the rest never go to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventText<'a> {
    /// The number of the acknowledgement that is waited for.
    pub id: Option<u64>,
    /// How many binary parts belong to the event.
    pub attachments: usize,
    /// What `JSON.stringify` printed: an array, as far as its first byte tells.
    pub json: &'a [u8],
}

impl<'a> EventText<'a> {
    /// The parts of `payload`, e.g. `42/chat,17["ev",1]`, or `451-["ev",{"_placeholder":true,"num":0}]`. The text
    /// does not say where a namespace ends that has a comma in its name, so that `nsp` has to.
    ///
    /// # Errors
    /// [`Malformed::WrongShape`] for anything but an event in this namespace.
    pub fn parse(payload: &'a [u8], nsp: &str) -> Result<Self, Malformed> {
        let (attachments, rest) = match payload {
            [b'4', b'2', rest @ ..] => (0, rest),
            [b'4', b'5', rest @ ..] => match leading_number(rest)? {
                (Some(count), [b'-', rest @ ..]) => {
                    (usize::try_from(count).map_err(|_| Malformed::TooLarge)?, rest)
                }
                _ => return Err(Malformed::WrongShape("the number of attachments")),
            },
            _ => return Err(Malformed::WrongShape("an event")),
        };
        let rest = if nsp == "/" {
            rest
        } else {
            rest.strip_prefix(nsp.as_bytes())
                .and_then(|rest| rest.strip_prefix(b","))
                .ok_or(Malformed::WrongShape("the namespace"))?
        };
        let (id, json) = leading_number(rest)?;
        if json.first() != Some(&b'[') {
            return Err(Malformed::WrongShape("an array of arguments"));
        }
        Ok(Self { id, attachments, json })
    }
}

/// The decimal number that `text` begins with, if any, and what follows it.
fn leading_number(text: &[u8]) -> Result<(Option<u64>, &[u8]), Malformed> {
    let mut rest = text;
    let mut number = None;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        let tens = number.unwrap_or(0_u64).checked_mul(10);
        number = tens.and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
        if number.is_none() {
            return Err(Malformed::TooLarge);
        }
        rest = after;
    }
    Ok((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(payload: &'a str, nsp: &str) -> Result<(Option<u64>, usize, &'a str), Malformed> {
        let event = EventText::parse(payload.as_bytes(), nsp)?;
        Ok((event.id, event.attachments, core::str::from_utf8(event.json).expect("cut at ASCII")))
    }

    #[test]
    fn events_come_apart() {
        assert_eq!(parts(r#"42["ev",1]"#, "/"), Ok((None, 0, r#"["ev",1]"#)));
        assert_eq!(parts(r#"4217["ev"]"#, "/"), Ok((Some(17), 0, r#"["ev"]"#)));
        assert_eq!(parts(r#"42/chat,["a,b"]"#, "/chat"), Ok((None, 0, r#"["a,b"]"#)));
        assert_eq!(parts(r#"42/chat,0["ev"]"#, "/chat"), Ok((Some(0), 0, r#"["ev"]"#)));
        assert_eq!(parts(r#"4512-["ev"]"#, "/"), Ok((None, 12, r#"["ev"]"#)));
        assert_eq!(parts(r#"451-/é,3["ev"]"#, "/é"), Ok((Some(3), 1, r#"["ev"]"#)));
        assert_eq!(parts(r#"42/12,["ev"]"#, "/12"), Ok((None, 0, r#"["ev"]"#)));
        assert_eq!(parts(r#"42/a,b,["ev"]"#, "/a,b"), Ok((None, 0, r#"["ev"]"#)));
        assert_eq!(parts("4218446744073709551615[]", "/"), Ok((Some(u64::MAX), 0, "[]")));
    }

    #[test]
    fn all_else_is_refused() {
        for payload in ["42[]", "42/chat[]", "42/chat", "42/chat,", "42/chat,{}", "42/other,[]"] {
            assert!(parts(payload, "/chat").is_err(), "{payload}");
        }
        for payload in [
            "",
            "4",
            "42",
            "2[]",
            "32[]",
            "40",
            "41",
            "43[]",
            "44{}",
            "46-[]",
            "45[]",
            "45-[]",
            "451[]",
            "42/chat,[]",
            "42{}",
            "42 []",
            "42\"a\"",
            "42-1[]",
            "4218446744073709551616[]",
            "4599999999999999999999-[]",
        ] {
            assert!(parts(payload, "/").is_err(), "{payload}");
        }
    }
}
