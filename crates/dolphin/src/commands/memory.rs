//! `dolphin memory`: the operator's look at system memory.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use ::memory::{
    Change, EmbeddedConfig, HazelcastConfig, MemoryConfig, MemoryEnvironment, MemoryError, SystemMemory,
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use node::config::Config;
use node::environment::Environment;
use node::error::Failure;
use node::memory_link;

/// Look at system memory, or write to it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dolphin memory --config configs/blue.yml get DOLPHIN_STATE_BLUE latest_nautilus
  dolphin memory --embedded state.memory put DOLPHIN_FEATURES acb_boost '{\"boost\": 1.2, \"beta\": 0.8}'
  dolphin memory --hazelcast 10.0.0.1:5701,10.0.0.2:5701 --cluster dolphin keys DOLPHIN_FEATURES_SHARD_07
  dolphin memory --config configs/blue.yml --json watch DOLPHIN_HEARTBEAT

It works beside a running node. Exit codes: 1 the key is not there, 3 the value is no text, 4 memory is not reachable.")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The venue of the configuration's node, where `live --venue` said another
    #[arg(long, value_name = "VENUE", requires = "config")]
    venue: Option<String>,
    /// Name of the Hazelcast cluster
    #[arg(long, default_value = "dolphin", value_name = "NAME")]
    cluster: String,
    /// Longest wait for memory, ms
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
    /// Print JSON: one object, or one a line with `watch`
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Args)]
#[group(id = "where", required = true, multiple = false)]
struct Place {
    /// The memory of this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An embedded memory
    #[arg(long, value_name = "FILE")]
    embedded: Option<PathBuf>,
    /// Members of a Hazelcast cluster, with commas between
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    hazelcast: Vec<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the value of a key
    Get { map: String, key: String },
    /// Set the value of a key
    Put { map: String, key: String, value: String },
    /// Print the keys of a map, sorted
    Keys { map: String },
    /// Print the values of a key or a map, and every change, until Ctrl-C
    Watch { map: String, key: Option<String> },
}

#[derive(Serialize)]
struct Entry<'a> {
    map: &'a str,
    key: &'a str,
    /// `null`: removed.
    value: Option<&'a str>,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let config = args.memory()?;
    if let MemoryConfig::Embedded(store) = &config
        && !matches!(args.action, Action::Put { .. })
        && !store.path.exists()
    {
        return Err(Failure::unavailable(format!("there is no memory at {} yet", store.path.display())));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start: {e}")))?;
    runtime.block_on(async {
        let memory = SystemMemory::open(config, &MemoryEnvironment::system()).map_err(|e| failed(&e))?;
        match &args.action {
            Action::Get { map, key } => get(&memory, map, key, args.json).await,
            Action::Put { map, key, value } => memory.put(map, key, value).await.map_err(|e| failed(&e)),
            Action::Keys { map } => keys(&memory, map, args.json).await,
            Action::Watch { map, key } => {
                let limit = Duration::from_millis(args.timeout_ms);
                memory.wait_ready(limit).await.map_err(|e| failed(&e))?;
                watch(&memory, map, key.as_deref(), args.json).await
            }
        }
    })
}

impl Args {
    fn memory(&self) -> Result<MemoryConfig, Failure> {
        let mut config = match (&self.place.config, &self.place.embedded) {
            (Some(file), _) => memory_link::lasting_backend(
                &Config::load(file)?,
                self.venue.as_deref(),
                &Environment::system(),
            )?,
            (None, Some(path)) => MemoryConfig::Embedded(EmbeddedConfig::at(path)),
            (None, None) => MemoryConfig::Hazelcast(HazelcastConfig {
                members: self.place.hazelcast.clone(),
                cluster_name: self.cluster.clone(),
                ..HazelcastConfig::default()
            }),
        };
        match &mut config {
            MemoryConfig::Embedded(store) => store.timeout_ms = self.timeout_ms,
            MemoryConfig::Hazelcast(cluster) => cluster.invocation_timeout_ms = self.timeout_ms,
        }
        Ok(config)
    }
}

async fn get(memory: &SystemMemory, map: &str, key: &str, json: bool) -> Result<(), Failure> {
    let Some(value) = memory.get(map, key).await.map_err(|e| failed(&e))? else {
        return Err(Failure::answer_no(format!("{map}[{key}] is not there")));
    };
    if json {
        print(&to_json(&Entry { map, key, value: Some(&value) })?).map(|_| ())
    } else {
        print(&value).map(|_| ())
    }
}

async fn keys(memory: &SystemMemory, map: &str, json: bool) -> Result<(), Failure> {
    let keys = memory.keys(map).await.map_err(|e| failed(&e))?;
    if json {
        return print(&to_json(&keys)?).map(|_| ());
    }
    for key in keys {
        if !print(&key)? {
            break;
        }
    }
    Ok(())
}

async fn watch(memory: &SystemMemory, map: &str, key: Option<&str>, json: bool) -> Result<(), Failure> {
    let refused = |e: io::Error| Failure::unavailable(format!("cannot listen for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut watch = memory.watch(map, key).map_err(|e| failed(&e))?;
    loop {
        let Change { key, value } = tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            change = watch.next() => change,
        };
        let line = if json {
            to_json(&Entry { map, key: &key, value: value.as_deref() })?
        } else {
            match value {
                Some(value) => format!("{key}\t{value}"),
                None => format!("{key} is gone"),
            }
        };
        if !print(&line)? {
            return Ok(());
        }
    }
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::input(format!("cannot write JSON: {e}")))
}

/// Prints a line at once; says whether somebody still reads.
fn print(line: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::input(format!("cannot write to stdout: {e}"))),
    }
}

fn failed(error: &MemoryError) -> Failure {
    match error {
        MemoryError::Invalid(_) | MemoryError::Config(_) => Failure::usage(error.to_string()),
        MemoryError::NotText { .. } => Failure::input(error.to_string()),
        _ => Failure::unavailable(error.to_string()),
    }
}
