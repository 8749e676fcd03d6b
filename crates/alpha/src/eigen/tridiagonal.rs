//! The tridiagonal matrix of a Lanczos run, and its leading eigenpair.

/// The last Newton step, relative: the error after it is of the order of its square.
const SETTLED: f64 = 1e-11;
/// The largest pivot, relative, with which Newton may stop.
const SETTLED_PIVOT: f64 = 1e-8;

/// The matrix T with diagonal α and off-diagonal β; the last β couples it to a row to come.
#[derive(Debug, Clone)]
pub(super) struct Tridiagonal {
    alpha: Vec<f64>,
    beta: Vec<f64>,
    /// Largest eigenvalue at the last look: a lower bound of the next (interlacing).
    value: f64,
    /// Upper bound of the largest eigenvalue.
    bound: f64,
    vector: Vec<f64>,
    pivots: Vec<f64>,
    down: Vec<f64>,
}

impl Tridiagonal {
    /// Room for `dimension` rows.
    pub(super) fn new(dimension: usize) -> Self {
        let zeros = || vec![0.0; dimension];
        Self {
            alpha: Vec::with_capacity(dimension),
            beta: Vec::with_capacity(dimension),
            value: f64::NEG_INFINITY,
            bound: f64::NEG_INFINITY,
            vector: zeros(),
            pivots: zeros(),
            down: zeros(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.alpha.clear();
        self.beta.clear();
        (self.value, self.bound) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.alpha.len()
    }

    /// A lower bound of the largest eigenvalue: the largest diagonal element, or the answer of the last look.
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// The last β.
    pub(super) fn coupling(&self) -> f64 {
        self.beta[self.len() - 1]
    }

    /// The eigenvector of the last look.
    pub(super) fn vector(&self) -> &[f64] {
        &self.vector[..self.len()]
    }

    /// Adds a row: diagonal `alpha`, and `beta` that couples it to the row to come.
    pub(super) fn push(&mut self, alpha: f64, beta: f64) {
        let coupling = self.beta.last().copied().unwrap_or(0.0);
        self.alpha.push(alpha);
        self.beta.push(beta);
        self.value = self.value.max(alpha);
        self.bound = self.bound.max(alpha) + coupling;
    }

    /// The largest eigenvalue, and the residual of its pair: what the row to come would add, and what rounding left in
    /// this one.
    ///
    /// By Newton on the first pivot of `T − x` eliminated from the bottom up. The poles of that pivot are the eigenvalues
    /// of T without its first row; where the run starts near the answer they are far from it. From below Newton then
    /// climbs without overshooting, and a bracket guards it anyway.
    pub(super) fn leading(&mut self) -> (f64, f64) {
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
        if self.len() < 2 {
            return self.alpha[0];
        }
        let (half, mean) = (0.5 * (self.alpha[0] - self.alpha[1]), 0.5 * (self.alpha[0] + self.alpha[1]));
        // Rounding must not lift it above the answer.
        (mean + half.mul_add(half, self.beta[0] * self.beta[0]).sqrt()) * (1.0 - 4.0 * f64::EPSILON)
    }

    /// The pair at the eigenvalue `x`, whose pivots are there.
    fn found(&mut self, x: f64) -> (f64, f64) {
        self.value = x;
        self.bound = x * (1.0 + 4.0 * f64::EPSILON);
        self.fill_vector();
        let last = self.len() - 1;
        let beyond = self.beta[last] * self.vector[last];
        (x, beyond.hypot(self.rounding(x)))
    }

    /// Length of `(T − x)·s`.
    fn rounding(&self, x: f64) -> f64 {
        let (s, last) = (self.vector(), self.len() - 1);
        let row = |k: usize| {
            let above = if k > 0 { self.beta[k - 1] * s[k - 1] } else { 0.0 };
            let below = if k < last { self.beta[k] * s[k + 1] } else { 0.0 };
            (self.alpha[k] - x).mul_add(s[k], above + below)
        };
        (0..=last).map(|k| row(k) * row(k)).sum::<f64>().sqrt()
    }

    /// Pivots of `T − x` from the last row up: the first pivot and its derivative, or `None` if one below it is
    /// not negative, for then x is below an eigenvalue of the lower part.
    fn eliminate(&mut self, x: f64) -> Option<(f64, f64)> {
        let last = self.len() - 1;
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
        let len = self.len();
        let square: f64 = self.vector[..len].iter().map(|s| s * s).sum();
        let factor = 1.0 / square.sqrt();
        self.vector[..len].iter_mut().for_each(|s| *s *= factor);
    }

    /// Solves the rows below `origin` for a component 1 there; returns the largest component's size.
    fn grow_from(&mut self, origin: usize) -> f64 {
        let (mut component, mut largest) = (1.0f64, 0.0f64);
        self.vector[origin] = 1.0;
        for k in origin + 1..self.len() {
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
        let down = &mut self.down;
        down[0] = nonzero(self.alpha[0] - x);
        let (mut best, mut least) = (0, self.pivots[0].abs());
        for k in 1..self.alpha.len() {
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
