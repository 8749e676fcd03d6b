//! `dolphin bench eigen`: the scanner's time per tick against a full decomposition of the same four correlation
//! matrices (faer), in the same run on the same prices, and the largest difference between the two.

use std::time::Instant;

use alpha::eigen::{Scanner, ScannerError, WINDOWS};
use faer::{Mat, Side};

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Assets of the made-up market.
    pub assets: usize,
    /// Ticks per bar; the decomposition is compared at stride 1 only (the work per tick is the same).
    pub stride: usize,
    /// Ticks measured after warm-up.
    pub ticks: usize,
    /// Full decompositions, spread evenly over the ticks.
    pub decompositions: usize,
    /// Of the made-up market.
    pub seed: u64,
}

/// A distribution of times, µs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Times {
    /// Samples.
    pub n: usize,
    /// Fastest.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Slowest.
    pub max: f64,
    /// Percentiles with fewer than 10/(1 − q) samples.
    pub few_samples: Vec<&'static str>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Measured {
    /// Assets.
    pub assets: usize,
    /// Ticks per bar.
    pub stride: usize,
    /// Memory of the scanner, bytes.
    pub memory_bytes: usize,
    /// One tick of the scanner: all four windows, velocities and instabilities.
    pub scanner: Times,
    /// The eigenvalues alone of the four matrices, already formed.
    pub eigenvalues: Times,
    /// What the scanner's answer takes the plain way: forming the four matrices, eigenvalues and eigenvectors.
    pub from_scratch: Times,
    /// Median of `eigenvalues` ÷ median of `scanner`.
    pub ratio_eigenvalues: f64,
    /// Median of `from_scratch` ÷ median of `scanner`.
    pub ratio_from_scratch: f64,
    /// Largest difference of λ between the two.
    pub largest_error: f64,
    /// Mean λ per window, to tell what market it was.
    pub mean_lambda: [f64; 4],
}

/// Measures on a made-up market.
pub fn run(options: Options) -> Result<Measured, ScannerError> {
    let mut scanner = Scanner::new(options.assets, options.stride)?;
    let mut market = Market::new(options.assets, options.seed);
    let mut returns: Vec<Vec<f64>> = Vec::new();
    for _ in 0..scanner.warmup_ticks() {
        scanner.step(&market.prices);
        returns.push(market.tick());
    }
    let every = (options.ticks / options.decompositions.max(1)).max(1);
    let (mut steps, mut values, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    let (mut largest_error, mut mean_lambda) = (0.0f64, [0.0; 4]);
    for tick in 0..options.ticks {
        let started = Instant::now();
        let scan = scanner.step(&market.prices);
        steps.push(micros(started));
        for (mean, lambda) in mean_lambda.iter_mut().zip(scan.lambda) {
            *mean += lambda / options.ticks as f64;
        }
        if tick % every == 0 && options.stride == 1 {
            let lambda = decompose(&returns, &mut values, &mut scratch);
            for (ours, full) in scan.lambda.iter().zip(lambda) {
                largest_error = largest_error.max((ours - full).abs());
            }
        }
        returns.push(market.tick());
        if returns.len() > 4 * WINDOWS[3] {
            returns.drain(..2 * WINDOWS[3]);
        }
    }
    let [scanner, eigenvalues, from_scratch] = [steps, values, scratch].map(Times::of);
    Ok(Measured {
        assets: options.assets,
        stride: options.stride,
        memory_bytes: Scanner::memory_bytes(options.assets, options.stride),
        ratio_eigenvalues: eigenvalues.p50 / scanner.p50,
        ratio_from_scratch: from_scratch.p50 / scanner.p50,
        scanner,
        eigenvalues,
        from_scratch,
        largest_error,
        mean_lambda,
    })
}

/// λ of the four windows in full; appends the time of the eigenvalues alone, and of all that a scan takes.
fn decompose(returns: &[Vec<f64>], values: &mut Vec<f64>, scratch: &mut Vec<f64>) -> [f64; 4] {
    let started = Instant::now();
    let matrices = WINDOWS.map(|window| correlation(&returns[returns.len() - window..]));
    for c in &matrices {
        let eigen = c.self_adjoint_eigen(Side::Lower).expect("a finite symmetric matrix has eigenvectors");
        std::hint::black_box(&eigen);
    }
    scratch.push(micros(started));
    let started = Instant::now();
    let lambda = matrices.each_ref().map(|c| {
        let all = c.self_adjoint_eigenvalues(Side::Lower).expect("a finite symmetric matrix has eigenvalues");
        all[all.len() - 1] / c.nrows() as f64
    });
    values.push(micros(started));
    lambda
}

fn correlation(rows: &[Vec<f64>]) -> Mat<f64> {
    let n = rows[0].len();
    let mut z = Mat::from_fn(rows.len(), n, |t, i| rows[t][i]);
    for i in 0..n {
        let column = z.col_as_slice_mut(i);
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        column.iter_mut().for_each(|r| *r -= mean);
        let norm = column.iter().map(|r| r * r).sum::<f64>().sqrt();
        column.iter_mut().for_each(|r| *r /= norm);
    }
    z.transpose() * &z
}

fn micros(started: Instant) -> f64 {
    started.elapsed().as_nanos() as f64 / 1e3
}

impl Times {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let n = samples.len();
        let at = |q: f64| {
            samples.get(((n as f64 * q) as usize).min(n.saturating_sub(1))).copied().unwrap_or(f64::NAN)
        };
        Self {
            n,
            min: at(0.0),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
            few_samples: crate::report::few_samples(n as u64),
        }
    }
}

/// A made-up market: a drifting common factor, four sectors, noise of each asset's own with now and then a jump.
#[derive(Debug, Clone)]
struct Market {
    state: u64,
    common: f64,
    prices: Vec<f64>,
}

impl Market {
    fn new(assets: usize, seed: u64) -> Self {
        Self { state: seed, common: 1.0, prices: (0..assets).map(|i| 1.0 + i as f64).collect() }
    }

    /// Moves the prices by one tick and returns the returns.
    fn tick(&mut self) -> Vec<f64> {
        self.common = (self.common + 0.01 * self.normal()).clamp(0.3, 1.5);
        let common = self.common * self.normal();
        let sectors: [f64; 4] = std::array::from_fn(|_| 0.5 * self.normal());
        let before = self.prices.clone();
        for i in 0..before.len() {
            let jump = if self.uniform() < 0.01 { 5.0 } else { 1.0 };
            let own = jump * self.normal();
            self.prices[i] *= (3e-4 * (common + sectors[i % 4] + own)).exp();
        }
        self.prices.iter().zip(before).map(|(p, b)| (p / b).ln()).collect()
    }

    /// Uniform in (0, 1): SplitMix64.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Nearly normal, cheap: the sum of four uniforms.
    fn normal(&mut self) -> f64 {
        ((0..4).map(|_| self.uniform()).sum::<f64>() - 2.0) * 3.0f64.sqrt()
    }
}
