//! Each gate closed in turn, all before it open: the step names it, with the numbers behind it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use alpha::forewarner::Forewarner;
use alpha::{Action, Engine, Gate, McStatus, Params, Safety, StepReport, TickInput};
use market::{Date, ExitReason, Nanos, Posture};

const DATE: Date = Date::constant(2026, 1, 1);

fn params() -> Params {
    Params {
        profile: "test".into(),
        warmup_bars: 0,
        vol_window_bars: 3,
        lookback: 4,
        fixed_tp_pct: 0.5,
        dc_lookback_bars: 2,
        max_hold_bars: 2,
        ..Params::default()
    }
}

/// BTC falls by about 20 bps a tick, ETH twice as fast; every other tick both rise a little.
fn prices(bar: u32) -> [f64; 2] {
    let fall = |bps: f64| (1.0 - bps * 1e-4).powi(bar as i32) * (1.0 - 6e-3 * f64::from(bar % 2));
    [50_000.0 * fall(20.0), 2_000.0 * fall(40.0)]
}

fn tick(engine: &mut Engine, bar: u32, change: impl FnOnce(&mut TickInput<'_>)) -> StepReport {
    let prices = prices(bar);
    let mut input = TickInput { vel_div: -0.03, ..TickInput::quiet(bar, Nanos(0), &prices) };
    change(&mut input);
    engine.step_bar(&input)
}

/// An engine whose histories are full and whose next tick (bar 10) enters.
fn ready(params: Params, begin: impl FnOnce(&mut Engine)) -> Engine {
    let mut engine = Engine::new(params, vec!["BTCUSDT".into(), "ETHUSDT".into()], 1).unwrap();
    begin(&mut engine);
    if engine.date().is_none() {
        engine.begin_day(DATE, Posture::Apex, 1.0, -1).unwrap();
    }
    for bar in 0..10 {
        tick(&mut engine, bar, |input| input.may_enter = false);
    }
    engine
}

#[test]
fn every_gate_is_named() {
    let with = |change: fn(&mut Params)| {
        let mut p = params();
        change(&mut p);
        ready(p, |_| {})
    };
    let open = || ready(params(), |_| {});

    let r = tick(&mut open(), 10, |_| {});
    assert_eq!((r.gate, r.action, r.tick), (Gate::Entered, Action::Entered(market::SymbolId(1)), 10));
    let v = r.values;
    assert_eq!((v.direction, v.candidates, v.passed, v.best_alignment), (-1, 2, 1, 0.5));
    assert!(v.vol_std > 1e-4 && v.dc_move_bps > 30.0 && v.best_score > 0.0);

    assert_eq!(tick(&mut open(), 10, |i| i.may_enter = false).gate, Gate::Caller);
    assert_eq!(tick(&mut open(), 10, |i| i.vol_regime_ok = Some(false)).gate, Gate::Volatility);
    let r = tick(&mut with(|p| p.vol_p60 = 0.01), 10, |_| {});
    assert!(r.gate == Gate::Volatility && r.values.vol_std < 0.01);
    assert_eq!(tick(&mut with(|p| p.warmup_bars = 11), 10, |_| {}).gate, Gate::Volatility);
    assert_eq!(
        tick(&mut with(|p| p.vol_window_bars = 11), 10, |_| {}).gate,
        Gate::Volatility,
        "short history"
    );
    assert_eq!(
        tick(&mut with(|p| p.vol_window_bars = 10), 10, |_| {}).gate,
        Gate::Entered,
        "just long enough"
    );

    let red = br#"{"format":"dolphin-forewarner-1","kind":"random_forest","feature_names":[],"base_value":0,
        "learning_rate":1,"trees":[{"feature":[-1],"threshold":[0],"left":[-1],"right":[-1],"value":[0.2]}]}"#;
    let mut engine = ready(params(), |e| e.set_forewarner(Some(Forewarner::from_json(red).unwrap())));
    assert_eq!(tick(&mut engine, 10, |_| {}).gate, Gate::Forewarner);
    assert_eq!(engine.end_day().unwrap().mc_status, McStatus::Red);

    let mut engine = open();
    engine.breaker_mut().trip();
    assert_eq!(tick(&mut engine, 10, |_| {}).gate, Gate::Breaker);

    for quiet in [f64::NAN, -0.0199, 0.5, f64::NEG_INFINITY] {
        assert_eq!(tick(&mut open(), 10, |i| i.vel_div = quiet).gate, Gate::Signal, "{quiet}");
    }
    assert_eq!(tick(&mut open(), 10, |i| i.vel_div = -0.02).gate, Gate::Entered, "at the threshold");
    assert_eq!(tick(&mut with(|p| p.dc_min_magnitude_bps = 900.0), 10, |_| {}).gate, Gate::Direction);
    let r = tick(&mut with(|p| p.min_irp_alignment = 0.7), 10, |_| {});
    assert_eq!((r.gate, r.values.passed, r.values.best), (Gate::Asset, 0, Some(market::SymbolId(1))));
    assert_eq!(tick(&mut with(|p| p.excluded_assets = vec!["ETHUSDT".into()]), 10, |_| {}).gate, Gate::Asset);
}

#[test]
fn a_position_holds_then_exits_and_the_tick_of_an_exit_never_enters() {
    let mut engine = ready(params(), |_| {});
    let gates: Vec<Gate> = (10..14).map(|bar| tick(&mut engine, bar, |_| {}).gate).collect();
    assert_eq!(gates, [Gate::Entered, Gate::Holding, Gate::Exited, Gate::Entered]);
    assert_eq!(engine.trades()[0].reason, ExitReason::MaxHold);
    let counts = engine.gate_counts();
    assert_eq!((counts[Gate::Entered as usize], counts[Gate::Caller as usize]), (2, 10));
    assert_eq!(counts.iter().sum::<u64>(), 14);
    for (i, gate) in Gate::ALL.iter().enumerate() {
        assert_eq!(*gate as usize, i);
    }
}

#[test]
fn hibernation_and_a_missing_day_step_nothing() {
    let mut engine = ready(params(), |_| {});
    engine.push_safety(Safety::of(0.2));
    let before = serde_json::to_string(&engine.snapshot()).unwrap();
    let r = tick(&mut engine, 10, |_| {});
    assert_eq!((r.gate, r.action, engine.ticks()), (Gate::Posture, Action::None, 10));
    assert_eq!(serde_json::to_string(&engine.snapshot()).unwrap(), before);
    let day = engine.end_day().unwrap();
    assert_eq!((day.bars, day.posture), (10, Posture::Hibernate));
    assert_eq!(tick(&mut engine, 11, |_| {}).gate, Gate::NoDay);
    assert_eq!(engine.ticks(), 10);
    assert!(engine.end_day().is_none());
}

#[test]
fn days_are_opened_once_and_the_control_state_is_seen() {
    let mut engine = ready(params(), |_| {});
    assert!(engine.begin_day(DATE, Posture::Apex, 1.0, -1).is_err(), "the day before is still open");
    let before = engine.control_snapshot();
    tick(&mut engine, 10, |i| i.v750_velocity = 1.0);
    assert_eq!(engine.control_snapshot(), before, "a step changes no control state");
    engine.update_acb_boost(1.2, 0.3).unwrap();
    assert_ne!(engine.control_snapshot(), before);
    engine.mark_stale();
    assert!(engine.end_day().unwrap().stale_state);
    assert!(engine.begin_day(DATE, Posture::Apex, 1.0, 2).is_err(), "no such direction");
    engine.begin_day(DATE, Posture::Apex, 1.0, 1).unwrap();
    assert!(!engine.end_day().unwrap().stale_state);
}

#[test]
fn what_an_engine_cannot_be_made_of_is_refused() {
    let make = |assets: &[&str], stride| {
        Engine::new(params(), assets.iter().map(|&a| a.to_owned()).collect(), stride).map(|_| ())
    };
    assert!(make(&[], 1).is_err());
    assert!(make(&["BTCUSDT", "BTCUSDT"], 1).unwrap_err().to_string().contains("BTCUSDT is there twice"));
    assert!(make(&["BTCUSDT"], 0).is_err());
    assert!(make(&["BTCUSDT"], 1_000_000).is_err());
    let drifted = Params { fraction: 0.3, ..Params::default() };
    assert!(Engine::new(drifted, vec!["BTCUSDT".into()], 1).is_err());
    let huge = Params { profile: "huge".into(), lookback: 100_000, ..Params::default() };
    assert!(Engine::new(huge, vec!["BTCUSDT".into()], 10_000).is_err());
}
