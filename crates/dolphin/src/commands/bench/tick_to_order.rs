//! `dolphin bench tick-to-order` and `pipeline`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bench::floor::{jitter, round_trips};
use bench::machine::Machine;
use bench::market::Source;
use bench::report::{Figure, Floor, Report, RunReport};
use bench::run::{Setting, run as run_once};
use bench::ways::ways;
use node::config::Config;
use node::environment::Environment;
use node::error::Failure;
use node::summary::time;
use runtime::clock::Clock;
use telemetry::published::Published;
use telemetry::server::Server;

use super::html;

/// Longest run.
const LONGEST: f64 = 86_400.0;
/// Length of a made-up market, s.
const GENERATED: u64 = 240;
/// Round trips of the floor.
const ROUND_TRIPS: usize = 5_000;
/// How long the idle core is watched.
const WATCHED: Duration = Duration::from_millis(500);

/// The market that is played.
#[derive(Debug, clap::Args)]
pub struct Market {
    /// Symbols, 2 … 400
    #[arg(long, default_value_t = 48, value_name = "N")]
    symbols: usize,
    /// Loopback sockets instead of pipes within the process
    #[arg(long)]
    wire: bool,
    /// Without rehearsals (`runtime.rehearse: false`): what they bring is the difference
    #[arg(long)]
    cold: bool,
    /// Recordings whose changes and waits are played, each on every so-manieth symbol with a phase of its own [default:
    /// those of $DOLPHIN_SHARED/data/recordings, else a made-up market]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    recording: Vec<PathBuf>,
    /// Serve the node's dashboard and metrics there while it is measured: what watching costs is the difference
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    market: Market,
    /// Times as fast as recorded, one run each
    #[arg(long, default_value = "1,2,5,10,20", value_delimiter = ',', value_name = "R,…")]
    rates: Vec<f64>,
    /// How long each run is measured
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    seconds: f64,
    /// Write the histograms of the first run here (HdrHistogram interval log, V2)
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// Write one page here: percentile curves, hops, sweep
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Exit 1 where boundary → entry takes longer at the first rate: p99=50us, p50=4us, max=1ms
    #[arg(long, value_name = "QUANTILE=TIME", value_parser = budget)]
    budget: Vec<Budget>,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct PipelineArgs {
    #[command(flatten)]
    market: Market,
    /// How long each step is measured
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    seconds: f64,
    /// The highest rate that is tried, times as fast as recorded
    #[arg(long, default_value_t = 64.0, value_name = "R")]
    up_to: f64,
}

/// A limit of a percentile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Budget {
    quantile: String,
    ns: u64,
}

fn budget(text: &str) -> Result<Budget, String> {
    let wrong =
        || format!("`{text}` is no budget: p50, p90, p99, p99.9 or max, `=`, and a time: 50us, 1.5ms, 800ns");
    let (quantile, limit) = text.split_once('=').ok_or_else(wrong)?;
    Figure::default().quantile(quantile).ok_or_else(wrong)?;
    let units = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let (number, unit) =
        units.iter().find_map(|(u, ns)| Some((limit.strip_suffix(u)?, ns))).ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    if !(number > 0.0 && number.is_finite()) {
        return Err(wrong());
    }
    Ok(Budget { quantile: quantile.to_owned(), ns: (number * unit) as u64 })
}

/// The machine, and this program.
pub fn machine(clock: &Clock) -> Machine {
    Machine::read((env!("DOLPHIN_COMMIT"), env!("DOLPHIN_RUSTC")), clock)
}

impl Market {
    fn check(&self, seconds: f64, rates: &[f64]) -> Result<(), Failure> {
        if !(2..=400).contains(&self.symbols) {
            return Err(Failure::usage(format!("--symbols {}: 2 to 400", self.symbols)));
        }
        if !(seconds > 0.0 && seconds <= LONGEST) {
            return Err(Failure::usage(format!("--seconds {seconds}: more than 0, at most {LONGEST}")));
        }
        match rates.iter().find(|r| !(**r >= 0.01 && **r <= 1000.0)) {
            Some(rate) => Err(Failure::usage(format!("--rates {rate}: each from 0.01 to 1000"))),
            None => Ok(()),
        }
    }

    fn source(&self) -> Result<Source, Failure> {
        if !self.recording.is_empty() {
            return Source::recorded(&self.recording).map_err(Failure::input);
        }
        let shared = std::env::var_os("DOLPHIN_SHARED").map(PathBuf::from);
        let recordings = shared.map(|s| s.join("data/recordings"));
        let entries = recordings.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
        let is_market = |path: &PathBuf| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("usdm_")
        };
        let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(is_market).collect();
        files.sort();
        if files.is_empty() {
            return Ok(Source::generated(GENERATED));
        }
        Source::recorded(&files).map_err(Failure::input)
    }
}

/// A directory that goes with the run.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one after the other.
struct Bench<'a> {
    market: &'a Market,
    source: Arc<Source>,
    clock: Clock,
    scratch: Scratch,
    report: Report,
    /// What the node publishes and who serves it, where it is to be watched.
    served: Option<(Arc<Published>, Server)>,
}

impl<'a> Bench<'a> {
    fn new(name: &str, market: &'a Market) -> Result<Self, Failure> {
        let clock = Clock::new();
        let source = Arc::new(market.source()?);
        let scratch = Scratch(Environment::system().scratch());
        let mut config = Config::parse(bench::run::CONFIG)
            .map_err(|e| Failure::usage(format!("the bench's configuration{e}")))?;
        let serve = |listen: &String| {
            config.telemetry.listen.clone_from(listen);
            crate::commands::serve(&config)
        };
        let served = market.listen.as_ref().map(serve).transpose()?;
        let cores = runtime::worker::cores_in_order(config.runtime.first_core);
        let hot = cores.first().copied();
        let floor = round_trips(ROUND_TRIPS, [hot, cores.get(1).copied()], &clock)
            .map_err(|e| Failure::unavailable(format!("the loopback cannot be measured: {e}")))?;
        let floor =
            Floor { round_trip: Figure::of(&floor), jitter: jitter(hot.unwrap_or(0), WATCHED, &clock) };
        let report = Report {
            bench: name.to_owned(),
            machine: machine(&clock),
            data: (source.name.clone(), source.digest.clone()),
            wire: market.wire,
            symbols: market.symbols,
            stride: config.market.stride(),
            param_hash: config.alpha.hash(),
            floor,
            ..Report::default()
        };
        Ok(Self { market, source, clock, scratch, report, served })
    }

    /// One run; its histograms where they are wanted.
    fn run(&mut self, rate: f64, seconds: f64) -> Result<bench::ways::Ways, Failure> {
        let Market { symbols, wire, cold, .. } = *self.market;
        eprintln!("{symbols} symbols at ×{rate} for {seconds} s …");
        let setting = Setting {
            symbols,
            wire,
            seconds,
            cold,
            rate: (rate * 1000.0) as u64,
            scratch: self.scratch.0.clone(),
            published: self.served.as_ref().map(|(published, _)| Arc::clone(published)),
        };
        let raw = run_once(&setting, &self.source, &self.clock).map_err(Failure::unavailable)?;
        let ways = ways(&raw);
        self.report.placed.clone_from(&raw.placed);
        self.report.runs.push(RunReport::of(&raw, &ways, rate));
        Ok(ways)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::input(format!("{}: {e}", path.display())))
}

/// Runs it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    args.market.check(args.seconds, &args.rates)?;
    // A file that cannot be written is known before the run.
    for path in [&args.html, &args.hlog].into_iter().flatten() {
        write(path, "")?;
    }
    let mut bench = Bench::new("tick-to-order", &args.market)?;
    let mut first = None;
    for rate in &args.rates {
        let ways = bench.run(*rate, args.seconds)?;
        first.get_or_insert(ways);
    }
    let report = &bench.report;
    if json {
        crate::commands::print_json(report)?;
    } else {
        print!("{}", report.text());
    }
    if let Some(path) = &args.html {
        write(path, &html::page(report))?;
    }
    if let (Some(path), Some(ways)) = (&args.hlog, &first) {
        write(path, &bench::hlog::text(ways, args.seconds))?;
    }
    judge(report, &args.budget)
}

/// Is every budget kept?
fn judge(report: &Report, budgets: &[Budget]) -> Result<(), Failure> {
    let none = Figure::default();
    let figure = report.headline().unwrap_or(&none);
    for Budget { quantile, ns } in budgets {
        if figure.n == 0 {
            return Err(Failure::answer_no(
                "no entry was measured: the budget cannot be judged; run it longer",
            ));
        }
        let value = figure.quantile(quantile).unwrap_or(u64::MAX);
        if value > *ns {
            let (value, limit) = (time(value), time(*ns));
            return Err(Failure::answer_no(format!(
                "boundary → entry, {quantile}: {value}, over the budget of {limit}"
            )));
        }
    }
    Ok(())
}

/// Doubles the rate until it is not kept.
pub fn pipeline(args: &PipelineArgs, json: bool) -> Result<(), Failure> {
    args.market.check(args.seconds, &[args.up_to])?;
    let mut bench = Bench::new("pipeline", &args.market)?;
    let mut rate = 1.0;
    while rate <= args.up_to {
        drop(bench.run(rate, args.seconds)?);
        if bench.report.saturation().is_some() {
            break;
        }
        rate *= 2.0;
    }
    let report = &bench.report;
    if json {
        return crate::commands::print_json(report);
    }
    print!("{}", report.machine.text());
    println!("{:>6}{:>12}{:>12}{:>14}{:>14}  kept", "rate", "frames/s", "ticks", "venue late p50", "p99");
    for r in &report.runs {
        println!(
            "{:>6}{:>12.0}{:>12}{:>14}{:>14}  {}",
            format!("×{}", r.rate),
            r.frames_per_s,
            format!("{}/{}", r.ticks, r.ticks_expected),
            time(r.venue_late.p50),
            time(r.venue_late.p99),
            r.saturated.as_deref().unwrap_or("yes")
        );
    }
    let kept =
        report.runs.iter().filter(|r| r.saturated.is_none()).map(|r| r.frames_per_s).fold(0.0, f64::max);
    println!("{} symbols, {kept:.0} frames/s kept through the whole path", report.symbols);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_with_their_units() {
        let of = |text: &str| budget(text).map(|b| (b.quantile, b.ns));
        assert_eq!(of("p99=50us"), Ok(("p99".to_owned(), 50_000)));
        assert_eq!(of("p99.9=1.5ms"), Ok(("p99.9".to_owned(), 1_500_000)));
        assert_eq!(of("max=800ns"), Ok(("max".to_owned(), 800)));
        for wrong in ["p99", "p98=1us", "p99=us", "p99=-1us", "p99=1", "=1us", "p99=NaNus"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_budget_is_kept_missed_or_cannot_be_judged() {
        let mut report = Report::default();
        let limit = [Budget { quantile: "p99".to_owned(), ns: 100 }];
        assert!(judge(&report, &[]).is_ok());
        assert_eq!(judge(&report, &limit).unwrap_err().exit, 1);
        let mut run = RunReport::default();
        let path = run.paths.entry("entry".to_owned()).or_default();
        path.within = Figure { n: 10, p99: 100, ..Figure::default() };
        report.runs.push(run.clone());
        assert!(judge(&report, &limit).is_ok());
        run.paths.entry("entry".to_owned()).or_default().within.p99 = 101;
        report.runs = vec![run];
        assert_eq!(judge(&report, &limit).unwrap_err().exit, 1);
    }
}
