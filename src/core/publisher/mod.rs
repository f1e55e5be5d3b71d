//! The messages that the link publishes: when they may go out, which wait meanwhile, and how many are in flight.

mod backlog;
pub(super) mod flow;
mod flush_points;
mod healing;

use super::context::{Config, Context};
use super::effects::Effects;
use super::event::Event;
use super::members::Members;
use super::stats::Stats;
use super::streams::StreamId;
use flow::Flow;
use flush_points::{Entries, FlushPoints};

/// The messages of a link on their way out.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Whether messages may go out, and those that wait.
    pub(super) flow: Flow,
    flush_points: FlushPoints,
    /// The link is shut: messages are dropped and counted.
    shut: bool,
    /// How many messages and entries were lost before they were with the kernel.
    unwritten: u64,
    /// How many messages of JS have been seen.
    seen: u64,
    /// What JS was last told: whether messages go out at once, and how many of its own were seen.
    told: (bool, u64),
}

impl Publisher {
    /// A publisher of a link that is not connected.
    pub(super) fn new(config: &Config) -> Self {
        Publisher {
            flow: Flow::new(config.max_backlog, config.proof.is_none(), config.settle),
            flush_points: FlushPoints::default(),
            shut: false,
            unwritten: 0,
            seen: 0,
            told: (false, 0),
        }
    }

    /// The user's client has published a message without the link, and nobody could hear it: it waits for the peers like
    /// a message that a transport has given back.
    pub(super) fn publish_again(
        &mut self,
        channel: &[u8],
        bytes: &[u8],
        members: &Members,
        cx: &mut Context<'_>,
    ) {
        if self.shut {
            cx.stats.dropped += 1;
            return;
        }
        self.flush_points.returned();
        let dropped = self.flow.give_back(channel, bytes);
        self.flush_points.no_longer_wait(dropped);
        // A wait that is about to end looks once more: an earlier count does not show who has missed this message.
        let missed = if self.flow.is_waiting() { Vec::new() } else { members.with_peers() };
        self.flow.heal(cx.now(), missed);
    }

    /// Sorts the messages in [`Effects::publishes`]: those that may go out stay there, the others go to the backlog. `room`
    /// is how many bytes the transport takes now; returns how many it takes besides. `settled` says whether Redis has
    /// answered for so many entries of a stream.
    pub(super) fn release(
        &mut self,
        mut room: usize,
        settled: impl Fn(StreamId, u64) -> bool,
        fx: &mut Effects,
    ) -> usize {
        let open = self.flow.is_open();
        let mut messages = self.pass_flush_points(&settled, fx);
        if !open || !self.flow.backlog.is_empty() || room == 0 || fx.publishes.len() > messages {
            let dropped = self.flow.backlog.dropped();
            for (owner, (channel, payload)) in fx.publishes.owners().zip(fx.publishes.iter()) {
                self.flow.backlog.push(owner, channel, payload);
            }
            fx.publishes.clear();
            self.flush_points.no_longer_wait(self.flow.backlog.dropped() - dropped);
            messages = self.pass_flush_points(&settled, fx);
        }
        if open {
            while room > 0 && fx.publishes.len() < messages {
                let Some(message) = self.flow.backlog.pop() else {
                    break;
                };
                let (channel, payload) = message.parts();
                room = room.saturating_sub(channel.len() + payload.len());
                fx.publishes.push_bytes(message.owner, channel, payload);
            }
        }
        self.flush_points.released(fx.publishes.len());
        room
    }

    /// Answers the calls whose flush points are reached. Returns how many messages may be released.
    fn pass_flush_points(&mut self, settled: &impl Fn(StreamId, u64) -> bool, fx: &mut Effects) -> usize {
        while let Some(token) = self.flush_points.take_reached(settled) {
            fx.batch.count(0, token, 0);
        }
        let room = self.flush_points.room().unwrap_or(usize::MAX);
        room.min(self.flow.room(self.flush_points.is_answered(), fx.now))
    }

    /// Has a call wait until Redis has answered for all that was published by now, and for these entries of streams.
    pub(super) fn when_answered(&mut self, token: u32, entries: Entries, fx: &Effects) {
        let waiting = self.flow.backlog.len() + fx.publishes.len();
        self.flush_points.add(waiting, entries, token);
    }

    // --- in flight -------------------------------------------------------------------------------------

    /// Redis has answered a publish for good.
    pub(super) fn answered(&mut self) {
        self.flush_points.answered(1);
        self.flow.accepted();
    }

    /// A publish has come back: it waits until the peers are there.
    pub(super) fn returned(
        &mut self,
        channel: &[u8],
        payload: &[u8],
        members: &Members,
        cx: &mut Context<'_>,
    ) {
        cx.stats.published = cx.stats.published.saturating_sub(1);
        self.flush_points.answered(1);
        self.publish_again(channel, payload, members, cx);
    }

    /// The link is lost, with publishes that Redis has not answered, and others that were not written.
    pub(super) fn down(&mut self, unanswered: u64, unwritten: u64, stats: &mut Stats) {
        self.flush_points.answered(unanswered + unwritten);
        stats.lost_in_flight += unanswered + unwritten;
        self.unwritten += unwritten;
        stats.outages += u64::from(self.flow.is_connected());
        self.flow.down();
    }

    /// Nobody will answer for the messages that were handed to the transport.
    pub(super) fn lose_in_flight(&mut self, stats: &mut Stats) {
        stats.lost_in_flight += self.flush_points.lose_all();
    }

    /// Whether Redis has answered for all that was handed to the transport.
    pub(super) fn is_answered(&self) -> bool {
        self.flush_points.is_answered()
    }

    // --- the end ---------------------------------------------------------------------------------------

    /// Says whether the link is shut for good, as far as anyone knows.
    pub(super) fn set_shut(&mut self, shut: bool) {
        self.shut = shut;
        if shut {
            self.flow.backlog.clear();
            self.flush_points.nothing_waits();
        }
    }

    /// Whether the link is shut.
    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Drops the messages in [`Effects::publishes`] if the link is shut.
    pub(super) fn drop_if_shut(&mut self, cx: &mut Context<'_>) {
        if self.shut {
            cx.stats.dropped += cx.fx.publishes.len() as u64;
            cx.fx.publishes.clear();
            self.flush_points.nothing_waits();
        }
    }

    /// So many entries of streams were lost before anybody knew what became of them.
    pub(super) fn lose_entries(&mut self, count: u64) {
        self.unwritten += count;
    }

    /// How many messages and entries were lost before they were with the kernel.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Whether commands reach the Redis of the user's clients now.
    pub(super) fn reaches_redis(&self) -> bool {
        !self.shut && self.flow.is_connected() && self.flow.is_proven()
    }

    // --- told to JS ------------------------------------------------------------------------------------

    /// A message of JS has been seen, of whatever kind.
    pub(super) fn saw_message(&mut self) {
        self.seen += 1;
    }

    /// How many messages of JS have been seen.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Tells JS if messages go out at once now, or no longer do. Where the user's clients carry the bytes, JS may then
    /// hand them what it publishes by itself, if none of its messages to the link is still on the way: it is told how
    /// many were seen.
    pub(super) fn tell_flowing(&mut self, by_clients: bool, cx: &mut Context<'_>) {
        let flowing = self.flow.is_open() && self.flow.backlog.is_empty();
        let (was_flowing, told_seen) = self.told;
        if flowing != was_flowing || (by_clients && flowing && self.seen != told_seen) {
            self.told = (flowing, self.seen);
            cx.event(0, &Event::Flowing { flowing, seen: self.seen });
        }
    }
}
