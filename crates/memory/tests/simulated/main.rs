//! Memory as a part of a simulation: one thread, paused time, a disk of its own. The same steps give the same history.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod cluster;
mod lease;
mod surroundings;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cells, Link};
use memory::{
    EmbeddedConfig, Lease, LeaseConfig, MemoryConfig, MemoryEnvironment, SystemMemory, WriteBehind,
};
use surroundings::{SimulatedDisk, SimulatedSpawner, simulate};

fn embedded(path: &str, disk: &Arc<SimulatedDisk>) -> SystemMemory {
    let environment =
        MemoryEnvironment { spawner: Arc::new(SimulatedSpawner), disk: Arc::clone(disk) as Arc<_> };
    let config = EmbeddedConfig::at(PathBuf::from(path));
    SystemMemory::open(MemoryConfig::Embedded(config), &environment).unwrap()
}

/// Everything memory does, with the simulated times at which it happened.
async fn history(disk: Arc<SimulatedDisk>) -> String {
    let started = tokio::time::Instant::now();
    let mut log = String::new();
    let memory = embedded("/state/a.memory", &disk);
    let mut watch = memory.watch("m", None).unwrap();
    let writes = WriteBehind::start(&memory);
    for round in 0..300 {
        writes.put("m", &format!("k{}", round % 7), round.to_string()).unwrap();
        if round % 50 == 49 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while let Some(change) = watch.try_next() {
            writeln!(log, "{:?} {} {:?}", started.elapsed(), change.key, change.value).unwrap();
        }
    }
    assert!(writes.flush(Duration::from_secs(5)).await);
    let config = LeaseConfig {
        key: "l".into(),
        owner: "a".into(),
        identity: 1,
        ttl: Duration::from_secs(3),
        kill: None,
    };
    let mut lease = Lease::new(memory.clone(), config).unwrap();
    for beat in 0..20 {
        let state = lease.tick(1_000 + beat).await.unwrap();
        writeln!(log, "{:?} {state:?} {:?}", started.elapsed(), lease.remaining()).unwrap();
        tokio::time::sleep(lease.interval()).await;
    }
    writeln!(log, "{:?} {:?}", started.elapsed(), memory.entries("m").await).unwrap();
    log
}

#[test]
fn the_same_steps_give_the_same_history_and_the_same_bytes() {
    let run = || {
        let disk = Arc::new(SimulatedDisk::default());
        let log = simulate(history(Arc::clone(&disk)));
        (log, disk.image("/state/a.memory"))
    };
    let (first, second) = (run(), run());
    assert!(first.0.lines().count() > 30, "{}", first.0);
    assert_eq!(first.0, second.0);
    assert!(first.1 == second.1, "the files differ");
}

#[test]
fn simulated_time_costs_no_real_time() {
    let begun = std::time::Instant::now();
    simulate(async {
        let memory = embedded("/state/a.memory", &Arc::default());
        for day in 0..30 {
            memory.put("m", "day", &day.to_string()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(86_400)).await;
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_store_is_reopened_from_its_disk_and_each_node_has_its_own() {
    let disk = Arc::new(SimulatedDisk::default());
    let memory = Arc::clone(&disk);
    simulate(async move {
        let (a, b) = (embedded("/a/memory", &memory), embedded("/b/memory", &memory));
        a.put("m", "k", "of a").await.unwrap();
        assert_eq!(b.get("m", "k").await, Ok(None));
    });
    simulate(async move {
        let a = embedded("/a/memory", &disk);
        assert_eq!(a.get("m", "k").await, Ok(Some("of a".to_owned())));
        // The same file a second time: it belongs to another, and nobody serves it to us.
        let twin = embedded("/a/memory", &disk);
        let error = twin.get("m", "k").await.unwrap_err();
        assert!(error.to_string().contains("belongs to another process"), "{error}");
    });
}

#[test]
fn a_backend_may_come_from_outside() {
    simulate(async {
        let cells: Arc<Cells> = Arc::default();
        let memory = Link::to(&cells).memory();
        memory.put("m", "k", "v").await.unwrap();
        assert_eq!(Link::to(&cells).memory().get("m", "k").await, Ok(Some("v".to_owned())));
        assert_eq!(memory.watch("m", Some("k")).unwrap().next().await.key, "k");
        assert_eq!(memory.get_reference("none here", "m", "k").await, Ok(Some("v".to_owned())));
        assert!(memory.keys("m").await.unwrap_err().to_string().contains("`keys`"));
    });
}
