//! Row 28: a stage stands still. Market data conflates or is taken again, and is counted; orders and fills are never lost.

use std::time::Duration;

use sim::faults::Fault as Strike;

use super::all_well;
use crate::harness::{Node, Setup, orders};

/// A node of this layout, whose workers may be stalled.
fn stallable(seed: u64, layout: u8, symbols: usize) -> Setup {
    let mut setup = Setup::new(seed).config(|c| {
        c.runtime.layout = Some(layout);
        // Longer than any stall here: a worker that hangs is another matter.
        c.runtime.watchdog_ms = 30_000;
        c.market.max_symbols = symbols;
    });
    setup.venue.symbols = symbols;
    setup
}

/// The worker of this name does not come back from a poll for so long.
fn stall(node: &Node, worker: &str, for_ms: u64) {
    node.strike(&Strike::Stall { machine: 0, worker: worker.to_owned(), for_ms });
}

#[test]
fn row_28_a_stalled_engine_loses_ticks_but_no_book_and_no_order() {
    stallable(51, 4, 8).start(async |node| {
        node.until("it trades", |now| now.seen.router.entries >= 1).await;
        stall(&node, "signal", 5_000);
        node.holds_for(Duration::from_secs(5), "the books do not wait for the engine", all_well).await;
        node.until("ticks were lost, and counted", |now| now.seen.book.lost_samples > 0).await;
        let trades = node.seen().trades.len();
        node.until("it trades again", |now| now.seen.trades.len() > trades).await;
        let summary = node.finish().await;
        assert_eq!((summary.book.gaps, summary.feed.dropped_frames), (0, 0), "{}", summary.text());
    });
}

#[test]
fn row_28_a_stalled_book_drops_frames_and_is_taken_again() {
    stallable(52, 6, 48).start(async |node| {
        let over = node.wall().plus(6_000_000_000);
        stall(&node, "book", 6_000);
        node.until("the conveyor has run empty", |now| now.seen.feed.dropped_frames > 0).await;
        let since = node.wall();
        assert!(since < over, "while it stands still");
        node.until("the stall is over", |_| node.wall() >= over).await;
        let in_stall = orders(&node.venue)
            .into_iter()
            .filter(|o| !o.reduce_only && o.created > since && o.created < over);
        assert_eq!(in_stall.count(), 0, "nothing is opened on a book that stands still");
        node.until("gaps were found", |now| now.seen.book.gaps > 0).await;
        node.until("all books are in sync again", |now| {
            now.seen.masked.is_empty() && now.seen.book.live_books == 48
        })
        .await;
        node.finish().await;
    });
}

#[test]
fn row_28_stalled_sockets_and_router_lose_no_report() {
    for (seed, worker) in [(53, "market"), (54, "orders")] {
        stallable(seed, 4, 8).start(async |node| {
            node.until("it trades", |now| now.seen.router.entries >= 1).await;
            stall(&node, worker, 2_500);
            node.world.wait_ms(2_500).await;
            node.until("all is well", all_well).await;
            let trades = node.seen().trades.len();
            node.until("it trades again", |now| now.seen.trades.len() > trades).await;
            node.finish().await;
        });
    }
}
