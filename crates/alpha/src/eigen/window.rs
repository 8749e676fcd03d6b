//! One window of one phase: running moments of the returns, and the leading eigenpair of their correlation matrix.
//!
//! **What running sums need.** Adding and taking away leaves rounding of the size of the largest sum there has been,
//! so an asset whose sum of squares has fallen far below its peak is summed afresh, and every asset is in turn.
//! Zero variance is exact: an asset is still when all its returns of the window are the same number (counted, not
//! computed), or when they differ by rounding only.

use super::gram::Gram;
use super::health::Fault;
use super::history::History;
use super::leading::{self, Leading, Pair};
use super::matrix::{Correlation, Standard};
use super::quad::{Quad, Quads, ZERO, axpy};

/// Sum of squares below its peak by this factor: sum afresh. The rounding left in a sum is then below
/// 2⁻⁵³·√ticks·1000 of it.
const FALLEN: f64 = 1e-3;

/// Working memory shared by all windows and phases.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    leading: leading::Scratch,
    standard: Standard,
    fresh: Quads,
}

impl Scratch {
    pub(super) fn new(width: usize) -> Self {
        Self {
            leading: leading::Scratch::new(width),
            standard: Standard::new(width),
            fresh: Quads::zero(width),
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
    sum: Quads,
    square: Quads,
    peak: Quads,
    gram: Gram,
    leading: Leading,
    /// Assets still to be summed afresh after a fault, one a bar.
    mending: usize,
    /// Why the answers are not to be used, and the bar (rows pushed) since when.
    fault: Option<(Fault, usize)>,
}

impl Window {
    pub(super) fn new(length: usize, width: usize, vector_used: bool) -> Self {
        let zero = Quads::zero(width);
        Self {
            length,
            sum: zero.clone(),
            square: zero.clone(),
            peak: zero,
            gram: Gram::new(length, width),
            leading: Leading::new(width, vector_used),
            mending: 0,
            fault: None,
        }
    }

    /// Becomes equal to one of the same length and width, without allocating.
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self { length, ref sum, ref square, ref peak, ref gram, ref leading, mending, fault } = *other;
        self.sum.clone_from(sum);
        self.square.clone_from(square);
        self.peak.clone_from(peak);
        self.gram.copy_from(gram);
        self.leading.copy_from(leading);
        (self.length, self.mending, self.fault) = (length, mending, fault);
    }

    /// Why the answers are not to be used.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.map(|(fault, _)| fault)
    }

    /// Marks the window at the bar `pushed`, forgets the pair and has all sums made afresh.
    pub(super) fn mark(&mut self, fault: Fault, pushed: usize, assets: usize) {
        self.fault = Some((fault, pushed));
        self.leading.forget();
        if self.mending == 0 {
            self.mending = assets;
        }
    }

    /// A full decomposition of the matrix of bar `pushed` agreed.
    pub(super) fn clear(&mut self, pushed: usize) {
        self.fault = self.fault.filter(|(_, since)| *since >= pushed);
    }

    /// Takes in a row that is already the newest of `history`. Once the window is full: the largest eigenvalue of
    /// the correlation matrix, and |u·u before| if there is a u before. `audit`: with the residual of the pair.
    pub(super) fn step(
        &mut self,
        history: &History,
        slide: Slide<'_>,
        assets: usize,
        audit: bool,
        scratch: &mut Scratch,
    ) -> Option<Pair> {
        let fallen = self.add_moments(slide);
        let due = history.pushed().is_multiple_of(super::REFRESH_EVERY);
        let turn = due.then_some(history.pushed() / super::REFRESH_EVERY % assets);
        let mended = self.mending.checked_sub(1);
        self.mending = mended.unwrap_or(0);
        let refresh = turn.is_some() || fallen || mended.is_some();
        if refresh || history.pushed() < self.length {
            // The weights of the product do not matter here.
            self.gram.update([slide.new, slide.old], slide.new, &mut scratch.fresh);
        }
        if refresh {
            for asset in 0..assets {
                if turn == Some(asset) || mended == Some(asset) || self.has_fallen(asset) {
                    self.refresh(asset, history, &mut scratch.fresh);
                }
            }
        }
        if history.pushed() < self.length {
            return None;
        }
        let pending = if refresh { None } else { Some([slide.new, slide.old]) };
        let standard = &mut scratch.standard;
        standard.fill(self.length, &self.sum, &self.square, slide.runs);
        self.leading.carry(self.length, standard, slide.new);
        let moving = standard.moving;
        let mut matrix =
            Correlation { gram: &mut self.gram, history, length: self.length, standard, pending };
        let pair = if moving < 2 {
            matrix.catch_up(&mut scratch.fresh);
            self.leading.keep()
        } else {
            self.leading.follow(&mut matrix, &mut scratch.leading)
        };
        if !pair.sound || audit && !self.leading.holds(&mut matrix, pair.value, &mut scratch.fresh) {
            self.mark(Fault::Residual, history.pushed(), assets);
        }
        Some(pair)
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
}

#[cfg(test)]
impl Window {
    pub(super) fn ceiling(&self) -> f64 {
        self.leading.ceiling()
    }

    pub(super) fn gram(&mut self) -> &mut Gram {
        &mut self.gram
    }

    pub(super) fn set_vector(&mut self, vector: &[f64]) {
        self.leading.set_vector(vector);
    }
}
