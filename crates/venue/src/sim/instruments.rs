//! The simulated instruments: a table of our own with plausible names, ticks, lots and prices. Beyond the table,
//! further instruments are made up by number, so that up to [`MAX_SYMBOLS`] can be had.

use market::{Amount, Increment, Instrument, InstrumentStatus, Px, Qty, SymbolId};

use crate::core::Listing;

/// Most symbols of a simulated market.
pub(crate) const MAX_SYMBOLS: usize = 400;

/// Base asset, opening price, tick, lot, minimum notional, largest leverage, relative volatility.
type Row = (&'static str, &'static str, &'static str, &'static str, i64, u32, f64);

#[rustfmt::skip]
const TABLE: [Row; 48] = [
    ("BTC", "84550.0", "0.10", "0.001", 50, 125, 0.7), ("ETH", "2480.00", "0.01", "0.001", 20, 100, 0.9),
    ("BNB", "871.500", "0.010", "0.01", 5, 75, 0.8), ("SOL", "138.2000", "0.0100", "0.01", 5, 100, 1.1),
    ("XRP", "2.1540", "0.0001", "0.1", 5, 75, 1.0), ("DOGE", "0.152300", "0.000010", "1", 5, 75, 1.2),
    ("ADA", "0.47120", "0.00010", "1", 5, 75, 1.1), ("TRX", "0.28140", "0.00001", "1", 5, 75, 0.6),
    ("AVAX", "14.8200", "0.0010", "1", 5, 75, 1.2), ("LINK", "13.450", "0.001", "0.01", 20, 75, 1.1),
    ("DOT", "2.315", "0.0001", "0.1", 5, 75, 1.1), ("LTC", "84.31", "0.01", "0.001", 20, 75, 0.9),
    ("BCH", "498.20", "0.01", "0.001", 20, 75, 0.9), ("NEAR", "1.8930", "0.0001", "1", 5, 75, 1.3),
    ("UNI", "6.0120", "0.0010", "1", 5, 75, 1.3), ("ATOM", "2.518", "0.0001", "0.01", 5, 50, 1.0),
    ("ETC", "13.820", "0.001", "0.01", 20, 75, 1.0), ("XLM", "0.24810", "0.00001", "1", 5, 75, 1.1),
    ("FIL", "1.612", "0.0001", "0.1", 5, 75, 1.3), ("APT", "2.4810", "0.0001", "0.1", 5, 75, 1.3),
    ("ARB", "0.208400", "0.00001", "0.1", 5, 75, 1.3), ("OP", "0.3107000", "0.00001", "0.1", 5, 75, 1.4),
    ("INJ", "5.871", "0.001", "0.1", 5, 75, 1.4), ("SUI", "1.561000", "0.000100", "0.1", 5, 75, 1.3),
    ("SEI", "0.1384000", "0.0000100", "1", 5, 50, 1.4), ("TIA", "0.6012000", "0.0001000", "1", 5, 50, 1.5),
    ("AAVE", "171.040", "0.010", "0.1", 5, 75, 1.2), ("MKR", "1521.30", "0.10", "0.001", 5, 50, 1.0),
    ("RUNE", "0.6840", "0.0001", "1", 5, 50, 1.3), ("ALGO", "0.1391", "0.00001", "0.1", 5, 75, 1.1),
    ("VET", "0.012840", "0.000001", "1", 5, 75, 1.1), ("ICP", "4.123", "0.001", "1", 5, 75, 1.3),
    ("HBAR", "0.14210", "0.00001", "1", 5, 75, 1.2), ("GRT", "0.04471", "0.00001", "1", 5, 50, 1.2),
    ("SAND", "0.15980", "0.00001", "1", 5, 50, 1.2), ("MANA", "0.1702", "0.00001", "1", 5, 50, 1.2),
    ("AXS", "0.91400", "0.0001", "1", 5, 50, 1.2), ("THETA", "0.3710", "0.0001", "0.1", 5, 50, 1.2),
    ("EGLD", "8.412", "0.001", "0.1", 5, 50, 1.2), ("XTZ", "0.512", "0.0001", "0.1", 5, 50, 1.0),
    ("EOS", "0.241", "0.0001", "0.1", 5, 50, 1.0), ("CRV", "0.402", "0.0001", "0.1", 5, 50, 1.5),
    ("SNX", "0.528", "0.0001", "0.1", 5, 50, 1.4), ("COMP", "31.84", "0.01", "0.001", 5, 50, 1.2),
    ("ZEC", "338.21", "0.01", "0.001", 5, 50, 1.5), ("DASH", "48.73", "0.01", "0.001", 5, 50, 1.4),
    ("KAVA", "0.1132", "0.00001", "0.1", 5, 50, 1.1), ("1INCH", "0.1812", "0.00001", "1", 5, 50, 1.1),
];

/// The made-up instrument of a number beyond the table.
fn made_up(i: usize) -> (f64, &'static str, &'static str) {
    const KINDS: [(f64, &str, &str); 4] = [
        (41.27, "0.01", "0.01"),
        (3.118, "0.001", "0.1"),
        (0.4132, "0.0001", "1"),
        (0.021_35, "0.00001", "1"),
    ];
    KINDS[i % KINDS.len()]
}

/// Opening price of the `i`-th instrument.
pub(crate) fn opening(i: usize) -> f64 {
    TABLE.get(i).map_or(made_up(i).0, |row| row.1.parse().expect("the table holds numbers"))
}

/// Volatility of the `i`-th instrument relative to the typical one.
pub(crate) fn volatility(i: usize) -> f64 {
    TABLE.get(i).map_or(1.2, |row| row.6)
}

/// The first `n` instruments (at most [`MAX_SYMBOLS`]), quoted in USDT.
pub fn listings(n: usize) -> Vec<Listing> {
    (0..n.min(MAX_SYMBOLS))
        .map(|i| {
            let (base, tick, lot, notional, leverage) = match TABLE.get(i) {
                Some(r) => (r.0.to_owned(), r.2, r.3, r.4, r.5),
                None => (format!("SIM{i:03}"), made_up(i).1, made_up(i).2, 5, 50),
            };
            let id = SymbolId(u16::try_from(i).expect("at most 400"));
            let tick = Increment::parse(tick).expect("the table holds ticks");
            let lot = Increment::parse(lot).expect("the table holds lots");
            listing(id, &base, tick, lot, opening(i), notional, leverage)
        })
        .collect()
}

/// A listing with filters of the venue's proportions around an opening price.
pub(crate) fn listing(
    id: SymbolId,
    base: &str,
    tick: Increment,
    lot: Increment,
    opening: f64,
    min_notional: i64,
    max_leverage: u32,
) -> Listing {
    let lots = |value: f64| Qty(lot.floor(value / opening).unwrap_or(i64::MAX / 4).max(1));
    let instrument = Instrument {
        id,
        symbol: format!("{base}USDT"),
        status: InstrumentStatus::Trading,
        tick,
        lot,
        min_px: Px(tick.floor(opening / 150.0).unwrap_or(1).max(1)),
        max_px: Px(tick.floor(opening * 50.0).unwrap_or(i64::MAX / 4)),
        min_qty: Qty(1),
        max_qty: lots(60_000_000.0),
        max_market_qty: lots(8_000_000.0),
        min_notional: Amount(min_notional * Amount::ONE),
        multiplier_up: if max_leverage >= 75 { 1.05 } else { 1.10 },
        multiplier_down: if max_leverage >= 75 { 0.95 } else { 0.90 },
        max_orders: 200,
        px_step: 1,
        qty_step: 1,
    };
    let mut listing = Listing::new(instrument, base, "USDT", max_leverage);
    listing.open_interest = lots(4_000_000.0 * f64::from(max_leverage));
    listing.mark.mark = Amount::from_f64(opening).expect("a plain price");
    listing.mark.index = listing.mark.mark;
    listing.mark.funding_rate = 10_000;
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_hundred_distinct_instruments_on_their_grids() {
        let all = listings(500);
        assert_eq!(all.len(), MAX_SYMBOLS);
        let names: std::collections::BTreeSet<_> = all.iter().map(|l| &l.instrument.symbol).collect();
        assert_eq!(names.len(), MAX_SYMBOLS);
        for (i, l) in all.iter().enumerate() {
            let tick = l.instrument.tick;
            assert_eq!(tick.value(tick.nearest(opening(i)).unwrap()), opening(i), "{}", l.instrument.symbol);
            // Amounts of 10⁻⁸ hold price times quantity exactly.
            assert!(tick.scale() + l.instrument.lot.scale() <= 8);
        }
    }
}
