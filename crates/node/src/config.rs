//! The configuration file: YAML, unknown keys refused with the nearest known one, every range checked at load.
//!
//! A section is the configuration type of the room it configures; its defaults are documented there. Units stand in
//! the names.

use std::path::{Path, PathBuf};

use alpha::Params;
use alpha::breaker::BreakerLimits;
use execution::RouterConfig;
use runtime::worker::Idle;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// What must stand under `venue: mainnet:` before `--mainnet` trades real money.
pub const MAINNET_LINE: &str = "I trade real money";

/// A whole configuration file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// Circuit breaker: all off in the champion (parity), on live.
    pub breaker: BreakerLimits,
    /// System memory: where state outlives the program.
    pub memory: MemorySection,
    /// Nodes of several roles.
    pub roles: RolesConfig,
    /// Threads and cores.
    pub runtime: RuntimeConfig,
    /// Where this file was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Which way the signal may trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// The scanner of this node, on the mids of its own books.
    #[default]
    Scanner,
    /// `latest_eigen_scan` in system memory, whoever writes it.
    Memory,
}

/// What happens to an open position in HIBERNATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HibernateAction {
    /// Keep it; its resting take-profit order stays.
    Hold,
    /// Close it.
    #[default]
    Flatten,
}

/// What is watched, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketConfig {
    /// Symbols, in column order. Empty: the venue's first `max_symbols` trading USDT perpetuals, reference first.
    pub symbols: Vec<String>,
    /// Most symbols, 1 … 400.
    pub max_symbols: usize,
    /// One tick: features, scanner and engine run this often (event time).
    pub tick_ms: u64,
    /// One bar, the interval that lookbacks count in (SPEC §3.2): a multiple of the tick.
    pub bar_ms: u64,
    /// Features older than this count as not there.
    pub ob_stale_after_ms: u64,
    /// A scan older than this gives no signal.
    pub scan_stale_after_ms: u64,
    /// A stream of books or marks must begin within this after its subscription; else it is subscribed once more.
    pub first_data_ms: u64,
    /// A stream of books or marks that has been silent for this long masks its symbol and is subscribed once more.
    pub stream_silent_ms: u64,
    /// A connection on which all streams have been silent for this long is replaced.
    pub max_data_age_ms: u64,
    /// More refused frames within a minute than this replace the connection.
    pub max_bad_frames_per_min: u32,
    /// A connection older than this is replaced, successor first (the venue closes it after 24 h).
    pub max_connection_age_s: u64,
    /// A mid farther from the mark price than this masks its symbol, %.
    pub max_mark_gap_pct: f64,
    /// A book is compared with a fresh snapshot this often, the symbols in turn (20 of request weight each); 0 = never.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A file on this machine, durable.
    #[default]
    Embedded,
    /// A Hazelcast 5.x cluster.
    Hazelcast,
}

/// Whose maps are written (SPEC §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    pub start_timeout_ms: u64,
    /// The engine's state is written this often, and after every event.
    pub state_every_ms: u64,
    /// Prices of the last bars are written this often.
    pub history_every_ms: u64,
    /// Order-book features of all symbols are written this often; 0: never.
    pub features_every_ms: u64,
    /// This node's own scan is written this often (`signal: scanner`); 0: never.
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

/// Where orders go; single hosts may be overridden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub account_check_ms: u64,
    /// How often filters and status of the instruments are read; a halted one is asked for every 10 s.
    pub instruments_check_ms: u64,
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
        }
    }
}

/// Nodes of several roles (`live --role`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolesConfig {
    /// Name of this machine among them. Absent: its host name.
    pub node: Option<String>,
    /// The standby takes over when nothing was heard of the active alpha node for so long.
    pub lease_ttl_ms: u64,
    /// A tick waits so long, from its first symbol on, for the symbols that are still missing.
    pub grace_ms: u64,
    /// An alpha node without a list of symbols waits so long for the shards to name them.
    pub discover_ms: u64,
}

impl Default for RolesConfig {
    fn default() -> Self {
        Self { node: None, lease_ttl_ms: 3_000, grace_ms: 100, discover_ms: 30_000 }
    }
}

/// Threads and cores.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Workers' layout by number of cores: 1, 2, 4 or 6; absent: the largest that fits the machine.
    pub layout: Option<u8>,
    /// Idle strategy; absent: spin where every worker has a core to itself and one is left, else yield.
    pub idle: Option<Idle>,
    /// First core to pin to.
    pub first_core: usize,
    /// Leave threads where the kernel puts them.
    pub unpinned: bool,
    /// `dolphin kill` writes it, the node watches it; absent: this file's name and `.kill`.
    pub kill_file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("cannot read the configuration {}: {e}", path.display())))?;
        let mut config = Self::parse(&text).map_err(|e| Failure::usage(format!("{}{e}", path.display())))?;
        config.path = path.to_owned();
        Ok(config)
    }

    /// The file that pulls the kill switch.
    pub fn kill_file(&self) -> PathBuf {
        self.runtime.kill_file.clone().unwrap_or_else(|| {
            let mut path = self.path.clone().into_os_string();
            path.push(".kill");
            path.into()
        })
    }

    /// Parses and checks a text; the error begins with `:line:column:` where one is known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_saphyr::from_str(text).map_err(|e| explain(&e))?;
        config.validate().map_err(|e| format!(": {e}"))?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), String> {
        self.alpha.validate().map_err(|e| format!("alpha: {e}"))?;
        self.router.validate().map_err(|e| e.to_string())?;
        self.market.validate()?;
        self.memory.validate()?;
        for (key, ms) in [
            ("account_check_ms", self.venue.account_check_ms),
            ("instruments_check_ms", self.venue.instruments_check_ms),
        ] {
            if !(1_000..=3_600_000).contains(&ms) {
                return Err(format!("venue: {key} is {ms} ms, it lies in 1000 … 3600000 ms"));
            }
        }
        let r = &self.roles;
        for (key, value, low, high) in [
            ("lease_ttl_ms", r.lease_ttl_ms, 500, 60_000),
            ("grace_ms", r.grace_ms, 1, 10_000),
            ("discover_ms", r.discover_ms, 0, 600_000),
        ] {
            in_range("roles", key, value, low, high)?;
        }
        match self.runtime.layout {
            None | Some(1 | 2 | 4 | 6) => Ok(()),
            Some(n) => Err(format!("runtime: layout {n} is none of 1, 2, 4, 6")),
        }
    }
}

impl MarketConfig {
    fn validate(&self) -> Result<(), String> {
        let checked = |key, value, low, high| in_range("market", key, value, low, high);
        checked("max_symbols", self.max_symbols as u64, 1, 400)?;
        checked("symbols (their number)", self.symbols.len() as u64, 0, 400)?;
        checked("tick_ms", self.tick_ms, 10, 60_000)?;
        checked("bar_ms", self.bar_ms, self.tick_ms, 3_600_000)?;
        checked("ob_stale_after_ms", self.ob_stale_after_ms, self.tick_ms, 60_000)?;
        checked("scan_stale_after_ms", self.scan_stale_after_ms, self.tick_ms, 600_000)?;
        checked("first_data_ms", self.first_data_ms, 100, 60_000)?;
        checked("stream_silent_ms", self.stream_silent_ms, 1_000, 600_000)?;
        checked("max_data_age_ms", self.max_data_age_ms, 500, 60_000)?;
        checked("max_bad_frames_per_min", self.max_bad_frames_per_min.into(), 0, 60_000)?;
        checked("max_connection_age_s", self.max_connection_age_s, 2, 24 * 3_600)?;
        if self.audit_interval_ms != 0 {
            checked("audit_interval_ms", self.audit_interval_ms, 500, 86_400_000)?;
        }
        if !(self.max_mark_gap_pct > 0.0 && self.max_mark_gap_pct <= 100.0) {
            return Err(format!(
                "market: max_mark_gap_pct is {}, it lies in (0, 100]",
                self.max_mark_gap_pct
            ));
        }
        if !self.bar_ms.is_multiple_of(self.tick_ms) {
            return Err(format!(
                "market: bar_ms ({}) is no multiple of tick_ms ({})",
                self.bar_ms, self.tick_ms
            ));
        }
        Ok(())
    }
}

impl MemorySection {
    fn validate(&self) -> Result<(), String> {
        let checked = |key, value, low, high| in_range("memory", key, value, low, high);
        checked("start_timeout_ms", self.start_timeout_ms, 0, 600_000)?;
        checked("state_every_ms", self.state_every_ms, 10, 60_000)?;
        checked("history_every_ms", self.history_every_ms, 100, 600_000)?;
        checked("features_every_ms", self.features_every_ms, 0, 600_000)?;
        checked("scan_every_ms", self.scan_every_ms, 0, 600_000)
    }
}

/// Is a value of a section within its range? The unit stands in the key.
fn in_range(section: &str, key: &str, value: u64, low: u64, high: u64) -> Result<(), String> {
    let unit = match key {
        k if k.ends_with("_ms") => " ms",
        k if k.ends_with("_s") => " s",
        _ => "",
    };
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!("{section}: {key} is {value}{unit}, it lies in {low} … {high}{unit}"))
}

/// The library's error as `:line:column: what is wrong`, with the nearest known key.
fn explain(error: &serde_saphyr::Error) -> String {
    let place = error.location().map(|l| format!(":{}:{}", l.line(), l.column())).unwrap_or_default();
    let what = match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            match alpha::params::nearest(field, expected.iter().copied()) {
                Some(near) => format!("unknown key `{field}`; did you mean `{near}`?"),
                None => format!("unknown key `{field}`; there are {}", expected.join(", ")),
            }
        }
        other => other.to_string().lines().next().unwrap_or("not valid YAML").to_owned(),
    };
    format!("{place}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text).unwrap_err()
    }

    #[test]
    fn unknown_keys_are_named_with_place_and_the_nearest() {
        assert_eq!(
            error("market:\n  tick_mss: 100\n"),
            ":2:3: unknown key `tick_mss`; did you mean `tick_ms`?"
        );
        let e = error("alpha:\n  vel_div_treshold: -0.03\n");
        assert!(e.starts_with(":2:3") && e.contains("vel_div_threshold"), "{e}");
        let e = error("router:\n  risk:\n    max_position: 1\n");
        assert!(e.starts_with(":3:5") && e.contains("max_position_usd"), "{e}");
    }

    #[test]
    fn ranges_and_kinds_are_checked() {
        assert!(error("market: {tick_ms: 70}").contains("no multiple"));
        assert!(error("market: {tick_ms: 1}").contains("10 … 60000 ms"));
        assert!(error("market: {tick_ms: fast}").starts_with(":1:"));
        assert!(error("runtime: {layout: 3}").contains("1, 2, 4, 6"));
        assert!(error("alpha: {fraction: 7}").contains("fraction"));
        assert!(error("[").starts_with(":"));
    }

    #[test]
    fn a_preset_of_a_file_has_its_own_numbers_and_hash() {
        let hash = |text: &str| Config::parse(text).unwrap().alpha.verify().unwrap();
        for name in ["conservative", "growth", "aggressive"] {
            let preset = Params::preset(name).unwrap();
            assert_eq!(hash(&format!("alpha: {{profile: {name}}}")), preset.hash());
            assert_ne!(preset.hash(), alpha::params::CHAMPION_HASH);
        }
        assert!(error("alpha: {profile: growth, fracton: 0.1}").contains("did you mean `fraction`?"));
        assert!(error("alpha: {profile: growth, fraction: .nan}").contains("fraction"));
    }

    #[test]
    fn the_files_we_ship_load_and_blue_is_the_champion() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let blue = Config::load(&configs.join("blue.yml")).unwrap();
        assert_eq!(blue.alpha.verify().unwrap(), alpha::params::CHAMPION_HASH);
        assert_eq!((blue.direction, blue.market.stride()), (Direction::Short, 50));
        let green = Config::load(&configs.join("green.yml")).unwrap();
        assert_eq!(green.direction, Direction::Both);
        Config::load(&configs.join("demo.yml")).unwrap();
    }
}
