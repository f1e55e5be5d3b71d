//! Subscriptions to the sentinels: they announce when another node becomes the master.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::transport::redis::buffer::write_names;
use crate::transport::redis::connect::{Address, Endpoint, Loss, RedisTarget, Sentinels, parse_address};
use crate::transport::redis::connection::{Backoff, Connection, Opened, Whereabouts};
use crate::transport::resp::{ProtocolError, Reply};

/// The first wait before a lost watch is made again, and the longest: a sentinel that is listed and gone for good
/// costs next to nothing.
const WATCH_BASE: Duration = Duration::from_millis(100);
const WATCH_CAP: Duration = Duration::from_secs(10);

const SWITCH: &[u8] = b"+switch-master";

/// Where the master is, by what a sentinel has just said.
pub(super) struct Master {
    pub(super) address: Address,
    /// Whether it was known to be elsewhere: who is on the way may be on the way there.
    moved: bool,
    /// Whether the sentinel has announced it. Else it was asked, and may be the only one that is behind.
    announced: bool,
    sentinels: Arc<Sentinels>,
}

impl Master {
    /// Returns whether a connection goes elsewhere, or may be about to, and is to be given up for this master.
    pub(super) fn is_missed_by(&self, connection: &Connection) -> bool {
        match connection.whereabouts() {
            Whereabouts::At(address) => self.replaces(address),
            Whereabouts::OnItsWay => self.moved,
            Whereabouts::Nowhere => false,
        }
    }

    /// Returns whether a connection that goes to `address` is to be given up for this master.
    fn replaces(&self, address: &Address) -> bool {
        let Self { sentinels, .. } = self;
        *address != self.address
            && (self.announced || sentinels.votes(&self.address) > sentinels.votes(address))
    }
}

/// Subscriptions to all sentinels of a master. A master that hangs, or that is cut off along with the sentinel
/// beside it, leaves its connections standing; the other sentinels tell.
pub(super) struct Watches {
    watches: Vec<Watch>,
    /// What was last said, and believed.
    master: Option<Address>,
}

impl Watches {
    /// Returns watches that are not wanted yet, or none where there are no sentinels.
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let watches = match endpoint {
            Endpoint::Sentinels(sentinels) => {
                let watch = |node| Watch::new(Arc::clone(sentinels), node);
                sentinels.in_turn().into_iter().map(watch).collect()
            }
            Endpoint::Fixed(_) => Vec::new(),
        };
        Self { watches, master: None }
    }

    /// Wants them.
    pub(super) fn open(&mut self) {
        self.watches.iter_mut().for_each(|watch| watch.connection.open());
    }

    /// Drops them, and wants them no more.
    pub(super) fn close(&mut self) {
        self.master = None;
        self.watches.iter_mut().for_each(Watch::close);
    }

    /// Asks them for signs of life.
    pub(super) fn pulse(&mut self) {
        self.watches.iter_mut().for_each(Watch::pulse);
    }

    /// Becomes ready each time a sentinel says where the master is. To be polled until it is not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Master> {
        for watch in &mut self.watches {
            if let Poll::Ready(Told { address, announced }) = watch.poll(cx) {
                let sentinels = Arc::clone(&watch.sentinels);
                let mut master = Master { address, moved: false, announced, sentinels };
                master.moved = self.master.as_ref().is_some_and(|before| master.replaces(before));
                if master.moved || self.master.is_none() {
                    self.master = Some(master.address.clone());
                }
                if master.moved {
                    // The others may not have heard of it.
                    master.sentinels.prefer(&watch.node);
                }
                return Poll::Ready(master);
            }
        }
        Poll::Pending
    }
}

/// What a watched sentinel says.
struct Told {
    address: Address,
    announced: bool,
}

type Asking = Pin<Box<dyn Future<Output = Result<Option<Address>, String>> + Send>>;

/// The subscription to one sentinel.
struct Watch {
    sentinels: Arc<Sentinels>,
    node: Arc<Address>,
    connection: Connection,
    /// Whether the subscription stands.
    stands: bool,
    /// What this sentinel said while the subscription did not hold has to be asked for.
    asking: Option<Asking>,
}

impl Watch {
    fn new(sentinels: Arc<Sentinels>, node: Arc<Address>) -> Self {
        let backoff = Backoff::new(WATCH_BASE, WATCH_CAP);
        let target = RedisTarget::new(Address::clone(&node), sentinels.settings().clone());
        let connection = Connection::with_backoff(Arc::new(target), backoff);
        Self { sentinels, node, connection, stands: false, asking: None }
    }

    fn close(&mut self) {
        *self = Self::new(Arc::clone(&self.sentinels), Arc::clone(&self.node));
    }

    fn pulse(&mut self) {
        // Until the subscription stands an error is about that.
        if self.stands && self.connection.pulse() {
            write_names(self.connection.commands.commands(), "PING", []);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        loop {
            match self.advance(cx) {
                Ok(told) => return told,
                // Polled again for the timer of the next attempt.
                Err(_) => {
                    self.asking = None;
                    self.stands = false;
                    self.sentinels.note(&self.node, None);
                    self.connection.lose();
                }
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Result<Poll<Told>, Loss> {
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    write_names(self.connection.commands.commands(), "SUBSCRIBE", [SWITCH]);
                }
            }
        }
        self.connection.poll_flush(cx)?;
        loop {
            while let Some(reply) = self.connection.next_reply()? {
                match reply {
                    Reply::Message(message) => {
                        if let Some(address) = new_master(self.sentinels.name(), message.payload)? {
                            self.sentinels.note(&self.node, Some(address.clone()));
                            self.asking = None;
                            return Ok(Poll::Ready(Told { address, announced: true }));
                        }
                    }
                    Reply::Array(_) if self.stands => {}
                    Reply::Error(_) if self.stands => {}
                    Reply::Array(_) => {
                        self.stands = true;
                        let (sentinels, node) = (Arc::clone(&self.sentinels), Arc::clone(&self.node));
                        self.asking = Some(Box::pin(async move { sentinels.ask(&node).await }));
                    }
                    Reply::Error(error) => {
                        return Err(Loss::Refused(String::from_utf8_lossy(error).into_owned()));
                    }
                    _ => return Err(ProtocolError::Unexpected.into()),
                }
            }
            if let Some(asking) = &mut self.asking
                && let Poll::Ready(answer) = asking.as_mut().poll(cx)
            {
                self.asking = None;
                match answer {
                    Ok(Some(address)) => return Ok(Poll::Ready(Told { address, announced: false })),
                    // It tells when it comes to know one.
                    Ok(None) => {}
                    Err(problem) => return Err(Loss::Refused(problem)),
                }
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(filled) => filled?,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }
}

/// Returns where the master of this name is now: `name old-host old-port new-host new-port`, of any master.
fn new_master(name: &str, payload: &[u8]) -> Result<Option<Address>, ProtocolError> {
    let mut words = payload.split(|&byte| byte == b' ');
    if words.next() != Some(name.as_bytes()) {
        return Ok(None);
    }
    match (words.nth(2), words.next()) {
        (Some(host), Some(port)) => parse_address(host, port).map(Some),
        _ => Err(ProtocolError::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_of_one_master() {
        let payload = b"mymaster 10.0.0.1 6379 10.0.0.2 6380";
        let expected = Address::Tcp { host: "10.0.0.2".to_owned(), port: 6380 };
        assert_eq!(new_master("mymaster", payload), Ok(Some(expected)));
        assert_eq!(new_master("my", payload), Ok(None));
        for payload in [&b"mymaster"[..], b"mymaster a 1 b", b"mymaster a 1 b 65536", b"mymaster a 1 \xff 1"]
        {
            assert_eq!(new_master("mymaster", payload), Err(ProtocolError::Unexpected));
        }
    }
}
