//! The link to system memory: a thread of its own, joined to the stages by boxes, rings and pending slots alone.
//!
//! It reads pushes (boost, safety, scans) and publishes them in pending slots; it takes every step of the engine and
//! writes state, results, trades, features, scans and heartbeats behind ([`memory::WriteBehind`]). Nothing waits for
//! memory: not the engine, not the end of a run beyond a limit. Unreachable memory is never fatal (SPEC §12, 5).
//!
//! The thread owns a tokio runtime. [`MemoryLink::memory`] is a handle that works from any other runtime;
//! [`MemoryLink::spawn`] puts further tasks (a lease, readers of shards) on the thread.

mod history;
mod kept;
mod replaced;
mod state;
mod watches;
mod writer;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alpha::{AcbPush, SafetyWord, Sensors};
use memory::schema::{self, Phase};
use memory::{EmbeddedConfig, MemoryConfig, MemoryError, SystemMemory, WriteBehind};
use runtime::clock::Clock;
use runtime::conveyor::Unloader;
use runtime::environment::{Ended, Files};
use runtime::pending::Publisher;
use runtime::ring::Rx;
use serde::Serialize;
use tokio::sync::{oneshot, watch};

pub use history::PriceRows;
pub use state::{Loaded, Numbered, Owner, Saved, load};

use crate::config::{Backend, Config, MemorySection};
use crate::day::SharedDay;
use crate::environment::Environment;
use crate::error::Failure;
use crate::roles::lease::Fence;
use crate::sensors::Health;
use crate::stages::memory::{MemoryNews, MemoryScan, Step};

/// How often the thread looks at its rings.
const TURN: Duration = Duration::from_millis(10);
/// Longest wait for the last writes of a run.
const FLUSH: Duration = Duration::from_secs(5);
/// Longest wait for the lease to be given up.
const GIVE_UP: Duration = Duration::from_secs(1);

/// The ends of the rings that memory's thread holds.
pub struct MemoryEnds {
    /// Steps of the engine.
    pub steps: Unloader<Step>,
    /// Trades and days.
    pub news: Rx<MemoryNews>,
    /// What our own sensors go by.
    pub health: Rx<Health>,
    /// Boost and beta, newest wins.
    pub acb: Publisher<AcbPush>,
    /// Safety, newest wins.
    pub safety: Publisher<SafetyWord>,
    /// Our own Rm, newest wins.
    pub rm: Publisher<f64>,
    /// Scans, newest wins.
    pub scan: Publisher<MemoryScan>,
}

/// What a run is, for the maps.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Whose state it is.
    pub owner: Owner,
    /// Where the local state is kept; `None`: nowhere.
    pub local_state: Option<PathBuf>,
    /// Its symbols, in column order.
    pub assets: Vec<String>,
    /// It has books of its own, and writes their features; a node that reads them from memory's shards leaves those to the
    /// nodes that write them.
    pub own_books: bool,
    /// Nothing is written behind it: the state is another node's by then.
    pub fence: Fence,
    /// The router's day.
    pub day: SharedDay,
}

/// How memory is doing, for people and reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryStatus {
    /// `embedded` or `hazelcast`.
    pub backend: &'static str,
    /// Does somebody answer?
    pub connected: bool,
    /// Who, or why not.
    pub detail: String,
    /// Where the engine's state came from; `none` at a fresh start.
    pub restored: String,
    /// Trades that the venue told of and the state did not know.
    pub recovered_trades: usize,
    /// Values that memory has.
    pub written: u64,
    /// Values that wait.
    pub pending: usize,
    /// Values given up.
    pub lost: u64,
    /// Times memory went away.
    pub outages: u64,
    /// Boost pushes taken.
    pub acb_taken: u64,
    /// Boost pushes rejected.
    pub acb_rejected: u64,
    /// Safety values taken.
    pub safety_taken: u64,
    /// Safety values rejected.
    pub safety_rejected: u64,
    /// Scans taken.
    pub scans_taken: u64,
    /// Scans rejected.
    pub scans_rejected: u64,
    /// Our own Rm; `None` before the first.
    pub rm: Option<f64>,
    /// Its five sensors.
    pub sensors: Option<Sensors>,
}

/// Shared between the thread and its handle.
#[derive(Debug, Default)]
struct Shared {
    status: Mutex<MemoryStatus>,
    finish: AtomicBool,
    /// The state could be kept nowhere for some time.
    unkept: Arc<AtomicBool>,
    /// The keeper of the lease: told to end after the last write.
    lease: Mutex<Option<(watch::Sender<bool>, tokio::task::JoinHandle<()>)>>,
}

impl Shared {
    /// After the last request and the last write: so that the next holder need not wait for the lease to run out.
    async fn give_the_lease_up(&self) {
        let kept = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((stop, task)) = kept else { return };
        stop.send_replace(true);
        // Memory that does not answer lets it run out.
        let _ = tokio::time::timeout(GIVE_UP, task).await;
    }

    fn status(&self) -> MutexGuard<'_, MemoryStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread needs to begin.
struct Start {
    ends: MemoryEnds,
    identity: Identity,
    config: Config,
    loaded: Loaded,
    clock: Clock,
    files: Arc<dyn Files>,
}

/// Tells how memory is doing.
pub struct MemoryWatcher {
    memory: SystemMemory,
    writes: WriteBehind,
    shared: Arc<Shared>,
}

impl MemoryWatcher {
    /// Now.
    pub fn status(&self) -> MemoryStatus {
        let (now, counts) = (self.memory.status(), self.writes.counts());
        let status = self.shared.status().clone();
        MemoryStatus {
            connected: now.connected,
            detail: now.detail,
            written: counts.delivered,
            pending: counts.pending,
            lost: counts.rejected,
            outages: counts.outages,
            ..status
        }
    }
}

/// The handle. See the module's documentation.
pub struct MemoryLink {
    memory: SystemMemory,
    writes: WriteBehind,
    handle: tokio::runtime::Handle,
    shared: Arc<Shared>,
    start: Option<oneshot::Sender<Box<Start>>>,
    ended: Option<Ended>,
    environment: Environment,
    /// A file that ends with the run.
    scratch: Option<PathBuf>,
}

impl MemoryLink {
    /// Opens memory on a thread of its own. Only a configuration that can never work is an error; what does not answer
    /// now is tried in the background. `venue` names the default file; `ephemeral`: that file ends with the run.
    pub async fn open(
        section: &MemorySection,
        venue: &str,
        ephemeral: bool,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let (config, scratch) = backend(section, venue, ephemeral, environment)?;
        let (opened_tx, opened_rx) = oneshot::channel();
        let (start, started) = oneshot::channel::<Box<Start>>();
        let shared = Arc::<Shared>::default();
        shared.status().backend = match section.backend {
            Backend::Embedded => "embedded",
            Backend::Hazelcast => "hazelcast",
        };
        let ours = Arc::clone(&shared);
        let surroundings = Arc::clone(&environment.surroundings);
        let serve = async move {
            let memory = match surroundings.memory(config) {
                Ok(memory) => memory,
                Err(e) => return drop(opened_tx.send(Err(e))),
            };
            let writes = WriteBehind::start(&memory);
            let handle = tokio::runtime::Handle::current();
            let _ = opened_tx.send(Ok((memory.clone(), writes.clone(), handle)));
            if let Ok(start) = started.await {
                writer::run(*start, &memory, &writes, &ours).await;
            }
            writes.flush(FLUSH).await;
            ours.give_the_lease_up().await;
        };
        let unable = |e: &dyn std::fmt::Display| Failure::usage(format!("memory: {e}"));
        let ended = environment.spawner.spawn_thread("memory", Box::new(move || Box::pin(serve)));
        let ended = Some(ended.map_err(|e| unable(&e))?);
        let opened: Result<_, MemoryError> = opened_rx.await.map_err(|e| unable(&e))?;
        let (memory, writes, handle) = opened.map_err(|e| unable(&e))?;
        let (start, environment) = (Some(start), environment.clone());
        Ok(Self { memory, writes, handle, shared, start, ended, environment, scratch })
    }

    /// Memory itself; its calls may be awaited on any runtime.
    pub const fn memory(&self) -> &SystemMemory {
        &self.memory
    }

    /// Values handed over here are written behind.
    pub const fn writes(&self) -> &WriteBehind {
        &self.writes
    }

    /// The lease is given up by its keeper when everything is written: told by `stop`.
    pub fn give_up_at_the_end(&self, stop: watch::Sender<bool>, keeper: tokio::task::JoinHandle<()>) {
        *self.shared.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, keeper));
    }

    /// Set while the state can be kept nowhere (disk full, memory away): then nothing is opened.
    pub fn unkept(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.unkept)
    }

    /// Where the local state of a venue and deployment is kept: beside `memory: path:` where that is named, else in the
    /// state directory. `None`: there is no such directory, or the venue forgets with the run (`lasting` is false), and
    /// so does what is remembered of it.
    pub fn local_state(&self, section: &MemorySection, venue: &str, lasting: bool) -> Option<PathBuf> {
        let name = format!("{}.{}.state.json", venue.replace(['/', ':'], "_"), section.deployment.name());
        if let Some(path) = &section.path {
            return Some(path.with_file_name(name));
        }
        if !lasting {
            return None;
        }
        let found = state_directory(|name| self.environment.files.variable(name).map(PathBuf::from));
        found.map(|directory| directory.join(name))
    }

    /// Runs a task on memory's thread.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        self.environment.spawner.spawn_on(&self.handle, name, Box::pin(task))
    }

    /// The first sign of life.
    pub fn begin(&self, venue: &str, clock: &Clock) {
        let mut extra = serde_json::Map::new();
        extra.insert("venue".to_owned(), venue.into());
        let text = writer::heartbeat(clock.now_ns(), Phase::FlowStart, extra);
        let _ = self.writes.put(schema::HEARTBEAT, schema::FLOW_HEARTBEAT, text);
    }

    /// Begins to serve the stages.
    pub fn run(
        &mut self,
        config: &Config,
        identity: Identity,
        ends: MemoryEnds,
        loaded: Loaded,
        clock: &Clock,
    ) {
        self.shared.status().restored = loaded.origin();
        self.shared.status().recovered_trades = loaded.recovered.len();
        let files = Arc::clone(&self.environment.files);
        let start = Start { ends, identity, config: config.clone(), loaded, clock: clock.clone(), files };
        if let Some(tx) = self.start.take() {
            // Fails only if the thread has died; the node goes on without memory.
            let _ = tx.send(Box::new(start));
        }
    }

    /// How memory is doing.
    pub fn status(&self) -> MemoryStatus {
        self.watcher().status()
    }

    /// Tells how memory is doing, whoever has the link.
    pub fn watcher(&self) -> MemoryWatcher {
        MemoryWatcher {
            memory: self.memory.clone(),
            writes: self.writes.clone(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Ends the thread: what the rings still hold is taken, the last state written, at most a few seconds waited.
    pub async fn finish(&mut self) -> MemoryStatus {
        self.end();
        if let Some(ended) = self.ended.take()
            && let Err(why) = ended.await.unwrap_or_else(|_| Err("it died".to_owned()))
        {
            tracing::error!("memory's thread: {why}");
        }
        self.status()
    }

    fn end(&mut self) {
        self.shared.finish.store(true, Ordering::Release);
        drop(self.start.take());
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.end();
        if let Some(scratch) = &self.scratch {
            let _ = self.environment.files.remove_dir(scratch);
        }
    }
}

/// The backend's configuration, and the directory that ends with the run.
fn backend(
    section: &MemorySection,
    venue: &str,
    ephemeral: bool,
    environment: &Environment,
) -> Result<(MemoryConfig, Option<PathBuf>), Failure> {
    if section.backend == Backend::Hazelcast {
        return Ok((MemoryConfig::Hazelcast(section.hazelcast.clone()), None));
    }
    if let Some(path) = &section.path {
        return Ok((MemoryConfig::Embedded(EmbeddedConfig::at(path)), None));
    }
    if ephemeral {
        let scratch = environment.scratch();
        return Ok((MemoryConfig::Embedded(EmbeddedConfig::at(scratch.join("memory"))), Some(scratch)));
    }
    let path =
        state_directory(|name| environment.files.variable(name).map(PathBuf::from)).ok_or_else(|| {
            Failure::usage(
                "memory: neither `path` nor $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME says where it lies",
            )
        })?;
    Ok((MemoryConfig::Embedded(EmbeddedConfig::at(path.join(format!("{venue}.memory")))), None))
}

/// The memory of a configuration that outlives its runs, for whoever looks at it from outside. `venue` as given to
/// `live --venue`.
pub fn lasting_backend(
    config: &Config,
    venue: Option<&str>,
    environment: &Environment,
) -> Result<MemoryConfig, Failure> {
    let venue = venue.or(config.venue.name.as_deref()).unwrap_or("testnet");
    let section = &config.memory;
    let named = section.backend == Backend::Hazelcast || section.path.is_some();
    if !named && !matches!(venue, "testnet" | "mainnet") {
        return Err(Failure::usage(format!(
            "the memory of a run at the local venue `{venue}` ends with it: name a file by `memory: path:` or --embedded"
        )));
    }
    backend(section, venue, false, environment).map(|(config, _)| config)
}

/// The directory for what outlives a run, by the environment's variables.
pub fn state_directory(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    var("STATE_DIRECTORY")
        .or_else(|| var("XDG_STATE_HOME").map(|p| p.join("dolphin")))
        .or_else(|| var("HOME").map(|p| p.join(Path::new(".local/state/dolphin"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_the_first_that_is_named() {
        let named = |names: &'static [&'static str]| {
            state_directory(move |name| names.contains(&name).then(|| PathBuf::from("/x").join(name)))
        };
        assert_eq!(named(&["STATE_DIRECTORY", "HOME"]), Some("/x/STATE_DIRECTORY".into()));
        assert_eq!(named(&["XDG_STATE_HOME", "HOME"]), Some("/x/XDG_STATE_HOME/dolphin".into()));
        assert_eq!(named(&["HOME"]), Some("/x/HOME/.local/state/dolphin".into()));
        assert_eq!(named(&[]), None);
    }
}
