//! Correlated returns: `rᵢ = βᵢ·f + σᵢ·eᵢ`. The share of the common factor `f` drifts between a calm regime, where
//! instruments go their own ways, and a one-factor regime, where they move together; the factor also jumps now and
//! then. That makes the largest eigenvalue of the correlation matrix rise and collapse, as in real markets.

use std::time::Duration;

use super::instruments;
use super::math::{exp, ln};

/// Own volatility of an instrument per √second (about 55 % a year).
const SIGMA: f64 = 1.0e-4;
/// Mean time between jumps of the factor, s.
const JUMP_EVERY_S: f64 = 90.0;
/// Mean length of a regime, s.
const REGIME_S: f64 = 240.0;
/// How fast the factor's share follows its regime, s.
const FOLLOW_S: f64 = 25.0;

/// A small, fast, portable generator (SplitMix64): the market must be the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
    spare: Option<f64>,
}

impl Random {
    /// A stream of its own for each `(seed, stream)`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut r = Self { state: seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93), spare: None };
        r.next_u64();
        r
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Standard normal (polar method; the second of a pair is kept).
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let k = (-2.0 * ln(s) / s).sqrt();
                self.spare = Some(v * k);
                return u * k;
            }
        }
    }
}

/// The return process of all symbols.
#[derive(Debug)]
pub(crate) struct Returns {
    random: Random,
    beta: Vec<f64>,
    own: Vec<f64>,
    moves: Vec<f64>,
    one_factor: bool,
    /// Standard deviation of the factor, in units of an instrument's own noise.
    factor: f64,
    activity: f64,
}

impl Returns {
    pub(crate) fn new(seed: u64, symbols: usize) -> Self {
        let mut r = Random::new(seed, 1);
        let beta = (0..symbols).map(|_| 0.7 + 0.6 * r.uniform()).collect();
        let own = (0..symbols).map(|i| instruments::volatility(i) * SIGMA).collect();
        let random = Random::new(seed, 2);
        Self { random, beta, own, moves: vec![0.0; symbols], one_factor: false, factor: 0.5, activity: 1.0 }
    }

    /// Log returns of all symbols over `dt` seconds.
    pub(crate) fn step(&mut self, dt: f64) -> &[f64] {
        let r = &mut self.random;
        if r.uniform() < 1.0 - exp(-dt / REGIME_S) {
            self.one_factor = !self.one_factor;
        }
        let target = if self.one_factor { 2.2 } else { 0.35 };
        self.factor += (target - self.factor) * (1.0 - exp(-dt / FOLLOW_S));
        let jump = r.uniform() < 1.0 - exp(-dt / JUMP_EVERY_S);
        // A jump is what the factor would move in a minute and a half of the calm regime.
        let f = r.normal() * self.factor * dt.sqrt() + if jump { 9.0 * r.normal() } else { 0.0 };
        for ((m, beta), own) in self.moves.iter_mut().zip(&self.beta).zip(&self.own) {
            *m = own * (beta * f + r.normal() * dt.sqrt());
        }
        let calm = exp(-dt / 20.0);
        self.activity =
            1.0 + (self.activity - 1.0) * calm + (f.abs() / dt.sqrt().max(0.1)).min(6.0) * (1.0 - calm);
        &self.moves
    }

    /// How busy the market is: 1 in a calm one.
    pub(crate) fn activity(&self) -> f64 {
        self.activity.clamp(0.5, 4.0)
    }
}

/// Price history before the opening, for warm starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Preroll {
    /// Symbols, in column order.
    pub symbols: Vec<String>,
    /// One row per bar, oldest first; the last row is the opening prices.
    pub rows: Vec<Vec<f64>>,
}

/// Most rows that [`preroll`] makes.
pub const MAX_PREROLL: usize = 200_000;

/// The `bars` prices at distance `interval` that led to the opening prices (at most [`MAX_PREROLL`]): the same
/// process as the live market, run backward from the opening, so that a longer history ends in the same rows.
/// Deterministic in `(seed, symbols, interval)`; prices lie on the instruments' ticks.
pub fn preroll(seed: u64, symbols: usize, bars: usize, interval: Duration) -> Preroll {
    let listings = instruments::listings(symbols);
    let bars = bars.min(MAX_PREROLL);
    let mut returns = Returns::new(seed, symbols);
    returns.random = Random::new(seed, 3);
    let mut logs: Vec<f64> = (0..symbols).map(|i| ln(instruments::opening(i))).collect();
    let mut rows = Vec::with_capacity(bars);
    for _ in 0..bars {
        let row = (logs.iter().zip(&listings))
            .map(|(log, l)| {
                let tick = l.instrument.tick;
                tick.value(tick.nearest(exp(*log)).unwrap_or(1).max(1))
            })
            .collect();
        rows.push(row);
        for (log, r) in logs.iter_mut().zip(returns.step(interval.as_secs_f64().max(1e-3))) {
            *log -= r;
        }
    }
    rows.reverse();
    Preroll { symbols: listings.into_iter().map(|l| l.instrument.symbol).collect(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of the largest eigenvalue of the correlation matrix of the returns of `rows` (power iteration).
    fn lambda_share(rows: &[Vec<f64>]) -> f64 {
        let n = rows[0].len();
        let returns: Vec<Vec<f64>> =
            rows.windows(2).map(|w| (0..n).map(|i| (w[1][i] / w[0][i]).ln()).collect()).collect();
        let t = returns.len() as f64;
        let mut z = returns.clone();
        for i in 0..n {
            let mean = returns.iter().map(|r| r[i]).sum::<f64>() / t;
            let sd = (returns.iter().map(|r| (r[i] - mean).powi(2)).sum::<f64>() / t).sqrt();
            for row in &mut z {
                row[i] = (row[i] - mean) / sd;
            }
        }
        let mut v = vec![1.0 / (n as f64).sqrt(); n];
        let mut lambda = 0.0;
        for _ in 0..200 {
            let mut next = vec![0.0; n];
            for row in &z {
                let dot: f64 = row.iter().zip(&v).map(|(a, b)| a * b).sum();
                for (x, r) in next.iter_mut().zip(row) {
                    *x += r * dot / t;
                }
            }
            lambda = next.iter().map(|x| x * x).sum::<f64>().sqrt();
            v = next.into_iter().map(|x| x / lambda).collect();
        }
        lambda / n as f64
    }

    #[test]
    fn the_common_factor_comes_and_goes() {
        let p = preroll(5, 24, 2000, Duration::from_secs(5));
        let shares: Vec<f64> = (150..2000).step_by(5).map(|t| lambda_share(&p.rows[t - 50..=t])).collect();
        let most = shares.iter().copied().fold(0.0, f64::max);
        let least = shares.iter().copied().fold(1.0, f64::min);
        assert!(most > 0.6 && least < 0.4, "λ₅₀/N between {least} and {most}");
    }

    #[test]
    fn a_longer_preroll_ends_in_the_same_rows() {
        let long = preroll(5, 3, 300, Duration::from_secs(5));
        let short = preroll(5, 3, 100, Duration::from_secs(5));
        assert_eq!(long.rows[200..], short.rows[..]);
        assert_eq!(short.rows[99], (0..3).map(instruments::opening).collect::<Vec<_>>());
    }
}
