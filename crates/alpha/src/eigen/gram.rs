//! The matrix of second moments `S = Σ r·rᵀ` over a window, as a thing that multiplies vectors.
//!
//! Two forms. The *triangle* keeps S itself: a product costs N², a tick adds the newest row's square and takes the
//! oldest's away, fused with the first product so that the matrix is read once for both. The *rows* form keeps
//! nothing and multiplies by `Σ r·(r·x)`: 2·W·N, no update, no rounding carried from tick to tick, no memory. It is
//! the cheaper one where the window is short against the number of assets.
//!
//! Triangle layout: a panel per four matrix rows, from the diagonal to the right edge, as 4×4 blocks. Memory is
//! read in one ascending stream, half of the full matrix, and each block serves both of its mirror images.

use super::history::History;
use super::quad::{Quad, ZERO, add, fma, mul, total};

/// Four matrix rows by four columns.
type Block = [Quad; 4];

/// Rows taken together by the rows form; all windows are multiples of it.
const ROWS: usize = 5;

/// Second moments of a window.
#[derive(Debug, Clone)]
pub(super) enum Gram {
    /// The upper triangle in 4×4 blocks.
    Triangle(Vec<Block>),
    /// Nothing kept: products go through the history.
    Rows,
}

impl Gram {
    /// The cheaper form for `window` rows of `width` quads.
    pub(super) fn new(window: usize, width: usize) -> Self {
        match blocks(window, width) {
            0 => Self::Rows,
            n => Self::Triangle(vec![[ZERO; 4]; n]),
        }
    }

    /// `y = S·x`.
    pub(super) fn apply(&self, window: usize, history: &History, x: &[Quad], y: &mut [Quad]) {
        y.fill(ZERO);
        match self {
            Self::Triangle(blocks) => apply_triangle(blocks, x, y),
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
            Self::Triangle(blocks) => {
                y.fill(ZERO);
                slide_triangle(blocks, step, x, y);
            }
            Self::Rows => self.apply(window, history, x, y),
        }
    }

    /// `S += new·newᵀ − old·oldᵀ` alone; `y` is written over.
    pub(super) fn update(&mut self, step: [&[Quad]; 2], x: &[Quad], y: &mut [Quad]) {
        if let Self::Triangle(blocks) = self {
            slide_triangle(blocks, step, x, y);
        }
    }

    /// Replaces the row and the column of one asset by `fresh` (its inner products with all assets).
    pub(super) fn replace(&mut self, asset: usize, fresh: &[Quad]) {
        let Self::Triangle(blocks) = self else { return };
        let width = fresh.len();
        let (panel, lane) = (asset / 4, asset % 4);
        let mut start = 0;
        for above in 0..=panel {
            let block = &mut blocks[start + panel - above];
            for k in 0..4 {
                block[k][lane] = fresh[above][k];
            }
            if above < panel {
                start += width - above;
            }
        }
        for (block, products) in blocks[start..start + width - panel].iter_mut().zip(&fresh[panel..]) {
            block[lane] = *products;
        }
    }
}

/// Bytes kept for a window of `window` rows of `width` quads.
pub(super) fn memory_bytes(window: usize, width: usize) -> usize {
    blocks(window, width) * size_of::<Block>()
}

/// Blocks of the triangle; 0 where the rows form is the cheaper one.
fn blocks(window: usize, width: usize) -> usize {
    if window <= width * 2 { 0 } else { width * (width + 1) / 2 }
}

fn splat(x: Quad) -> Block {
    x.map(|v| [v; 4])
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
                *y = fma(block[k], head[k], *y);
            }
        }
        y[b] = add(y[b], sums.map(total));
    }
}

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
                for k in 0..4 {
                    *y = fma(block[k], head[k], *y);
                }
            }
        }
        y[b] = add(y[b], sums.map(total));
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
    let products = sums.map(|s| [total(s); 4]);
    for (j, y) in y[..width].iter_mut().enumerate() {
        let mut sum = *y;
        for k in 0..G {
            sum = fma(rows[k][j], products[k], sum);
        }
        *y = sum;
    }
}
