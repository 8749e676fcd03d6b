//! Headline numbers side by side: of two summaries, of a run and the champion, of a run and expected trades.

use std::path::Path;

use alpha::{CHAMPION_HASH, Metrics};
use serde_json::{Value, json};

use super::expected::ExpectedTrades;
use super::fields::Tolerance;
use super::types::Line;
use crate::ReplayError;
use crate::champion::{FIGURES, headline};
use crate::days::Run;
use crate::summary::Summary;

/// Room for rounding of results that nearly cancel, as a share of the capital at the start.
const RESULT_FLOOR: f64 = 1e-12;
/// That, in words.
pub(super) const FLOOR: Option<&str> =
    Some("pnl also within 1e-12 of the initial capital, roi and max_drawdown within 1e-12");

/// Keys of a summary that say how a run was made, not what came of it.
const NOT_COMPARED: [&str; 4] = ["elapsed_s", "gates", "notes", "profile"];

pub(super) fn champion_lines(run: &Run) -> Vec<Line> {
    let mut lines: Vec<Line> = FIGURES
        .iter()
        .map(|&(name, expected, tolerance)| {
            let got = headline(&run.metrics, name);
            Line {
                name: name.to_owned(),
                expected: format!("{expected} ± {tolerance}"),
                got: got.map_or("null".to_owned(), |g| g.to_string()),
                difference: got.map(|g| g - expected),
                equal: got.is_some_and(|g| (g - expected).abs() <= tolerance),
            }
        })
        .collect();
    lines.push(Line {
        name: "param_hash".to_owned(),
        expected: CHAMPION_HASH.to_owned(),
        got: run.param_hash.clone(),
        difference: None,
        equal: run.param_hash == CHAMPION_HASH,
    });
    lines.push(number_line("direction", -1.0, f64::from(run.direction), 0.0));
    lines
}

fn number_line(name: &str, expected: f64, got: f64, rtol: f64) -> Line {
    Line {
        name: name.to_owned(),
        expected: expected.to_string(),
        got: got.to_string(),
        difference: Some(got - expected),
        equal: Tolerance::relative(rtol).close(expected, got),
    }
}

/// Names of the lines whose tolerance is not that of a single value.
const SUM: &str = "sum of pnl";
const OF_SUMS: [&str; 3] = ["win_rate", "profit_factor", "max_drawdown"];

/// What tolerance the lines over all trades have, in words.
pub(super) fn sums(lines: &[Line]) -> Vec<String> {
    let has = |name: &str| lines.iter().any(|line| line.name == name);
    let mut words = Vec::new();
    if has(SUM) {
        words.push(format!("{SUM}: relative to the sum of |pnl|"));
    }
    let names: Vec<&str> = OF_SUMS.into_iter().filter(|name| has(name)).collect();
    if !names.is_empty() {
        words.push(format!("{}: ten times as much, being sums of rounded numbers", names.join(", ")));
    }
    words
}

/// What follows from a table of trades: count, sums, and the metrics that need no days.
pub(super) fn trade_lines(run: &Run, expected: &ExpectedTrades, rtol: f64) -> Vec<Line> {
    let mut lines = vec![number_line("trades", expected.len() as f64, run.trades.len() as f64, 0.0)];
    let Some(pnl) = expected.floats("pnl") else { return lines };
    let (ours, theirs): (f64, f64) = (run.trades.iter().map(|t| t.pnl).sum(), pnl.iter().sum());
    // A sum of gains and losses may nearly cancel: what counts is the money that was moved.
    let moved: f64 = pnl.iter().map(|p| p.abs()).sum();
    let mut total = number_line(SUM, theirs, ours, rtol);
    total.equal |= (ours - theirs).abs() <= rtol * moved;
    lines.push(total);
    let capital = expected.floats("capital_after").filter(|c| c.len() == pnl.len());
    let start = run.params.initial_capital;
    let equity = capital.clone().unwrap_or_else(|| {
        pnl.iter()
            .scan(start, |equity, p| {
                *equity += p;
                Some(*equity)
            })
            .collect()
    });
    let theirs = Metrics::new(start, pnl.iter().copied().zip(equity), &[]);
    for name in OF_SUMS {
        if let (Some(e), Some(g)) = (headline(&theirs, name), headline(&run.metrics, name)) {
            // Sums of many rounded numbers: an order looser than each of them.
            lines.push(number_line(name, e, g, rtol * 10.0));
        }
    }
    if let (Some(last), Some(ours)) = (capital.and_then(|c| c.last().copied()), run.trades.last()) {
        lines.push(number_line("capital after the last", last, ours.capital_after, rtol));
    }
    lines
}

/// Every value of an expected summary beside ours, and the keys that are not compared. `metrics` may be an object of its
/// own, `days` a count or a list.
pub(super) fn lines(
    path: &Path,
    expected: &Value,
    run: &Run,
    rtol: f64,
) -> Result<(Vec<Line>, Vec<String>), ReplayError> {
    let mut ours = serde_json::to_value(Summary::of(run)).unwrap_or_default();
    ours["metrics"] = serde_json::to_value(run.metrics).unwrap_or_default();
    if expected["days"].is_array() {
        ours["days"] = json!(run.days);
    }
    let capital = run.params.initial_capital;
    let mut comparison = Comparison { rtol, capital, ..Comparison::default() };
    comparison.compare("", expected, &ours);
    let Comparison { lines, unknown, not_compared, .. } = comparison;
    let refused = |detail| ReplayError::Expected { path: path.to_path_buf(), detail };
    if !unknown.is_empty() {
        return Err(refused(format!("unknown keys in the expected summary: {}", unknown.join(", "))));
    }
    if lines.is_empty() {
        return Err(refused("no value in the expected summary that could be compared".to_owned()));
    }
    Ok((lines, not_compared))
}

/// Two summaries side by side.
#[derive(Debug, Default)]
struct Comparison {
    rtol: f64,
    capital: f64,
    lines: Vec<Line>,
    unknown: Vec<String>,
    not_compared: Vec<String>,
}

impl Comparison {
    fn compare(&mut self, at: &str, want: &Value, got: &Value) {
        match (want, got) {
            (Value::Object(want), Value::Object(got)) => {
                for (key, want) in want {
                    if at.is_empty() && NOT_COMPARED.contains(&key.as_str()) {
                        self.not_compared.push(key.clone());
                        continue;
                    }
                    let name =
                        if at.is_empty() || at == "metrics" { key.clone() } else { format!("{at}.{key}") };
                    match got.get(key) {
                        Some(got) => self.compare(&name, want, got),
                        None => self.unknown.push(name),
                    }
                }
            }
            (Value::Array(want), Value::Array(got)) => {
                if want.len() != got.len() {
                    let (want, got) = (want.len() as f64, got.len() as f64);
                    self.lines.push(number_line(&format!("{at} (count)"), want, got, 0.0));
                }
                for (i, (want, got)) in want.iter().zip(got).enumerate() {
                    let date = got["date"].as_str();
                    let name = date.map_or_else(|| format!("{at}[{i}]"), |d| format!("{at}[{d}]"));
                    self.compare(&name, want, got);
                }
            }
            _ => self.line(at, want, got),
        }
    }

    fn line(&mut self, name: &str, want: &Value, got: &Value) {
        let floor = match name.rsplit('.').next() {
            Some("pnl") => RESULT_FLOOR * self.capital,
            Some("roi" | "max_drawdown") => RESULT_FLOOR,
            _ => 0.0,
        };
        let tolerance = Tolerance { relative: self.rtol, floor: if self.rtol > 0.0 { floor } else { 0.0 } };
        let numbers = want.as_f64().zip(got.as_f64());
        // An empty text is what Python's NaN was read as; undefined values of ours are null.
        let equal =
            numbers.map_or(want == got || (want == "" && got.is_null()), |(w, g)| tolerance.close(w, g));
        self.lines.push(Line {
            name: name.to_owned(),
            expected: if want == "" { "NaN".to_owned() } else { shown(want) },
            got: shown(got),
            difference: numbers.map(|(w, g)| g - w),
            equal,
        });
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}
