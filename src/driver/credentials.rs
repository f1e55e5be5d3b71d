//! Credentials that only JS knows: the connections ask for them, the user's function answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::transport::redis::Login;

/// What the connections have asked of JS.
#[derive(Debug, Default)]
pub struct Questions {
    state: Mutex<OpenQuestions>,
}

#[derive(Debug, Default)]
struct OpenQuestions {
    last: u32,
    /// The questions that JS does not know of yet.
    new: Vec<u32>,
    open: HashMap<u32, oneshot::Sender<Result<Login, String>>>,
}

impl Questions {
    /// Answers a question. An answer to one that is no longer open is dropped.
    pub fn answer(&self, token: u32, answer: Result<Login, String>) {
        let asker = self.lock().open.remove(&token);
        if let Some(asker) = asker {
            // If nobody waits any more, the attempt to connect has ended.
            let _ = asker.send(answer);
        }
    }

    /// The tokens of the questions that were asked since the last call.
    pub(super) fn take_new(&self) -> Vec<u32> {
        std::mem::take(&mut self.lock().new)
    }

    pub(super) fn ask(&self) -> (u32, oneshot::Receiver<Result<Login, String>>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.last = state.last.wrapping_add(1);
        let token = state.last;
        state.new.push(token);
        state.open.insert(token, sender);
        (token, receiver)
    }

    pub(super) fn forget(&self, token: u32) {
        let mut state = self.lock();
        state.open.remove(&token);
        state.new.retain(|new| *new != token);
    }

    fn lock(&self) -> MutexGuard<'_, OpenQuestions> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.open.is_empty() && state.new.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Config;
    use crate::core::effects::Kind;
    use crate::driver::command::Command;
    use crate::driver::inbox::{Fetched, STRIDE};
    use crate::driver::link::{LinkConfig, LinkLoop};
    use crate::driver::shared::{AskJs, Shared};
    use crate::transport::redis::{Address, Credentials, RedisTarget, Settings};
    use crate::wire::Family;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    /// Waits for a record that asks for credentials, and returns its token.
    async fn question(shared: &Shared, woken: &Notify) -> u32 {
        loop {
            let (mut slab, mut table) = (vec![0; 1 << 16], vec![0; STRIDE]);
            match shared.inbox.fetch(&mut slab, 0, &mut table) {
                Fetched::Records { .. } if table[0] == Kind::Credentials as u32 => return table[3],
                Fetched::Records { .. } => {}
                _ => woken.notified().await,
            }
        }
    }

    async fn reads(redis: &mut TcpStream, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        redis.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    async fn scenario() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let address = Address::Tcp { host: address.ip().to_string(), port: address.port() };
        let shared = Arc::new(Shared::default());
        let woken = Arc::new(Notify::new());
        let settings = Settings {
            credentials: Credentials::Asked(Arc::new(AskJs::new(Arc::clone(&shared)))),
            ..Settings::default()
        };
        let config = LinkConfig {
            place: Some(crate::driver::command::Place::Redis(RedisTarget::new(address, settings))),
            max_inbox: 1 << 20,
            core: Config::of(Family::Classic),
        };
        let wake = Arc::clone(&woken);
        let link = LinkLoop::new(config, Arc::clone(&shared), move || wake.notify_one());
        let running = tokio::task::spawn_local(link.run());

        let (mut redis, _) = listener.accept().await.unwrap();
        let first = question(&shared, &woken).await;
        shared.questions.answer(first + 1, Err("nobody asked".to_owned()));
        shared
            .questions
            .answer(first, Ok(Login { username: Some("app".to_owned()), password: Some("one".to_owned()) }));
        reads(&mut redis, "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$3\r\none\r\n*1\r\n$4\r\nPING\r\n").await;
        redis.write_all(b"+OK\r\n+PONG\r\n").await.unwrap();
        drop(redis);

        // Another connection, another question; an answer of before is passed over.
        let (mut redis, _) = listener.accept().await.unwrap();
        let second = question(&shared, &woken).await;
        assert_ne!(first, second);
        shared.questions.answer(first, Ok(Login::default()));
        shared.questions.answer(second, Ok(Login { username: None, password: Some("two".to_owned()) }));
        reads(&mut redis, "*2\r\n$4\r\nAUTH\r\n$3\r\ntwo\r\n").await;
        drop(redis);

        // What is closed asks no more.
        let (_redis, _) = listener.accept().await.unwrap();
        let third = question(&shared, &woken).await;
        shared.outbox.push(|_| Command::Close);
        running.await.unwrap();
        assert!(shared.questions.is_empty());
        shared.questions.answer(third, Ok(Login::default()));
    }

    #[test]
    fn js_is_asked_at_each_connect() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, scenario());
    }

    #[test]
    fn a_password_is_not_shown() {
        let login = Login { username: Some("app".to_owned()), password: Some("hidden".to_owned()) };
        let questions = Questions::default();
        let (token, receiver) = questions.ask();
        questions.answer(token, Ok(login.clone()));
        for shown in [format!("{login:?}"), format!("{questions:?}"), format!("{receiver:?}")] {
            assert!(!shown.contains("hidden"), "{shown}");
        }
    }
}
