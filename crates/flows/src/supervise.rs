//! The two flows of SPEC §10. Each task has its retries and its limit; the first that fails for good ends the flow with
//! one message and the exit code of its kind. While a flow writes state it holds the deployment's lease, as a node does:
//! where a node is active the flow ends, and writes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alpha::{DayResult, Safety};
use market::{Date, Nanos};
use memory::schema::{
    Deployment, FLOW_HEARTBEAT, HEARTBEAT, Heartbeat, Phase, Reading, SAFETY, SAFETY_LATEST, to_text,
};
use memory::{Fence, Lease, LeaseConfig, LeaseState, MemoryError, SystemMemory};
use node::config::Config;
use node::environment::Environment;
use node::error::Failure;
use node::memory_link::lasting_backend;
use serde::Serialize;
use serde_json::{Map, json};

use crate::day::{self, DayRun};
use crate::task::{self, Done, Tries};
use crate::{Flow, load_config, log, state};

/// Longest run of the engine (SPEC §10).
const RUN_LIMIT: Duration = Duration::from_secs(600);
/// Longest wait for memory, per try.
const MEMORY_LIMIT: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Configuration.
    pub config: PathBuf,
    /// Directory of day files.
    pub data: PathBuf,
    /// The date.
    pub date: Date,
    /// Which flow.
    pub flow: Flow,
    /// Data and parameters only: memory and log are not touched.
    pub dry_run: bool,
    /// The PnL log.
    pub pnl_log: PathBuf,
    /// Whose memory, where `live --venue` said another venue than the configuration.
    pub venue: Option<String>,
    /// Wait between the tries of a task that asks for one.
    pub retry_delay: Duration,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Flow.
    pub flow: Flow,
    /// Date.
    pub date: String,
    /// Nothing was written.
    pub dry_run: bool,
    /// Hash of the parameters.
    pub param_hash: String,
    /// Where the capital came from.
    pub restored: String,
    /// Capital at the beginning.
    pub start_capital: f64,
    /// The day.
    pub result: Option<DayResult>,
    /// Bars in the day's data.
    pub bars: usize,
    /// Assets in it.
    pub assets: usize,
    /// Tasks, in the order in which they were done.
    pub tasks: Vec<Done>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Runs a flow.
pub async fn run(options: &Options, environment: &Environment) -> Result<Report, Failure> {
    let mut done = Vec::new();
    let tasks = &mut done;
    let config = task::run(tasks, "load_config", Tries::ONCE, async || load_config(&options.config)).await?;
    let param_hash = config.alpha.hash();
    if options.flow == Flow::Nautilus {
        let check = async || config.alpha.verify().map_err(|e| Failure::usage(e.to_string()));
        task::run(tasks, "validate_champion_params", Tries::ONCE, check).await?;
    }
    let mut report = Report {
        flow: options.flow,
        date: options.date.to_string(),
        dry_run: options.dry_run,
        param_hash,
        restored: String::new(),
        start_capital: config.alpha.initial_capital,
        result: None,
        bars: 0,
        assets: 0,
        tasks: Vec::new(),
        notes: Vec::new(),
    };
    if options.dry_run {
        let data = load_data(options, &config, tasks).await?;
        (report.bars, report.assets, report.notes) = (data.day.len(), data.day.assets.len(), data.notes);
        report.tasks = done;
        return Ok(report);
    }
    let backend = lasting_backend(&config, options.venue.as_deref(), environment)?;
    let memory = environment.surroundings.memory(backend).map_err(|e| unavailable(&e))?;
    let finished = with_memory(options, &config, &memory, environment, tasks, &mut report).await;
    memory.close(MEMORY_LIMIT).await;
    finished?;
    report.tasks = done;
    Ok(report)
}

async fn with_memory(
    options: &Options,
    config: &Config,
    memory: &SystemMemory,
    environment: &Environment,
    tasks: &mut Vec<Done>,
    report: &mut Report,
) -> Result<(), Failure> {
    let probe = Tries::again(3, options.retry_delay);
    let ready = async || memory.wait_ready(MEMORY_LIMIT).await.map_err(|e| unavailable(&e));
    task::run(tasks, "hz_probe", probe, ready).await?;
    let beat = Beat { options, memory, environment, deployment: config.memory.deployment.name() };
    beat.put(Phase::FlowStart, Map::new()).await;
    let finished = flow(options, config, memory, environment, tasks, report, &beat).await;
    let mut extra = Map::new();
    match &finished {
        Ok(()) => {
            extra.insert("ok".to_owned(), json!(true));
            extra.insert("capital".to_owned(), json!(report.result.as_ref().map(|r| r.capital)));
        }
        Err(failure) => {
            extra.insert("ok".to_owned(), json!(false));
            extra.insert("why".to_owned(), json!(failure.message));
        }
    }
    beat.put(Phase::FlowEnd, extra).await;
    finished
}

async fn flow(
    options: &Options,
    config: &Config,
    memory: &SystemMemory,
    environment: &Environment,
    tasks: &mut Vec<Done>,
    report: &mut Report,
    beat: &Beat<'_>,
) -> Result<(), Failure> {
    let (flow, date) = (options.flow, options.date);
    let data = Arc::new(load_data(options, config, tasks).await?);
    (report.bars, report.assets) = (data.day.len(), data.day.assets.len());
    let mut lease = Held::take(config, memory, environment).await?;
    let done = async {
        let reading = Tries::again(2, options.retry_delay);
        let safety = task::run(tasks, "read_posture", reading, async || read_posture(memory).await).await?;
        let deployment = Deployment::from(config.memory.deployment);
        let entries = async || read_entries(memory, deployment).await;
        let entries = task::run(tasks, "restore_capital", reading, entries).await?;
        let start = state::choose(&entries, flow, date)?;
        report.restored.clone_from(&start.origin);
        beat.put(Phase::EngineStart, Map::new()).await;
        let name = if flow == Flow::Paper { "run_engine_day" } else { "run" };
        let engine = async || {
            let (config, data, start) = (config.clone(), Arc::clone(&data), start.clone());
            let work = move || day::run(&config, &data, start.snapshot.as_ref(), start.capital, safety);
            let mut work = tokio::task::spawn_blocking(work);
            loop {
                tokio::select! {
                    biased;
                    ran = &mut work => return ran.unwrap_or_else(|e| Err(Failure::input(format!("the engine failed: {e}")))),
                    () = tokio::time::sleep(lease.interval()) => lease.beat(environment).await?,
                }
            }
        };
        let ran = task::run(tasks, name, Tries::ONCE.within(RUN_LIMIT), engine).await?;
        report.start_capital = ran.start_capital;
        report.result = Some(ran.result.clone());
        report.notes.clone_from(&ran.notes);
        let name = if flow == Flow::Paper { "write_hz_state" } else { "write_result" };
        let writes = state::writes(&entries, deployment, flow, &ran, Nanos(environment.clock.now_ns()))?;
        let fence = lease.fence()?;
        let write = async || memory.put_all_fenced(&writes, &fence).await.map_err(|e| unavailable(&e));
        task::run(tasks, name, Tries::again(3, options.retry_delay), write).await?;
        forget(memory, deployment, flow).await;
        log_pnl(options, tasks, &ran).await
    }
    .await;
    lease.release().await;
    done
}

async fn log_pnl(options: &Options, tasks: &mut Vec<Done>, run: &DayRun) -> Result<(), Failure> {
    let put = async || log::put(&options.pnl_log, options.flow, run);
    task::run(tasks, "log_pnl", Tries::ONCE, put).await
}

async fn load_data(
    options: &Options,
    config: &Config,
    tasks: &mut Vec<Done>,
) -> Result<day::DayData, Failure> {
    let name = if options.flow == Flow::Paper { "load_day_scans" } else { "load_bar_data" };
    let load = async || {
        let (config, data, date) = (config.clone(), options.data.clone(), options.date);
        let read = tokio::task::spawn_blocking(move || day::load(&config, &data, date)).await;
        read.unwrap_or_else(|e| Err(Failure::input(format!("{}: {e}", options.data.display()))))
    };
    task::run(tasks, name, Tries::again(2, options.retry_delay), load).await
}

/// Task `read_posture` (SPEC §4.2). Nothing there: APEX; there and unreadable: TURTLE, with a warning.
async fn read_posture(memory: &SystemMemory) -> Result<Safety, Failure> {
    match memory.read_safety().await.map_err(|e| unavailable(&e))? {
        Reading::Value(safety) => Ok(Safety { posture: safety.posture, rm: safety.rm }),
        Reading::Absent => Ok(Safety::FREE),
        Reading::Unreadable(error) => {
            tracing::warn!("{SAFETY}[{SAFETY_LATEST}] cannot be read: {error}; the day runs in TURTLE");
            Ok(Safety::of(0.5))
        }
    }
}

async fn read_entries(
    memory: &SystemMemory,
    deployment: Deployment,
) -> Result<BTreeMap<String, String>, Failure> {
    let entries = memory.entries(deployment.state_map()).await.map_err(|e| unavailable(&e))?;
    // Prices of a node's histories stand in the same map.
    Ok(entries.into_iter().filter(|(key, _)| key.starts_with(['l', 'p', 'n'])).collect())
}

/// Removes states that are kept no longer. What cannot be removed now is removed on another day.
async fn forget(memory: &SystemMemory, deployment: Deployment, flow: Flow) {
    let Ok(entries) = read_entries(memory, deployment).await else { return };
    for key in state::outdated(&entries, flow) {
        if let Err(error) = memory.remove(deployment.state_map(), &key).await {
            tracing::warn!("the old state `{key}` was not removed: {error}");
        }
    }
}

/// Signs of life.
struct Beat<'a> {
    options: &'a Options,
    memory: &'a SystemMemory,
    environment: &'a Environment,
    deployment: &'static str,
}

impl Beat<'_> {
    /// Task `heartbeat`: a sign that cannot be given is worth a warning, nothing more.
    async fn put(&self, phase: Phase, mut extra: Map<String, serde_json::Value>) {
        extra.insert("flow".to_owned(), json!(self.options.flow.name()));
        extra.insert("date".to_owned(), json!(self.options.date.to_string()));
        extra.insert("deployment".to_owned(), json!(self.deployment));
        let beat = Heartbeat { ts: Nanos(self.environment.clock.now_ns()), phase, extra };
        let text = to_text(&beat);
        let put = self.memory.put(HEARTBEAT, FLOW_HEARTBEAT, &text);
        match tokio::time::timeout(MEMORY_LIMIT, put).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("heartbeat {phase:?}: {error}"),
            Err(_) => tracing::warn!("heartbeat {phase:?}: memory does not answer"),
        }
    }
}

/// The deployment's lease, held.
struct Held(Lease);

impl Held {
    /// Takes it; waits for one whose holder is gone as long as that takes.
    async fn take(
        config: &Config,
        memory: &SystemMemory,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let deployment = config.memory.deployment.name();
        let ttl = Duration::from_millis(config.roles.lease_ttl_ms);
        let asked = LeaseConfig {
            key: format!("alpha_{deployment}"),
            owner: format!("dolphin supervise on {}", environment.surroundings.host_name()),
            identity: environment.entropy.next_u64(),
            ttl,
            kill: None,
        };
        let mut lease = Lease::new(memory.clone(), asked).map_err(|e| unavailable(&e))?;
        let until = tokio::time::Instant::now() + ttl * 2;
        loop {
            let wall_ms = environment.clock.wall_ns() / Nanos::MS;
            match lease.tick(wall_ms).await.map_err(|e| unavailable(&e))? {
                LeaseState::Held { .. } => return Ok(Self(lease)),
                LeaseState::Standby { holder } if tokio::time::Instant::now() > until => {
                    return Err(Failure::unavailable(format!(
                        "the lease of the deployment {deployment} is held by {holder}: one at a time writes its state; \
                         stop it, or give the flow a deployment or a memory of its own"
                    )));
                }
                LeaseState::Standby { .. } => tokio::time::sleep(lease.interval()).await,
            }
        }
    }

    fn interval(&self) -> Duration {
        self.0.interval()
    }

    async fn beat(&mut self, environment: &Environment) -> Result<(), Failure> {
        match self.0.tick(environment.clock.wall_ns() / Nanos::MS).await {
            Ok(LeaseState::Held { .. }) => Ok(()),
            Ok(LeaseState::Standby { holder }) => {
                Err(Failure::unavailable(format!("the lease was lost to {holder}: nothing was written")))
            }
            // It holds until its time to live is over; the write says whether somebody else has it.
            Err(error) => {
                tracing::warn!("the lease cannot be confirmed: {error}");
                Ok(())
            }
        }
    }

    fn fence(&self) -> Result<Fence, Failure> {
        self.0.write_fence().ok_or_else(|| Failure::unavailable("the lease was lost: nothing was written"))
    }

    async fn release(mut self) {
        if let Err(error) = self.0.release().await {
            tracing::warn!("the lease runs out by itself: {error}");
        }
    }
}

/// A memory error with the exit code of its kind.
fn unavailable(error: &MemoryError) -> Failure {
    match error {
        MemoryError::Invalid(_) | MemoryError::Config(_) => Failure::usage(format!("memory: {error}")),
        MemoryError::NotText { .. } => Failure::input(format!("memory: {error}")),
        _ => Failure::unavailable(format!("memory: {error}")),
    }
}
