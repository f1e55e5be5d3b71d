//! A link that panics.

use super::*;
use crate::driver::apply::FAULT;

#[test]
fn a_link_that_panics_says_so_and_counts_what_is_lost_and_the_others_go_on() {
    run(async {
        let hub = Hub::default();
        let (mut a, mut b) = pair(&hub).await;
        let everybody = || Destination::Broadcast { room: None };
        // One message before the fault, in the same batch, and two behind it.
        a.send(everybody(), "1");
        a.shared.outbox.push(|commands| {
            let room = commands.put(FAULT);
            Command::Room { member: 0, room, present: true }
        });
        a.send(everybody(), "2");
        a.send(everybody(), "3");
        let failed = a.event("failed").await;
        assert!(failed.parts[0].contains("a test wants it to"), "{failed:?}");
        assert_eq!(a.shared.inbox.stats().dropped, 3);
        assert!(a.shared.outbox.is_flushed(), "nobody waits for it");
        a.send(everybody(), "4");
        assert_eq!(a.shared.outbox.late(), 1);
        b.shared.outbox.push(|_| Command::ServerCount(1, 5));
        b.until("a count", |seen| seen.kind == Kind::Count as u32 && seen.token == 5).await;
    });
}
