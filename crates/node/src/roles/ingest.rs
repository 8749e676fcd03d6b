//! An ingest node: feed and books as everywhere, and a writer of shards behind them. No key, no engine, no orders.
//!
//! One hot worker polls feed and books; this thread does REST, memory and the writing.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binance::Symbols;
use binance::decode::Decoder;
use binance::hosts::{Hosts, Venue};
use binance::limits::Urgency;
use binance::rest::{RestClient, RestError};
use book::FeatureEngine;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use market::{Instrument, Nanos, SymbolId};
use memory::{SystemMemory, WriteBehind};
use runtime::clock::Clock;
use runtime::conveyor::conveyor;
use runtime::latency::Collector;
use runtime::ring::{Rx, Tx, ring};
use runtime::stage::Stage;
use runtime::worker::{Idle, Worker, WorkerConfig};
use serde::Serialize;

use super::Share;
use crate::config::Config;
use crate::control::Seen;
use crate::control::desk::{Line, LineSummary, MarketDesk};
use crate::error::Failure;
use crate::live;
use crate::preflight;
use crate::shards::writer::{Writer, WriterCounters};
use crate::stages::book::{Auditing, BookCounters, BookLimits, BookNews, BookStage, SnapshotReply, Standing};
use crate::stages::feed::{FeedCommand, FeedCounters, FeedNews, FeedStage, Frame};
use crate::stages::streams::Streams;
use crate::stages::{Hop, Tick};

/// How often this thread looks.
const TURN: Duration = Duration::from_millis(20);
/// Frames under way between feed and book.
const FRAMES: usize = 4096;
/// Ticks under way to the writer. None left: the tick is lost and counted; the next brings the state of then.
const TICKS: usize = 8;
/// Quotes under way to the writer: more than a sample of all symbols brings.
const QUOTES: usize = 8192;
/// News and snapshots.
const CONTROL: usize = 1024;
/// Commands of the book stage to the connections.
const FEED_COMMANDS: usize = 16;
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
}

/// What it did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// `ingest`.
    pub role: super::Role,
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
    /// For people.
    pub fn text(&self) -> String {
        let b = &self.book;
        format!(
            "run       {:.1} s as {} against {}, ended by {}\n\
             market    {} symbols, {} frames, {} events, {} samples ({} lost), {} books in sync, {} gaps\n\
             shards    {} ticks, {} values, {} in memory, {} overwritten before, {} lost, {} outages\n",
            self.seconds,
            self.node,
            self.venue,
            self.ended_by,
            self.symbols,
            self.feed.frames,
            b.events,
            b.samples,
            b.lost_samples,
            b.live_books,
            b.gaps,
            self.ticks,
            self.values,
            self.written,
            self.superseded,
            self.lost,
            self.outages,
        )
    }
}

/// Runs it on this thread until its end.
pub fn run(options: Options) -> Result<Summary, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start the control runtime: {e}")))?;
    runtime.block_on(ingest(options))
}

async fn ingest(options: Options) -> Result<Summary, Failure> {
    let clock = Clock::new();
    let config = &options.config;
    let memory = SystemMemory::open(super::shared_memory(&config.memory)?)
        .map_err(|e| Failure::usage(format!("memory: {e}")))?;
    let rest = Arc::new(super::public_rest(&options.hosts, &clock)?);
    rest.set_patient(true);
    rest.sync_clock(3).await.map_err(|e| live::unavailable(&e))?;
    let wanted = options.share.of(preflight::symbols(config, &rest, &options.hosts.rest).await?);
    if wanted.is_empty() {
        return Err(Failure::usage("this share of the symbols is empty"));
    }
    let info = preflight::named(&rest, &wanted).await?;
    rest.set_patient(false);
    let writes = WriteBehind::start(memory);
    let name = super::process_name("ingest", config.roles.node.as_deref());
    let (stages, ends, writer) = join(&options, &info.instruments, &writes, &name, &clock)?;
    let counters = Arc::clone(&writer.counters);
    let writing = tokio::spawn(writer.run());
    let stop = Arc::new(AtomicBool::new(false));
    let core = (!config.runtime.unpinned).then_some(config.runtime.first_core);
    let worker =
        WorkerConfig { name: "market".to_owned(), core, idle: config.runtime.idle.unwrap_or(Idle::Yield) };
    let worker = Worker::start(worker, stages, clock.clone(), Arc::clone(&stop))
        .map_err(|e| Failure::unavailable(format!("cannot start the worker: {e}")))?;
    let mut control = Control::new(&options, rest, info.instruments.clone(), ends, &clock);
    let ended_by = control.run(&stop, &counters, &writes).await;
    let died = stop.swap(true, Ordering::AcqRel);
    let panic = worker.join().err();
    counters.finish.store(true, Ordering::Release);
    let _ = writing.await;
    writes.flush(FLUSH).await;
    if died {
        return Err(Failure::unavailable(panic.unwrap_or_else(|| "the worker stopped".to_owned())));
    }
    if let Some(why) = control.seen.failed.take() {
        return Err(Failure::unavailable(why));
    }
    let done = writes.counts();
    Ok(Summary {
        role: super::Role::Ingest,
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

/// This thread's ends of the rings.
struct Ends {
    lines: Vec<Line>,
    feed: Rx<FeedNews>,
    book: Rx<BookNews>,
    to_book: Tx<Box<SnapshotReply>>,
    latency: Collector,
}

type Stages = Vec<Box<dyn Stage>>;

fn join(
    options: &Options,
    instruments: &[Instrument],
    writes: &WriteBehind,
    name: &str,
    clock: &Clock,
) -> Result<(Stages, Ends, Writer), Failure> {
    let (config, n) = (&options.config, instruments.len());
    let mut latency = Collector::new(Hop::ALL.len());
    let (feed_to_book, book_frames) = conveyor("feed_to_book", FRAMES, Frame::default);
    let (book_to_feed, feed_commands) = conveyor("book_to_feed", FEED_COMMANDS, FeedCommand::default);
    let (book_to_writer, ticks) = conveyor("book_to_writer", TICKS, || Tick::new(n));
    let (book_quotes, quotes) = ring("book_quotes", QUOTES);
    let (feed_to_control, feed) = ring("feed_to_control", CONTROL);
    let (book_to_control, book) = ring("book_to_control", CONTROL);
    let (to_book, control_to_book) = ring("control_to_book", CONTROL);
    let mut features = FeatureEngine::new(instruments, Nanos::from_millis(config.market.tick_ms));
    instruments.iter().for_each(|i| features.expect_aggregates(i.id));
    let (routes, feeds) = live::routes(config, &options.hosts, &Symbols::new(instruments.to_vec()))?;
    let lines = Line::of(&routes);
    let feed_stage = FeedStage::new(routes, feed_to_book, feed_commands, feed_to_control);
    let book_stage = BookStage {
        decoder: Decoder::new(instruments),
        features,
        streams: Streams::new(feeds, n, config.market.max_bad_frames_per_min, book_to_feed),
        feed_to_book: book_frames,
        control_to_book,
        book_to_scanner: book_to_writer,
        book_to_router: book_quotes,
        book_to_control,
        limits: BookLimits::of(&config.market),
        counters: BookCounters::default(),
        standing: vec![Standing::new(); n],
        auditing: Auditing::default(),
        clock: clock.clone(),
        probe: latency.probe("book_latency", 65_536),
    };
    let writer = Writer::new(name.to_owned(), instruments, ticks, quotes, writes.clone(), clock.clone());
    let ends = Ends { lines, feed, book, to_book, latency };
    Ok((vec![Box::new(feed_stage), Box::new(book_stage)], ends, writer))
}

/// A symbol, whether for an audit, and the venue's reply.
type Snapshot = Pin<Box<dyn Future<Output = (SymbolId, bool, Result<Vec<u8>, RestError>)>>>;

struct Control {
    ends: Ends,
    rest: Arc<RestClient>,
    instruments: Vec<Instrument>,
    /// Levels of a snapshot: fewer for many symbols, so that all together stay within the venue's weight of a minute.
    levels: u32,
    market: MarketDesk,
    snapshots: FuturesUnordered<Snapshot>,
    clock: Clock,
    started: u64,
    progress_due: u64,
    progress: bool,
    seconds: Option<f64>,
    signalled: Arc<AtomicBool>,
    seen: Seen,
    /// The last snapshot was refused, and that was told.
    refused: bool,
}

impl Control {
    fn new(
        options: &Options,
        rest: Arc<RestClient>,
        instruments: Vec<Instrument>,
        ends: Ends,
        clock: &Clock,
    ) -> Self {
        let now = clock.now_ns();
        let levels = match instruments.len() {
            0..=50 => 1000,
            51..=100 => 500,
            _ => 100,
        };
        let mut seen = Seen::default();
        let names = instruments.iter().map(|i| i.symbol.clone()).collect();
        let market = MarketDesk::new(ends.lines.clone(), names, now, &mut seen);
        Self {
            ends,
            rest,
            instruments,
            levels,
            market,
            snapshots: FuturesUnordered::new(),
            clock: clock.clone(),
            started: now,
            progress_due: now + PROGRESS_NS,
            progress: options.progress,
            seconds: options.seconds,
            signalled: Arc::clone(&options.signalled),
            seen,
            refused: false,
        }
    }

    async fn run(
        &mut self,
        stop: &AtomicBool,
        counters: &WriterCounters,
        writes: &WriteBehind,
    ) -> &'static str {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turn.tick() => self.turn(),
                Some((symbol, audit, reply)) = self.snapshots.next() => self.snapshot(symbol, audit, reply),
            }
            let now = self.clock.now_ns();
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
                eprintln!(
                    "{:>5.0} s  {} frames, {} of {} books in sync, {} ticks, {} values in memory, {} waiting",
                    (now - self.started) as f64 / 1e9,
                    self.seen.feed.frames,
                    self.seen.book.live_books,
                    self.instruments.len(),
                    counters.ticks.load(Ordering::Relaxed),
                    done.delivered,
                    done.pending,
                );
            }
        }
    }

    fn turn(&mut self) {
        let now = self.clock.now_ns();
        self.ends.latency.drain();
        while let Some(news) = self.ends.feed.pop() {
            self.market.on_feed(news, &mut self.seen);
        }
        while let Some(news) = self.ends.book.pop() {
            self.market.on_book(news, now, &mut self.seen);
        }
        while let Some((symbol, audit)) = self.market.snapshots.next(now) {
            self.fetch(symbol, audit);
        }
    }

    fn fetch(&self, symbol: SymbolId, audit: bool) {
        let Some(name) = self.instruments.get(symbol.index()).map(|i| i.symbol.clone()) else { return };
        let (rest, levels) = (Arc::clone(&self.rest), self.levels);
        let urgency = if audit { Urgency::Audit } else { Urgency::Snapshot };
        self.snapshots
            .push(Box::pin(async move { (symbol, audit, rest.depth(&name, levels, urgency).await) }));
    }

    fn snapshot(&mut self, symbol: SymbolId, audit: bool, reply: Result<Vec<u8>, RestError>) {
        self.market.snapshots.done(symbol, audit, reply.is_err(), self.clock.now_ns());
        match reply {
            Ok(body) => {
                self.refused = false;
                // A stage that polls every few microseconds leaves room; if it is dead the run is ending.
                let _ = self.ends.to_book.push(Box::new(SnapshotReply { symbol, audit, body }));
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!("a snapshot is tried again, as others may be: {error}");
                }
            }
        }
    }
}
