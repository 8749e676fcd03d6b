//! The sections of the configuration. A section is the configuration type of the crate it configures; its defaults are
//! documented there. Units stand in the names; ranges stand at the fields and are checked by the schema made from them.

use std::path::PathBuf;

use alpha::Params;
use execution::RouterConfig;
use runtime::worker::Idle;
use serde::{Deserialize, Serialize};
use telemetry::config::TelemetrySection;

use super::breaker::BreakerConfig;

/// What must stand under `venue: mainnet:` before `--mainnet` trades real money.
pub const MAINNET_LINE: &str = "I trade real money";

/// A whole configuration file.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Parameters of the signal (SPEC §3.1); the default is the champion.
    pub alpha: Params,
    /// Which way the signal may trade.
    pub direction: Direction,
    /// Where the signal comes from.
    pub signal: Signal,
    /// What happens to an open position in HIBERNATE (live only).
    pub hibernate_action: HibernateAction,
    /// What is watched, and how often.
    pub market: MarketConfig,
    /// Where orders go.
    pub venue: VenueConfig,
    /// From decision to orders, and the limits.
    pub router: RouterConfig,
    /// Circuit breaker.
    pub breaker: BreakerConfig,
    /// System memory: where state outlives the program.
    pub memory: MemorySection,
    /// What was taken in and decided, kept to be decided again.
    pub journal: JournalConfig,
    /// Nodes of several roles.
    pub roles: RolesConfig,
    /// Threads and cores.
    pub runtime: RuntimeConfig,
    /// What the node shows of itself, and to whom.
    pub telemetry: TelemetrySection,
    /// Where this file was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Which way the signal may trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Short only (blue).
    #[default]
    Short,
    /// Long only.
    Long,
    /// Both (green).
    Both,
}

impl Direction {
    /// −1, +1, 0 (SPEC §3.6).
    pub const fn sign(self) -> i8 {
        match self {
            Self::Short => -1,
            Self::Long => 1,
            Self::Both => 0,
        }
    }
}

/// Where the signal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// The scanner of this node, on the mids of its own books.
    #[default]
    Scanner,
    /// `latest_eigen_scan` in system memory, whoever writes it.
    Memory,
}

/// What happens to an open position in HIBERNATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HibernateAction {
    /// Keep it; its resting take-profit order stays.
    Hold,
    /// Close it.
    #[default]
    Flatten,
}

/// What is watched, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MarketConfig {
    /// Symbols, in column order. Empty: the venue's first `max_symbols` trading USDT perpetuals, reference first.
    pub symbols: Vec<String>,
    /// Most symbols, 1 … 400.
    #[schemars(range(min = 1, max = 400))]
    pub max_symbols: usize,
    /// One tick: features, scanner and engine run this often (event time).
    #[schemars(range(min = 10, max = 60000))]
    pub tick_ms: u64,
    /// One bar, the interval that lookbacks count in (SPEC §3.2): a multiple of the tick.
    #[schemars(range(min = 10, max = 3600000))]
    pub bar_ms: u64,
    /// Features older than this count as not there.
    #[schemars(range(min = 10, max = 60000))]
    pub ob_stale_after_ms: u64,
    /// A scan older than this gives no signal.
    #[schemars(range(min = 10, max = 600000))]
    pub scan_stale_after_ms: u64,
    /// A stream of books or marks must begin within this after its subscription; else it is subscribed once more.
    #[schemars(range(min = 100, max = 60000))]
    pub first_data_ms: u64,
    /// A stream of books or marks that has been silent for this long masks its symbol and is subscribed once more.
    #[schemars(range(min = 1000, max = 600000))]
    pub stream_silent_ms: u64,
    /// A connection on which all streams have been silent for this long is replaced.
    #[schemars(range(min = 500, max = 60000))]
    pub max_data_age_ms: u64,
    /// More refused frames within a minute than this replace the connection.
    #[schemars(range(min = 0, max = 60000))]
    pub max_bad_frames_per_min: u32,
    /// A connection older than this is replaced, successor first (the venue closes it after 24 h).
    #[schemars(range(min = 2, max = 86400))]
    pub max_connection_age_s: u64,
    /// A mid farther from the mark price than this masks its symbol, %.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 100))]
    pub max_mark_gap_pct: f64,
    /// A book is compared with a fresh snapshot this often, the symbols in turn (20 of request weight each); 0 = never.
    #[schemars(range(min = 0, max = 86400000))]
    pub audit_interval_ms: u64,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            max_symbols: 48,
            tick_ms: 100,
            bar_ms: 5_000,
            ob_stale_after_ms: 1_000,
            scan_stale_after_ms: 1_000,
            first_data_ms: 5_000,
            stream_silent_ms: 10_000,
            max_data_age_ms: 3_000,
            max_bad_frames_per_min: 30,
            max_connection_age_s: 23 * 3_600,
            max_mark_gap_pct: 10.0,
            audit_interval_ms: 30_000,
        }
    }
}

impl MarketConfig {
    /// Ticks in a bar.
    pub fn stride(&self) -> u32 {
        u32::try_from(self.bar_ms / self.tick_ms.max(1)).unwrap_or(u32::MAX)
    }
}

/// Which memory holds the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A file on this machine, durable.
    #[default]
    Embedded,
    /// A Hazelcast 5.x cluster.
    Hazelcast,
}

/// Whose maps are written (SPEC §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deployment {
    /// `DOLPHIN_STATE_BLUE`, `DOLPHIN_PNL_BLUE`.
    #[default]
    Blue,
    /// `DOLPHIN_STATE_GREEN`, `DOLPHIN_PNL_GREEN`.
    Green,
}

impl Deployment {
    /// In names of files and keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl From<Deployment> for memory::schema::Deployment {
    fn from(deployment: Deployment) -> Self {
        match deployment {
            Deployment::Blue => Self::Blue,
            Deployment::Green => Self::Green,
        }
    }
}

/// System memory.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemorySection {
    /// Which.
    pub backend: Backend,
    /// Whose maps.
    pub deployment: Deployment,
    /// File of the embedded memory. Absent: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/dolphin`, else
    /// `~/.local/state/dolphin`, one file per venue; with a local venue, which forgets everything too, a file that ends
    /// with the run.
    pub path: Option<PathBuf>,
    /// The cluster.
    #[serde(skip_serializing)]
    pub hazelcast: memory::HazelcastConfig,
    /// Longest wait for memory at the start, ms: then the node starts without what it does not know.
    #[schemars(range(min = 0, max = 600000))]
    pub start_timeout_ms: u64,
    /// The engine's state is written this often, and after every event.
    #[schemars(range(min = 10, max = 60000))]
    pub state_every_ms: u64,
    /// Prices of the last bars are written this often.
    #[schemars(range(min = 100, max = 600000))]
    pub history_every_ms: u64,
    /// Order-book features of all symbols are written this often; 0: never.
    #[schemars(range(min = 0, max = 600000))]
    pub features_every_ms: u64,
    /// This node's own scan is written this often (`signal: scanner`); 0: never.
    #[schemars(range(min = 0, max = 600000))]
    pub scan_every_ms: u64,
}

impl Default for MemorySection {
    fn default() -> Self {
        Self {
            backend: Backend::Embedded,
            deployment: Deployment::Blue,
            path: None,
            hazelcast: memory::HazelcastConfig::default(),
            start_timeout_ms: 3_000,
            state_every_ms: 1_000,
            history_every_ms: 5_000,
            features_every_ms: 1_000,
            scan_every_ms: 1_000,
        }
    }
}

/// What of the market the journal keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalContent {
    /// Ticks, quotes and marks, as engine and router took them.
    #[default]
    Ticks,
    /// Beside them every frame and snapshot as it was read: books, features and scans can be made again of them.
    Frames,
}

/// The journal: what the node took in and decided (`dolphin replay --journal`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Is it written?
    pub enabled: bool,
    /// Directory; each venue has one of its own in it. Absent: `journal` beside the embedded memory's default.
    pub path: Option<PathBuf>,
    /// What of the market is kept: the ticks that the engine took, or the frames of the streams as well.
    pub content: JournalContent,
    /// Segments that were begun before this many days are removed.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
    /// The oldest segments are removed while all take more than this, GB (10⁹ bytes).
    #[schemars(range(min = 0.1, max = 100000.0))]
    pub max_gb: f64,
    /// A power cut costs no more than the last so many ms; a kill costs nothing that was written.
    #[schemars(range(min = 0, max = 60000))]
    pub fsync_ms: u64,
    /// A segment is closed at this size before compression, MB (10⁶ bytes), and begins with the state of the stages; not below
    /// twice the size of that.
    #[schemars(range(min = 1, max = 4096))]
    pub segment_mb: u32,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            path: None,
            content: JournalContent::Ticks,
            days: 7,
            max_gb: 5.0,
            fsync_ms: 1_000,
            segment_mb: 64,
        }
    }
}

/// Where orders go; single hosts may be overridden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VenueConfig {
    /// `testnet` (default), `mainnet`, or the URL of a local venue; `--venue` overrides it.
    pub name: Option<String>,
    /// Mainnet trades only with `--mainnet` and this line: `I trade real money`.
    pub mainnet: Option<String>,
    /// REST base URL.
    pub rest_url: Option<String>,
    /// Market streams, route `/public`.
    pub public_url: Option<String>,
    /// Market streams, route `/market`.
    pub market_url: Option<String>,
    /// User stream, route `/private`.
    pub private_url: Option<String>,
    /// WebSocket API.
    pub ws_api_url: Option<String>,
    /// How often the account's settings (position mode, margin type, leverage) are compared with those of the start.
    #[schemars(range(min = 1000, max = 3600000))]
    pub account_check_ms: u64,
    /// How often filters and status of the instruments are read; a halted one is asked for every 10 s.
    #[schemars(range(min = 1000, max = 3600000))]
    pub instruments_check_ms: u64,
    /// Commissions of simulated fills (`demo`, `live --paper`) where no key tells the account's own (SPEC §8).
    pub commission: Rates,
}

/// Commissions as shares of a fill's value; negative: a rebate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Of an order that rested, as a share of the value; negative: a rebate.
    #[schemars(range(min = -0.01, max = 0.01))]
    pub maker: f64,
    /// Of an order that took, as a share of the value.
    #[schemars(range(min = -0.01, max = 0.01))]
    pub taker: f64,
}

impl Default for Rates {
    /// A regular user's.
    fn default() -> Self {
        Self { maker: 0.0002, taker: 0.0005 }
    }
}

impl Default for VenueConfig {
    fn default() -> Self {
        Self {
            name: None,
            mainnet: None,
            rest_url: None,
            public_url: None,
            market_url: None,
            private_url: None,
            ws_api_url: None,
            account_check_ms: 60_000,
            instruments_check_ms: 300_000,
            commission: Rates::default(),
        }
    }
}

/// Nodes of several roles (`live --role`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolesConfig {
    /// Name of this machine among them. Absent: its host name.
    pub node: Option<String>,
    /// The standby takes over when nothing was heard of the active alpha node for so long.
    #[schemars(range(min = 500, max = 60000))]
    pub lease_ttl_ms: u64,
    /// A tick waits so long, from its first symbol on, for the symbols that are still missing.
    #[schemars(range(min = 1, max = 10000))]
    pub grace_ms: u64,
    /// An alpha node without a list of symbols waits so long for the shards to name them.
    #[schemars(range(min = 0, max = 600000))]
    pub discover_ms: u64,
}

impl Default for RolesConfig {
    fn default() -> Self {
        Self { node: None, lease_ttl_ms: 3_000, grace_ms: 100, discover_ms: 30_000 }
    }
}

/// Threads and cores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Workers' layout by number of cores: 1, 2, 4 or 6; absent: the largest that fits the machine.
    pub layout: Option<u8>,
    /// Idle strategy; absent: spin where every worker has a core to itself and one is left, else yield.
    pub idle: Option<Idle>,
    /// Run the next decision with no effect while idle, so that its code and data are in the cache when it comes; workers
    /// that park do not.
    pub rehearse: bool,
    /// First core to pin to; absent: core 0 comes last, and a second hardware thread of a core after every first one.
    pub first_core: Option<usize>,
    /// Leave threads where the kernel puts them.
    pub unpinned: bool,
    /// A worker or a control thread that is silent for so long ends the run: what works is cancelled over REST, exit 4.
    #[schemars(range(min = 1000, max = 60000))]
    pub watchdog_ms: u64,
    /// Nothing that changes the account is sent (`live --dry-run`).
    #[serde(skip)]
    pub dry_run: bool,
    /// `dolphin kill` writes it, the node watches it; absent: this file's name and `.kill`.
    pub kill_file: Option<PathBuf>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            layout: None,
            idle: None,
            rehearse: true,
            first_core: None,
            unpinned: false,
            watchdog_ms: 2_000,
            dry_run: false,
            kill_file: None,
        }
    }
}

impl Config {
    /// The file that pulls the kill switch.
    pub fn kill_file(&self) -> PathBuf {
        self.runtime.kill_file.clone().unwrap_or_else(|| {
            let mut path = self.path.clone().into_os_string();
            path.push(".kill");
            path.into()
        })
    }
}
