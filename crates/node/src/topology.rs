//! The live path: the stages and the links of [`table`], joined and placed on workers. **Start reading at the table.**
//!
//! ```text
#![doc = include_str!("topology/picture.txt")]
//! ```
//!
//! In the role alpha a shard stage stands in the place of feed and book; in the role ingest a writer stands behind the
//! book. `dolphin topology` prints this picture for every role.

mod ends;
pub mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use alpha::Engine;
use alpha::eigen::Scanner;
use binance::feed::Feed;
use binance::gateway::Gateway;
use execution::Router;
use market::{Instrument, Nanos, ObAverages};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader, conveyor};
use runtime::journal::tap::Tap;
use runtime::latency::{Collector, Probe};
use runtime::pending::{Publisher, Taker, pending};
use runtime::ring::{RingStats, Rx, Tx, ring};
use runtime::stage::Stage;
use runtime::worker::{Idle, Worker, WorkerConfig, available_cores, cores_in_order};

pub use self::ends::{AccountEnds, ConnectionName, Ends, MarketEnds, ShardEnds, SourceEnds, Timelines};
use self::table::{Layout, Link, LinkInfo, Sample};
use crate::config::Config;
use crate::day::SharedDay;
use crate::environment::Environment;
use crate::journal::recorder::{BookEnds, JournalEnds};
use crate::memory_link::MemoryEnds;
use crate::role::Role;
use crate::roles::lease::Fence;
use crate::stages::alpha::{AlphaJournal, AlphaLinks, AlphaStage};
use crate::stages::book::record::{BookEntry, BookJournal};
use crate::stages::book::{BookLinks, BookStage};
use crate::stages::feed::{FeedCommand, FeedStage, Frame, Route};
use crate::stages::gateway::{GatewayConnections, GatewayLinks, GatewayStage};
use crate::stages::memory::Step;
use crate::stages::router::{Quote, RouterLinks, RouterStage};
use crate::stages::scanner::{ScannerLinks, ScannerStage};
use crate::stages::shards::{ShardLinks, ShardSource, ShardStage};
use crate::stages::ticks::MidsAhead;
use crate::stages::{Hop, Tick};

/// A stage of the caller's own, polled beside ours on one of the workers: a probe, a recorder.
pub struct ExtraStage {
    /// Name of the worker; the first one where the layout has none of that name.
    pub worker: &'static str,
    /// The stage.
    pub stage: Box<dyn Stage>,
}

/// The parts that the node has made ready: connected to nothing yet.
pub struct Parts {
    /// In column order.
    pub instruments: Vec<Instrument>,
    /// Where the market comes from.
    pub source: Source,
    /// What every request to the venue must pass.
    pub fence: Fence,
    /// Warmed.
    pub scanner: Scanner,
    /// Warmed, booking by outcomes.
    pub engine: Engine,
    /// Venue time up to which fills are booked in closed trades.
    pub booked: Nanos,
    /// Up to when the engine is: venue time.
    pub at: Nanos,
    /// With its first gate shut.
    pub router: Router,
    /// Where its day is kept.
    pub day: SharedDay,
    /// WebSocket API core.
    pub gateway: Gateway,
    /// The connections of the account; the user stream's path comes with the listen key.
    pub connections: GatewayConnections,
    /// Stages of the caller's own.
    pub extra_stages: Vec<ExtraStage>,
    /// Is there a journal?
    pub journal: bool,
    /// Are market frames in it?
    pub frames: bool,
    /// By which bars the scanner was warmed, where frames are kept.
    pub bars: Vec<Vec<f64>>,
}

/// The venue's streams of market data.
pub struct Streams {
    /// Connections.
    pub routes: Vec<Route>,
    /// What each of them carries.
    pub feeds: Vec<Feed>,
    /// The averages that the features of an earlier run had, by column; empty, or `None`: they begin anew.
    pub averages: Vec<Option<ObAverages>>,
}

/// Where ticks and quotes come from.
pub enum Source {
    /// The venue's streams, over feed and books of our own.
    Streams(Streams),
    /// The shards of ingest nodes.
    Shards(Box<ShardSource>),
}

/// The running pipeline.
pub struct Pipeline {
    /// The control thread's ends.
    pub ends: Ends,
    /// Ends of memory's thread.
    pub memory: MemoryEnds,
    /// Ends of the journal's thread.
    pub journal: JournalEnds,
    /// Threads.
    pub workers: Vec<Worker>,
    /// Set to end them.
    pub stop: Arc<AtomicBool>,
    /// For people: which layout runs.
    pub layout: String,
}

/// Feed and books of an ingest node, running.
pub struct IngestPipeline {
    /// The control thread's ends.
    pub ends: MarketEnds,
    /// Ticks for the writer.
    pub ticks: Unloader<Tick>,
    /// Quotes for the writer.
    pub quotes: Rx<Quote>,
    /// Latencies of the stages.
    pub latency: Collector,
    /// Threads.
    pub workers: Vec<Worker>,
    /// Set to end them.
    pub stop: Arc<AtomicBool>,
}

/// Stages by their names in the table.
type Stages = Vec<(&'static str, Box<dyn Stage>)>;

/// Joins the parts by the links of their role and starts them on workers.
pub fn start(config: &Config, mut parts: Parts, environment: &Environment) -> std::io::Result<Pipeline> {
    let extra_stages = std::mem::take(&mut parts.extra_stages);
    let role = match parts.source {
        Source::Streams(..) => Role::All,
        Source::Shards(_) => Role::Alpha,
    };
    let (stages, ends, memory, journal) = join(config, role, parts, &environment.clock);
    let plan = Plan::new(config, role, environment.workers.cores());
    let layout = plan.to_string();
    let (workers, stop) = plan.start(config, stages, extra_stages, environment)?;
    Ok(Pipeline { ends, memory, journal, workers, stop, layout })
}

/// Feed and books of an ingest node.
pub fn start_ingest(
    config: &Config,
    instruments: &[Instrument],
    streams: Streams,
    environment: &Environment,
) -> std::io::Result<IngestPipeline> {
    let mut wiring = Wiring::new(Role::Ingest);
    let links = MarketLinks {
        frames: &table::INGEST_FRAMES,
        ticks: &table::INGEST_TICKS,
        ahead: None,
        quotes: &table::INGEST_QUOTES,
        samples: &table::INGEST_SAMPLES,
        journal: None,
    };
    let market = market_side(config, instruments, streams, links, &mut wiring, &environment.clock);
    let MarketSide { stages, ticks, quotes, ends, .. } = market;
    let (latency, _) = wiring.done(&[]);
    let plan = Plan::new(config, Role::Ingest, environment.workers.cores());
    let (workers, stop) = plan.start(config, stages, Vec::new(), environment)?;
    Ok(IngestPipeline { ends, ticks, quotes, latency, workers, stop })
}

/// Makes the links of a role by their lines in the table, each once.
struct Wiring {
    role: Role,
    made: Vec<&'static str>,
    latency: Collector,
    rings: Vec<Arc<RingStats>>,
}

impl Wiring {
    fn new(role: Role) -> Self {
        Self { role, made: Vec::new(), latency: Collector::new(Hop::ALL.len()), rings: Vec::new() }
    }

    fn note(&mut self, link: &LinkInfo) {
        assert!(link.roles.contains(&self.role), "{} is no link of the role {:?}", link.name, self.role);
        self.made.push(link.name);
    }

    fn ring<T>(&mut self, link: &Link<T>) -> (Tx<T>, Rx<T>) {
        self.note(&link.info);
        let (tx, rx) = ring(link.info.name, link.info.capacity);
        self.rings.push(tx.stats());
        (tx, rx)
    }

    fn boxes<T>(&mut self, link: &Link<T>, make: impl FnMut() -> T) -> (Loader<T>, Unloader<T>) {
        self.note(&link.info);
        let (loader, unloader) = conveyor(link.info.name, link.info.capacity, make);
        self.rings.push(loader.stats());
        (loader, unloader)
    }

    fn latest<T: Copy + Send>(&mut self, link: &Link<T>) -> (Publisher<T>, Taker<T>) {
        self.note(&link.info);
        pending()
    }

    fn probe(&mut self, link: &Link<Sample>) -> Probe {
        self.note(&link.info);
        self.latency.probe(link.info.name, link.info.capacity)
    }

    /// Every link of the role has been made, here or `elsewhere`.
    fn done(mut self, elsewhere: &[&'static str]) -> (Collector, Vec<Arc<RingStats>>) {
        self.made.extend(elsewhere);
        self.made.sort_unstable();
        let mut wanted: Vec<_> = table::links(self.role).map(|l| l.name).collect();
        wanted.sort_unstable();
        assert_eq!(self.made, wanted, "the links of the role {:?}", self.role);
        (self.latency, self.rings)
    }
}

/// The links of feed and book that differ between the roles.
struct MarketLinks {
    frames: &'static Link<Frame>,
    ticks: &'static Link<Tick>,
    ahead: Option<&'static Link<MidsAhead>>,
    quotes: &'static Link<Quote>,
    samples: &'static Link<Sample>,
    journal: Option<JournalLinks>,
}

/// The links of frames to the journal, and whether they are used.
#[derive(Clone, Copy)]
struct JournalLinks {
    records: &'static Link<BookEntry>,
    frames: &'static Link<Frame>,
    kept: bool,
}

/// Feed and book, joined, and the other ends of their links.
struct MarketSide {
    stages: Stages,
    ticks: Unloader<Tick>,
    ahead: Option<Unloader<MidsAhead>>,
    quotes: Rx<Quote>,
    ends: MarketEnds,
    journal: Option<BookEnds>,
}

fn market_side(
    config: &Config,
    instruments: &[Instrument],
    streams: Streams,
    links: MarketLinks,
    wiring: &mut Wiring,
    clock: &Clock,
) -> MarketSide {
    let Streams { routes, feeds, averages } = streams;
    let (frames_in, frames) = wiring.boxes(links.frames, Frame::default);
    let (commands, commands_out) = wiring.boxes(&table::FEED_COMMANDS, FeedCommand::default);
    let (ticks_in, ticks) = wiring.boxes(links.ticks, || Tick::new(instruments.len()));
    let ahead = links.ahead.map(|link| wiring.boxes(link, || MidsAhead::new(instruments.len())));
    let (ahead_in, ahead) = ahead.unzip();
    let (quotes_in, quotes) = wiring.ring(links.quotes);
    let (feed_news, feed) = wiring.ring(&table::FEED_NEWS);
    let (book_news, book) = wiring.ring(&table::BOOK_NEWS);
    let (snapshots, snapshots_out) = wiring.ring(&table::SNAPSHOTS);
    let (venue_clock, clock_taken) = wiring.latest(&table::VENUE_CLOCK);
    wiring.note(&table::BOOK_VIEW.info);
    let (view_in, view) = telemetry::slot::slots(instruments.len());
    let connections = ConnectionName::of(&routes);
    let ends = MarketEnds { connections, feed, book, snapshots, clock: venue_clock, view };
    let feed_stage = FeedStage::new(routes, frames_in, commands_out, feed_news);
    let (kept, journal) = book_journal(links.journal, wiring);
    let links_of_book = BookLinks {
        frames,
        commands,
        snapshots: snapshots_out,
        clock: clock_taken,
        ticks: ticks_in,
        ahead: ahead_in,
        quotes: quotes_in,
        news: book_news,
        journal: kept,
        view: view_in,
    };
    let probe = wiring.probe(links.samples);
    let limits = (&config.market, Nanos::from_millis(config.router.risk.max_signal_ahead_ms));
    let book_stage = BookStage::new(limits, instruments, feeds, links_of_book, clock.clone(), probe)
        .with_averages(&averages);
    let stages: Stages = vec![("feed", Box::new(feed_stage)), ("book", Box::new(book_stage))];
    MarketSide { stages, ticks, ahead, quotes, ends, journal }
}

/// The book stage's end of the journal and the other one, if frames are kept.
fn book_journal(links: Option<JournalLinks>, wiring: &mut Wiring) -> (BookJournal, Option<BookEnds>) {
    let Some(JournalLinks { records, frames, kept }) = links else { return (BookJournal::closed(), None) };
    if !kept {
        // Thousands of boxes for nothing.
        wiring.note(&records.info);
        wiring.note(&frames.info);
        return (BookJournal::closed(), None);
    }
    let (records_in, records) = wiring.ring(records);
    let (frames_in, frames) = wiring.boxes(frames, Frame::default);
    (BookJournal::new(Tap::new(records_in), frames_in), Some(BookEnds { records, frames }))
}

/// What the source of ticks and quotes leaves to be joined.
struct SourceSide {
    stages: Stages,
    ticks: Unloader<Tick>,
    ahead: Option<Unloader<MidsAhead>>,
    quotes: Rx<Quote>,
    ends: SourceEnds,
    journal: Option<BookEnds>,
}

/// The source of ticks and quotes: feed and book, or the shard stage.
fn source_side(
    config: &Config,
    instruments: &[Instrument],
    source: Source,
    kept: bool,
    wiring: &mut Wiring,
    clock: &Clock,
) -> SourceSide {
    match source {
        Source::Streams(streams) => {
            let (records, frames) = (&table::BOOK_JOURNAL, &table::BOOK_FRAMES);
            let journal = JournalLinks { records, frames, kept };
            let links = MarketLinks {
                frames: &table::FRAMES,
                ticks: &table::TICKS,
                ahead: Some(&table::MIDS_AHEAD),
                quotes: &table::QUOTES,
                samples: &table::BOOK_SAMPLES,
                journal: Some(journal),
            };
            let market = market_side(config, instruments, streams, links, wiring, clock);
            let MarketSide { stages, ticks, ahead, quotes, ends, journal } = market;
            SourceSide { stages, ticks, ahead, quotes, ends: SourceEnds::Streams(ends), journal }
        }
        Source::Shards(source) => {
            let n = instruments.len();
            let (ticks_in, ticks) = wiring.boxes(&table::SHARD_TICKS, || Tick::new(n));
            let (quotes_in, quotes) = wiring.ring(&table::SHARD_QUOTES);
            let (news, told) = wiring.ring(&table::SHARD_NEWS);
            let (to_shards, measured) = wiring.latest(&table::SHARD_CLOCK);
            let links = ShardLinks { ticks: ticks_in, quotes: quotes_in, news, clock: measured };
            let ends = ShardEnds { news: told, clock: to_shards };
            let probe = wiring.probe(&table::SHARD_SAMPLES);
            let stage = ShardStage::new(*source, n, links, clock.clone(), probe);
            let (stages, ends): (Stages, _) = (vec![("shards", Box::new(stage))], SourceEnds::Shards(ends));
            SourceSide { stages, ticks, ahead: None, quotes, ends, journal: None }
        }
    }
}

/// The reader of the shards is started before the rest, with the standby: so is its link.
pub fn shard_updates() -> (Tx<crate::shards::Update>, Rx<crate::shards::Update>) {
    ring(table::UPDATES.info.name, table::UPDATES.info.capacity)
}

#[expect(
    clippy::too_many_lines,
    reason = "every link behind the market side in one place, in the order of the data"
)]
fn join(config: &Config, role: Role, parts: Parts, clock: &Clock) -> (Stages, Ends, MemoryEnds, JournalEnds) {
    let mut wiring = Wiring::new(role);
    let w = &mut wiring;
    let n = parts.instruments.len();
    let SourceSide { mut stages, ticks, ahead, quotes, ends: source, journal: book } =
        source_side(config, &parts.instruments, parts.source, parts.frames, w, clock);

    let (scanned_in, scanned) = w.boxes(&table::SCANNED, || Tick::new(n));
    let (intents_in, intents) = w.ring(&table::INTENTS);
    let (outcomes_in, outcomes) = w.ring(&table::OUTCOMES);
    let (requests_in, requests) = w.ring(&table::REQUESTS);
    let (reports_in, reports) = w.ring(&table::REPORTS);
    let (alpha_news, alpha) = w.ring(&table::ALPHA_NEWS);
    let (router_news, router) = w.ring(&table::ROUTER_NEWS);
    let (gateway_news, gateway) = w.ring(&table::GATEWAY_NEWS);
    let (timelines, ways) = w.ring(&table::TIMELINES);
    let (to_alpha, alpha_commands) = w.ring(&table::ALPHA_COMMANDS);
    let (to_router, router_commands) = w.ring(&table::ROUTER_COMMANDS);
    let (to_gateway, gateway_commands) = w.ring(&table::GATEWAY_COMMANDS);
    let (to_memory, health) = w.ring(&table::HEALTH);
    let (memory_news, news) = w.ring(&table::MEMORY_NEWS);
    let image = parts.engine.image();
    let (steps_in, steps) = w.boxes(&table::STEPS, || Step::new(&image));
    let (acb, acb_taken) = w.latest(&table::ACB);
    let (safety, safety_taken) = w.latest(&table::SAFETY);
    let (rm, rm_taken) = w.latest(&table::RM);
    let (scan, scan_taken) = w.latest(&table::SCAN);
    let (kept_ticks, journal_ticks) = w.ring(&table::KEPT_TICKS);
    let (alpha_kept, alpha_journal) = w.ring(&table::ALPHA_JOURNAL);
    let (router_kept, router_journal) = w.ring(&table::ROUTER_JOURNAL);
    let kept = parts.journal;
    let alpha_tap = if kept { Tap::new(alpha_kept) } else { Tap::closed() };
    let router_tap = if kept { Tap::new(router_kept) } else { Tap::closed() };
    let (engine_view_in, engine_view) = w.latest(&table::ENGINE_VIEW);
    let (router_view_in, router_view) = w.latest(&table::ROUTER_VIEW);

    let probe = w.probe(&table::SCANNER_SAMPLES);
    let links = ScannerLinks { ticks, ahead, scanned: scanned_in };
    let scanner = ScannerStage::new(parts.scanner, links, clock.clone(), probe);
    let links = AlphaLinks {
        ticks: scanned,
        outcomes,
        commands: alpha_commands,
        acb: acb_taken,
        safety: safety_taken,
        rm: rm_taken,
        scan: scan_taken,
        intents: intents_in,
        news: alpha_news,
        steps: steps_in,
        memory_news,
        journal: AlphaJournal { tap: alpha_tap, ticks: kept_ticks },
        view: engine_view_in,
    };
    let probe = w.probe(&table::ALPHA_SAMPLES);
    let engine =
        AlphaStage::new(config, parts.engine, parts.booked, links, clock.clone(), probe).from(parts.at);
    let links = RouterLinks {
        intents,
        reports,
        quotes,
        commands: router_commands,
        requests: requests_in,
        outcomes: outcomes_in,
        news: router_news,
        journal: router_tap,
        view: router_view_in,
    };
    let probe = w.probe(&table::ROUTER_SAMPLES);
    let orders = RouterStage::new(parts.router, links, parts.day, clock.clone(), probe).rehearsing();
    let links = GatewayLinks {
        requests,
        commands: gateway_commands,
        reports: reports_in,
        news: gateway_news,
        timelines,
    };
    let (probe, fence) = (w.probe(&table::GATEWAY_SAMPLES), parts.fence.clone());
    let venue = GatewayStage::new(parts.gateway, parts.connections, fence, links, clock.clone(), probe);
    stages.push(("scanner", Box::new(scanner)));
    stages.push(("alpha", Box::new(engine)));
    stages.push(("router", Box::new(orders)));
    stages.push(("gateway", Box::new(venue)));

    let elsewhere = if role == Role::Alpha { &[table::UPDATES.info.name][..] } else { &[] };
    let (latency, rings) = wiring.done(elsewhere);
    let fence = parts.fence;
    let account = AccountEnds {
        alpha,
        router,
        gateway,
        to_alpha,
        to_router,
        to_gateway,
        fence,
        to_memory,
        latency,
        timelines: Timelines::new(ways),
        engine_view,
        router_view,
        rings,
    };
    let journal = JournalEnds { alpha: alpha_journal, ticks: journal_ticks, router: router_journal, book };
    let memory = MemoryEnds { steps, news, health, acb, safety, rm, scan };
    (stages, Ends { source, account }, memory, journal)
}

/// A layout and how its workers idle.
struct Plan {
    layout: &'static Layout,
    idle: Idle,
}

impl Plan {
    fn new(config: &Config, role: Role, cores: usize) -> Self {
        let layout = Layout::of(role, config.runtime.layout.map_or(cores, usize::from));
        // Spinning wants a core for each worker and one more for everything else.
        let spins = layout.may_spin && layout.workers.len() < cores && cores > 2;
        let idle = if spins { Idle::Spin } else { Idle::Yield };
        Self { layout, idle: config.runtime.idle.unwrap_or(idle) }
    }

    /// Places the stages on workers and starts them.
    fn start(
        &self,
        config: &Config,
        mut stages: Stages,
        extra_stages: Vec<ExtraStage>,
        environment: &Environment,
    ) -> std::io::Result<(Vec<Worker>, Arc<AtomicBool>)> {
        let mut placed: Vec<(&str, Vec<Box<dyn Stage>>)> = Vec::new();
        for (worker, names) in self.layout.workers {
            let take = |name: &&str| {
                let at = stages.iter().position(|(stage, _)| stage == name);
                stages.remove(at.expect("the layouts of a role name its stages")).1
            };
            placed.push((worker, names.iter().map(take).collect()));
        }
        assert!(stages.is_empty(), "a stage without a worker");
        for extra_stage in extra_stages {
            let at = placed.iter().position(|(name, _)| *name == extra_stage.worker).unwrap_or(0);
            placed[at].1.push(extra_stage.stage);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        let unpinned = config.runtime.unpinned;
        let mut cores = if unpinned { Vec::new() } else { cores_in_order(config.runtime.first_core) };
        cores.truncate(placed.len());
        if self.idle != Idle::Park && !cores.is_empty() {
            environment.workers.keep_off(&cores);
        }
        for (i, (name, stages)) in placed.into_iter().enumerate() {
            let core = cores.get(i).copied();
            if core.is_none() && !unpinned {
                tracing::warn!(worker = name, "there is no core left to pin it to");
            }
            let worker = WorkerConfig {
                name: name.to_owned(),
                core,
                idle: self.idle,
                rehearse: config.runtime.rehearse,
            };
            let (clock, stop) = (environment.clock.clone(), Arc::clone(&stop));
            workers.push(environment.workers.start(worker, stages, clock, stop)?);
        }
        Ok((workers, stop))
    }
}

/// The layout that a configuration gets on this machine, and whether the cores suffice for it.
pub fn describe(config: &Config) -> (String, bool) {
    let cores = available_cores();
    let plan = Plan::new(config, Role::All, cores);
    let enough = plan.idle != Idle::Spin || plan.layout.workers.len() < cores.max(2);
    (format!("{plan} on {cores} cores"), enough)
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = self.layout.workers.len();
        let idle = match self.idle {
            Idle::Spin => "spins",
            Idle::Yield => "yields",
            Idle::Park => "sleeps",
        };
        write!(f, "{n} hot worker{}, each {idle} while idle", if n == 1 { "" } else { "s" })
    }
}
