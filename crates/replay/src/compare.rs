//! Runs side by side (`dolphin report A B …`): what a replay or a session left in its directory, the same figures of each from
//! its trades, and their equity in one picture. The page is one file without a script.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use market::text::{counted, fixed, signed};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ReplayError;

const STYLE: &str = include_str!("report/page.css");

/// Width and height of the picture, and its margins: left for the numbers, the rest for the line.
const PICTURE: (f64, f64) = (1_100.0, 320.0);
const MARGIN: (f64, f64) = (70.0, 14.0);
/// Colours of the lines, readable on light and dark; more runs begin again.
const COLOURS: [&str; 6] = ["#1f6feb", "#c2402a", "#12805c", "#a15bd0", "#b7791f", "#0e8a9a"];

/// A line of `trades.jsonl`, as much of it as is compared.
#[derive(Debug, Clone, Deserialize)]
struct Trade {
    symbol: String,
    entry_date: String,
    entry_bar: u32,
    exit_date: String,
    exit_bar: u32,
    fees: f64,
    pnl: f64,
    capital_after: f64,
    maker_entry: Option<bool>,
    maker_exit: Option<bool>,
}

/// The figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Directory.
    pub dir: PathBuf,
    /// Profile of its parameters; empty: not told.
    pub profile: String,
    /// Hash of its parameters.
    pub param_hash: String,
    /// Closed trades.
    pub trades: usize,
    /// Of them, entries that the first run has too: the same symbol at the same bar.
    pub in_common: usize,
    /// First and last date of a closed trade.
    pub span: Option<(String, String)>,
    /// Return on the capital before the first trade.
    pub roi: f64,
    /// Σ pnl.
    pub pnl: f64,
    /// Σ fees.
    pub fees: f64,
    /// Σ wins ÷ |Σ losses|.
    pub profit_factor: Option<f64>,
    /// Annualised Sharpe ratio, where the run told one.
    pub sharpe: Option<f64>,
    /// Largest drawdown after a trade, as a fraction.
    pub max_drawdown: f64,
    /// Share of winning trades.
    pub win_rate: Option<f64>,
    /// Share of fills that rested.
    pub maker_share: Option<f64>,
    /// Capital after the last trade.
    pub final_capital: f64,
}

/// Runs, in the order given.
#[derive(Debug)]
pub struct Compared {
    figures: Vec<Figures>,
    trades: Vec<Vec<Trade>>,
    initial: Vec<f64>,
}

impl Compared {
    /// Reads the directories.
    pub fn read(dirs: &[PathBuf]) -> Result<Self, ReplayError> {
        let mut compared = Self { figures: Vec::new(), trades: Vec::new(), initial: Vec::new() };
        for dir in dirs {
            let trades = trades(dir)?;
            let summary = summary(dir)?;
            let told = summary["initial_capital"].as_f64();
            let initial = trades.first().map(|t| t.capital_after - t.pnl).or(told).unwrap_or(0.0);
            let first = compared.trades.first().unwrap_or(&trades);
            compared.figures.push(figures(dir, &summary, &trades, initial, first));
            compared.trades.push(trades);
            compared.initial.push(initial);
        }
        Ok(compared)
    }

    /// The figures.
    pub fn figures(&self) -> &[Figures] {
        &self.figures
    }

    /// As text: a line a figure, a column a run.
    pub fn table(&self) -> String {
        let names = self.names();
        let rows = self.rows();
        let width = |n: usize| {
            rows.iter().map(|(_, cells)| cells[n].chars().count()).chain([names[n].chars().count()]).max()
        };
        let widths: Vec<usize> = (0..names.len()).map(|n| width(n).unwrap_or(0)).collect();
        let mut out = String::new();
        let mut line = |head: &str, cells: &[String]| {
            let _ = write!(out, "{head:<18}");
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(out, "  {cell:>width$}");
            }
            out.push('\n');
        };
        line("", &names);
        rows.iter().for_each(|(head, cells)| line(head, cells));
        out
    }

    /// As a page.
    pub fn html(&self) -> String {
        let names = self.names();
        let head: String = names
            .iter()
            .enumerate()
            .map(|(n, name)| format!("<th><i style=\"color:{}\">━</i> {}</th>", colour(n), escaped(name)))
            .collect();
        let rows: String = self.rows().iter().map(|(head, cells)| row(head, cells)).collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
             <title>DOLPHIN · runs side by side</title><link rel=\"icon\" href=\"data:,\"><style>\n{STYLE}</style></head>\n\
             <body><header><div class=\"wrap\"><p class=\"kicker\">DOLPHIN · runs side by side</p><h1>{}</h1></div></header>\n\
             <main class=\"wrap\"><section class=\"card\"><h2>Equity</h2><p class=\"muted small\">Return after each trade, on a \
             common axis of the bars at which trades were closed.</p><div class=\"scroll\" tabindex=\"0\">{}</div></section>\n<section class=\"card\"><h2>Figures</h2>\
             <div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th class=\"text\">{}</th>{head}</tr></thead>\
             <tbody>{rows}</tbody></table></div></section></main></body></html>\n",
            escaped(&names.join(" · ")),
            self.picture(),
            counted(names.len(), "run"),
        )
    }

    /// The last part of each path; the whole one where two have the same.
    fn names(&self) -> Vec<String> {
        let last = |dir: &Path| {
            dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into())
        };
        let short: Vec<String> = self.figures.iter().map(|f| last(&f.dir)).collect();
        let unique = short.iter().collect::<BTreeSet<_>>().len() == short.len();
        if unique { short } else { self.figures.iter().map(|f| f.dir.display().to_string()).collect() }
    }

    fn rows(&self) -> Vec<(&'static str, Vec<String>)> {
        let each = |f: &dyn Fn(&Figures) -> String| self.figures.iter().map(f).collect::<Vec<String>>();
        let percent = |x: f64| format!("{} %", signed(x * 100.0, 2));
        let share = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{} %", fixed(x * 100.0, 1)));
        let known = |x: Option<f64>, digits| x.map_or("–".to_owned(), |x| fixed(x, digits));
        vec![
            ("profile", each(&|f| f.profile.clone())),
            ("hash", each(&|f| f.param_hash.chars().take(12).collect())),
            ("from", each(&|f| f.span.as_ref().map_or("–".to_owned(), |s| s.0.clone()))),
            ("to", each(&|f| f.span.as_ref().map_or("–".to_owned(), |s| s.1.clone()))),
            ("trades", each(&|f| f.trades.to_string())),
            ("entries in common", each(&|f| f.in_common.to_string())),
            ("return", each(&|f| percent(f.roi))),
            ("pnl", each(&|f| signed(f.pnl, 2))),
            ("fees", each(&|f| fixed(f.fees, 2))),
            ("profit factor", each(&|f| known(f.profit_factor, 3))),
            ("Sharpe", each(&|f| known(f.sharpe, 2))),
            ("max drawdown", each(&|f| format!("{} %", fixed(f.max_drawdown * 100.0, 2)))),
            ("win rate", each(&|f| share(f.win_rate))),
            ("maker fills", each(&|f| share(f.maker_share))),
            ("capital", each(&|f| fixed(f.final_capital, 2))),
        ]
    }

    /// The equity of all, as SVG.
    fn picture(&self) -> String {
        let times: BTreeSet<(&str, u32)> =
            self.trades.iter().flatten().map(|t| (t.exit_date.as_str(), t.exit_bar)).collect();
        if times.is_empty() {
            return "<p class=\"empty\">No trade was closed in any of them.</p>".to_owned();
        }
        let place: BTreeMap<_, usize> = times.iter().enumerate().map(|(i, time)| (*time, i + 1)).collect();
        let lines: Vec<Vec<(usize, f64)>> = self
            .trades
            .iter()
            .zip(&self.initial)
            .map(|(trades, initial)| {
                let point =
                    |t: &Trade| (place[&(t.exit_date.as_str(), t.exit_bar)], t.capital_after / initial - 1.0);
                std::iter::once((0, 0.0)).chain(trades.iter().map(point)).collect()
            })
            .collect();
        let values = || lines.iter().flatten().map(|p| p.1).filter(|v| v.is_finite());
        let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
        let span = if high > low { high - low } else { 0.01 };
        let ((w, h), (left, edge)) = (PICTURE, MARGIN);
        let x = |i: usize| left + (w - left - edge) * i as f64 / times.len() as f64;
        let y = |v: f64| edge + (h - 2.0 * edge) * (high - v) / span;
        let mut out = format!(
            "<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"Equity of each run\" style=\"width:100%;min-width:640px\">"
        );
        let ticks = [low, 0.0, low + span];
        let apart = |n: &usize| *n == 1 || (ticks[*n] / span).abs() > 0.08;
        for tick in (0..ticks.len()).filter(apart).map(|n| ticks[n]) {
            let at = y(tick);
            let _ = write!(
                out,
                "<line class=\"grid-line\" x1=\"{left}\" x2=\"{w}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\" fill=\"currentColor\" font-size=\"12\">{} %</text>",
                left - 8.0,
                at + 4.0,
                signed(tick * 100.0, 2)
            );
        }
        for (n, line) in lines.iter().enumerate() {
            let steps = line.iter().enumerate().map(|(i, (at, v))| {
                let (px, py) = (x(*at), y(*v));
                if i == 0 { format!("M{px:.1} {py:.1}") } else { format!("H{px:.1}V{py:.1}") }
            });
            let end = x(times.len());
            let _ = write!(
                out,
                "<path fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" d=\"{}H{end:.1}\"/>",
                colour(n),
                steps.collect::<String>()
            );
        }
        out + "</svg>"
    }
}

fn colour(n: usize) -> &'static str {
    COLOURS[n % COLOURS.len()]
}

fn row(head: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
    format!("<tr><td class=\"text\">{head}</td>{cells}</tr>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unread(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> ReplayError + use<> {
    let path = path.to_path_buf();
    move |detail| ReplayError::Expected {
        path: path.clone(),
        detail: format!("{detail}; a directory is wanted that replay, demo or live left by --out"),
    }
}

fn trades(dir: &Path) -> Result<Vec<Trade>, ReplayError> {
    let path = dir.join("trades.jsonl");
    let bad = unread(&path);
    let text = std::fs::read_to_string(&path).map_err(|e| bad(&e))?;
    let rows = text.lines().filter(|line| !line.trim().is_empty());
    rows.map(|line| serde_json::from_str(line).map_err(|e| bad(&e))).collect()
}

/// What the run says of itself; nothing is wanted of it.
fn summary(dir: &Path) -> Result<Value, ReplayError> {
    let path = dir.join("summary.json");
    let bad = unread(&path);
    let text = std::fs::read_to_string(&path).map_err(|e| bad(&e))?;
    serde_json::from_str(&text).map_err(|e| bad(&e))
}

fn figures(dir: &Path, summary: &Value, trades: &[Trade], initial: f64, first: &[Trade]) -> Figures {
    let sum = |f: &dyn Fn(&Trade) -> f64| trades.iter().map(f).fold(0.0, |a, b| a + b);
    let (won, lost) = (sum(&|t| t.pnl.max(0.0)), sum(&|t| t.pnl.min(0.0)));
    let final_capital = trades.last().map_or(initial, |t| t.capital_after);
    let entry = |t: &Trade| (t.symbol.clone(), t.entry_date.clone(), t.entry_bar);
    let known: BTreeSet<_> = first.iter().map(entry).collect();
    let fills = || trades.iter().flat_map(|t| [t.maker_entry, t.maker_exit]).flatten();
    let part = |n: usize, of: usize| (of > 0).then(|| n as f64 / of as f64);
    let mut peak = initial;
    let drawdown = |worst: f64, t: &Trade| {
        peak = peak.max(t.capital_after);
        worst.max((peak - t.capital_after) / peak)
    };
    let text = |key: &str| summary[key].as_str().unwrap_or_default().to_owned();
    Figures {
        dir: dir.to_path_buf(),
        profile: text("profile"),
        param_hash: text("param_hash"),
        trades: trades.len(),
        in_common: trades.iter().filter(|t| known.contains(&entry(t))).count(),
        span: trades.first().zip(trades.last()).map(|(a, b)| (a.exit_date.clone(), b.exit_date.clone())),
        roi: if initial > 0.0 { final_capital / initial - 1.0 } else { 0.0 },
        pnl: sum(&|t| t.pnl),
        fees: sum(&|t| t.fees),
        profit_factor: (lost < 0.0).then(|| won / -lost),
        sharpe: summary["sharpe"].as_f64(),
        max_drawdown: trades.iter().fold(0.0, drawdown),
        win_rate: part(trades.iter().filter(|t| t.pnl > 0.0).count(), trades.len()),
        maker_share: part(fills().filter(|maker| *maker).count(), fills().count()),
        final_capital,
    }
}
