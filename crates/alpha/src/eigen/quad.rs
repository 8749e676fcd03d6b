//! Vectors of f64 in groups of four, the width of an AVX2 register. Every sum has a fixed order and every
//! fused multiply-add is written out, so debug and release builds give the same bits and the compiler may still
//! use vector instructions.

use std::ops::{Deref, DerefMut};

/// Four neighbouring elements of a vector.
pub(super) type Quad = [f64; 4];

/// The zero group.
pub(super) const ZERO: Quad = [0.0; 4];

/// A vector of groups of four that starts on a cache line: a group that straddles two costs two loads. Only speed
/// depends on it.
#[derive(Debug)]
pub(super) struct Quads {
    elements: Vec<f64>,
    start: usize,
    len: usize,
}

impl Quads {
    /// `len` groups of zeros.
    pub(super) fn zero(len: usize) -> Self {
        const LINE: usize = 8;
        let elements = vec![0.0; len * 4 + LINE];
        let start = elements.as_ptr().align_offset(LINE * size_of::<f64>()).min(LINE);
        Self { elements, start, len }
    }
}

impl Clone for Quads {
    fn clone(&self) -> Self {
        let mut copy = Self::zero(self.len);
        copy.copy_from_slice(self);
        copy
    }

    /// Without allocating, where both are as long.
    fn clone_from(&mut self, other: &Self) {
        if self.len == other.len {
            self.copy_from_slice(other);
        } else {
            *self = other.clone();
        }
    }
}

impl Deref for Quads {
    type Target = [Quad];

    fn deref(&self) -> &[Quad] {
        self.elements[self.start..][..self.len * 4].as_chunks().0
    }
}

impl DerefMut for Quads {
    fn deref_mut(&mut self) -> &mut [Quad] {
        self.elements[self.start..][..self.len * 4].as_chunks_mut().0
    }
}

/// How many groups hold `n` elements (the last one is padded with zeros).
pub(super) const fn quads(n: usize) -> usize {
    n.div_ceil(4)
}

/// `a·b + c`, element by element.
#[inline(always)]
pub(super) fn fma(a: Quad, b: Quad, c: Quad) -> Quad {
    [a[0].mul_add(b[0], c[0]), a[1].mul_add(b[1], c[1]), a[2].mul_add(b[2], c[2]), a[3].mul_add(b[3], c[3])]
}

/// `a·b`, element by element.
#[inline(always)]
pub(super) fn mul(a: Quad, b: Quad) -> Quad {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
}

/// `a + b`, element by element.
#[inline(always)]
pub(super) fn add(a: Quad, b: Quad) -> Quad {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
}

/// Sum of the four, pairwise.
#[inline(always)]
pub(super) fn total(a: Quad) -> f64 {
    (a[0] + a[2]) + (a[1] + a[3])
}

/// Inner product; four independent chains hide the latency of the multiply-add.
#[inline]
pub(super) fn dot(a: &[Quad], b: &[Quad]) -> f64 {
    let mut sums = [ZERO; 4];
    let (a_blocks, a_rest) = a.as_chunks::<4>();
    let (b_blocks, b_rest) = b.as_chunks::<4>();
    for (p, q) in a_blocks.iter().zip(b_blocks) {
        for k in 0..4 {
            sums[k] = fma(p[k], q[k], sums[k]);
        }
    }
    for ((p, q), sum) in a_rest.iter().zip(b_rest).zip(&mut sums) {
        *sum = fma(*p, *q, *sum);
    }
    total(add(add(sums[0], sums[1]), add(sums[2], sums[3])))
}

/// The inner products of `x` with each of up to `products.len()` vectors stored one after the other, four at a time.
#[inline]
pub(super) fn dots(vectors: &[Quad], x: &[Quad], products: &mut [f64]) {
    let width = x.len();
    let mut products = products.iter_mut();
    let mut groups = vectors.chunks_exact(4 * width);
    for group in &mut groups {
        let [a, b, c, d] = [0, 1, 2, 3].map(|k| &group[k * width..][..width]);
        let (mut s, mut t, mut u, mut v) = (ZERO, ZERO, ZERO, ZERO);
        for (j, x) in x.iter().enumerate() {
            s = fma(a[j], *x, s);
            t = fma(b[j], *x, t);
            u = fma(c[j], *x, u);
            v = fma(d[j], *x, v);
        }
        for (sum, product) in totals(&[s, t, u, v]).into_iter().zip(&mut products) {
            *product = sum;
        }
    }
    for (vector, product) in groups.remainder().chunks_exact(width).zip(products) {
        *product = dot(vector, x);
    }
}

/// `y += Σ factor·vector` over vectors stored one after the other, eight and four at a time: so `y` is read and
/// written an eighth as often.
#[inline]
pub(super) fn add_weighted(y: &mut [Quad], factors: &[f64], vectors: &[Quad]) {
    let width = y.len();
    let (eights, rest) = factors.as_chunks::<8>();
    let (fours, ones) = rest.as_chunks::<4>();
    let mut vectors = vectors;
    for factors in eights {
        vectors = add_group(y, factors, vectors);
    }
    for factors in fours {
        vectors = add_group(y, factors, vectors);
    }
    for (factor, vector) in ones.iter().zip(vectors.chunks_exact(width)) {
        axpy(y, *factor, vector);
    }
}

/// The first `G` of the vectors; gives those behind them.
#[inline(always)]
fn add_group<'v, const G: usize>(y: &mut [Quad], factors: &[f64; G], vectors: &'v [Quad]) -> &'v [Quad] {
    let width = y.len();
    let factors = factors.map(|f| [f; 4]);
    let group: [&[Quad]; G] = std::array::from_fn(|k| &vectors[k * width..][..width]);
    for (j, y) in y.iter_mut().enumerate() {
        let mut sum = *y;
        for k in 0..G {
            sum = fma(factors[k], group[k][j], sum);
        }
        *y = sum;
    }
    &vectors[G * width..]
}

/// The sum of each. Never inlined: seeing through to these sums, the compiler would transpose the loops before them
/// and lose most of their speed.
#[inline(never)]
pub(super) fn totals<const G: usize>(sums: &[Quad; G]) -> [f64; G] {
    let mut results = [0.0; G];
    for (result, sum) in results.iter_mut().zip(sums) {
        *result = total(*sum);
    }
    results
}

/// `y += factor·x`.
#[inline]
pub(super) fn axpy(y: &mut [Quad], factor: f64, x: &[Quad]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = fma([factor; 4], *x, *y);
    }
}

/// `y *= factor`.
#[inline]
pub(super) fn scale(y: &mut [Quad], factor: f64) {
    for y in y {
        *y = mul(*y, [factor; 4]);
    }
}

/// Brings `y` to length 1 and returns the length it had; a vector of length zero is left as it is.
#[inline]
pub(super) fn normalise(y: &mut [Quad]) -> f64 {
    let norm = dot(y, y).sqrt();
    if norm > 0.0 {
        scale(y, 1.0 / norm);
    }
    norm
}
