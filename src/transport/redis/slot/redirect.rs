use super::{SLOTS, Slot};
use crate::transport::passing::{Passing, passing};

/// What an error reply says about where, or when, the command would be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot has another owner.
    Moved {
        /// The slot.
        slot: Slot,
        /// The host in the words of the node; `None` means the node's own host.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// The command was not run. It may be run later, here or elsewhere.
    Later,
}

impl Redirect {
    /// Reads `error`. Returns `None` if the error is about the command, or if the same node will run the
    /// command later.
    pub(crate) fn of(error: &[u8]) -> Option<Self> {
        passing(error).filter(|&passing| passing != Passing::Busy)?;
        let text = std::str::from_utf8(error).ok()?;
        let mut words = text.split(' ');
        if words.next()? == "MOVED" { Self::moved(words).or(Some(Self::Later)) } else { Some(Self::Later) }
    }

    fn moved<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let slot = words.next()?.parse().ok().filter(|&slot| slot < SLOTS)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port != 0)?;
        let host = Some(host.to_owned()).filter(|host| !host.is_empty());
        Some(Self::Moved { slot, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(slot: Slot, host: Option<&str>, port: u16) -> Option<Redirect> {
        Some(Redirect::Moved { slot, host: host.map(str::to_owned), port })
    }

    #[test]
    fn reads_what_redis_says() {
        assert_eq!(Redirect::of(b"MOVED 3999 127.0.0.1:6381"), moved(3999, Some("127.0.0.1"), 6381));
        assert_eq!(Redirect::of(b"MOVED 3999 ::1:6381"), moved(3999, Some("::1"), 6381));
        assert_eq!(Redirect::of(b"MOVED 3999 :6381"), moved(3999, None, 6381));
        for later in [
            &b"ASK 3999 127.0.0.1:6381"[..],
            b"CLUSTERDOWN Hash slot not served",
            b"TRYAGAIN Multiple keys request during rehashing of slot",
            b"LOADING Redis is loading the dataset in memory",
            b"READONLY You can't write against a read only replica.",
        ] {
            assert_eq!(Redirect::of(later), Some(Redirect::Later));
        }
        assert_eq!(Redirect::of(b"NOPERM no"), None);
        assert_eq!(Redirect::of(b"BUSY Redis is busy running a script."), None, "nobody else runs it");
        assert_eq!(Redirect::of(b"ERR MOVED"), None);
        assert_eq!(Redirect::of(b"\xff"), None);
    }

    #[test]
    fn a_redirection_to_nowhere_is_none() {
        for odd in ["MOVED", "MOVED x h:1", "MOVED 16384 h:1", "MOVED 1 h", "MOVED 1 h:0", "MOVED 1 h:65536"]
        {
            assert_eq!(Redirect::of(odd.as_bytes()), Some(Redirect::Later), "{odd}");
        }
    }
}
