//! A live node from start to end: make ready, run, stop in good order, tell.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binance::Symbols;
use binance::clock::ServerClock;
use binance::gateway::{Gateway, GatewayConfig};
use binance::hosts::Venue;
use binance::limits::Urgency;
use binance::rest::{AnnouncedLimit, RestClient, RestConfig, RestError, Transport};
use binance::sign::Signer;

use binance::user::UserDecoder;
use execution::{Router, RouterConfig};
use market::{Amount, ClientOrderId, Instrument, Nanos};
use runtime::clock::Clock;
use runtime::worker::Worker;

use crate::config::{Config, Signal};
use crate::connections::{connection, endpoint, routes};
use crate::control::close_stop;
use crate::control::shown::{Facts, Publishing};
use crate::control::{Control, Orders, Seen, WatchConfig};
use crate::drop_copy::DropCopy;
use crate::dry::ReadOnly;
use crate::ending::AtVenue;
use crate::environment::Environment;
use crate::error::Failure;
use crate::memory_link::{self, Identity, Loaded, MemoryLink, MemoryStatus, Owner};
pub use crate::options::{History, Options};
use crate::preflight;
use crate::preflight::rest_error as unavailable;
use crate::restart::{self, Begun};
use crate::role::Role;
use crate::roles::lease::Fence;
use crate::roles::standby::{self, Alpha, StoodBy, Warm};
use crate::stages::Hop;
use crate::stages::gateway::GatewayConnections;
use crate::summary::{OpenPosition, RingSummary, StageSummary, Summary};
use crate::topology::{self, Parts, Pipeline, Source};
use crate::watchdog::{self, Watchdog, Watched};

/// Runs a node on this thread until its end.
pub fn run(options: Options, environment: &Environment) -> Result<Summary, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start the control runtime: {e}")))?;
    runtime.block_on(live(options, environment))
}

/// A node until its end, on the present tokio runtime. A run that began while memory was silent ends when it answers,
/// and begins anew with what it says.
pub async fn live(mut options: Options, environment: &Environment) -> Result<Summary, Failure> {
    let watchdog = Watchdog::start(environment)?;
    loop {
        match one_run(&mut options, &watchdog, environment).await? {
            Ended::Over(summary) => return Ok(*summary),
            Ended::MemoryAnswers => {
                tracing::info!("system memory answers: the node begins anew with the state it holds");
            }
        }
    }
}

enum Ended {
    Over(Box<Summary>),
    MemoryAnswers,
}

async fn one_run(
    options: &mut Options,
    watchdog: &Watchdog,
    environment: &Environment,
) -> Result<Ended, Failure> {
    refuse_while_killed(&options.orders, environment)?;
    let guests = std::mem::take(&mut options.guests);
    let options = &*options;
    let clock = environment.clock.clone();
    let began = Nanos(clock.now_ns());
    let rest = Arc::new(rest_client(options, environment)?);
    // A position of the last run may wait to be looked after: a start never gives up over a full window.
    rest.set_patient(true);
    let (section, venue) = (&options.config.memory, options.venue.name().to_owned());
    let alone = options.role == Role::All;
    let ephemeral = alone && matches!(options.venue, Venue::Local(_));
    let mut link = MemoryLink::open(section, &venue, ephemeral, environment).await?;
    link.begin(&venue, &clock);
    let active = if alone {
        None
    } else {
        match standby::stand_by(options, &rest, &link, environment).await? {
            StoodBy::Active(active) => Some(*active),
            StoodBy::Ended(mut summary) => {
                summary.memory = link.finish().await;
                return Ok(Ended::Over(summary));
            }
        }
    };
    let limit = Duration::from_millis(section.start_timeout_ms);
    let (deployment, account) = (section.deployment, options.key.fingerprint());
    let lease = active.as_ref().and_then(|a| a.alpha.lease_fence());
    let owner = Owner { deployment, venue, account, lease };
    let local_state = link.local_state(section, &owner.venue, !matches!(options.venue, Venue::Local(_)));
    let local = local_state.as_ref().and_then(|path| environment.files.read(path).ok().flatten());
    let mut loaded = memory_link::load(link.memory(), &owner, local.as_deref(), limit).await;
    let (read, may_open) = (loaded.read, loaded.read || loaded.state.is_some());
    let (alpha, warm) = active.map_or((None, None), |a| (Some(a.alpha), Some((a.symbols, a.warm))));
    let fence = fence(options, alpha.as_ref());
    let before = predecessor_until(&options.config, &loaded, &fence, began);
    let (mut ready, begun, source) = begin(options, &rest, warm, &mut loaded, environment).await?;
    let mut parts =
        Parts { guests, ..parts(options, &mut ready, begun, (source, fence.clone()), environment)? };
    before.into_iter().for_each(|until| parts.router.set_predecessor(until));
    rest.set_patient(false);
    let gates_before = *parts.engine.gate_counts();
    let pipeline = topology::start(&options.config, parts, environment)
        .map_err(|e| Failure::unavailable(format!("cannot start the workers: {e}")))?;
    let Pipeline { ends, memory, workers, stop, layout } = pipeline;
    let assets = ready.symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let at_venue = at_venue(options, &rest, &ready, &clock, &fence);
    let identity = Identity { owner, local_state, assets, fence };
    link.run(&options.config, identity, memory, loaded, &clock);
    let started = clock.now_ns();
    let mut control = controller(options, &rest, &ready, ends, environment)?;
    if !read {
        control.wait_for_memory(link.memory().clone(), may_open);
    }
    let shown = publishing(options, gates_before, &layout, &workers, &link, &clock);
    attach(&mut control, &link, alpha.as_ref(), shown);
    look_after(&mut control, options, &at_venue, (watchdog, &workers, &stop), environment)?;
    control.run(&stop).await;
    watchdog.rest();

    let died = stop.swap(true, Ordering::AcqRel);
    let (stages, mut panics) = join(workers).await;
    panics.extend(watchdog.fired());
    let left = left(&control.seen, &at_venue).await;
    let memory = tokio::time::timeout(REMEMBERED_WITHIN, link.finish()).await;
    let memory = memory.unwrap_or_else(|_| link.status());
    let seconds = (clock.now_ns() - started) as f64 / 1e9;
    let run = Run { layout, seconds, stages, gates_before, left, memory };
    let mut summary = summarise(options, &ready, &mut control, run);
    summary.alpha = alpha.map(|a| a.status());
    outcome(options, &mut control, (died, &panics), summary, environment)
}

/// What a run that is over comes to.
fn outcome(
    options: &Options,
    control: &mut Control,
    (died, panics): (bool, &[String]),
    summary: Summary,
    environment: &Environment,
) -> Result<Ended, Failure> {
    if control.seen.fenced {
        return Err(lease_lost(&options.orders, &summary));
    }
    if let Some(file) = options.orders.kill_file.as_ref().filter(|f| environment.has_file(f)) {
        kill_report(file, &summary, environment);
    }
    if let Some(why) = control.seen.failed.take() {
        return Err(Failure::unavailable(why));
    }
    if died || !panics.is_empty() {
        return Err(stopped(&options.orders, panics, &summary));
    }
    if control.memory_answers() {
        return Ok(Ended::MemoryAnswers);
    }
    Ok(Ended::Over(Box::new(summary)))
}

fn stopped(orders: &Orders, panics: &[String], summary: &Summary) -> Failure {
    orders.say(&summary.text());
    Failure::unavailable(format!(
        "the pipeline stopped by itself: {}; orders were cancelled, see the summary for what is open",
        panics.join("; ")
    ))
}

fn lease_lost(orders: &Orders, summary: &Summary) -> Failure {
    orders.say(&summary.text());
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
    environment: &Environment,
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
            let (routes, feeds) = routes(&options.config, &options.hosts, &ready.symbols, environment)?;
            Source::Streams(routes, feeds)
        }
    };
    let begun =
        restart::begin(options, kept, rest, &ready.symbols, &ready.server, loaded, &environment.clock)
            .await?;
    Ok((ready, begun, source))
}

/// The control thread of a pipeline that runs.
fn controller(
    options: &Options,
    rest: &Arc<RestClient>,
    ready: &Ready,
    ends: topology::Ends,
    environment: &Environment,
) -> Result<Control, Failure> {
    let private_path = endpoint(&options.hosts.private)?.path;
    let orders = Orders { private_path, ..options.orders.clone() };
    let (symbols, signalled) = (ready.symbols.clone(), Arc::clone(&options.signalled));
    let watch = watch_config(&options.config);
    let mut control =
        Control::new(orders, Arc::clone(rest), symbols, ends, environment.clone(), watch, signalled);
    control.use_listen_key(&ready.listen_key);
    Ok(control)
}

/// What the control thread learns from others, and shows.
fn attach(control: &mut Control, link: &MemoryLink, alpha: Option<&Alpha>, shown: Option<Publishing>) {
    control.alpha_status = alpha.map(|a| a.status.clone());
    control.unkept = link.unkept();
    control.publishing = shown;
}

/// What makes the status model; nothing where nobody looks.
fn publishing(
    options: &Options,
    gates_before: [u64; alpha::Gate::ALL.len()],
    layout: &str,
    workers: &[Worker],
    link: &MemoryLink,
    clock: &Clock,
) -> Option<Publishing> {
    if options.published.is_none() && !options.orders.progress {
        return None;
    }
    let config = &options.config;
    let stages = workers.iter().flat_map(|w| w.stats().iter().map(|s| (w.name().to_owned(), Arc::clone(s))));
    let node = telemetry::state::Node {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: String::new(),
        venue: options.venue.name().to_owned(),
        role: options.role.name().to_owned(),
        profile: config.alpha.profile.clone(),
        param_hash: config.alpha.hash(),
        layout: layout.to_owned(),
        started_ms: clock.wall_ns() / Nanos::MS,
        capital: Some(config.alpha.initial_capital),
    };
    let facts = Facts {
        node,
        threshold: config.alpha.vel_div_threshold,
        extreme: config.alpha.vel_div_extreme,
        warm_bars: config.alpha.warmup_bars,
        stride: config.market.stride(),
        own_scanner: config.signal == Signal::Scanner,
        book_stale_ms: config.market.ob_stale_after_ms,
        gates_before,
        stages: stages.collect(),
        memory: link.watcher(),
    };
    Some(Publishing::new(facts, options.published.clone()))
}

fn at_venue(
    options: &Options,
    rest: &Arc<RestClient>,
    ready: &Ready,
    clock: &Clock,
    fence: &Fence,
) -> AtVenue {
    AtVenue {
        rest: Arc::clone(rest),
        symbols: ready.symbols.clone(),
        clock: clock.clone(),
        fence: fence.clone(),
        recv_window_ms: recv_window_ms(&options.config),
        stops: options.config.router.disaster_stop_pct > 0.0,
    }
}

/// What every request to the venue must pass.
fn fence(options: &Options, alpha: Option<&Alpha>) -> Fence {
    match alpha {
        _ if options.config.runtime.dry_run => Fence::dry(),
        Some(alpha) => alpha.fence.clone(),
        None => Fence::open(),
    }
}

/// The watchdog and the drop copy, each with a REST client that nobody else waits for.
fn look_after(
    control: &mut Control,
    options: &Options,
    venue: &AtVenue,
    (watchdog, workers, stop): (&Watchdog, &[Worker], &Arc<AtomicBool>),
    environment: &Environment,
) -> Result<(), Failure> {
    control.silence = watchdog.silence();
    let rest = rest_client(options, environment)?.sharing(&venue.rest);
    control.drop_copy = DropCopy::start(rest, venue.symbols.clone(), environment)?;
    let rest = rest_client(options, environment)?.sharing(&venue.rest);
    let venue = AtVenue { rest: Arc::new(rest), ..venue.clone() };
    let limit_ms = options.config.runtime.watchdog_ms;
    watchdog.watch(Watched::of(workers, &control.beat, stop, Some(venue), limit_ms));
    Ok(())
}

/// What the venue says is left after a last cancel. An account that another node may act for by now is not touched; the
/// lease outlives the last words to venue and memory, and then runs out.
async fn left(seen: &Seen, venue: &AtVenue) -> Result<Left, RestError> {
    let r = &seen.router;
    if venue.may_send() {
        return leave(venue, r.kill_done && r.working == 0 && r.unknown == 0).await;
    }
    if seen.fenced || venue.fence.is_dry() { Ok(Left::default()) } else { Err(RestError::TooLate) }
}

/// How long system memory has for the last values.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(6);

/// Waits for the workers: what their stages did, and what they died of.
async fn join(workers: Vec<Worker>) -> (Vec<StageSummary>, Vec<String>) {
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
    (stages, watchdog::join(workers).await)
}

/// What the venue said before the start.
struct Ready {
    instruments: Vec<Instrument>,
    symbols: Symbols,
    server: ServerClock,
    listen_key: String,
    limits: Vec<AnnouncedLimit>,
}

fn rest_client(options: &Options, environment: &Environment) -> Result<RestClient, Failure> {
    let signer = Signer::new(&options.key).map_err(|e| Failure::usage(e.to_string()))?;
    let now = environment.clock.clone();
    let now = Arc::new(move || Nanos(now.now_ns()));
    let transport = environment.surroundings.transport(&options.hosts).map_err(|e| unavailable(&e))?;
    let transport: Arc<dyn Transport> =
        if options.config.runtime.dry_run { Arc::new(ReadOnly(transport)) } else { transport };
    // Orders carry a window of their own; a question may take longer.
    let least = RestConfig::default().recv_window_ms;
    let config =
        RestConfig { recv_window_ms: recv_window_ms(&options.config).max(least), ..RestConfig::default() };
    RestClient::new(&options.hosts, Some(signer), config, transport, now).map_err(|e| unavailable(&e))
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
    environment: &Environment,
) -> Result<Parts, Failure> {
    let config = &options.config;
    let bad = |e: &dyn std::fmt::Display| Failure::usage(e.to_string());
    let Begun { scanner, engine, recovered } = begun;
    // No client order id is ever used twice.
    let run = ClientOrderId::run(environment.clock.wall_ns(), environment.entropy.next_u64());
    let mut router =
        Router::new(router_config(config), ready.instruments.clone(), run).map_err(|e| bad(&e))?;
    recovered.adopt(&mut router, Nanos(environment.clock.now_ns()), config.alpha.fixed_tp_pct);
    let signer = Signer::new(&options.key).map_err(|e| bad(&e))?;
    let gateway_config = GatewayConfig {
        recv_window_ms: recv_window_ms(config),
        max_order_notional: Amount::from_f64(
            config.router.risk.max_order_notional_usd.unwrap_or(execution::RiskConfig::HARD_MAX_ORDER_USD),
        )
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
        connections: GatewayConnections {
            api: connection(config, &options.hosts.ws_api, environment)?,
            user: connection(config, &options.hosts.private, environment)?,
            decoder: UserDecoder::new(ready.symbols.clone()),
        },
        instruments: std::mem::take(&mut ready.instruments),
        guests: Vec::new(),
    })
}

/// What the venue says is left, after a last cancel of everything that works.
#[derive(Default)]
struct Left {
    positions: Vec<OpenPosition>,
    orders: usize,
}

async fn leave(venue: &AtVenue, settled: bool) -> Result<Left, RestError> {
    let account = venue.leave(settled).await?;
    if venue.stops {
        let held = |name: &str| {
            let symbol = venue.symbols.id(name);
            account.positions.iter().any(|p| Some(p.symbol) == symbol)
        };
        close_stop::remove_orphans(&venue.rest, held).await?;
    }
    let _ = venue.rest.close_listen_key().await;
    let position = |p: &execution::VenuePosition| {
        let i = venue.symbols.get(p.symbol)?;
        Some(OpenPosition { symbol: i.symbol.clone(), qty: i.lot.format(p.qty.0).to_string() })
    };
    Ok(Left {
        positions: account.positions.iter().filter_map(position).collect(),
        orders: account.orders.len(),
    })
}

/// The kill file outlives the run that it ended: only who removes it lets trading begin again.
fn refuse_while_killed(orders: &Orders, environment: &Environment) -> Result<(), Failure> {
    let Some(file) = orders.kill_file.as_ref().filter(|f| environment.has_file(f)) else { return Ok(()) };
    Err(Failure::usage(format!(
        "the kill switch is latched: {} exists; when trading may go on, remove it and start again",
        file.display()
    )))
}

/// The router's configuration, its longest hold that of the engine by time: neither a lost tick nor a market that stands
/// still makes it longer. A little more than the engine's own count, which goes first while ticks come.
fn router_config(config: &Config) -> RouterConfig {
    let mut router = config.router.clone();
    if router.max_hold_ms == 0 {
        let hold = u64::from(config.alpha.max_hold_bars) * config.market.bar_ms;
        router.max_hold_ms = (hold + 2 * config.market.tick_ms).min(RouterConfig::MAX_HOLD_MS);
    }
    router
}

/// Longest receive window of an order.
fn recv_window_ms(config: &Config) -> u32 {
    u32::try_from(config.router.recv_window_ms).unwrap_or(60_000)
}

/// Until when an order of the run before, if there was one, may reach the venue: the most that its receive window was.
/// One that held a lease sent nothing that could outlive it.
fn predecessor_until(config: &Config, loaded: &Loaded, fence: &Fence, began: Nanos) -> Option<Nanos> {
    let none = loaded.read && loaded.saved.is_none() && loaded.state.is_none();
    let most_ms = config.router.recv_window_ms + config.router.risk.max_clock_error_ms;
    (!none && fence.until().is_none()).then(|| began.plus(most_ms * Nanos::MS))
}

fn watch_config(config: &Config) -> WatchConfig {
    WatchConfig {
        account_ms: config.venue.account_check_ms,
        instruments_ms: config.venue.instruments_check_ms,
        max_clock_offset_ms: config.router.risk.max_clock_offset_ms,
        recv_window_ms: recv_window_ms(config),
        disaster_stop_pct: config.router.disaster_stop_pct,
    }
}

/// What the kill switch did, beside the file that pulled it: for whoever waits for it.
fn kill_report(file: &Path, summary: &Summary, environment: &Environment) {
    let report = serde_json::json!({
        "done": summary.router.kill_done,
        "open_orders": summary.open_orders,
        "open_positions": summary.open_positions,
        "unknown_orders": summary.router.unknown,
        "ended_by": summary.ended_by,
    });
    let mut path = file.as_os_str().to_owned();
    path.push(".report");
    if let Err(error) = environment.files.write(Path::new(&path), &format!("{report}\n")) {
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
    let session = control.publishing.take().map(Publishing::into_session).unwrap_or_default();
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
        commission: seen.commission,
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
        session,
    }
}
