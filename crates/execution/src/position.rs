//! Positions in lots and their cost in ticks × lots, and the maker shares of what was filled.
//!
//! All sums are integers. A position's cost is reduced in proportion when it is reduced, so realised profit is what the
//! venue books (average price), with the real commissions.

use market::{Amount, Instrument, Px, Qty};
use serde::{Deserialize, Serialize};

use crate::fills::value_amount;

/// One instrument's position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Signed lots.
    pub qty: Qty,
    /// Signed cost of what is open, ticks × lots (positive for a long).
    pub cost: i128,
    /// Realised profit of this run before commissions.
    pub realised: Amount,
    /// Commissions of this run.
    pub commission: Amount,
}

impl Position {
    /// Average price in ticks, as a float; NaN when flat.
    pub fn avg_ticks(&self) -> f64 {
        self.cost as f64 / self.qty.0 as f64
    }

    /// Value of the open part at `px`, minus its cost.
    pub fn unrealised(&self, instrument: &Instrument, px: Px) -> Amount {
        value_amount(instrument, i128::from(px.0) * i128::from(self.qty.0) - self.cost)
    }

    /// `lots` (signed) traded at `px`: returns the profit realised.
    pub fn trade(&mut self, instrument: &Instrument, lots: i64, px: Px) -> Amount {
        let (old, px) = (self.qty.0, i128::from(px.0));
        self.qty.0 += lots;
        if old == 0 || (old > 0) == (lots > 0) {
            self.cost += px * i128::from(lots);
            return Amount::ZERO;
        }
        let closing = if lots.abs() <= old.abs() { lots } else { -old };
        let cost_out = self.cost * i128::from(-closing) / i128::from(old);
        let realised = value_amount(instrument, -px * i128::from(closing) - cost_out);
        self.cost -= cost_out;
        // What goes beyond flat opens the other side at this price.
        self.cost += px * i128::from(lots - closing);
        self.realised += realised;
        realised
    }

    /// `lots` (signed) that were counted at `from` really traded at `to`. `open` of the `of` lots that they were counted
    /// among are still in the position: that share of the difference is cost, the rest is profit. Returns the profit.
    pub fn reprice(
        &mut self,
        instrument: &Instrument,
        lots: i64,
        (from, to): (Px, Px),
        (open, of): (i64, i64),
    ) -> Amount {
        let diff = i128::from(to.0 - from.0) * i128::from(lots);
        let cost = if of > 0 { diff * i128::from(open) / i128::from(of) } else { 0 };
        self.cost += cost;
        let realised = value_amount(instrument, cost - diff);
        self.realised += realised;
        realised
    }
}

/// Maker shares of everything filled, by value (SPEC §8: reported against 0.62 and 0.50).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakerShare {
    /// Value of entries, quote asset.
    pub entry: Amount,
    /// Of these, what rested.
    pub entry_maker: Amount,
    /// Value of exits.
    pub exit: Amount,
    /// Of these, what rested.
    pub exit_maker: Amount,
}

impl MakerShare {
    pub(crate) fn add(&mut self, entry: bool, value: Amount, maker: bool) {
        let (all, made) = if entry {
            (&mut self.entry, &mut self.entry_maker)
        } else {
            (&mut self.exit, &mut self.exit_maker)
        };
        *all += value;
        if maker {
            *made += value;
        }
    }

    /// Share of entries that rested; NaN before the first.
    pub fn entries(&self) -> f64 {
        self.entry_maker.0 as f64 / self.entry.0 as f64
    }

    /// Share of exits that rested; NaN before the first.
    pub fn exits(&self) -> f64 {
        self.exit_maker.0 as f64 / self.exit.0 as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use market::{Increment, SymbolId};

    #[test]
    fn reducing_realises_against_the_average() {
        let i = Instrument::plain(SymbolId(0), "X", Increment::decimals(2), Increment::decimals(3));
        let mut p = Position::default();
        p.trade(&i, -10, Px(10_000));
        p.trade(&i, -10, Px(10_200));
        assert_eq!(p.avg_ticks(), 10_100.0);
        // 5 lots of 0.001 bought back 1.00 below the average: 0.005.
        assert_eq!(p.trade(&i, 5, Px(10_000)).to_string(), "0.00500000");
        assert_eq!((p.qty, p.avg_ticks()), (Qty(-15), 10_100.0));
        assert_eq!(p.unrealised(&i, Px(10_100)), Amount::ZERO);
    }
}
