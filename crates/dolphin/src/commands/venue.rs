//! `dolphin venue`: the local Binance-compatible exchange alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use market::text::counted;
use venue::core::Commission;
use venue::faults::CATALOGUE;
use venue::{AccountConfig, Rules, Venue, VenueConfig};

use node::error::Failure;

/// The local Binance-compatible exchange alone
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: dolphin venue --seed 7 --listen 127.0.0.1:9080\n\n\
It prints its address as the first line on stdout and serves until Ctrl-C. To break it while it runs \
(dolphin venue --list-faults shows every kind):\n\n  \
curl -d '{\"fault\":\"drop\",\"stream\":\"btcusdt@depth@100ms\",\"times\":1}' http://127.0.0.1:9080/dolphin/faults\n  \
curl -X DELETE http://127.0.0.1:9080/dolphin/faults")]
pub struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:9080", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Play these recordings; the other symbols are simulated beside them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    recording: Vec<PathBuf>,
    /// Playing speed of the recordings
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    speed: f64,
    /// Seed of the simulated market
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Simulated symbols, 1 to 400
    #[arg(long, default_value_t = 48, value_name = "N")]
    symbols: usize,
    /// API key of the account
    #[arg(long, default_value = "K", value_name = "KEY")]
    key: String,
    /// File that holds the account's secret [default: the secret is `S`]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Opening balance, USDT
    #[arg(long, default_value_t = 100_000)]
    balance: i64,
    /// Maker and taker commission, as shares; negative: a rebate
    #[arg(long, default_value = "0.0002,0.0005", value_name = "M,T", allow_hyphen_values = true)]
    commission: Commission,
    /// Open the account in hedge mode
    #[arg(long)]
    hedge_mode: bool,
    /// Whose limits and habits apply; as on mainnet, user streams deliver to `?listenKey=…&events=…` alone, and unrouted
    /// stream URLs deliver public data alone
    #[arg(long, value_enum, default_value_t = Environment::Mainnet)]
    rules: Environment,
    /// Read requests and messages this late, as across a network: some clients are not ready for an answer at once
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    latency: u64,
    /// Serve https and wss with a certificate made now, for localhost and the exchange's host names; what clients must trust
    /// is written to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "venue-authority.pem")]
    tls: Option<PathBuf>,
    /// Print an example of every fault as POST /dolphin/faults takes it, and end
    #[arg(long)]
    list_faults: bool,
}

/// Environments of the venue; their limits differ.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Environment {
    /// As fapi.binance.com
    Mainnet,
    /// As demo-fapi.binance.com, the testnet
    Demo,
}

/// Runs it until a signal.
pub fn run(args: Args) -> Result<(), Failure> {
    if args.list_faults {
        for (example, what) in CATALOGUE {
            println!("{example}\n    {what}");
        }
        println!("also: \"times\" strikes (0: until cleared), \"skip\" occasions first, \"for_ms\" how long");
        return Ok(());
    }
    let secret = args.secret_file.as_deref().map_or(Ok("S".to_owned()), secret)?;
    let config = VenueConfig {
        listen: args.listen,
        seed: args.seed,
        symbols: args.symbols,
        recordings: args.recording,
        speed: args.speed,
        accounts: vec![AccountConfig::hmac(&args.key, &secret, args.balance)],
        hedge_mode: args.hedge_mode,
        commission: args.commission,
        rules: match args.rules {
            Environment::Mainnet => Rules::default(),
            Environment::Demo => Rules::demo(),
        },
        tls: args.tls.is_some(),
        latency: Duration::from_millis(args.latency),
        ..VenueConfig::default()
    };
    let signalled = super::on_signal()?;
    let venue = Venue::start(config).map_err(|e| super::venue_error(&e))?;
    if let (Some(path), Some(authority)) = (&args.tls, venue.authority()) {
        std::fs::write(path, authority).map_err(|e| Failure::unwritten(path, &e))?;
    }
    println!("{}", venue.addr());
    eprintln!(
        "venue on {} (streams {}), {}, commission {}; Ctrl-C ends it",
        venue.http(),
        venue.ws(),
        counted(args.symbols, "symbol"),
        args.commission
    );
    if let Some(path) = &args.tls {
        eprintln!("TLS: clients must trust {}", path.display());
    }
    while !signalled.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(50));
    }
    venue.stop();
    Ok(())
}

fn secret(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("cannot read the secret in {}: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}
