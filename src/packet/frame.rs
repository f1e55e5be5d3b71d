//! The WebSocket frame that clients get.

use core::ops::Range;

use super::msgpack::{Item, MsgpackReader};
use super::msgpack_to_json::msgpack_to_json;
use super::{Malformed, Printed};

/// Names that socket.io-parser refuses: <https://socket.io/docs/v4/emit-cheatsheet/#reserved-events>.
const RESERVED: [&[u8]; 6] =
    [b"connect", b"connect_error", b"disconnect", b"disconnecting", b"newListener", b"removeListener"];

/// Room for what stands before the namespace: a frame head of up to 10 bytes, `45`, up to 20 digits, `-`.
const ROOM: usize = 10 + 2 + 20 + 1;

/// Where the parts of a frame are that [`write_event_frame`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The whole frame, in the output. Bytes before it, as far as they are new, mean nothing.
    pub frame: Range<usize>,
    /// The Socket.IO text in it, without the `4` of Engine.IO.
    pub text: Range<usize>,
    /// The binary parts that go out after it, in `data`.
    pub attachments: Vec<Range<usize>>,
    /// As [`Printed::exact`].
    pub exact: bool,
}

/// Appends one unmasked text frame with the event whose arguments are `data`, and returns where things are.
///
/// `data` is a packet's `data` from Redis, unchecked. Clients close the connection when they get an event
/// they do not understand, so one is made only of an array that begins with a number or with a string that
/// is not a reserved name. How many attachments clients take (socket.io-parser since 4.2.6: 10) is not
/// checked, as the reference does not.
///
/// # Errors
/// If `data` is anything else or malformed, or if something follows it; `out` is then as before.
pub fn write_event_frame(
    nsp: &str,
    id: Option<u64>,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Result<Frame, Malformed> {
    check_event(data)?;
    let start = begin(nsp, id, out);
    let mut attachments = Vec::new();
    let printed = msgpack_to_json(data, out, &mut attachments).and_then(|(taken, printed)| {
        if taken == data.len() { Ok(printed) } else { Err(Malformed::TrailingBytes) }
    });
    let Printed { exact } = printed.inspect_err(|_| out.truncate(start))?;
    Ok(finish(start, attachments, exact, out))
}

/// The same for arguments that are JSON already: `json` goes into the frame as it is. The caller has made sure that
/// it is JSON.
///
/// # Errors
/// If `json` is not the arguments of an event; `out` is then as before.
pub fn write_event_frame_of_text(
    nsp: &str,
    id: Option<u64>,
    json: &str,
    out: &mut Vec<u8>,
) -> Result<Frame, Malformed> {
    check_event_text(json)?;
    let start = begin(nsp, id, out);
    out.extend_from_slice(json.as_bytes());
    Ok(finish(start, Vec::new(), true, out))
}

/// Leaves room for the head and appends what stands before the arguments; returns where the room begins.
fn begin(nsp: &str, id: Option<u64>, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    if nsp != "/" {
        out.extend_from_slice(nsp.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    }
    start
}

/// Fills the room.
fn finish(start: usize, attachments: Vec<Range<usize>>, exact: bool, out: &mut Vec<u8>) -> Frame {
    let mut head = FrameHead { out, at: start + ROOM };
    if attachments.is_empty() {
        head.put(b"42");
    } else {
        head.put(b"-");
        head.put(itoa::Buffer::new().format(attachments.len()).as_bytes());
        head.put(b"45");
    }
    let (payload, end) = (head.at, head.out.len());
    head.put_frame_head(end - payload);
    Frame { frame: head.at..end, text: payload + 1..end, attachments, exact }
}

const NAME: Malformed = Malformed::WrongShape("an event name");

/// Checks that clients will take `data` for an event, as far as its first element tells.
pub fn check_event(data: &[u8]) -> Result<(), Malformed> {
    let mut reader = MsgpackReader::new(data);
    if reader.array_len()? == 0 {
        return Err(NAME);
    }
    match reader.item()? {
        Item::Str(name) if !RESERVED.contains(&name) => Ok(()),
        Item::Uint(_) | Item::Int(_) => Ok(()),
        Item::Double(number) if number.is_finite() => Ok(()),
        _ => Err(NAME),
    }
}

/// The same for JSON.
fn check_event_text(json: &str) -> Result<(), Malformed> {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    let first = json.trim_start_matches(SPACE).strip_prefix('[').ok_or(NAME)?.trim_start_matches(SPACE);
    if first.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Ok(());
    }
    let text = first.strip_prefix('"').ok_or(NAME)?;
    // The names that are refused are plain, but may be written with escapes.
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    });
    let name = end.and_then(|end| text.get(..end)).ok_or(NAME)?;
    let refused = if name.contains('\\') {
        let quoted = first.get(..name.len() + 2).unwrap_or_default();
        serde_json::from_str::<String>(quoted).is_ok_and(|name| RESERVED.contains(&name.as_bytes()))
    } else {
        RESERVED.contains(&name.as_bytes())
    };
    if refused { Err(NAME) } else { Ok(()) }
}

/// The room before what was written, filled from its end.
struct FrameHead<'o> {
    out: &'o mut Vec<u8>,
    at: usize,
}

impl FrameHead<'_> {
    /// Puts `bytes` before those that are there.
    fn put(&mut self, bytes: &[u8]) {
        let from = self.at.saturating_sub(bytes.len());
        if let Some(room) = self.out.get_mut(from..self.at) {
            room.copy_from_slice(bytes);
        }
        self.at = from;
    }

    /// Puts the head of a final, unmasked text frame: <https://www.rfc-editor.org/rfc/rfc6455#section-5.2>.
    fn put_frame_head(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(len @ 0..126) => self.put(&[0x81, len]),
            _ => match u16::try_from(len) {
                Ok(len) => {
                    self.put(&len.to_be_bytes());
                    self.put(&[0x81, 126]);
                }
                Err(_) => {
                    self.put(&(len as u64).to_be_bytes());
                    self.put(&[0x81, 127]);
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{json_to_msgpack, samples, write_str};
    use super::*;

    /// The frame's head, its text, and the rest of what was returned.
    fn frame(nsp: &str, id: Option<u64>, data: &[u8]) -> Result<(Vec<u8>, String, Frame), Malformed> {
        let mut out = b"before".to_vec();
        let result = write_event_frame(nsp, id, data, &mut out);
        assert_eq!(out.get(..6), Some(&b"before"[..]));
        assert!(result.is_ok() || out.len() == 6, "as before on error");
        let frame = result?;
        assert_eq!(frame.frame.end, out.len());
        assert_eq!(frame.text.end, out.len());
        assert!(frame.frame.start >= 6);
        assert_eq!(out[frame.text.start - 1], b'4');
        let head = out[frame.frame.start..frame.text.start - 1].to_vec();
        let text = String::from_utf8(out[frame.text.clone()].to_vec()).expect("UTF-8");
        Ok((head, text, frame))
    }

    fn data(json: &str, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        json_to_msgpack(json.as_bytes(), parts, &mut out).expect("JSON");
        out
    }

    #[test]
    fn plain_events() {
        let hello = data(r#"["hello",1,"a"]"#, &[]);
        let (head, text, frame) = self::frame("/", None, &hello).expect("an event");
        assert_eq!((head, &*text), (vec![0x81, 17], r#"2["hello",1,"a"]"#));
        assert!(frame.attachments.is_empty() && frame.exact);
        let text = |nsp, id| self::frame(nsp, id, &hello).map(|(_, text, _)| text);
        assert_eq!(text("/chat", None).as_deref(), Ok(r#"2/chat,["hello",1,"a"]"#));
        assert_eq!(text("/chat", Some(17)).as_deref(), Ok(r#"2/chat,17["hello",1,"a"]"#));
        assert_eq!(text("/", Some(0)).as_deref(), Ok(r#"20["hello",1,"a"]"#));
        assert_eq!(text("/", Some(u64::MAX)).as_deref(), Ok(r#"218446744073709551615["hello",1,"a"]"#));
    }

    #[test]
    fn events_with_binary_parts() {
        let place = samples::placeholder;
        let json = format!(r#"["ev",{},{}]"#, place(0), place(1));
        let data = data(&json, &[b"one", b"two"]);
        let (_, text, frame) = frame("/bin", Some(3), &data).expect("an event");
        assert_eq!(text, format!("52-/bin,3{json}"));
        assert!(!frame.exact);
        let parts: Vec<_> = frame.attachments.into_iter().map(|part| &data[part]).collect();
        assert_eq!(parts, [b"one", b"two"]);
        let many = [&b"\xdc\x03\xe9\xa1e"[..], &b"\xc4\x00".repeat(1000)].concat();
        let (_, text, _) = self::frame("/", None, &many).expect("an event");
        assert!(text.starts_with("51000-[\"e\",{"));
    }

    #[test]
    fn heads_say_the_length_of_the_payload() {
        for (len, head) in [
            (0, vec![0x81, 8]),
            (117, vec![0x81, 125]),
            (118, vec![0x81, 126, 0, 126]),
            (65_527, vec![0x81, 126, 0xff, 0xff]),
            (65_528, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            // 42["",""] but for the second string: 9 bytes, one of which is the separator.
            let mut data = vec![0x92, 0x01];
            write_str(&mut data, &"x".repeat(len)).expect("short");
            let (found, text, _) = frame("/", None, &data).expect("an event");
            assert_eq!(text.len() + 1, len + 8);
            assert_eq!(found, head, "{len}");
        }
    }

    #[test]
    fn text_goes_into_the_frame_as_it_is() {
        for json in [r#"["e"]"#, r#" [ "e\"x" , 1.50]"#, "[7]", "[-1,\"\u{e9}\"]", r#"["\ud800"]"#, r#"[""]"#]
        {
            let mut out = b"before".to_vec();
            let frame = write_event_frame_of_text("/n", Some(3), json, &mut out).expect("an event");
            assert_eq!(&out[frame.text.clone()], format!("2/n,3{json}").as_bytes());
            assert_eq!(
                out[frame.frame.start..frame.frame.start + 2],
                [0x81, u8::try_from(json.len() + 6).unwrap()]
            );
            assert!(frame.exact && frame.attachments.is_empty());
        }
        for json in [
            "[]",
            "{}",
            "[null]",
            r#"["connect"]"#,
            r#"["\u0063onnect"]"#,
            r#"[ "disconnect",1]"#,
            "[[]]",
            "[\"e",
        ] {
            let mut out = b"before".to_vec();
            assert_eq!(write_event_frame_of_text("/", None, json, &mut out), Err(NAME), "{json}");
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn what_clients_refuse_is_refused() {
        for name in RESERVED {
            let mut data = vec![0x91, 0xa0 + u8::try_from(name.len()).expect("short")];
            data.extend_from_slice(name);
            assert!(matches!(frame("/", None, &data), Err(Malformed::WrongShape(_))));
        }
        for data in [
            &b"\x90"[..],
            b"\x80",
            b"\xa1e",
            b"\xc0",
            b"\x91\xc0",
            b"\x91\xc3",
            b"\x91\x90",
            b"\x91\xc4\x01e",
            b"\x91\xcb\x7f\xf8\0\0\0\0\0\0",
            b"\x91\xd6\xff\0\0\0\0",
            b"\x91\xd4\0\0",
        ] {
            assert!(matches!(frame("/", None, data), Err(Malformed::WrongShape(_))), "{data:?}");
        }
        for first in [&b"\x07"[..], b"\xff", b"\xcb\x3f\xe0\0\0\0\0\0\0", b"\xa0", b"\xa8connects"] {
            assert!(frame("/", None, &[b"\x91", first].concat()).is_ok(), "{first:?}");
        }
        assert_eq!(frame("/", None, b"\x91\xa1ex"), Err(Malformed::TrailingBytes));
        assert_eq!(frame("/", None, b"\x91\xa1e\xc0"), Err(Malformed::TrailingBytes));
        assert_eq!(frame("/", None, b"\x91"), Err(Malformed::Truncated));
        assert_eq!(frame("/", None, b""), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_calmly(data in samples::msgpack(), damage in samples::damage()) {
            let data = samples::damaged([&b"\x92\xa1e"[..], &data].concat(), &damage);
            if let Ok((_, text, frame)) = frame("/n", None, &data) {
                let mut json = Vec::new();
                let (taken, _) = msgpack_to_json(&data, &mut json, &mut Vec::new())?;
                prop_assert_eq!(taken, data.len());
                prop_assert!(text.as_bytes().ends_with(&json));
                prop_assert_eq!(text.starts_with("5"), !frame.attachments.is_empty());
            }
        }
    }
}
