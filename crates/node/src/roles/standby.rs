//! The role alpha while it may not trade: warm, and nothing else.
//!
//! A standby has no router, no gateway, no key in use: it reads the shards, steps the scanner and the price histories on
//! every tick, and watches the lease. So it cannot send anything, by construction. When the lease is its own it becomes
//! an ordinary node that goes on after a kill (state from memory, comparison with the venue), with a scanner and
//! histories that have missed nothing. A node that loses its lease ends; whoever supervises it starts it again as a
//! standby.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alpha::Engine;
use alpha::eigen::Scanner;
use binance::rest::RestClient;
use market::text::counted;
use market::{Instrument, Nanos};
use memory::schema::{HEARTBEAT, Heartbeat, Kill, Phase, to_text};
use memory::{SystemMemory, WriteBehind};
use runtime::clock::Clock;
use tokio::sync::{Notify, watch};

use super::holder::{self, Asked, lease_key};
use super::lease::{Fence, LeaseView};
use super::status::{AlphaStatus, SharedAlphaStatus};
use super::waiting::{self, Waiting};
use crate::config::Config;
use crate::control::orders::Orders;
use crate::control::shown;
use crate::environment::Environment;
use crate::error::Failure;
use crate::killed;
use crate::memory_link::MemoryLink;
use crate::options::Options;
use crate::preflight::rest_error as unavailable;
use crate::restart;
use crate::shards::assembly::{Assembly, ShardCounters};
use crate::shards::reader::{Reader, ReaderHandle};
use crate::stages::Tick;
use crate::stages::shards::ShardSource;
use crate::summary::Summary;
use crate::topology::shard_updates;

/// At the latest after so long a standby looks at what nobody wakes it for.
const TURN: Duration = Duration::from_millis(20);
/// Between two signs of life.
const PULSE: Duration = Duration::from_secs(1);
/// Between two looks at the shards while their symbols are being discovered.
const LOOK: Duration = Duration::from_millis(500);
/// The symbols are taken as they are when none was added for so long.
const SETTLED: Duration = Duration::from_secs(3);
/// A symbol is followed if its record is younger, stale or not: what an ingest node has lost with a connection it has again in
/// seconds, and a node that begins meanwhile would do without it for good.
const NAMED: Nanos = Nanos(60 * Nanos::SECOND);
/// At least so much lies between two words about what is missing.
const TELL: Duration = Duration::from_secs(10);
/// Between two lines of progress.
const PROGRESS_NS: u64 = 5 * Nanos::SECOND;

/// What keeps its warmth while the node stands by.
pub struct Warm {
    /// Stepped on every tick.
    pub scanner: Scanner,
    /// Its histories are stepped, nothing is decided.
    pub engine: Engine,
    /// Ticks.
    pub source: ShardSource,
}

/// A node of the role alpha beside its pipeline: reader, lease, sign of life, all on memory's thread.
pub struct Alpha {
    /// What it shows.
    pub status: SharedAlphaStatus,
    /// What every request to the venue must pass.
    pub fence: Fence,
    name: String,
    key: &'static str,
    lease: watch::Receiver<LeaseView>,
    reader: ReaderHandle,
    /// Updates have come.
    news: Arc<Notify>,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// How the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The lease is ours.
    Active,
    /// Told to end.
    Signalled,
    /// Its time was over.
    Over,
}

impl Alpha {
    /// Begins to read the shards and to ask for the lease. The source is the pipeline's.
    pub fn start(
        link: &MemoryLink,
        options: &Options,
        instruments: &[Instrument],
        environment: &Environment,
    ) -> Result<(Self, ShardSource), Failure> {
        let (clock, config) = (&environment.clock, &options.config);
        let refused = |e: memory::MemoryError| Failure::usage(format!("memory: {e}"));
        let (updates, from_reader) = shard_updates();
        let reader = Reader::new(link.memory(), instruments, updates).map_err(refused)?;
        let ms = Nanos::from_millis;
        let assembly = Assembly::new(
            instruments.len(),
            ms(config.market.tick_ms),
            ms(config.roles.grace_ms),
            ms(config.market.ob_stale_after_ms),
        );
        let name = super::process_name("alpha", config.roles.node.as_deref(), environment);
        let key = lease_key(config.memory.deployment);
        let (fence, status) = (Fence::shut(), SharedAlphaStatus::default());
        let Asked { view: seen, stop, task } =
            holder::ask(link, options, (&name, &fence), false, environment)?;
        status.change(|status| status.state = "standby");
        let (handle, news) = (reader.handle(), reader.news());
        let beat = Pulse {
            name: name.clone(),
            status: status.clone(),
            lease: seen.clone(),
            reader: handle.clone(),
            writes: link.writes().clone(),
            clock: clock.clone(),
        };
        let tasks = vec![task, link.spawn("shards", reader.run()), link.spawn("heartbeat", beat.run())];
        let alpha = Self { status, fence, name, key, lease: seen, reader: handle, news, stop, tasks };
        Ok((alpha, ShardSource { updates: from_reader, assembly }))
    }

    /// Stands by until the lease is held.
    pub async fn wait(&mut self, warm: &mut Warm, environment: &Environment, options: &Options) -> Waited {
        let (clock, orders, signalled) = (&environment.clock, &options.orders, &*options.signalled);
        let node = shown::who(&options.config, &options.venue, options.role, "standing by", clock);
        let mut shown = Waiting::new(options.published.clone(), node);
        let mut tick = Tick::new(warm.engine.assets().len());
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let started = clock.now_ns();
        let mut progress_due = started + PROGRESS_NS;
        let mut holder = String::new();
        let mut killed = None;
        loop {
            tokio::select! {
                biased;
                () = self.news.notified() => {}
                Ok(()) = self.lease.changed() => {}
                _ = turn.tick() => {}
            }
            let now = clock.now_ns();
            while warm.source.take(now, |_| {}) {}
            while warm.source.assembly.is_due(now) {
                warm.source.assembly.tell(&mut tick, now);
                let scan = warm.scanner.step(&tick.mids);
                warm.engine.warm(&tick.mids);
                warm.engine.warm_rank(scan.instability_50, scan.velocity[3]);
                self.status.show(warm.source.assembly.counters());
            }
            let view = self.lease.borrow_and_update().clone();
            if view.state == "standby" && view.holder != holder {
                tracing::info!("{} stands by: {} is active", self.name, view.holder);
                holder.clone_from(&view.holder);
            }
            if view.kill != killed {
                let was = killed.as_ref().is_some_and(Kill::in_force);
                killed.clone_from(&view.kill);
                killed::follow(killed.as_ref(), orders.kill_file.as_deref(), &*environment.files);
                match view.killed() {
                    Some(kill) => {
                        tracing::warn!("{} stands by, killed by {}: {}", self.name, kill.by, kill.reason);
                    }
                    None if was => tracing::info!("{} may take over again: no kill is in force", self.name),
                    None => {}
                }
            }
            shown.publish(
                clock,
                || waiting::of_standby(&view),
                |state| state.market = waiting::of_shards(&warm.source.assembly.counters()),
            );
            let barred = view.killed().is_some();
            if view.state == "held" && self.fence.is_open(now) && !barred {
                let before = if holder.is_empty() { "nobody".to_owned() } else { holder };
                let number = view.fence.unwrap_or(0);
                tracing::info!("{} is active now, by lease {number}; before it {before} was", self.name);
                self.status.change(|status| status.state = "active");
                return Waited::Active;
            }
            if signalled.load(Ordering::Acquire) {
                return Waited::Signalled;
            }
            if orders.seconds.is_some_and(|s| (now - started) as f64 / 1e9 >= s) {
                return Waited::Over;
            }
            if now >= progress_due {
                progress_due = now + PROGRESS_NS;
                tell(orders, now - started, &view.holder, &warm.source.assembly.counters());
            }
        }
    }

    /// How the lease stands, and what operators ordered.
    pub fn lease(&self) -> watch::Receiver<LeaseView> {
        self.lease.clone()
    }

    /// The number with which the holder of the lease writes.
    pub fn lease_fence(&self) -> Option<memory::Fence> {
        let number = self.lease.borrow().fence?;
        Some(memory::Fence { lease: self.key.to_owned(), number })
    }

    /// What it shows now.
    pub fn status(&self) -> AlphaStatus {
        let (lease, reader) = (self.lease.borrow().clone(), self.reader.counters());
        AlphaStatus { lease, reader, ..self.status.change(|status| status.clone()) }
    }

    /// Gives the lease up, once nothing of this node is left at the venue.
    pub async fn finish(mut self) {
        self.stop.send_replace(true);
        if let Some(keeper) = self.tasks.first_mut() {
            // Memory that does not answer lets the lease run out.
            let _ = tokio::time::timeout(Duration::from_secs(2), keeper).await;
        }
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// A line of progress.
fn tell(orders: &Orders, for_ns: u64, holder: &str, c: &ShardCounters) {
    orders.say(&format!(
        "{:>5.0} s  standby, {holder} active; {} ticks, {} of {} symbols fresh, oldest {} ms",
        for_ns as f64 / 1e9,
        c.ticks,
        c.fresh,
        c.symbols,
        c.oldest_ms
    ));
}

/// A node of the role alpha that may trade.
pub struct Active {
    /// Beside the pipeline.
    pub alpha: Alpha,
    /// What was kept warm.
    pub warm: Warm,
    /// Symbols, in column order.
    pub symbols: Vec<String>,
}

/// How standing by ended.
pub enum StoodBy<T> {
    /// The lease is held.
    Active(T),
    /// The run is over.
    Ended(Box<Summary>),
}

/// The role alpha until it holds the lease.
pub async fn stand_by(
    options: &Options,
    rest: &RestClient,
    link: &MemoryLink,
    environment: &Environment,
) -> Result<StoodBy<Box<Active>>, Failure> {
    let clock = &environment.clock;
    let config = &options.config;
    super::shared_memory(&config.memory)?;
    // It may wait long, for a full window or a ban: a signal ends that.
    let server = tokio::select! {
        biased;
        () = holder::signalled(&options.signalled) => {
            return Ok(StoodBy::Ended(Box::new(waited_in_vain(options))));
        }
        server = rest.sync_clock(3) => server.map_err(|e| unavailable(&e))?,
    };
    let symbols = if config.market.symbols.is_empty() {
        match discover(link.memory(), config, clock, &options.signalled).await {
            Some(symbols) => symbols,
            None => return Ok(StoodBy::Ended(Box::new(waited_in_vain(options)))),
        }
    } else {
        config.market.symbols.clone()
    };
    let asked: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let instruments = rest.exchange_info(&asked).await.map_err(|e| unavailable(&e))?.instruments;
    let symbols: Vec<String> = instruments.iter().map(|i| i.symbol.clone()).collect();
    let (scanner, engine) = restart::cold(options, symbols.clone())?;
    let (mut alpha, mut source) = Alpha::start(link, options, &instruments, environment)?;
    source.assembly.clock_measured(server.offset());
    let mut warm = Warm { scanner, engine, source };
    let started = clock.now_ns();
    let waited = alpha.wait(&mut warm, environment, options).await;
    let ended_by = match waited {
        Waited::Active => return Ok(StoodBy::Active(Box::new(Active { alpha, warm, symbols }))),
        Waited::Signalled => "a signal",
        Waited::Over => "its time",
    };
    let summary = Summary {
        symbols: symbols.len(),
        seconds: (clock.now_ns() - started) as f64 / 1e9,
        alpha: Some(alpha.status()),
        ended_by: ended_by.to_owned(),
        ..waited_in_vain(options)
    };
    alpha.finish().await;
    Ok(StoodBy::Ended(Box::new(summary)))
}

/// Of a run that ended before it was active.
pub fn waited_in_vain(options: &Options) -> Summary {
    Summary {
        venue: format!("{} ({})", options.venue.name(), options.hosts.rest),
        param_hash: options.config.alpha.hash(),
        profile: options.config.alpha.profile.clone(),
        layout: "standing by".to_owned(),
        ended_by: "a signal".to_owned(),
        ..Summary::default()
    }
}

/// The sign of life: `DOLPHIN_HEARTBEAT[alpha_<host>_<pid>]`.
struct Pulse {
    name: String,
    status: SharedAlphaStatus,
    lease: watch::Receiver<LeaseView>,
    reader: ReaderHandle,
    writes: WriteBehind,
    clock: Clock,
}

impl Pulse {
    async fn run(self) {
        loop {
            let status = AlphaStatus {
                lease: self.lease.borrow().clone(),
                reader: self.reader.counters(),
                ..self.status.change(|status| status.clone())
            };
            let extra = serde_json::to_value(&status).ok().and_then(|v| v.as_object().cloned());
            let beat = Heartbeat {
                ts: Nanos(self.clock.now_ns()),
                phase: Phase::LivePulse,
                extra: extra.unwrap_or_default(),
            };
            // A refusal (too much waits) is counted and logged by the writer behind.
            let _ = self.writes.put(HEARTBEAT, &self.name, to_text(&beat));
            tokio::time::sleep(PULSE).await;
        }
    }
}

/// The symbols that ingest nodes write, the reference first: what an alpha node without a list of symbols follows. Waits
/// until they are there and no more are added, saying from time to time what is missing: whether memory or the ingest
/// nodes are away, they come back. `None`: a signal came first.
pub async fn discover(
    memory: &SystemMemory,
    config: &Config,
    clock: &Clock,
    signalled: &AtomicBool,
) -> Option<Vec<String>> {
    let (reference, limit) =
        (&config.alpha.reference_symbol, Duration::from_millis(config.roles.discover_ms));
    let begun = tokio::time::Instant::now();
    let mut told = begun;
    let (mut found, mut grown): (Vec<String>, _) = (Vec::new(), begun);
    let mut why = String::from("nothing is in the shards");
    loop {
        match memory::discover(memory, Nanos(clock.now_ns()), NAMED).await {
            Ok(now) => {
                let mut symbols: Vec<String> = now.records.into_iter().map(|r| r.symbol).collect();
                symbols.sort_by_key(|s| s != reference);
                symbols.truncate(config.market.max_symbols);
                if symbols.len() > found.len() {
                    (found, grown) = (symbols, tokio::time::Instant::now());
                }
            }
            Err(error) => why = error.to_string(),
        }
        let there = found.first() == Some(reference);
        let full = found.len() == config.market.max_symbols;
        if there && (full || grown.elapsed() >= SETTLED || begun.elapsed() >= limit) {
            tracing::info!(
                "{} found in the shards are followed; what ingest nodes add later is not, until the next start",
                counted(found.len() as u64, "symbol")
            );
            return Some(found);
        }
        if signalled.load(Ordering::Acquire) {
            return None;
        }
        if told.elapsed() >= limit.max(TELL) {
            told = tokio::time::Instant::now();
            if !found.is_empty() {
                why = format!("{} symbols are in the shards, {reference} is not", found.len());
            }
            tracing::warn!(
                "no symbols to trade yet: {why}; is an ingest node running, or name them under `market: symbols:`"
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use market::{CrossAsset, ObFeatures};
    use memory::schema::{ObRecord, features_map};
    use memory::{EmbeddedConfig, MemoryConfig, MemoryEnvironment};

    use super::*;

    #[tokio::test]
    async fn symbols_of_an_ingest_node_that_is_away_for_a_moment_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory");
        let embedded = MemoryConfig::Embedded(EmbeddedConfig::at(path));
        let memory = SystemMemory::open(embedded, &MemoryEnvironment::system()).unwrap();
        let clock = Clock::new();
        let age = |seconds: u64| Nanos(clock.now_ns() - seconds * Nanos::SECOND);
        for (symbol, timestamp) in
            [("ETHUSDT", age(0)), ("BTCUSDT", age(1)), ("SOLUSDT", age(20)), ("LUNAUSDT", age(3_600))]
        {
            let (features, cross_asset) = (ObFeatures::plain(), CrossAsset::default());
            let record = ObRecord { symbol: symbol.to_owned(), timestamp, features, cross_asset };
            memory.put(&features_map(symbol), symbol, &to_text(&record)).await.unwrap();
        }
        let found = discover(&memory, &Config::default(), &clock, &AtomicBool::new(false)).await;
        assert_eq!(found.unwrap(), ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    }
}
