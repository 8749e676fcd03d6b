//! One run: the production node beside the venue, for so long, at one rate.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use binance::hosts::Venue;
use binance::key::ApiKey;
use node::config::Config;
use node::control::{Orders, Seen};
use node::live::{History, Options};
use node::role::Role;
use node::summary::Summary;
use node::topology::table::Layout;
use runtime::clock::Clock;
use runtime::environment::splitmix64;
use runtime::worker::{available_cores, cores_in_order};
use telemetry::published::Published;
use tokio::sync::watch;

use crate::environment::{Link, Logs, ToVenue, environment};
use crate::market::Source;
use crate::schedule::openings;
use crate::scheduled::{self, KEY, Plan, Played};
use crate::stamped::{Log, Room, Rooms, Shared};
use crate::threads::{Counts, Watched, watcher};

/// The configuration of the measured node.
pub const CONFIG: &str = include_str!("bench.yml");
/// Time for the node to be armed with every book in sync.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// After that, before anything counts.
const WARM_UP: Duration = Duration::from_millis(1_000);
/// Bars of history before the start: the longest window and a margin.
const BARS: usize = alpha::eigen::WINDOWS[3] + 150;
/// Where the venue is said to be when no socket is opened.
const NOWHERE: &str = "127.0.0.1:9080";

/// What is run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Symbols.
    pub symbols: usize,
    /// Sockets of the loopback, or pipes within the process.
    pub wire: bool,
    /// How long it is measured.
    pub seconds: f64,
    /// Thousandths of the recorded speed.
    pub rate: u64,
    /// Without rehearsals: what they bring is the difference.
    pub cold: bool,
    /// Where the journal goes; it is removed by whoever made it.
    pub scratch: PathBuf,
    /// Where the node publishes its state, if it is to be watched.
    pub published: Option<Arc<Published>>,
}

/// Both ends of a connection, over.
#[derive(Debug)]
pub struct Both {
    /// What it was for.
    pub link: Link,
    /// The node's end.
    pub node: Log,
    /// The venue's.
    pub venue: Log,
}

/// What a run left.
pub struct Raw {
    /// Measured from then.
    pub from: u64,
    /// To then.
    pub to: u64,
    /// The node's summary.
    pub summary: Summary,
    /// The venue's word.
    pub played: Played,
    /// Connections.
    pub connections: Vec<Both>,
    /// The hot threads while it was measured.
    pub threads: Vec<Counts>,
    /// Ticks that the books made while it was measured, and those that found no room.
    pub ticks: (u64, u64),
    /// Frames the node received meanwhile.
    pub frames: u64,
    /// Reads and writes of the node's streams meanwhile.
    pub socket_calls: u64,
    /// Which threads run on which cores, for people.
    pub placed: String,
    /// From the start of the node until all books were in sync and orders could pass.
    pub armed_after: Duration,
}

/// A configuration for so many symbols; its journal is written, as in production.
fn config(options: &Setting) -> Result<Config, String> {
    let mut config = Config::parse(CONFIG).map_err(|e| format!("the bench's configuration{e}"))?;
    config.market.max_symbols = options.symbols;
    config.journal.path = Some(options.scratch.join("journal"));
    config.runtime.rehearse = !options.cold;
    config.telemetry.listen = "off".to_owned();
    Ok(config)
}

/// Bars before the start that lead to the opening prices: random walks with a common part.
fn history(source: &Source, symbols: usize) -> History {
    let openings = openings(source, symbols);
    let mut state = 7;
    let mut draw = || (splitmix64(&mut state) >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
    let mut bars = vec![openings];
    for _ in 1..BARS {
        let common = draw();
        let newest = bars.last().cloned().unwrap_or_default();
        bars.push(newest.into_iter().map(|px| px * (1.0 + (common + draw()) * 4e-4)).collect());
    }
    bars.reverse();
    let names = venue::sim::listings(symbols).into_iter().map(|l| l.instrument.symbol).collect();
    History { symbols: names, bars }
}

/// The node's layout, and the cores in the order in which its workers take them: the venue gets the next one.
fn cores(config: &Config) -> (&'static Layout, Vec<usize>) {
    let layout = Layout::of(Role::All, config.runtime.layout.map_or_else(available_cores, usize::from));
    (layout, cores_in_order(config.runtime.first_core))
}

/// How much the logs hold: what is expected, doubled.
fn rooms(source: &Source, options: &Setting) -> (Rooms, Rooms) {
    let of = |p: &crate::market::Pattern| {
        p.changes.len() as f64 * 1e9 / p.changes.last().map_or(1, |c| c.after).max(1) as f64
    };
    let per_second = source.patterns.iter().map(of).sum::<f64>() / source.patterns.len() as f64;
    let expected = per_second * options.symbols as f64 * options.rate as f64 / 1000.0;
    let frames = (expected * (options.seconds + 15.0)).clamp(50_000.0, 1_500_000.0) as usize;
    let account = Room { reads: 50_000, frames: 25_000, texts: 16 << 20 };
    let market = |reads, frames| Room { reads, frames, texts: 0 };
    let node = Rooms { market: market(frames, 1_000), account };
    (node, Rooms { market: market(1_000, frames), account })
}

/// The venue's thread, running.
struct RunningVenue {
    at: String,
    thread: JoinHandle<Result<Played, String>>,
    stop: Arc<AtomicBool>,
    sender: mpsc::Sender<ToVenue>,
}

fn start_venue(
    options: &Setting,
    (source, clock): (&Arc<Source>, &Clock),
    rooms: Rooms,
    core: Option<usize>,
) -> Result<RunningVenue, String> {
    let (listener, at) = if options.wire {
        let opened = scheduled::listen().and_then(|l| l.local_addr().map(|at| (l, at.to_string())));
        let (listener, at) = opened.map_err(|e| format!("cannot listen on the loopback: {e}"))?;
        (Some(listener), at)
    } else {
        (None, NOWHERE.to_owned())
    };
    let (sender, inbox) = mpsc::channel();
    let (symbols, rate) = (options.symbols, options.rate);
    let plan = Plan { source: Arc::clone(source), symbols, rate, rooms, listener, core };
    let stop = Arc::new(AtomicBool::new(false));
    let (clock, until) = (clock.clone(), Arc::clone(&stop));
    let run = move || scheduled::run(&plan, &clock, inbox, &until);
    let thread =
        std::thread::Builder::new().name("venue".to_owned()).spawn(run).map_err(|e| e.to_string())?;
    Ok(RunningVenue { at, thread, stop, sender })
}

/// What the node is to run: as `dolphin live` has it, at this venue, until it is signalled.
fn node_options(
    options: &Setting,
    source: &Source,
    mut config: Config,
    at: String,
    seen: watch::Sender<Seen>,
) -> Result<Options, String> {
    config.path = options.scratch.join("bench.yml");
    let name = Venue::Local(at);
    Ok(Options {
        role: Role::All,
        hosts: name.hosts(),
        venue: name,
        config,
        key: ApiKey::hmac(KEY.0, KEY.1).map_err(|e| e.to_string())?,
        history: history(source, options.symbols),
        forewarner: None,
        orders: Orders {
            seconds: None,
            flatten: true,
            kill_file: None,
            private_path: String::new(),
            progress: false,
            watch: Some(seen),
        },
        signalled: Arc::default(),
        extra_stages: Vec::new(),
        published: options.published.clone(),
    })
}

/// What was seen from outside while it was measured.
struct Measured {
    from: u64,
    to: u64,
    threads: Vec<Counts>,
    ticks: (u64, u64),
    frames: u64,
    socket_calls: u64,
    armed_after: Duration,
}

/// Waits until the node can trade, and then so long.
fn measure(
    seconds: f64,
    (sight, armed_after): (&watch::Receiver<Seen>, Duration),
    watched: &[Arc<Watched>],
    (clock, calls): (&Clock, &AtomicU64),
) -> Measured {
    std::thread::sleep(WARM_UP);
    let before: Vec<Counts> = watched.iter().map(|w| w.read()).collect();
    let (called, then, from) = (calls.load(Ordering::Relaxed), counts(sight), clock.now_ns());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (now, to) = (counts(sight), clock.now_ns());
    Measured {
        from,
        to,
        threads: watched.iter().zip(&before).map(|(w, before)| w.read().since(before)).collect(),
        ticks: (now.0 - then.0, now.1 - then.1),
        frames: now.2 - then.2,
        socket_calls: calls.load(Ordering::Relaxed) - called,
        armed_after,
    }
}

/// Runs it.
pub fn run(options: &Setting, source: &Arc<Source>, clock: &Clock) -> Result<Raw, String> {
    let config = config(options)?;
    let (layout, cores) = cores(&config);
    let venue_core = cores.get(layout.workers.len()).copied();
    let (node_rooms, venue_rooms) = rooms(source, options);
    let venue = start_venue(options, (source, clock), venue_rooms, venue_core)?;
    let calls = Arc::new(AtomicU64::new(0));
    let (environment, logs) =
        environment(options.wire, (clock.clone(), &calls), node_rooms, venue.sender.clone());
    let (extra_stages, watched): (Vec<_>, Vec<_>) =
        layout.workers.iter().map(|(name, _)| watcher(name)).unzip();
    let (seen, sight) = watch::channel(Seen::default());
    let node = node_options(options, source, config, venue.at.clone(), seen)?;
    let node = Options { extra_stages, ..node };
    let (signalled, began) = (Arc::clone(&node.signalled), Instant::now());
    let node = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || node::live::run(node, &environment))
        .map_err(|e| e.to_string())?;
    let measured = ready(&sight, options.symbols, || node.is_finished())
        .map(|()| measure(options.seconds, (&sight, began.elapsed()), &watched, (clock, &calls)));
    signalled.store(true, Ordering::Release);
    let ended = node.join().map_err(|_| "the node panicked".to_owned())?;
    venue.stop.store(true, Ordering::Release);
    let played = venue.thread.join().map_err(|_| "the venue panicked".to_owned())??;
    let summary = ended.map_err(|e| format!("the node: {}", e.message))?;
    let Measured { from, to, threads, ticks, frames, socket_calls, armed_after } = measured?;
    Ok(Raw {
        from,
        to,
        summary,
        connections: paired(&logs, &played.logs),
        threads,
        ticks,
        frames,
        socket_calls,
        placed: placed(layout, &cores),
        armed_after,
        played,
    })
}

/// Ticks, ticks lost, frames.
fn counts(sight: &watch::Receiver<Seen>) -> (u64, u64, u64) {
    let seen = sight.borrow();
    (seen.book.samples, seen.book.lost_samples, seen.feed.frames)
}

fn placed(layout: &Layout, cores: &[usize]) -> String {
    let on = |i: usize| cores.get(i).map_or("no core of its own".to_owned(), |core| format!("core {core}"));
    let workers = layout.workers.iter().enumerate().map(|(i, (name, _))| format!("{}: {name}", on(i)));
    let venue = format!("{}: venue; unpinned: control, memory, journal", on(layout.workers.len()));
    workers.chain([venue]).collect::<Vec<_>>().join(", ")
}

/// Waits until the node could trade.
fn ready(sight: &watch::Receiver<Seen>, symbols: usize, over: impl Fn() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < READY_WITHIN {
        let (live, passes) = {
            let seen = sight.borrow();
            let passes = seen.gate.order_path && seen.gate.user_stream && seen.router.reconciled;
            (seen.book.live_books as usize, passes)
        };
        if live >= symbols && passes {
            return Ok(());
        }
        if over() {
            return Err("the node ended before it could trade".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("after {} s the node cannot trade yet", READY_WITHIN.as_secs()))
}

/// Ends of the same connection have the same opening.
fn paired(node: &Logs, venue: &[Shared]) -> Vec<Both> {
    let taken = |log: &Shared| std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
    let mut venue: Vec<Log> = venue.iter().map(taken).collect();
    let node: Vec<(Link, Log)> = node
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .map(|(link, log)| (*link, taken(log)))
        .collect();
    let pair = |(link, node): (Link, Log)| {
        let at = venue.iter().position(|v| !v.opening.is_empty() && v.opening == node.opening)?;
        Some(Both { link, node, venue: venue.swap_remove(at) })
    };
    node.into_iter().filter_map(pair).collect()
}
