//! What is traded: an instrument and its filters, as the venue announced them (never hard-coded).

use serde::{Deserialize, Serialize};

use crate::decimal::{Amount, Increment, Px, Qty};

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
#[derive(Debug, Clone, PartialEq)]
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
        }
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
    fn notional_is_exact() {
        let tick = Increment::parse("0.10").unwrap();
        let lot = Increment::parse("0.001").unwrap();
        let btc = Instrument::plain(SymbolId(0), "BTCUSDT", tick, lot);
        assert_eq!(btc.notional(Px(618_002), Qty(3)).unwrap().to_string(), "185.40060000");
        assert_eq!(btc.notional(Px(i64::MAX), Qty(i64::MAX)), None);
    }
}
