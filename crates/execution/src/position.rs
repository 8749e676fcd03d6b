//! Positions in lots, their cost in ticks × lots, and the account's wallet, equity and drawdown of the day.
//!
//! All sums are integers. A position's cost is reduced in proportion when it is reduced, so realised profit is what the
//! venue books (average price), with the real commissions.

use market::{Amount, Instrument, Px, Qty, Side};

use crate::fills::{FillDelta, value_amount};

/// One instrument's position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

    /// `lots` (signed) that were counted at `from` really traded at `to`: the difference is booked where the lots are
    /// now, as profit if they closed something, else as cost.
    pub fn reprice(&mut self, instrument: &Instrument, lots: i64, from: Px, to: Px) -> Amount {
        let diff = i128::from(to.0 - from.0) * i128::from(lots);
        if self.qty.0 != 0 && (self.qty.0 > 0) == (lots > 0) {
            self.cost += diff;
            return Amount::ZERO;
        }
        let realised = value_amount(instrument, -diff);
        self.realised += realised;
        realised
    }
}

/// The account as far as it follows from fills.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Balance without unrealised profit: the venue's at the last reconciliation plus what was booked since.
    pub wallet: Amount,
    /// Equity when the day began.
    pub day_start: Amount,
    /// Highest equity of the day.
    pub day_peak: Amount,
    /// Equity now.
    pub equity: Amount,
    /// Is the balance known (a reconciliation has told it)?
    pub known: bool,
}

impl Account {
    /// Takes the equity of now into the day's peak.
    pub fn observe(&mut self, unrealised: Amount) {
        self.equity = self.wallet + unrealised;
        self.day_peak.0 = self.day_peak.0.max(self.equity.0);
    }

    /// The wallet changed by `change`; a transfer (no profit) moves what the day is measured against too.
    pub fn income(&mut self, change: Amount, is_profit: bool) {
        self.wallet += change;
        self.equity += change;
        if !is_profit {
            self.day_start += change;
            self.day_peak += change;
        }
    }

    /// A new day.
    pub fn begin_day(&mut self) {
        self.day_start = self.equity;
        self.day_peak = self.equity;
    }

    /// Profit of the day.
    pub fn day_pnl(&self) -> Amount {
        self.equity - self.day_start
    }

    /// Fall from the day's peak as a fraction of it.
    pub fn drawdown(&self) -> f64 {
        if self.day_peak.0 <= 0 {
            0.0
        } else {
            (self.day_peak - self.equity).0 as f64 / self.day_peak.0 as f64
        }
    }

    /// The venue's word on the balance.
    pub fn set_wallet(&mut self, wallet: Amount, unrealised: Amount) {
        self.wallet = wallet;
        self.equity = wallet + unrealised;
        if !self.known {
            self.known = true;
            self.begin_day();
        }
        self.day_peak.0 = self.day_peak.0.max(self.equity.0);
    }
}

/// Books a change of an order's fills: returns what the wallet gains.
pub(crate) fn book(p: &mut Position, i: &Instrument, side: Side, d: &FillDelta, stand_in: Px) -> Amount {
    let mut gain = Amount::ZERO;
    if !d.repriced.is_zero() {
        gain += p.reprice(i, side.sign() * d.repriced.0, stand_in, d.px);
    }
    let fresh = d.priced - d.repriced;
    if !fresh.is_zero() {
        gain += p.trade(i, side.sign() * fresh.0, d.px);
    }
    let unpriced = d.lots - fresh;
    if !unpriced.is_zero() {
        gain += p.trade(i, side.sign() * unpriced.0, stand_in);
    }
    p.commission += d.commission;
    gain - d.commission
}

/// Maker shares of everything filled, by value (SPEC §8: reported against 0.62 and 0.50).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    use proptest::prelude::*;

    fn inst() -> Instrument {
        Instrument::plain(SymbolId(0), "X", Increment::decimals(2), Increment::decimals(3))
    }

    #[test]
    fn reducing_realises_against_the_average() {
        let i = inst();
        let mut p = Position::default();
        p.trade(&i, -10, Px(10_000));
        p.trade(&i, -10, Px(10_200));
        assert_eq!(p.avg_ticks(), 10_100.0);
        // 5 lots of 0.001 bought back 1.00 below the average: 0.005.
        assert_eq!(p.trade(&i, 5, Px(10_000)).to_string(), "0.00500000");
        assert_eq!((p.qty, p.avg_ticks()), (Qty(-15), 10_100.0));
        assert_eq!(p.unrealised(&i, Px(10_100)), Amount::ZERO);
    }

    proptest! {
        /// However fills come, profit is what was received minus what was paid, and a price learned late ends where
        /// the same price known at once would have.
        #[test]
        fn profit_is_cash_flow(trades in prop::collection::vec((-50i64..50, 9_000i64..11_000), 1..40), late in 0usize..40) {
            let i = inst();
            let (mut p, mut q, mut cash) = (Position::default(), Position::default(), 0i128);
            for (n, &(lots, px)) in trades.iter().enumerate().filter(|(_, t)| t.0 != 0) {
                p.trade(&i, lots, Px(px));
                if n == late {
                    q.trade(&i, lots, Px(10_000));
                    q.reprice(&i, lots, Px(10_000), Px(px));
                } else {
                    q.trade(&i, lots, Px(px));
                }
                cash -= i128::from(lots) * i128::from(px);
            }
            let mark = Px(10_000);
            let expect = value_amount(&i, cash + i128::from(p.qty.0) * 10_000).0;
            let slack = trades.len() as i64 * 1_001; // a tick-lot is 1000 units of 10⁻⁸; division cuts
            prop_assert!((p.realised.0 + p.unrealised(&i, mark).0 - expect).abs() <= slack);
            prop_assert!((q.realised.0 + q.unrealised(&i, mark).0 - expect).abs() <= slack);
            prop_assert_eq!(p.qty, q.qty);
        }
    }
}
