//! A process of the simulation: a node's tasks and stages on one thread, with a clock of its own, that can be stopped,
//! continued and killed at any poll.
//!
//! Every task of the process is polled through [`Gate`], which sets the process's clock first and then decides whether
//! the process is alive and running. A killed process is never polled again: its tasks are dropped where they stand, as
//! the operating system would.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use runtime::clock::{Clock, SimulatedTime};
use runtime::environment::{Ended, LocalTask, Spawner, Task, Turns, Workers};
use runtime::stage::{Stage, Work};
use runtime::worker::{DutyCycle, Worker, WorkerConfig, stopped};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Sleep, sleep_until};

use crate::disk::MachineFiles;
use crate::time::TrueTime;

/// An idle worker is polled again after this, if nothing arrives before: as often as the tasks look that fill its links.
const IDLE: Duration = Duration::from_millis(10);
/// Who waits for workers to have worked looks after this all the same.
const LOOK: Duration = Duration::from_millis(20);
/// Workers compute the next tick ahead in the last part of every tenth of a second, in which its mids are told ahead too.
/// Elsewhere they do so whenever they are idle; here idle time is what a run costs, and what is computed early is computed
/// again with the next frame of its symbol.
const TICK: u64 = 100 * MS;
const PREPARED_FROM: u64 = 85 * MS;
const MS: u64 = 1_000_000;
/// Passes of a worker in a row before others get their turn.
const PASSES: u32 = 256;

/// The clock of a machine: what it shows of the true time.
#[derive(Debug, Default)]
pub struct MachineClock {
    /// The wall clock was set ahead by this much, ns.
    stepped: AtomicI64,
    /// What the crystal had gained until `drifting_since`, ns.
    gained: AtomicI64,
    /// True time since which it drifts as it does now.
    drifting_since: AtomicU64,
    /// It runs fast by this many millionths.
    drift_ppm: AtomicI64,
}

impl MachineClock {
    /// Steps the wall clock.
    pub fn step(&self, ns: i64) {
        self.stepped.fetch_add(ns, Ordering::Relaxed);
    }

    /// Shows the true time again.
    pub fn set_right(&self, now: u64) {
        self.drift(0, now);
        self.stepped.store(-self.gained(now), Ordering::Relaxed);
    }

    /// From now on it runs fast, or slow, by this many millionths.
    pub fn drift(&self, ppm: i64, now: u64) {
        self.gained.store(self.gained(now), Ordering::Relaxed);
        self.drifting_since.store(now, Ordering::Relaxed);
        self.drift_ppm.store(ppm, Ordering::Relaxed);
    }

    /// What the crystal has gained, ns.
    fn gained(&self, now: u64) -> i64 {
        let ppm = self.drift_ppm.load(Ordering::Relaxed);
        if ppm == 0 {
            return self.gained.load(Ordering::Relaxed);
        }
        let since = now.saturating_sub(self.drifting_since.load(Ordering::Relaxed));
        let new = i64::try_from(i128::from(since) * i128::from(ppm) / 1_000_000).unwrap_or(0);
        self.gained.load(Ordering::Relaxed).saturating_add(new)
    }

    /// What the wall clock shows at a true time.
    pub fn wall(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.stepped.load(Ordering::Relaxed).saturating_add(self.gained(now)))
    }
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// For people.
    pub name: String,
    time: TrueTime,
    shown: Arc<SimulatedTime>,
    clock: Arc<MachineClock>,
    /// The machine's files.
    files: MachineFiles,
    /// At the start: what the wall clock showed, the true time, and what the crystal had gained.
    began: (u64, u64, i64),
    dead: AtomicBool,
    stopped: AtomicBool,
    /// Its workers do not come back from a poll.
    hangs: AtomicBool,
    /// Workers that do not come back from a poll before a time, by name.
    stalls: Mutex<BTreeMap<String, u64>>,
    /// The worker whose next poll panics.
    panics: Mutex<Option<String>>,
    /// Polls left before it is killed; `u64::MAX`: none planned.
    kill_in: AtomicU64,
    tasks: Mutex<Vec<AbortHandle>>,
    /// Tasks that wait for the process to go on.
    waiting: Mutex<Vec<Waker>>,
    /// Something arrived for it.
    pub arrived: Notify,
    /// Tasks that look at the links of its workers ([`Workers::turns`]): told when a worker has worked.
    lookers: Mutex<Vec<Arc<Notify>>>,
}

impl Process {
    /// A process on a machine with this clock, born now.
    pub fn new(name: String, time: TrueTime, clock: Arc<MachineClock>, files: MachineFiles) -> Arc<Self> {
        let now = time.now_ns();
        let began = (clock.wall(now), now, clock.gained(now));
        let process = Self {
            name,
            time,
            shown: Arc::default(),
            clock,
            files,
            began,
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            stalls: Mutex::default(),
            panics: Mutex::default(),
            kill_in: AtomicU64::new(u64::MAX),
            tasks: Mutex::default(),
            waiting: Mutex::default(),
            arrived: Notify::new(),
            lookers: Mutex::default(),
        };
        process.set_clock();
        Arc::new(process)
    }

    /// Its clock.
    pub fn clock(&self) -> Clock {
        Clock::simulated(Arc::clone(&self.shown))
    }

    /// The monotonic clock follows the crystal, and never steps.
    fn set_clock(&self) {
        let now = self.time.now_ns();
        let (wall, born, gained) = self.began;
        let monotonic = (wall + (now - born)).saturating_add_signed(self.clock.gained(now) - gained);
        self.shown.set(monotonic, self.clock.wall(now));
    }

    /// Kills it after so many more polls; 0: now.
    pub fn kill_after(&self, polls: u64) {
        if polls == 0 {
            self.die();
        } else {
            self.kill_in.store(polls, Ordering::Relaxed);
        }
    }

    fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        lock(&self.tasks).drain(..).for_each(|task| task.abort());
        self.go_on();
    }

    /// Is it gone?
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Stops it (SIGSTOP), or lets it go on.
    pub fn stop(&self, stop: bool) {
        self.stopped.store(stop, Ordering::Relaxed);
        if !stop {
            self.go_on();
        }
    }

    /// Is it stopped?
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// From now on none of its workers comes back from a poll; everything else goes on.
    pub fn hang(&self) {
        self.hangs.store(true, Ordering::Relaxed);
    }

    /// A worker does not come back from its next poll before this time.
    pub fn stall(&self, worker: &str, until: u64) {
        lock(&self.stalls).insert(worker.to_owned(), until);
    }

    /// A stage on this worker panics at its next poll.
    pub fn panic(&self, worker: &str) {
        *lock(&self.panics) = Some(worker.to_owned());
    }

    /// Stands still for as long as this worker is to.
    async fn stand_still(&self, worker: &str) {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let until = lock(&self.stalls).remove(worker);
        if let Some(until) = until {
            sleep_until(self.time.instant(until)).await;
        }
    }

    fn go_on(&self) {
        std::mem::take(&mut *lock(&self.waiting)).into_iter().for_each(Waker::wake);
    }

    /// May the process be polled now? Counts the poll, if it is one that a kill may fall on.
    fn admit(&self, counted: bool) -> Admission {
        if self.is_dead() {
            return Admission::Dead;
        }
        if self.is_stopped() {
            return Admission::Stopped;
        }
        let left = self.kill_in.load(Ordering::Relaxed);
        if counted && left != u64::MAX {
            if left == 0 {
                self.die();
                return Admission::Dead;
            }
            self.kill_in.store(left - 1, Ordering::Relaxed);
        }
        self.set_clock();
        Admission::Runs
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Admission {
    Runs,
    Stopped,
    Dead,
}

/// A task of a process.
struct Gate {
    process: Arc<Process>,
    task: Option<LocalTask>,
    /// Its polls count for a planned kill.
    counted: bool,
    /// It writes to a slow disk until then.
    writes: Option<Pin<Box<Sleep>>>,
}

impl Future for Gate {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.process.admit(self.counted) {
            Admission::Dead => {
                self.task = None;
                return Poll::Ready(());
            }
            Admission::Stopped => {
                lock(&self.process.waiting).push(cx.waker().clone());
                return Poll::Pending;
            }
            Admission::Runs => {}
        }
        if let Some(writes) = &mut self.writes {
            ready!(writes.as_mut().poll(cx));
            self.writes = None;
        }
        let polled = self.task.as_mut().map_or(Poll::Ready(()), |task| task.as_mut().poll(cx));
        let ns = self.process.files.written_for();
        if ns > 0 && polled.is_pending() {
            let mut writes = Box::pin(tokio::time::sleep(Duration::from_nanos(ns)));
            // What wakes the task meanwhile is found when it is polled again.
            if writes.as_mut().poll(cx).is_pending() {
                self.writes = Some(writes);
            }
        }
        polled
    }
}

/// Runs everything of a process as tasks of the simulation's thread.
#[derive(Debug, Clone)]
pub struct ProcessSpawner {
    process: Arc<Process>,
}

impl ProcessSpawner {
    /// Of this process.
    pub const fn new(process: Arc<Process>) -> Self {
        Self { process }
    }

    /// Runs a task of the process.
    pub fn run(&self, task: LocalTask) -> JoinHandle<()> {
        self.go(task, true)
    }

    fn go(&self, task: LocalTask, counted: bool) -> JoinHandle<()> {
        let process = Arc::clone(&self.process);
        let gate = Gate { process, task: Some(task), counted, writes: None };
        let handle = tokio::task::spawn_local(gate);
        let mut tasks = lock(&self.process.tasks);
        tasks.retain(|t| !t.is_finished());
        tasks.push(handle.abort_handle());
        handle
    }
}

impl Spawner for ProcessSpawner {
    fn spawn(&self, _name: &'static str, task: Task) -> JoinHandle<()> {
        self.run(task)
    }

    fn spawn_on(&self, _runtime: &Handle, _name: &'static str, task: Task) -> JoinHandle<()> {
        self.run(task)
    }

    fn spawn_thread(
        &self,
        name: &'static str,
        make: Box<dyn FnOnce() -> LocalTask + Send>,
    ) -> io::Result<Ended> {
        let (done, ended) = oneshot::channel();
        let task = make();
        // A journal only looks on: with one and without, a kill falls on the same moment.
        let counted = name != "journal";
        let thread = Box::pin(async move {
            task.await;
            // Nobody may wait for it.
            let _ = done.send(Ok(()));
        });
        self.go(thread, counted);
        Ok(ended)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

impl Workers for ProcessSpawner {
    fn start(
        &self,
        config: WorkerConfig,
        stages: Vec<Box<dyn Stage>>,
        clock: Clock,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Worker> {
        let mut cycle = DutyCycle::new(stages, clock.clone());
        let stats = cycle.stats().to_vec();
        let (done, ended) = oneshot::channel();
        let (name, process) = (config.name.clone(), Arc::clone(&self.process));
        self.run(Box::pin(async move {
            let mut result = Ok(());
            'run: while !stop.load(Ordering::Acquire) {
                let mut worked = false;
                // Who looks at its links is told whenever a worker has done anything, and goes by that.
                let looked_at = !lock(&process.lookers).is_empty();
                cycle.prepare(looked_at || clock.now_ns() % TICK >= PREPARED_FROM);
                for _ in 0..PASSES {
                    let pass = || {
                        let told = lock(&process.panics).take_if(|worker| *worker == config.name);
                        assert!(told.is_none(), "told to panic");
                        cycle.pass()
                    };
                    match catch_unwind(AssertUnwindSafe(pass)) {
                        Ok(Work::Done) => worked = true,
                        Ok(Work::Idle) => break,
                        Err(panic) => {
                            result = Err(stopped(&config.name, &*panic));
                            break 'run;
                        }
                    }
                }
                if worked {
                    lock(&process.lookers).iter().for_each(|looker| looker.notify_one());
                }
                process.stand_still(&config.name).await;
                tokio::select! {
                    biased;
                    () = process.arrived.notified() => {}
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
            stop.store(true, Ordering::Release);
            // Nobody may wait for it.
            let _ = done.send(result);
        }));
        Ok(Worker::new(name, stats, ended))
    }

    fn cores(&self) -> usize {
        2
    }

    fn turns(&self, _period: Duration) -> Turns {
        let told = Arc::<Notify>::default();
        lock(&self.process.lookers).push(Arc::clone(&told));
        Turns::Told(told, LOOK)
    }
}
