//! Depth recovery by the venue's numbered rules, and what lies between them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use book::{BookOutcome, BookState, LocalBook, MAX_BUFFERED_UPDATES};
use market::{DepthSnapshot, DepthUpdate, Level, Nanos, Px, Qty, SymbolId};
use proptest::prelude::*;

fn level(px: i64, qty: i64) -> Level {
    Level { px: Px(px), qty: Qty(qty) }
}

fn update<'a>(ids: (u64, u64, u64), bids: &'a [Level], asks: &'a [Level]) -> DepthUpdate<'a> {
    let (first_update_id, last_update_id, prev_last_update_id) = ids;
    let (symbol, ts_event, ts_send) = (SymbolId(0), Nanos(1), Nanos(2));
    DepthUpdate {
        symbol,
        ts_event,
        ts_send,
        first_update_id,
        last_update_id,
        prev_last_update_id,
        bids,
        asks,
    }
}

fn snapshot(last_update_id: u64) -> DepthSnapshot<'static> {
    const BIDS: [Level; 2] = [Level { px: Px(100), qty: Qty(10) }, Level { px: Px(99), qty: Qty(5) }];
    const ASKS: [Level; 1] = [Level { px: Px(102), qty: Qty(7) }];
    DepthSnapshot { symbol: SymbolId(0), ts_send: Nanos(0), last_update_id, bids: &BIDS, asks: &ASKS }
}

fn send(book: &mut LocalBook, ids: (u64, u64, u64)) -> BookOutcome {
    book.on_update(&update(ids, &[level(100, ids.1 as i64)], &[]))
}

#[test]
fn buffered_updates_bridge_a_snapshot() {
    let mut book = LocalBook::new();
    assert_eq!((book.state(), book.needs_snapshot()), (BookState::Syncing, true));
    for ids in [(1, 10, 0), (12, 20, 10), (25, 30, 20), (31, 40, 30)] {
        assert_eq!(send(&mut book, ids), BookOutcome::Buffered);
    }
    // Rule 3 drops u = 10; rule 4 takes U = 12 ≤ 15 ≤ u = 20; rule 5 the rest.
    assert_eq!(book.on_snapshot(&snapshot(15)), BookOutcome::Applied);
    assert_eq!((book.state(), book.last_update_id(), book.counters().applied), (BookState::Live, 40, 3));
    assert_eq!(book.book().best_bid(), Some(level(100, 40)));
    assert_eq!(book.book().best_ask(), Some(level(102, 7)));
}

#[test]
fn u_equal_to_the_snapshot_is_applied_and_below_it_is_dropped() {
    let mut book = LocalBook::new();
    send(&mut book, (1, 9, 0));
    send(&mut book, (10, 15, 9));
    assert_eq!(book.on_snapshot(&snapshot(15)), BookOutcome::Applied);
    assert_eq!((book.counters().applied, book.book().bid_qty(Px(100))), (1, Qty(15)));
}

#[test]
fn without_a_bridging_update_the_book_is_not_live() {
    let mut book = LocalBook::new();
    assert_eq!(book.on_snapshot(&snapshot(15)), BookOutcome::Applied);
    assert_eq!((book.state(), book.needs_snapshot()), (BookState::Syncing, false));
    assert_eq!(send(&mut book, (8, 14, 7)), BookOutcome::Old);
    assert_eq!(send(&mut book, (15, 16, 14)), BookOutcome::Applied);
    assert!(book.is_live());
    // An update that starts right behind the snapshot continues it as well.
    let mut book = LocalBook::new();
    book.on_snapshot(&snapshot(15));
    assert_eq!(send(&mut book, (18, 20, 15)), BookOutcome::Applied);
}

#[test]
fn a_snapshot_older_than_the_buffer_keeps_the_buffer() {
    let mut book = LocalBook::new();
    send(&mut book, (100, 110, 99));
    send(&mut book, (115, 120, 110));
    assert_eq!(book.on_snapshot(&snapshot(50)), BookOutcome::SnapshotTooOld);
    assert!(book.needs_snapshot());
    assert_eq!(book.on_snapshot(&snapshot(105)), BookOutcome::Applied);
    assert_eq!((book.state(), book.last_update_id()), (BookState::Live, 120));
    // The same with the snapshot there first: the update that shows it stale begins the next buffer.
    let mut book = LocalBook::new();
    book.on_snapshot(&snapshot(50));
    assert_eq!(send(&mut book, (100, 110, 99)), BookOutcome::SnapshotTooOld);
    assert!(book.needs_snapshot());
    send(&mut book, (115, 120, 110));
    assert_eq!(book.on_snapshot(&snapshot(100)), BookOutcome::Applied);
    assert_eq!((book.state(), book.last_update_id()), (BookState::Live, 120));
}

fn live() -> LocalBook {
    let mut book = LocalBook::new();
    send(&mut book, (10, 20, 9));
    book.on_snapshot(&snapshot(15));
    assert!(book.is_live());
    book
}

#[test]
fn a_gap_makes_the_book_stale_at_that_update() {
    let mut book = live();
    assert_eq!(send(&mut book, (31, 40, 30)), BookOutcome::Gap);
    assert_eq!((book.state(), book.needs_snapshot(), book.counters().gaps), (BookState::Stale, true, 1));
    // Meanwhile updates are kept, the one that showed the gap included.
    assert_eq!(send(&mut book, (42, 50, 40)), BookOutcome::Buffered);
    assert_eq!(book.on_snapshot(&snapshot(35)), BookOutcome::Applied);
    assert_eq!((book.state(), book.last_update_id()), (BookState::Live, 50));
}

#[test]
fn replayed_and_late_updates_change_nothing() {
    let mut book = live();
    send(&mut book, (21, 30, 20));
    for ids in [(21, 30, 20), (10, 20, 9), (1, 2, 0)] {
        assert_eq!(book.on_update(&update(ids, &[level(100, 1)], &[])), BookOutcome::Old);
    }
    assert_eq!((book.book().bid_qty(Px(100)), book.counters().old), (Qty(30), 3));
    assert!(book.is_live());
    assert_eq!(book.on_snapshot(&snapshot(500)), BookOutcome::Old);
}

#[test]
fn a_crossed_book_is_masked_at_once_and_until_it_uncrosses() {
    let mut book = live();
    let through = [level(102, 1)];
    assert_eq!(book.on_update(&update((21, 30, 20), &through, &[])), BookOutcome::Crossed);
    assert_eq!((book.state(), book.needs_snapshot()), (BookState::Stale, true));
    assert_eq!(send(&mut book, (31, 40, 30)), BookOutcome::Crossed);
    assert_eq!(book.on_update(&update((41, 50, 40), &[level(102, 0)], &[])), BookOutcome::Applied);
    assert_eq!((book.state(), book.counters().crossed), (BookState::Live, 1));
    assert_eq!(book.book().best_bid(), Some(level(100, 40)));
    // It is still doubted: the snapshot asked for replaces it, with what came behind it.
    assert!(book.needs_snapshot());
    assert_eq!(send(&mut book, (51, 60, 50)), BookOutcome::Applied);
    assert_eq!(book.on_snapshot(&snapshot(15)), BookOutcome::SnapshotTooOld);
    assert!(book.is_live());
    assert_eq!(book.on_snapshot(&snapshot(55)), BookOutcome::Applied);
    assert_eq!((book.is_live(), book.needs_snapshot(), book.last_update_id()), (true, false, 60));
    assert_eq!(book.book().bid_qty(Px(100)), Qty(60));
    assert_eq!(book.on_snapshot(&snapshot(55)), BookOutcome::Old);
    // A gap while it is crossed loses it like any other.
    book.on_update(&update((61, 70, 60), &through, &[]));
    assert_eq!(send(&mut book, (81, 90, 80)), BookOutcome::Gap);
    assert_eq!(send(&mut book, (91, 100, 90)), BookOutcome::Buffered);
    // A touch that moves through its old counterpart within one update is not crossed.
    let mut book = live();
    let (bids, asks) = ([level(103, 1)], [level(102, 0), level(104, 1)]);
    assert_eq!(book.on_update(&update((21, 30, 20), &bids, &asks)), BookOutcome::Applied);
}

#[test]
fn a_snapshot_newer_than_a_doubted_book_is_live_from_the_next_update_on() {
    let mut book = live();
    book.on_update(&update((21, 30, 20), &[level(102, 1)], &[]));
    assert_eq!(book.on_snapshot(&snapshot(35)), BookOutcome::Applied);
    assert_eq!((book.state(), book.needs_snapshot()), (BookState::Stale, false));
    assert_eq!(send(&mut book, (31, 40, 30)), BookOutcome::Applied);
    assert!(book.is_live());
}

#[test]
fn a_gap_in_the_buffer_starts_it_anew() {
    let mut book = LocalBook::new();
    send(&mut book, (1, 10, 0));
    send(&mut book, (31, 40, 30));
    assert_eq!(book.on_snapshot(&snapshot(5)), BookOutcome::SnapshotTooOld);
    assert_eq!(book.on_snapshot(&snapshot(35)), BookOutcome::Applied);
    assert_eq!(book.last_update_id(), 40);
}

#[test]
fn the_buffer_is_bounded() {
    let mut book = LocalBook::new();
    for i in 1..=MAX_BUFFERED_UPDATES as u64 + 10 {
        assert_eq!(send(&mut book, (i * 10 - 5, i * 10, i * 10 - 10)), BookOutcome::Buffered);
    }
    assert_eq!(book.counters().buffer_dropped, 10);
    assert_eq!(book.on_snapshot(&snapshot(5)), BookOutcome::SnapshotTooOld);
    assert_eq!(book.on_snapshot(&snapshot(500)), BookOutcome::Applied);
}

#[test]
fn an_invalidated_book_needs_a_new_snapshot() {
    let mut book = live();
    book.invalidate();
    assert_eq!((book.state(), book.needs_snapshot()), (BookState::Stale, true));
    assert_eq!(send(&mut book, (21, 30, 20)), BookOutcome::Buffered);
}

#[test]
fn numbers_beyond_the_range_change_nothing() {
    let mut book = live();
    let bids = [level(100, 1), level(99, -1)];
    assert_eq!(book.on_update(&update((21, 30, 20), &bids, &[])), BookOutcome::OutOfRange);
    assert_eq!((book.book().bid_qty(Px(100)), book.last_update_id()), (Qty(20), 20));
    assert_eq!(send(&mut book, (21, 30, 20)), BookOutcome::Applied);
}

proptest! {
    /// The venue's book at update n has quantity n at the touch. Whatever is lost, doubled or late, whenever
    /// snapshots come: a live book is the venue's book at the same update id.
    #[test]
    fn a_live_book_is_the_venues_book(
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        doubled in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        swapped in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        snapshot_every in 3u64..30,
        delay in 0u64..12,
    ) {
        const N: usize = 200;
        // Update i covers the ids 10i+1 ..= 10i+10.
        let mut stream: Vec<u64> = (0..N as u64).collect();
        for i in &swapped {
            let at = i.index(N - 1);
            stream.swap(at, at + 1);
        }
        for i in &doubled {
            let at = i.index(stream.len());
            stream.insert(at, stream[at]);
        }
        for i in &lost {
            stream.remove(i.index(stream.len()));
        }
        let mut book = LocalBook::new();
        let mut live_seen = 0;
        for (n, &i) in (0u64..).zip(&stream) {
            let ids = (i * 10 + 1, i * 10 + 10, i * 10);
            send(&mut book, ids);
            if book.needs_snapshot() && n % snapshot_every == 0 {
                // The book at an id inside update `at`, some updates ago: its touch is of the update before.
                let at = i.saturating_sub(delay);
                let bids = [level(100, at as i64 * 10 + 5)];
                book.on_snapshot(&DepthSnapshot { bids: &bids, ..snapshot(at * 10 + 5) });
            }
            if book.is_live() {
                live_seen += 1;
                prop_assert_eq!(book.book().bid_qty(Px(100)), Qty(book.last_update_id() as i64));
            }
        }
        prop_assert!(live_seen > 0 || delay > 0);
    }
}
