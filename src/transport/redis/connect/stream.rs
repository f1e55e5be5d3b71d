use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::credentials::Login;
use super::loss::Loss;
use super::predecessors::ClientId;
use super::refusal::{Asked, explain};
use super::settings::{Role, Settings};
use super::tls::Tls;
use super::{resolver, unreachable};
use crate::transport::redis::buffer::ReadBuffer;
use crate::transport::resp::{ProtocolError, Reply};

/// The kernel asks a silent peer after this time, then at [`KEEPALIVE_INTERVAL`], and gives it up after
/// [`KEEPALIVE_RETRIES`] questions: 25 s. A subscriber writes nothing, so it would never find out otherwise.
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long written bytes may go unacknowledged; the kernel's default is a quarter of an hour.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A socket to Redis.
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Takes more than the kernel does, which [`Stream::poll_flush`] then hands on.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads once into the room of `buffer`; an end of the stream is [`Loss::Closed`].
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuffer,
    ) -> Poll<Result<(), Loss>> {
        let mut room = ReadBuf::new(buffer.room());
        let read = match self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, &mut room),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, &mut room),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, &mut room),
        };
        ready!(read).map_err(lost)?;
        let len = room.filled().len();
        buffer.filled(len);
        Poll::Ready(if len == 0 { Err(Loss::Closed) } else { Ok(()) })
    }

    /// Writes once. What was written may not be with the kernel before [`Stream::poll_flush`] is ready.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Loss>> {
        let written = match self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        };
        written.map_err(lost)
    }

    /// Hands on to the kernel what was written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        match self {
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx).map_err(lost),
            Self::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(unix)]
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    /// Has the stream be reset when it is dropped. The kernel sends no more of what was written; and a Redis that has
    /// hung cannot answer when it is back, so that it leaves the connection after the first commands that it reads.
    pub(crate) fn discard(&self) {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(socket) => socket.get_ref().0,
            #[cfg(unix)]
            Self::Unix(_) => return,
        };
        // It fails if the connection is gone.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }

    /// The node at the other end, if it can be told.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Tls(socket) => socket.get_ref().0.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    async fn connect(address: &Address, addresses: &[SocketAddr], tls: Option<&Tls>) -> io::Result<Self> {
        match address {
            Address::Tcp { host, .. } => {
                let socket = TcpStream::connect(addresses).await?;
                socket.set_nodelay(true)?;
                keep_alive(&socket)?;
                Ok(match tls {
                    None => Self::Tcp(socket),
                    Some(tls) => Self::Tls(Box::new(tls.connect(host, socket).await?)),
                })
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Writes all, and hands it on to the kernel.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(bytes).await,
            #[cfg(unix)]
            Self::Unix(socket) => socket.write_all(bytes).await,
            Self::Tls(socket) => {
                socket.write_all(bytes).await?;
                socket.flush().await
            }
        }
    }
}

fn lost(error: io::Error) -> Loss {
    match error.kind() {
        // A TLS stream that ends without saying so, as that of a Redis that is shut down.
        io::ErrorKind::UnexpectedEof => Loss::Closed,
        _ => Loss::Io(error),
    }
}

/// A connection that Redis has answered on.
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    pub(crate) replies: ReadBuffer,
    /// Where it goes: with sentinels, where the master was.
    pub(crate) address: Address,
    /// Whether the node says what role it has.
    pub(crate) tells_role: bool,
    /// How Redis knows the connection, if that matters and Redis says it.
    pub(crate) client: Option<ClientId>,
}

/// Connects to an address. The caller waits until the deadline at most; credentials that are not
/// there by then are named as the reason.
pub(crate) async fn open_at(
    address: &Address,
    settings: &Settings,
    role: Role,
    deadline: Instant,
) -> Result<Connected, Loss> {
    if settings.allowed.as_ref().is_some_and(|allowed| !allowed.allows(address)) {
        return Err(Loss::NotAllowed(address.clone()));
    }
    let addresses = match address {
        Address::Tcp { host, port } => tokio::time::timeout_at(deadline, resolver::addresses(host, *port))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the look-up takes too long")))
            .map_err(|error| Loss::NoAddress(address.clone(), error))?,
        _ => Vec::new(),
    };
    let mut stream = Stream::connect(address, &addresses, settings.tls.as_ref())
        .await
        .map_err(|error| Loss::Connect(address.clone(), error))?;
    let mut replies = ReadBuffer::new();
    let login = tokio::time::timeout_at(deadline, settings.credentials.login())
        .await
        .unwrap_or_else(|_| Err("they were asked for, and did not come in time".to_owned()))
        .map_err(Loss::Credentials)?;
    let Found { role: found, client } =
        shake_hands(address, settings, login, role, &mut stream, &mut replies).await.map_err(|loss| {
            match ended(&loss) {
                Some(problem) => Loss::Handshake(address.clone(), problem),
                None => loss,
            }
        })?;
    let address = address.clone();
    match (role, found.as_deref()) {
        (Role::Master, Some(found)) if found != "master" => {
            Err(Loss::NotMaster { address, role: found.to_owned() })
        }
        (Role::NotReplica, Some(REPLICA)) => Err(Loss::Replica(address)),
        (Role::NotReplica, Some("sentinel")) => Err(Loss::Handshake(address, IS_SENTINEL.to_owned())),
        (_, found) => Ok(Connected { stream, replies, address, tells_role: found.is_some(), client }),
    }
}

/// Why the server ends a connection, or makes no sense, before it has answered; `None` if it has said more.
fn ended(loss: &Loss) -> Option<String> {
    match loss {
        Loss::Io(error) if unreachable::wants_certificate(error) => {
            Some(unreachable::WANTS_CERTIFICATE.replacen("it wants", "wants", 1))
        }
        Loss::Io(_) | Loss::Closed => Some(ENDED.to_owned()),
        Loss::Protocol(error) => Some(format!(
            "answers with something else than a Redis ({error}): check the port; if it speaks TLS, use rediss:// or `tls`"
        )),
        _ => None,
    }
}

const ENDED: &str = "closed the connection before it answered: if it speaks TLS on this port, use rediss:// or `tls`; else look at its log";

/// What a replica calls itself.
pub(crate) const REPLICA: &str = "slave";

const IS_SENTINEL: &str = "is a sentinel: name it among the `sentinels`, with the `name` of the master, or connect to the master itself";

/// What an error reply to a command of the handshake means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    /// The connection is of no use.
    GiveUp,
    /// The command was a wish.
    Ignore,
    /// An ACL may forbid the command and all else be well.
    GiveUpUnlessForbidden,
}

/// What the handshake brings.
#[derive(Default)]
struct Found {
    role: Option<String>,
    client: Option<ClientId>,
}

/// Sends all of the handshake in one write and reads its replies.
///
/// It ends with a PING: a server that is loading, wants a password or has no client slot left says so here, so
/// that `Up` means a Redis that answers. Behind that come what the Redis is, and the end of a lost connection.
async fn shake_hands(
    address: &Address,
    settings: &Settings,
    login: Login,
    role: Role,
    stream: &mut Stream,
    replies: &mut ReadBuffer,
) -> Result<Found, Loss> {
    let mut out = Vec::new();
    let mut expected = Vec::new();
    let mut send = |command: &redis::Cmd, asked, on_error| {
        command.write_packed_command(&mut out);
        expected.push((asked, on_error));
    };
    if let Some(password) = &login.password {
        let mut auth = redis::cmd("AUTH");
        if let Some(username) = &login.username {
            auth.arg(username);
        }
        let asked = Asked::Auth { user: login.username.is_some(), secret: password };
        send(auth.arg(password), asked, OnError::GiveUp);
    }
    if settings.database != 0 {
        let asked = Asked::Select(settings.database);
        send(redis::cmd("SELECT").arg(settings.database), asked, OnError::GiveUp);
    }
    if let Some(name) = &settings.client_name {
        send(redis::cmd("CLIENT").arg("SETNAME").arg(name), Asked::Other, OnError::Ignore);
    }
    send(&redis::cmd("PING"), Asked::Other, OnError::GiveUpUnlessForbidden);
    match role {
        Role::Any => {}
        // An ACL may forbid it, and some services do not have it.
        Role::NotReplica => send(&redis::cmd("ROLE"), Asked::Other, OnError::Ignore),
        Role::Master => send(&redis::cmd("ROLE"), Asked::Other, OnError::GiveUp),
    }
    let predecessor = settings.predecessors.as_ref().and_then(|predecessors| predecessors.at(address));
    if settings.predecessors.is_some() {
        // An ACL may forbid both, and before 6.2 there is no CLIENT INFO.
        if let Some(client) = &predecessor {
            send(&client.end(), Asked::Other, OnError::Ignore);
        }
        send(redis::cmd("CLIENT").arg("INFO"), Asked::Other, OnError::Ignore);
    }
    stream.write_all(&out).await.map_err(lost)?;

    let mut found = Found::default();
    for (asked, on_error) in expected {
        loop {
            match replies.next_reply()? {
                Some(Reply::Error(error)) => {
                    let fatal = match on_error {
                        OnError::GiveUp => true,
                        OnError::Ignore => false,
                        OnError::GiveUpUnlessForbidden => !error.starts_with(b"NOPERM"),
                    };
                    if fatal {
                        return Err(Loss::Handshake(address.clone(), explain(asked, error)));
                    }
                    break;
                }
                Some(Reply::Simple(_)) => break,
                Some(Reply::Array(mut items)) if role != Role::Any => {
                    let name = items.next_bulk().ok_or(ProtocolError::Unexpected)?;
                    found.role = Some(String::from_utf8_lossy(name).into_owned());
                    break;
                }
                Some(Reply::Integer(_)) if settings.predecessors.is_some() => break,
                Some(Reply::Bulk(info)) if settings.predecessors.is_some() => {
                    found.client = ClientId::of(info);
                    break;
                }
                Some(_) => return Err(ProtocolError::Unexpected.into()),
                None => std::future::poll_fn(|cx| stream.poll_fill(cx, replies)).await?,
            }
        }
    }
    if let (Some(predecessors), Some(client)) = (&settings.predecessors, &predecessor) {
        predecessors.forget(address, client);
    }
    Ok(found)
}

fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(any(unix, windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::redis::connect::target::OPEN_TIMEOUT;
    use crate::transport::redis::connect::{Answer, AskCredentials, Credentials, Target, open};
    use crate::transport::redis::mock::{MockPeer, block_on};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    fn target(peer: &MockPeer) -> Arc<Target> {
        let settings = Settings {
            credentials: Credentials::Fixed(Login {
                username: Some("app".to_owned()),
                password: Some("secret".to_owned()),
            }),
            database: 3,
            client_name: Some("link".to_owned()),
            ..Settings::default()
        };
        Arc::new(Target::new(peer.address(), settings))
    }

    const HANDSHAKE: &[&[&str]] =
        &[&["AUTH", "app", "secret"], &["SELECT", "3"], &["CLIENT", "SETNAME", "link"], &["PING"]];

    async fn answered(answer: &str) -> Result<(), Loss> {
        let mut peer = MockPeer::tcp().await;
        let opening = tokio::spawn(open(target(&peer)));
        let mut client = peer.accept_raw().await;
        for command in HANDSHAKE {
            client.expect(command).await;
        }
        client.send(answer.as_bytes()).await;
        opening.await.unwrap().map(|_| ())
    }

    #[test]
    fn shakes_hands_in_one_write() {
        block_on(async {
            answered("+OK\r\n+OK\r\n+OK\r\n+PONG\r\n").await.unwrap();
            // The name is a wish, and PING may be forbidden.
            answered("+OK\r\n+OK\r\n-ERR unknown command\r\n-NOPERM no ping\r\n").await.unwrap();
        });
    }

    #[test]
    fn surfaces_what_redis_refuses() {
        block_on(async {
            for (answer, reason) in [
                (
                    "-WRONGPASS invalid username-password pair\r\n-NOAUTH\r\n-NOAUTH\r\n-NOAUTH\r\n",
                    "does not take the user name or the password (WRONGPASS)",
                ),
                ("+OK\r\n-ERR DB index is out of range\r\n", "has no database 3"),
                ("+OK\r\n+OK\r\n+OK\r\n-LOADING Redis is loading\r\n", "is loading its data (LOADING)"),
                ("HTTP/1.1 400\r\n", "not the Redis protocol: a reply begins with byte 0x48"),
            ] {
                let loss = answered(answer).await.unwrap_err().to_string();
                assert!(loss.contains(reason), "{loss}");
            }
        });
    }

    #[test]
    fn what_auth_was_given_is_not_repeated() {
        block_on(async {
            let answer = "-ERR unknown command 'AUTH', with args beginning with: 'app' 'secret'\r\n";
            let loss = answered(answer).await.unwrap_err();
            let text = format!("{loss} {loss:?}");
            assert!(text.contains("does not know AUTH"), "{text}");
            assert!(!text.contains("secret") && !text.contains("'app'"), "{text}");
        });
    }

    /// Says what it was given, one after the other, and then nothing for ever.
    struct Source(Mutex<VecDeque<Result<Login, String>>>);

    impl AskCredentials for Source {
        fn ask(&self) -> Answer {
            match self.0.lock().unwrap().pop_front() {
                Some(answer) => Box::pin(std::future::ready(answer)),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    #[test]
    fn credentials_are_asked_for_at_each_connect() {
        block_on(async {
            let login = |username: Option<&str>, password: Option<&str>| {
                Ok(Login { username: username.map(str::to_owned), password: password.map(str::to_owned) })
            };
            let answers = [
                login(Some("app"), Some("one")),
                login(None, Some("two")),
                login(None, None),
                Err("the vault is sealed".to_owned()),
            ];
            let mut peer = MockPeer::tcp().await;
            let settings = Settings {
                credentials: Credentials::Asked(Arc::new(Source(Mutex::new(answers.into())))),
                ..Settings::default()
            };
            let target = Arc::new(Target::new(peer.address(), settings));
            for auth in [&["AUTH", "app", "one"][..], &["AUTH", "two"], &[]] {
                let serve = async {
                    let mut client = peer.accept_raw().await;
                    if !auth.is_empty() {
                        client.expect(auth).await;
                        client.send(b"+OK\r\n").await;
                    }
                    client.expect(&["PING"]).await;
                    client.send(b"+PONG\r\n").await;
                };
                tokio::join!(open(Arc::clone(&target)), serve).0.unwrap();
            }
            let loss = open(Arc::clone(&target)).await.err().unwrap();
            assert_eq!(loss.to_string(), "no credentials for Redis: the vault is sealed");
            tokio::time::pause();
            let asked = Instant::now();
            let loss = open(target).await.err().unwrap();
            assert!(matches!(loss, Loss::Credentials(_)), "{loss}");
            assert!(asked.elapsed() >= OPEN_TIMEOUT);
        });
    }

    #[test]
    fn gives_up_on_a_silent_peer() {
        block_on(async {
            tokio::time::pause();
            let peer = MockPeer::tcp().await;
            let loss = open(target(&peer)).await.err().unwrap();
            assert!(matches!(loss, Loss::Slow(..)), "{loss}");
        });
    }
}
