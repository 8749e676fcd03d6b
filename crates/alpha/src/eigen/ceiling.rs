//! An upper bound of the second largest eigenvalue, carried from bar to bar: what proves that the pair that was
//! followed is the leading one.
//!
//! **From one bar to the next.** Let M be the centred second moments, C = D·M·D. The new window is the old one with a row
//! less and a row `r` more, and taking a row away makes M smaller, so `M' ≤ M + ρρᵀ` (as quadratic forms) with
//! ρ = √(W/(W−1))·(r − m'). Hence `C' ≤ E·C·E + ρ'ρ'ᵀ` with E = D'/D and ρ' = D'·ρ, and by Weyl's and Ostrowski's
//! inequalities λ₂(C') ≤ max(E²)·λ₂(C) + |ρ'|². One asset of which an outlier has left the window has a large E² by itself.
//! A principal submatrix without k assets has λ₂ smaller by at most k (Aronszajn: diagonal 1), so such assets are
//! better counted than multiplied by; so are those that did not move before.
//!
//! **From a run.** After k products from a start drawn at random, the largest eigenvalue of an operator ≥ 0 in n
//! dimensions is above θ/(1 − ε), θ being that of T, with a probability of at most 1.648·√n·exp(−√ε·(2k − 1)), however
//! its spectrum looks (Kuczyński & Woźniakowski 1992, theorem 4.2). With that at [`CHANCE`], ε says how far above.
//!
//! **From the trace.** All eigenvalues are ≥ 0 and add up to the number of moving assets, and their squares to the squares
//! of all elements. Given one of them, both sums bound the others (Samuelson's inequality).

use super::matrix::Standard;
use super::quad::{Quad, Quads, ZERO, fma, mul, total};

/// The chance that a bound from a run is wrong.
const CHANCE: f64 = 1e-12;
/// E² above which an asset is counted: the best of these.
const OUTLIERS: [f64; 6] = [1.03125, 1.0625, 1.125, 1.25, 1.5, 2.0];
/// Room for rounding of the moments, relative.
const ROUNDING: f64 = 1e-9;

/// The bound.
#[derive(Debug, Clone)]
pub(super) struct Ceiling {
    second: f64,
    /// Sum of squared deviations per asset at the last bar; zero where it was still.
    variance: Quads,
}

impl Ceiling {
    pub(super) fn new(width: usize) -> Self {
        Self { second: f64::INFINITY, variance: Quads::zero(width) }
    }

    /// Becomes equal to one of the same width, without allocating.
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self { second, ref variance } = *other;
        self.second = second;
        self.variance.clone_from(variance);
    }

    /// Nothing is known.
    pub(super) fn forget(&mut self) {
        self.second = f64::INFINITY;
    }

    /// The second eigenvalue is not above this.
    pub(super) fn second(&self) -> f64 {
        self.second
    }

    /// Takes in a bound found by other means.
    pub(super) fn lower_to(&mut self, bound: f64) {
        self.second = self.second.min(bound * (1.0 + ROUNDING));
    }

    /// Takes in that one of `moving` eigenvalues is at least `value`, and the sum of all their squares.
    pub(super) fn lower_by_squares(&mut self, value: f64, moving: usize, squares: f64) {
        let others = moving as f64 - 1.0;
        let mean = (moving as f64 - value) / others;
        let spread = ROUNDING.mul_add(squares, squares - value * value) / others - mean * mean;
        self.lower_to(mean + ((others - 1.0) * spread.max(0.0)).sqrt());
    }

    /// Moves on by one bar whose returns are `newest`, to what `standard` says now of a window of `length`.
    pub(super) fn carry(&mut self, length: usize, standard: &Standard, newest: &[Quad]) {
        let root = [-1.0 / (length as f64).sqrt(); 4];
        let (mut largest, mut above, mut square) = (ZERO, [ZERO; OUTLIERS.len()], ZERO);
        let rows =
            self.variance.iter_mut().zip(standard.inverse.iter()).zip(standard.mean.iter()).zip(newest);
        for (((variance, d), q), r) in rows {
            let row = fma(root, *q, mul(*d, *r));
            square = fma(row, row, square);
            let mut ratio = ZERO;
            for k in 0..4 {
                let grown = if variance[k] > 0.0 { variance[k] * d[k] * d[k] } else { f64::INFINITY };
                let moves = d[k] > 0.0;
                ratio[k] = if moves { grown } else { 0.0 };
                variance[k] = if moves { 1.0 / (d[k] * d[k]) } else { 0.0 };
                largest[k] = if ratio[k] > largest[k] { ratio[k] } else { largest[k] };
            }
            for (above, outlier) in above.iter_mut().zip(OUTLIERS) {
                for k in 0..4 {
                    above[k] += if ratio[k] > outlier { 1.0 } else { 0.0 };
                }
            }
        }
        if self.second.is_infinite() {
            return;
        }
        let all = self.second * most(largest);
        let grown = above
            .iter()
            .zip(OUTLIERS)
            .fold(all, |least, (above, outlier)| least.min(self.second.mul_add(outlier, total(*above))));
        let length = length as f64;
        self.second = total(square).mul_add(length / (length - 1.0), grown) * (1.0 + ROUNDING);
    }
}

fn most(a: Quad) -> f64 {
    a[0].max(a[1]).max(a[2].max(a[3]))
}

/// What bounds the largest eigenvalue after a run from a start drawn at random in `dimension` dimensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    exponent: f64,
}

impl Sample {
    pub(super) fn new(dimension: usize) -> Self {
        Self { exponent: (1.648 * (dimension as f64).sqrt() / CHANCE).ln() }
    }

    /// Products before which nothing is bounded.
    pub(super) fn fewest(self) -> usize {
        (0.5 * (self.exponent + 1.0)) as usize + 1
    }

    /// The bound when the largest eigenvalue of T is `value` after `products`.
    pub(super) fn bound(self, value: f64, products: usize) -> f64 {
        let root = self.exponent / (2.0 * products as f64 - 1.0);
        if root < 1.0 { value / (1.0 - root * root) } else { f64::INFINITY }
    }
}

/// Fills `vector` with numbers drawn evenly from (−1, 1), zero where an asset is still. Evenly distributed numbers do
/// here: against any direction their projection has a density as low as that of normal ones. Signs would not; two
/// equal components of an eigenvector cancel every other time.
pub(super) fn draw(vector: &mut [Quad], state: &mut u64, inverse: &[Quad]) {
    for (out, d) in vector.iter_mut().zip(inverse) {
        for k in 0..4 {
            let drawn = uniform(state);
            out[k] = if d[k] > 0.0 { drawn } else { 0.0 };
        }
    }
}

/// SplitMix64: its state says the same on every machine.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) as i64 >> 11) as f64 / (1u64 << 52) as f64
}
