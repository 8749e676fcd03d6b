//! Live booking: intents out, outcomes in, and nothing booked that did not happen.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use alpha::{Action, Booked, Booking, Engine, Gate, OutcomeError, Params, StepReport, TickInput};
use market::{
    AbandonReason, Amount, Correction, Date, EntryFilled, ExitFilled, ExitReason, Filled, Intent, Nanos,
    Outcome, Posture, Qty, SymbolId, TripId,
};

const ETH: SymbolId = SymbolId(1);
const TRIP: TripId = TripId::new(7, 1);

/// Two assets that fall, ETH faster: every scan below the threshold enters ETH short.
struct Market {
    engine: Engine,
    bar: u32,
    prices: [f64; 2],
}

impl Market {
    fn new() -> Self {
        let params = Params {
            profile: "test".into(),
            warmup_bars: 0,
            vol_window_bars: 2,
            vol_p60: 0.0,
            lookback: 3,
            dc_lookback_bars: 1,
            max_hold_bars: 5,
            ..Params::default()
        };
        let assets = vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
        let mut engine = Engine::new(params, assets, 1).unwrap().with_booking(Booking::Venue);
        engine.begin_day(Date::constant(2026, 1, 1), Posture::Apex, 1.0, -1).unwrap();
        let mut market = Self { engine, bar: 0, prices: [50_000.0, 2_000.0] };
        for _ in 0..6 {
            market.step(f64::NAN, 1.0);
        }
        market
    }

    /// One tick on which ETH moves `speed` times 10 bps down.
    fn step(&mut self, vel_div: f64, speed: f64) -> StepReport {
        let wobble = 1.0 - 1e-4 * f64::from(1 + self.bar % 3);
        self.prices = [self.prices[0] * wobble, self.prices[1] * (1.0 - 1e-3 * speed)];
        let ts = Nanos(u64::from(self.bar) * 1_000);
        let input = TickInput { vel_div, ..TickInput::quiet(self.bar, ts, &self.prices) };
        self.bar += 1;
        self.engine.step_bar(&input)
    }

    fn enter(&mut self) -> market::EnterIntent {
        let report = self.step(-0.03, 1.0);
        match report.action {
            Action::Intent(Intent::Enter(intent)) => intent,
            other => panic!("{other:?} at {:?} {:?}", report.gate, report.values),
        }
    }

    fn filled(&mut self, avg_px: f64) -> Result<Booked, OutcomeError> {
        self.engine.on_outcome(&Outcome::Entered(entry(avg_px)))
    }
}

fn entry(avg_px: f64) -> EntryFilled {
    EntryFilled {
        symbol: ETH,
        direction: -1,
        trip: TRIP,
        provisional: false,
        qty: Qty(-500),
        avg_px,
        notional: 1_000.0,
        commission: Amount::from_f64(-0.2).unwrap(),
        maker_share: 1.0,
        ts_event: Nanos(1),
    }
}

fn exit(reason: ExitReason, avg_px: f64) -> ExitFilled {
    ExitFilled {
        symbol: ETH,
        trip: TRIP,
        provisional: false,
        reason,
        avg_px,
        notional: 990.0,
        commission: Amount::from_f64(0.4).unwrap(),
        maker_share: 0.5,
        ts_event: Nanos(2),
    }
}

#[test]
fn an_entry_works_until_its_outcome() {
    let mut m = Market::new();
    let intent = m.enter();
    assert_eq!((intent.symbol, intent.direction, intent.decision_px), (ETH, -1, m.prices[1]));
    assert_eq!(intent.notional, 25_000.0 * 0.2 * intent.leverage);
    assert!(m.engine.position().is_none() && m.engine.is_working());
    // While it works the same signal enters nothing else; between scans the newest scan counts.
    for (vel_div, holds) in [(-0.04, true), (f64::NAN, true), (0.01, false), (f64::NAN, false), (-0.02, true)]
    {
        let report = m.step(vel_div, 1.0);
        assert_eq!(report.gate, Gate::EntryWorking);
        assert_eq!(report.action, Action::Intent(Intent::EntrySignal { symbol: ETH, holds }));
    }
    m.engine.breaker_mut().trip();
    assert_eq!(
        m.step(-0.04, 1.0).action,
        Action::Intent(Intent::EntrySignal { symbol: ETH, holds: false }),
        "a tripped breaker crosses no entry"
    );
    m.engine.breaker_mut().reset();
    let abandoned = Outcome::Abandoned { symbol: ETH, reason: AbandonReason::TimedOut };
    assert_eq!(m.engine.on_outcome(&abandoned), Ok(Booked::Abandoned));
    assert_eq!((m.engine.capital(), m.engine.trades().len()), (25_000.0, 0));
    m.enter();
}

#[test]
fn the_exit_is_measured_from_the_real_price_and_books_real_commissions() {
    let mut m = Market::new();
    m.enter();
    // Filled well below the market: the take profit is measured from here, not from the decision.
    let real = m.prices[1] * 0.999;
    assert_eq!(m.filled(real), Ok(Booked::Entered { exit: None }));
    let p = *m.engine.position().unwrap();
    assert_eq!((p.entry_price, p.notional, p.maker_entry, p.vel_div), (real, 1_000.0, Some(true), -0.03));
    assert_eq!(m.step(f64::NAN, 1.0).gate, Gate::Holding);
    let report = m.step(-0.09, 12.0);
    let Action::Intent(Intent::Exit(e)) = report.action else { panic!("{report:?}") };
    assert_eq!((e.symbol, e.reason, report.gate), (ETH, ExitReason::Tp, Gate::Exited));
    assert_eq!(report.values.change, -(m.prices[1] / real - 1.0));
    // Not repeated, and nothing entered meanwhile.
    assert_eq!((m.step(-0.09, 1.0).gate, m.step(-0.09, 1.0).action), (Gate::ExitWorking, Action::None));
    let out = real * 0.99;
    assert_eq!(m.engine.on_outcome(&Outcome::Exited(exit(ExitReason::Tp, out))), Ok(Booked::Exited));
    let trade = m.engine.drain_trades().next().unwrap();
    let gross = -1_000.0 * (out / real - 1.0);
    assert!((trade.gross_pnl - gross).abs() < 1e-12);
    assert!((trade.fees - 0.2).abs() < 1e-12, "{}", trade.fees);
    assert!((m.engine.capital() - (25_000.0 + gross - 0.2)).abs() < 1e-9);
    assert_eq!((trade.maker_entry, trade.maker_exit, trade.bars_held), (Some(true), None, 4));
    assert_eq!(m.engine.end_day().unwrap().trades, 1);
}

#[test]
fn the_resting_take_profit_fills_without_an_intent() {
    let mut m = Market::new();
    m.enter();
    m.filled(m.prices[1]).unwrap();
    m.step(f64::NAN, 1.0);
    assert_eq!(m.engine.on_outcome(&Outcome::Exited(exit(ExitReason::Tp, 1_900.0))), Ok(Booked::Exited));
    assert_eq!(m.engine.trades()[0].reason, ExitReason::Tp);
    assert!(m.engine.position().is_none());
}

#[test]
fn max_hold_counts_from_the_fill() {
    let mut m = Market::new();
    m.enter();
    m.step(-0.03, 0.0);
    m.filled(m.prices[1]).unwrap();
    let gates: Vec<Gate> = (0..5).map(|_| m.step(f64::NAN, 0.1).gate).collect();
    assert_eq!(gates, [Gate::Holding, Gate::Holding, Gate::Holding, Gate::Holding, Gate::Exited]);
}

#[test]
fn a_requested_exit_closes_what_there_is() {
    let flatten = ExitReason::Flatten;
    let mut m = Market::new();
    assert_eq!(m.engine.request_exit(flatten, Nanos(9)), Action::None);
    m.enter();
    // An entry that works: hold it back, and close whatever it brings, even in HIBERNATE.
    let Action::Intent(Intent::EntrySignal { holds: false, .. }) = m.engine.request_exit(flatten, Nanos(9))
    else {
        panic!()
    };
    m.engine.push_safety(alpha::Safety::of(0.1));
    assert_eq!(m.step(-0.03, 1.0).gate, Gate::Posture);
    let Ok(Booked::Entered { exit: Some(Intent::Exit(e)) }) = m.filled(2_000.0) else { panic!() };
    assert_eq!(e.reason, flatten);
    assert_eq!(m.engine.request_exit(flatten, Nanos(9)), Action::None, "asked once");
    m.engine.on_outcome(&Outcome::Exited(exit(flatten, 2_000.0))).unwrap();
    assert_eq!(m.engine.trades()[0].reason, flatten);

    let mut m = Market::new();
    m.enter();
    m.filled(2_000.0).unwrap();
    let Action::Intent(Intent::Exit(e)) = m.engine.request_exit(flatten, Nanos(9)) else { panic!() };
    assert_eq!((e.reason, e.ts_event), (flatten, Nanos(9)));
}

#[test]
fn outcomes_that_do_not_fit_change_nothing() {
    let mut m = Market::new();
    let state = |m: &Market| serde_json::to_string(&m.engine.snapshot()).unwrap();
    let before = state(&m);
    let exited = Outcome::Exited(exit(ExitReason::Tp, 1.0));
    assert_eq!(m.engine.on_outcome(&exited), Err(OutcomeError::NotOurs(ETH)));
    let unknown = Outcome::Entered(EntryFilled { symbol: SymbolId(7), ..entry(1.0) });
    assert_eq!(m.engine.on_outcome(&unknown), Err(OutcomeError::UnknownAsset(SymbolId(7))));
    for bad in [
        EntryFilled { avg_px: f64::NAN, ..entry(1.0) },
        EntryFilled { notional: 0.0, ..entry(1.0) },
        EntryFilled { direction: 0, ..entry(1.0) },
    ] {
        assert_eq!(m.engine.on_outcome(&Outcome::Entered(bad)), Err(OutcomeError::Impossible(ETH)));
    }
    assert_eq!(state(&m), before);
    m.enter();
    let other = Outcome::Entered(EntryFilled { symbol: SymbolId(0), ..entry(1.0) });
    assert_eq!(m.engine.on_outcome(&other), Err(OutcomeError::NotOurs(SymbolId(0))));
    m.filled(2_000.0).unwrap();
    assert_eq!(m.filled(2_000.0), Err(OutcomeError::Occupied(ETH)), "told twice");
}

#[test]
fn a_position_found_at_the_venue_is_adopted() {
    let mut m = Market::new();
    assert_eq!(m.filled(2_000.0), Ok(Booked::Entered { exit: None }));
    let p = m.engine.position().unwrap();
    assert_eq!((p.symbol, p.direction, p.leverage), (ETH, -1, 0.2));
}

#[test]
fn a_working_entry_survives_a_snapshot() {
    let mut m = Market::new();
    m.enter();
    m.step(f64::NAN, 1.0);
    let text = serde_json::to_string(&m.engine.snapshot()).unwrap();
    let again = Engine::restore(m.engine.params().clone(), &serde_json::from_str(&text).unwrap()).unwrap();
    m.engine = again.with_booking(Booking::Venue);
    assert_eq!(m.step(f64::NAN, 1.0).gate, Gate::EntryWorking);
    assert_eq!(m.filled(2_000.0), Ok(Booked::Entered { exit: None }));
}

#[test]
fn a_restart_keeps_position_capital_and_time_whatever_the_columns_and_parameters() {
    let mut m = Market::new();
    m.enter();
    m.filled(1_990.0).unwrap();
    m.engine.set_capital(31_000.0);
    let image = m.engine.image();
    assert_eq!(image.held().unwrap().1.symbol, "ETHUSDT");

    // Other columns, other parameters, twice the stride, four of the new ticks away.
    let assets = vec!["XRPUSDT".to_owned(), "ETHUSDT".to_owned(), "BTCUSDT".to_owned()];
    let params = Params { fixed_tp_pct: 0.5, ..m.engine.params().clone() };
    let resumed = Engine::resume(params, assets, 2, &image, None, 4).unwrap();
    assert!(resumed.other_params && resumed.other_assets && resumed.lost.is_none());
    let mut engine = resumed.engine.with_booking(Booking::Venue);
    let position = *engine.position().unwrap();
    assert_eq!((position.symbol, position.entry_price, engine.capital()), (SymbolId(1), 1_990.0, 31_000.0));
    // Five bars at two ticks are ten; the four away count.
    let mut ticks = engine.ticks() - position.entry_tick;
    assert!(ticks >= 4, "{ticks}");
    let exit = loop {
        let input = TickInput::quiet(0, Nanos(1), &[1.0, 1_990.0, 50_000.0]);
        ticks += 1;
        match engine.step_bar(&input).action {
            Action::None => assert!(ticks < 20),
            action => break action,
        }
    };
    let Action::Intent(Intent::Exit(exit)) = exit else { panic!("{exit:?}") };
    assert_eq!((exit.reason, exit.symbol, ticks), (ExitReason::MaxHold, SymbolId(1), 11));
    // Killed while the exit worked: it is asked for again.
    engine.reopen();
    let input = TickInput::quiet(0, Nanos(2), &[1.0, 1_990.0, 50_000.0]);
    assert!(matches!(engine.step_bar(&input).action, Action::Intent(Intent::Exit(_))));

    let gone =
        Engine::resume(m.engine.params().clone(), vec!["BTCUSDT".to_owned()], 1, &image, None, 0).unwrap();
    assert_eq!(gone.lost.as_deref(), Some("ETHUSDT"));
    assert!(gone.engine.position().is_none() && gone.engine.capital() == 31_000.0);
}

fn filled(avg_px: f64, notional: f64, commission: f64) -> Filled {
    Filled { avg_px, notional, commission: Amount::from_f64(commission).unwrap(), maker_share: 0.0 }
}

fn correction(entry: Option<Filled>, exit: Option<Filled>) -> Outcome {
    Outcome::Corrected(Correction { trip: TRIP, symbol: ETH, direction: -1, entry, exit })
}

#[test]
fn an_estimated_entry_is_put_right_while_it_is_held() {
    let mut m = Market::new();
    m.enter();
    m.filled(2_000.0).unwrap();
    let c = correction(Some(filled(1_998.0, 999.0, 0.5)), None);
    for _ in 0..2 {
        assert_eq!(m.engine.on_outcome(&c), Ok(Booked::Corrected { since: None }));
        let p = m.engine.position().unwrap();
        assert_eq!(
            (p.entry_price, p.notional, p.maker_entry, p.vel_div),
            (1_998.0, 999.0, Some(false), -0.03)
        );
        assert!((p.fee_entry * p.notional - 0.5).abs() < 1e-12);
    }
    assert_eq!(m.engine.capital(), 25_000.0);
}

#[test]
fn a_closed_trade_is_put_right_to_the_venues_facts_and_only_once() {
    let mut m = Market::new();
    m.enter();
    m.filled(2_000.0).unwrap();
    // Told at a stand-in price and without a commission.
    let told = ExitFilled { provisional: true, commission: Amount::ZERO, ..exit(ExitReason::Stop, 2_010.0) };
    m.engine.on_outcome(&Outcome::Exited(told)).unwrap();
    // Another trade after it, told right.
    m.enter();
    let second = TripId::new(7, 2);
    m.engine.on_outcome(&Outcome::Entered(EntryFilled { trip: second, ..entry(1_990.0) })).unwrap();
    let out = ExitFilled { trip: second, ..exit(ExitReason::Tp, 1_980.0) };
    m.engine.on_outcome(&Outcome::Exited(out)).unwrap();
    let taken: Vec<f64> = std::iter::from_fn(|| m.engine.take_trade()).map(|t| t.pnl).collect();
    let second_pnl = taken[1];

    let c = correction(Some(filled(2_001.0, 1_000.5, -0.25)), Some(filled(2_012.5, 1_006.25, 0.375)));
    let gross = 1_000.5 - 1_006.25;
    for _ in 0..3 {
        assert_eq!(m.engine.on_outcome(&c), Ok(Booked::Corrected { since: Some(1) }));
        let pnl = gross - (0.375 - 0.25);
        assert!((m.engine.capital() - (25_000.0 + pnl + second_pnl)).abs() < 1e-9, "{}", m.engine.capital());
        let trades: Vec<_> = m.engine.trades_since(1).map(|(n, t)| (n, *t)).collect();
        assert_eq!([trades[0].0, trades[1].0], [1, 2]);
        let t = trades[0].1;
        assert!(
            (t.pnl - pnl).abs() < 1e-9 && (t.fees - 0.125).abs() < 1e-9 && (t.gross_pnl - gross).abs() < 1e-9
        );
        assert_eq!((t.exit_price, t.reason, t.position.entry_price), (2_012.5, ExitReason::Stop, 2_001.0));
        assert!((trades[1].1.capital_after - m.engine.capital()).abs() < 1e-9);
    }
    // The exit alone: the entry stays as it was put right.
    let c = correction(None, Some(filled(2_012.5, 1_006.25, 1.375)));
    m.engine.on_outcome(&c).unwrap();
    let fees = m.engine.trades_since(1).next().unwrap().1.fees;
    assert!((fees - 1.125).abs() < 1e-9, "{fees}");
    // And the entry alone: the exit stays.
    m.engine.on_outcome(&correction(Some(filled(2_001.0, 1_000.5, 0.0)), None)).unwrap();
    let fees = m.engine.trades_since(1).next().unwrap().1.fees;
    assert!((fees - 1.375).abs() < 1e-9, "{fees}");
    let day = m.engine.end_day().unwrap();
    assert!((day.capital - 25_000.0 - day.pnl).abs() < 1e-9, "the day's profit is what the capital gained");
}

#[test]
fn a_correction_before_the_trade_is_taken_changes_what_is_taken() {
    let mut m = Market::new();
    m.enter();
    m.filled(2_000.0).unwrap();
    m.engine.on_outcome(&Outcome::Exited(exit(ExitReason::Tp, 1_980.0))).unwrap();
    m.engine.on_outcome(&correction(None, Some(filled(1_970.0, 985.0, 0.0)))).unwrap();
    let trade = m.engine.take_trade().unwrap();
    assert_eq!((trade.exit_price, trade.capital_after), (1_970.0, m.engine.capital()));
}

#[test]
fn a_round_trip_that_no_decision_explains_is_booked_beside_what_is_held() {
    let mut m = Market::new();
    m.enter();
    m.filled(2_000.0).unwrap();
    let held = *m.engine.position().unwrap();
    let other = TripId::new(7, 9);
    let e = EntryFilled { trip: other, direction: 1, ..entry(2_000.0) };
    let x = ExitFilled { trip: other, ..exit(ExitReason::Flatten, 1_990.0) };
    let unplanned = Outcome::Unplanned { entry: e, exit: x };
    assert_eq!(m.engine.on_outcome(&unplanned), Ok(Booked::Unplanned));
    assert_eq!(m.engine.position(), Some(&held));
    let trade = *m.engine.trades().last().unwrap();
    assert!((trade.pnl - (-5.0 - 0.2)).abs() < 1e-9, "{}", trade.pnl);
    assert!((m.engine.capital() - (25_000.0 + trade.pnl)).abs() < 1e-9);
    // Told twice, and told of what cannot be.
    assert_eq!(m.engine.on_outcome(&unplanned), Ok(Booked::Corrected { since: None }));
    let bad = Outcome::Unplanned { entry: EntryFilled { avg_px: f64::NAN, ..e }, exit: x };
    assert_eq!(m.engine.on_outcome(&bad), Err(OutcomeError::Impossible(ETH)));
    assert_eq!(m.engine.trades().len(), 1);
}

#[test]
fn a_correction_of_what_is_not_known_changes_nothing() {
    let mut m = Market::new();
    let c = |entry, exit| correction(entry, exit);
    let good = Some(filled(2_000.0, 1_000.0, 0.0));
    assert_eq!(m.engine.on_outcome(&c(good, None)), Err(OutcomeError::UnknownTrip(ETH)));
    m.enter();
    m.filled(2_000.0).unwrap();
    assert_eq!(m.engine.on_outcome(&c(good, good)), Err(OutcomeError::UnknownTrip(ETH)));
    let nan = Some(filled(f64::NAN, 1_000.0, 0.0));
    assert_eq!(m.engine.on_outcome(&c(nan, None)), Err(OutcomeError::Impossible(ETH)));
    assert_eq!((m.engine.capital(), m.engine.position().unwrap().entry_price), (25_000.0, 2_000.0));
}
