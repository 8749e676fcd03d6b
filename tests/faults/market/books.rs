//! Faults of books: gaps, disorder, snapshots that do not fit, quantities that are not the venue's.

use std::time::Duration;

use node::stages::book::Mask;
use venue::faults::{Fault, Rule};

use super::{ETH, all_well, depth, entries};
use crate::harness::Setup;

#[test]
fn row_05_a_gap_masks_the_symbol_at_that_event_and_the_book_is_taken_again() {
    Setup::new(2).config(|c| c.market.audit_interval_ms = 500).start(async |node| {
        for (round, stream) in (1..).zip([depth(), "btcusdt@depth@100ms".to_owned()]) {
            node.inject_once(Fault::Drop { stream });
            node.until("the gap is found", |now| now.seen.book.gaps >= round).await;
            node.until("the book is in sync again", |now| now.seen.book.resyncs >= round && all_well(now))
                .await;
        }
        // Under live flow, at the same update id, the new books are the venue's level by level.
        let before = node.seen().book.audits;
        node.until("every book is audited", |now| now.seen.book.audits >= before + 10).await;
        let summary = node.finish().await;
        let (b, text) = (&summary.book, summary.text());
        assert_eq!((b.gaps, b.audit_failures, b.crossed), (2, 0, 0), "{text}");
        assert!(b.longest_resync_ms < 1_000, "{text}");
    });
}

#[test]
fn row_05_gaps_in_all_books_at_once_heal_without_a_storm_of_snapshots() {
    Setup::new(3).config(|c| c.market.audit_interval_ms = 500).start(async |node| {
        node.inject(Rule { fault: Fault::Drop { stream: "*@depth@100ms".into() }, times: 16, skip: 0 });
        node.until("gaps in many books", |now| now.seen.book.gaps >= 8).await;
        node.until("all in sync again", all_well).await;
        let before = node.seen().book.audits;
        node.until("every book is audited", |now| now.seen.book.audits >= before + 10).await;
        let summary = node.finish().await;
        assert_eq!(summary.book.audit_failures, 0, "{}", summary.text());
    });
}

#[test]
fn row_06_replayed_and_late_frames_change_nothing() {
    Setup::new(4).config(|c| c.market.audit_interval_ms = 500).start(async |node| {
        node.inject(Rule { fault: Fault::Duplicate { stream: "*@depth@100ms".into() }, times: 200, skip: 0 });
        node.inject(Rule { fault: Fault::Duplicate { stream: "*@aggTrade".into() }, times: 20, skip: 0 });
        node.until("repetitions are dropped", |now| {
            now.seen.book.old_updates >= 200 && now.seen.book.streams.repeated_trades >= 20
        })
        .await;
        let seen = node.seen();
        assert_eq!((seen.book.gaps, seen.book.resyncs), (0, 0), "a repetition is no gap: {seen:#?}");
        // A frame behind its successor: the successor shows the gap, the late one is old.
        node.inject_once(Fault::Reorder { stream: depth() });
        node.until("disorder is a gap", |now| now.seen.book.gaps >= 1).await;
        node.until("and heals", all_well).await;
        node.inject(Rule { fault: Fault::Reorder { stream: "*@aggTrade".into() }, times: 3, skip: 0 });
        node.until("trades in disorder are holes and repetitions", |now| {
            now.seen.book.streams.trade_gaps >= 1
        })
        .await;
        let before = node.seen().book.audits;
        node.until("audited", |now| now.seen.book.audits >= before + 8).await;
        let summary = node.finish().await;
        assert_eq!(summary.book.audit_failures, 0, "{}", summary.text());
    });
}

#[test]
fn row_07_a_snapshot_older_than_the_buffer_is_asked_for_again_ever_more_slowly() {
    Setup::new(5).start(async |node| {
        node.inject(Fault::SnapshotStale { symbol: ETH.into() });
        node.inject_once(Fault::Drop { stream: depth() });
        node.until("a person is told after five snapshots", |now| now.alerts("ResyncFailing") >= 1).await;
        let since = node.wall();
        let seen = node.seen();
        assert_eq!(seen.masked.get(ETH), Some(&Mask::Unsynced), "a guessed book is never traded");
        assert_eq!(seen.book.live_books, 7, "the others go on: {seen:#?}");
        // The books' own count comes with their next word.
        node.until("the books count them", |now| (4..=7).contains(&now.seen.book.old_snapshots)).await;
        node.holds_for(Duration::from_secs(2), "its gate stays shut", |now| {
            now.seen.masked.get(ETH) == Some(&Mask::Unsynced) && now.seen.book.old_snapshots <= 7
        })
        .await;
        assert!(entries(&node, ETH, since).is_empty());
        node.venue.clear_faults();
        node.until("with a fresh snapshot it heals", all_well).await;
        node.finish().await;
    });
}

#[test]
fn row_07_a_snapshot_that_is_half_a_second_late_fits_at_the_first_or_second_try() {
    Setup::new(6).start(async |node| {
        node.inject(Fault::ReplyDelay { on: "GET /fapi/v1/depth".into(), ms: 500 });
        for round in 1..=2 {
            node.inject_once(Fault::Drop { stream: depth() });
            node.until("in sync again", |now| now.seen.book.resyncs >= round && all_well(now)).await;
        }
        let summary = node.finish().await;
        let b = &summary.book;
        assert!(b.old_snapshots <= b.resyncs, "at most two snapshots each: {}", summary.text());
    });
}
