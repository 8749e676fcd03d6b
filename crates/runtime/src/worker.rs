//! A worker: one thread, one core, one or more stages, one idle strategy.
//!
//! More spinning workers than free cores ruin every latency (five spinners on two cores: 36 ms a hop), so which
//! stages share a worker is a layout chosen by the number of cores, and a worker that shares its core yields.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::environment::Ended;
use crate::stage::{Stage, Work};

/// What a worker does when no stage found work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Poll on: lowest latency, a core of its own.
    Spin,
    /// Give the core away between polls.
    Yield,
    /// After some empty polls sleep 50 µs: kind to laptops, tens of microseconds slower.
    Park,
}

/// Counters of one stage, readable from any thread.
#[derive(Debug)]
pub struct StageStats {
    name: &'static str,
    /// The worker writes them at every poll: nobody else's data may lie on their cache line.
    counts: CachePadded<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    polls: AtomicU64,
    worked: AtomicU64,
    longest_ns: AtomicU64,
    last_poll_ns: AtomicU64,
}

impl StageStats {
    fn new(name: &'static str) -> Self {
        Self { name, counts: CachePadded::default() }
    }
    fn polled(&self, did: bool, end_ns: u64, took_ns: u64) {
        // One writer: the worker. Loads and stores need no read-modify-write.
        let Counts { polls, worked, longest_ns, last_poll_ns } = &*self.counts;
        polls.store(polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        last_poll_ns.store(end_ns, Ordering::Relaxed);
        if did {
            worked.store(worked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            if took_ns > longest_ns.load(Ordering::Relaxed) {
                longest_ns.store(took_ns, Ordering::Relaxed);
            }
        }
    }

    /// The stage's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Duty cycles run.
    pub fn polls(&self) -> u64 {
        self.counts.polls.load(Ordering::Relaxed)
    }
    /// Duty cycles that did something.
    pub fn worked(&self) -> u64 {
        self.counts.worked.load(Ordering::Relaxed)
    }
    /// Longest duty cycle that did something, ns.
    pub fn longest_ns(&self) -> u64 {
        self.counts.longest_ns.load(Ordering::Relaxed)
    }
    /// Monotonic time of the last poll: the stage's heartbeat.
    pub fn last_poll_ns(&self) -> u64 {
        self.counts.last_poll_ns.load(Ordering::Relaxed)
    }
}

/// Between two rounds of housekeeping while there is nothing else to do.
const HOUSEKEEP_IDLE_NS: u64 = 1_000_000;
/// Housekeeping comes at least this often, whatever there is to do.
const HOUSEKEEP_LATEST_NS: u64 = 20_000_000;

/// Between two rehearsals: what is warm is cold again after some milliseconds.
const REHEARSE_NS: u64 = 1_000_000;

/// How a worker is to run.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Thread name.
    pub name: String,
    /// Core to pin to, by the kernel's number.
    pub core: Option<usize>,
    /// Idle strategy.
    pub idle: Idle,
    /// Rehearse while idle ([`Stage::rehearse`]). Not where the worker parks: who sleeps leaves the core to others.
    pub rehearse: bool,
}

/// The cores that this process was given when it first asked: [`keep_off`] takes none of them away.
fn given() -> &'static [CoreId] {
    static GIVEN: OnceLock<Vec<CoreId>> = OnceLock::new();
    GIVEN.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Number of cores that this process may run on.
pub fn available_cores() -> usize {
    given().len().max(1)
}

/// Stages that share a worker, and their counters: what a worker runs, whoever lends it the time.
pub struct DutyCycle {
    stages: Vec<Box<dyn Stage>>,
    stats: Vec<Arc<StageStats>>,
    clock: Clock,
    housekept_ns: u64,
    /// What the next polls will need is computed ahead.
    prepares: bool,
    /// Rehearsals are wanted: the time that they take is nobody else's.
    rehearses: bool,
    rehearsed_ns: u64,
}

impl DutyCycle {
    /// Of stages, polled in this order.
    pub fn new(stages: Vec<Box<dyn Stage>>, clock: Clock) -> Self {
        let stats = stages.iter().map(|s| Arc::new(StageStats::new(s.name()))).collect();
        Self { stages, stats, clock, housekept_ns: 0, prepares: true, rehearses: false, rehearsed_ns: 0 }
    }

    /// Counters of the stages, in polling order.
    pub fn stats(&self) -> &[Arc<StageStats>] {
        &self.stats
    }

    /// Are the next polls to be prepared from now on? They are at first. ([`Stage::prepare`])
    pub const fn prepare(&mut self, wanted: bool) {
        self.prepares = wanted;
    }

    /// Polls every stage once. When none of them found anything to do, a piece of what they left or of preparation follows,
    /// or housekeeping; the latter whenever it is overdue.
    pub fn pass(&mut self) -> Work {
        let mut now = self.clock.now_ns();
        let mut worked = false;
        for stage in &mut self.stages {
            worked |= stage.read(now) == Work::Done;
        }
        for (stage, stats) in self.stages.iter_mut().zip(&self.stats) {
            let did = stage.poll(now) == Work::Done;
            let end = self.clock.now_ns();
            stats.polled(did, end, end.saturating_sub(now));
            worked |= did;
            now = end;
        }
        // One piece, then the sockets are looked at again.
        let stages = &mut self.stages;
        let prepared = !worked
            && (stages.iter_mut().any(|stage| stage.settle(now) == Work::Done)
                || self.prepares && stages.iter_mut().any(|stage| stage.prepare(now) == Work::Done));
        let since = now.saturating_sub(self.housekept_ns);
        let free = !worked && !prepared;
        if since >= HOUSEKEEP_LATEST_NS || (free && since >= HOUSEKEEP_IDLE_NS) {
            self.housekept_ns = now;
            self.stages.iter_mut().for_each(|stage| stage.housekeep(now));
        } else if free && self.rehearses && now.saturating_sub(self.rehearsed_ns) >= REHEARSE_NS {
            self.rehearsed_ns = now;
            self.stages.iter_mut().for_each(|stage| stage.rehearse(now));
        }
        Work::from(worked || prepared)
    }
}

/// A running worker.
pub struct Worker {
    name: String,
    stats: Vec<Arc<StageStats>>,
    ended: Ended,
}

impl Worker {
    /// A worker that somebody else runs: its name, its stages' counters, and what resolves at its end.
    pub fn new(name: String, stats: Vec<Arc<StageStats>>, ended: Ended) -> Self {
        Self { name, stats, ended }
    }

    /// Starts a thread that runs the cycle until `stop` is set. A stage that panics ends the worker and sets `stop`,
    /// so that the others end too; [`Self::join`] tells which it was.
    pub fn start_thread(
        config: WorkerConfig,
        mut cycle: DutyCycle,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let stats = cycle.stats().to_vec();
        cycle.rehearses = config.rehearse && config.idle != Idle::Park;
        let name = config.name.clone();
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new().name(config.name.clone()).spawn(move || {
            if let Some(core) = config.core.filter(|&core| !pin(core)) {
                tracing::warn!(worker = %config.name, core, "could not be pinned to its core: the kernel moves it");
            }
            let mut empty = 0u32;
            let run = AssertUnwindSafe(|| {
                while !stop.load(Ordering::Acquire) {
                    match cycle.pass() {
                        Work::Done => empty = 0,
                        Work::Idle => {
                            empty = empty.saturating_add(1);
                            rest(config.idle, empty);
                        }
                    }
                }
            });
            let result = catch_unwind(run).map_err(|panic| stopped(&config.name, &*panic));
            stop.store(true, Ordering::Release);
            // Nobody may wait for it.
            let _ = done.send(result);
        })?;
        Ok(Self { name, stats, ended })
    }

    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counters of its stages, in polling order.
    pub fn stats(&self) -> &[Arc<StageStats>] {
        &self.stats
    }

    /// Waits for its end; an error is the text of a panic.
    pub async fn join(self) -> Result<(), String> {
        self.ended.await.unwrap_or_else(|_| Err("the worker died".to_owned()))
    }
}

/// How the end of a worker by a panic is told.
pub fn stopped(worker: &str, panic: &(dyn Any + Send)) -> String {
    format!("worker {worker} stopped by a panic: {}", panic_text(panic))
}

fn rest(idle: Idle, empty: u32) {
    match idle {
        Idle::Spin => std::hint::spin_loop(),
        Idle::Yield => std::thread::yield_now(),
        Idle::Park if empty < 64 => std::hint::spin_loop(),
        Idle::Park => std::thread::sleep(Duration::from_micros(50)),
    }
}

/// Pins the calling thread to a core. `false`: the core is not ours, or the kernel refused.
pub fn pin(core: usize) -> bool {
    given().iter().find(|id| id.id == core).copied().is_some_and(core_affinity::set_for_current)
}

/// From now on every thread of this process, those that are there and those that they start, runs on other cores than these:
/// the scheduler else puts a busy thread on the core of a worker that spins, and takes it away in the middle of a tick. Who
/// pins himself goes to his core all the same. `false`: no core would be left, or the kernel refused; nothing has changed then.
pub fn keep_off(cores: &[usize]) -> bool {
    let mut rest = CpuSet::new();
    let left: Vec<usize> = given().iter().map(|id| id.id).filter(|id| !cores.contains(id)).collect();
    left.iter().for_each(|&core| rest.set(core));
    if left.is_empty() || sched_setaffinity(None, &rest).is_err() {
        return false;
    }
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads {
        let id = thread.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        // One that has ended meanwhile needs no core.
        let _ = id.map(|id| sched_setaffinity(Some(id), &rest));
    }
    true
}

/// The cores that this process may run on, in the order in which workers take them. Core 0 comes last, because interrupts
/// and the kernel's own work like it; a second hardware thread of a core comes after every first one, because the two share
/// all that makes a core fast. From `first` on, where that is given, in the kernel's own order.
pub fn cores_in_order(first: Option<usize>) -> Vec<usize> {
    let ours: Vec<usize> = given().iter().map(|id| id.id).collect();
    match first {
        Some(first) => ours.into_iter().filter(|&core| core >= first).collect(),
        None => order(ours, hardware_threads),
    }
}

/// `siblings`: all hardware threads of the core that this one belongs to.
fn order(mut cores: Vec<usize>, siblings: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    cores.sort_unstable();
    // Core 0 is taken by others: its siblings are second threads.
    let mut taken = siblings(0);
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for &core in cores.iter().filter(|&&core| core != 0) {
        if taken.contains(&core) {
            seconds.push(core);
        } else {
            taken.extend(siblings(core));
            firsts.push(core);
        }
    }
    firsts.extend(seconds);
    firsts.extend(cores.into_iter().filter(|&core| core == 0));
    firsts
}

/// As Linux lists them (`0,4` or `0-1`); the thread alone where nothing is known.
fn hardware_threads(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let listed = |part: &str| -> Option<Vec<usize>> {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.parse().ok()?..=to.parse().ok()?).collect())
    };
    let found: Vec<usize> = text.trim().split(',').filter_map(listed).flatten().collect();
    if found.is_empty() { vec![core] } else { found }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Rx, Tx, ring};

    struct Source(Tx<u64>, u64);
    impl Stage for Source {
        fn name(&self) -> &'static str {
            "source"
        }
        fn poll(&mut self, _: u64) -> Work {
            Work::from(
                self.1 < 1000 && self.0.push(self.1).is_ok() && {
                    self.1 += 1;
                    true
                },
            )
        }
    }

    struct Sink(Rx<u64>, u64, Arc<AtomicBool>);
    impl Stage for Sink {
        fn name(&self) -> &'static str {
            "sink"
        }
        fn poll(&mut self, _: u64) -> Work {
            let Some(v) = self.0.pop() else { return Work::Idle };
            assert_eq!(v, self.1);
            self.1 += 1;
            if self.1 == 1000 {
                self.2.store(true, Ordering::Release);
            }
            Work::Done
        }
    }

    #[test]
    fn others_are_kept_off_a_core_that_its_worker_still_takes() {
        let all: Vec<usize> = given().iter().map(|id| id.id).collect();
        assert!(!keep_off(&all), "nothing would be left");
        let Some((&hot, rest)) = all.split_last().filter(|(_, rest)| !rest.is_empty()) else {
            println!("skipped: there is one core");
            return;
        };
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let may = |core| rustix::thread::sched_getaffinity(None).unwrap().is_set(core);
        let before = std::thread::spawn(move || wait.recv().map(|()| may(hot)).unwrap());
        assert!(keep_off(&[hot]));
        go.send(()).unwrap();
        assert!(!before.join().unwrap(), "a thread that was there");
        assert!(!std::thread::spawn(move || may(hot)).join().unwrap(), "a thread that comes later");
        assert!(std::thread::spawn(move || pin(hot) && may(hot)).join().unwrap(), "its worker");
        assert_eq!((available_cores(), may(rest[0])), (all.len(), true));
        assert!(keep_off(&[]) && may(hot));
    }

    fn start(stages: Vec<Box<dyn Stage>>, stop: &Arc<AtomicBool>) -> Worker {
        let config = WorkerConfig { name: "w".into(), core: None, idle: Idle::Yield, rehearse: true };
        Worker::start_thread(config, DutyCycle::new(stages, Clock::new()), Arc::clone(stop)).unwrap()
    }

    #[test]
    fn the_same_stages_run_fused_and_apart() {
        for apart in [false, true] {
            let stop = Arc::new(AtomicBool::new(false));
            let (tx, rx) = ring("source_sink", 8);
            let (source, sink): (Box<dyn Stage>, Box<dyn Stage>) =
                (Box::new(Source(tx, 0)), Box::new(Sink(rx, 0, Arc::clone(&stop))));
            let workers = if apart {
                vec![start(vec![source], &stop), start(vec![sink], &stop)]
            } else {
                vec![start(vec![source, sink], &stop)]
            };
            for w in workers {
                assert!(w.stats().iter().all(|s| s.worked() <= s.polls()));
                w.ended.blocking_recv().unwrap().unwrap();
            }
        }
    }

    #[test]
    fn core_0_comes_last_and_second_threads_after_first_ones() {
        // Two threads a core: 0 and 4, 1 and 5, …
        let pairs = |core: usize| vec![core % 4, core % 4 + 4];
        assert_eq!(order((0..8).collect(), pairs), [1, 2, 3, 4, 5, 6, 7, 0]);
        assert_eq!(order(vec![4, 5, 1], pairs), [1, 4, 5], "the sibling of core 0 is a second thread");
        let alone = |core: usize| vec![core];
        assert_eq!(order(vec![0, 1], alone), [1, 0]);
        assert_eq!(order(vec![0], alone), [0]);
        assert!(hardware_threads(usize::MAX).len() == 1, "an unknown core stands alone");
    }

    /// Says in which order it was called.
    struct Told(Vec<&'static str>, u32);
    impl Stage for Told {
        fn name(&self) -> &'static str {
            "told"
        }
        fn read(&mut self, _: u64) -> Work {
            self.0.push("read");
            Work::Idle
        }
        fn poll(&mut self, _: u64) -> Work {
            self.0.push("poll");
            Work::Idle
        }
        fn settle(&mut self, _: u64) -> Work {
            self.0.push("settle");
            Work::Idle
        }
        fn prepare(&mut self, _: u64) -> Work {
            self.0.push("prepare");
            self.1 = self.1.saturating_sub(1);
            Work::from(self.1 > 0)
        }
        fn rehearse(&mut self, _: u64) {
            self.0.push("rehearse");
        }
        fn housekeep(&mut self, _: u64) {
            self.0.push("housekeep");
            assert_eq!(
                self.0,
                ["read", "poll", "settle", "prepare", "read", "poll", "settle", "prepare", "housekeep"],
                "housekeeping waits for preparation"
            );
        }
    }

    #[test]
    fn preparation_comes_before_housekeeping_and_after_everything_else() {
        let time = Arc::new(crate::clock::SimulatedTime::default());
        time.set(HOUSEKEEP_IDLE_NS, 0);
        let clock = Clock::simulated(time);
        let mut cycle = DutyCycle::new(vec![Box::new(Told(vec![], 2))], clock);
        assert_eq!(cycle.pass(), Work::Done, "there is more to prepare");
        assert_eq!(cycle.pass(), Work::Idle);
    }

    /// Counts its rehearsals; busy in its first polls.
    struct Rehearses(Arc<AtomicU64>, u32);
    impl Stage for Rehearses {
        fn name(&self) -> &'static str {
            "rehearses"
        }
        fn poll(&mut self, _: u64) -> Work {
            self.1 = self.1.saturating_sub(1);
            Work::from(self.1 > 0)
        }
        fn rehearse(&mut self, _: u64) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn rehearsals_come_in_free_time_a_millisecond_apart_and_only_where_they_are_wanted() {
        for wanted in [false, true] {
            let (time, count) = (Arc::new(crate::clock::SimulatedTime::default()), Arc::default());
            let stage = Rehearses(Arc::clone(&count), 11);
            let mut cycle = DutyCycle::new(vec![Box::new(stage)], Clock::simulated(Arc::clone(&time)));
            cycle.rehearses = wanted;
            let mut at = |from: u64| {
                // Ten passes within a fifth of a millisecond.
                for i in 0..10 {
                    time.set(from + i * REHEARSE_NS / 50, 0);
                    let _ = cycle.pass();
                }
                count.load(Ordering::Relaxed)
            };
            assert_eq!(at(10 * REHEARSE_NS), 0, "it is busy");
            let each = u64::from(wanted);
            assert_eq!(
                [at(20 * REHEARSE_NS), at(21 * REHEARSE_NS), at(22 * REHEARSE_NS)],
                [each, 2 * each, 3 * each]
            );
        }
    }

    struct Bad;
    impl Stage for Bad {
        fn name(&self) -> &'static str {
            "bad"
        }
        fn poll(&mut self, _: u64) -> Work {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_panic_stops_everyone_and_is_told() {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = start(vec![Box::new(Bad)], &stop);
        let err = worker.ended.blocking_recv().unwrap().unwrap_err();
        assert!(err.contains("on purpose"), "{err}");
        assert!(stop.load(Ordering::Acquire));
    }
}
