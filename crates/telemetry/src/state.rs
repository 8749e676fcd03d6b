//! The one status model: everything a node shows of itself, at one moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the model. It grows by adding fields; a field that changes its meaning raises it.
pub const SCHEMA: u32 = 1;

/// A node at one moment. Times are ms since the epoch, UTC; money is in the quote asset; `None`: not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When.
    pub at_ms: u64,
    /// Counts up with each state of a process.
    pub sequence: u64,
    /// Who.
    pub node: Node,
    /// May positions be opened? No gate of the account is closed.
    pub armed: bool,
    /// `ACTIVE`, `REDUCING` or `HALTED`.
    pub trading_state: String,
    /// Every gate that is closed now, those of the account first.
    pub gates: Vec<ClosedGate>,
    /// Money.
    pub account: Account,
    /// Open positions.
    pub positions: Vec<Position>,
    /// Orders that work or whose fate is unknown.
    pub orders: Vec<Order>,
    /// Orders that are done, newest first, the last 50.
    pub done_orders: Vec<Order>,
    /// Closed trades, newest first, the last 50.
    pub trades: Vec<Trade>,
    /// Counters of orders and fills.
    pub counts: Counts,
    /// Share of filled value that rested.
    pub maker: Maker,
    /// What the engine goes by.
    pub signal: Signal,
    /// How far the market's data has come.
    pub market: Market,
    /// Each book.
    pub books: Vec<Book>,
    /// Each connection.
    pub connections: Vec<Connection>,
    /// Latency of each hop, in the order of the data.
    pub latency: Vec<Hop>,
    /// Latency samples given up.
    pub latency_lost: u64,
    /// Stages.
    pub stages: Vec<Stage>,
    /// Rings.
    pub rings: Vec<Ring>,
    /// System memory.
    pub memory: Memory,
    /// The journal; absent where none is kept.
    pub journal: Option<Journal>,
    /// The venue's clock against ours.
    pub clock: Clock,
    /// Share used of each limit of the venue and of our own.
    pub limits: BTreeMap<String, f64>,
    /// Alerts by kind since the start.
    pub alerts: BTreeMap<String, u64>,
    /// Log, newest last.
    pub log: Vec<LogLine>,
}

/// Who it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// Venue it runs against.
    pub venue: String,
    /// Role.
    pub role: String,
    /// Profile of the parameters.
    pub profile: String,
    /// Their hash.
    pub param_hash: String,
    /// Worker layout.
    pub layout: String,
    /// Start of the run.
    pub started_ms: u64,
    /// Capital at the start, as the engine sizes with.
    pub capital: Option<f64>,
}

/// A gate that is closed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClosedGate {
    /// Its name, one of a fixed list.
    pub name: String,
    /// Why, in words.
    pub cause: String,
    /// Since when.
    pub since_ms: u64,
    /// What lets it open again.
    pub reopens: String,
    /// Symbols it is about; empty: the account, nothing is opened at all.
    pub symbols: Vec<String>,
}

/// Money.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Wallet and unrealised profit.
    pub equity: Option<f64>,
    /// Wallet.
    pub wallet: Option<f64>,
    /// Profit since the day began, commissions included.
    pub day_pnl: Option<f64>,
    /// Of it, realised.
    pub realised: Option<f64>,
    /// Of open positions.
    pub unrealised: Option<f64>,
    /// Fall of equity from the day's peak, fraction.
    pub drawdown: Option<f64>,
    /// Equity when the day began.
    pub day_start: Option<f64>,
    /// Commissions of the day.
    pub fees: f64,
    /// Value of the day's fills.
    pub turnover: f64,
    /// Margin that is free, at the last comparison.
    pub margin_free: Option<f64>,
    /// Σ value of positions.
    pub gross: f64,
    /// Σ signed value of positions.
    pub net: f64,
    /// Was the last comparison with the venue clean?
    pub reconciled: bool,
    /// When the venue was last compared with.
    pub compared_ms: Option<u64>,
    /// The kill switch is latched.
    pub killed: bool,
}

/// An open position.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Symbol.
    pub symbol: String,
    /// Signed quantity.
    pub qty: f64,
    /// Signed lots.
    pub lots: i64,
    /// Average entry price.
    pub entry_px: f64,
    /// Price now.
    pub px: Option<f64>,
    /// Price of the resting take-profit order.
    pub tp_px: Option<f64>,
    /// Value at the price now.
    pub notional: Option<f64>,
    /// Profit at the price now.
    pub unrealised: Option<f64>,
}

/// An order of ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// Our id.
    pub id: String,
    /// Symbol.
    pub symbol: String,
    /// `entry`, `take_profit` or `exit`.
    pub purpose: String,
    /// `BUY` or `SELL`.
    pub side: String,
    /// Limit price, or the touch at sending.
    pub px: f64,
    /// Quantity.
    pub qty: f64,
    /// Of it, filled.
    pub filled: f64,
    /// Status.
    pub status: String,
    /// When it was first seen here.
    pub since_ms: u64,
    /// When it was last seen working.
    pub until_ms: u64,
}

/// A closed trade.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trade {
    /// When it was booked.
    pub at_ms: u64,
    /// Symbol.
    pub symbol: String,
    /// `LONG` or `SHORT`.
    pub side: String,
    /// Value.
    pub notional: f64,
    /// Entry price.
    pub entry_px: f64,
    /// Exit price.
    pub exit_px: f64,
    /// Profit, commissions included.
    pub pnl: f64,
    /// Commissions.
    pub fees: f64,
    /// Why it was closed.
    pub reason: String,
    /// Did the entry rest?
    pub maker_entry: Option<bool>,
    /// Did the exit?
    pub maker_exit: Option<bool>,
}

/// Counters since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the registry, which explains them")]
pub struct Counts {
    pub orders: u64,
    pub cancels: u64,
    pub queries: u64,
    pub rejects: u64,
    pub denials: u64,
    pub fills: u64,
    pub entries: u64,
    pub abandoned: u64,
    pub exits: u64,
    pub unknown_now: u32,
    pub unknown_oldest_ms: u64,
    pub duplicate_reports: u64,
    pub external_fills: u64,
    pub late_fills: u64,
    pub mismatches: u64,
    pub repegs: u64,
    pub dead_man_age_ms: u64,
    pub round_trips: u64,
}

/// Maker shares by value; the model of SPEC §3.9 has 0.62 for entries and 0.50 for exits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maker {
    /// Of entries.
    pub entries: Option<f64>,
    /// Of exits.
    pub exits: Option<f64>,
    /// Of both.
    pub all: Option<f64>,
}

/// What the engine goes by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signal {
    /// Event time of the newest tick.
    pub at_ms: u64,
    /// Ticks stepped in this run.
    pub ticks: u64,
    /// Velocity divergence of the newest scan.
    pub vel_div: Option<f64>,
    /// A short fires below this.
    pub threshold: f64,
    /// An extreme divergence.
    pub extreme: f64,
    /// Gate that the newest step came to.
    pub gate: String,
    /// Bars of warm-up done.
    pub warm_bars: u32,
    /// Bars of warm-up needed.
    pub warm_needed: u32,
    /// Posture in force.
    pub posture: String,
    /// Rm in force.
    pub rm: Option<f64>,
    /// Our own sensors' Rm.
    pub own_rm: Option<f64>,
    /// ACB boost.
    pub boost: Option<f64>,
    /// ACB beta.
    pub beta: Option<f64>,
    /// Highest leverage allowed now.
    pub max_leverage: f64,
    /// Steps by the gate they came to.
    pub funnel: BTreeMap<String, u64>,
}

/// How far the market's data has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the registry, which explains them")]
pub struct Market {
    pub data_age_ms: Option<u64>,
    pub books: u32,
    pub books_live: u32,
    pub frames: u64,
    pub frames_dropped: u64,
    pub events: u64,
    pub rejected: u64,
    pub samples: u64,
    pub samples_lost: u64,
    pub samples_prepared: u64,
    pub features_late: u64,
    pub scans_prepared: u64,
    pub touches_same: u64,
    pub touches_different: u64,
    pub gaps: u64,
    pub crossed: u64,
    pub resyncs: u64,
    pub longest_resync_ms: u64,
    pub audits: u64,
    pub audit_failures: u64,
    pub silent_streams: u64,
    pub dead_streams: u64,
    pub trades_missed: u64,
}

/// One book.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// Symbol.
    pub symbol: String,
    /// Best bid.
    pub bid: Option<f64>,
    /// Best offer.
    pub ask: Option<f64>,
    /// Since its last update.
    pub age_ms: Option<u64>,
    /// Why it is not used; `None`: it is.
    pub mask: Option<String>,
}

impl Book {
    /// Spread in basis points of the mid.
    pub fn spread_bps(&self) -> Option<f64> {
        let (bid, ask) = (self.bid?, self.ask?);
        Some((ask - bid) / (ask + bid) * 2e4)
    }
}

/// One connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Is it there?
    pub up: bool,
    /// Times it opened.
    pub opened: u64,
    /// Times a successor took over without a gap.
    pub replaced: u64,
    /// Times it was lost, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Attempts that failed.
    pub failed: u64,
    /// Since its last frame, ms; absent before the first, and for the account's connections, which are silent while nothing
    /// happens.
    pub heard_ms: Option<u64>,
}

/// Percentiles, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "percentiles have names")]
pub struct Percentiles {
    pub n: u64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Latency of one hop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hop {
    /// Its name.
    pub name: String,
    /// Of the last minute.
    pub minute: Option<Percentiles>,
    /// Since the start.
    pub all: Option<Percentiles>,
    /// Samples at or below each of [`crate::latency::BOUNDS_NS`].
    pub buckets: Vec<u64>,
    /// Σ of all samples, seconds.
    pub sum: f64,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Worker it runs on.
    pub worker: String,
    /// Duty cycles.
    pub polls: u64,
    /// Of them, those that did something.
    pub worked: u64,
    /// Share of them since the last state.
    pub duty: f64,
    /// Longest duty cycle, ns.
    pub longest_ns: u64,
    /// Since the last cycle.
    pub heartbeat_age_ms: u64,
}

/// One ring.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ring {
    /// `from_to`.
    pub name: String,
    /// Slots.
    pub capacity: u64,
    /// Messages.
    pub pushed: u64,
    /// Most slots in use at once.
    pub high_water: u64,
    /// Times it was full.
    pub full: u64,
    /// Its sender waits, nothing is given up.
    pub lossless: bool,
}

/// System memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the registry, which explains them")]
pub struct Memory {
    pub backend: String,
    pub connected: bool,
    pub detail: String,
    pub restored: String,
    pub written: u64,
    pub pending: u64,
    pub lost: u64,
    pub outages: u64,
}

/// The journal of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// Records written.
    pub records: u64,
    /// Records lost: each is a hole.
    pub lost: u64,
    /// Bytes written, before compression.
    pub bytes: u64,
    /// Records that waited for the writer when it looked last.
    pub waiting: u64,
    /// Times that the disk was asked to keep what was written.
    pub syncs: u64,
    /// Time that this took in all, and the longest, s.
    pub sync_s: f64,
    /// The longest of them, s.
    pub sync_longest_s: f64,
    /// Can nothing be written at present?
    pub failing: bool,
    /// Bytes that its disk has free; absent: not known.
    pub disk_free: Option<u64>,
    /// Bytes that its disk has in all; absent: not known.
    pub disk_size: Option<u64>,
}

/// The venue's clock against ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clock {
    /// How far it is ahead, ms.
    pub offset_ms: Option<f64>,
    /// Bound of the error, ms.
    pub error_ms: Option<f64>,
}

/// A line of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLine {
    /// When.
    pub at_ms: u64,
    /// `ERROR`, `WARN`, `INFO`.
    pub level: String,
    /// What.
    pub text: String,
}

impl State {
    /// Gates that keep anything from being opened.
    pub fn account_gates(&self) -> impl Iterator<Item = &ClosedGate> {
        self.gates.iter().filter(|g| g.symbols.is_empty())
    }

    /// A hop by name.
    pub fn hop(&self, name: &str) -> Option<&Hop> {
        self.latency.iter().find(|h| h.name == name)
    }
}
