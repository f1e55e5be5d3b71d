//! The heads of outgoing arrays and maps, whose counts JSON tells last.

use super::Malformed;
use super::writer::{write_array_len, write_bin_len, write_map_len, write_uint};

/// How msgpack says `{"_placeholder":true,"num":`.
const PLACEHOLDER: &[u8] = b"\x82\xac_placeholder\xc3\xa3num";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// Around the one value of the text.
    Nothing,
    Array,
    Map,
}

/// An array or map whose end has not been seen.
#[derive(Clone, Copy)]
pub struct Container {
    pub kind: ContainerKind,
    /// Where its head goes: one byte, which holds a count below 16.
    pub head: usize,
    /// Members so far; a pair counts as one.
    pub count: usize,
}

/// What is decided when a container ends.
pub struct Heads<'a> {
    attachments: core::slice::Iter<'a, &'a [u8]>,
    /// How many attachments stand in the output.
    replaced: u64,
    /// Containers whose count needs more room than was left for it.
    wide: Vec<Container>,
}

impl<'a> Heads<'a> {
    /// For a text that goes with `attachments`.
    #[inline]
    pub fn new(attachments: &'a [&'a [u8]]) -> Self {
        Self { attachments: attachments.iter(), replaced: 0, wide: Vec::new() }
    }

    /// Writes the head of a container that is complete, or remembers it; or makes it an attachment.
    #[inline]
    pub fn close(&mut self, done: Container, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let marker = if done.kind == ContainerKind::Map { 0x80 } else { 0x90 };
        match u8::try_from(done.count) {
            Ok(count @ 0..16) => {
                if let Some(head) = out.get_mut(done.head) {
                    *head = marker | count;
                }
                if marker | count == 0x82 && !self.attachments.as_slice().is_empty() {
                    self.replace_placeholder(done.head, out)?;
                }
            }
            _ => self.wide.push(done),
        }
        Ok(())
    }

    /// Puts the next attachment in place of its placeholder, if that is what stands at `head`.
    fn replace_placeholder(&mut self, head: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut placeholder = PLACEHOLDER.to_vec();
        write_uint(&mut placeholder, self.replaced);
        if out.get(head..) == Some(&placeholder)
            && let Some(attachment) = self.attachments.next()
        {
            self.replaced += 1;
            out.truncate(head);
            write_bin_len(out, attachment.len())?;
            out.extend_from_slice(attachment);
        }
        Ok(())
    }

    /// Checks that no attachment is left over, and gives the long containers their heads.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if !self.attachments.as_slice().is_empty() {
            return Err(Malformed::WrongShape("a placeholder for each attachment"));
        }
        if self.wide.is_empty() { Ok(()) } else { self.widen(out) }
    }

    /// Moves everything behind the first long head once, each part to its final place, from the back.
    fn widen(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut long_head = Vec::new();
        self.wide.sort_unstable_by_key(|container| container.head);
        let mut end = out.len();
        let mut shift = 0;
        for container in &self.wide {
            shift += if container.count > 0xffff { 4 } else { 2 };
        }
        out.resize(end + shift, 0);
        for container in self.wide.iter().rev() {
            let body = container.head + 1;
            out.copy_within(body..end, body + shift);
            long_head.clear();
            match container.kind {
                ContainerKind::Map => write_map_len(&mut long_head, container.count)?,
                _ => write_array_len(&mut long_head, container.count)?,
            }
            shift -= long_head.len() - 1;
            end = container.head;
            if let Some(head) = out.get_mut(end + shift..).and_then(|out| out.get_mut(..long_head.len())) {
                head.copy_from_slice(&long_head);
            }
        }
        Ok(())
    }
}
