//! How far streams are read, for the sessions of clients that go: a client that has been sent nothing for long is restored
//! from there, since the last entry that it was sent may be gone from the stream.

use super::Streams;
use super::purpose::StreamId;
use super::stream::Stream;
use crate::wire::streams::EntryId;

/// How far a stream is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its name.
    pub stream: String,
    /// The last event in it that was read.
    pub last: EntryId,
    /// No event behind this one was left out.
    pub since: EntryId,
}

impl Streams {
    /// How far the streams are read whose clients are recovered, if that has changed. JS gets the records of all entries up
    /// to there before.
    pub(in crate::core) fn take_positions(&mut self) -> Option<Vec<Position>> {
        let told = &self.told;
        let now: Vec<(StreamId, EntryId, EntryId)> = self
            .list
            .iter()
            .filter_map(|(&number, stream)| {
                let before = || told.iter().find(|(of, ..)| *of == number).copied();
                let (last, since) = reached(stream)?;
                // JS does not know yet of an entry of its own that is in front of `last`.
                if stream.appends.is_told() { Some((number, last, since)) } else { before() }
            })
            .collect();
        if now == self.told {
            return None;
        }
        self.told = now;
        let named = self.told.iter().filter_map(|&(number, last, since)| {
            let stream = self.list.get(&number)?.key.name.clone();
            Some(Position { stream, last, since })
        });
        Some(named.collect())
    }
}

fn reached(stream: &Stream) -> Option<(EntryId, EntryId)> {
    let history = stream.history.as_ref()?;
    Some((history.last()?, history.since()?))
}
