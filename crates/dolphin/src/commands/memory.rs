//! `dolphin memory`: the operator's look at system memory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::memory::{
    Change, EmbeddedConfig, HazelcastConfig, MemoryConfig, MemoryEnvironment, MemoryError, Repair, Restore,
    SystemDisk, SystemMemory, schema,
};
use serde::Serialize;
use serde_json::json;
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
  dolphin memory --embedded state.memory repair

It works beside a running node; repair and restore want the node stopped. Exit codes: 1 the key is not there, 3 the value
is no text or would be refused by its reader, 4 memory is not reachable or its file is damaged.")]
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
    Put {
        map: String,
        key: String,
        value: String,
        /// Also a value that its reader will refuse
        #[arg(long)]
        force: bool,
    },
    /// Print the keys of a map, sorted
    Keys { map: String },
    /// Print the values of a key or a map, and every change, until Ctrl-C
    Watch { map: String, key: Option<String> },
    /// Save what can be read of a damaged embedded memory; the damaged file is kept under another name
    Repair,
    /// Go back to the last copy of an embedded memory; the file that is there is kept under another name
    Restore {
        /// Also where the memory is sound
        #[arg(long)]
        force: bool,
    },
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
    match (&args.action, &config) {
        (Action::Repair, MemoryConfig::Embedded(store)) => return repair(&store.path, args.json),
        (Action::Restore { force }, MemoryConfig::Embedded(store)) => {
            return restore(&store.path, *force, args.json);
        }
        (Action::Repair | Action::Restore { .. }, MemoryConfig::Hazelcast(_)) => {
            return Err(Failure::usage(
                "a cluster has no file to repair or restore: --embedded or a config that names one",
            ));
        }
        (Action::Put { .. }, _) | (_, MemoryConfig::Hazelcast(_)) => {}
        (_, MemoryConfig::Embedded(store)) if store.path.exists() => {}
        (_, MemoryConfig::Embedded(store)) => {
            return Err(Failure::unavailable(format!("there is no memory at {} yet", store.path.display())));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start: {e}")))?;
    runtime.block_on(async {
        let memory = SystemMemory::open(config, &MemoryEnvironment::system()).map_err(|e| failed(&e))?;
        let limit = Duration::from_millis(args.timeout_ms);
        let done = match &args.action {
            Action::Get { map, key } => get(&memory, map, key, args.json).await,
            Action::Put { map, key, value, force } => put(&memory, (map, key, value), *force).await,
            Action::Keys { map } => keys(&memory, map, args.json).await,
            Action::Watch { map, key } => {
                memory.wait_ready(limit).await.map_err(|e| failed(&e))?;
                watch(&memory, map, key.as_deref(), args.json).await
            }
            Action::Repair | Action::Restore { .. } => Ok(()),
        };
        memory.close(limit).await;
        done
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

async fn put(memory: &SystemMemory, entry: (&str, &str, &str), force: bool) -> Result<(), Failure> {
    let (map, key, value) = entry;
    if let Some(error) = schema::validate(map, key, value).err().filter(|_| !force) {
        return Err(Failure::input(format!(
            "{map}[{key}] is not written: its reader would refuse it ({error}); --force writes it all the same"
        )));
    }
    memory.put(map, key, value).await.map_err(|e| failed(&e))
}

fn repair(path: &Path, json: bool) -> Result<(), Failure> {
    let done = ::memory::repair(&SystemDisk, path).map_err(|e| failed(&e))?;
    let (text, object) = match &done {
        Repair::Sound => {
            (format!("{} is sound: nothing was changed", path.display()), json!({"repaired": false}))
        }
        Repair::Repaired { saved, from_copies, aside } => (
            format!(
                "{} was repaired: {saved} values were read from it, {from_copies} come from a copy; the damaged file is {}",
                path.display(),
                aside.display()
            ),
            json!({"repaired": true, "saved": saved, "from_copies": from_copies, "aside": aside}),
        ),
    };
    print(&if json { object.to_string() } else { text }).map(|_| ())
}

fn restore(path: &Path, force: bool, json: bool) -> Result<(), Failure> {
    let Restore { copy, aside } = ::memory::restore(&SystemDisk, path, force).map_err(|e| failed(&e))?;
    if json {
        return print(&json!({"copy": copy, "aside": aside}).to_string()).map(|_| ());
    }
    let kept = aside.map_or_else(String::new, |aside| format!("; the file before it is {}", aside.display()));
    print(&format!("{} is as it was in {}{kept}", path.display(), copy.display())).map(|_| ())
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
            biased;
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
        Err(e) => Err(Failure::because(&e, 4)),
    }
}

fn failed(error: &MemoryError) -> Failure {
    match error {
        MemoryError::Invalid(_) | MemoryError::Config(_) => Failure::usage(error.to_string()),
        MemoryError::NotText { .. } => Failure::input(error.to_string()),
        _ => Failure::unavailable(error.to_string()),
    }
}
