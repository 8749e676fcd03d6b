//! The command line: parsing, logging, exit codes. What a command does stands in [`crate::commands`].

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::commands;
use node::error::Failure;

#[derive(Parser)]
#[command(
    name = "dolphin",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DOLPHIN_COMMIT"), ", ", env!("DOLPHIN_TARGET"), ")"),
    about = "Live exchange connector and trading node for Binance USDⓈ-M perpetuals"
)]
#[command(
    after_help = "Exit codes: 0 done, 1 the answer is no, 2 usage or configuration, 3 input data, 4 venue, memory \
or disk unavailable.\nStart with: dolphin demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// What a command takes is said when it is the one that is given: all of them take half a millisecond of each start.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// No keys, no network: a local venue plays a market, the live pipeline trades on it
    Demo(commands::demo::Args),
    /// The trading node
    Live(commands::live::Args),
    /// Preflight: everything short of orders, a line each
    Check(commands::check::Args),
    /// Effective values and their origin, the JSON schema, differences
    Config(commands::config::Args),
    /// Pull the kill switch of a deployment
    Kill(commands::kill::Args),
    /// A running node: armed or why not, money, positions, data, latency
    Status(commands::status::Args),
    /// A running node on the terminal
    Top(commands::top::Args),
    /// Pages: to a webhook, Slack, Telegram
    Notify(commands::notify::Args),
    /// Let trading go on after a kill, or after something latched
    Rearm(commands::rearm::Args),
    /// Day files through the engine: trades, days, summary, report
    Replay(commands::replay::Args),
    /// Compare a replay with expected trades or a summary
    Parity(commands::parity::Args),
    /// Runs side by side
    Report(commands::report::Args),
    /// The local Binance-compatible exchange alone
    Venue(commands::venue::Args),
    /// Market recordings from any venue, without a key
    Record(commands::record::Args),
    /// What a node took in and decided: list, show, verify, export, trim, bundle
    Journal(commands::journal::Args),
    /// Order-book features of recordings, offline
    Features(commands::features::Args),
    /// Eigen scans of the prices of day files, offline
    Eigen(commands::eigen::Args),
    /// Look at system memory, or write to it
    Memory(commands::memory::Args),
    /// The daily run of a date: engine, memory, PnL log
    Supervise(commands::supervise::Args),
    /// The whole system on one seed: faults, invariants, the shortest failing list
    Sim(commands::sim::Args),
    /// Stages, links and layouts of the node
    Topology(commands::topology::Args),
    /// Throughput and latency, against a named peer in the same run
    Bench(commands::bench::Args),
    /// Completions for a shell, on standard output: `dolphin completions bash`
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Manual pages, one a command
    Man {
        /// Directory for them; made if it is not there
        #[arg(value_name = "DIR")]
        out: std::path::PathBuf,
    },
}

impl Command {
    /// Does it turn files into files and text, and nothing else? Then there is nobody in it whom a reader of stderr could hold
    /// up, and it does without a thread for that.
    fn of_files(&self) -> bool {
        use Command::{Config, Eigen, Features, Parity, Replay, Report, Topology};
        matches!(self, Replay(_) | Parity(_) | Report(_) | Features(_) | Eigen(_) | Config(_) | Topology(_))
    }
}

/// Parses, runs, and turns the result into the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if !cli.command.of_files() {
        runtime::console::start();
    }
    logging();
    let result = match cli.command {
        Command::Demo(args) => commands::demo::run(args),
        Command::Live(args) => commands::live::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Config(args) => commands::config::run(&args),
        Command::Kill(args) => commands::kill::run(args),
        Command::Status(args) => commands::status::run(&args),
        Command::Top(args) => commands::top::run(&args),
        Command::Notify(args) => commands::notify::run(&args),
        Command::Rearm(args) => commands::rearm::run(args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Parity(args) => commands::parity::run(args),
        Command::Report(args) => commands::report::run(&args),
        Command::Venue(args) => commands::venue::run(args),
        Command::Record(args) => commands::record::run(args),
        Command::Journal(args) => commands::journal::run(args),
        Command::Features(args) => commands::features::run(args),
        Command::Eigen(args) => commands::eigen::run(args),
        Command::Memory(args) => commands::memory::run(args),
        Command::Supervise(args) => commands::supervise::run(args),
        Command::Sim(args) => commands::sim::run(args),
        Command::Topology(args) => commands::topology::run(&args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Completions { shell } => {
            // In one piece: the generator panics where its reader goes away.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "dolphin", &mut script);
            print!("{}", String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Man { out } => manual(&out),
    };
    let code = match result {
        Ok(()) if crate::out::finish() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(UNWRITTEN),
        Err(Failure { exit, message }) => {
            eprintln!("dolphin: {message}");
            ExitCode::from(exit)
        }
    };
    runtime::console::flush(LAST_WORDS);
    code
}

/// What was asked for could not be written.
const UNWRITTEN: u8 = 4;
/// How long the reader of stderr has for what is left.
const LAST_WORDS: Duration = Duration::from_millis(500);

fn manual(out: &Path) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(out).and_then(|()| clap_mangen::generate_to(Cli::command(), out));
    written.map_err(|e| Failure::unwritten(out, &e))
}

/// Logs go to stderr; `DOLPHIN_LOG=debug` (or a filter by module) says more, `DOLPHIN_LOG_FORMAT=json` writes one JSON object
/// a line. Colour only on a terminal. The newest lines are kept for dashboard and terminal view.
fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DOLPHIN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,dolphin=info,node=info"));
    // Libraries that see requests and headers would tell keys and listen keys: they are never let below `info`.
    let capped = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tungstenite"];
    let filter = capped.iter().fold(filter, |filter, name| match format!("{name}=info").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    });
    let kept = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(crate::tail::Tail::default);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let json = std::env::var("DOLPHIN_LOG_FORMAT").is_ok_and(|format| format == "json");
    let shown = tracing_subscriber::fmt::layer().with_writer(|| runtime::console::Log).with_target(false);
    let shown = if json { shown.json().boxed() } else { shown.with_ansi(colour).boxed() };
    tracing_subscriber::registry().with(filter).with(shown).with(kept).init();
}
