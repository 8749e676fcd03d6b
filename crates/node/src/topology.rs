//! The live path: which stages there are, which rings join them, which of them share a core. **Start reading here.**
//!
//! ```text
//!  socket ─► feed ═frames═► book ═ticks═► scanner ═ticks═► alpha ─intents─► router ─requests─► gateway ─► socket
//!                            │ ▲ └─────────── quotes ───────────────────────►│ ▲│                  │
//!                 snapshots ─┘ │                          ▲◄── outcomes ─────┘ │└──── reports ◄────┘◄─ user stream
//!                              │            pending swap ─┘│                   │
//!                              │                  ▲        ╚═steps═► memory thread: state, results, features, pushes
//!                              │                  └────────────────── ┘        │
//!                           control: REST, listen key, clock, reconciliation, dead-man, signals, summary
//! ```
//!
//! In the role alpha a shard stage stands in the place of feed and book ([`crate::shards`]); the rest is the same.
//!
//! `═` is a conveyor (boxes that go round), `─` a ring. What happens when one is full stands beside it below. Nothing
//! flows back except execution reports and outcomes, and they are inputs like any other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use alpha::Engine;
use alpha::eigen::Scanner;
use binance::decode::Decoder;
use binance::feed::Feed;
use binance::gateway::Gateway;
use binance::limits::Holds;
use binance::net::WsConn;
use binance::user::UserDecoder;
use book::FeatureEngine;
use execution::{Outbox, Router};
use market::{Instrument, Nanos, Qty};
use runtime::clock::Clock;
use runtime::conveyor::conveyor;
use runtime::latency::Collector;
use runtime::pending::pending;
use runtime::ring::{RingStats, Rx, Tx, ring};
use runtime::stage::Stage;
use runtime::worker::{Idle, Worker, WorkerConfig, available_cores};

use crate::config::Config;
use crate::control::desk::Line;
use crate::environment::Environment;
use crate::memory_link::MemoryEnds;
use crate::roles::lease::Fence;
use crate::sensors::Health;
use crate::shards::assembly::ShardCounters;
use crate::stages::alpha::{AlphaCommand, AlphaNews, AlphaStage, Memo};
use crate::stages::book::{Auditing, BookCounters, BookLimits, BookNews, BookStage, SnapshotReply, Standing};
use crate::stages::feed::{FeedCommand, FeedNews, FeedStage, Frame, Route};
use crate::stages::gateway::{GatewayCommand, GatewayNews, GatewayStage, Outbound};
use crate::stages::memory::Step;
use crate::stages::router::{RouterCommand, RouterNews, RouterStage, RouterState};
use crate::stages::scanner::ScannerStage;
use crate::stages::shards::{ShardSource, ShardStage};
use crate::stages::streams::Streams;
use crate::stages::{Hop, Tick};

/// Frames under way between feed and book. None left: the frame is dropped and counted, and the book's `pu` check
/// finds the gap and syncs anew.
const FRAMES: usize = 1024;
/// Commands of the book stage to the connections. None left: they wait, and are made anew at the next look.
const FEED_COMMANDS: usize = 16;
/// Ticks under way between two stages: 3.2 s at 10 Hz. None left: the tick is lost and counted.
const TICKS: usize = 32;
/// Intents. Full: the engine waits, and ticks conflate before it.
const INTENTS: usize = 16;
/// Best prices and marks. Full: given up; the next one, 100 ms later at most, brings the state of then.
const QUOTES: usize = 4096;
/// Order requests. Full: the router waits with everything else it would take in.
const REQUESTS: usize = 256;
/// Execution reports. Full: the gateway keeps them and reads no further.
const REPORTS: usize = 1024;
/// Outcomes. Full: the router waits.
const OUTCOMES: usize = 64;
/// Commands and news of the control thread. News that finds no room is given up, commands are kept by their sender.
const CONTROL: usize = 1024;
/// Steps under way to system memory: 3.2 s at 10 Hz. No empty box: the step is not recorded there, and counted.
const STEPS: usize = 32;
/// Latency samples between two looks of the control thread (20 ms). Full: given up and counted.
const SAMPLES: usize = 16_384;

/// A stage of the caller's own, polled beside ours on one of the workers: a probe, a recorder.
pub struct Guest {
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
    /// With its first gate shut.
    pub router: Router,
    /// WebSocket API core.
    pub gateway: Gateway,
    /// Its connection.
    pub api: WsConn,
    /// User stream connection; its path comes with the listen key.
    pub user: WsConn,
    /// User stream decoder.
    pub user_decoder: UserDecoder,
    /// Stages of the caller's own.
    pub guests: Vec<Guest>,
}

/// Where ticks and quotes come from.
pub enum Source {
    /// The venue's streams, over feed and books of our own: connections, and what each of them carries.
    Streams(Vec<Route>, Vec<Feed>),
    /// The shards of ingest nodes.
    Shards(Box<ShardSource>),
}

/// The control thread's ends.
pub struct Ends {
    /// Market connections, for people.
    pub lines: Vec<Line>,
    /// From the feed.
    pub feed: Rx<FeedNews>,
    /// From the books.
    pub book: Rx<BookNews>,
    /// From the shard stage.
    pub shards: Rx<ShardCounters>,
    /// From the engine.
    pub alpha: Rx<AlphaNews>,
    /// From the router.
    pub router: Rx<RouterNews>,
    /// From the gateway.
    pub gateway: Rx<GatewayNews>,
    /// Snapshots to the books.
    pub to_book: Tx<Box<SnapshotReply>>,
    /// Commands to the engine.
    pub to_alpha: Tx<AlphaCommand>,
    /// Commands to the router.
    pub to_router: Tx<RouterCommand>,
    /// Commands to the gateway.
    pub to_gateway: Tx<GatewayCommand>,
    /// What every request to the venue must pass.
    pub fence: Fence,
    /// What our own sensors go by, to memory's thread.
    pub to_memory: Tx<Health>,
    /// Latencies of all stages.
    pub latency: Collector,
    /// Counters of the rings of the data path.
    pub rings: Vec<Arc<RingStats>>,
}

/// The running pipeline.
pub struct Pipeline {
    /// The control thread's ends.
    pub ends: Ends,
    /// Ends of memory's thread.
    pub memory: MemoryEnds,
    /// Threads.
    pub workers: Vec<Worker>,
    /// Set to end them.
    pub stop: Arc<AtomicBool>,
    /// For people: which layout runs.
    pub layout: String,
}

/// The stages, ready to be placed on workers.
struct Stages {
    /// Feed and book, or the shard stage.
    market: Vec<(&'static str, Box<dyn Stage>)>,
    scanner: ScannerStage,
    alpha: AlphaStage,
    router: RouterStage,
    gateway: GatewayStage,
}

/// Joins the parts by rings and starts them on workers.
pub fn start(config: &Config, mut parts: Parts, environment: &Environment) -> std::io::Result<Pipeline> {
    let (clock, hosts) = (&environment.clock, &environment.workers);
    let guests = std::mem::take(&mut parts.guests);
    let (stages, ends, memory) = join(config, parts, clock);
    let stop = Arc::new(AtomicBool::new(false));
    let plan = Plan::new(config, hosts.cores());
    let layout = plan.to_string();
    let mut places = plan.place(stages);
    for guest in guests {
        let place = places.iter().position(|(name, _)| *name == guest.worker).unwrap_or(0);
        places[place].1.push(guest.stage);
    }
    let mut workers = Vec::new();
    for (place, (name, stages)) in places.into_iter().enumerate() {
        let core = (!config.runtime.unpinned).then_some(config.runtime.first_core + place);
        let worker = WorkerConfig { name: name.to_owned(), core, idle: plan.idle };
        workers.push(hosts.start(worker, stages, clock.clone(), Arc::clone(&stop))?);
    }
    Ok(Pipeline { ends, memory, workers, stop, layout })
}

#[expect(
    clippy::too_many_lines,
    reason = "every ring of the house in one place, top to bottom in the order of the data"
)]
fn join(config: &Config, parts: Parts, clock: &Clock) -> (Stages, Ends, MemoryEnds) {
    let n = parts.instruments.len();
    let parts_fence = parts.fence.clone();
    let mut latency = Collector::new(Hop::ALL.len());

    let (feed_to_book, book_frames) = conveyor("feed_to_book", FRAMES, Frame::default);
    let (book_to_feed, feed_commands) = conveyor("book_to_feed", FEED_COMMANDS, FeedCommand::default);
    let (book_to_scanner, scanner_ticks) = conveyor("book_to_scanner", TICKS, || Tick::new(n));
    let (scanner_to_alpha, alpha_ticks) = conveyor("scanner_to_alpha", TICKS, || Tick::new(n));
    let (alpha_to_router, router_intents) = ring("alpha_to_router", INTENTS);
    let (book_to_router, router_quotes) = ring("book_to_router", QUOTES);
    let (router_to_gateway, gateway_requests) = ring("router_to_gateway", REQUESTS);
    let (gateway_to_router, router_reports) = ring("gateway_to_router", REPORTS);
    let (router_to_alpha, alpha_outcomes) = ring("router_to_alpha", OUTCOMES);

    let (feed_to_control, from_feed) = ring("feed_to_control", CONTROL);
    let (book_to_control, from_book) = ring("book_to_control", CONTROL);
    let (shards_to_control, from_shards) = ring("shards_to_control", CONTROL);
    let (alpha_to_control, from_alpha) = ring("alpha_to_control", CONTROL);
    let (router_to_control, from_router) = ring("router_to_control", CONTROL);
    let (gateway_to_control, from_gateway) = ring("gateway_to_control", CONTROL);
    let (to_book, control_to_book) = ring("control_to_book", CONTROL);
    let (to_alpha, control_to_alpha) = ring("control_to_alpha", CONTROL);
    let (to_router, control_to_router) = ring("control_to_router", CONTROL);
    let (to_gateway, control_to_gateway) = ring("control_to_gateway", CONTROL);
    let (to_memory, control_to_memory) = ring("control_to_memory", CONTROL);
    let (news_to_memory, memory_news) = ring("news_to_memory", CONTROL);
    let image = parts.engine.image();
    let (alpha_to_memory, memory_steps) = conveyor("alpha_to_memory", STEPS, || Step::new(n, &image));
    let (acb, pending_acb) = pending();
    let (safety, pending_safety) = pending();
    let (rm, pending_rm) = pending();
    let (scan, pending_scan) = pending();

    let rings = vec![
        feed_to_book.stats(),
        book_to_scanner.stats(),
        scanner_to_alpha.stats(),
        alpha_to_router.stats(),
        book_to_router.stats(),
        router_to_gateway.stats(),
        gateway_to_router.stats(),
        router_to_alpha.stats(),
        router_to_control.stats(),
        gateway_to_control.stats(),
        alpha_to_memory.stats(),
        news_to_memory.stats(),
    ];
    let interval = Nanos::from_millis(config.market.tick_ms);
    let mut lines = Vec::new();
    let market: Vec<(&'static str, Box<dyn Stage>)> = match parts.source {
        Source::Streams(routes, feeds) => {
            let mut features = FeatureEngine::new(&parts.instruments, interval);
            parts.instruments.iter().for_each(|i| features.expect_aggregates(i.id));
            lines = Line::of(&routes);
            let feed = FeedStage::new(routes, feed_to_book, feed_commands, feed_to_control);
            let book = BookStage {
                decoder: Decoder::new(&parts.instruments),
                features,
                streams: Streams::new(feeds, n, config.market.max_bad_frames_per_min, book_to_feed),
                feed_to_book: book_frames,
                control_to_book,
                book_to_scanner,
                book_to_router,
                book_to_control,
                limits: BookLimits::of(&config.market),
                counters: BookCounters::default(),
                standing: vec![Standing::new(); n],
                auditing: Auditing::default(),
                clock: clock.clone(),
                probe: latency.probe("book_latency", SAMPLES),
            };
            vec![("feed", Box::new(feed)), ("book", Box::new(book))]
        }
        Source::Shards(source) => {
            let stage = ShardStage {
                source: *source,
                shards_to_scanner: book_to_scanner,
                shards_to_router: book_to_router,
                shards_to_control,
                quoted: vec![false; n],
                told: 0,
                clock: clock.clone(),
                probe: latency.probe("shards_latency", SAMPLES),
            };
            vec![("shards", Box::new(stage))]
        }
    };

    let stages = Stages {
        market,
        scanner: ScannerStage {
            scanner: parts.scanner,
            book_to_scanner: scanner_ticks,
            scanner_to_alpha,
            clock: clock.clone(),
            probe: latency.probe("scanner_latency", SAMPLES),
        },
        alpha: AlphaStage {
            engine: parts.engine,
            direction: config.direction.sign(),
            tick_ns: interval.0,
            hibernate: config.hibernate_action,
            may_enter: true,
            scanner_to_alpha: alpha_ticks,
            router_to_alpha: alpha_outcomes,
            control_to_alpha,
            pending_acb,
            pending_safety,
            pending_rm,
            pending_scan,
            signal: config.signal,
            scan_stale_after: Nanos::from_millis(config.market.scan_stale_after_ms),
            alpha_to_router,
            alpha_to_control,
            alpha_to_memory,
            news_to_memory,
            clock: clock.clone(),
            probe: latency.probe("alpha_latency", SAMPLES),
            memo: Memo::new(parts.booked),
        },
        router: RouterStage {
            router: parts.router,
            alpha_to_router: router_intents,
            gateway_to_router: router_reports,
            book_to_router: router_quotes,
            control_to_router,
            router_to_gateway,
            router_to_alpha,
            router_to_control,
            clock: clock.clone(),
            probe: latency.probe("router_latency", SAMPLES),
            outbox: Outbox::new(),
            cause_recv_ns: 0,
            told: RouterState::default(),
            told_positions: vec![Qty::ZERO; n],
            fills: 0,
        },
        gateway: GatewayStage {
            core: parts.gateway,
            fence: parts.fence,
            api: parts.api,
            user: parts.user,
            decoder: parts.user_decoder,
            user_path: String::new(),
            router_to_gateway: gateway_requests,
            control_to_gateway,
            gateway_to_router,
            gateway_to_control,
            outbound: Outbound::new(REPORTS),
            held: Holds::default(),
            written: VecDeque::with_capacity(64),
            clock: clock.clone(),
            probe: latency.probe("gateway_latency", SAMPLES),
        },
    };
    let ends = Ends {
        lines,
        feed: from_feed,
        book: from_book,
        shards: from_shards,
        alpha: from_alpha,
        router: from_router,
        gateway: from_gateway,
        to_book,
        to_alpha,
        to_router,
        to_gateway,
        fence: parts_fence,
        to_memory,
        latency,
        rings,
    };
    let memory = MemoryEnds {
        steps: memory_steps,
        news: memory_news,
        health: control_to_memory,
        acb,
        safety,
        rm,
        scan,
    };
    (stages, ends, memory)
}

/// Which stages share a worker.
struct Plan {
    workers: u8,
    idle: Idle,
}

impl Plan {
    /// One worker per free core, and one core left for the slow threads where there are two or more: on a machine of
    /// two cores everything hot runs fused on one (a hop within a core costs nanoseconds, one across costs more, and
    /// more spinning workers than cores cost milliseconds).
    fn new(config: &Config, cores: usize) -> Self {
        let layout = config.runtime.layout.unwrap_or(match cores {
            0..=1 => 1,
            2..=3 => 2,
            4..=5 => 4,
            _ => 6,
        });
        let workers = match layout {
            1 | 2 => 1,
            4 => 3,
            _ => 5,
        };
        // Spinning wants a core for each worker and one more for everything else.
        let idle = if usize::from(workers) < cores && cores > 2 { Idle::Spin } else { Idle::Yield };
        Self { workers, idle: config.runtime.idle.unwrap_or(idle) }
    }

    fn place(&self, s: Stages) -> Vec<(&'static str, Vec<Box<dyn Stage>>)> {
        let (scanner, alpha): (Box<dyn Stage>, Box<dyn Stage>) = (Box::new(s.scanner), Box::new(s.alpha));
        let (router, gateway): (Box<dyn Stage>, Box<dyn Stage>) = (Box::new(s.router), Box::new(s.gateway));
        let apart = s.market.into_iter();
        let together =
            |apart: std::vec::IntoIter<(&'static str, Box<dyn Stage>)>| apart.map(|(_, stage)| stage);
        match self.workers {
            1 => {
                vec![("hot", together(apart).chain([scanner, alpha, router, gateway]).collect())]
            }
            3 => vec![
                ("market", together(apart).collect()),
                ("signal", vec![scanner, alpha]),
                ("orders", vec![router, gateway]),
            ],
            _ => apart
                .map(|(name, stage)| (name, vec![stage]))
                .chain([
                    ("signal", vec![scanner, alpha]),
                    ("router", vec![router]),
                    ("gateway", vec![gateway]),
                ])
                .collect(),
        }
    }
}

/// The layout that a configuration gets on this machine, and whether the cores suffice for it.
pub fn describe(config: &Config) -> (String, bool) {
    let cores = available_cores();
    let plan = Plan::new(config, cores);
    let enough = plan.idle != Idle::Spin || usize::from(plan.workers) < cores.max(2);
    (format!("{plan} on {cores} cores"), enough)
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = if self.workers == 1 { "" } else { "s" };
        write!(f, "{} hot worker{s}, idle {:?}", self.workers, self.idle)
    }
}
