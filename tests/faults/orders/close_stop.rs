//! `router.disaster_stop_pct` (SPEC §8): each position has a stop at the venue, for the case that the node dies.

use market::{OrderType, Side};
use venue::VenueHandle;
use venue::core::{AlgoKind, AlgoOrder, AlgoStatus, WorkingType};
use venue::faults::{Fault, Rule};

use super::setup;
use crate::harness::{Node, Setup, positions};

fn guarded(seed: u64) -> Setup {
    setup(seed).config(|c| c.router.disaster_stop_pct = 2.0)
}

/// All stops of the account, oldest first.
fn stops(venue: &VenueHandle) -> Vec<AlgoOrder> {
    venue.inspect(|x| x.algos_of(venue.account(0)).cloned().collect())
}

fn open(venue: &VenueHandle) -> Vec<AlgoOrder> {
    stops(venue).into_iter().filter(AlgoOrder::is_open).collect()
}

/// Waits for a position that has its stop, and checks that stop.
fn guards(node: &Node) -> AlgoOrder {
    node.until("a position and its stop", |now| !now.seen.positions.is_empty() && open(now.venue).len() == 1);
    let stop = open(&node.venue).remove(0);
    let ask = &stop.ask;
    assert_eq!((ask.kind, ask.close_position, ask.working), (AlgoKind::StopMarket, true, WorkingType::Mark));
    node.venue.inspect(|x| {
        let account = x.account(node.venue.account(0));
        let held =
            account.positions.iter().find(|((symbol, _), p)| *symbol == ask.symbol && !p.qty.is_zero());
        // It may have closed in this moment.
        let Some((_, position)) = held else { return };
        let mark = x.listing(ask.symbol).mark.mark.to_f64();
        let trigger = ask.trigger.0 as f64 * x.listing(ask.symbol).instrument.tick.to_f64();
        let (side, beyond) =
            if position.qty.0 > 0 { (Side::Sell, mark / trigger) } else { (Side::Buy, trigger / mark) };
        assert_eq!(ask.side, side);
        // The mark is near the entry: two percent and a little.
        assert!((1.01..1.03).contains(&beyond), "{trigger} at a mark of {mark}");
    });
    stop
}

#[test]
fn a_stop_comes_with_each_position_and_goes_with_it() {
    let node = guarded(80).start();
    let first = guards(&node);
    node.until("three round trips", |now| now.seen.trades.len() >= 3);
    assert!(stops(&node.venue).iter().any(|s| s.id == first.id && !s.is_open()), "it went with its position");
    let summary = node.finish();
    assert!(summary.open_positions.as_ref().unwrap().is_empty());
    assert_eq!(summary.alerts.get("DisasterStopMissing"), None, "{}", summary.text());
    assert!(summary.commission.is_some_and(|r| (r.maker, r.taker) == (0.0002, 0.0005)), "{}", summary.text());
}

#[test]
fn the_stop_outlives_the_run_and_closes_the_position_of_a_dead_node() {
    let mut wanted = guarded(81);
    wanted.flatten = false;
    let mut node = wanted.start();
    guards(&node);
    let (stop, held) = loop {
        // Between the look and the end of the run the position may close: then the next one serves.
        node.until("a position and its stop", |now| open(now.venue).len() == 1);
        let held = positions(&node.venue);
        if let Some(stop) = open(&node.venue).pop().filter(|_| !held.is_empty()) {
            break (stop, held);
        }
    };
    node.signal();
    let summary = node.ended().unwrap();
    let left = positions(&node.venue);
    if left.is_empty() {
        assert!(open(&node.venue).is_empty(), "{held:?} closed in the last moment: so did its stop");
        return;
    }
    assert_eq!(summary.open_positions.as_ref().unwrap().len(), 1, "{}", summary.text());
    assert_eq!(open(&node.venue), std::slice::from_ref(&stop));

    // The node is gone, and the mark price runs away.
    let symbol = node.venue.inspect(|x| x.listing(stop.ask.symbol).instrument.symbol.clone());
    let factor = if stop.ask.side == Side::Sell { 0.97 } else { 1.03 };
    node.inject(Rule { fault: Fault::MarkOff { symbol, factor }, times: 0, skip: 0 });
    for _ in 0..1000 {
        if positions(&node.venue).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(positions(&node.venue).is_empty(), "the stop closed it");
    let ended = stops(&node.venue).into_iter().find(|s| s.id == stop.id).unwrap();
    assert!(matches!(ended.status, AlgoStatus::Triggered | AlgoStatus::Finished), "{ended:?}");
    let order = node.venue.inspect(|x| {
        let which = venue::core::OrderRef::Id(ended.order.unwrap());
        x.find(node.venue.account(0), ended.ask.symbol, &which).cloned().unwrap()
    });
    assert_eq!((order.kind, order.reduce_only), (OrderType::Market, true));
}

#[test]
fn a_stop_that_was_refused_is_told_and_tried_again() {
    let refuse = Fault::ReplyError {
        on: "POST /fapi/v1/algoOrder".into(),
        code: -2021,
        msg: "Order would immediately trigger.".into(),
        status: 400,
        executed: false,
    };
    let node = guarded(82).launch(&[Rule { fault: refuse, times: 1, skip: 0 }]);
    guards(&node);
    node.until("told", |now| now.alerts("DisasterStopMissing") == 1);
    node.finish();
}

#[test]
fn a_lost_answer_leads_to_one_stop_all_the_same() {
    for executed in [true, false] {
        let lost = Fault::ReplyError {
            on: "POST /fapi/v1/algoOrder".into(),
            code: -1007,
            msg: "Timeout waiting for response from backend server.".into(),
            status: 408,
            executed,
        };
        let node = guarded(84).launch(&[Rule { fault: lost, times: 1, skip: 0 }]);
        guards(&node);
        node.until("two round trips", |now| {
            assert!(open(now.venue).len() <= 1, "{:#?}", open(now.venue));
            now.seen.trades.len() >= 2
        });
        node.finish();
    }
}

#[test]
fn without_the_setting_nothing_is_placed() {
    let node = setup(83).start();
    node.until("a round trip", |now| !now.seen.trades.is_empty());
    assert!(stops(&node.venue).is_empty());
    node.finish();
}
