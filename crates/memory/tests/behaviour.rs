//! What stands on top of a memory, tried on the embedded backend: write-behind, watcher, lease, discovery, restore.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use market::{Nanos, Posture};
use memory::schema::{
    AcbBoost, DayResult, Deployment, EngineState, FromMemory, STATE_LATEST, STATE_LATEST_NAUTILUS, to_text,
};
use memory::{
    EmbeddedConfig, HazelcastConfig, Lease, LeaseConfig, LeaseState, MemoryConfig, MemoryEnvironment,
    MemoryError, SystemMemory, Watcher, WriteBehind, discover, restore_state,
};

const PATIENCE: Duration = Duration::from_secs(120);

fn open(path: &Path, timeout_ms: u64) -> SystemMemory {
    SystemMemory::open(
        MemoryConfig::Embedded(EmbeddedConfig { timeout_ms, ..EmbeddedConfig::at(path) }),
        &MemoryEnvironment::system(),
    )
    .unwrap()
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn write_behind_keeps_the_last_value_of_each_key_through_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    // A file stands where the folder of the store should be: memory is away.
    let blocked = folder.path().join("blocked");
    std::fs::write(&blocked, "").unwrap();
    let memory = open(&blocked.join("memory.redb"), 200);
    let writes = WriteBehind::start(&memory);
    for round in 0..200 {
        for key in ["a", "b", "c"] {
            writes.put("m", key, format!("{key}{round}")).unwrap();
        }
    }
    eventually("the outage is noticed", async || writes.counts().outages == 1).await;
    writes.put("m", "a", "last".to_owned()).unwrap();
    assert!(!writes.flush(Duration::from_millis(50)).await);
    assert_eq!(writes.counts().pending, 3);
    assert_eq!(writes.counts().delivered, 0);

    let observer_path = blocked.join("memory.redb");
    std::fs::remove_file(&blocked).unwrap();
    assert!(writes.flush(PATIENCE).await);
    let reader = open(&observer_path, 60_000);
    let entries = reader.entries("m").await.unwrap();
    let expected = [("a", "last"), ("b", "b199"), ("c", "c199")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(entries, expected);
    let counts = writes.counts();
    assert_eq!((counts.accepted, counts.delivered, counts.rejected, counts.outages), (601, 3, 0, 1));
    assert_eq!(counts.superseded, 598);
}

#[tokio::test]
async fn write_behind_delivers_in_order_and_refuses_beyond_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&folder.path().join("memory.redb"), 60_000);
    let mut watch = memory.watch("m", None).unwrap();
    memory.put("m", "first", "").await.unwrap();
    assert_eq!(watch.next().await.key, "first");
    let writes = WriteBehind::start(&memory);
    let keys: Vec<String> = (0..600).map(|at| format!("{at:03}")).collect();
    for key in &keys {
        writes.put("m", key, "x".to_owned()).unwrap();
    }
    for key in &keys {
        assert_eq!(watch.next().await.key, *key);
    }
    let error = writes.put("m", "", "x".to_owned()).unwrap_err();
    assert!(matches!(error, MemoryError::Invalid(_)));
    assert_eq!(writes.counts().rejected, 1);

    // Away again, and flooded: the limit holds, keys that wait already still take newer values.
    let nowhere = folder.path().join("memory.redb/nowhere");
    let flooded = WriteBehind::start(&open(&nowhere, 50));
    let mut refused = 0;
    for at in 0..20_000 {
        refused += u64::from(flooded.put("m", &at.to_string(), "x".to_owned()).is_err());
    }
    assert!(refused >= 3_000, "{refused}");
    flooded.put("m", "10000", "newer".to_owned()).unwrap();
    assert_eq!(flooded.counts().rejected, refused);
}

#[tokio::test]
async fn a_watcher_hands_over_good_values_only() {
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&folder.path().join("memory.redb"), 60_000);
    let slot = Arc::new(Mutex::new(None));
    let place = Arc::clone(&slot);
    let watcher = Watcher::start(&memory, "m", "boost", move |boost: AcbBoost| {
        *place.lock().unwrap() = Some(boost);
    })
    .unwrap();
    memory.put("m", "boost", r#"{"boost": 1.5, "beta": 0.8}"#).await.unwrap();
    eventually("the push", async || watcher.counts().accepted == 1).await;
    memory.put("m", "boost", r#"{"boost": NaN, "beta": 0.8}"#).await.unwrap();
    eventually("the rejection", async || watcher.counts().rejected == 1).await;
    memory.remove("m", "boost").await.unwrap();
    eventually("the removal", async || watcher.counts().removed == 1).await;
    assert_eq!(*slot.lock().unwrap(), Some(AcbBoost { boost: 1.5, beta: 0.8 }));
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    let memory = open(&path, 60_000);
    let mut asking: Vec<Lease> = (0..8)
        .map(|at| {
            let (key, owner) = ("alpha_blue".into(), format!("node{at}"));
            let config = LeaseConfig { key, owner, identity: at, ttl: Duration::from_secs(600), kill: None };
            Lease::new(open(&path, 60_000), config).unwrap()
        })
        .collect();
    for _ in 0..5 {
        for one in &mut asking {
            one.tick(1).await.unwrap();
        }
    }
    let holders: Vec<_> = asking.iter().filter_map(Lease::fence).collect();
    assert_eq!(holders, [1]);
    asking[0].release().await.unwrap();
    assert!(matches!(asking[3].tick(1).await, Ok(LeaseState::Held { fence: 2 })));
    // Somebody else's nonsense under the key is not taken for free.
    memory.put("DOLPHIN_LEASE", "alpha_blue", "v2:{}").await.unwrap();
    assert!(matches!(asking[3].tick(1).await, Ok(LeaseState::Standby { .. })));
    assert_eq!(asking[3].fence(), None);
}

#[tokio::test]
async fn capital_is_continued_from_the_best_state() {
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&folder.path().join("memory.redb"), 60_000);
    let map = Deployment::Blue.state_map();
    assert_eq!(restore_state(&memory, Deployment::Blue).await, Ok(None));
    memory.put(map, STATE_LATEST, r#"{"capital": 26000.5, "date": "2021-04-10", "pnl": 1}"#).await.unwrap();
    let found = async || restore_state(&memory, Deployment::Blue).await.unwrap().unwrap();
    assert_eq!((found().await.key, found().await.state.capital), (STATE_LATEST, 26_000.5));
    memory.put(map, STATE_LATEST_NAUTILUS, r#"{"capital": NaN}"#).await.unwrap();
    assert_eq!(found().await.key, STATE_LATEST);
    let state = EngineState { capital: 27_000.0, ..found().await.state };
    memory.put(map, STATE_LATEST_NAUTILUS, &to_text(&state)).await.unwrap();
    assert_eq!((found().await.key, found().await.state), (STATE_LATEST_NAUTILUS, state));
    assert_eq!(restore_state(&memory, Deployment::Green).await, Ok(None));
}

#[tokio::test]
async fn day_results_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&folder.path().join("memory.redb"), 60_000);
    let day = DayResult {
        date: "2021-04-11".into(),
        pnl: -12.25,
        trades: 3,
        capital: 24_987.75,
        boost: 1.25,
        beta: 0.8,
        mc_scale: 1.0,
        mc_status: "DISABLED".into(),
        posture: Posture::Stalker,
        bars: 1439,
        stale_state: false,
        param_hash: "aaae".into(),
    };
    memory.put(Deployment::Green.pnl_map(), &day.date, &to_text(&day)).await.unwrap();
    let text = memory.get("DOLPHIN_PNL_GREEN", "2021-04-11").await.unwrap().unwrap();
    assert_eq!(DayResult::from_memory(&text), Ok(day));
    assert!(discover(&memory, Nanos(0), Nanos(0)).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn nothing_reachable_is_an_outage_and_nothing_more() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = HazelcastConfig {
        members: vec![free.to_string()],
        invocation_timeout_ms: 300,
        ..HazelcastConfig::default()
    };
    let memory =
        SystemMemory::open(MemoryConfig::Hazelcast(config.clone()), &MemoryEnvironment::system()).unwrap();
    let error = memory.get("m", "k").await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    eventually("the reason", async || memory.status().detail.contains(&free.to_string())).await;
    assert!(memory.put("m", "k", "v").await.unwrap_err().is_outage());
    let bad = HazelcastConfig { members: vec!["no port".into()], ..config };
    let error = SystemMemory::open(MemoryConfig::Hazelcast(bad), &MemoryEnvironment::system()).unwrap_err();
    assert!(error.to_string().contains("`no port`"), "{error}");
}

/// A member that answers nonsense, in every way: the client closes, says so, tries again, and lives.
#[tokio::test]
async fn a_hostile_member_is_survived() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = Arc::new(Mutex::new(0usize));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        let answers: [Vec<u8>; 5] = [
            vec![0xff; 100],
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            vec![5, 0, 0, 0, 0, 0xe0],
            [&[19, 0, 0, 0, 0, 0xe0, 1, 1, 0, 0][..], &[0; 9]].concat(),
            Vec::new(),
        ];
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 64];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked[..3], b"CP2");
            let at = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count - 1
            };
            stream.write_all(&answers[at % answers.len()]).await.ok();
        }
    });
    let config =
        HazelcastConfig { members: vec![address], invocation_timeout_ms: 200, ..HazelcastConfig::default() };
    let memory = SystemMemory::open(MemoryConfig::Hazelcast(config), &MemoryEnvironment::system()).unwrap();
    eventually("all the nonsense was answered", async || *served.lock().unwrap() >= 5).await;
    assert!(memory.get("m", "k").await.unwrap_err().is_outage());
}
