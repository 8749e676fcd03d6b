//! Who may trade: the lease of the role alpha (`memory::Lease`), and the fence that its holder acts behind.
//!
//! The fence is a deadline on the monotonic clock, in one atomic that everybody who sends anything to the venue reads:
//! the gateway before each request, the control thread before each errand. It is moved on by each beat that memory
//! confirmed, and passes by itself when none does, before anybody else may take the lease. So a process that was frozen,
//! or cannot reach memory, sends nothing from then on, whatever its threads believe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use market::Nanos;
use memory::{Lease, LeaseState};
use runtime::clock::Clock;
use serde::Serialize;
use tokio::sync::watch;

/// Until when this process may send to the venue, ns of its monotonic clock, and the number of the lease that says so.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Inner>);

/// The first nanosecond of 1970: long passed.
const DRY: u64 = 1;

#[derive(Debug)]
struct Inner {
    until: AtomicU64,
    /// 0: no lease has been held.
    number: AtomicU64,
}

impl Fence {
    /// For a node that shares its account with nobody: always open.
    pub fn open() -> Self {
        Self::with(u64::MAX)
    }

    /// Shut until a lease is held.
    pub fn shut() -> Self {
        Self::with(0)
    }

    /// For a run that is to send nothing: never open, and never lost.
    pub fn dry() -> Self {
        Self::with(DRY)
    }

    /// Is it one that never opens?
    pub fn is_dry(&self) -> bool {
        self.0.until.load(Ordering::Acquire) == DRY
    }

    fn with(until: u64) -> Self {
        Self(Arc::new(Inner { until: AtomicU64::new(until), number: AtomicU64::new(0) }))
    }

    /// Is the lease certainly not ours any more: somebody else has it, or it was given up? A fence that has only passed may
    /// open again, when memory answers and says that nobody took the lease meanwhile.
    pub fn is_lost(&self) -> bool {
        self.0.until.load(Ordering::Acquire) == 0
    }

    /// The number of the lease as it was last confirmed: what is written to memory carries it.
    pub fn number(&self) -> Option<u64> {
        Some(self.0.number.load(Ordering::Acquire)).filter(|number| *number != 0)
    }

    /// May something be sent at `now_ns`? One load.
    #[inline]
    pub fn is_open(&self, now_ns: u64) -> bool {
        now_ns < self.0.until.load(Ordering::Acquire)
    }

    /// When it shuts by itself (monotonic); `None`: never, there is no lease to keep.
    pub fn until(&self) -> Option<Nanos> {
        let until = self.0.until.load(Ordering::Acquire);
        (until != u64::MAX).then_some(Nanos(until))
    }

    /// How long a request that is sent now may be on its way to the venue, ms: `most_ms`, and no longer than the lease
    /// lasts, the error of our clock (ns) taken off. 0: it is too late.
    pub fn window_ms(&self, now_ns: u64, clock_error_ns: u64, most_ms: u32) -> u32 {
        let Some(until) = self.until() else { return most_ms };
        let left = until.0.saturating_sub(now_ns).saturating_sub(clock_error_ns) / Nanos::MS;
        most_ms.min(u32::try_from(left).unwrap_or(u32::MAX))
    }

    fn set(&self, until: u64) {
        self.0.until.store(until, Ordering::Release);
    }

    /// The lease is held under this number; whoever sees the fence open sees the number.
    fn hold(&self, number: u64, until: u64) {
        self.0.number.store(number, Ordering::Release);
        self.set(until);
    }
}

/// Where the lease stands, for people and for the standby.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LeaseView {
    /// `held`, `standby`, `unknown` (memory has not been asked yet, or does not answer).
    pub state: &'static str,
    /// Its number, while it is ours: higher than every holder's before.
    pub fence: Option<u64>,
    /// Who has it, as far as is known.
    pub holder: String,
}

/// Beats and watches, on memory's thread, until it is told to stop: then it gives the lease up.
pub async fn keep(
    mut lease: Lease,
    owner: String,
    clock: Clock,
    fence: Fence,
    view: watch::Sender<LeaseView>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told_error = false;
    while !*stop.borrow() {
        let ticked = lease.tick(clock.wall_ns() / Nanos::MS).await;
        match ticked {
            Ok(LeaseState::Held { fence: number }) => {
                told_error = false;
                let remaining = lease.remaining().unwrap_or_default();
                let remaining = u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX);
                // Never 0, which says that it is lost.
                fence.hold(number, clock.now_ns().saturating_add(remaining).max(DRY + 1));
                view.send_replace(LeaseView { state: "held", fence: Some(number), holder: owner.clone() });
            }
            Ok(LeaseState::Standby { holder }) => {
                told_error = false;
                fence.set(0);
                view.send_replace(LeaseView { state: "standby", fence: None, holder });
            }
            Err(error) => {
                if !std::mem::replace(&mut told_error, true) {
                    tracing::warn!(%error, "the lease cannot be confirmed");
                }
                if lease.fence().is_none() {
                    view.send_modify(|v| (v.state, v.fence) = ("unknown", None));
                }
            }
        }
        let _ = tokio::time::timeout(lease.interval(), stop.wait_for(|stop| *stop)).await;
    }
    fence.set(0);
    if let Err(error) = lease.release().await {
        tracing::debug!(%error, "the lease runs out by itself");
    }
}

#[cfg(test)]
mod tests {
    use memory::{EmbeddedConfig, LeaseConfig, MemoryConfig, MemoryEnvironment, SystemMemory};

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_lives_no_longer_than_the_lease_less_the_error_of_the_clock() {
        let (fence, ms) = (Fence::shut(), Nanos::MS);
        fence.set(10_000 * ms);
        assert_eq!(fence.until(), Some(Nanos(10_000 * ms)));
        assert_eq!(fence.window_ms(6_000 * ms, 20 * ms, 2_000), 2_000);
        assert_eq!(fence.window_ms(9_000 * ms, 20 * ms, 2_000), 980);
        assert_eq!(fence.window_ms(9_000 * ms + 1, 0, 2_000), 999, "never rounded up");
        assert_eq!(fence.window_ms(9_990 * ms, 20 * ms, 2_000), 0);
        assert_eq!(fence.window_ms(11_000 * ms, 0, 2_000), 0);
        assert_eq!((Fence::open().until(), Fence::open().window_ms(1, 2, 2_000)), (None, 2_000));
    }

    #[tokio::test]
    async fn the_fence_follows_the_lease_and_shuts_when_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory");
        let memory = SystemMemory::open(
            MemoryConfig::Embedded(EmbeddedConfig::at(path)),
            &MemoryEnvironment::system(),
        )
        .unwrap();
        let clock = Clock::new();
        let ttl = Duration::from_secs(60);
        let start = |owner: &str| {
            let config = LeaseConfig {
                key: "alpha_test".into(),
                owner: owner.into(),
                identity: owner.len() as u64 + u64::from(owner.as_bytes()[0]),
                ttl,
                kill: None,
            };
            let lease = Lease::new(memory.clone(), config).unwrap();
            let fence = Fence::shut();
            let (view, seen) = watch::channel(LeaseView::default());
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(keep(lease, owner.into(), clock.clone(), fence.clone(), view, stopped));
            (fence, seen, stop, task)
        };
        let (fence, mut seen, stop, task) = start("a");
        seen.wait_for(|v| v.state == "held").await.unwrap();
        let now = clock.now_ns();
        assert!(
            fence.is_open(now) && !fence.is_open(now + 60_000_000_000),
            "open, but not for the whole time"
        );
        let (other_fence, mut other, _other_stop, _other_task) = start("b");
        other.wait_for(|v| v.state == "standby" && v.holder == "a").await.unwrap();
        assert!(!other_fence.is_open(clock.now_ns()));
        stop.send_replace(true);
        task.await.unwrap();
        assert!(!fence.is_open(clock.now_ns()));
        assert!(Fence::open().is_open(u64::MAX - 1));
    }
}
