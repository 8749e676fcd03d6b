//! `dolphin live`: the trading node.

use std::path::PathBuf;

use binance::hosts::{Hosts, Venue};
use binance::key::ApiKey;

use crate::config::{Config, MAINNET_LINE};
use crate::control::Orders;
use crate::error::CliError;
use crate::node::{self, History, Options};

/// The trading node
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin live --config configs/blue.yml --keys keys.toml --venue testnet\n\n\
Keys come from --keys, else from the systemd credential dolphin-keys.toml, else from the environment; see keys.example.toml.\n\
SIGTERM and Ctrl-C stop entries, cancel all working orders and exit 0."
)]
pub struct Args {
    /// Configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Key file, readable by you alone
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// testnet, mainnet, or host:port of a local venue [default: the configuration's, else testnet]
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    /// Trade real money; the configuration must say so too
    #[arg(long)]
    mainnet: bool,
    /// Day files (a directory) or one file to warm the histories with
    #[arg(long, value_name = "PATH")]
    warm_start: Option<PathBuf>,
    /// End after this long
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Close the position at the end (default: it stays, its orders are cancelled)
    #[arg(long)]
    flatten: bool,
    /// Pull the kill switch when this file appears
    #[arg(long, value_name = "FILE")]
    kill_file: Option<PathBuf>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), CliError> {
    let config = Config::load(&args.config)?;
    check_champion(&config)?;
    let venue = venue(&config, &args)?;
    let hosts = hosts(&config, &venue)?;
    let key = ApiKey::load(args.keys.as_deref(), venue.name()).map_err(|e| CliError::usage(e.to_string()))?;
    let history = args.warm_start.as_deref().map_or(Ok(History::default()), super::read_history)?;
    let signalled = super::on_signal()?;
    eprintln!(
        "venue {} ({}), key {}, profile {}",
        venue.name(),
        hosts.rest,
        key.fingerprint(),
        config.alpha.profile
    );
    let orders = Orders {
        seconds: args.seconds,
        flatten: args.flatten,
        kill_file: args.kill_file,
        private_path: String::new(),
        progress: !args.json,
        watch: None,
    };
    let summary =
        node::run(Options { config, key, venue, hosts, history, orders, signalled, guests: Vec::new() })?;
    if args.json {
        return super::print_json(&summary);
    }
    print!("{}", summary.text());
    Ok(())
}

/// The champion hash, checked at every start (SPEC §3.1).
fn check_champion(config: &Config) -> Result<(), CliError> {
    match config.alpha.verify() {
        Ok(_) => Ok(()),
        Err(drift) => Err(CliError::usage(format!("{}: {drift}", config.path.display()))),
    }
}

fn venue(config: &Config, args: &Args) -> Result<Venue, CliError> {
    let name = args.venue.as_deref().or(config.venue.name.as_deref()).unwrap_or("testnet");
    match (name, args.mainnet) {
        ("testnet", false) => Ok(Venue::Testnet),
        ("mainnet", true) if config.venue.mainnet.as_deref() == Some(MAINNET_LINE) => Ok(Venue::Mainnet),
        ("mainnet", true) => Err(CliError::usage(format!(
            "{}: mainnet needs the line `mainnet: {MAINNET_LINE}` under `venue:`",
            config.path.display()
        ))),
        ("mainnet", false) => Err(CliError::usage("mainnet trades real money: add --mainnet if you mean it")),
        (_, true) => Err(CliError::usage(format!("--mainnet contradicts the venue `{name}`"))),
        (local, false) => {
            let at = local.trim_start_matches("http://").trim_end_matches('/');
            if at.is_empty() || !at.contains(':') {
                return Err(CliError::usage(format!(
                    "`{local}` is no venue: testnet, mainnet, or host:port"
                )));
            }
            Ok(Venue::Local(at.to_owned()))
        }
    }
}

fn hosts(config: &Config, venue: &Venue) -> Result<Hosts, CliError> {
    let mut hosts = venue.hosts();
    let v = &config.venue;
    for (given, host) in [
        (&v.rest_url, &mut hosts.rest),
        (&v.public_url, &mut hosts.public),
        (&v.market_url, &mut hosts.market),
        (&v.private_url, &mut hosts.private),
        (&v.ws_api_url, &mut hosts.ws_api),
    ] {
        if let Some(url) = given {
            url.clone_into(host);
        }
    }
    venue.check(&hosts).map_err(|e| CliError::usage(e.to_string()))?;
    Ok(hosts)
}
