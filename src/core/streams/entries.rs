//! An entry on its way from a stream to the members, and into the memory for sessions.

use super::history::Kept;
use super::stream::Stream;
use crate::core::context::Context;
use crate::core::effects::{Effects, MemberId};
use crate::core::messaging::Messaging;
use crate::packet::Malformed;
use crate::transport::resp::{Items, Reply};
use crate::wire::streams::{Entry, EntryId, event_of, id_and_fields};

/// How much memory of one envelope is kept for the next one.
const MAX_SCRATCH: usize = 1 << 16;

impl Stream {
    /// Takes an entry. `envelope` is memory to write envelopes in.
    pub(super) fn take_entry(
        &mut self,
        item: Reply<'_>,
        messaging: &mut Messaging,
        envelope: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) {
        cx.stats.received += 1;
        let mut id = EntryId::ZERO;
        let fields = id_and_fields(item.clone()).map(|(_, fields)| fields);
        let entry = Entry::of(item, &mut id);
        self.reader.pass(id);
        match entry {
            Ok(Some(entry)) if !self.listeners(entry.nsp).is_empty() => {
                if let Err(error) = self.deliver(&entry, fields.as_ref(), messaging, envelope, cx) {
                    self.malformed(id, error, cx);
                }
            }
            Ok(_) => cx.stats.ignored += 1,
            Err(error) => self.malformed(id, error, cx),
        }
    }

    fn malformed(&self, id: EntryId, error: Malformed, cx: &mut Context<'_>) {
        cx.stats.malformed += 1;
        if cx.settings.verbose {
            let name = &self.key.name;
            cx.note(0, &format!("ignoring malformed entry {id} of {name}: {error}"));
        }
    }

    fn deliver(
        &mut self,
        entry: &Entry<'_>,
        fields: Option<&Items<'_>>,
        messaging: &mut Messaging,
        envelope: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Result<(), Malformed> {
        let keeps = entry.is_broadcast() && self.history.is_some();
        let listeners = self.listeners(entry.nsp);
        let is_foreign =
            |id: &MemberId| messaging.members.get(*id).is_none_or(|member| member.spec.uid != entry.uid);
        let foreign: Vec<MemberId> = listeners.iter().copied().filter(is_foreign).collect();
        if foreign.len() < listeners.len() {
            cx.stats.own += 1;
            self.pass_own(entry.id, fields, cx.fx);
        }
        if foreign.is_empty() && !keeps {
            return Ok(());
        }
        envelope.clear();
        let written = entry.write_envelope(envelope);
        if written.is_ok() {
            let offset = if keeps { self.keep(entry, envelope) } else { None };
            for id in foreign {
                messaging.deliver_message(id, &entry.id, envelope, offset.as_deref(), cx);
            }
        }
        envelope.shrink_to(MAX_SCRATCH);
        written
    }

    /// Members that wait for the id of this entry, which is one of theirs, are told.
    fn pass_own(&mut self, id: EntryId, fields: Option<&Items<'_>>, fx: &mut Effects) {
        if let Some(fields) = fields
            && self.appends.is_awaited()
        {
            self.appends.pass(id, fields, fx);
        }
    }

    /// Keeps an event that a session may miss. Returns the offset by which its clients are to know it, if it is one.
    fn keep(&mut self, entry: &Entry<'_>, envelope: &[u8]) -> Option<String> {
        let audience = event_of(envelope)?;
        let history = self.history.as_mut()?;
        history.push(Kept { id: entry.id, nsp: entry.nsp.into(), audience, data: entry.data.into() });
        Some(entry.id.to_string())
    }
}
