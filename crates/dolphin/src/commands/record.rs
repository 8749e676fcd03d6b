//! `dolphin record`: the public market of a venue into recordings (SPEC §2.4).

use std::path::PathBuf;
use std::sync::Arc;

use market::text::counted;
use node::config::Config;
use node::environment::Environment;
use node::error::Failure;
use node::preflight;
use node::roles::public_rest;

use super::live;
use crate::from_journal;
use crate::recorder::{Kind, Order, Recorded, Recorder};

/// Market recordings from any venue, without a key
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dolphin record --symbols BTCUSDT,ETHUSDT --venue testnet --out market.zst --seconds 3600\n  \
dolphin record --config configs/blue.yml --out market.zst\n  dolphin record --from-journal DIR --out market.zst\n\n\
Lines of receive time (ns), a blank and the frame; gzip or zstd by the file's ending, else plain text. FILE holds the newest \
part; full parts, those of earlier days and those of an earlier run stand beside it under a number. Ctrl-C ends it with the \
file whole. features, venue --recording and demo --recording read it."
)]
pub struct Args {
    /// Make the recording of the market frames in a node's journal (`journal: content: frames`) instead
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["symbols", "config", "venue", "streams", "seconds", "part_mb"])]
    from_journal: Option<PathBuf>,
    /// With --from-journal: replace the file if it is there
    #[arg(long, requires = "from_journal")]
    force: bool,
    /// Symbols [default: those that the configuration follows]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Configuration: its venue, and its symbols where none are named
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// testnet, mainnet, or host:port of a local venue [default: the configuration's, else testnet]
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    /// What to record
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Depth, Kind::AggTrade, Kind::BookTicker, Kind::MarkPrice])]
    streams: Vec<Kind>,
    /// File to write: .gz, .zst, or plain text
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// End after this long [default: until Ctrl-C]
    #[arg(long, value_name = "S", value_parser = positive)]
    seconds: Option<f64>,
    /// Size of a part before compression, MB; 0: a part a day
    #[arg(long, value_name = "MB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(0..=1_048_576))]
    part_mb: u64,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > 0.0 => Ok(seconds),
        _ => Err("a number of seconds above 0".to_owned()),
    }
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    if let Some(journal) = &args.from_journal {
        super::refuse_existing(&args.out, args.force)?;
        return tell(&from_journal::record(journal, &args.out)?, args.json);
    }
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    if !args.symbols.is_empty() {
        config.market.symbols = args.symbols.iter().map(|s| s.trim().to_uppercase()).collect();
    }
    let venue = live::market_of(&config, args.venue.as_deref())?;
    let hosts = live::hosts(&config, &venue)?;
    let environment = Environment::system();
    let stop = super::on_signal()?;
    let rest = Arc::new(public_rest(&hosts, &environment)?);
    let runtime = crate::paper::current_thread()?;
    let recorded = runtime.block_on(async {
        rest.sync_clock(1).await.map_err(|e| preflight::rest_error(&e))?;
        let instruments = preflight::instruments(&config, &rest, None)
            .await
            .map_err(|e| preflight::rest_error(&e))?
            .instruments;
        eprintln!(
            "recording {} of {} ({}) into {}; Ctrl-C ends it",
            counted(instruments.len(), "symbol"),
            venue.name(),
            hosts.rest,
            args.out.display()
        );
        let order = Order {
            hosts,
            instruments,
            kinds: args.streams,
            out: args.out,
            most_bytes: args.part_mb << 20,
            seconds: args.seconds,
        };
        let mut progress = Progress::default();
        Recorder::start(order, environment)?.run(rest, &stop, |now| progress.tell(now)).await
    })?;
    tell(&recorded, args.json)
}

fn tell(recorded: &Recorded, json: bool) -> Result<(), Failure> {
    if json {
        return super::print_json(recorded);
    }
    eprintln!("{}", text(recorded));
    for file in &recorded.files {
        println!("{}", file.display());
    }
    Ok(())
}

/// A line every ten seconds.
#[derive(Default)]
struct Progress {
    at: f64,
    lines: u64,
}

impl Progress {
    const EVERY: f64 = 10.0;

    fn tell(&mut self, now: &Recorded) {
        if now.seconds - self.at < Self::EVERY {
            return;
        }
        let rate = (now.lines - self.lines) as f64 / (now.seconds - self.at);
        (self.at, self.lines) = (now.seconds, now.lines);
        eprintln!("{}, {rate:.0} frames/s", text(now));
    }
}

fn text(r: &Recorded) -> String {
    format!(
        "{:.0} s: {} of {}, {:.1} MB before compression, {}, {}",
        r.seconds,
        counted(r.lines, "frame"),
        counted(r.symbols, "symbol"),
        r.bytes as f64 / f64::from(1 << 20),
        counted(r.snapshots, "snapshot"),
        counted(r.gaps, "gap")
    )
}
