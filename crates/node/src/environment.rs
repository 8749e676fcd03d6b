//! What a node takes from its surroundings: clocks, threads, connections, memory, files, random numbers. Production and
//! the simulation are two values of it; nothing else in this crate reads a clock, opens a socket, starts a thread or
//! draws a random number.

use std::fmt::Debug;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    /// A word to whoever supervises the process, in the form of `sd_notify(3)` (`READY=1`, `WATCHDOG=1`).
    fn notify(&self, state: &str);
    /// Ends the process at once, whatever its threads do.
    fn exit(&self, code: u8, why: &str);
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

/// How long the reader of stderr has for the last line.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A datagram to the supervisor's socket: a path, or `@` and an abstract name.
fn notify(socket: Option<String>, state: &str) -> io::Result<()> {
    let Some(socket) = socket.filter(|s| !s.is_empty()) else { return Ok(()) };
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
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

    fn notify(&self, state: &str) {
        // Nobody supervises it, or he does not listen: nothing depends on it.
        let _ = notify(SystemFiles.variable("NOTIFY_SOCKET"), state);
    }

    fn exit(&self, code: u8, why: &str) {
        runtime::console::line(&format!("dolphin: {why}"));
        runtime::console::flush(LAST_WORDS);
        std::process::exit(code.into());
    }

    fn host_name(&self) -> String {
        let name = SystemFiles.read(Path::new("/proc/sys/kernel/hostname")).ok().flatten();
        name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisor_is_told_by_a_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("dolphin-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let mut read = [0; 64];
        for (socket, at) in [(by_path, path.display().to_string()), (by_name, format!("@{name}"))] {
            notify(Some(at), "WATCHDOG=1").unwrap();
            let n = socket.recv(&mut read).unwrap();
            assert_eq!(&read[..n], b"WATCHDOG=1");
        }
        assert!(notify(None, "READY=1").is_ok(), "nobody supervises it");
        assert!(notify(Some("/no/such/socket".to_owned()), "READY=1").is_err());
    }
}
