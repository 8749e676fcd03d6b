//! The hot side: a stage's record moves into a ring.

use std::sync::Arc;

use crate::ring::{RingStats, Rx, Tx, ring};

/// A record on its way to the writer.
#[derive(Debug)]
pub struct Entry<T> {
    /// Number within the stream, from 1, without a gap where nothing was lost.
    pub seq: u64,
    /// Time of the poll.
    pub at: u64,
    /// What was taken or decided.
    pub item: T,
}

/// The stage's end. A closed one takes everything and keeps nothing.
pub struct Tap<T> {
    ring: Option<Tx<Entry<T>>>,
    seq: u64,
}

/// The writer's end.
pub type Drain<T> = Rx<Entry<T>>;

/// The two ends of a stream.
pub fn tap<T>(name: &'static str, capacity: usize) -> (Tap<T>, Drain<T>) {
    let (tx, rx) = ring(name, capacity);
    (Tap::new(tx), rx)
}

impl<T> Tap<T> {
    /// Into a ring that was made elsewhere.
    pub const fn new(ring: Tx<Entry<T>>) -> Self {
        Self { ring: Some(ring), seq: 0 }
    }

    /// Records nothing.
    pub const fn closed() -> Self {
        Self { ring: None, seq: 0 }
    }

    /// Does it record?
    #[inline]
    pub const fn is_open(&self) -> bool {
        self.ring.is_some()
    }

    /// Records `item`, or leaves a hole that the number of the next one shows.
    #[inline]
    pub fn push(&mut self, at: u64, item: T) {
        if let Some(ring) = &mut self.ring {
            self.seq += 1;
            // The ring counts what it could not take.
            let _ = ring.push(Entry { seq: self.seq, at, item });
        }
    }

    /// Would the next record find room? It stays so until the next record.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.free() > 0)
    }

    /// A record that could not be made: it leaves a hole.
    #[inline]
    pub const fn lose(&mut self) {
        self.seq += 1;
    }

    /// Counters of the ring.
    pub fn stats(&self) -> Option<Arc<RingStats>> {
        self.ring.as_ref().map(Tx::stats)
    }
}
