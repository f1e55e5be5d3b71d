//! Connections over socket pairs with small buffers: each step of a slot, what a hub promises, and the order of bytes
//! whatever JS, the writer and the client do.
//!
//! With the feature `interleavings`, loom runs the orders in which the two threads can get on, instead of the others.
#![cfg_attr(feature = "interleavings", allow(dead_code))]

#[cfg(not(feature = "interleavings"))]
mod hub;
#[cfg(feature = "interleavings")]
mod interleavings;
#[cfg(not(feature = "interleavings"))]
mod model;
#[cfg(not(feature = "interleavings"))]
mod queue;
#[cfg(not(feature = "interleavings"))]
mod slot;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

use super::hub::{Bounds, Hub, Push};
use super::queue::Frame;
use super::sys::Socket;

/// The kernel rounds it up.
const SMALL_BUFFER: usize = 4096;

/// More than any buffer here holds.
const LARGE: usize = 1 << 20;

/// Both ends of a connection: Node's, and the client's.
fn pair() -> (UnixStream, UnixStream) {
    let (node, peer) = UnixStream::pair().unwrap();
    for end in [&node, &peer] {
        end.set_nonblocking(true).unwrap();
    }
    socket2::SockRef::from(&node).set_send_buffer_size(SMALL_BUFFER).unwrap();
    (node, peer)
}

fn lent(node: &UnixStream) -> Socket {
    Socket::duplicate(node.as_fd()).unwrap()
}

fn frame(bytes: &[u8]) -> Frame {
    bytes.into()
}

/// Writes as Node does; returns how many bytes the kernel has taken.
fn write_some(mut node: &UnixStream, bytes: &[u8]) -> usize {
    match node.write(bytes) {
        Ok(taken) => taken,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Writes zeros until the kernel takes no more; returns how many.
fn fill(node: &UnixStream) -> usize {
    let mut all = 0;
    loop {
        match write_some(node, &[0; 1024]) {
            0 => return all,
            taken => all += taken,
        }
    }
}

/// Reads what is there, and whether that is all there will ever be.
fn read_all(mut peer: &UnixStream) -> (Vec<u8>, bool) {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match peer.read(&mut chunk) {
            Ok(0) => return (all, true),
            Ok(taken) => all.extend_from_slice(&chunk[..taken]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (all, false),
            Err(error) => panic!("{error}"),
        }
    }
}

fn words(numbers: &[i32]) -> Vec<AtomicI32> {
    numbers.iter().copied().map(AtomicI32::new).collect()
}

fn numbers(words: &[AtomicI32]) -> Vec<i32> {
    words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
}

/// A hub that tells nobody, and its bounds.
fn hub() -> Hub {
    Hub::new(Bounds { max_bytes: LARGE, max_waiting: LARGE }, Box::new(|| {}))
}

/// Lends a connection.
fn adopt(hub: &mut Hub, node: &UnixStream) -> u32 {
    hub.adopt(|| Socket::duplicate(node.as_fd())).unwrap()
}

/// Pushes bytes to slots, none of which has flags; returns those that are not to be had.
fn push(hub: &mut Hub, bytes: &[u8], slots: &[u32]) -> Vec<u32> {
    hub.load(bytes);
    let slots: Vec<i32> = slots.iter().map(|&slot| slot.try_into().unwrap()).collect();
    let flags = words(&vec![0; 1 + slots.iter().max().map_or(0, |&most| most as usize)]);
    let refused = words(&vec![0; slots.len()]);
    let push = Push { slots: &words(&slots), flags: &flags, refused: &refused, is_volatile: false };
    let count = hub.push(push);
    hub.unload();
    numbers(&refused[..count]).into_iter().map(|slot| slot.try_into().unwrap()).collect()
}
