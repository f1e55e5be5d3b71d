//! How commands are written. PUBLISH is on the hot path and written by hand. The redis crate writes the
//! others.

use crate::transport::{Args, ChannelKind};

/// How many names one (P|S)(UN)SUBSCRIBE has. Redis serves nobody else while it runs a command, so a longer
/// list becomes several commands in one write.
pub(crate) const MAX_NAMES: usize = 500;

const PUBLISH: &[u8] = b"*3\r\n$7\r\nPUBLISH\r\n";
const SPUBLISH: &[u8] = b"*3\r\n$8\r\nSPUBLISH\r\n";

/// Appends `PUBLISH channel payload`, or `SPUBLISH`.
pub(crate) fn write_publish(out: &mut Vec<u8>, kind: ChannelKind, channel: &[u8], payload: &[u8]) {
    // For each: 20 digits at most, `$`, and the line ends.
    out.reserve(SPUBLISH.len() + channel.len() + payload.len() + 2 * 25);
    out.extend_from_slice(match kind {
        ChannelKind::Global => PUBLISH,
        ChannelKind::Shard => SPUBLISH,
    });
    write_bulk(out, channel);
    write_bulk(out, payload);
}

/// Appends a command of any parts.
pub(crate) fn write_args(out: &mut Vec<u8>, args: &Args) {
    // For each: 20 digits at most, the byte before them, and the line ends.
    out.reserve(args.len() + (args.iter().len() + 1) * 25);
    write_length(out, b'*', args.iter().len());
    args.iter().for_each(|part| write_bulk(out, part));
}

/// Appends `PUBSUB NUMSUB channel…`, or `SHARDNUMSUB`.
pub(crate) fn write_count(out: &mut Vec<u8>, kind: ChannelKind, channels: &[&[u8]]) {
    let what = match kind {
        ChannelKind::Global => "NUMSUB",
        ChannelKind::Shard => "SHARDNUMSUB",
    };
    redis::cmd("PUBSUB").arg(what).arg(channels).write_packed_command(out);
}

/// Appends `verb name…`.
pub(crate) fn write_names<'a>(out: &mut Vec<u8>, verb: &str, names: impl IntoIterator<Item = &'a [u8]>) {
    let mut command = redis::cmd(verb);
    for name in names {
        command.arg(name);
    }
    command.write_packed_command(out);
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, of: u8, length: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = length;
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit = u8::try_from(rest % 10).map_or(b'0', |value| b'0' + value);
        rest /= 10;
        len += 1;
        if rest == 0 {
            break;
        }
    }
    out.push(of);
    out.extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn publish_is_written_as_the_redis_crate_writes_it(
            channel in prop::collection::vec(any::<u8>(), 0..120),
            payload in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            for (kind, name) in [(ChannelKind::Global, "PUBLISH"), (ChannelKind::Shard, "SPUBLISH")] {
                let mut out = Vec::new();
                write_publish(&mut out, kind, &channel, &payload);
                let twin = redis::cmd(name).arg(&channel).arg(&payload).get_packed_command();
                prop_assert_eq!(&out, &twin);
            }
        }
    }

    proptest! {
        #[test]
        fn any_command_is_written_as_the_redis_crate_writes_it(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..12),
        ) {
            let mut out = Vec::new();
            write_args(&mut out, &Args::of(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()));
            let mut twin = redis::Cmd::new();
            parts.iter().for_each(|part| {
                twin.arg(part);
            });
            prop_assert_eq!(out, twin.get_packed_command());
        }
    }

    #[test]
    fn other_commands() {
        let mut out = Vec::new();
        write_count(&mut out, ChannelKind::Global, &[b"a", b"bc"]);
        write_names(&mut out, "SUBSCRIBE", [&b"x"[..]]);
        assert_eq!(
            out,
            b"*4\r\n$6\r\nPUBSUB\r\n$6\r\nNUMSUB\r\n$1\r\na\r\n$2\r\nbc\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n"
        );
    }
}
