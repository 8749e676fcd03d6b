//! Row 28: a stage stands still. Market data conflates or is taken again, and is counted; orders and fills are never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::all_well;
use crate::harness::{Node, Setup, Stall, orders, wall};

/// A node of this layout whose worker of this name can be stalled.
fn stallable(seed: u64, layout: u8, worker: &'static str, symbols: usize) -> (Node, Arc<AtomicU64>) {
    let (extra_stage, stall) = Stall::on(worker);
    let mut setup = Setup::new(seed).config(|c| {
        c.runtime.layout = Some(layout);
        // Longer than any stall here: a worker that hangs is another matter.
        c.runtime.watchdog_ms = 30_000;
        c.market.max_symbols = symbols;
    });
    setup.venue.symbols = symbols;
    setup.extra_stages.push(extra_stage);
    (setup.start(), stall)
}

#[test]
fn row_28_a_stalled_engine_loses_ticks_but_no_book_and_no_order() {
    let (node, stall) = stallable(51, 4, "signal", 8);
    node.until("it trades", |now| now.seen.router.entries >= 1);
    stall.store(5_000, Ordering::Release);
    node.until("the stall is over", |now| {
        assert!(all_well(now), "the books do not wait for the engine");
        stall.load(Ordering::Acquire) == 0
    });
    node.until("ticks were lost, and counted", |now| now.seen.book.lost_samples > 0);
    let trades = node.seen().trades.len();
    node.until("it trades again", |now| now.seen.trades.len() > trades);
    let summary = node.finish();
    assert_eq!((summary.book.gaps, summary.feed.dropped_frames), (0, 0), "{}", summary.text());
}

#[test]
fn row_28_a_stalled_book_drops_frames_and_is_taken_again() {
    let (node, stall) = stallable(52, 6, "book", 48);
    stall.store(6_000, Ordering::Release);
    node.until("the conveyor has run empty", |now| now.seen.feed.dropped_frames > 0);
    let since = wall();
    node.until("the stall is over", |_| stall.load(Ordering::Acquire) == 0);
    let over = wall();
    let in_stall =
        orders(&node.venue).into_iter().filter(|o| !o.reduce_only && o.created > since && o.created < over);
    assert_eq!(in_stall.count(), 0, "nothing is opened on a book that stands still");
    node.until("gaps were found", |now| now.seen.book.gaps > 0);
    node.until("all books are in sync again", |now| {
        now.seen.masked.is_empty() && now.seen.book.live_books == 48
    });
    node.finish();
}

#[test]
fn row_28_stalled_sockets_and_router_lose_no_report() {
    for (seed, worker) in [(53, "market"), (54, "orders")] {
        let (node, stall) = stallable(seed, 4, worker, 8);
        node.until("it trades", |now| now.seen.router.entries >= 1);
        stall.store(2_500, Ordering::Release);
        node.until("the stall is over", |_| stall.load(Ordering::Acquire) == 0);
        node.until("all is well", all_well);
        let trades = node.seen().trades.len();
        node.until("it trades again", |now| now.seen.trades.len() > trades);
        node.finish();
    }
}
