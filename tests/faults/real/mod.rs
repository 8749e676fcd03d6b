//! What a simulation cannot show, on real sockets, threads and processes: a few tests, of rows that stand in the
//! simulation too, except encryption.

mod harness;
mod process;

use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::{Node, Setup, Stall};
use venue::faults::{Ending, Fault, Rule};

fn cut(node: &Node, route: &str, how: Ending) {
    node.venue.inject(Fault::Disconnect { route: route.into(), how }).unwrap();
}

#[test]
fn row_00_without_faults_it_trades_and_ends_flat() {
    let node = Setup::new(1).start();
    node.until("two round trips", |now| now.seen.trades.len() >= 2);
    let summary = node.finish();
    let (b, text) = (&summary.book, summary.text());
    assert_eq!((b.gaps, b.crossed, b.rejected, b.resyncs, b.old_snapshots), (0, 0, 0, 0, 0), "{text}");
    assert_eq!((b.streams.silent, b.streams.replaced, b.streams.trades_missed), (0, 0, 0), "{text}");
    assert_eq!(summary.feed.dropped_frames, 0, "{text}");
    assert!(summary.connections.values().all(|c| c.opened == 1 && c.lost.is_empty()), "{text}");
}

#[test]
fn row_02_a_half_open_socket_is_found_by_our_own_pings() {
    let node = Setup::new(12).start();
    cut(&node, "public", Ending::Silence);
    let took = node.until("found by silence, not by TCP", |now| {
        now.seen.connections["public"].lost.contains_key("silent")
            || now.seen.connections["public"].replaced > 0
    });
    assert!(took < Duration::from_secs(6), "3 s and the test's own slowness: {took:?}");
    node.until("a new socket, all books in sync", |now| now.seen.book.resyncs >= 8 && now.all_well());
    let summary = node.finish();
    assert!(summary.connections["market"].lost.is_empty(), "{}", summary.text());
}

#[test]
fn row_28_a_stalled_engine_loses_ticks_but_no_book_and_no_order() {
    let (extra_stage, stall) = Stall::on("signal");
    let mut setup = Setup::new(51);
    setup.config.runtime.layout = Some(4);
    // Longer than the stall: a worker that hangs is another matter.
    setup.config.runtime.watchdog_ms = 30_000;
    setup.extra_stages.push(extra_stage);
    let node = setup.start();
    node.until("it trades", |now| now.seen.router.entries >= 1);
    stall.store(5_000, Ordering::Release);
    node.until("the stall is over", |now| {
        assert!(now.all_well(), "the books do not wait for the engine");
        stall.load(Ordering::Acquire) == 0
    });
    node.until("ticks were lost, and counted", |now| now.seen.book.lost_samples > 0);
    let trades = node.seen().trades.len();
    node.until("it trades again", |now| now.seen.trades.len() > trades);
    let summary = node.finish();
    assert_eq!((summary.book.gaps, summary.feed.dropped_frames), (0, 0), "{}", summary.text());
}

#[test]
fn row_33_a_venue_that_resets_everything_and_refuses_is_met_again() {
    let node = Setup::new(39).start();
    let refused = node.venue.inject(Rule::from(Fault::RefuseConnections)).unwrap();
    cut(&node, "*", Ending::Reset);
    node.until("the loss was noticed", |now| !now.seen.gate.user_stream);
    node.until("it tries again and again", |_| node.venue.hits(refused) >= 6);
    node.venue.clear_faults();
    node.until("in order", |now| now.in_order() && !now.seen.gate.fallback);
    node.until("all books are back", |now| now.all_well());
    let trades = node.seen().trades.len();
    node.until("it trades again", |now| now.seen.trades.len() > trades);
    node.finish();
}

#[test]
fn row_40_encryption_is_never_given_up_for_a_connection() {
    let mut setup = Setup::new(22);
    setup.hosts = |hosts| hosts.public = hosts.public.replace("ws://", "wss://");
    let error = setup.launch().ended().expect_err("no TLS, no data, no run").to_string();
    assert!(error.contains("wss://") && error.contains("does not open a WebSocket"), "{error}");
}
