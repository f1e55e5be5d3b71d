//! A Redis that a test plays byte by byte.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::transport::redis::connect::Address;
use crate::transport::resp::{Reply, Scanner};

/// Runs a test on a runtime like the link's.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(crate) enum MockPeer {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    Tls(TcpListener, TlsAcceptor),
}

trait AnySocket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> AnySocket for S {}

/// The peer's side of one connection. Dropping it closes the connection.
pub(crate) struct Client {
    socket: Box<dyn AnySocket>,
    input: Vec<u8>,
}

impl MockPeer {
    pub(crate) async fn tcp() -> Self {
        Self::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) async fn tls(acceptor: TlsAcceptor) -> Self {
        Self::Tls(TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor)
    }

    pub(crate) fn unix(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self::Unix(UnixListener::bind(&path).unwrap(), path)
    }

    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => {
                let address = listener.local_addr().unwrap();
                Address::Tcp { host: address.ip().to_string(), port: address.port() }
            }
            Self::Unix(_, path) => Address::Unix(path.clone()),
        }
    }

    /// Accepts a connection, and sends nothing except the TLS handshake.
    pub(crate) async fn accept_raw(&mut self) -> Client {
        self.try_accept().await.unwrap()
    }

    /// Like [`MockPeer::accept_raw`], if the other side may reject the TLS handshake.
    pub(crate) async fn try_accept(&mut self) -> io::Result<Client> {
        let socket: Box<dyn AnySocket> = match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener, _) => Box::new(listener.accept().await?.0),
            Self::Tls(listener, acceptor) => {
                let socket = listener.accept().await?.0;
                Box::new(acceptor.accept(socket).await?)
            }
        };
        Ok(Client { socket, input: Vec::new() })
    }

    /// Accepts a connection with default settings, and answers its handshake.
    pub(crate) async fn accept(&mut self) -> Client {
        let mut client = self.accept_raw().await;
        client.expect(&["PING"]).await;
        client.send(b"+PONG\r\n").await;
        client
    }

    /// Like [`MockPeer::accept`], while a future runs that ends once the connection is open.
    pub(crate) async fn accept_while<T>(&mut self, opening: impl Future<Output = T>) -> Client {
        tokio::join!(self.accept(), opening).0
    }
}

impl Drop for MockPeer {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Client {
    /// Returns the next command.
    pub(crate) async fn command(&mut self) -> Vec<String> {
        self.next_command().await.unwrap_or_else(|| panic!("closed"))
    }

    /// Returns the next command, or `None` if the other side has closed.
    pub(crate) async fn next_command(&mut self) -> Option<Vec<String>> {
        let mut scanner = Scanner::default();
        loop {
            if let Some(len) = scanner.scan(&self.input).unwrap() {
                let Reply::Array(items) = Reply::of(&self.input[..len]).unwrap() else {
                    panic!("not a command");
                };
                let command = items
                    .map(|item| match item {
                        Reply::Bulk(bulk) => String::from_utf8_lossy(bulk).into_owned(),
                        other => panic!("not an argument: {other:?}"),
                    })
                    .collect();
                self.input.drain(..len);
                return Some(command);
            }
            if self.read().await == 0 {
                return None;
            }
        }
    }

    /// Reads until the next command has begun, and takes it if it is complete.
    pub(crate) async fn command_head(&mut self) {
        while self.input.is_empty() {
            assert!(self.read().await > 0, "closed");
        }
        if let Some(len) = Scanner::default().scan(&self.input).unwrap() {
            self.input.drain(..len);
        }
    }

    pub(crate) async fn expect(&mut self, command: &[&str]) {
        assert_eq!(self.command().await, command);
    }

    /// Reads once. Returns the number of bytes, 0 at the end.
    pub(crate) async fn read(&mut self) -> usize {
        self.input.reserve(64 * 1024);
        self.socket.read_buf(&mut self.input).await.unwrap_or(0)
    }

    /// Returns what was read and is not taken as a command.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// Waits until the other side closes.
    pub(crate) async fn closed(&mut self) {
        while self.read().await > 0 {}
    }
}

/// Runs `work` while polling `beside` again and again, until `work` ends.
pub(crate) async fn drive<T>(work: impl Future<Output = T>, mut beside: impl AsyncFnMut()) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            out = &mut work => return out,
            () = beside() => {}
        }
    }
}
