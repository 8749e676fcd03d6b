//! The user stream: keys that expire, connections that end, silence.

use std::time::Duration;

use venue::faults::{Ending, Fault, Rule};

use super::{in_order, setup};

fn cut(route: &str, how: Ending) -> Fault {
    Fault::Disconnect { route: route.into(), how }
}

#[test]
fn row_32_an_expired_key_is_replaced_and_nothing_is_lost() {
    setup(32).start(async |node| {
        node.holds().await;
        for _ in 0..2 {
            let before = node.seen().alerts.get("ListenKeyExpired").copied().unwrap_or(0);
            node.inject(Fault::ExpireListenKeys { event: true });
            node.until("the expiry was told", |now| now.alerts("ListenKeyExpired") > before).await;
            node.until("in order on a new key", in_order).await;
            node.trades_again().await;
        }
        node.finish().await;
    });
}

#[test]
fn row_32_a_key_that_expires_silently_is_found_by_an_order_of_ours() {
    setup(33).start(async |node| {
        node.holds().await;
        node.inject(Fault::ExpireListenKeys { event: false });
        node.until("the silence was noticed", |now| now.alerts("UserStreamMute") == 1).await;
        node.until("in order on a new key", in_order).await;
        node.trades_again().await;
        let summary = node.finish().await;
        assert_eq!(summary.alerts["UserStreamMute"], 1, "{}", summary.text());
    });
}

#[test]
fn row_32_a_dead_key_on_a_lost_connection_is_created_anew() {
    setup(34).start(async |node| {
        node.inject(Fault::ExpireListenKeys { event: false });
        node.inject(cut("private", Ending::Reset));
        node.until("the loss was noticed", |now| !now.seen.gate.user_stream).await;
        node.until("in order on a new key", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_32_a_key_that_cannot_be_created_is_asked_for_with_patience() {
    setup(35).start(async |node| {
        let on = "POST /fapi/v1/listenKey".to_owned();
        let refused =
            Fault::ReplyError { on, code: -1007, msg: "Timeout".into(), status: 408, executed: false };
        let id = node.inject(Rule { fault: refused, times: 2, skip: 0 });
        let before = node.venue.counters().requests;
        node.inject(Fault::ExpireListenKeys { event: true });
        node.until("refused twice", |now| now.venue.hits(id) == 2).await;
        assert!(node.venue.counters().requests - before < 40, "no storm of requests");
        node.until("in order on a new key", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_33_a_lost_user_stream_is_compared_before_it_is_trusted() {
    setup(36).start(async |node| {
        for how in [Ending::Close, Ending::Reset, Ending::Silence] {
            node.holds().await;
            node.inject(cut("private", how));
            node.until("the loss was noticed", |now| !now.seen.gate.user_stream).await;
            node.until("in order", in_order).await;
        }
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_33_a_lost_order_connection_leaves_no_order_behind() {
    setup(37).start(async |node| {
        for how in [Ending::Close, Ending::Reset, Ending::Silence] {
            node.holds().await;
            node.inject(cut("ws-fapi", how));
            node.until("orders go over REST", |now| now.seen.gate.fallback).await;
            node.until("in order", |now| in_order(now) && !now.seen.gate.fallback).await;
        }
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_33_a_storm_of_disconnects_is_met_with_patience() {
    setup(38).start(async |node| {
        node.holds().await;
        let refused = node.inject(Fault::RefuseConnections);
        for route in ["private", "ws-fapi"] {
            node.inject(cut(route, Ending::Reset));
        }
        node.until("attempts were refused", |now| now.venue.hits(refused) >= 4).await;
        let before = node.venue.hits(refused);
        let watched = Duration::from_secs(20);
        node.holds_for(watched, "nothing is opened meanwhile", |now| !now.seen.gate.user_stream).await;
        // Two WebSocket connections, each waiting twice as long after every attempt.
        let attempts = node.venue.hits(refused) - before;
        assert!((1..=24).contains(&attempts), "{attempts} attempts in {watched:?}");
        node.venue.clear_faults();
        node.until("in order", |now| in_order(now) && !now.seen.gate.fallback).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_33_connections_that_reach_the_end_of_their_life_are_replaced() {
    setup(45).start(async |node| {
        node.inject(Fault::ConnectionLife { ms: 11_000 });
        node.until("the end came", |now| !now.seen.gate.user_stream || now.seen.gate.fallback).await;
        node.venue.clear_faults();
        node.until("in order", |now| in_order(now) && !now.seen.gate.fallback).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_33_everything_is_cut_at_once() {
    setup(39).start(async |node| {
        node.holds().await;
        node.inject(cut("*", Ending::Reset));
        node.until("the loss was noticed", |now| !now.seen.gate.user_stream).await;
        node.until("in order", |now| in_order(now) && !now.seen.gate.fallback).await;
        node.trades_again().await;
        node.finish().await;
    });
}
