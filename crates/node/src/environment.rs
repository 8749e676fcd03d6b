//! What a node takes from its surroundings: clocks, threads, connections, memory, files, random numbers. Production and
//! the simulation are two values of it; nothing else in this crate reads a clock, opens a socket, starts a thread or
//! draws a random number.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use binance::hosts::Hosts;
use binance::net::{Dialer, SystemDialer};
use binance::rest::{RestError, SystemTransport, Transport};
use memory::{MemoryConfig, MemoryEnvironment, MemoryError, SystemMemory};
use runtime::clock::Clock;
use runtime::environment::{Entropy, Files, Spawner, SystemFiles, SystemSpawner, Workers};

/// Reaches what lies outside the process, beyond byte streams.
pub trait Surroundings: Send + Sync + Debug {
    /// What carries REST requests to the hosts.
    fn transport(&self, hosts: &Hosts) -> Result<Arc<dyn Transport>, RestError>;
    /// System memory, on the present tokio runtime. What does not answer now is reached later.
    fn memory(&self, config: MemoryConfig) -> Result<SystemMemory, MemoryError>;
    /// The name of the machine, for people.
    fn host_name(&self) -> String;
}

/// The environment of one process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Monotonic and wall time.
    pub clock: Clock,
    /// Random numbers.
    pub entropy: Entropy,
    /// Threads and tasks.
    pub spawner: Arc<dyn Spawner>,
    /// Threads that poll stages.
    pub workers: Arc<dyn Workers>,
    /// Byte streams.
    pub dialer: Arc<dyn Dialer>,
    /// REST and memory.
    pub surroundings: Arc<dyn Surroundings>,
    /// Small files.
    pub files: Arc<dyn Files>,
}

impl Environment {
    /// Of the operating system.
    pub fn system() -> Self {
        Self {
            clock: Clock::new(),
            entropy: Entropy::system(),
            spawner: Arc::new(SystemSpawner),
            workers: Arc::new(SystemSpawner),
            dialer: Arc::new(SystemDialer::new()),
            surroundings: Arc::new(SystemSurroundings),
            files: Arc::new(SystemFiles),
        }
    }

    /// Is the file there? What cannot be read counts as there.
    pub fn has_file(&self, path: &Path) -> bool {
        !matches!(self.files.read(path), Ok(None))
    }

    /// A path of this run alone, in the directory for temporary files.
    pub fn scratch(&self) -> PathBuf {
        self.files.temp_dir().join(format!("dolphin-{:016x}", self.entropy.next_u64()))
    }
}

/// Sockets, files and the system's name.
#[derive(Debug, Clone, Copy)]
struct SystemSurroundings;

impl Surroundings for SystemSurroundings {
    fn transport(&self, hosts: &Hosts) -> Result<Arc<dyn Transport>, RestError> {
        Ok(Arc::new(SystemTransport::new(hosts)?))
    }

    fn memory(&self, config: MemoryConfig) -> Result<SystemMemory, MemoryError> {
        SystemMemory::open(config, &MemoryEnvironment::system())
    }

    fn host_name(&self) -> String {
        let name = SystemFiles.read(Path::new("/proc/sys/kernel/hostname")).ok().flatten();
        name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
    }
}
