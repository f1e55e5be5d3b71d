//! What JS does with a hub, at random, against a twin that only remembers what each client has to read.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::*;
use crate::fanout::hub::HELD;
use crate::fanout::slot::Settled;

/// Node holds bytes of the connection.
const TOUCHED: i32 = 1;

/// How many connections there are at a time, and how many numbers they may have.
const CONNECTIONS: usize = 8;
const NUMBERS: usize = 64;

const STEPS: usize = 400;

/// How long the last bytes may take, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that the seed tells (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// Bytes that are like no others nearby.
    fn bytes(&mut self) -> Vec<u8> {
        let length = if self.chance(4) { 1 + self.below(9000) } else { 1 + self.below(200) };
        let first = self.below(251);
        (first..first + length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }
}

/// A connection, as JS and its client see it.
struct Connection {
    slot: u32,
    node: UnixStream,
    peer: UnixStream,
    /// What Node has taken, and the kernel has not.
    unsent: Vec<u8>,
    /// What Node has been given while the writer was in its call.
    held: Option<Vec<u8>>,
    /// What the client has to read.
    expected: VecDeque<Piece>,
    /// What it has read of that.
    read: Vec<u8>,
}

/// What was sent to a client at a time.
struct Piece {
    bytes: Vec<u8>,
    is_volatile: bool,
}

/// How often the interesting things have happened.
#[derive(Default)]
struct Seen {
    all: usize,
    rest: usize,
    refused: usize,
    volatile: usize,
}

struct Model {
    random: Random,
    hub: Hub,
    flags: Vec<AtomicI32>,
    here: Vec<Connection>,
    /// Those that were hung up. They may read less than expected.
    gone: Vec<Connection>,
    /// Numbers that JS has not released.
    unreleased: Vec<u32>,
    /// Whether JS settles before Node writes, as it has to.
    settles: bool,
    /// How many volatile frames there were.
    volatile: usize,
    seen: Seen,
}

impl Model {
    fn new(seed: u64, settles: bool) -> Self {
        // Small enough that both are met.
        let bounds = Bounds { max_bytes: 20_000, max_waiting: 6 };
        Model {
            random: Random(seed | 1),
            hub: Hub::new(bounds, Box::new(|| {})),
            flags: words(&[0; NUMBERS]),
            here: Vec::new(),
            gone: Vec::new(),
            unreleased: Vec::new(),
            settles,
            volatile: 0,
            seen: Seen::default(),
        }
    }

    /// Does as the seed says; returns what went wrong.
    fn run(mut self) -> Result<Seen, String> {
        for _ in 0..STEPS {
            match self.random.below(20) {
                0 => self.adopt(),
                1 if self.random.chance(4) => self.hang_up(),
                2 => self.release(),
                3..8 => self.push(),
                8 => self.push_volatile(),
                9..13 => self.write(),
                13..15 => self.look_at_reports(),
                _ => self.read()?,
            }
            self.let_node_write();
        }
        self.finish()
    }

    fn adopt(&mut self) {
        if self.here.len() < CONNECTIONS && self.unreleased.len() + self.here.len() < NUMBERS {
            let (node, peer) = pair();
            let slot = adopt(&mut self.hub, &node);
            self.flags[slot as usize].store(0, Ordering::Relaxed);
            let (unsent, expected, read) = (Vec::new(), VecDeque::new(), Vec::new());
            self.here.push(Connection { slot, node, peer, unsent, held: None, expected, read });
        }
    }

    fn hang_up(&mut self) {
        if !self.here.is_empty() {
            let at = self.random.below(self.here.len());
            let connection = self.here.swap_remove(at);
            self.hub.hang_up(connection.slot);
            self.unreleased.push(connection.slot);
            self.gone.push(connection);
        }
    }

    fn release(&mut self) {
        if let Some(slot) = self.unreleased.pop() {
            self.hub.release(slot);
        }
    }

    /// A broadcast to some rooms. Who is not to be had gets it from Node.
    fn push(&mut self) {
        let bytes = self.random.bytes();
        self.touch();
        self.hub.load(&bytes);
        let mut waiting: HashSet<u32> = HashSet::new();
        let excepted: HashSet<u32> =
            self.here.iter().filter(|_| self.random.chance(6)).map(|connection| connection.slot).collect();
        self.hub.except(&words_of(excepted.iter()));
        let refused = words(&[0; 4 * NUMBERS]);
        let mut end = 0;
        for _ in 0..=self.random.below(3) {
            let mut room: Vec<u32> = self
                .here
                .iter()
                .filter(|_| !self.random.chance(3))
                .map(|connection| connection.slot)
                .collect();
            waiting.extend(room.iter().filter(|slot| !excepted.contains(slot)));
            // Lists outlive connections.
            room.extend(self.unreleased.iter().take(3));
            let push = Push {
                slots: &words_of(room.iter()),
                flags: &self.flags,
                refused: &refused[end..],
                is_volatile: false,
            };
            end += self.hub.push(push);
        }
        self.hub.unload();
        let refused: Vec<u32> =
            numbers(&refused[..end]).into_iter().map(|slot| slot.try_into().unwrap()).collect();
        assert_eq!(refused.iter().collect::<HashSet<_>>().len(), refused.len(), "each is told once");
        assert!(refused.iter().all(|slot| waiting.contains(slot) || self.unreleased.contains(slot)));
        for at in 0..self.here.len() {
            let connection = &mut self.here[at];
            if refused.contains(&connection.slot) {
                self.seen.refused += 1;
                self.write_to(at, &bytes);
            } else if waiting.contains(&connection.slot) {
                connection.expect(&bytes, false);
            }
        }
    }

    /// Each client has it, or none of it.
    fn push_volatile(&mut self) {
        // No others begin with these, so that it is known what a client has read.
        let mark =
            [255, u8::try_from(self.volatile % 255).unwrap(), u8::try_from(self.volatile / 255).unwrap()];
        let bytes = [&mark, &*self.random.bytes()].concat();
        self.volatile += 1;
        self.touch();
        self.hub.load(&bytes);
        let refused = words(&vec![0; self.here.len()]);
        let push = Push {
            slots: &words_of(self.here.iter().map(|connection| &connection.slot)),
            flags: &self.flags,
            refused: &refused,
            is_volatile: true,
        };
        let count = self.hub.push(push);
        let refused = numbers(&refused[..count]);
        for connection in &mut self.here {
            if !refused.contains(&connection.slot.try_into().unwrap()) {
                connection.expect(&bytes, true);
            }
        }
    }

    /// Flags the connections that Node holds bytes of.
    fn touch(&mut self) {
        for connection in &self.here {
            let flags = &self.flags[connection.slot as usize];
            let held = flags.load(Ordering::Relaxed) & HELD;
            let is_touched = !connection.unsent.is_empty() || connection.held.is_some();
            flags.store(held | if is_touched { TOUCHED } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Node writes something of its own.
    fn write(&mut self) {
        if !self.here.is_empty() {
            let (at, bytes) = (self.random.below(self.here.len()), self.random.bytes());
            self.write_to(at, &bytes);
        }
    }

    fn write_to(&mut self, at: usize, bytes: &[u8]) {
        let connection = &mut self.here[at];
        connection.expect(bytes, false);
        if let Some(held) = &mut connection.held {
            held.extend(bytes);
        } else if !connection.unsent.is_empty() || !self.settles {
            connection.unsent.extend(bytes);
        } else {
            self.settle(at, bytes.to_vec());
        }
    }

    fn settle(&mut self, at: usize, own: Vec<u8>) {
        let connection = &mut self.here[at];
        let flags = &self.flags[connection.slot as usize];
        if flags.load(Ordering::Relaxed) & HELD == 0 {
            connection.unsent.extend(own);
            return;
        }
        match self.hub.settle(connection.slot, &own) {
            Settled::Busy => {
                connection.held = Some(own);
                return;
            }
            Settled::Nothing => connection.unsent.extend(own),
            Settled::All => self.seen.all += 1,
            Settled::Rest(rest) => {
                self.seen.rest += 1;
                connection.unsent.extend(rest);
            }
        }
        flags.fetch_and(!HELD, Ordering::Relaxed);
    }

    fn look_at_reports(&mut self) {
        for slot in self.hub.take_reports(3) {
            if let Some(at) = self.here.iter().position(|connection| connection.slot == slot) {
                assert_eq!(self.hub.take_errno(slot), 0);
                let own = self.here[at].held.take().unwrap_or_default();
                self.settle(at, own);
            }
        }
    }

    /// What Node has taken goes out as soon as the kernel has room.
    fn let_node_write(&mut self) {
        for connection in &mut self.here {
            if !connection.unsent.is_empty() {
                let taken = write_some(&connection.node, &connection.unsent);
                connection.unsent.drain(..taken);
            }
        }
    }

    /// A client reads.
    fn read(&mut self) -> Result<(), String> {
        if self.here.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.here.len());
        self.seen.volatile += self.here[at].read()?.1;
        Ok(())
    }

    /// All that is still on its way arrives, and nothing keeps a file descriptor.
    fn finish(mut self) -> Result<Seen, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.look_at_reports();
            self.let_node_write();
            for connection in &mut self.here {
                self.seen.volatile += connection.read()?.1;
            }
            if self.here.iter().all(Connection::has_all) {
                break;
            }
            if Instant::now() > end {
                return Err("bytes are missing".into());
            }
            std::thread::yield_now();
        }
        drop(self.hub);
        for mut connection in self.gone.into_iter().chain(self.here) {
            // Node's own is closed as well.
            connection.node = pair().0;
            if !connection.read()?.0 {
                return Err(format!("slot {} is still open", connection.slot));
            }
        }
        Ok(self.seen)
    }
}

impl Connection {
    fn expect(&mut self, bytes: &[u8], is_volatile: bool) {
        self.expected.push_back(Piece { bytes: bytes.to_vec(), is_volatile });
    }

    /// Reads what is there; returns whether that is all there will ever be, and how many volatile pieces were left out.
    fn read(&mut self) -> Result<(bool, usize), String> {
        let (bytes, is_end) = read_all(&self.peer);
        self.read.extend(bytes);
        let mut left_out = 0;
        while !self.read.is_empty() {
            let Some(Piece { bytes, is_volatile }) = self.expected.front() else {
                return Err(format!("slot {}: more than was sent", self.slot));
            };
            let length = bytes.len().min(self.read.len());
            if bytes[..length] == self.read[..length] {
                if length < bytes.len() {
                    break;
                }
                self.read.drain(..length);
            } else if *is_volatile {
                left_out += 1;
            } else {
                return Err(format!("slot {}: not what was sent", self.slot));
            }
            self.expected.pop_front();
        }
        Ok((is_end, left_out))
    }

    fn has_all(&self) -> bool {
        let is_read = self.read.is_empty() && self.expected.iter().all(|piece| piece.is_volatile);
        is_read && self.unsent.is_empty() && self.held.is_none()
    }
}

fn words_of<'a>(slots: impl Iterator<Item = &'a u32>) -> Vec<AtomicI32> {
    slots.map(|&slot| AtomicI32::new(slot.try_into().unwrap())).collect()
}

/// Seeds to begin with: another one each time, or the one in the environment.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let given = std::env::var("FANOUT_SEED").ok().map(|seed| seed.parse().unwrap());
    let first = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FANOUT_SEED={first}");
    (0..count).map(move |step| first.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[test]
fn each_client_reads_what_was_sent_to_it_in_order() {
    let mut seen = Seen::default();
    for seed in seeds(30) {
        let found = Model::new(seed, true).run().unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        seen.all += found.all;
        seen.rest += found.rest;
        seen.refused += found.refused;
        seen.volatile += found.volatile;
    }
    let Seen { all, rest, refused, volatile } = seen;
    assert!(rest > 0 && refused > 0 && volatile > 0, "{all} {rest} {refused} {volatile}");
}

#[test]
fn without_settling_the_order_is_wrong() {
    assert!(seeds(100).any(|seed| Model::new(seed, false).run().is_err()));
}
