//! The plain twin of the book: ordered maps, sums by definition. Oracle of the tests, baseline of the benchmarks.

use std::collections::BTreeMap;

use market::{Level, Px, Qty};

/// A book as one would write it first.
#[derive(Debug, Clone, Default)]
pub struct NaiveBook {
    /// Bid quantity by price.
    pub bids: BTreeMap<Px, Qty>,
    /// Ask quantity by price.
    pub asks: BTreeMap<Px, Qty>,
}

impl NaiveBook {
    /// Replaces the whole book.
    pub fn replace(&mut self, bids: &[Level], asks: &[Level]) {
        self.bids.clear();
        self.asks.clear();
        self.apply(bids, asks);
    }

    /// Applies absolute quantities.
    pub fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for l in levels {
                if l.qty.is_zero() {
                    side.remove(&l.px);
                } else {
                    side.insert(l.px, l.qty);
                }
            }
        }
    }

    /// Best bid.
    pub fn best_bid(&self) -> Option<Level> {
        self.bids.last_key_value().map(|(&px, &qty)| Level { px, qty })
    }

    /// Best ask.
    pub fn best_ask(&self) -> Option<Level> {
        self.asks.first_key_value().map(|(&px, &qty)| Level { px, qty })
    }

    /// (Σ qty, Σ px·qty) of the bids at `limit` or better.
    pub fn bid_sums(&self, limit: Px) -> (i128, i128) {
        Self::sums(self.bids.range(limit..))
    }

    /// (Σ qty, Σ px·qty) of the asks at `limit` or better.
    pub fn ask_sums(&self, limit: Px) -> (i128, i128) {
        Self::sums(self.asks.range(..=limit))
    }

    fn sums<'a>(levels: impl Iterator<Item = (&'a Px, &'a Qty)>) -> (i128, i128) {
        levels.fold((0, 0), |(q, n), (px, qty)| {
            (q + i128::from(qty.0), n + i128::from(px.0) * i128::from(qty.0))
        })
    }
}
