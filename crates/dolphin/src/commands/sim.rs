//! `dolphin sim`: the whole system on one thread and one seed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use market::text::counted;
use node::error::Failure;
use serde::Serialize;
use sim::faults::{Planned, clock};
use sim::run::{Layout, Report, Setup, run as play};
use sim::shrink::shrink;

/// Runs of a failing seed that look for its shortest list of faults.
const SHRINK_RUNS: u32 = 80;
/// Lines of the timeline that a failure shows.
const LINES: usize = 30;

/// The seeded simulation: nodes, venue, memory, network and faults on a virtual clock
#[derive(clap::Args)]
#[command(after_help = "Example: dolphin sim --seeds 1..60 --minutes 60 --threads 2\n\n\
One run: dolphin sim --seed 42. A failure prints the seed, the shortest list of faults that still fails and what happened \
around it, and exits 1. The digest of a seed is the same on every machine.")]
pub struct Args {
    /// One seed
    #[arg(long, value_name = "N", conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Many seeds, both ends included
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    seeds: Option<(u64, u64)>,
    /// Simulated hours of each seed
    #[arg(long, value_name = "H", conflicts_with = "minutes")]
    hours: Option<f64>,
    /// Simulated minutes of each seed [default: 10]
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Symbols of the venue
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=400))]
    symbols: u16,
    /// one: a node that does everything; four: two ingest nodes, alpha and standby [default: four where the seed is a
    /// multiple of 3]
    #[arg(long, value_parser = parse_layout, value_name = "one|four")]
    layout: Option<Layout>,
    /// Threads, each with a seed of its own
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Faults from a file (JSON, as a failure prints them) instead of the seed's
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// No faults at all
    #[arg(long, conflicts_with = "script")]
    calm: bool,
    /// Plant each of these bugs (all: every one) and look for the seed that finds it; needs a build with the feature
    /// `planted`
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "all|NAME,…", value_delimiter = ',')]
    planted: Vec<String>,
    /// Do not look for the shortest list of faults
    #[arg(long)]
    no_shrink: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What all seeds came to.
#[derive(Debug, Default, Serialize)]
struct Total {
    seeds: u64,
    simulated_hours: f64,
    core_hours: f64,
    times_real_time: f64,
    struck: BTreeMap<String, u64>,
    orders: u64,
    fills: usize,
    round_trips: u64,
    starts: u64,
    failed: Vec<Report>,
}

impl Total {
    fn add(&mut self, report: Report, took_s: f64) {
        self.seeds += 1;
        self.simulated_hours += report.simulated_s / 3600.0;
        self.core_hours += took_s / 3600.0;
        self.times_real_time = self.simulated_hours / self.core_hours;
        for (kind, n) in &report.struck {
            *self.struck.entry(kind.clone()).or_default() += n;
        }
        self.orders += report.orders;
        self.fills += report.fills;
        self.round_trips += report.round_trips;
        self.starts += report.starts;
        if !report.violations.is_empty() {
            self.failed.push(report);
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let (first, last) = args.seeds.or(args.seed.map(|s| (s, s))).unwrap_or((1, 1));
    let minutes = args.hours.map(|h| h * 60.0).or(args.minutes).unwrap_or(10.0);
    if !(1.0..=100_000.0).contains(&minutes) {
        return Err(Failure::usage(format!("{minutes} simulated minutes: choose 1 to 100000")));
    }
    #[cfg(feature = "planted")]
    if !args.planted.is_empty() {
        return plant(&args, (first, last), (minutes * 60_000.0) as u64);
    }
    let script = script(&args)?;
    let setup = |seed| {
        let usual = Setup::of(seed, (minutes * 60_000.0) as u64, usize::from(args.symbols));
        Setup { layout: args.layout.unwrap_or(usual.layout), script: script.clone(), ..usual }
    };
    let signalled = super::on_signal()?;
    let (next, total) = (AtomicU64::new(first), Mutex::new(Total::default()));
    let broken = Mutex::new(None);
    let begun = Instant::now();
    let stop = AtomicBool::new(false);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last || stop.load(Ordering::Relaxed) || signalled.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            match play(&setup(seed)) {
                Ok(report) => {
                    let took = began.elapsed().as_secs_f64();
                    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if !args.json {
                        progress(&total, &report, took, last - first + 1, begun);
                    }
                    total.add(report, took);
                }
                Err(why) => {
                    *broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..args.threads).map(|_| scope.spawn(worker)).collect();
        worker();
        drop(others);
    });
    if let Some(why) = broken.into_inner().unwrap_or_default() {
        return Err(Failure::usage(why));
    }
    let mut total = total.into_inner().unwrap_or_default();
    total.failed.sort_by_key(|r| r.seed);
    if !args.no_shrink
        && !signalled.load(Ordering::Relaxed)
        && let Some(failed) = total.failed.first().cloned()
    {
        let seed = failed.seed;
        let each = |left| say(&format!("\rseed {seed}: {left} of the faults still fail "));
        let shortest = shrink(&setup(seed), failed, SHRINK_RUNS, each);
        say("\n");
        total.failed[0] = shortest;
    }
    tell(&args, &total)
}

/// Prints the table: each bug, the seed and the invariant that found it, and the shortest list of faults. Exit 1 if one
/// was not found.
#[cfg(feature = "planted")]
fn plant(args: &Args, seeds: (u64, u64), length_ms: u64) -> Result<(), Failure> {
    use market::planted::Bug;
    use sim::planted::{Row, Search, find};

    let bugs: Vec<Bug> = if args.planted.iter().any(|name| name == "all") {
        Bug::ALL.to_vec()
    } else {
        args.planted.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(Failure::usage)?
    };
    let shrink_runs = if args.no_shrink { 0 } else { SHRINK_RUNS };
    let (symbols, threads) = (usize::from(args.symbols), args.threads);
    let search = Search { seeds, length_ms, symbols, threads, shrink_runs };
    let signalled = super::on_signal()?;
    let mut rows: Vec<Row> = Vec::new();
    for bug in bugs {
        if signalled.load(Ordering::Relaxed) {
            break;
        }
        let row = find(bug, &search, &signalled).map_err(Failure::usage)?;
        if !args.json {
            println!(
                "{:<36} {:>9}  {}\n{:<36} {} faults {}",
                row.bug,
                row.seed.map_or_else(|| "not found".to_owned(), |seed| format!("seed {seed}")),
                row.violation.as_deref().unwrap_or("-"),
                "",
                row.faults.len(),
                serde_json::to_string(&row.faults).unwrap_or_default(),
            );
        }
        rows.push(row);
    }
    if args.json {
        super::print_json(&rows)?;
    }
    match rows.iter().filter(|row| row.seed.is_none()).count() {
        0 => Ok(()),
        n => Err(Failure::answer_no(format!("{n} of {} planted bugs were not found", rows.len()))),
    }
}

fn script(args: &Args) -> Result<Option<Vec<Planned>>, Failure> {
    if args.calm {
        return Ok(Some(Vec::new()));
    }
    let Some(path) = &args.script else { return Ok(None) };
    let bad = |e: &dyn std::fmt::Display| Failure::input(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
    serde_json::from_str(&text).map(Some).map_err(|e| bad(&e))
}

fn progress(total: &Total, report: &Report, took: f64, seeds: u64, begun: Instant) {
    let done = total.seeds + 1;
    let elapsed = begun.elapsed().as_secs_f64();
    let eta = elapsed / done as f64 * (seeds - done) as f64;
    let verdict = report.violations.first().map_or_else(|| "ok".to_owned(), |v| format!("VIOLATED {v}"));
    say(&format!(
        "seed {:>5} {:>4.0} x  {:>5} orders {:>4} round trips {:>3} starts {:>4} faults  {}  [{done}/{seeds}, {:.0} s left] {verdict}\n",
        report.seed,
        report.simulated_s / took,
        report.orders,
        report.round_trips,
        report.starts,
        report.struck.values().sum::<u64>(),
        &report.digest[..12],
        eta,
    ));
}

fn say(text: &str) {
    runtime::console::text(text);
}

fn tell(args: &Args, total: &Total) -> Result<(), Failure> {
    if args.json {
        super::print_json(total)?;
    } else {
        println!(
            "{}, {:.2} simulated hours, {:.0} per core-hour; {}, {}, {}, {}",
            counted(total.seeds, "seed"),
            total.simulated_hours,
            total.times_real_time,
            counted(total.orders, "order"),
            counted(total.fills, "fill"),
            counted(total.round_trips, "round trip"),
            counted(total.starts, "start")
        );
        let struck: Vec<String> = total.struck.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        println!("faults    {}", if struck.is_empty() { "none".to_owned() } else { struck.join(", ") });
        if let [only] = total.failed.as_slice() {
            println!("digest    {}", only.digest);
        }
        total.failed.first().inspect(|failed| explain(failed));
    }
    match total.failed.len() {
        0 => Ok(()),
        n => Err(Failure::answer_no(format!(
            "{n} of {} violate an invariant; again with: dolphin sim --seed {}",
            counted(total.seeds, "seed"),
            total.failed[0].seed
        ))),
    }
}

fn explain(failed: &Report) {
    println!("\nseed {} fails:", failed.seed);
    failed.violations.iter().for_each(|v| println!("  {v}"));
    println!("shortest list of faults found ({}):", failed.script.len());
    println!("{}", serde_json::to_string(&failed.script).unwrap_or_default());
    println!("what happened:");
    let skip = failed.timeline.len().saturating_sub(LINES);
    for (at, line) in failed.timeline.iter().skip(skip) {
        println!("  {}  {line}", clock(*at));
    }
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once("..").and_then(|(a, b)| {
        let (a, b) = (a.parse().ok()?, b.trim_start_matches('=').parse().ok()?);
        (a <= b).then_some((a, b))
    });
    parsed.ok_or_else(|| format!("`{text}` is no range of seeds: A..B with A ≤ B, e.g. 1..60"))
}

fn parse_layout(text: &str) -> Result<Layout, String> {
    match text {
        "one" => Ok(Layout::One),
        "four" => Ok(Layout::Four),
        other => Err(format!("`{other}` is no layout: one or four")),
    }
}
