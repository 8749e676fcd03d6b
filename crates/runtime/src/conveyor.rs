//! A conveyor: large messages that travel in reusable boxes.
//!
//! Rings should carry at most a cache line. A frame of bytes or a whole tick is larger and of varying size, so it
//! lies in a box that is allocated once, rides forward full and comes back empty. A producer that finds no empty
//! box knows that the consumer is behind: market data then conflates. The box that came back last is taken first: it is
//! still in the cache, and as many boxes as were never needed at once are never touched.

use crate::ring::{RingStats, Rx, Tx, ring};
use std::sync::Arc;

/// The loading end.
pub struct Loader<T> {
    full: Tx<Box<T>>,
    empty: Rx<Box<T>>,
    /// Boxes that have come back, the last one at the end.
    back: Vec<Box<T>>,
    starved: u64,
}

/// The unloading end.
pub struct Unloader<T> {
    full: Rx<Box<T>>,
    empty: Tx<Box<T>>,
}

/// A conveyor of `boxes` boxes, each made by `make`.
pub fn conveyor<T>(
    name: &'static str,
    boxes: usize,
    mut make: impl FnMut() -> T,
) -> (Loader<T>, Unloader<T>) {
    let (full_tx, full_rx) = ring(name, boxes);
    let (mut empty_tx, empty_rx) = ring(name, boxes);
    for _ in 0..boxes {
        if empty_tx.push(Box::new(make())).is_err() {
            unreachable!("the ring has a slot for every box");
        }
    }
    let back = Vec::with_capacity(boxes);
    (Loader { full: full_tx, empty: empty_rx, back, starved: 0 }, Unloader { full: full_rx, empty: empty_tx })
}

impl<T> Loader<T> {
    /// An empty box (holding whatever it last held), or `None`, counted, if all are under way.
    pub fn acquire(&mut self) -> Option<Box<T>> {
        while let Some(came) = self.empty.pop() {
            self.back.push(came);
        }
        let b = self.back.pop();
        if b.is_none() {
            self.starved += 1;
        }
        b
    }

    /// Sends a box that [`Self::acquire`] gave.
    pub fn send(&mut self, full: Box<T>) {
        if self.full.push(full).is_err() {
            unreachable!("there are no more boxes than slots");
        }
    }

    /// Times that no empty box was there.
    pub fn starved(&self) -> u64 {
        self.starved
    }

    /// Counters of the forward ring.
    pub fn stats(&self) -> Arc<RingStats> {
        self.full.stats()
    }
}

impl<T> Unloader<T> {
    /// The oldest full box.
    #[inline]
    pub fn recv(&mut self) -> Option<Box<T>> {
        self.full.pop()
    }

    /// Sends a box back.
    pub fn give_back(&mut self, empty: Box<T>) {
        if self.empty.push(empty).is_err() {
            unreachable!("there are no more boxes than slots");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_go_round() {
        let (mut loader, mut unloader) = conveyor("a_b", 1, Vec::<u8>::new);
        let mut b = loader.acquire().unwrap();
        b.push(7);
        loader.send(b);
        assert!(loader.acquire().is_none());
        assert_eq!(loader.starved(), 1);
        let b = unloader.recv().unwrap();
        assert_eq!(**b, [7]);
        unloader.give_back(b);
        assert!(loader.acquire().is_some());
    }

    #[test]
    fn the_box_that_came_back_last_is_taken_first() {
        let (mut loader, mut unloader) = conveyor("a_b", 8, || 0u32);
        let mut first = loader.acquire().unwrap();
        *first = 7;
        loader.send(first);
        for _ in 0..20 {
            let b = unloader.recv().unwrap();
            unloader.give_back(b);
            let b = loader.acquire().unwrap();
            assert_eq!(*b, 7, "one under way at a time: always the same one");
            loader.send(b);
        }
    }
}
