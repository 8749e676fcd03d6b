//! SPEC §8 from entry to exit, report by report.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::*;
use market::*;

#[test]
fn maker_entry_re_pegs_fills_rests_at_tp_and_is_closed_by_it() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_010);
    d.enter(-1, 1_000.0, 0.9);
    let o = d.sent_new();
    assert_eq!((o.side, o.tif, o.px, o.qty), (Side::Sell, TimeInForce::Gtx, Px(10_010), Qty(999)));
    assert!(!o.reduce_only);
    d.ack(&o);
    // The touch moves away (down for a seller): cancel, then new at the new touch.
    d.at(600);
    d.bbo(9_990, 10_000);
    assert_eq!(d.sent_cancel(), o.client_order_id);
    d.canceled(&o, 0);
    let o2 = d.sent_new();
    assert_eq!((o2.px, o2.client_order_id.attempt), (Px(10_000), 2));
    d.ack(&o2);
    d.fill(&o2, 400, 400, 10_000, true);
    assert!(d.outcomes.is_empty());
    d.fill(&o2, o2.qty.0 - 400, o2.qty.0, 10_000, true);
    let Outcome::Entered(e) = d.outcome() else { panic!("not entered") };
    assert_eq!((e.qty, e.avg_px, e.maker_share), (Qty(-o2.qty.0), 100.0, 1.0));
    let tp = d.sent_new();
    assert!(tp.reduce_only && tp.tif == TimeInForce::Gtx && tp.side == Side::Buy);
    assert_eq!((tp.px, tp.qty), (Px(9_905), o2.qty));
    d.ack(&tp);
    d.fill(&tp, tp.qty.0, tp.qty.0, 9_905, true);
    let Outcome::Exited(x) = d.outcome() else { panic!("not exited") };
    assert_eq!((x.reason, x.avg_px, x.maker_share), (ExitReason::Tp, 99.05, 1.0));
    assert_eq!(d.router.position(SYM).qty, Qty::ZERO);
    assert_eq!((d.router.maker_share().entries(), d.router.maker_share().exits()), (1.0, 1.0));
    assert!(d.router.orders().live().next().is_none());
}

#[test]
fn entry_crosses_after_the_time_out_while_the_signal_holds() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 1_000.0, 0.9);
    let o = d.sent_new();
    d.ack(&o);
    d.wait_with_book(5_000);
    assert_eq!(d.sent_cancel(), o.client_order_id);
    d.canceled(&o, 0);
    let ioc = d.sent_new();
    assert_eq!((ioc.tif, ioc.px, ioc.side), (TimeInForce::Ioc, Px(10_002), Side::Buy));
    d.fill(&ioc, ioc.qty.0, ioc.qty.0, 10_002, false);
    let Outcome::Entered(e) = d.outcome() else { panic!("not entered") };
    assert_eq!(e.maker_share, 0.0);
}

#[test]
fn entry_gives_up_when_the_signal_is_gone_or_the_spread_too_wide() {
    for (ask, holds) in [(10_002, false), (10_010, true)] {
        let mut d = Harness::new();
        d.bbo(10_000, ask);
        d.enter(1, 1_000.0, f64::NAN);
        let o = d.sent_new();
        d.ack(&o);
        d.signal(holds);
        d.wait_with_book(5_000);
        assert_eq!(d.sent_cancel(), o.client_order_id);
        d.canceled(&o, 0);
        assert_eq!(d.outcome(), Outcome::Abandoned { symbol: SYM, reason: AbandonReason::TimedOut });
        assert!(d.nothing_sent());
    }
}

#[test]
fn low_fill_probability_crosses_at_once_or_gives_up() {
    let mut d = Harness::new();
    d.bbo(10_000, 10_002);
    d.enter(1, 1_000.0, 0.1);
    assert_eq!(d.sent_new().tif, TimeInForce::Ioc);
    let mut d = Harness::new();
    d.bbo(10_000, 10_010);
    d.enter(1, 1_000.0, 0.1);
    assert_eq!(d.outcome(), Outcome::Abandoned { symbol: SYM, reason: AbandonReason::TimedOut });
}

#[test]
fn max_hold_tries_maker_then_market() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.exit(ExitReason::MaxHold);
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    d.canceled(&tp, 0);
    let m = d.sent_new();
    assert_eq!((m.tif, m.reduce_only, m.side, m.px), (TimeInForce::Gtx, true, Side::Sell, Px(10_002)));
    d.ack(&m);
    d.fill(&m, 30, 30, 10_002, true);
    d.wait_with_book(5_000);
    assert_eq!(d.sent_cancel(), m.client_order_id);
    assert!(d.nothing_sent(), "the market order has the same intent: it waits for the maker order's fate");
    d.canceled(&m, 30);
    let x = d.sent_new();
    assert_eq!((x.order_type, x.qty, x.reduce_only), (OrderType::Market, Qty(70), true));
    d.fill(&x, 70, 70, 10_000, false);
    let Outcome::Exited(e) = d.outcome() else { panic!("not exited") };
    assert_eq!((e.reason, e.maker_share), (ExitReason::MaxHold, 0.3));
}

#[test]
fn stop_sends_the_market_order_together_with_the_cancel() {
    let mut d = Harness::holding(-1, 100);
    let tp = d.tp.unwrap();
    d.exit(ExitReason::Stop);
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    let x = d.sent_new();
    assert_eq!((x.order_type, x.side, x.qty), (OrderType::Market, Side::Buy, Qty(100)));
    d.fill(&x, 100, 100, 10_002, false);
    assert!(d.outcomes.is_empty(), "the take-profit order's fate is still open");
    d.canceled(&tp, 0);
    let Outcome::Exited(e) = d.outcome() else { panic!("not exited") };
    assert_eq!(e.reason, ExitReason::Stop);
}

#[test]
fn take_profit_exit_leaves_the_resting_order_its_time() {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.unwrap();
    d.exit(ExitReason::Tp);
    assert!(d.nothing_sent());
    d.wait_with_book(5_000);
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    assert_eq!(d.sent_new().order_type, OrderType::Market);
}
