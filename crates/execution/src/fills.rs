//! Fills: told once or many times, in order or not, counted once.
//!
//! Two independent facts are kept apart. The *quantity* of an order follows the largest cumulative quantity the venue
//! has ever told (it only grows), so a lost fill report is made good by any later report. The *price* and commission of
//! a part come from the fill report with its trade id. What is counted but not yet priced is valued at a stand-in (the
//! order's own price), and the difference is booked when the report comes.

use market::planted::{Bug, planted};
use market::{Amount, Filled, Instrument, Nanos, Px, Qty, SymbolId};
use serde::{Deserialize, Serialize};

use crate::index::{Index, hash};

/// Trade ids already seen, per account, over a bounded window.
///
/// A ring of the last [`TradeIds::CAPACITY`] fills. The venue tells of a fill again for as long as the comparison that
/// lists fills reaches back: to the last clean comparison and half a minute more. Entries stop while no comparison is
/// clean, so the ring spans that time many times over even where an order fills in hundreds of parts.
#[derive(Debug, Serialize, Deserialize)]
pub struct TradeIds {
    seen: Vec<(SymbolId, u64)>,
    next: usize,
    index: Index,
}

impl TradeIds {
    /// How many are remembered.
    pub const CAPACITY: usize = 32_768;

    /// Nothing seen.
    pub fn new() -> Self {
        Self { seen: Vec::with_capacity(Self::CAPACITY), next: 0, index: Index::new(Self::CAPACITY) }
    }

    /// For a router that is never told of a fill: without the room for them.
    pub(crate) fn none() -> Self {
        Self { seen: Vec::new(), next: 0, index: Index::new(1) }
    }

    fn hash(key: (SymbolId, u64)) -> u64 {
        hash(key.1, u64::from(key.0.0))
    }

    /// Has this fill been seen?
    pub fn contains(&self, symbol: SymbolId, trade_id: u64) -> bool {
        let key = (symbol, trade_id);
        self.index.find(Self::hash(key), |place| self.seen[place] == key).is_some()
    }

    /// Remembers a fill; `false` if it was there already.
    pub fn insert(&mut self, symbol: SymbolId, trade_id: u64) -> bool {
        let key = (symbol, trade_id);
        if self.contains(symbol, trade_id) {
            return planted(Bug::FillDedupeOff);
        }
        let place = if self.seen.len() < Self::CAPACITY {
            self.seen.push(key);
            self.seen.len() - 1
        } else {
            let place = self.next;
            self.index.remove(Self::hash(self.seen[place]), place);
            self.seen[place] = key;
            self.next = (place + 1) % Self::CAPACITY;
            place
        };
        self.index.insert(Self::hash(key), place);
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
    /// Of `priced`, how many had been counted before at the stand-in price.
    pub repriced: Qty,
    /// What lots without a price are valued at.
    pub stand_in: Px,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillSum {
    /// Lots filled.
    pub qty: Qty,
    /// Of these, lots of which the price is known.
    pub priced: Qty,
    /// Σ price · quantity of the priced ones, ticks × lots.
    pub value: i128,
    /// Σ stand-in price · quantity of the others, ticks × lots.
    pub estimate: i128,
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
        let unpriced = d.lots - (d.priced - d.repriced);
        self.qty += d.lots;
        self.priced += d.priced;
        self.value += i128::from(d.px.0) * i128::from(d.priced.0);
        self.estimate += i128::from(d.stand_in.0) * i128::from(unpriced.0 - d.repriced.0);
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

    /// Σ price · quantity of all lots, ticks × lots: estimates where no price is known.
    pub const fn ticklots(&self) -> i128 {
        self.value + self.estimate
    }

    /// Average price of all lots; NaN where there are none.
    pub fn avg_px(&self, instrument: &Instrument) -> f64 {
        if self.qty.0 <= 0 {
            return f64::NAN;
        }
        let tick = instrument.tick;
        let (units, lots) = (self.ticklots() * i128::from(tick.mantissa()), i128::from(self.qty.0));
        let scale = 10i128.pow(u32::from(tick.scale()));
        units as f64 / (lots * scale) as f64
    }

    /// Value of all lots, quote asset.
    pub fn notional(&self, instrument: &Instrument) -> f64 {
        value_amount(instrument, self.ticklots()).to_f64()
    }

    /// Share of the priced lots that rested; 0 where nothing is priced.
    pub fn maker_share(&self) -> f64 {
        if self.priced.0 <= 0 { 0.0 } else { self.maker.0 as f64 / self.priced.0 as f64 }
    }

    /// As it is told to the engine.
    pub fn filled(&self, instrument: &Instrument) -> Filled {
        Filled {
            avg_px: self.avg_px(instrument),
            notional: self.notional(instrument),
            commission: self.commission,
            maker_share: self.maker_share(),
        }
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
    fn sums_are_exact_and_an_estimate_is_replaced_by_the_price() {
        let i = Instrument::plain(SymbolId(0), "X", Increment::decimals(1), Increment::decimals(3));
        let mut s = FillSum::default();
        assert!(s.avg_px(&i).is_nan());
        let fill =
            |lots, px| FillDelta { lots: Qty(lots), priced: Qty(lots), px: Px(px), ..Default::default() };
        s.add(&fill(1, 600_000));
        s.add(&FillDelta { maker: true, ..fill(2, 600_003) });
        assert_eq!(s.value, 1_800_006);
        assert_eq!(s.avg_px(&i), 60_000.2);
        assert_eq!(s.notional(&i), 180.0006);
        assert!((s.maker_share() - 2.0 / 3.0).abs() < 1e-15);
        let known = s;
        s.add(&FillDelta { lots: Qty(3), stand_in: Px(600_000), ..Default::default() });
        assert!(!s.is_complete());
        assert_eq!(s.notional(&i), 360.0006);
        let late = FillDelta { repriced: Qty(3), stand_in: Px(600_000), lots: Qty(0), ..fill(3, 599_000) };
        s.add(&late);
        assert_eq!((s.is_complete(), s.estimate, s.value), (true, 0, known.value + 3 * 599_000));
    }
}
