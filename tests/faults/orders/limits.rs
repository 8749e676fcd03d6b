//! Limits, bans, overload, clock and key.

use std::time::Duration;

use market::Nanos;
use venue::faults::{Ending, Fault, Rule};

use super::{in_order, is_ours, setup};
use crate::harness::{Node, open_orders, positions};

/// A request that only a comparison with the account makes.
const COMPARISON: &str = "GET /fapi/v3/positionRisk";
const MINUTE_NS: u64 = 60_000_000_000;

/// Everything the venue was asked, by either way.
fn requests(node: &Node) -> u64 {
    let c = node.venue.counters();
    c.requests + c.api_requests
}

#[test]
fn row_13_a_clock_that_is_off_costs_one_refusal_and_is_taken_anew() {
    setup(13).start(async |node| {
        for ms in [2_000, -2_000] {
            let before = node.seen().alerts.get("Refused -1021").copied().unwrap_or(0);
            let told = node.seen().alerts.get("ClockOffset").copied().unwrap_or(0);
            node.inject(Fault::ClockOffset { ms });
            node.until("the offset is known", |now| now.alerts("ClockOffset") > told).await;
            node.opens_nothing(Duration::from_secs(2)).await;
            node.until("in order, with the venue's time", in_order).await;
            node.venue.clear_faults();
            node.trades_again().await;
            let refused = node.seen().alerts.get("Refused -1021").copied().unwrap_or(0) - before;
            // One on the way there, one on the way back, and what was under way beside it.
            assert!(refused <= 4, "{refused} refusals for {ms} ms");
        }
        node.finish().await;
    });
}

#[test]
fn row_16_an_overloaded_venue_gets_exits_and_no_entries() {
    setup(40).start(async |node| {
        node.holds().await;
        let id = node.inject(Fault::Overload);
        let closed = node.seen().trades.len();
        node.until("the position was closed all the same", |now| now.seen.trades.len() > closed).await;
        node.until("an entry was refused", |now| now.venue.hits(id) > 0).await;
        node.opens_nothing(Duration::from_secs(2)).await;
        assert!(node.venue.hits(id) < 6, "entries wait longer and longer");
        node.venue.clear_faults();
        node.trades_again().await;
        node.finish().await;
    });
}

/// Refused by the WebSocket API, which names no time, the limit counts as used up to the end of the venue's minute.
#[test]
fn row_30_too_many_requests_pause_what_can_wait() {
    // Early in a minute, and late in one.
    for begins_ms in [0, 45_000] {
        let mut wanted = setup(41);
        wanted.begins_ms = begins_ms;
        wanted.start(async |node| {
            let fault = Fault::TooManyRequests { retry_after_s: 2 };
            let id = node.inject(Rule { fault, times: 2, skip: 0 });
            node.until("refused", |now| now.venue.hits(id) >= 1).await;
            let minute = node.wall().0 / MINUTE_NS;
            node.until("in order", in_order).await;
            node.trades_again().await;
            let compared = node.inject(Fault::ReplyDelay { on: COMPARISON.into(), ms: 0 });
            node.until("the limit is open: the account is compared", |now| now.venue.hits(compared) >= 1)
                .await;
            assert!(node.wall().0 / MINUTE_NS > minute, "not before the minute is over");
            let summary = node.finish().await;
            assert!(!summary.alerts.contains_key("Banned"), "{}", summary.text());
        });
    }
}

/// Nobody can be asked what is left: the summary says so, and what worked is cancelled over the way that is left.
#[test]
fn row_30_a_run_that_ends_while_the_limit_is_used_up_does_not_know_what_is_left() {
    setup(41).start(async |node| {
        let fault = Fault::TooManyRequests { retry_after_s: 2 };
        let id = node.inject(Rule { fault, times: 2, skip: 0 });
        node.until("refused", |now| now.venue.hits(id) >= 2).await;
        node.until("an order of ours works", |now| open_orders(now.venue).iter().any(is_ours)).await;
        let since = node.wall();
        node.signal();
        let summary = node.ended().await.unwrap();
        let (text, took) = (summary.text(), node.wall().since(since));
        assert_eq!((open_orders(&node.venue), positions(&node.venue).len()), (Vec::new(), 0), "{text}");
        assert!(took <= Nanos::from_millis(20_000), "{took:?}");
        assert_eq!((summary.open_orders, &summary.open_positions), (None, &None), "{text}");
        assert!(text.contains("unknown") && summary.alerts["LeftUnknown"] == 1, "{text}");
    });
}

#[test]
fn row_30_too_many_orders_pause_orders_and_trip_nothing() {
    setup(42).start(async |node| {
        let msg = "Too many new orders; current limit is 300 orders per TEN_SECONDS.".to_owned();
        node.survives(Fault::ReplyError {
            on: "order.place".into(),
            code: -1015,
            msg,
            status: 429,
            executed: false,
        })
        .await;
        node.trades_again().await;
        let summary = node.finish().await;
        assert!(!summary.alerts.contains_key("Tripped"), "{}", summary.text());
    });
}

#[test]
fn row_31_while_banned_nothing_is_sent_and_the_streams_stay() {
    setup(43).start(async |node| {
        node.inject(Fault::Ban { ms: 6_000 });
        // A new key is asked for at once: so it learns of the ban.
        node.inject(Fault::ExpireListenKeys { event: true });
        node.until("the ban is known", |now| now.alerts("Banned") >= 1).await;
        node.world.wait_ms(100).await; // what was on its way at that moment
        let (sent, frames) = (requests(&node), node.seen().feed.frames);
        node.holds_for(Duration::from_secs(4), "no request at all", |_| requests(&node) == sent).await;
        assert!(node.seen().feed.frames > frames, "market data goes on");
        node.until("in order after the ban", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_31_the_firewall_silences_rest_and_nothing_else() {
    setup(46).start(async |node| {
        node.inject_once(Fault::Page { on: "GET /fapi/v3/positionRisk".into(), status: 403 });
        node.until("it was told", |now| now.alerts("Banned") >= 1).await;
        node.world.wait_ms(100).await; // what was on its way at that moment
        let (sent, frames) = (requests(&node), node.seen().feed.frames);
        node.holds_for(Duration::from_secs(3), "no request at all", |_| requests(&node) == sent).await;
        assert!(node.seen().feed.frames > frames, "market data goes on");
        assert!(!node.seen().alerts.contains_key("TradingStopped"), "it is no matter of the key");
        // It stays silent for two minutes; meanwhile the streams serve, and then everything does.
        let since = node.wall();
        node.world.wait_ms(100_000).await;
        let asked = requests(&node);
        node.until("REST is used again", |_| {
            node.venue.counters().requests > 0 && requests(&node) > asked + 4
        })
        .await;
        assert!(node.wall().since(since) > Nanos::from_millis(110_000), "two minutes");
        node.until("in order", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_35_maintenance_pages_are_waited_out() {
    setup(47).start(async |node| {
        node.holds().await;
        let id = node.inject(Fault::Page { on: "*".into(), status: 503 });
        node.inject(Fault::Disconnect { route: "private".into(), how: Ending::Close });
        node.until("pages were seen", |now| now.venue.hits(id) >= 4).await;
        node.venue.clear_faults();
        node.until("in order", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_34_a_revoked_key_stops_trading_says_so_and_is_not_asked_again() {
    setup(44).start(async |node| {
        node.holds().await;
        node.inject(Fault::RevokeKey { api_key: crate::harness::KEY.0.into() });
        node.until("it stopped", |now| now.alerts("TradingStopped") == 1).await;
        node.world.wait_ms(500).await; // what was on its way at that moment
        let (sent, frames) = (requests(&node), node.seen().feed.frames);
        node.holds_for(Duration::from_secs(5), "no loop of requests", |_| requests(&node) < sent + 12).await;
        assert!(node.seen().feed.frames > frames, "market data goes on");
        assert_eq!(node.seen().alerts["TradingStopped"], 1);
        // Nothing can be cancelled with a dead key: this run ends with what the venue's countdown leaves.
        node.signal();
        let summary = node.ended().await.unwrap();
        assert_eq!((summary.open_orders, &summary.open_positions), (None, &None), "{}", summary.text());
        node.until_venue("the venue's countdown cancelled", |venue| open_orders(venue).is_empty()).await;
    });
}
