//! The largest eigenvalue of a small symmetric matrix in full: Householder's reduction to a tridiagonal matrix, then
//! bisection by Sturm's counts. Nothing is shared with the way of the scanner, and nothing converges: it takes
//! 4/3·n³ multiplications and is right to rounding.

/// The largest eigenvalue of the `n`×`n` matrix `a`, row by row; its lower triangle is read and overwritten.
pub(super) fn largest_eigenvalue(a: &mut [f64], n: usize) -> f64 {
    let (diagonal, beside) = tridiagonalise(a, n);
    bisect(&diagonal, &beside)
}

/// Householder reflections from the last row up (EISPACK's tred1): diagonal, and what stands beside it.
fn tridiagonalise(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    let mut p = vec![0.0; n];
    for i in (1..n).rev() {
        let (above, row) = a.split_at_mut(i * n);
        let v = &mut row[..i];
        let square: f64 = v[..i - 1].iter().map(|x| x * x).sum();
        if square == 0.0 {
            beside[i] = v[i - 1];
            continue;
        }
        // v becomes the reflection's normal: it takes the row to (0, …, 0, beside).
        let norm = (square + v[i - 1] * v[i - 1]).sqrt();
        let image = if v[i - 1] > 0.0 { -norm } else { norm };
        beside[i] = image;
        v[i - 1] -= image;
        let half = 0.5 * (square + v[i - 1] * v[i - 1]);
        reflect(above, n, v, half, &mut p[..i]);
    }
    for i in 0..n {
        diagonal[i] = a[i * n + i];
    }
    (diagonal, beside)
}

/// `A ← H·A·H` on the leading block of v's size, with `H = 1 − v·vᵀ/half` and half = |v|²/2; lower triangles.
fn reflect(a: &mut [f64], n: usize, v: &[f64], half: f64, p: &mut [f64]) {
    let size = v.len();
    p.fill(0.0);
    for j in 0..size {
        let row = &a[j * n..][..j];
        let mut sum = a[j * n + j] * v[j];
        for k in 0..j {
            sum = row[k].mul_add(v[k], sum);
            p[k] = row[k].mul_add(v[j], p[k]);
        }
        p[j] += sum;
    }
    let mut along = 0.0;
    for (p, v) in p.iter_mut().zip(v) {
        *p /= half;
        along += *p * v;
    }
    let share = 0.5 * along / half;
    for (p, v) in p.iter_mut().zip(v) {
        *p -= share * v;
    }
    for j in 0..size {
        let row = &mut a[j * n..][..=j];
        for (k, element) in row.iter_mut().enumerate() {
            *element -= v[j].mul_add(p[k], p[j] * v[k]);
        }
    }
}

/// The largest eigenvalue of a tridiagonal matrix, `beside[i]` standing between `i − 1` and `i`.
fn bisect(diagonal: &[f64], beside: &[f64]) -> f64 {
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (i, d) in diagonal.iter().enumerate() {
        let radius = beside[i].abs() + beside.get(i + 1).map_or(0.0, |b| b.abs());
        low = low.max(*d);
        high = high.max(d + radius);
    }
    while high - low > 4.0 * f64::EPSILON * high.abs().max(low.abs()) {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        *(if is_above_all(diagonal, beside, middle) { &mut high } else { &mut low }) = middle;
    }
    0.5 * (low + high)
}

/// Whether all eigenvalues are below `x`: all pivots of the elimination are negative.
fn is_above_all(diagonal: &[f64], beside: &[f64], x: f64) -> bool {
    let mut pivot = 1.0;
    diagonal.iter().zip(beside).all(|(d, b)| {
        pivot = (d - x) - b * b / pivot;
        pivot < 0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_spectra() {
        // 1 + (n − 1)·ρ for equal correlations; also where the rows to reflect are zero already.
        for (n, rho) in [(1, 0.0), (2, -0.5), (3, 0.0), (7, 0.25), (40, 0.9)] {
            let mut a: Vec<f64> = (0..n * n).map(|k| if k % (n + 1) == 0 { 1.0 } else { rho }).collect();
            let want = if rho < 0.0 { 1.0 - rho } else { 1.0 + (n as f64 - 1.0) * rho };
            assert!((largest_eigenvalue(&mut a, n) - want).abs() < 1e-13 * n as f64, "{n} {rho}");
        }
        // The second difference: 2 + 2·cos(π/(n + 1)).
        let n = 30;
        let at = |i: usize, j: usize| {
            if i == j {
                2.0
            } else if i.abs_diff(j) == 1 {
                -1.0
            } else {
                0.0
            }
        };
        let mut a: Vec<f64> = (0..n * n).map(|k| at(k / n, k % n)).collect();
        let want = 2.0 + 2.0 * (std::f64::consts::PI / (n as f64 + 1.0)).cos();
        assert!((largest_eigenvalue(&mut a, n) - want).abs() < 1e-13);
    }
}
