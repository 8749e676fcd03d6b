//! `router.disaster_stop_pct` (SPEC §8): each position has a stop at the venue, for the case that the node dies.

use market::{OrderType, Side};
use venue::core::{AlgoKind, AlgoOrder, AlgoStatus, WorkingType};
use venue::faults::{Fault, Rule};

use super::setup;
use crate::harness::{Node, Setup, Venue, positions};

fn guarded(seed: u64) -> Setup {
    setup(seed).config(|c| c.router.disaster_stop_pct = 2.0)
}

/// All stops of the account, oldest first.
fn stops(venue: &Venue) -> Vec<AlgoOrder> {
    venue.inspect(|x| x.algos_of(venue.account(0)).cloned().collect())
}

fn open(venue: &Venue) -> Vec<AlgoOrder> {
    stops(venue).into_iter().filter(AlgoOrder::is_open).collect()
}

/// Waits for a position that has its stop, and checks that stop.
async fn guards(node: &Node) -> AlgoOrder {
    node.until("a position and its stop", |now| !now.seen.positions.is_empty() && open(now.venue).len() == 1)
        .await;
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
    guarded(80).start(async |node| {
        let first = guards(&node).await;
        node.until("three round trips", |now| now.seen.trades.len() >= 3).await;
        assert!(
            stops(&node.venue).iter().any(|s| s.id == first.id && !s.is_open()),
            "it went with its position"
        );
        let summary = node.finish().await;
        assert!(summary.open_positions.as_ref().unwrap().is_empty());
        assert_eq!(summary.alerts.get("DisasterStopMissing"), None, "{}", summary.text());
        assert!(
            summary.commission.is_some_and(|r| (r.maker, r.taker) == (0.0002, 0.0005)),
            "{}",
            summary.text()
        );
    });
}

#[test]
fn the_stop_outlives_the_run_and_closes_the_position_of_a_dead_node() {
    // Held long, so that it is not closed just then.
    let mut wanted = guarded(81).config(|c| c.alpha.max_hold_bars = 60);
    wanted.flatten = false;
    wanted.start(async |node| {
        let stop = guards(&node).await;
        let held = positions(&node.venue);
        node.signal();
        let summary = node.ended().await.unwrap();
        assert_eq!(positions(&node.venue), held, "{}", summary.text());
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
            node.world.wait_ms(10).await;
        }
        assert!(positions(&node.venue).is_empty(), "the stop closed it");
        let ended = stops(&node.venue).into_iter().find(|s| s.id == stop.id).unwrap();
        assert!(matches!(ended.status, AlgoStatus::Triggered | AlgoStatus::Finished), "{ended:?}");
        let order = node.venue.inspect(|x| {
            let which = venue::core::OrderRef::Id(ended.order.unwrap());
            x.find(node.venue.account(0), ended.ask.symbol, &which).cloned().unwrap()
        });
        assert_eq!((order.kind, order.reduce_only), (OrderType::Market, true));
    });
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
    guarded(82).launch(&[Rule { fault: refuse, times: 1, skip: 0 }], async |node| {
        guards(&node).await;
        node.until("told", |now| now.alerts("DisasterStopMissing") == 1).await;
        node.finish().await;
    });
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
        guarded(84).launch(&[Rule { fault: lost, times: 1, skip: 0 }], async |node| {
            guards(&node).await;
            node.until("two round trips", |now| {
                assert!(open(now.venue).len() <= 1, "{:#?}", open(now.venue));
                now.seen.trades.len() >= 2
            })
            .await;
            node.finish().await;
        });
    }
}

#[test]
fn without_the_setting_nothing_is_placed() {
    setup(83).start(async |node| {
        node.until("a round trip", |now| !now.seen.trades.is_empty()).await;
        assert!(stops(&node.venue).is_empty());
        node.finish().await;
    });
}
