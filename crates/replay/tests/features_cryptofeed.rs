//! A recording of another shape: four symbols on one connection, `depth@100ms` and `aggTrade`, snapshots fetched
//! while the stream ran. Rewritten into our format, every book must come up and stay in step.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::io::Read;
use std::path::Path;

use archive::recording::RecordingWriter;
use market::Nanos;
use replay::features::replay_features;

fn text(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn nanos(seconds: &str) -> Option<Nanos> {
    Some(Nanos((seconds.parse::<f64>().ok()? * 1e6) as u64 * 1000))
}

#[test]
fn four_symbols_on_one_connection() {
    let stream = testkit::shared_data("recordings/cryptofeed_BINANCE_FUTURES.ws.1.0.gz");
    let replies = testkit::shared_data("recordings/cryptofeed_BINANCE_FUTURES.http.0.0.gz");
    let (Some(stream), Some(replies)) = (stream, replies) else { return };
    let mut lines = vec![];
    for line in text(&stream).lines() {
        let Some((at, frame)) = line.split_once(": ") else { continue };
        if let Some(at) = nanos(at) {
            lines.push((at, None, frame.to_owned()));
        }
    }
    for line in text(&replies).lines() {
        let Some((url, rest)) = line.split_once(" -> ") else { continue };
        let symbol = url.split_once("symbol=").and_then(|(_, rest)| rest.split('&').next());
        let (Some(symbol), Some((at, reply))) = (symbol, rest.split_once(": ")) else { continue };
        if let (Some(at), true) = (nanos(at), reply.starts_with("{\"lastUpdateId")) {
            lines.push((at, Some(symbol.to_owned()), reply.to_owned()));
        }
    }
    lines.sort_by_key(|(at, ..)| *at);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording.zst");
    let mut writer = RecordingWriter::create(&path).unwrap();
    for (at, symbol, frame) in &lines {
        match symbol {
            Some(symbol) => writer.write_snapshot(*at, symbol, frame.as_bytes()).unwrap(),
            None => writer.write(*at, frame.as_bytes()).unwrap(),
        }
    }
    writer.finish().unwrap();

    let mut with_features = [0; 4];
    let report = replay_features(&[path], Nanos::from_millis(100), |survey, sample| {
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
