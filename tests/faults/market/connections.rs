//! Faults of market connections: cut, half open, silent, refused, at the end of their life.

use std::time::Duration;

use market::Nanos;
use node::stages::book::Mask;
use venue::faults::{Ending, Fault};

use super::{ETH, all_well, depth, entries};
use crate::harness::Setup;

fn cut(route: &str, how: Ending) -> Fault {
    Fault::Disconnect { route: route.into(), how }
}

#[test]
fn row_01_the_network_is_cut_nothing_is_sent_and_everything_comes_back_reconciled() {
    Setup::new(11).start(async |node| {
        node.until("it trades", |now| now.seen.router.entries >= 1).await;
        let refused = node.inject(Fault::RefuseConnections);
        node.inject(cut("*", Ending::Silence));
        let since = node.wall();
        node.until("the node knows that it is alone", |now| {
            // Without the user stream nothing is opened; requests themselves could still go over REST, were it there.
            !now.seen.gate.user_stream && now.seen.masked.len() == 8
        })
        .await;
        assert!(
            node.wall().since(since) <= Nanos::from_millis(3_100),
            "found within the silence limit of 3 s"
        );
        node.until("it tries again and again", |_| node.venue.hits(refused) >= 6).await;
        assert!(entries(&node, ETH, since).is_empty());
        node.heal().await;
        node.until("all books are back", all_well).await;
        let trades = node.seen().trades.len();
        node.until("it trades again", |now| now.seen.trades.len() > trades).await;
        let summary = node.finish().await;
        let lost = &summary.connections["public"].lost;
        assert_eq!(lost.get("silent"), Some(&1), "{}", summary.text());
    });
}

#[test]
fn row_02_a_half_open_socket_is_found_by_our_own_pings() {
    Setup::new(12).start(async |node| {
        node.inject(cut("public", Ending::Silence));
        let took = node
            .until("found by silence, not by TCP", |now| {
                now.seen.connections["public"].lost.contains_key("silent")
                    || now.seen.connections["public"].replaced > 0
            })
            .await;
        assert!(took <= Duration::from_millis(3_100), "3 s and a look: {took:?}");
        node.until("a new socket, all books in sync", |now| now.seen.book.resyncs >= 8 && all_well(now))
            .await;
        let summary = node.finish().await;
        assert!(summary.connections["market"].lost.is_empty(), "{}", summary.text());
    });
}

#[test]
fn row_03_subscriptions_that_never_deliver_end_the_start_with_the_url() {
    Setup::new(13).config(fast).launch(&[Fault::SubscribeSilently.into()], async |node| {
        let error = node.ended().await.expect_err("a node without data does not run").to_string();
        assert!(error.contains("/public/stream") || error.contains("/market/stream"), "{error}");
        assert!(error.contains("subscribed twice"), "{error}");
    });
}

#[test]
fn row_03_a_wrong_route_is_acknowledged_and_named() {
    let mut setup = Setup::new(14).config(fast);
    setup.hosts = |hosts| hosts.market = hosts.public.clone();
    setup.launch(&[], async |node| {
        let error = node.ended().await.expect_err("market streams on the public route").to_string();
        assert!(error.contains("/public/stream") && error.contains("markPrice"), "{error}");
    });
}

#[test]
fn row_03_a_lost_subscription_is_made_once_more_on_the_same_connection() {
    Setup::new(15).config(fast).launch(&[Fault::SubscribeSilently.into()], async |node| {
        node.until("silent streams are found", |now| now.alerts("SilentStream") >= 8).await;
        node.venue.clear_faults();
        node.until("the second subscription delivers", all_well).await;
        let summary = node.finish().await;
        assert!(summary.connections.values().all(|c| c.opened == 1 && c.replaced == 0), "{}", summary.text());
        assert_eq!(summary.book.streams.dead, 0, "{}", summary.text());
    });
}

#[test]
fn row_03_a_connection_that_falls_silent_with_its_pings_alive_is_replaced() {
    Setup::new(16).start(async |node| {
        for stream in ["*@depth@100ms", "*@bookTicker"] {
            node.inject(Fault::Mute { stream: stream.into() });
        }
        node.until("the connection is replaced", |now| {
            now.alerts("StalledConnection") >= 1 && now.seen.connections["public"].replaced >= 1
        })
        .await;
        node.venue.clear_faults();
        node.until("all books are back", all_well).await;
        let summary = node.finish().await;
        assert!(summary.connections["public"].lost.is_empty(), "successor first: {}", summary.text());
    });
}

/// `bookTicker` comes over the connection of the books: it must not pass for their life.
#[test]
fn row_03_books_that_fall_silent_while_book_tickers_pass_are_asked_for_again_and_replaced() {
    Setup::new(19).config(fast).start(async |node| {
        node.inject(Fault::Mute { stream: "*@depth@100ms".into() });
        node.until("every book is masked", |now| now.seen.masked.len() >= 8).await;
        node.until("they are asked for again", |now| now.alerts("SilentStream") >= 8).await;
        node.until("the connection is replaced", |now| now.seen.connections["public"].replaced >= 1).await;
        node.venue.clear_faults();
        node.until("all books are back", all_well).await;
        node.finish().await;
    });
}

#[test]
fn row_04_one_silent_book_shuts_its_own_gate_alone() {
    Setup::new(17).start(async |node| {
        node.inject(Fault::Mute { stream: depth() });
        node.until("it is masked", |now| now.seen.masked.get(ETH) == Some(&Mask::Stale)).await;
        let since = node.wall();
        let round_trips = node.seen().trades.len();
        node.until("the others trade on", |now| {
            assert_eq!(now.seen.masked.keys().collect::<Vec<_>>(), [ETH], "the others are not masked");
            now.seen.trades.len() > round_trips
        })
        .await;
        assert!(entries(&node, ETH, since).is_empty());
        node.until("it is subscribed once more", |now| now.alerts("SilentStream") >= 1).await;
        node.venue.clear_faults();
        node.until("it is back", all_well).await;
        node.finish().await;
    });
}

#[test]
fn row_04_a_silent_mark_price_shuts_its_symbols_gate() {
    Setup::new(18).config(|c| c.market.stream_silent_ms = 3_000).start(async |node| {
        node.inject(Fault::Mute { stream: "ethusdt@markPrice@1s".into() });
        node.until("it is masked", |now| now.seen.masked.get(ETH) == Some(&Mask::Silent)).await;
        assert_eq!(node.seen().masked.len(), 1);
        node.venue.clear_faults();
        node.until("it delivers again", all_well).await;
        let summary = node.finish().await;
        assert_eq!((summary.book.gaps, summary.book.streams.silent), (0, 1), "{}", summary.text());
    });
}

#[test]
fn row_33_connections_are_renewed_before_their_end_without_a_gap() {
    Setup::new(19)
        .config(|c| {
            c.market.max_connection_age_s = 4;
            c.market.audit_interval_ms = 1_000;
        })
        .start(async |node| {
            node.until("each market connection has been renewed three times", |now| {
                assert_eq!(now.seen.book.live_books, 8, "no book is lost meanwhile");
                assert!(now.seen.gate.order_path && now.seen.gate.user_stream, "nor the way of orders");
                ["public", "market"].iter().all(|c| now.seen.connections[*c].replaced >= 3)
            })
            .await;
            let summary = node.finish().await;
            let (b, text) = (&summary.book, summary.text());
            assert!(summary.connections.values().all(|c| c.lost.is_empty() && c.opened == 1), "{text}");
            assert_eq!(
                (b.gaps, b.resyncs, b.audit_failures, b.streams.trades_missed),
                (0, 0, 0, 0),
                "{text}"
            );
            assert!(
                b.old_updates > 0,
                "both connections of a rollover deliver, and each update counts once: {text}"
            );
        });
}

#[test]
fn row_33_a_refusing_venue_is_asked_at_most_once_a_second_and_ever_more_slowly() {
    Setup::new(20).start(async |node| {
        node.inject(Fault::RefuseConnections);
        node.inject(cut("public", Ending::Reset));
        node.inject(cut("market", Ending::Close));
        let start = node.wall();
        node.until("several attempts have failed", |now| {
            ["public", "market"].iter().all(|c| now.seen.connections[*c].failed >= 3)
        })
        .await;
        let (seconds, seen) = (node.wall().since(start).0 as f64 / 1e9, node.seen());
        for c in ["public", "market"] {
            assert!(
                seen.connections[c].failed as f64 <= seconds + 1.0,
                "{seconds} s: {:?}",
                seen.connections
            );
        }
        assert!(seconds > 3.0, "1 s, 1 … 2 s, 2 … 4 s: {seconds}");
        node.venue.clear_faults();
        node.until("it is back", all_well).await;
        node.finish().await;
    });
}

#[test]
fn row_33_a_notice_of_shutdown_is_followed_by_a_renewal() {
    Setup::new(21).start(async |node| {
        let text = r#"{"e":"serverShutdown","E":1790526538985}"#;
        node.inject_once(Fault::Replace { stream: depth(), text: text.into() });
        node.until("the connection is renewed", |now| now.seen.connections["public"].replaced == 1).await;
        node.until("all is well", all_well).await;
        let summary = node.finish().await;
        assert!(summary.connections["public"].lost.is_empty(), "{}", summary.text());
        assert_eq!(summary.book.rejected, 0, "{}", summary.text());
    });
}

#[test]
fn row_33_the_venues_own_end_of_a_connection_is_survived() {
    Setup::new(23).start(async |node| {
        node.inject(Fault::ConnectionLife { ms: 5_000 });
        node.until("the venue has closed both market connections", |now| {
            ["public", "market"].iter().all(|c| now.seen.connections[*c].lost.contains_key("closed"))
        })
        .await;
        node.venue.clear_faults();
        node.until("all is well", all_well).await;
        let trades = node.seen().trades.len();
        node.until("it trades again", |now| now.seen.trades.len() > trades).await;
        node.finish().await;
    });
}

/// Short patience, so that a test of it is short.
fn fast(config: &mut node::config::Config) {
    config.market.first_data_ms = 2_000;
}
