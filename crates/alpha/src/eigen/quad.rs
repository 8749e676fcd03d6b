//! Vectors of f64 in groups of four, the width of an AVX2 register. Every sum has a fixed order and every
//! fused multiply-add is written out, so debug and release builds give the same bits and the compiler may still
//! use vector instructions.

/// Four neighbouring elements of a vector.
pub(super) type Quad = [f64; 4];

/// The zero group.
pub(super) const ZERO: Quad = [0.0; 4];

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
