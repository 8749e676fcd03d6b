//! The order state machine, rule by rule (FAULTS §2 rows 14–20, 36–39).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::*;
use execution::*;
use market::*;

/// A harness with an acknowledged maker entry to buy 10 lots at 100.00.
fn entering() -> (Harness, NewOrder) {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    d.ack(&o);
    (d, o)
}

#[test]
fn silence_is_unknown_and_absence_counts_only_after_the_request_can_no_longer_arrive() {
    let mut d = Harness::with(RouterConfig { recv_window_ms: 5_000, ..RouterConfig::default() });
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    let mut asked = Vec::new();
    let sent = d.ms;
    for _ in 0..120 {
        d.wait(100);
        while let Some(OrderRequest::Query(q)) = d.requests.pop_front() {
            assert_eq!(q.client_order_id, o.client_order_id);
            asked.push(d.ms - sent);
            d.says(&o, ExecType::NotFound, OrderStatus::Unknown, 0, -2013);
        }
        if !d.outcomes.is_empty() {
            break;
        }
    }
    // Unknown at 1 s; asked 0.1, 0.3, 1 and 3 s later; then every 3 s. Proof only after 5 s + 1 s.
    assert_eq!(asked, [1_100, 1_300, 2_000, 4_000, 7_000]);
    assert!(matches!(d.outcome(), Outcome::Abandoned { .. }));
    assert!(d.alerted(AlertKind::OrderUnknown) && d.alerted(AlertKind::UnknownTooLong));
    assert_eq!(d.router.orders().iter().next().unwrap().status, OrderStatus::Rejected);
}

#[test]
fn while_unknown_everything_is_reserved_and_nothing_else_is_opened() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    d.says(&o, ExecType::Unknown, OrderStatus::Unknown, 0, -1007);
    assert_eq!(d.router.orders().worst_case(SYM), (Qty(10), Qty::ZERO));
    assert_eq!(d.router.orders().unknown().0, 1);
    let level = |px| Level { px: Px(px), qty: Qty(9) };
    d.router.on_bbo(d.now(), SymbolId(1), level(500), level(501), &mut d.out);
    let e = EnterIntent {
        symbol: SymbolId(1),
        direction: 1,
        notional: 50.0,
        leverage: 1.0,
        capital: 25_000.0,
        decision_px: 5.005,
        tp_pct: 0.01,
        fill_probability: 0.9,
        ts_event: VenueTime(d.now()),
    };
    d.intent(Intent::Enter(e));
    assert!(matches!(d.denials.pop_front().unwrap().check, Check::UnknownOrders | Check::OpenPositions));
    assert!(d.nothing_sent());
}

#[test]
fn an_unknown_order_that_lives_is_worked_on() {
    for code in [-1000, -1006, -1007, -4116] {
        let mut d = Harness::new();
        d.bbo(10_000, 10_002);
        d.enter(1, 10.0, 0.9);
        let o = d.sent_new();
        d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, code);
        d.wait(100);
        assert_eq!(d.sent_query(), o.client_order_id);
        d.says(&o, ExecType::Status, OrderStatus::New, 0, 0);
        d.fill(&o, 10, 10, 10_000, true);
        assert!(matches!(d.outcome(), Outcome::Entered(_)), "{code}");
        assert_eq!(d.sent_new().tif, TimeInForce::Gtx);
    }
}

#[test]
fn what_was_told_before_changes_nothing() {
    let (mut d, o) = entering();
    let r = d.fill(&o, 4, 4, 10_000, true);
    let before = (d.router.position(SYM), d.router.ledger().clone());
    d.report(r);
    d.ack(&o);
    d.says(&o, ExecType::Status, OrderStatus::New, 0, 0);
    d.says(&o, ExecType::Status, OrderStatus::PartiallyFilled, 4, 0);
    assert_eq!((d.router.position(SYM), d.router.ledger().clone()), before);
    let w = d.router.orders().iter().next().unwrap();
    assert_eq!((w.status, w.cum, w.open_qty()), (OrderStatus::PartiallyFilled, Qty(4), Qty(6)));
    assert_eq!(d.router.stats().duplicate_reports, 1);
}

#[test]
fn a_fill_may_come_before_its_acknowledgement_and_out_of_order() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    let base = d.base(&o);
    let fill = |id, last, cum, px, status| ExecutionReport {
        exec_type: ExecType::Trade,
        status,
        last_px: Px(px),
        last_qty: Qty(last),
        cum_qty: Qty(cum),
        trade_id: id,
        maker: true,
        commission: Amount(7),
        ..base
    };
    d.report(fill(2, 7, 10, 10_010, OrderStatus::Filled));
    assert_eq!(d.router.position(SYM).qty, Qty(10), "the cumulative quantity counts");
    assert!(d.outcomes.is_empty(), "the price of 3 lots is not known yet");
    d.report(fill(1, 3, 3, 10_000, OrderStatus::PartiallyFilled));
    d.ack(&o);
    let Outcome::Entered(e) = d.outcome() else { panic!() };
    assert_eq!((e.qty, e.avg_px, e.commission), (Qty(10), 100.07, Amount(14)));
    assert_eq!(d.router.position(SYM).avg_ticks(), 10_007.0);
}

#[test]
fn a_lost_fill_report_is_made_good_by_the_order_state() {
    let (mut d, o) = entering();
    d.says(&o, ExecType::Status, OrderStatus::Filled, 10, 0);
    assert_eq!(d.router.position(SYM).qty, Qty(10));
    d.wait(500);
    assert!(d.alerted(AlertKind::FillPriceEstimated));
    let Outcome::Entered(e) = d.outcome() else { panic!() };
    assert_eq!((e.qty, e.avg_px), (Qty(10), 100.0));
}

#[test]
fn a_refused_cancel_is_asked_about() {
    let (mut d, o) = entering();
    d.wait_with_book(5_000);
    assert_eq!(d.sent_cancel(), o.client_order_id);
    d.says(&o, ExecType::CancelRejected, OrderStatus::Unknown, 0, -2011);
    d.wait(100);
    assert_eq!(d.sent_query(), o.client_order_id);
    d.says(&o, ExecType::Status, OrderStatus::Filled, 10, 0);
    d.wait(500);
    assert!(matches!(d.outcome(), Outcome::Entered(_)));
}

#[test]
fn cancels_stop_after_three_and_the_order_is_asked_for() {
    let (mut d, o) = entering();
    d.signal(false);
    d.wait_with_book(5_000);
    let mut kinds = Vec::new();
    for _ in 0..40 {
        d.wait(100);
        kinds.extend(d.requests.drain(..).map(|r| matches!(r, OrderRequest::Cancel(_))));
    }
    assert_eq!(kinds[..4], [true, true, true, false]);
    assert!(d.alerted(AlertKind::StuckCancel));
    d.canceled(&o, 0);
    assert!(matches!(d.outcome(), Outcome::Abandoned { .. }));
}

#[test]
fn a_post_only_order_that_would_take_is_priced_again_after_a_pause() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    for n in 1..=3 {
        let o = d.sent_new();
        assert_eq!(o.client_order_id.attempt, n);
        d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, -5022);
        assert!(d.nothing_sent());
        d.wait_with_book(500);
    }
    assert_eq!(d.router.stats().rejects, 3);
    assert_eq!(d.router.rejects_last_minute(d.now()), 0, "normal business, no fault");
}

#[test]
fn re_pegs_are_bounded_in_number_and_rate() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_004);
    d.enter(1, 10.0, 0.9);
    let mut o = d.sent_new();
    d.ack(&o);
    let mut placed = 1;
    for n in 1..500 {
        d.at(10);
        d.bbo(10_000 + n / 10, 10_004 + n / 10);
        if let Some(OrderRequest::Cancel(_)) = d.requests.pop_front() {
            d.canceled(&o, 0);
            o = d.sent_new();
            d.ack(&o);
            placed += 1;
        }
    }
    // 4.99 s at one move per 500 ms, at most 8 moves.
    assert_eq!(placed, 9);
    // The touch coming towards us is no reason to move.
    let (mut d, _) = entering();
    d.at(1_000);
    d.bbo(9_990, 9_992);
    assert!(d.nothing_sent());
}

#[test]
fn a_partial_entry_is_kept_and_its_dust_dropped() {
    let (mut d, o) = entering();
    d.fill(&o, 7, 7, 10_000, true);
    d.wait_with_book(5_000);
    assert_eq!(d.sent_cancel(), o.client_order_id);
    d.canceled(&o, 7);
    // 3 lots = 3.00 < MIN_NOTIONAL 5.00.
    let Outcome::Entered(e) = d.outcome() else { panic!() };
    assert_eq!(e.qty, Qty(7));
    let tp = d.sent_new();
    assert_eq!((tp.qty, tp.reduce_only), (Qty(7), true));
    assert!(d.denials.is_empty());
}

#[test]
fn an_entry_that_filled_after_all_is_closed_and_its_profit_counts() {
    let (mut d, o) = entering();
    d.signal(false);
    d.wait_with_book(5_000);
    d.sent_cancel();
    d.canceled(&o, 0);
    assert!(matches!(d.outcome(), Outcome::Abandoned { .. }));
    d.fill(&o, 10, 10, 10_000, true);
    assert!(d.alerted(AlertKind::LateFill));
    let x = d.sent_new();
    assert_eq!((x.order_type, x.side, x.qty, x.reduce_only), (OrderType::Market, Side::Sell, Qty(10), true));
    d.fill(&x, 10, 10, 10_000, false);
    assert_eq!(d.router.position(SYM).qty, Qty::ZERO);
    let Outcome::Unplanned { entry, exit } = d.outcome() else { panic!() };
    assert_eq!(
        (entry.qty, entry.avg_px, exit.avg_px, exit.reason),
        (Qty(10), 100.0, 100.0, ExitReason::Flatten)
    );
    assert!(d.outcomes.is_empty(), "neither as an entry nor as an exit of the engine's");
    let w = d.router.orders().iter().find(|w| w.id == o.client_order_id).unwrap();
    assert_eq!((w.status, w.cum), (OrderStatus::Canceled, Qty(10)), "the end is sticky, the quantity is not");
}

#[test]
fn a_take_profit_order_that_would_take_crosses_at_its_price() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    d.fill(&o, 10, 10, 10_000, true);
    let tp = d.sent_new();
    assert_eq!((tp.tif, tp.px), (TimeInForce::Gtx, Px(10_095)));
    d.says(&tp, ExecType::Rejected, OrderStatus::Rejected, 0, -5022);
    let ioc = d.sent_new();
    assert_eq!((ioc.tif, ioc.px, ioc.reduce_only), (TimeInForce::Ioc, Px(10_095), true));
    // It got nothing: back to resting, after a pause.
    d.says(&ioc, ExecType::Expired, OrderStatus::Expired, 0, 0);
    assert!(d.nothing_sent());
    d.wait(500);
    assert_eq!(d.sent_new().tif, TimeInForce::Gtx);
}

#[test]
fn a_stop_does_not_wait_for_an_unknown_take_profit_order() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.says(&tp, ExecType::Unknown, OrderStatus::Unknown, 0, -1007);
    d.exit(ExitReason::Stop);
    let x = d.sent_new();
    assert_eq!((x.order_type, x.qty), (OrderType::Market, Qty(100)));
    assert_ne!(x.client_order_id.intent, tp.client_order_id.intent);
    // Its own fate unknown: no second one before that is known.
    d.says(&x, ExecType::Unknown, OrderStatus::Unknown, 0, -1007);
    d.wait(4_000);
    assert!(d.requests.iter().all(|r| matches!(r, OrderRequest::Query(_))));
}

#[test]
fn a_refused_exit_is_tried_again_with_growing_pauses_and_never_given_up() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.exit(ExitReason::Flatten);
    d.sent_cancel();
    d.canceled(&tp, 0);
    let mut at = Vec::new();
    for _ in 0..12 {
        let x = d.sent_new();
        assert_eq!(x.qty, Qty(100));
        at.push(d.ms);
        d.says(&x, ExecType::Rejected, OrderStatus::Rejected, 0, -1008);
        while d.nothing_sent() && d.ms < at[at.len() - 1] + 10_000 {
            d.wait(50);
        }
    }
    assert!(d.alerted(AlertKind::ExitStuck));
    assert!(at.windows(2).all(|w| w[1] - w[0] <= 4_000));
}

#[test]
fn an_exit_during_the_entry_ends_it_and_closes_what_it_got() {
    let (mut d, o) = entering();
    d.fill(&o, 6, 6, 10_000, true);
    d.exit(ExitReason::Flatten);
    assert_eq!(d.sent_cancel(), o.client_order_id);
    d.canceled(&o, 6);
    assert!(matches!(d.outcome(), Outcome::Entered(e) if e.qty == Qty(6)));
    let x = d.sent_new();
    assert_eq!((x.order_type, x.qty), (OrderType::Market, Qty(6)));
}

/// While the entry works it explains the position; once it is given up nothing does.
#[test]
fn what_another_one_bought_beside_an_entry_is_unexpected_once_the_entry_is_given_up() {
    let (mut d, o) = entering();
    d.report(ExecutionReport {
        origin: OrderOrigin::External,
        exec_type: ExecType::Trade,
        status: OrderStatus::Filled,
        side: Side::Buy,
        last_px: Px(10_002),
        last_qty: Qty(100),
        cum_qty: Qty(100),
        trade_id: 999,
        ..d.base(&o)
    });
    assert_eq!(d.router.tripped(), Some(Check::Foreign));
    assert!(!d.alerted(AlertKind::UnexpectedPosition));
    d.exit(ExitReason::Flatten);
    assert_eq!(d.sent_cancel(), o.client_order_id);
    d.canceled(&o, 0);
    assert!(matches!(d.outcome(), Outcome::Abandoned { .. }));
    assert!(d.alerted(AlertKind::UnexpectedPosition));
    assert_eq!(d.router.position(SYM).qty, Qty(100));
}

#[test]
fn foreign_fills_move_the_position_and_the_trade_ends_as_external() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    let r = ExecutionReport {
        origin: OrderOrigin::External,
        exec_type: ExecType::Trade,
        status: OrderStatus::Filled,
        side: Side::Sell,
        last_px: Px(9_900),
        last_qty: Qty(100),
        cum_qty: Qty(100),
        trade_id: 999,
        ..d.base(&tp)
    };
    d.report(r);
    d.report(r);
    assert_eq!(d.router.position(SYM).qty, Qty::ZERO);
    assert!(d.alerted(AlertKind::ExternalFill) && d.router.tripped().is_some());
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    d.canceled(&tp, 0);
    assert!(
        matches!(d.outcome(), Outcome::Exited(x) if x.reason == ExitReason::External && x.avg_px == 99.0)
    );
    assert_eq!(d.router.stats().external_fills, 1);
}

#[test]
fn a_partial_external_reduction_resizes_the_take_profit_order() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    let r = ExecutionReport {
        origin: OrderOrigin::Adl,
        exec_type: ExecType::Trade,
        side: Side::Sell,
        last_px: Px(9_900),
        last_qty: Qty(30),
        cum_qty: Qty(30),
        trade_id: 999,
        ..d.base(&tp)
    };
    d.report(r);
    assert!(d.alerted(AlertKind::VenueClosed));
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    d.canceled(&tp, 0);
    assert_eq!(d.sent_new().qty, Qty(70));
}

#[test]
fn classes_of_refusal_have_their_consequences() {
    let refused = |code| {
        let mut d = Harness::new();
        d.bbo(10_000, 10_002);
        d.enter(1, 10.0, 0.9);
        let o = d.sent_new();
        d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, code);
        assert_eq!(
            d.outcome(),
            Outcome::Abandoned { symbol: SYM, reason: AbandonReason::Rejected },
            "{code}"
        );
        d.at(300);
        d.enter(1, 10.0, 0.9);
        (d.denials.pop_front().map(|x| x.check), d)
    };
    assert_eq!(refused(-2019).0, Some(Check::Margin));
    assert_eq!(refused(-1015).0, Some(Check::Backoff));
    assert_eq!(refused(-2015).0, Some(Check::Tripped));
    assert_eq!(refused(-2010).0, None);
    let (check, mut d) = refused(-1111);
    assert_eq!(check, Some(Check::Tradable));
    assert!(d.controls.contains(&Control::RefreshFilters(SYM)));
    assert!(d.router.set_instrument(instruments().remove(0)));
    d.at(300);
    d.enter(1, 10.0, 0.9);
    assert_eq!(d.sent_new().qty, Qty(10));
}

#[test]
fn a_closing_gate_ends_the_entry() {
    let shut: [fn(&mut Gate); 5] = [
        |g| g.state = TradingState::Reducing,
        |g| g.state = TradingState::Halted,
        |g| g.user_stream = false,
        |g| g.breaker_can_open = false,
        |g| g.posture = Posture::Hibernate,
    ];
    for f in shut {
        let (mut d, o) = entering();
        let mut g = Gate::open();
        f(&mut g);
        d.router.set_gate(d.now(), g, &mut d.out);
        d.drain();
        assert_eq!(d.sent_cancel(), o.client_order_id);
        d.canceled(&o, 0);
        assert_eq!(d.outcome(), Outcome::Abandoned { symbol: SYM, reason: AbandonReason::Halted });
    }
}

#[test]
fn no_trip_blocks_an_exit() {
    let mut d = Harness::holding(1, 100);
    d.router.trip(d.now(), Check::DayLoss, &mut d.out);
    let g = Gate {
        state: TradingState::Reducing,
        user_stream: false,
        clock: None,
        posture: Posture::Hibernate,
        abs_max_leverage: 0.0,
        breaker_can_open: false,
        ..Gate::open()
    };
    d.router.set_gate(d.now(), g, &mut d.out);
    d.drain();
    d.requests.clear();
    d.wait(30_000);
    d.requests.clear();
    d.exit(ExitReason::Stop);
    assert!(
        d.requests.iter().any(|r| matches!(r, OrderRequest::New(o) if o.order_type == OrderType::Market))
    );
}

#[test]
fn a_full_outbox_postpones_and_loses_nothing() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    for _ in 0..outbox::MAX_REQUESTS - 10 {
        d.out.requests.push(OrderRequest::CancelAll(SYM));
    }
    let e = EnterIntent {
        symbol: SYM,
        direction: 1,
        notional: 10.0,
        leverage: 1.0,
        capital: 25_000.0,
        decision_px: 100.01,
        tp_pct: 0.01,
        fill_probability: 0.9,
        ts_event: VenueTime(d.now()),
    };
    d.router.on_intent(d.now(), &Intent::Enter(e), &mut d.out);
    assert_eq!(d.out.requests.len(), outbox::MAX_REQUESTS - 10, "entries leave the last places to cancels");
    assert_eq!(d.router.next_deadline(), Some(Nanos(0)));
    d.out.requests.clear();
    d.router.on_timer(d.now(), &mut d.out);
    d.drain();
    assert_eq!(d.sent_new().qty, Qty(10));
}

#[test]
fn an_exit_without_a_position_tells_the_engine_that_there_is_none() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.exit(ExitReason::MaxHold);
    assert!(
        matches!(d.outcome(), Outcome::Exited(x) if x.reason == ExitReason::External && x.notional == 0.0)
    );
    assert!(d.alerted(AlertKind::NothingToClose) && d.nothing_sent());
}

#[test]
fn the_dead_man_switch_is_kept_alive_while_orders_rest_and_stopped_after() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    let count = |d: &Harness, ms| {
        d.controls.iter().filter(|c| **c == Control::DeadMan { symbol: SYM, countdown_ms: ms }).count()
    };
    for _ in 0..35 {
        d.wait(1_000);
        d.says(&tp, ExecType::Status, OrderStatus::New, 0, 0);
    }
    assert_eq!(count(&d, 30_000), 4);
    d.fill(&tp, 100, 100, 10_097, true);
    d.wait(10_000);
    assert_eq!(count(&d, 0), 1);
    d.wait(60_000);
    assert_eq!((count(&d, 0), count(&d, 30_000)), (1, 4));
}

#[test]
fn nonsense_reports_change_nothing() {
    let (mut d, o) = entering();
    let base = d.base(&o);
    d.report(ExecutionReport { symbol: SymbolId(99), ..base });
    d.report(ExecutionReport { symbol: SymbolId(1), ..base });
    d.report(ExecutionReport { cum_qty: Qty(-1), ..base });
    assert_eq!(d.alerts.iter().filter(|a| a.kind == AlertKind::BadReport).count(), 3);
    d.intent(Intent::Exit(ExitIntent { symbol: SymbolId(99), reason: ExitReason::Tp, ts_event: d.now() }));
    // More than the order's quantity cannot fill.
    d.says(&o, ExecType::Status, OrderStatus::PartiallyFilled, 1_000_000, 0);
    assert_eq!(d.router.position(SYM).qty, Qty(10));
}
