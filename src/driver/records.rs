//! The records for JS that the driver itself makes: what the user's clients are to do, what is asked of them, and that a
//! link has failed.

use std::time::Instant;

use crate::clock;
use crate::core::Event;
use crate::core::effects::{Batch, Kind};
use crate::transport::client::Task;
use crate::transport::{KeyCommand, Port, Subscription};

/// Adds a task for the user's clients.
pub(super) fn task(task: Task, batch: &mut Batch) {
    let mut subscription = |kind, subscription: Subscription| {
        let mut draft = batch.draft(kind, 0);
        draft.record.n = subscription.kind as u32;
        draft.part(0, &subscription.name);
        draft.done();
    };
    match task {
        Task::Subscribe(name) => subscription(Kind::Subscribe, name),
        Task::Unsubscribe(name) => subscription(Kind::Unsubscribe, name),
        Task::Publish { returned, channel, payload } => {
            let mut draft = batch.draft(Kind::Carry, 0);
            draft.record.token = narrow(returned);
            draft.part(0, &channel);
            draft.part(1, &payload);
            draft.done();
        }
        Task::Command(KeyCommand { port, token, key, args, .. }) => {
            let mut draft = batch.draft(Kind::Command, 0);
            draft.record.token = narrow(token);
            draft.part(0, args.get(key));
            if let Port::Reader(reader) = port {
                draft.part(1, reader.to_string().as_bytes());
            }
            draft.list(args.iter());
            draft.done();
        }
        Task::CloseReader(reader) => {
            let mut draft = batch.draft(Kind::CloseReader, 0);
            draft.record.n = u32::try_from(reader).unwrap_or(u32::MAX);
            draft.done();
        }
        Task::Count { token, channels } => {
            let mut draft = batch.draft(Kind::NumSub, 0);
            draft.record.token = narrow(token);
            draft.list(channels.iter().map(Vec::as_slice));
            draft.done();
        }
    }
}

/// Adds a question for credentials.
pub(super) fn credentials(token: u32, batch: &mut Batch) {
    let mut draft = batch.draft(Kind::Credentials, 0);
    draft.record.token = token;
    draft.done();
}

/// Adds that the link has failed.
pub(super) fn failed(reason: &str, batch: &mut Batch) {
    let mut draft = batch.draft(Kind::Event, 0);
    draft.record.token = clock::millis(Instant::now());
    draft.part(0, &serde_json::to_vec(&Event::Failed { reason }).unwrap_or_default());
    draft.done();
}

/// The number of a question in a record. It repeats after 2^32 questions; by then the first is long answered.
fn narrow(token: u64) -> u32 {
    u32::try_from(token & u64::from(u32::MAX)).unwrap_or(0)
}
