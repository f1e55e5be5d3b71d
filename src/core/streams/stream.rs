//! A stream, and a member that adds to it.

use std::collections::HashMap;

use super::appends::Appends;
use super::history::History;
use super::pages::Pages;
use super::purpose::{StreamId, StreamKey};
use super::reader::StreamReader;
use crate::core::effects::MemberId;
use crate::transport::Args;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Which it is.
    pub(super) key: StreamKey,
    /// How many entries it keeps: the least that any of the members says.
    pub(super) max_len: u64,
    /// The members that read it, by their namespaces.
    listeners: HashMap<String, Vec<MemberId>>,
    /// Its reader.
    pub(super) reader: StreamReader,
    /// The entries that are added to it.
    pub(super) appends: Appends,
    /// Recent entries, if any of the members recovers connections.
    pub(super) history: Option<History>,
    /// Its past, as far as it is read from Redis again.
    pub(super) pages: Pages,
}

impl Stream {
    /// A stream that nobody reads yet.
    pub(super) fn new(number: StreamId, name: &str) -> Self {
        Stream {
            key: StreamKey { number, name: name.to_owned() },
            max_len: u64::MAX,
            listeners: HashMap::new(),
            reader: StreamReader::default(),
            appends: Appends::default(),
            history: None,
            pages: Pages::default(),
        }
    }

    /// A member reads it.
    pub(super) fn join(&mut self, nsp: &str, id: MemberId) {
        self.listeners.entry(nsp.to_owned()).or_default().push(id);
    }

    /// A member no longer reads it.
    pub(super) fn leave(&mut self, nsp: &str, id: MemberId) {
        if let Some(members) = self.listeners.get_mut(nsp) {
            members.retain(|&member| member != id);
            if members.is_empty() {
                self.listeners.remove(nsp);
            }
        }
    }

    /// Whether any member reads it.
    pub(super) fn is_read(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// The members that read it for a namespace.
    pub(super) fn listeners(&self, nsp: &str) -> &[MemberId] {
        self.listeners.get(nsp).map_or(&[], Vec::as_slice)
    }

    /// The members that read it, in the order in which they came.
    pub(super) fn readers(&self) -> Vec<MemberId> {
        let mut members: Vec<MemberId> = self.listeners.values().flatten().copied().collect();
        members.sort_unstable();
        members
    }
}

/// A member that adds to a stream.
#[derive(Debug)]
pub(super) struct Author {
    /// Its uid.
    pub(super) uid: String,
    /// Its namespace.
    pub(super) nsp: String,
    /// The stream that it adds to.
    pub(super) written: StreamId,
    /// All that it reads.
    pub(super) read: Vec<StreamId>,
    /// How many entries it wants the stream to keep.
    pub(super) max_len: u64,
    /// Whether its server recovers connections.
    pub(super) recovers: bool,
    /// How many entries it has ever added.
    pub(super) tickets: u32,
}

impl Author {
    /// The command that adds an entry to a stream.
    pub(super) fn entry(&self, stream: &str, kind: u64, data: &[u8]) -> Args {
        let (max_len, kind) = (self.max_len.to_string(), kind.to_string());
        let parts: [&[u8]; 14] = [
            b"XADD",
            stream.as_bytes(),
            b"MAXLEN",
            b"~",
            max_len.as_bytes(),
            b"*",
            b"uid",
            self.uid.as_bytes(),
            b"nsp",
            self.nsp.as_bytes(),
            b"type",
            kind.as_bytes(),
            b"data",
            data,
        ];
        let count = if data.is_empty() { parts.len() - 2 } else { parts.len() };
        Args::of(parts.get(..count).unwrap_or_default())
    }
}
