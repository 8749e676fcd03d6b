//! The goldens: trades and summaries of an independent implementation of SPEC.md, to the last field.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use alpha::{Booking, BoostMode, DayResult, Engine, Metrics, Params, TradeRecord};
use market::Posture;
use serde_json::Value;

/// Equal, numbers within 1e-12 relative; fields that `expected` does not name are not compared.
fn assert_same(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Object(f), Value::Object(e)) => {
            for (key, value) in e {
                let found = f.get(key).unwrap_or_else(|| panic!("{at}: no field {key}"));
                assert_same(found, value, &format!("{at}.{key}"));
            }
        }
        (Value::Number(f), Value::Number(e)) => {
            let (f, e) = (f.as_f64().unwrap(), e.as_f64().unwrap());
            // A sum that nearly cancels is compared on the scale of a cent.
            assert!((f - e).abs() <= 1e-12 * e.abs().max(1e-2), "{at}: {f} instead of {e}");
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

fn metrics(capital: f64, trades: &[TradeRecord], days: &[DayResult]) -> Metrics {
    let daily: Vec<f64> = days.iter().map(|d| d.capital).collect();
    Metrics::new(capital, trades.iter().map(|t| (t.pnl, t.capital_after)), &daily)
}

fn check(days: &str, golden: &str, params: Params, direction: i8) {
    let Some(days) = common::read_days(days) else { return };
    let Some(trades_file) = testkit::shared_data(&format!("golden/{golden}.trades.jsonl")) else { return };
    let summary_file = trades_file.with_file_name(format!("{golden}.summary.json"));
    let mut engine = Engine::new(params, days[0].assets.clone(), 1).unwrap();
    assert_eq!(engine.booking(), Booking::Model);
    let (trades, results) = common::replay(&mut engine, &days, direction);

    let text = std::fs::read_to_string(trades_file).unwrap();
    let expected: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for (i, (found, expected)) in trades.iter().zip(&expected).enumerate() {
        assert_same(&json(found), expected, &format!("trade {i}"));
        assert_eq!(json(found).as_object().unwrap().len(), expected.as_object().unwrap().len());
        let back: TradeRecord = serde_json::from_value(json(found)).unwrap();
        assert_eq!(&back, found);
    }
    assert_eq!(trades.len(), expected.len());

    let summary: Value = serde_json::from_slice(&std::fs::read(summary_file).unwrap()).unwrap();
    let metrics = metrics(engine.params().initial_capital, &trades, &results);
    assert_same(&json(&metrics), &summary["metrics"], "metrics");
    let expected_days = summary["days"].as_array().unwrap();
    assert_eq!(results.len(), expected_days.len());
    for (found, expected) in results.iter().zip(expected_days) {
        assert_same(&json(found), expected, &found.date.to_string());
    }
    assert_same(&json(&engine.capital()), &summary["final_capital"], "final capital");
    let open = engine.position().map(|p| p.record(engine.assets()));
    assert_same(&json(&open), &summary["open_position"], "open position");
}

#[test]
fn champion_on_the_real_days() {
    check("days", "days-champion", Params::default(), -1);
}

#[test]
fn champion_on_the_synthetic_days() {
    check("days-synthetic", "synthetic-champion", Params::default(), -1);
}

#[test]
fn bidirectional_with_proxy_b() {
    let params = Params { boost_mode: BoostMode::ProxyB, ..Params::default() };
    check("days-synthetic", "synthetic-bidirectional-proxyb", params, 0);
}

/// The synthetic days at 10 Hz: every bar held for 50 ticks, entries on its first tick only.
#[test]
fn fifty_ticks_a_bar_give_the_same_trades() {
    const HOLD: u32 = 50;
    let Some(days) = common::read_days("days-synthetic") else { return };
    let params = || Params { boost_mode: BoostMode::ProxyB, ..Params::default() };
    let mut slow = Engine::new(params(), days[0].assets.clone(), 1).unwrap();
    let (mut expected, _) = common::replay(&mut slow, &days, 0);
    for t in &mut expected {
        (t.entry_bar, t.exit_bar) = (t.entry_bar * HOLD, t.exit_bar * HOLD);
        t.bars_held *= u64::from(HOLD);
    }
    let mut fast = Engine::new(params(), days[0].assets.clone(), HOLD).unwrap();
    let mut found = Vec::new();
    for day in &days {
        fast.begin_day(day.date, Posture::Apex, 1.0, 0).unwrap();
        for row in 0..day.prices.len() {
            for sub in 0..HOLD {
                let mut input = day.input(row);
                input.bar_idx = row as u32 * HOLD + sub;
                input.may_enter = sub == 0;
                fast.step_bar(&input);
            }
        }
        found.extend(fast.drain_trades());
        fast.end_day().unwrap();
    }
    assert_eq!(found, expected);
    assert!(found.len() > 40);
}
