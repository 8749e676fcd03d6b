//! Message budgets: token buckets against the venue's limits, and counters over a sliding window.

use arrayvec::ArrayVec;
use market::Nanos;
use serde::{Deserialize, Serialize};

/// A bucket that refills evenly. At half the venue's limit even a full bucket spent at once, and all that refills
/// within the venue's window, stays within what the venue allows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenBucket {
    capacity: i64,
    window: u64,
    tokens: i64,
    refilled: Nanos,
}

/// Tokens are counted in millionths, so that a refill of any length is kept.
const ONE: i64 = 1_000_000;

impl TokenBucket {
    /// `capacity` tokens per `window` nanoseconds, full.
    pub fn new(capacity: u32, window: u64) -> Self {
        let capacity = i64::from(capacity) * ONE;
        Self { capacity, window, tokens: capacity, refilled: Nanos(0) }
    }

    fn earned(&self, now: Nanos) -> i64 {
        // A debt of one capacity and the capacity itself are earned in two windows.
        let elapsed = now.since(self.refilled).0.min(2 * self.window);
        (i128::from(self.capacity) * i128::from(elapsed) / i128::from(self.window)) as i64
    }

    /// Whole tokens there now (negative after exits have overdrawn it).
    pub fn available(&self, now: Nanos) -> i64 {
        (self.tokens + self.earned(now)).min(self.capacity).div_euclid(ONE)
    }

    /// Takes `n`, even where it is not there: exits and cancels are never held back by our own budget, which is half
    /// of the venue's. The debt is bounded by one more capacity.
    pub fn debit(&mut self, now: Nanos, n: i64) {
        let earned = self.earned(now);
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(self.capacity);
            self.refilled = now;
        }
        self.tokens = (self.tokens - n * ONE).max(-self.capacity);
    }

    /// Size in whole tokens.
    pub fn capacity(&self) -> i64 {
        self.capacity / ONE
    }
}

/// How many times something happened within the last `window` (counting up to `N`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowCount<const N: usize> {
    at: ArrayVec<Nanos, N>,
    window: u64,
}

impl<const N: usize> WindowCount<N> {
    /// Nothing happened yet.
    pub fn new(window: u64) -> Self {
        Self { at: ArrayVec::new(), window }
    }

    /// It happened. When all `N` places are taken the oldest is forgotten: `N` is above every limit.
    pub fn add(&mut self, now: Nanos) {
        self.prune(now);
        if self.at.is_full() {
            self.at.remove(0);
        }
        self.at.push(now);
    }

    /// How often within the window.
    pub fn count(&self, now: Nanos) -> u32 {
        self.at.iter().filter(|t| now.since(**t).0 < self.window).count() as u32
    }

    /// When it happened, oldest first.
    pub fn times(&self) -> &[Nanos] {
        &self.at
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.at.clear();
    }

    fn prune(&mut self, now: Nanos) {
        let window = self.window;
        self.at.retain(|t| now.since(*t).0 < window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_evenly_and_may_be_overdrawn_once() {
        let mut b = TokenBucket::new(10, 10 * Nanos::SECOND);
        let t = |ms: u64| Nanos::from_millis(1_000_000 + ms);
        assert_eq!(b.available(t(0)), 10);
        b.debit(t(0), 12);
        assert_eq!(b.available(t(0)), -2);
        assert_eq!(b.available(t(3_000)), 1);
        b.debit(t(3_000), 1_000);
        assert_eq!(b.available(t(3_000)), -10);
        assert_eq!(b.available(t(13_000)), 0);
        assert_eq!(b.available(t(22_999)), 9);
        assert_eq!(b.available(t(70_000)), 10);
    }

    #[test]
    fn many_small_refills_lose_nothing() {
        let mut b = TokenBucket::new(7, 10 * Nanos::SECOND);
        b.debit(Nanos(1), 7);
        for i in 0..10_000 {
            b.debit(Nanos(1 + i * Nanos::MS), 0);
        }
        assert!(b.available(Nanos(1 + 10_001 * Nanos::MS)) >= 6);
    }

    #[test]
    fn a_window_forgets() {
        let mut w = WindowCount::<4>::new(100);
        for t in [0, 10, 20] {
            w.add(Nanos(t));
        }
        assert_eq!(w.count(Nanos(99)), 3);
        assert_eq!(w.count(Nanos(105)), 2);
    }
}
