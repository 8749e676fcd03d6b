//! A live node from start to end: make ready, run, stop in good order, tell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
use market::planted::{Bug, planted};
use market::{Amount, ClientOrderId, Instrument, Nanos};
use runtime::clock::Clock;
use runtime::worker::Worker;
use tokio::sync::watch;

use crate::averages;
use crate::config::{Config, Signal};
use crate::connections::{connection, endpoint, routes};
use crate::control::shown::{self, Facts, Publishing};
use crate::control::{self, Control, Orders, Seen, WatchConfig};
use crate::day::SharedDay;
use crate::drop_copy::DropCopy;
use crate::dry::ReadOnly;
use crate::ending::{AtVenue, Left};
use crate::environment::Environment;
use crate::error::Failure;
use crate::journal::beginning::Beginning;
use crate::journal::bundle::PostMortem;
use crate::journal::recorder::Recorder;
use crate::killed;
use crate::memory_link::{self, Identity, Loaded, MemoryLink, MemoryStatus, Owner};
pub use crate::options::{History, Options};
use crate::preflight::{self, Verdict, rest_error as unavailable};
use crate::recovery::Sending;
use crate::restart::{self, Begun, while_holding};
use crate::role::Role;
use crate::roles::holder::{self, Holder};
use crate::roles::lease::{Fence, LeaseView};
use crate::roles::standby::{self, Active, Alpha, StoodBy, Warm};
use crate::stages::Hop;
use crate::stages::gateway::GatewayConnections;
use crate::summary::{RingSummary, StageSummary, Summary, UNKNOWN};
use crate::topology::{self, Parts, Pipeline, Source, Streams};
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
    refuse_while_killed(options, environment)?;
    let (extra_stages, options) = (std::mem::take(&mut options.extra_stages), &*options);
    let clock = environment.clock.clone();
    let began = Nanos(clock.now_ns());
    let rest = Arc::new(rest_client(options, environment)?);
    // A position of the last run may wait to be looked after: a start never gives up over a full window.
    rest.set_patient(true);
    let mut link = link(options, environment).await?;
    let (leave, active) = match leave_to_act(options, &rest, &link, environment).await? {
        StoodBy::Active((leave, active)) => (leave, active),
        StoodBy::Ended(mut summary) => {
            summary.memory = link.finish().await;
            return Ok(Ended::Over(summary));
        }
    };
    let (owner, local_state, mut loaded) = recall(options, &link, &leave, environment).await;
    let Leave { fence, lease, .. } = leave;
    let (read, may_open) = (loaded.read, loaded.read || loaded.state.is_some());
    let (alpha, warm) = active.map_or((None, None), |a| (Some(a.alpha), Some((a.symbols, a.warm))));
    let before = predecessor_until(&options.config, &loaded, lease.as_ref(), began);
    let beginning = begin(options, &rest, warm, &mut loaded, (&fence, &link, environment));
    let begun = tokio::select! {
        biased;
        () = holder::signalled(&options.signalled) => None,
        begun = beginning => Some(begun?),
    };
    let Some((mut ready, begun, source)) = begun else {
        let summary = interrupted(options, &rest, &fence, environment).await;
        return Ok(Ended::Over(Box::new(Summary { memory: link.finish().await, ..summary })));
    };
    let mut parts =
        Parts { extra_stages, ..parts(options, &mut ready, begun, (source, fence.clone()), environment)? };
    before.into_iter().for_each(|until| parts.router.set_predecessor(until));
    rest.set_patient(false);
    let (day, kept) = (parts.day.clone(), parts.day.clone());
    let gates_before = *parts.engine.gate_counts();
    let beginning = Beginning::of(options, &mut parts, environment);
    let pipeline = topology::start(&options.config, parts, environment)
        .map_err(|e| Failure::unavailable(format!("cannot start the workers: {e}")))?;
    let Pipeline { ends, memory, journal, workers, stop, layout } = pipeline;
    let recorder = beginning.map(|b| b.record(options, journal, &local_state, environment)).transpose()?;
    let assets = ready.symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let at_venue = at_venue(options, &rest, &ready, &clock, &fence);
    let own_books = options.role != Role::Alpha;
    let identity = Identity { owner, local_state, assets, own_books, fence, day: day.clone() };
    link.run(&options.config, identity, memory, loaded, &clock);
    let started = clock.now_ns();
    let mut control = controller(options, &rest, &ready, ends, environment)?;
    let shown = publishing(options, gates_before, &layout, &workers, &link, &clock);
    let journal = recorder.as_ref().map(|r| Arc::clone(&r.status));
    let attached = Attached { alpha: alpha.as_ref(), lease, journal, shown, day, read, may_open };
    attached.to(&mut control, options, &link);
    let watched = (watchdog, &workers[..], &stop, recorder.as_ref());
    look_after(&mut control, options, &at_venue, watched, environment)?;
    control.run(&stop).await;
    watchdog.rest();

    let died = stop.swap(true, Ordering::AcqRel);
    let (stages, mut panics) = join(workers).await;
    panics.extend(watchdog.fired());
    let left = left(&control.seen, &at_venue).await;
    tell_kill(options, &control, &left, &link, environment);
    let (memory, post_mortem) = remembered(&mut link, recorder).await;
    let seconds = (clock.now_ns() - started) as f64 / 1e9;
    let run = Run { layout, seconds, stages, gates_before, left, memory };
    let mut summary = summarise(options, &ready, &mut control, run);
    summary.alpha = alpha.map(|a| a.status());
    let bad = bad_end(&control.seen, died, &panics, &kept, started);
    post_mortem.zip(bad).into_iter().for_each(|(post_mortem, why)| post_mortem.leave(&why, &summary));
    outcome(options, &mut control, (died, &panics), summary)
}

/// System memory, on its thread. That of a local venue ends with the run, as the venue does.
async fn link(options: &Options, environment: &Environment) -> Result<MemoryLink, Failure> {
    let venue = options.venue.name();
    let ephemeral = options.role == Role::All && matches!(options.venue, Venue::Local(_));
    let link = MemoryLink::open(&options.config.memory, venue, ephemeral, environment).await?;
    link.begin(venue, &environment.clock);
    Ok(link)
}

/// Everything is written: the journal's last segment, and what memory takes within its time.
async fn remembered(link: &mut MemoryLink, recorder: Option<Recorder>) -> (MemoryStatus, Option<PostMortem>) {
    let post_mortem = match recorder {
        Some(recorder) => Some(recorder.finish().await),
        None => None,
    };
    let memory = tokio::time::timeout(REMEMBERED_WITHIN, link.finish()).await;
    (memory.unwrap_or_else(|_| link.status()), post_mortem)
}

/// What was before: the state in memory, or that of this machine; and whose it is.
async fn recall(
    options: &Options,
    link: &MemoryLink,
    leave: &Leave,
    environment: &Environment,
) -> (Owner, Option<PathBuf>, Loaded) {
    let (section, venue) = (&options.config.memory, options.venue.name().to_owned());
    let (deployment, account) = (section.deployment, options.key.fingerprint());
    let number = leave.lease.as_ref().and_then(|_| leave.fence.number());
    let key = holder::lease_key(deployment).to_owned();
    let lease = number.map(|number| memory::Fence { lease: key, number });
    let owner = Owner { deployment, venue, account, lease };
    let local_state = link.local_state(section, &owner.venue, !matches!(options.venue, Venue::Local(_)));
    let local = local_state.as_ref().and_then(|path| environment.files.read(path).ok().flatten());
    let memory = leave.asks_memory.then(|| link.memory());
    let limit = Duration::from_millis(section.start_timeout_ms);
    let loaded = memory_link::load(memory, &owner, local.as_deref(), limit).await;
    (owner, local_state, loaded)
}

/// What the control thread looks after besides its own links.
struct Attached<'a> {
    alpha: Option<&'a Alpha>,
    lease: Option<watch::Receiver<LeaseView>>,
    journal: Option<Arc<runtime::journal::writer::Status>>,
    shown: Option<Publishing>,
    day: SharedDay,
    read: bool,
    may_open: bool,
}

impl Attached<'_> {
    fn to(self, control: &mut Control, options: &Options, link: &MemoryLink) {
        control.alpha_status = self.alpha.map(|a| a.status.clone());
        control.lease_view = self.lease;
        control.journal = self.journal;
        control.publishing = self.shown;
        control.keeps_day(self.day, link.writes().clone(), options.config.memory.deployment);
        if !self.read {
            control.wait_for_memory(link.memory().clone(), self.may_open);
        }
        control.unkept = link.unkept();
    }
}

/// By what right the run acts.
struct Leave {
    /// What every request to the venue must pass.
    fence: Fence,
    /// How the lease stands; `None`: none is held, because nothing is sent or memory does not answer.
    lease: Option<watch::Receiver<LeaseView>>,
    /// Memory is read, and what stands there may be written.
    asks_memory: bool,
}

/// The lease of the deployment (SPEC §9: one writer): taken, or waited for as a standby. Where memory is silent a node of
/// the role all goes on without it, by its local state; a dry run asks for none, because it acts for nobody.
async fn leave_to_act(
    options: &Options,
    rest: &RestClient,
    link: &MemoryLink,
    environment: &Environment,
) -> Result<StoodBy<(Leave, Option<Active>)>, Failure> {
    let acts = |fence: Fence, lease, asks_memory| Leave { fence, lease, asks_memory };
    if options.role == Role::Alpha {
        return Ok(match standby::stand_by(options, rest, link, environment).await? {
            StoodBy::Active(active) => {
                let (fence, lease) = (active.alpha.fence.clone(), active.alpha.lease());
                let fence = if options.config.runtime.dry_run { Fence::dry() } else { fence };
                StoodBy::Active((acts(fence, Some(lease), true), Some(*active)))
            }
            StoodBy::Ended(summary) => StoodBy::Ended(summary),
        });
    }
    if options.config.runtime.dry_run {
        return Ok(StoodBy::Active((acts(Fence::dry(), None, true), None)));
    }
    let taken = tokio::select! {
        biased;
        () = holder::signalled(&options.signalled) => {
            return Ok(StoodBy::Ended(Box::new(standby::waited_in_vain(options))));
        }
        taken = Holder::take(options, link, environment) => taken?,
    };
    Ok(StoodBy::Active(match taken {
        Some(holder) => (acts(holder.fence, Some(holder.view), true), None),
        None => (acts(Fence::open(), None, false), None),
    }))
}

/// What a run that is over comes to.
fn outcome(
    options: &Options,
    control: &mut Control,
    (died, panics): (bool, &[String]),
    summary: Summary,
) -> Result<Ended, Failure> {
    if control.seen.fenced {
        return Err(lease_lost(&options.orders, &summary));
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

/// Why the run is one that somebody will want to look into: `None` where it ended in good order, and nothing had tripped.
fn bad_end(seen: &Seen, died: bool, panics: &[String], day: &SharedDay, started: u64) -> Option<String> {
    if died || !panics.is_empty() {
        return Some(format!("the pipeline stopped by itself: {}", panics.join("; ")));
    }
    let tripped = day.get().state.and_then(|s| s.latches.iter().find(|l| l.at.0 >= started).copied());
    let tripped = tripped.map(|l| format!("{}: {} against a limit of {}", l.check.text(), l.value, l.limit));
    seen.failed.clone().or(tripped)
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
    (fence, link, environment): (&Fence, &MemoryLink, &Environment),
) -> Result<(Ready, Begun, Source), Failure> {
    let (named, kept, shards) = match warm {
        Some((symbols, Warm { scanner, engine, source })) => {
            (Some(symbols), Some((scanner, engine)), Some(source))
        }
        None => (None, None, None),
    };
    let ready = prepare(options, rest, named.as_deref(), loaded.held()).await?;
    let (fence, clock) = (fence.clone(), environment.clock.clone());
    let (memory, now) = (loaded.read.then(|| link.memory()), Nanos(clock.now_ns()));
    let sending = Sending { fence, clock, most_ms: recv_window_ms(&options.config) };
    let begun = restart::begin(options, kept, rest, &ready.symbols, &ready.server, loaded, &sending);
    let averages = async {
        match memory {
            Some(memory) if shards.is_none() => averages::kept(memory, ready.symbols.all(), now).await,
            _ => Vec::new(),
        }
    };
    let (begun, averages) = tokio::join!(begun, averages);
    let source = match shards {
        Some(shards) => Source::Shards(Box::new(shards)),
        None => {
            let (routes, feeds) = routes(&options.config, &options.hosts, &ready.symbols, environment)?;
            Source::Streams(Streams { routes, feeds, averages })
        }
    };
    let begun = begun?;
    Ok((ready, begun, source))
}

/// The alert of an end at which the venue could not be asked what is left.
pub const LEFT_UNKNOWN: &str = "LeftUnknown";

/// How long a start that a signal ends has for its last words to the venue.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// A signal came before the pipeline ran: our orders are cancelled as at every end, as far as that goes at once.
async fn interrupted(
    options: &Options,
    rest: &Arc<RestClient>,
    fence: &Fence,
    environment: &Environment,
) -> Summary {
    rest.set_patient(false);
    let none = Symbols::new(Vec::new());
    let leave = async {
        let account = control::account(rest, &none, &environment.clock, Urgency::Exit).await?;
        let ours = account.unlisted.iter().filter(|row| row.order.is_some_and(|o| o.ours().is_some()));
        let names: BTreeSet<&str> = ours.map(|row| row.name.as_str()).collect();
        if names.is_empty() || !fence.is_open(environment.clock.now_ns()) {
            return Ok(Left::of(&account, &none));
        }
        for name in names {
            rest.cancel_all_of(name).await?;
        }
        let account = control::account(rest, &none, &environment.clock, Urgency::Exit).await?;
        Ok::<_, RestError>(Left::of(&account, &none))
    };
    let left = match tokio::time::timeout(LAST_WORDS, leave).await {
        Ok(Ok(left)) => left,
        Ok(Err(error)) => {
            tracing::error!("what is left at the venue is unknown: {error}");
            Left::default()
        }
        Err(_) => {
            tracing::error!("what is left at the venue is unknown: it does not answer");
            Left::default()
        }
    };
    let alerts = left.orders.is_none().then(|| (LEFT_UNKNOWN.to_owned(), 1)).into_iter().collect();
    let (open_positions, open_orders) = (left.positions, left.orders);
    Summary { open_positions, open_orders, alerts, ..standby::waited_in_vain(options) }
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
    let node = shown::who(config, &options.venue, options.role, layout, clock);
    let facts = Facts {
        node,
        threshold: config.alpha.vel_div_threshold,
        extreme: config.alpha.vel_div_extreme,
        warm_bars: config.alpha.warmup_bars,
        stride: config.market.stride(),
        bar_ms: config.market.bar_ms,
        own_scanner: config.signal == Signal::Scanner,
        book_stale_ms: config.market.ob_stale_after_ms,
        gates_before,
        stages: stages.collect(),
        memory: link.watcher(),
    };
    Some(Publishing::new(facts, options.published.clone(), clock.wall_ns() / Nanos::MS))
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

/// The watchdog and the drop copy, each with a REST client that nobody else waits for.
fn look_after(
    control: &mut Control,
    options: &Options,
    venue: &AtVenue,
    (watchdog, workers, stop, recorder): (&Watchdog, &[Worker], &Arc<AtomicBool>, Option<&Recorder>),
    environment: &Environment,
) -> Result<(), Failure> {
    control.silence = watchdog.silence();
    let rest = rest_client(options, environment)?.sharing(&venue.rest);
    control.drop_copy = DropCopy::start(rest, venue.symbols.clone(), environment)?;
    let rest = rest_client(options, environment)?.sharing(&venue.rest);
    let venue = AtVenue { rest: Arc::new(rest), ..venue.clone() };
    let limit_ms = options.config.runtime.watchdog_ms;
    let watched = Watched::of(workers, &control.beat, stop, Some(venue), limit_ms);
    let post_mortem = recorder.map(|r| r.post_mortem.clone());
    watchdog.watch(Watched { post_mortem, ..watched });
    Ok(())
}

/// What the venue says is left after a last cancel. An account that another node may act for by now is not touched; the
/// lease outlives the last words to venue and memory, and then runs out.
async fn left(seen: &Seen, venue: &AtVenue) -> Result<Left, RestError> {
    let r = &seen.router;
    if venue.may_send() {
        return venue.leave_for_good(r.kill_done && r.working == 0 && r.unknown == 0).await;
    }
    if venue.fence.is_dry() {
        return control::account(&venue.rest, &venue.symbols, &venue.clock, Urgency::Exit)
            .await
            .map(|account| Left::of(&account, &venue.symbols));
    }
    if seen.fenced { Ok(Left::default()) } else { Err(RestError::TooLate) }
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
    let holds = held.is_some();
    let server = while_holding(holds, "the venue's clock", || rest.sync_clock(5)).await?;
    let clock = preflight::clock(&server, options.config.router.risk.max_clock_offset_ms);
    if clock.verdict == Verdict::Fail {
        if !holds {
            // No fault of the configuration: the machine's clock is set while the supervisor tries again.
            return Err(Failure::unavailable(clock.text));
        }
        tracing::error!(
            "{}; the start goes on because a position is held: it can be closed, nothing is opened",
            clock.text
        );
    }
    let instruments = async || match named {
        Some(symbols) => preflight::named(rest, symbols).await,
        None => preflight::instruments(&options.config, rest, held.as_ref()).await,
    };
    let info = while_holding(holds, "the instruments", instruments).await?;
    for symbol in preflight::halted(&info.instruments) {
        tracing::warn!("{symbol} does not trade at the venue now; it is followed but not traded");
    }
    let dual = while_holding(holds, "the position mode", || rest.dual_side()).await?;
    preflight::position_mode(dual).into_result()?;
    let account = while_holding(holds, "the account", || rest.account(Urgency::Start)).await?;
    preflight::margin(&account, &options.config, &info.instruments).into_result()?;
    let key = while_holding(holds, "the listen key", || rest.create_listen_key()).await?;
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
    let Begun { scanner, engine, recovered, day, bars, at: engine_at } = begun;
    // No client order id is ever used twice.
    let (mut at, mut drawn) = (environment.clock.wall_ns(), environment.entropy.next_u64());
    if planted(Bug::RunIdRepeats) {
        (at, drawn) = (at - at % (60 * Nanos::SECOND), 0);
    }
    let run = ClientOrderId::run(at, drawn);
    let mut router =
        Router::new(router_config(config), ready.instruments.clone(), run).map_err(|e| bad(&e))?;
    let now = Nanos(environment.clock.now_ns());
    if let Some(state) = &day.state {
        router.restore_day(state, now);
        for latch in &state.latches {
            tracing::warn!(
                "still latched since the run before: {}; lifted by `dolphin rearm`",
                latch.check.text()
            );
        }
    }
    recovered.adopt(&mut router, now, config.alpha.fixed_tp_pct);
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
        at: engine_at,
        router,
        day: SharedDay::of(day),
        gateway,
        connections: GatewayConnections {
            api: connection(config, &options.hosts.ws_api, environment)?,
            user: connection(config, &options.hosts.private, environment)?,
            decoder: UserDecoder::new(ready.symbols.clone()),
        },
        instruments: std::mem::take(&mut ready.instruments),
        extra_stages: Vec::new(),
        journal: false,
        frames: false,
        bars,
    })
}

/// The kill file outlives the run that it ended: only who removes it lets trading begin again. Of a kill of all machines
/// memory has the last word ([`Holder::take`], the standby).
fn refuse_while_killed(options: &Options, environment: &Environment) -> Result<(), Failure> {
    let Some(file) = options.orders.kill_file.as_deref() else { return Ok(()) };
    match killed::Wish::read(file, &*environment.files) {
        None => Ok(()),
        Some(wish) if wish.record.is_some() && !options.config.runtime.dry_run => Ok(()),
        Some(wish) => Err(killed::refusal(Some(file), wish.record.as_ref())),
    }
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

/// Until when an order of the run before, if there was one, may reach the venue (docs/lease.md, takeover c).
fn predecessor_until(
    config: &Config,
    loaded: &Loaded,
    lease: Option<&watch::Receiver<LeaseView>>,
    began: Nanos,
) -> Option<Nanos> {
    let none = loaded.read && loaded.saved.is_none() && loaded.state.is_none();
    let most_ms = config.router.recv_window_ms + config.router.risk.max_clock_error_ms;
    let by_lease = lease.and_then(|lease| lease.borrow().alone_from);
    (!none).then(|| by_lease.unwrap_or(began.plus(most_ms * Nanos::MS)))
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

/// What the kill switch did, beside the file that pulled it and in memory: for whoever waits for it.
fn tell_kill(
    options: &Options,
    control: &Control,
    left: &Result<Left, RestError>,
    link: &MemoryLink,
    environment: &Environment,
) {
    let kill = control.killed();
    let file = options.orders.kill_file.as_deref().filter(|f| environment.has_file(f));
    if control.seen.fenced || (kill.is_none() && file.is_none()) {
        return;
    }
    fn told(value: Option<impl serde::Serialize>) -> serde_json::Value {
        value.map_or_else(|| UNKNOWN.into(), |value| serde_json::json!(value))
    }
    let report = serde_json::json!({
        "done": control.seen.router.kill_done,
        "open_orders": told(left.as_ref().ok().and_then(|l| l.orders)),
        "open_positions": told(left.as_ref().ok().and_then(|l| l.positions.as_ref())),
        "unknown_orders": control.seen.router.unknown,
        "ended_by": control.seen.ended_by,
        "kill": kill.as_ref().map(|kill| &kill.id),
    });
    let key = memory::schema::Deployment::from(options.config.memory.deployment).kill_report_key();
    let _ = link.writes().put(memory::schema::CONTROL, key, report.to_string());
    let Some(file) = file else { return };
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
    let (latency_lost, timelines) = (ends.latency.lost(), ends.timelines.take());
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
        *alerts.entry(LEFT_UNKNOWN.to_owned()).or_default() += 1;
        Left::default()
    });
    let gates =
        alpha::Gate::ALL.into_iter().zip(seen.gates.unwrap_or(run.gates_before)).zip(run.gates_before);
    let names: Vec<String> = ready.symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let trades: Vec<_> = seen.trades.iter().map(|(_, trade)| trade.record(&names)).collect();
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
        timelines,
        rings,
        stages: run.stages,
        memory: run.memory,
        ended_by: seen.ended_by.clone(),
        session,
    }
}
