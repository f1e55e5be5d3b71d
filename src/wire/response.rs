//! The response of a server that has sockets which were asked for. Most of it are their handshakes, and these seldom change:
//! what was printed once is shared by all responses, and copied in when one is written.

use std::sync::Arc;

use super::cluster::tail;
use super::scan::{behind, skip_json, skip_string};
use super::typed::write_json_string;
use crate::packet::{Malformed, skip_value, write_array_len, write_map_len, write_str, write_uint};

/// A response, before it is written.
#[derive(Debug)]
pub struct SocketsResponse {
    is_json: bool,
    head: Vec<u8>,
    pieces: Vec<Piece>,
    tail: Vec<u8>,
}

/// Some of the descriptions.
#[derive(Debug)]
struct Piece {
    /// In JSON with commas between them, or in msgpack.
    descriptions: Vec<u8>,
    /// A handshake for each, to stand where the description has a zero; `None` if it has its own.
    handshakes: Vec<Option<Arc<[u8]>>>,
}

impl SocketsResponse {
    /// As the classic adapter sends it: `{"requestId":…,"sockets":[…]}`. The id is `null` if the request had none.
    pub fn classic(request_id: Option<&str>) -> Self {
        let mut head = br#"{"requestId":"#.to_vec();
        match request_id {
            Some(id) => write_json_string(&mut head, id),
            None => head.extend_from_slice(b"null"),
        }
        head.extend_from_slice(br#","sockets":["#);
        Self::new(true, head, b"]}".to_vec())
    }

    /// As the other adapters send it, in JSON.
    pub fn json(request_id: &str, uid: &str, nsp: &str) -> Self {
        let mut head = br#"{"type":8,"data":{"requestId":"#.to_vec();
        write_json_string(&mut head, request_id);
        head.extend_from_slice(br#","sockets":["#);
        Self::new(true, head, [b"]}".to_vec(), tail(uid, nsp)].concat())
    }

    /// The same in msgpack, for so many sockets.
    ///
    /// # Errors
    /// If these are more than msgpack can count.
    pub fn msgpack(request_id: &str, uid: &str, nsp: &str, count: usize) -> Result<Self, Malformed> {
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        write_map_len(&mut head, 4)?;
        write_str(&mut head, "type")?;
        write_uint(&mut head, 8);
        write_str(&mut head, "data")?;
        write_map_len(&mut head, 2)?;
        write_str(&mut head, "requestId")?;
        write_str(&mut head, request_id)?;
        write_str(&mut head, "sockets")?;
        write_array_len(&mut head, count)?;
        for (name, value) in [("uid", uid), ("nsp", nsp)] {
            write_str(&mut tail, name)?;
            write_str(&mut tail, value)?;
        }
        Ok(Self::new(false, head, tail))
    }

    fn new(is_json: bool, head: Vec<u8>, tail: Vec<u8>) -> Self {
        SocketsResponse { is_json, head, pieces: Vec::new(), tail }
    }

    /// Adds descriptions.
    pub fn add(&mut self, descriptions: &[u8], handshakes: Vec<Option<Arc<[u8]>>>) {
        self.pieces.push(Piece { descriptions: descriptions.to_vec(), handshakes });
    }

    /// The response as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let of_pieces: usize = self.pieces.iter().map(Piece::len).sum();
        let mut out = Vec::with_capacity(self.head.len() + of_pieces + self.tail.len());
        out.extend_from_slice(&self.head);
        for (n, piece) in self.pieces.iter().enumerate() {
            if n > 0 && self.is_json {
                out.push(b',');
            }
            piece.write(self.is_json, &mut out);
        }
        out.extend_from_slice(&self.tail);
        out
    }
}

impl Piece {
    /// How many bytes it has at most, with a comma.
    fn len(&self) -> usize {
        let of_handshakes: usize = self.handshakes.iter().flatten().map(|handshake| handshake.len()).sum();
        self.descriptions.len() + of_handshakes + 1
    }

    fn write(&self, is_json: bool, out: &mut Vec<u8>) {
        let (mut at, mut copied) = (0, 0);
        for handshake in &self.handshakes {
            let rest = self.descriptions.get(at..).unwrap_or_default();
            let place = if is_json { place_in_json(rest) } else { place_in_msgpack(rest) };
            if let (Some(handshake), Some(place)) = (handshake, place) {
                out.extend_from_slice(self.descriptions.get(copied..at + place).unwrap_or_default());
                out.extend_from_slice(handshake);
                copied = at + place + 1;
            }
            at += if is_json {
                // With the comma.
                skip_json(rest, 0).map_or(rest.len(), |end| end + 1)
            } else {
                skip_value(rest).unwrap_or(rest.len())
            };
        }
        out.extend_from_slice(self.descriptions.get(copied..).unwrap_or_default());
    }
}

/// Where the zero stands in the description that begins here.
fn place_in_json(text: &[u8]) -> Option<usize> {
    let id = behind(text, 0, br#"{"id":"#)?;
    let id = behind(text, id, b"\"").map(|_| id)?;
    let place = behind(text, skip_string(text, id)?, br#","handshake":"#)?;
    behind(text, place, b"0").map(|_| place)
}

/// The same in msgpack: a map of four, or of fewer if something of the socket could not be printed.
fn place_in_msgpack(bytes: &[u8]) -> Option<usize> {
    let is_map = bytes.first().is_some_and(|head| (0x82..=0x84).contains(head));
    let id = behind(bytes, 1, b"\xa2id").filter(|_| is_map)?;
    let end = id + skip_value(bytes.get(id..)?).ok()?;
    let place = behind(bytes, end, b"\xa9handshake")?;
    behind(bytes, place, b"\0").map(|_| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &[u8]) -> Option<Arc<[u8]>> {
        Some(Arc::from(text))
    }

    fn with(mut response: SocketsResponse, pieces: &[&[u8]]) -> String {
        pieces.iter().for_each(|piece| response.add(piece, Vec::new()));
        String::from_utf8_lossy(&response.bytes()).into_owned()
    }

    #[test]
    fn sockets_are_told_of_as_each_family_does() {
        let pieces: &[&[u8]] = &[br#"{"id":"a"},{"id":"b"}"#, br#"{"id":"c"}"#];
        assert_eq!(with(SocketsResponse::classic(None), &[]), r#"{"requestId":null,"sockets":[]}"#);
        assert_eq!(
            with(SocketsResponse::classic(Some("R")), pieces),
            r#"{"requestId":"R","sockets":[{"id":"a"},{"id":"b"},{"id":"c"}]}"#
        );
        assert_eq!(
            with(SocketsResponse::json("R", "U", "/n"), pieces),
            r#"{"type":8,"data":{"requestId":"R","sockets":[{"id":"a"},{"id":"b"},{"id":"c"}]},"uid":"U","nsp":"/n"}"#
        );
        let mut msgpack = SocketsResponse::msgpack("R", "U", "/n", 2).unwrap();
        [b"\x81\xa2id\xa1a", b"\x81\xa2id\xa1b"].iter().for_each(|piece| msgpack.add(*piece, Vec::new()));
        assert_eq!(
            msgpack.bytes(),
            b"\x84\xa4type\x08\xa4data\x82\xa9requestId\xa1R\xa7sockets\x92\x81\xa2id\xa1a\x81\xa2id\xa1b\xa3uid\xa1U\xa3nsp\xa2/n"
        );
    }

    #[test]
    fn kept_handshakes_stand_where_the_zeros_are() {
        let mut response = SocketsResponse::new(true, b"<".to_vec(), b">".to_vec());
        response.add(
            br#"{"id":"a\"","handshake":0,"rooms":["{",0],"data":0},{"id":"b","handshake":{"own":0},"data":"}"},{"id":"c","handshake":0}"#,
            vec![kept(br#"{"n":1}"#), None, kept(b"{}")],
        );
        response.add(br#"{"id":"d","handshake":0,"rooms":[]}"#, vec![kept(br#"{"n":0}"#)]);
        response.add(br#"{"id":"e","handshake":0}"#, vec![None]);
        assert_eq!(
            String::from_utf8(response.bytes()).unwrap(),
            r#"<{"id":"a\"","handshake":{"n":1},"rooms":["{",0],"data":0},{"id":"b","handshake":{"own":0},"data":"}"},{"id":"c","handshake":{}},{"id":"d","handshake":{"n":0},"rooms":[]},{"id":"e","handshake":0}>"#
        );
    }

    #[test]
    fn the_same_in_msgpack() {
        let description = |handshake: &[u8]| {
            [b"\x84\xa2id\xa1a\xa9handshake", handshake, b"\xa5rooms\x90\xa4data\x00"].concat()
        };
        let mut response = SocketsResponse::new(false, b"<".to_vec(), b">".to_vec());
        let both = [description(b"\0"), description(b"\x80")].concat();
        response.add(&both, vec![kept(b"\x81\xa1n\x01"), None]);
        response.add(&description(b"\0"), vec![kept(b"\x81\xa1n\0")]);
        let expected = [description(b"\x81\xa1n\x01"), description(b"\x80"), description(b"\x81\xa1n\0")];
        assert_eq!(response.bytes(), [b"<", &*expected.concat(), b">"].concat());
    }

    #[test]
    fn what_has_no_place_stays_as_it_is() {
        for odd in [
            r#"{"handshake":0,"id":"a"}"#,
            r#"{"id":7,"handshake":0}"#,
            r#"{"id":"a","handshake":1}"#,
            "0",
            "",
        ] {
            let mut response = SocketsResponse::new(true, Vec::new(), Vec::new());
            response.add(odd.as_bytes(), vec![kept(b"{}"); 2]);
            assert_eq!(response.bytes(), odd.as_bytes());
        }
    }
}
