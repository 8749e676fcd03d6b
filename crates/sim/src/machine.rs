//! A machine: its clock, its files, and what a process that is started on it is given.

use std::sync::Arc;

use binance::hosts::Hosts;
use binance::rest::{RestError, Transport};
use memory::{MemoryConfig, MemoryError, SystemMemory};
use node::environment::{Environment, Surroundings};
use runtime::environment::{Entropy, Spawner};

use crate::cluster::Cluster;
use crate::disk::MachineFiles;
use crate::network::{Machine, Network, Uplink};
use crate::process::{MachineClock, Process, ProcessSpawner};
use crate::random::Random;
use crate::time::TrueTime;

/// A machine of the world.
#[derive(Debug)]
pub struct Host {
    number: Machine,
    /// Its clock.
    pub clock: Arc<MachineClock>,
    /// Its files.
    pub files: MachineFiles,
    entropy: Random,
    /// How much of what was not synced outlives a loss of power.
    luck: Random,
    started: u32,
}

impl Host {
    /// A new machine.
    pub fn new(number: Machine, seed: u64) -> Self {
        let entropy = Random::new(seed, 0x656e ^ (number as u64) << 32);
        let luck = Random::new(seed, 0x6c75_636b ^ (number as u64) << 32);
        Self { number, clock: Arc::default(), files: MachineFiles::default(), entropy, luck, started: 0 }
    }

    /// The machine loses its power.
    pub fn lose_power(&mut self) {
        self.files.lose_unsynced(&mut self.luck);
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
        let name = format!("{name}#{}", self.started);
        let process = Process::new(name, time, Arc::clone(&self.clock), self.files.clone());
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
                process: Arc::clone(&process),
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
    process: Arc<Process>,
}

impl Surroundings for Reach {
    fn transport(&self, _hosts: &Hosts) -> Result<Arc<dyn Transport>, RestError> {
        Ok(Arc::new(self.uplink.clone()))
    }

    fn memory(&self, _config: MemoryConfig) -> Result<SystemMemory, MemoryError> {
        Ok(SystemMemory::with_backend(self.cluster.member(self.machine), Arc::clone(&self.spawner)))
    }

    fn notify(&self, _state: &str) {}

    fn exit(&self, _code: u8, _why: &str) {
        self.process.kill_after(0);
    }

    fn host_name(&self) -> String {
        format!("machine-{}", self.machine)
    }
}
