//! A live node from start to end: make ready, run, stop in good order, tell.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binance::Symbols;
use binance::clock::ServerClock;
use binance::feed::{Feed, FeedConfig, Patience, Route as StreamRoute, StreamKind};
use binance::gateway::{Gateway, GatewayConfig};
use binance::hosts::{Endpoint, Hosts, Venue};
use binance::key::ApiKey;
use binance::limits::Urgency;
use binance::net::{ConnConfig, WsConn, tls_config};
use binance::rest::{AnnouncedLimit, RestClient, RestConfig, RestError};
use binance::sign::Signer;

use binance::user::UserDecoder;
use execution::Router;
use market::{Amount, Instrument, Nanos};
use runtime::clock::Clock;

use crate::config::Config;
use crate::control::{self, Control, Orders, Seen, WatchConfig};
use crate::error::Failure;
use crate::memory_link::{self, Identity, Loaded, MemoryLink, MemoryStatus};
use crate::preflight;
pub use crate::preflight::{QUOTE, rest_error as unavailable};
use crate::restart::{self, Begun};
use crate::roles::Role;
use crate::roles::lease::Fence;
use crate::roles::standby::{self, StoodBy, Warm};
use crate::stages::Hop;
use crate::stages::feed::Route;
use crate::summary::{OpenPosition, RingSummary, StageSummary, Summary};
use crate::topology::{self, Guest, Parts, Pipeline, Source};

/// Prices from before the start, oldest first, one row a bar.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Columns.
    pub symbols: Vec<String>,
    /// Rows; NaN = no price.
    pub bars: Vec<Vec<f64>>,
}

/// What a node is to run.
pub struct Options {
    /// Which part of the system: all of it, or alpha.
    pub role: Role,
    /// Configuration, checked.
    pub config: Config,
    /// Key of the account.
    pub key: ApiKey,
    /// Where.
    pub venue: Venue,
    /// Its hosts, overrides applied.
    pub hosts: Hosts,
    /// Prices to warm the histories with.
    pub history: History,
    /// The forewarner of `mc_models_dir`, where there is one that can be read (SPEC §4.3).
    pub forewarner: Option<alpha::Forewarner>,
    /// How it ends.
    pub orders: Orders,
    /// Set by a signal.
    pub signalled: Arc<AtomicBool>,
    /// Stages of the caller's own.
    pub guests: Vec<Guest>,
}

/// Runs a node on this thread until its end.
pub fn run(options: Options) -> Result<Summary, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start the control runtime: {e}")))?;
    runtime.block_on(live(options))
}

async fn live(mut options: Options) -> Result<Summary, Failure> {
    refuse_while_killed(&options.orders)?;
    let guests = std::mem::take(&mut options.guests);
    let clock = Clock::new();
    let rest = Arc::new(rest_client(&options, &clock)?);
    // A position of the last run may wait to be looked after: a start never gives up over a full window.
    rest.set_patient(true);
    let (section, venue) = (&options.config.memory, options.venue.name().to_owned());
    let alone = options.role == Role::All;
    let mut link = MemoryLink::open(section, &venue, alone && matches!(options.venue, Venue::Local(_)))?;
    link.begin(&venue, &clock);
    let active = if alone {
        None
    } else {
        match standby::stand_by(&options, &rest, &link, &clock).await? {
            StoodBy::Active(active) => Some(*active),
            StoodBy::Ended(mut summary) => {
                summary.memory = link.finish();
                return Ok(*summary);
            }
        }
    };
    let limit = Duration::from_millis(section.start_timeout_ms);
    let mut loaded = memory_link::load(link.memory(), section.deployment, &venue, limit).await;
    let (alpha, warm) = active.map_or((None, None), |a| (Some(a.alpha), Some((a.symbols, a.warm))));
    let (mut ready, begun, source) = begin(&options, &rest, warm, &mut loaded, &clock).await?;
    let fence = alpha.as_ref().map_or_else(Fence::open, |a| a.fence.clone());
    let parts = Parts { guests, ..parts(&options, &mut ready, begun, (source, fence.clone()), &clock)? };
    rest.set_patient(false);
    let gates_before = *parts.engine.gate_counts();
    let pipeline = topology::start(&options.config, parts, &clock)
        .map_err(|e| Failure::unavailable(format!("cannot start the workers: {e}")))?;
    let Pipeline { ends, memory, workers, stop, layout } = pipeline;
    let assets = ready.symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let identity = Identity { deployment: section.deployment, venue, assets, fence };
    link.run(&options.config, identity, memory, loaded, &clock);
    let private_path = endpoint(&options.hosts.private)?.path;
    let orders = Orders { private_path, ..options.orders.clone() };
    let started = clock.now_ns();
    let (symbols, signalled) = (ready.symbols.clone(), Arc::clone(&options.signalled));
    let watch = watch_config(&options.config);
    let mut control = Control::new(orders, Arc::clone(&rest), symbols, ends, clock.clone(), watch, signalled);
    control.board = alpha.as_ref().map(|a| a.board.clone());
    control.use_listen_key(&ready.listen_key);
    control.run(&stop).await;

    let died = stop.swap(true, Ordering::AcqRel);
    let (stages, panics) = join(workers);
    // An account that another node may act for by now is not touched. The lease outlives the last words to venue and
    // memory, and then runs out.
    let fenced = control.seen.fenced;
    let left = if fenced { Ok(Left::default()) } else { leave(&rest, &ready, &clock).await };
    let memory = link.finish();
    let seconds = (clock.now_ns() - started) as f64 / 1e9;
    let run = Run { layout, seconds, stages, gates_before, left, memory };
    let mut summary = summarise(&options, &ready, &mut control, run);
    summary.alpha = alpha.map(|a| a.shown());
    if fenced {
        return Err(lease_lost(&summary));
    }
    if let Some(file) = options.orders.kill_file.as_ref().filter(|f| f.exists()) {
        kill_report(file, &summary);
    }
    if let Some(why) = control.seen.failed.take() {
        return Err(Failure::unavailable(why));
    }
    if died || !panics.is_empty() {
        return Err(stopped(&panics, &summary));
    }
    Ok(summary)
}

fn stopped(panics: &[String], summary: &Summary) -> Failure {
    eprint!("{}", summary.text());
    Failure::unavailable(format!(
        "the pipeline stopped by itself: {}; orders were cancelled, see the summary for what is open",
        panics.join("; ")
    ))
}

fn lease_lost(summary: &Summary) -> Failure {
    eprint!("{}", summary.text());
    Failure::unavailable(
        "the lease was lost: another node may be active, so nothing more was sent; start again to stand by",
    )
}

/// The venue's word, scanner and engine in agreement with it, and where the market comes from. `warm`: what a standby
/// kept.
async fn begin(
    options: &Options,
    rest: &RestClient,
    warm: Option<(Vec<String>, Warm)>,
    loaded: &mut Loaded,
    clock: &Clock,
) -> Result<(Ready, Begun, Source), Failure> {
    let (named, kept, shards) = match warm {
        Some((symbols, Warm { scanner, engine, source })) => {
            (Some(symbols), Some((scanner, engine)), Some(source))
        }
        None => (None, None, None),
    };
    let ready = prepare(options, rest, named.as_deref(), loaded.held()).await?;
    let source = match shards {
        Some(shards) => Source::Shards(Box::new(shards)),
        None => {
            let (routes, feeds) = routes(&options.config, &options.hosts, &ready.symbols)?;
            Source::Streams(routes, feeds)
        }
    };
    let begun = restart::begin(options, kept, rest, &ready.symbols, &ready.server, loaded, clock).await?;
    Ok((ready, begun, source))
}

/// Waits for the workers: what their stages did, and what they died of.
fn join(workers: Vec<runtime::worker::Worker>) -> (Vec<StageSummary>, Vec<String>) {
    let stages = workers.iter().flat_map(|w| {
        let stage = |s: &Arc<runtime::worker::StageStats>| StageSummary {
            name: s.name(),
            worker: w.name().to_owned(),
            worked: s.worked(),
            longest_ns: s.longest_ns(),
        };
        w.stats().iter().map(stage).collect::<Vec<_>>()
    });
    let stages = stages.collect();
    (stages, workers.into_iter().filter_map(|w| w.join().err()).collect())
}

/// What the venue said before the start.
struct Ready {
    instruments: Vec<Instrument>,
    symbols: Symbols,
    server: ServerClock,
    listen_key: String,
    limits: Vec<AnnouncedLimit>,
}

fn rest_client(options: &Options, clock: &Clock) -> Result<RestClient, Failure> {
    let signer = Signer::new(&options.key).map_err(|e| Failure::usage(e.to_string()))?;
    let now = clock.clone();
    let now = Arc::new(move || Nanos(now.now_ns()));
    let recv_window_ms = u32::try_from(options.config.router.recv_window_ms).unwrap_or(60_000);
    RestClient::new(&options.hosts, Some(signer), RestConfig { recv_window_ms, ..RestConfig::default() }, now)
        .map_err(|e| unavailable(&e))
}

/// Clock, instruments, account mode, listen key: each failure says what to do. `named`: the symbols, where they are
/// settled; else the configuration's or the venue's, and `held`, because the state holds a position in it.
async fn prepare(
    options: &Options,
    rest: &RestClient,
    named: Option<&[String]>,
    held: Option<String>,
) -> Result<Ready, Failure> {
    let server = rest.sync_clock(5).await.map_err(|e| unavailable(&e))?;
    preflight::clock(&server, options.config.router.risk.max_clock_offset_ms).into_result()?;
    let info = match named {
        Some(symbols) => preflight::named(rest, symbols).await?,
        None => preflight::instruments(&options.config, rest, &options.hosts.rest, held).await?,
    };
    for symbol in preflight::halted(&info.instruments) {
        tracing::warn!("{symbol} does not trade at the venue now; it is followed but not traded");
    }
    preflight::position_mode(rest.dual_side().await.map_err(|e| unavailable(&e))?).into_result()?;
    let account = rest.account(Urgency::Start).await.map_err(|e| unavailable(&e))?;
    preflight::margin(&account, &options.config, &info.instruments).into_result()?;
    let key = rest.create_listen_key().await.map_err(|e| unavailable(&e))?;
    let listen_key = secrecy::ExposeSecret::expose_secret(&key).to_owned();
    let symbols = Symbols::new(info.instruments.clone());
    Ok(Ready { instruments: info.instruments, symbols, server, listen_key, limits: info.limits })
}

fn parts(
    options: &Options,
    ready: &mut Ready,
    begun: Begun,
    (source, fence): (Source, Fence),
    clock: &Clock,
) -> Result<Parts, Failure> {
    let config = &options.config;
    let bad = |e: &dyn std::fmt::Display| Failure::usage(e.to_string());
    let Begun { scanner, engine, recovered } = begun;
    // The run's epoch: seconds since 1970 grow at every start, so no client order id is ever used twice.
    let run = u32::try_from(runtime::clock::wall_ns() / Nanos::SECOND).unwrap_or(u32::MAX);
    let mut router =
        Router::new(config.router.clone(), ready.instruments.clone(), run).map_err(|e| bad(&e))?;
    recovered.adopt(&mut router, Nanos(clock.now_ns()), config.alpha.fixed_tp_pct);
    let signer = Signer::new(&options.key).map_err(|e| bad(&e))?;
    let gateway_config = GatewayConfig {
        recv_window_ms: u32::try_from(config.router.recv_window_ms).unwrap_or(60_000),
        max_order_notional: Amount::from_f64(config.router.risk.max_order_notional_usd)
            .unwrap_or(Amount::ZERO),
        ..GatewayConfig::default()
    };
    let mut gateway = Gateway::new(signer, ready.symbols.clone(), gateway_config).map_err(|e| bad(&e))?;
    gateway.clock_synced(&ready.server);
    for l in &ready.limits {
        gateway.limits().set(l.kind, l.length, l.limit);
    }
    Ok(Parts {
        source,
        fence,
        scanner,
        engine,
        booked: recovered.booked,
        router,
        gateway,
        api: connection(config, &options.hosts.ws_api, 11)?,
        user: connection(config, &options.hosts.private, 12)?,
        user_decoder: UserDecoder::new(ready.symbols.clone()),
        instruments: std::mem::take(&mut ready.instruments),
        guests: Vec::new(),
    })
}

fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    Endpoint::parse(url).map_err(|e| Failure::usage(e.to_string()))
}

fn connection(config: &Config, url: &str, seed: u64) -> Result<WsConn, Failure> {
    let mut endpoint = endpoint(url)?;
    if endpoint.path.is_empty() {
        "/".clone_into(&mut endpoint.path);
    }
    let seed = seed ^ runtime::clock::wall_ns();
    let max_age = config.market.max_connection_age_s * Nanos::SECOND;
    Ok(WsConn::new(endpoint, tls_config(), ConnConfig { max_age, ..ConnConfig::default() }, seed))
}

/// A connection to a whole URL, not opened yet.
pub fn dial(url: &str, seed: u64) -> Result<WsConn, Failure> {
    let seed = seed ^ runtime::clock::wall_ns();
    Ok(WsConn::new(endpoint(url)?, tls_config(), ConnConfig::default(), seed))
}

/// Books on `/public`, trades and mark prices on `/market`, each over as many connections as it takes.
pub fn routes(config: &Config, hosts: &Hosts, symbols: &Symbols) -> Result<(Vec<Route>, Vec<Feed>), Failure> {
    let kinds = [StreamKind::Depth, StreamKind::AggTrade, StreamKind::MarkPrice];
    let feeds = Feed::plan(symbols, &kinds, feed_config(config), (&hosts.public, &hosts.market))
        .map_err(|e| Failure::usage(e.to_string()))?;
    let mut counts = [0usize; 2];
    let mut routes = Vec::new();
    for (i, feed) in feeds.iter().enumerate() {
        let (name, place) = match feed.route() {
            StreamRoute::Public => ("public", 0),
            StreamRoute::Market => ("market", 1),
        };
        counts[place] += 1;
        let name = if counts[place] == 1 { name.to_owned() } else { format!("{name}-{}", counts[place]) };
        let conn = connection(config, feed.url(), i as u64)?;
        routes.push(Route { name, url: feed.url().to_owned(), conn, generation: 0 });
    }
    Ok((routes, feeds))
}

fn feed_config(config: &Config) -> FeedConfig {
    let m = &config.market;
    let mut feed = FeedConfig { data_age: Nanos::from_millis(m.max_data_age_ms).0, ..FeedConfig::default() };
    for kind in [StreamKind::Depth, StreamKind::MarkPrice] {
        feed.patience[kind as usize] = Patience {
            first_data: Nanos::from_millis(m.first_data_ms).0,
            stale_after: Nanos::from_millis(m.stream_silent_ms).0,
        };
    }
    feed
}

/// What the venue says is left, after a last cancel of everything that works.
#[derive(Default)]
struct Left {
    positions: Vec<OpenPosition>,
    orders: usize,
}

async fn leave(rest: &RestClient, ready: &Ready, clock: &Clock) -> Result<Left, RestError> {
    let mut account = control::account(rest, &ready.symbols, clock, Urgency::Exit).await?;
    if !account.orders.is_empty() {
        let mut symbols: Vec<_> = account.orders.iter().map(|o| o.symbol).collect();
        symbols.dedup();
        for symbol in symbols {
            rest.cancel_all(symbol, &ready.symbols).await?;
        }
        account = control::account(rest, &ready.symbols, clock, Urgency::Exit).await?;
    }
    let _ = rest.close_listen_key().await;
    let position = |p: &execution::VenuePosition| {
        let i = ready.symbols.get(p.symbol)?;
        Some(OpenPosition { symbol: i.symbol.clone(), qty: i.lot.format(p.qty.0).to_string() })
    };
    Ok(Left {
        positions: account.positions.iter().filter_map(position).collect(),
        orders: account.orders.len(),
    })
}

/// The kill file outlives the run that it ended: only who removes it lets trading begin again.
fn refuse_while_killed(orders: &Orders) -> Result<(), Failure> {
    let Some(file) = orders.kill_file.as_ref().filter(|f| f.exists()) else { return Ok(()) };
    Err(Failure::usage(format!(
        "the kill switch is latched: {} exists; when trading may go on, remove it and start again",
        file.display()
    )))
}

fn watch_config(config: &Config) -> WatchConfig {
    WatchConfig {
        account_ms: config.venue.account_check_ms,
        instruments_ms: config.venue.instruments_check_ms,
        max_clock_offset_ms: config.router.risk.max_clock_offset_ms,
    }
}

/// What the kill switch did, beside the file that pulled it: for whoever waits for it.
fn kill_report(file: &Path, summary: &Summary) {
    let report = serde_json::json!({
        "done": summary.router.kill_done,
        "open_orders": summary.open_orders,
        "open_positions": summary.open_positions,
        "unknown_orders": summary.router.unknown,
        "ended_by": summary.ended_by,
    });
    let mut path = file.as_os_str().to_owned();
    path.push(".report");
    if let Err(error) = std::fs::write(&path, format!("{report}\n")) {
        tracing::error!("cannot write {}: {error}", Path::new(&path).display());
    }
}

/// What only the node knows of a run.
struct Run {
    layout: String,
    seconds: f64,
    stages: Vec<StageSummary>,
    gates_before: [u64; alpha::Gate::ALL.len()],
    left: Result<Left, RestError>,
    memory: MemoryStatus,
}

fn summarise(options: &Options, ready: &Ready, control: &mut Control, run: Run) -> Summary {
    let ends = control.ends();
    ends.latency.drain();
    let latency_ns = Hop::ALL
        .into_iter()
        .filter_map(|hop| Some((hop.name(), ends.latency.summary(hop as usize)?)))
        .collect();
    let latency_lost = ends.latency.lost();
    let ring = |r: &Arc<runtime::ring::RingStats>| RingSummary {
        name: r.name(),
        capacity: r.capacity(),
        pushed: r.pushed(),
        high_water: r.high_water(),
        full: r.full(),
    };
    let rings = ends.rings.iter().map(ring).collect();
    let seen: &Seen = &control.seen;
    let mut alerts = seen.alerts.clone();
    let left = run.left.unwrap_or_else(|error| {
        tracing::error!("cannot ask the venue what is left: {error}");
        *alerts.entry("LeftUnknown".to_owned()).or_default() += 1;
        Left { positions: Vec::new(), orders: 0 }
    });
    let gates =
        alpha::Gate::ALL.into_iter().zip(seen.gates.unwrap_or(run.gates_before)).zip(run.gates_before);
    let names: Vec<String> = ready.symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let trades: Vec<_> = seen.trades.iter().map(|t| t.record(&names)).collect();
    Summary {
        alpha: None,
        venue: format!("{} ({})", options.venue.name(), options.hosts.rest),
        param_hash: options.config.alpha.hash(),
        profile: options.config.alpha.profile.clone(),
        layout: run.layout,
        symbols: names.len(),
        seconds: run.seconds,
        feed: seen.feed,
        connections: seen.connections.clone(),
        book: seen.book,
        gates: gates.map(|((gate, n), before)| (gate.name(), n - before)).collect(),
        router: seen.router,
        round_trips: trades.len(),
        maker_share: seen.router.maker_share,
        pnl: trades.iter().map(|t| t.pnl).sum(),
        fees: trades.iter().map(|t| t.fees).sum(),
        trades,
        open_positions: left.positions,
        open_orders: left.orders,
        ledger: seen.ledger.clone(),
        alerts,
        latency_ns,
        latency_lost,
        rings,
        stages: run.stages,
        memory: run.memory,
        ended_by: seen.ended_by.clone(),
    }
}
