//! `dolphin bench journal`: what a record costs the stage that leaves it, what an hour takes on the disk, and how fast it is
//! decided again.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ::alpha::Gate;
use market::{Bbo, Level, Nanos, ObFeatures, Px, Qty, SymbolId};
use node::config::{Config, JournalContent};
use node::error::Failure;
use node::journal::recorder::limits;
use node::journal::records::MARKET_STATE;
use node::journal::replay::{RunReport, Verdict, Within, replay};
use node::stages::Tick;
use node::stages::alpha::{AlphaJournal, AlphaRecord, shared_ticks};
use node::stages::book::record::BookJournal;
use node::stages::feed::Frame;
use node::stages::router::{Quote, RouterRecord};
use runtime::conveyor::conveyor;
use runtime::journal::frame::{self, Record};
use runtime::journal::library::{read, segments, state};
use runtime::journal::segment::{OWN, Packer, kind};
use runtime::journal::tap::{Drain, Tap, tap};
use runtime::ring::ring;
use runtime::shared::Shared;
use serde::Serialize;
use sim::sample::{End, Sample, sample};

/// The champion's bars and ticks: S = 50.
const CONFIG: &str = include_str!("../../../../configs/demo.yml");
/// Symbols, and seconds of market time that are written.
const MARKETS: [(usize, u64); 2] = [(48, 30), (400, 10)];
/// Records between two looks at the clock, and how often.
const RECORDS: usize = 1_000;
const ROUNDS: usize = 301;
/// Ticks between two looks at the clock: more than the journal's thread ever lets wait while it keeps up.
const TICKS: usize = 4;
/// Frames between two looks at the clock, and their size.
const FRAMES: usize = 256;
const FRAME_BYTES: usize = 600;

/// Cost of one kind of record on the thread that leaves it; medians.
#[derive(Debug, Serialize)]
pub struct HotRow {
    record: String,
    /// Into the journal's ring, with number and time.
    ns: f64,
    /// The same value through a loop that does nothing with it.
    empty_loop_ns: f64,
    /// The same value into an `rtrb` ring alone; for ticks and frames: what a copy would cost.
    peer_ns: f64,
}

/// What a market of so many symbols writes.
#[derive(Debug, Serialize)]
pub struct Written {
    content: JournalContent,
    symbols: usize,
    /// Market time that was written.
    seconds: f64,
    records: u64,
    /// Records before and behind compression, as an hour of the same: extrapolated.
    raw_mb_per_hour: f64,
    mb_per_hour: f64,
    /// Of `mb_per_hour`, the states that segments begin with.
    states_mb_per_hour: f64,
    /// All was decided again and was the same.
    equal: bool,
    /// Market time ÷ time to decide it again.
    times_real_time: f64,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Measured {
    hot: Vec<HotRow>,
    written: Vec<Written>,
}

/// Measures.
pub fn measure() -> Result<Measured, Failure> {
    let mut config = Config::parse(CONFIG).map_err(|e| Failure::usage(format!("configs/demo.yml{e}")))?;
    config.alpha = ::alpha::Params::default();
    config.market.bar_ms = 5_000;
    let mut written = Vec::new();
    for content in [JournalContent::Ticks, JournalContent::Frames] {
        config.journal.content = content;
        for (symbols, seconds) in MARKETS {
            written.push(market(&config, symbols, seconds)?);
        }
    }
    Ok(Measured { hot: hot(), written })
}

fn hot() -> Vec<HotRow> {
    let level = |px| Level { px: Px(px), qty: Qty(5_000) };
    let bbo = Bbo {
        symbol: SymbolId(7),
        ts_event: Nanos(1),
        ts_send: Nanos(2),
        update_id: 3,
        bid: level(60_000),
        ask: level(60_001),
    };
    let step = AlphaRecord::Step { tick: 77, gate: Gate::Signal, digest: 0x1234_5678_9abc_def0 };
    vec![
        small("quote (router)", || RouterRecord::Quote(black_box(Quote::Bbo(bbo)))),
        small("step (alpha)", || black_box(step)),
        ticks(48),
        ticks(400),
        frames(),
    ]
}

/// Median of the rounds of `run`, ns for each of its `n`; `between` two rounds nobody looks at the clock.
fn median<S>(state: &mut S, n: usize, run: impl Fn(&mut S), between: impl Fn(&mut S)) -> f64 {
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        run(state);
        took.push(began.elapsed().as_nanos() as f64 / n as f64);
        between(state);
    }
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn small<T>(record: &str, make: impl Fn() -> T) -> HotRow {
    let empty_loop_ns =
        median(&mut (), RECORDS, |()| (0..RECORDS).for_each(|_| drop(black_box(make()))), |()| ());
    let mut ends = tap("bench", 2 * RECORDS);
    let push = |(hot, _): &mut (Tap<T>, Drain<T>)| {
        (0..RECORDS as u64).for_each(|at| hot.push(at, make()));
    };
    let ns = median(&mut ends, RECORDS, push, |(_, taken)| while taken.pop().is_some() {});
    let mut peer = rtrb::RingBuffer::new(2 * RECORDS);
    let push = |(into, _): &mut (rtrb::Producer<T>, rtrb::Consumer<T>)| {
        (0..RECORDS).for_each(|_| drop(into.push(make())));
    };
    let peer_ns = median(&mut peer, RECORDS, push, |(_, from)| while from.pop().is_ok() {});
    HotRow { record: record.to_owned(), ns, empty_loop_ns, peer_ns }
}

/// A tick with a price and features of every symbol.
fn full(symbols: usize) -> Tick {
    let mut tick = Tick::new(symbols);
    tick.mids.fill(60_000.5);
    tick.features.fill(Some(ObFeatures {
        bid_depth: [10.0; 5],
        ask_depth: [10.0; 5],
        bid_notional: [1e6; 5],
        ask_notional: [1e6; 5],
        coverage_pct: 1.0,
        spread_proxy_bps: 0.5,
        depth_quality: 1.0,
        depth_asymmetry: 0.1,
        imbalance_persistence: 0.2,
        macro_imbalance: 0.1,
        macro_spread_bps: 0.5,
        ..ObFeatures::plain()
    }));
    tick
}

/// A tick changes places with one that nobody reads any more; `peer_ns` is what a copy of it would cost.
fn ticks(symbols: usize) -> HotRow {
    let (tick, mut copy) = (full(symbols), full(symbols));
    let each = |_: usize| {
        black_box(&tick);
    };
    let empty_loop_ns = median(&mut (), TICKS, |()| (0..TICKS).for_each(each), |()| ());
    let ((tap, taken), (ticks, ticks_out)) = (tap("bench", 2 * TICKS), ring("bench_ticks", 2 * TICKS));
    let journal = AlphaJournal { tap, ticks };
    let mut ends = (journal, shared_ticks(symbols), full(symbols), taken, ticks_out);
    let push = |(journal, places, tick, ..): &mut (AlphaJournal, Shared<Tick>, Tick, _, _)| {
        for at in 0..TICKS as u64 {
            let share = places.share(|place| place.change_places(black_box(&mut *tick)));
            journal.tick(at, share.as_ref());
        }
    };
    let ns = median(&mut ends, TICKS, push, |(.., taken, ticks)| {
        while taken.pop().is_some() {}
        while ticks.pop().is_some() {}
    });
    let copied = |copy: &mut Tick| {
        for _ in 0..TICKS {
            copy.mids.clone_from(&black_box(&tick).mids);
            copy.features.clone_from(&black_box(&tick).features);
        }
    };
    let peer_ns = median(&mut copy, TICKS, copied, |_| ());
    HotRow { record: format!("tick of {symbols} symbols (alpha)"), ns, empty_loop_ns, peer_ns }
}

/// A frame changes places with an empty one, too.
fn frames() -> HotRow {
    let (tap, taken) = tap("bench", 2 * FRAMES);
    let (boxes, frames) = conveyor("bench_frames", 2 * FRAMES, || frame(FRAME_BYTES));
    let mut ends = (BookJournal::new(tap, boxes), frame(FRAME_BYTES), taken, frames);
    let empty_loop_ns = median(
        &mut ends.1,
        FRAMES,
        |f| {
            (0..FRAMES).for_each(|_| {
                black_box(&f);
            });
        },
        |_| (),
    );
    let push = |(journal, frame, ..): &mut (BookJournal, Frame, _, _)| {
        (0..FRAMES as u64).for_each(|at| journal.frame(at, black_box(&mut *frame)));
    };
    let ns = median(&mut ends, FRAMES, push, |(.., taken, frames)| {
        while taken.pop().is_some() {}
        while let Some(frame) = frames.recv() {
            frames.give_back(frame);
        }
    });
    let (from, mut copy) = (frame(FRAME_BYTES), frame(FRAME_BYTES));
    let copied = |copy: &mut Frame| (0..FRAMES).for_each(|_| copy.bytes.clone_from(&black_box(&from).bytes));
    let peer_ns = median(&mut copy, FRAMES, copied, |_| ());
    HotRow { record: format!("frame of {FRAME_BYTES} bytes (book)"), ns, empty_loop_ns, peer_ns }
}

fn frame(bytes: usize) -> Frame {
    Frame { bytes: vec![b'7'; bytes], ..Frame::default() }
}

fn market(config: &Config, symbols: usize, seconds: u64) -> Result<Written, Failure> {
    let sample = sample(config, (symbols, seconds), End::Terminated, 1).map_err(Failure::input)?;
    let dir = sample.journals.first().ok_or_else(|| Failure::input("the simulated node kept no journal"))?;
    let sizes = Sizes::of(&sample, dir)?;
    let began = Instant::now();
    let reports = replay(&*sample.files, dir, Within::ALL, &|_| None, &mut |_, _, _| true)?;
    let took = began.elapsed().as_secs_f64();
    let lasted = |r: &RunReport| (r.to_ns - r.from_ns) as f64 / 1e9;
    let seconds: f64 = reports.iter().map(lasted).sum();
    let hour = |bytes: u64| bytes as f64 / seconds * 3_600.0 / 1e6;
    // A segment holds so much of records behind its states.
    let segment = limits(&config.journal, PathBuf::new(), sizes.states as usize).segment_bytes;
    let behind = segment.saturating_sub(sizes.states).max(1) as f64;
    let segments_per_hour = hour(sizes.records) * 1e6 / behind;
    let states_mb_per_hour = segments_per_hour * sizes.packed_states as f64 / 1e6;
    Ok(Written {
        content: config.journal.content,
        symbols,
        seconds,
        records: reports.iter().map(|r| r.counts.records).sum(),
        raw_mb_per_hour: hour(sizes.records) + segments_per_hour * sizes.states as f64 / 1e6,
        mb_per_hour: hour(sizes.packed_records) + states_mb_per_hour,
        states_mb_per_hour,
        equal: reports.iter().all(|r| r.is_equal() && r.book.as_ref().is_none_or(|b| *b == Verdict::Equal)),
        times_real_time: seconds / took,
    })
}

/// Bytes of records, and of the states that one segment begins with, as they are and compressed.
#[derive(Default)]
struct Sizes {
    records: u64,
    packed_records: u64,
    states: u64,
    packed_states: u64,
}

impl Sizes {
    fn of(sample: &Sample, dir: &Path) -> Result<Self, Failure> {
        let bad = |e: &dyn std::fmt::Debug| Failure::input(format!("the simulated journal: {e:?}"));
        let mut sizes = Self::default();
        let (mut records, mut one) = (Packer::default(), Vec::new());
        for (n, found) in segments(&*sample.files, dir).map_err(|e| bad(&e))?.iter().enumerate() {
            let mut states = Packer::default();
            let mut add = |record: Record<'_>| {
                one.clear();
                frame::append(&mut one, record);
                // What books and scanner began with stands in the first segment alone.
                let once = record.kind == kind::STATE
                    && state(record.payload).is_some_and(|(name, _)| name == MARKET_STATE);
                match (record.stream, record.kind) {
                    (OWN, _) if once => {}
                    (OWN, kind::HEADER | kind::STATE) if n == 0 => {
                        states.add(&one);
                        sizes.states += one.len() as u64;
                    }
                    (OWN, kind::HEADER | kind::STATE) => {}
                    _ => {
                        records.add(&one);
                        sizes.records += one.len() as u64;
                    }
                }
                ControlFlow::Continue(())
            };
            read(&*sample.files, &found.path, &mut add).map_err(|e| bad(&e))?;
            sizes.packed_states += states.finish().len() as u64;
        }
        sizes.packed_records = records.finish().len() as u64;
        Ok(sizes)
    }
}

/// For people.
pub fn text(measured: &Measured) {
    println!("ns a record on the thread that leaves it, medians of {ROUNDS} rounds");
    println!("{:<32}{:>10}{:>12}{:>14}", "record", "journal", "empty loop", "rtrb | copy");
    for r in &measured.hot {
        println!("{:<32}{:>10.1}{:>12.1}{:>14.1}", r.record, r.ns, r.empty_loop_ns, r.peer_ns);
    }
    println!("written on the simulated market (100 ms ticks, 5 s bars), extrapolated to an hour");
    println!(
        "{:>8}{:>8}{:>10}{:>10}{:>14}{:>12}{:>14}{:>16}",
        "content",
        "symbols",
        "market s",
        "records",
        "MB/h before",
        "MB/h kept",
        "of it states",
        "× real time"
    );
    for w in &measured.written {
        let wrong = if w.equal { "" } else { "  NOT EQUAL" };
        println!(
            "{:>8}{:>8}{:>10.1}{:>10}{:>14.0}{:>12.0}{:>14.1}{:>16.0}{wrong}",
            match w.content {
                JournalContent::Ticks => "ticks",
                JournalContent::Frames => "frames",
            },
            w.symbols,
            w.seconds,
            w.records,
            w.raw_mb_per_hour,
            w.mb_per_hour,
            w.states_mb_per_hour,
            w.times_real_time
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_simulated_market_writes_is_measured_and_decided_again() {
        let mut config = Config::parse(CONFIG).unwrap();
        let ticks = market(&config, 4, 5).unwrap();
        config.journal.content = JournalContent::Frames;
        let w = market(&config, 4, 5).unwrap();
        assert!(ticks.equal && ticks.raw_mb_per_hour < w.raw_mb_per_hour, "{ticks:?} {w:?}");
        assert!(w.equal && w.seconds > 4.0 && w.seconds < 30.0, "{w:?}");
        assert!(w.records > 100 && w.times_real_time > 0.0, "{w:?}");
        assert!(w.mb_per_hour > 1.0 && w.raw_mb_per_hour > w.mb_per_hour, "{w:?}");
        assert!(w.states_mb_per_hour < w.mb_per_hour, "{w:?}");
    }

    #[test]
    fn every_record_has_a_cost_beside_its_peers() {
        for row in [small("step", || black_box(7u64)), ticks(4), frames()] {
            assert!(row.ns > 0.0 && row.peer_ns > 0.0 && row.empty_loop_ns >= 0.0, "{row:?}");
        }
    }
}
