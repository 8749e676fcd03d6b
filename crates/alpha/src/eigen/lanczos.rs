//! The leading eigenpair of a symmetric operator by the Lanczos method, from a good start.
//!
//! After m products the operator is known on the Krylov space of the start as a tridiagonal matrix T. The largest
//! eigenvalue of T is the estimate, and `|β_m·s_m|` (the last component of its eigenvector) is exactly the length of
//! the residual, so the run stops as soon as the answer is good enough, never after a fixed number of steps: where
//! the two largest eigenvalues nearly cross, a fixed number is silently wrong by per cents.
//!
//! The basis is orthogonalised in full; runs are short, so that costs little and T stays exact.

use super::quad::{Quad, Quads, ZERO, add_weighted, axpy, dot, dots, normalise, scale};

/// Products before the space is thrown away and the run starts over from its best vector.
const BASIS: usize = 64;
/// Products after which the best answer so far is taken. Never met on market data: it bounds the tick.
const MAX_PRODUCTS: usize = 640;
/// A new direction shorter than this, against the eigenvalue, is rounding: the space is invariant.
const INVARIANT: f64 = 1e-14;
/// The last Newton step, relative: the error after it is of the order of its square.
const SETTLED: f64 = 1e-11;
/// The largest pivot, relative, with which Newton may stop.
const SETTLED_PIVOT: f64 = 1e-8;

/// When an answer is good enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// Largest residual, relative to the eigenvalue.
    pub(super) residual: f64,
    /// Also stop when eigenvalue + residual is below this: a pair that small is of no interest.
    pub(super) uninteresting_below: f64,
    /// Products before the first look at T: looking costs about half a product on small matrices.
    pub(super) first_look: usize,
}

/// The answer of a run; the vector is in the caller's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The largest eigenvalue of T.
    pub(super) value: f64,
    /// Length of the residual of the pair.
    pub(super) residual: f64,
    /// Products of the last space.
    pub(super) products: usize,
}

/// Working memory of a run, allocated once.
#[derive(Debug, Clone)]
pub(super) struct Lanczos {
    basis: Quads,
    width: usize,
    t: Tridiagonal,
}

impl Lanczos {
    /// Working memory for vectors of `width` quads.
    pub(super) fn new(width: usize) -> Self {
        Self { basis: Quads::zero((BASIS + 1) * width), width, t: Tridiagonal::default() }
    }

    /// The leading eigenpair of `operator` on the complement of `locked`, from `vector` (of length 1), into
    /// `vector`. `dimension` is that of the space the operator works in.
    pub(super) fn run(
        &mut self,
        mut operator: impl FnMut(&[Quad], &mut [Quad]),
        locked: Option<&[Quad]>,
        dimension: usize,
        goal: Goal,
        vector: &mut [Quad],
    ) -> Found {
        let mut products = 0;
        loop {
            self.basis[..self.width].copy_from_slice(vector);
            self.t.clear();
            let found = loop {
                let beta = self.extend(&mut operator, locked);
                let m = self.t.len;
                products += 1;
                let full = m == BASIS || m >= dimension || beta <= INVARIANT * self.t.value;
                if m < goal.first_look && !full {
                    continue;
                }
                let found = self.t.leading();
                let good = found.residual <= goal.residual * found.value
                    || found.value + found.residual < goal.uninteresting_below;
                if good || full {
                    let done = good || m < BASIS || products >= MAX_PRODUCTS;
                    break (found, done);
                }
            };
            self.combine(vector);
            if found.1 {
                return found.0;
            }
        }
    }

    /// One product: a row more of T and the next basis vector; returns its length before scaling.
    fn extend(&mut self, operator: &mut impl FnMut(&[Quad], &mut [Quad]), locked: Option<&[Quad]>) -> f64 {
        let (known, next) = self.basis.split_at_mut((self.t.len + 1) * self.width);
        let next = &mut next[..self.width];
        operator(&known[self.t.len * self.width..], next);
        if let Some(locked) = locked {
            let overlap = dot(locked, next);
            axpy(next, -overlap, locked);
        }
        let mut overlaps = [0.0; BASIS];
        let overlaps = &mut overlaps[..=self.t.len];
        dots(known, next, overlaps);
        let alpha = overlaps[self.t.len];
        overlaps.iter_mut().for_each(|overlap| *overlap = -*overlap);
        add_weighted(next, overlaps, known);
        let beta = dot(next, next).sqrt();
        if beta > 0.0 {
            scale(next, 1.0 / beta);
        }
        self.t.push(alpha, beta);
        beta
    }

    /// The eigenvector of T, taken back to the full space, into `vector`.
    fn combine(&self, vector: &mut [Quad]) {
        vector.fill(ZERO);
        add_weighted(vector, &self.t.vector[..self.t.len], &self.basis);
        normalise(vector);
    }
}

/// The tridiagonal matrix T with diagonal α and off-diagonal β, and its leading eigenpair.
#[derive(Debug, Clone)]
struct Tridiagonal {
    len: usize,
    alpha: [f64; BASIS],
    beta: [f64; BASIS],
    /// Largest eigenvalue at the last look: a lower bound of the next (interlacing).
    value: f64,
    /// Upper bound of the largest eigenvalue.
    bound: f64,
    vector: [f64; BASIS],
    pivots: [f64; BASIS],
}

impl Default for Tridiagonal {
    fn default() -> Self {
        let zero = [0.0; BASIS];
        Self { len: 0, alpha: zero, beta: zero, value: 0.0, bound: 0.0, vector: zero, pivots: zero }
    }
}

impl Tridiagonal {
    fn clear(&mut self) {
        (self.len, self.value, self.bound) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    }

    /// Adds a row: diagonal `alpha`, and `beta` that couples it to the row to come.
    fn push(&mut self, alpha: f64, beta: f64) {
        let coupling = if self.len == 0 { 0.0 } else { self.beta[self.len - 1] };
        self.alpha[self.len] = alpha;
        self.beta[self.len] = beta;
        self.len += 1;
        self.value = self.value.max(alpha);
        self.bound = self.bound.max(alpha) + coupling;
    }

    /// The largest eigenvalue, by Newton on the first pivot of `T − x` eliminated from the bottom up. The poles of
    /// that pivot are the eigenvalues of T without its first row, and as the run starts near the answer they are far
    /// from it; from below Newton then climbs without overshooting, and a bracket guards it anyway.
    fn leading(&mut self) -> Found {
        let (mut low, mut high) = (self.value.max(self.corner()), self.bound);
        let mut x = low;
        for _ in 0..200 {
            let newton = match self.eliminate(x) {
                Some((pivot, slope)) => {
                    *(if pivot >= 0.0 { &mut low } else { &mut high }) = x;
                    let step = pivot / slope;
                    let next = x - step;
                    // Beside a pole steps are small, too, but the pivot is not.
                    if step.abs() <= SETTLED * x && pivot.abs() <= SETTLED_PIVOT * x {
                        if step.abs() <= 4.0 * f64::EPSILON * x {
                            // The pivots are already those of the answer.
                            return self.found(x);
                        }
                        x = next;
                        break;
                    }
                    next
                }
                None => {
                    low = x;
                    f64::NAN
                }
            };
            if high - low <= 4.0 * f64::EPSILON * x {
                break;
            }
            x = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        }
        self.eliminate(x);
        self.found(x)
    }

    /// The largest eigenvalue of the first two rows: by interlacing not above that of all.
    fn corner(&self) -> f64 {
        if self.len < 2 {
            return self.alpha[0];
        }
        let (half, mean) = (0.5 * (self.alpha[0] - self.alpha[1]), 0.5 * (self.alpha[0] + self.alpha[1]));
        // Rounding must not lift it above the answer.
        (mean + half.mul_add(half, self.beta[0] * self.beta[0]).sqrt()) * (1.0 - 4.0 * f64::EPSILON)
    }

    /// The pair at the eigenvalue `x`, whose pivots are there.
    fn found(&mut self, x: f64) -> Found {
        self.value = x;
        self.bound = x * (1.0 + 4.0 * f64::EPSILON);
        self.fill_vector();
        let residual = self.beta[self.len - 1] * self.vector[self.len - 1].abs();
        Found { value: x, residual, products: self.len }
    }

    /// Pivots of `T − x` from the last row up: the first pivot and its derivative, or `None` if one below it is
    /// not negative, for then x is below an eigenvalue of the lower part.
    fn eliminate(&mut self, x: f64) -> Option<(f64, f64)> {
        let last = self.len - 1;
        let (mut pivot, mut slope) = (nonzero(self.alpha[last] - x), -1.0);
        let mut below = true;
        self.pivots[last] = pivot;
        for k in (0..last).rev() {
            below &= pivot < 0.0;
            let ratio = self.beta[k] / pivot;
            pivot = nonzero((-ratio).mul_add(self.beta[k], self.alpha[k] - x));
            slope = (ratio * ratio).mul_add(slope, -1.0);
            self.pivots[k] = pivot;
        }
        below.then_some((pivot, slope))
    }

    /// The eigenvector from the pivots, of length 1. Its largest component is the first where the start was good;
    /// where it was not, growing from the first would only amplify rounding.
    fn fill_vector(&mut self) {
        let largest = self.grow_from(0);
        if largest > 1.0 {
            let twist = self.twist();
            self.grow_from(twist);
        }
        let square: f64 = self.vector[..self.len].iter().map(|s| s * s).sum();
        let factor = 1.0 / square.sqrt();
        self.vector[..self.len].iter_mut().for_each(|s| *s *= factor);
    }

    /// Solves the rows below `origin` for a component 1 there; returns the largest component's size.
    fn grow_from(&mut self, origin: usize) -> f64 {
        let (mut component, mut largest) = (1.0f64, 0.0f64);
        self.vector[origin] = 1.0;
        for k in origin + 1..self.len {
            component *= -self.beta[k - 1] / self.pivots[k];
            self.vector[k] = component;
            largest = largest.max(component.abs());
        }
        largest
    }

    /// Eliminates from the first row down as well, finds the row where the two eliminations meet with the least
    /// remainder (the eigenvector is largest there), solves the rows above it and returns it.
    fn twist(&mut self) -> usize {
        let x = self.value;
        let mut down = [0.0; BASIS];
        down[0] = nonzero(self.alpha[0] - x);
        let (mut best, mut least) = (0, self.pivots[0].abs());
        for k in 1..self.len {
            let ratio = self.beta[k - 1] / down[k - 1];
            down[k] = nonzero((-ratio).mul_add(self.beta[k - 1], self.alpha[k] - x));
            let remainder = (down[k] + self.pivots[k] - (self.alpha[k] - x)).abs();
            if remainder < least {
                (best, least) = (k, remainder);
            }
        }
        let mut component = 1.0;
        for k in (0..best).rev() {
            component *= -self.beta[k] / down[k];
            self.vector[k] = component;
        }
        best
    }
}

/// A pivot that may be divided by. Eigenvalues here are of the order of 1 to the number of assets.
fn nonzero(pivot: f64) -> f64 {
    if pivot.abs() < 1e-30 { -1e-30 } else { pivot }
}
