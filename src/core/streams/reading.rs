//! Reading a stream: pages of entries, gaps between them, and failures.

use super::commands::Commands;
use super::purpose::{passes, reason_of};
use super::reader::{Failure, Looked, entry_looked_at, is_forbidden};
use super::stream::Stream;
use crate::core::context::Context;
use crate::core::event::Event;
use crate::core::messaging::Messaging;
use crate::transport::Outcome;
use crate::transport::resp::Reply;
use crate::wire::streams::EntryId;

const MALFORMED: Outcome<'static> = Outcome::Replied(Reply::Nil);

impl Stream {
    /// The oldest or the last entry is known. `stands` says whether the link is connected.
    pub(super) fn looked(
        &mut self,
        is_oldest: bool,
        outcome: &Outcome<'_>,
        stands: bool,
        commands: &mut Commands,
        cx: &mut Context<'_>,
    ) {
        if !is_oldest && is_forbidden(outcome) {
            return self.reader.scan(&self.key, commands, cx.fx);
        }
        let Some(entry) = entry_looked_at(outcome) else {
            return self.reading_failed(outcome, stands, commands, cx);
        };
        let looked = self.reader.looked(is_oldest, entry);
        self.go_on(looked, commands, cx);
    }

    /// A page on the way to the last entry.
    pub(super) fn scanned(
        &mut self,
        outcome: &Outcome<'_>,
        stands: bool,
        commands: &mut Commands,
        cx: &mut Context<'_>,
    ) {
        let Outcome::Replied(Reply::Array(items)) = outcome else {
            return self.reading_failed(outcome, stands, commands, cx);
        };
        let looked = self.reader.scanned(items, &self.key, commands, cx.fx);
        self.go_on(looked, commands, cx);
    }

    fn go_on(&mut self, looked: Looked, commands: &mut Commands, cx: &mut Context<'_>) {
        match looked {
            Looked::Nothing => {}
            Looked::Oldest(oldest) => self.check_gap(oldest, cx),
            Looked::Ends { last, oldest } => {
                self.begin_reading(last, oldest, cx);
                self.reader.drive(&self.key, commands, cx.fx);
            }
        }
    }

    fn begin_reading(&mut self, last: Option<EntryId>, oldest: Option<EntryId>, cx: &mut Context<'_>) {
        self.reader.begin();
        match self.reader.position() {
            None => {
                let position = last.unwrap_or(EntryId::ZERO);
                self.reader.set_position(position);
                if let Some(history) = &mut self.history {
                    history.begin(Some(position));
                }
            }
            // Redis has come back from an older state, or without the stream. The entries that it has were read before;
            // those that come have greater ids.
            Some(position) if last.is_none_or(|last| last < position) => {
                let last = last.unwrap_or(EntryId::ZERO);
                self.reader.set_position(last);
                if let Some(history) = &mut self.history {
                    history.go_back(last);
                }
            }
            Some(_) => self.check_gap(oldest, cx),
        }
    }

    /// Entries may have been trimmed that were not read.
    fn check_gap(&mut self, oldest: Option<EntryId>, cx: &mut Context<'_>) {
        let (Some(position), Some(oldest)) = (self.reader.position(), oldest) else {
            return;
        };
        if position == EntryId::ZERO || oldest <= position {
            return;
        }
        // Reading goes on behind it.
        let before = oldest.previous();
        self.reader.set_position(position.max(before));
        if let Some(history) = &mut self.history {
            history.begin(Some(before));
        }
        let (after, before) = (position.to_string(), oldest.to_string());
        let trimmed = Event::Trimmed { stream: &self.key.name, after: &after, before: &before };
        cx.events(&self.readers(), &trimmed);
    }

    /// A page has come. `envelope` is memory to write envelopes in.
    pub(super) fn read(
        &mut self,
        outcome: Outcome<'_>,
        messaging: &mut Messaging,
        envelope: &mut Vec<u8>,
        commands: &mut Commands,
        cx: &mut Context<'_>,
    ) {
        let stands = messaging.publisher.flow.is_connected();
        let entries = match outcome {
            Outcome::Replied(Reply::Nil) => None,
            Outcome::Replied(Reply::Array(mut streams)) => match streams.next() {
                None => None,
                Some(Reply::Array(mut stream)) => {
                    stream.next_bulk();
                    match stream.next() {
                        Some(Reply::Array(entries)) => Some(entries),
                        _ => return self.reading_failed(&MALFORMED, stands, commands, cx),
                    }
                }
                Some(_) => return self.reading_failed(&MALFORMED, stands, commands, cx),
            },
            outcome => return self.reading_failed(&outcome, stands, commands, cx),
        };
        let mut count = 0;
        for item in entries.into_iter().flatten() {
            count += 1;
            self.take_entry(item, messaging, envelope, cx);
        }
        if let Some(position) = self.reader.position() {
            self.appends.has_read(position);
        }
        self.reader.has_read(count);
        self.reader.drive(&self.key, commands, cx.fx);
    }

    fn reading_failed(
        &mut self,
        outcome: &Outcome<'_>,
        stands: bool,
        commands: &mut Commands,
        cx: &mut Context<'_>,
    ) {
        let failure = match outcome {
            Outcome::Replied(Reply::Error(error)) => {
                Failure::Refused { passes: passes(error), moved: error.starts_with(b"MOVED") }
            }
            Outcome::Replied(_) => Failure::Malformed,
            _ => Failure::Unreached,
        };
        if self.reader.failed(failure, stands, cx.now()) {
            let error = reason_of(outcome);
            let unreadable = Event::Unreadable { stream: &self.key.name, error: &error };
            cx.events(&self.readers(), &unreadable);
        }
        let number = self.key.number;
        commands.forget(|purpose| purpose.reads(number));
    }
}
