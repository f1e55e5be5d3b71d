//! The containers that are open around the current value.

use super::{MAX_DEPTH, Malformed};

/// Levels kept without an allocation. A broadcast seldom has more than six.
const INLINE: usize = 8;

/// The containers around the value at hand, innermost last: at most [`MAX_DEPTH`].
#[derive(Debug)]
pub struct Nesting<T> {
    depth: usize,
    inline: [T; INLINE],
    spilled: Vec<T>,
}

impl<T: Copy> Nesting<T> {
    /// A list with nothing in it; `unused` fills its places.
    #[inline]
    pub const fn new(unused: T) -> Self {
        Self { depth: 0, inline: [unused; INLINE], spilled: Vec::new() }
    }

    /// Goes one level down, leaving `outer` behind.
    #[inline]
    pub fn push(&mut self, outer: T) -> Result<(), Malformed> {
        match self.inline.get_mut(self.depth) {
            Some(place) => *place = outer,
            None => self.spill(outer)?,
        }
        self.depth += 1;
        Ok(())
    }

    /// Comes one level up, to what the matching [`push`](Self::push) left.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.depth = self.depth.checked_sub(1)?;
        match self.inline.get(self.depth) {
            Some(outer) => Some(*outer),
            None => self.spilled.pop(),
        }
    }

    #[cold]
    fn spill(&mut self, outer: T) -> Result<(), Malformed> {
        if self.depth >= MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        self.spilled.push(outer);
        Ok(())
    }
}
