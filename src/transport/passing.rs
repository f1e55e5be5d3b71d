//! Which errors of Redis pass by themselves: the command has not run, and may be sent again later. All transports and all
//! families ask here, and so does JS of what the user's clients are answered.

/// What Redis waits for, before it runs what it has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// A script, a function or a module keeps the node, which answers everybody so.
    Busy,
    /// The data, the master or the cluster is not there yet.
    Unready,
    /// Another node is to run it, or this one once its role has changed.
    Elsewhere,
}

impl Passing {
    /// Whether the node itself will run the command, so that it is sent there again.
    pub fn is_here(self) -> bool {
        self != Passing::Elsewhere
    }
}

/// Returns what the error waits for; `None` if it stays until somebody changes something (NOPERM, OOM and the like).
pub fn passing(error: &[u8]) -> Option<Passing> {
    // The whole word: BUSYGROUP and BUSYKEY are about a key.
    match error.split(|&byte| byte == b' ').next()? {
        b"BUSY" => Some(Passing::Busy),
        b"LOADING" | b"MASTERDOWN" | b"CLUSTERDOWN" | b"TRYAGAIN" => Some(Passing::Unready),
        b"MOVED" | b"ASK" | b"READONLY" | b"UNBLOCKED" => Some(Passing::Elsewhere),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_by_its_first_word() {
        for (error, expected) in [
            ("BUSY Redis is busy running a script.", Some(Passing::Busy)),
            ("BUSY", Some(Passing::Busy)),
            ("LOADING Redis is loading the dataset in memory", Some(Passing::Unready)),
            ("MASTERDOWN Link with MASTER is down", Some(Passing::Unready)),
            ("CLUSTERDOWN Hash slot not served", Some(Passing::Unready)),
            ("TRYAGAIN Multiple keys request", Some(Passing::Unready)),
            ("READONLY You can't write against a read only replica.", Some(Passing::Elsewhere)),
            ("UNBLOCKED force unblock", Some(Passing::Elsewhere)),
            ("MOVED 1 h:1", Some(Passing::Elsewhere)),
            ("ASK 1 h:1", Some(Passing::Elsewhere)),
            ("BUSYGROUP Consumer Group name already exists", None),
            ("BUSYKEY Target key name already exists.", None),
            ("ERR BUSY", None),
            ("NOPERM no", None),
            ("OOM command not allowed", None),
            ("", None),
        ] {
            assert_eq!(passing(error.as_bytes()), expected, "{error}");
        }
        assert!(Passing::Busy.is_here() && Passing::Unready.is_here() && !Passing::Elsewhere.is_here());
    }
}
