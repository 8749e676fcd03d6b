//! The leading eigenpair of one window, followed from bar to bar.
//!
//! **Never the wrong pair.** A run from the vector of the last bar follows that pair; when another overtakes it, following
//! is wrong, and the residual does not tell. So a followed pair counts only while an upper bound of the second
//! eigenvalue is below it (`ceiling`). Where that bound does not do, the complement of the pair is searched by a run from
//! a start drawn at random, until either that run bounds the complement well below the pair, or the largest pair of the
//! complement is found, and the larger of the two leads. On a market with a common factor a search holds for some to
//! hundreds of bars; on a flat spectrum it is made at every bar.
//!
//! **Where the two largest eigenvalues meet**, the value is as good as anywhere. The vector is not: at equality every
//! unit vector of their plane is one, u turns by up to a right angle between two bars of which the matrices hardly
//! differ, and the instability says how the eigenvalues happened to lie, nothing about the market. Its error is
//! 1e-10 times the first eigenvalue over the gap. Where the matrix is the identity (fewer than two assets move) the vector
//! of the last bar is kept: the instability is 0.

use super::ceiling::{Ceiling, Sample, draw};
use super::lanczos::{Course, Found, Lanczos, take_away};
use super::matrix::{Correlation, Standard};
use super::quad::{Quad, Quads, axpy, dot, normalise};

/// Residual where the eigenvector is used (instability), and of a pair that has a close second; relative to the value.
const RESIDUAL_VECTOR: f64 = 1e-10;
/// Residual where only the eigenvalue is: its error is the residual squared over the gap.
const RESIDUAL_VALUE: f64 = 5e-6;
/// Largest error of an eigenvalue, per asset, where the gap is what makes it small.
const VALUE: f64 = 1e-10;

/// Share of the gap to the second eigenvalue that a search may leave uncertain.
const SPENT: f64 = 0.25;
/// A residual above the aim by this factor is a fault,
const ROOM: f64 = 10.0;
/// unless it is below this: what rounding reaches where means are a thousand deviations.
const FLOOR: f64 = 1e-7;
/// A vector whose length is off by this was made of a basis that is not orthonormal.
const SKEW: f64 = 1e-9;

/// Working memory shared by all windows and phases.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    lanczos: Lanczos,
    leader: Quads,
    rival: Quads,
    product: Quads,
}

impl Scratch {
    pub(super) fn new(width: usize) -> Self {
        let zero = Quads::zero(width);
        Self { lanczos: Lanczos::new(width), leader: zero.clone(), rival: zero.clone(), product: zero }
    }
}

/// What a bar came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// The largest eigenvalue.
    pub(super) value: f64,
    /// |u·u before|, if there was a u before.
    pub(super) overlap: Option<f64>,
    /// The residual as the run knows it is what it should be, and its basis was orthonormal.
    pub(super) sound: bool,
}

/// The pair and what is known about the others.
#[derive(Debug, Clone)]
pub(super) struct Leading {
    /// Unit eigenvector at the last bar; zero before the first.
    vector: Quads,
    /// Residual aimed at, relative.
    residual: f64,
    ceiling: Ceiling,
    first_look: usize,
    drawn: u64,
}

impl Leading {
    /// `vector_used`: not the value alone.
    pub(super) fn new(width: usize, vector_used: bool) -> Self {
        Self {
            vector: Quads::zero(width),
            residual: if vector_used { RESIDUAL_VECTOR } else { RESIDUAL_VALUE },
            ceiling: Ceiling::new(width),
            first_look: 1,
            drawn: 42,
        }
    }

    /// Becomes equal to one of the same width, without allocating.
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self { ref vector, residual, ref ceiling, first_look, drawn } = *other;
        self.vector.clone_from(vector);
        self.ceiling.copy_from(ceiling);
        (self.residual, self.first_look, self.drawn) = (residual, first_look, drawn);
    }

    /// Forgets the pair: the next bar starts from nothing.
    pub(super) fn forget(&mut self) {
        self.vector.fill([0.0; 4]);
        self.ceiling.forget();
    }

    /// Moves the bound of the second eigenvalue on by a bar.
    pub(super) fn carry(&mut self, length: usize, standard: &Standard, newest: &[Quad]) {
        self.ceiling.carry(length, standard, newest);
    }

    /// The identity: every vector is its eigenvector, and the last one is kept.
    pub(super) fn keep(&mut self) -> Pair {
        let known = dot(&self.vector, &self.vector) > 0.0;
        if !known {
            self.vector[0][0] = 1.0;
        }
        Pair { value: 1.0, overlap: known.then_some(1.0), sound: true }
    }

    /// The leading pair of `matrix`, of which at least two assets move.
    pub(super) fn follow(&mut self, matrix: &mut Correlation<'_>, scratch: &mut Scratch) -> Pair {
        let Scratch { lanczos, leader, rival, product } = scratch;
        let moving = matrix.standard.moving;
        let known = dot(&self.vector, &self.vector) > 0.0;
        start(&self.vector, &matrix.standard.inverse, leader);
        let first_look = if known { self.first_look } else { 1 };
        let course = Course { dimension: moving, first_look, looks_apart: 1 };
        let goal = self.residual;
        let mut found = lanczos.run(
            |v, out| matrix.apply(v, out),
            None,
            course,
            |found| found.residual <= goal * found.value,
            leader,
        );
        self.first_look = found.products.saturating_sub(1).max(1);
        self.ceiling.lower_to(moving as f64 - found.value + found.residual);
        if !self.is_proven(found, moving)
            && let Some(squares) = matrix.square_sum()
        {
            self.ceiling.lower_by_squares(found.value - found.residual, moving, squares);
        }
        if !self.is_proven(found, moving) {
            found = self.search(matrix, found, lanczos, [leader, rival, product]);
        }
        let overlap = known.then(|| dot(leader, &self.vector).abs().min(1.0));
        self.vector.copy_from_slice(leader);
        let sound = found.residual <= self.largest_residual() * found.value && found.skew <= SKEW;
        Pair { value: found.value, overlap, sound }
    }

    /// Whether `value` and the vector are an eigenpair of `matrix`, by a product of its own.
    pub(super) fn holds(&self, matrix: &mut Correlation<'_>, value: f64, product: &mut [Quad]) -> bool {
        if matrix.standard.moving < 2 {
            return true;
        }
        matrix.apply(&self.vector, product);
        axpy(product, -value, &self.vector);
        let residual = dot(product, product).sqrt();
        let length = dot(&self.vector, &self.vector);
        residual <= self.largest_residual() * value && (length - 1.0).abs() <= SKEW
    }

    fn largest_residual(&self) -> f64 {
        (ROOM * self.residual).max(FLOOR)
    }

    /// Whether the pair is the leading one, and its value good enough.
    fn is_proven(&self, found: Found, moving: usize) -> bool {
        let gap = found.value - found.residual - self.ceiling.second();
        gap > 0.0 && found.residual * found.residual <= VALUE * moving as f64 * gap
    }

    /// Searches the complement of the leader; the larger pair goes to the leader.
    fn search(
        &mut self,
        matrix: &mut Correlation<'_>,
        mut found: Found,
        lanczos: &mut Lanczos,
        [leader, rival, product]: [&mut [Quad]; 3],
    ) -> Found {
        let moving = matrix.standard.moving;
        if found.residual > RESIDUAL_VECTOR * found.value {
            let course = Course { dimension: moving, first_look: 2, looks_apart: 1 };
            let good = |found: Found| found.residual <= RESIDUAL_VECTOR * found.value;
            found = lanczos.run(|v, out| matrix.apply(v, out), None, course, good, leader);
        }
        draw(rival, &mut self.drawn, &matrix.standard.inverse);
        for _ in 0..2 {
            take_away(rival, leader);
            normalise(rival);
        }
        let sample = Sample::new(moving - 1);
        let course = Course { dimension: moving - 1, first_look: sample.fewest(), looks_apart: 3 };
        let enough = |other: Found| {
            // Most of the gap is left for the bars to come.
            other.residual <= RESIDUAL_VECTOR * other.value
                || sample.bound(other.value, other.products)
                    < other.value + SPENT * (found.value - other.value)
        };
        let other = lanczos.run(|v, out| matrix.apply(v, out), Some(leader), course, enough, rival);
        let converged = other.products == moving - 1 || other.residual <= RESIDUAL_VECTOR * other.value;
        let bound =
            if converged { other.value + other.residual } else { sample.bound(other.value, other.products) };
        self.ceiling.forget();
        if bound < found.value - found.residual {
            self.ceiling.lower_to(bound);
            return found;
        }
        matrix.apply(rival, product);
        let (cross, own) = (dot(leader, product), dot(rival, product));
        let (first, second) = rotate(found.value, cross, own, leader, rival);
        let residual = found.residual.max(other.residual);
        self.ceiling.lower_to(second + residual);
        Found { value: first, residual, skew: found.skew.max(other.skew), ..other }
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

/// Takes the eigenvectors of [[a, b], [b, c]] in the plane of `leader` and `rival`, the one of the larger eigenvalue to
/// `leader`; returns both eigenvalues, the larger first.
fn rotate(a: f64, b: f64, c: f64, leader: &mut [Quad], rival: &mut [Quad]) -> (f64, f64) {
    let angle = 0.5 * (2.0 * b).atan2(a - c);
    let (sin, cos) = angle.sin_cos();
    for (u, w) in leader.iter_mut().zip(rival) {
        for k in 0..4 {
            (u[k], w[k]) = (cos * u[k] + sin * w[k], cos * w[k] - sin * u[k]);
        }
    }
    normalise(leader);
    let (mean, spread) = (0.5 * (a + c), (0.5 * (a - c)).hypot(b));
    (mean + spread, mean - spread)
}

#[cfg(test)]
impl Leading {
    pub(super) fn ceiling(&self) -> f64 {
        self.ceiling.second()
    }

    pub(super) fn set_vector(&mut self, vector: &[f64]) {
        self.vector.as_flattened_mut()[..vector.len()].copy_from_slice(vector);
    }
}
