//! `dolphin demo`: a local venue plays a market, the live path trades on it over loopback sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use binance::hosts::Venue as VenueName;
use binance::key::ApiKey;
use venue::{AccountConfig, Venue, VenueConfig, VenueHandle};

use market::text::counted;
use node::config::Config;
use node::control::Orders;
use node::environment::Environment;
use node::error::Failure;
use node::live::{self, History, Options};
use node::roles::Role;

/// The configuration that the demo runs with unless told otherwise.
const DEMO: &str = include_str!("../../../../configs/demo.yml");
/// Key of the demo's account at the local venue; it opens nothing else.
const KEY: (&str, &str) = ("demo", "demo-secret-of-the-local-venue");
/// Round trips that a demo of full length must show.
const MUST_SHOW: usize = 5;
/// From this length on.
const FULL_LENGTH_S: f64 = 45.0;

/// No keys, no network: a local venue plays a market, the live pipeline trades on it
#[derive(clap::Args)]
#[command(after_help = "Example: dolphin demo --seconds 45 --json")]
pub struct Args {
    /// Play these recordings instead of simulated symbols of the same names (the rest is simulated beside them)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    recording: Vec<PathBuf>,
    /// Configuration [default: configs/demo.yml, built in]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long it runs
    #[arg(long, default_value_t = FULL_LENGTH_S, value_name = "S")]
    seconds: f64,
    /// Seed of the simulated market
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Simulated symbols
    #[arg(long, default_value_t = 48, value_name = "N")]
    symbols: usize,
    /// Port of the local venue [default: any free one]
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write the session's files here: trades, fills, orders, gates, summary, report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace the files of an earlier run in --out
    #[arg(long, requires = "out")]
    force: bool,
    /// Where the dashboard listens, or off [default: the configuration's telemetry.listen, else any free port]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    if !(args.seconds.is_finite() && args.seconds > 0.0) {
        return Err(Failure::usage(format!("--seconds {} is no length of time", args.seconds)));
    }
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::parse(DEMO).map_err(|e| Failure::usage(format!("configs/demo.yml{e}")))?,
    };
    listen(&args, &mut config);
    // All that the venue has, unless a file wants fewer.
    let most = if args.config.is_some() { config.market.max_symbols } else { args.symbols };
    config.market.max_symbols = most.min(args.symbols);
    let staging = crate::session::prepare(args.out.as_deref(), args.force)?;
    let signalled = super::on_signals()?;
    let venue = start_venue(&args, &config)?;
    let name = VenueName::Local(venue.addr().to_string());
    let key = ApiKey::hmac(KEY.0, KEY.1).map_err(|e| Failure::usage(e.to_string()))?;
    let history = history(&venue, &config);
    let progress = !args.json;
    if progress {
        eprintln!(
            "venue on {}, {}; trading for {} s (Ctrl-C ends it in good order)",
            venue.http(),
            counted(args.symbols, "symbol"),
            args.seconds
        );
    }
    let session_config = config.clone();
    let (published, server) = super::serve(&config)?;
    let orders = Orders {
        seconds: Some(args.seconds),
        flatten: true,
        kill_file: None,
        private_path: String::new(),
        progress,
        watch: None,
    };
    let options = Options {
        role: Role::All,
        hosts: name.hosts(),
        venue: name,
        config,
        key,
        history,
        forewarner: None,
        orders,
        signalled,
        extra_stages: Vec::new(),
        published: Some(published),
    };
    let summary = live::run(options, &Environment::system())?;
    drop(server);
    venue.stop();
    super::tell(args.json, &summary)?;
    super::leave(args.out.as_deref(), staging, &session_config, &summary)?;
    let in_full = summary.ended_by == "its time" && args.seconds >= FULL_LENGTH_S;
    if in_full && summary.round_trips < MUST_SHOW {
        let n = summary.round_trips;
        return Err(Failure::answer_no(format!(
            "only {}: the demo should show {MUST_SHOW}; look at the gates above",
            counted(n, "round trip")
        )));
    }
    Ok(())
}

/// Where the dashboard listens: two demos may run side by side.
fn listen(args: &Args, config: &mut Config) {
    match (&args.listen, &args.config) {
        (Some(listen), _) => config.telemetry.listen.clone_from(listen),
        (None, None) => "127.0.0.1:0".clone_into(&mut config.telemetry.listen),
        (None, Some(_)) => {}
    }
}

fn start_venue(args: &Args, config: &Config) -> Result<VenueHandle, Failure> {
    let config = VenueConfig {
        commission: crate::paper::commission(config.venue.commission),
        listen: SocketAddr::from(([127, 0, 0, 1], args.port)),
        seed: args.seed,
        symbols: args.symbols,
        recordings: args.recording.clone(),
        accounts: vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)],
        ..VenueConfig::default()
    };
    Venue::start(config).map_err(|e| super::venue_error(&e))
}

/// The bars that led to the opening prices: the longest window and a margin.
fn history(venue: &VenueHandle, config: &Config) -> History {
    let bars = alpha::eigen::WINDOWS[3] + 150;
    let preroll = venue.preroll(bars, Duration::from_millis(config.market.bar_ms));
    History { symbols: preroll.symbols, bars: preroll.rows }
}
