//! One of the S interleaved scanners: every S-th tick, with its own history and windows, and what a step of it is made of.

use serde::{Deserialize, Serialize};

use super::history::History;
use super::quad::{Quad, Quads, ZERO};
use super::window::{Scratch, Slide, Window};

/// Window lengths in bars.
pub const WINDOWS: [usize; 4] = [50, 150, 300, 750];
/// What a scan says at one tick. NaN: not defined yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// Largest eigenvalue ÷ number of assets per window of [`WINDOWS`], in [1/N, 1].
    pub lambda: [f64; 4],
    /// Change of `lambda` over one bar: v50, v150, v300, v750.
    pub velocity: [f64; 4],
    /// v50 − v150.
    pub vel_div: f64,
    /// 1 − |u·u one bar ago| of the unit eigenvector of window 50, in [0, 1].
    pub instability_50: f64,
    /// The same of window 150.
    pub instability_150: f64,
}

impl Scan {
    /// Nothing defined.
    pub const UNDEFINED: Self = Self {
        lambda: [f64::NAN; 4],
        velocity: [f64::NAN; 4],
        vel_div: f64::NAN,
        instability_50: f64::NAN,
        instability_150: f64::NAN,
    };
}

/// Every S-th tick.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub(super) started: bool,
    /// Prices one bar ago; NaN where there was none.
    pub(super) before: Vec<f64>,
    pub(super) history: History,
    /// Per asset, how many of its newest returns are the same number.
    pub(super) runs: Vec<[u32; 4]>,
    pub(super) windows: [Window; 4],
    pub(super) lambda: [f64; 4],
}

impl Phase {
    pub(super) fn new(assets: usize, width: usize) -> Self {
        Self {
            started: false,
            before: vec![f64::NAN; assets],
            history: History::new(WINDOWS[3], width),
            runs: vec![[0; 4]; width],
            windows: fresh_windows(width),
            lambda: [f64::NAN; 4],
        }
    }
}

pub(super) fn fresh_windows(width: usize) -> [Window; 4] {
    std::array::from_fn(|w| Window::new(WINDOWS[w], width, w < 2))
}

/// What a step of one phase goes by, beside its history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) newest: &'a [Quad],
    pub(super) oldest: &'a [Quads; 4],
    pub(super) runs: &'a [[u32; 4]],
}

/// Takes the prices that are there; the others stay.
pub(super) fn carry(known: &mut [f64], prices: &[f64]) {
    for (known, &price) in known.iter_mut().zip(prices) {
        if price.is_finite() && price > 0.0 {
            *known = price;
        }
    }
}

pub(super) fn take_returns(before: &[f64], prices: &[f64], newest: &mut [Quad]) {
    for ((out, &price), &before) in newest.as_flattened_mut().iter_mut().zip(prices).zip(before) {
        *out = bar_return(before, price);
    }
}

/// `history` does not hold the newest row yet.
pub(super) fn count_runs(runs: &mut [[u32; 4]], history: &History, newest: &[Quad]) {
    if history.pushed() == 0 {
        runs.fill([1; 4]);
        return;
    }
    let last = history.row(0);
    for ((runs, new), last) in runs.iter_mut().zip(newest).zip(last) {
        for k in 0..4 {
            runs[k] = if new[k] == last[k] { runs[k].saturating_add(1) } else { 1 };
        }
    }
}

/// The rows that leave the windows with the next push.
pub(super) fn leaving(history: &History, oldest: &mut [Quads; 4]) {
    for (oldest, length) in oldest.iter_mut().zip(WINDOWS) {
        if history.pushed() >= length {
            oldest.copy_from_slice(history.row(length - 1));
        } else {
            oldest.fill(ZERO);
        }
    }
}

/// Steps the windows; `history` holds the newest row.
pub(super) fn scan(
    windows: &mut [Window; 4],
    lambda: &mut [f64; 4],
    history: &History,
    assets: usize,
    rows: Rows<'_>,
    scratch: &mut Scratch,
) -> Scan {
    let mut scan = Scan::UNDEFINED;
    let mut instability = [f64::NAN; 4];
    for (w, window) in windows.iter_mut().enumerate() {
        let slide = Slide { new: rows.newest, old: &rows.oldest[w], runs: rows.runs };
        let audit = history.pushed() % WINDOWS.len() == w;
        if let Some(pair) = window.step(history, slide, assets, audit, scratch) {
            scan.lambda[w] = pair.value / assets as f64;
            scan.velocity[w] = scan.lambda[w] - lambda[w];
            lambda[w] = scan.lambda[w];
            instability[w] = pair.overlap.map_or(f64::NAN, |overlap| 1.0 - overlap);
        }
    }
    scan.vel_div = scan.velocity[0] - scan.velocity[1];
    (scan.instability_50, scan.instability_150) = (instability[0], instability[1]);
    scan
}

/// `ln(price/before)`; zero where there is no price one bar ago.
fn bar_return(before: f64, price: f64) -> f64 {
    if price == before {
        return 0.0;
    }
    let ratio = price / before;
    if ratio.is_normal() {
        ratio.ln()
    } else if ratio.is_nan() {
        0.0
    } else {
        // The quotient of the two left the range of f64; that of the logarithms does not.
        price.ln() - before.ln()
    }
}
