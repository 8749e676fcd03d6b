//! Headline numbers side by side: of two summaries, of a run and the champion, of a run and expected trades.

use std::path::Path;

use serde_json::{Value, json};

use super::Line;
use super::expected::ExpectedTrades;
use super::fields::close;
use crate::ReplayError;
use crate::days::Run;
use crate::output::Summary;
use alpha::{CHAMPION_HASH, Metrics};

/// The champion's headline numbers with half a unit of their last printed digit (SPEC §1).
pub(crate) const CHAMPION: [(&str, f64, f64); 5] = [
    ("roi", 0.5467, 0.000_05),
    ("profit_factor", 1.141, 0.000_5),
    ("sharpe", 2.84, 0.005),
    ("max_drawdown", 0.1580, 0.000_05),
    ("win_rate", 0.495, 0.000_5),
];

/// Keys of a summary that say how a run was made, not what came of it.
const NOT_COMPARED: [&str; 4] = ["elapsed_s", "gates", "notes", "profile"];

/// A headline number of a run by its name in `summary.json`.
pub(crate) fn headline(metrics: &Metrics, name: &str) -> Option<f64> {
    match name {
        "roi" => Some(metrics.roi),
        "profit_factor" => metrics.profit_factor,
        "sharpe" => metrics.sharpe,
        "max_drawdown" => Some(metrics.max_drawdown),
        "win_rate" => metrics.win_rate,
        _ => None,
    }
}

pub(super) fn champion_lines(run: &Run) -> Vec<Line> {
    let mut lines: Vec<Line> = CHAMPION
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
        equal: close(expected, got, rtol),
    }
}

/// What follows from a table of trades: count, sums, and the metrics that need no days.
pub(super) fn trade_lines(run: &Run, expected: &ExpectedTrades, rtol: f64) -> Vec<Line> {
    let mut lines = vec![number_line("trades", expected.len() as f64, run.trades.len() as f64, 0.0)];
    let Some(pnl) = expected.floats("pnl") else { return lines };
    let (ours, theirs): (f64, f64) = (run.trades.iter().map(|t| t.pnl).sum(), pnl.iter().sum());
    // A sum of gains and losses may nearly cancel: what counts is the money that was moved.
    let moved: f64 = pnl.iter().map(|p| p.abs()).sum();
    let mut total = number_line("sum of pnl", theirs, ours, rtol);
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
    for name in ["win_rate", "profit_factor", "max_drawdown"] {
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

/// Every value of an expected summary beside ours. `metrics` may be an object of its own, `days` a count or a list.
pub(super) fn lines(path: &Path, expected: &Value, run: &Run, rtol: f64) -> Result<Vec<Line>, ReplayError> {
    let mut ours = serde_json::to_value(Summary::of(run)).unwrap_or_default();
    ours["metrics"] = serde_json::to_value(run.metrics).unwrap_or_default();
    if expected["days"].is_array() {
        ours["days"] = json!(run.days);
    }
    let mut lines = Vec::new();
    let mut unknown = Vec::new();
    compare("", expected, &ours, rtol, &mut lines, &mut unknown);
    if unknown.is_empty() {
        return Ok(lines);
    }
    let detail = format!("unknown keys in the expected summary: {}", unknown.join(", "));
    Err(ReplayError::Expected { path: path.to_path_buf(), detail })
}

fn compare(at: &str, want: &Value, got: &Value, rtol: f64, lines: &mut Vec<Line>, unknown: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            for (key, want) in want {
                if at.is_empty() && NOT_COMPARED.contains(&key.as_str()) {
                    continue;
                }
                let name = if at.is_empty() || at == "metrics" { key.clone() } else { format!("{at}.{key}") };
                match got.get(key) {
                    Some(got) => compare(&name, want, got, rtol, lines, unknown),
                    None => unknown.push(name),
                }
            }
        }
        (Value::Array(want), Value::Array(got)) => {
            if want.len() != got.len() {
                lines.push(number_line(&format!("{at} (count)"), want.len() as f64, got.len() as f64, 0.0));
            }
            for (i, (want, got)) in want.iter().zip(got).enumerate() {
                let name =
                    got["date"].as_str().map_or_else(|| format!("{at}[{i}]"), |d| format!("{at}[{d}]"));
                compare(&name, want, got, rtol, lines, unknown);
            }
        }
        _ => {
            let numbers = want.as_f64().zip(got.as_f64());
            lines.push(Line {
                name: at.to_owned(),
                expected: shown(want),
                got: shown(got),
                difference: numbers.map(|(w, g)| g - w),
                // An empty text is what Python's NaN was read as, and ours is null.
                equal: numbers
                    .map_or(want == got || (want == "" && got.is_null()), |(w, g)| close(w, g, rtol)),
            });
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}
