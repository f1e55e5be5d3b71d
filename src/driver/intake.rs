//! What the carriers report goes to the core, behind the commands that JS gave before.

use std::cell::RefCell;
use std::time::Instant;

use super::apply::apply;
use super::carrier::Carrier;
use super::command::{Command, Commands};
use super::outbox::Outbox;
use crate::core::Core;
use crate::core::effects::Effects;
use crate::transport::{Incoming, Transport};

/// What takes in what the carriers report.
pub(super) struct Intake<'a> {
    pub core: &'a mut Core,
    pub effects: &'a mut Effects,
    pub outbox: &'a Outbox,
    pub commands: &'a mut Commands,
    /// Commands for the carrier, which is busy meanwhile.
    pub deferred: &'a mut Vec<Command>,
    /// How many reports and commands were worked off.
    pub units: usize,
}

impl Intake<'_> {
    /// Takes a report of the carrier, or (`is_next`) of own connections that may be the next one. Before that the outbox
    /// is worked off: a room which a socket joined before the message came has to be known.
    fn take(&mut self, report: Incoming<'_>, is_next: bool) {
        if self.outbox.is_filled() {
            self.effects.now = Instant::now();
            self.outbox.take(self.commands);
            self.units += self.commands.list.len();
            apply(self.core, self.commands, self.deferred, self.effects);
        }
        self.units += 1;
        if is_next {
            self.core.incoming_own(&report, self.effects);
        } else {
            self.core.incoming(report, self.effects);
        }
    }
}

/// Waits until the carrier, or the one that may be the next, reports something, and takes that in.
pub(super) async fn receive(carrier: &mut Carrier, next: Option<&mut Carrier>, intake: &mut Intake<'_>) {
    let Some(next) = next else {
        return carrier.incoming(&mut |report: Incoming<'_>| intake.take(report, false)).await;
    };
    let intake = RefCell::new(intake);
    let mut of_carrier = |report: Incoming<'_>| intake.borrow_mut().take(report, false);
    let mut of_next = |report: Incoming<'_>| intake.borrow_mut().take(report, true);
    tokio::select! {
        biased;
        () = carrier.incoming(&mut of_carrier) => {}
        () = next.incoming(&mut of_next) => {}
    }
}
