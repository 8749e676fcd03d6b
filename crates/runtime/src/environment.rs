//! What the system takes from its surroundings besides the clock: tasks, threads, random numbers.
//!
//! Whoever starts something or draws a number takes a [`Spawner`] or an [`Entropy`] as a parameter (DESIGN, habit 3).
//! Production hands in [`SystemSpawner`] and [`Entropy::system`]; a simulation runs everything as tasks of one thread and
//! draws every number from its seed.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

/// A future that may move between threads.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A future that stays on the thread that made it.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Starts tasks and threads. Production: tokio and std; simulation: tasks of one thread.
pub trait Spawner: Send + Sync + Debug {
    /// Runs a task beside the caller, on the caller's runtime.
    fn spawn(&self, name: &'static str, task: Task) -> tokio::task::JoinHandle<()>;

    /// Runs what `make` gives on a thread of its own, with a tokio runtime of its own. The receiver resolves when it
    /// has ended; an error there is the text of a panic.
    fn spawn_thread(
        &self,
        name: &'static str,
        make: Box<dyn FnOnce() -> LocalTask + Send>,
    ) -> io::Result<oneshot::Receiver<Result<(), String>>>;

    /// Blocking work (files): on a thread where there are threads, at once in a simulation.
    fn block(&self, work: Box<dyn FnOnce() + Send>);
}

/// The production spawner: tokio tasks and operating system threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSpawner;

impl Spawner for SystemSpawner {
    fn spawn(&self, _name: &'static str, task: Task) -> tokio::task::JoinHandle<()> {
        tokio::spawn(task)
    }

    fn spawn_thread(
        &self,
        name: &'static str,
        make: Box<dyn FnOnce() -> LocalTask + Send>,
    ) -> io::Result<oneshot::Receiver<Result<(), String>>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(make())));
            // Whoever started it may not want to know.
            let _ = ended.send(outcome.map_err(|panic| panic_text(&*panic).to_owned()));
        })?;
        Ok(end)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => drop(std::thread::spawn(work)),
        }
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
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
            Source::Seeded(state) => {
                let mut z = state.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
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
        assert_eq!(end.blocking_recv().unwrap(), Err("on purpose".to_owned()));
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
