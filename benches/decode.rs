//! Depth frame to updated book: our scanner and ladder against serde_json (borrowed) and ordered maps.
//! `cargo bench -p replay --bench decode`

use std::io::Read;

use binance::decode::{Decoder, Frame};
use book::OrderBook;
use book::naive::NaiveBook;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use market::{Increment, Instrument, Level, MarketEvent, Px, Qty, SymbolId};
use replay::decode_bench::{Baseline, FrameSet, Runner};

fn main() {
    divan::main();
}

/// Frames of one timed run.
const FRAMES: usize = 1000;

fn recorded() -> Option<FrameSet> {
    let path = testkit::shared_data("recordings/usdm_btcusdt_20240808.gz")?;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).ok()?).read_to_string(&mut text).ok()?;
    let instrument =
        Instrument::plain(SymbolId(0), "BTCUSDT", Increment::decimals(1), Increment::decimals(3));
    FrameSet::recorded(instrument, &text)
}

fn sets() -> Vec<(&'static str, FrameSet)> {
    let mut sets = vec![
        ("20 a side", FrameSet::generated(20, FRAMES)),
        ("100 a side", FrameSet::generated(100, FRAMES)),
    ];
    sets.extend(recorded().map(|set| ("recorded BTC", set)));
    sets
}

fn set(name: &str) -> FrameSet {
    sets().into_iter().find(|(n, _)| *n == name).map(|(_, set)| set).expect("named by NAMES")
}

const NAMES: [&str; 3] = ["20 a side", "100 a side", "recorded BTC"];

fn run<R>(
    bencher: Bencher<'_, '_>,
    set: &FrameSet,
    runner: R,
    restart: fn(&mut R, &FrameSet),
    run: fn(&mut R, &[u8]),
) {
    let bytes: usize = set.frames.iter().map(Vec::len).sum();
    let runner = std::cell::RefCell::new(runner);
    bencher
        .counter(ItemsCount::new(set.frames.len()))
        .counter(BytesCount::new(bytes))
        .with_inputs(|| restart(&mut runner.borrow_mut(), set))
        .bench_local_values(|()| {
            let mut runner = runner.borrow_mut();
            for frame in &set.frames {
                run(&mut runner, black_box(frame));
            }
        });
}

#[divan::bench(args = NAMES)]
fn ours_decode_and_book(bencher: Bencher<'_, '_>, name: &str) {
    let set = set(name);
    run(bencher, &set, Runner::new(&set), Runner::restart, |r, f| {
        black_box(r.run(f));
    });
}

#[divan::bench(args = NAMES)]
fn ours_decode_only(bencher: Bencher<'_, '_>, name: &str) {
    let set = set(name);
    run(bencher, &set, Runner::new(&set), Runner::restart, |r, f| {
        black_box(r.decode(f));
    });
}

#[divan::bench(args = NAMES)]
fn serde_json_and_btreemap(bencher: Bencher<'_, '_>, name: &str) {
    let set = set(name);
    run(bencher, &set, Baseline::new(&set), Baseline::restart, |r, f| {
        black_box(r.run(f));
    });
}

/// Depth updates already decoded, and the snapshot under them.
struct Updates {
    snapshot: (Vec<Level>, Vec<Level>),
    updates: Vec<(Vec<Level>, Vec<Level>)>,
}

impl Updates {
    fn of(set: &FrameSet) -> Self {
        let mut decoder = Decoder::new(std::slice::from_ref(&set.instrument));
        let snapshot = decoder.decode_snapshot(set.instrument.id, &set.snapshot).expect("well-formed");
        let snapshot = (snapshot.bids.to_vec(), snapshot.asks.to_vec());
        let update = |frame: &Vec<u8>| match decoder.decode(frame) {
            Ok(Frame::Market(MarketEvent::Depth(u))) => (u.bids.to_vec(), u.asks.to_vec()),
            other => panic!("a depth frame, not {other:?}"),
        };
        let updates = set.frames.iter().map(update).collect();
        Self { snapshot, updates }
    }

    fn levels(&self) -> usize {
        self.updates.iter().map(|(bids, asks)| bids.len() + asks.len()).sum()
    }
}

/// The usual alternative: a sorted vector a side, best last, binary search.
#[derive(Default)]
struct SortedVec {
    bids: Vec<(i64, i64)>,
    asks: Vec<(i64, i64)>,
}

impl SortedVec {
    fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        for l in bids {
            Self::set(&mut self.bids, l.px.0, l.qty.0);
        }
        for l in asks {
            Self::set(&mut self.asks, -l.px.0, l.qty.0);
        }
    }

    fn set(side: &mut Vec<(i64, i64)>, key: i64, qty: i64) {
        match (side.binary_search_by_key(&key, |l| l.0), qty) {
            (Ok(i), 0) => drop(side.remove(i)),
            (Ok(i), _) => side[i].1 = qty,
            (Err(_), 0) => {}
            (Err(i), _) => side.insert(i, (key, qty)),
        }
    }
}

fn structure<B>(
    bencher: Bencher<'_, '_>,
    name: &str,
    fresh: fn() -> B,
    apply: fn(&mut B, &[Level], &[Level]),
) {
    let updates = Updates::of(&set(name));
    bencher
        .counter(ItemsCount::new(updates.levels()))
        .with_inputs(|| {
            let mut book = fresh();
            apply(&mut book, &updates.snapshot.0, &updates.snapshot.1);
            book
        })
        .bench_local_refs(|book| {
            for (bids, asks) in &updates.updates {
                apply(book, black_box(bids), black_box(asks));
            }
        });
}

#[divan::bench(args = NAMES)]
fn structure_ladder(bencher: Bencher<'_, '_>, name: &str) {
    let fresh = || {
        let mut book = OrderBook::new();
        // The window gets its place from the first snapshot.
        let level = |px| [Level { px: Px(px), qty: Qty(1) }];
        book.replace(&level(618_000), &level(618_001));
        book
    };
    structure(bencher, name, fresh, OrderBook::apply);
}

#[divan::bench(args = NAMES)]
fn structure_sorted_vec(bencher: Bencher<'_, '_>, name: &str) {
    structure(bencher, name, SortedVec::default, SortedVec::apply);
}

#[divan::bench(args = NAMES)]
fn structure_btreemap(bencher: Bencher<'_, '_>, name: &str) {
    structure(bencher, name, NaiveBook::default, NaiveBook::apply);
}
