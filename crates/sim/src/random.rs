//! The numbers of a seed.

use runtime::environment::splitmix64;

/// A sequence of numbers; a fork of it is another sequence that later draws do not disturb.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Of a seed and a purpose.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut state = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        splitmix64(&mut state);
        Self(state)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        splitmix64(&mut self.0)
    }

    /// Below `n`; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `low` to `high`, small numbers as likely as large ones.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let (low, high) = (low.max(1) as f64, high.max(1) as f64);
        (low * (high / low).powf(self.unit())) as u64
    }

    /// One of a list.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let n = self.below(list.len() as u64);
        list.get(usize::try_from(n).ok()?)
    }
}
