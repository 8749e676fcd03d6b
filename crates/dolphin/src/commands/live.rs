//! `dolphin live`: the trading node.

use std::io::IsTerminal;
use std::path::PathBuf;

use binance::hosts::{Hosts, Venue};
use binance::key::{ApiKey, KeySource};

use crate::paper::{self, Paper};
use node::config::{Backend, Config, MAINNET_LINE};
use node::control::Orders;
use node::environment::Environment;
use node::error::Failure;
use node::live::LEFT_UNKNOWN;
use node::live::{History, Options};
use node::role::{Role, Share};
use node::roles::ingest;
use node::summary::Summary;

/// The trading node
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin live --config configs/blue.yml --keys keys.toml --venue testnet\n\n\
Keys come from --keys, else from the systemd credential dolphin-keys.toml, else from the environment; see keys.example.toml.\n\
With --paper the market is the venue's and the fills are simulated here: no key, no order leaves this machine.\n\
Ctrl-C, SIGTERM and a closed terminal stop entries, cancel all working orders and exit 0, within 5 s and what the venue\n\
needs; a second one shortens the wait and leaves no order either. dolphin kill does so from elsewhere."
)]
pub struct Args {
    #[command(flatten)]
    at: Where,
    /// Key file, readable by you alone
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Real market data, simulated fills: needs no keys, sends no order to the venue; with --keys the fills pay that
    /// account's commissions
    #[arg(long)]
    paper: bool,
    /// Day files (a directory) or one file to warm the histories with
    #[arg(long, value_name = "PATH")]
    warm_start: Option<PathBuf>,
    /// End after this long
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Close the position at the end (default: it stays, its orders are cancelled)
    #[arg(long)]
    flatten: bool,
    /// Pull the kill switch when this file appears [default: runtime.kill_file, else the configuration's name and .kill]
    #[arg(long, value_name = "FILE")]
    kill_file: Option<PathBuf>,
    /// all: everything on one machine; ingest: feed and books of a share of the symbols, into system memory, without
    /// keys; alpha: engine and orders on what memory holds, one active, the others standing by
    #[arg(long, value_parser = parse_role, default_value = "all", value_name = "all|ingest|alpha")]
    role: Role,
    /// Symbols of an ingest node
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', conflicts_with = "share")]
    symbols: Vec<String>,
    /// Share of an ingest node: the I-th of N
    #[arg(long, value_name = "I/N")]
    share: Option<String>,
    /// The whole pipeline, and nothing that changes the account: no order, no cancel, no countdown
    #[arg(long, conflicts_with = "paper")]
    dry_run: bool,
    /// Trade real money without being asked for it: the fingerprint of the key
    #[arg(long, value_name = "FINGERPRINT")]
    i_understand: Option<String>,
    /// Write the session's files here: trades, fills, orders, gates, summary, report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace the files of an earlier run in --out
    #[arg(long, requires = "out")]
    force: bool,
    /// Where dashboard and metrics listen, or off [default: the configuration's telemetry.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// Which configuration at which venue.
#[derive(clap::Args)]
pub struct Where {
    /// Configuration
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// testnet, mainnet, or host:port of a local venue [default: the configuration's, else testnet]
    #[arg(long, value_name = "VENUE")]
    pub(super) venue: Option<String>,
    /// Trade real money; the configuration must say so too
    #[arg(long)]
    pub(super) mainnet: bool,
}

/// What a newcomer sees second.
const NEXT: &str = "next, within seconds: symbols and filters are read, the account is compared with the venue, the books \
are joined; from then on a line every 5 s says ARMED, or what keeps it from trading and for how long\n\
Ctrl-C ends it in good order; `dolphin top` shows more, `dolphin status` every closed gate and what reopens it";

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut config = Config::load(&args.at.config)?;
    check_champion(&config)?;
    if let Some(listen) = &args.listen {
        config.telemetry.listen.clone_from(listen);
    }
    let venue = venue(&config, &args.at, args.paper)?;
    let hosts = hosts(&config, &venue)?;
    let share = Share::parse(&args.symbols, args.share.as_deref()).map_err(Failure::usage)?;
    if args.role != Role::All && args.paper {
        return Err(Failure::usage("--paper simulates the fills of a whole node: it belongs to --role all"));
    }
    if args.role == Role::Ingest {
        return ingest(config, venue, hosts, share, &args);
    }
    if share != Share::Whole {
        return Err(Failure::usage("--symbols and --share belong to --role ingest"));
    }
    if args.role == Role::Alpha {
        // The ingest nodes write the shards.
        config.memory.features_every_ms = 0;
    }
    crate::secrets::harden();
    let key = if args.paper { Paper::key()? } else { key(&args, &venue)? };
    confirm(&args, &venue, &key)?;
    config.runtime.dry_run = args.dry_run;
    let history = match &args.warm_start {
        Some(path) => super::read_history(path, &config.alpha.reference_symbol)?,
        None => History::default(),
    };
    let staging = crate::session::prepare(args.out.as_deref(), args.force)?;
    let signalled = super::on_signals()?;
    let named = format!("{} ({})", venue.name(), hosts.rest);
    announce(&args, &named, &who(&args, &key), &config.alpha.profile);
    let environment = Environment::system();
    let paper = if args.paper { Some(paper(&args, &config, &venue, &hosts, &environment)?) } else { None };
    let (venue, hosts) = match &paper {
        Some(paper) => {
            // Paper profits are no state of the real account: what is remembered ends with the run.
            config.memory.backend = Backend::Embedded;
            config.memory.path = None;
            (paper.name(), paper.name().hosts())
        }
        None => (venue, hosts),
    };
    let session_config = config.clone();
    let (published, server) = super::serve(&config)?;
    let orders = orders(&args, &config);
    let forewarner = super::forewarner(&config);
    let options = Options {
        role: args.role,
        config,
        key,
        venue,
        hosts,
        history,
        forewarner,
        orders,
        signalled,
        extra_stages: Vec::new(),
        published: Some(published),
    };
    let mut summary = node::live::run(options, &environment)?;
    drop(server);
    if let Some(paper) = paper {
        drop(paper);
        summary.venue = format!("paper: fills simulated here on the market of {named}");
    }
    super::tell(args.json, &summary)?;
    super::leave(args.out.as_deref(), staging, &session_config, &summary)?;
    is_known(&summary)
}

/// A run of which nobody knows what it has left at the venue is not done.
fn is_known(summary: &Summary) -> Result<(), Failure> {
    match summary.alerts.contains_key(LEFT_UNKNOWN) {
        true => Err(Failure::unavailable(
            "the venue could not be asked what is left: look there, or order `dolphin kill` once it answers",
        )),
        false => Ok(()),
    }
}

/// The first lines: what it is, and what comes next.
fn announce(args: &Args, venue: &str, who: &str, profile: &str) {
    eprintln!("venue {venue}, {who}, profile {profile}");
    if !args.json {
        eprintln!("{NEXT}");
    }
}

/// How the run ends.
fn orders(args: &Args, config: &Config) -> Orders {
    Orders {
        seconds: args.seconds,
        flatten: args.flatten,
        kill_file: Some(args.kill_file.clone().unwrap_or_else(|| config.kill_file())),
        private_path: String::new(),
        progress: !args.json,
        watch: None,
    }
}

/// Who trades, for the first line.
fn who(args: &Args, key: &ApiKey) -> String {
    let who = match (args.paper, &args.keys) {
        (false, _) => format!("key {}", key.fingerprint()),
        (true, None) => "PAPER, no key".to_owned(),
        (true, Some(_)) => "PAPER, commissions of the key's account".to_owned(),
    };
    if args.dry_run { format!("{who}, DRY RUN") } else { who }
}

/// The paper venue, with the commissions of the account where a key is named.
fn paper(
    args: &Args,
    config: &Config,
    venue: &Venue,
    hosts: &Hosts,
    environment: &Environment,
) -> Result<Paper, Failure> {
    let rates = match args.keys {
        Some(_) => paper::account_rates(&key(args, venue)?, config, hosts, environment)?,
        None => config.venue.commission,
    };
    Paper::start(config, hosts, rates, environment)
}

/// An ingest node (SPEC §9): no key, no orders.
fn ingest(config: Config, venue: Venue, hosts: Hosts, share: Share, args: &Args) -> Result<(), Failure> {
    let (published, server) = super::serve(&config)?;
    let options = ingest::Options {
        config,
        venue,
        hosts,
        share,
        seconds: args.seconds,
        progress: !args.json,
        signalled: super::on_signals()?,
        published: Some(published),
    };
    let summary = ingest::run(options, &Environment::system())?;
    drop(server);
    if args.json {
        return super::print_json(&summary);
    }
    print!("{}", summary.text());
    Ok(())
}

fn key(args: &Args, venue: &Venue) -> Result<ApiKey, Failure> {
    let found = ApiKey::load(args.keys.as_deref(), venue.name());
    let (key, source) = found.map_err(|e| Failure::usage(e.to_string()))?;
    if source == KeySource::Environment {
        tracing::warn!(
            "the key comes from the environment, which every child process inherits: better --keys FILE (0600)"
        );
    }
    Ok(key)
}

/// Real money is traded by the account that was meant: its key's fingerprint is typed, or given.
fn confirm(args: &Args, venue: &Venue, key: &ApiKey) -> Result<(), Failure> {
    if *venue != Venue::Mainnet || args.paper || args.dry_run {
        return Ok(());
    }
    let fingerprint = key.fingerprint();
    let typed = match &args.i_understand {
        Some(given) => given.clone(),
        None if std::io::stdin().is_terminal() => {
            eprint!("MAINNET: real money. Type the fingerprint of the key, {fingerprint}, to go on: ");
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|e| Failure::usage(format!("cannot read the fingerprint: {e}")))?;
            line
        }
        None => {
            return Err(Failure::usage(
                "mainnet trades real money: without a terminal to ask, say which account by --i-understand and the \
                 fingerprint of its key (`dolphin check` shows it)",
            ));
        }
    };
    if typed.trim() != fingerprint {
        return Err(Failure::usage(format!(
            "`{}` is not the fingerprint of this key, {fingerprint}: nothing was sent",
            typed.trim()
        )));
    }
    Ok(())
}

/// The champion hash, checked at every start (SPEC §3.1).
fn check_champion(config: &Config) -> Result<(), Failure> {
    match config.alpha.verify() {
        Ok(_) => Ok(()),
        Err(drift) => Err(Failure::usage(format!("{}: {drift}", config.path.display()))),
    }
}

/// Which venue is meant. Paper trading reads the mainnet's market without asking twice.
pub(super) fn venue(config: &Config, at: &Where, paper: bool) -> Result<Venue, Failure> {
    let name = at.venue.as_deref().or(config.venue.name.as_deref()).unwrap_or("testnet");
    match (name, at.mainnet) {
        ("mainnet", _) if paper => Ok(Venue::Mainnet),
        ("testnet", false) => Ok(Venue::Testnet),
        ("mainnet", true) if config.venue.mainnet.as_deref() == Some(MAINNET_LINE) => Ok(Venue::Mainnet),
        ("mainnet", true) => Err(Failure::usage(format!(
            "{}: mainnet needs the line `mainnet: {MAINNET_LINE}` under `venue:`",
            config.path.display()
        ))),
        ("mainnet", false) => Err(Failure::usage("mainnet trades real money: add --mainnet if you mean it")),
        (_, true) => Err(Failure::usage(format!("--mainnet contradicts the venue `{name}`"))),
        (local, false) => local_venue(local),
    }
}

/// Whose market is only listened to: that needs no leave.
pub(super) fn market_of(config: &Config, named: Option<&str>) -> Result<Venue, Failure> {
    match named.or(config.venue.name.as_deref()).unwrap_or("testnet") {
        "mainnet" => Ok(Venue::Mainnet),
        "testnet" => Ok(Venue::Testnet),
        local => local_venue(local),
    }
}

fn local_venue(name: &str) -> Result<Venue, Failure> {
    let at = name.trim_start_matches("http://").trim_end_matches('/');
    if at.is_empty() || !at.contains(':') {
        return Err(Failure::usage(format!("`{name}` is no venue: testnet, mainnet, or host:port")));
    }
    Ok(Venue::Local(at.to_owned()))
}

/// Its hosts, overrides applied.
pub(super) fn hosts(config: &Config, venue: &Venue) -> Result<Hosts, Failure> {
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
    venue.check(&hosts).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(hosts)
}

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "all" => Ok(Role::All),
        "ingest" => Ok(Role::Ingest),
        "alpha" => Ok(Role::Alpha),
        other => Err(format!("`{other}` is no role: all, ingest or alpha")),
    }
}
