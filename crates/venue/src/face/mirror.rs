//! A market from elsewhere: whoever holds the venue feeds it books, trades and marks, and the accounts' orders meet
//! them as they would meet a played market. Nothing here knows where they come from.
//!
//! Fills: an order that takes gets what stands in the mirrored book at its limit or better, and what it took stays
//! taken until that level is told anew. An order that rests is filled when a mirrored trade goes through its price, by
//! a trade at its price once the quantity that stood before it is gone, or when the mirrored book crosses it; always
//! at its own price. The real market does not feel our orders.

use market::{Amount, Level, Nanos, Px, Qty, Side, SymbolId};

use super::feed::Sink;
use super::world::World;

/// A change of a mirrored market.
#[derive(Debug, Clone, Copy)]
pub enum Mirrored<'a> {
    /// The whole book: levels that are not named are gone.
    Book {
        /// Bids.
        bids: &'a [Level],
        /// Asks.
        asks: &'a [Level],
    },
    /// Changed levels (absolute; 0 removes).
    Levels {
        /// Bids.
        bids: &'a [Level],
        /// Asks.
        asks: &'a [Level],
    },
    /// A trade.
    Trade {
        /// Who took.
        aggressor: Side,
        /// Price.
        px: Px,
        /// Quantity.
        qty: Qty,
    },
    /// Mark and index price, funding.
    Mark {
        /// Mark price.
        mark: Amount,
        /// Index price.
        index: Amount,
        /// Funding rate, in 10⁻⁸.
        funding_rate: i64,
        /// Next funding time.
        next_funding: Nanos,
    },
}

impl World {
    /// Lets a mirrored change happen at `now`.
    pub(crate) fn mirror(&mut self, symbol: SymbolId, what: Mirrored<'_>, now: Nanos) {
        if symbol.index() >= self.exchange.listings().len() {
            return;
        }
        let at = self.clock(now);
        match what {
            Mirrored::Book { bids, asks } => self.exchange.play_snapshot(symbol, bids, asks, at),
            Mirrored::Levels { bids, asks } => self.exchange.play_levels(symbol, bids, asks, at),
            Mirrored::Trade { aggressor, px, qty } => {
                self.exchange.play_trade(symbol, aggressor, px, qty, at);
            }
            Mirrored::Mark { mark, index, funding_rate, next_funding } => {
                let m = &mut self.exchange.listing_mut(symbol).mark;
                m.funding_rate = funding_rate;
                // Funding is paid when its time has passed, by the rate told last before.
                let due = m.next_funding.0 > 0 && next_funding > m.next_funding;
                m.next_funding = next_funding;
                if due {
                    self.exchange.fund(symbol, at);
                }
                self.exchange.set_mark(symbol, mark, index, at);
                self.feed.marked(symbol, mark.to_f64(), index.to_f64(), at);
            }
        }
        let mut sink = Sink { hub: &mut self.hub, faults: &mut self.faults, now: at };
        self.feed.book_changed(&mut self.exchange, symbol, None, &mut sink);
        self.settle(at);
    }
}
