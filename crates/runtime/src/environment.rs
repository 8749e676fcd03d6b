//! What a program takes from its surroundings besides bytes: threads, tasks, files, random numbers.
//!
//! Production and simulation are two values of these. Nothing below `main` starts a thread, opens a file or asks for
//! randomness except through them, so that a whole node can run on one thread and one seed.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::stage::Stage;
use crate::worker::{DutyCycle, Worker, WorkerConfig, panic_text};

/// A future that may move between threads.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A future that stays on its thread.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;
/// Resolves when a thread has ended; the error is the text of its panic.
pub type Ended = oneshot::Receiver<Result<(), String>>;

/// Starts tasks and threads. Production: tokio and std. Simulation: tasks of one thread.
pub trait Spawner: Send + Sync + Debug {
    /// Runs a task beside the caller, on the caller's tokio runtime.
    fn spawn(&self, name: &'static str, task: Task) -> JoinHandle<()>;

    /// Runs a task on another runtime of this process.
    fn spawn_on(&self, runtime: &Handle, name: &'static str, task: Task) -> JoinHandle<()>;

    /// Runs what `make` gives on a thread of its own, with a tokio runtime of its own.
    fn spawn_thread(
        &self,
        name: &'static str,
        make: Box<dyn FnOnce() -> LocalTask + Send>,
    ) -> io::Result<Ended>;

    /// Work that may block (files, resolvers): on a thread where there are threads, at once in a simulation.
    fn block(&self, work: Box<dyn FnOnce() + Send>);
}

/// Lends stages the time of cores.
pub trait Workers: Send + Sync + Debug {
    /// Polls `stages` on a thread of its own until `stop` is set. A stage that panics sets `stop`.
    fn start(
        &self,
        config: WorkerConfig,
        stages: Vec<Box<dyn Stage>>,
        clock: Clock,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Worker>;

    /// Workers will be pinned to these cores: everything else of the process keeps off them from now on, where it can.
    fn keep_off(&self, _cores: &[usize]) {}

    /// Cores that workers may have.
    fn cores(&self) -> usize;

    /// Turns of a task that looks at links which workers fill: a worker wakes nobody. Where workers are tasks they can.
    fn turns(&self, period: Duration) -> Turns {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Turns::Every(interval)
    }
}

/// See [`Workers::turns`].
#[derive(Debug)]
pub enum Turns {
    /// One each period.
    Every(tokio::time::Interval),
    /// One whenever this is told, and after so long at the latest.
    Told(Arc<Notify>, Duration),
}

impl Turns {
    /// Waits for the next one.
    pub async fn next(&mut self) {
        match self {
            Self::Every(interval) => drop(interval.tick().await),
            // Nothing was told: it is time all the same.
            Self::Told(told, longest) => drop(tokio::time::timeout(*longest, told.notified()).await),
        }
    }
}

/// Threads of the operating system, tasks of the present tokio runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSpawner;

impl Spawner for SystemSpawner {
    fn spawn(&self, _name: &'static str, task: Task) -> JoinHandle<()> {
        tokio::spawn(task)
    }

    fn spawn_on(&self, runtime: &Handle, _name: &'static str, task: Task) -> JoinHandle<()> {
        runtime.spawn(task)
    }

    fn spawn_thread(
        &self,
        name: &'static str,
        make: Box<dyn FnOnce() -> LocalTask + Send>,
    ) -> io::Result<Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| runtime.block_on(make()));
            let result = std::panic::catch_unwind(run)
                .map_err(|panic| format!("thread {name} stopped by a panic: {}", panic_text(&*panic)));
            // Nobody may wait for it.
            let _ = done.send(result);
        })?;
        Ok(ended)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => drop(std::thread::spawn(work)),
        }
    }
}

impl Workers for SystemSpawner {
    fn start(
        &self,
        config: WorkerConfig,
        stages: Vec<Box<dyn Stage>>,
        clock: Clock,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Worker> {
        Worker::start_thread(config, DutyCycle::new(stages, clock), stop)
    }

    fn keep_off(&self, cores: &[usize]) {
        // Where no core would be left all share what there is.
        let _ = crate::worker::keep_off(cores);
    }

    fn cores(&self) -> usize {
        crate::worker::available_cores()
    }
}

/// A file that is only ever written at its end.
pub trait AppendFile: Send {
    /// Writes all of it, or says why not; then part of it may have been written.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// What was written outlives a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

/// Files: the kill file and its report, state kept beside memory, the journal.
pub trait Files: Send + Sync + Debug {
    /// The text of a file; `None`: it is not there. Bytes that are no UTF-8 are replaced.
    fn read(&self, path: &Path) -> io::Result<Option<String>>;
    /// Replaces a file whole, by a rename.
    fn write(&self, path: &Path, text: &str) -> io::Result<()>;
    /// The bytes of a file; `None`: it is not there.
    fn read_bytes(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a file whole, by a rename, once its bytes are on the disk.
    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name; one that has it already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Opens a file to write at its end; it and its directory are made where they are not there. While it is open it is
    /// in use for every other process.
    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Does another process have the file open by [`Self::append`]? What cannot be told counts as yes.
    fn is_in_use(&self, path: &Path) -> bool;
    /// Names and sizes of the files of a directory; none where it is not there.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all in it, if it is there.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Room on the disk that a directory lies on, or will lie on; `None`: it cannot be told.
    fn room(&self, dir: &Path) -> Option<Room>;
    /// Where temporary files go.
    fn temp_dir(&self) -> PathBuf;
    /// A variable of the process's environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Room on a disk, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free for us.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

impl AppendFile for std::fs::File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        std::fs::write(&name, text)?;
        std::fs::rename(&name, path)
    }

    fn read_bytes(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let mut file = std::fs::File::create(&name)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        std::fs::rename(&name, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
        // A file system without locks: it is written all the same.
        let _ = file.try_lock();
        Ok(Box::new(file))
    }

    fn is_in_use(&self, path: &Path) -> bool {
        // The lock is given back with the file.
        std::fs::File::open(path).map_or(true, |file| file.try_lock().is_err())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // One that is removed meanwhile is not there.
            if let (Ok(name), Ok(data)) = (entry.file_name().into_string(), entry.metadata())
                && data.is_file()
            {
                found.push((name, data.len()));
            }
        }
        Ok(found)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn room(&self, dir: &Path) -> Option<Room> {
        // The first directory on the way that is there: the rest is made when it is needed.
        let there = dir.ancestors().find(|d| d.is_dir()).unwrap_or(Path::new("."));
        let stat = rustix::fs::statvfs(there).ok()?;
        Some(Room { free: stat.f_bavail * stat.f_frsize, size: stat.f_blocks * stat.f_frsize })
    }

    fn temp_dir(&self) -> PathBuf {
        std::env::temp_dir()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Random numbers: from the system, or from a seed. Clones of a seeded one draw from the same sequence.
#[derive(Clone, Debug)]
pub struct Entropy(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// State of SplitMix64 (Steele, Lea, Flood 2014): a counter, so that clones share it without a lock.
    Seeded(Arc<AtomicU64>),
}

/// One step of SplitMix64, for whoever keeps the state himself.
pub const fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(GOLDEN);
    mixed(*state)
}

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 2^64 divided by the golden ratio: the step of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Entropy {
    /// From the operating system.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// The next number, uniform over all 64 bits.
    ///
    /// # Panics
    /// Where the operating system has no random numbers: nothing that needs one could go on safely.
    pub fn next_u64(&self) -> u64 {
        match &self.0 {
            Source::System => getrandom::u64().expect("the operating system gives random numbers"),
            Source::Seeded(state) => mixed(state.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence_and_clones_share_it() {
        // SplitMix64 of the seed 1234567, from its reference implementation.
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ];
        let entropy = Entropy::seeded(1_234_567);
        let twin = entropy.clone();
        let drawn = [entropy.next_u64(), twin.next_u64(), entropy.next_u64(), twin.next_u64()];
        assert_eq!(drawn, expected);
        let system = Entropy::system();
        assert_ne!(system.next_u64(), system.next_u64());
    }

    #[test]
    fn a_thread_runs_what_it_was_given_and_tells_of_its_end() {
        let (said, heard) = mpsc::channel();
        let make: Box<dyn FnOnce() -> LocalTask + Send> = Box::new(move || {
            Box::pin(async move {
                // Not `Send`: it stays on its thread.
                let inside = std::rc::Rc::new(std::thread::current().name().map(str::to_owned));
                said.send((*inside).clone()).unwrap();
            })
        });
        let end = SystemSpawner.spawn_thread("a-thread", make).unwrap();
        assert_eq!(end.blocking_recv().unwrap(), Ok(()));
        assert_eq!(heard.recv().unwrap().as_deref(), Some("a-thread"));
        let fails: Box<dyn FnOnce() -> LocalTask + Send> =
            Box::new(|| Box::pin(async { panic!("on purpose") }));
        let end = SystemSpawner.spawn_thread("fails", fails).unwrap();
        let why = end.blocking_recv().unwrap().unwrap_err();
        assert!(why.contains("fails") && why.contains("on purpose"), "{why}");
    }

    #[test]
    fn blocking_work_is_done_with_a_runtime_and_without() {
        let (done, heard) = mpsc::channel();
        let second = done.clone();
        SystemSpawner.block(Box::new(move || done.send(1).unwrap()));
        assert_eq!(heard.recv().unwrap(), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            SystemSpawner.block(Box::new(move || second.send(2).unwrap()));
            let (task_done, task) = oneshot::channel();
            let handle = SystemSpawner.spawn("task", Box::pin(async move { task_done.send(3).unwrap() }));
            assert_eq!(task.await.unwrap(), 3);
            handle.await.unwrap();
        });
        assert_eq!(heard.recv().unwrap(), 2);
    }
}
