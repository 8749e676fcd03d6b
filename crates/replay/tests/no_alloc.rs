//! After warm-up nothing on the way from bytes to features allocates: frames of the usual shapes and of unusual ones,
//! bad frames, gaps, resynchronisation, samples.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use binance::decode::{Decoder, Frame};
use book::{BookState, FeatureEngine};
use market::{Nanos, SymbolId};
use replay::decode_bench::FrameSet;
use runtime::counting_alloc::{CountingAllocator, count};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

struct Path {
    decoder: Decoder,
    engine: FeatureEngine,
    samples: u64,
    rejected: u64,
}

impl Path {
    fn feed(&mut self, frame: &[u8]) {
        match self.decoder.decode(frame) {
            Ok(Frame::Market(event)) => {
                self.engine.on_event(&event, |sample| self.samples += sample.features.len() as u64);
            }
            Ok(_) => {}
            Err(_) => self.rejected += 1,
        }
    }

    fn snapshot(&mut self, reply: &[u8]) {
        let snapshot = self.decoder.decode_snapshot(SymbolId(0), reply).expect("the snapshot is well-formed");
        self.engine.on_snapshot(&snapshot);
    }
}

#[test]
fn nothing_allocates_after_warm_up() {
    let set = FrameSet::generated(20, 600);
    let first = String::from_utf8(set.frames[0].clone()).unwrap();
    let others = [
        r#"{"e":"aggTrade","E":1700000000001,"a":1,"s":"BTCUSDT","p":"61800.10","q":"0.5","T":1700000059950,"m":true}"#.to_owned(),
        r#"{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"61800.00","B":"1","a":"61800.10","A":"1","T":1,"E":1700000000001}"#.to_owned(),
        r#"{"e":"markPriceUpdate","E":1700000000001,"s":"BTCUSDT","p":"61800.12345678","i":"61800.1","r":"","T":1}"#.to_owned(),
        // Left to the document reader: blanks, an unknown nested field.
        first.replace(",\"", ", \"").replace("\"st\":1", "\"st\": 1, \"x\": {\"y\": [1, 2]}"),
        first.replace("\"pu\":", "\"pu\":\""),
        first[..first.len() / 2].to_owned(),
    ];
    let mut path = Path {
        decoder: Decoder::new(std::slice::from_ref(&set.instrument)),
        engine: FeatureEngine::new(std::slice::from_ref(&set.instrument), Nanos::from_millis(100)),
        samples: 0,
        rejected: 0,
    };
    let session = |path: &mut Path, n: usize| {
        path.engine.invalidate(SymbolId(0));
        path.snapshot(&set.snapshot);
        for frame in &set.frames[..n] {
            path.feed(frame);
            for other in &others {
                path.feed(other.as_bytes());
            }
        }
        // A replayed update, a gap, and a snapshot that is too old for what is buffered.
        path.feed(&set.frames[0]);
        path.feed(&set.frames[n + 1]);
        path.snapshot(&set.snapshot);
    };
    session(&mut path, 300);
    let (samples, rejected) = (path.samples, path.rejected);
    assert_eq!(count(|| session(&mut path, 598)), 0);
    assert!(path.samples > samples + 250, "{} after {samples}", path.samples);
    assert_eq!(path.rejected, rejected + 2 * 598);
    let book = path.engine.book(SymbolId(0)).unwrap();
    let c = book.counters();
    assert_eq!((c.applied, c.gaps, c.old_snapshots, book.state()), (898, 2, 2, BookState::Stale));
    // The counter counts: the same path with a fresh decoder allocates.
    assert!(count(|| Decoder::new(std::slice::from_ref(&set.instrument))) > 0);
}
