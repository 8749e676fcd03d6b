//! One side of the book: a tick ladder near the touch, a sorted list beyond it.
//!
//! The problem: updates cluster at the touch and must cost nanoseconds, yet the depth features want exact sums out
//! to 5 % of mid, and the venue also sends levels anywhere between one tick and ten times the price.
//!
//! The idea: a *key* counts ticks away from the market (ask: the price, bid: minus the price), so that on both sides
//! the best level has the smallest key and one code serves both. Keys of the window `[base, base + slots)` live in
//! an array with one slot a tick. Every 64 slots form a bucket that keeps an occupancy bitmap, `Σ qty` and
//! `Σ offset·qty`; an update changes one slot and adds its delta to one bucket. The sum out to any distance is then a
//! walk over whole buckets plus one partly covered bucket, in integers: exact, however long the book lives.
//! The window is chosen to span the 5 % bands (see [`window_slots`]), so the far list takes no part in the sums of an
//! ordinary instrument; it is a vector sorted worst first, because what changes in it is mostly close to the window.
//! When the touch leaves its part of the window the window moves; that costs one pass over the levels and happens
//! once in thousands of updates.
//!
//! Chosen by `cargo bench -p replay --bench decode structure` (median ns a level, one run on a busy 2-core machine; compare
//! the ratios):
//!
//! | structure | 20 a side, generated | 100 a side, generated | recorded BTC stream |
//! |---|---|---|---|
//! | ladder and far list | 3.3 | 5.5 | 9.0 |
//! | sorted vector, best last | 43 | 51 | 114 |
//! | ordered map | 57 | 83 | 86 |

use market::Qty;

/// Slots of one bucket: one bitmap word.
const BUCKET: usize = 64;
/// Smallest window, in ticks.
const MIN_SLOTS: usize = 1024;
/// Largest window, in ticks: half a megabyte a side. Beyond it the far list takes part in the sums.
const MAX_SLOTS: usize = 1 << 16;

/// Levels a side keeps outside its window; the farthest are dropped first.
pub const MAX_FAR_LEVELS: usize = 8192;

/// Window for an instrument around `px` ticks: the 5 % band and a fifth more, as a power of two.
pub fn window_slots(px: i64) -> usize {
    let wanted = usize::try_from(px / 20 + px / 100).unwrap_or(MIN_SLOTS);
    wanted.clamp(MIN_SLOTS, MAX_SLOTS).next_power_of_two().min(MAX_SLOTS)
}

/// 64 neighbouring ticks.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Which slots hold a level.
    occupied: u64,
    /// Σ qty. At most 64 · [`market::Level::MAX_QTY`] = 2⁵⁶.
    qty: i64,
    /// Σ (slot in the bucket) · qty. Less than 2⁶².
    offset_qty: i64,
}

/// Σ qty and Σ key·qty of the levels of one side out to some distance, exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Σ quantity, lots.
    pub qty: i128,
    /// Σ key·quantity, ticks·lots (negative on the bid side, where a key is minus the price).
    pub key_qty: i128,
}

impl Sums {
    fn add(&mut self, key: i64, qty: i64) {
        self.qty += i128::from(qty);
        self.key_qty += i128::from(key) * i128::from(qty);
    }

    fn add_bucket(&mut self, first_key: i64, b: &Bucket) {
        self.qty += i128::from(b.qty);
        self.key_qty += i128::from(first_key) * i128::from(b.qty) + i128::from(b.offset_qty);
    }
}

/// One side of a book. All keys: smaller is better.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    /// Key of slot 0.
    base: i64,
    /// Quantity by slot; 0 = no level.
    slots: Vec<i64>,
    buckets: Vec<Bucket>,
    /// Slot of the best level; `slots.len()` if the window is empty.
    best: usize,
    /// Levels in the window.
    near: usize,
    /// Levels beyond the window as (key, qty), worst first. Never better than the window.
    far: Vec<(i64, i64)>,
    /// Where levels wait while the window moves.
    moving: Vec<(i64, i64)>,
    /// Far levels dropped for want of room.
    trimmed: u64,
}

impl Ladder {
    pub(crate) fn new(slots: usize) -> Self {
        let mut ladder = Self {
            base: 0,
            slots: Vec::new(),
            buckets: Vec::new(),
            best: 0,
            near: 0,
            far: Vec::with_capacity(MAX_FAR_LEVELS),
            moving: Vec::new(),
            trimmed: 0,
        };
        ladder.resize(slots);
        ladder
    }

    fn resize(&mut self, slots: usize) {
        debug_assert!(slots.is_power_of_two() && slots >= BUCKET);
        self.slots = vec![0; slots];
        self.buckets = vec![Bucket::default(); slots / BUCKET];
        self.best = slots;
        self.near = 0;
        self.moving = Vec::with_capacity(slots + MAX_FAR_LEVELS);
    }

    /// Empties the side and puts the window where a touch at `best_key` wants it.
    pub(crate) fn reset(&mut self, slots: usize, best_key: i64) {
        self.far.clear();
        if slots == self.slots.len() {
            self.clear_window();
        } else {
            self.resize(slots);
        }
        self.base = self.base_for(best_key);
    }

    fn clear_window(&mut self) {
        for (b, bucket) in self.buckets.iter_mut().enumerate() {
            for i in bits(bucket.occupied) {
                self.slots[b * BUCKET + i] = 0;
            }
            *bucket = Bucket::default();
        }
        self.best = self.slots.len();
        self.near = 0;
    }

    /// The window's first key for a best level at `key`: one sixteenth of the window is left for better prices.
    fn base_for(&self, key: i64) -> i64 {
        key - (self.slots.len() / 16) as i64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.near == 0 && self.far.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.near + self.far.len()
    }

    pub(crate) fn trimmed(&self) -> u64 {
        self.trimmed
    }

    /// Best level. The window is empty only if the side is (`settle` sees to it).
    #[inline]
    pub(crate) fn best(&self) -> Option<(i64, Qty)> {
        let qty = *self.slots.get(self.best)?;
        Some((self.base + self.best as i64, Qty(qty)))
    }

    /// Key of the worst level.
    pub(crate) fn worst_key(&self) -> Option<i64> {
        if let Some(&(key, _)) = self.far.first() {
            return Some(key);
        }
        let b = self.buckets.iter().rposition(|b| b.occupied != 0)?;
        let top = BUCKET - 1 - self.buckets[b].occupied.leading_zeros() as usize;
        Some(self.base + (b * BUCKET + top) as i64)
    }

    /// Quantity at `key`, zero if there is none.
    pub(crate) fn qty(&self, key: i64) -> Qty {
        match usize::try_from(key - self.base) {
            Ok(slot) if slot < self.slots.len() => Qty(self.slots[slot]),
            _ => Qty(self.find_far(key).map_or(0, |i| self.far[i].1)),
        }
    }

    /// Sets the absolute quantity at `key`; zero removes the level, and removing what is not there is normal.
    #[inline]
    pub(crate) fn set(&mut self, key: i64, qty: i64) {
        let slot = key.wrapping_sub(self.base) as u64;
        if slot < self.slots.len() as u64 {
            self.set_slot(slot as usize, qty);
        } else {
            self.set_outside(key, qty);
        }
    }

    #[inline]
    fn set_slot(&mut self, slot: usize, qty: i64) {
        let old = std::mem::replace(&mut self.slots[slot], qty);
        let delta = qty - old;
        let (bucket, bit) = (&mut self.buckets[slot / BUCKET], slot % BUCKET);
        bucket.qty += delta;
        bucket.offset_qty += bit as i64 * delta;
        bucket.occupied = bucket.occupied & !(1 << bit) | u64::from(qty != 0) << bit;
        self.near = self.near + usize::from(qty != 0) - usize::from(old != 0);
        // Whether a level comes or goes is as good as random: no branch on it but where the best one goes.
        let came = if qty != 0 { slot } else { usize::MAX };
        self.best = self.best.min(came);
        if qty == 0 && slot == self.best {
            self.best = self.next_occupied(slot);
        }
    }

    /// First occupied slot from `slot` on.
    fn next_occupied(&self, slot: usize) -> usize {
        self.buckets[slot / BUCKET..]
            .iter()
            .zip(slot / BUCKET..)
            .find(|(b, _)| b.occupied != 0)
            .map_or(self.slots.len(), |(b, i)| i * BUCKET + b.occupied.trailing_zeros() as usize)
    }

    #[cold]
    fn set_outside(&mut self, key: i64, qty: i64) {
        if key < self.base {
            // Better than the window: nothing to remove there, and a new level moves the window.
            if qty != 0 {
                self.move_window(key);
                self.set_slot((key - self.base) as usize, qty);
            }
            return;
        }
        match self.far.binary_search_by(|&(k, _)| key.cmp(&k)) {
            Ok(i) if qty == 0 => {
                self.far.remove(i);
            }
            Ok(i) => self.far[i].1 = qty,
            Err(_) if qty == 0 => {}
            Err(0) if self.far.len() == MAX_FAR_LEVELS => self.trimmed += 1,
            Err(mut i) => {
                if self.far.len() == MAX_FAR_LEVELS {
                    self.far.remove(0);
                    self.trimmed += 1;
                    i -= 1;
                }
                self.far.insert(i, (key, qty));
            }
        }
    }

    fn find_far(&self, key: i64) -> Option<usize> {
        self.far.binary_search_by(|&(k, _)| key.cmp(&k)).ok()
    }

    /// Call after each batch of updates: brings the window back around the touch when it has drifted away.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.best > self.slots.len() / 8 {
            self.settle_far();
        }
    }

    #[cold]
    fn settle_far(&mut self) {
        let best = match self.far.last() {
            _ if self.best < self.slots.len() => self.base + self.best as i64,
            Some(&(key, _)) => key,
            None => return,
        };
        self.move_window(best);
    }

    /// Puts the window where a touch at `best_key` wants it, and every level where it then belongs.
    fn move_window(&mut self, best_key: i64) {
        let mut moving = std::mem::take(&mut self.moving);
        moving.clear();
        moving.append(&mut self.far);
        for (b, bucket) in self.buckets.iter().enumerate().rev() {
            for i in bits(bucket.occupied).rev() {
                let slot = b * BUCKET + i;
                moving.push((self.base + slot as i64, self.slots[slot]));
            }
        }
        self.clear_window();
        self.base = self.base_for(best_key);
        let end = self.base + self.slots.len() as i64;
        // Worst first, so the far list is filled in its own order; the farthest go if it is full.
        let far = moving.partition_point(|&(key, _)| key >= end);
        let dropped = far.saturating_sub(MAX_FAR_LEVELS);
        self.trimmed += dropped as u64;
        self.far.extend_from_slice(&moving[dropped..far]);
        for &(key, qty) in &moving[far..] {
            self.set_slot((key - self.base) as usize, qty);
        }
        self.moving = moving;
    }

    /// Sums over the levels with key ≤ each limit. The limits must not decrease.
    pub(crate) fn sums<const N: usize>(&self, limits: [i64; N]) -> [Sums; N] {
        let mut out = [Sums::default(); N];
        let mut whole = Sums::default();
        let mut bucket = self.best / BUCKET;
        let mut far = self.far.len();
        for (sum, limit) in out.iter_mut().zip(limits) {
            // Slots below `end` count.
            let end = usize::try_from(limit - self.base + 1).unwrap_or(0).min(self.slots.len());
            while bucket < end / BUCKET {
                whole.add_bucket(self.bucket_key(bucket), &self.buckets[bucket]);
                bucket += 1;
            }
            while far > 0 && self.far[far - 1].0 <= limit {
                far -= 1;
                whole.add(self.far[far].0, self.far[far].1);
            }
            *sum = whole;
            if bucket == end / BUCKET && end % BUCKET != 0 {
                self.add_part(sum, bucket, end % BUCKET);
            }
        }
        out
    }

    fn bucket_key(&self, bucket: usize) -> i64 {
        self.base + (bucket * BUCKET) as i64
    }

    /// Adds the first `end` slots of a bucket.
    fn add_part(&self, sum: &mut Sums, bucket: usize, end: usize) {
        let mut part = Bucket::default();
        for i in bits(self.buckets[bucket].occupied & !(u64::MAX << end)) {
            let qty = self.slots[bucket * BUCKET + i];
            part.qty += qty;
            part.offset_qty += i as i64 * qty;
        }
        sum.add_bucket(self.bucket_key(bucket), &part);
    }

    /// All levels, best first, as (key, qty).
    pub(crate) fn levels(&self) -> impl Iterator<Item = (i64, i64)> {
        let near = self.buckets.iter().enumerate().flat_map(move |(b, bucket)| {
            bits(bucket.occupied).map(move |i| {
                let slot = b * BUCKET + i;
                (self.base + slot as i64, self.slots[slot])
            })
        });
        near.chain(self.far.iter().rev().copied())
    }
}

/// The set bits of a word, from either end.
fn bits(word: u64) -> impl DoubleEndedIterator<Item = usize> {
    struct Bits(u64);
    impl Iterator for Bits {
        type Item = usize;
        #[inline]
        fn next(&mut self) -> Option<usize> {
            let i = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
            self.0 &= self.0 - 1;
            Some(i)
        }
    }
    impl DoubleEndedIterator for Bits {
        fn next_back(&mut self) -> Option<usize> {
            let i = (self.0 != 0).then(|| 63 - self.0.leading_zeros() as usize)?;
            self.0 ^= 1 << i;
            Some(i)
        }
    }
    Bits(word)
}
