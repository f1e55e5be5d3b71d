//! Polls the connection of a node, and takes its replies.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::in_flight::InFlight;
use super::mastership::NodeRole;
use super::{ClusterNode, NodeReport, Uncounted};
use crate::transport::passing::{Passing, passing};
use crate::transport::redis::cluster::settings::ClusterSettings;
use crate::transport::redis::cluster::topology::{Topology, TopologyAnswer, read_info};
use crate::transport::redis::commands::read_counts;
use crate::transport::redis::connect::{Address, Loss};
use crate::transport::redis::connection::Opened;
use crate::transport::redis::slot::Redirect;
use crate::transport::resp::{ProtocolError, Reply};
use crate::transport::{Incoming, Outcome};

impl ClusterNode {
    /// Returns whether a read brought something.
    pub(super) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        settings: &ClusterSettings,
        sink: &mut dyn FnMut(Incoming<'_>),
        reports: &mut Vec<(Address, NodeReport)>,
    ) -> Result<bool, Loss> {
        let mut more = false;
        match self.connection.poll_open(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(opened) => {
                if opened? == Opened::Now {
                    self.quiet_since = Instant::now();
                    self.hangs = false;
                    self.is_new = false;
                    reports.push((self.address.clone(), NodeReport::Opened));
                }
            }
        }
        if !self.doubtful.is_empty() {
            self.ask_about_doubtful(Instant::now());
        }
        if self.hold.poll_asks(cx) {
            self.append(|out| redis::cmd("PING").write_packed_command(out));
            self.in_flight.push_back(InFlight::Hold);
        }
        self.connection.poll_flush(cx)?;
        if let Poll::Ready(filled) = self.connection.poll_fill(cx) {
            filled?;
            more = true;
            self.hangs = false;
            self.quiet_since = Instant::now();
        }
        while let Some(reply) = self.connection.next_reply()? {
            let Some(command) = self.in_flight.front() else {
                return Err(match reply {
                    Reply::Error(error) => Loss::Refused(String::from_utf8_lossy(error).into_owned()),
                    _ => ProtocolError::Unexpected.into(),
                });
            };
            match (command, reply) {
                (&InFlight::Publish { channel, payload, .. }, Reply::Integer(0)) => {
                    self.hold.accepted();
                    self.reached_nobody(channel, payload, sink, reports);
                }
                (InFlight::Hello, Reply::Array(items)) => {
                    let role = NodeRole::of(items);
                    self.take_role(role, sink, reports);
                }
                (InFlight::Hello, Reply::Error(_)) => self.take_role(NodeRole::Unknown, sink, reports),
                (InFlight::Publish { .. }, Reply::Integer(receivers)) => {
                    let receivers = u64::try_from(receivers).map_err(|_| ProtocolError::Unexpected)?;
                    self.hold.accepted();
                    sink(Incoming::Published { receivers });
                }
                (&InFlight::Publish { channel, payload, .. }, Reply::Error(error)) if is_busy(error) => {
                    self.hold.refused(error);
                    let (channel, payload) = self.kept.front(channel, payload);
                    sink(Incoming::Returned { channel, payload });
                }
                (&InFlight::Publish { channel, payload, .. }, Reply::Error(error)) => {
                    self.hold.accepted();
                    let text = String::from_utf8_lossy(error);
                    match Redirect::of(error) {
                        Some(redirect) => {
                            let (channel, payload) = self.kept.front(channel, payload);
                            sink(Incoming::Returned { channel, payload });
                            let stalls = Some(text.into_owned());
                            reports.push((self.address.clone(), NodeReport::Redirected { redirect, stalls }));
                        }
                        None => sink(Incoming::PublishRefused { error: &text }),
                    }
                }
                (&InFlight::Count { token, channels, as_master }, Reply::Array(items)) => {
                    read_counts(items, channels, &mut self.counts)?;
                    let counts = std::mem::take(&mut self.counts);
                    if as_master {
                        self.doubtful_counts.push((token, counts));
                    } else {
                        let counts = Ok(counts);
                        reports.push((self.address.clone(), NodeReport::Counted { token, counts }));
                    }
                }
                (&InFlight::Count { token, .. }, Reply::Error(error)) => {
                    let counts = Err(match passing(error) {
                        Some(Passing::Busy) => {
                            self.hold.suspect();
                            Uncounted::Busy
                        }
                        Some(_) => Uncounted::Lost,
                        None => Uncounted::Refused(String::from_utf8_lossy(error).into_owned()),
                    });
                    reports.push((self.address.clone(), NodeReport::Counted { token, counts }));
                }
                (InFlight::Hold, reply) => {
                    let error = match reply {
                        Reply::Error(error) if is_busy(error) => Some(error),
                        _ => None,
                    };
                    self.hold.answered(error);
                }
                (_, Reply::Message(_)) => return Err(ProtocolError::Unexpected.into()),
                (InFlight::Command { token: None, .. }, _) => {}
                (&InFlight::Command { token: Some(token), .. }, reply) => {
                    // The sender sends it again.
                    if matches!(reply, Reply::Error(error) if is_busy(error)) {
                        self.hold.suspect();
                    }
                    let redirect = match reply {
                        Reply::Error(error) => Redirect::of(error).map(|redirect| (redirect, error)),
                        _ => None,
                    };
                    let outcome = match &redirect {
                        Some((_, error)) => Outcome::NotRun { reason: &String::from_utf8_lossy(error) },
                        None => Outcome::Replied(reply),
                    };
                    sink(Incoming::Replied { token, outcome });
                    if let Some((redirect, _)) = redirect {
                        let report = NodeReport::Redirected { redirect, stalls: None };
                        reports.push((self.address.clone(), report));
                    }
                }
                (InFlight::Info, Reply::Bulk(info)) => self.info = read_info(info),
                // An ACL may forbid CLUSTER INFO. The slots are enough.
                (InFlight::Info, Reply::Error(_)) => self.info = (true, u64::MAX),
                (InFlight::Slots, Reply::Array(slots)) => {
                    let topology = Topology::of(slots, settings, &self.address)?;
                    let (ok, epoch) = self.info;
                    reports.push((
                        self.address.clone(),
                        NodeReport::Answer(TopologyAnswer { ok, epoch, topology }),
                    ));
                }
                (InFlight::Slots, Reply::Error(error)) => {
                    let error = String::from_utf8_lossy(error);
                    let advice = if error.contains("cluster support disabled") {
                        ". It is no node of a cluster: connect to it without `cluster`"
                    } else {
                        ""
                    };
                    let reason =
                        format!("{} does not say who owns which slot: {error}{advice}", self.address);
                    reports.push((self.address.clone(), NodeReport::NoAnswer(reason)));
                }
                _ => return Err(ProtocolError::Unexpected.into()),
            }
            match self.in_flight.pop_front() {
                Some(InFlight::Publish { channel, payload, .. }) => {
                    self.kept.pop(channel + payload);
                    self.publishes -= 1;
                }
                Some(InFlight::Command { token: Some(_), .. }) => self.commands -= 1,
                _ => {}
            }
        }
        self.return_waiting_if_ended(sink);
        if !self.waiting.is_empty() && self.leaves_at.is_none() {
            self.send_waiting(Instant::now());
        }
        Ok(more)
    }
}

/// Whether the node refuses everybody's commands for now.
fn is_busy(error: &[u8]) -> bool {
    passing(error) == Some(Passing::Busy)
}
