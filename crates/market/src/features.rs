//! Order-book features (SPEC §5) as values: what the book computes, the engine reads and memory publishes.

use serde::{Deserialize, Serialize};

/// Distance bands of the depth vectors: 1 % … 5 % of mid.
pub const DEPTH_BANDS: usize = 5;

/// The features of one symbol at one sample, by the names of SPEC §5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObFeatures {
    /// Σ bid quantity within 1…5 % of mid.
    pub bid_depth: [f64; DEPTH_BANDS],
    /// Σ ask quantity within 1…5 % of mid.
    pub ask_depth: [f64; DEPTH_BANDS],
    /// Σ bid price·quantity within 1…5 % of mid.
    pub bid_notional: [f64; DEPTH_BANDS],
    /// Σ ask price·quantity within 1…5 % of mid.
    pub ask_notional: [f64; DEPTH_BANDS],
    /// How far the kept book reaches on its shorter side, % of mid.
    pub coverage_pct: f64,
    /// (ask − bid)/mid·10⁴.
    pub spread_proxy_bps: f64,
    /// T/(T + EWMA₃₀₀ₛ(T)) of the 1 % notionals, in (0, 1).
    pub depth_quality: f64,
    /// Chance that an order resting at the best bid fills within the horizon.
    pub fill_probability_bid: f64,
    /// Chance that an order resting at the best ask fills within the horizon.
    pub fill_probability_ask: f64,
    /// Mean of the two.
    pub fill_probability: f64,
    /// (bid − ask)/(bid + ask) of the 1 % notionals, in [−1, 1].
    pub depth_asymmetry: f64,
    /// Mean sign of the asymmetry over the last 20 samples, in [−1, 1].
    pub imbalance_persistence: f64,
    /// Relative change of the 1 % notionals per second.
    pub withdrawal_velocity: f64,
    /// EWMA₃₀₀ₛ of the asymmetry.
    pub macro_imbalance: f64,
    /// EWMA₃₀₀ₛ of the spread, bps.
    pub macro_spread_bps: f64,
}

impl ObFeatures {
    /// Of an even book, liquid on both sides: for measurements and tests.
    pub const fn plain() -> Self {
        Self {
            bid_depth: [1.0; DEPTH_BANDS],
            ask_depth: [1.0; DEPTH_BANDS],
            bid_notional: [1.0; DEPTH_BANDS],
            ask_notional: [1.0; DEPTH_BANDS],
            coverage_pct: 5.0,
            spread_proxy_bps: 1.0,
            depth_quality: 0.5,
            fill_probability_bid: 0.9,
            fill_probability_ask: 0.9,
            fill_probability: 0.9,
            depth_asymmetry: 0.0,
            imbalance_persistence: 0.0,
            withdrawal_velocity: 0.0,
            macro_imbalance: 0.0,
            macro_spread_bps: 1.0,
        }
    }
}

/// What the features of one symbol remember for minutes: their averages of a half-life of 300 s. Every record of them says it,
/// so that a start can go on from the last one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObAverages {
    /// Of both 1 % notionals together, quote asset.
    pub depth: f64,
    /// Of the asymmetry.
    pub asymmetry: f64,
    /// Of the spread, bps.
    pub spread: f64,
}

impl ObAverages {
    /// After that sample; `None`: its numbers are none that a sample can have.
    pub fn after(sample: &ObFeatures) -> Option<Self> {
        let total = sample.bid_notional[0] + sample.ask_notional[0];
        // depth_quality is T/(T + average).
        let depth = total / sample.depth_quality - total;
        let (asymmetry, spread) = (sample.macro_imbalance, sample.macro_spread_bps);
        let good =
            depth > 0.0 && depth.is_finite() && asymmetry.abs() <= 1.0 && spread > 0.0 && spread.is_finite();
        good.then_some(Self { depth, asymmetry, spread })
    }
}

/// What the symbols with features say together at one sample (SPEC §5, cross-asset).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CrossAsset {
    /// Larger of the shares of positive and of negative asymmetry.
    pub agreement_pct: f64,
    /// Symbols whose withdrawal velocity is ≤ −0.10.
    pub cascade_count: u32,
    /// Sign of the majority where it is clear, else 0.
    pub regime_signal: i8,
}
