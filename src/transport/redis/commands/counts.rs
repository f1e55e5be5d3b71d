//! The replies to `PUBSUB NUMSUB` and `SHARDNUMSUB`.

use crate::transport::resp::{Items, ProtocolError, Reply};

/// Reads `name, count, name, count…`, in the order of the question.
pub(crate) fn read_counts(
    mut items: Items<'_>,
    channels: usize,
    counts: &mut Vec<u64>,
) -> Result<(), ProtocolError> {
    counts.clear();
    if items.len() != 2 * channels {
        return Err(ProtocolError::Unexpected);
    }
    while items.next_bulk().is_some() {
        match items.next() {
            Some(Reply::Integer(count)) => {
                counts.push(u64::try_from(count).map_err(|_| ProtocolError::Unexpected)?);
            }
            _ => return Err(ProtocolError::Unexpected),
        }
    }
    if counts.len() != channels {
        return Err(ProtocolError::Unexpected);
    }
    Ok(())
}
