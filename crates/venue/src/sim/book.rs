//! One simulated book. Levels lie on absolute price grids that get coarser away from the touch (the venue's books
//! look like that), so a moving price adds and removes levels near the touch and leaves the far ones in place.
//! Quantities are redrawn a few at a time; a slow tilt makes one side heavier than the other for a while.

use market::{Instrument, Level, Px, Qty, Side};

use super::math::exp;
use super::returns::Random;
use super::step::Step;
use crate::core::levels::Levels;

/// Distances of the grid bands, as shares of the price; between two of them the grid is a tenth of the first.
const BANDS: [f64; 7] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.056];
/// Levels redrawn in a step.
const REDRAWN: usize = 6;
/// Value at the touch of the busiest instrument, in the quote asset.
const TOUCH_VALUE: f64 = 90_000.0;

/// The multiples of `grid` from `low` to `high`; none where `low > high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Band {
    grid: i64,
    low: i64,
    high: i64,
}

impl Band {
    const EMPTY: Self = Self { grid: 1, low: 1, high: 0 };

    /// The multiples of `grid` between two prices (above 0), found from those of before where little has changed.
    fn new(grid: i64, from: i64, to: i64, before: Self) -> Self {
        let same = before.grid == grid && before.low <= before.high;
        let low = if same && before.low >= from && before.low - grid < from {
            before.low
        } else {
            (from + grid - 1) / grid * grid
        };
        let high = if same && before.high <= to && before.high + grid > to {
            before.high
        } else {
            to.max(0) / grid * grid
        };
        Self { grid, low, high }
    }

    /// Adds the prices that are not in `other` to a list, rising.
    fn less(self, other: Self, out: &mut Vec<i64>) {
        let mut put = |from: i64, to: i64| {
            let mut px = from;
            while px <= to {
                out.push(px);
                px += self.grid;
            }
        };
        let apart = self.grid != other.grid || other.low > self.high || other.high < self.low;
        if apart || other.low > other.high {
            put(self.low, self.high);
        } else {
            put(self.low, other.low - self.grid);
            put(self.low.max(other.high + self.grid), self.high);
        }
    }
}

/// A simulated book.
#[derive(Debug)]
pub(super) struct SimBook {
    random: Random,
    tick: f64,
    lot: f64,
    fair: f64,
    tilt: f64,
    touch_value: f64,
    /// Trades per second in a calm market.
    rate: f64,
    /// Quantities of bids and asks.
    sides: [Levels<i64>; 2],
    touch: (i64, i64),
    /// The prices besides the touch, nearest band first.
    bands: [[Band; BANDS.len()]; 2],
    min_lots: i64,
    /// Prices that leave the grid, and those that come to it.
    gone: Vec<i64>,
    new: Vec<i64>,
}

impl SimBook {
    pub(super) fn new(mut random: Random, instrument: &Instrument, opening: f64) -> Self {
        let size = 0.15 + 0.85 * random.uniform();
        Self {
            tick: instrument.tick.to_f64(),
            lot: instrument.lot.to_f64(),
            fair: opening,
            tilt: 0.0,
            touch_value: TOUCH_VALUE * size,
            rate: 0.8 + 2.5 * size,
            sides: [Levels::new(Side::Buy), Levels::new(Side::Sell)],
            touch: (0, 0),
            bands: [[Band::EMPTY; BANDS.len()]; 2],
            min_lots: instrument.min_qty.0.max(1),
            gone: Vec::new(),
            new: Vec::new(),
            random,
        }
    }

    pub(super) fn fair(&self) -> f64 {
        self.fair
    }

    /// Moves the fair price by a log return.
    pub(super) fn drift(&mut self, log_return: f64) {
        self.fair *= exp(log_return);
    }

    /// One step: trades at the old touch, then the book moves to the new one.
    pub(super) fn step(&mut self, activity: f64, out: &mut Step) {
        // An Ornstein–Uhlenbeck tilt with a time constant of 40 s and a spread of a quarter.
        self.tilt = self.tilt * 0.9975 + 0.25 * 0.0707 * self.random.normal();
        if self.touch.0 > 0 {
            self.trade(activity, out);
        }
        // One tick, or a small share of the price where the tick is finer still.
        let spread = (self.fair * 4.0e-6 / self.tick).ceil().max(1.0);
        let bid = (self.fair / self.tick - (spread - 1.0) / 2.0).floor().max(1.0) as i64;
        let ask = bid + spread as i64;
        if (bid, ask) != self.touch {
            let before = std::mem::replace(&mut self.touch, (bid, ask));
            self.regrid(before, out);
        }
        self.redraw(out);
    }

    /// Brings the levels to the grid of the present touch: absolute prices, coarser away from it.
    fn regrid(&mut self, before: (i64, i64), out: &mut Step) {
        let ticks = self.fair / self.tick;
        let fine = ((ticks * BANDS[0] / 14.0).round() as i64).max(1);
        let mut edges = [(1, 0); BANDS.len()];
        for (n, edge) in edges.iter_mut().enumerate() {
            let grid = if n == 0 { fine } else { ((BANDS[n - 1] * ticks / 10.0) as i64).max(fine) };
            *edge = (grid, (ticks * BANDS[n]) as i64);
        }
        let (touch, mut near) = (self.touch, 0);
        let old = self.bands;
        for (n, (grid, far)) in edges.into_iter().enumerate() {
            let bids = (touch.0 - far).max(1)..=touch.0 - near - 1;
            self.bands[0][n] = Band::new(grid, *bids.start(), *bids.end(), old[0][n]);
            self.bands[1][n] = Band::new(grid, touch.1 + near + 1, touch.1 + far, old[1][n]);
            near = far;
        }
        self.change(0, &old[0], before.0, touch.0, out);
        self.change(1, &old[1], before.1, touch.1, out);
    }

    /// Takes the prices of a side that left the grid out, and draws quantities for those that came.
    fn change(&mut self, side: usize, old: &[Band], old_touch: i64, touch: i64, out: &mut Step) {
        let (mut gone, mut new) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.new));
        let bands = self.bands[side];
        let mut diff = |n: usize| {
            old[n].less(bands[n], &mut gone);
            bands[n].less(old[n], &mut new);
        };
        // By rising price, but for the old touch and the new.
        if side == 0 {
            (0..BANDS.len()).rev().for_each(&mut diff);
        } else {
            (0..BANDS.len()).for_each(&mut diff);
        }
        if old_touch > 0 {
            gone.push(old_touch);
        }
        new.push(touch);
        gone.sort_unstable();
        new.sort_unstable();
        // A price may move from one band, or the touch, to another: it stays.
        for &px in gone.iter().filter(|px| new.binary_search(px).is_err()) {
            self.set(side, px, 0, out);
        }
        for &px in new.iter().filter(|px| gone.binary_search(px).is_err()) {
            let qty = self.draw(side, px);
            self.set(side, px, qty, out);
        }
        gone.clear();
        new.clear();
        (self.gone, self.new) = (gone, new);
    }

    fn redraw(&mut self, out: &mut Step) {
        for n in 0..REDRAWN {
            let side = n % 2;
            // Two of three redraws are near the touch, as in life.
            let len = self.sides[side].len();
            let reach = if n % 3 == 0 { len } else { len.min(12) };
            let nth = self.random.below(reach.max(1) as u64) as usize;
            let Some((px, _)) = self.sides[side].nth(nth) else { continue };
            let qty = self.draw(side, px);
            self.set(side, px, qty, out);
        }
    }

    /// A quantity for a level: log-normal around a value that grows away from the touch, tilted by side.
    fn draw(&mut self, side: usize, px: i64) -> i64 {
        let touch = if side == 0 { self.touch.0 } else { self.touch.1 };
        let distance = (px - touch).abs() as f64 * self.tick / self.fair;
        let tilt = (if side == 0 { self.tilt } else { -self.tilt }).clamp(-0.7, 0.7);
        let value = self.touch_value * (0.35 + 60.0 * distance).min(2.5) * (1.0 + tilt);
        let value = if px == touch { self.touch_value * (1.0 + tilt) } else { value };
        let lots = value * exp(0.5 * self.random.normal()) / (px as f64 * self.tick) / self.lot;
        (lots as i64).max(self.min_lots)
    }

    fn set(&mut self, side: usize, px: i64, qty: i64, out: &mut Step) {
        let all = &mut self.sides[side];
        let old = if qty == 0 { all.remove(px) } else { all.insert(px, qty) }.unwrap_or(0);
        if old != qty {
            let level = Level { px: Px(px), qty: Qty(qty) };
            let levels = if side == 0 { &mut out.bids } else { &mut out.asks };
            // The last word on a price counts; keep one entry per price.
            match levels.iter_mut().find(|l| l.px == level.px) {
                Some(l) => *l = level,
                None => levels.push(level),
            }
        }
    }

    /// Trades at the touch: on each side about the touch's quantity in three seconds.
    fn trade(&mut self, activity: f64, out: &mut Step) {
        let rate = self.rate * activity * 0.1;
        let mut expected = rate;
        while self.random.uniform() < expected {
            expected -= 1.0;
            let up = 0.5 + 0.25 * self.tilt.clamp(-0.8, 0.8);
            let aggressor = if self.random.uniform() < up { Side::Buy } else { Side::Sell };
            let (side, px) = if aggressor == Side::Buy { (1, self.touch.1) } else { (0, self.touch.0) };
            let Some((_, &shown)) = self.sides[side].nth(0) else { continue };
            let mean = self.touch_value / 3.0 / (self.rate / 2.0);
            let value = mean * exp(0.9 * self.random.normal() - 0.4);
            let lots = ((value / (px as f64 * self.tick) / self.lot) as i64).max(self.min_lots);
            let lots = lots.min(shown);
            if lots <= 0 {
                continue;
            }
            out.trades.push((aggressor, Px(px), Qty(lots)));
            // The touch may be eaten up; it then refills with the next draw.
            let left = if shown > lots { shown - lots } else { self.draw(side, px) };
            self.set(side, px, left, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prices of a side, without regard to what was there before.
    fn grid(b: &SimBook, side: usize) -> Vec<i64> {
        let touch = if side == 0 { b.touch.0 } else { b.touch.1 };
        let mut prices = vec![touch];
        let (mut near, ticks) = (0, b.fair / b.tick);
        let fine = ((ticks * BANDS[0] / 14.0).round() as i64).max(1);
        for (n, to) in BANDS.into_iter().enumerate() {
            let grid = if n == 0 { fine } else { ((BANDS[n - 1] * ticks / 10.0) as i64).max(fine) };
            let far = (ticks * to) as i64;
            prices.extend(
                (near + 1..=far)
                    .map(|d| if side == 0 { touch - d } else { touch + d })
                    .filter(|px| *px > 0 && px % grid == 0),
            );
            near = far;
        }
        prices.sort_unstable();
        prices
    }

    #[test]
    fn the_levels_are_those_of_the_grid_however_the_price_moves() {
        for (i, l) in super::super::listings(30).iter().enumerate().step_by(3) {
            let opening = l.mark.index.to_f64();
            let mut book = SimBook::new(Random::new(5, i as u64), &l.instrument, opening);
            let (mut r, mut out) = (Random::new(6, i as u64), Step::default());
            for n in 0..400 {
                out.bids.clear();
                out.asks.clear();
                out.trades.clear();
                // Mostly small moves, now and then a large one.
                book.drift(r.normal() * if n % 50 == 49 { 0.05 } else { 4e-5 });
                book.step(1.0, &mut out);
                for side in 0..2 {
                    let mut prices: Vec<i64> = book.sides[side].iter().map(|l| l.0).collect();
                    prices.sort_unstable();
                    assert_eq!(prices, grid(&book, side), "{} step {n} side {side}", l.instrument.symbol);
                }
            }
        }
    }
}
