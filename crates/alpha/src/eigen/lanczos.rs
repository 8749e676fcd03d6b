//! The leading eigenpair of a symmetric operator by the Lanczos method, from a given start.
//!
//! After m products the operator is known on the Krylov space of the start as a tridiagonal matrix T. The largest
//! eigenvalue of T is the estimate, and `|β_m·s_m|` (the last component of its eigenvector) is the length of the
//! residual, so the run stops as soon as the answer is good enough, never after a fixed number of steps: where
//! the two largest eigenvalues nearly cross, a fixed number is silently wrong by per cents.
//!
//! All of that holds only while the basis is orthonormal. One Gram–Schmidt pass is not enough: near an eigenvector
//! a product cancels to almost nothing, and what is left of it is rounding in the direction of the basis (and of the
//! locked vector). So every product passes twice: once against its two neighbours and the locked vector, which is all
//! that exact arithmetic would leave, and once more against the whole basis and the locked vector, which takes away
//! what rounding left. The basis may grow to the full dimension, at which T has every eigenvalue; so no run
//! starts over, and none ends without an answer.

use super::quad::{Quad, Quads, ZERO, add_weighted, axpy, dot, dots, normalise, scale};
use super::tridiagonal::Tridiagonal;

/// A new direction shorter than this, against the eigenvalue, is rounding: the space is invariant.
const INVARIANT: f64 = 1e-14;

/// The answer of a run; the vector is in the caller's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The largest eigenvalue of T.
    pub(super) value: f64,
    /// Length of the residual of the pair.
    pub(super) residual: f64,
    /// Products taken.
    pub(super) products: usize,
    /// How far the length of the vector was from 1 before it was scaled: nothing but rounding while the basis is
    /// orthonormal. Zero until the run has ended.
    pub(super) skew: f64,
}

/// When to look at T, and in how many dimensions the operator works. A look costs about half a product on small
/// matrices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) dimension: usize,
    pub(super) first_look: usize,
    pub(super) looks_apart: usize,
}

/// Working memory of a run, allocated once.
#[derive(Debug, Clone)]
pub(super) struct Lanczos {
    basis: Quads,
    width: usize,
    t: Tridiagonal,
    overlaps: Vec<f64>,
}

impl Lanczos {
    /// Working memory for vectors of `width` quads.
    pub(super) fn new(width: usize) -> Self {
        let dimension = 4 * width;
        Self {
            basis: Quads::zero((dimension + 1) * width),
            width,
            t: Tridiagonal::new(dimension),
            overlaps: vec![0.0; dimension],
        }
    }

    /// The leading eigenpair of `operator` on the complement of `locked`, from `vector` (of length 1, orthogonal to
    /// `locked`), into `vector`: as soon as a look finds it `good`, at the latest when the space is exhausted.
    pub(super) fn run(
        &mut self,
        mut operator: impl FnMut(&[Quad], &mut [Quad]),
        locked: Option<&[Quad]>,
        course: Course,
        good: impl Fn(Found) -> bool,
        vector: &mut [Quad],
    ) -> Found {
        self.basis[..self.width].copy_from_slice(vector);
        self.t.clear();
        let mut next_look = course.first_look;
        loop {
            let beta = self.extend(&mut operator, locked);
            let products = self.t.len();
            let exhausted = products >= course.dimension || beta <= INVARIANT * self.t.value();
            if products < next_look && !exhausted {
                continue;
            }
            next_look = products + course.looks_apart;
            let (value, residual) = self.t.leading();
            let found = Found { value, residual, products, skew: 0.0 };
            if exhausted || good(found) {
                let skew = (self.combine(vector) - 1.0).abs();
                return Found { skew, ..found };
            }
        }
    }

    /// One product: a row more of T and the next basis vector; returns its length before scaling.
    fn extend(&mut self, operator: &mut impl FnMut(&[Quad], &mut [Quad]), locked: Option<&[Quad]>) -> f64 {
        let (newest, width) = (self.t.len(), self.width);
        let (known, next) = self.basis.split_at_mut((newest + 1) * width);
        let next = &mut next[..width];
        let own = &known[newest * width..];
        operator(own, next);
        if let Some(locked) = locked {
            take_away(next, locked);
        }
        if newest > 0 {
            axpy(next, -self.t.coupling(), &known[(newest - 1) * width..][..width]);
        }
        let alpha = take_away(next, own);
        if let Some(locked) = locked {
            take_away(next, locked);
        }
        let overlaps = &mut self.overlaps[..=newest];
        dots(known, next, overlaps);
        let left = overlaps[newest];
        overlaps.iter_mut().for_each(|overlap| *overlap = -*overlap);
        add_weighted(next, overlaps, known);
        let beta = dot(next, next).sqrt();
        if beta > 0.0 {
            scale(next, 1.0 / beta);
        }
        self.t.push(alpha + left, beta);
        beta
    }

    /// The eigenvector of T, taken back to the full space, into `vector`; returns the length it had.
    fn combine(&self, vector: &mut [Quad]) -> f64 {
        vector.fill(ZERO);
        add_weighted(vector, self.t.vector(), &self.basis);
        normalise(vector)
    }
}

/// Takes the part along the unit vector `direction` out of `x`; returns how much it was.
pub(super) fn take_away(x: &mut [Quad], direction: &[Quad]) -> f64 {
    let overlap = dot(direction, x);
    axpy(x, -overlap, direction);
    overlap
}
