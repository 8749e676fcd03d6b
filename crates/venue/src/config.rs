//! What a venue is started with, and why it may not start.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use market::Amount;

use crate::core::{Commission, Listing};
use crate::sim::{self, Preroll};

/// How an account proves itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// HMAC-SHA256 secret.
    Hmac(String),
    /// Ed25519 public key, as PEM or as base64 of its 32 bytes.
    Ed25519(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Hmac(…)",
            Self::Ed25519(_) => "Ed25519(…)",
        })
    }
}

/// An account, with one API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountConfig {
    /// API key.
    pub api_key: String,
    /// Its secret or public key.
    pub credential: Credential,
    /// Opening balance in USDT.
    pub balance: Amount,
}

impl AccountConfig {
    /// An HMAC account.
    pub fn hmac(api_key: &str, secret: &str, balance: i64) -> Self {
        Self {
            api_key: api_key.to_owned(),
            credential: Credential::Hmac(secret.to_owned()),
            balance: Amount(balance.saturating_mul(Amount::ONE)),
        }
    }
}

/// Limits and habits of the venue that differ between mainnet, demo and versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// REQUEST_WEIGHT per minute and IP.
    pub weight_per_minute: u32,
    /// ORDERS per 10 s and account.
    pub orders_per_10s: u32,
    /// ORDERS per minute and account.
    pub orders_per_minute: u32,
    /// Incoming WebSocket messages per second and connection.
    pub messages_per_second: u32,
    /// WebSocket handshakes per five minutes and IP.
    pub connections_per_5min: u32,
    /// A WebSocket connection is closed at this age.
    pub connection_life: Duration,
    /// Streams per connection.
    pub streams_per_connection: usize,
    /// `MAX_NUM_ORDERS` per symbol; `None` leaves the instruments' own.
    pub max_orders: Option<u32>,
    /// `marketTakeBound`.
    pub market_take_bound: f64,
    /// `avgPrice` and `cumQuote` in order replies (gone since 2026-07-15).
    pub legacy_reply_fields: bool,
    /// Unrouted stream URLs deliver everything, as before 2026-04-23 (else only public data).
    pub legacy_urls: bool,
    /// User streams deliver only to `…?listenKey=K&events=A/B`, as in production: every other form connects and stays
    /// silent.
    pub strict_user_streams: bool,
    /// Between pings to WebSocket clients.
    pub ping_every: Duration,
    /// A client that answers no ping for so long is dropped.
    pub pong_within: Duration,
    /// Life of a listen key.
    pub listen_key_life: Duration,
}

impl Rules {
    /// The demo environment (futures testnet), 2026-11: it differs from mainnet in its limits, and streams of every kind
    /// come on unrouted URLs, too (BINANCE.md §1).
    pub fn demo() -> Self {
        Self {
            weight_per_minute: 6000,
            max_orders: Some(10_000),
            market_take_bound: 0.30,
            legacy_urls: true,
            strict_user_streams: false,
            ..Self::default()
        }
    }
}

impl Default for Rules {
    /// Mainnet, 2026-11.
    fn default() -> Self {
        Self {
            weight_per_minute: 2400,
            orders_per_10s: 300,
            orders_per_minute: 1200,
            messages_per_second: 10,
            connections_per_5min: 300,
            connection_life: Duration::from_secs(24 * 3600),
            streams_per_connection: 1024,
            max_orders: None,
            market_take_bound: 0.05,
            legacy_reply_fields: false,
            legacy_urls: false,
            strict_user_streams: true,
            ping_every: Duration::from_secs(180),
            pong_within: Duration::from_secs(600),
            listen_key_life: Duration::from_secs(3600),
        }
    }
}

/// What a venue is started with.
#[derive(Debug, Clone)]
pub struct VenueConfig {
    /// Where to listen (port 0: any free one).
    pub listen: SocketAddr,
    /// Seed of the simulated market.
    pub seed: u64,
    /// Simulated symbols (1–400); recorded symbols that are among them are played instead.
    pub symbols: usize,
    /// Listings whose market comes in by [`crate::VenueHandle::mirror`]; nothing is simulated or played then. Their ids
    /// are their places.
    pub mirrored: Vec<Listing>,
    /// Time between two changes of a simulated symbol's book: 100 ms to 60 s, in whole tenths of a second.
    pub market_step: Duration,
    /// Recordings (SPEC §2.4) to play.
    pub recordings: Vec<PathBuf>,
    /// Playing speed of the recordings (1 = real time), in (0, 1000].
    pub speed: f64,
    /// Start a recording again when it ends (else its symbols fall silent).
    pub looping: bool,
    /// Keep the recorded times instead of stamping frames with now.
    pub keep_times: bool,
    /// Depth streams of every speed send each change by itself and at once, so that frames leave when the market says.
    pub depth_at_once: bool,
    /// Accounts.
    pub accounts: Vec<AccountConfig>,
    /// Open all accounts in hedge mode.
    pub hedge_mode: bool,
    /// Commissions.
    pub commission: Commission,
    /// Limits and habits.
    pub rules: Rules,
    /// Serve `https` and `wss` with a certificate made at the start ([`crate::VenueHandle::authority`]), for clients that
    /// refuse `http` and `ws` or have the exchange's host names built in. Of the production driver only.
    pub tls: bool,
    /// Requests and messages wait so long before they are read, as if a network lay between: some clients note a request
    /// only after they sent it, and a venue that answers at once comes too soon. Of the production driver only.
    pub latency: Duration,
}

impl Default for VenueConfig {
    /// 48 simulated symbols on a free port of the loopback, and one account: key `K`, secret `S`, 100 000 USDT.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 42,
            symbols: 48,
            mirrored: Vec::new(),
            market_step: Duration::from_millis(100),
            recordings: Vec::new(),
            speed: 1.0,
            looping: true,
            keep_times: false,
            depth_at_once: false,
            accounts: vec![AccountConfig::hmac("K", "S", 100_000)],
            hedge_mode: false,
            commission: Commission::default(),
            rules: Rules::default(),
            tls: false,
            latency: Duration::ZERO,
        }
    }
}

impl VenueConfig {
    /// The price history that leads to the opening prices of the simulated market, for warm starts: see
    /// [`sim::preroll`].
    pub fn preroll(&self, bars: usize, interval: Duration) -> Preroll {
        sim::preroll(self.seed, self.symbols, bars, interval)
    }
}

/// Why a venue did not start.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// The address cannot be had.
    #[error("cannot listen on {addr}: {source}; choose another --listen address (port 0 takes a free one)")]
    Listen {
        /// Address.
        addr: SocketAddr,
        /// Cause.
        source: std::io::Error,
    },
    /// A recording cannot be played.
    #[error("cannot play recording {path}: {reason}")]
    Recording {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of range.
    #[error("venue configuration: {0}")]
    Config(String),
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The operating system refused a thread or a runtime.
    #[error("cannot start the venue's thread: {0}")]
    Thread(std::io::Error),
}
