//! One window of one phase: running moments of the returns, and the leading eigenpair of their correlation matrix.
//!
//! The matrix is never formed. With S the second moments, m the sums, `d = 1/√(S_ii − m_i²/W)` and `q = d·m/√W`, a
//! product is `C·v = d·(S·(d·v)) − q·(q·v)`.
//!
//! **What running sums need.** Adding and taking away leaves rounding of the size of the largest sum there has been,
//! so an asset whose sum of squares has fallen far below its peak is summed afresh, and every asset is in turn.
//! Zero variance is exact: an asset is still when all its returns of the window are the same number (counted, not
//! computed), or when they differ by rounding only.
//!
//! **Never the wrong pair.** A warm start follows its eigenvector; when another overtakes it, following is wrong and
//! the residual does not tell. All eigenvalues are ≥ 0 and add up to the number of moving assets, so a pair with
//! more than half of that is the leading one. Otherwise a *challenger* is kept: a vector orthogonal to the leader,
//! that one product per tick turns towards the runner-up, with a pinch of the newest returns (the only direction in
//! which the matrix grew) and of noise. When it comes near the leader it is brought to convergence too, and the
//! leading vector is taken from the plane of both.

use super::gram::Gram;
use super::history::History;
use super::lanczos::{Goal, Lanczos};
use super::quad::{Quad, Quads, ZERO, axpy, dot, fma, mul, normalise, scale};

/// Sum of squares below its peak by this factor: sum afresh. The rounding left in a sum is then below
/// 2⁻⁵³·√ticks·1000 of it.
const FALLEN: f64 = 1e-3;
/// A variance below this share of the mean square is the rounding of returns that are all the same.
const STILL: f64 = 1e-12;
/// Residual for the windows whose eigenvector is used (instability).
const RESIDUAL_VECTOR: f64 = 1e-10;
/// Residual for the windows of which only the eigenvalue is: its error is the residual squared over the gap.
const RESIDUAL_VALUE: f64 = 5e-6;
/// The challenger is contested when its eigenvalue may be above this share of the leader's.
const CONTEST: f64 = 0.95;
/// Share of the newest returns, and of noise, in the challenger.
const PINCH_RETURNS: f64 = 0.1;
const PINCH_NOISE: f64 = 1e-2;

/// Working memory shared by all windows and phases.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    pub(super) lanczos: Lanczos,
    /// d, the inverse deviations; zero where the asset is still.
    inverse: Quads,
    /// q of the module doc.
    mean: Quads,
    scaled: Quads,
    leader: Quads,
    rival: Quads,
    product: Quads,
}

impl Scratch {
    pub(super) fn new(width: usize) -> Self {
        let zero = Quads::zero(width);
        Self {
            lanczos: Lanczos::new(width),
            inverse: zero.clone(),
            mean: zero.clone(),
            scaled: zero.clone(),
            leader: zero.clone(),
            rival: zero.clone(),
            product: zero,
        }
    }
}

/// A row of returns that enters the window and one that leaves it (zeros while the window fills).
#[derive(Debug, Clone, Copy)]
pub(super) struct Slide<'a> {
    pub(super) new: &'a [Quad],
    pub(super) old: &'a [Quad],
    /// For each asset, how many of its newest returns are the same number.
    pub(super) runs: &'a [[u32; 4]],
}

/// One window of one phase.
#[derive(Debug, Clone)]
pub(super) struct Window {
    length: usize,
    vector_used: bool,
    sum: Quads,
    square: Quads,
    peak: Quads,
    gram: Gram,
    /// Unit eigenvector at the last bar; zero before the first.
    pub(super) vector: Quads,
    challenger: Quads,
    first_look: usize,
    noise: u64,
}

impl Window {
    pub(super) fn new(length: usize, width: usize, vector_used: bool) -> Self {
        let zero = Quads::zero(width);
        Self {
            length,
            vector_used,
            sum: zero.clone(),
            square: zero.clone(),
            peak: zero.clone(),
            gram: Gram::new(length, width),
            vector: zero.clone(),
            challenger: zero,
            first_look: 1,
            noise: 42,
        }
    }

    /// Takes in a row that is already the newest of `history`. Once the window is full: the largest eigenvalue of
    /// the correlation matrix, and |u·u before| if there is a u before.
    pub(super) fn step(
        &mut self,
        history: &History,
        slide: Slide<'_>,
        assets: usize,
        scratch: &mut Scratch,
    ) -> Option<(f64, Option<f64>)> {
        let fallen = self.add_moments(slide);
        let due = history.pushed().is_multiple_of(super::REFRESH_EVERY);
        let turn = due.then_some(history.pushed() / super::REFRESH_EVERY % assets);
        let refresh = turn.is_some() || fallen;
        if refresh || history.pushed() < self.length {
            self.gram.update([slide.new, slide.old], &scratch.scaled, &mut scratch.product);
        }
        if refresh {
            for asset in 0..assets {
                if turn == Some(asset) || self.has_fallen(asset) {
                    self.refresh(asset, history, &mut scratch.product);
                }
            }
        }
        if history.pushed() < self.length {
            return None;
        }
        let pending = if refresh { None } else { Some([slide.new, slide.old]) };
        let moving = self.standardise(slide.runs, scratch);
        let before = self.solve(history, pending, slide.new, moving, scratch);
        Some(before)
    }

    /// Moves the sums on; tells whether one has fallen far below its peak.
    fn add_moments(&mut self, slide: Slide<'_>) -> bool {
        let mut fallen = false;
        let rows = slide.new.as_flattened().iter().zip(slide.old.as_flattened());
        let sums = self.sum.as_flattened_mut().iter_mut().zip(self.square.as_flattened_mut());
        for (((new, old), (sum, square)), peak) in rows.zip(sums).zip(self.peak.as_flattened_mut()) {
            *sum += new - old;
            // As the matrix does it, so that both have the same diagonal.
            *square = (-old).mul_add(*old, new.mul_add(*new, *square));
            *peak = if *square > *peak { *square } else { *peak };
            fallen |= *square < FALLEN * *peak;
        }
        fallen
    }

    fn has_fallen(&self, asset: usize) -> bool {
        let (quad, lane) = (asset / 4, asset % 4);
        self.square[quad][lane] < FALLEN * self.peak[quad][lane]
    }

    /// Sums one asset afresh from the rows of the window.
    fn refresh(&mut self, asset: usize, history: &History, fresh: &mut [Quad]) {
        let (quad, lane) = (asset / 4, asset % 4);
        let width = fresh.len();
        let rows = self.length.min(history.pushed());
        fresh.fill(ZERO);
        let mut sum = 0.0;
        let full = !matches!(self.gram, Gram::Rows);
        for row in history.newest(rows).iter().flat_map(|run| run.chunks_exact(width)) {
            let own = row[quad][lane];
            sum += own;
            if full {
                axpy(fresh, own, row);
            } else {
                fresh[quad][lane] = own.mul_add(own, fresh[quad][lane]);
            }
        }
        self.gram.replace(asset, fresh);
        self.sum[quad][lane] = sum;
        self.square[quad][lane] = fresh[quad][lane];
        self.peak[quad][lane] = fresh[quad][lane];
    }

    /// Fills d and q and counts the assets that moved.
    fn standardise(&self, runs: &[[u32; 4]], scratch: &mut Scratch) -> usize {
        let (root, still) = (1.0 / (self.length as f64).sqrt(), self.length as u32);
        let moments = self.sum.as_flattened().iter().zip(self.square.as_flattened()).zip(runs.as_flattened());
        let outputs = scratch.inverse.as_flattened_mut().iter_mut().zip(scratch.mean.as_flattened_mut());
        for (((sum, square), &run), (inverse, mean)) in moments.zip(outputs) {
            let share = sum * root;
            let variance = (-share).mul_add(share, *square);
            let reciprocal = 1.0 / variance.sqrt();
            let moves = (variance > STILL * square) & (run < still);
            *inverse = if moves { reciprocal } else { 0.0 };
            *mean = *inverse * share;
        }
        scratch.inverse.as_flattened().iter().filter(|&&d| d > 0.0).count()
    }

    fn solve(
        &mut self,
        history: &History,
        mut pending: Option<[&[Quad]; 2]>,
        newest: &[Quad],
        moving: usize,
        scratch: &mut Scratch,
    ) -> (f64, Option<f64>) {
        let Self { length, gram, .. } = self;
        let Scratch { lanczos, inverse, mean, scaled, leader, rival, product } = scratch;
        if moving == 0 {
            if let Some(step) = pending {
                gram.update(step, scaled, product);
            }
            return self.all_still();
        }
        let mut operator = |v: &[Quad], out: &mut [Quad]| {
            for ((scaled, v), d) in scaled.iter_mut().zip(v).zip(inverse.iter()) {
                *scaled = mul(*v, *d);
            }
            match pending.take() {
                Some(step) => gram.slide(*length, history, step, scaled, out),
                None => gram.apply(*length, history, scaled, out),
            }
            let minus = [-dot(mean, v); 4];
            for ((out, d), q) in out.iter_mut().zip(inverse.iter()).zip(mean.iter()) {
                *out = fma(minus, *q, mul(*out, *d));
            }
        };
        let known = dot(&self.vector, &self.vector) > 0.0;
        start(&self.vector, inverse, leader);
        let residual = if self.vector_used { RESIDUAL_VECTOR } else { RESIDUAL_VALUE };
        let first_look = if known { self.first_look } else { 1 };
        let goal = Goal { residual, uninteresting_below: f64::NEG_INFINITY, first_look };
        let found = lanczos.run(&mut operator, None, moving, goal, leader);
        self.first_look = found.products.saturating_sub(1).max(1);
        let mut value = found.value;
        if 2.0 * value <= moving as f64 && moving > 1 {
            challenge(&self.challenger, &mut self.noise, newest, inverse, leader, rival);
            value = contest(lanczos, &mut operator, moving, value, [leader, rival, product]);
            self.challenger.copy_from_slice(rival);
        }
        let overlap = known.then(|| dot(leader, &self.vector).abs().min(1.0));
        self.vector.copy_from_slice(leader);
        (value, overlap)
    }

    /// No asset moved: the matrix is the identity, every vector is its eigenvector, and the last one is kept.
    fn all_still(&mut self) -> (f64, Option<f64>) {
        let known = dot(&self.vector, &self.vector) > 0.0;
        if !known {
            self.vector[0][0] = 1.0;
        }
        (1.0, known.then_some(1.0))
    }
}

/// A start for the leader: the vector of the last bar on the assets that move; uniform if there is next to nothing
/// of it there.
fn start(vector: &[Quad], inverse: &[Quad], leader: &mut [Quad]) {
    for ((out, v), d) in leader.iter_mut().zip(vector).zip(inverse) {
        for k in 0..4 {
            out[k] = if d[k] > 0.0 { v[k] } else { 0.0 };
        }
    }
    if normalise(leader) < 1e-3 {
        for (out, d) in leader.iter_mut().zip(inverse) {
            *out = d.map(|d| f64::from(d > 0.0));
        }
        normalise(leader);
    }
}

/// The challenger, freshened: last bar's, a pinch of the newest returns and of noise, on the assets that move and
/// orthogonal to the leader, into `rival`.
fn challenge(
    challenger: &[Quad],
    noise: &mut u64,
    newest: &[Quad],
    inverse: &[Quad],
    leader: &[Quad],
    rival: &mut [Quad],
) {
    for ((out, d), r) in rival.iter_mut().zip(inverse).zip(newest) {
        *out = mul(*d, *r);
    }
    normalise(rival);
    scale(rival, PINCH_RETURNS);
    for ((out, v), d) in rival.iter_mut().zip(challenger).zip(inverse) {
        *noise = next_noise(*noise);
        for k in 0..4 {
            let sign = if *noise >> (60 + k) & 1 == 0 { PINCH_NOISE } else { -PINCH_NOISE };
            out[k] = if d[k] > 0.0 { out[k] + v[k] + sign } else { 0.0 };
        }
    }
    let overlap = dot(leader, rival);
    axpy(rival, -overlap, leader);
    normalise(rival);
    let overlap = dot(leader, rival);
    axpy(rival, -overlap, leader);
}

/// A linear congruential generator (Knuth's MMIX constants): which signs it yields does not matter, only that they change.
fn next_noise(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

/// Holds `rival` against `leader`, whose eigenvalue is `value`: if it may be as large, both are brought to
/// convergence and the leader becomes the best vector of their plane. Returns the leader's eigenvalue.
fn contest(
    lanczos: &mut Lanczos,
    operator: &mut impl FnMut(&[Quad], &mut [Quad]),
    moving: usize,
    value: f64,
    [leader, rival, product]: [&mut [Quad]; 3],
) -> f64 {
    operator(rival, product);
    let quotient = dot(rival, product);
    let cross = dot(leader, product);
    axpy(product, -cross, leader);
    let residual = quotient.mul_add(-quotient, dot(product, product)).max(0.0).sqrt();
    if quotient + residual < CONTEST * value {
        rival.copy_from_slice(product);
        normalise(rival);
        return value;
    }
    let below = CONTEST * value;
    let goal = Goal { residual: RESIDUAL_VECTOR, uninteresting_below: below, first_look: 2 };
    normalise(rival);
    let found = lanczos.run(&mut *operator, Some(leader), moving - 1, goal, rival);
    if found.value + found.residual < below {
        return value;
    }
    operator(rival, product);
    rotate(value, dot(leader, product), dot(rival, product), leader, rival)
}

/// Takes the eigenvectors of [[a, b], [b, c]] in the plane of `leader` and `rival`, the larger one to `leader`.
fn rotate(a: f64, b: f64, c: f64, leader: &mut [Quad], rival: &mut [Quad]) -> f64 {
    let angle = 0.5 * (2.0 * b).atan2(a - c);
    let (sin, cos) = angle.sin_cos();
    for (u, w) in leader.iter_mut().zip(rival) {
        for k in 0..4 {
            (u[k], w[k]) = (cos * u[k] + sin * w[k], cos * w[k] - sin * u[k]);
        }
    }
    normalise(leader);
    0.5 * (a + c) + (0.5 * (a - c)).hypot(b)
}
