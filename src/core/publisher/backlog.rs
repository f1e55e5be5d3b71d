//! The messages that wait to be published, within a bound.

use std::collections::VecDeque;

use crate::core::effects::MemberId;

/// A message that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct BacklogMessage {
    /// Its member; 0 if the member has left, or is not known any more.
    pub owner: MemberId,
    /// The channel and the payload.
    bytes: Box<[u8]>,
    /// Where the payload begins.
    payload: usize,
}

impl BacklogMessage {
    /// How much memory a message takes beyond its bytes: its place in the queue, and the allocator's own.
    pub(super) const OVERHEAD: usize = size_of::<BacklogMessage>() + 16;

    fn new(owner: MemberId, channel: &[u8], payload: &[u8]) -> Self {
        BacklogMessage { owner, bytes: [channel, payload].concat().into(), payload: channel.len() }
    }

    /// Its channel and its payload.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at_checked(self.payload).unwrap_or_default()
    }

    fn held(&self) -> usize {
        self.bytes.len() + BacklogMessage::OVERHEAD
    }
}

/// The messages that wait, oldest first, within a bound of bytes: at the bound the oldest give way.
#[derive(Debug)]
pub struct Backlog {
    messages: VecDeque<BacklogMessage>,
    /// Messages that were published and came back: they go before the others.
    returned: VecDeque<BacklogMessage>,
    /// Messages that have come back since one was last taken: they were published before those in `returned`.
    latest: VecDeque<BacklogMessage>,
    /// How many bytes all of these take.
    held: usize,
    bound: usize,
    dropped: u64,
}

impl Backlog {
    pub(super) fn new(bound: usize) -> Self {
        Backlog {
            messages: VecDeque::new(),
            returned: VecDeque::new(),
            latest: VecDeque::new(),
            held: 0,
            bound,
            dropped: 0,
        }
    }

    /// Adds a message, dropping the oldest ones for it.
    pub fn push(&mut self, owner: MemberId, channel: &[u8], payload: &[u8]) {
        let message = BacklogMessage::new(owner, channel, payload);
        self.held += message.held();
        self.messages.push_back(message);
        self.give_way();
    }

    /// Adds a message that has come back. It was published before all others that wait, except those that have also come
    /// back since a message was last taken.
    pub fn give_back(&mut self, channel: &[u8], payload: &[u8]) {
        let message = BacklogMessage::new(0, channel, payload);
        self.held += message.held();
        self.latest.push_back(message);
        self.give_way();
    }

    fn give_way(&mut self) {
        while self.held > self.bound && self.take().is_some() {
            self.dropped += 1;
        }
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<BacklogMessage> {
        while let Some(message) = self.latest.pop_back() {
            self.returned.push_front(message);
        }
        self.take()
    }

    fn take(&mut self) -> Option<BacklogMessage> {
        let queues = [&mut self.latest, &mut self.returned, &mut self.messages];
        let message = queues.into_iter().find_map(VecDeque::pop_front)?;
        self.held -= message.held();
        for queue in [&mut self.messages, &mut self.returned, &mut self.latest] {
            if queue.is_empty() {
                queue.shrink_to(64);
            }
        }
        Some(message)
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.dropped += self.len() as u64;
        self.messages = VecDeque::new();
        self.returned = VecDeque::new();
        self.latest = VecDeque::new();
        self.held = 0;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.messages.len() + self.returned.len() + self.latest.len()
    }

    /// How many were dropped, ever.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_at_the_bound() {
        let mut backlog = Backlog::new(2 * (4 + BacklogMessage::OVERHEAD));
        backlog.push(1, b"c", b"123");
        backlog.push(2, b"c", b"456");
        backlog.push(3, b"c", b"789");
        assert_eq!(backlog.dropped(), 1);
        let message = backlog.pop().unwrap();
        assert_eq!((message.owner, message.parts()), (2, (&b"c"[..], &b"456"[..])));
        backlog.push(4, b"c", &[b'x'; 1000]);
        assert!(backlog.is_empty());
        assert_eq!(backlog.dropped(), 3);
    }

    #[test]
    fn what_a_message_takes_counts_and_not_only_its_bytes() {
        let mut backlog = Backlog::new(1 << 20);
        for _ in 0..100_000 {
            backlog.push(1, b"channel", b"payload");
        }
        let taken = backlog.messages.capacity() * size_of::<BacklogMessage>() + backlog.len() * (14 + 16);
        assert!(taken < 2 << 20, "{taken}: at most twice the bound, while the queue grows");
        assert_eq!(backlog.dropped() + backlog.len() as u64, 100_000);
    }

    #[test]
    fn what_a_burst_has_taken_is_given_back() {
        let mut backlog = Backlog::new(1 << 20);
        for _ in 0..2000 {
            backlog.push(1, b"c", b"waits");
            backlog.give_back(b"c", b"came back");
        }
        while backlog.pop().is_some() {}
        for queue in [&backlog.messages, &backlog.returned, &backlog.latest] {
            assert!(queue.capacity() <= 128, "{}", queue.capacity());
        }
        assert_eq!(backlog.dropped(), 0);
    }

    #[test]
    fn what_comes_back_again_goes_before_what_has_not_gone_out_since() {
        let mut backlog = Backlog::new(1 << 20);
        backlog.push(1, b"c", b"5");
        for payload in [b"1", b"2", b"3", b"4"] {
            backlog.give_back(b"c", payload);
        }
        for _ in 0..2 {
            let two: Vec<BacklogMessage> = (0..2).filter_map(|_| backlog.pop()).collect();
            for message in &two {
                let (channel, payload) = message.parts();
                backlog.give_back(channel, payload);
            }
        }
        let order: Vec<_> =
            std::iter::from_fn(|| backlog.pop()).map(|message| message.parts().1[0]).collect();
        assert_eq!(order, b"12345");
    }

    #[test]
    fn the_oldest_of_what_comes_back_gives_way_and_the_rest_stays_in_order() {
        let each = 2 + BacklogMessage::OVERHEAD;
        let mut backlog = Backlog::new(3 * each);
        backlog.push(1, b"c", b"6");
        for payload in [b"1", b"2", b"3", b"4", b"5"] {
            backlog.give_back(b"c", payload);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| backlog.pop()).map(|message| message.parts().1[0]).collect();
        assert_eq!((order.as_slice(), backlog.dropped()), (&b"456"[..], 3));
    }
}
