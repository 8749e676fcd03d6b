//! Recorded and generated depth streams: the decoded book against the serde_json + ordered map one, at every update.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::io::Read;

use market::{Increment, Instrument, Level, Px, Qty, SymbolId};
use replay::decode_bench::{Baseline, FrameSet, Runner};

fn compare(set: &FrameSet) {
    let (mut ours, mut plain) = (Runner::new(set), Baseline::new(set));
    for (n, frame) in set.frames.iter().enumerate() {
        let touch = ours.run(frame);
        assert!(touch.is_some(), "frame {n} is not taken");
        assert_eq!(touch, plain.run(frame), "after frame {n}");
        assert!(ours.book().is_live());
        if n % 50 == 0 || n + 1 == set.frames.len() {
            let (bid, ask) = touch.unwrap();
            let (book, naive) = (ours.book().book(), plain.book());
            let distances = [1, 40, 700, 9_000, 31_000];
            let (low, high) = (distances.map(|d| Px(bid.px.0 - d)), distances.map(|d| Px(ask.px.0 + d)));
            assert_eq!(book.bid_sums(low), low.map(|px| naive.bid_sums(px)));
            assert_eq!(book.ask_sums(high), high.map(|px| naive.ask_sums(px)));
            let level = |(&px, &qty): (&Px, &Qty)| Level { px, qty };
            assert!(book.bids().eq(naive.bids.iter().rev().map(level)));
            assert!(book.asks().eq(naive.asks.iter().map(level)));
        }
    }
    assert_eq!(ours.book().counters().applied, set.frames.len() as u64);
    assert_eq!(ours.book().book().trimmed(), 0);
}

#[test]
fn recorded_books_are_equal() {
    for (file, symbol, decimals, updates) in [
        ("recordings/usdm_btcusdt_20240808.gz", "BTCUSDT", 1, 4_500),
        ("recordings/usdm_ethusdt_20240808.gz", "ETHUSDT", 2, 4_500),
    ] {
        let Some(path) = testkit::shared_data(file) else { return };
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let (tick, lot) = (Increment::decimals(decimals), Increment::decimals(3));
        let set = FrameSet::recorded(Instrument::plain(SymbolId(0), symbol, tick, lot), &text).unwrap();
        assert!(set.frames.len() > updates, "{}", set.frames.len());
        compare(&set);
    }
}

#[test]
fn generated_books_are_equal() {
    for levels in [1, 20, 300] {
        compare(&FrameSet::generated(levels, 500));
    }
}
