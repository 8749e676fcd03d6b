//! Faults of market connections: cut, half open, silent, refused, at the end of their life.

use std::time::{Duration, Instant};

use market::Nanos;
use node::stages::book::Mask;
use venue::faults::{Ending, Fault, Rule};

use super::{ETH, all_well, depth, entries};
use crate::harness::{Setup, wall};

fn cut(route: &str, how: Ending) -> Fault {
    Fault::Disconnect { route: route.into(), how }
}

#[test]
fn row_01_the_network_is_cut_nothing_is_sent_and_everything_comes_back_reconciled() {
    let node = Setup::new(11).start();
    node.until("it trades", |now| now.seen.router.entries >= 1);
    let refused = node.inject(Fault::RefuseConnections);
    node.inject(cut("*", Ending::Silence));
    let since = wall();
    node.until("the node knows that it is alone", |now| {
        // Without the user stream nothing is opened; requests themselves could still go over REST, were it there.
        !now.seen.gate.user_stream && now.seen.masked.len() == 8
    });
    assert!(wall().since(since) < Nanos::from_millis(6_000), "found within the silence limit of 3 s");
    node.until("it tries again and again", |_| node.venue.hits(refused) >= 6);
    assert!(entries(&node, ETH, since).is_empty());
    node.heal();
    node.until("all books are back", all_well);
    let trades = node.seen().trades.len();
    node.until("it trades again", |now| now.seen.trades.len() > trades);
    let summary = node.finish();
    let lost = &summary.connections["public"].lost;
    assert_eq!(lost.get("silent"), Some(&1), "{}", summary.text());
}

#[test]
fn row_02_a_half_open_socket_is_found_by_our_own_pings() {
    let node = Setup::new(12).start();
    node.inject(cut("public", Ending::Silence));
    let took = node.until("found by silence, not by TCP", |now| {
        now.seen.connections["public"].lost.contains_key("silent")
            || now.seen.connections["public"].replaced > 0
    });
    assert!(took < Duration::from_secs(6), "3 s and the test's own slowness: {took:?}");
    node.until("a new socket, all books in sync", |now| now.seen.book.resyncs >= 8 && all_well(now));
    let summary = node.finish();
    assert!(summary.connections["market"].lost.is_empty(), "{}", summary.text());
}

#[test]
fn row_03_subscriptions_that_never_deliver_end_the_start_with_the_url() {
    let mut node = Setup::new(13).config(fast).launch(&[Fault::SubscribeSilently.into()]);
    let error = node.ended().expect_err("a node without data does not run").to_string();
    assert!(error.contains("/public/stream") || error.contains("/market/stream"), "{error}");
    assert!(error.contains("subscribed twice"), "{error}");
}

#[test]
fn row_03_a_wrong_route_is_acknowledged_and_named() {
    let mut setup = Setup::new(14).config(fast);
    setup.hosts = |hosts| hosts.market = hosts.public.clone();
    let error = setup.launch(&[]).ended().expect_err("market streams on the public route").to_string();
    assert!(error.contains("/public/stream") && error.contains("markPrice"), "{error}");
}

#[test]
fn row_03_a_lost_subscription_is_made_once_more_on_the_same_connection() {
    let node = Setup::new(15).config(fast).launch(&[Fault::SubscribeSilently.into()]);
    node.until("silent streams are found", |now| now.alerts("SilentStream") >= 8);
    node.venue.clear_faults();
    node.until("the second subscription delivers", all_well);
    let summary = node.finish();
    assert!(summary.connections.values().all(|c| c.opened == 1 && c.replaced == 0), "{}", summary.text());
    assert_eq!(summary.book.streams.dead, 0, "{}", summary.text());
}

#[test]
fn row_03_a_connection_that_falls_silent_with_its_pings_alive_is_replaced() {
    let node = Setup::new(16).start();
    for stream in ["*@depth@100ms", "*@bookTicker"] {
        node.inject(Fault::Mute { stream: stream.into() });
    }
    node.until("the connection is replaced", |now| {
        now.alerts("StalledConnection") >= 1 && now.seen.connections["public"].replaced >= 1
    });
    node.venue.clear_faults();
    node.until("all books are back", all_well);
    let summary = node.finish();
    assert!(summary.connections["public"].lost.is_empty(), "successor first: {}", summary.text());
}

/// `bookTicker` comes over the connection of the books: it must not pass for their life.
#[test]
fn row_03_books_that_fall_silent_while_book_tickers_pass_are_asked_for_again_and_replaced() {
    let node = Setup::new(19).config(fast).start();
    node.inject(Fault::Mute { stream: "*@depth@100ms".into() });
    node.until("every book is masked", |now| now.seen.masked.len() >= 8);
    node.until("they are asked for again", |now| now.alerts("SilentStream") >= 8);
    node.until("the connection is replaced", |now| now.seen.connections["public"].replaced >= 1);
    node.venue.clear_faults();
    node.until("all books are back", all_well);
    node.finish();
}

#[test]
fn row_04_one_silent_book_shuts_its_own_gate_alone() {
    let node = Setup::new(17).start();
    node.inject(Fault::Mute { stream: depth() });
    node.until("it is masked", |now| now.seen.masked.get(ETH) == Some(&Mask::Stale));
    let since = wall();
    let round_trips = node.seen().trades.len();
    node.until("the others trade on", |now| {
        assert_eq!(now.seen.masked.keys().collect::<Vec<_>>(), [ETH], "the others are not masked");
        now.seen.trades.len() > round_trips
    });
    assert!(entries(&node, ETH, since).is_empty());
    node.until("it is subscribed once more", |now| now.alerts("SilentStream") >= 1);
    node.venue.clear_faults();
    node.until("it is back", all_well);
    node.finish();
}

#[test]
fn row_04_a_silent_mark_price_shuts_its_symbols_gate() {
    let node = Setup::new(18).config(|c| c.market.stream_silent_ms = 3_000).start();
    node.inject(Fault::Mute { stream: "ethusdt@markPrice@1s".into() });
    node.until("it is masked", |now| now.seen.masked.get(ETH) == Some(&Mask::Silent));
    assert_eq!(node.seen().masked.len(), 1);
    node.venue.clear_faults();
    node.until("it delivers again", all_well);
    let summary = node.finish();
    assert_eq!((summary.book.gaps, summary.book.streams.silent), (0, 1), "{}", summary.text());
}

#[test]
fn row_33_connections_are_renewed_before_their_end_without_a_gap() {
    let node = Setup::new(19)
        .config(|c| {
            c.market.max_connection_age_s = 4;
            c.market.audit_interval_ms = 1_000;
        })
        .start();
    node.until("each market connection has been renewed three times", |now| {
        assert_eq!(now.seen.book.live_books, 8, "no book is lost meanwhile");
        assert!(now.seen.gate.order_path && now.seen.gate.user_stream, "nor the way of orders");
        ["public", "market"].iter().all(|c| now.seen.connections[*c].replaced >= 3)
    });
    let summary = node.finish();
    let (b, text) = (&summary.book, summary.text());
    assert!(summary.connections.values().all(|c| c.lost.is_empty() && c.opened == 1), "{text}");
    assert_eq!((b.gaps, b.resyncs, b.audit_failures, b.streams.trades_missed), (0, 0, 0, 0), "{text}");
    assert!(b.old_updates > 0, "both connections of a rollover deliver, and each update counts once: {text}");
}

#[test]
fn row_33_a_refusing_venue_is_asked_at_most_once_a_second_and_ever_more_slowly() {
    let node = Setup::new(20).start();
    node.inject(Fault::RefuseConnections);
    node.inject(cut("public", Ending::Reset));
    node.inject(cut("market", Ending::Close));
    let start = Instant::now();
    node.until("several attempts have failed", |now| {
        ["public", "market"].iter().all(|c| now.seen.connections[*c].failed >= 3)
    });
    let (seconds, seen) = (start.elapsed().as_secs_f64(), node.seen());
    for c in ["public", "market"] {
        assert!(seen.connections[c].failed as f64 <= seconds + 1.0, "{seconds} s: {:?}", seen.connections);
    }
    assert!(seconds > 3.0, "1 s, 1 … 2 s, 2 … 4 s: {seconds}");
    node.venue.clear_faults();
    node.until("it is back", all_well);
    node.finish();
}

#[test]
fn row_33_a_notice_of_shutdown_is_followed_by_a_renewal() {
    let node = Setup::new(21).start();
    let text = r#"{"e":"serverShutdown","E":1790526538985}"#;
    node.inject_once(Fault::Replace { stream: depth(), text: text.into() });
    node.until("the connection is renewed", |now| now.seen.connections["public"].replaced == 1);
    node.until("all is well", all_well);
    let summary = node.finish();
    assert!(summary.connections["public"].lost.is_empty(), "{}", summary.text());
    assert_eq!(summary.book.rejected, 0, "{}", summary.text());
}

#[test]
fn row_33_the_venues_own_end_of_a_connection_is_survived() {
    let node = Setup::new(23).start();
    node.inject(Fault::ConnectionLife { ms: 5_000 });
    node.until("the venue has closed both market connections", |now| {
        ["public", "market"].iter().all(|c| now.seen.connections[*c].lost.contains_key("closed"))
    });
    node.venue.clear_faults();
    node.until("all is well", all_well);
    let trades = node.seen().trades.len();
    node.until("it trades again", |now| now.seen.trades.len() > trades);
    node.finish();
}

#[test]
fn row_40_encryption_is_never_given_up_for_a_connection() {
    let mut setup = Setup::new(22);
    setup.hosts = |hosts| hosts.public = hosts.public.replace("ws://", "wss://");
    let mut node = setup.launch(&[Rule::from(Fault::ReadLag { ms: 0 })]);
    let error = node.ended().expect_err("no TLS, no data, no run").to_string();
    assert!(error.contains("wss://") && error.contains("does not open a WebSocket"), "{error}");
}

/// Short patience, so that a test of it is short.
fn fast(config: &mut node::config::Config) {
    config.market.first_data_ms = 2_000;
}
