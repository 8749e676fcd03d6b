//! Whether the scanner's answers may be used.
//!
//! Three watches, none of which trusts the others. Every bar, every window: the residual as the run knows it, and that
//! its vector has the length of one made from an orthonormal basis. Every bar, one window in turn: the residual by a
//! product of its own. Now and then, off the hot thread: a full decomposition of the matrix formed anew from a copy
//! of the returns ([`Check::verify`]), which alone can tell that a pair is not the leading one, or that the running
//! sums have drifted.
//!
//! A window that fails is marked, forgets its pair and sums everything afresh. It stays marked until a later
//! decomposition agrees. The answers keep coming; not to act on them is the caller's part ([`Health::is_sound`]).

use super::WINDOWS;
use super::dense;
use super::matrix::STILL;

/// Largest difference of λ that a decomposition may find: SPEC 6 promises 1e-9.
pub const TOLERANCE: f64 = 1e-9;

/// What was found wrong with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Value and vector are not an eigenpair of the matrix the scanner works with.
    Residual,
    /// A full decomposition has another largest eigenvalue.
    Decomposition,
}

/// Which windows of [`WINDOWS`] may be used, over all phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// What is wrong with each.
    pub faults: [Option<Fault>; 4],
}

impl Health {
    /// Whether every window may be used. Otherwise neither `vel_div` nor a velocity is a signal.
    pub fn is_sound(&self) -> bool {
        self.faults.iter().all(Option::is_none)
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_sound() {
            return f.write_str("sound");
        }
        let mut between = "";
        for (window, fault) in WINDOWS.iter().zip(self.faults) {
            let what = match fault {
                None => continue,
                Some(Fault::Residual) => "is not an eigenvalue of its matrix",
                Some(Fault::Decomposition) => "differs from a full decomposition",
            };
            write!(f, "{between}eigenvalue of window {window} {what}")?;
            between = ", ";
        }
        Ok(())
    }
}

/// A copy of one window's returns beside the eigenvalue that the scanner claims for it: everything that a check on
/// another thread needs. Made once and filled again, so that filling takes no memory.
#[derive(Debug, Clone, Default)]
pub struct Check {
    pub(super) phase: usize,
    /// Rows the phase had taken.
    pub(super) bar: usize,
    /// Index in [`WINDOWS`].
    pub(super) window: usize,
    /// λ as claimed.
    pub(super) claimed: f64,
    /// Rows of returns, oldest first or last as the ring has them, `assets` each.
    pub(super) returns: Vec<f64>,
    pub(super) assets: usize,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    pub(super) phase: usize,
    pub(super) bar: usize,
    pub(super) index: usize,
    /// Bars of the window.
    pub window: usize,
    /// λ the scanner claimed.
    pub claimed: f64,
    /// λ by a full decomposition.
    pub found: f64,
}

impl Verdict {
    /// Whether the two are within [`TOLERANCE`].
    pub fn agrees(&self) -> bool {
        (self.claimed - self.found).abs() <= TOLERANCE
    }
}

impl Check {
    /// Room for the longest window of `assets`.
    pub fn new(assets: usize) -> Self {
        Self { returns: Vec::with_capacity(WINDOWS[3] * assets), assets, ..Self::default() }
    }

    /// Bars of the window that was copied.
    pub fn window(&self) -> usize {
        WINDOWS[self.window]
    }

    /// λ the scanner claims for it.
    pub fn claimed(&self) -> f64 {
        self.claimed
    }

    /// The correlation matrix of the copied returns, row by row, formed in two passes (SPEC 6).
    pub fn correlation(&self) -> Vec<f64> {
        let (n, rows) = (self.assets, self.returns.len() / self.assets.max(1));
        let mut columns: Vec<Vec<f64>> =
            (0..n).map(|i| self.returns.iter().skip(i).step_by(n).copied().collect()).collect();
        for column in &mut columns {
            standardise(column, rows);
        }
        let product = |i: usize, j: usize| -> f64 {
            if i == j { 1.0 } else { columns[i].iter().zip(&columns[j]).map(|(a, b)| a * b).sum() }
        };
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let element = product(i, j);
                (matrix[i * n + j], matrix[j * n + i]) = (element, element);
            }
        }
        matrix
    }

    /// Decomposes the matrix in full. Takes about a millisecond at 48 assets and a fifth of a second at 400:
    /// not for the thread that trades.
    pub fn verify(&self) -> Verdict {
        let found = dense::largest_eigenvalue(&mut self.correlation(), self.assets) / self.assets as f64;
        let Self { phase, bar, window, claimed, .. } = *self;
        Verdict { phase, bar, index: window, window: WINDOWS[window], claimed, found }
    }
}

/// Centres `column` and brings it to length 1; to zeros where it does not move.
fn standardise(column: &mut [f64], rows: usize) {
    let square: f64 = column.iter().map(|r| r * r).sum();
    let mean = column.iter().sum::<f64>() / rows as f64;
    let moves = column.iter().any(|r| *r != column[0]);
    column.iter_mut().for_each(|r| *r -= mean);
    let variance: f64 = column.iter().map(|r| r * r).sum();
    let factor = if moves && variance > STILL * square { 1.0 / variance.sqrt() } else { 0.0 };
    column.iter_mut().for_each(|r| *r *= factor);
}
