//! What a report draws beside the trades: the equity of each bar with the open position at its market price, the prices
//! of the assets, and how far each trade went for and against us before it was closed.
//!
//! Bars are kept as stretches: [`MAX_STRETCHES`] at most, each twice as long whenever there would be more. What is
//! measured (drawdown, exposure, excursions) is measured on every bar.

use alpha::{Position, TradeRecord};
use serde::Serialize;

/// More than a wide screen has pixels.
const MAX_STRETCHES: usize = 1_000;

/// Bars in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Index of the day of its last bar.
    pub day: usize,
    /// Its last bar, of that day.
    pub bar: u32,
    /// Lowest equity.
    pub low: f64,
    /// Highest equity.
    pub high: f64,
    /// Equity at its end.
    pub last: f64,
}

impl Stretch {
    fn then(self, next: Self) -> Self {
        Self { low: self.low.min(next.low), high: self.high.max(next.high), ..next }
    }
}

/// How far the price went while a trade was open, bps of the entry price, before fees, by the prices of the bars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Excursion {
    /// The farthest against us, ≤ 0.
    pub mae_bps: f64,
    /// The farthest for us, ≥ 0.
    pub mfe_bps: f64,
}

impl Excursion {
    fn take(&mut self, bps: f64) {
        self.mae_bps = self.mae_bps.min(bps);
        self.mfe_bps = self.mfe_bps.max(bps);
    }
}

/// A run, bar by bar.
#[derive(Debug, Clone)]
pub struct Track {
    assets: usize,
    /// Bars of a whole stretch.
    length: u64,
    /// Bars in the one that is being filled.
    filled: u64,
    open: Option<Stretch>,
    stretches: Vec<Stretch>,
    /// The assets' prices at the end of each stretch, a row a stretch.
    prices: Vec<f64>,
    last: Vec<f64>,
    held: Option<(Position, Excursion)>,
    excursions: Vec<Excursion>,
    peak: f64,
    deepest: f64,
    bars: u64,
    exposure: f64,
}

impl Track {
    pub(crate) fn new(assets: usize, capital: f64) -> Self {
        Self {
            assets,
            length: 1,
            filled: 0,
            open: None,
            stretches: Vec::new(),
            prices: Vec::new(),
            last: vec![f64::NAN; assets],
            held: None,
            excursions: Vec::new(),
            peak: capital,
            deepest: 0.0,
            bars: 0,
            exposure: 0.0,
        }
    }

    /// A bar was stepped. `position`: after it; `closed`: the bar closed one.
    pub(crate) fn bar(
        &mut self,
        (day, bar): (usize, u32),
        prices: &[f64],
        capital: f64,
        position: Option<&Position>,
        closed: bool,
    ) {
        if closed && let Some((held, mut excursion)) = self.held.take() {
            excursion.take(favour(&held, prices).unwrap_or(0.0));
            self.excursions.push(excursion);
        }
        let mut equity = capital;
        if let Some(position) = position {
            let same = self.held.as_ref().is_some_and(|(held, _)| held.entry_tick == position.entry_tick);
            if !same {
                self.held = Some((*position, Excursion::default()));
            }
            if let (Some(bps), Some((_, excursion))) = (favour(position, prices), &mut self.held) {
                excursion.take(bps);
                equity += position.notional * bps / 1e4;
            }
            self.exposure += position.notional / capital;
        }
        self.bars += 1;
        self.peak = self.peak.max(equity);
        self.deepest = self.deepest.max(1.0 - equity / self.peak);
        let now = Stretch { day, bar, low: equity, high: equity, last: equity };
        let open = self.open.map_or(now, |open| open.then(now));
        self.filled += 1;
        if self.filled < self.length {
            self.open = Some(open);
            self.last.copy_from_slice(prices);
            return;
        }
        (self.open, self.filled) = (None, 0);
        self.stretches.push(open);
        self.prices.extend_from_slice(prices);
        if self.stretches.len() == MAX_STRETCHES {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.length *= 2;
        let n = self.assets;
        for i in 0..MAX_STRETCHES / 2 {
            self.stretches[i] = self.stretches[2 * i].then(self.stretches[2 * i + 1]);
            self.prices.copy_within((2 * i + 1) * n..(2 * i + 2) * n, i * n);
        }
        self.stretches.truncate(MAX_STRETCHES / 2);
        self.prices.truncate(MAX_STRETCHES / 2 * n);
    }

    /// Nothing comes any more: the stretch that was begun counts too.
    pub(crate) fn end(&mut self) {
        if let Some(open) = self.open.take() {
            self.stretches.push(open);
            self.prices.extend_from_slice(&self.last);
        }
    }

    /// The stretches, oldest first.
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// An asset's price at the end of each stretch; NaN where it had none.
    pub fn prices(&self, asset: usize) -> impl Iterator<Item = f64> + '_ {
        self.prices.iter().skip(asset).step_by(self.assets).copied()
    }

    /// Of each closed trade, in their order; `None` where they are not those of `trades` (a run that went on with a
    /// position of an earlier one).
    pub fn excursions(&self, trades: &[TradeRecord]) -> Option<&[Excursion]> {
        (self.excursions.len() == trades.len()).then_some(&self.excursions)
    }

    /// The deepest fall from a peak, the open position at its market price, as a fraction.
    pub const fn deepest(&self) -> f64 {
        self.deepest
    }

    /// Mean value of the position over the capital, all bars counted; `None`: no bar.
    pub fn exposure(&self) -> Option<f64> {
        (self.bars > 0).then(|| self.exposure / self.bars as f64)
    }
}

/// What the position has gained by the bar's price, bps of its entry price; `None`: the bar has no price of it.
fn favour(position: &Position, prices: &[f64]) -> Option<f64> {
    let price = *prices.get(position.symbol.index())?;
    let change = f64::from(position.direction) * (price / position.entry_price - 1.0) * 1e4;
    (price > 0.0 && change.is_finite()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use market::{Date, SymbolId};

    fn short(entry_tick: u64, entry_price: f64) -> Position {
        Position {
            symbol: SymbolId(1),
            direction: -1,
            entry_price,
            notional: 1_000.0,
            leverage: 1.0,
            entry_tick,
            entry_bar: 0,
            entry_date: Date::constant(2026, 1, 1),
            maker_entry: None,
            fee_entry: 0.0,
            vel_div: -0.03,
            bucket: 1,
            boost: 1.0,
            beta: 0.2,
            mc_scale: 1.0,
        }
    }

    #[test]
    fn a_trade_is_followed_from_its_entry_to_the_bar_that_closes_it() {
        let mut track = Track::new(2, 10_000.0);
        let position = short(0, 100.0);
        track.bar((0, 0), &[1.0, 100.0], 10_000.0, Some(&position), false);
        track.bar((0, 1), &[1.0, 102.0], 10_000.0, Some(&position), false);
        track.bar((0, 2), &[1.0, f64::NAN], 10_000.0, Some(&position), false);
        track.bar((0, 3), &[1.0, 99.0], 10_010.0, None, true);
        track.end();
        let found = track.excursions[0];
        assert!((found.mae_bps + 200.0).abs() < 1e-9 && (found.mfe_bps - 100.0).abs() < 1e-9, "{found:?}");
        let equity: Vec<f64> = track.stretches().iter().map(|s| s.last).collect();
        assert_eq!(equity, [10_000.0, 9_980.0, 10_000.0, 10_010.0]);
        assert!((track.deepest() - 0.002).abs() < 1e-12);
        assert!(track.exposure().is_some_and(|e| (e - 0.075).abs() < 1e-12), "{:?}", track.exposure());
        assert_eq!(track.prices(1).skip(3).collect::<Vec<_>>(), [99.0]);
        assert_eq!(track.excursions(&[]), None);
    }

    #[test]
    fn many_bars_are_kept_as_few_stretches_that_lose_no_extreme() {
        let mut track = Track::new(1, 100.0);
        for i in 0..12_345u32 {
            let capital = if i == 7_777 { 50.0 } else { 100.0 + f64::from(i % 7) };
            track.bar((0, i), &[f64::from(i)], capital, None, false);
        }
        track.end();
        let all = track.stretches();
        assert!(all.len() <= MAX_STRETCHES && all.len() > MAX_STRETCHES / 2 - 1, "{}", all.len());
        assert_eq!((all.len(), all.last().map(|s| s.bar)), (track.prices(0).count(), Some(12_344)));
        assert!(track.prices(0).zip(all).all(|(price, s)| price == f64::from(s.bar)));
        assert_eq!(all.iter().map(|s| s.low).fold(f64::INFINITY, f64::min), 50.0);
        assert_eq!(all.iter().map(|s| s.high).fold(0.0, f64::max), 106.0);
    }
}
