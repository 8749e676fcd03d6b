//! `dolphin replay`: day files to trades and a report, or a grid of parameters over them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::replay::controls::Controls;
use ::replay::days::{Observer, Progress, ReplayConfig, Run, run as run_days};
use ::replay::output::{Earlier, Staging};
use ::replay::report::Provenance;
use ::replay::summary::Summary;
use ::replay::sweep::{Axis, set, sweep};
use alpha::params::CHAMPION;
use archive::day::AssetColumns;
use indicatif::{ProgressBar, ProgressStyle};
use market::Date;
use market::text::{counted, fixed, signed};

use node::config::Config;
use node::error::Failure;
use node::journal::replay::Within;

use super::replay_error;

/// Which days, and with which parameters: what `replay` and `parity` have in common.
#[derive(Debug, clap::Args)]
pub struct DayArgs {
    /// Configuration; with --journal: another one than the journal's, what would have been decided under it
    #[arg(long, value_name = "FILE", required_unless_present = "journal")]
    pub config: Option<PathBuf>,
    /// Directory of day files (YYYY-MM-DD.parquet, or scan files), or one day file
    #[arg(long, value_name = "DIR", required_unless_present = "journal")]
    pub data: Option<PathBuf>,
    /// A node's journal, or one segment of it, instead of day files
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["data", "from", "to", "posture_file", "acb_file", "factors_file", "assets"])]
    pub journal: Option<PathBuf>,
    /// First date, inclusive
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,
    /// Last date, inclusive
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
    /// JSON {"YYYY-MM-DD": {"posture": "TURTLE", "Rm": 0.6}}; other dates are APEX
    #[arg(long, value_name = "FILE")]
    pub posture_file: Option<PathBuf>,
    /// JSON [{"date": D, "bar": i, "boost": b, "beta": b}], each applied at the top of that bar
    #[arg(long, value_name = "FILE")]
    pub acb_file: Option<PathBuf>,
    /// JSON {"YYYY-MM-DD": count of external risk factors}
    #[arg(long, value_name = "FILE")]
    pub factors_file: Option<PathBuf>,
    /// Set a parameter, or `direction`; a frozen one turns the profile into `custom`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// These columns are the assets [default: those whose name is a symbol of the reference's quote]
    #[arg(long, value_name = "A,B", value_parser = AssetColumns::named)]
    pub assets: Option<AssetColumns>,
    /// Rows a bar: 50 for ticks of 100 ms and bars of 5 s, as `dolphin journal export --day-files` writes them
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub stride: u32,
    /// Threads [default: all cores]; changes no result
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Day files to trades: trades.jsonl, trades.parquet, days.jsonl, summary.json, report.html
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dolphin replay --config configs/blue.yml --data days --out out
  dolphin replay --config configs/blue.yml --data days --json
  dolphin replay --journal DIR
  dolphin replay --journal DIR --set vel_div_threshold=-0.03
  dolphin replay --config configs/blue.yml --data days --sweep fixed_tp_pct=0.005,0.0095 --sweep fraction=0.1,0.2")]
pub struct Args {
    #[command(flatten)]
    days: DayArgs,
    /// Directory for the results, complete or not at all; one that holds those of an earlier run is refused. Without it
    /// nothing is written
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Replace the results of an earlier run in --out
    #[arg(long, requires = "out")]
    force: bool,
    /// A grid instead of a single run: one table, no files but --out as .csv or .json
    #[arg(long, value_name = "KEY=A,B,C")]
    sweep: Vec<String>,
    /// Of a journal: only up to this time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", requires = "journal", value_parser = super::journal::parse_time)]
    until: Option<u64>,
    /// Of a journal: only from the newest state before this time on; what was before it is not read
    #[arg(long, value_name = "TIME", requires = "journal", value_parser = super::journal::parse_time)]
    from_snapshot: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { days, out, force, sweep, until, from_snapshot, json } = args;
    if let Some(journal) = &days.journal {
        if out.is_some() || !sweep.is_empty() {
            return Err(Failure::usage(
                "--out and --sweep are of day files; a journal is compared or supposed",
            ));
        }
        let within = Within { from: from_snapshot, until };
        if days.config.is_none() && days.settings.is_empty() {
            return super::redecide::compare(journal, within, json);
        }
        return super::redecide::suppose(journal, days.config.as_deref(), &days.settings, within, json);
    }
    let target = Target { out: out.as_deref(), force };
    let mut config = days.replay_config()?;
    let mut watch = Watch::new(super::on_signal()?, !json);
    if !sweep.is_empty() {
        return grid(&config, &sweep, target, json, &mut watch);
    }
    config.report = out.is_some();
    single(&days, &config, target, json, &mut watch)
}

/// Where the results go, and whether they may replace others.
#[derive(Clone, Copy)]
struct Target<'a> {
    out: Option<&'a Path>,
    force: bool,
}

fn single(
    days: &DayArgs,
    config: &ReplayConfig,
    Target { out, force }: Target<'_>,
    json: bool,
    watch: &mut Watch,
) -> Result<(), Failure> {
    let staging = out.map(|out| Staging::new(out, Earlier::forced(force))).transpose();
    let staging = staging.map_err(|e| replay_error(&e))?;
    let done = run_days(config, watch).map_err(|e| replay_error(&e))?;
    watch.finish();
    if let Some(staging) = staging {
        let origin = Provenance {
            live: serde_json::Value::Null,
            config: days.config.as_ref().map(|c| c.display().to_string()).unwrap_or_default(),
            data: config.data.display().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        if let Some(replaced) = staging.commit(&done, &origin).map_err(|e| replay_error(&e))? {
            tracing::warn!("{replaced}");
        }
    }
    for note in &done.notes {
        tracing::warn!("{note}");
    }
    if json {
        return super::print_json(&Summary::of(&done));
    }
    print_run(&done);
    match out {
        Some(out) => println!("results: {}", out.display()),
        None => println!("nothing was written: --out DIR keeps trades, days, summary and report"),
    }
    Ok(())
}

fn print_run(run: &Run) {
    let percent = |x: f64| format!("{} %", signed(x * 100.0, 2));
    let or_none = |x: Option<f64>, digits: usize| x.map_or("–".to_owned(), |x| fixed(x, digits));
    let m = &run.metrics;
    println!(
        "{}, {}, {} in {:.2} s  ·  profile {}  ·  hash {}",
        counted(run.days.len(), "day"),
        counted(run.bars, "bar"),
        counted(m.trades, "trade"),
        run.elapsed.as_secs_f64(),
        run.params.profile,
        &run.param_hash[..12]
    );
    println!(
        "ROI {}  ·  profit factor {}  ·  Sharpe {}  ·  max drawdown {} %  ·  win rate {}  ·  capital {:.2}",
        percent(m.roi),
        or_none(m.profit_factor, 3),
        or_none(m.sharpe, 2),
        fixed(m.max_drawdown * 100.0, 2),
        m.win_rate.map_or("–".to_owned(), |w| format!("{:.1} %", w * 100.0)),
        run.final_capital
    );
    if let Some(p) = &run.open_position {
        println!("still open: {} {} from {} bar {}", p.symbol, p.direction, p.entry_date, p.entry_bar);
    }
}

fn grid(
    config: &ReplayConfig,
    axes: &[String],
    Target { out, force }: Target<'_>,
    json: bool,
    watch: &mut Watch,
) -> Result<(), Failure> {
    if let Some(out) = out {
        if !matches!(out.extension().and_then(|e| e.to_str()), Some("csv" | "json")) {
            return Err(Failure::usage("the --out of a sweep ends in .csv or .json"));
        }
        super::refuse_existing(out, force)?;
    }
    let axes = axes.iter().map(|text| text.parse::<Axis>()).collect::<Result<Vec<_>, _>>();
    let done = sweep(config, &axes.map_err(|e| replay_error(&e))?, watch).map_err(|e| replay_error(&e))?;
    watch.finish();
    for note in &done.notes {
        tracing::warn!("{note}");
    }
    if let Some(out) = out {
        let bytes = match out.extension().and_then(|e| e.to_str()) {
            Some("csv") => done.csv().into_bytes(),
            _ => serde_json::to_vec_pretty(&done).unwrap_or_default(),
        };
        std::fs::write(out, bytes).map_err(|e| Failure::unwritten(out, &e))?;
    }
    if json {
        return super::print_json(&done);
    }
    println!("{}", done.table());
    let n = counted(done.rows.len(), "combination");
    println!(
        "{n} × {} × {} in {:.2} s",
        counted(done.days, "day"),
        counted(done.bars, "bar"),
        done.elapsed_s
    );
    Ok(())
}

impl DayArgs {
    /// Reads the configuration and the control files.
    pub fn replay_config(&self) -> Result<ReplayConfig, Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(Failure::usage(format!("--from {from} lies after --to {to}: no day is in between")));
        }
        let (Some(file), Some(data)) = (&self.config, &self.data) else {
            return Err(Failure::usage("--config FILE and --data DIR are needed"));
        };
        let config = Config::load(file)?;
        let controls = Controls::read(
            self.posture_file.as_deref(),
            self.acb_file.as_deref(),
            self.factors_file.as_deref(),
        )
        .map_err(|e| replay_error(&e))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut replay = ReplayConfig {
            params: config.alpha,
            direction: config.direction.sign(),
            data: data.clone(),
            from: self.from,
            to: self.to,
            stride: self.stride,
            assets: self.assets.clone(),
            controls,
            threads: self.threads.map_or(cores, usize::from),
            report: false,
        };
        let was_champion = replay.params.profile == CHAMPION;
        for setting in &self.settings {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--set {setting}: write KEY=VALUE")))?;
            set(&mut replay, key.trim(), value).map_err(|e| Failure::usage(format!("--set: {e}")))?;
        }
        replay.params.verify().map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
        if was_champion && replay.params.profile != CHAMPION {
            tracing::warn!(
                "a frozen parameter was set: profile `{}`, hash {}",
                replay.params.profile,
                replay.params.hash()
            );
        }
        Ok(replay)
    }
}

/// Progress on stderr, and the end on a signal.
struct Watch {
    interrupted: Arc<AtomicBool>,
    bar: ProgressBar,
}

impl Watch {
    fn new(interrupted: Arc<AtomicBool>, visible: bool) -> Self {
        let bar = if visible { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} days {msg}") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { interrupted, bar }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Watch {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.bar.set_length(progress.of as u64);
        self.bar.set_position(progress.days as u64);
        self.bar.set_message(progress.date.to_string());
        if self.interrupted.load(Ordering::Relaxed) {
            self.finish();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
