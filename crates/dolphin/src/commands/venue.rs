//! `dolphin venue`: the local Binance-compatible exchange alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use market::Amount;
use venue::{AccountConfig, Credential, Venue, VenueConfig, VenueError};

use crate::error::CliError;

/// The local exchange: a simulated market of 48 symbols, or a recorded one, on Binance's protocol.
///
/// Example: dolphin venue --listen 127.0.0.1:9500 --recording btcusdt.gz --speed 2
#[derive(Debug, Args)]
pub struct VenueArgs {
    /// Recording to play (SPEC §2.4); may be given several times. Other symbols are simulated beside it.
    #[arg(long, value_name = "F")]
    recording: Vec<PathBuf>,
    /// Seed of the simulated market.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Simulated symbols, 1 to 400.
    #[arg(long, default_value_t = 48)]
    symbols: usize,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9500")]
    listen: SocketAddr,
    /// Playing speed of the recordings.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// End with the recordings instead of starting them again.
    #[arg(long)]
    once: bool,
    /// Accounts in hedge mode.
    #[arg(long)]
    hedge: bool,
    /// File holding the account's API key (default: the key `K`).
    #[arg(long, value_name = "F", requires = "secret")]
    key: Option<PathBuf>,
    /// File holding the key's HMAC secret, or its Ed25519 public key as PEM (default: the secret `S`).
    #[arg(long, value_name = "F", requires = "key")]
    secret: Option<PathBuf>,
    /// Opening balance in USDT.
    #[arg(long, default_value_t = 100_000)]
    balance: i64,
    /// Print the address as JSON.
    #[arg(long)]
    json: bool,
}

fn file(path: &Path) -> Result<String, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(CliError { exit: 2, message: format!("cannot read {}: {e}", path.display()) }),
    }
}

fn account(args: &VenueArgs) -> Result<AccountConfig, CliError> {
    let mut account = AccountConfig::hmac("K", "S", 0);
    account.balance = Amount(args.balance.saturating_mul(Amount::ONE));
    if let (Some(key), Some(secret)) = (&args.key, &args.secret) {
        account.api_key = file(key)?;
        let secret = file(secret)?;
        account.credential = match secret.contains("PUBLIC KEY") {
            true => Credential::Ed25519(secret),
            false => Credential::Hmac(secret),
        };
    }
    Ok(account)
}

fn refused(e: &VenueError) -> CliError {
    let exit = match e {
        VenueError::Config(_) => 2,
        VenueError::Recording { .. } => 3,
        VenueError::Listen { .. } | VenueError::Thread(_) => 4,
    };
    CliError { exit, message: e.to_string() }
}

/// Runs the venue until it is interrupted.
pub fn run(args: &VenueArgs) -> Result<(), CliError> {
    let config = VenueConfig {
        listen: args.listen,
        seed: args.seed,
        symbols: args.symbols,
        recordings: args.recording.clone(),
        speed: args.speed,
        looping: !args.once,
        accounts: vec![account(args)?],
        hedge_mode: args.hedge,
        ..VenueConfig::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let failed = |e| CliError { exit: 4, message: format!("cannot listen for signals: {e}") };
        signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
    }
    let venue = Venue::start(config).map_err(|e| refused(&e))?;
    if args.json {
        println!(r#"{{"addr":"{}"}}"#, venue.addr());
    } else {
        println!("venue at {}", venue.addr());
    }
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
    venue.stop();
    Ok(())
}
