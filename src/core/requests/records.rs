//! The records that tell JS of the answers to a request, and of its end.

use crate::core::effects::{Batch, Kind, MemberId};
use crate::wire::descriptions::Handshakes;
use crate::wire::request::RequestReply;
use crate::wire::slices::{self, Piece, PieceKind};

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum RequestStatus {
    /// All answers are there.
    Done,
    /// Its time is over.
    Timeout,
    /// Its member has left.
    Failed,
    /// [`super::MAX_PENDING`] others wait.
    TooMany,
    /// Its answers took more than [`super::MAX_ANSWER_BYTES`].
    TooLarge,
}

/// The end of a request, as JS is told in JSON.
#[derive(Debug, serde::Serialize)]
pub(super) struct RequestOutcome {
    /// How it has ended.
    pub(super) status: RequestStatus,
    /// How many answers were expected.
    pub(super) expected: u64,
    /// Why Redis did not say how many are to be expected, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<Box<str>>,
}

/// The end of a request, for JS.
pub(super) fn tell_end(
    batch: &mut Batch,
    member: MemberId,
    id: &str,
    is_ack: bool,
    outcome: &RequestOutcome,
) {
    let mut draft = batch.draft(if is_ack { Kind::AckEnd } else { Kind::Answers }, member);
    draft.part(0, id.as_bytes());
    if !is_ack {
        draft.part(1, &serde_json::to_vec(outcome).unwrap_or_default());
    }
    draft.done();
}

/// An answer, for JS, in pieces if it is a list.
pub(super) fn answer_records(
    batch: &mut Batch,
    member: MemberId,
    id: &str,
    &RequestReply { list, payload, .. }: &RequestReply<'_>,
) {
    let mut add = |piece: Piece<'_>| {
        let mut draft = batch.draft(Kind::Answer, member);
        draft.part(0, id.as_bytes());
        let start = draft.bytes().len();
        piece.body.iter().for_each(|part| draft.bytes().extend_from_slice(part));
        let end = draft.bytes().len();
        draft.set(1, start..end);
        if let Some(Handshakes { bytes, ends }) = piece.handshakes {
            draft.part(2, bytes);
            draft.part(3, &ends.iter().flat_map(|end| end.to_le_bytes()).collect::<Vec<u8>>());
        }
        let is_apart = piece.handshakes.is_some();
        draft.record.n =
            (u32::from(piece.kind as u8) << 2) | (u32::from(is_apart) << 1) | u32::from(piece.is_last);
        draft.done();
    };
    if list.is_empty() {
        add(Piece { kind: PieceKind::Whole, is_last: true, body: &[payload], handshakes: None });
    } else {
        // The answer has been read, so that it is valid.
        let cut = slices::cut(payload, list, &mut add);
        debug_assert!(cut.is_ok());
    }
}

/// A response to an acknowledged broadcast, for JS.
pub(super) fn ack_record(batch: &mut Batch, member: MemberId, id: &str, payload: &[u8]) {
    let mut draft = batch.draft(Kind::Ack, member);
    draft.part(0, id.as_bytes());
    draft.part(1, payload);
    draft.done();
}
