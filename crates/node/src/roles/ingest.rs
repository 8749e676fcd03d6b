//! An ingest node: feed and books as everywhere, and a writer of shards behind them. No key, no engine, no orders.
//!
//! One hot worker polls feed and books; this thread does REST, memory and the writing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binance::Symbols;
use binance::clock::ServerClock;
use binance::hosts::{Hosts, Venue};
use binance::rest::{ExchangeInfo, RestClient, RestError};
use futures_util::future::BoxFuture;
use market::text::counted;
use market::{ClockOffset, Instrument, Nanos};
use memory::{SystemMemory, WriteBehind};
use runtime::clock::Clock;
use runtime::latency::Collector;
use serde::Serialize;
use telemetry::published::Published;

use super::holder;
use super::waiting::{self, Waiting};
use crate::averages;
use crate::beat::Beat;
use crate::config::Config;
use crate::connections;
use crate::control::market_data::{CLOCK_AGAIN_NS, CLOCK_EVERY_NS, MarketController};
use crate::control::orders::say;
use crate::control::shown;
use crate::control::status::{LineSummary, Seen};
use crate::environment::Environment;
use crate::error::Failure;
use crate::preflight;
use crate::role::{Role, Share};
use crate::shards::writer::{self, Writer, WriterCounters};
use crate::stages::book::BookCounters;
use crate::stages::feed::FeedCounters;
use crate::topology::{self, IngestPipeline, MarketEnds, Streams};
use crate::watchdog::{self, Watchdog, Watched};

/// How often this thread looks.
const TURN: Duration = Duration::from_millis(20);
/// Last writes at the end.
const FLUSH: Duration = Duration::from_secs(2);
/// Between two lines of progress.
const PROGRESS_NS: u64 = 5 * Nanos::SECOND;

/// What an ingest node is to run.
pub struct Options {
    /// Configuration, checked.
    pub config: Config,
    /// Where.
    pub venue: Venue,
    /// Its hosts, overrides applied.
    pub hosts: Hosts,
    /// Which symbols.
    pub share: Share,
    /// End after this long, s.
    pub seconds: Option<f64>,
    /// Print lines of progress.
    pub progress: bool,
    /// Set by a signal.
    pub signalled: Arc<AtomicBool>,
    /// Where the state is published for whoever looks at the node.
    pub published: Option<Arc<Published>>,
}

/// What it did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// `ingest`.
    pub role: Role,
    /// Its name in memory.
    pub node: String,
    /// Venue.
    pub venue: String,
    /// Symbols.
    pub symbols: usize,
    /// Length of the run, s.
    pub seconds: f64,
    /// Sockets of market data.
    pub feed: FeedCounters,
    /// Market connections by name.
    pub connections: BTreeMap<String, LineSummary>,
    /// Books.
    pub book: BookCounters,
    /// Alerts by kind.
    pub alerts: BTreeMap<String, u64>,
    /// Ticks of the books that reached the writer.
    pub ticks: u64,
    /// Values handed to memory.
    pub values: u64,
    /// Values that memory has.
    pub written: u64,
    /// Values overwritten by newer ones before memory took them.
    pub superseded: u64,
    /// Values given up.
    pub lost: u64,
    /// Times memory went away.
    pub outages: u64,
    /// Why the run ended.
    pub ended_by: &'static str,
}

impl Summary {
    /// Of a node that was told to end before the venue had answered.
    fn ended_waiting(options: &Options) -> Self {
        Self {
            role: Role::Ingest,
            node: String::new(),
            venue: format!("{} ({})", options.venue.name(), options.hosts.rest),
            symbols: 0,
            seconds: 0.0,
            feed: FeedCounters::default(),
            connections: BTreeMap::new(),
            book: BookCounters::default(),
            alerts: BTreeMap::new(),
            ticks: 0,
            values: 0,
            written: 0,
            superseded: 0,
            lost: 0,
            outages: 0,
            ended_by: "a signal",
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let b = &self.book;
        format!(
            "run       {:.1} s as {} against {}, ended by {}\n\
             market    {}, {}, {}, {} ({} lost), {} in sync, {}\n\
             shards    {}, {}, {} in memory, {} overwritten before, {} lost, {}\n",
            self.seconds,
            self.node,
            self.venue,
            self.ended_by,
            counted(self.symbols, "symbol"),
            counted(self.feed.frames, "frame"),
            counted(b.events, "event"),
            counted(b.samples, "sample"),
            b.lost_samples,
            counted(b.live_books, "book"),
            counted(b.gaps, "gap"),
            counted(self.ticks, "tick"),
            counted(self.values, "value"),
            self.written,
            self.superseded,
            self.lost,
            counted(self.outages, "outage"),
        )
    }
}

/// Runs it on this thread until its end.
pub fn run(options: Options, environment: &Environment) -> Result<Summary, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start the control runtime: {e}")))?;
    runtime.block_on(ingest(options, environment))
}

/// The instruments of the share, as the venue lists them; waits as long as it takes.
async fn listed(options: &Options, rest: &RestClient) -> Result<ExchangeInfo, Failure> {
    let unavailable = |e: RestError| preflight::rest_error(&e);
    rest.set_patient(true);
    rest.sync_clock(3).await.map_err(unavailable)?;
    let symbols = preflight::symbols(&options.config, rest).await.map_err(unavailable)?;
    let wanted = options.share.of(symbols);
    if wanted.is_empty() {
        return Err(Failure::usage("this share of the symbols is empty"));
    }
    let info = preflight::named(rest, &wanted).await.map_err(unavailable)?;
    rest.set_patient(false);
    Ok(info)
}

/// An ingest node until its end, on the present tokio runtime.
pub async fn ingest(options: Options, environment: &Environment) -> Result<Summary, Failure> {
    let clock = environment.clock.clone();
    let config = &options.config;
    let memory = environment
        .surroundings
        .memory(super::shared_memory(&config.memory)?)
        .map_err(|e| Failure::usage(format!("memory: {e}")))?;
    let rest = Arc::new(super::public_rest(&options.hosts, environment)?);
    // It may wait long, for a full window or a ban: a signal ends that.
    let info = tokio::select! {
        biased;
        () = holder::signalled(&options.signalled) => return Ok(Summary::ended_waiting(&options)),
        info = listed(&options, &rest) => info?,
    };
    let writes = WriteBehind::start(&memory);
    let name = super::process_name("ingest", config.roles.node.as_deref(), environment);
    let symbols = Symbols::new(info.instruments.clone());
    let (routes, feeds) = connections::ingest_routes(config, &options.hosts, &symbols, environment)?;
    let averages = averages::kept(&memory, &info.instruments, Nanos(clock.now_ns())).await;
    let streams = Streams { routes, feeds, averages };
    let pipeline = topology::start_ingest(config, &info.instruments, streams, environment)
        .map_err(|e| Failure::unavailable(format!("cannot start the worker: {e}")))?;
    let IngestPipeline { ends, ticks, quotes, latency, workers, stop } = pipeline;
    let writer = Writer::new(name.clone(), &info.instruments, ticks, quotes, writes.clone(), clock.clone());
    let counters = Arc::clone(&writer.counters);
    let writing =
        environment.spawner.spawn("shards", Box::pin(writer.run(environment.workers.turns(writer::TURN))));
    let mut control = Control::new(&options, rest, &info.instruments, (ends, latency), &clock);
    let watchdog = Watchdog::start(environment)?;
    watchdog.watch(Watched::of(&workers, &control.beat, &stop, None, config.runtime.watchdog_ms));
    let ended_by = control.run(&stop, &counters, &writes, &memory).await;
    watchdog.rest();
    let died = stop.swap(true, Ordering::AcqRel);
    let mut panics = watchdog::join(workers).await;
    panics.extend(watchdog.fired());
    counters.finish.store(true, Ordering::Release);
    let _ = writing.await;
    writes.flush(FLUSH).await;
    if died {
        return Err(Failure::unavailable(panics.pop().unwrap_or_else(|| "the worker stopped".to_owned())));
    }
    if let Some(why) = control.seen.failed.take() {
        return Err(Failure::unavailable(why));
    }
    let done = writes.counts();
    Ok(Summary {
        role: Role::Ingest,
        node: name,
        venue: format!("{} ({})", options.venue.name(), options.hosts.rest),
        symbols: info.instruments.len(),
        seconds: (clock.now_ns() - control.started) as f64 / 1e9,
        feed: control.seen.feed,
        connections: control.seen.connections,
        book: control.seen.book,
        alerts: control.seen.alerts,
        ticks: counters.ticks.load(Ordering::Relaxed),
        values: counters.values.load(Ordering::Relaxed),
        written: done.delivered,
        superseded: done.superseded,
        lost: done.rejected,
        outages: done.outages,
        ended_by,
    })
}

/// The venue's clock, or why it could not be asked.
type Measured = Result<ServerClock, RestError>;

struct Control {
    market: MarketController,
    rest: Arc<RestClient>,
    /// When the venue's clock is asked next, and the request that runs.
    clock_due: u64,
    measuring: Option<BoxFuture<'static, Measured>>,
    latency: Collector,
    symbols: usize,
    clock: Clock,
    started: u64,
    progress_due: u64,
    progress: bool,
    seconds: Option<f64>,
    signalled: Arc<AtomicBool>,
    beat: Beat,
    seen: Seen,
    shown: Waiting,
    /// Frames counted, and when they last grew.
    frames: (u64, Option<u64>),
}

impl Control {
    fn new(
        options: &Options,
        rest: Arc<RestClient>,
        instruments: &[Instrument],
        (ends, latency): (MarketEnds, Collector),
        clock: &Clock,
    ) -> Self {
        let now = clock.now_ns();
        let node = shown::who(&options.config, &options.venue, Role::Ingest, "books", clock);
        let mut seen = Seen::default();
        let names = instruments.iter().map(|i| i.symbol.clone()).collect();
        let market = MarketController::new(ends, Arc::clone(&rest), names, now, &mut seen);
        let measured = rest.clock();
        let mut control = Self {
            market,
            rest,
            clock_due: now + CLOCK_EVERY_NS,
            measuring: None,
            latency,
            symbols: instruments.len(),
            clock: clock.clone(),
            started: now,
            progress_due: now + PROGRESS_NS,
            progress: options.progress,
            seconds: options.seconds,
            signalled: Arc::clone(&options.signalled),
            beat: Beat::default(),
            seen,
            shown: Waiting::new(options.published.clone(), node),
            frames: (0, None),
        };
        control.use_clock(&measured, now);
        control
    }

    /// Event times are judged by it.
    fn use_clock(&mut self, measured: &ServerClock, now: u64) {
        if let Some(error_ns) = measured.error_bound() {
            self.market.set_clock(ClockOffset { offset_ns: measured.offset(), error_ns, at: Nanos(now) });
        }
    }

    /// Asks for the venue's clock when that is due. It may be moved, and ours drifts: an alpha node takes what is sampled a
    /// second beside the other nodes' for stale.
    fn measure_clock(&mut self, now: u64) {
        if now < self.clock_due || self.measuring.is_some() {
            return;
        }
        self.clock_due = now + CLOCK_EVERY_NS;
        let rest = Arc::clone(&self.rest);
        self.measuring = Some(Box::pin(async move { rest.sync_clock(3).await }));
    }

    async fn run(
        &mut self,
        stop: &AtomicBool,
        counters: &WriterCounters,
        writes: &WriteBehind,
        memory: &SystemMemory,
    ) -> &'static str {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = turn.tick() => self.turn(),
                Some(fetched) = self.market.fetched() => {
                    self.market.on_fetched(fetched, self.clock.now_ns());
                }
                measured = running(&mut self.measuring) => match measured {
                    Ok(measured) => self.use_clock(&measured, self.clock.now_ns()),
                    Err(error) => {
                        tracing::warn!("clock: {error}");
                        self.clock_due = self.clock.now_ns() + CLOCK_AGAIN_NS;
                    }
                },
            }
            let now = self.clock.now_ns();
            self.publish(now, writes, memory);
            if stop.load(Ordering::Acquire) {
                return "a stage that died";
            }
            if let Some(why) = self.market.failed(now, &self.seen) {
                self.seen.failed = Some(why.to_owned());
                return "no market data";
            }
            if self.signalled.load(Ordering::Acquire) {
                return "a signal";
            }
            if self.seconds.is_some_and(|s| (now - self.started) as f64 / 1e9 >= s) {
                return "its time";
            }
            if self.progress && now >= self.progress_due {
                self.progress_due = now + PROGRESS_NS;
                let done = writes.counts();
                say(&format!(
                    "{:>5.0} s  {} frames, {} of {} books in sync, {} ticks, {} values in memory, {} waiting",
                    (now - self.started) as f64 / 1e9,
                    self.seen.feed.frames,
                    self.seen.book.live_books,
                    self.symbols,
                    counters.ticks.load(Ordering::Relaxed),
                    done.delivered,
                    done.pending,
                ));
            }
        }
    }

    fn publish(&mut self, now: u64, writes: &WriteBehind, memory: &SystemMemory) {
        if self.seen.feed.frames > self.frames.0 {
            self.frames = (self.seen.feed.frames, Some(now));
        }
        let (seen, age) = (&self.seen, self.frames.1.map(|at| now.saturating_sub(at)));
        self.shown.publish(&self.clock, waiting::of_ingest, |state| {
            state.market = shown::market(seen, self.symbols, age);
            state.connections = shown::connections(seen, now).collect();
            state.alerts.clone_from(&seen.alerts);
            let done = writes.counts();
            state.memory.written = done.delivered;
            state.memory.pending = done.pending as u64;
            state.memory.lost = done.rejected;
            state.memory.outages = done.outages;
            let status = memory.status();
            (state.memory.connected, state.memory.detail) = (status.connected, status.detail);
        });
    }

    fn turn(&mut self) {
        self.beat.turned();
        self.latency.drain();
        let now = self.clock.now_ns();
        self.measure_clock(now);
        self.market.poll(now, &mut self.seen);
    }
}

/// The end of the request that runs; never, where none does.
async fn running<T>(request: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(running) = request else { return std::future::pending().await };
    let done = running.await;
    *request = None;
    done
}
