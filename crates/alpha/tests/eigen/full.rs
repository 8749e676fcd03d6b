//! The scanner's oracle: SPEC §6 by the book, every window's correlation matrix formed anew in two passes and
//! decomposed in full by faer.

use alpha::eigen::WINDOWS;
use faer::{Mat, Side};

/// Leading eigenvalue ÷ N, how far the second is below it (second ÷ first), and the leading eigenvector.
#[derive(Debug, Clone)]
pub struct Leading {
    pub lambda: f64,
    pub crowding: f64,
    pub vector: Vec<f64>,
}

/// The oracle at stride 1: all returns since the start.
#[derive(Debug, Clone, Default)]
pub struct Full {
    prices: Vec<f64>,
    returns: Vec<Vec<f64>>,
    before: [Option<Leading>; 4],
}

/// Per window: leading pair now and one bar ago.
pub type Bar = [(Option<Leading>, Option<Leading>); 4];

impl Full {
    /// Takes a tick in without an answer.
    pub fn push(&mut self, prices: &[f64]) {
        let first = self.prices.is_empty();
        if first {
            self.prices = vec![f64::NAN; prices.len()];
        }
        let before = self.prices.clone();
        for (known, &price) in self.prices.iter_mut().zip(prices) {
            if price.is_finite() && price > 0.0 {
                *known = price;
            }
        }
        if first {
            return;
        }
        let row = self.prices.iter().zip(&before).map(|(p, b)| if b.is_nan() { 0.0 } else { (p / b).ln() });
        self.returns.push(row.collect());
        let longest = WINDOWS[3];
        if self.returns.len() > 2 * longest {
            self.returns.drain(..longest);
        }
    }

    /// Takes a tick in and decomposes every full window.
    pub fn step(&mut self, prices: &[f64]) -> Bar {
        self.push(prices);
        std::array::from_fn(|w| {
            let now = self.leading(WINDOWS[w]);
            (now.clone(), std::mem::replace(&mut self.before[w], now))
        })
    }

    fn leading(&self, window: usize) -> Option<Leading> {
        self.correlation(window).map(|c| decompose(&c))
    }

    /// The correlation matrix of the last `window` returns, once there are as many.
    pub fn correlation(&self, window: usize) -> Option<Mat<f64>> {
        let start = self.returns.len().checked_sub(window)?;
        Some(correlation(&self.returns[start..]))
    }
}

/// Correlation matrix of rows of returns; zero variance: diagonal 1, uncorrelated with all. Returns that differ
/// only by the rounding of prices count as the same (variance below 1e-12 of the mean square).
pub fn correlation(rows: &[Vec<f64>]) -> Mat<f64> {
    let (n, length) = (rows[0].len(), rows.len() as f64);
    let mut columns: Vec<Vec<f64>> = (0..n).map(|i| rows.iter().map(|row| row[i]).collect()).collect();
    for column in &mut columns {
        let square: f64 = column.iter().map(|r| r * r).sum();
        let mean = column.iter().sum::<f64>() / length;
        column.iter_mut().for_each(|r| *r -= mean);
        let variance: f64 = column.iter().map(|r| r * r).sum();
        let factor = if variance > 1e-12 * square { 1.0 / variance.sqrt() } else { 0.0 };
        column.iter_mut().for_each(|r| *r *= factor);
    }
    Mat::from_fn(n, n, |i, j| {
        if i == j { 1.0 } else { columns[i].iter().zip(&columns[j]).map(|(a, b)| a * b).sum() }
    })
}

/// Full decomposition of a correlation matrix.
pub fn decompose(c: &Mat<f64>) -> Leading {
    let n = c.nrows();
    let eigen = c.self_adjoint_eigen(Side::Lower).expect("a finite symmetric matrix has eigenvalues");
    let values = eigen.S().column_vector();
    let second = if n > 1 { values[n - 2] } else { 0.0 };
    Leading {
        lambda: values[n - 1] / n as f64,
        crowding: second / values[n - 1],
        vector: (0..n).map(|i| eigen.U()[(i, n - 1)]).collect(),
    }
}
