//! Who may trade: the lease of the role alpha (`memory::Lease`), and the fence that its holder acts behind.
//!
//! The fence is a deadline on the monotonic clock, in one atomic that everybody who sends anything to the venue reads:
//! the gateway before each request, the control thread before each of its own. It is moved on by each beat that memory
//! confirmed, and passes by itself when none does, before anybody else may take the lease. So a process that was frozen,
//! or cannot reach memory, sends nothing from then on, whatever its threads believe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use market::Nanos;
use memory::schema::{CONTROL, Deployment, Kill, Reading, RearmOrder};
use memory::{KillState, Lease, LeaseState, MemoryError, SystemMemory, WriteBehind};
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

/// Where the lease stands, for people and for who waits for it; and what operators have ordered in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LeaseView {
    /// `held`, `standby`, `unknown` (memory has not been asked yet, or does not answer).
    pub state: &'static str,
    /// Its number, while it is ours: higher than every holder's before.
    pub fence: Option<u64>,
    /// Who has it, as far as is known.
    pub holder: String,
    /// Has the holder given a sign of life while we watched?
    #[serde(skip)]
    pub lives: bool,
    /// From then on nothing that a holder before us sent can arrive at the venue (our clock).
    #[serde(skip)]
    pub alone_from: Option<Nanos>,
    /// The newest kill of the deployment, in force or taken back.
    #[serde(skip)]
    pub kill: Option<Kill>,
    /// The newest order to let trading go on.
    #[serde(skip)]
    pub rearm: Option<RearmOrder>,
}

impl LeaseView {
    /// The kill that bars everybody of the deployment.
    pub fn killed(&self) -> Option<&Kill> {
        self.kill.as_ref().filter(|kill| kill.in_force())
    }
}

/// Whose lease is kept, and how.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Name for people.
    pub owner: String,
    /// Whose.
    pub deployment: Deployment,
    /// Nobody stands by (role all): memory that is away shuts nothing (SPEC §12, 5), and the lease is lost only when memory
    /// says that it is somebody else's.
    pub alone: bool,
    /// For how long a request to the venue is valid at most, and the largest error of our idea of the venue's time.
    pub late: (Duration, Duration),
    /// A kill that this machine knows of: it holds until memory shows it taken back, or a later one.
    pub known: Option<Kill>,
}

/// Beats and watches, on memory's thread, until it is told to stop: then it gives the lease up.
pub struct Keeper {
    lease: Lease,
    memory: SystemMemory,
    writes: WriteBehind,
    keeping: Keeping,
    clock: Clock,
    fence: Fence,
    view: watch::Sender<LeaseView>,
    told_error: bool,
}

impl Keeper {
    /// A keeper that has not asked yet. The receiver shows how it stands.
    pub fn new(
        lease: Lease,
        (memory, writes): (SystemMemory, WriteBehind),
        keeping: Keeping,
        clock: Clock,
        fence: Fence,
    ) -> (Self, watch::Receiver<LeaseView>) {
        let kill = keeping.known.clone();
        let (view, seen) = watch::channel(LeaseView { state: "unknown", kill, ..LeaseView::default() });
        (Self { lease, memory, writes, keeping, clock, fence, view, told_error: false }, seen)
    }

    /// Until `stop`.
    pub async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            // Somebody has written under a larger number. Is the record ours all the same, so that he is gone and his record
            // is lost, as after a split of memory, the next beat outbids it.
            if let Some(newer) = self.writes.passed_on(self.lease.key()) {
                self.lease.outbid(newer);
            }
            let ticked = self.lease.tick(self.clock.wall_ns() / Nanos::MS).await;
            match ticked {
                Ok(state) => {
                    self.told_error = false;
                    self.orders().await;
                    self.stands(state);
                    if self.lease.is_lost() {
                        break; // For good: who asks for it again is another process, which reads what there is.
                    }
                }
                Err(error) => self.unanswered(&error),
            }
            let told = tokio::time::timeout(self.lease.interval(), stop.wait_for(|stop| *stop)).await;
            if matches!(told, Ok(Err(_))) {
                break; // Nobody is left who could tell.
            }
        }
        self.fence.set(0);
        if let Err(error) = self.lease.release().await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }

    fn unanswered(&mut self, error: &MemoryError) {
        if !std::mem::replace(&mut self.told_error, true) {
            tracing::warn!(%error, "the lease cannot be confirmed");
        }
        if self.lease.fence().is_none() {
            self.view.send_modify(|v| (v.state, v.fence) = ("unknown", None));
        }
    }

    /// What is ordered: a kill that is known here and that memory has lost is ordered again (docs/lease.md).
    async fn orders(&mut self) {
        let mut kill = newest(self.lease.kill());
        if let Some(known) = &self.keeping.known
            && !kill.as_ref().is_some_and(|kill| kill.settles(known))
        {
            let restated = memory::restate_kill(&self.memory, self.keeping.deployment, known).await;
            kill = restated.ok().as_ref().and_then(newest).or_else(|| Some(known.clone()));
        }
        self.keeping.known = kill.clone().filter(Kill::in_force);
        let key = self.keeping.deployment.rearm_key();
        let rearm = match self.memory.read::<RearmOrder>(CONTROL, key).await {
            Ok(Reading::Value(order)) => Some(order),
            _ => self.view.borrow().rearm.clone(),
        };
        self.view.send_if_modified(|view| {
            let news = (&view.kill, &view.rearm) != (&kill, &rearm);
            (view.kill, view.rearm) = (kill, rearm);
            news
        });
    }

    fn stands(&mut self, state: LeaseState) {
        let now = self.clock.now_ns();
        match state {
            LeaseState::Held { fence: number } => {
                let remaining = self.lease.remaining().unwrap_or_default();
                let remaining = u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX);
                // Never 0, which says that it is lost.
                let until =
                    if self.keeping.alone { u64::MAX } else { now.saturating_add(remaining).max(DRY + 1) };
                self.fence.hold(number, until);
                self.writes.go_on(&memory::Fence { lease: self.lease.key().to_owned(), number });
                let (window, error) = self.keeping.late;
                // Who holds it alone may have gone on sending until we took it.
                let wait = if self.keeping.alone {
                    Some(window + error)
                } else {
                    self.lease.unsettled(window, error)
                };
                let wait =
                    wait.map(|wait| Nanos(now).plus(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 4)));
                self.view.send_modify(|v| {
                    v.alone_from = v.alone_from.filter(|_| v.state == "held").or(wait);
                    (v.state, v.fence, v.lives) = ("held", Some(number), false);
                    v.holder.clone_from(&self.keeping.owner);
                });
            }
            LeaseState::Standby { holder } => {
                let ours = holder.is_empty() || holder == self.keeping.owner;
                // A record that is gone, or that a kill keeps from being renewed, is nobody else's.
                if self.lease.is_lost() || !(self.keeping.alone && ours) {
                    self.fence.set(0);
                }
                let lives = self.lease.rival_lives();
                self.view.send_modify(|v| {
                    (v.state, v.fence, v.holder, v.lives) = ("standby", None, holder, lives);
                });
            }
        }
    }
}

/// What memory says about the kill, in force or not.
fn newest(state: &KillState) -> Option<Kill> {
    match state {
        KillState::Value(kill) => Some(kill.clone()),
        other => other.force(),
    }
}

#[cfg(test)]
mod tests {
    use memory::{EmbeddedConfig, LeaseConfig, MemoryConfig, MemoryEnvironment};

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

    /// A keeper of a lease that somebody asks for.
    struct Kept {
        fence: Fence,
        view: watch::Receiver<LeaseView>,
        writes: WriteBehind,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    fn keep(memory: &SystemMemory, owner: &str, ttl: Duration) -> Kept {
        let config = LeaseConfig {
            key: "alpha_test".into(),
            owner: owner.into(),
            identity: owner.len() as u64 + u64::from(owner.as_bytes()[0]),
            ttl,
            kill: None,
        };
        let lease = Lease::new(memory.clone(), config).unwrap();
        let (fence, writes) = (Fence::shut(), WriteBehind::start(memory));
        let (stop, stopped) = watch::channel(false);
        let (deployment, late) = (Deployment::Blue, (ttl, ttl));
        let keeping = Keeping { owner: owner.into(), deployment, alone: false, late, known: None };
        let memory = (memory.clone(), writes.clone());
        let (keeper, view) = Keeper::new(lease, memory, keeping, Clock::new(), fence.clone());
        Kept { fence, view, writes, stop, task: tokio::spawn(keeper.keep(stopped)) }
    }

    fn open(folder: &tempfile::TempDir) -> SystemMemory {
        let config = MemoryConfig::Embedded(EmbeddedConfig::at(folder.path().join("memory")));
        SystemMemory::open(config, &MemoryEnvironment::system()).unwrap()
    }

    #[tokio::test]
    async fn the_fence_follows_the_lease_and_shuts_when_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, clock, ttl) = (open(&folder), Clock::new(), Duration::from_secs(60));
        let mut a = keep(&memory, "a", ttl);
        a.view.wait_for(|v| v.state == "held").await.unwrap();
        let now = clock.now_ns();
        assert!(
            a.fence.is_open(now) && !a.fence.is_open(now + 60_000_000_000),
            "open, but not for the whole time"
        );
        let mut b = keep(&memory, "b", ttl);
        b.view.wait_for(|v| v.state == "standby" && v.holder == "a").await.unwrap();
        assert!(!b.fence.is_open(clock.now_ns()));
        a.stop.send_replace(true);
        a.task.await.unwrap();
        assert!(!a.fence.is_open(clock.now_ns()));
        assert!(Fence::open().is_open(u64::MAX - 1));
    }

    /// As after a split of memory: the record is ours, and a value carries the larger number of the other half's holder.
    /// Seen: nothing was written any more.
    #[tokio::test]
    async fn who_has_written_behind_our_back_is_outbid_and_what_was_refused_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let memory = open(&folder);
        let mut a = keep(&memory, "a", Duration::from_secs(3));
        a.view.wait_for(|v| v.state == "held").await.unwrap();
        let number = a.fence.number().unwrap();
        let theirs = format!("{{\"fence\":{},\"n\":1}}", number + 7);
        memory.put("STATE", "a trade", &theirs).await.unwrap();
        let fence = memory::Fence { lease: "alpha_test".into(), number };
        a.writes.put_fenced("STATE", "a trade", r#"{"n":2}"#.into(), &fence).unwrap();
        assert!(a.writes.flush(Duration::from_secs(10)).await);
        assert_eq!(memory.get("STATE", "a trade").await.unwrap(), Some(theirs), "refused");
        a.view.wait_for(|v| v.fence.is_some_and(|raised| raised > number + 7)).await.unwrap();
        let raised = a.fence.number().unwrap();
        let written = async {
            while a.writes.passed_on("alpha_test").is_some() || !a.writes.flush(Duration::from_secs(1)).await
            {
            }
        };
        tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
        let ours = format!("{{\"fence\":{raised},\"n\":2}}");
        assert_eq!(memory.get("STATE", "a trade").await.unwrap(), Some(ours));
    }
}
