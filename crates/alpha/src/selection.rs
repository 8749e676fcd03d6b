//! Asset selection: IRP alignment (layer 5) and order book (layer 4) (SPEC §3.7).

use market::{ObFeatures, SymbolId};

use crate::history::PriceHistory;
use crate::params::Params;
use crate::report::{GateValues, ObView};

/// The fill probability of the side an entry would rest on (SHORT: ask) where both sides are known, else their mean.
pub fn fill_probability(features: &ObFeatures, direction: i8) -> f64 {
    let (bid, ask) = (features.fill_probability_bid, features.fill_probability_ask);
    match (bid.is_finite() && ask.is_finite(), direction < 0) {
        (true, true) => ask,
        (true, false) => bid,
        (false, _) => features.fill_probability,
    }
}

/// The features of an asset, where there are any.
pub fn features_of<'a>(ob: Option<&ObView<'a>>, asset: usize) -> Option<&'a ObFeatures> {
    ob?.features.get(asset)?.as_ref()
}

/// What does not change from tick to tick, and the room the selection works in.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    excluded: Vec<bool>,
    /// Place of each asset in the byte order of the symbols.
    order: Vec<u16>,
    /// Returns over the lookback; NaN: no candidate.
    relative: Vec<f64>,
}

impl Selector {
    pub fn new(assets: &[String], excluded: &[String]) -> Self {
        let mut sorted: Vec<u16> = (0..assets.len() as u16).collect();
        sorted.sort_by_key(|&i| assets[usize::from(i)].as_bytes());
        let mut order = vec![0; assets.len()];
        for (place, &asset) in sorted.iter().enumerate() {
            order[usize::from(asset)] = place as u16;
        }
        Self {
            excluded: assets.iter().map(|a| excluded.contains(a)).collect(),
            order,
            relative: vec![f64::NAN; assets.len()],
        }
    }

    /// The asset to trade, if one is left; `values` tells how it came about. `live`: an asset whose features are missing is
    /// no candidate (in replay it is).
    pub fn select(
        &mut self,
        params: &Params,
        history: &PriceHistory,
        (direction, live): (i8, bool),
        ob: Option<&ObView<'_>>,
        values: &mut GateValues,
    ) -> Option<SymbolId> {
        let (sum, count) = self.relative_returns(history);
        if count == 0 {
            return None;
        }
        values.candidates = count;
        let mean = sum / f64::from(count);
        let d = f64::from(direction);
        let lookback = f64::from(params.lookback);
        let aligned = history.aligned(direction);
        let mut best: Option<(f64, usize)> = None;
        let mut strongest: Option<(f64, usize)> = None;
        for (i, &relative) in self.relative.iter().enumerate() {
            let score = d * (relative - mean);
            // NaN: no candidate.
            if score.is_nan() || score <= 0.0 {
                continue;
            }
            if self.beats(score, i, strongest) {
                strongest = Some((score, i));
            }
            if f64::from(aligned[i]) / lookback < params.min_irp_alignment {
                continue;
            }
            let Some(score) = book_score(params, ob, i, (d, live), score) else { continue };
            values.passed += 1;
            if self.beats(score, i, best) {
                best = Some((score, i));
            }
        }
        let (score, shown) = best.or(strongest)?;
        values.best = Some(SymbolId(shown as u16));
        values.best_score = score;
        values.best_alignment = f64::from(aligned[shown]) / lookback;
        best.map(|(_, i)| SymbolId(i as u16))
    }

    /// Fills `relative`; gives the candidates' sum in column order and their number.
    fn relative_returns(&mut self, history: &PriceHistory) -> (f64, u16) {
        let (mut sum, mut count) = (0.0, 0);
        let before = history.lookback_prices();
        let now = history.last();
        for (i, relative) in self.relative.iter_mut().enumerate() {
            *relative = f64::NAN;
            // A price `lookback` bars ago exists exactly if `lookback + 1` strided prices do.
            if history.valid()[i] && !self.excluded[i] && !before[i].is_nan() {
                *relative = now[i] / before[i] - 1.0;
                sum += *relative;
                count += 1;
            }
        }
        (sum, count)
    }

    /// The larger score, and of equal ones the smaller symbol.
    fn beats(&self, score: f64, asset: usize, best: Option<(f64, usize)>) -> bool {
        best.is_none_or(|(s, b)| score > s || (score == s && self.order[asset] < self.order[b]))
    }
}

/// The order-book tests of one asset, and its score after them. Without features they pass, unless the books are `live`:
/// then something is wrong with its book (out of step, one-sided, a spread wider than the bands).
fn book_score(
    params: &Params,
    ob: Option<&ObView<'_>>,
    asset: usize,
    (d, live): (f64, bool),
    score: f64,
) -> Option<f64> {
    let Some(view) = ob else { return Some(score) };
    let Some(f) = features_of(ob, asset) else { return (!live).then_some(score) };
    // Written so that NaN fails.
    let passes = fill_probability(f, d as i8) >= params.min_fill_probability
        && d * f.depth_asymmetry > 0.0
        && d * f.imbalance_persistence >= params.ob_confirm_rate
        && f.spread_proxy_bps <= params.ob_edge_bps;
    if !passes {
        return None;
    }
    if f64::from(view.cross.regime_signal) != d {
        return Some(score);
    }
    let lean = (d * (f.depth_asymmetry - f.macro_imbalance)).max(0.0);
    let boosted = score * (1.0 + view.cross.agreement_pct * lean);
    boosted.is_finite().then_some(boosted)
}
