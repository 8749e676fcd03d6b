//! Who may trade: the lease of the role alpha (`memory::Lease`), and the fence that its holder acts behind.
//!
//! The fence is a deadline on the monotonic clock, in one atomic that everybody who sends anything to the venue reads:
//! the gateway before each request, the control thread before each errand. It is moved on by each beat that memory
//! confirmed, and passes by itself when none does, before anybody else may take the lease. So a process that was frozen,
//! or cannot reach memory, sends nothing from then on, whatever its threads believe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use market::Nanos;
use memory::{Lease, LeaseState};
use runtime::clock::Clock;
use serde::Serialize;
use tokio::sync::watch;

/// Until when this process may send to the venue, ns of its monotonic clock.
#[derive(Debug, Clone)]
pub struct Fence(Arc<AtomicU64>);

impl Fence {
    /// For a node that shares its account with nobody: always open.
    pub fn open() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// Shut until a lease is held.
    pub fn shut() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// May something be sent at `now_ns`? One load.
    #[inline]
    pub fn is_open(&self, now_ns: u64) -> bool {
        now_ns < self.0.load(Ordering::Acquire)
    }

    fn set(&self, until: u64) {
        self.0.store(until, Ordering::Release);
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

/// Part of the time to live by which the fence closes early: a request may be on its way to the venue when it does.
const MARGIN: u32 = 8;

/// Beats and watches, on memory's thread, until it is told to stop: then it gives the lease up.
pub async fn keep(
    mut lease: Lease,
    ttl: Duration,
    owner: String,
    clock: Clock,
    fence: Fence,
    view: watch::Sender<LeaseView>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told_error = false;
    while !*stop.borrow() {
        let ticked = lease.tick(clock.wall_ns() / Nanos::MS).await;
        if let Some(remaining) = lease.remaining().and_then(|r| r.checked_sub(ttl / MARGIN)) {
            let remaining = u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX);
            fence.set(clock.now_ns().saturating_add(remaining));
        }
        match ticked {
            Ok(LeaseState::Held { fence: number }) => {
                told_error = false;
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

    use super::*;

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
            let task =
                tokio::spawn(keep(lease, ttl, owner.into(), clock.clone(), fence.clone(), view, stopped));
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
