//! A worker: one thread, one core, one or more stages, one idle strategy.
//!
//! More spinning workers than free cores ruin every latency (five spinners on two cores: 36 ms a hop), so which
//! stages share a worker is a layout chosen by the number of cores, and a worker that shares its core yields.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;
use crate::environment::panic_text;
use crate::stage::{Stage, Work};

/// What a worker does when no stage found work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// A running worker.
pub struct Worker {
    name: String,
    thread: JoinHandle<Result<(), String>>,
    stats: Vec<Arc<StageStats>>,
}

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

impl Worker {
    /// Starts a thread that polls `stages` in order until `stop` is set. A stage that panics ends the worker and
    /// sets `stop`, so that the others end too; [`Self::join`] tells which it was.
    pub fn start(
        config: WorkerConfig,
        stages: Vec<Box<dyn Stage>>,
        clock: Clock,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let stats: Vec<_> = stages.iter().map(|s| Arc::new(StageStats::new(s.name()))).collect();
        let shared = stats.clone();
        let name = config.name.clone();
        let thread = std::thread::Builder::new().name(config.name.clone()).spawn(move || {
            pin(config.core);
            let mut duty = Duty { stages, stats: shared, clock, stop, idle: config.idle };
            let ended = catch_unwind(AssertUnwindSafe(|| duty.run()));
            duty.stop.store(true, Ordering::Release);
            ended.map_err(|panic| {
                format!("worker {} stopped by a panic: {}", config.name, panic_text(&*panic))
            })
        })?;
        Ok(Self { name, thread, stats })
    }

    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counters of its stages, in polling order.
    pub fn stats(&self) -> &[Arc<StageStats>] {
        &self.stats
    }

    /// Waits for the thread's end; an error is the text of a panic.
    pub fn join(self) -> Result<(), String> {
        self.thread.join().unwrap_or_else(|_| Err("worker thread died".to_owned()))
    }
}

struct Duty {
    stages: Vec<Box<dyn Stage>>,
    stats: Vec<Arc<StageStats>>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    idle: Idle,
}

impl Duty {
    fn run(&mut self) {
        let mut empty = 0u32;
        let mut now = self.clock.now_ns();
        while !self.stop.load(Ordering::Acquire) {
            let mut worked = false;
            for (stage, stats) in self.stages.iter_mut().zip(&self.stats) {
                let did = stage.poll(now) == Work::Done;
                stats.polls.store(stats.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                let end = self.clock.now_ns();
                stats.last_poll_ns.store(end, Ordering::Relaxed);
                if did {
                    stats.worked.store(stats.worked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    if end - now > stats.longest_ns.load(Ordering::Relaxed) {
                        stats.longest_ns.store(end - now, Ordering::Relaxed);
                    }
                    worked = true;
                }
                now = end;
            }
            if worked {
                empty = 0;
            } else {
                empty = empty.saturating_add(1);
                self.rest(empty);
                now = self.clock.now_ns();
            }
        }
    }

    fn rest(&self, empty: u32) {
        match self.idle {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Yield => std::thread::yield_now(),
            Idle::Park if empty < 64 => std::hint::spin_loop(),
            Idle::Park => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

fn pin(core: Option<usize>) {
    let Some(wanted) = core else { return };
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(id) = ids.get(wanted) {
        core_affinity::set_for_current(*id);
    }
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
        Worker::start(config, stages, Clock::new(), Arc::clone(stop)).unwrap()
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
                w.join().unwrap();
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
        let err = worker.join().unwrap_err();
        assert!(err.contains("on purpose"), "{err}");
        assert!(stop.load(Ordering::Acquire));
    }
}
