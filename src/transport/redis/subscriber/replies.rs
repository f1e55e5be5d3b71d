//! Replies on a subscriber connection.

use super::sent::{Confirmed, SentCommand, Verb, confirm, take_redirected};
use super::{Holding, PORTION, SubscriberConnection, WITHDRAWN};
use crate::transport::passing::{Passing, passing};
use crate::transport::redis::connect::Loss;
use crate::transport::redis::slot::Redirect;
use crate::transport::resp::{ProtocolError, Reply};
use crate::transport::{Incoming, Subscription};

impl SubscriberConnection {
    /// Reports all complete replies. Returns whether there was something to report.
    pub(super) fn take_replies(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) -> Result<bool, Loss> {
        let subscriber = self.number;
        let mut reported = false;
        // Refusals wait until the borrow of the read buffer ends. They are rare.
        let mut refusals: Vec<SentCommand> = Vec::new();
        let mut withdrawn: Vec<Subscription> = Vec::new();
        let mut left = PORTION;
        while left > 0
            && let Some(reply) = self.connection.next_reply()?
        {
            left -= 1;
            match reply {
                Reply::Message(message) => {
                    self.watch.talks();
                    // The name has moved, and this node still sends its messages. So does the new node.
                    if self.holding == Holding::BySlot
                        && !self.in_flight.is_empty()
                        && !self.names.has(&Subscription::shard(message.name))
                    {
                        continue;
                    }
                    sink(Incoming::Message {
                        subscriber,
                        kind: message.kind,
                        name: message.name,
                        channel: message.channel,
                        payload: message.payload,
                    });
                    reported = true;
                }
                Reply::Array(items) => match confirm(&mut self.in_flight, items)? {
                    Confirmed::Subscribed(name) => {
                        if self.names.set_held(&name, true) {
                            sink(Incoming::Subscribed { subscriber, kind: name.kind, name: &name.name });
                            reported = true;
                        }
                    }
                    // If the name is wanted again, the new subscription is still in flight.
                    Confirmed::Unsubscribed(name) => _ = self.names.set_held(&name, false),
                    Confirmed::Alive => {}
                    Confirmed::Withdrawn(name) => {
                        if self.names.set_held(&name, false) {
                            // If there is a connection for each slot, another one may hold the name by now.
                            if self.holding == Holding::Whole {
                                let Subscription { kind, name: of } = &name;
                                sink(Incoming::Unsubscribed {
                                    subscriber,
                                    kind: *kind,
                                    name: of,
                                    reason: WITHDRAWN,
                                    silence: 0,
                                });
                                reported = true;
                            }
                            withdrawn.push(name);
                        }
                    }
                },
                Reply::Error(error) => {
                    if self.holding == Holding::BySlot
                        && let Some(redirect) = Redirect::of(error)
                    {
                        if let Some(sent) = take_redirected(&mut self.in_flight, &redirect)
                            && sent.verb.subscribes()
                        {
                            for name in sent.names {
                                if self.names.remove(&name) {
                                    self.news.strays.push(name);
                                }
                            }
                        }
                        self.news.redirects.push(redirect);
                        continue;
                    }
                    let passes = passing(error).is_some_and(Passing::is_here);
                    let error = String::from_utf8_lossy(error);
                    let Some(sent) = self.in_flight.pop_front() else {
                        return Err(Loss::Refused(error.into_owned()));
                    };
                    if sent.verb == Verb::Ping {
                        // An ACL forbids PING, but the node is alive.
                        continue;
                    }
                    let divisible = sent.names.len() > 1 && is_about_a_channel(&error);
                    if divisible {
                        refusals.push(sent);
                        continue;
                    }
                    if !self.refused.reported {
                        self.refused.reported = true;
                        reported = true;
                        sink(Incoming::SubscribeRefused { subscriber, error: &error });
                    }
                    self.refused.passes = passes;
                    if sent.verb.subscribes() {
                        self.refused.names.extend(sent.names);
                    } else if passes {
                        self.refused.leaving.extend(sent.names);
                    }
                }
                // The answer to PING before the first subscription, or after the last one.
                Reply::Simple(_) if self.in_flight.front().is_some_and(|sent| sent.verb == Verb::Ping) => {
                    self.in_flight.pop_front();
                }
                _ => return Err(ProtocolError::Unexpected.into()),
            }
        }
        self.unread = left == 0;
        for sent in refusals {
            self.send_halves(sent);
        }
        if self.holding == Holding::BySlot {
            withdrawn.retain(|name| self.names.remove(name));
            self.news.withdrawn.append(&mut withdrawn);
        } else {
            self.send_all(withdrawn, Verb::subscribe);
        }
        Ok(reported)
    }
}

/// Whether an error is about a name, and not about the command or the server, so that other names may be
/// accepted. Redis 6.2: "…to access one of the channels used as arguments"; 7: "…to access a channel", "…the
/// 'x' channel".
fn is_about_a_channel(error: &str) -> bool {
    error.starts_with("NOPERM") && error.contains("channel")
}
