//! Many clients of a Socket.IO server, in one thread that does little: they connect by WebSocket, and count events.
//!
//! Each event carries a number as its first argument, one more than the one before: what is lost, doubled or out of order is
//! seen. Orders come line by line on stdin, answers go to stdout:
//!
//! - `connect PORT COUNT [compressed]`: connects so many clients; answers `connected COUNT`.
//! - `expect TOTAL`, before these are sent: answers `expecting TOTAL` at once, and `got TOTAL NANOSECONDS FAULTS` when all
//!   clients together have had so many events since they were connected. The time is that of the last one, by the clock of
//!   `process.hrtime()`.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

mod frames;

/// So many clients are on their way to be connected at a time.
const AT_ONCE: usize = 64;

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    connected: Cell<usize>,
    events: Cell<u64>,
    faults: Cell<u64>,
    last: Cell<u64>,
    /// Something of it has changed that somebody may wait for.
    changed: Notify,
    /// As many events are waited for.
    expected: Cell<u64>,
    /// What was read last, of whatever client.
    buffer: RefCell<Vec<u8>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, obey())
}

async fn obey() -> Result<(), Box<dyn Error>> {
    let buffer = RefCell::new(vec![0; 1 << 18]);
    let seen = Rc::new(Seen { buffer, expected: Cell::new(u64::MAX), ..Seen::default() });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut asked = 0;
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["connect", port, count, ref compressed @ ..] => {
                let is_compressed = !compressed.is_empty();
                let (port, count) = (port.parse::<u16>()?, count.parse::<usize>()?);
                for _ in 0..count {
                    while asked >= seen.connected.get() + AT_ONCE {
                        seen.changed.notified().await;
                    }
                    asked += 1;
                    let seen = Rc::clone(&seen);
                    spawn_local(async move {
                        if let Err(error) = be_client(port, is_compressed, &seen).await {
                            eprintln!("a client of the bench ended: {error}");
                            seen.faults.set(seen.faults.get() + 1);
                        }
                    });
                }
                while seen.connected.get() < asked {
                    seen.changed.notified().await;
                }
                println!("connected {count}");
            }
            ["expect", total] => {
                let total = total.parse()?;
                seen.expected.set(total);
                println!("expecting {total}");
                while seen.events.get() < total {
                    seen.changed.notified().await;
                }
                seen.expected.set(u64::MAX);
                println!("got {} {} {}", seen.events.get(), seen.last.get(), seen.faults.get());
            }
            _ => return Err(format!("unknown order: {line}").into()),
        }
    }
    Ok(())
}

/// One client, for ever.
struct Client<'a> {
    seen: &'a Seen,
    /// The number of the last event.
    number: Option<u64>,
    /// The parts of an event that are to come.
    attachments: usize,
}

async fn be_client(port: u16, is_compressed: bool, seen: &Seen) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let extension = match is_compressed {
        true => "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        false => "",
    };
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         {extension}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut client = Client { seen, number: None, attachments: 0 };
    // What is not a whole frame yet, or not the whole answer.
    let mut rest: Vec<u8> = Vec::new();
    let mut is_upgraded = false;
    loop {
        stream.readable().await?;
        let mut says = Vec::new();
        {
            let mut buffer = seen.buffer.borrow_mut();
            let read = match stream.try_read(&mut buffer) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let fresh = buffer.get(..read).unwrap_or_default();
            if rest.is_empty() && is_upgraded {
                let taken = client.take(fresh, &mut says)?;
                rest.extend_from_slice(fresh.get(taken..).unwrap_or_default());
            } else {
                rest.extend_from_slice(fresh);
                if !is_upgraded {
                    let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
                        continue;
                    };
                    if !rest.starts_with(b"HTTP/1.1 101") {
                        return Err("the server does not upgrade".into());
                    }
                    rest.drain(..end + 4);
                    is_upgraded = true;
                }
                let taken = client.take(&rest, &mut says)?;
                rest.drain(..taken);
            }
        }
        for text in says {
            stream.write_all(&frames::text(text)).await?;
        }
    }
}

impl Client<'_> {
    /// Takes what has come; returns how many bytes of it were whole frames, and adds what is to be said.
    fn take(&mut self, bytes: &[u8], says: &mut Vec<&'static str>) -> Result<usize, Box<dyn Error>> {
        let mut taken = 0;
        while let Some(frame) = frames::read(bytes.get(taken..).unwrap_or_default()) {
            taken += frame.size;
            let inflated = if frame.is_compressed { frames::inflate(frame.payload)? } else { Vec::new() };
            match (frame.opcode, if frame.is_compressed { &inflated } else { frame.payload }) {
                (1, [b'4', packet @ ..]) => self.packet(packet),
                (1, [b'0', ..]) => says.push("40"),
                (1, b"2") => says.push("3"),
                (2, _) => {
                    self.attachments = self.attachments.saturating_sub(1);
                    if self.attachments == 0 {
                        self.count();
                    }
                }
                (8, _) => return Err("the server ends the WebSocket".into()),
                _ => {}
            }
        }
        Ok(taken)
    }

    /// A packet of Socket.IO, as far as the bench knows them.
    fn packet(&mut self, packet: &[u8]) {
        match packet {
            [b'0', ..] => {
                self.seen.connected.set(self.seen.connected.get() + 1);
                self.seen.changed.notify_one();
            }
            [b'2', event @ ..] => {
                self.check(event);
                self.count();
            }
            [b'5', event @ ..] => {
                self.attachments = usize::try_from(leading_number(event).unwrap_or(0)).unwrap_or(0);
                let start = event.iter().position(|&byte| byte == b'[').unwrap_or(event.len());
                self.check(event.get(start..).unwrap_or_default());
            }
            _ => {}
        }
    }

    /// The number behind the event's name is one more than the last.
    fn check(&mut self, event: &[u8]) {
        let comma = event.iter().position(|&byte| byte == b',').unwrap_or(event.len());
        let number = leading_number(event.get(comma + 1..).unwrap_or_default());
        if number.is_none() || self.number.is_some_and(|last| number != Some(last + 1)) {
            self.seen.faults.set(self.seen.faults.get() + 1);
        }
        self.number = number;
    }

    fn count(&self) {
        let events = self.seen.events.get() + 1;
        self.seen.events.set(events);
        if events >= self.seen.expected.get() {
            self.seen.last.set(nanoseconds());
            self.seen.changed.notify_one();
        }
    }
}

fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        number = Some(number.unwrap_or(0) * 10 + u64::from(digit - b'0'));
    }
    number
}

/// The time by the clock that Node's `process.hrtime()` has.
fn nanoseconds() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let since = Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
