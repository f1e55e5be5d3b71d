//! Which errors of Redis pass by themselves: the command has not run, and may be sent again later. All
//! transports and all families decide it here, and so does JS for what the user's clients are answered.

/// What has to happen before Redis runs a command that it has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// A script, a function or a module has to end. Until then the node refuses everybody's commands.
    Busy,
    /// The data has to be loaded, or the master or the cluster has to be available.
    Unready,
    /// Another node has to run the command, or this one after its role has changed.
    Elsewhere,
}

impl Passing {
    /// Whether the same node will run the command later.
    pub fn is_here(self) -> bool {
        self != Passing::Elsewhere
    }
}

/// Returns what has to happen before the command is run; `None` if the error stays until somebody changes
/// something (NOPERM, OOM and the like).
pub fn passing(error: &[u8]) -> Option<Passing> {
    // The whole word is compared: BUSYGROUP and BUSYKEY are about a key.
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
