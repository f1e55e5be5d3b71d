//! The commands of streams: what each was sent for is remembered until it has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::purpose::Purpose;
use crate::core::effects::Effects;
use crate::transport::{Args, KeyCommand, Port};
use crate::wire::streams::EntryId;

/// The commands of a link's streams that have not ended.
#[derive(Debug, Default)]
pub(super) struct Commands {
    purposes: HashMap<u64, Purpose>,
    next_token: u32,
}

impl Commands {
    /// Sends a command. `key` says which of its parts is the key.
    pub(super) fn send(
        &mut self,
        port: Port,
        purpose: Purpose,
        key: usize,
        args: Arc<Args>,
        fx: &mut Effects,
    ) {
        self.send_patiently(port, purpose, key, args, None, fx);
    }

    /// Sends a command, with a bound for how long its connection may bring nothing.
    pub(super) fn send_patiently(
        &mut self,
        port: Port,
        purpose: Purpose,
        key: usize,
        args: Arc<Args>,
        patience: Option<Duration>,
        fx: &mut Effects,
    ) {
        // The tokens of commands that the user's client carries have 32 bits.
        self.next_token = self.next_token.wrapping_add(1);
        let token = u64::from(self.next_token);
        self.purposes.insert(token, purpose);
        fx.commands.push(KeyCommand { port, token, key, args, patience });
    }

    /// Asks for the oldest or the newest entry of a stream.
    pub(super) fn look(&mut self, port: Port, purpose: Purpose, oldest: bool, name: &str, fx: &mut Effects) {
        let (command, from, to): (&[u8], &[u8], &[u8]) =
            if oldest { (b"XRANGE", b"-", b"+") } else { (b"XREVRANGE", b"+", b"-") };
        let args = Args::of(&[command, name.as_bytes(), from, to, b"COUNT", b"1"]);
        self.send(port, purpose, 1, Arc::new(args), fx);
    }

    /// Takes what an ended command was sent for.
    pub(super) fn take(&mut self, token: u64) -> Option<Purpose> {
        self.purposes.remove(&token)
    }

    /// The ends of these commands are of no interest any more.
    pub(super) fn forget(&mut self, is_forgotten: impl Fn(Purpose) -> bool) {
        self.purposes.retain(|_, purpose| !is_forgotten(*purpose));
    }

    /// The ends of all commands are of no interest any more.
    pub(super) fn forget_all(&mut self) {
        self.purposes.clear();
    }
}

/// Asks for so many entries of a stream from some entry on.
pub(super) fn range(name: &str, from: EntryId, count: usize) -> Arc<Args> {
    let (from, count) = (from.to_string(), count.to_string());
    Arc::new(Args::of(&[b"XRANGE", name.as_bytes(), from.as_bytes(), b"+", b"COUNT", count.as_bytes()]))
}
