//! Slots that one stage writes and anybody reads: a few numbers that belong together, never torn.
//!
//! A seqlock over atomics: the writer makes the count odd, writes, makes it even; a reader that met an odd count or
//! another one after reading looks again. The writer waits for nobody, and a reader costs it one shared cache line at
//! most as often as it looks. Each slot has lines of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

#[derive(Debug)]
#[repr(align(128))]
struct Slot<const N: usize> {
    count: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Slot<N> {
    fn new() -> Self {
        Self { count: AtomicU64::new(0), words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// The writing end. There is one.
#[derive(Debug)]
pub struct Writer<const N: usize>(Arc<[Slot<N>]>);

/// A reading end.
#[derive(Debug, Clone)]
pub struct Reader<const N: usize>(Arc<[Slot<N>]>);

/// `len` slots of `N` words, all zero.
pub fn slots<const N: usize>(len: usize) -> (Writer<N>, Reader<N>) {
    let slots: Arc<[Slot<N>]> = (0..len).map(|_| Slot::new()).collect();
    (Writer(Arc::clone(&slots)), Reader(slots))
}

impl<const N: usize> Writer<N> {
    /// Puts `words` into slot `index`, if there is one.
    #[inline]
    pub fn write(&mut self, index: usize, words: [u64; N]) {
        let Some(slot) = self.0.get(index) else { return };
        let count = slot.count.load(Ordering::Relaxed);
        slot.count.store(count.wrapping_add(1), Ordering::Relaxed);
        // The odd count before the words, for the fence of the reader.
        fence(Ordering::Release);
        for (to, word) in slot.words.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
        // The words before the even count; pairs with the reader's first load.
        slot.count.store(count.wrapping_add(2), Ordering::Release);
    }
}

/// Reads of a slot that is being written meanwhile, before [`Reader::read`] returns `None`.
const LOOKS: u32 = 64;

impl<const N: usize> Reader<N> {
    /// What slot `index` holds; `None`: nothing yet, no such slot, or it was being written all the time.
    pub fn read(&self, index: usize) -> Option<[u64; N]> {
        let slot = self.0.get(index)?;
        for _ in 0..LOOKS {
            let before = slot.count.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            let words = std::array::from_fn(|i| slot.words[i].load(Ordering::Relaxed));
            // The words before the second look at the count; pairs with the writer's fence.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && slot.count.load(Ordering::Relaxed) == before {
                return Some(words);
            }
            std::hint::spin_loop();
        }
        None
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_is_read_together() {
        let (mut writer, reader) = slots::<4>(2);
        assert_eq!((reader.read(0), reader.len()), (None, 2));
        let second = reader.clone();
        let thread = std::thread::spawn(move || {
            for i in 1..=200_000u64 {
                writer.write(0, [i; 4]);
            }
            writer.write(7, [1; 4]);
        });
        let mut last = 0;
        while last < 200_000 {
            if let Some(words) = second.read(0) {
                assert!(words.iter().all(|w| *w == words[0]), "torn: {words:?}");
                assert!(words[0] >= last);
                last = words[0];
            }
        }
        thread.join().unwrap();
        assert_eq!((reader.read(1), reader.read(2)), (None, None));
    }
}
