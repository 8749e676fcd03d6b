//! Against real Hazelcast members, with Hazelcast's own Python client on the other side. Each test starts its own
//! members; without DOLPHIN_TEST_HAZELCAST=1, Java, Maven and Python it says `skipped:`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
#![allow(
    clippy::await_holding_lock,
    reason = "one test at a time: each has a thread and a runtime of its own"
)]

mod harness;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Cluster, PATIENCE, Python, eventually, turn};
use market::{CrossAsset, Nanos, ObFeatures};
use memory::schema::{self, AcbBoost, FromMemory, ObRecord, Safety, Scan};
use memory::{
    Change, HazelcastConfig, Lease, LeaseConfig, LeaseState, MemoryConfig, MemoryError, SystemMemory, Watch,
    Watcher, WriteBehind, discover,
};
use serde_json::json;

/// Current open-source member, without CP.
const CURRENT: &str = "5.7.0";
/// The last open-source member with CP.
const WITH_CP: &str = "5.4.0";

async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("a change comes")
}

/// Waits for a value under a key, past older changes.
async fn until(watch: &mut Watch, key: &str, value: Option<&str>) {
    loop {
        let change = next(watch).await;
        if change.key == key && change.value.as_deref() == value {
            return;
        }
    }
}

fn symbols(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("SYM{at:03}é🐬USDT")).collect()
}

#[tokio::test]
async fn python_and_we_read_each_other() {
    let _turn = turn();
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let memory = cluster.memory().await;

    we_read(&memory, &mut python).await;
    python_reads(&memory, &mut python).await;
    pushes_arrive(&memory, &mut python).await;
    keys_have_one_place(&memory, &mut python).await;
    shards_are_discovered(&memory, &mut python).await;
    swaps_and_lease(&memory).await;

    // No CP in this edition: the map counts, for reading and for writing.
    python.put(schema::SAFETY, schema::SAFETY_LATEST, r#"{"posture": "TURTLE", "Rm": 0.6}"#);
    let reference = (schema::SAFETY_REFERENCE, schema::SAFETY, schema::SAFETY_LATEST);
    let text = memory.get_reference(reference.0, reference.1, reference.2).await.unwrap().unwrap();
    assert_eq!(Safety::from_memory(&text).unwrap().rm, 0.6);
    memory
        .set_reference(reference.0, reference.1, reference.2, r#"{"posture":"APEX","Rm":1.0}"#)
        .await
        .unwrap();
    assert_eq!(
        python.get(schema::SAFETY, schema::SAFETY_LATEST),
        json!(["str", r#"{"posture":"APEX","Rm":1.0}"#])
    );
}

async fn we_read(memory: &SystemMemory, python: &mut Python) {
    let scan =
        r#"{"scan_number": 7, "vel_div": -0.03, "v50_lambda_max_velocity": NaN, "asset_prices": {"Ü": 1.5}}"#;
    python.put(schema::FEATURES, schema::LATEST_EIGEN_SCAN, scan);
    let text = memory.get(schema::FEATURES, schema::LATEST_EIGEN_SCAN).await.unwrap().unwrap();
    assert_eq!(text, scan);
    assert_eq!(Scan::from_memory(&text).unwrap().asset_prices, [("Ü".to_owned(), 1.5)]);

    python
        .run(json!({"op": "put_json", "map": "m", "key": "json", "value": r#"{"boost": 1.5, "beta": 0.8}"#}));
    let text = memory.get("m", "json").await.unwrap().unwrap();
    assert_eq!(AcbBoost::from_memory(&text), Ok(AcbBoost { boost: 1.5, beta: 0.8 }));

    python.run(json!({"op": "put", "map": "m", "key": "pickle", "value": {"boost": 1.5}}));
    let error = memory.get("m", "pickle").await.unwrap_err();
    assert!(matches!(&error, MemoryError::NotText { .. }) && error.to_string().contains("pickle"), "{error}");
    python.run(json!({"op": "put", "map": "m", "key": "number", "value": -7}));
    assert_eq!(memory.get("m", "number").await.unwrap().as_deref(), Some("-7"));
    assert_eq!(memory.get("m", "nothing").await, Ok(None));

    let large = format!("\"{}\"", "aé🐬".repeat(150_000));
    assert!(large.len() > 1_000_000);
    python.put("m", "large", &large);
    assert!(memory.get("m", "large").await.unwrap().unwrap() == large);
    // The pickle and the text keys live side by side: the pickle is left out.
    let keys: Vec<_> = memory.entries("m").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["json", "large", "number"]);
}

async fn python_reads(memory: &SystemMemory, python: &mut Python) {
    let large = "x".repeat(1 << 20);
    for (key, value) in
        [("a", "{\"capital\":25000.0}"), ("ключ", "日本語 🐬"), ("empty", ""), ("large", &large)]
    {
        memory.put("ours", key, value).await.unwrap();
        assert!(python.get("ours", key) == json!(["str", value]), "{key}");
    }
    memory.remove("ours", "a").await.unwrap();
    assert_eq!(python.get("ours", "a"), json!(["NoneType", null]));

    python.run(json!({"op": "listen", "map": "heard"}));
    memory.put("heard", "k", "v1").await.unwrap();
    assert_eq!(python.event(), json!(["k", ["str", "v1"]]));
}

async fn pushes_arrive(memory: &SystemMemory, python: &mut Python) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let slot = Arc::clone(&taken);
    python.put(schema::FEATURES, schema::ACB_BOOST, r#"{"boost": 1.1, "beta": 0.2}"#);
    let watcher = Watcher::start(memory, schema::FEATURES, schema::ACB_BOOST, move |boost: AcbBoost| {
        slot.lock().unwrap().push(boost.boost);
    })
    .unwrap();
    eventually("the present value", async || watcher.counts().accepted == 1).await;
    python.put(schema::FEATURES, schema::ACB_BOOST, r#"{"boost": 1.9, "beta": 0.8}"#);
    eventually("a push", async || watcher.counts().accepted == 2).await;
    python.put(schema::FEATURES, schema::ACB_BOOST, r#"{"boost": 9.9, "beta": 0.8}"#);
    eventually("a bad push is counted", async || watcher.counts().rejected == 1).await;
    python.run(json!({"op": "remove", "map": schema::FEATURES, "key": schema::ACB_BOOST}));
    eventually("a removal is counted", async || watcher.counts().removed == 1).await;
    assert_eq!(*taken.lock().unwrap(), [1.1, 1.9]);

    let mut watch = memory.watch("watched", None).unwrap();
    for round in 0..50 {
        python.put("watched", &format!("k{}", round % 3), &round.to_string());
    }
    for (key, last) in [("k0", "48"), ("k1", "49"), ("k2", "47")] {
        let mut fresh = memory.watch("watched", Some(key)).unwrap();
        until(&mut fresh, key, Some(last)).await;
    }
    until(&mut watch, "k1", Some("49")).await;
    python.run(json!({"op": "clear", "map": "watched"}));
    let mut gone = BTreeSet::new();
    while gone.len() < 3 {
        let change = next(&mut watch).await;
        assert_eq!(change.value, None);
        gone.insert(change.key);
    }
}

/// A wrong partition would make a shadow copy, which shows as a key that is there twice or cannot be read.
async fn keys_have_one_place(memory: &SystemMemory, python: &mut Python) {
    let symbols = symbols(300);
    for (at, symbol) in symbols.iter().enumerate() {
        if at % 2 == 0 {
            memory.put("places", symbol, "ours").await.unwrap();
            python.put("places", symbol, "theirs");
        } else {
            python.put("places", symbol, "theirs");
            memory.put("places", symbol, "ours").await.unwrap();
        }
    }
    let mut sorted = symbols.clone();
    sorted.sort_unstable();
    assert_eq!(memory.keys("places").await.unwrap(), sorted);
    assert_eq!(python.run(json!({"op": "keys", "map": "places"})).as_array().unwrap().len(), symbols.len());
    for (at, symbol) in symbols.iter().enumerate() {
        let expected = if at % 2 == 0 { "theirs" } else { "ours" };
        assert_eq!(memory.get("places", symbol).await.unwrap().as_deref(), Some(expected));
        assert_eq!(python.get("places", symbol), json!(["str", expected]));
    }
}

fn record(symbol: &str, timestamp: Nanos) -> ObRecord {
    let features = ObFeatures {
        bid_depth: [1.0; 5],
        ask_depth: [1.0; 5],
        bid_notional: [1.0; 5],
        ask_notional: [1.0; 5],
        coverage_pct: 4.2,
        spread_proxy_bps: 0.7,
        depth_quality: 0.5,
        fill_probability_bid: 0.8,
        fill_probability_ask: 0.6,
        fill_probability: 0.7,
        depth_asymmetry: -0.25,
        imbalance_persistence: -0.4,
        withdrawal_velocity: -0.01,
        macro_imbalance: 0.05,
        macro_spread_bps: 0.9,
    };
    ObRecord { symbol: symbol.to_owned(), timestamp, features, cross_asset: CrossAsset::default() }
}

async fn shards_are_discovered(memory: &SystemMemory, python: &mut Python) {
    let now = Nanos(1_700_000_000 * Nanos::SECOND);
    let old = Nanos(now.0 - 60 * Nanos::SECOND);
    let writes = WriteBehind::start(memory.clone());
    let fresh = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT"];
    for (symbol, at) in fresh.iter().map(|s| (*s, now)).chain([("LUNAUSDT", old)]) {
        writes.put(&schema::features_map(symbol), symbol, schema::to_text(&record(symbol, at))).unwrap();
    }
    assert!(writes.flush(PATIENCE).await);
    let misplaced = schema::to_text(&record("XRPUSDT", now));
    python.put(&schema::shard_map((schema::shard("XRPUSDT") + 1) % 10), "XRPUSDT", &misplaced);
    let found = discover(memory, now, Nanos(Nanos::SECOND)).await.unwrap();
    let names: Vec<_> = found.records.iter().map(|r| r.symbol.as_str()).collect();
    assert_eq!(names, ["1000PEPEUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    assert_eq!(found.records[1], record("BTCUSDT", now));
    assert_eq!((found.stale, found.rejected.len()), (vec!["LUNAUSDT".to_owned()], 1));
}

async fn swaps_and_lease(memory: &SystemMemory) {
    assert!(memory.compare_and_set("swap", "k", None, "1").await.unwrap());
    assert!(!memory.compare_and_set("swap", "k", None, "2").await.unwrap());
    assert!(!memory.compare_and_set("swap", "k", Some("2"), "3").await.unwrap());
    assert!(memory.compare_and_set("swap", "k", Some("1"), "3").await.unwrap());
    assert_eq!(memory.get("swap", "k").await.unwrap().as_deref(), Some("3"));

    let lease = |owner: &str| {
        let config = LeaseConfig { key: "alpha".into(), owner: owner.into(), ttl: Duration::from_secs(60) };
        Lease::new(memory.clone(), config).unwrap()
    };
    let (mut active, mut standby) = (lease("a"), lease("b"));
    let LeaseState::Held { fence } = active.tick(1000).await.unwrap() else { panic!("nobody has it") };
    assert_eq!(standby.tick(1000).await, Ok(LeaseState::Standby { holder: "a".into() }));
    assert_eq!(active.tick(1001).await, Ok(LeaseState::Held { fence }));
    active.release().await.unwrap();
    let LeaseState::Held { fence: next } = standby.tick(1000).await.unwrap() else {
        panic!("it was given up")
    };
    assert!(next > fence && active.fence().is_none());
}

#[tokio::test]
async fn a_member_is_killed_restarted_and_frozen() {
    let _turn = turn();
    let Some(mut cluster) = Cluster::start(CURRENT, 1) else { return };
    let config =
        HazelcastConfig { invocation_timeout_ms: 3_000, heartbeat_timeout_ms: 6_000, ..cluster.config() };
    let memory = SystemMemory::open(MemoryConfig::Hazelcast(config)).unwrap();
    memory.wait_ready(PATIENCE).await.unwrap();
    let writes = WriteBehind::start(memory.clone());
    let mut watch = memory.watch("m", None).unwrap();
    memory.put("m", "before", "1").await.unwrap();
    until(&mut watch, "before", Some("1")).await;

    cluster.members[0].kill();
    for round in 0..100 {
        writes.put("m", "tick", round.to_string()).unwrap();
        writes.put("m", "other", round.to_string()).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eventually("the outage is noticed", async || writes.counts().outages == 1).await;
    assert!(memory.get("m", "tick").await.unwrap_err().is_outage());
    assert!(!memory.status().connected);
    assert_eq!(writes.counts().pending, 2);

    cluster.members[0].restart();
    assert!(writes.flush(PATIENCE).await);
    assert_eq!(memory.get("m", "tick").await.unwrap().as_deref(), Some("99"));
    // The restarted member is empty: the watch says so, and goes on.
    until(&mut watch, "before", None).await;
    memory.put("m", "after", "2").await.unwrap();
    until(&mut watch, "after", Some("2")).await;
    let counts = writes.counts();
    assert_eq!((counts.outages, counts.pending, counts.rejected), (1, 0, 0));
    assert_eq!(counts.accepted, counts.delivered + counts.superseded);

    cluster.members[0].signal("-STOP");
    writes.put("m", "frozen", "kept".to_owned()).unwrap();
    assert!(memory.get("m", "after").await.unwrap_err().is_outage());
    eventually("the connection is given up", async || !memory.status().connected).await;
    writes.put("m", "frozen", "newer".to_owned()).unwrap();
    cluster.members[0].signal("-CONT");
    assert!(writes.flush(PATIENCE).await);
    assert_eq!(memory.get("m", "frozen").await.unwrap().as_deref(), Some("newer"));
    until(&mut watch, "frozen", Some("newer")).await;
    assert_eq!(memory.get("m", "after").await.unwrap().as_deref(), Some("2"));
}

#[tokio::test]
async fn three_members_lose_one() {
    let _turn = turn();
    let Some(mut cluster) = Cluster::start(CURRENT, 3) else { return };
    let only_one = HazelcastConfig { members: vec![cluster.members[0].address()], ..cluster.config() };
    let memory = SystemMemory::open(MemoryConfig::Hazelcast(only_one)).unwrap();
    eventually("the others are learned", async || memory.status().detail.contains("3 of 3")).await;
    let mut watch = memory.watch("m", None).unwrap();
    let symbols = symbols(200);
    let writes = WriteBehind::start(memory.clone());
    for symbol in &symbols {
        writes.put("m", symbol, "before".to_owned()).unwrap();
    }
    assert!(writes.flush(PATIENCE).await);
    let mut seen = BTreeSet::new();
    while seen.len() < symbols.len() {
        seen.insert(next(&mut watch).await.key);
    }

    // The one with the listeners.
    cluster.members[0].kill();
    for symbol in &symbols {
        writes.put("m", symbol, "after".to_owned()).unwrap();
    }
    assert!(writes.flush(PATIENCE).await);
    assert_eq!(writes.counts().rejected, 0);
    let mut expected: Vec<_> = symbols.iter().map(|symbol| (symbol.clone(), "after".to_owned())).collect();
    expected.sort_unstable();
    assert_eq!(memory.entries("m").await.unwrap(), expected);
    let mut seen = BTreeSet::new();
    while seen.len() < symbols.len() {
        let change = next(&mut watch).await;
        if change.value.as_deref() == Some("after") {
            seen.insert(change.key);
        }
    }
    eventually("two are left", async || memory.status().detail.contains("2 of 2")).await;
}

#[tokio::test]
async fn cp_references_are_preferred_to_the_map() {
    let _turn = turn();
    let Some(cluster) = Cluster::start(WITH_CP, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let memory = cluster.memory().await;
    let get =
        async || memory.get_reference("DOLPHIN_SAFETY", schema::SAFETY, schema::SAFETY_LATEST).await.unwrap();

    assert_eq!(get().await, None);
    python.put(schema::SAFETY, schema::SAFETY_LATEST, "from the map");
    assert_eq!(get().await.as_deref(), Some("from the map"));
    python.run(json!({"op": "reference_set", "name": "DOLPHIN_SAFETY", "value": "from CP"}));
    assert_eq!(get().await.as_deref(), Some("from CP"));
    memory.set_reference("DOLPHIN_SAFETY", schema::SAFETY, schema::SAFETY_LATEST, "both").await.unwrap();
    assert_eq!(python.run(json!({"op": "reference_get", "name": "DOLPHIN_SAFETY"})), json!(["str", "both"]));
    assert_eq!(python.get(schema::SAFETY, schema::SAFETY_LATEST), json!(["str", "both"]));
}

#[tokio::test]
async fn another_cluster_name_is_a_clear_error() {
    let _turn = turn();
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let config = HazelcastConfig { cluster_name: "dolfin".into(), ..cluster.config() };
    let memory = SystemMemory::open(MemoryConfig::Hazelcast(config)).unwrap();
    eventually("the refusal", async || memory.status().detail.contains("the cluster is not `dolfin`")).await;
    let error = memory.get("m", "k").await.unwrap_err();
    assert!(error.is_outage() && error.to_string().contains(&cluster.members[0].address()), "{error}");
}
