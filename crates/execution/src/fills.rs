//! Fills: told once or many times, in order or not, counted once.
//!
//! Two independent facts are kept apart. The *quantity* of an order follows the largest cumulative quantity the venue
//! has ever told (it only grows), so a lost fill report is made good by any later report. The *price* and commission of
//! a part come from the fill report with its trade id. What is counted but not yet priced is valued at a stand-in and
//! corrected when the report comes.

use market::{Amount, Instrument, Nanos, Px, Qty, SymbolId};

/// Trade ids already seen, per account, over a bounded window.
///
/// A ring of the last [`TradeIds::CAPACITY`] fills: the router makes a few per minute, so the window spans hours, far
/// longer than any replay of reports after a reconnect.
#[derive(Debug)]
pub struct TradeIds {
    seen: Vec<(SymbolId, u64)>,
    next: usize,
}

impl TradeIds {
    /// How many are remembered.
    pub const CAPACITY: usize = 4_096;

    /// Nothing seen.
    pub fn new() -> Self {
        Self { seen: Vec::with_capacity(Self::CAPACITY), next: 0 }
    }

    /// Has this fill been seen?
    pub fn contains(&self, symbol: SymbolId, trade_id: u64) -> bool {
        self.seen.contains(&(symbol, trade_id))
    }

    /// Remembers a fill; `false` if it was there already.
    pub fn insert(&mut self, symbol: SymbolId, trade_id: u64) -> bool {
        let key = (symbol, trade_id);
        if self.seen.contains(&key) {
            return false;
        }
        if self.seen.len() < Self::CAPACITY {
            self.seen.push(key);
        } else {
            self.seen[self.next] = key;
            self.next = (self.next + 1) % Self::CAPACITY;
        }
        true
    }

    /// Seen, oldest first: to be kept over a restart.
    pub fn iter(&self) -> impl Iterator<Item = (SymbolId, u64)> + '_ {
        let (newer, older) = self.seen.split_at(self.next);
        older.iter().chain(newer).copied()
    }
}

impl Default for TradeIds {
    fn default() -> Self {
        Self::new()
    }
}

/// A change of one order's fills.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FillDelta {
    /// Lots that are new (cumulative quantity grew by this).
    pub lots: Qty,
    /// Lots of which the price became known.
    pub priced: Qty,
    /// Their price.
    pub px: Px,
    /// Of `priced`, how many had been counted before at the order's stand-in price.
    pub repriced: Qty,
    /// Their commission.
    pub commission: Amount,
    /// Did they rest?
    pub maker: bool,
    /// Venue time.
    pub ts_event: Nanos,
}

impl FillDelta {
    /// Did anything change?
    pub fn is_empty(&self) -> bool {
        self.lots.is_zero() && self.priced.is_zero()
    }
}

/// The fills of one entry or one exit, over all its orders: integer sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FillSum {
    /// Lots filled.
    pub qty: Qty,
    /// Of these, lots of which the price is known.
    pub priced: Qty,
    /// Σ price · quantity of the priced ones, ticks × lots.
    pub value: i128,
    /// Lots that rested.
    pub maker: Qty,
    /// Σ commission.
    pub commission: Amount,
    /// Venue time of the last fill.
    pub ts_event: Nanos,
}

impl FillSum {
    /// Adds a change.
    pub fn add(&mut self, d: &FillDelta) {
        self.qty += d.lots;
        self.priced += d.priced;
        self.value += i128::from(d.px.0) * i128::from(d.priced.0);
        self.commission += d.commission;
        if d.maker {
            self.maker += d.priced;
        }
        self.ts_event = self.ts_event.max(d.ts_event);
    }

    /// Is every lot priced?
    pub fn is_complete(&self) -> bool {
        self.priced >= self.qty
    }

    /// Average price of what is priced; `fallback` where nothing is.
    pub fn avg_px(&self, instrument: &Instrument, fallback: Px) -> f64 {
        if self.priced.0 <= 0 {
            return instrument.px_f64(fallback);
        }
        let tick = instrument.tick;
        let (units, lots) = (self.value * i128::from(tick.mantissa()), i128::from(self.priced.0));
        let scale = 10i128.pow(u32::from(tick.scale()));
        units as f64 / (lots * scale) as f64
    }

    /// Average price in ticks, rounded to the nearest.
    pub fn avg_ticks(&self, fallback: Px) -> Px {
        if self.priced.0 <= 0 {
            return fallback;
        }
        let n = i128::from(self.priced.0);
        Px(((self.value * 2 + n) / (n * 2)) as i64)
    }

    /// Value of all lots at the average price, quote asset.
    pub fn notional(&self, instrument: &Instrument, fallback: Px) -> f64 {
        if self.is_complete() && self.priced == self.qty {
            return value_amount(instrument, self.value).to_f64();
        }
        self.avg_px(instrument, fallback) * instrument.qty_f64(self.qty)
    }

    /// Share of the priced lots that rested; 0 where nothing is priced.
    pub fn maker_share(&self) -> f64 {
        if self.priced.0 <= 0 { 0.0 } else { self.maker.0 as f64 / self.priced.0 as f64 }
    }
}

/// Exact quote value of a sum in ticks × lots, cut toward zero to 10⁻⁸; saturates.
pub fn value_amount(instrument: &Instrument, ticklots: i128) -> Amount {
    let units = i128::from(instrument.tick.mantissa()) * i128::from(instrument.lot.mantissa());
    let scale = i32::from(instrument.tick.scale()) + i32::from(instrument.lot.scale()) - 8;
    let p = 10i128.pow(scale.unsigned_abs());
    let v = ticklots.saturating_mul(units);
    let v = if scale >= 0 { v / p } else { v.saturating_mul(p) };
    Amount(v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use market::Increment;

    #[test]
    fn trade_ids_are_seen_once_and_old_ones_give_way() {
        let mut t = TradeIds::new();
        assert!(t.insert(SymbolId(1), 7));
        assert!(!t.insert(SymbolId(1), 7));
        assert!(t.insert(SymbolId(2), 7));
        for i in 0..TradeIds::CAPACITY as u64 {
            t.insert(SymbolId(3), i);
        }
        assert_eq!(t.iter().count(), TradeIds::CAPACITY);
        assert_eq!(t.iter().next(), Some((SymbolId(3), 0)));
        assert!(t.insert(SymbolId(1), 7));
    }

    #[test]
    fn sums_are_exact() {
        let i = Instrument::plain(SymbolId(0), "X", Increment::decimals(1), Increment::decimals(3));
        let mut s = FillSum::default();
        let fill =
            |lots, px| FillDelta { lots: Qty(lots), priced: Qty(lots), px: Px(px), ..Default::default() };
        s.add(&fill(1, 600_000));
        s.add(&FillDelta { maker: true, ..fill(2, 600_003) });
        assert_eq!(s.value, 1_800_006);
        assert_eq!(s.avg_px(&i, Px(1)), 60_000.2);
        assert_eq!(s.avg_ticks(Px(1)), Px(600_002));
        assert_eq!(s.notional(&i, Px(1)), 180.0006);
        assert!((s.maker_share() - 2.0 / 3.0).abs() < 1e-15);
        s.add(&FillDelta { lots: Qty(3), ..Default::default() });
        assert!(!s.is_complete());
        assert!((s.notional(&i, Px(1)) - 360.0012).abs() < 1e-9);
    }
}
