//! What an answer says of each socket: `{ id, handshake, rooms, data }`. The handshake is most of it, and few look at it: it
//! is told apart from the rest, so that JS need not read it before somebody does.

use super::scan::{behind, skip_json, skip_string};
use crate::packet::MsgpackReader;

/// An element of a list in an answer.
pub(super) enum Element<'a> {
    /// As it stands in the answer.
    Whole(&'a [u8]),
    /// The description of a socket.
    Socket(Description<'a>),
}

/// The fields of a description, encoded as the answer is.
pub(super) struct Description<'a> {
    handshake: &'a [u8],
    id: &'a [u8],
    rooms: &'a [u8],
    data: &'a [u8],
}

/// The description that begins at `at`, and where it ends; `None` if it is none as adapters print it. Only of a document
/// that is known to be valid.
pub(super) fn in_json(list: &[u8], at: usize) -> Option<(Description<'_>, usize)> {
    let (id, at) = field(list, at, br#"{"id":"#, b'"')?;
    let (handshake, at) = field(list, at, br#","handshake":"#, b'{')?;
    let (rooms, at) = field(list, at, br#","rooms":"#, b'[')?;
    let at = behind(list, at, br#","data":"#)?;
    let end = skip_json(list, at)?;
    let data = list.get(at..end)?;
    Some((Description { handshake, id, rooms, data }, behind(list, end, b"}")?))
}

/// The value behind `name`, which begins with `first`, and where it ends.
fn field<'a>(list: &'a [u8], at: usize, name: &[u8], first: u8) -> Option<(&'a [u8], usize)> {
    let at = behind(list, at, name)?;
    let end = match list.get(at)? {
        b'"' if first == b'"' => skip_string(list, at)?,
        begun if *begun == first => skip_json(list, at)?,
        _ => return None,
    };
    Some((list.get(at..end)?, end))
}

/// The same of a value in msgpack.
pub(super) fn in_msgpack(value: &[u8]) -> Option<Description<'_>> {
    let mut reader = MsgpackReader::new(value);
    if reader.map_len().ok()? != 4 {
        return None;
    }
    let mut field = |name: &str| {
        let found = reader.str().ok()? == name;
        found.then(|| reader.raw_value().ok()).flatten()
    };
    let (id, handshake, rooms, data) = (field("id")?, field("handshake")?, field("rooms")?, field("data")?);
    let is_as_it_should = MsgpackReader::new(id).str().is_ok()
        && MsgpackReader::new(handshake).map_len().is_ok()
        && MsgpackReader::new(rooms).array_len().is_ok();
    is_as_it_should.then_some(Description { handshake, id, rooms, data })
}

/// The handshakes of sockets, told apart from the rest.
#[derive(Clone, Copy, Debug)]
pub struct Handshakes<'a> {
    /// One behind the other.
    pub bytes: &'a [u8],
    /// Where each ends.
    pub ends: &'a [u32],
}

/// Elements on their way into a piece: all of them whole, or all of them descriptions.
#[derive(Default)]
pub(super) struct Gathered {
    /// How many values the body has.
    pub(super) count: usize,
    pub(super) body: Vec<u8>,
    /// See [`Handshakes`].
    pub(super) handshakes: Vec<u8>,
    pub(super) ends: Vec<u32>,
}

impl Gathered {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.body.len() + self.handshakes.len()
    }

    /// Whether it may stand in the same piece as what is here.
    pub(super) fn takes(&self, element: &Element<'_>) -> bool {
        self.count == 0 || self.ends.is_empty() == matches!(element, Element::Whole(_))
    }

    /// Adds an element; in JSON there are commas between them.
    pub(super) fn add(&mut self, element: &Element<'_>, is_json: bool) {
        let separator: &[u8] = if is_json { b"," } else { b"" };
        let mut put = |value: &[u8]| {
            if self.count > 0 {
                self.body.extend_from_slice(separator);
            }
            self.body.extend_from_slice(value);
            self.count += 1;
        };
        match element {
            Element::Whole(value) => put(value),
            Element::Socket(Description { handshake, id, rooms, data }) => {
                [id, rooms, data].into_iter().for_each(|value| put(value));
                self.handshakes.extend_from_slice(handshake);
                self.ends.push(u32::try_from(self.handshakes.len()).unwrap_or(u32::MAX));
            }
        }
    }
}
