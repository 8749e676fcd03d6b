//! The tear sheet: returns by month and day, rolling Sharpe, periods of drawdown, the distribution of trades, the split by
//! side, and ratios. Days count as 365 to the year, as in [`alpha::Metrics`].

use std::collections::BTreeMap;

use alpha::TradeRecord;
use serde_json::{Value, json};

/// Days of the rolling Sharpe ratio.
const WINDOW: usize = 30;
/// Bins of the distribution.
const BINS: usize = 41;
/// Periods of drawdown that are listed.
const PERIODS: usize = 10;
const YEAR: f64 = 365.0;

/// A day as the tear sheet needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Day {
    pub date: String,
    pub capital: f64,
    pub trades: u32,
}

/// All of it.
pub(super) fn sheet(initial: f64, days: &[Day], trades: &[TradeRecord], held: u64, bars: u64) -> Value {
    let returns = returns(initial, days);
    json!({
        "months": months(initial, days),
        "daily": days.iter().zip(&returns).map(|(d, r)| json!({"date": d.date, "r": r, "trades": d.trades})).collect::<Vec<_>>(),
        "rolling": rolling(days, &returns),
        "window": WINDOW,
        "drawdowns": drawdowns(initial, days),
        "distribution": distribution(trades),
        "sides": sides(trades),
        "ratios": ratios(initial, days, &returns, trades, held, bars),
    })
}

/// Return of each day.
fn returns(initial: f64, days: &[Day]) -> Vec<f64> {
    let mut before = initial;
    let day = |d: &Day| {
        let r = d.capital / before - 1.0;
        before = d.capital;
        if r.is_finite() { r } else { 0.0 }
    };
    days.iter().map(day).collect()
}

fn months(initial: f64, days: &[Day]) -> Vec<Value> {
    let mut months: BTreeMap<&str, (f64, u32)> = BTreeMap::new();
    for d in days {
        let month = months.entry(d.date.get(..7).unwrap_or(&d.date)).or_default();
        *month = (d.capital, month.1 + d.trades);
    }
    let mut before = initial;
    let month = |(month, (capital, trades)): (&str, (f64, u32))| {
        let r = capital / before - 1.0;
        before = capital;
        json!({"month": month, "r": r, "trades": trades})
    };
    months.into_iter().map(month).collect()
}

fn mean_and_deviation(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let squares: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// Annualised mean over deviation; `None`: too few, or no variation.
fn sharpe(returns: &[f64]) -> Option<f64> {
    let (mean, deviation) = mean_and_deviation(returns);
    let ratio = mean / deviation * YEAR.sqrt();
    (returns.len() > 1 && deviation > 0.0 && ratio.is_finite()).then_some(ratio)
}

fn rolling(days: &[Day], returns: &[f64]) -> Vec<Value> {
    let windows = returns.windows(WINDOW).zip(days.iter().skip(WINDOW - 1));
    windows.filter_map(|(w, d)| Some(json!({"date": d.date, "sharpe": sharpe(w)?}))).collect()
}

/// From a peak to the day that reaches it again, deepest first.
fn drawdowns(initial: f64, days: &[Day]) -> Vec<Value> {
    struct Period<'a> {
        from: &'a str,
        low: &'a str,
        to: Option<&'a str>,
        depth: f64,
        days: usize,
    }
    let (mut peak, mut periods, mut open) = (initial, Vec::new(), None::<Period<'_>>);
    for d in days {
        if d.capital >= peak {
            peak = d.capital;
            periods.extend(open.take().map(|p| Period { to: Some(&d.date), days: p.days + 1, ..p }));
            continue;
        }
        let depth = 1.0 - d.capital / peak;
        let p = open.get_or_insert(Period { from: &d.date, low: &d.date, to: None, depth: 0.0, days: 0 });
        p.days += 1;
        if depth > p.depth {
            (p.depth, p.low) = (depth, &d.date);
        }
    }
    periods.extend(open);
    periods.sort_by(|a, b| b.depth.total_cmp(&a.depth));
    let row =
        |p: Period<'_>| json!({"from": p.from, "low": p.low, "to": p.to, "depth": p.depth, "days": p.days});
    periods.into_iter().take(PERIODS).map(row).collect()
}

/// Net return of each trade on its notional, by bins; what lies beyond the middle 99 % is in the outermost ones.
fn distribution(trades: &[TradeRecord]) -> Value {
    let mut returns: Vec<f64> =
        trades.iter().map(|t| t.pnl / t.notional * 1e4).filter(|x| x.is_finite()).collect();
    if returns.is_empty() {
        return json!([]);
    }
    returns.sort_by(f64::total_cmp);
    let at = |q: f64| returns[((returns.len() - 1) as f64 * q).round() as usize];
    let most = at(0.005).abs().max(at(0.995).abs()).max(1e-9);
    let width = 2.0 * most / BINS as f64;
    let mut bins = [0u64; BINS];
    for r in &returns {
        bins[(((r + most) / width) as usize).min(BINS - 1)] += 1;
    }
    let bin = |(i, n): (usize, &u64)| json!({"bps": -most + width * (i as f64 + 0.5), "n": n});
    json!(bins.iter().enumerate().map(bin).collect::<Vec<_>>())
}

fn sides(trades: &[TradeRecord]) -> Vec<Value> {
    let side = |(name, direction): (&str, i8)| {
        let of: Vec<&TradeRecord> = trades.iter().filter(|t| t.direction == direction).collect();
        let pnl: f64 = of.iter().map(|t| t.pnl).sum();
        let best = of.iter().map(|t| t.pnl).fold(f64::NEG_INFINITY, f64::max);
        let worst = of.iter().map(|t| t.pnl).fold(f64::INFINITY, f64::min);
        let wins = of.iter().filter(|t| t.pnl > 0.0).count();
        (!of.is_empty()).then(|| {
            json!({"side": name, "trades": of.len(), "wins": wins, "pnl": pnl, "average": pnl / of.len() as f64,
                   "best": best, "worst": worst, "fees": of.iter().map(|t| t.fees).sum::<f64>()})
        })
    };
    [("LONG", 1), ("SHORT", -1)].into_iter().filter_map(side).collect()
}

/// One tile. `kind`: num, pct, int or money.
pub(super) fn ratio(label: &str, value: Option<f64>, kind: &str, note: &str) -> Value {
    json!({"label": label, "value": value, "kind": kind, "note": note})
}

fn ratios(
    initial: f64,
    days: &[Day],
    returns: &[f64],
    trades: &[TradeRecord],
    held: u64,
    bars: u64,
) -> Vec<Value> {
    let known = |x: f64| x.is_finite().then_some(x);
    let last = days.last().map_or(initial, |d| d.capital);
    let years = days.len() as f64 / YEAR;
    // A day or two extrapolated to a year say nothing.
    let yearly = if days.len() >= 30 { known((last / initial).powf(1.0 / years) - 1.0) } else { None };
    let mut peak = initial;
    let deepest = days.iter().fold(0.0f64, |deepest, d| {
        peak = peak.max(d.capital);
        deepest.max(1.0 - d.capital / peak)
    });
    let down = returns.iter().map(|r| r.min(0.0).powi(2)).sum::<f64>() / returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / returns.len() as f64;
    let sortino =
        if returns.len() > 1 && down > 0.0 { known(mean / down.sqrt() * YEAR.sqrt()) } else { None };
    let (won, lost): (Vec<f64>, Vec<f64>) = trades.iter().map(|t| t.pnl).partition(|pnl| *pnl > 0.0);
    let average = |x: &[f64]| known(x.iter().sum::<f64>() / x.len() as f64);
    let (win, loss) = (average(&won), average(&lost));
    let payoff = win.zip(loss).and_then(|(w, l)| known(w / -l));
    let mut row = (0u32, 0u32);
    for t in trades {
        row.0 = if t.pnl > 0.0 { 0 } else { row.0 + 1 };
        row.1 = row.1.max(row.0);
    }
    let all: Vec<f64> = trades.iter().map(|t| t.pnl).collect();
    let stays = known(trades.iter().map(|t| t.bars_held as f64).sum::<f64>() / trades.len() as f64);
    let volatility =
        if returns.len() > 1 { known(mean_and_deviation(returns).1 * YEAR.sqrt()) } else { None };
    let one = ratio;
    vec![
        one("Sortino", sortino, "num", "yearly, against 0"),
        one(
            "Calmar",
            yearly.filter(|_| deepest > 0.0).map(|y| y / deepest),
            "num",
            "yearly return over deepest drawdown of days",
        ),
        one("Return a year", yearly, "pct", "from 30 days on"),
        one("Volatility a year", volatility, "pct", "of daily returns"),
        one("Expectancy", average(&all), "money", "a trade, fees included"),
        one("Average win", win, "money", ""),
        one("Average loss", loss, "money", ""),
        one("Payoff", payoff, "num", "average win over average loss"),
        one("Longest row of losses", Some(f64::from(row.1)), "int", "trades"),
        one("Time in market", known(held as f64 / bars as f64), "pct", "of the bars stepped"),
        one("Average hold", stays, "num", "ticks"),
        one("Fees", Some(trades.iter().map(|t| t.fees).sum()), "money", "all of them"),
    ]
}

/// Notes that differ in numbers alone, once, with how many there are.
pub(super) fn folded(notes: &[String]) -> Vec<String> {
    let key = |note: &str| note.split(|c: char| c.is_ascii_digit()).collect::<Vec<_>>().join("");
    let mut folded: Vec<(String, &String, usize)> = Vec::new();
    for note in notes {
        let key = key(note);
        match folded.iter_mut().find(|(k, ..)| *k == key) {
            Some((_, _, n)) => *n += 1,
            None => folded.push((key, note, 1)),
        }
    }
    let text = |(_, note, n): (String, &String, usize)| match n {
        1 => note.clone(),
        n => format!("{note} (and {} like it)", n - 1),
    };
    folded.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(capital: &[f64]) -> Vec<Day> {
        let day = |(i, c): (usize, &f64)| Day {
            date: format!("2026-{:02}-{:02}", 1 + i / 28, 1 + i % 28),
            capital: *c,
            trades: 1,
        };
        capital.iter().enumerate().map(day).collect()
    }

    #[test]
    fn periods_of_drawdown_are_from_peak_to_peak_deepest_first() {
        let found = drawdowns(100.0, &days(&[99.0, 101.0, 90.9, 80.8, 102.0, 101.0]));
        let depth = |i: usize| (found[i]["depth"].as_f64().unwrap() * 1e4).round();
        assert_eq!((found.len(), depth(0), depth(1), depth(2)), (3, 2_000.0, 100.0, 98.0));
        assert_eq!(found[0]["from"], "2026-01-03");
        assert_eq!(
            (&found[0]["low"], &found[0]["to"], &found[0]["days"]),
            (&json!("2026-01-04"), &json!("2026-01-05"), &json!(3))
        );
        assert_eq!(found[2]["to"], Value::Null, "the last one is not over");
    }

    #[test]
    fn months_chain_and_nothing_is_told_of_nothing() {
        let mut capital: Vec<f64> = (0..30).map(|i| 100.0 + f64::from(i)).collect();
        capital[29] = 254.0;
        let months = months(100.0, &days(&capital));
        assert_eq!(months.len(), 2);
        assert_eq!(months[0]["r"].as_f64().map(|r| (r * 100.0).round()), Some(27.0));
        assert_eq!(months[1]["r"].as_f64().map(|r| (r * 100.0).round()), Some(100.0));
        let empty = sheet(100.0, &[], &[], 0, 0);
        assert_eq!(empty["distribution"], json!([]));
        assert!(
            empty["ratios"].as_array().unwrap().iter().all(|r| r["value"].is_null() || r["value"] == 0.0),
            "{empty}"
        );
    }

    #[test]
    fn notes_that_say_the_same_are_one() {
        let notes =
            ["day 2026-01-01: 3 bars lack a price", "day 2026-01-02: 7 bars lack a price", "no marks"];
        let notes: Vec<String> = notes.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(folded(&notes), ["day 2026-01-01: 3 bars lack a price (and 1 like it)", "no marks"]);
    }
}
