//! A machine: its clock, its files, and what a process that is started on it is given.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use binance::hosts::Hosts;
use binance::rest::{RestError, Transport};
use memory::{MemoryConfig, MemoryError, SystemMemory};
use node::environment::{Environment, Surroundings};
use runtime::environment::{Entropy, Files, Spawner};

use crate::cluster::Cluster;
use crate::network::{Machine, Network, Uplink};
use crate::process::{MachineClock, Process, ProcessSpawner};
use crate::random::Random;
use crate::time::TrueTime;

/// Small files that outlive the processes of a machine.
#[derive(Debug, Clone, Default)]
pub struct MachineFiles(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl MachineFiles {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, as one text: to look for secrets.
    pub fn dump(&self) -> String {
        format!("{:?}", self.files())
    }
}

impl Files for MachineFiles {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        Ok(self.files().get(path).cloned())
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        self.files().insert(path.to_owned(), text.to_owned());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.files().retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn temp_dir(&self) -> PathBuf {
        PathBuf::from("/tmp")
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "STATE_DIRECTORY").then(|| "/var/lib/dolphin".to_owned())
    }
}

/// A machine of the world.
#[derive(Debug)]
pub struct Host {
    number: Machine,
    /// Its clock.
    pub clock: Arc<MachineClock>,
    /// Its files.
    pub files: MachineFiles,
    entropy: Random,
    started: u32,
}

impl Host {
    /// A new machine.
    pub fn new(number: Machine, seed: u64) -> Self {
        let entropy = Random::new(seed, 0x656e ^ (number as u64) << 32);
        Self { number, clock: Arc::default(), files: MachineFiles::default(), entropy, started: 0 }
    }

    /// A process on this machine, and its environment.
    pub fn boot(
        &mut self,
        name: &str,
        time: TrueTime,
        network: &Arc<Network>,
        cluster: &Arc<Cluster>,
    ) -> (Arc<Process>, Environment) {
        self.started += 1;
        let process = Process::new(format!("{name}#{}", self.started), time, Arc::clone(&self.clock));
        let uplink = Uplink { network: Arc::clone(network), machine: self.number };
        let spawner: Arc<dyn Spawner> = Arc::new(ProcessSpawner::new(Arc::clone(&process)));
        let environment = Environment {
            clock: process.clock(),
            entropy: Entropy::seeded(self.entropy.next()),
            spawner: Arc::clone(&spawner),
            workers: Arc::new(ProcessSpawner::new(Arc::clone(&process))),
            dialer: Arc::new(uplink.clone()),
            surroundings: Arc::new(Reach {
                uplink,
                cluster: Arc::clone(cluster),
                spawner,
                machine: self.number,
            }),
            files: Arc::new(self.files.clone()),
        };
        (process, environment)
    }
}

/// What a process reaches from its machine.
#[derive(Debug)]
struct Reach {
    uplink: Uplink,
    cluster: Arc<Cluster>,
    spawner: Arc<dyn Spawner>,
    machine: Machine,
}

impl Surroundings for Reach {
    fn transport(&self, _hosts: &Hosts) -> Result<Arc<dyn Transport>, RestError> {
        Ok(Arc::new(self.uplink.clone()))
    }

    fn memory(&self, _config: MemoryConfig) -> Result<SystemMemory, MemoryError> {
        Ok(SystemMemory::with_backend(self.cluster.member(self.machine), Arc::clone(&self.spawner)))
    }

    fn host_name(&self) -> String {
        format!("machine-{}", self.machine)
    }
}
