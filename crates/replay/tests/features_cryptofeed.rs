//! A recording of another shape, as cryptofeed wrote it: four symbols on one connection, `depth@100ms` and `aggTrade`, snapshots
//! fetched while the stream ran in a file of their own. Every book must come up and stay in step.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use market::Nanos;
use replay::features::replay_features;

#[test]
fn four_symbols_on_one_connection() {
    let stream = testkit::shared_data("recordings/cryptofeed_BINANCE_FUTURES.ws.1.0.gz");
    let replies = testkit::shared_data("recordings/cryptofeed_BINANCE_FUTURES.http.0.0.gz");
    let (Some(stream), Some(replies)) = (stream, replies) else { return };
    let mut with_features = [0; 4];
    let report = replay_features(&[stream, replies], Nanos::from_millis(100), |survey, sample| {
        assert_eq!(survey.symbols.len(), 4);
        assert!(survey.symbols.iter().all(|s| s.has_aggregates));
        for (n, f) in with_features.iter_mut().zip(sample.features) {
            *n += usize::from(f.is_some());
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(report.decoded.rejected(), 0);
    assert!(report.decoded.ignored > 0, "klines are in the recording");
    for (symbol, book) in &report.symbols {
        assert!(book.applied > 20 && book.gaps + book.crossed == 0, "{symbol}: {book:?}");
    }
    assert!(with_features.iter().all(|&n| n > 100), "{with_features:?}");
}
