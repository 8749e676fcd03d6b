//! The control thread: everything slow around the pipeline. Snapshots, errands, signals, progress, and the end of a
//! run in good order; [`account`] is its private side (user stream, reconciliation, REST), [`watch`] looks after what
//! may change at the venue.
//!
//! It turns every 20 ms: takes what the stages tell, starts errands as futures, hands their results back. Nothing on
//! the hot path waits for it.

mod account;
pub mod desk;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alpha::Trade;
use binance::Symbols;
use binance::clock::ServerClock;
use binance::limits::Urgency;
use binance::rest::{RestClient, RestError};

use execution::{AlertKind, Control as Errand, Gate, KillTrigger};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use market::{ExecutionReport, Nanos, OrderRequest, Qty, SymbolId};
use runtime::clock::Clock;
use runtime::ring::Tx;
use secrecy::SecretString;
use tokio::sync::watch as show;

use crate::roles::standby::Board;
use crate::sensors::HealthWatch;
use crate::shards::assembly::ShardCounters;
use crate::stages::alpha::{AlphaCommand, AlphaNews};
use crate::stages::book::{BookCounters, Mask, SnapshotReply};
use crate::stages::feed::FeedCounters;
use crate::stages::router::{AccountState, RouterCommand, RouterNews, RouterState};
use crate::topology::Ends;
pub use account::account;
pub use watch::WatchConfig;

use self::desk::{LineSummary, MarketDesk};

/// How often the control thread looks.
const TURN: Duration = Duration::from_millis(20);
/// How long the end of a run waits: for a flat position, and then for the kill ladder.
const FLAT_WITHIN_NS: u64 = 8 * Nanos::SECOND;
const KILLED_WITHIN_NS: u64 = 15 * Nanos::SECOND;
/// What stands in the kill file where positions are to be closed too.
pub const KILL_FLATTEN: &str = "flatten";

/// The result of an errand.
#[expect(clippy::large_enum_variant, reason = "a few at a time, off the hot path")]
enum Done {
    Snapshot(SymbolId, bool, Result<Vec<u8>, RestError>),
    Clock(Result<ServerClock, RestError>),
    /// Asked for at this venue time, ms.
    Account(u64, Result<Box<AccountState>, RestError>),
    ListenKey(Result<SecretString, RestError>),
    Kept(Result<(), RestError>),
    Ordered(OrderRequest, Result<Option<ExecutionReport>, RestError>),
    Settings(Result<watch::Settings, RestError>),
    Instruments(Result<binance::rest::ExchangeInfo, RestError>),
    Sent(&'static str, Result<(), RestError>),
}

type Job = Pin<Box<dyn Future<Output = Done>>>;

/// Where the end of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
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

/// What the control thread is told to do.
#[derive(Debug, Clone)]
pub struct Orders {
    /// End after this long.
    pub seconds: Option<f64>,
    /// Close the position at the end.
    pub flatten: bool,
    /// Pull the kill switch when this file appears; with [`KILL_FLATTEN`] in it positions are closed too.
    pub kill_file: Option<PathBuf>,
    /// Route of the user stream, e.g. `/private`; the listen key is added.
    pub private_path: String,
    /// Print a line of progress every five seconds.
    pub progress: bool,
    /// Where to show what is seen, every turn of the control thread, while somebody looks.
    pub watch: Option<show::Sender<Seen>>,
}

/// What the control thread has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Sockets of market data.
    pub feed: FeedCounters,
    /// Market connections by name.
    pub connections: BTreeMap<String, LineSummary>,
    /// Symbols that are masked now, and why.
    pub masked: BTreeMap<String, Mask>,
    /// Books.
    pub book: BookCounters,
    /// Steps by gate.
    pub gates: Option<[u64; alpha::Gate::ALL.len()]>,
    /// Router.
    pub router: RouterState,
    /// Positions that are not zero, by symbol.
    pub positions: BTreeMap<String, Qty>,
    /// What the router was last told of its surroundings.
    pub gate: Gate,
    /// How ticks are gathered from the shards (role alpha).
    pub shards: ShardCounters,
    /// The lease was lost: another node may act for the account, so this one does not touch it any more.
    pub fenced: bool,
    /// Closed trades.
    pub trades: Vec<Trade>,
    /// What changed the wallet besides orders, by the venue's reason: funding, transfers, commissions in other assets.
    pub ledger: BTreeMap<String, f64>,
    /// Alerts by kind.
    pub alerts: BTreeMap<String, u64>,
    /// Why the run ended.
    pub ended_by: String,
    /// What made the run impossible, if something did.
    pub failed: Option<String>,
}

impl Seen {
    /// Counts an alert.
    pub fn alert(&mut self, kind: &str) {
        *self.alerts.entry(kind.to_owned()).or_default() += 1;
    }
}

/// The thread's state.
pub struct Control {
    orders: Orders,
    rest: Arc<RestClient>,
    symbols: Symbols,
    ends: Ends,
    clock: Clock,
    started: u64,
    gate: Gate,
    gate_told: Option<Gate>,
    jobs: FuturesUnordered<Job>,
    market: MarketDesk,
    private: account::Private,
    watch: watch::Watch,
    progress_due: u64,
    router_commands: VecDeque<RouterCommand>,
    orders_told: (u64, u64),
    health: HealthWatch,
    ending: Ending,
    signalled: Arc<AtomicBool>,
    /// Where the role alpha shows how it does.
    pub board: Option<Board>,
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
        clock: Clock,
        watch: WatchConfig,
        signalled: Arc<AtomicBool>,
    ) -> Self {
        let now = clock.now_ns();
        let venue_ms = rest.clock().server_time(Nanos(now)).millis();
        let private = account::Private::new(&orders.private_path, now, venue_ms);
        let watch = watch::Watch::new(watch, symbols.clone(), now);
        let mut seen = Seen::default();
        let names = symbols.all().iter().map(|i| i.symbol.clone()).collect();
        let market = MarketDesk::new(ends.lines.clone(), names, now, &mut seen);
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
            private,
            watch,
            progress_due: now + 5 * Nanos::SECOND,
            router_commands: VecDeque::new(),
            orders_told: (0, 0),
            health: HealthWatch::default(),
            ending: Ending::No,
            signalled,
            clock,
            board: None,
            seen,
        }
    }

    /// Runs until the end of the run is complete or `stop` is set by a stage that died.
    pub async fn run(&mut self, stop: &AtomicBool) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while self.ending != Ending::Over {
            tokio::select! {
                _ = turn.tick() => self.turn(stop),
                Some(done) = self.jobs.next() => self.done(done),
            }
        }
        // Errands under way (a last cancel) get a moment.
        let rest = async {
            while let Some(done) = self.jobs.next().await {
                drop(done);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
    }

    /// The latency collector, for the summary.
    pub fn ends(&mut self) -> &mut Ends {
        &mut self.ends
    }

    fn turn(&mut self, stop: &AtomicBool) {
        let now = self.clock.now_ns();
        self.ends.latency.drain();
        while let Some(news) = self.ends.feed.pop() {
            self.market.on_feed(news, &mut self.seen);
        }
        while let Some(news) = self.ends.book.pop() {
            self.market.on_book(news, now, &mut self.seen);
        }
        while let Some(counters) = self.ends.shards.pop() {
            self.seen.shards = counters;
            // For whoever looks at the market's health: a fresh symbol is a book in sync.
            self.seen.book.live_books = counters.fresh;
            if let Some(board) = &self.board {
                board.show(counters);
            }
        }
        while let Some(news) = self.ends.alpha.pop() {
            self.alpha(news);
        }
        while let Some(news) = self.ends.gateway.pop() {
            self.gateway(news);
        }
        while let Some(news) = self.ends.router.pop() {
            self.router(news);
        }
        self.timers(now);
        self.ending(now, stop);
        self.tell_router();
        self.show();
    }

    fn show(&mut self) {
        self.seen.gate = self.gate;
        if let Some(watch) = self.orders.watch.as_ref().filter(|w| w.receiver_count() > 0) {
            watch.send_modify(|shown| shown.clone_from(&self.seen));
        }
    }

    fn alpha(&mut self, news: AlphaNews) {
        match news {
            AlphaNews::Gates(gates) => self.seen.gates = Some(gates),
            AlphaNews::Closed(trade) => self.seen.trades.push(trade),
            AlphaNews::DayEnded(_) => self.router_commands.push_back(RouterCommand::BeginDay),
            AlphaNews::StaleState => self.alert("StaleState"),
            AlphaNews::Mismatch => self.alert("EngineMismatch"),
            AlphaNews::StaleScans(n) => {
                if n == 1 {
                    tracing::warn!(
                        "a scan of system memory was too old to be used; further ones are counted"
                    );
                }
                self.seen.alerts.insert("StaleScan".to_owned(), n);
            }
            AlphaNews::Allowed { posture, abs_max_leverage, breaker_can_open } => {
                self.gate = Gate { posture, abs_max_leverage, breaker_can_open, ..self.gate };
            }
        }
    }

    fn router(&mut self, news: RouterNews) {
        match news {
            RouterNews::Errand(errand) => self.errand(errand),
            RouterNews::Alert(alert) => {
                // The ladder that ends every run is no alert.
                if self.ending != Ending::No
                    && matches!(alert.kind, AlertKind::KillTripped | AlertKind::KillDone)
                {
                    return;
                }
                let name = format!("{:?}", alert.kind);
                if alert.kind.pages() {
                    tracing::warn!(symbol = self.name_of(alert.symbol), "{alert}");
                } else {
                    tracing::debug!("{alert}");
                }
                self.alert(&name);
            }
            RouterNews::Denied(denial) => {
                tracing::debug!("{denial}");
                self.alert(&format!("Denied {:?}", denial.check));
            }
            RouterNews::Outcome(outcome) => tracing::debug!(?outcome),
            RouterNews::State(state) => self.seen.router = state,
            RouterNews::Position(symbol, qty) => {
                let name = self.name_of(Some(symbol)).to_owned();
                if qty.is_zero() {
                    self.seen.positions.remove(&name);
                } else {
                    self.seen.positions.insert(name, qty);
                }
            }
        }
    }

    fn name_of(&self, symbol: Option<SymbolId>) -> &str {
        symbol.and_then(|id| self.symbols.get(id)).map_or("", |i| i.symbol.as_str())
    }

    fn errand(&mut self, errand: Errand) {
        match errand {
            Errand::Reconcile => self.reconcile(),
            Errand::SyncClock => self.sync_clock(true),
            Errand::DeadMan { .. } if !self.may_send() => {}
            Errand::DeadMan { symbol, countdown_ms } => {
                let Some(name) = self.symbols.get(symbol).map(|i| i.symbol.clone()) else { return };
                let rest = Arc::clone(&self.rest);
                self.start(async move {
                    Done::Sent("dead-man switch", rest.countdown_cancel_all(&name, countdown_ms).await)
                });
            }
            Errand::RefreshFilters(symbol) => self.refresh_filters(symbol),
        }
    }

    fn timers(&mut self, now: u64) {
        while let Some((symbol, audit)) = self.market.snapshots.next(now) {
            self.fetch_snapshot(symbol, audit);
        }
        self.tend_account(now);
        self.tend_watch(now);
        let s = self.seen.router;
        let (sent, refused) = (s.orders - self.orders_told.0, s.rejects - self.orders_told.1);
        if sent > 0 || refused > 0 {
            let command = AlphaCommand::Orders {
                accepted: u32::try_from(sent.saturating_sub(refused)).unwrap_or(u32::MAX),
                rejected: u32::try_from(refused).unwrap_or(u32::MAX),
            };
            if self.ends.to_alpha.push(command).is_ok() {
                self.orders_told = (s.orders, s.rejects);
            }
        }
        let connected = self.gate.order_path && self.gate.user_stream;
        if let Some(health) = self.health.look(now, connected, &self.seen.router, &self.seen.book) {
            // Telemetry: full only if memory's thread is dead.
            let _ = self.ends.to_memory.push(health);
        }
        if self.orders.progress && now >= self.progress_due {
            self.progress_due = now + 5 * Nanos::SECOND;
            self.progress(now);
        }
    }

    fn progress(&self, now: u64) {
        let (b, r) = (&self.seen.book, &self.seen.router);
        let pnl: f64 = self.seen.trades.iter().map(|t| t.pnl).sum();
        eprintln!(
            "{:>5.0} s  {} frames, {} books in sync, {} orders, {} fills, {} round trips, PnL {pnl:+.2}",
            (now - self.started) as f64 / 1e9,
            self.seen.feed.frames,
            b.live_books,
            r.orders,
            r.fills,
            self.seen.trades.len()
        );
    }

    // ---- the end of a run ---------------------------------------------------------------------------------------

    fn ending(&mut self, now: u64, stop: &AtomicBool) {
        if stop.load(Ordering::Acquire) {
            // A stage died: what works at the venue is cancelled over REST, by the node.
            self.seen.ended_by = "a stage that died".to_owned();
            self.ending = Ending::Over;
        }
        if self.ending != Ending::Over && !self.ends.fence.is_open(now) {
            tracing::warn!("the lease is lost: nothing more is sent to the venue");
            self.seen.fenced = true;
            "a lost lease".clone_into(&mut self.seen.ended_by);
            self.ending = Ending::Over;
        }
        match self.ending {
            Ending::No => {
                if let Some(flatten) = self.kill_wish() {
                    "the kill file".clone_into(&mut self.seen.ended_by);
                    push(&mut self.ends.to_alpha, AlphaCommand::Stop { flatten: false });
                    let trigger = KillTrigger::File;
                    self.router_commands.push_back(RouterCommand::Kill { flatten, trigger });
                    self.ending = Ending::Killing { until: now + KILLED_WITHIN_NS };
                } else if let Some(why) = self.should_end(now) {
                    why.clone_into(&mut self.seen.ended_by);
                    push(&mut self.ends.to_alpha, AlphaCommand::Stop { flatten: self.orders.flatten });
                    self.ending = Ending::Flattening { until: now + FLAT_WITHIN_NS };
                }
            }
            Ending::Flattening { until } => {
                let r = &self.seen.router;
                let flat = r.positions == 0 && r.working == 0 && r.unknown == 0;
                if flat || !self.orders.flatten || now >= until {
                    let (flatten, trigger) = (self.orders.flatten, KillTrigger::Command);
                    self.router_commands.push_back(RouterCommand::Kill { flatten, trigger });
                    self.ending = Ending::Killing { until: now + KILLED_WITHIN_NS };
                }
            }
            Ending::Killing { until } => {
                if self.seen.router.kill_done || now >= until {
                    self.ending = Ending::Over;
                }
            }
            Ending::Over => {}
        }
    }

    /// Is the kill file there, and does it want positions closed?
    fn kill_wish(&self) -> Option<bool> {
        let file = self.orders.kill_file.as_ref().filter(|f| f.exists())?;
        // What cannot be read still is a wish to stop.
        Some(std::fs::read_to_string(file).is_ok_and(|text| text.contains(KILL_FLATTEN)))
    }

    fn should_end(&mut self, now: u64) -> Option<&'static str> {
        if let Some(why) = self.market.failed(now, &self.seen) {
            self.seen.failed = Some(why.to_owned());
            return Some("market data that never came");
        }
        if self.signalled.load(Ordering::Acquire) {
            return Some("a signal");
        }
        let elapsed = (now - self.started) as f64 / 1e9;
        self.orders.seconds.is_some_and(|s| elapsed >= s).then_some("its time")
    }

    // ---- errands ------------------------------------------------------------------------------------------------

    /// May this node still act for the account?
    fn may_send(&self) -> bool {
        self.ends.fence.is_open(self.clock.now_ns())
    }

    fn start(&self, job: impl Future<Output = Done> + 'static) {
        self.jobs.push(Box::pin(job));
    }

    fn fetch_snapshot(&mut self, symbol: SymbolId, audit: bool) {
        let Some(name) = self.symbols.get(symbol).map(|i| i.symbol.clone()) else { return };
        let rest = Arc::clone(&self.rest);
        let urgency = if audit { Urgency::Audit } else { Urgency::Snapshot };
        self.start(async move { Done::Snapshot(symbol, audit, rest.depth(&name, 1000, urgency).await) });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Snapshot(symbol, audit, result) => {
                self.market.snapshots.done(symbol, audit, result.is_err(), self.clock.now_ns());
                match result {
                    Ok(body) => push(&mut self.ends.to_book, Box::new(SnapshotReply { symbol, audit, body })),
                    Err(error) => tracing::warn!("snapshot: {error}"),
                }
            }
            Done::Clock(result) => self.clock_synced(result),
            Done::Account(asked_ms, result) => self.account_read(asked_ms, result),
            Done::ListenKey(result) => self.listen_key(result),
            Done::Kept(result) => self.kept(result),
            Done::Ordered(request, result) => self.ordered(&request, result),
            Done::Settings(result) => self.settings_read(result),
            Done::Instruments(result) => self.instruments_read(result),
            Done::Sent(what, Err(error)) => {
                tracing::error!("{what}: {error}");
                self.private_error(&error);
                self.alert(&format!("Failed {what}"));
            }
            Done::Sent(_, Ok(())) => {}
        }
    }

    fn tell_router(&mut self) {
        if self.gate_told != Some(self.gate)
            && self.ends.to_router.push(RouterCommand::Gate(self.gate)).is_ok()
        {
            self.gate_told = Some(self.gate);
        }
        while let Some(command) = self.router_commands.pop_front() {
            if let Err(command) = self.ends.to_router.push(command) {
                self.router_commands.push_front(command);
                break;
            }
        }
    }

    fn alert(&mut self, kind: &str) {
        self.seen.alert(kind);
    }
}

/// A command for a stage that polls every few microseconds: its ring is full only if the stage is dead, and then the
/// run is ending.
fn push<T>(tx: &mut Tx<T>, command: T) {
    if tx.push(command).is_err() {
        tracing::error!("the ring {} is full: its stage does not answer", tx.stats().name());
    }
}
