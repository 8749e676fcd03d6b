//! Bounded single-producer single-consumer rings, named `from_to` and counted.
//!
//! The ring itself is `rtrb`. What is added is what an operator wants to know: how full it has been, and how often
//! it was full. A full ring never blocks: the producer gets its message back and decides (conflate market data;
//! stop new risk where the ring must lose nothing).

use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one ring. Written by the producer alone; relaxed, because they order nothing.
#[derive(Debug)]
pub struct RingStats {
    name: &'static str,
    capacity: usize,
    /// On a cache line of their own: whatever lies beside them in memory belongs to somebody else.
    counts: CachePadded<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    pushed: AtomicU64,
    high_water: AtomicU64,
    full: AtomicU64,
}

impl RingStats {
    /// `from_to`.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Slots.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    /// Messages that went in.
    pub fn pushed(&self) -> u64 {
        self.counts.pushed.load(Ordering::Relaxed)
    }
    /// Most slots in use at once, as the producer saw it.
    pub fn high_water(&self) -> u64 {
        self.counts.high_water.load(Ordering::Relaxed)
    }
    /// Times a message found no slot.
    pub fn full(&self) -> u64 {
        self.counts.full.load(Ordering::Relaxed)
    }
}

/// The producing end.
pub struct Tx<T> {
    producer: rtrb::Producer<T>,
    stats: Arc<RingStats>,
    /// Messages pushed, and the most slots that were ever in use.
    pushed: u64,
    high_water: u64,
    /// So many had been taken out when the consumer was looked at last.
    taken: u64,
}

/// The consuming end.
pub struct Rx<T> {
    consumer: rtrb::Consumer<T>,
    stats: Arc<RingStats>,
}

/// A ring of `capacity` messages.
pub fn ring<T>(name: &'static str, capacity: usize) -> (Tx<T>, Rx<T>) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    let stats = Arc::new(RingStats { name, capacity, counts: CachePadded::default() });
    let tx = Tx { producer, stats: Arc::clone(&stats), pushed: 0, high_water: 0, taken: 0 };
    (tx, Rx { consumer, stats })
}

impl<T> Tx<T> {
    /// Puts `message` in the ring, or gives it back if there is no slot.
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), T> {
        match self.producer.push(message) {
            Ok(()) => {
                self.pushed += 1;
                // The only writer: a store needs no read-modify-write.
                self.stats.counts.pushed.store(self.pushed, Ordering::Relaxed);
                // How many are in use stands on the consumer's cache line. It is looked at only where there may be more of
                // them than ever: those taken out can but have grown since.
                if self.pushed - self.taken > self.high_water {
                    self.look();
                }
                Ok(())
            }
            Err(rtrb::PushError::Full(message)) => {
                self.stats.counts.full.fetch_add(1, Ordering::Relaxed);
                Err(message)
            }
        }
    }

    fn look(&mut self) {
        let used = (self.stats.capacity - self.producer.slots()) as u64;
        self.taken = self.pushed - used;
        if used > self.high_water {
            self.high_water = used;
            self.stats.counts.high_water.store(used, Ordering::Relaxed);
        }
    }

    /// Free slots, at least.
    pub fn free(&self) -> usize {
        self.producer.slots()
    }

    /// Is the other end gone?
    pub fn is_abandoned(&self) -> bool {
        self.producer.is_abandoned()
    }

    /// The ring's counters.
    pub fn stats(&self) -> Arc<RingStats> {
        Arc::clone(&self.stats)
    }
}

impl<T> Rx<T> {
    /// The oldest message.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.consumer.pop().ok()
    }

    /// Messages waiting, at least.
    pub fn waiting(&self) -> usize {
        self.consumer.slots()
    }

    /// The ring's counters.
    pub fn stats(&self) -> Arc<RingStats> {
        Arc::clone(&self.stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_the_message_back_and_counts() {
        let (mut tx, mut rx) = ring("a_b", 2);
        assert!(tx.push(1).is_ok() && tx.push(2).is_ok());
        assert_eq!(tx.push(3), Err(3));
        assert_eq!((tx.stats().high_water(), tx.stats().full(), tx.stats().pushed()), (2, 1, 2));
        assert_eq!((rx.pop(), rx.pop(), rx.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn the_high_water_mark_is_exact() {
        let (mut tx, mut rx) = ring("a_b", 16);
        let (mut used, mut highest) = (0u64, 0);
        // Pushes and pops in an order that rises and falls.
        for i in 0..500u64 {
            if (i * 7 / 5).is_multiple_of(3) || i % 50 < 12 {
                used += u64::from(tx.push(i).is_ok());
                highest = highest.max(used);
            } else {
                used -= u64::from(rx.pop().is_some());
            }
            assert_eq!(tx.stats().high_water(), highest, "after {i}");
        }
        assert!(highest > 8);
    }
}
