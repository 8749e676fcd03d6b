//! Faults of market data.

mod books;
mod connections;
mod frames;
mod sanity;
mod stalls;

use market::Nanos;
use venue::core::Order;
use venue::faults::Fault;

use crate::harness::{Node, Now, Setup, orders};

/// The symbol that things happen to.
const ETH: &str = "ETHUSDT";

/// Its depth stream.
fn depth() -> String {
    "ethusdt@depth@100ms".to_owned()
}

/// All books in sync and none masked.
fn all_well(now: &Now<'_>) -> bool {
    now.seen.masked.is_empty() && now.seen.book.live_books == 8
}

/// Orders that open, of this symbol, that came to the venue after `since`.
fn entries(node: &Node, symbol: &str, since: Nanos) -> Vec<Order> {
    let id = node.venue.inspect(|e| e.listings().iter().position(|l| l.instrument.symbol == symbol)).unwrap();
    let ours = |o: &Order| !o.reduce_only && o.symbol.index() == id && o.created > since;
    orders(&node.venue).into_iter().filter(ours).collect()
}

#[test]
fn row_00_without_faults_it_trades_and_ends_flat() {
    Setup::new(1).start(async |node| {
        node.until("two round trips", |now| now.seen.trades.len() >= 2).await;
        let summary = node.finish().await;
        let (b, text) = (&summary.book, summary.text());
        assert!(summary.open_positions.as_ref().unwrap().is_empty(), "{text}");
        assert_eq!((b.gaps, b.crossed, b.rejected, b.resyncs, b.old_snapshots), (0, 0, 0, 0, 0), "{text}");
        assert_eq!((b.streams.silent, b.streams.replaced, b.streams.trades_missed), (0, 0, 0), "{text}");
        assert_eq!(summary.feed.dropped_frames, 0, "{text}");
        assert!(summary.connections.values().all(|c| c.opened == 1 && c.lost.is_empty()), "{text}");
    });
}

/// In each layout, whose workers take turns here.
#[test]
fn a_story_goes_the_same_way_twice() {
    let mut told = Vec::new();
    for layout in [1, 4, 6] {
        for _ in 0..2 {
            Setup::new(3).config(|c| c.runtime.layout = Some(layout)).start(async |node| {
                node.inject(Fault::Late { stream: "user@*".into(), ms: 150 });
                node.until("two round trips", |now| now.seen.trades.len() >= 2).await;
                let summary = node.finish().await;
                told.push((node.wall(), node.world.network.sent(), summary.text()));
            });
        }
    }
    assert!(told.chunks(2).all(|pair| pair[0] == pair[1]), "{told:#?}");
}
