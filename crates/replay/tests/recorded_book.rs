//! Recorded and generated depth streams: the decoded book against the serde_json + ordered map one, at every update.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::io::Read;

use binance::decode::{Decoder, Frame};
use book::{FeatureEngine, Sample};
use market::{Increment, Instrument, Level, Nanos, Px, Qty, SymbolId};
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

/// Depth, trades and touches as they came: what is prepared between the frames has the bits of what is computed at the
/// boundaries, and nearly every sample was prepared.
#[test]
fn samples_prepared_on_a_recorded_stream_are_the_plain_ones() {
    let Some(path) = testkit::shared_data("recordings/usdm_btcusdt_20240808.gz") else { return };
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let instruments =
        [Instrument::plain(SymbolId(0), "BTCUSDT", Increment::decimals(1), Increment::decimals(3))];
    let mut decoder = Decoder::new(&instruments);
    let plain = FeatureEngine::new(&instruments, Nanos::from_millis(100));
    let mut engines = [plain.clone(), plain];
    let mut samples = [vec![], vec![]];
    for (n, line) in text.lines().enumerate() {
        let Some((_, frame)) = line.split_once(' ') else { continue };
        if frame.starts_with("{\"lastUpdateId\"") {
            let snapshot = decoder.decode_snapshot(SymbolId(0), frame.as_bytes()).unwrap();
            engines.iter_mut().for_each(|engine| _ = engine.on_snapshot(&snapshot));
        } else if let Ok(Frame::Market(event)) = decoder.decode(frame.as_bytes()) {
            for (engine, samples) in engines.iter_mut().zip(&mut samples) {
                engine.on_event(&event, |sample: &Sample<'_>| {
                    // Text tells floats apart by their bits, but for NaN.
                    samples.push(format!("{} {:?} {:?}", sample.ts.0, sample.mids, sample.features));
                });
            }
        }
        // Now and then there is no time to prepare.
        if n % 29 != 0 {
            while engines[1].prepare(1) {}
        }
    }
    assert!(samples[0] == samples[1], "{} samples", samples[0].len());
    let [plain, ahead] = engines.map(|engine| *engine.counters());
    assert!(plain.prepared == 0 && ahead.samples > 1_000, "{plain:?} {ahead:?}");
    assert!(ahead.prepared * 100 > ahead.samples * 90, "{ahead:?}");
}

#[test]
fn generated_books_are_equal() {
    for levels in [1, 20, 300] {
        compare(&FrameSet::generated(levels, 500));
    }
}
