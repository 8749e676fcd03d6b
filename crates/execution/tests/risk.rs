//! Every check: what it denies, what it lets pass, how it says so.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::*;
use execution::*;
use market::*;

type Change = fn(&mut Harness, &mut Gate, &mut EnterIntent);

/// What a harness with the given config denies after `change`; `None` = the order went out.
fn denied_by(cfg: RouterConfig, change: Change) -> Option<Check> {
    let mut d = Harness::with(cfg);
    d.bbo(10_000, 10_002);
    let mut gate = Gate::open();
    let mut e = EnterIntent {
        symbol: SYM,
        direction: 1,
        notional: 1_000.0,
        leverage: 1.0,
        capital: 25_000.0,
        decision_px: 100.01,
        tp_pct: 0.0095,
        fill_probability: 0.9,
        ts_event: VenueTime(d.now()),
    };
    change(&mut d, &mut gate, &mut e);
    d.router.set_gate(d.now(), gate, &mut d.out);
    d.drain();
    d.requests.clear();
    d.denials.clear();
    d.outcomes.clear();
    d.intent(Intent::Enter(e));
    let sent = d.requests.iter().any(|r| matches!(r, OrderRequest::New(_)));
    let denial = d.denials.pop_front();
    assert_eq!(denial.is_none(), sent, "{denial:?}");
    if let Some(x) = denial
        && x.check != Check::DuplicateIntent
    {
        let text = x.to_string();
        assert!(text.contains(x.check.key()) && text.contains(&x.check.id().to_string()), "{text}");
        assert_eq!(
            d.outcomes.pop_back(),
            Some(Outcome::Abandoned { symbol: SYM, reason: AbandonReason::RiskDenied })
        );
    }
    denial.map(|x| x.check)
}

fn clock(offset_ms: i64, error_ms: u64) -> Option<ClockOffset> {
    let ms = Nanos::MS as i64;
    Some(ClockOffset { offset_ns: offset_ms * ms, error_ns: error_ms * Nanos::MS, ..ClockOffset::EXACT })
}

fn mark(d: &mut Harness, mark: f64) {
    let m = MarkPrice {
        symbol: SYM,
        ts_send: d.now(),
        mark,
        index: mark,
        funding_rate: 0.0,
        next_funding: Nanos(0),
    };
    d.router.on_mark(d.now(), &m);
}

#[test]
fn each_check_denies_what_it_is_for() {
    let cases: &[(Check, Change)] = &[
        (Check::State, |_, g, _| g.state = TradingState::Reducing),
        (Check::State, |_, g, _| g.state = TradingState::Halted),
        (Check::Kill, |d, _, _| d.router.kill(d.now(), KillTrigger::Command, false, &mut d.out)),
        (Check::Tripped, |d, _, _| d.router.trip(d.now(), Check::DayLoss, &mut d.out)),
        (Check::Connected, |_, g, _| g.order_path = false),
        (Check::Connected, |_, g, _| g.user_stream = false),
        (Check::Posture, |_, g, _| g.posture = Posture::Hibernate),
        (Check::Breaker, |_, g, _| g.breaker_can_open = false),
        (Check::Clock, |_, g, _| g.clock = clock(-1_251, 0)),
        (Check::Clock, |_, g, _| g.clock = Some(ClockOffset { offset_ns: i64::MIN, ..ClockOffset::EXACT })),
        (Check::Clock, |_, g, _| g.clock = None),
        (Check::ClockError, |_, g, _| g.clock = clock(0, 501)),
        (Check::ClockError, |d, g, _| {
            // 400 ms of error when it was measured, and 110 ms of drift since.
            let at = Nanos(d.now().0 - 1_100_000_000_000);
            g.clock = Some(ClockOffset { offset_ns: 0, error_ns: 400 * Nanos::MS, at });
        }),
        (Check::Lease, |d, g, _| g.lease_until = Some(d.now().plus(249 * Nanos::MS))),
        (Check::SignalAhead, |d, _, e| e.ts_event = VenueTime(d.now().plus(251 * Nanos::MS))),
        (Check::Tradable, |d, _, _| {
            let halted = Instrument { status: InstrumentStatus::Halted, ..instruments().remove(0) };
            assert!(d.router.set_instrument(halted));
        }),
        (Check::BookAge, |d, _, e| {
            d.at(1_001);
            e.ts_event = VenueTime(d.now());
        }),
        (Check::BookSane, |d, _, _| d.bbo(10_002, 10_002)),
        (Check::BookSane, |d, _, _| d.bbo(0, 10_002)),
        (Check::SignalAge, |d, _, e| e.ts_event = VenueTime(Nanos(d.now().0 - 1_001_000_000))),
        (Check::DecisionDrift, |_, _, e| e.decision_px = 99.4),
        (Check::MarkCollar, |d, _, _| mark(d, 98.9)),
        (Check::PriceFilter, |d, _, _| {
            d.router.set_instrument(Instrument { max_px: Px(9_999), ..instruments().remove(0) });
        }),
        (Check::PercentPrice, |d, _, _| {
            d.router.set_instrument(Instrument { multiplier_up: 0.999, ..instruments().remove(0) });
            mark(d, 100.01);
        }),
        (Check::MinQty, |_, _, e| e.notional = 0.5),
        (Check::MinNotional, |_, _, e| e.notional = 4.5),
        (Check::Leverage, |_, g, _| g.abs_max_leverage = 0.9),
        (Check::Leverage, |_, _, e| e.leverage = f64::NAN),
        (Check::Leverage, |d, _, _| {
            let venue = VenueState { wallet: Amount(100 * Amount::ONE), ..d.venue_state() };
            d.router.reconcile(d.now(), &venue, &mut d.out);
            d.router.begin_day();
        }),
        (Check::Malformed, |_, _, e| e.notional = f64::NAN),
        (Check::Malformed, |_, _, e| e.direction = 0),
        (Check::Malformed, |_, _, e| e.tp_pct = f64::INFINITY),
        (Check::Malformed, |_, _, e| e.decision_px = f64::NAN),
        (Check::DuplicateIntent, |d, _, e| d.intent(Intent::Enter(*e))),
    ];
    for (k, (check, change)) in cases.iter().enumerate() {
        assert_eq!(denied_by(RouterConfig::default(), *change), Some(*check), "case {k}");
    }
    assert_eq!(denied_by(RouterConfig::default(), |_, _, _| ()), None);
}

/// Sets one key.
type Setting = fn(&mut RouterConfig);

fn limited(f: Setting) -> RouterConfig {
    let mut cfg = RouterConfig::default();
    f(&mut cfg);
    cfg
}

#[test]
fn limits_come_from_the_config() {
    let cases: &[(Check, Setting)] = &[
        // Nothing that the venue would take is left of the order: that is not cut but refused.
        (Check::OrderNotional, |c| c.risk.max_order_notional_usd = Some(4.0)),
        (Check::Position, |c| c.risk.max_position_usd = Some(4.0)),
        (Check::Gross, |c| c.risk.max_gross_usd = Some(999.0)),
        (Check::Gross, |c| c.risk.max_gross_x_capital = 0.03),
        (Check::Net, |c| c.risk.max_net_usd = Some(999.0)),
        (Check::Net, |c| c.risk.max_net_x_capital = 0.03),
        (Check::OrderRate, |c| c.risk.venue_orders_per_10s = 2),
    ];
    for (check, f) in cases {
        assert_eq!(denied_by(limited(*f), |_, _, _| ()), Some(*check));
    }
    let tight = limited(|c| c.risk.price_collar_bps = 0.5);
    assert_eq!(denied_by(tight, |_, _, _| ()), Some(Check::PriceCollar));
}

#[test]
fn nothing_opens_before_the_first_clean_reconciliation() {
    let mut d = Harness::cold(RouterConfig::default());
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.bbo(10_000, 10_002);
    d.enter(1, 100.0, 0.9);
    assert_eq!(d.denials.pop_front().unwrap().check, Check::Reconciled);
    d.wait(10);
    assert!(d.controls.contains(&Control::Reconcile));
    assert!(d.reconcile(&[], &[]).is_clean());
    d.at(1);
    d.enter(1, 100.0, 0.9);
    assert_eq!(d.sent_new().qty, Qty(100));
}

#[test]
fn repeated_entries_latch_until_a_human_gives_a_reason() {
    let mut d = Harness::new();
    for n in 0..11 {
        d.at(300);
        d.bbo(10_000, 10_002);
        d.enter(1, 100.0, 0.9);
        if n < 10 {
            let o = d.sent_new();
            d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, -2010);
        }
    }
    assert_eq!(d.denials.pop_back().unwrap().check, Check::Repeated);
    assert!(d.alerted(AlertKind::Tripped));
    d.at(120_000);
    d.bbo(10_000, 10_002);
    d.enter(1, 100.0, 0.9);
    assert_eq!(d.denials.pop_back().unwrap().check, Check::Tripped);
    let rearm = |d: &mut Harness, why| d.router.rearm(d.now(), Rearm::Latches, why, &mut d.out);
    assert_eq!(rearm(&mut d, "ok"), Err(RearmError::NoReason));
    assert_eq!(rearm(&mut d, "strategy bug fixed"), Ok(()));
    let rearmed = d.router.rearmed().unwrap();
    assert_eq!((rearmed.at, rearmed.reason.as_str()), (d.now(), "strategy bug fixed"));
    d.at(1);
    d.enter(1, 100.0, 0.9);
    assert_eq!(d.sent_new().qty, Qty(100));
}

#[test]
fn refusals_trip_and_are_counted_for_the_breaker() {
    let mut d = Harness::with(limited(|c| c.risk.max_rejects_per_min = 3));
    for _ in 0..4 {
        d.at(1_000);
        d.bbo(10_000, 10_002);
        d.enter(1, 100.0, 0.9);
        let o = d.sent_new();
        d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, -2010);
    }
    assert_eq!(d.router.rejects_last_minute(d.now()), 4);
    assert_eq!(d.router.tripped(), Some(Check::RejectRate));
}

#[test]
fn the_days_loss_and_drawdown_stop_entries_but_not_the_next_day() {
    for (f, check) in [
        ((|c| c.risk.max_day_loss_usd = Some(1.0)) as Setting, Check::DayLoss),
        (|c| c.risk.max_day_drawdown = 1e-5, Check::Drawdown),
    ] {
        let mut d = Harness::with(limited(f));
        d.bbo(10_000, 10_002);
        d.enter(1, 100.5, 0.9);
        let o = d.sent_new();
        d.fill(&o, 100, 100, 10_000, true);
        let tp = d.sent_new();
        d.ack(&tp);
        d.exit(ExitReason::Stop);
        d.sent_cancel();
        let x = d.sent_new();
        d.fill(&x, 100, 100, 9_890, false);
        d.canceled(&tp, 0);
        assert_eq!(d.router.ledger().day_pnl().unwrap().to_string(), "-1.10000000");
        d.at(10);
        d.bbo(9_890, 9_892);
        d.enter(1, 100.0, 0.9);
        assert_eq!(d.denials.pop_back().unwrap().check, check);
        d.router.begin_day();
        d.at(10);
        d.enter(1, 100.0, 0.9);
        assert_eq!(d.sent_new().side, Side::Buy);
    }
}

#[test]
fn a_config_that_cannot_be_meant_is_refused_by_key() {
    let cases: &[(&str, Setting)] = &[
        ("min_fill_probability", |c| c.min_fill_probability = 1.1),
        ("ob_edge_bps", |c| c.ob_edge_bps = f64::NAN),
        ("query_timeout_ms", |c| c.query_timeout_ms = 3_001),
        ("risk.duplicate_window_ms", |c| c.risk.duplicate_window_ms = 500),
        ("dead_man_refresh_ms", |c| c.dead_man_refresh_ms = 20_000),
        ("risk.max_order_notional_usd", |c| c.risk.max_order_notional_usd = Some(2e6)),
        ("risk.max_position_usd", |c| c.risk.max_position_usd = Some(-1.0)),
        ("risk.rate_share", |c| c.risk.rate_share = 0.6),
        ("risk.max_open_positions", |c| c.risk.max_open_positions = 0),
        ("risk.max_day_drawdown", |c| c.risk.max_day_drawdown = f64::NAN),
    ];
    for (key, f) in cases {
        let error = Router::new(limited(*f), instruments(), 1).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
    }
    assert!(serde_json::from_str::<RouterConfig>(r#"{"risk": {"max_order_notional": 1}}"#).is_err());
    let c: RouterConfig =
        serde_json::from_str(r#"{"risk": {"max_position_usd": 5000}, "max_repegs": 2}"#).unwrap();
    assert_eq!((c.risk.max_position_usd, c.max_repegs, c.maker_timeout_ms), (Some(5_000.0), 2, 5_000));
    let mut wrong = instruments();
    wrong.swap(0, 1);
    assert!(Router::new(RouterConfig::default(), wrong, 1).is_err());
}

#[test]
fn while_orders_go_over_rest_nothing_is_opened() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.router.set_gate(d.now(), Gate { fallback: true, ..Gate::open() }, &mut d.out);
    d.reconcile(&[], &[]);
    d.enter(1, 10.0, 0.9);
    assert_eq!(d.denials.pop_front().unwrap().check, Check::Connected);
    // A position is closed all the same.
    let mut d = Harness::holding(1, 100);
    d.router.set_gate(d.now(), Gate { fallback: true, ..Gate::open() }, &mut d.out);
    d.drain();
    d.requests.clear();
    d.exit(ExitReason::Stop);
    let sent: Vec<OrderRequest> = d.requests.drain(..).collect();
    assert!(sent.iter().any(|r| matches!(r, OrderRequest::New(o) if o.reduce_only)), "{sent:?}");
}

#[test]
fn an_overloaded_venue_is_asked_for_entries_later_and_later_and_trips_nothing() {
    let mut d = Harness::with(limited(|c| c.risk.max_rejects_per_min = 1));
    for wait in [1_000, 2_000, 4_000] {
        d.bbo(10_000, 10_002);
        d.enter(1, 10.0, 0.9);
        let o = d.sent_new();
        d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, -1008);
        d.wait_with_book(wait - 10);
        d.outcomes.clear();
        d.enter(1, 10.0, 0.9);
        assert_eq!(d.denials.pop_front().unwrap().check, Check::Backoff, "{wait}");
        d.outcomes.clear();
        d.wait_with_book(20);
    }
    assert_eq!(d.router.tripped(), None);
}

#[test]
fn funding_is_loss_of_the_day_and_a_transfer_is_not() {
    let mut d = Harness::with(limited(|c| c.risk.max_day_loss_usd = Some(10.0)));
    d.bbo(10_000, 10_002);
    d.router.on_income(d.now(), Amount(-5_000 * Amount::ONE), false);
    assert_eq!(d.router.ledger().day_pnl(), Some(Amount::ZERO));
    d.router.on_income(d.now(), Amount(-11 * Amount::ONE), true);
    d.enter(1, 10.0, 0.9);
    assert_eq!(d.denials.pop_front().unwrap().check, Check::DayLoss);
}

#[test]
fn a_coarser_tick_is_kept_by_every_price() {
    let mut d = Harness::new();
    let coarse = Instrument { px_step: 50, qty_step: 3, ..instruments().remove(0) };
    assert!(d.router.set_instrument(coarse));
    d.bbo(10_010, 10_060);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    assert_eq!((o.px, o.qty.0 % 3), (Px(10_000), 0), "at or below the bid, on the step");
    d.ack(&o);
    d.fill(&o, o.qty.0, o.qty.0, o.px.0, true);
    let tp = d.sent_new();
    assert_eq!((tp.px.0 % 50, tp.px >= Px(10_095)), (0, true), "{tp:?}");
}

#[test]
fn check_numbers_are_unique_and_dense() {
    for (k, c) in Check::ALL.iter().enumerate() {
        assert_eq!(usize::from(c.id()), k + 1, "{c:?}");
    }
}

/// What an older state held more of must be gone, and what it had the same room for must be new.
#[test]
fn a_day_written_over_an_older_one_is_the_same_day() {
    let mut over = DayState::default();
    let mut d = Harness::holding(-1, 50);
    let o = d.tp.take().unwrap();
    let mut room = d.router.day_room();
    d.router.day_state_into(d.now(), &mut over, &mut room);
    assert_eq!(over, d.router.day_state(d.now()));
    let kept = (room.len(), room.capacity(), over.symbols.capacity(), over.entries.capacity());
    d.fill(&o, o.qty.0, o.qty.0, o.px.0, true);
    d.router.halt(d.now(), SymbolId(1), &mut d.out);
    d.router.day_state_into(d.now(), &mut over, &mut room);
    assert_eq!(over, d.router.day_state(d.now()));
    assert_eq!(over.symbols.len(), 2, "{over:?}");
    // It took its room from what was there.
    assert_eq!((room.len() + 2, room.capacity(), over.symbols.capacity(), over.entries.capacity()), kept);
    d.router.rearm(d.now(), Rearm::LatchesAndDay, "because of a test", &mut d.out).unwrap();
    d.router.day_state_into(d.now(), &mut over, &mut room);
    assert_eq!(over, d.router.day_state(d.now()));
    assert!(over.symbols.is_empty() && over.rearmed.is_some(), "{over:?}");
}
