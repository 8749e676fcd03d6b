//! The eigen scanner (SPEC §6): per tick, for windows of 50, 150, 300 and 750 bars, the largest eigenvalue of the
//! correlation matrix of all assets' returns, its change over one bar, and the turn of its eigenvector.
//!
//! A full decomposition of four matrices costs milliseconds. But from one bar to the next only one row of returns
//! enters a window and one leaves, so the second moments are moved on by these two rows (`gram`), and the leading
//! pair is found by a few products from where it was (`lanczos`). `window` says what keeps the moments exact, `leading`
//! and `ceiling` what proves that the pair is the leading one, `health` what watches over both.
//! Rejected: power iteration with a fixed number of steps (wrong by per cents where two eigenvalues nearly cross),
//! following the Gram matrix of the short windows in time (standardising changes all of it every tick).
//!
//! **Stride.** At stride S a bar is S ticks, and the scanner keeps S interleaved phases, each with its own history
//! and windows: tick t belongs to phase t mod S and gets, bit for bit, what a scanner of stride 1 fed only with
//! that phase's ticks would get. Prices missing on a tick are carried forward from the last tick, of whatever phase.
//!
//! **Ahead.** [`Scanner::prepare`] makes the next step for prices that are likely to come, on copies of what a step changes.
//! If they come, the copies take the place of what was; if not, nothing has happened. The bits are the same.
//!
//! **Promise.** λ and its velocity are within 1e-9 of a full decomposition, always, as long as no asset's mean
//! return exceeds a thousand times its standard deviation. Instabilities are within 1e-9 while the second eigenvalue
//! is at most 0.9 of the first at both ends of the bar; closer than that the eigenvector is itself ill-defined, and
//! the error grows as the inverse of the gap (`leading` says what an instability means there). Same bits in every
//! build and on every thread layout.

mod ahead;
mod ceiling;
mod dense;
mod gram;
mod health;
mod history;
mod lanczos;
mod leading;
mod matrix;
mod phase;
mod quad;
#[cfg(test)]
mod tests;
mod tridiagonal;
mod window;

pub use health::{Check, Fault, Health, TOLERANCE, Verdict};

pub use phase::{Scan, WINDOWS};

use ahead::Ahead;
use phase::{Phase, Rows, carry};
use quad::{Quad, Quads, quads};
use window::Scratch;

/// Bars until `vel_div` is defined: the window of its slower half, a bar for the first return, a bar for the first change.
pub const SIGNAL_BARS: usize = WINDOWS[1] + 2;
/// Largest number of assets of a scanner.
pub const MAX_ASSETS: usize = 1024;
/// Largest stride (ticks per bar) of a scanner.
pub const MAX_STRIDE: usize = 500;

/// Bars of a phase between two assets that are summed afresh in turn.
const REFRESH_EVERY: usize = 128;

/// Why a scanner cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScannerError {
    /// Not 1 to [`MAX_ASSETS`] assets.
    #[error("the eigen scanner takes 1 to {MAX_ASSETS} assets, not {0}: pass fewer symbols")]
    Assets(usize),
    /// Not 1 to [`MAX_STRIDE`] ticks per bar.
    #[error("the eigen scanner takes a stride of 1 to {MAX_STRIDE} ticks per bar, not {0}")]
    Stride(usize),
}

/// The eigen scanner: feed it every tick's prices in a fixed order of assets.
#[derive(Debug, Clone)]
pub struct Scanner {
    assets: usize,
    /// The last valid price per asset; NaN before the first.
    prices: Vec<f64>,
    phases: Vec<Phase>,
    /// Phase of the next tick.
    next: usize,
    scratch: Scratch,
    newest: Quads,
    oldest: [Quads; 4],
    ahead: Ahead,
}

impl Scanner {
    /// A scanner of `assets` assets whose bars are `stride` ticks. All memory is taken here; see
    /// [`Scanner::memory_bytes`].
    pub fn new(assets: usize, stride: usize) -> Result<Self, ScannerError> {
        if !(1..=MAX_ASSETS).contains(&assets) {
            return Err(ScannerError::Assets(assets));
        }
        if !(1..=MAX_STRIDE).contains(&stride) {
            return Err(ScannerError::Stride(stride));
        }
        let width = quads(assets);
        let row = Quads::zero(width);
        Ok(Self {
            assets,
            prices: vec![f64::NAN; assets],
            phases: (0..stride).map(|_| Phase::new(assets, width)).collect(),
            next: 0,
            scratch: Scratch::new(width),
            newest: row.clone(),
            oldest: [row.clone(), row.clone(), row.clone(), row],
            ahead: Ahead::new(assets, width),
        })
    }

    /// Number of assets.
    pub fn assets(&self) -> usize {
        self.assets
    }

    /// Ticks per bar.
    pub fn stride(&self) -> usize {
        self.phases.len()
    }

    /// Ticks until every value of a scan is defined: the longest window, a bar for the first return, a bar for the
    /// first change.
    pub fn warmup_ticks(&self) -> usize {
        (WINDOWS[3] + 1) * self.stride() + 1
    }

    /// About how much memory a scanner takes when all its windows are full, in bytes: 4 MB per phase at 400 assets,
    /// of which 2.4 are the returns of the longest window, and 1.3 MB for the longest run.
    pub fn memory_bytes(assets: usize, stride: usize) -> usize {
        let width = quads(assets);
        let triangles: usize = WINDOWS.iter().map(|&w| gram::memory_bytes(w, width)).sum();
        let run = 4 * width * width * size_of::<Quad>();
        run + stride * ((WINDOWS[3] + 4 * 5 + 2) * width * size_of::<Quad>() + triangles)
    }

    /// Takes one tick's prices, one per asset; a price that is not finite and positive is missing and the last one
    /// is carried forward. An asset without any price yet does not move: it counts as one of zero variance.
    ///
    /// # Panics
    /// If there is not exactly one price per asset.
    pub fn step(&mut self, prices: &[f64]) -> Scan {
        assert_eq!(prices.len(), self.assets, "one price per asset");
        if self.ahead.is_for(prices) {
            return self.take_prepared();
        }
        self.ahead.forget();
        carry(&mut self.prices, prices);
        let stride = self.phases.len();
        let phase = &mut self.phases[self.next];
        self.next = (self.next + 1) % stride;
        if !std::mem::replace(&mut phase.started, true) {
            phase.before.copy_from_slice(&self.prices);
            return Scan::UNDEFINED;
        }
        phase::take_returns(&phase.before, &self.prices, &mut self.newest);
        phase.before.copy_from_slice(&self.prices);
        phase::count_runs(&mut phase.runs, &phase.history, &self.newest);
        phase::leaving(&phase.history, &mut self.oldest);
        phase.history.push(&self.newest);
        let Phase { history, runs, windows, lambda, .. } = phase;
        let rows = Rows { newest: &self.newest, oldest: &self.oldest, runs };
        phase::scan(windows, lambda, history, self.assets, rows, &mut self.scratch)
    }

    /// Makes the next step for `prices`, in case they are the ones that come; changes nothing that a caller could see. It
    /// takes as long as a step and a copy of a phase's windows.
    ///
    /// # Panics
    /// If there is not exactly one price per asset.
    pub fn prepare(&mut self, prices: &[f64]) {
        assert_eq!(prices.len(), self.assets, "one price per asset");
        let Self { prices: known, phases, next, scratch, oldest, ahead, .. } = self;
        ahead.prepare(&mut phases[*next], (known, prices), oldest, scratch);
    }

    /// Steps that had been prepared, since the start.
    pub const fn prepared(&self) -> u64 {
        self.ahead.taken()
    }

    /// The prices that the next step was prepared for have come.
    fn take_prepared(&mut self) -> Scan {
        let stride = self.phases.len();
        let phase = &mut self.phases[self.next];
        self.next = (self.next + 1) % stride;
        self.ahead.take(phase, &mut self.prices)
    }

    /// Whether the answers may be used: while it is not sound, mask the signal and raise an alert.
    pub fn health(&self) -> Health {
        let mut health = Health::default();
        for window in self.phases.iter().map(|phase| &phase.windows) {
            for (fault, window) in health.faults.iter_mut().zip(window) {
                *fault = fault.or(window.fault());
            }
        }
        health
    }

    /// Which window of [`WINDOWS`] (its index) a check of the last tick should take: one that is marked, else each in
    /// turn.
    pub fn check_due(&self) -> usize {
        let phase = &self.phases[self.last_phase()];
        let marked = phase.windows.iter().position(|window| window.fault().is_some());
        marked.unwrap_or(phase.history.pushed() % WINDOWS.len())
    }

    /// Copies the returns of window `index` of [`WINDOWS`] as of the last tick, and the eigenvalue that was claimed,
    /// into `check`; whether the window was full, otherwise nothing is copied. The longest window of 400 assets takes
    /// a few hundred microseconds: after the tick's work, not before.
    pub fn fill_check(&self, index: usize, check: &mut Check) -> bool {
        let phase = &self.phases[self.last_phase()];
        if index >= WINDOWS.len() || phase.history.pushed() < WINDOWS[index] {
            return false;
        }
        check.returns.clear();
        for row in phase
            .history
            .newest(WINDOWS[index])
            .into_iter()
            .flat_map(|run| run.chunks_exact(quads(self.assets)))
        {
            check.returns.extend_from_slice(&row.as_flattened()[..self.assets]);
        }
        (check.phase, check.bar, check.window) = (self.last_phase(), phase.history.pushed(), index);
        (check.claimed, check.assets) = (phase.lambda[index], self.assets);
        true
    }

    /// [`Scanner::fill_check`] into a copy of its own; `None` while the window is not full.
    pub fn check_copy(&self, index: usize) -> Option<Check> {
        let mut check = Check::new(self.assets);
        self.fill_check(index, &mut check).then_some(check)
    }

    /// Takes what a check of a copy of this scanner found: marks the window that was wrong, or clears a mark that is
    /// older than the copy.
    pub fn take_verdict(&mut self, verdict: &Verdict) {
        // What was prepared did not know of it.
        self.ahead.forget();
        let Some(phase) = self.phases.get_mut(verdict.phase) else { return };
        let Some(window) = phase.windows.get_mut(verdict.index) else { return };
        if verdict.agrees() {
            window.clear(verdict.bar);
        } else {
            window.mark(Fault::Decomposition, phase.history.pushed(), self.assets);
        }
    }

    /// Takes bars as a start, oldest first: what stepping through all their ticks comes to, bit for bit, where each tick of a
    /// bar has the bar's prices. Every phase sees the same then, so one of them is stepped and the others are its copies.
    /// `each` is given what each bar said.
    ///
    /// # Panics
    /// If a tick was taken before, or if there is not exactly one price per asset.
    pub fn warm_bars<'a>(&mut self, bars: impl IntoIterator<Item = &'a [f64]>, mut each: impl FnMut(Scan)) {
        assert!(self.phases.iter().all(|phase| !phase.started), "bars come before all ticks");
        for bar in bars {
            self.next = 0;
            each(self.step(bar));
        }
        self.next = 0;
        if let Some((first, others)) = self.phases.split_first_mut() {
            others.iter_mut().for_each(|phase| phase.clone_from(first));
        }
    }

    fn last_phase(&self) -> usize {
        (self.next + self.phases.len() - 1) % self.phases.len()
    }

    /// Steps through recorded ticks, oldest first, as a start: the same as having run through them. Returns the
    /// last scan, or none if there was no tick.
    pub fn warm<'a>(&mut self, ticks: impl IntoIterator<Item = &'a [f64]>) -> Option<Scan> {
        ticks.into_iter().map(|prices| self.step(prices)).last()
    }
}
