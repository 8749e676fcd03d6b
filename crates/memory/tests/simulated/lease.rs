//! The rules of docs/lease.md, each on the lease itself, in simulated time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use market::Nanos;
use memory::schema::{CONTROL, Deployment, FromMemory, LEASES, LeaseRecord, Rearm};
use memory::{
    Fence, KillOrder, KillSeen, KillState, Lease, LeaseConfig, LeaseState, MemoryError, SystemMemory, Write,
    order_kill, read_kill, rearm, restate_kill, wait_for_kill_seen,
};
use tokio::time::Instant;

use super::cluster::{Cells, Link};
use super::embedded;
use super::surroundings::{SimulatedDisk, simulate};

const TTL: Duration = Duration::from_secs(3);
const MARGIN: Duration = Duration::from_millis(375);

fn lease(memory: &SystemMemory, owner: &str, identity: u64) -> Lease {
    let config = LeaseConfig {
        key: "alpha_blue".into(),
        owner: owner.into(),
        identity,
        ttl: TTL,
        kill: Some(Deployment::Blue.kill_key()),
    };
    Lease::new(memory.clone(), config).unwrap()
}

struct Node {
    link: Arc<Link>,
    lease: Lease,
}

impl Node {
    fn new(cells: &Arc<Cells>, owner: &str, identity: u64) -> Self {
        let link = Link::to(cells);
        link.delay_ms.store(4, Ordering::Relaxed);
        Self { lease: lease(&link.memory(), owner, identity), link }
    }

    /// Ticks until it holds the lease; how long that took.
    async fn takes(&mut self) -> Duration {
        let begun = Instant::now();
        while !matches!(self.lease.tick(1).await, Ok(LeaseState::Held { .. })) {
            assert!(begun.elapsed() < 10 * TTL, "it never takes the lease");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }
}

fn standby(holder: &str) -> Result<LeaseState, MemoryError> {
    Ok(LeaseState::Standby { holder: holder.into() })
}

fn simulated(test: impl Future<Output = ()>) {
    simulate(test);
}

#[test]
fn our_name_with_another_number_is_not_ours() {
    simulated(async {
        let cells = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "host_1", 7), Node::new(&cells, "host_1", 8));
        a.takes().await;
        assert_eq!(b.lease.tick(1).await, standby("host_1"));
        let taken = b.takes().await;
        assert!(taken >= TTL, "taken from its namesake after {taken:?}");
    });
}

#[test]
fn the_holder_stops_before_anybody_may_take_it() {
    simulated(async {
        let cells = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "a", 1), Node::new(&cells, "b", 2));
        a.takes().await;
        let (since, mut ended) = (Instant::now(), None);
        a.link.cut.store(true, Ordering::Relaxed);
        loop {
            let taken = matches!(b.lease.tick(1).await, Ok(LeaseState::Held { .. }));
            if a.lease.remaining().is_none() && ended.is_none() {
                ended = Some(Instant::now());
                assert!(since.elapsed() <= TTL - MARGIN, "{:?}", since.elapsed());
            }
            if taken {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = ended.expect("it has ended by then").elapsed();
        assert!(before >= MARGIN, "only {before:?} between the end of one and the beginning of the other");
        // It ran out, so nothing of it is valid any more but for the error of the clocks.
        let (window, error) = (Duration::from_secs(1), Duration::from_millis(200));
        assert!(b.lease.unsettled(window, error).unwrap() <= error);
        assert_eq!(a.lease.unsettled(window, error), None);
    });
}

#[test]
fn the_time_to_live_counts_from_before_the_beat() {
    simulated(async {
        let mut a = Node::new(&Arc::default(), "a", 1);
        a.takes().await;
        a.link.delay_ms.store(800, Ordering::Relaxed);
        a.lease.tick(1).await.unwrap();
        // The swap and the reading of the kill took 0.8 s each.
        let left = a.lease.remaining().unwrap();
        assert!(left <= TTL - MARGIN - Duration::from_millis(1_600), "{left:?}");
    });
}

#[test]
fn what_is_given_up_is_taken_at_once_and_settles_late() {
    simulated(async {
        let cells = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "a", 1), Node::new(&cells, "b", 2));
        a.takes().await;
        a.lease.release().await.unwrap();
        assert!(b.takes().await < Duration::from_millis(100));
        let (window, error) = (Duration::from_secs(1), Duration::from_millis(200));
        let wait = b.lease.unsettled(window, error).unwrap();
        assert!(wait > Duration::from_millis(1_100) && wait <= window + error, "{wait:?}");
        tokio::time::sleep(wait).await;
        assert_eq!(b.lease.unsettled(window, error), Some(Duration::ZERO));
    });
}

#[test]
fn a_record_that_is_not_there_is_waited_for() {
    simulated(async {
        let cells: Arc<Cells> = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "a", 1), Node::new(&cells, "b", 2));
        assert!(a.takes().await >= TTL, "the very first");
        cells.forget();
        assert!(a.lease.fence().is_some(), "the holder may act on");
        assert_eq!(b.lease.tick(1).await, standby(""));
        assert!(b.takes().await >= TTL - MARGIN);
        assert_eq!(a.lease.fence(), None);
    });
}

#[test]
fn lost_answers_and_a_short_outage_cost_nobody_the_lease() {
    simulated(async {
        let cells = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "a", 1), Node::new(&cells, "b", 2));
        a.takes().await;
        let fence = a.lease.fence();
        for round in 0..30 {
            a.link.lose_answers.store(u32::from(round % 2 == 0), Ordering::Relaxed);
            a.lease.tick(1).await.ok();
            assert_eq!(b.lease.tick(1).await, standby("a"));
            tokio::time::sleep(a.lease.interval() - Duration::from_millis(100)).await;
            assert_eq!(a.lease.fence(), fence, "round {round}");
        }
        // Memory is away for longer than the lease lives: it is over, and nobody else has it either, so it goes on.
        for node in [&a, &b] {
            node.link.cut.store(true, Ordering::Relaxed);
        }
        let since = Instant::now();
        while since.elapsed() < TTL {
            assert!(a.lease.tick(1).await.is_err() && b.lease.tick(1).await.is_err());
        }
        assert_eq!(a.lease.fence(), None);
        for node in [&a, &b] {
            node.link.cut.store(false, Ordering::Relaxed);
        }
        assert!(a.takes().await < Duration::from_millis(100), "the record is ours still");
        assert!(a.lease.fence() > fence);
    });
}

fn kill_order(id: u64, flatten: bool) -> KillOrder {
    KillOrder {
        id,
        at: Nanos(1_618_099_205_000_000_000),
        reason: "drawdown".into(),
        flatten,
        by: "anna".into(),
    }
}

fn taken_back() -> Rearm {
    Rearm { at: Nanos(1_618_099_305_000_000_000), reason: "checked".into(), by: "bert".into() }
}

#[test]
fn a_kill_is_seen_by_the_holder_and_bars_everybody() {
    simulated(async {
        let cells: Arc<Cells> = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "a", 1), Node::new(&cells, "b", 2));
        let operator = Link::to(&cells).memory();
        a.takes().await;
        assert!(!a.lease.kill().in_force());
        let kill = order_kill(&operator, Deployment::Blue, &kill_order(9, true)).await.unwrap();
        assert_eq!((kill.number, kill.in_force(), kill.flatten), (1, true, true));
        a.lease.tick(1).await.unwrap();
        assert!(a.lease.kill().in_force() && a.lease.fence().is_some(), "it may still cancel and close");
        // The record says that it was seen, one beat later.
        let seen = async { wait_for_kill_seen(&operator, "alpha_blue", kill.number, TTL).await.unwrap() };
        let beats = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            a.lease.tick(1).await.unwrap();
        };
        assert_eq!(tokio::join!(seen, beats).0, KillSeen::By("a".into()));
        a.lease.release().await.unwrap();
        for _ in 0..600 {
            assert_eq!(b.lease.tick(1).await, standby(""));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(b.lease.kill().in_force());
        assert_eq!(
            wait_for_kill_seen(&operator, "alpha_blue", kill.number, TTL).await,
            Ok(KillSeen::NobodyHolds)
        );
        let kill = rearm(&operator, Deployment::Blue, &taken_back()).await.unwrap().unwrap();
        assert!(!kill.in_force());
        assert_eq!(
            rearm(&operator, Deployment::Blue, &taken_back()).await.unwrap(),
            Some(kill),
            "said twice"
        );
        b.takes().await;
        let second = order_kill(&operator, Deployment::Blue, &kill_order(10, false)).await.unwrap();
        assert_eq!((second.number, second.flatten), (2, false));
        // A kill upon a kill: the stricter of the two.
        order_kill(&operator, Deployment::Blue, &kill_order(11, true)).await.unwrap();
        let third = order_kill(&operator, Deployment::Blue, &kill_order(12, false)).await.unwrap();
        assert_eq!((third.number, third.flatten), (4, true));
        assert_eq!(read_kill(&operator, Deployment::Green).await, Ok(KillState::Absent));
    });
}

/// The kill falls between the last look of a standby and its taking of the lease.
#[test]
fn a_kill_that_comes_while_the_lease_is_taken_is_seen() {
    simulated(async {
        let cells: Arc<Cells> = Arc::default();
        let (mut a, mut b) = (Node::new(&cells, "a", 1), Node::new(&cells, "b", 2));
        let operator = Link::to(&cells).memory();
        a.takes().await;
        a.lease.release().await.unwrap();
        b.link.delay_ms.store(100, Ordering::Relaxed);
        // 0…100 ms: the record; …200: the kill; …300: the taking; …400: the kill again.
        let kill = async {
            tokio::time::sleep(Duration::from_millis(260)).await;
            order_kill(&operator, Deployment::Blue, &kill_order(1, false)).await.unwrap();
        };
        let (state, ()) = tokio::join!(b.lease.tick(1), kill);
        assert!(matches!(state, Ok(LeaseState::Held { .. })));
        assert!(b.lease.kill().in_force(), "it holds the lease, and must open nothing");
    });
}

#[test]
fn what_makes_no_sense_is_a_kill_and_a_lost_one_is_written_again() {
    simulated(async {
        let cells: Arc<Cells> = Arc::default();
        let operator = Link::to(&cells).memory();
        operator.put(CONTROL, "kill_blue", "{\"number\": 1}").await.unwrap();
        let state = read_kill(&operator, Deployment::Blue).await.unwrap();
        assert!(matches!(&state, KillState::Unreadable(_)) && state.in_force());
        let mut a = Node::new(&cells, "a", 1);
        assert_eq!(a.lease.tick(1).await, standby(""));
        tokio::time::sleep(2 * TTL).await;
        assert_eq!(a.lease.tick(1).await, standby(""));
        rearm(&operator, Deployment::Blue, &taken_back()).await.unwrap().unwrap();
        a.takes().await;

        let first = order_kill(&operator, Deployment::Blue, &kill_order(5, false)).await.unwrap();
        assert_eq!(first.number, 2);
        cells.forget();
        assert_eq!(read_kill(&operator, Deployment::Blue).await, Ok(KillState::Absent));
        // A node that had seen it keeps to it, and says so again.
        let restated = restate_kill(&operator, Deployment::Blue, &first).await.unwrap();
        assert_eq!(restated, KillState::Value(first.clone()));
        // Another side of a split had taken back another kill of the same number: ours goes on to hold.
        rearm(&operator, Deployment::Blue, &taken_back()).await.unwrap();
        let other = memory::schema::Kill { id: "another".into(), ..first.clone() };
        let restated = restate_kill(&operator, Deployment::Blue, &other).await.unwrap();
        assert!(restated.in_force() && restated.number() == 3, "{restated:?}");
        // But what was taken back itself stays so.
        rearm(&operator, Deployment::Blue, &taken_back()).await.unwrap();
        assert!(!restate_kill(&operator, Deployment::Blue, &first).await.unwrap().in_force());
    });
}

#[test]
fn a_fence_that_nobody_holds_is_outbid() {
    simulated(async {
        let cells: Arc<Cells> = Arc::default();
        let mut a = Node::new(&cells, "a", 1);
        let memory = a.link.memory();
        let state = || [Write { map: "STATE".into(), key: "latest".into(), value: "{}".into() }];
        // A holder of an earlier life, whose clock was ahead, and whose record is lost.
        let ahead = Fence { lease: "alpha_blue".into(), number: 1_000 };
        memory.put_all_fenced(&state(), &ahead).await.unwrap();
        a.takes().await;
        let refused = memory.put_all_fenced(&state(), &a.lease.write_fence().unwrap()).await.unwrap_err();
        let MemoryError::Fenced { newer, .. } = refused else { panic!("{refused}") };
        a.lease.outbid(newer);
        assert_eq!(a.lease.tick(1).await, Ok(LeaseState::Held { fence: 1_001 }));
        memory.put_all_fenced(&state(), &a.lease.write_fence().unwrap()).await.unwrap();
        assert_eq!(a.lease.tick(1).await, Ok(LeaseState::Held { fence: 1_001 }));
        // Who has lost it outbids nobody.
        let mut b = Node::new(&cells, "b", 2);
        a.link.cut.store(true, Ordering::Relaxed);
        b.takes().await;
        a.link.cut.store(false, Ordering::Relaxed);
        a.lease.outbid(5_000);
        assert_eq!(a.lease.tick(1).await, standby("b"));
    });
}

/// A process that dies leaves the lease to the next of its machine at once; one that lives and is silent does not.
#[test]
fn a_dead_holder_of_this_machine_is_replaced_at_once() {
    for dead in [true, false] {
        let disk = Arc::new(SimulatedDisk::default());
        let (first, second) = (Arc::clone(&disk), Arc::clone(&disk));
        simulate(async move {
            let memory = embedded("/state/memory", &first);
            let mut lease = lease(&memory, "a", 1);
            assert!(matches!(lease.tick(1).await, Ok(LeaseState::Held { fence: 1 })), "nobody is there");
            let text = memory.get(LEASES, "alpha_blue").await.unwrap().unwrap();
            assert!(LeaseRecord::from_memory(&text).unwrap().locked);
        });
        if dead {
            disk.end_locks();
        }
        simulate(async move {
            let memory = embedded("/state/memory", &second);
            let mut lease = lease(&memory, "b", 2);
            let begun = Instant::now();
            while !matches!(lease.tick(1).await, Ok(LeaseState::Held { fence: 2 })) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let (window, error) = (Duration::from_secs(1), Duration::from_millis(200));
            let settles = lease.unsettled(window, error).unwrap();
            if dead {
                assert!(begun.elapsed() < Duration::from_millis(100));
                assert!(settles > error, "its last orders may be under way");
            } else {
                assert!(begun.elapsed() >= TTL);
                assert!(settles <= error);
            }
            let text = memory.get(LEASES, "alpha_blue").await.unwrap().unwrap();
            assert_eq!(LeaseRecord::from_memory(&text).unwrap().locked, dead);
        });
    }
}
