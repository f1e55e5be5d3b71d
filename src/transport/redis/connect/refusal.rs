//! Explains an error reply to the handshake, and what to do about it.

use std::borrow::Cow;

/// Which command of the handshake an error answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeCommand<'a> {
    /// `AUTH`. Redis' error may repeat the arguments, so none of its text may be shown.
    Auth {
        /// Whether a user name was sent.
        user: bool,
        /// What must not be shown.
        secret: &'a str,
    },
    Select(i64),
    Other,
}

/// Errors that any command may get, by their beginning.
const ALWAYS: &[(&str, &str)] = &[
    (
        "ERR max number of clients reached",
        "takes no more connections (maxclients): raise maxclients, or close connections that nobody needs",
    ),
    (
        "DENIED Redis is running in protected mode",
        "runs in protected mode, and takes local connections alone: give it a password, or set `protected-mode no`",
    ),
    (
        "BUSY",
        "runs a script for too long (BUSY): the adapter tries again until it has ended; SCRIPT KILL ends it",
    ),
    ("LOADING", "is loading its data (LOADING): the adapter tries again until that is done"),
    ("MASTERDOWN", "is a replica that has lost its master (MASTERDOWN): connect to the master"),
    (
        "NOAUTH",
        "wants a password, and none was given (NOAUTH): set the password in the URL or in the options of the client",
    ),
    (
        "WRONGPASS",
        "does not take the user name or the password (WRONGPASS): compare them with `requirepass` or `ACL LIST`",
    ),
];

/// Errors that only `AUTH` gets.
const TO_AUTH: &[(&str, &str)] = &[
    (
        "ERR AUTH <password> called without any password configured",
        "has no password, and one was given: leave it out, or set `requirepass`",
    ),
    ("ERR Client sent AUTH, but no password is set", "has no password, and one was given: leave it out"),
    ("ERR invalid password", "does not take the password: compare it with `requirepass`"),
    (
        "ERR unknown command",
        "does not know AUTH, which is renamed or disabled there: leave the password out, or let Redis have the command",
    ),
    ("NOPERM", "does not let this user log in (NOPERM): look at `ACL LIST`"),
];

/// Returns what is wrong and what to do. It follows the address of the server.
pub(super) fn explain(asked: HandshakeCommand<'_>, error: &[u8]) -> String {
    let error = String::from_utf8_lossy(error);
    if let Some(text) = known(ALWAYS, &error) {
        return text.to_owned();
    }
    match asked {
        HandshakeCommand::Auth { user, secret } => {
            if user && error.starts_with("ERR wrong number of arguments") {
                return "knows no user names, as before Redis 6: leave the user out".to_owned();
            }
            known(TO_AUTH, &error).map_or_else(
                || format!("refuses the login{}: look at its log", code(&error, secret)),
                str::to_owned,
            )
        }
        HandshakeCommand::Select(number) if error.starts_with("ERR DB index") => {
            format!("has no database {number}: choose one below its setting `databases`")
        }
        HandshakeCommand::Select(number) if error.starts_with("NOPERM") => {
            format!(
                "does not let this user choose database {number} (NOPERM): allow `+select`, or leave the number out"
            )
        }
        HandshakeCommand::Select(_) | HandshakeCommand::Other => format!("refuses the connection: {error}"),
    }
}

fn known(texts: &[(&str, &'static str)], error: &str) -> Option<&'static str> {
    texts.iter().find(|(begin, _)| error.starts_with(begin)).map(|(_, text)| *text)
}

/// Returns the code at the beginning of an error, unless it is part of the secret.
fn code(error: &str, secret: &str) -> Cow<'static, str> {
    match error.split(' ').next() {
        Some(code)
            if (2..=20).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_uppercase())
                && !secret.contains(code) =>
        {
            format!(" ({code})").into()
        }
        _ => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTH: HandshakeCommand<'static> = HandshakeCommand::Auth { user: true, secret: "SECRET app" };

    #[test]
    fn what_auth_was_given_is_never_told() {
        for error in [
            "ERR unknown command 'AUTH', with args beginning with: 'app' 'SECRET'",
            "ERR unknown command `AUTH`, with args beginning with: `app`, `SECRET`, ",
            "ERR no such user app with SECRET",
            "SECRET is not it",
            "app SECRET",
            "",
            "WRONGPASS SECRET",
        ] {
            let text = explain(AUTH, error.as_bytes());
            assert!(!text.contains("SECRET") && !text.contains("app"), "{text}");
        }
        assert_eq!(explain(AUTH, b"QUOTA SECRET"), "refuses the login (QUOTA): look at its log");
    }

    #[test]
    fn says_what_to_do() {
        for (asked, error, expected) in [
            (AUTH, "ERR max number of clients reached", "takes no more connections"),
            (AUTH, "ERR wrong number of arguments for 'auth' command", "knows no user names"),
            (HandshakeCommand::Select(20), "ERR DB index is out of range", "has no database 20"),
            (
                HandshakeCommand::Select(1),
                "NOPERM this user has no permissions",
                "does not let this user choose database 1",
            ),
            (
                HandshakeCommand::Select(1),
                "ERR SELECT is not allowed",
                "refuses the connection: ERR SELECT is not allowed",
            ),
            (HandshakeCommand::Other, "NOAUTH Authentication required.", "wants a password"),
        ] {
            let text = explain(asked, error.as_bytes());
            assert!(text.starts_with(expected), "{text}");
        }
    }
}
