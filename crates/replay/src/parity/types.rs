//! The answer of a comparison, and how it reads.

use std::fmt;

use alpha::{Gate, TradeRecord};
use serde::Serialize;

use super::fields::{FIELDS, show};

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
    #[serde(skip_serializing_if = "is_nan")]
    pub vel_div: f64,
    /// v50.
    #[serde(skip_serializing_if = "is_nan")]
    pub v50: f64,
    /// v750.
    #[serde(skip_serializing_if = "is_nan")]
    pub v750: f64,
    /// Instability of the 50-bar window.
    #[serde(skip_serializing_if = "is_nan")]
    pub instability_50: f64,
    /// Prices of the symbols concerned that have one.
    pub prices: Vec<(String, f64)>,
    /// The gate that stopped the step, or what it did.
    pub gate: Gate,
    /// Volatility of the reference symbol.
    #[serde(skip_serializing_if = "is_nan")]
    pub vol_std: f64,
    /// Direction that fired, else 0.
    pub direction: i8,
    /// Move of the reference symbol in that direction, bps.
    #[serde(skip_serializing_if = "is_nan")]
    pub dc_move_bps: f64,
    /// Assets that could be chosen.
    pub candidates: u16,
    /// Assets that passed the selection.
    pub passed: u16,
    /// The winner, or the nearest to it.
    pub best: Option<String>,
    /// Its score.
    #[serde(skip_serializing_if = "is_nan")]
    pub best_score: f64,
    /// Its alignment.
    #[serde(skip_serializing_if = "is_nan")]
    pub best_alignment: f64,
    /// Return of the held position in its direction.
    #[serde(skip_serializing_if = "is_nan")]
    pub change: f64,
    /// Capital after the bar.
    pub capital: f64,
}

/// The first trade that is not as expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// Its number, from 1: among the expected trades, of one too many among the replayed.
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
    /// Which columns have another tolerance, and what.
    pub tolerances: Vec<String>,
    /// Headline numbers side by side.
    pub lines: Vec<Line>,
    /// Columns of the trades that were compared.
    pub columns: Vec<&'static str>,
    /// What the expectation has and nothing was compared with.
    pub not_compared: Vec<String>,
    /// Set where the two have no date in common: which dates they have.
    pub no_common_dates: Option<String>,
    /// Trades that differ, are missing or too many.
    pub trades_differing: usize,
    /// Numbers, from 1, of the expected trades that the replay did not make.
    pub missing: Vec<usize>,
    /// Numbers, from 1, of the replayed trades that were not expected.
    pub extra: Vec<usize>,
    /// Trades that differ only in what the trades before them left behind: capital, and the place among the fee draws.
    pub following: usize,
    /// The first of them.
    pub first_divergence: Option<Divergence>,
    /// Notes of the run.
    pub notes: Vec<String>,
}

impl Parity {
    /// Why it is not the same, in one sentence.
    pub fn why(&self) -> String {
        if let Some(dates) = &self.no_common_dates {
            return dates.clone();
        }
        let Some(first) = &self.first_divergence else {
            let names: Vec<&str> = self.lines.iter().filter(|l| !l.equal).map(|l| l.name.as_str()).collect();
            return format!("{} differ", names.join(", "));
        };
        let differ = self.trades_differing - self.missing.len() - self.extra.len();
        let mut parts = vec![first.what.clone()];
        for (numbers, what) in [(&self.missing, "missing"), (&self.extra, "too many")] {
            if numbers.len() > 1 {
                parts.push(format!("{} are {what} ({})", numbers.len(), some_of(numbers)));
            }
        }
        if differ > 1 {
            parts.push(format!("{differ} differ"));
        }
        if self.following > 0 {
            parts.push(format!("{} later ones differ only in what follows from that", self.following));
        }
        parts.join("; ")
    }
}

/// The first few of many numbers.
fn some_of(numbers: &[usize]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = numbers.iter().take(SHOWN).map(usize::to_string).collect();
    let more = if numbers.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn is_nan(x: &f64) -> bool {
    x.is_nan()
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "expected: {} (floats within {:e} of the larger)", self.expected, self.rtol)?;
        if !self.columns.is_empty() {
            writeln!(f, "compared: {}", self.columns.join(", "))?;
        }
        if !self.not_compared.is_empty() {
            writeln!(f, "not compared: {}", self.not_compared.join(", "))?;
        }
        for tolerance in &self.tolerances {
            writeln!(f, "tolerance: {tolerance}")?;
        }
        write_lines(f, &self.lines)?;
        if !self.equal {
            writeln!(f, "\n{}", self.why())?;
        }
        if let Some(divergence) = &self.first_divergence {
            writeln!(f, "first divergence: {divergence}")?;
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
        writeln!(f, "the first difference is at {date} bar {bar}:")?;
        if self.bars.is_empty() {
            writeln!(f, "  (the data has no such bar)")?;
        }
        self.bars.iter().try_for_each(|b| write!(f, "{b}"))
    }
}

impl fmt::Display for BarContext {
    /// What is not known is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |name: &str, x: f64, text: String| (!x.is_nan()).then(|| format!("{name} {text}"));
        let inputs = [
            ("vel_div", self.vel_div),
            ("v50", self.v50),
            ("v750", self.v750),
            ("instability_50", self.instability_50),
        ];
        let inputs = inputs.into_iter().filter_map(|(name, x)| known(name, x, format!("{x:.6}")));
        let prices = self.prices.iter().filter_map(|(symbol, p)| known(symbol, *p, p.to_string()));
        writeln!(f, "  bar {}: {}", self.bar, inputs.chain(prices).collect::<Vec<_>>().join(", "))?;
        let best = self.best.as_ref().map(|best| format!("best {best}"));
        let judged = [
            known("vol_std", self.vol_std, format!("{:.3e}", self.vol_std)),
            (self.direction != 0).then(|| format!("direction {}", self.direction)),
            known("confirmation", self.dc_move_bps, format!("{:.3} bps", self.dc_move_bps)),
            (self.candidates > 0).then(|| format!("{} candidates, {} passed", self.candidates, self.passed)),
            best,
            known("score", self.best_score, format!("{:.3e}", self.best_score)),
            known("alignment", self.best_alignment, format!("{:.3}", self.best_alignment)),
            known("held", self.change, format!("{:.5}", self.change)),
            Some(format!("capital {:.2}", self.capital)),
        ];
        let judged: Vec<String> = judged.into_iter().flatten().collect();
        writeln!(f, "    → {}: {}", self.gate.name(), judged.join(", "))
    }
}
