//! Links of one process take turns.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::driver::steps::{TURN, Timed};

/// How often JS has more to do for the link before it lets go.
const ROUNDS: u32 = 64;

#[test]
fn a_link_that_is_never_done_lets_the_others_have_their_turn() {
    run(async {
        let shared = Arc::new(Shared::default());
        let config = Config::of(Family::Classic);
        let (rounds, alone, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let wake = {
            let shared = Arc::clone(&shared);
            let (rounds, alone, most) = (Rc::clone(&rounds), Rc::clone(&alone), Rc::clone(&most));
            move || {
                // A step that takes as long as a turn, and there is always another one.
                let began = std::time::Instant::now();
                while began.elapsed() < TURN {
                    std::hint::spin_loop();
                }
                rounds.set(rounds.get() + 1);
                alone.set(alone.get() + 1);
                most.set(most.get().max(alone.get()));
                while !matches!(
                    shared.inbox.fetch(&mut vec![0; 1 << 16], 0, &mut vec![0; STRIDE * 64]),
                    Fetched::Nothing
                ) {}
                let over = rounds.get() >= ROUNDS;
                shared.outbox.push(|_| if over { Command::Close } else { Command::ServerCount(7, 1) });
            }
        };
        shared.outbox.push(|_| Command::ServerCount(7, 1));
        let link = LinkLoop::over_memory(Hub::default().connect(), config, shared, wake);
        let ended = tokio::task::spawn_local(Timed::new(link.run()));
        while !ended.is_finished() {
            alone.set(0);
            tokio::task::yield_now().await;
        }
        assert!(rounds.get() >= ROUNDS);
        assert!(most.get() <= 2, "{} steps in one turn", most.get());
    });
}
