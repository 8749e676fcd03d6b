//! A step of the scanner made before its tick has come ([`super::Scanner::prepare`]).

use super::phase::{Phase, Rows, Scan, carry, count_runs, fresh_windows, leaving, scan, take_returns};
use super::quad::Quads;
use super::window::{Scratch, Window};

/// What the phase of the next tick becomes if these prices come. Everything that a step changes is here a second time,
/// but the history: its newest row is written, read, and taken back.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    /// Whether the rest is of any meaning.
    ready: bool,
    /// The prices it was made for, as given.
    given: Vec<f64>,
    /// Those known then: the missing ones carried forward.
    prices: Vec<f64>,
    newest: Quads,
    /// The row of the history under the newest one.
    over: Quads,
    runs: Vec<[u32; 4]>,
    windows: [Window; 4],
    lambda: [f64; 4],
    scan: Scan,
    /// Steps that were taken from here.
    taken: u64,
}

impl Ahead {
    pub(super) fn new(assets: usize, width: usize) -> Self {
        Self {
            ready: false,
            given: vec![f64::NAN; assets],
            prices: vec![f64::NAN; assets],
            newest: Quads::zero(width),
            over: Quads::zero(width),
            runs: vec![[0; 4]; width],
            windows: fresh_windows(width),
            lambda: [f64::NAN; 4],
            scan: Scan::UNDEFINED,
            taken: 0,
        }
    }

    /// Something changed under it.
    pub(super) const fn forget(&mut self) {
        self.ready = false;
    }

    /// Was the next step made for exactly these prices?
    pub(super) fn is_for(&self, prices: &[f64]) -> bool {
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        self.ready && self.given.iter().zip(prices).all(same)
    }

    /// Steps that were taken from here.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Makes the next step of `phase` for `prices`, where `known` are those known so far.
    pub(super) fn prepare(
        &mut self,
        phase: &mut Phase,
        (known, prices): (&[f64], &[f64]),
        oldest: &mut [Quads; 4],
        scratch: &mut Scratch,
    ) {
        let Phase { started, before, history, runs, windows, lambda } = phase;
        self.ready = *started;
        if !self.ready {
            return;
        }
        self.given.copy_from_slice(prices);
        self.prices.copy_from_slice(known);
        carry(&mut self.prices, prices);
        take_returns(before, &self.prices, &mut self.newest);
        self.runs.copy_from_slice(runs);
        count_runs(&mut self.runs, history, &self.newest);
        leaving(history, oldest);
        self.over.copy_from_slice(history.leaving());
        history.push(&self.newest);
        for (ahead, window) in self.windows.iter_mut().zip(windows.iter()) {
            ahead.copy_from(window);
        }
        self.lambda = *lambda;
        let rows = Rows { newest: &self.newest, oldest, runs: &self.runs };
        self.scan = scan(&mut self.windows, &mut self.lambda, history, prices.len(), rows, scratch);
        history.take_back(&self.over);
    }

    /// The prices have come: `phase` becomes what was prepared, and `known` those known with them.
    pub(super) fn take(&mut self, phase: &mut Phase, known: &mut Vec<f64>) -> Scan {
        std::mem::swap(known, &mut self.prices);
        phase.before.copy_from_slice(known);
        std::mem::swap(&mut phase.runs, &mut self.runs);
        phase.history.push(&self.newest);
        for (window, ahead) in phase.windows.iter_mut().zip(&mut self.windows) {
            std::mem::swap(window, ahead);
        }
        phase.lambda = self.lambda;
        self.ready = false;
        self.taken += 1;
        self.scan
    }
}
