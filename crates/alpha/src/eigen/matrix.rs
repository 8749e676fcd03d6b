//! The correlation matrix of one window as a thing that multiplies vectors.
//!
//! The matrix is never formed. With S the second moments, m the sums, `d = 1/√(S_ii − m_i²/W)` and `q = d·m/√W`, a
//! product is `C·v = d·(S·(d·v)) − q·(q·v)`.

use super::gram::Gram;
use super::history::History;
use super::quad::{Quad, Quads, dot, fma, mul};

/// A variance below this share of the mean square is the rounding of returns that are all the same.
pub(super) const STILL: f64 = 1e-12;

/// What standardises the returns of a window, and room for a product.
#[derive(Debug, Clone)]
pub(super) struct Standard {
    /// d, the inverse deviations of the sums; zero where the asset is still.
    pub(super) inverse: Quads,
    /// q of the module doc.
    pub(super) mean: Quads,
    /// Assets that move.
    pub(super) moving: usize,
    scaled: Quads,
}

impl Standard {
    pub(super) fn new(width: usize) -> Self {
        let zero = Quads::zero(width);
        Self { inverse: zero.clone(), mean: zero.clone(), moving: 0, scaled: zero }
    }

    /// Fills d and q from the sums and the sums of squares over `length` bars. `runs`: for each asset, how many of its
    /// newest returns are the same number; an asset of which all are is still.
    pub(super) fn fill(&mut self, length: usize, sum: &[Quad], square: &[Quad], runs: &[[u32; 4]]) {
        let (root, still) = (1.0 / (length as f64).sqrt(), length as u32);
        let moments = sum.as_flattened().iter().zip(square.as_flattened()).zip(runs.as_flattened());
        let outputs = self.inverse.as_flattened_mut().iter_mut().zip(self.mean.as_flattened_mut());
        for (((sum, square), &run), (inverse, mean)) in moments.zip(outputs) {
            let share = sum * root;
            let variance = (-share).mul_add(share, *square);
            let reciprocal = 1.0 / variance.sqrt();
            let moves = (variance > STILL * square) & (run < still);
            *inverse = if moves { reciprocal } else { 0.0 };
            *mean = *inverse * share;
        }
        self.moving = self.inverse.as_flattened().iter().filter(|&&d| d > 0.0).count();
    }
}

/// The correlation matrix of the assets that move.
#[derive(Debug)]
pub(super) struct Correlation<'w> {
    pub(super) gram: &'w mut Gram,
    pub(super) history: &'w History,
    pub(super) length: usize,
    pub(super) standard: &'w mut Standard,
    /// The rows of returns (new, old) by which `gram` is still behind: taken in with the first product.
    pub(super) pending: Option<[&'w [Quad]; 2]>,
}

impl Correlation<'_> {
    /// `out = C·v`.
    pub(super) fn apply(&mut self, v: &[Quad], out: &mut [Quad]) {
        let Standard { inverse, mean, scaled, .. } = &mut *self.standard;
        for ((scaled, v), d) in scaled.iter_mut().zip(v).zip(inverse.iter()) {
            *scaled = mul(*v, *d);
        }
        match self.pending.take() {
            Some(step) => self.gram.slide(self.length, self.history, step, scaled, out),
            None => self.gram.apply(self.length, self.history, scaled, out),
        }
        let minus = [-dot(mean, v); 4];
        for ((out, d), q) in out.iter_mut().zip(inverse.iter()).zip(mean.iter()) {
            *out = fma(minus, *q, mul(*out, *d));
        }
    }

    /// Sum of the squares of all elements, which is that of the squares of all eigenvalues; `None` where only a search
    /// is as cheap.
    pub(super) fn square_sum(&self) -> Option<f64> {
        self.gram.square_sum(&self.standard.inverse, &self.standard.mean)
    }

    /// Brings the second moments up to date without a product; `room` is overwritten.
    pub(super) fn catch_up(&mut self, room: &mut [Quad]) {
        if let Some(step) = self.pending.take() {
            self.gram.update(step, step[0], room);
        }
    }
}
