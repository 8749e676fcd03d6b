//! Money is booked from the venue's facts, corrected when a better fact comes, and never judged before it is known.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::*;
use execution::*;
use market::*;

fn usd(x: f64) -> Amount {
    Amount::from_f64(x).unwrap()
}

#[test]
fn a_restart_while_short_knows_no_equity_before_a_price_has_come() {
    let mut d = Harness::cold(RouterConfig::default());
    assert!(d.router.adopt_position(d.now(), SYM, Qty(-100_000), 100.0, 0.0095));
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.reconcile(
        &[],
        &[VenuePosition { symbol: SYM, qty: Qty(-100_000), entry_px: 100.0, liquidation_px: 0.0 }],
    );
    let ledger = d.router.ledger();
    assert_eq!((ledger.equity(), ledger.day_pnl(), ledger.drawdown()), (None, None, None));
    d.enter(1, 10.0, 0.9);
    let closed: Vec<Check> = d.router.closed_gates(d.now()).map(|g| g.which).collect();
    assert_eq!(closed, [Check::EquityUnknown]);
    d.bbo(10_000, 10_002);
    let mark = MarkPrice {
        symbol: SYM,
        ts_send: d.now(),
        mark: 100.01,
        index: 100.01,
        funding_rate: 0.0,
        next_funding: Nanos(0),
    };
    d.router.on_mark(d.now(), &mark);
    let ledger = d.router.ledger();
    assert!(ledger.drawdown().unwrap() < 0.001 && ledger.day_pnl().is_some(), "{ledger:?}");
    assert_eq!(d.router.tripped(), None);
}

#[test]
fn a_fill_after_more_orders_than_any_table_holds_is_still_our_own() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let first = d.sent_new();
    d.ack(&first);
    d.signal(false);
    d.wait_with_book(5_000);
    d.sent_cancel();
    d.canceled(&first, 0);
    d.outcome();
    for _ in 0..300 {
        d.at(7_000);
        d.bbo(10_000, 10_002);
        d.enter(1, 10.0, 0.1);
        let o = d.sent_new();
        d.says(&o, ExecType::Expired, OrderStatus::Expired, 0, 0);
        assert!(matches!(d.outcome(), Outcome::Abandoned { .. }));
    }
    d.fill(&first, 10, 10, 10_000, true);
    assert_eq!(d.router.stats().external_fills, 0);
    assert_eq!(d.router.tripped(), None);
    assert_eq!(d.router.position(SYM).qty, Qty(10));
}

#[test]
fn a_balance_read_before_a_fill_does_not_undo_it() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    let asked = d.now();
    d.at(50);
    d.fill(&tp, 100, 100, tp.px.0, true);
    let wallet = d.router.ledger().wallet();
    assert_eq!(wallet, Some(usd(25_000.95)));
    let venue = VenueState { requested_at: asked, ..d.venue_state() };
    d.router.reconcile(d.now(), &venue, &mut d.out);
    assert_eq!(d.router.ledger().wallet(), wallet);
}

#[test]
fn a_denial_that_is_repeated_latches_nothing() {
    let mut cfg = RouterConfig::default();
    cfg.risk.max_order_notional_usd = Some(4.0);
    let mut d = Harness::with(cfg);
    for _ in 0..300 {
        d.at(100);
        d.bbo(10_000, 10_002);
        d.enter(1, 100.0, 0.9);
        d.requests.clear();
        d.outcomes.clear();
    }
    assert_eq!(d.router.tripped(), None);
}

#[test]
fn a_clock_that_is_ahead_makes_no_decision_old() {
    let mut d = Harness::new();
    // Ours is 1.1 s ahead of the venue's.
    let clock = ClockOffset { offset_ns: -1_100_000_000, ..ClockOffset::EXACT };
    d.router.set_gate(d.now(), Gate { clock: Some(clock), ..Gate::open() }, &mut d.out);
    d.bbo(10_000, 10_002);
    let ts_event = VenueTime(Nanos(d.now().0 - 1_100_000_000));
    let e = EnterIntent {
        symbol: SYM,
        direction: 1,
        notional: 100.0,
        leverage: 1.0,
        capital: 25_000.0,
        decision_px: 100.01,
        tp_pct: 0.0095,
        fill_probability: 0.9,
        ts_event,
    };
    d.intent(Intent::Enter(e));
    assert_eq!(d.sent_new().qty, Qty(100));
}
