//! One simulated book: a thousand levels a side on an absolute price grid, as the venue's deep books have them, so that a
//! moving price adds and removes levels near the touch and leaves the far ones in place. Quantities are redrawn a few at a
//! time; a slow tilt makes one side heavier than the other for a while.

use market::{Instrument, Level, Px, Qty, Side};

use super::math::exp;
use super::returns::Random;
use super::step::Step;
use crate::core::levels::Levels;

/// Distance of two levels, as a share of the price (at least a tick): a thousand of them reach five percent and a half.
const SPACING: f64 = 5.6e-5;
/// How far the book reaches at least, as a share of the price.
const REACH: f64 = 0.054;
/// The grid changes when the spacing is off by more than this many ticks.
const GRID_SLACK: f64 = 0.8;
/// Levels of a side besides the touch, at least.
const LEVELS: i64 = 1_000;
/// Distances at which the value per price changes, as shares of the price. Between two of them, a level of a tenth of the
/// first distance has the value of one near the touch.
const BANDS: [f64; 7] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064];
/// Levels redrawn in a step.
const REDRAWN: usize = 6;
/// Value at the touch of the busiest instrument, in the quote asset.
const TOUCH_VALUE: f64 = 90_000.0;
/// What is left of a book's tilt after a tenth of a second.
const TILT_LEFT: f64 = 0.9975;

/// The multiples of `grid` from `low` to `high`; none where `low > high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    grid: i64,
    low: i64,
    high: i64,
}

impl Reach {
    const EMPTY: Self = Self { grid: 1, low: 1, high: 0 };

    /// Does the far end of `before` still do for this grid and near end?
    fn keeps(self, before: Self, least: i64) -> bool {
        let levels = (self.high - self.low) / self.grid + 1;
        before.grid == self.grid && (least..=least + least / 10).contains(&levels)
    }

    /// At least so many bids below a touch.
    fn below(touch: i64, grid: i64, least: i64, before: Self) -> Self {
        let high = (touch - 1).div_euclid(grid) * grid;
        let kept = Self { grid, low: before.low, high };
        let low = (high - (least + least / 20 - 1) * grid).max(grid);
        if kept.keeps(before, least) { kept } else { Self { grid, low, high } }
    }

    /// At least so many asks above a touch.
    fn above(touch: i64, grid: i64, least: i64, before: Self) -> Self {
        let low = (touch / grid + 1) * grid;
        let kept = Self { grid, low, high: before.high };
        let high = low + (least + least / 20 - 1) * grid;
        if kept.keeps(before, least) { kept } else { Self { grid, low, high } }
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
    /// What is left of the tilt after a step, and the spread of what comes to it.
    tilt_left: f64,
    tilt_spread: f64,
    touch_value: f64,
    /// Trades per second in a calm market.
    rate: f64,
    /// Length of a step, s.
    dt: f64,
    /// Quantities of bids and asks.
    sides: [Levels<i64>; 2],
    touch: (i64, i64),
    /// The prices besides the touch.
    reach: [Reach; 2],
    /// Ticks between two of them; 0 before the first step.
    grid: i64,
    min_lots: i64,
    /// Prices that leave the grid, and those that come to it.
    gone: Vec<i64>,
    new: Vec<i64>,
}

impl SimBook {
    /// Of so many tenths of a second a step.
    pub(super) fn new(mut random: Random, instrument: &Instrument, opening: f64, tenths: u64) -> Self {
        let size = 0.15 + 0.85 * random.uniform();
        // An Ornstein–Uhlenbeck tilt with a time constant of 40 s and a spread of a quarter. (No `powi`: it may differ from
        // machine to machine.)
        let tilt_left = (0..tenths).fold(1.0, |left, _| left * TILT_LEFT);
        let tilt_spread =
            0.25 * 0.0707 * ((1.0 - tilt_left * tilt_left) / (1.0 - TILT_LEFT * TILT_LEFT)).sqrt();
        Self {
            tick: instrument.tick.to_f64(),
            lot: instrument.lot.to_f64(),
            fair: opening,
            tilt: 0.0,
            tilt_left,
            tilt_spread,
            touch_value: TOUCH_VALUE * size,
            rate: 0.8 + 2.5 * size,
            dt: 0.1 * tenths as f64,
            sides: [Levels::new(Side::Buy), Levels::new(Side::Sell)],
            touch: (0, 0),
            reach: [Reach::EMPTY; 2],
            grid: 0,
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
        self.tilt = self.tilt * self.tilt_left + self.tilt_spread * self.random.normal();
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

    /// Brings the levels to the present touch.
    fn regrid(&mut self, before: (i64, i64), out: &mut Step) {
        let ticks = self.fair / self.tick;
        if self.grid == 0 || (SPACING * ticks - self.grid as f64).abs() > GRID_SLACK {
            self.grid = ((SPACING * ticks).round() as i64).max(1);
        }
        let (old, grid) = (self.reach, self.grid);
        let least = ((REACH * ticks / grid as f64) as i64).max(LEVELS);
        self.reach = [
            Reach::below(self.touch.0, grid, least, old[0]),
            Reach::above(self.touch.1, grid, least, old[1]),
        ];
        self.change(0, old[0], before.0, out);
        self.change(1, old[1], before.1, out);
    }

    /// Takes the prices of a side that left the grid out, and draws quantities for those that came.
    fn change(&mut self, side: usize, old: Reach, old_touch: i64, out: &mut Step) {
        let (mut gone, mut new) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.new));
        let reach = self.reach[side];
        old.less(reach, &mut gone);
        reach.less(old, &mut new);
        if old_touch > 0 {
            gone.push(old_touch);
        }
        new.push(if side == 0 { self.touch.0 } else { self.touch.1 });
        gone.sort_unstable();
        new.sort_unstable();
        // A touch may come from the grid, or go to it: the price stays.
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
            // Where it lies is known: looking for a far price costs more than drawing its quantity.
            let old = self.sides[side].nth_mut(nth).map_or(0, |(_, at)| std::mem::replace(at, qty));
            Self::tell(side, px, old, qty, out);
        }
    }

    /// A quantity for a level: log-normal around a value that grows away from the touch, tilted by side.
    fn draw(&mut self, side: usize, px: i64) -> i64 {
        let touch = if side == 0 { self.touch.0 } else { self.touch.1 };
        let distance = (px - touch).abs() as f64 * self.tick / self.fair;
        let tilt = (if side == 0 { self.tilt } else { -self.tilt }).clamp(-0.7, 0.7);
        let value = if px == touch {
            self.touch_value
        } else {
            // The value per price falls from band to band.
            let band = BANDS.iter().take_while(|b| distance >= **b).count();
            let apart = if band == 0 { BANDS[0] / 14.0 } else { BANDS[band - 1] / 10.0 };
            let spacing = self.grid as f64 * self.tick / self.fair;
            self.touch_value * (0.35 + 60.0 * distance).min(2.5) * spacing / apart
        };
        let lots =
            value * (1.0 + tilt) * exp(0.5 * self.random.normal()) / (px as f64 * self.tick) / self.lot;
        (lots as i64).max(self.min_lots)
    }

    fn set(&mut self, side: usize, px: i64, qty: i64, out: &mut Step) {
        let all = &mut self.sides[side];
        let old = if qty == 0 { all.remove(px) } else { all.insert(px, qty) }.unwrap_or(0);
        Self::tell(side, px, old, qty, out);
    }

    fn tell(side: usize, px: i64, old: i64, qty: i64, out: &mut Step) {
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
        let mut expected = self.rate * activity * self.dt;
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

    /// Is this what a side of a book should be, whatever was there before?
    fn check(b: &SimBook, side: usize) -> Result<(), String> {
        let mut prices: Vec<i64> = b.sides[side].iter().map(|l| l.0).collect();
        let touch = if side == 0 { b.touch.0 } else { b.touch.1 };
        if prices[0] != touch {
            return Err(format!("the best is {} and not the touch {touch}", prices[0]));
        }
        prices.remove(0);
        let steps = prices.windows(2).all(|w| (w[1] - w[0]).abs() == b.grid);
        let near = (prices[0] - touch).abs() <= b.grid;
        let on_grid = prices[0] % b.grid == 0;
        let ideal = SPACING * b.fair / b.tick;
        let spaced = (b.grid as f64 - ideal.max(1.0)).abs() <= GRID_SLACK.max(0.5);
        let far = (prices[prices.len() - 1] - touch).abs() as f64 * b.tick / b.fair;
        let few = prices.len() >= 1_000 && (far < 0.062 || prices.len() <= 1_100);
        if steps && near && on_grid && spaced && few {
            return Ok(());
        }
        Err(format!("{steps} {near} {on_grid} {spaced} {few}: {} levels, grid {}", prices.len(), b.grid))
    }

    #[test]
    fn the_levels_are_those_of_the_grid_however_the_price_moves() {
        for (i, l) in super::super::listings(30).iter().enumerate().step_by(3) {
            let opening = l.mark.index.to_f64();
            let mut book = SimBook::new(Random::new(5, i as u64), &l.instrument, opening, 1);
            let (mut r, mut out) = (Random::new(6, i as u64), Step::default());
            for n in 0..400 {
                out.bids.clear();
                out.asks.clear();
                out.trades.clear();
                // Mostly small moves, now and then a large one.
                book.drift(r.normal() * if n % 50 == 49 { 0.05 } else { 4e-5 });
                book.step(1.0, &mut out);
                for side in 0..2 {
                    check(&book, side).unwrap_or_else(|e| panic!("{} step {n}: {e}", l.instrument.symbol));
                }
            }
        }
    }
}
