//! Where things end in JSON that is known to be valid.

/// Where the value that begins at `at`, or behind the space there, ends.
pub(super) fn skip_json(text: &[u8], at: usize) -> Option<usize> {
    let mut at = skip_space(text, at);
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => at = skip_string(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            // The end of an empty list, or of a value without a bracket.
            b'}' | b']' => return Some(at),
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            _ => {
                at = text
                    .get(at..)?
                    .iter()
                    .position(|byte| b",:]} \t\n\r".contains(byte))
                    .map_or(text.len(), |n| at + n)
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where the string that begins at `at` ends.
pub(super) fn skip_string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Where the space that begins at `at` ends.
pub(super) fn skip_space(text: &[u8], at: usize) -> usize {
    let space =
        text.get(at..).unwrap_or_default().iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
    at + space
}

/// Where `text` ends, if it begins at `at`.
pub(super) fn behind(bytes: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(text).then_some(at + text.len())
}
