//! What others do to the account, and what the venue does to it by itself.

use std::time::Duration;

use venue::faults::{Fault, Rule};

use super::{in_order, openings, setup};
use crate::harness::{Node, open_orders};

/// Symbols of the venue, as the node's table has them.
fn symbols(node: &Node) -> Vec<String> {
    node.venue.inspect(|x| x.listings().iter().map(|l| l.instrument.symbol.clone()).collect())
}

/// A quantity worth about `usd` of a symbol, as the venue writes it.
fn worth(node: &Node, symbol: &str, usd: f64) -> String {
    node.venue.inspect(|x| {
        let l = x.listings().iter().find(|l| l.instrument.symbol == symbol).unwrap();
        let lots = l.instrument.lot.floor(usd / l.mark.mark.to_f64()).unwrap().max(l.instrument.min_qty.0);
        l.instrument.lot.format(lots).to_string()
    })
}

#[test]
fn row_18_a_fill_of_somebody_else_counts_at_once_and_stops_entries() {
    let mut wanted = setup(50);
    wanted.flatten = false;
    wanted.start(async |node| {
        let symbol = symbols(&node).pop().unwrap();
        let quantity = worth(&node, &symbol, 300.0);
        let (side, price, client_id) = ("BUY".to_owned(), None, None);
        node.inject(Fault::ExternalOrder {
            account: 0,
            symbol: symbol.clone(),
            side,
            quantity,
            price,
            client_id,
        });
        node.until("it was noticed", |now| now.alerts("ExternalFill") >= 1 && now.alerts("Tripped") >= 1)
            .await;
        node.until("in order", in_order).await;
        node.opens_nothing(Duration::from_secs(3)).await;
        let summary = node.finish().await;
        assert!(summary.open_positions.iter().flatten().any(|p| p.symbol == symbol), "{}", summary.text());
    });
}

#[test]
fn row_18_a_fill_that_no_event_told_of_is_found_in_the_venues_list() {
    setup(51).start(async |node| {
        let symbol = node.holds().await;
        let quantity = worth(&node, &symbol, 300.0);
        node.inject(Rule { fault: Fault::Mute { stream: "user@*".into() }, times: 0, skip: 0 });
        let (side, price, client_id) = ("BUY".to_owned(), None, None);
        node.inject(Fault::ExternalOrder { account: 0, symbol, side, quantity, price, client_id });
        node.until("it was noticed", |now| now.alerts("ExternalFill") >= 1).await;
        node.venue.clear_faults();
        node.until("in order", in_order).await;
        node.finish().await;
    });
}

#[test]
fn row_36_a_coarser_tick_costs_one_refusal_and_trading_goes_on() {
    setup(52).start(async |node| {
        for symbol in symbols(&node) {
            let tick = node.venue.inspect(|x| {
                let l = x.listings().iter().find(|l| l.instrument.symbol == symbol).unwrap();
                l.instrument.tick.format(5).to_string()
            });
            node.inject(Fault::SetFilter {
                symbol,
                min_notional: None,
                min_qty: None,
                max_orders: None,
                multiplier_up: None,
                multiplier_down: None,
                tick: Some(tick),
            });
        }
        node.until("the new filters are in force", |now| now.alerts("FiltersChanged") >= 8).await;
        node.until("in order", in_order).await;
        node.trades_again().await;
        let summary = node.finish().await;
        let refused: u64 =
            ["Refused -1111", "Refused -4014"].iter().filter_map(|k| summary.alerts.get(*k)).sum();
        assert!(refused <= 2, "{refused} refusals\n{}", summary.text());
    });
}

#[test]
fn row_36_a_higher_minimum_is_kept_after_it_was_read() {
    setup(53).config(|c| c.venue.instruments_check_ms = 1_000).start(async |node| {
        for symbol in symbols(&node) {
            node.inject(Fault::SetFilter {
                symbol,
                min_notional: Some("100000".into()),
                min_qty: None,
                max_orders: None,
                multiplier_up: None,
                multiplier_down: None,
                tick: None,
            });
        }
        node.until("the new filters are in force", |now| now.alerts("FiltersChanged") >= 8).await;
        node.until("an entry was denied before it was sent", |now| now.alerts("Denied MinNotional") >= 1)
            .await;
        node.opens_nothing(Duration::from_secs(1)).await;
        node.finish().await;
    });
}

#[test]
fn row_35_a_halted_symbol_is_left_alone_and_comes_back() {
    setup(54).start(async |node| {
        let status = |status: &str| {
            for symbol in symbols(&node) {
                node.inject(Fault::SetStatus { symbol, status: status.into() });
            }
        };
        status("PENDING_TRADING");
        node.until("entries are denied, not refused", |now| now.alerts("Denied Tradable") >= 1).await;
        let before = openings(&node.venue);
        node.opens_nothing(Duration::from_secs(2)).await;
        status("TRADING");
        node.until("it trades again", |now| openings(now.venue) > before).await;
        node.trades_again().await;
        let summary = node.finish().await;
        let refused: u64 =
            summary.alerts.iter().filter(|(k, _)| k.starts_with("Refused -4")).map(|(_, n)| n).sum();
        assert!(refused <= 12, "{refused} refusals\n{}", summary.text());
    });
}

#[test]
fn row_37_leverage_changed_from_outside_stops_entries() {
    setup(55).start(async |node| {
        let symbol = symbols(&node).pop().unwrap();
        node.inject(Fault::SetLeverage { account: 0, symbol, leverage: 3 });
        node.until("it was noticed", |now| now.alerts("AccountMode") == 1 && now.alerts("Tripped") >= 1)
            .await;
        node.until("the working entry has ended", |now| {
            now.seen.router.working == 0 || !now.seen.positions.is_empty()
        })
        .await;
        node.opens_nothing(Duration::from_secs(3)).await;
        node.finish().await;
    });
}

#[test]
fn row_37_hedge_mode_set_from_outside_stops_entries() {
    setup(56).config(|c| c.venue.account_check_ms = 1_000).start(async |node| {
        // The venue allows it only while nothing is open.
        node.until("the mode was changed", |now| {
            now.venue.inject(Fault::SetHedge { account: 0, on: true }).is_ok()
        })
        .await;
        node.until("it was noticed", |now| {
            now.alerts("AccountMode") >= 1 || now.alerts("TradingStopped") >= 1
        })
        .await;
        node.opens_nothing(Duration::from_secs(2)).await;
        node.venue.inject(Fault::SetHedge { account: 0, on: false }).unwrap();
        node.finish().await;
    });
}

#[test]
fn row_38_a_liquidation_halts_the_symbol_and_is_not_hedged() {
    setup(57).start(async |node| {
        let symbol = node.holds().await;
        node.inject(Fault::Liquidate { account: 0 });
        node.until("it was noticed", |now| now.alerts("VenueClosed") >= 1).await;
        node.until("flat on both sides", |now| in_order(now) && !now.seen.positions.contains_key(&symbol))
            .await;
        let left = open_orders(&node.venue);
        assert!(left.iter().all(|o| node.venue.inspect(|x| x.listing(o.symbol).instrument.symbol != symbol)));
        node.trades_again().await;
        let summary = node.finish().await;
        assert!(summary.text().contains("EXTERNAL"), "{}", summary.text());
    });
}

#[test]
fn row_38_a_settled_instrument_is_halted() {
    setup(62).start(async |node| {
        let symbol = node.holds().await;
        node.inject(Fault::Settle { symbol: symbol.clone() });
        node.until("it was noticed", |now| now.alerts("VenueClosed") >= 1).await;
        node.until("flat on both sides", |now| in_order(now) && !now.seen.positions.contains_key(&symbol))
            .await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_37_a_margin_type_changed_from_outside_stops_entries() {
    setup(63).config(|c| c.venue.account_check_ms = 1_000).start(async |node| {
        // The venue refuses it where an order works or a position is open.
        let all = symbols(&node);
        node.until("a symbol whose type may be changed", |now| {
            let change =
                |symbol: &String| Fault::SetMarginType { account: 0, symbol: symbol.clone(), isolated: true };
            all.iter().any(|symbol| now.venue.inject(change(symbol)).is_ok())
        })
        .await;
        node.until("it was noticed", |now| now.alerts("AccountMode") == 1 && now.alerts("Tripped") >= 1)
            .await;
        node.finish().await;
    });
}

#[test]
fn row_20_orders_cancelled_by_somebody_else_are_put_back_or_given_up() {
    setup(64).start(async |node| {
        for _ in 0..3 {
            let symbol = node.holds().await;
            node.inject(Fault::CancelOrder { account: 0, symbol, client_id: None });
            node.until("in order", in_order).await;
        }
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_38_a_deleveraged_position_goes_on_with_what_is_left() {
    setup(58).start(async |node| {
        let symbol = node.holds().await;
        let quantity = Some(worth(&node, &symbol, 500.0));
        let leg = "BOTH".to_owned();
        node.inject(Fault::Deleverage { account: 0, symbol, position_side: leg, quantity });
        node.until("it was noticed", |now| now.alerts("VenueClosed") >= 1).await;
        node.until("in order", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_39_funding_and_transfers_stand_in_the_ledger() {
    setup(59).start(async |node| {
        let symbol = node.holds().await;
        node.inject(Fault::Funding { symbol, rate: 0.001 });
        node.inject(Fault::Transfer { account: 0, amount: "-1000".into() });
        node.until("both are in the ledger", |now| {
            let l = &now.seen.ledger;
            l.contains_key("FUNDING_FEE") && l.values().any(|x| (*x + 1000.0).abs() < 1e-9)
        })
        .await;
        node.until("in order", in_order).await;
        let pnl = node.seen().router.day_pnl;
        assert!(pnl.is_none_or(|p| p.abs() < 900.0), "a withdrawal is no loss of the day: {pnl:?}");
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_39_insufficient_margin_is_denied_here_next_time() {
    setup(60).config(|c| c.router.risk.margin_cooldown_ms = 3_000).start(async |node| {
        let on = "order.place".to_owned();
        let msg = "Margin is insufficient.".to_owned();
        node.survives(Fault::ReplyError { on, code: -2019, msg, status: 400, executed: false }).await;
        node.until("denied before it was sent", |now| now.alerts("Denied Margin") >= 1).await;
        node.trades_again().await;
        let summary = node.finish().await;
        assert_eq!(summary.alerts["Refused -2019"], 1, "{}", summary.text());
    });
}

#[test]
fn row_41_a_runaway_strategy_stops_itself() {
    setup(61).config(|c| c.router.risk.max_repeated_entries = 2).start(async |node| {
        node.until("it tripped", |now| now.alerts("Tripped") >= 1).await;
        node.until("the last entry has ended", |now| {
            now.seen.positions.is_empty() && now.seen.router.working == 0
        })
        .await;
        node.opens_nothing(Duration::from_secs(3)).await;
        let summary = node.finish().await;
        assert!(summary.router.entries + summary.router.abandoned >= 2, "{}", summary.text());
    });
}
