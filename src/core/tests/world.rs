//! A Redis of the core's tests that answers within a millisecond, in a time that passes as the test wants it.

use std::time::{Duration, Instant};

use crate::core::effects::{Change, Effects, MemberId};
use crate::core::member::{MemberSpec, SubscriptionMode};
use crate::core::{Config, Core};
use crate::transport::Incoming;
use crate::wire::Family;

/// How long Redis takes for an answer.
const ANSWER: Duration = Duration::from_millis(1);

/// A link, and what it has asked of Redis.
pub(in crate::core) struct World {
    pub(in crate::core) core: Core,
    pub(in crate::core) fx: Effects,
    /// How many counts Redis was asked for.
    pub(in crate::core) counts: usize,
    /// How many names they had.
    pub(in crate::core) names: usize,
    /// What went out: channel and payload.
    pub(in crate::core) published: Vec<(String, String)>,
    /// Whether Redis confirms subscriptions by itself, and not only when the test wants it.
    pub(in crate::core) confirms: bool,
    up: bool,
}

impl World {
    /// A link whose members speak `family`, with Redis up.
    pub(in crate::core) fn new(family: Family) -> Self {
        World::with_subscribers(family, true)
    }

    /// The same, carried by users' clients.
    pub(in crate::core) fn by_clients(family: Family) -> Self {
        World::with_subscribers(family, false)
    }

    fn with_subscribers(family: Family, opens_subscribers: bool) -> Self {
        let config = Config { max_backlog: 32 << 20, ..Config::of(family) };
        let mut world = World {
            core: Core::new(config, opens_subscribers),
            fx: Effects::new(Instant::now()),
            counts: 0,
            names: 0,
            published: Vec::new(),
            confirms: true,
            up: false,
        };
        world.up();
        world
    }

    /// Members 1 to `count` join, with a namespace each.
    pub(in crate::core) fn join(&mut self, count: MemberId) {
        for id in 1..=count {
            self.join_one(id);
        }
    }

    /// A member joins.
    pub(in crate::core) fn join_one(&mut self, id: MemberId) {
        self.core.join(id, spec_of(&format!("/{id}")), &mut self.fx);
    }

    /// A member joins whose rooms have channels of their own.
    pub(in crate::core) fn join_dynamic(&mut self, id: MemberId) {
        let spec = MemberSpec { mode: SubscriptionMode::Dynamic, ..spec_of(&format!("/{id}")) };
        self.core.join(id, spec, &mut self.fx);
    }

    /// Redis is there again, and has what this link subscribes to.
    pub(in crate::core) fn up(&mut self) {
        self.up = true;
        self.core.incoming(Incoming::Up, &mut self.fx);
    }

    /// Redis is away.
    pub(in crate::core) fn down(&mut self) {
        self.up = false;
        self.core.incoming(Incoming::Down { reason: "gone", unanswered: 0, unwritten: 0 }, &mut self.fx);
    }

    /// What was asked is no longer known.
    pub(in crate::core) fn forget(&mut self) {
        (self.counts, self.names) = (0, 0);
        self.published.clear();
    }

    /// Redis confirms all subscriptions.
    pub(in crate::core) fn confirm(&mut self) {
        for id in self.core.messaging.members.ids() {
            let (subscriber, names) = {
                let member = self.core.member(id);
                (member.subscriber, member.vital())
            };
            for (name, _) in names {
                let (kind, name) = (name.kind, &name.name);
                self.core.incoming(Incoming::Subscribed { subscriber, kind, name }, &mut self.fx);
            }
        }
    }

    /// Member 1 hears something on the channel of its requests.
    pub(in crate::core) fn hear(&mut self, payload: &[u8]) {
        let counted = self.core.member(1).routing.channels.counted();
        let (subscriber, kind, name) = (self.core.member(1).subscriber, counted.kind, &counted.name);
        self.core
            .incoming(Incoming::Message { subscriber, kind, name, channel: name, payload }, &mut self.fx);
    }

    /// Publishes something of a member that is no entry of a stream.
    pub(in crate::core) fn ask(&mut self, id: MemberId) {
        self.core.send(id, &crate::core::Destination::Request, b"anything", &mut self.fx);
    }

    /// Publishes an event of a member.
    pub(in crate::core) fn emit(&mut self, id: MemberId) {
        let nsp = format!("42/{id},[\"e\"]");
        let emit = crate::core::Emit {
            payload: nsp.as_bytes(),
            attachments: &[],
            room: None,
            opts: None,
            takes_room_channel: false,
        };
        self.core.broadcast(id, &emit, &mut self.fx);
    }

    /// Time passes; `subscribers` says how many have a channel.
    pub(in crate::core) fn pass(&mut self, time: Duration, subscribers: &dyn Fn(&str) -> u64) {
        self.pass_until(time, subscribers, |_| false);
    }

    /// The same until `done`; returns how long that took, or `time` if it did not come.
    pub(in crate::core) fn pass_until(
        &mut self,
        time: Duration,
        subscribers: &dyn Fn(&str) -> u64,
        done: impl Fn(&World) -> bool,
    ) -> Duration {
        let (began, end) = (self.fx.now, self.fx.now + time);
        loop {
            self.settle(subscribers);
            if done(self) {
                return self.fx.now - began;
            }
            match self.core.deadline() {
                Some(due) if due < end => self.fx.now = self.fx.now.max(due),
                _ => break,
            }
            self.core.tick(&mut self.fx);
        }
        self.fx.now = self.fx.now.max(end);
        self.core.tick(&mut self.fx);
        self.settle(subscribers);
        time
    }

    /// What the core wants done is done, until it wants nothing more.
    fn settle(&mut self, subscribers: &dyn Fn(&str) -> u64) {
        loop {
            self.core.follow_rooms(&mut self.fx);
            self.core.release(1 << 20, &mut self.fx);
            let publishes: Vec<(String, String)> =
                self.fx.publishes.iter().map(|(channel, payload)| (text(channel), text(payload))).collect();
            self.fx.publishes.clear();
            let counts = std::mem::take(&mut self.fx.counts);
            let subscriptions = std::mem::take(&mut self.fx.subscriptions);
            self.fx.batch.clear();
            if publishes.is_empty() && counts.is_empty() && subscriptions.is_empty() {
                return;
            }
            for (subscriber, change, name) in subscriptions {
                if self.up && self.confirms && change == Change::Add {
                    let (kind, name) = (name.kind, &name.name);
                    self.core.incoming(Incoming::Subscribed { subscriber, kind, name }, &mut self.fx);
                }
            }
            for _ in 0..publishes.len() {
                self.core.incoming(Incoming::Published { receivers: 1 }, &mut self.fx);
            }
            self.published.extend(publishes);
            if !counts.is_empty() {
                self.fx.now += ANSWER;
            }
            for (token, channels) in counts {
                self.counts += 1;
                self.names += channels.len();
                let is_for_clients = self.core.is_by_clients() && self.core.family() == Family::Sharded;
                assert!(is_for_clients || !channels.is_empty(), "Redis is asked for nothing");
                let counts: Vec<u64> = channels.iter().map(|channel| subscribers(&text(channel))).collect();
                let counts = self.up.then_some(counts.as_slice());
                self.core.incoming(Incoming::Counted { token, counts }, &mut self.fx);
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn spec_of(nsp: &str) -> MemberSpec {
    MemberSpec {
        uid: "myself".into(),
        nsp: nsp.into(),
        prefix: "p".into(),
        custom_parser: false,
        specific_responses: false,
        mode: SubscriptionMode::Static,
        frames: true,
        stream: None,
        emitter: None,
        joins: Default::default(),
    }
}
