use crate::transport::{Incoming, Outcome};

/// A command about a key that gets no reply, since its connection is lost.
pub(crate) struct Abandoned {
    pub(crate) token: u64,
    /// Whether at least a part of it was written: Redis may have run it.
    pub(crate) begun: bool,
}

impl Abandoned {
    /// Reports how it ended.
    pub(crate) fn report(&self, reason: &str, sink: &mut dyn FnMut(Incoming<'_>)) {
        let outcome = if self.begun { Outcome::Lost { reason } } else { Outcome::NotRun { reason } };
        sink(Incoming::Replied { token: self.token, outcome });
    }
}
