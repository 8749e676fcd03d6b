//! Tests of the matching core.

use market::{
    Amount, ExecType, Increment, Instrument, Level, Nanos, OrderStatus, OrderType, PositionSide, Px, Qty,
    Side, SymbolId, TimeInForce,
};
use proptest::prelude::*;

use super::*;

const S: SymbolId = SymbolId(0);
const A: AccountId = AccountId(0);
const B: AccountId = AccountId(1);
const BOTH: PositionSide = PositionSide::Both;
const OPENING: i64 = 10_000;

/// Tick 0.1, lot 0.01: one lot at 1000 ticks is 1 USDT.
fn exchange() -> Exchange {
    let mut i = Instrument::plain(S, "ABCUSDT", Increment::decimals(1), Increment::decimals(2));
    i.multiplier_up = 1.5;
    i.multiplier_down = 0.5;
    i.min_notional = Amount(5 * Amount::ONE);
    i.max_orders = 8;
    let mut l = Listing::new(i, "ABC", "USDT", 50);
    l.mark.mark = Amount(100 * Amount::ONE);
    let account = || Account::open(Amount(OPENING * Amount::ONE), false);
    let mut e = Exchange::new(vec![l], vec![account(), account()], Fees::default());
    e.play_levels(
        S,
        &[lv(999, 100), lv(998, 200), lv(990, 900)],
        &[lv(1001, 100), lv(1002, 200), lv(1010, 900)],
        t(0),
    );
    e
}

fn lv(px: i64, qty: i64) -> Level {
    Level { px: Px(px), qty: Qty(qty) }
}

fn t(ms: u64) -> Nanos {
    Nanos::from_millis(ms)
}

fn limit(side: Side, px: i64, qty: i64, tif: TimeInForce) -> PlaceOrder {
    PlaceOrder { tif, ..PlaceOrder::limit(S, side, Px(px), Qty(qty)) }
}

fn buy(px: i64, qty: i64) -> PlaceOrder {
    limit(Side::Buy, px, qty, TimeInForce::Gtc)
}

fn sell(px: i64, qty: i64) -> PlaceOrder {
    limit(Side::Sell, px, qty, TimeInForce::Gtc)
}

fn market_order(side: Side, qty: i64) -> PlaceOrder {
    PlaceOrder { kind: OrderType::Market, ..limit(side, 0, qty, TimeInForce::Gtc) }
}

fn code<T: std::fmt::Debug>(r: Result<T, Reject>) -> i32 {
    r.unwrap_err().code
}

fn filled(e: &Exchange, id: u64) -> i64 {
    e.order(id).unwrap().filled.0
}

#[test]
fn a_resting_order_waits_behind_the_queue() {
    let mut e = exchange();
    let id = e.place(A, buy(999, 50), t(1)).unwrap().id;
    assert_eq!(e.ladder(S).published(Side::Buy, Px(999)), Qty(150));
    // 60 of the 100 ahead trade, then half of the other 40 is cancelled: 20 are left ahead.
    e.play_trade(S, Side::Sell, Px(999), Qty(60), t(2));
    assert_eq!(filled(&e, id), 0);
    e.play_levels(S, &[lv(999, 20)], &[], t(3));
    e.play_trade(S, Side::Sell, Px(999), Qty(20), t(4));
    assert_eq!(filled(&e, id), 0);
    e.play_trade(S, Side::Sell, Px(999), Qty(30), t(5));
    assert_eq!(filled(&e, id), 30);
    // A trade beyond the price must have met it first.
    e.play_trade(S, Side::Sell, Px(998), Qty(500), t(6));
    assert_eq!(e.order(id).unwrap().status, OrderStatus::Filled);
    assert!(e.account(A).fills.iter().all(|f| f.maker && f.px == Px(999) && f.commission.0 < 0));
}

#[test]
fn a_crossing_book_fills_resting_orders_at_their_price() {
    let mut e = exchange();
    let id = e.place(A, buy(1000, 50), t(1)).unwrap().id;
    e.play_levels(S, &[], &[lv(1000, 30)], t(2));
    assert_eq!(filled(&e, id), 30);
    assert_eq!(e.ladder(S).published(Side::Sell, Px(1000)), Qty(0));
    assert_eq!(e.ladder(S).best(Side::Buy).unwrap(), lv(1000, 20));
}

#[test]
fn takers_consume_what_is_shown_until_it_is_updated() {
    let mut e = exchange();
    let o = e.place(A, limit(Side::Buy, 1002, 150, TimeInForce::Ioc), t(1)).unwrap();
    assert_eq!((o.status, o.filled), (OrderStatus::Filled, Qty(150)));
    assert_eq!(e.ladder(S).best(Side::Sell).unwrap(), lv(1002, 150));
    e.play_levels(S, &[], &[lv(1001, 70)], t(2));
    assert_eq!(e.ladder(S).best(Side::Sell).unwrap(), lv(1001, 70));
    let p = e.account(A).position(S, BOTH);
    assert_eq!((p.qty, p.cost), (Qty(150), Amount((1001 * 100 + 1002 * 50) * 100_000)));
}

#[test]
fn between_accounts_price_then_time() {
    let mut e = exchange();
    let first = e.place(A, sell(1000, 10), t(1)).unwrap().id;
    let second = e.place(A, sell(1000, 10), t(2)).unwrap().id;
    let taker = e.place(B, buy(1000, 15), t(3)).unwrap();
    assert_eq!(taker.status, OrderStatus::Filled);
    assert_eq!((filled(&e, first), filled(&e, second)), (10, 5));
    assert_eq!(e.account(A).position(S, BOTH).qty, Qty(-15));
    assert_eq!(e.account(B).position(S, BOTH).qty, Qty(15));
}

#[test]
fn time_in_force() {
    let mut e = exchange();
    assert_eq!(code(e.place(A, limit(Side::Buy, 1001, 10, TimeInForce::Gtx), t(1))), -5022);
    assert_eq!(code(e.place(A, limit(Side::Buy, 1001, 101, TimeInForce::Fok), t(1))), -5021);
    assert!(e.account(A).open.is_empty() && e.orders_of(A).next().is_none(), "a refusal leaves no order");
    let fok = e.place(A, limit(Side::Buy, 1002, 101, TimeInForce::Fok), t(1)).unwrap();
    assert_eq!(fok.status, OrderStatus::Filled);
    let ioc = e.place(A, limit(Side::Sell, 999, 150, TimeInForce::Ioc), t(2)).unwrap();
    assert_eq!((ioc.status, ioc.filled, ioc.expiry), (OrderStatus::Expired, Qty(100), ExpiryReason::IocRest));
    let gtx = e.place(A, limit(Side::Buy, 1000, 10, TimeInForce::Gtx), t(3)).unwrap();
    assert_eq!(gtx.status, OrderStatus::New);
}

#[test]
fn market_orders_stop_at_the_take_bound() {
    let mut e = exchange();
    // The bound is 5 % above a mark of 100: 1050 ticks; everything shown is inside.
    e.play_levels(S, &[], &[lv(1060, 10_000)], t(1));
    let o = e.place(A, market_order(Side::Buy, 1300), t(1)).unwrap();
    assert_eq!((o.status, o.filled, o.expiry), (OrderStatus::Expired, Qty(1200), ExpiryReason::MarketRest));
    assert_eq!(code(e.place(A, market_order(Side::Buy, 10), t(2))), -4131);
}

#[test]
fn self_trades_are_prevented_as_asked() {
    for (mode, maker, taker) in [
        (SelfTrade::ExpireMaker, OrderStatus::Expired, OrderStatus::New),
        (SelfTrade::ExpireTaker, OrderStatus::New, OrderStatus::Expired),
        (SelfTrade::ExpireBoth, OrderStatus::Expired, OrderStatus::Expired),
        (SelfTrade::None, OrderStatus::Filled, OrderStatus::Filled),
    ] {
        let mut e = exchange();
        let m = e.place(A, sell(1000, 10), t(1)).unwrap().id;
        let k = e.place(A, PlaceOrder { self_trade: mode, ..buy(1000, 10) }, t(2)).unwrap().id;
        assert_eq!((e.order(m).unwrap().status, e.order(k).unwrap().status), (maker, taker), "{mode:?}");
    }
}

#[test]
fn reduce_only_orders_follow_the_position() {
    let mut e = exchange();
    let ro = |px, qty| PlaceOrder { reduce_only: true, ..sell(px, qty) };
    assert_eq!(code(e.place(A, ro(1005, 10), t(1))), -2022);
    e.place(A, market_order(Side::Buy, 50), t(1)).unwrap();
    let big = e.place(A, ro(1005, 80), t(2)).unwrap().id;
    assert_eq!(e.ladder(S).published(Side::Sell, Px(1005)), Qty(50), "no more than the position works");
    e.place(A, market_order(Side::Sell, 20), t(3)).unwrap();
    assert_eq!(e.ladder(S).published(Side::Sell, Px(1005)), Qty(30));
    e.play_trade(S, Side::Buy, Px(1006), Qty(500), t(4));
    assert_eq!(e.account(A).position(S, BOTH).qty, Qty(0));
    let o = e.order(big).unwrap();
    assert_eq!((o.filled, o.status, o.expiry), (Qty(30), OrderStatus::Expired, ExpiryReason::ReduceOnly));
}

#[test]
fn hedge_mode_has_two_positions() {
    let mut e = exchange();
    e.set_hedge(A, true).unwrap();
    assert_eq!(code(e.place(A, buy(1000, 10), t(1))), -4061);
    let on = |side, leg| PlaceOrder { position_side: leg, ..market_order(side, 10) };
    e.place(A, on(Side::Buy, PositionSide::Long), t(1)).unwrap();
    e.place(A, on(Side::Sell, PositionSide::Short), t(1)).unwrap();
    assert_eq!(
        code(e.place(A, PlaceOrder { qty: Qty(11), ..on(Side::Sell, PositionSide::Long) }, t(2))),
        -2022
    );
    let ro = PlaceOrder { reduce_only: true, ..on(Side::Sell, PositionSide::Long) };
    assert_eq!(code(e.place(A, ro, t(2))), -4062);
    assert_eq!(code(e.set_hedge(A, false)), -4068);
    e.place(A, on(Side::Sell, PositionSide::Long), t(3)).unwrap();
    assert_eq!(e.account(A).position(S, PositionSide::Long).qty, Qty(0));
    assert_eq!(e.account(A).position(S, PositionSide::Short).qty, Qty(-10));
}

#[test]
fn filters_answer_with_the_venues_codes() {
    let mut e = exchange();
    for (ask, want) in [
        (buy(0, 10), -4001),
        (buy(999, 0), -4003),
        (buy(999, 5), -4164),
        (buy(1501, 10), -4016),
        (sell(499, 20), -4024),
        (buy(999, 5_000_000), -2019),
        (PlaceOrder { client_id: Some("no blanks".into()), ..buy(999, 10) }, -4015),
    ] {
        assert_eq!(code(e.place(A, ask.clone(), t(1))), want, "{ask:?}");
    }
    let named = PlaceOrder { client_id: Some("x-1".into()), ..buy(990, 10) };
    let id = e.place(A, named.clone(), t(1)).unwrap().id;
    assert_eq!(code(e.place(A, named.clone(), t(2))), -4116);
    e.cancel(A, S, &OrderRef::Client("x-1".into()), t(3)).unwrap();
    assert_eq!(code(e.cancel(A, S, &OrderRef::Id(id), t(4))), -2011);
    e.place(A, named, t(5)).unwrap();
    for px in 981..988 {
        e.place(A, buy(px, 10), t(6)).unwrap();
    }
    assert_eq!(code(e.place(A, buy(988, 10), t(7))), -2025);
    assert_eq!(e.cancel_all(A, S, t(8)), 8);
    e.listing_mut(S).status = SymbolStatus::Settling;
    assert_eq!(code(e.place(A, buy(990, 10), t(9))), -4140);
}

#[test]
fn modify_keeps_cancels_or_refuses() {
    let mut e = exchange();
    let id = e.place(A, buy(999, 50), t(1)).unwrap().id;
    let which = OrderRef::Id(id);
    assert_eq!(code(e.modify(A, S, &which, Px(999), Qty(50), t(2))), -5027);
    let o = e.modify(A, S, &which, Px(998), Qty(60), t(2)).unwrap();
    assert_eq!((o.px, o.qty, o.edits), (Px(998), Qty(60), 1));
    assert_eq!(e.ladder(S).published(Side::Buy, Px(999)), Qty(100));
    e.play_trade(S, Side::Sell, Px(997), Qty(20), t(3));
    assert_eq!(filled(&e, id), 20);
    let o = e.modify(A, S, &which, Px(998), Qty(20), t(4)).unwrap();
    assert_eq!(o.status, OrderStatus::Canceled, "not above what is filled");
    let gtx = e.place(A, limit(Side::Buy, 999, 10, TimeInForce::Gtx), t(5)).unwrap().id;
    let o = e.modify(A, S, &OrderRef::Id(gtx), Px(1001), Qty(10), t(6)).unwrap();
    assert_eq!((o.status, o.filled), (OrderStatus::Canceled, Qty(0)), "it would take");
}

#[test]
fn the_dead_mans_switch_and_good_till_date() {
    let mut e = exchange();
    e.place(A, buy(990, 10), t(1)).unwrap();
    e.place(A, PlaceOrder { good_till: Some(t(500)), ..buy(989, 10) }, t(1)).unwrap();
    e.set_countdown(A, S, 1000, t(1));
    e.on_time(t(400));
    assert_eq!(e.account(A).open.len(), 2);
    e.on_time(t(500));
    assert_eq!(e.account(A).open.len(), 1);
    e.set_countdown(A, S, 1000, t(900));
    e.on_time(t(1001));
    assert_eq!(e.account(A).open.len(), 1, "refreshed");
    e.on_time(t(1900));
    assert!(e.account(A).open.is_empty());
}

#[test]
fn funding_margin_call_liquidation_and_adl() {
    let mut e = exchange();
    e.set_leverage(A, S, 50, t(1)).unwrap();
    assert_eq!(code(e.set_leverage(A, S, 51, t(1))), -4028);
    e.play_levels(S, &[], &[lv(1000, 100_000)], t(1));
    e.place(A, market_order(Side::Buy, 40_000), t(1)).unwrap();
    e.drain();
    e.listing_mut(S).mark.funding_rate = 10_000;
    let before = e.account(A).wallet;
    e.fund(S, t(2));
    // 40 000 lots at 100 are 40 000 USDT; 0.01 % of it is 4.
    assert_eq!(before - e.account(A).wallet, Amount(4 * Amount::ONE));
    let adl = e.deleverage(A, S, BOTH, Qty(10_000), t(3)).unwrap();
    assert_eq!(e.order(adl).unwrap().client_id, "adl_autoclose");
    assert_eq!(e.account(A).position(S, BOTH).qty, Qty(30_000));
    let at = |usd: f64| Amount::from_f64(usd).unwrap();
    e.set_mark(S, at(67.5), at(67.5), t(4));
    let out = e.drain();
    assert!(out.iter().any(|o| matches!(o, Output::MarginCall { .. })), "{:?}", e.margins(A));
    e.set_mark(S, at(60.0), at(60.0), t(5));
    assert_eq!(e.account(A).position(S, BOTH).qty, Qty(0));
    assert_eq!(e.account(A).wallet, Amount::ZERO, "the insurance fund bears the rest");
    assert!(e.drain().iter().any(|o| matches!(o, Output::Order(r) if r.exec == ExecType::Calculated)));
}

/// A step of a random session.
#[derive(Debug, Clone)]
enum Act {
    Levels(bool, i64, i64),
    Trade(bool, i64, i64),
    Place { who: bool, buy: bool, px: i64, qty: i64, tif: usize, market: bool, reduce: bool, stp: usize },
    Cancel(bool, usize),
    Modify(bool, usize, i64, i64),
    Mark(i64),
    Time,
}

fn act() -> impl Strategy<Value = Act> {
    let (px, qty) = (980i64..1021, 0i64..300);
    prop_oneof![
        4 => (any::<bool>(), px.clone(), qty.clone()).prop_map(|(b, p, q)| Act::Levels(b, p, q)),
        3 => (any::<bool>(), px.clone(), 1i64..200).prop_map(|(b, p, q)| Act::Trade(b, p, q)),
        6 => (any::<bool>(), any::<bool>(), px.clone(), 1i64..200, 0usize..4, any::<bool>(), any::<bool>(), 0usize..4)
            .prop_map(|(who, buy, px, qty, tif, market, reduce, stp)| Act::Place { who, buy, px, qty, tif, market, reduce, stp }),
        2 => (any::<bool>(), 0usize..8).prop_map(|(w, n)| Act::Cancel(w, n)),
        2 => (any::<bool>(), 0usize..8, px, qty).prop_map(|(w, n, p, q)| Act::Modify(w, n, p, q)),
        1 => (950i64..1050).prop_map(Act::Mark),
        1 => Just(Act::Time),
    ]
}

fn perform(e: &mut Exchange, act: &Act, now: Nanos) {
    let side = |b: bool| if b { Side::Buy } else { Side::Sell };
    let who = |w: bool| if w { A } else { B };
    let nth = |e: &Exchange, a: AccountId, n: usize| e.account(a).open.iter().nth(n).copied();
    match *act {
        // The played book is never crossed by itself.
        Act::Levels(true, px, qty) if px < 1000 => e.play_levels(S, &[lv(px, qty)], &[], now),
        Act::Levels(false, px, qty) if px >= 1000 => e.play_levels(S, &[], &[lv(px, qty)], now),
        Act::Levels(..) => {}
        Act::Trade(b, px, qty) => e.play_trade(S, side(b), Px(px), Qty(qty), now),
        Act::Place { who: w, buy, px, qty, tif, market, reduce, stp } => {
            let tif = [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Gtx][tif];
            let stp =
                [SelfTrade::None, SelfTrade::ExpireTaker, SelfTrade::ExpireMaker, SelfTrade::ExpireBoth][stp];
            let kind = if market { OrderType::Market } else { OrderType::Limit };
            let ask =
                PlaceOrder { kind, reduce_only: reduce, self_trade: stp, ..limit(side(buy), px, qty, tif) };
            e.place(who(w), ask, now).ok();
        }
        Act::Cancel(w, n) => {
            if let Some(id) = nth(e, who(w), n) {
                e.cancel(who(w), S, &OrderRef::Id(id), now).unwrap();
            }
        }
        Act::Modify(w, n, px, qty) => {
            if let Some(id) = nth(e, who(w), n) {
                e.modify(who(w), S, &OrderRef::Id(id), Px(px), Qty(qty), now).ok();
            }
        }
        Act::Mark(px) => e.set_mark(S, Amount(px * 10_000_000), Amount(px * 10_000_000), now),
        Act::Time => e.on_time(now),
    }
}

/// Reports tell the truth: a fill of a reduce-only order never increases a position.
fn check_reports(e: &mut Exchange, held: &mut [i64; 2]) {
    for o in e.drain() {
        let Output::Order(r) = o else { continue };
        let Some(f) = r.fill else { continue };
        let at = &mut held[r.order.account.0 as usize];
        let next = *at + f.side.sign() * f.qty.0;
        if r.order.closes {
            assert!(next.abs() < at.abs() && next * *at >= 0, "reduce-only moved {at} to {next}");
        }
        assert!(f.qty.0 > 0 && f.px.0 > 0);
        *at = next;
    }
}

fn check_books(e: &Exchange) {
    for a in [A, B] {
        let account = e.account(a);
        let sum = |f: fn(&Fill) -> Amount| account.fills.iter().map(|x| f(x).0).sum::<i64>();
        let (realised, fees) = (sum(|f| f.realised), sum(|f| f.commission));
        assert_eq!(account.wallet.0, OPENING * Amount::ONE + realised - fees, "cash is the sum of its parts");
        let signed = |f: &Fill| f.side.sign() * f.qty.0;
        let p = account.position(S, BOTH);
        assert_eq!(p.qty.0, account.fills.iter().map(signed).sum::<i64>());
        // What was paid is in the cost of what is open or in the profit of what is closed, to the last unit.
        let paid: i64 = account.fills.iter().map(|f| f.side.sign() * f.quote.0).sum();
        assert_eq!(p.cost.0, paid + realised);
        for o in e.orders_of(a) {
            let filled: i64 = account.fills.iter().filter(|f| f.order == o.id).map(|f| f.qty.0).sum();
            assert_eq!(filled, o.filled.0);
            assert!(o.filled <= o.qty);
            assert_eq!(o.is_open(), account.open.contains(&o.id));
        }
    }
    let (bid, ask) = (e.ladder(S).best(Side::Buy), e.ladder(S).best(Side::Sell));
    if let (Some(b), Some(a)) = (bid, ask) {
        assert!(b.px < a.px, "published book crossed: {b:?} {a:?}");
    }
    for side in [Side::Buy, Side::Sell] {
        assert!(e.ladder(S).levels(side).all(|l| l.qty.0 > 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_made_or_lost(acts in prop::collection::vec(act(), 1..80)) {
        let mut e = exchange();
        let mut held = [0, 0];
        for (n, act) in acts.iter().enumerate() {
            perform(&mut e, act, t(n as u64 + 1));
            check_reports(&mut e, &mut held);
            check_books(&e);
        }
    }

    #[test]
    fn the_same_acts_give_the_same_session(acts in prop::collection::vec(act(), 1..40)) {
        let run = || {
            let mut e = exchange();
            acts.iter().enumerate().flat_map(|(n, a)| { perform(&mut e, a, t(n as u64)); e.drain() }).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
