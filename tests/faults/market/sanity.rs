//! Row 12 and its kin: books that cannot be, prices that jump, levels that are not the venue's.

use std::time::Duration;

use market::Nanos;
use node::stages::book::Mask;
use venue::faults::{Fault, Rule};

use super::{ETH, all_well, depth, entries};
use crate::harness::{Node, Setup};

/// The fault masks the symbol for this reason, nothing is opened on it, the others go on; without the fault it is back.
async fn masked_and_back(node: &Node, fault: Fault, why: Mask) {
    node.inject(fault);
    node.until("it is masked", |now| now.seen.masked.get(ETH) == Some(&why)).await;
    let since = node.wall();
    node.holds_for(Duration::from_secs(2), "masked, and it alone", |now| {
        now.seen.masked.keys().collect::<Vec<_>>() == [ETH]
    })
    .await;
    assert!(entries(node, ETH, since).is_empty(), "nothing is opened on such a book");
    node.venue.clear_faults();
    node.until("it is back", all_well).await;
}

#[test]
fn row_12_a_crossed_book_is_lost_at_that_event() {
    Setup::new(41).start(async |node| {
        masked_and_back(&node, Fault::CrossBook { symbol: ETH.into() }, Mask::Unsynced).await;
        let summary = node.finish().await;
        assert!(summary.book.crossed >= 1, "{}", summary.text());
    });
}

#[test]
fn row_12_a_book_with_one_side_has_no_price() {
    Setup::new(42).start(async |node| {
        masked_and_back(&node, Fault::EmptySide { symbol: ETH.into(), side: "SELL".into() }, Mask::OneSided)
            .await;
        node.finish().await;
    });
}

#[test]
fn row_12_a_mid_far_from_the_mark_price_is_not_believed() {
    Setup::new(43).start(async |node| {
        masked_and_back(&node, Fault::MarkOff { symbol: ETH.into(), factor: 0.5 }, Mask::Odd).await;
        node.finish().await;
    });
}

#[test]
fn row_12_a_jump_by_half_leaves_a_whole_book_behind() {
    Setup::new(44).config(|c| c.market.audit_interval_ms = 500).start(async |node| {
        node.inject(Fault::Jump { symbol: ETH.into(), factor: 1.5 });
        let since = node.wall();
        node.until("the jump has come and gone by", |now| {
            node.wall().since(since) > Nanos::from_millis(3_000) && all_well(now)
        })
        .await;
        let before = node.seen().book.audits;
        node.until("every book is audited", |now| now.seen.book.audits >= before + 10).await;
        let summary = node.finish().await;
        assert_eq!(summary.book.audit_failures, 0, "{}", summary.text());
    });
}

#[test]
fn row_05_a_wrong_quantity_behind_right_ids_is_found_by_the_audit() {
    Setup::new(45).config(|c| c.market.audit_interval_ms = 500).start(async |node| {
        // A level is taken away that the venue still has.
        let wrong = Fault::Alter { stream: depth(), at: "/b/1/1".into(), value: Some("0".into()) };
        node.inject(Rule::from(wrong));
        node.until("the audit finds it", |now| now.seen.book.audit_failures >= 1).await;
        assert_eq!(node.seen().book.gaps, 0, "no id told of it");
        node.venue.clear_faults();
        node.until("the book is taken again", |now| now.seen.book.resyncs >= 1 && all_well(now)).await;
        let failures = node.seen().book.audit_failures;
        let before = node.seen().book.audits;
        node.until("every book is audited", |now| now.seen.book.audits >= before + 12).await;
        let summary = node.finish().await;
        // What was altered between the audit and the end of the fault may be found once more.
        assert!(summary.book.audit_failures <= failures + 1, "{}", summary.text());
    });
}
