//! One simulated book. Levels lie on absolute price grids that get coarser away from the touch (the venue's books
//! look like that), so a moving price adds and removes levels near the touch and leaves the far ones in place.
//! Quantities are redrawn a few at a time; a slow tilt makes one side heavier than the other for a while.

use std::collections::BTreeMap;

use market::{Instrument, Level, Px, Qty, Side};

use super::Step;
use super::returns::Random;

/// Distances of the grid bands, as shares of the price; between two of them the grid is a tenth of the first.
const BANDS: [f64; 7] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.056];
/// Levels redrawn in a step.
const REDRAWN: usize = 6;
/// Value at the touch of the busiest instrument, in the quote asset.
const TOUCH_VALUE: f64 = 90_000.0;

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
    sides: [BTreeMap<i64, i64>; 2],
    touch: (i64, i64),
    min_lots: i64,
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
            sides: [BTreeMap::new(), BTreeMap::new()],
            touch: (0, 0),
            min_lots: instrument.min_qty.0.max(1),
            random,
        }
    }

    pub(super) fn fair(&self) -> f64 {
        self.fair
    }

    /// Moves the fair price by a log return.
    pub(super) fn drift(&mut self, log_return: f64) {
        self.fair *= log_return.exp();
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
            self.touch = (bid, ask);
            self.regrid(out);
        }
        self.redraw(out);
    }

    /// Grid distance (in ticks) and target prices of a side for the present touch.
    fn grid(&self, side: usize) -> Vec<i64> {
        let touch = if side == 0 { self.touch.0 } else { self.touch.1 };
        let mut prices = vec![touch];
        let mut from = 0.0;
        let fine = ((self.fair * BANDS[0] / 14.0 / self.tick).round() as i64).max(1);
        for (n, to) in BANDS.into_iter().enumerate() {
            let grid = if n == 0 {
                fine
            } else {
                (((BANDS[n - 1] * self.fair / 10.0) / self.tick) as i64).max(fine)
            };
            let (a, b) = ((self.fair * from / self.tick) as i64, (self.fair * to / self.tick) as i64);
            if side == 0 {
                let mut px = (touch - a - 1).div_euclid(grid) * grid;
                while px >= (touch - b).max(1) {
                    prices.push(px);
                    px -= grid;
                }
            } else {
                let mut px = ((touch + a) / grid + 1) * grid;
                while px <= touch + b {
                    prices.push(px);
                    px += grid;
                }
            }
            from = to;
        }
        prices.sort_unstable();
        prices.dedup();
        prices
    }

    fn regrid(&mut self, out: &mut Step) {
        for side in 0..2 {
            let prices = self.grid(side);
            let stale: Vec<i64> =
                self.sides[side].keys().filter(|px| prices.binary_search(px).is_err()).copied().collect();
            for px in stale {
                self.set(side, px, 0, out);
            }
            for px in prices {
                if !self.sides[side].contains_key(&px) {
                    let qty = self.draw(side, px);
                    self.set(side, px, qty, out);
                }
            }
        }
    }

    fn redraw(&mut self, out: &mut Step) {
        for n in 0..REDRAWN {
            let side = n % 2;
            let touch = if side == 0 { self.touch.0 } else { self.touch.1 };
            // Two of three redraws are near the touch, as in life.
            let len = self.sides[side].len() as u64;
            let reach = if n % 3 == 0 { len } else { len.min(12) };
            let nth = self.random.below(reach.max(1)) as usize;
            let px = if side == 0 {
                self.sides[0].keys().rev().nth(nth).copied()
            } else {
                self.sides[1].keys().nth(nth).copied()
            };
            let px = px.unwrap_or(touch);
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
        let lots = value * (0.5 * self.random.normal()).exp() / (px as f64 * self.tick) / self.lot;
        (lots as i64).max(self.min_lots)
    }

    fn set(&mut self, side: usize, px: i64, qty: i64, out: &mut Step) {
        let old = if qty == 0 { self.sides[side].remove(&px) } else { self.sides[side].insert(px, qty) }
            .unwrap_or(0);
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
            let Some(&shown) = self.sides[side].get(&px) else { continue };
            let mean = self.touch_value / 3.0 / (self.rate / 2.0);
            let value = mean * (0.9 * self.random.normal() - 0.4).exp();
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
