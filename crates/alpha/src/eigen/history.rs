//! The last bar returns of all assets, one row per bar: the longest window's worth.

use super::quad::{Quad, Quads};

/// A ring of return rows.
#[derive(Debug, Clone)]
pub(super) struct History {
    rows: Quads,
    width: usize,
    capacity: usize,
    pushed: usize,
}

impl History {
    /// An empty history of `capacity` rows of `width` quads.
    pub(super) fn new(capacity: usize, width: usize) -> Self {
        Self { rows: Quads::zero(capacity * width), width, capacity, pushed: 0 }
    }

    /// Rows pushed since the start.
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// The row pushed `age` rows before the newest (0).
    pub(super) fn row(&self, age: usize) -> &[Quad] {
        let slot = (self.pushed - 1 - age) % self.capacity;
        &self.rows[slot * self.width..][..self.width]
    }

    /// Adds the newest row over the oldest.
    pub(super) fn push(&mut self, row: &[Quad]) {
        let slot = self.pushed % self.capacity;
        self.rows[slot * self.width..][..self.width].copy_from_slice(row);
        self.pushed += 1;
    }

    /// The row that the next push will overwrite.
    pub(super) fn leaving(&self) -> &[Quad] {
        &self.rows[self.pushed % self.capacity * self.width..][..self.width]
    }

    /// Takes the newest row back: `over` was what it overwrote.
    pub(super) fn take_back(&mut self, over: &[Quad]) {
        self.pushed -= 1;
        let slot = self.pushed % self.capacity;
        self.rows[slot * self.width..][..self.width].copy_from_slice(over);
    }

    /// The newest `count` rows as one or two contiguous runs, in the order of the ring.
    pub(super) fn newest(&self, count: usize) -> [&[Quad]; 2] {
        let end = (self.pushed - 1) % self.capacity + 1;
        let (older, wrapped) = if count <= end {
            (end - count..end, 0..0)
        } else {
            (self.capacity - (count - end)..self.capacity, 0..end)
        };
        [older, wrapped].map(|run| &self.rows[run.start * self.width..run.end * self.width])
    }
}
