//! The files of a live session (`--out`): trades, fills, orders, gates, summary, and the report of replay with what live
//! adds: intended against filled prices, fees, maker share, latency, gates over time, alerts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ::replay::ReplayError;
use ::replay::days::{GateCount, Run};
use ::replay::output::{Earlier, Staging, json_lines};
use ::replay::report::Provenance;
use alpha::{Gate, McStatus, Metrics, TradeRecord};
use market::Posture;
use node::config::Config;
use node::error::Failure;
use node::session::{Fill, Session};
use node::summary::{Summary, time};
use serde_json::{Value, json};

/// A place for the files, tried before the run so that one that cannot be written, or that holds the files
/// of an earlier run, is known at once.
pub fn prepare(out: Option<&Path>, force: bool) -> Result<Option<Staging>, Failure> {
    out.map(|out| Staging::new(out, Earlier::forced(force))).transpose().map_err(|e| unwritten(&e))
}

/// Exit 2 for a place that cannot be used, 4 for a full disk.
fn unwritten(error: &ReplayError) -> Failure {
    Failure::because(error, 2)
}

/// Writes them. Says what they replaced.
pub fn write(
    staging: Staging,
    config: &Config,
    summary: &Summary,
    assets: usize,
) -> Result<Option<String>, Failure> {
    let s = &summary.session;
    let origin = Provenance {
        config: config.path.display().to_string(),
        data: summary.venue.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        live: live(summary),
    };
    let files = [
        ("fills.jsonl", json_lines(&s.fills)),
        ("orders.jsonl", json_lines(&s.orders)),
        ("gates.jsonl", json_lines(&s.gates)),
    ];
    let mut text = serde_json::to_vec_pretty(summary).unwrap_or_default();
    text.push(b'\n');
    let run = run(config, summary, assets);
    staging.commit_with(&run, &origin, &files, &text).map_err(|e| unwritten(&e))
}

/// The session as the report knows runs.
fn run(config: &Config, summary: &Summary, assets: usize) -> Run {
    let trades = summary.trades.clone();
    let initial = trades.first().map_or(config.alpha.initial_capital, |t| t.capital_after - t.pnl);
    let days = days(&trades, &summary.param_hash);
    let capital: Vec<f64> = days.iter().map(|d| d.capital).collect();
    let metrics = Metrics::new(initial, trades.iter().map(|t| (t.pnl, t.capital_after)), &capital);
    let steps = |gate: Gate| summary.gates.get(gate.name()).copied().unwrap_or(0);
    let gates = Gate::ALL.into_iter().map(|gate| GateCount { gate, steps: steps(gate) });
    let mut params = config.alpha.clone();
    params.initial_capital = initial;
    Run {
        params,
        param_hash: summary.param_hash.clone(),
        direction: config.direction.sign(),
        entry_times: vec![None; trades.len()],
        final_capital: trades.last().map_or(initial, |t| t.capital_after),
        bars: summary.gates.values().sum(),
        gates: gates.collect(),
        trades,
        days,
        metrics,
        open_position: None,
        assets: vec![String::new(); assets],
        files: Vec::new(),
        track: None,
        notes: notes(summary),
        elapsed: Duration::from_secs_f64(summary.seconds),
    }
}

/// A day for each date on which a trade was closed.
fn days(trades: &[TradeRecord], param_hash: &str) -> Vec<alpha::DayResult> {
    let mut days: BTreeMap<market::Date, alpha::DayResult> = BTreeMap::new();
    for t in trades {
        let day = days.entry(t.exit_date).or_insert_with(|| alpha::DayResult {
            date: t.exit_date,
            pnl: 0.0,
            trades: 0,
            capital: 0.0,
            boost: t.boost,
            beta: t.beta,
            mc_scale: t.mc_scale,
            mc_status: McStatus::Disabled,
            posture: Posture::Apex,
            bars: 0,
            stale_state: false,
            param_hash: param_hash.to_owned(),
        });
        day.pnl += t.pnl;
        day.trades += 1;
        day.capital = t.capital_after;
        day.bars = day.bars.max(t.exit_bar + 1);
    }
    days.into_values().collect()
}

fn notes(summary: &Summary) -> Vec<String> {
    let mut notes =
        vec![format!("A live session of {:.0} s, ended by {}.", summary.seconds, summary.ended_by)];
    if summary.open_positions.is_none() {
        notes.push("What is open at the venue is unknown: it could not be asked.".to_owned());
    }
    for p in summary.open_positions.iter().flatten() {
        notes.push(format!("Still open at the venue: {} {}; it is not in these numbers.", p.qty, p.symbol));
    }
    if summary.session.not_kept > 0 {
        notes.push(format!(
            "{} fills, orders or gates are not in the files: too many.",
            summary.session.not_kept
        ));
    }
    notes
}

/// What the report shows of a session besides its trades.
fn live(summary: &Summary) -> Value {
    let (s, r) = (&summary.session, &summary.router);
    let tile = |label: &str, value: Option<f64>, kind: &str, note: &str| json!({"label": label, "value": value, "kind": kind, "note": note});
    let slippage = slippage(&s.fills);
    let tiles = [
        tile("Fills", Some(r.fills as f64), "int", "of our orders"),
        tile("Orders", Some(r.orders as f64), "int", &format!("{} refused by the venue", r.rejects)),
        tile("Maker, entries", r.maker_entries, "pct", "model 62 %"),
        tile("Maker, exits", r.maker_exits, "pct", "model 50 %"),
        tile("Commissions", Some(s.fills.iter().map(|f| f.commission).sum()), "money", "as charged"),
        tile("Against the order", slippage, "num", "bps of value, + is worse than asked"),
    ];
    json!({
        "tiles": tiles,
        "tables": [
            table("Latency", &["hop", "samples", "p50", "p99", "p99.9", "max"], "No sample.", latency(summary)),
            table("Gates over time", &["gate", "closed from (UTC)", "for, s", "why"], "No gate was closed.", gates(s)),
            table("Orders by what became of them", &["status", "orders", "lasted, s"], "No order was sent.", orders(s)),
            table("Alerts", &["alert", "times"], "None.",
                  summary.alerts.iter().map(|(k, n)| json!([k, n])).collect()),
            table("Fills", &["time (UTC)", "symbol", "side", "asked", "filled", "quantity", "commission", "rested"], "None.",
                  s.fills.iter().rev().take(500).map(|f| json!([clock(f.ts_ms), f.symbol, f.side, f.order_px, f.px, f.qty,
                      f.commission, if f.maker { "yes" } else { "no" }])).collect()),
        ],
    })
}

fn table(title: &str, columns: &[&str], empty: &str, rows: Vec<Value>) -> Value {
    json!({"title": title, "columns": columns, "empty": empty, "rows": rows})
}

/// Value-weighted distance of fills from the prices that were asked for, bps; what rested is filled at its own.
fn slippage(fills: &[Fill]) -> Option<f64> {
    let priced = fills.iter().filter(|f| f.order_px > 0.0);
    let (mut cost, mut value) = (0.0, 0.0);
    for f in priced {
        let sign = if f.side == "BUY" { 1.0 } else { -1.0 };
        cost += sign * (f.px - f.order_px) * f.qty;
        value += f.order_px * f.qty;
    }
    (value > 0.0).then(|| cost / value * 1e4)
}

fn latency(summary: &Summary) -> Vec<Value> {
    let hops = node::stages::Hop::ALL.into_iter().filter_map(|hop| {
        let h = summary.latency_ns.get(hop.name())?;
        Some(json!([hop.name(), h.n, time(h.p50), time(h.p99), time(h.p999), time(h.max)]))
    });
    hops.collect()
}

fn gates(s: &Session) -> Vec<Value> {
    let row = |g: &node::session::Closed| {
        let lasted = g.until_ms.map(|until| until.saturating_sub(g.from_ms) as f64 / 1e3);
        json!([g.gate, clock(g.from_ms), lasted, g.cause])
    };
    s.gates.iter().map(row).collect()
}

fn orders(s: &Session) -> Vec<Value> {
    let mut by: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for o in &s.orders {
        let (n, ms) = by.entry(&o.status).or_default();
        *n += 1;
        *ms += o.until_ms.saturating_sub(o.since_ms);
    }
    by.into_iter().map(|(status, (n, ms))| json!([status, n, ms as f64 / 1e3 / n as f64])).collect()
}

fn clock(ms: u64) -> String {
    telemetry::line::time(ms).trim_end_matches(" UTC").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(side: &'static str, order_px: f64, px: f64) -> Fill {
        Fill {
            ts_ms: 0,
            order: String::new(),
            symbol: "BTCUSDT".into(),
            side,
            reduce_only: false,
            order_px,
            px,
            qty: 1.0,
            commission: 0.0,
            maker: true,
            trade_id: 1,
        }
    }

    #[test]
    fn slippage_is_worse_for_whoever_pays_more_or_gets_less() {
        assert_eq!(slippage(&[]), None);
        assert_eq!(slippage(&[fill("BUY", 100.0, 101.0)]).map(f64::round), Some(100.0));
        assert_eq!(slippage(&[fill("SELL", 100.0, 101.0)]).map(f64::round), Some(-100.0));
        assert_eq!(
            slippage(&[fill("SELL", 100.0, 99.0), fill("BUY", 100.0, 99.0)]).map(f64::round),
            Some(0.0)
        );
    }
}
