//! A machine: its clock, its files, and what a process that is started on it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use binance::hosts::Hosts;
use binance::rest::{RestError, Transport};
use memchr::memmem::Finder;
use memory::{MemoryConfig, MemoryError, SystemMemory};
use node::environment::{Environment, Surroundings};
use runtime::environment::{AppendFile, Entropy, Files, Room, Spawner};

use crate::cluster::Cluster;
use crate::network::{Machine, Network, Uplink};
use crate::process::{MachineClock, Process, ProcessSpawner};
use crate::random::Random;
use crate::time::TrueTime;

/// Size of a machine's disk.
const DISK_BYTES: u64 = 100_000_000_000;

/// Small files that outlive the processes of a machine, on a disk that may be full.
#[derive(Debug, Clone, Default)]
pub struct MachineFiles(Arc<Disk>);

#[derive(Debug, Default)]
struct Disk {
    /// By their whole names: paths are compared part by part, and this is looked up all the time.
    files: Mutex<BTreeMap<OsString, Vec<u8>>>,
    full: AtomicBool,
    /// What no file may ever hold, and those that held it. Every byte is looked at when it is written: what is overwritten,
    /// removed or packed before anybody looks at the disk counts as well, and a sealed journal need not be unpacked.
    secret: OnceLock<Finder<'static>>,
    told: Mutex<BTreeSet<PathBuf>>,
}

/// A file of a machine, open for writing.
struct MachineFile(MachineFiles, PathBuf);

impl AppendFile for MachineFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.room()?;
        let mut files = self.0.files();
        let name = self.1.as_os_str();
        if !files.contains_key(name) {
            files.insert(name.to_owned(), Vec::new());
        }
        let Some(file) = files.get_mut(name) else { return Ok(()) };
        let written = file.len();
        file.extend_from_slice(bytes);
        self.0.look(&self.1, file, written);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MachineFiles {
    fn files(&self) -> MutexGuard<'_, BTreeMap<OsString, Vec<u8>>> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more can be written, or it can again.
    pub fn fill_disk(&self, full: bool) {
        self.0.full.store(full, Ordering::Relaxed);
    }

    fn room(&self) -> io::Result<()> {
        if self.0.full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Directories that hold segments of a journal.
    pub fn journals(&self) -> BTreeSet<PathBuf> {
        let files = self.files();
        let is_segment = |path: &&Path| path.extension().is_some_and(|e| e == "dj" || e == "djz");
        files
            .keys()
            .map(Path::new)
            .filter(is_segment)
            .filter_map(|path| Some(path.parent()?.to_owned()))
            .collect()
    }

    /// These bytes must never stand in a file.
    pub fn forbid(&self, secret: &'static str) {
        // Another one is never named.
        let _ = self.0.secret.set(Finder::new(secret));
    }

    /// The files that held what must never stand in one, be it for a moment.
    pub fn that_told(&self) -> Vec<PathBuf> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Looks at what was written to a file behind its first `before` bytes, and over the seam.
    fn look(&self, path: &Path, bytes: &[u8], before: usize) {
        let Some(secret) = self.0.secret.get() else { return };
        let from = (before + 1).saturating_sub(secret.needle().len());
        if bytes.get(from..).is_some_and(|new| secret.find(new).is_some()) {
            self.0.told.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
    }
}

impl Files for MachineFiles {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        Ok(self.files().get(path.as_os_str()).map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        self.write_bytes(path, text.as_bytes())
    }

    fn read_bytes(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files().get(path.as_os_str()).cloned())
    }

    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.room()?;
        self.look(path, bytes, 0);
        self.files().insert(path.into(), bytes.to_owned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let bytes = files.remove(from.as_os_str()).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), bytes);
        Ok(())
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.room()?;
        self.files().entry(path.into()).or_default();
        Ok(Box::new(MachineFile(self.clone(), path.to_owned())))
    }

    fn is_in_use(&self, _path: &Path) -> bool {
        // One process a machine writes a journal, and the one before it is dead.
        false
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = self.files();
        let inside = files.iter().map(|(name, bytes)| (Path::new(name), bytes));
        let inside = inside.filter(|(path, _)| path.parent() == Some(dir));
        let named = inside
            .filter_map(|(path, bytes)| Some((path.file_name()?.to_str()?.to_owned(), bytes.len() as u64)));
        Ok(named.collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path.as_os_str());
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.files().retain(|file, _| !Path::new(file).starts_with(path));
        Ok(())
    }

    fn room(&self, _: &Path) -> Option<Room> {
        let free = if self.0.full.load(Ordering::Relaxed) { 0 } else { DISK_BYTES / 2 };
        Some(Room { free, size: DISK_BYTES })
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
