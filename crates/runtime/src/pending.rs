//! The pending slot: the newest value from one writer to one reader, by one atomic swap (SPEC §7).
//!
//! A memory listener parses a control update wherever it likes and [`Publisher::publish`]es it; the alpha stage
//! [`Taker::take`]s at the top of its tick. Newer overwrites older, neither side ever waits for the other, and
//! neither side allocates.
//!
//! It is a triple buffer: three cells, of which the writer owns one, the reader one, and the third lies in the
//! middle. An atomic byte holds the index of the middle cell and a flag "not yet taken". To publish, the writer
//! fills its own cell and swaps it into the middle with the flag set; to take, the reader swaps its own cell into
//! the middle, flag clear, if the flag was set. A boxed `AtomicPtr` was rejected: the reader would have to free on
//! the hot path.
//!
//! What it costs the alpha tick (`cargo bench -p alpha --bench engine -- tick_between`; fastest of 2000 samples, since
//! the machine was shared): 192.7 ns a tick without slots, 197.4 ns with two empty ones, 205.5 ns with news in both on
//! every tick, their publishing included.

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// `std`'s cell with loom's interface, so that one text serves both.
#[cfg(not(loom))]
#[derive(Debug)]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }
    fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }
    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

const INDEX: u8 = 0b011;
const FRESH: u8 = 0b100;

struct Shared<T> {
    cells: [UnsafeCell<Option<T>>; 3],
    middle: AtomicU8,
}

// SAFETY: a cell is touched only by the side that owns its index; ownership passes through `middle`, whose swaps are
// AcqRel on both sides: the writer's release pairs with the reader's acquire, and back.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The writing end.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    mine: u8,
}

/// The reading end.
pub struct Taker<T> {
    shared: Arc<Shared<T>>,
    mine: u8,
}

/// A slot with nothing in it.
pub fn pending<T: Copy + Send>() -> (Publisher<T>, Taker<T>) {
    let cell = || UnsafeCell::new(None);
    let shared = Arc::new(Shared { cells: [cell(), cell(), cell()], middle: AtomicU8::new(1) });
    (Publisher { shared: Arc::clone(&shared), mine: 0 }, Taker { shared, mine: 2 })
}

impl<T: Copy + Send> Publisher<T> {
    /// Puts `value` in the slot; what was there and not taken is overwritten.
    pub fn publish(&mut self, value: T) {
        self.shared.cells[self.mine as usize].with_mut(|cell| {
            // SAFETY: `mine` is this side's own index, see `Shared`.
            unsafe { *cell = Some(value) }
        });
        let before = self.shared.middle.swap(self.mine | FRESH, Ordering::AcqRel);
        self.mine = before & INDEX;
    }
}

impl<T: Copy + Send> Taker<T> {
    /// The newest value not yet taken.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        // A relaxed look first: the tick without news costs one load of a line nobody writes.
        if self.shared.middle.load(Ordering::Relaxed) & FRESH == 0 {
            return None;
        }
        let before = self.shared.middle.swap(self.mine, Ordering::AcqRel);
        self.mine = before & INDEX;
        self.shared.cells[self.mine as usize].with(|cell| {
            // SAFETY: `mine` is this side's own index, see `Shared`.
            unsafe { *cell }
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn newest_wins_and_is_taken_once() {
        let (mut publisher, mut taker) = pending();
        assert_eq!(taker.take(), None);
        publisher.publish(1);
        publisher.publish(2);
        assert_eq!(taker.take(), Some(2));
        assert_eq!(taker.take(), None);
        publisher.publish(3);
        assert_eq!(taker.take(), Some(3));
    }

    #[test]
    fn across_threads_values_only_grow_and_the_last_arrives() {
        let (mut publisher, mut taker) = pending();
        let writer = std::thread::spawn(move || (1..=100_000u64).for_each(|i| publisher.publish([i; 4])));
        let mut last = 0;
        while last < 100_000 {
            if let Some(v) = taker.take() {
                assert!(v.iter().all(|&x| x == v[0]), "torn value {v:?}");
                assert!(v[0] > last);
                last = v[0];
            }
        }
        writer.join().unwrap();
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p runtime --lib --release loom`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    #[test]
    fn loom_every_interleaving_is_untorn_and_newest_wins() {
        loom::model(|| {
            let (mut publisher, mut taker) = pending();
            let writer = loom::thread::spawn(move || {
                publisher.publish((1u32, 10u32));
                publisher.publish((2, 20));
                publisher.publish((3, 30));
            });
            let mut last = 0;
            for _ in 0..2 {
                if let Some((a, b)) = taker.take() {
                    assert_eq!(b, a * 10);
                    assert!(a > last);
                    last = a;
                }
            }
            writer.join().unwrap();
            let end = taker.take().map_or(last, |v| v.0);
            assert_eq!(end, 3);
        });
    }
}
