//! What the hot threads cost the system while a run is measured: allocations, system calls for bytes, switches, faults.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use node::topology::ExtraStage;
use runtime::counting_alloc;
use runtime::stage::{Stage, Work};
use serde::{Deserialize, Serialize};

/// A stage that is polled beside the others of a worker: it says which thread that is, and what it has allocated.
struct Watcher(Arc<Watched>);

/// What a [`Watcher`] tells.
#[derive(Debug, Default)]
pub struct Watched {
    worker: &'static str,
    thread: AtomicU64,
    allocations: AtomicU64,
}

impl Stage for Watcher {
    fn name(&self) -> &'static str {
        "watcher"
    }

    fn poll(&mut self, _now_ns: u64) -> Work {
        self.0.allocations.store(counting_alloc::so_far(), Ordering::Relaxed);
        if self.0.thread.load(Ordering::Relaxed) == 0 {
            let this = fs::read_link("/proc/thread-self").unwrap_or_default();
            let number = this.file_name().and_then(|n| n.to_str()?.parse().ok());
            self.0.thread.store(number.unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        Work::Idle
    }
}

/// A watcher for a worker.
pub fn watcher(worker: &'static str) -> (ExtraStage, Arc<Watched>) {
    let watched = Arc::new(Watched { worker, ..Watched::default() });
    (ExtraStage { worker, stage: Box::new(Watcher(Arc::clone(&watched))) }, watched)
}

/// Counts of a thread; `None`: the system does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// The worker.
    pub worker: String,
    /// Allocations and reallocations.
    pub allocations: u64,
    /// `read` and `write` calls on files; the sockets' calls are not among them.
    pub file_calls: Option<u64>,
    /// Times it gave the core away (`sched_yield` counts where another thread took it).
    pub voluntary_switches: Option<u64>,
    /// Times the core was taken from it.
    pub involuntary_switches: Option<u64>,
    /// Page faults without and with the disk.
    pub page_faults: Option<u64>,
    /// Time ready and not running, ns.
    pub waited_ns: Option<u64>,
}

impl Watched {
    /// As they stand now.
    pub fn read(&self) -> Counts {
        let thread = self.thread.load(Ordering::Relaxed);
        let at = Path::new("/proc/self/task").join(thread.to_string());
        let file = |name: &str| fs::read_to_string(at.join(name)).unwrap_or_default();
        let (status, io, stat, schedule) = (file("status"), file("io"), file("stat"), file("schedstat"));
        let both = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        // Behind the name in brackets, which may hold blanks: state is the third field, faults the tenth and twelfth.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |n: usize| fields.get(n - 3)?.parse().ok();
        Counts {
            worker: self.worker.to_owned(),
            allocations: self.allocations.load(Ordering::Relaxed),
            file_calls: both(named(&io, "syscr:"), named(&io, "syscw:")),
            voluntary_switches: named(&status, "voluntary_ctxt_switches:"),
            involuntary_switches: named(&status, "nonvoluntary_ctxt_switches:"),
            page_faults: both(field(10), field(12)),
            waited_ns: schedule.split_whitespace().nth(1).and_then(|n| n.parse().ok()),
        }
    }
}

fn named(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name))?.trim().parse().ok()
}

impl Counts {
    /// What came since.
    pub fn since(&self, before: &Self) -> Self {
        let less = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_sub(b?));
        Self {
            worker: self.worker.clone(),
            allocations: self.allocations.saturating_sub(before.allocations),
            file_calls: less(self.file_calls, before.file_calls),
            voluntary_switches: less(self.voluntary_switches, before.voluntary_switches),
            involuntary_switches: less(self.involuntary_switches, before.involuntary_switches),
            page_faults: less(self.page_faults, before.page_faults),
            waited_ns: less(self.waited_ns, before.waited_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_tells_its_number_and_its_counts_grow() {
        let watched = Arc::new(Watched { worker: "hot", ..Watched::default() });
        let mut watcher = Watcher(Arc::clone(&watched));
        watcher.poll(0);
        assert!(watched.thread.load(Ordering::Relaxed) > 0);
        let before = watched.read();
        (0..10).for_each(|_| drop(fs::read_to_string("/proc/self/stat")));
        let since = watched.read().since(&before);
        assert_eq!(since.worker, "hot");
        // Containers may hide `io`; where it shows, reading files shows in it.
        assert!(since.file_calls.is_none_or(|n| n >= 10), "{since:?}");
        assert!(before.page_faults.is_some(), "{before:?}");
    }
}
