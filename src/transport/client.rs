//! The user's own JS clients carry the bytes: what has to be done becomes tasks for JS, and JS reports the
//! results.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::Notify;

use super::passing::passing;
use super::resp::{Reply, Scanner};
use super::{Incoming, KeyCommand, Outcome, Subscriber, Subscription, Transport, Trial};

/// Something for JS to do with the user's clients.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Publish; to be answered by [`Report::Published`], [`Report::PublishFailed`] or [`Report::Returned`].
    Publish {
        /// How many publishes had been returned before. If JS has returned more of them by now, this publish
        /// would overtake those.
        returned: u64,
        /// The channel.
        channel: Vec<u8>,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// Subscribe; to be answered by [`Report::Subscribed`] or [`Report::SubscribeFailed`].
    Subscribe(Subscription),
    /// Unsubscribe.
    Unsubscribe(Subscription),
    /// Count the subscribers of channels; to be answered by [`Report::Counted`].
    Count {
        /// The token to answer with.
        token: u64,
        /// The channels.
        channels: Vec<Vec<u8>>,
    },
    /// Run a command; to be answered by [`Report::Replied`].
    Command(KeyCommand),
    /// Close the client of a reader.
    CloseReader(usize),
}

/// What JS reports. Messages do not come this way: JS hands them directly to the core.
#[derive(Debug)]
pub enum Report {
    /// The client is connected.
    Up,
    /// The client is not connected. Tasks wait until it is.
    Down {
        /// Why.
        reason: String,
    },
    /// The client is connected, but Redis accepts nothing for now.
    Held {
        /// Redis' own words.
        reason: String,
    },
    /// A subscription holds.
    Subscribed(Subscription),
    /// A subscription could not be made.
    SubscribeFailed {
        /// The client's words.
        error: String,
    },
    /// A publish is done.
    Published {
        /// How many subscribers got it.
        receivers: u64,
    },
    /// A publish failed.
    PublishFailed {
        /// The client's words.
        error: String,
    },
    /// A publish reached nobody, but would have reached somebody at the right node: it has to be published
    /// again.
    Returned {
        /// The channel.
        channel: Vec<u8>,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// The same for a publish of the user's client that did not come from here: the core has it already.
    ReturnedToCore,
    /// A subscription no longer holds. JS subscribes again by itself.
    Lost {
        /// Which one.
        subscription: Subscription,
        /// What went wrong, for the operator.
        reason: String,
        /// How long messages may have been missed by then, in milliseconds.
        silence: u64,
        /// When JS reported it.
        at: Instant,
    },
    /// The answer to a count.
    Counted {
        /// The token of the count.
        token: u64,
        /// The counts; or the error of Redis, if there was an answer.
        counts: Result<Vec<u64>, Option<String>>,
    },
    /// The end of a command.
    Replied {
        /// Its token.
        token: u64,
        /// The reply of Redis in RESP2; or why there is none.
        reply: Result<Vec<u8>, String>,
    },
}

/// The transport of the user's clients.
#[derive(Debug, Default)]
pub struct ClientTransport {
    tasks: Vec<Task>,
    reports: VecDeque<Report>,
    changed: Notify,
    /// Publishes that JS has not reported on.
    carried: usize,
    /// Publishes that JS has returned.
    returned: u64,
}

impl ClientTransport {
    /// Takes a report of JS. [`Transport::incoming`] passes it on.
    pub fn report(&mut self, report: Report) {
        if matches!(report, Report::Published { .. } | Report::PublishFailed { .. } | Report::Returned { .. })
        {
            self.carried = self.carried.saturating_sub(1);
        }
        self.reports.push_back(report);
        self.changed.notify_one();
    }

    /// The clients have ended: JS will not report on anything that is still open.
    pub fn abandon(&mut self) {
        self.carried = 0;
    }

    /// Returns what JS has to do, in order.
    pub fn tasks(&mut self) -> std::vec::Drain<'_, Task> {
        self.tasks.drain(..)
    }
}

impl Transport for ClientTransport {
    fn opens_subscribers(&self) -> bool {
        false
    }

    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        self.carried += 1;
        let (channel, payload) = (channel.to_vec(), payload.to_vec());
        self.tasks.push(Task::Publish { returned: self.returned, channel, payload });
    }

    /// The number of publishes that JS has not reported on, instead of their bytes: JS holds those that wait.
    fn unwritten(&self) -> usize {
        self.carried
    }

    fn subscribe(&mut self, _subscriber: Subscriber, names: Vec<Subscription>) {
        self.tasks.extend(names.into_iter().map(Task::Subscribe));
    }

    fn unsubscribe(&mut self, _subscriber: Subscriber, names: Vec<Subscription>) {
        self.tasks.extend(names.into_iter().map(Task::Unsubscribe));
    }

    fn count(&mut self, token: u64, channels: &[&[u8]]) {
        let channels = channels.iter().map(|channel| channel.to_vec()).collect();
        self.tasks.push(Task::Count { token, channels });
    }

    fn command(&mut self, command: KeyCommand) {
        self.tasks.push(Task::Command(command));
    }

    fn close_reader(&mut self, reader: usize) {
        self.tasks.push(Task::CloseReader(reader));
    }

    /// Does nothing: the user's client cannot be paused without pausing everything else that it receives. JS
    /// finishes its work on earlier messages before it hands over new ones (`lib/link/carrier.js`).
    fn pause(&mut self, _paused: bool) {}

    async fn incoming(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        while self.reports.is_empty() {
            self.changed.notified().await;
        }
        while let Some(report) = self.reports.pop_front() {
            match &report {
                Report::Up => sink(Incoming::Up),
                Report::Down { reason } => {
                    sink(Incoming::Down { reason, unanswered: 0, unwritten: 0 });
                }
                Report::Held { reason } => sink(Incoming::Held { reason, trial: Trial::Brief }),
                Report::Subscribed(Subscription { kind, name }) => {
                    sink(Incoming::Subscribed { subscriber: 0, kind: *kind, name });
                }
                Report::SubscribeFailed { error } => {
                    sink(Incoming::SubscribeRefused { subscriber: 0, error })
                }
                Report::Published { receivers } => sink(Incoming::Published { receivers: *receivers }),
                Report::PublishFailed { error } => sink(Incoming::PublishRefused { error }),
                Report::Returned { channel, payload } => {
                    self.returned += 1;
                    sink(Incoming::Returned { channel, payload });
                }
                Report::ReturnedToCore => self.returned += 1,
                Report::Lost { subscription: Subscription { kind, name }, reason, silence, at } => {
                    let waited = u64::try_from(at.elapsed().as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
                    let silence = silence.saturating_add(waited);
                    sink(Incoming::Unsubscribed { subscriber: 0, kind: *kind, name, reason, silence });
                }
                Report::Counted { token, counts } => {
                    let token = *token;
                    sink(match counts {
                        Ok(counts) => Incoming::Counted { token, counts: Some(counts) },
                        Err(Some(error)) if passing(error.as_bytes()).is_none() => {
                            Incoming::CountRefused { token, error }
                        }
                        Err(_) => Incoming::Counted { token, counts: None },
                    });
                }
                Report::Replied { token, reply } => {
                    let outcome = match reply {
                        Ok(bytes) => match read(bytes) {
                            Some(reply) => Outcome::Replied(reply),
                            None => Outcome::Lost { reason: "the client's reply makes no sense" },
                        },
                        Err(reason) => Outcome::Lost { reason },
                    };
                    sink(Incoming::Replied { token: *token, outcome });
                }
            }
        }
    }
}

/// Reads a reply that JS has written; `None` if it is incomplete.
fn read(bytes: &[u8]) -> Option<Reply<'_>> {
    let whole = Scanner::default().scan(bytes).ok().flatten()? == bytes.len();
    if whole { Reply::of(bytes).ok() } else { None }
}
