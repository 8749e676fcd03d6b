//! The engine against its naive twin, against itself interrupted, and against itself at another stride.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common {
    pub mod scenario;
    pub mod twin;
}

use alpha::{DayResult, Engine, Params, Snapshot, TradeRecord};
use common::scenario::{Dice, Scenario, scenario};
use common::twin::Twin;
use market::ExitReason;
use proptest::prelude::*;
use serde_json::Value;

fn engine(s: &Scenario) -> Engine {
    let mut engine = Engine::new(s.params.clone(), s.assets.clone(), s.stride).unwrap();
    engine.set_factors(&s.factors);
    engine
}

/// Replays; `between` may exchange the engine before any tick.
fn run(s: &Scenario, mut engine: Engine, mut between: impl FnMut(Engine) -> Engine) -> Run {
    let mut run = Run { trades: Vec::new(), days: Vec::new(), open: Value::Null, entries: 0 };
    for day in &s.days {
        engine.begin_day(day.date, day.posture, day.rm, day.direction).unwrap();
        for (bar, tick) in day.ticks.iter().enumerate() {
            engine = between(engine);
            if let Some((boost, beta)) = tick.push {
                engine.update_acb_boost(boost, beta).unwrap();
            }
            engine.step_bar(&tick.input(bar));
        }
        run.trades.extend(engine.drain_trades());
        run.days.push(engine.end_day().unwrap());
    }
    run.open = serde_json::to_value(engine.position().map(|p| p.record(engine.assets()))).unwrap();
    run.entries = engine.gate_counts()[alpha::Gate::Entered as usize];
    run
}

#[derive(Debug, PartialEq)]
struct Run {
    trades: Vec<TradeRecord>,
    days: Vec<DayResult>,
    open: Value,
    entries: u64,
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1e-3)
}

/// Equal, numbers within 1e-12 relative.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => near(a.as_f64().unwrap(), b.as_f64().unwrap()),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

fn twin_agrees(seed: u32) -> Vec<TradeRecord> {
    let s = scenario(seed);
    let fast = run(&s, engine(&s), |e| e);
    let mut twin = Twin::new(s.params.clone(), s.assets.clone(), s.stride as usize);
    twin.set_factors(&s.factors);
    for (day, result) in s.days.iter().zip(&fast.days) {
        twin.begin_day(day.date, day.posture, day.rm, day.direction);
        for (bar, tick) in day.ticks.iter().enumerate() {
            if let Some((boost, beta)) = tick.push {
                twin.push(boost, beta);
            }
            twin.step(&tick.input(bar));
        }
        let t = twin.end_day();
        assert_eq!((result.trades, result.bars), (t.trades, t.bars), "seed {seed}");
        for (a, b) in
            [(result.pnl, t.pnl), (result.capital, t.capital), (result.boost, t.boost), (result.beta, t.beta)]
        {
            assert!(near(a, b), "seed {seed}: {result:?} {t:?}");
        }
    }
    for (i, (a, b)) in fast.trades.iter().zip(&twin.trades).enumerate() {
        assert!(same(&json(a), &json(b)), "seed {seed}, trade {i}:\n{a:?}\n{b:?}");
    }
    assert_eq!(fast.trades.len(), twin.trades.len(), "seed {seed}");
    assert!(same(&fast.open, &json(&twin.position)), "seed {seed}: {} {:?}", fast.open, twin.position);
    fast.trades
}

#[test]
fn the_oracle_sees_every_kind_of_trade() {
    let runs: Vec<Vec<TradeRecord>> = (0..300).map(twin_agrees).collect();
    let trading = runs.iter().filter(|r| !r.is_empty()).count();
    let trades: Vec<&TradeRecord> = runs.iter().flatten().collect();
    let count = |which: fn(&TradeRecord) -> bool| trades.iter().filter(|t| which(t)).count();
    let kinds = [
        trading,
        trades.len(),
        count(|t| t.direction > 0),
        count(|t| t.direction < 0),
        count(|t| t.reason == ExitReason::Tp),
        count(|t| t.reason == ExitReason::Stop),
        count(|t| t.reason == ExitReason::MaxHold),
        count(|t| t.maker_entry == Some(true)),
        count(|t| t.maker_entry.is_none()),
        count(|t| t.beta == 0.8),
        count(|t| t.boost < 1.0),
        count(|t| t.bucket == 0),
        count(|t| t.entry_date != t.exit_date),
    ];
    assert!(kinds.iter().all(|&n| n >= 20) && kinds[0] > 150 && kinds[1] > 2000, "{kinds:?}");
}

/// Interrupted at random ticks, through JSON.
fn interrupted(seed: u32) {
    let s = scenario(seed);
    let mut dice = Dice::new(seed ^ 0x5eed);
    let straight = run(&s, engine(&s), |e| e);
    let mut again = run(&s, engine(&s), |engine| {
        if !dice.chance(0.02) {
            return engine;
        }
        let text = serde_json::to_string(&engine.snapshot()).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        let restored = Engine::restore(engine.params().clone(), &snapshot).unwrap();
        assert_eq!(serde_json::to_string(&restored.snapshot()).unwrap(), text);
        restored
    });
    // The gate counters belong to a run of the program, not to the engine's state.
    again.entries = straight.entries;
    assert_eq!(straight, again);
}

/// Killed at random ticks: what goes on has the small image, through JSON, and the prices of the last ticks.
fn resumed(seed: u32) {
    let mut s = scenario(seed);
    s.params.boost_mode = alpha::BoostMode::Baseline;
    let straight = run(&s, engine(&s), |e| e);
    let (mut dice, mut e) = (Dice::new(seed ^ 0x4111), engine(&s));
    let (mut rows, mut trades, mut capital) = (Vec::new(), Vec::new(), Vec::new());
    let mut image = e.image();
    for day in &s.days {
        e.begin_day(day.date, day.posture, day.rm, day.direction).unwrap();
        for (bar, tick) in day.ticks.iter().enumerate() {
            if dice.chance(0.02) {
                e.refresh(&mut image);
                let text = serde_json::to_string(&image).unwrap();
                let read: alpha::Image = serde_json::from_str(&text).unwrap();
                assert_eq!(read, image);
                let needed = Engine::history_ticks(&s.params, s.stride);
                let from = usize::try_from(read.ticks().saturating_sub(needed)).unwrap();
                let prices = alpha::Prices {
                    assets: &s.assets,
                    stride: s.stride,
                    first: from as u64,
                    rows: &rows[from..],
                };
                let resumed =
                    Engine::resume(s.params.clone(), s.assets.clone(), s.stride, &read, Some(prices), 0)
                        .unwrap();
                assert!(!resumed.other_params && !resumed.other_assets && resumed.lost.is_none());
                e = resumed.engine;
                assert_eq!(e.image(), image);
            }
            if let Some((boost, beta)) = tick.push {
                e.update_acb_boost(boost, beta).unwrap();
            }
            let before = e.ticks();
            e.step_bar(&tick.input(bar));
            if e.ticks() > before {
                // A price that is missing is the last known one, as memory keeps it.
                let last: Option<&Vec<f64>> = rows.last();
                let known = |(i, &p): (usize, &f64)| {
                    if p > 0.0 && p < f64::INFINITY { p } else { last.map_or(f64::NAN, |row| row[i]) }
                };
                let row: Vec<f64> = tick.prices.iter().enumerate().map(known).collect();
                rows.push(row);
            }
            while let Some(trade) = e.take_trade() {
                trades.push(trade.record(&s.assets));
                assert_eq!(trades.len() as u64, e.trades_closed());
            }
        }
        capital.push(e.end_day().unwrap().capital);
    }
    assert_eq!(straight.trades, trades, "seed {seed}");
    assert_eq!(straight.days.iter().map(|d| d.capital).collect::<Vec<_>>(), capital);
}

/// Each bar held for `hold` ticks at stride `hold`, entries on its first tick only: the trades of stride 1.
fn held(seed: u32, hold: u32) {
    let mut s = scenario(seed);
    s.stride = 1;
    let mut slow = run(&s, engine(&s), |e| e);
    let mut engine = Engine::new(s.params.clone(), s.assets.clone(), hold).unwrap();
    engine.set_factors(&s.factors);
    let (mut trades, mut capital) = (Vec::new(), Vec::new());
    for day in &s.days {
        engine.begin_day(day.date, day.posture, day.rm, day.direction).unwrap();
        for (bar, tick) in day.ticks.iter().enumerate() {
            for sub in 0..hold {
                if let Some((boost, beta)) = tick.push.filter(|_| sub == 0) {
                    engine.update_acb_boost(boost, beta).unwrap();
                }
                let mut input = tick.input(bar * hold as usize + sub as usize);
                input.may_enter &= sub == 0;
                engine.step_bar(&input);
            }
        }
        trades.extend(engine.drain_trades());
        capital.push(engine.end_day().unwrap().capital);
    }
    for t in &mut slow.trades {
        t.entry_bar *= hold;
        t.exit_bar *= hold;
        t.bars_held *= u64::from(hold);
    }
    assert_eq!(slow.trades, trades, "seed {seed}");
    assert_eq!(slow.days.iter().map(|d| d.capital).collect::<Vec<_>>(), capital);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn as_the_text_says(seed: u32) {
        twin_agrees(seed);
    }

    #[test]
    fn an_interruption_changes_nothing(seed: u32) {
        interrupted(seed);
    }

    #[test]
    fn a_kill_changes_nothing(seed: u32) {
        resumed(seed);
    }

    #[test]
    fn the_stride_changes_nothing(seed: u32, hold in prop::sample::select(vec![2u32, 3, 5])) {
        held(seed, hold);
    }
}

#[test]
fn fifty_ticks_a_bar_change_nothing() {
    for seed in 0..12 {
        held(seed, 50);
    }
}

#[test]
fn a_foreign_or_damaged_snapshot_is_refused() {
    let s = scenario(3);
    let e = engine(&s);
    let snapshot = e.snapshot();
    let other = Params { fraction: 0.123, ..s.params.clone() };
    assert!(Engine::restore(other, &snapshot).unwrap_err().to_string().contains("parameters"));
    let other = Params { lookback: s.params.lookback + 1, ..s.params.clone() };
    assert!(Engine::restore(other, &snapshot).is_err());
    let text = serde_json::to_string(&snapshot).unwrap();
    let vandalise = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let snapshot: Result<Snapshot, _> = serde_json::from_str(&text.replacen(from, to, 1));
        assert!(snapshot.is_ok_and(|s2| Engine::restore(s.params.clone(), &s2).is_err()), "{to}");
    };
    vandalise("\"version\":1", "\"version\":2");
    vandalise("\"draws\":0", "\"draws\":99999999999");
    vandalise("\"stride\":", "\"stride\":9");
    vandalise("\"rows\":\"7ff8000000000000", "\"rows\":\"");
}
