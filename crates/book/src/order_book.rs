//! Two ladders make a book. Prices in ticks, quantities in lots; no floats but in the features.

use market::{Level, Px, Qty};

use crate::ladder::{Ladder, Sums, window_slots};

/// An order book of absolute quantities. Takes valid levels only ([`Level::is_valid`]), and knows nothing of update
/// ids: [`crate::LocalBook`] sees to both.
#[derive(Debug, Clone)]
pub struct OrderBook {
    /// Keys: minus the price.
    bids: Ladder,
    /// Keys: the price.
    asks: Ladder,
}

/// Exact sums of one side out to the five distances: (Σ qty in lots, Σ px·qty in ticks·lots).
pub type BandSums = [(i128, i128); market::DEPTH_BANDS];

impl Default for OrderBook {
    fn default() -> Self {
        Self::new()
    }
}

impl OrderBook {
    /// An empty book. Its ladders get their size from the first [`Self::replace`].
    pub fn new() -> Self {
        let slots = window_slots(0);
        Self { bids: Ladder::new(slots), asks: Ladder::new(slots) }
    }

    /// Replaces the whole book. Allocates if the price asks for another ladder size than before.
    pub fn replace(&mut self, bids: &[Level], asks: &[Level]) {
        debug_assert!(bids.iter().chain(asks).all(Level::is_valid));
        let best_bid = bids.iter().filter(|l| !l.qty.is_zero()).map(|l| l.px.0).max();
        let best_ask = asks.iter().filter(|l| !l.qty.is_zero()).map(|l| l.px.0).min();
        let any = best_bid.or(best_ask).unwrap_or(0);
        let slots = window_slots(any);
        self.bids.reset(slots, -best_bid.unwrap_or(any));
        self.asks.reset(slots, best_ask.unwrap_or(any));
        self.apply(bids, asks);
    }

    /// Applies absolute quantities; zero removes.
    #[inline]
    pub fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        debug_assert!(bids.iter().chain(asks).all(Level::is_valid));
        for l in bids {
            self.bids.set(-l.px.0, l.qty.0);
        }
        for l in asks {
            self.asks.set(l.px.0, l.qty.0);
        }
        self.bids.settle();
        self.asks.settle();
    }

    /// Best bid.
    #[inline]
    pub fn best_bid(&self) -> Option<Level> {
        self.bids.best().map(|(key, qty)| Level { px: Px(-key), qty })
    }

    /// Best ask.
    #[inline]
    pub fn best_ask(&self) -> Option<Level> {
        self.asks.best().map(|(key, qty)| Level { px: Px(key), qty })
    }

    /// Is the best bid at or above the best ask?
    #[inline]
    pub fn is_crossed(&self) -> bool {
        matches!((self.bids.best(), self.asks.best()), (Some((b, _)), Some((a, _))) if -b >= a)
    }

    /// Quantity at a bid price.
    pub fn bid_qty(&self, px: Px) -> Qty {
        self.bids.qty(-px.0)
    }

    /// Quantity at an ask price.
    pub fn ask_qty(&self, px: Px) -> Qty {
        self.asks.qty(px.0)
    }

    /// Sums of the bids at each of the limits or better; the limits must not rise.
    pub fn bid_sums(&self, limits: [Px; market::DEPTH_BANDS]) -> BandSums {
        self.bids.sums(limits.map(|px| -px.0)).map(|Sums { qty, key_qty }| (qty, -key_qty))
    }

    /// Sums of the asks at each of the limits or better; the limits must not fall.
    pub fn ask_sums(&self, limits: [Px; market::DEPTH_BANDS]) -> BandSums {
        self.asks.sums(limits.map(|px| px.0)).map(|Sums { qty, key_qty }| (qty, key_qty))
    }

    /// The lowest bid and the highest ask kept; `None` if a side is empty.
    pub fn reach(&self) -> Option<(Px, Px)> {
        Some((Px(-self.bids.worst_key()?), Px(self.asks.worst_key()?)))
    }

    /// Levels of (bids, asks).
    pub fn len(&self) -> (usize, usize) {
        (self.bids.len(), self.asks.len())
    }

    /// No level at all?
    pub fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }

    /// Levels dropped because a side was full: the farthest ones go.
    pub fn trimmed(&self) -> u64 {
        self.bids.trimmed() + self.asks.trimmed()
    }

    /// Bids, best first.
    pub fn bids(&self) -> impl Iterator<Item = Level> {
        self.bids.levels().map(|(key, qty)| Level { px: Px(-key), qty: Qty(qty) })
    }

    /// Asks, best first.
    pub fn asks(&self) -> impl Iterator<Item = Level> {
        self.asks.levels().map(|(key, qty)| Level { px: Px(key), qty: Qty(qty) })
    }
}
