//! The matrix of second moments `S = Σ r·rᵀ` over a window, as a thing that multiplies vectors.
//!
//! Three forms, each the fastest somewhere; the first two add the newest row's square every tick and take the oldest's
//! away, fused with the first product so that the matrix is read once for both.
//!
//! * *Square*, few assets: all of S. A product is a plain sum of rows.
//! * *Triangle*, many assets: a panel per four matrix rows, from the diagonal to the right edge, as 4×4 blocks. Memory
//!   is read in one ascending stream, half of the square, and each block serves both of its mirror images.
//! * *Rows*, a window short against the number of assets: nothing kept, the product is `Σ r·(r·x)` over the rows of
//!   the window: 2·W·N, no update, no rounding carried from tick to tick.

use super::history::History;
use super::quad::{Quad, Quads, ZERO, add, add_weighted, fma, mul, total, totals};

/// Four matrix rows by four columns.
type Block = [Quad; 4];

/// Rows taken together by the rows form; all windows are multiples of it.
const ROWS: usize = 5;

/// Up to this many quads of assets the square is faster than the triangle.
const SQUARE: usize = 20;

/// Second moments of a window.
#[derive(Debug, Clone)]
pub(super) enum Gram {
    /// The whole matrix, row by row.
    Square(Quads),
    /// The upper triangle in 4×4 blocks.
    Triangle(Quads),
    /// Nothing kept: products go through the history.
    Rows,
}

impl Gram {
    /// The cheaper form for `window` rows of `width` quads.
    pub(super) fn new(window: usize, width: usize) -> Self {
        match blocks(window, width) {
            0 => Self::Rows,
            n if width <= SQUARE => Self::Square(Quads::zero(4 * n)),
            n => Self::Triangle(Quads::zero(4 * n)),
        }
    }

    /// Becomes equal to one of the same window and width, without allocating.
    pub(super) fn copy_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::Square(own), Self::Square(other)) | (Self::Triangle(own), Self::Triangle(other)) => {
                own.clone_from(other);
            }
            (own, other) => own.clone_from(other),
        }
    }

    /// `y = S·x`.
    pub(super) fn apply(&self, window: usize, history: &History, x: &[Quad], y: &mut [Quad]) {
        y.fill(ZERO);
        match self {
            Self::Square(rows) => add_weighted(y, x.as_flattened(), rows),
            Self::Triangle(blocks) => apply_triangle(blocks.as_chunks().0, x, y),
            Self::Rows => history.newest(window).iter().for_each(|run| apply_rows(run, x, y)),
        }
    }

    /// `S += new·newᵀ − old·oldᵀ`, then `y = S·x`.
    pub(super) fn slide(
        &mut self,
        window: usize,
        history: &History,
        step: [&[Quad]; 2],
        x: &[Quad],
        y: &mut [Quad],
    ) {
        match self {
            Self::Rows => self.apply(window, history, x, y),
            _ => self.update(step, x, y),
        }
    }

    /// `S += new·newᵀ − old·oldᵀ`; `y` is the product where anything is kept, else of no meaning.
    pub(super) fn update(&mut self, step: [&[Quad]; 2], x: &[Quad], y: &mut [Quad]) {
        y.fill(ZERO);
        match self {
            Self::Square(rows) => slide_square(rows, step, x, y),
            Self::Triangle(blocks) => slide_triangle(blocks.as_chunks_mut().0, step, x, y),
            Self::Rows => {}
        }
    }

    /// Sum of the squares of all elements of `D·S·D − q·qᵀ`, D being diagonal; `None` where nothing is kept.
    pub(super) fn square_sum(&self, d: &[Quad], q: &[Quad]) -> Option<f64> {
        match self {
            Self::Square(rows) => Some(square_sum(rows, d, q)),
            Self::Triangle(blocks) => Some(triangle_square_sum(blocks.as_chunks().0, d, q)),
            Self::Rows => None,
        }
    }

    /// Replaces the row and the column of one asset by `fresh` (its inner products with all assets).
    pub(super) fn replace(&mut self, asset: usize, fresh: &[Quad]) {
        let (panel, lane) = (asset / 4, asset % 4);
        let width = fresh.len();
        let (blocks, own) = match self {
            Self::Rows => return,
            Self::Square(rows) => {
                for (row, product) in rows.chunks_exact_mut(width).zip(fresh.as_flattened()) {
                    row[panel][lane] = *product;
                }
                rows[asset * width..][..width].copy_from_slice(fresh);
                return;
            }
            Self::Triangle(quads) => {
                let blocks: &mut [Block] = quads.as_chunks_mut().0;
                let start = |above: usize| above * width - above * above.saturating_sub(1) / 2;
                for (above, products) in fresh[..=panel].iter().enumerate() {
                    set_column(&mut blocks[start(above) + panel - above], lane, *products);
                }
                (&mut blocks[start(panel)..][..width - panel], &fresh[panel..])
            }
        };
        for (block, products) in blocks.iter_mut().zip(own) {
            block[lane] = *products;
        }
    }
}

fn set_column(block: &mut Block, lane: usize, column: Quad) {
    for (row, value) in block.iter_mut().zip(column) {
        row[lane] = value;
    }
}

/// Bytes kept for a window of `window` rows of `width` quads.
pub(super) fn memory_bytes(window: usize, width: usize) -> usize {
    blocks(window, width) * size_of::<Block>()
}

/// Blocks kept: none where the rows form is the cheaper one, else of the square or the triangle.
fn blocks(window: usize, width: usize) -> usize {
    match width {
        w if window <= 2 * w => 0,
        w if w <= SQUARE => w * w,
        w => w * (w + 1) / 2,
    }
}

fn splat(x: Quad) -> Block {
    x.map(|v| [v; 4])
}

fn slide_square(rows: &mut [Quad], [new, old]: [&[Quad]; 2], x: &[Quad], y: &mut [Quad]) {
    let (new, old, x, y) = (new.as_flattened(), old.as_flattened(), x.as_flattened(), y.as_flattened_mut());
    let width = x.len();
    for (pair, two) in rows.as_flattened_mut().chunks_exact_mut(2 * width).enumerate() {
        let (upper, lower) = two.split_at_mut(width);
        let i = 2 * pair;
        slide_rows(upper, lower, new, old, y, [i, i + 1].map(|i| [new[i], -old[i], x[i]]));
    }
}

/// Two matrix rows moved on and weighed. Element by element over flat slices: so the compiler makes it a plain
/// vector loop.
fn slide_rows(
    upper: &mut [f64],
    lower: &mut [f64],
    new: &[f64],
    old: &[f64],
    y: &mut [f64],
    f: [[f64; 3]; 2],
) {
    let n = upper.len();
    let (lower, new, old, y) = (&mut lower[..n], &new[..n], &old[..n], &mut y[..n]);
    for j in 0..n {
        let a = f[0][1].mul_add(old[j], f[0][0].mul_add(new[j], upper[j]));
        let b = f[1][1].mul_add(old[j], f[1][0].mul_add(new[j], lower[j]));
        (upper[j], lower[j]) = (a, b);
        y[j] = f[1][2].mul_add(b, f[0][2].mul_add(a, y[j]));
    }
}

fn square_sum(rows: &[Quad], d: &[Quad], q: &[Quad]) -> f64 {
    let mut sums = [ZERO; 2];
    for ((row, d_row), q_row) in rows.chunks_exact(d.len()).zip(d.as_flattened()).zip(q.as_flattened()) {
        for (j, s) in row.iter().enumerate() {
            let element = fma([-q_row; 4], q[j], mul(mul([*d_row; 4], d[j]), *s));
            sums[j % 2] = fma(element, element, sums[j % 2]);
        }
    }
    total(add(sums[0], sums[1]))
}

fn triangle_square_sum(blocks: &[Block], d: &[Quad], q: &[Quad]) -> f64 {
    let (mut diagonal, mut beside) = (ZERO, [ZERO; 4]);
    let mut rest = blocks;
    for b in 0..d.len() {
        let (panel, below) = rest.split_at(d.len() - b);
        rest = below;
        let (d_rows, q_rows) = (splat(d[b]), splat(q[b].map(|v| -v)));
        for (column, block) in panel.iter().enumerate() {
            for k in 0..4 {
                let scaled = mul(mul(d_rows[k], d[b + column]), block[k]);
                let element = fma(q_rows[k], q[b + column], scaled);
                let sum = if column == 0 { &mut diagonal } else { &mut beside[k] };
                *sum = fma(element, element, *sum);
            }
        }
    }
    2.0f64.mul_add(totals(&beside).iter().sum(), total(diagonal))
}

/// The block's rows, each times its factor, added to `sum`.
#[inline(always)]
fn weigh(block: &Block, factors: &Block, sum: Quad) -> Quad {
    (0..4).fold(sum, |sum, k| fma(block[k], factors[k], sum))
}

fn apply_triangle(blocks: &[Block], x: &[Quad], y: &mut [Quad]) {
    let mut rest = blocks;
    for b in 0..x.len() {
        let (panel, below) = rest.split_at(x.len() - b);
        rest = below;
        let head = splat(x[b]);
        let mut sums = panel[0].map(|row| mul(row, x[b]));
        for ((block, x), y) in panel[1..].iter().zip(&x[b + 1..]).zip(&mut y[b + 1..]) {
            for k in 0..4 {
                sums[k] = fma(block[k], *x, sums[k]);
            }
            *y = weigh(block, &head, *y);
        }
        y[b] = add(y[b], totals(&sums));
    }
}

#[inline(never)]
fn slide_triangle(blocks: &mut [Block], [new, old]: [&[Quad]; 2], x: &[Quad], y: &mut [Quad]) {
    let mut rest = blocks;
    for b in 0..x.len() {
        let (panel, below) = rest.split_at_mut(x.len() - b);
        rest = below;
        let (head, newest, oldest) = (splat(x[b]), splat(new[b]), splat(old[b].map(|v| -v)));
        let mut sums = [ZERO; 4];
        let columns = panel.iter_mut().zip(&new[b..]).zip(&old[b..]).zip(&x[b..]).zip(&mut y[b..]);
        for (column, ((((block, new), old), x), y)) in columns.enumerate() {
            for k in 0..4 {
                block[k] = fma(oldest[k], *old, fma(newest[k], *new, block[k]));
                sums[k] = fma(block[k], *x, sums[k]);
            }
            if column > 0 {
                *y = weigh(block, &head, *y);
            }
        }
        y[b] = add(y[b], totals(&sums));
    }
}

/// `y += Σ r·(r·x)` over the rows of `run`, a few at a time so that each is read from the first cache level the
/// second time.
fn apply_rows(run: &[Quad], x: &[Quad], y: &mut [Quad]) {
    let width = x.len();
    let mut groups = run.chunks_exact(ROWS * width);
    for group in &mut groups {
        apply_group::<ROWS>(group, x, y);
    }
    for row in groups.remainder().chunks_exact(width) {
        apply_group::<1>(row, x, y);
    }
}

#[inline]
fn apply_group<const G: usize>(group: &[Quad], x: &[Quad], y: &mut [Quad]) {
    let width = x.len();
    let rows: [&[Quad]; G] = std::array::from_fn(|k| &group[k * width..][..width]);
    let mut sums = [ZERO; G];
    for (j, x) in x.iter().enumerate() {
        for k in 0..G {
            sums[k] = fma(rows[k][j], *x, sums[k]);
        }
    }
    let products = totals(&sums).map(|s| [s; 4]);
    for (j, y) in y[..width].iter_mut().enumerate() {
        let mut sum = *y;
        for k in 0..G {
            sum = fma(rows[k][j], products[k], sum);
        }
        *y = sum;
    }
}
