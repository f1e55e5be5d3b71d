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

/// The first and the longest wait before a lost subscription is made again. A sentinel that is listed but
/// gone for good costs next to nothing.
const WATCH_BASE: Duration = Duration::from_millis(100);
const WATCH_CAP: Duration = Duration::from_secs(10);

const SWITCH: &[u8] = b"+switch-master";

/// The master that a sentinel has just named.
pub(super) struct Master {
    pub(super) address: Address,
    /// Whether the master was known to be elsewhere: a connection that is being opened may go to the old one.
    moved: bool,
    /// Whether the sentinel has announced a switch. Otherwise it was only asked, and may be the only one that
    /// is out of date.
    announced: bool,
    sentinels: Arc<Sentinels>,
}

impl Master {
    /// Returns whether to give up a connection because of this master: it goes elsewhere, or may be about to.
    pub(super) fn is_missed_by(&self, connection: &Connection) -> bool {
        match connection.whereabouts() {
            Whereabouts::At(address) => self.replaces(address),
            Whereabouts::OnItsWay => self.moved,
            Whereabouts::Nowhere => false,
        }
    }

    /// Returns whether to give up a connection to `address` because of this master.
    fn replaces(&self, address: &Address) -> bool {
        let Self { sentinels, .. } = self;
        *address != self.address
            && (self.announced || sentinels.votes(&self.address) > sentinels.votes(address))
    }
}

/// Subscriptions to all sentinels of a master. If a master hangs, or is cut off together with the sentinel
/// next to it, its connections stay open. The other sentinels tell.
pub(super) struct Watches {
    watches: Vec<Watch>,
    /// The master that was named last, and believed.
    master: Option<Address>,
}

impl Watches {
    /// Returns subscriptions that are not wanted yet; none if there are no sentinels.
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

    /// Drops them. They are not wanted any more.
    pub(super) fn close(&mut self) {
        self.master = None;
        self.watches.iter_mut().for_each(Watch::close);
    }

    /// Asks them for signs of life.
    pub(super) fn pulse(&mut self) {
        self.watches.iter_mut().for_each(Watch::pulse);
    }

    /// Becomes ready each time a sentinel names the master. Poll it until it is pending.
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
                    // The other sentinels may not know the new master yet.
                    master.sentinels.prefer(&watch.node);
                }
                return Poll::Ready(master);
            }
        }
        Poll::Pending
    }
}

/// What a sentinel says.
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
    /// Whether the sentinel has confirmed the subscription.
    stands: bool,
    /// The question for a switch that may have happened while there was no subscription.
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
        // Until the subscription is confirmed, an error means that it is refused.
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
                    // It will announce a master as soon as it knows one.
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

/// Reads `name old-host old-port new-host new-port`, which is announced for any master. Returns the new
/// address of the master of this name.
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
