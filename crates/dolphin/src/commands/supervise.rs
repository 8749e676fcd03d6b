//! `dolphin supervise`: the daily flows of SPEC §10. What they do stands in the crate `flows`.

use std::path::PathBuf;
use std::time::Duration;

use flows::Flow;
use flows::supervise::{Options, Report};
use market::text::{counted, signed};
use market::{Date, Nanos, utc_date};
use node::environment::Environment;
use node::error::Failure;

/// The daily run of a date: day file, engine, result to memory, PnL log
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dolphin supervise --config configs/blue.yml --data days
  dolphin supervise --config configs/blue.yml --data days --date 2021-04-10 --flow nautilus
  dolphin supervise --config configs/blue.yml --data days --date 2021-04-10 --dry-run

It may run twice for a date: the result is the same, and stands there once. Exit codes: 2 usage, configuration or drift,
3 the day is missing or broken, 4 memory is not reachable or a node holds the deployment's lease.")]
pub struct Args {
    /// Configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Directory of day files (YYYY-MM-DD.parquet, or scan files)
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Date [default: yesterday, UTC]
    #[arg(long, value_name = "DATE")]
    date: Option<Date>,
    /// paper (00:05 UTC) or nautilus (00:10 UTC)
    #[arg(long, default_value = "paper", value_name = "FLOW")]
    flow: Flow,
    /// Data and parameters only: memory and log are not touched
    #[arg(long)]
    dry_run: bool,
    /// The PnL log, a line a date and flow [default: pnl_<deployment>.jsonl in the state directory]
    #[arg(long, value_name = "FILE")]
    pnl_log: Option<PathBuf>,
    /// The venue of the configuration's node, where `live --venue` said another
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    /// Wait between the tries of a task, seconds
    #[arg(long, default_value_t = 30.0, value_name = "S")]
    retry_delay: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    if !(0.0..=3600.0).contains(&args.retry_delay) {
        return Err(Failure::usage(format!("--retry-delay {} is not within 0 to 3600 s", args.retry_delay)));
    }
    let environment = Environment::system();
    let pnl_log = match args.pnl_log {
        Some(path) => path,
        None if args.dry_run => PathBuf::new(),
        None => flows::log::default_path(&flows::load_config(&args.config)?)?,
    };
    let options = Options {
        config: args.config,
        data: args.data,
        date: args.date.map_or_else(|| yesterday(&environment), Ok)?,
        flow: args.flow,
        dry_run: args.dry_run,
        pnl_log,
        venue: args.venue,
        retry_delay: Duration::from_secs_f64(args.retry_delay),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start: {e}")))?;
    let done = runtime.block_on(flows::supervise::run(&options, &environment));
    // A run of the engine that passed its limit is not waited for.
    runtime.shutdown_background();
    let report = done?;
    for note in &report.notes {
        tracing::warn!("{note}");
    }
    if args.json {
        return super::print_json(&report);
    }
    println!("{}", text(&report));
    Ok(())
}

fn text(report: &Report) -> String {
    let Report { flow, date, bars, assets, .. } = report;
    let hash = &report.param_hash[..12];
    match &report.result {
        None => format!(
            "{} {date}: {}, {}, hash {hash}: data and parameters are good; nothing was run",
            flow.name(),
            counted(*bars, "bar"),
            counted(*assets, "asset")
        ),
        Some(r) => format!(
            "{} {date}: {}, pnl {}, capital {:.2} (from {:.2}, {}), {} · {}, hash {hash}",
            flow.name(),
            counted(r.trades, "trade"),
            signed(r.pnl, 2),
            r.capital,
            report.start_capital,
            report.restored,
            r.posture,
            counted(r.bars, "bar")
        ),
    }
}

fn yesterday(environment: &Environment) -> Result<Date, Failure> {
    let today = utc_date(Nanos(environment.clock.wall_ns()));
    today.yesterday().map_err(|e| Failure::usage(format!("the clock: {e}; name the date by --date")))
}
