//! The simulated market: seeded, deterministic, pure (time is an argument). Prices follow a common factor and each
//! instrument's own noise ([`returns`]); around each price a book is kept that trades and breathes ([`book`]).

mod book;
mod instruments;
mod math;
mod returns;
mod step;

use market::{Amount, Nanos, SymbolId};

pub(crate) use instruments::listing;
pub use instruments::listings;
pub use returns::{MAX_PREROLL, Preroll, preroll};
pub use step::Step;

use crate::core::Listing;
use book::SimBook;
pub(crate) use returns::Random;
use returns::Returns;

/// Steps of a symbol take a whole multiple of this.
pub(crate) const STEP: Nanos = Nanos(100 * Nanos::MS);

/// The market of all simulated symbols.
#[derive(Debug)]
pub struct SimMarket {
    returns: Returns,
    books: Vec<SimBook>,
    step: Nanos,
}

impl SimMarket {
    /// A market opening at the prices of the listings' table. `step`: a whole multiple of [`STEP`].
    pub fn new(seed: u64, listings: &[Listing], step: Nanos) -> Self {
        let book = |(i, l): (usize, &Listing)| {
            let random = Random::new(seed, 1_000 + i as u64);
            SimBook::new(random, &l.instrument, instruments::opening(i), step.0 / STEP.0)
        };
        let books = listings.iter().enumerate().map(book).collect();
        Self { returns: Returns::new(seed, listings.len()), books, step }
    }

    /// Time between two steps of a symbol.
    pub const fn step_length(&self) -> Nanos {
        self.step
    }

    /// Moves the common factor and every price by one step.
    pub fn advance(&mut self) {
        let moves = self.returns.step(self.step.0 as f64 / Nanos::SECOND as f64);
        for (book, r) in self.books.iter_mut().zip(moves) {
            book.drift(*r);
        }
    }

    /// Lets one symbol's book follow its price and trade.
    pub fn step(&mut self, symbol: SymbolId, out: &mut Step) {
        out.bids.clear();
        out.asks.clear();
        out.trades.clear();
        self.books[symbol.index()].step(self.returns.activity(), out);
    }

    /// Lets a symbol's price jump to a multiple of itself; its book follows with the next step.
    pub fn jump(&mut self, symbol: SymbolId, factor: f64) {
        self.books[symbol.index()].drift(math::ln(factor));
    }

    /// The fair price of a symbol: the index.
    pub fn index_price(&self, symbol: SymbolId) -> Amount {
        Amount::from_f64(self.books[symbol.index()].fair()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Bids and asks of a symbol.
    type Sides = [BTreeMap<i64, i64>; 2];

    fn market(seed: u64, n: usize, steps: usize) -> (Vec<Listing>, Vec<Sides>, Vec<usize>) {
        let listings = listings(n);
        let mut sim = SimMarket::new(seed, &listings, STEP);
        let mut books = vec![[BTreeMap::new(), BTreeMap::new()]; n];
        let mut trades = vec![0; n];
        let mut out = Step::default();
        for _ in 0..steps {
            sim.advance();
            for (i, book) in books.iter_mut().enumerate() {
                sim.step(SymbolId(i as u16), &mut out);
                for (side, levels) in [(0, &out.bids), (1, &out.asks)] {
                    for l in levels {
                        if l.qty.0 == 0 {
                            book[side].remove(&l.px.0);
                        } else {
                            book[side].insert(l.px.0, l.qty.0);
                        }
                    }
                }
                trades[i] += out.trades.len();
                let bid = book[0].keys().next_back().unwrap();
                let ask = book[1].keys().next().unwrap();
                assert!(bid < ask, "crossed: symbol {i}, {bid} {ask}");
            }
        }
        (listings, books, trades)
    }

    #[test]
    fn books_never_cross_reach_five_percent_and_trade() {
        let (listings, books, trades) = market(7, 48, 1200);
        for (i, book) in books.iter().enumerate() {
            let bid = *book[0].keys().next_back().unwrap() as f64;
            let ask = *book[1].keys().next().unwrap() as f64;
            let mid = (bid + ask) / 2.0;
            let name = &listings[i].instrument.symbol;
            assert!((*book[0].keys().next().unwrap() as f64) <= mid * 0.95, "{name}: bids reach 5 %");
            assert!((*book[1].keys().next_back().unwrap() as f64) >= mid * 1.05, "{name}: asks reach 5 %");
            assert!((ask - bid) / mid < 0.002, "{name}: spread {} of {mid}", ask - bid);
            assert!(book.iter().all(|b| (1000..2000).contains(&b.len())), "{name}: {} levels", book[0].len());
            assert!(book.iter().all(|b| b.values().all(|q| *q > 0)));
            assert!((20..2400).contains(&trades[i]), "{name}: {} trades in two minutes", trades[i]);
        }
    }

    #[test]
    fn the_same_seed_is_the_same_market_and_another_is_not() {
        let (_, a, _) = market(1, 3, 50);
        let (_, b, _) = market(1, 3, 50);
        let (_, c, _) = market(2, 3, 50);
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
