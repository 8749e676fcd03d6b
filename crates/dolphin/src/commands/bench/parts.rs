//! The parts of the path, each beside a named peer in the same run. Medians and ratios; the machine and
//! the commit stand above every table, because absolute numbers of two days or two machines do not compare.

use std::time::Instant;

use bench::eigen::{Measured, Options, Times, run as eigen_bench};
use bench::report::{QUANTILES, few_samples};
use replay::bench::{Rate, ReplayBench, bench as replay_bench};
use replay::decode_bench::{Baseline, FrameSet, Runner};
use replay::signal_bench;
use runtime::latency::{HopSummary, summarise};
use serde::Serialize;

use crate::commands::bench_journal;
use node::error::Failure;
use node::summary::time;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Depth frames, bytes to book.
    Decode,
    /// Four eigen windows.
    Eigen,
    /// Order-book features.
    Features,
    /// The alpha engine.
    Tick,
    /// Bars per second.
    Replay,
    /// The journal.
    Journal,
}

/// Runs it.
pub fn run(part: Part, json: bool) -> Result<(), Failure> {
    let machine = Machine::read();
    match part {
        Part::Decode => print(json, &machine, &decode(), decode_text),
        Part::Eigen => print(json, &machine, &eigen()?, eigen_text),
        Part::Features => print(json, &machine, &features(), lines_text),
        Part::Tick => print(json, &machine, &tick()?, lines_text),
        Part::Journal => print(json, &machine, &bench_journal::measure()?, bench_journal::text),
        Part::Replay => {
            let measured = replay_bench(20, 7).map_err(|e| Failure::input(e.to_string()))?;
            print(json, &machine, &measured, replay_text)
        }
    }
}

/// What the figures belong to.
#[derive(Debug, Clone, Serialize)]
struct Machine {
    commit: &'static str,
    cpu: String,
    cores: usize,
}

impl Machine {
    fn read() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        let cpu = model.unwrap_or("unknown processor").to_owned();
        Self { commit: env!("DOLPHIN_COMMIT"), cpu, cores: runtime::worker::available_cores() }
    }
}

fn print<T: Serialize>(json: bool, machine: &Machine, result: &T, text: fn(&T)) -> Result<(), Failure> {
    if json {
        return crate::commands::print_json(&serde_json::json!({ "machine": machine, "result": result }));
    }
    println!("{} cores of {}, commit {}", machine.cores, machine.cpu, machine.commit);
    text(result);
    Ok(())
}

// ---- decode -----------------------------------------------------------------------------------------------------

/// Rounds over the frames; ours and the peer's take turns, so that a noisy neighbour disturbs both.
const ROUNDS: usize = 40;

/// A distribution and which of its percentiles rest on too few samples.
#[derive(Debug, Serialize)]
struct Marked {
    #[serde(flatten)]
    ns: HopSummary,
    /// Percentiles with fewer than 10/(1 − q) samples: to be taken with care.
    few_samples: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct DecodeRow {
    levels_a_side: usize,
    frames: usize,
    /// Scanner and ladder, per frame.
    ours: Marked,
    /// serde_json (borrowed) and BTreeMap, per frame.
    peer: Marked,
    /// Median of the peer ÷ median of ours.
    ratio: f64,
}

fn decode() -> Vec<DecodeRow> {
    [20, 100, 500].into_iter().map(decode_row).collect()
}

fn decode_row(levels: usize) -> DecodeRow {
    let set = FrameSet::generated(levels, 20_000 / levels);
    let (mut ours, mut peer) = (Runner::new(&set), Baseline::new(&set));
    let (mut ours_ns, mut peer_ns) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        ours.restart(&set);
        peer.restart(&set);
        let a = each(&set, |frame| {
            std::hint::black_box(ours.run(frame));
        });
        let b = each(&set, |frame| {
            std::hint::black_box(peer.run(frame));
        });
        // The first round warms up.
        if round > 0 {
            ours_ns.extend(a);
            peer_ns.extend(b);
        }
    }
    let [ours, peer] = [ours_ns, peer_ns].map(|ns| percentiles(&ns));
    DecodeRow {
        levels_a_side: levels,
        frames: set.frames.len(),
        ratio: peer.ns.p50 as f64 / ours.ns.p50 as f64,
        ours,
        peer,
    }
}

fn each(set: &FrameSet, mut run: impl FnMut(&[u8])) -> Vec<u64> {
    let measure = |frame: &Vec<u8>| {
        let started = Instant::now();
        run(frame);
        u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    };
    set.frames.iter().map(measure).collect()
}

fn percentiles(ns: &[u64]) -> Marked {
    let mut h = runtime::latency::histogram();
    ns.iter().for_each(|&v| h.saturating_record(v.max(1)));
    let ns = summarise(&h).expect("at least one sample was taken");
    Marked { ns, few_samples: few_samples(ns.n) }
}

fn decode_text(rows: &Vec<DecodeRow>) {
    println!("depth frame, bytes in hand -> book updated (each figure holds two clock reads, about 50 ns)");
    head();
    for r in rows {
        row(&format!("{} a side: scanner + ladder", r.levels_a_side), &r.ours);
        row(&format!("{} a side: serde_json + BTreeMap", r.levels_a_side), &r.peer);
        println!("    ratio of medians {:.1}", r.ratio);
    }
    foot();
}

fn head() {
    println!(
        "{:<36}{:>9}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "", "n", "min", "p50", "p90", "p99", "p99.9", "max"
    );
}

fn row(name: &str, s: &Marked) {
    let HopSummary { n, min, p50, p90, p99, p999, max } = s.ns;
    print_row(name, n, [min, p50, p90, p99, p999, max]);
}

/// A line of the table; a percentile of too few samples bears a star.
fn print_row(name: &str, n: u64, [min, p50, p90, p99, p999, max]: [u64; 6]) {
    let few = few_samples(n);
    let quantiles = QUANTILES.iter().zip([p50, p90, p99, p999]).map(|((q, _), ns)| {
        let star = if few.contains(q) { "*" } else { "" };
        format!("{:>11}", time(ns) + star)
    });
    println!("{name:<36}{n:>9}{:>11}{}{:>11}", time(min), quantiles.collect::<String>(), time(max));
}

/// Under a table.
fn foot() {
    println!("* fewer than 10/(1 - q) samples");
}

// ---- eigen ------------------------------------------------------------------------------------------------------

fn eigen() -> Result<Vec<Measured>, Failure> {
    [(48, 1, 20_000, 200), (400, 1, 3_000, 15), (48, 50, 20_000, 0), (400, 50, 2_000, 0)]
        .into_iter()
        .map(|(assets, stride, ticks, decompositions)| {
            eprintln!("measuring N = {assets}, stride {stride} …");
            eigen_bench(Options { assets, stride, ticks, decompositions, seed: 1 })
                .map_err(|e| Failure::usage(e.to_string()))
        })
        .collect()
}

fn eigen_text(all: &Vec<Measured>) {
    println!("eigen tick: λ, velocities and instabilities of windows 50, 150, 300, 750");
    head();
    for m in all {
        println!("N = {}, stride {} ({:.1} MB)", m.assets, m.stride, m.memory_bytes as f64 / 1e6);
        let line = |name: &str, t: &Times| {
            let ns = [t.min, t.p50, t.p90, t.p99, t.p99_9, t.max].map(|us| (us * 1e3) as u64);
            print_row(name, t.n as u64, ns);
        };
        line("  scanner", &m.scanner);
        if m.stride == 1 {
            line("  faer, eigenvalues of 4 matrices", &m.eigenvalues);
            line("  faer, matrices and eigenvectors", &m.from_scratch);
            println!(
                "    ratio of medians {:.0} (from scratch {:.0}), largest error of λ {:.1e}",
                m.ratio_eigenvalues, m.ratio_from_scratch, m.largest_error
            );
        }
    }
    foot();
}

// ---- features, tick ---------------------------------------------------------------------------------------------

/// A named distribution.
#[derive(Debug, Serialize)]
struct Line {
    what: String,
    #[serde(flatten)]
    times: Marked,
}

fn line(what: String, ns: &[u64]) -> Line {
    Line { what, times: percentiles(ns) }
}

fn features() -> Vec<Line> {
    let of = |(symbols, ticks)| {
        eprintln!("measuring {symbols} symbols …");
        let times = signal_bench::features(symbols, ticks);
        [
            line(format!("{symbols} symbols: sample"), &times.sample),
            line(format!("{symbols} symbols: 20 changes each, sample"), &times.tick),
        ]
    };
    [(48, 10_000), (400, 4_000)].into_iter().flat_map(of).collect()
}

fn tick() -> Result<Vec<Line>, Failure> {
    let times = signal_bench::engine(48, 100_000).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(vec![
        line("48 assets, S = 50: no signal".to_owned(), &times.no_signal),
        line("48 assets, S = 50: full selection".to_owned(), &times.full_selection),
    ])
}

fn lines_text(lines: &Vec<Line>) {
    println!("one tick of 100 ms on one core (each figure holds a clock read, about 30 ns)");
    head();
    for line in lines {
        row(&line.what, &line.times);
    }
    foot();
}

// ---- replay -----------------------------------------------------------------------------------------------------

fn replay_text(b: &ReplayBench) {
    println!("{} generated days of {} assets, {} trades a round", b.days, b.assets, b.trades);
    println!("{:<42}{:>7}{:>14}{:>14}{:>14}  bars/s", "", "rounds", "min", "p50", "max");
    let line = |r: &Rate| println!("{:<42}{:>7}{:>14.0}{:>14.0}{:>14.0}", r.what, r.n, r.min, r.p50, r.max);
    [&b.engine, &b.read, &b.one_thread, &b.replay].into_iter().for_each(line);
    println!("    a replay reaches {:.2} of the speed of decoding alone, on one thread", b.of_read_bound);
}
