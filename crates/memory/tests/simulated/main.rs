//! Memory as a part of a simulation: one thread, paused time, a disk of its own. The same steps give the same history.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod surroundings;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use memory::{
    Answer, Backend, EmbeddedConfig, Lease, LeaseConfig, LeaseState, MemoryConfig, MemoryEnvironment,
    MemoryError, Reply, Request, Sink, Status, SystemMemory, WriteBehind,
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
    let config = LeaseConfig { key: "l".into(), owner: "a".into(), ttl: Duration::from_secs(3) };
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

/// A memory that is neither of ours: what a simulation of a cluster is.
#[derive(Debug, Default)]
struct Model(Mutex<BTreeMap<(String, String), String>>);

impl Backend for Model {
    fn status(&self) -> Status {
        Status { connected: true, detail: "a model".to_owned() }
    }

    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let mut cells = self.0.lock().unwrap();
        let answer = match request {
            Request::Get { map, key } => Ok(Reply::Value(cells.get(&(map, key)).cloned())),
            Request::CompareAndSet { map, key, expected, new } => {
                let same = cells.get(&(map.clone(), key.clone())) == expected.as_ref();
                if same {
                    cells.insert((map, key), new);
                }
                Ok(Reply::Swapped(same))
            }
            other => Err(MemoryError::Away(format!("the model knows no `{}`", other.name()))),
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(7)).await;
            answer
        })
    }

    fn watch(&self, _map: &str, _key: Option<&str>) -> Arc<Sink> {
        let sink = Arc::<Sink>::default();
        sink.begin();
        sink.resync(vec![("k".to_owned(), "v".to_owned())]);
        sink
    }
}

#[test]
fn a_backend_may_come_from_outside() {
    simulate(async {
        let shared: Arc<Model> = Arc::default();
        let node = |owner: &str| {
            let memory = SystemMemory::with_backend(Arc::clone(&shared) as _, Arc::new(SimulatedSpawner));
            let config = LeaseConfig { key: "l".into(), owner: owner.into(), ttl: Duration::from_secs(3) };
            (Lease::new(memory.clone(), config).unwrap(), memory)
        };
        let ((mut a, memory), (mut b, _)) = (node("a"), node("b"));
        assert_eq!(a.tick(5).await, Ok(LeaseState::Held { fence: 5 }));
        assert_eq!(b.tick(5).await, Ok(LeaseState::Standby { holder: "a".into() }));
        assert!(memory.put("m", "k", "v").await.unwrap_err().is_outage());
        assert_eq!(memory.watch("m", None).unwrap().next().await.key, "k");
        assert_eq!(memory.get_reference("none here", "DOLPHIN_LEASE", "no").await, Ok(None));
    });
}
