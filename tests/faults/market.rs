//! Faults of market data.

use crate::harness::Setup;

#[test]
fn row_00_without_faults_it_trades_and_ends_flat() {
    let node = Setup::new(1).start();
    node.until("a round trip", |now| !now.seen.trades.is_empty());
    let summary = node.finish();
    assert!(summary.round_trips >= 1 && summary.open_positions.is_empty(), "{}", summary.text());
    assert_eq!((summary.book.gaps, summary.book.rejected), (0, 0), "{}", summary.text());
}
