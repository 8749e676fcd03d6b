//! Limits, bans, overload, clock and key.

use std::time::Duration;

use venue::faults::{Ending, Fault, Rule};

use super::{in_order, setup};
use crate::harness::Node;

/// Everything the venue was asked, by either way.
fn requests(node: &Node) -> u64 {
    let c = node.venue.counters();
    c.requests + c.api_requests
}

#[test]
fn row_13_a_clock_that_is_off_costs_one_refusal_and_is_taken_anew() {
    let node = setup(13).start();
    for ms in [2_000, -2_000] {
        let before = node.seen().alerts.get("Refused -1021").copied().unwrap_or(0);
        let told = node.seen().alerts.get("ClockOffset").copied().unwrap_or(0);
        node.inject(Fault::ClockOffset { ms });
        node.until("the offset is known", |now| now.alerts("ClockOffset") > told);
        node.opens_nothing(Duration::from_secs(2));
        node.until("in order, with the venue's time", in_order);
        node.venue.clear_faults();
        node.trades_again();
        let refused = node.seen().alerts.get("Refused -1021").copied().unwrap_or(0) - before;
        // One on the way there, one on the way back, and what was under way beside it.
        assert!(refused <= 4, "{refused} refusals for {ms} ms");
    }
    node.finish();
}

#[test]
fn row_16_an_overloaded_venue_gets_exits_and_no_entries() {
    let node = setup(40).start();
    node.holds();
    let id = node.inject(Fault::Overload);
    let closed = node.seen().trades.len();
    node.until("the position was closed all the same", |now| now.seen.trades.len() > closed);
    node.until("an entry was refused", |now| now.venue.hits(id) > 0);
    node.opens_nothing(Duration::from_secs(2));
    assert!(node.venue.hits(id) < 6, "entries wait longer and longer");
    node.venue.clear_faults();
    node.trades_again();
    node.finish();
}

#[test]
fn row_30_too_many_requests_pause_what_can_wait() {
    let node = setup(41).start();
    let fault = Fault::TooManyRequests { retry_after_s: 2 };
    let id = node.inject(Rule { fault, times: 2, skip: 0 });
    node.until("refused", |now| now.venue.hits(id) >= 1);
    node.until("in order", in_order);
    node.trades_again();
    // The window counts as used up to its end: before it is over nobody could ask the venue what is left.
    let asked = node.venue.counters().requests;
    node.until("REST is used again", |now| now.venue.counters().requests > asked + 2);
    let summary = node.finish();
    assert!(!summary.alerts.contains_key("Banned"), "{}", summary.text());
}

#[test]
fn row_30_too_many_orders_pause_orders_and_trip_nothing() {
    let node = setup(42).start();
    let msg = "Too many new orders; current limit is 300 orders per TEN_SECONDS.".to_owned();
    node.survives(Fault::ReplyError {
        on: "order.place".into(),
        code: -1015,
        msg,
        status: 429,
        executed: false,
    });
    node.trades_again();
    let summary = node.finish();
    assert!(!summary.alerts.contains_key("Tripped"), "{}", summary.text());
}

#[test]
fn row_31_while_banned_nothing_is_sent_and_the_streams_stay() {
    let node = setup(43).start();
    node.inject(Fault::Ban { ms: 6_000 });
    // A new key is asked for at once: so it learns of the ban.
    node.inject(Fault::ExpireListenKeys { event: true });
    node.until("the ban is known", |now| now.alerts("Banned") >= 1);
    std::thread::sleep(Duration::from_millis(100)); // what was on its way at that moment
    let (sent, frames) = (requests(&node), node.seen().feed.frames);
    node.holds_for(Duration::from_secs(4), "no request at all", |_| requests(&node) == sent);
    assert!(node.seen().feed.frames > frames, "market data goes on");
    node.until("in order after the ban", in_order);
    node.trades_again();
    node.finish();
}

#[test]
fn row_31_the_firewall_silences_rest_and_nothing_else() {
    let node = setup(46).start();
    node.inject_once(Fault::Page { on: "GET /fapi/v3/positionRisk".into(), status: 403 });
    node.until("it was told", |now| now.alerts("Banned") >= 1);
    std::thread::sleep(Duration::from_millis(100)); // what was on its way at that moment
    let (sent, frames) = (requests(&node), node.seen().feed.frames);
    node.holds_for(Duration::from_secs(3), "no request at all", |_| requests(&node) == sent);
    assert!(node.seen().feed.frames > frames, "market data goes on");
    assert!(!node.seen().alerts.contains_key("TradingStopped"), "it is no matter of the key");
    // It stays silent for two minutes: too long for a test. The node ends as it is.
    drop(node);
}

#[test]
fn row_35_maintenance_pages_are_waited_out() {
    let node = setup(47).start();
    node.holds();
    let id = node.inject(Fault::Page { on: "*".into(), status: 503 });
    node.inject(Fault::Disconnect { route: "private".into(), how: Ending::Close });
    node.until("pages were seen", |now| now.venue.hits(id) >= 4);
    node.venue.clear_faults();
    node.until("in order", in_order);
    node.trades_again();
    node.finish();
}

#[test]
fn row_34_a_revoked_key_stops_trading_says_so_and_is_not_asked_again() {
    let node = setup(44).start();
    node.holds();
    node.inject(Fault::RevokeKey { api_key: crate::harness::KEY.0.into() });
    node.until("it stopped", |now| now.alerts("TradingStopped") == 1);
    std::thread::sleep(Duration::from_millis(500)); // what was on its way at that moment
    let (sent, frames) = (requests(&node), node.seen().feed.frames);
    node.holds_for(Duration::from_secs(5), "no loop of requests", |_| requests(&node) < sent + 12);
    assert!(node.seen().feed.frames > frames, "market data goes on");
    assert_eq!(node.seen().alerts["TradingStopped"], 1);
    // Nothing can be cancelled with a dead key: this run ends with what the venue's countdown leaves.
    drop(node);
}
