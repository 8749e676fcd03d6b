//! What is traded: an instrument and its filters, as the venue announced them (never hard-coded).

use serde::{Deserialize, Serialize};

use crate::decimal::{Amount, Increment, Px, Qty};
use crate::order::Side;

/// An instrument's place in the session's table, in column order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct SymbolId(pub u16);

impl SymbolId {
    /// For indexing tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// May new orders be sent?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstrumentStatus {
    /// `TRADING`.
    Trading,
    /// Any other status of the venue: settling, pending, closed, break.
    Halted,
}

/// An instrument with the venue's filters (`exchangeInfo`), in ticks and lots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instrument {
    /// Place in the session's table.
    pub id: SymbolId,
    /// Venue name, upper case, e.g. `BTCUSDT` (may hold non-ASCII letters).
    pub symbol: String,
    /// Status.
    pub status: InstrumentStatus,
    /// PRICE_FILTER `tickSize`.
    pub tick: Increment,
    /// LOT_SIZE `stepSize`.
    pub lot: Increment,
    /// PRICE_FILTER `minPrice` (0 = off).
    pub min_px: Px,
    /// PRICE_FILTER `maxPrice` (0 = off).
    pub max_px: Px,
    /// LOT_SIZE `minQty`.
    pub min_qty: Qty,
    /// LOT_SIZE `maxQty`.
    pub max_qty: Qty,
    /// MARKET_LOT_SIZE `maxQty`.
    pub max_market_qty: Qty,
    /// MIN_NOTIONAL `notional`.
    pub min_notional: Amount,
    /// PERCENT_PRICE `multiplierUp` (a buy may not be above mark × this).
    pub multiplier_up: f64,
    /// PERCENT_PRICE `multiplierDown` (a sell may not be below mark × this).
    pub multiplier_down: f64,
    /// MAX_NUM_ORDERS `limit` (0 = not announced).
    pub max_orders: u32,
    /// Ticks between two prices that an order may have: above 1 where the venue made its tick coarser during the
    /// session ([`Self::tick`] is what the session counts in).
    pub px_step: i64,
    /// Lots between two quantities that an order may have: above 1 where the venue made its lot coarser.
    pub qty_step: i64,
}

impl Instrument {
    /// A plain trading instrument with the given tick and lot and no other filter: for recordings and tests.
    pub fn plain(id: SymbolId, symbol: &str, tick: Increment, lot: Increment) -> Self {
        Self {
            id,
            symbol: symbol.to_owned(),
            status: InstrumentStatus::Trading,
            tick,
            lot,
            min_px: Px(1),
            max_px: Px::ZERO,
            min_qty: Qty(1),
            max_qty: Qty(i64::MAX),
            max_market_qty: Qty(i64::MAX),
            min_notional: Amount::ZERO,
            multiplier_up: f64::INFINITY,
            multiplier_down: 0.0,
            max_orders: 0,
            px_step: 1,
            qty_step: 1,
        }
    }

    /// The venue's new filters, in the ticks and lots that the session counts in; `None` where they do not lie on
    /// that grid (a finer tick or lot): the instrument then needs a new session.
    pub fn in_units_of(&self, session: &Self) -> Option<Self> {
        let multiple = |new: Increment, unit: Increment| {
            let count = unit.parse_count(new.format(1).as_bytes()).ok()?;
            (count > 0).then_some(count)
        };
        let (px_step, qty_step) = (multiple(self.tick, session.tick)?, multiple(self.lot, session.lot)?);
        let px = |p: Px| Px(p.0.saturating_mul(px_step));
        let qty = |q: Qty| Qty(q.0.saturating_mul(qty_step));
        Some(Self {
            id: session.id,
            tick: session.tick,
            lot: session.lot,
            min_px: px(self.min_px),
            max_px: px(self.max_px),
            min_qty: qty(self.min_qty),
            max_qty: qty(self.max_qty),
            max_market_qty: qty(self.max_market_qty),
            px_step,
            qty_step,
            ..self.clone()
        })
    }

    /// The nearest price an order of this side may have that is not more aggressive than `px`.
    #[inline]
    pub fn passive_px(&self, px: Px, side: Side) -> Px {
        let below = px.0.div_euclid(self.px_step) * self.px_step;
        let up = side == Side::Sell && below != px.0;
        Px(if up { below + self.px_step } else { below })
    }

    /// The nearest price an order of this side may have that is not less aggressive than `px`.
    #[inline]
    pub fn aggressive_px(&self, px: Px, side: Side) -> Px {
        self.passive_px(px, side.opposite())
    }

    /// A price as a float, for features and signals.
    #[inline]
    pub fn px_f64(&self, px: Px) -> f64 {
        self.tick.value(px.0)
    }

    /// A quantity as a float, for features and signals.
    #[inline]
    pub fn qty_f64(&self, qty: Qty) -> f64 {
        self.lot.value(qty.0)
    }

    /// Exact value of `qty` at `px`, in the quote asset, cut to 10⁻⁸; `None` on overflow.
    pub fn notional(&self, px: Px, qty: Qty) -> Option<Amount> {
        let units = i128::from(px.0) * i128::from(self.tick.mantissa());
        let units = units.checked_mul(i128::from(qty.0) * i128::from(self.lot.mantissa()))?;
        let scale = i32::from(self.tick.scale()) + i32::from(self.lot.scale()) - 8;
        let amount = if scale >= 0 {
            units / 10i128.checked_pow(scale.unsigned_abs())?
        } else {
            units.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?
        };
        i64::try_from(amount).ok().map(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarser_filters_are_told_in_the_sessions_units_and_finer_ones_are_not() {
        let i = |tick, lot| {
            let (tick, lot) = (Increment::parse(tick).unwrap(), Increment::parse(lot).unwrap());
            Instrument { max_qty: Qty(10), ..Instrument::plain(SymbolId(3), "X", tick, lot) }
        };
        let session = i("0.10", "0.001");
        let now = i("0.50", "0.01").in_units_of(&session).unwrap();
        assert_eq!((now.px_step, now.qty_step, now.tick, now.max_qty), (5, 10, session.tick, Qty(100)));
        assert_eq!(now.passive_px(Px(12), Side::Buy), Px(10));
        assert_eq!(now.passive_px(Px(12), Side::Sell), Px(15));
        assert_eq!(now.passive_px(Px(15), Side::Sell), Px(15));
        assert_eq!(now.aggressive_px(Px(12), Side::Buy), Px(15));
        assert_eq!(i("0.05", "0.001").in_units_of(&session), None);
        assert_eq!(i("0.25", "0.001").in_units_of(&session), None);
        assert_eq!(i("0.10", "0.001").in_units_of(&now).unwrap(), session);
    }

    #[test]
    fn notional_is_exact() {
        let tick = Increment::parse("0.10").unwrap();
        let lot = Increment::parse("0.001").unwrap();
        let btc = Instrument::plain(SymbolId(0), "BTCUSDT", tick, lot);
        assert_eq!(btc.notional(Px(618_002), Qty(3)).unwrap().to_string(), "185.40060000");
        assert_eq!(btc.notional(Px(i64::MAX), Qty(i64::MAX)), None);
    }
}
