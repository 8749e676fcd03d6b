//! The control thread's state, and what its parts share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use binance::Symbols;
use binance::clock::ServerClock;
use binance::limits::Holds;
use binance::rest::{CommissionRate, ExchangeInfo, RestClient, RestError};
use binance::user_stream::{UserStream, UserStreamConfig};
use execution::Gate;
use futures_util::stream::FuturesUnordered;
use market::{ExecutionReport, InstrumentStatus, Nanos, OrderRequest, SymbolId};
use memory::schema::Deployment;
use memory::{SystemMemory, WriteBehind};
use runtime::clock::Clock;
use runtime::environment::Files;
use runtime::journal::writer::Status;
use runtime::ring::Tx;
use secrecy::SecretString;
use tokio::sync::watch;

use super::close_stop::{CloseStops, StopAnswer};
use super::market_data::MarketController;
use super::orders::Orders;
use super::shown::Publishing;
use super::status::Seen;
use crate::beat::{Beat, Silence};
use crate::day::SharedDay;
use crate::drop_copy::DropCopy;
use crate::environment::Environment;
use crate::roles::lease::LeaseView;
use crate::roles::status::SharedAlphaStatus;
use crate::sensors::HealthWatch;
use crate::stages::router::{AccountState, RouterCommand};
use crate::topology::{AccountEnds, Ends, ShardEnds, SourceEnds};

/// The result of a request.
#[expect(clippy::large_enum_variant, reason = "a few at a time, off the hot path")]
pub(super) enum Done {
    Clock(Result<ServerClock, RestError>),
    /// Asked for at this venue time, ms.
    Account(u64, Result<Box<AccountState>, RestError>),
    ListenKey(Result<SecretString, RestError>),
    Kept(Result<(), RestError>),
    Ordered(OrderRequest, Result<Option<ExecutionReport>, RestError>),
    Settings(Result<Settings, RestError>),
    Rates(Result<CommissionRate, RestError>),
    Instruments(Result<ExchangeInfo, RestError>),
    DeadMan(SymbolId, Result<(), RestError>),
    Stop(StopAnswer),
    Sent(&'static str, Result<(), RestError>),
}

pub(super) type Job = Pin<Box<dyn Future<Output = Done>>>;

/// How long the end of a run waits for the kill ladder where it cancels, and where it closes positions too; what it has not
/// done by then is done over REST as far as orders go.
const CANCELLED_WITHIN_NS: u64 = 4 * Nanos::SECOND;
const CLOSED_WITHIN_NS: u64 = 12 * Nanos::SECOND;
/// And so much longer where nothing works any more and the ladder has but to ask the venue whether that is so.
pub(super) const VERIFIED_WITHIN_NS: u64 = 3 * Nanos::SECOND;

/// Where the end of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// Waiting for the engine's exit.
    Flattening {
        until: u64,
    },
    /// Waiting for the kill ladder.
    Killing {
        until: u64,
    },
    Over,
}

impl Ending {
    /// The kill ladder begins.
    pub(super) const fn killing(now: u64, flatten: bool) -> Self {
        let within = if flatten { CLOSED_WITHIN_NS } else { CANCELLED_WITHIN_NS };
        Self::Killing { until: now + within }
    }

    /// Waits no longer than this, for the ladder that is begun as for the exit before it.
    pub(super) fn hurried(self, latest: u64) -> Self {
        match self {
            Self::Flattening { until } | Self::Killing { until } => {
                Self::Killing { until: until.min(latest) }
            }
            other => other,
        }
    }
}

/// The thread's state.
pub struct Control {
    pub(super) orders: Orders,
    pub(super) rest: Arc<RestClient>,
    pub(super) symbols: Symbols,
    pub(super) ends: AccountEnds,
    pub(super) clock: Clock,
    pub(super) files: Arc<dyn Files>,
    pub(super) started: u64,
    pub(super) gate: Gate,
    pub(super) gate_told: Option<Gate>,
    pub(super) jobs: FuturesUnordered<Job>,
    /// `None` in the role alpha: the shards are the market there.
    pub(super) market: Option<MarketController>,
    pub(super) shards: Option<ShardEnds>,
    pub(super) private: Private,
    pub(super) watch: Watch,
    pub(super) stops: CloseStops,
    pub(super) progress_due: u64,
    pub(super) router_commands: VecDeque<RouterCommand>,
    pub(super) orders_told: (u64, u64),
    pub(super) health: HealthWatch,
    /// The run began while memory was silent: it ends when it answers.
    pub(super) memory: Option<SystemMemory>,
    pub(super) ending: Ending,
    /// Of a silent worker, a state that is not kept and a hole in the journal: told already.
    pub(super) told_state: (bool, bool, bool),
    pub(super) told_armed: bool,
    /// The fence is shut, and nobody else is known to have the lease.
    pub(super) lease_away: bool,
    pub(super) signalled: Arc<AtomicBool>,
    /// Tells the watchdog that this thread turns.
    pub beat: Beat,
    /// The watchdog's word about the others.
    pub silence: Silence,
    /// Adds the fills up by another way.
    pub drop_copy: DropCopy,
    /// Set while the state can be kept nowhere.
    pub unkept: Arc<AtomicBool>,
    /// What the journal's thread tells of itself.
    pub journal: Option<Arc<Status>>,
    /// Records that the journal had lost, and when it last lost some or was refused by the disk.
    pub(super) journal_lost: (u64, Option<u64>),
    pub(super) rearming: Rearming,
    /// How the lease stands, and what operators ordered in memory; `None`: no lease is held.
    pub lease_view: Option<watch::Receiver<LeaseView>>,
    /// Where the role alpha shows its status.
    pub alpha_status: Option<SharedAlphaStatus>,
    /// Makes the status model; `None`: nobody looks.
    pub publishing: Option<Publishing>,
    /// What it has seen.
    pub seen: Seen,
}

impl Control {
    /// A control thread for a running pipeline. `clock` of the venue has been taken, the listen key too.
    pub fn new(
        orders: Orders,
        rest: Arc<RestClient>,
        symbols: Symbols,
        ends: Ends,
        environment: Environment,
        watch: WatchConfig,
        signalled: Arc<AtomicBool>,
    ) -> Self {
        let clock = environment.clock.clone();
        let now = clock.now_ns();
        let venue_ms = rest.clock().server_time(Nanos(now)).millis();
        let private = Private::new(&orders.private_path, now, venue_ms);
        let stops = CloseStops::new(watch.disaster_stop_pct, now);
        let watch = Watch::new(watch, symbols.clone(), now);
        let mut seen = Seen::default();
        let names = symbols.all().iter().map(|i| i.symbol.clone()).collect();
        let Ends { source, account: ends } = ends;
        let (market, shards) = match source {
            SourceEnds::Streams(market) => {
                let rest = Arc::clone(&rest);
                (Some(MarketController::new(market, rest, names, now, &mut seen)), None)
            }
            SourceEnds::Shards(shards) => (None, Some(shards)),
        };
        Self {
            orders,
            rest,
            symbols,
            ends,
            started: now,
            gate: Gate::default(),
            gate_told: None,
            jobs: FuturesUnordered::new(),
            market,
            shards,
            private,
            watch,
            stops,
            progress_due: now + 5 * Nanos::SECOND,
            router_commands: VecDeque::new(),
            orders_told: (0, 0),
            health: HealthWatch::default(),
            memory: None,
            ending: Ending::No,
            lease_away: false,
            signalled,
            clock,
            files: environment.files,
            beat: Beat::default(),
            silence: Silence::default(),
            drop_copy: DropCopy::default(),
            unkept: Arc::default(),
            journal: None,
            journal_lost: (0, None),
            told_state: (false, false, false),
            told_armed: false,
            rearming: Rearming::default(),
            lease_view: None,
            alpha_status: None,
            publishing: None,
            seen,
        }
    }

    /// May this node still act for the account?
    pub(super) fn may_send(&self) -> bool {
        self.ends.fence.is_open(self.clock.now_ns())
    }

    pub(super) fn start(&self, job: impl Future<Output = Done> + 'static) {
        self.jobs.push(Box::pin(job));
    }

    /// Counts an alert.
    pub(super) fn alert(&mut self, kind: &str) {
        self.seen.alert(kind);
    }
}

/// A command for a stage that polls every few microseconds: its ring is full only if the stage is dead, and then the
/// run is ending.
pub(super) fn push<T>(tx: &mut Tx<T>, command: T) {
    if tx.push(command).is_err() {
        tracing::error!("the ring {} is full: its stage does not answer", tx.stats().name());
    }
}

/// Orders to rearm, and where their answers go.
#[derive(Debug, Default)]
pub(super) struct Rearming {
    pub(super) day: SharedDay,
    pub(super) writes: Option<(WriteBehind, Deployment)>,
    pub(super) look_at: u64,
    /// Ids in the order in which the router answers.
    pub(super) asked: Vec<String>,
}

// ---- account and instruments -------------------------------------------------------------------------------------

/// The state of the private side.
pub(super) struct Private {
    pub(super) stream: UserStream,
    /// Looks at the account begun so far; the stream waits for one that began after it opened.
    pub(super) reads: u64,
    pub(super) reading: bool,
    pub(super) read_again: bool,
    pub(super) read_due: Option<u64>,
    pub(super) read_failures: u32,
    pub(super) stream_waits_for: Option<u64>,
    /// When an order was last sent or seen open in an instrument, venue ms.
    pub(super) traded: BTreeMap<SymbolId, u64>,
    pub(super) fills_since_ms: u64,
    pub(super) last_read_ms: u64,
    /// The next look lists transfers, since then.
    pub(super) list_transfers: bool,
    pub(super) transfers_since_ms: u64,
    pub(super) holds: Holds,
    pub(super) clock_due: u64,
    pub(super) clock_running: bool,
    pub(super) fatal: BTreeSet<i32>,
    pub(super) told: BTreeSet<i32>,
}

impl Private {
    /// Below `private_path`; fills count from `venue_ms` on.
    pub(super) fn new(private_path: &str, now: u64, venue_ms: u64) -> Self {
        Self {
            stream: UserStream::new(private_path, UserStreamConfig::default()),
            reads: 0,
            reading: false,
            read_again: false,
            read_due: None,
            read_failures: 0,
            stream_waits_for: None,
            traded: BTreeMap::new(),
            fills_since_ms: venue_ms,
            last_read_ms: venue_ms,
            list_transfers: false,
            transfers_since_ms: venue_ms,
            holds: Holds::default(),
            clock_due: now,
            clock_running: false,
            fatal: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }
}

/// How often things are looked at, and how wrong the clock may be (ms); how a dead node's positions end.
#[derive(Debug, Clone, Copy)]
pub struct WatchConfig {
    /// Settings of the account (position mode, margin type, leverage).
    pub account_ms: u64,
    /// Filters and status of all instruments.
    pub instruments_ms: u64,
    /// From this offset on an alert is raised (`risk.max_clock_offset_ms`).
    pub max_clock_offset_ms: u64,
    /// Longest receive window of an order (`router.recv_window_ms`).
    pub recv_window_ms: u32,
    /// Distance of the stop that each position has at the venue, % of its entry (`router.disaster_stop_pct`); 0: none.
    pub disaster_stop_pct: f64,
}

/// How the account is set: what the session began with must stay.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) can_trade: bool,
    pub(super) hedge: bool,
    pub(super) multi_assets: bool,
    /// Leverage and isolated margin by symbol.
    pub(super) symbols: BTreeMap<String, (u32, bool)>,
}

impl Settings {
    /// What differs from `before`, for people.
    pub(super) fn differs(&self, before: &Self) -> Option<String> {
        let mut changes = Vec::new();
        let mode = |hedge| if hedge { "hedge mode" } else { "one-way mode" };
        if self.hedge != before.hedge {
            changes.push(format!("the position mode is {} now", mode(self.hedge)));
        }
        if self.multi_assets != before.multi_assets {
            changes.push(format!("multi-assets mode is {}", self.multi_assets));
        }
        if self.can_trade != before.can_trade {
            changes.push(format!("may trade: {}", self.can_trade));
        }
        for (symbol, now) in &self.symbols {
            if let Some(then) = before.symbols.get(symbol).filter(|then| *then != now) {
                let margin = |isolated| if isolated { "isolated" } else { "cross" };
                changes.push(format!(
                    "{symbol} has leverage {} ({}), it had {} ({})",
                    now.0,
                    margin(now.1),
                    then.0,
                    margin(then.1)
                ));
            }
        }
        (!changes.is_empty()).then(|| changes.join("; "))
    }
}

/// The status of a halted instrument is read this often.
pub(super) const HALTED_EVERY_NS: u64 = 10 * Nanos::SECOND;

/// An instrument that takes no order now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    /// Times it was refused without a change of its filters.
    pub(super) times: u32,
    /// It is tried again then, whatever its filters say; never before they were read.
    pub(super) again_at: u64,
}

/// The state of the watch.
pub(super) struct Watch {
    pub(super) config: WatchConfig,
    /// As at the start: ticks and lots of the session.
    pub(super) session: Symbols,
    pub(super) reading: bool,
    pub(super) instruments_due: u64,
    pub(super) blocked: BTreeMap<SymbolId, Blocked>,
    pub(super) settings: Option<Settings>,
    pub(super) settings_due: u64,
    pub(super) settings_running: bool,
}

impl Watch {
    pub(super) fn new(config: WatchConfig, session: Symbols, now: u64) -> Self {
        let mut watch = Self {
            config,
            session: session.clone(),
            reading: false,
            instruments_due: 0,
            blocked: BTreeMap::new(),
            settings: None,
            settings_due: now,
            settings_running: false,
        };
        watch.set_instruments_due(&session, now);
        watch
    }

    /// When the instruments are read next: soon while one of them takes no orders, because a position in it may wait for that.
    pub(super) fn set_instruments_due(&mut self, symbols: &Symbols, now: u64) {
        let halted = symbols.all().iter().any(|i| i.status == InstrumentStatus::Halted);
        let waiting = self.blocked.values().any(|b| b.again_at > now);
        let usual = self.config.instruments_ms * Nanos::MS;
        self.instruments_due = now + if halted || waiting { usual.min(HALTED_EVERY_NS) } else { usual };
    }
}

impl std::ops::Deref for Watch {
    type Target = WatchConfig;

    fn deref(&self) -> &WatchConfig {
        &self.config
    }
}
