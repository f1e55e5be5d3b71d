//! A socket to Redis: TCP, unix, or TLS over TCP.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::loss::Loss;
use super::tls::Tls;
use crate::transport::redis::buffer::ReadBuffer;

/// The kernel probes a silent peer after this time, then every [`KEEPALIVE_INTERVAL`], and gives it up after
/// [`KEEPALIVE_RETRIES`] probes: 25 s. A subscriber writes nothing, so it would never notice otherwise.
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long written bytes may stay unacknowledged. The kernel's default is a quarter of an hour.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A socket to Redis.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// It buffers more than the kernel takes. [`Socket::poll_flush`] writes the rest.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Reads once into `buffer`. If the peer has closed the connection, the error is [`Loss::Closed`].
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

    /// Writes once. The kernel may not have all bytes before [`Socket::poll_flush`] is ready.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Loss>> {
        let written = match self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        };
        written.map_err(lost)
    }

    /// Writes to the kernel what TLS has buffered.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        match self {
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx).map_err(lost),
            Self::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(unix)]
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    /// Has the connection reset when it is dropped. The kernel then sends no more of the written bytes. A
    /// Redis that has hung cannot answer when it is back, so it gives up the connection after the first
    /// commands that it reads.
    pub(crate) fn discard(&self) {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(socket) => socket.get_ref().0,
            #[cfg(unix)]
            Self::Unix(_) => return,
        };
        // This fails if the connection is gone.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }

    /// The address of the node at the other end, if it is known.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Tls(socket) => socket.get_ref().0.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    pub(super) async fn connect(
        address: &Address,
        addresses: &[SocketAddr],
        tls: Option<&Tls>,
    ) -> io::Result<Self> {
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

    /// Writes everything, and flushes it to the kernel.
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

pub(super) fn lost(error: io::Error) -> Loss {
    match error.kind() {
        // The peer has closed a TLS connection without saying so, as a Redis that shuts down does.
        io::ErrorKind::UnexpectedEof => Loss::Closed,
        _ => Loss::Io(error),
    }
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
