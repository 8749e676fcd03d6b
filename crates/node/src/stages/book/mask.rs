//! Which symbols are not to be trusted ([`Mask`]): decided at each sample, symbol by symbol.

use book::Sample;
use market::{MarkPrice, Nanos};

use super::news::Mask;
use crate::config::MarketConfig;
use crate::stages::Tick;

/// A mark older than this says nothing about a mid.
const MARK_AGE: u64 = 5 * Nanos::SECOND;
/// A mid that stays odd for this long makes its book suspect: it is taken again, once per such time.
const ODD_FOR: u64 = 10 * Nanos::SECOND;

/// Limits of the policy.
#[derive(Debug, Clone, Copy)]
pub struct MaskLimits {
    /// See [`Mask::Stale`].
    stale_after: Nanos,
    /// See [`Mask::Odd`]; a fraction.
    max_mark_gap: f64,
}

impl MaskLimits {
    /// Of the configuration.
    pub fn of(market: &MarketConfig) -> Self {
        Self {
            stale_after: Nanos::from_millis(market.ob_stale_after_ms),
            max_mark_gap: market.max_mark_gap_pct / 100.0,
        }
    }
}

/// What decides about the mask of one symbol.
#[derive(Debug, Clone, Copy)]
pub struct SymbolMask {
    current: Option<Mask>,
    /// What the sample being taken says of it.
    next: Option<Mask>,
    /// `E` of the last depth update.
    updated: Nanos,
    /// Mark price and its time.
    mark: (f64, Nanos),
    /// Since when the mid has been odd, event time; 0: it is not.
    odd_since: u64,
    /// Time of the sample.
    odd_now: Nanos,
}

impl SymbolMask {
    /// Before the first frame.
    pub const fn new() -> Self {
        Self {
            current: Some(Mask::Unsynced),
            next: None,
            updated: Nanos(0),
            mark: (f64::NAN, Nanos(0)),
            odd_since: 0,
            odd_now: Nanos(0),
        }
    }

    /// The mask in force.
    pub const fn current(&self) -> Option<Mask> {
        self.current
    }

    /// Does it wait for its book?
    pub fn is_unsynced(&self) -> bool {
        self.current == Some(Mask::Unsynced)
    }

    /// What the last sample said.
    pub const fn next(&self) -> Option<Mask> {
        self.next
    }

    /// Puts a mask in force; `false`: it was.
    pub fn set(&mut self, mask: Option<Mask>) -> bool {
        std::mem::replace(&mut self.current, mask) != mask
    }

    /// A depth update was sent at `ts`.
    pub const fn on_update(&mut self, ts: Nanos) {
        self.updated = ts;
    }

    /// A mark price.
    pub const fn on_mark(&mut self, mark: &MarkPrice) {
        self.mark = (mark.mark, mark.ts_send);
    }

    /// Judges the symbol at a sample taken at `ts`.
    fn judge(&mut self, ts: Nanos, mid: f64, silent: bool, limits: MaskLimits) {
        let (mark, at) = self.mark;
        let odd = ts.since(at).0 <= MARK_AGE && (mid - mark).abs() > mark.abs() * limits.max_mark_gap;
        self.odd_now = ts;
        self.odd_since = match (odd, self.odd_since) {
            (false, _) => 0,
            (true, 0) => ts.0,
            (true, since) => since,
        };
        self.next = if silent {
            Some(Mask::Silent)
        } else if ts.since(self.updated) > limits.stale_after {
            Some(Mask::Stale)
        } else if odd {
            Some(Mask::Odd)
        } else if !self.is_unsynced() && !mid.is_finite() {
            Some(Mask::OneSided)
        } else {
            None
        };
    }

    /// Has its mid been far from the mark for long? Says so once per such time: its book is to be taken again.
    pub fn is_suspect(&mut self) -> bool {
        let suspect = self.odd_since != 0 && self.odd_now.0 - self.odd_since >= ODD_FOR;
        if suspect {
            self.odd_since = self.odd_now.0;
        }
        suspect
    }
}

/// Judges all symbols at a sample. `is_silent`: by column, is a stream of it silent?
pub fn judge(
    sample: &Sample<'_>,
    masks: &mut [SymbolMask],
    is_silent: impl Fn(usize) -> bool,
    limits: MaskLimits,
) {
    for (i, mask) in masks.iter_mut().enumerate() {
        mask.judge(sample.ts, sample.mids[i], is_silent(i), limits);
    }
}

/// The mids that the next sample's tick will have if no mask changes; `true` once they are not those in `told`.
pub fn mids(told: &mut [f64], mids: &[f64], masks: &[SymbolMask]) -> bool {
    let mut differ = false;
    for ((told, &mid), mask) in told.iter_mut().zip(mids).zip(masks) {
        let mid = if mask.next.is_some() { f64::NAN } else { mid };
        differ |= told.to_bits() != mid.to_bits();
        *told = mid;
    }
    differ
}

/// The tick of a sample, what is masked left out; how many symbols it holds.
pub fn fill(tick: &mut Tick, sample: &Sample<'_>, masks: &[SymbolMask]) -> u32 {
    tick.ts = sample.ts;
    tick.cross = sample.cross;
    let mut live = 0;
    for (i, mask) in masks.iter().enumerate() {
        let masked = mask.next.is_some();
        tick.mids[i] = if masked { f64::NAN } else { sample.mids[i] };
        tick.features[i] = sample.features[i].filter(|_| !masked);
        live += u32::from(tick.mids[i].is_finite());
    }
    live
}
