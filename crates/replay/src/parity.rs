//! Is a replay the same as an expected one (SPEC §11 `parity`)? The expectation is a table of trades, a summary, or the
//! headline numbers of the champion. Where trades differ, the first divergence is shown with what led to it: the bar,
//! its inputs, every gate's value on our side, the trade before.

mod expected;
mod fields;
mod summary;

use std::fmt;
use std::ops::ControlFlow;

use alpha::{Gate, TradeRecord};
use archive::table::Cell;
use market::Date;
use serde::Serialize;

pub use expected::{Expected, ExpectedTrades};
pub use fields::{FIELD_NAMES, column_names};

use crate::ReplayError;
use crate::days::{BarView, Observer, ReplayConfig, Run, Unwatched, run};
use fields::{FIELDS, differs, show};

/// A headline number of the champion by its name in `summary.json` (SPEC §1).
pub fn champion_figure(name: &str) -> Option<f64> {
    summary::CHAMPION.iter().find(|(n, ..)| *n == name).map(|&(_, value, _)| value)
}

/// Bars shown before and after the one where the ways part.
const BEFORE: u32 = 3;
const AFTER: u32 = 1;

/// One number, flag or word beside the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What is compared.
    pub name: String,
    /// As expected.
    pub expected: String,
    /// As replayed.
    pub got: String,
    /// Got − expected, for numbers.
    pub difference: Option<f64>,
    /// Within the tolerance?
    pub equal: bool,
}

/// A bar as the engine saw and judged it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BarContext {
    /// Date.
    pub date: String,
    /// Bar of the day.
    pub bar: u32,
    /// Event time, ns; `None` where the file has none.
    pub ts_ns: Option<u64>,
    /// Velocity divergence.
    pub vel_div: f64,
    /// v50.
    pub v50: f64,
    /// v750.
    pub v750: f64,
    /// Instability of the 50-bar window.
    pub instability_50: f64,
    /// Prices of the symbols concerned.
    pub prices: Vec<(String, f64)>,
    /// The gate that stopped the step, or what it did.
    pub gate: Gate,
    /// Volatility of the reference symbol.
    pub vol_std: f64,
    /// Direction that fired, else 0.
    pub direction: i8,
    /// Move of the reference symbol in that direction, bps.
    pub dc_move_bps: f64,
    /// Assets that could be chosen.
    pub candidates: u16,
    /// Assets that passed the selection.
    pub passed: u16,
    /// The winner, or the nearest to it.
    pub best: Option<String>,
    /// Its score.
    pub best_score: f64,
    /// Its alignment.
    pub best_alignment: f64,
    /// Return of the held position in its direction.
    pub change: f64,
    /// Capital after the bar.
    pub capital: f64,
}

/// The first trade that is not as expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// Its number, from 1.
    pub trade: usize,
    /// What is wrong in one sentence.
    pub what: String,
    /// The columns that differ.
    pub lines: Vec<Line>,
    /// The whole trade as expected, by column.
    pub expected: Vec<(String, String)>,
    /// The whole trade as replayed.
    pub got: Option<TradeRecord>,
    /// The trade before it, as replayed.
    pub before: Option<TradeRecord>,
    /// Date and bar where the ways part.
    pub date: Option<String>,
    /// Bar of that date.
    pub bar: Option<u32>,
    /// The bars around it.
    pub bars: Vec<BarContext>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parity {
    /// Same?
    pub equal: bool,
    /// What it was compared with.
    pub expected: String,
    /// Relative tolerance of floats.
    pub rtol: f64,
    /// Headline numbers side by side.
    pub lines: Vec<Line>,
    /// Columns of the trades that were compared.
    pub columns: Vec<&'static str>,
    /// Trades that differ, are missing or too many.
    pub trades_differing: usize,
    /// The first of them.
    pub first_divergence: Option<Divergence>,
    /// Notes of the run.
    pub notes: Vec<String>,
}

/// Replays and compares. Floats a, b are equal if |a − b| ≤ rtol · max(|a|, |b|) or ≤ 10⁻¹².
pub fn check(config: &ReplayConfig, expected: &Expected, rtol: f64) -> Result<Parity, ReplayError> {
    let replayed = run(config, &mut Unwatched)?;
    let mut parity = compare(&replayed, expected, rtol)?;
    if let (Some(divergence), Expected::Trades(trades)) = (&mut parity.first_divergence, expected) {
        add_context(config, &replayed, trades, divergence)?;
    }
    Ok(parity)
}

/// Compares a run with what was expected of it.
pub fn compare(run: &Run, expected: &Expected, rtol: f64) -> Result<Parity, ReplayError> {
    let mut parity = Parity {
        equal: true,
        expected: expected.origin(),
        rtol,
        lines: Vec::new(),
        columns: Vec::new(),
        trades_differing: 0,
        first_divergence: None,
        notes: run.notes.clone(),
    };
    match expected {
        Expected::Champion => parity.lines = summary::champion_lines(run),
        Expected::Summary { path, value } => parity.lines = summary::lines(path, value, run, rtol)?,
        Expected::Trades(trades) => {
            parity.columns = trades.columns.iter().map(|&f| FIELDS[f].name).collect();
            parity.lines = summary::trade_lines(run, trades, rtol);
            compare_trades(run, trades, rtol, &mut parity);
        }
    }
    parity.equal = parity.trades_differing == 0 && parity.lines.iter().all(|l| l.equal);
    Ok(parity)
}

fn compare_trades(run: &Run, expected: &ExpectedTrades, rtol: f64, parity: &mut Parity) {
    for i in 0..run.trades.len().max(expected.rows.len()) {
        let (got, want) = (run.trades.get(i), expected.rows.get(i));
        let lines = match (got, want) {
            (Some(got), Some(want)) => trade_differences(got, &expected.columns, want, rtol),
            _ => Vec::new(),
        };
        if got.is_some() && want.is_some() && lines.is_empty() {
            continue;
        }
        parity.trades_differing += 1;
        if parity.first_divergence.is_none() {
            parity.first_divergence = Some(divergence(run, expected, i, lines));
        }
    }
}

fn trade_differences(got: &TradeRecord, columns: &[usize], want: &[Cell], rtol: f64) -> Vec<Line> {
    let pairs = columns.iter().zip(want);
    let differing = pairs.filter_map(|(&f, want)| {
        let field = &FIELDS[f];
        let got = (field.get)(got);
        differs(field.kind, want, &got, rtol).then(|| line(field.name, want, &got, false))
    });
    differing.collect()
}

fn line(name: &str, expected: &Cell, got: &Cell, equal: bool) -> Line {
    let difference = match (fields::number(expected), fields::number(got)) {
        (Some(e), Some(g)) => Some(g - e),
        _ => None,
    };
    Line { name: name.to_owned(), expected: show(expected), got: show(got), difference, equal }
}

fn divergence(run: &Run, expected: &ExpectedTrades, i: usize, lines: Vec<Line>) -> Divergence {
    let (got, want) = (run.trades.get(i), expected.rows.get(i));
    let what = match (got, want) {
        (Some(_), Some(_)) => {
            format!(
                "trade {} differs in {}",
                i + 1,
                lines.iter().map(|l| &*l.name).collect::<Vec<_>>().join(", ")
            )
        }
        (Some(_), None) => format!("trade {} is one too many: {} were expected", i + 1, expected.rows.len()),
        (None, _) => format!("trade {} is missing: the replay made {}", i + 1, run.trades.len()),
    };
    let named = |row: &Vec<Cell>| -> Vec<(String, String)> {
        let cells = expected.columns.iter().zip(row);
        cells.map(|(&f, cell)| (FIELDS[f].name.to_owned(), show(cell))).collect()
    };
    let at = where_ways_part(got, want.map(|w| expected.times(w)), &lines);
    Divergence {
        trade: i + 1,
        what,
        lines,
        expected: want.map(named).unwrap_or_default(),
        got: got.cloned(),
        before: i.checked_sub(1).and_then(|b| run.trades.get(b)).cloned(),
        date: at.map(|(date, _)| date.to_string()),
        bar: at.map(|(_, bar)| bar),
        bars: Vec::new(),
    }
}

/// Entry and exit of an expected trade, as far as known.
type Times = (Option<(Date, u32)>, Option<(Date, u32)>);

/// The earlier of the two sides' entries if those differ (or something known at entry does), else of their exits.
fn where_ways_part(got: Option<&TradeRecord>, want: Option<Times>, lines: &[Line]) -> Option<(Date, u32)> {
    let ours = got.map(|t| ((t.entry_date, t.entry_bar), (t.exit_date, t.exit_bar)));
    let (want_entry, want_exit) = want.unwrap_or((None, None));
    let at_exit =
        !lines.is_empty() && lines.iter().all(|l| FIELDS.iter().any(|f| f.name == l.name && f.known_at_exit));
    let earlier = |a: Option<(Date, u32)>, b: Option<(Date, u32)>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    if at_exit { earlier(ours.map(|o| o.1), want_exit) } else { earlier(ours.map(|o| o.0), want_entry) }
}

/// Replays again up to the divergence and keeps the bars around it.
fn add_context(
    config: &ReplayConfig,
    replayed: &Run,
    expected: &ExpectedTrades,
    divergence: &mut Divergence,
) -> Result<(), ReplayError> {
    let (Some(date), Some(bar)) = (divergence.date.as_ref().and_then(|d| d.parse().ok()), divergence.bar)
    else {
        return Ok(());
    };
    let reference = Some(config.params.reference_symbol.clone());
    let wanted = expected.rows.get(divergence.trade - 1).and_then(|row| expected.symbol(row));
    let mut symbols: Vec<String> = [reference, divergence.got.as_ref().map(|t| t.symbol.clone()), wanted]
        .into_iter()
        .flatten()
        .collect();
    symbols.dedup();
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
                prices: self.columns.iter().map(|(name, i)| (name.clone(), b.prices[*i])).collect(),
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

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "expected: {} (rtol {:e})", self.expected, self.rtol)?;
        if !self.columns.is_empty() {
            writeln!(f, "compared: {}", self.columns.join(", "))?;
        }
        write_lines(f, &self.lines)?;
        if let Some(divergence) = &self.first_divergence {
            writeln!(f, "\n{} of the trades differ. First divergence:\n{divergence}", self.trades_differing)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        f.write_str(if self.equal { "parity: yes" } else { "parity: NO" })
    }
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    writeln!(f, "  {:<24} {:>24} {:>24} {:>12}", "", "expected", "got", "difference")?;
    for l in lines {
        let difference =
            l.difference.map_or_else(String::new, |d| if d == 0.0 { "0".into() } else { format!("{d:.3e}") });
        let mark = if l.equal { ' ' } else { '≠' };
        writeln!(f, "{mark} {:<24} {:>24} {:>24} {:>12}", l.name, l.expected, l.got, difference)?;
    }
    Ok(())
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        if !self.lines.is_empty() {
            write_lines(f, &self.lines)?;
        }
        if !self.expected.is_empty() {
            let pairs: Vec<String> =
                self.expected.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(f, "expected trade: {}", pairs.join(" "))?;
        }
        for (label, trade) in [("replayed trade", &self.got), ("trade before", &self.before)] {
            let Some(t) = trade else { continue };
            let pairs: Vec<String> =
                FIELDS.iter().map(|c| format!("{}={}", c.name, show(&(c.get)(t)))).collect();
            writeln!(f, "{label}: {}", pairs.join(" "))?;
        }
        let (Some(date), Some(bar)) = (&self.date, self.bar) else { return Ok(()) };
        writeln!(f, "the ways part at {date} bar {bar}:")?;
        if self.bars.is_empty() {
            writeln!(f, "  (the data has no such bar)")?;
        }
        self.bars.iter().try_for_each(|b| write!(f, "{b}"))
    }
}

impl fmt::Display for BarContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prices: Vec<String> = self.prices.iter().map(|(s, p)| format!("{s} {p}")).collect();
        writeln!(
            f,
            "  bar {}: vel_div {:.6} v50 {:.6} v750 {:.6} instability_50 {:.6}; {}",
            self.bar,
            self.vel_div,
            self.v50,
            self.v750,
            self.instability_50,
            prices.join(", ")
        )?;
        writeln!(
            f,
            "    → {}: vol_std {:.3e}, direction {}, confirmation {:.3} bps, {} candidates, {} passed, best {} (score {:.3e}, alignment {:.3}), held {:.5}, capital {:.2}",
            self.gate.name(),
            self.vol_std,
            self.direction,
            self.dc_move_bps,
            self.candidates,
            self.passed,
            self.best.as_deref().unwrap_or("–"),
            self.best_score,
            self.best_alignment,
            self.change,
            self.capital
        )
    }
}
