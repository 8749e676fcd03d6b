//! The ladder book against its plain twin, on random streams of updates.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use book::naive::NaiveBook;
use book::{MAX_FAR_LEVELS, OrderBook};
use market::{Level, Px, Qty};
use proptest::prelude::*;

/// An update: side, ticks from the drifting touch (negative: through it), quantity.
type Step = (bool, i64, i64, i64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let distance = prop_oneof![6 => -3i64..60, 3 => -200i64..3_000, 1 => -3_000i64..2_000_000];
    let qty = prop_oneof![Just(0i64), 1i64..5_000, Just(Level::MAX_QTY.0)];
    let drift = prop_oneof![20 => Just(0i64), 4 => -40i64..40, 1 => -30_000i64..30_000];
    prop::collection::vec((any::<bool>(), distance, qty, drift), 1..600)
}

fn check(book: &OrderBook, naive: &NaiveBook, mid: i64) {
    assert_eq!(book.best_bid(), naive.best_bid());
    assert_eq!(book.best_ask(), naive.best_ask());
    assert_eq!(book.len(), (naive.bids.len(), naive.asks.len()));
    let limits = [0, 17, 640, 5_000, 100_000];
    let (low, high) = (limits.map(|d| Px(mid - d)), limits.map(|d| Px(mid + d)));
    assert_eq!(book.bid_sums(low), low.map(|limit| naive.bid_sums(limit)));
    assert_eq!(book.ask_sums(high), high.map(|limit| naive.ask_sums(limit)));
}

fn check_all(book: &OrderBook, naive: &NaiveBook) {
    let level = |(&px, &qty): (&Px, &Qty)| Level { px, qty };
    assert!(book.bids().eq(naive.bids.iter().rev().map(level)));
    assert!(book.asks().eq(naive.asks.iter().map(level)));
    let reach = naive.bids.keys().next().zip(naive.asks.keys().next_back());
    assert_eq!(book.reach(), reach.map(|(&low, &high)| (low, high)));
    for (&px, &qty) in &naive.bids {
        assert_eq!(book.bid_qty(px), qty);
    }
    assert_eq!(book.ask_qty(Px(1)), naive.asks.get(&Px(1)).copied().unwrap_or_default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_ladder_holds_what_the_maps_hold(
        start in prop::sample::select(vec![200i64, 5_000, 618_002, 90_000_000]),
        steps in steps(),
        batch in 1usize..30,
        replaces in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let (mut book, mut naive) = (OrderBook::new(), NaiveBook::default());
        let mut mid = start;
        let replaces: Vec<_> = replaces.iter().map(|i| i.index(steps.len())).collect();
        for (n, batch) in steps.chunks(batch).enumerate() {
            let (mut bids, mut asks) = (vec![], vec![]);
            for &(bid, distance, qty, drift) in batch {
                mid = (mid + drift).max(10);
                let px = if bid { mid - distance } else { mid + distance };
                let level = Level { px: Px(px.max(1)), qty: Qty(qty) };
                if bid { bids.push(level) } else { asks.push(level) }
            }
            if replaces.contains(&n) {
                book.replace(&bids, &asks);
                naive.replace(&bids, &asks);
            } else {
                book.apply(&bids, &asks);
                naive.apply(&bids, &asks);
            }
            check(&book, &naive, mid);
        }
        check_all(&book, &naive);
    }
}

#[test]
fn a_full_side_drops_its_farthest_levels() {
    let mut book = OrderBook::new();
    let level = |px: i64| Level { px: Px(px), qty: Qty(1) };
    book.replace(&[level(1_000)], &[level(1_001)]);
    // 1024 ticks of window at this price; everything from 5 000 on is far.
    let far: Vec<_> = (0..MAX_FAR_LEVELS as i64 + 100).map(|i| level(5_000 + 10 * i)).collect();
    book.apply(&[], &far);
    assert_eq!(book.len().1, MAX_FAR_LEVELS + 1);
    assert_eq!(book.trimmed(), 100);
    assert_eq!(book.reach().unwrap().1, Px(5_000 + 10 * (MAX_FAR_LEVELS as i64 - 1)));
    book.apply(&[], &[level(4_000)]);
    assert_eq!(book.reach().unwrap().1, Px(5_000 + 10 * (MAX_FAR_LEVELS as i64 - 2)));
    assert_eq!(book.ask_qty(Px(4_000)), Qty(1));
}
