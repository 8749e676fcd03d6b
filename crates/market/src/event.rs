//! What the venue says about the market, decoded: integers, ids and times, no text.

use serde::{Deserialize, Serialize};

use crate::decimal::{Px, Qty};
use crate::instrument::SymbolId;
use crate::order::Side;
use crate::time::Nanos;

/// A price level. Quantities are absolute; zero removes the level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Price.
    pub px: Px,
    /// Absolute quantity.
    pub qty: Qty,
}

impl Level {
    /// Largest price of a level. No listed instrument comes near it; sums over a whole book stay within 128 bits.
    pub const MAX_PX: Px = Px(1 << 48);
    /// Largest quantity of a level: sums over 64 levels with a small factor stay within 64 bits.
    pub const MAX_QTY: Qty = Qty(1 << 50);

    /// 0 < price ≤ [`Self::MAX_PX`] and 0 ≤ quantity ≤ [`Self::MAX_QTY`].
    #[inline]
    pub fn is_valid(&self) -> bool {
        // No branches: a loop over levels becomes vector code.
        (0 < self.px.0) & (self.px <= Self::MAX_PX) & (0 <= self.qty.0) & (self.qty <= Self::MAX_QTY)
    }

    /// Are they all?
    #[inline]
    pub fn all_valid(levels: &[Self]) -> bool {
        levels.iter().fold(true, |valid, level| valid & level.is_valid())
    }
}

/// `depthUpdate`: the levels that changed between two update ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthUpdate<'a> {
    /// Instrument.
    pub symbol: SymbolId,
    /// Venue transaction time (`T`).
    pub ts_event: Nanos,
    /// Venue send time (`E`): decides dates and sampling.
    pub ts_send: Nanos,
    /// `U`.
    pub first_update_id: u64,
    /// `u`.
    pub last_update_id: u64,
    /// `pu`: the `u` of the update before this one.
    pub prev_last_update_id: u64,
    /// Bid levels, in the order received.
    pub bids: &'a [Level],
    /// Ask levels, in the order received.
    pub asks: &'a [Level],
}

/// A REST depth reply: the whole book down to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthSnapshot<'a> {
    /// Instrument.
    pub symbol: SymbolId,
    /// `E` of the reply (zero if the venue gave none).
    pub ts_send: Nanos,
    /// `lastUpdateId`.
    pub last_update_id: u64,
    /// Bid levels, best first.
    pub bids: &'a [Level],
    /// Ask levels, best first.
    pub asks: &'a [Level],
}

/// `bookTicker`: best bid and offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bbo {
    /// Instrument.
    pub symbol: SymbolId,
    /// `T`.
    pub ts_event: Nanos,
    /// `E`.
    pub ts_send: Nanos,
    /// `u`: the book's update id.
    pub update_id: u64,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

/// Which stream a trade came from (SPEC §2.4: where a symbol has `aggTrade`, only that is counted).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradeKind {
    /// `trade`: one match.
    Raw,
    /// `aggTrade`: the matches of one taker order at one price.
    Aggregate,
}

/// A trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// Instrument.
    pub symbol: SymbolId,
    /// `trade` or `aggTrade`.
    pub kind: TradeKind,
    /// Trade id (`t`) or aggregate id (`a`).
    pub id: u64,
    /// `T`.
    pub ts_event: Nanos,
    /// `E`.
    pub ts_send: Nanos,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Who took: `m: true` (buyer is maker) is an aggressive sell.
    pub aggressor: Side,
}

/// `markPriceUpdate`. Index prices have more digits than ticks, so these are floats: limits and display only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MarkPrice {
    /// Instrument.
    pub symbol: SymbolId,
    /// `E`.
    pub ts_send: Nanos,
    /// Mark price `p`.
    pub mark: f64,
    /// Index price `i`.
    pub index: f64,
    /// Funding rate `r` (NaN where the venue sends an empty text).
    pub funding_rate: f64,
    /// Next funding time `T`.
    pub next_funding: Nanos,
}

/// A decoded market frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MarketEvent<'a> {
    /// Depth update.
    Depth(DepthUpdate<'a>),
    /// Best bid and offer.
    Bbo(Bbo),
    /// Trade.
    Trade(Trade),
    /// Mark price.
    Mark(MarkPrice),
}

impl MarketEvent<'_> {
    /// The instrument it is about.
    pub fn symbol(&self) -> SymbolId {
        match self {
            Self::Depth(e) => e.symbol,
            Self::Bbo(e) => e.symbol,
            Self::Trade(e) => e.symbol,
            Self::Mark(e) => e.symbol,
        }
    }

    /// Venue send time (`E`).
    pub fn ts_send(&self) -> Nanos {
        match self {
            Self::Depth(e) => e.ts_send,
            Self::Bbo(e) => e.ts_send,
            Self::Trade(e) => e.ts_send,
            Self::Mark(e) => e.ts_send,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_has_a_price_and_limits() {
        let level = |px: i64, qty: i64| Level { px: Px(px), qty: Qty(qty) };
        let (px, qty) = (Level::MAX_PX.0, Level::MAX_QTY.0);
        for good in [level(1, 0), level(px, qty)] {
            assert!(good.is_valid(), "{good:?}");
        }
        for bad in
            [level(0, 1), level(-1, 1), level(px + 1, 1), level(1, -1), level(1, qty + 1), level(i64::MIN, 1)]
        {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
