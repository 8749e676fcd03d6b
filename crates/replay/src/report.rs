//! `report.html`: one self-contained page (no network, no script but its own) to send to a colleague: where the numbers
//! come from, the headline beside the champion's, equity and drawdown, where the money was made and lost, what the
//! gates stopped, every trade.
//!
//! Everything is summed up here; the page only draws. It gets one JSON object whose `<` are escaped, so that no name
//! in the data can end the script element it stands in.

mod tear;

use std::collections::BTreeMap;

use alpha::{CHAMPION_HASH, Gate, Params, TradeRecord};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::champion;
use crate::days::Run;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");
const TEAR: &str = include_str!("report/tear.js");
const MARKED: &str = include_str!("report/marked.js");

/// Trades listed one by one; the sums are over all.
const MAX_LISTED: usize = 5_000;
/// Points of the equity line: more than a wide screen has pixels.
const MAX_POINTS: usize = 2_000;
/// Points of an asset's price.
const MAX_PRICES: usize = 400;

/// Where the numbers come from, in the user's words.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Provenance {
    /// Config file.
    pub config: String,
    /// Data directory.
    pub data: String,
    /// Version of the program.
    pub version: String,
    /// When it was made, ISO 8601; empty: not told.
    pub made_at: String,
    /// What a live session adds; nothing: a replay.
    #[serde(skip)]
    pub live: Value,
}

/// The page.
pub fn html(run: &Run, origin: &Provenance) -> String {
    let data = data(run, origin).to_string().replace('<', "\\u003c");
    PAGE.replacen("/*STYLE*/", STYLE, 1)
        .replacen("/*SCRIPT*/", SCRIPT, 1)
        .replacen("/*TEAR*/", TEAR, 1)
        .replacen("/*MARKED*/", MARKED, 1)
        .replacen("/*DATA*/", &data, 1)
}

/// One digest over all data files: SHA-256 of the lines `<sha256>  <file name>`, as `sha256sum` prints them.
pub fn data_digest(run: &Run) -> String {
    let lines = run.files.iter().map(|f| format!("{}  {}\n", f.sha256, file_name(&f.path)));
    hex::encode(Sha256::digest(lines.collect::<String>()))
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn data(run: &Run, origin: &Provenance) -> Value {
    let excursions = run.track.as_ref().and_then(|track| track.excursions(&run.trades));
    let places = Places::of(run);
    let listed = run.trades.iter().take(MAX_LISTED).enumerate().map(|(i, trade)| {
        let mut row = json!(trade);
        row["n"] = json!(i + 1);
        let excursion = excursions.map(|all| all[i]);
        row["mae_bps"] = json!(excursion.map(|e| e.mae_bps));
        row["mfe_bps"] = json!(excursion.map(|e| e.mfe_bps));
        row["from_x"] = json!(places.at(trade.entry_date, trade.entry_bar));
        row["to_x"] = json!(places.at(trade.exit_date, trade.exit_bar));
        row
    });
    let files = run.files.iter();
    json!({
        "config": origin.config, "data": origin.data, "version": origin.version, "made_at": origin.made_at,
        "profile": run.params.profile, "hash": run.param_hash, "champion": run.param_hash == CHAMPION_HASH,
        "direction": run.direction, "bars": run.bars, "assets": run.assets.len(),
        "elapsed": run.elapsed.as_secs_f64(), "initial": run.params.initial_capital, "final": run.final_capital,
        "open": run.open_position, "trade_count": run.trades.len(), "notes": tear::folded(&run.notes),
        "tear": sheet(run), "live": origin.live, "marked": marked(run),
        "headline": headline(run),
        "days": run.days, "equity": equity(run),
        "hours": hours(run),
        "by_asset": by_asset(&run.trades), "by_bucket": by_bucket(&run.trades), "by_reason": by_reason(&run.trades),
        "funnel": funnel(run), "held": held(run),
        "trades": listed.collect::<Vec<_>>(),
        "params": parameters(&run.params),
        "digest": data_digest(run),
        "files": files.map(|f| json!({"name": file_name(&f.path), "bytes": f.bytes, "sha256": f.sha256}))
            .collect::<Vec<_>>(),
    })
}

/// Where a bar lies on the time axis, in days from the first.
struct Places<'a>(BTreeMap<market::Date, (usize, u32)>, &'a [alpha::DayResult]);

impl<'a> Places<'a> {
    fn of(run: &'a Run) -> Self {
        let days = run.days.iter().enumerate().map(|(i, d)| (d.date, (i, d.bars)));
        Self(days.collect(), &run.days)
    }

    fn at(&self, date: market::Date, bar: u32) -> f64 {
        let (day, bars) = self.0.get(&date).copied().unwrap_or((0, 1));
        place(day, bars, bar)
    }

    fn of_day(&self, day: usize, bar: u32) -> f64 {
        place(day, self.1.get(day).map_or(1, |d| d.bars), bar)
    }
}

fn place(day: usize, bars: u32, bar: u32) -> f64 {
    day as f64 + f64::from(bar + 1) / f64::from(bars.max(bar + 1))
}

/// The equity with the open position at its market price, the reference asset's price beside it, and the prices of every
/// asset that was traded; nothing where the bars are not known.
fn marked(run: &Run) -> Value {
    let Some(track) = run.track.as_ref().filter(|track| !track.stretches().is_empty()) else {
        return Value::Null;
    };
    let places = Places::of(run);
    let x: Vec<f64> = track.stretches().iter().map(|s| places.of_day(s.day, s.bar)).collect();
    let points = track.stretches().iter().zip(&x);
    let points = points.map(|(s, x)| json!({"x": x, "c": s.last, "lo": s.low, "hi": s.high}));
    let reference = run.assets.iter().position(|a| *a == run.params.reference_symbol);
    let benchmark = reference.map(|i| track.prices(i).collect::<Vec<_>>());
    let traded: std::collections::BTreeSet<&str> =
        run.trades.iter().take(MAX_LISTED).map(|t| t.symbol.as_str()).collect();
    let of = |name: &&str| run.assets.iter().position(|a| a == name);
    let step = x.len().div_ceil(MAX_PRICES).max(1);
    // Seven digits are more than a screen shows.
    let short =
        |price: f64| price.is_finite().then(|| format!("{price:.6e}").parse::<f64>().unwrap_or(price));
    let prices = traded.iter().filter_map(|name| {
        let row: Vec<_> = track.prices(of(name)?).step_by(step).map(short).collect();
        Some(((*name).to_owned(), json!(row)))
    });
    json!({
        "points": points.collect::<Vec<_>>(),
        "benchmark": benchmark, "reference": run.params.reference_symbol,
        "x": x.iter().step_by(step).collect::<Vec<_>>(),
        "prices": prices.collect::<serde_json::Map<_, _>>(),
    })
}

fn sheet(run: &Run) -> Value {
    let day =
        |d: &alpha::DayResult| tear::Day { date: d.date.to_string(), capital: d.capital, trades: d.trades };
    let days: Vec<tear::Day> = run.days.iter().map(day).collect();
    let mut sheet = tear::sheet(run.params.initial_capital, &days, &run.trades, held(run), run.bars);
    if let (Some(track), Some(ratios)) = (&run.track, sheet["ratios"].as_array_mut()) {
        ratios.push(tear::ratio(
            "Deepest at market prices",
            Some(track.deepest()),
            "pct",
            "open losses counted, each bar",
        ));
        ratios.push(tear::ratio(
            "Exposure",
            track.exposure(),
            "pct",
            "position over capital, mean of all bars",
        ));
    }
    sheet
}

fn headline(run: &Run) -> Value {
    let m = &run.metrics;
    let tile = |key: &str, label: &str, value: Option<f64>, kind: &str, digits: u8| {
        json!({"key": key, "label": label, "value": value, "kind": kind, "digits": digits,
               "champion": champion::figure(key)})
    };
    json!([
        tile("roi", "Return", Some(m.roi), "pct", 2),
        tile("profit_factor", "Profit factor", m.profit_factor, "num", 3),
        tile("sharpe", "Sharpe", m.sharpe, "num", 2),
        tile("max_drawdown", "Max drawdown", Some(m.max_drawdown), "pct", 2),
        tile("win_rate", "Win rate", m.win_rate, "pct", 2),
        json!({"key": "trades", "label": "Trades", "value": m.trades, "kind": "int", "digits": 0, "champion": null,
               "note": maker_share(&run.trades)}),
    ])
}

/// How many of the sampled fills were made, in words.
fn maker_share(trades: &[TradeRecord]) -> String {
    let fills = || trades.iter().flat_map(|t| [t.maker_entry, t.maker_exit]).flatten();
    match fills().count() {
        0 => String::new(),
        n => format!(
            "{:.0} % of fills maker",
            100.0 * fills().filter(|&maker| maker).count() as f64 / n as f64
        ),
    }
}

/// The equity after each trade: `x` in days from the first, `c` capital, `d` drawdown, `t` what a tooltip says.
/// Of very many trades the lowest and the highest of each stretch are kept.
fn equity(run: &Run) -> Vec<Value> {
    let places = Places::of(run);
    let start = run.params.initial_capital;
    // A session of one day is drawn from its first entry to its last exit: its bars count from midnight.
    let only = (run.days.len() == 1 && run.track.is_none())
        .then(|| run.trades.first().zip(run.trades.last()))
        .flatten();
    let stretch = only.map(|(first, last)| {
        let from = if first.entry_date == last.exit_date { first.entry_bar.min(first.exit_bar) } else { 0 };
        (f64::from(from), f64::from(last.exit_bar.saturating_sub(from).max(1)))
    });
    let mut points = vec![(0.0, start, 0.0, "start".to_owned())];
    let mut peak = start;
    for trade in &run.trades {
        let x = match stretch {
            Some((from, width)) => ((f64::from(trade.exit_bar) - from) / width).clamp(0.0, 1.0),
            None => places.at(trade.exit_date, trade.exit_bar),
        };
        peak = peak.max(trade.capital_after);
        let drawdown = (peak - trade.capital_after) / peak;
        let label =
            format!("{} bar {} · {} {}", trade.exit_date, trade.exit_bar, trade.symbol, trade.reason.name());
        points.push((x, trade.capital_after, drawdown, label));
    }
    let chunk = points.len().div_ceil(MAX_POINTS / 2).max(1);
    let kept: Vec<&(f64, f64, f64, String)> = if chunk == 1 {
        points.iter().collect()
    } else {
        let by_capital = |a: &&(f64, f64, f64, String), b: &&(f64, f64, f64, String)| a.1.total_cmp(&b.1);
        let extremes = points.chunks(chunk).flat_map(|chunk| {
            let mut ends: Vec<_> =
                chunk.iter().min_by(by_capital).into_iter().chain(chunk.iter().max_by(by_capital)).collect();
            ends.sort_by(|a, b| a.0.total_cmp(&b.0));
            ends
        });
        extremes.collect()
    };
    kept.into_iter().map(|(x, c, d, t)| json!({"x": x, "c": c, "d": d, "t": t})).collect()
}

/// Trades that have something in common.
#[derive(Debug, Clone, Default, Serialize)]
struct Group {
    label: String,
    trades: u64,
    wins: u64,
    pnl: f64,
}

impl Group {
    fn add(&mut self, trade: &TradeRecord) {
        self.trades += 1;
        self.wins += u64::from(trade.pnl > 0.0);
        self.pnl += trade.pnl;
    }
}

fn grouped<K: Ord>(
    trades: &[TradeRecord],
    key: impl Fn(&TradeRecord) -> K,
    label: impl Fn(&K) -> String,
) -> Vec<Group> {
    let mut groups: BTreeMap<K, Group> = BTreeMap::new();
    for trade in trades {
        groups.entry(key(trade)).or_default().add(trade);
    }
    groups.into_iter().map(|(key, group)| Group { label: label(&key), ..group }).collect()
}

fn by_asset(trades: &[TradeRecord]) -> Vec<Group> {
    let mut groups = grouped(trades, |t| t.symbol.clone(), String::clone);
    groups.sort_by(|a, b| b.pnl.abs().total_cmp(&a.pnl.abs()));
    groups
}

fn by_bucket(trades: &[TradeRecord]) -> Vec<Group> {
    const NAMES: [&str; 4] = ["0 extreme", "1 strong", "2 moderate", "3 weak"];
    grouped(
        trades,
        |t| t.bucket,
        |&b| NAMES.get(usize::from(b)).map_or_else(|| b.to_string(), |n| (*n).to_owned()),
    )
}

fn by_reason(trades: &[TradeRecord]) -> Vec<Group> {
    grouped(trades, |t| t.reason.name(), |name| name.replace('_', " "))
}

/// The 24 hours of the day; none where no trade has an event time.
fn hours(run: &Run) -> Vec<Group> {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let mut hours: Vec<Group> =
        (0..24).map(|h| Group { label: format!("{h:02}:00 to {h:02}:59"), ..Group::default() }).collect();
    let mut any = false;
    for (trade, time) in run.trades.iter().zip(&run.entry_times) {
        if let Some(time) = time {
            hours[(time.0 / HOUR_NS % 24) as usize].add(trade);
            any = true;
        }
    }
    if any { hours } else { Vec::new() }
}

fn steps(run: &Run, gate: Gate) -> u64 {
    run.gates.iter().find(|g| g.gate == gate).map_or(0, |g| g.steps)
}

/// Bars that went by with a position.
fn held(run: &Run) -> u64 {
    [Gate::Holding, Gate::Exited].iter().map(|&g| steps(run, g)).sum()
}

/// The gates of an entry in the order of SPEC §3.4, with the bars that came to each and those it let through.
fn funnel(run: &Run) -> Vec<Value> {
    const ORDER: [(Gate, &str); 8] = [
        (Gate::Volatility, "volatility"),
        (Gate::Forewarner, "forewarner"),
        (Gate::Breaker, "circuit breaker"),
        (Gate::Signal, "signal"),
        (Gate::Direction, "direction"),
        (Gate::Asset, "asset selection"),
        (Gate::Capital, "capital"),
        (Gate::Entered, "entered"),
    ];
    let mut left: u64 = ORDER.iter().map(|&(gate, _)| steps(run, gate)).sum();
    let mut rows = vec![json!({"label": "no position", "left": left, "came": left})];
    for (gate, label) in &ORDER[..7] {
        let came = left;
        left -= steps(run, *gate);
        if *gate != Gate::Capital || came != left {
            rows.push(json!({"label": label, "left": left, "came": came}));
        }
    }
    let hibernating = steps(run, Gate::Posture);
    if hibernating > 0 {
        rows.push(json!({"label": "HIBERNATE, not stepped", "left": hibernating, "came": 0}));
    }
    rows
}

fn parameters(params: &Params) -> Vec<Value> {
    let (ours, champion) = (json!(params), json!(Params::default()));
    let Value::Object(ours) = ours else { return Vec::new() };
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    ours.iter()
        .map(|(name, value)| {
            let theirs = &champion[name];
            json!({"name": name, "value": text(value), "champion": text(theirs), "same": value == theirs})
        })
        .collect()
}
