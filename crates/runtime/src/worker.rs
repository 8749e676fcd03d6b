//! A worker: one thread, one core, one or more stages, one idle strategy.
//!
//! More spinning workers than free cores ruin every latency (five spinners on two cores: 36 ms a hop), so which
//! stages share a worker is a layout chosen by the number of cores, and a worker that shares its core yields.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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
    polls: AtomicU64,
    worked: AtomicU64,
    longest_ns: AtomicU64,
    last_poll_ns: AtomicU64,
}

impl StageStats {
    fn new(name: &'static str) -> Self {
        let zero = || AtomicU64::new(0);
        Self { name, polls: zero(), worked: zero(), longest_ns: zero(), last_poll_ns: zero() }
    }
    fn polled(&self, did: bool, end_ns: u64, took_ns: u64) {
        // One writer: the worker. Loads and stores need no read-modify-write.
        self.polls.store(self.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.last_poll_ns.store(end_ns, Ordering::Relaxed);
        if did {
            self.worked.store(self.worked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            if took_ns > self.longest_ns.load(Ordering::Relaxed) {
                self.longest_ns.store(took_ns, Ordering::Relaxed);
            }
        }
    }

    /// The stage's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Duty cycles run.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }
    /// Duty cycles that did something.
    pub fn worked(&self) -> u64 {
        self.worked.load(Ordering::Relaxed)
    }
    /// Longest duty cycle that did something, ns.
    pub fn longest_ns(&self) -> u64 {
        self.longest_ns.load(Ordering::Relaxed)
    }
    /// Monotonic time of the last poll: the stage's heartbeat.
    pub fn last_poll_ns(&self) -> u64 {
        self.last_poll_ns.load(Ordering::Relaxed)
    }
}

/// Between two rounds of housekeeping while there is nothing else to do.
const HOUSEKEEP_IDLE_NS: u64 = 1_000_000;
/// Housekeeping comes at least this often, whatever there is to do.
const HOUSEKEEP_LATEST_NS: u64 = 20_000_000;

/// How a worker is to run.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Thread name.
    pub name: String,
    /// Core to pin to, by its number in the machine's list.
    pub core: Option<usize>,
    /// Idle strategy.
    pub idle: Idle,
}

/// Number of cores that this process may run on.
pub fn available_cores() -> usize {
    core_affinity::get_core_ids().map_or(1, |ids| ids.len().max(1))
}

/// Stages that share a worker, and their counters: what a worker runs, whoever lends it the time.
pub struct DutyCycle {
    stages: Vec<Box<dyn Stage>>,
    stats: Vec<Arc<StageStats>>,
    clock: Clock,
    housekept_ns: u64,
}

impl DutyCycle {
    /// Of stages, polled in this order.
    pub fn new(stages: Vec<Box<dyn Stage>>, clock: Clock) -> Self {
        let stats = stages.iter().map(|s| Arc::new(StageStats::new(s.name()))).collect();
        Self { stages, stats, clock, housekept_ns: 0 }
    }

    /// Counters of the stages, in polling order.
    pub fn stats(&self) -> &[Arc<StageStats>] {
        &self.stats
    }

    /// Polls every stage once; housekeeping follows when nothing was there to do, or when it is overdue.
    pub fn pass(&mut self) -> Work {
        let mut worked = false;
        let mut now = self.clock.now_ns();
        for (stage, stats) in self.stages.iter_mut().zip(&self.stats) {
            let did = stage.poll(now) == Work::Done;
            let end = self.clock.now_ns();
            stats.polled(did, end, end.saturating_sub(now));
            worked |= did;
            now = end;
        }
        let since = now.saturating_sub(self.housekept_ns);
        if since >= HOUSEKEEP_LATEST_NS || (!worked && since >= HOUSEKEEP_IDLE_NS) {
            self.housekept_ns = now;
            self.stages.iter_mut().for_each(|stage| stage.housekeep(now));
        }
        Work::from(worked)
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
        let name = config.name.clone();
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new().name(config.name.clone()).spawn(move || {
            pin(config.core);
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

/// Pins the calling thread to a core, by its number in the machine's list.
pub fn pin(core: Option<usize>) {
    let Some(wanted) = core else { return };
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(id) = ids.get(wanted) {
        core_affinity::set_for_current(*id);
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

    fn start(stages: Vec<Box<dyn Stage>>, stop: &Arc<AtomicBool>) -> Worker {
        let config = WorkerConfig { name: "w".into(), core: None, idle: Idle::Yield };
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
