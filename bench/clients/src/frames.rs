//! WebSocket frames of a server: <https://www.rfc-editor.org/rfc/rfc6455#section-5.2>.

use std::io::Read;

/// One frame, if `bytes` begins with a whole one.
pub struct Frame<'a> {
    pub opcode: u8,
    /// By `permessage-deflate`: <https://www.rfc-editor.org/rfc/rfc7692>.
    pub is_compressed: bool,
    pub payload: &'a [u8],
    /// How many bytes it takes.
    pub size: usize,
}

/// Reads the frame at the start of `bytes`; `None` if it is not all there.
pub fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, _) = rest.split_first()?;
    let (head, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(head..head + length)?;
    Some(Frame { opcode: first & 0x0f, is_compressed: first & 0x40 != 0, payload, size: head + length })
}

/// What a payload was before it was compressed, without the context of those before it.
pub fn inflate(payload: &[u8]) -> std::io::Result<Vec<u8>> {
    // The end of the flush, which is not sent.
    let whole = payload.chain(&[0, 0, 0xff, 0xff][..]);
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    let mut decoder = flate2::read::DeflateDecoder::new(whole);
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return Ok(text),
            Ok(read) => text.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            // No block says that it is the last.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(text),
            Err(error) => return Err(error),
        }
    }
}

/// A text frame of a client. Its mask is zero: the text stays readable.
pub fn text(payload: &str) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|&length| length < 126);
    let length = length.expect("what these clients say is short");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(payload.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length() {
        for (length, head) in [
            (5, vec![0x81, 5]),
            (126, vec![0x81, 126, 0, 126]),
            (70_000, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ] {
            let bytes = [head.clone(), vec![7; length], vec![0]].concat();
            let frame = read(&bytes).expect("all of it");
            assert_eq!((frame.size, frame.payload.len()), (head.len() + length, length));
            assert!((0..frame.size).all(|end| read(&bytes[..end]).is_none()));
        }
        assert_eq!(read(&[0x8a, 0]).map(|frame| frame.opcode), Some(10));
    }

    /// The example of <https://www.rfc-editor.org/rfc/rfc7692#section-7.2.3.1>.
    #[test]
    fn what_was_compressed() {
        let frame = read(&[0xc1, 7, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]).expect("all of it");
        assert!(frame.is_compressed);
        assert_eq!(inflate(frame.payload).expect("a text"), b"Hello");
    }
}
