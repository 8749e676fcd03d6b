//! Generated days in the shape of the champion's: for benchmarks, tests and trying things out without data.
//!
//! Prices are random walks with a common factor whose strength comes and goes; the velocity divergence is noise around
//! zero that now and then, in bursts, falls far enough to fire, often while the market moves down. The same seed gives
//! the same bits everywhere: only integer arithmetic, additions, multiplications and square roots are used.

use archive::day::{Bar, Day};
use market::{Date, Nanos};

/// Names of the generated assets; further ones are numbered.
const NAMES: [&str; 12] = [
    "BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "AVAXUSDT", "LINKUSDT",
    "DOTUSDT", "LTCUSDT", "UNIUSDT",
];

/// A sequence of generated days.
#[derive(Debug, Clone)]
pub struct Generator {
    random: SplitMix,
    date: Date,
    bars: usize,
    prices: Vec<f64>,
    assets: Vec<String>,
    scan_number: i64,
    /// How strongly the assets move together, in [0, 1].
    coupling: f64,
    /// Bars that the current burst of the velocity divergence still lasts, and its depth.
    burst: (u32, f64),
}

impl Generator {
    /// Days of `bars` bars of `assets` assets from `first` on. The champion's shape is 1439 bars of 48 assets.
    pub fn new(seed: u64, first: Date, bars: usize, assets: usize) -> Self {
        let mut random = SplitMix(seed);
        let names =
            (0..assets).map(|i| NAMES.get(i).map_or_else(|| format!("A{i:03}USDT"), |n| (*n).to_owned()));
        let prices = (0..assets).map(|i| if i == 0 { 60_000.0 } else { 0.01 + 500.0 * random.unit() });
        Self {
            prices: prices.collect(),
            assets: names.collect(),
            random,
            date: first,
            bars,
            scan_number: 0,
            coupling: 0.5,
            burst: (0, 0.0),
        }
    }

    /// The champion's shape: 1439 bars of 48 assets, from 2026-01-01.
    pub fn champion(seed: u64) -> Self {
        Self::new(seed, Date::constant(2026, 1, 1), 1439, 48)
    }

    /// The next day.
    pub fn next_day(&mut self) -> Day {
        let epoch = Date::constant(1970, 1, 1);
        let midnight = u64::try_from(self.date.duration_since(epoch).as_secs()).unwrap_or(0);
        let step = (86_400 / (self.bars as u64 + 1)).max(1);
        let mut day = Day::new(self.date, self.assets.clone());
        day.bars.reserve(self.bars);
        day.prices.reserve(self.bars * self.assets.len());
        for i in 0..self.bars {
            self.move_prices();
            let ts = Nanos((midnight + step * (i as u64 + 1)) * Nanos::SECOND);
            let bar = self.bar(ts);
            day.push(bar, &self.prices);
        }
        self.date = self.date.tomorrow().unwrap_or(self.date);
        day
    }

    fn move_prices(&mut self) {
        self.coupling = (self.coupling + 0.05 * self.random.normal()).clamp(0.1, 0.9);
        let drift = if self.burst.0 > 0 { -0.0003 } else { 0.00002 };
        let common = 0.0006 * self.random.normal() + drift;
        for price in &mut self.prices {
            let own = 0.0008 * self.random.normal();
            *price *= 1.0 + self.coupling * common + (1.0 - self.coupling) * own;
        }
    }

    fn bar(&mut self, ts: Nanos) -> Bar {
        self.scan_number += 1;
        self.burst = match self.burst {
            (0, _) if self.random.unit() < 0.02 => {
                (3 + (self.random.unit() * 12.0) as u32, 0.01 + 0.07 * self.random.unit())
            }
            (0, _) => (0, 0.0),
            (left, depth) => (left - 1, depth),
        };
        let v150 = 0.004 * self.random.normal();
        let vel_div = 0.006 * self.random.normal() - self.burst.1;
        Bar {
            ts: Some(ts),
            scan_number: Some(self.scan_number),
            vel_div,
            v50: v150 + vel_div,
            v150,
            v300: 0.003 * self.random.normal(),
            v750: 0.002 * self.random.normal(),
            instability_50: 0.02 * self.random.unit(),
            instability_150: 0.01 * self.random.unit(),
        }
    }
}

/// Sebastiano Vigna's SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal: the sum of four uniforms, scaled to variance 1.
    fn normal(&mut self) -> f64 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 3f64.sqrt()
    }
}
