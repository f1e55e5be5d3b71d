//! Looks up the names of hosts. The system may take half a minute to say that it does not know a name, so it
//! is asked on separate threads. All who want the same name wait for the same answer: attempts to connect
//! that give up leave no threads behind.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use once_cell::sync::Lazy;
use tokio::sync::oneshot;

/// How many names the whole process looks up at a time. One that hangs must not delay all others.
const MAX_THREADS: usize = 4;

type LookUp = fn(&str) -> io::Result<Vec<IpAddr>>;
type LookupResult = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

static SYSTEM: Lazy<Arc<Resolver>> = Lazy::new(|| Resolver::new(by_the_system));

/// Returns the addresses of a host. An IP address is not looked up.
///
/// # Errors
/// The system's error.
pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => SYSTEM.look_up(host).await?,
    };
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

fn by_the_system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

struct Resolver {
    look_up: LookUp,
    state: Mutex<Lookups>,
}

#[derive(Default)]
struct Lookups {
    /// Who waits for each name that is looked up, or queued.
    waiting: HashMap<String, Vec<oneshot::Sender<LookupResult>>>,
    /// The names that no thread has taken yet.
    queue: VecDeque<String>,
    threads: usize,
}

impl Resolver {
    fn new(look_up: LookUp) -> Arc<Self> {
        Arc::new(Self { look_up, state: Mutex::default() })
    }

    async fn look_up(self: &Arc<Self>, host: &str) -> io::Result<Vec<IpAddr>> {
        let answer = self.ask(host)?;
        match answer.await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err((kind, problem))) => Err(io::Error::new(kind, problem)),
            Err(_) => Err(io::Error::other("the look-up of the name was given up")),
        }
    }

    fn ask(self: &Arc<Self>, host: &str) -> io::Result<oneshot::Receiver<LookupResult>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if let Some(waiting) = state.waiting.get_mut(host) {
            // Forgets those whose attempt to connect has ended.
            waiting.retain(|other| !other.is_closed());
            waiting.push(sender);
            return Ok(receiver);
        }
        state.waiting.insert(host.to_owned(), vec![sender]);
        state.queue.push_back(host.to_owned());
        if state.threads < MAX_THREADS {
            let resolver = Arc::clone(self);
            let started =
                std::thread::Builder::new().name("socket.io-redis-dns".into()).spawn(move || resolver.work());
            match started {
                Ok(_) => state.threads += 1,
                // A thread that is running will take the name.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.waiting.remove(host);
                    state.queue.pop_back();
                    return Err(error);
                }
            }
        }
        Ok(receiver)
    }

    /// Looks up names until none are left.
    fn work(&self) {
        loop {
            let mut state = self.state();
            let Some(host) = state.queue.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            let found = (self.look_up)(&host).map_err(|error| (error.kind(), error.to_string()));
            let waiting = self.state().waiting.remove(&host).unwrap_or_default();
            for asker in waiting {
                // Nobody waits any more if the attempt to connect has ended.
                let _ = asker.send(found.clone());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, Lookups> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::redis::mock::block_on;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Once};
    use std::time::Duration;

    #[test]
    fn an_attempt_that_gives_up_leaves_no_thread_behind() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        fn hangs(_: &str) -> io::Result<Vec<IpAddr>> {
            STARTED.fetch_add(1, Ordering::SeqCst);
            let mut open = GATE.0.lock().unwrap();
            while !*open {
                open = GATE.1.wait(open).unwrap();
            }
            Ok(vec![[127, 0, 0, 1].into()])
        }
        block_on(async {
            let resolver = Resolver::new(hangs);
            for _ in 0..50 {
                let gives_up = tokio::time::timeout(Duration::from_millis(1), resolver.look_up("redis"));
                assert!(gives_up.await.is_err());
            }
            assert_eq!(STARTED.load(Ordering::SeqCst), 1);
            assert_eq!(resolver.state().waiting.get("redis").unwrap().len(), 1);
            // Another name gets a thread of its own, up to the limit.
            for number in 0..20 {
                let name = format!("redis-{number}");
                let gives_up = tokio::time::timeout(Duration::from_millis(1), resolver.look_up(&name));
                assert!(gives_up.await.is_err());
            }
            let (last, opened) = tokio::join!(resolver.look_up("redis"), async {
                assert!(resolver.state().threads <= MAX_THREADS);
                *GATE.0.lock().unwrap() = true;
                GATE.1.notify_all();
            });
            assert_eq!((last.unwrap(), opened), (vec![IpAddr::from([127, 0, 0, 1])], ()));
            // The names in the queue are looked up even if nobody waits. Then the threads end.
            while resolver.state().threads > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(STARTED.load(Ordering::SeqCst), 21);
            assert!(resolver.state().waiting.is_empty());
        });
    }

    #[test]
    fn a_name_that_is_not_known_is_looked_up_again() {
        static FIRST: Once = Once::new();
        fn knows_it_later(_: &str) -> io::Result<Vec<IpAddr>> {
            let mut first = false;
            FIRST.call_once(|| first = true);
            if first {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
            }
            Ok(vec![[10, 0, 0, 1].into()])
        }
        block_on(async {
            let resolver = Resolver::new(knows_it_later);
            let error = resolver.look_up("redis").await.unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (io::ErrorKind::NotFound, "no such name".to_owned())
            );
            assert_eq!(resolver.look_up("redis").await.unwrap(), [IpAddr::from([10, 0, 0, 1])]);
        });
    }

    #[test]
    fn an_address_needs_no_look_up() {
        block_on(async {
            for host in ["10.0.0.1", "::1"] {
                let [address] = addresses(host, 6379).await.unwrap()[..] else { panic!("{host}") };
                assert_eq!((address.ip(), address.port()), (host.parse().unwrap(), 6379));
            }
            assert!(!addresses("localhost", 1).await.unwrap().is_empty());
        });
    }
}
