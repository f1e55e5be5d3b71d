//! What becomes of a look at a connection.

/// What one look at a connection brought.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    /// Something went to the sink.
    pub(super) reported: bool,
    /// A read brought something, so that another one may.
    pub(super) more: bool,
}

impl Step {
    pub(super) const REPORTED: Self = Self { reported: true, more: false };
}
