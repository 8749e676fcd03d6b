//! Against real Hazelcast members, with Hazelcast's own Python client on the other side. Each test starts its own
//! members, one cluster at a time; where members or the client are not to be had it says `skipped:`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod faults;
mod fences;
#[path = "../fencing/mod.rs"]
mod fencing;
mod support;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use market::{CrossAsset, Nanos, ObFeatures};
use memory::schema::{self, AcbBoost, FromMemory, ObRecord, Safety, Scan};
use memory::{Lease, LeaseConfig, LeaseState, MemoryError, SystemMemory, Watcher, WriteBehind, discover};
use serde_json::json;
use support::{connect, eventually, next, symbols, until};
use testkit::hazelcast::{CURRENT, Cluster, PATIENCE, Python, WITH_CP};

#[tokio::test]
async fn python_and_we_read_each_other() {
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let memory = connect(&cluster).await;

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
    let last = BTreeMap::from([("k0", "48"), ("k1", "49"), ("k2", "47")]);
    for (key, value) in &last {
        let mut fresh = memory.watch("watched", Some(key)).unwrap();
        until(&mut fresh, key, Some(value)).await;
    }
    // Changes of one key come in their order, those of different keys in any.
    let mut seen = BTreeMap::new();
    while last.iter().any(|(key, value)| seen.get(*key).map(String::as_str) != Some(value)) {
        let change = next(&mut watch).await;
        seen.insert(change.key, change.value.unwrap());
    }
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
    let writes = WriteBehind::start(memory);
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

    let lease = |owner: &str, identity| {
        let (key, ttl) = ("alpha".into(), Duration::from_secs(2));
        Lease::new(memory.clone(), LeaseConfig { key, owner: owner.into(), identity, ttl, kill: None })
            .unwrap()
    };
    let (mut active, mut standby) = (lease("a", 1), lease("b", 2));
    // Nobody may have it: that takes its time to know.
    assert_eq!(active.tick(1000).await, Ok(LeaseState::Standby { holder: String::new() }));
    tokio::time::sleep(Duration::from_secs(2)).await;
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
async fn cp_references_are_preferred_to_the_map() {
    let Some(cluster) = Cluster::start(WITH_CP, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let memory = connect(&cluster).await;
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
