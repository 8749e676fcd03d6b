//! The bars around the place where the ways part, replayed once more.

use std::ops::ControlFlow;

use market::Date;

use super::types::{BarContext, Divergence};
use crate::ReplayError;
use crate::days::{BarView, Observer, ReplayConfig, Run, run};

/// Bars shown before and after.
const BEFORE: u32 = 3;
const AFTER: u32 = 1;

/// Replays again up to the divergence and keeps the bars around it.
pub(super) fn add_context(
    config: &ReplayConfig,
    replayed: &Run,
    divergence: &mut Divergence,
) -> Result<(), ReplayError> {
    let (Some(date), Some(bar)) = (divergence.date.as_ref().and_then(|d| d.parse().ok()), divergence.bar)
    else {
        return Ok(());
    };
    let reference = Some(config.params.reference_symbol.clone());
    let wanted =
        divergence.expected.iter().find(|(name, _)| name == "symbol").map(|(_, symbol)| symbol.clone());
    let named = [reference, divergence.got.as_ref().map(|t| t.symbol.clone()), wanted];
    let mut symbols: Vec<String> = Vec::new();
    for symbol in named.into_iter().flatten() {
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    let columns =
        symbols.iter().filter_map(|s| Some((s.clone(), replayed.assets.iter().position(|a| a == s)?)));
    let mut probe = Probe {
        date,
        first: bar.saturating_sub(BEFORE),
        last: bar.saturating_add(AFTER),
        columns: columns.collect(),
        assets: &replayed.assets,
        bars: Vec::new(),
    };
    run(config, &mut probe)?;
    divergence.bars = probe.bars;
    Ok(())
}

struct Probe<'a> {
    date: Date,
    first: u32,
    last: u32,
    columns: Vec<(String, usize)>,
    assets: &'a [String],
    bars: Vec<BarContext>,
}

impl Probe<'_> {
    fn prices(&self, row: &[f64]) -> Vec<(String, f64)> {
        let known = self.columns.iter().filter(|(_, i)| !row[*i].is_nan());
        known.map(|(name, i)| (name.clone(), row[*i])).collect()
    }
}

impl Observer for Probe<'_> {
    fn bar(&mut self, b: &BarView<'_>) -> ControlFlow<()> {
        if b.date > self.date || (b.date == self.date && b.bar_idx > self.last) {
            return ControlFlow::Break(());
        }
        if b.date == self.date && b.bar_idx >= self.first {
            let v = b.report.values;
            self.bars.push(BarContext {
                date: b.date.to_string(),
                bar: b.bar_idx,
                ts_ns: b.bar.ts.map(|t| t.0),
                vel_div: b.bar.vel_div,
                v50: b.bar.v50,
                v750: b.bar.v750,
                instability_50: b.bar.instability_50,
                prices: self.prices(b.prices),
                gate: b.report.gate,
                vol_std: v.vol_std,
                direction: v.direction,
                dc_move_bps: v.dc_move_bps,
                candidates: v.candidates,
                passed: v.passed,
                best: v.best.and_then(|s| self.assets.get(s.index()).cloned()),
                best_score: v.best_score,
                best_alignment: v.best_alignment,
                change: v.change,
                capital: b.capital,
            });
        }
        ControlFlow::Continue(())
    }
}
