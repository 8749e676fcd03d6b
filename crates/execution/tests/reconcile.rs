//! Start, reconnect, restart with a position, kill switch.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::*;
use execution::*;
use market::*;

fn policy(p: UnexpectedPosition) -> RouterConfig {
    RouterConfig { unexpected_position: p, ..RouterConfig::default() }
}

fn at_venue(qty: i64) -> VenuePosition {
    VenuePosition { symbol: SYM, qty: Qty(qty), entry_px: 100.0, liquidation_px: 0.0 }
}

#[test]
fn stray_orders_of_ours_are_cancelled_and_the_venue_is_asked_again() {
    let mut d = Harness::new();
    let stray = NewOrder {
        symbol: SYM,
        client_order_id: ClientOrderId { run: 6, intent: 3, attempt: 1 },
        side: Side::Sell,
        order_type: OrderType::Limit,
        tif: TimeInForce::Gtx,
        px: Px(10_100),
        qty: Qty(5),
        reduce_only: true,
        position_side: PositionSide::Both,
        recv_window_ms: 5_000,
    };
    let listed = ExecutionReport { exec_type: ExecType::Status, ..d.base(&stray) };
    let found = d.reconcile(&[listed], &[]);
    assert_eq!(found.differences[..], [Difference::StrayOrder(SYM, stray.client_order_id)]);
    assert_eq!(d.sent_cancel(), stray.client_order_id);
    assert!(!d.router.is_reconciled());
    d.controls.clear();
    d.wait(1_000);
    assert!(d.controls.contains(&Control::Reconcile));
    assert!(d.reconcile(&[], &[]).is_clean());
    assert!(d.router.is_reconciled());
}

#[test]
fn an_unexpected_position_stops_is_adopted_or_is_closed() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    let found = d.reconcile(&[], &[at_venue(50)]);
    assert_eq!(found.differences[..], [Difference::Position(SYM, Qty(0), Qty(50))]);
    assert_eq!(d.router.tripped(), Some(Check::Unexpected));
    assert!(d.nothing_sent() && d.alerted(AlertKind::UnexpectedPosition));

    let mut d = Harness::with(policy(UnexpectedPosition::Adopt));
    d.bbo(10_000, 10_002);
    d.reconcile(&[], &[at_venue(50)]);
    assert!(d.nothing_sent() && d.router.tripped().is_none());
    assert!(d.reconcile(&[], &[at_venue(50)]).is_clean());
    d.exit(ExitReason::Flatten);
    assert_eq!(d.sent_new().qty, Qty(50));

    let mut d = Harness::with(policy(UnexpectedPosition::Flatten));
    d.bbo(10_000, 10_002);
    d.reconcile(&[], &[at_venue(-50)]);
    let x = d.sent_new();
    assert_eq!((x.side, x.qty, x.reduce_only, x.order_type), (Side::Buy, Qty(50), true, OrderType::Market));
    d.fill(&x, 50, 50, 10_002, false);
    assert!(matches!(d.outcome(), Outcome::Unplanned { entry, .. } if entry.qty == Qty(-50)));
    assert!(d.outcomes.is_empty(), "the engine never held it");
    d.at(1);
    assert!(d.reconcile(&[], &[]).is_clean());
}

#[test]
fn an_adopted_position_goes_on_with_its_take_profit_order_and_exits() {
    let mut d = Harness::cold(RouterConfig::default());
    assert!(d.router.adopt_position(d.now(), SYM, Qty(-40), 100.0, 0.0095));
    assert!(!d.router.adopt_position(d.now(), SYM, Qty(-40), 100.0, 0.0095));
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.bbo(10_000, 10_002);
    assert!(d.nothing_sent(), "no order before the venue has been compared");
    assert!(d.reconcile(&[], &[at_venue(-40)]).is_clean());
    let tp = d.sent_new();
    assert_eq!((tp.side, tp.px, tp.qty, tp.reduce_only), (Side::Buy, Px(9_905), Qty(40), true));
    d.ack(&tp);
    d.exit(ExitReason::Stop);
    d.sent_cancel();
    assert_eq!(d.sent_new().qty, Qty(40));
}

#[test]
fn a_position_closed_while_we_were_away_is_an_external_exit() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.router.set_gate(d.now(), Gate::default(), &mut d.out);
    assert_eq!(d.router.next_deadline(), None, "nothing can be done while the order path is down");
    d.at(5_000);
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.wait(10);
    assert!(d.controls.contains(&Control::Reconcile));
    d.at(10);
    let found = d.reconcile(&[], &[]);
    assert_eq!(
        found.differences[..],
        [Difference::MissingOrder(SYM, tp.client_order_id), Difference::Deferred(SYM)],
        "the order first: its fills explain the position"
    );
    d.wait(100);
    assert_eq!(d.sent_query(), tp.client_order_id);
    d.says(&tp, ExecType::Status, OrderStatus::Canceled, 0, 0);
    d.requests.clear();
    d.at(10);
    let found = d.reconcile(&[], &[]);
    assert_eq!(found.differences[..], [Difference::Position(SYM, Qty(100), Qty(0))]);
    d.requests.clear();
    assert!(d.alerted(AlertKind::ReconcileMismatch));
}

#[test]
fn fills_missed_while_away_come_from_the_order() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.router.set_gate(d.now(), Gate::default(), &mut d.out);
    d.at(5_000);
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.at(10);
    d.reconcile(&[], &[]);
    d.wait(100);
    assert_eq!(d.sent_query(), tp.client_order_id);
    d.says(&tp, ExecType::Status, OrderStatus::Filled, 100, 0);
    d.wait(500);
    assert!(matches!(d.outcome(), Outcome::Exited(x) if x.reason == ExitReason::Tp));
    d.at(10);
    assert!(d.reconcile(&[], &[]).is_clean());
}

#[test]
fn a_snapshot_older_than_the_last_fill_proves_nothing() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    let requested_at = d.now();
    d.at(50);
    d.fill(&tp, 100, 100, tp.px.0, true);
    let venue = VenueState { requested_at, positions: &[at_venue(100)], ..d.venue_state() };
    let found = d.router.reconcile(d.now(), &venue, &mut d.out);
    assert_eq!(found.differences[..], [Difference::Deferred(SYM)]);
    assert_eq!(d.router.position(SYM).qty, Qty::ZERO);
    assert!(d.router.is_reconciled(), "messages in flight are no reason to stop");
}

/// A row of the venue's list of fills: it names the venue's order id alone.
fn listed_fill(d: &Harness, o: &NewOrder, trade_id: u64, lots: i64, px: i64) -> ExecutionReport {
    ExecutionReport {
        origin: OrderOrigin::External,
        exec_type: ExecType::Trade,
        status: OrderStatus::Unknown,
        last_qty: Qty(lots),
        last_px: Px(px),
        trade_id,
        commission: Amount(Amount::ONE / 10),
        ..d.base(o)
    }
}

fn compare(d: &mut Harness, positions: &[VenuePosition], fills: &[ExecutionReport]) -> Reconciliation {
    let venue = VenueState { positions, fills, ..d.venue_state() };
    let found = d.router.reconcile(d.now(), &venue, &mut d.out);
    d.drain();
    found
}

#[test]
fn fills_missed_while_away_come_from_the_venues_list_once_and_with_their_commission() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.at(100);
    let fill = listed_fill(&d, &tp, 900, 100, tp.px.0);
    compare(&mut d, &[], &[fill, fill]);
    assert_eq!(d.router.position(SYM).qty, Qty::ZERO);
    let commission = d.router.position(SYM).commission;
    let Outcome::Exited(exit) = d.outcome() else { panic!() };
    assert_eq!((exit.reason, exit.commission), (ExitReason::Tp, Amount(Amount::ONE / 10)));
    // The stream tells of it after all, and the list again.
    let late = ExecutionReport {
        origin: OrderOrigin::Ours(tp.client_order_id),
        status: OrderStatus::Filled,
        cum_qty: Qty(100),
        ..fill
    };
    d.report(late);
    d.at(100);
    assert!(compare(&mut d, &[], &[fill]).is_clean());
    assert_eq!((d.router.position(SYM).qty, d.router.position(SYM).commission), (Qty::ZERO, commission));
    assert_eq!(d.router.tripped(), None);
}

#[test]
fn a_listed_fill_of_an_order_without_acknowledgement_waits_for_its_query() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    d.at(10);
    let fill = listed_fill(&d, &o, 901, 4, o.px.0);
    let found = compare(&mut d, &[at_venue(4)], &[fill]);
    assert!(found.differences.contains(&Difference::Deferred(SYM)), "{found:?}");
    assert_eq!((d.router.tripped(), d.router.stats().external_fills), (None, 0));
    d.says(&o, ExecType::Status, OrderStatus::PartiallyFilled, 4, 0);
    d.at(10);
    compare(&mut d, &[at_venue(4)], &[fill]);
    assert_eq!(d.router.position(SYM).qty, Qty(4));
    assert_eq!(d.router.position(SYM).commission, Amount(Amount::ONE / 10));
}

#[test]
fn a_listed_fill_of_nobody_we_know_is_external_and_counts() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    let o = {
        d.enter(1, 10.0, 0.9);
        d.sent_new()
    };
    d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, -2010);
    let fill = ExecutionReport { order_id: 77, ..listed_fill(&d, &o, 902, 5, 10_001) };
    d.at(10);
    compare(&mut d, &[at_venue(5)], &[fill]);
    assert_eq!((d.router.position(SYM).qty, d.router.stats().external_fills), (Qty(5), 1));
    assert!(d.router.tripped().is_some());
}

#[test]
fn what_the_venue_closed_is_halted_until_a_restart_whatever_its_filters_say() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    let adl = ExecutionReport {
        origin: OrderOrigin::Adl,
        order_id: 78,
        side: Side::Sell,
        status: OrderStatus::Filled,
        cum_qty: Qty(100),
        ..listed_fill(&d, &tp, 903, 100, 10_000)
    };
    d.report(adl);
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    d.canceled(&tp, 0);
    assert!(matches!(d.outcome(), Outcome::Exited(x) if x.reason == ExitReason::External));
    assert!(d.router.set_instrument(instruments().remove(0)));
    d.at(10);
    d.reconcile(&[], &[]);
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    assert_eq!(d.denials.pop_front().unwrap().check, Check::Tradable);
}

#[test]
fn a_hidden_fill_is_found_by_the_regular_comparison() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 10.0, 0.9);
    let o = d.sent_new();
    d.ack(&o);
    d.exit(ExitReason::Flatten);
    d.sent_cancel();
    d.canceled(&o, 0); // the venue had filled 4, and the fill report is lost
    assert!(matches!(d.outcome(), Outcome::Abandoned { .. }));
    d.controls.clear();
    d.wait(30_000);
    assert!(d.controls.contains(&Control::Reconcile));
    let found = d.reconcile(&[], &[at_venue(4)]);
    assert_eq!(found.differences[..], [Difference::Position(SYM, Qty(0), Qty(4))]);
    assert_eq!(d.router.position(SYM).qty, Qty(4));
    assert_eq!(d.router.tripped(), Some(Check::Unexpected));
}

#[test]
fn the_kill_switch_cancels_closes_verifies_and_latches() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.router.kill(d.now(), KillTrigger::Command, true, &mut d.out);
    d.drain();
    assert!(d.requests.iter().any(|r| *r == OrderRequest::CancelAll(SYM)));
    d.requests.clear();
    d.canceled(&tp, 0);
    d.router.on_timer(d.now(), &mut d.out);
    d.drain();
    let x = d.sent_new();
    assert_eq!((x.reduce_only, x.tif, x.order_type), (true, TimeInForce::Ioc, OrderType::Limit));
    assert_eq!(x.px, Px(9_950), "50 bps through the touch at most");
    d.fill(&x, 100, 100, 10_000, false);
    d.outcomes.clear();
    d.wait(2_000);
    assert!(d.controls.contains(&Control::Reconcile));
    assert!(d.reconcile(&[], &[]).is_clean());
    d.wait(10);
    assert!(d.alerted(AlertKind::KillDone));
    assert_eq!(d.router.kill_switch().step(), KillStep::Done);
    d.bbo(10_000, 10_002);
    d.enter(1, 100.0, 0.9);
    assert_eq!(d.denials.pop_back().unwrap().check, Check::Kill);
    let rearm = |d: &mut Harness, why| d.router.rearm(d.now(), Rearm::Latches, why, &mut d.out);
    assert_eq!(rearm(&mut d, "no"), Err(RearmError::NoReason));
    assert_eq!(rearm(&mut d, "feed repaired, checked by hand"), Ok(()));
    d.at(1);
    d.bbo(10_000, 10_002);
    d.enter(1, 100.0, 0.9);
    assert_eq!(d.sent_new().qty, Qty(100));
}

#[test]
fn a_kill_without_closing_leaves_the_position_to_the_exits() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.router.kill(d.now(), KillTrigger::File, false, &mut d.out);
    d.drain();
    d.requests.clear();
    d.canceled(&tp, 0);
    assert!(d.nothing_sent(), "no take-profit order rests any more");
    d.exit(ExitReason::MaxHold);
    let x = d.sent_new();
    assert!(x.reduce_only, "an exit is never blocked");
}

/// Issue: an order that a killed run had sent lay in TCP, was not listed at the restart, and came after it.
#[test]
fn nothing_is_opened_before_the_last_order_of_the_run_before_can_have_arrived() {
    let mut d = Harness::cold(RouterConfig::default());
    d.router.set_predecessor(Nanos::from_millis(T0 + 2_500));
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.bbo(10_000, 10_002);
    assert!(d.reconcile(&[], &[]).is_clean());
    d.controls.clear();
    d.enter(-1, 50.5, 0.9);
    assert!(d.nothing_sent());
    assert_eq!(d.denials.pop_front().unwrap().check, Check::Predecessor);
    assert!(d.router.closed_gates(d.now()).any(|g| g.which == Check::Predecessor));
    d.wait_with_book(2_499);
    assert!(d.controls.is_empty(), "no comparison before it would say something: {:?}", d.controls);
    d.wait_with_book(1);
    assert!(d.controls.contains(&Control::Reconcile));
    assert!(d.reconcile(&[], &[]).is_clean());
    assert_eq!(d.router.closed_gates(d.now()).count(), 0);
}

/// Seen: an entry that a killed run had sent filled half a second after the next run had compared: a position that nobody
/// held, and nothing was opened any more until a person came.
#[test]
fn what_a_late_order_of_the_run_before_opens_is_closed_and_told_as_a_trade() {
    let mut d = Harness::cold(RouterConfig::default());
    d.router.set_predecessor(Nanos::from_millis(T0 + 2_500));
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.bbo(10_000, 10_002);
    assert!(d.reconcile(&[], &[]).is_clean());
    let mut o = Harness::holding(1, 100).tp.unwrap();
    (o.client_order_id.run, o.side, o.reduce_only) = (o.client_order_id.run + 1, Side::Buy, false);
    let filled = |d: &Harness, trade_id, ts_event| ExecutionReport {
        exec_type: ExecType::Trade,
        status: OrderStatus::Filled,
        origin: OrderOrigin::Ours(o.client_order_id),
        side: Side::Buy,
        trade_id,
        last_qty: Qty(100),
        last_px: Px(10_001),
        ts_event,
        ..d.base(&o)
    };
    let in_time = filled(&d, 901, Nanos::from_millis(T0 + 2_000));
    d.report(in_time);
    assert!(d.alerted(AlertKind::OrphanFill) && !d.alerted(AlertKind::UnexpectedPosition));
    assert_eq!(d.router.tripped(), None);
    let close = d.sent_new();
    assert!(close.reduce_only && close.side == Side::Sell && close.qty == Qty(100), "{close:?}");
    d.fill(&close, 100, 100, 10_000, false);
    assert_eq!(d.router.position(SYM).qty, Qty(0));
    let told = d.outcome();
    assert!(
        matches!(&told, Outcome::Unplanned { exit, .. } if exit.reason == ExitReason::Flatten),
        "{told:?}"
    );
    // Later than that it can be none of the run before.
    let too_late = filled(&d, 902, Nanos::from_millis(T0 + 2_501));
    d.report(too_late);
    assert!(d.alerted(AlertKind::UnexpectedPosition));
    assert_eq!(d.router.tripped(), Some(Check::Unexpected));
}

/// Seen: after a takeover the venue told old fills again, in its list and on the stream, and they were booked twice.
#[test]
fn old_fills_told_again_after_a_takeover_are_no_news() {
    let mut d = Harness::cold(RouterConfig::default());
    let now = d.now();
    let booked = now.0 - 5_000 * Nanos::MS;
    d.router.booked_until(None, VenueTime(Nanos(booked - 60_000 * Nanos::MS)));
    d.router.booked_until(Some(SYM), VenueTime(Nanos(booked)));
    assert!(d.router.adopt_position(now, SYM, Qty(100), 100.0, 0.01));
    d.router.set_gate(now, Gate::open(), &mut d.out);
    d.bbo(10_000, 10_002);
    let held = VenuePosition { symbol: SYM, qty: Qty(100), entry_px: 100.0, liquidation_px: 0.0 };
    assert!(d.reconcile(&[], &[held]).is_clean());
    let mut o = Harness::holding(1, 100).tp.unwrap();
    o.client_order_id.run += 1;
    let told = |ts_event, trade_id, origin| ExecutionReport {
        exec_type: ExecType::Trade,
        status: OrderStatus::Filled,
        origin,
        trade_id,
        last_qty: Qty(50),
        last_px: Px(10_000),
        ts_event,
        ..d.base(&o)
    };
    let ours = OrderOrigin::Ours(o.client_order_id);
    let old =
        [told(Nanos(booked), 901, ours), told(Nanos(booked - Nanos::SECOND), 902, OrderOrigin::External)];
    let new = told(Nanos(booked + Nanos::MS), 903, OrderOrigin::External);
    for r in old {
        d.report(r);
        assert_eq!(d.router.position(SYM).qty, Qty(100), "{r:?}");
    }
    assert!(!d.alerted(AlertKind::OrphanFill) && !d.alerted(AlertKind::ExternalFill));
    d.report(new);
    assert!(d.router.position(SYM).qty < Qty(100), "what is newer counts");
}

/// Seen: two nodes on one key took each other's orders for leftovers, cancelled them, and both went on opening.
#[test]
fn an_order_of_another_run_that_is_new_is_another_node_and_stops_entries() {
    let mut d = Harness::cold(RouterConfig::default());
    d.router.set_predecessor(Nanos::from_millis(T0 + 2_500));
    d.router.set_gate(d.now(), Gate::open(), &mut d.out);
    d.bbo(10_000, 10_002);
    d.reconcile(&[], &[]);
    let mut o = Harness::holding(1, 100).tp.unwrap();
    o.client_order_id.run += 1;
    let origin = OrderOrigin::Ours(o.client_order_id);
    let new = |d: &Harness| ExecutionReport {
        exec_type: ExecType::New,
        status: OrderStatus::New,
        origin,
        ..d.base(&o)
    };
    let late = new(&d);
    d.report(late);
    assert_eq!(d.router.tripped(), None, "the run before may have sent it");
    d.wait_with_book(2_501);
    d.report(late);
    assert_eq!(d.router.tripped(), None, "told late, and again: the venue took it before");
    let another = new(&d);
    d.report(another);
    assert_eq!(d.router.tripped(), Some(Check::Foreign));
}
