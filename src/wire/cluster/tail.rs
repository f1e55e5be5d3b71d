//! How a member knows its own messages without reading them: by their end.

use crate::wire::typed::{JSON_MARK, write_json_string};

/// Whether this is a message in JSON that the member with this [`tail`] has sent, without looking at the rest.
pub fn is_own(payload: &[u8], tail: &[u8]) -> bool {
    payload.first() == Some(&JSON_MARK) && payload.ends_with(tail)
}

/// The end of the messages of a member, in JSON.
pub fn tail(uid: &str, nsp: &str) -> Vec<u8> {
    let mut tail = br#","uid":"#.to_vec();
    write_json_string(&mut tail, uid);
    tail.extend_from_slice(br#","nsp":"#);
    write_json_string(&mut tail, nsp);
    tail.push(b'}');
    tail
}
