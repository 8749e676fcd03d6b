//! Adaptive circuit breaker, version 6 (SPEC §4.1): how much the day's and the bar's risk factors scale a position.
//!
//! Scale 1 is daily (`boost`, from external risk factors), scale 2 is per bar (`beta`, from the v750 velocity against
//! its own history), scale 3 is the forewarner's. A pushed `{boost, beta}` overrides the first two until the next push.

use std::collections::{BTreeMap, VecDeque};

use market::Date;
use serde::{Deserialize, Serialize};

/// Days of w750 history that the threshold looks back on.
pub const HISTORY_DAYS: usize = 60;
/// Days needed for a threshold.
pub const MIN_HISTORY_DAYS: usize = 10;
/// Beta at or above the threshold.
pub const BETA_HIGH: f64 = 0.8;
/// Beta below the threshold, or without one.
pub const BETA_LOW: f64 = 0.2;
/// The cuts that [`apply_cut_to_position_size`] knows.
pub const CUTS: [f64; 6] = [0.0, 0.15, 0.45, 0.55, 0.75, 0.80];

/// A pushed override.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AcbPush {
    /// In [0.5, 2].
    pub boost: f64,
    /// In [0, 2].
    pub beta: f64,
}

/// Why a push was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AcbReject {
    /// The text is no JSON object.
    #[error("the ACB push is not a JSON object")]
    NotJson,
    /// `boost` or `beta` is missing or no number.
    #[error("the ACB push lacks a numeric `boost` or `beta`")]
    Missing,
    /// `boost` outside [0.5, 2], or NaN.
    #[error("the pushed boost is outside [0.5, 2]")]
    Boost,
    /// `beta` outside [0, 2], or NaN.
    #[error("the pushed beta is outside [0, 2]")]
    Beta,
}

impl AcbPush {
    /// A push from its two numbers.
    pub fn new(boost: f64, beta: f64) -> Result<Self, AcbReject> {
        if !(0.5..=2.0).contains(&boost) {
            return Err(AcbReject::Boost);
        }
        if !(0.0..=2.0).contains(&beta) {
            return Err(AcbReject::Beta);
        }
        Ok(Self { boost, beta })
    }

    /// A push from the memory key `acb_boost`: `{"boost": f, "beta": f, …}`, other keys ignored.
    pub fn parse(json: &[u8]) -> Result<Self, AcbReject> {
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|_| AcbReject::NotJson)?;
        let object = value.as_object().ok_or(AcbReject::NotJson)?;
        let number = |key| object.get(key).and_then(serde_json::Value::as_f64).ok_or(AcbReject::Missing);
        Self::new(number("boost")?, number("beta")?)
    }
}

/// A cut that is not one of [`CUTS`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a cut of {0} is not one of 0, 0.15, 0.45, 0.55, 0.75, 0.80")]
pub struct CutError(pub f64);

/// `size·(1 − cut)` for a known cut.
pub fn apply_cut_to_position_size(size: f64, cut: f64) -> Result<f64, CutError> {
    if CUTS.contains(&cut) { Ok(size * (1.0 - cut)) } else { Err(CutError(cut)) }
}

/// The ACB's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acb {
    factors: BTreeMap<String, u32>,
    history: VecDeque<f64>,
    threshold: Option<f64>,
    base_boost: f64,
    beta: f64,
    pushed: Option<AcbPush>,
    day_sum: f64,
    day_count: u32,
    rejected: u64,
}

/// What a step changes, as it was before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    day_sum: f64,
    day_count: u32,
    beta: f64,
}

impl Acb {
    pub(crate) fn new() -> Self {
        Self { base_boost: 1.0, beta: BETA_LOW, ..Self::default() }
    }

    /// External risk factors by date (SPEC §4.1; a day that is not named has none).
    pub fn set_factors(&mut self, factors: &BTreeMap<Date, u32>) {
        self.factors = factors.iter().map(|(date, &n)| (date.to_string(), n)).collect();
    }

    /// From the next tick on, until the next push. A bad one is counted and changes nothing.
    pub fn push(&mut self, boost: f64, beta: f64) -> Result<(), AcbReject> {
        match AcbPush::new(boost, beta) {
            Ok(push) => {
                self.pushed = Some(push);
                Ok(())
            }
            Err(reject) => {
                self.rejected += 1;
                Err(reject)
            }
        }
    }

    /// Pushes rejected so far, those that [`AcbPush::parse`] refused included if the caller counts them here.
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Counts a push that could not even be parsed.
    pub fn count_reject(&mut self) {
        self.rejected += 1;
    }

    pub(crate) fn begin_day(&mut self, date: Date) {
        let n = self.factors.get(&date.to_string()).copied().unwrap_or(0);
        self.base_boost = base_boost(n);
        self.threshold =
            if self.history.len() >= MIN_HISTORY_DAYS { percentile(&self.history, 0.60) } else { None };
        self.beta = BETA_LOW;
    }

    pub(crate) fn step(&mut self, v750: f64) {
        if v750.is_finite() {
            self.day_sum += v750;
            self.day_count += 1;
        }
        self.beta = match self.threshold {
            Some(threshold) if v750 >= threshold => BETA_HIGH,
            _ => BETA_LOW,
        };
    }

    /// What a step changes.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { day_sum: self.day_sum, day_count: self.day_count, beta: self.beta }
    }

    /// As it was then.
    pub(crate) const fn go_back(&mut self, mark: Mark) {
        (self.day_sum, self.day_count, self.beta) = (mark.day_sum, mark.day_count, mark.beta);
    }

    pub(crate) fn end_day(&mut self) {
        let mean = self.day_sum / f64::from(self.day_count);
        // NaN: none stepped.
        if mean.is_finite() {
            if self.history.len() == HISTORY_DAYS {
                self.history.pop_front();
            }
            self.history.push_back(mean);
        }
        self.day_sum = 0.0;
        self.day_count = 0;
    }

    /// The boost in force.
    pub fn boost(&self) -> f64 {
        self.pushed.map_or(self.base_boost, |p| p.boost)
    }

    /// The beta in force on this bar.
    pub fn beta(&self) -> f64 {
        self.pushed.map_or(self.beta, |p| p.beta)
    }

    /// The pushed override in force.
    pub const fn pushed(&self) -> Option<AcbPush> {
        self.pushed
    }

    /// 60th percentile of the w750 history, where there is enough of it.
    pub const fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// Mean of the w750 history; `None` without any.
    pub fn w750_mean(&self) -> Option<f64> {
        let n = self.history.len();
        (n > 0).then(|| self.history.iter().sum::<f64>() / n as f64)
    }

    /// Becomes equal to `other` without allocating, once this one has held as much.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self { factors, history, threshold, base_boost, beta, pushed, day_sum, day_count, rejected } =
            other;
        if self.factors != *factors {
            self.factors.clone_from(factors);
        }
        self.history.clone_from(history);
        (self.threshold, self.base_boost, self.beta, self.pushed) = (*threshold, *base_boost, *beta, *pushed);
        (self.day_sum, self.day_count, self.rejected) = (*day_sum, *day_count, *rejected);
    }

    pub(crate) fn reserve(&mut self) {
        self.history.reserve(HISTORY_DAYS + 1);
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.history.len() <= HISTORY_DAYS
    }
}

/// `clamp(1 + 0.5·ln(1 + n), 0.5, 2)`.
pub fn base_boost(n_signals: u32) -> f64 {
    (1.0 + 0.5 * (1.0 + f64::from(n_signals)).ln()).clamp(0.5, 2.0)
}

/// The `q`-quantile by linear interpolation, as NumPy's default does it.
fn percentile(values: &VecDeque<f64>, q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let at = q * sorted.len().checked_sub(1)? as f64;
    let below = at.floor();
    let (t, i) = (at - below, below as usize);
    let (a, b) = (sorted[i], sorted[(i + 1).min(sorted.len() - 1)]);
    // NumPy interpolates from the nearer end.
    Some(if t >= 0.5 { b - (b - a) * (1.0 - t) } else { a + (b - a) * t })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i8) -> Date {
        Date::constant(2026, 1, n)
    }

    #[test]
    fn boost_grows_with_the_factors_and_is_clamped() {
        assert_eq!(base_boost(0), 1.0);
        assert_eq!(base_boost(1), 1.0 + 0.5 * 2f64.ln());
        assert_eq!(base_boost(1000), 2.0);
        let mut acb = Acb::new();
        acb.set_factors(&BTreeMap::from([(day(2), 3)]));
        acb.begin_day(day(1));
        assert_eq!(acb.boost(), 1.0);
        acb.begin_day(day(2));
        assert_eq!(acb.boost(), 1.0 + 0.5 * 4f64.ln());
    }

    #[test]
    fn beta_follows_the_threshold_once_ten_days_are_known() {
        let mut acb = Acb::new();
        for n in 1..=10 {
            acb.begin_day(day(n));
            acb.step(f64::from(n) - 0.5);
            acb.step(f64::NAN);
            acb.step(f64::from(n) + 0.5);
            assert_eq!((acb.beta(), acb.threshold()), (BETA_LOW, None));
            acb.end_day();
            // Nothing stepped: no entry.
            acb.begin_day(day(n));
            acb.end_day();
        }
        acb.begin_day(day(11));
        // numpy.percentile([1, …, 10], 60), to the last bit.
        assert_eq!(acb.threshold(), Some(6.3999999999999995));
        for (v750, beta) in
            [(6.39, BETA_LOW), (6.3999999999999995, BETA_HIGH), (7.0, BETA_HIGH), (f64::NAN, BETA_LOW)]
        {
            acb.step(v750);
            assert_eq!(acb.beta(), beta);
        }
        assert_eq!(acb.w750_mean(), Some(5.5));
    }

    #[test]
    fn the_history_is_sixty_days_long() {
        let mut acb = Acb::new();
        for n in 0..100 {
            acb.begin_day(day(1));
            acb.step(f64::from(n));
            acb.end_day();
        }
        acb.begin_day(day(1));
        // numpy.percentile(range(40, 100), 60) = 75.4
        assert!((acb.threshold().unwrap() - 75.4).abs() < 1e-12);
    }

    #[test]
    fn a_push_overrides_until_the_next_one() {
        let mut acb = Acb::new();
        acb.begin_day(day(1));
        acb.push(1.5, 0.7).unwrap();
        acb.end_day();
        acb.begin_day(day(2));
        acb.step(1.0);
        assert_eq!((acb.boost(), acb.beta()), (1.5, 0.7));
        for (boost, beta) in
            [(0.49, 0.5), (2.01, 0.5), (f64::NAN, 0.5), (1.0, -0.1), (1.0, 2.1), (1.0, f64::NAN)]
        {
            assert!(acb.push(boost, beta).is_err(), "{boost} {beta}");
        }
        assert_eq!((acb.boost(), acb.beta(), acb.rejected()), (1.5, 0.7, 6));
        acb.push(0.5, 2.0).unwrap();
        assert_eq!((acb.boost(), acb.beta()), (0.5, 2.0));
    }

    #[test]
    fn pushes_are_parsed_or_refused() {
        let parse = |text: &str| AcbPush::parse(text.as_bytes());
        assert_eq!(parse(r#"{"boost":1,"beta":0.5,"ts":3}"#), Ok(AcbPush { boost: 1.0, beta: 0.5 }));
        assert_eq!(parse("boost"), Err(AcbReject::NotJson));
        assert_eq!(parse("[1,2]"), Err(AcbReject::NotJson));
        assert_eq!(parse(r#"{"boost":NaN,"beta":0.5}"#), Err(AcbReject::NotJson));
        assert_eq!(parse(r#"{"boost":1}"#), Err(AcbReject::Missing));
        assert_eq!(parse(r#"{"boost":"1","beta":0}"#), Err(AcbReject::Missing));
        assert_eq!(parse(r#"{"boost":9,"beta":0}"#), Err(AcbReject::Boost));
        assert_eq!(parse(r#"{"boost":1,"beta":9}"#), Err(AcbReject::Beta));
    }

    #[test]
    fn only_known_cuts_cut() {
        assert_eq!(apply_cut_to_position_size(100.0, 0.45), Ok(100.0 * (1.0 - 0.45)));
        assert_eq!(apply_cut_to_position_size(100.0, 0.0), Ok(100.0));
        for cut in [0.1, 1.0, -0.15, f64::NAN] {
            assert!(apply_cut_to_position_size(100.0, cut).is_err(), "{cut}");
        }
    }
}
