//! Members that die, freeze, come back, refuse; values that are nonsense.

use std::collections::BTreeSet;
use std::time::Duration;

use market::Nanos;
use memory::schema::{self, AcbBoost, Deployment, Safety, Scan};
use memory::{
    Fence, HazelcastConfig, KillOrder, MemoryError, Watcher, Write, WriteBehind, discover, order_kill,
    restore_state,
};
use serde_json::json;
use testkit::hazelcast::{CURRENT, Cluster, PATIENCE, Python};

use super::support::{Log, config, connect, count, eventually, next, open, symbols, until};

#[tokio::test]
async fn a_member_is_killed_restarted_and_frozen() {
    let Some(mut cluster) = Cluster::start(CURRENT, 1) else { return };
    let config =
        HazelcastConfig { invocation_timeout_ms: 3_000, heartbeat_timeout_ms: 6_000, ..config(&cluster) };
    let memory = open(config);
    memory.wait_ready(PATIENCE).await.unwrap();
    let writes = WriteBehind::start(&memory);
    let mut watch = memory.watch("m", None).unwrap();
    memory.put("m", "before", "1").await.unwrap();
    until(&mut watch, "before", Some("1")).await;

    let log = Log::capture();
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
    told_once(&log.lines());

    cluster.members[0].freeze();
    writes.put("m", "frozen", "kept".to_owned()).unwrap();
    assert!(memory.get("m", "after").await.unwrap_err().is_outage());
    eventually("the connection is given up", async || !memory.status().connected).await;
    writes.put("m", "frozen", "newer".to_owned()).unwrap();
    cluster.members[0].thaw();
    assert!(writes.flush(PATIENCE).await);
    assert_eq!(memory.get("m", "frozen").await.unwrap().as_deref(), Some("newer"));
    until(&mut watch, "frozen", Some("newer")).await;
    assert_eq!(memory.get("m", "after").await.unwrap().as_deref(), Some("2"));
    told_once(&log.lines());
}

/// An outage is one line of each part, and so is its end.
fn told_once(lines: &[String]) {
    for words in ["trying on in the background", ", connected to", "takes no writes", "takes writes again"] {
        assert_eq!(count(lines, words), 1, "`{words}` in {lines:#?}");
    }
    assert!(lines.len() <= 6, "{lines:#?}");
}

#[tokio::test]
async fn three_members_lose_one() {
    let Some(mut cluster) = Cluster::start(CURRENT, 3) else { return };
    let only_one = HazelcastConfig { members: vec![cluster.members[0].address()], ..config(&cluster) };
    let memory = open(only_one);
    eventually("the others are learned", async || memory.status().detail.contains("3 of 3")).await;
    let mut watch = memory.watch("m", None).unwrap();
    let symbols = symbols(200);
    let writes = WriteBehind::start(&memory);
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

    // It comes back: partitions move while we write. Every value arrives, and no key is there twice.
    cluster.members[0].restart();
    let mut round = 0;
    while round < 20 || !memory.status().detail.contains("3 of 3") {
        for symbol in &symbols {
            writes.put("m", symbol, round.to_string()).unwrap();
        }
        assert!(writes.flush(PATIENCE).await);
        round += 1;
    }
    let last = (round - 1).to_string();
    let entries = memory.entries("m").await.unwrap();
    assert_eq!(entries.len(), symbols.len());
    assert!(entries.iter().all(|(_, value)| *value == last));
    for symbol in &symbols {
        assert_eq!(memory.get("m", symbol).await.unwrap().as_deref(), Some(last.as_str()));
    }
    let mut seen = BTreeSet::new();
    while seen.len() < symbols.len() {
        let change = next(&mut watch).await;
        if change.value.as_ref() == Some(&last) {
            seen.insert(change.key);
        }
    }
    assert_eq!((writes.counts().rejected, writes.counts().pending), (0, 0));
}

/// Of a cluster that may have split, the smaller side agrees to nothing; what the next value replaces is written on.
#[tokio::test]
async fn the_smaller_side_agrees_to_nothing() {
    let Some(mut cluster) = Cluster::start(CURRENT, 3) else { return };
    let memory = open(HazelcastConfig { minimum_members: 2, ..config(&cluster) });
    eventually("all are there", async || memory.status().detail.contains("3 of 3")).await;
    let lease = async |n: u64| {
        let (before, after) = (n.checked_sub(1).map(|n| n.to_string()), n.to_string());
        memory.compare_and_set(schema::LEASES, "l", before.as_deref(), &after).await
    };
    let write = [Write { map: "STATE".into(), key: "k".into(), value: "{}".into() }];
    let fence = Fence { lease: "l".into(), number: 1 };
    assert_eq!(lease(0).await, Ok(true));
    memory.put_all_fenced(&write, &fence).await.unwrap();
    let kill = KillOrder { id: 1, at: Nanos(0), reason: String::new(), flatten: false, by: String::new() };

    cluster.members[1].kill();
    cluster.members[2].kill();
    eventually("it is alone", async || memory.status().detail.contains("1 of 1")).await;
    for refused in [
        lease(1).await.map(|_| ()),
        memory.put_all_fenced(&write, &fence).await,
        memory.claim("STATE", "k", &fence).await.map(|_| ()),
        order_kill(&memory, Deployment::Blue, &kill).await.map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert!(error.is_outage() && error.to_string().contains("smaller side"), "{error}");
    }
    memory.put("m", "features", "1").await.unwrap();
    cluster.members[1].restart();
    eventually("two are enough", async || order_kill(&memory, Deployment::Blue, &kill).await.is_ok()).await;
    memory.put_all_fenced(&write, &fence).await.unwrap();
}

/// The same by the members themselves: what they refuse for want of others is an outage, and is delivered later.
#[tokio::test]
async fn members_that_refuse_for_want_of_others_are_away() {
    let protection = "  split-brain-protection:
    majority: {enabled: true, minimum-cluster-size: 2, protect-on: READ_WRITE}
  map:
    DOLPHIN_LEASE: {split-brain-protection-ref: majority}
    DOLPHIN_STATE_*: {split-brain-protection-ref: majority}
";
    let Some(mut cluster) = Cluster::start_with(CURRENT, 2, protection) else { return };
    let memory = connect(&cluster).await;
    let fence = Fence { lease: "l".into(), number: 1 };
    let write = |n: u32| {
        [Write { map: "DOLPHIN_STATE_BLUE".into(), key: "k".into(), value: format!("{{\"n\":{n}}}") }]
    };
    eventually("both are there", async || memory.put_all_fenced(&write(0), &fence).await.is_ok()).await;
    cluster.members[1].kill();
    let swap = async || memory.compare_and_set(schema::LEASES, "l", None, "1").await;
    // Until the other one is known to be gone, what was asked of it is an outage of another kind.
    let refused = async || match swap().await {
        Err(error) => error.is_outage() && error.to_string().contains("SplitBrainProtection"),
        Ok(_) => false,
    };
    eventually("it is refused for want of the other", refused).await;
    assert!(memory.put_all_fenced(&write(1), &fence).await.unwrap_err().is_outage());
    memory.put("m", "free", "1").await.unwrap();
    let writes = WriteBehind::start(&memory);
    writes.put_fenced("DOLPHIN_STATE_BLUE", "k", "{\"n\":2}".into(), &fence).unwrap();
    eventually("it waits", async || writes.counts().outages == 1).await;
    cluster.members[1].restart();
    assert!(writes.flush(PATIENCE).await);
    let found = memory.get("DOLPHIN_STATE_BLUE", "k").await.unwrap();
    assert_eq!((found.as_deref(), writes.counts().rejected), (Some("{\"fence\":1,\"n\":2}"), 0));
}

#[tokio::test]
async fn another_cluster_name_is_a_clear_error() {
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let config = HazelcastConfig { cluster_name: "dolfin".into(), ..config(&cluster) };
    let memory = open(config);
    eventually("the refusal", async || memory.status().detail.contains("the cluster is not `dolfin`")).await;
    let error = memory.get("m", "k").await.unwrap_err();
    assert!(error.is_outage() && error.to_string().contains(&cluster.members[0].address()), "{error}");
}

/// Nonsense of every kind under every key of the schema: refused and counted, the last good value stays in force.
#[tokio::test]
async fn garbage_under_every_key_is_refused_and_counted() {
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let memory = connect(&cluster).await;
    let good = [
        (schema::SAFETY, schema::SAFETY_LATEST, r#"{"posture": "TURTLE", "Rm": 0.6}"#),
        (schema::FEATURES, schema::ACB_BOOST, r#"{"boost": 1.5, "beta": 0.8}"#),
        (schema::FEATURES, schema::LATEST_EIGEN_SCAN, r#"{"scan_number": 1, "vel_div": -0.03}"#),
    ];
    for (map, key, value) in good {
        python.put(map, key, value);
    }
    let (safety, boost, scan) = (&good[0], &good[1], &good[2]);
    let watchers = [
        Watcher::start(&memory, safety.0, safety.1, |_: Safety| {}).unwrap(),
        Watcher::start(&memory, boost.0, boost.1, |_: AcbBoost| {}).unwrap(),
        Watcher::start(&memory, scan.0, scan.1, |_: Scan| {}).unwrap(),
    ];
    for watcher in &watchers {
        eventually("the good value", async || watcher.counts().accepted == 1).await;
    }
    let large = "x".repeat(1 << 20);
    let nested = "[".repeat(100_000);
    let garbage =
        ["", "nonsense", "null", "[1]", "7", "\"text\"", "{", "{\"a\": }", &nested, &large, "\u{0}\u{ffff}"];
    for (rejected, text) in garbage.iter().enumerate() {
        for ((map, key, _), watcher) in good.iter().zip(&watchers) {
            python.put(map, key, text);
            eventually("it is counted", async || watcher.counts().rejected == rejected as u64 + 1).await;
        }
    }
    // What is no text at all does not reach the schema: a typed error for who reads, silence for who watches.
    for value in [json!({"boost": 1.0}), json!([1, 2])] {
        for (map, key, _) in good {
            python.run(json!({"op": "put", "map": map, "key": key, "value": value}));
            let error = memory.get(map, key).await.unwrap_err();
            assert!(matches!(error, MemoryError::NotText { .. }), "{error}");
        }
    }
    for (index, deployment) in [Deployment::Blue, Deployment::Green].into_iter().enumerate() {
        let texts = ["{\"capital\": \"much\"}", &large];
        python.put(deployment.state_map(), schema::STATE_LATEST_NAUTILUS, texts[index]);
        python.run(
            json!({"op": "put", "map": deployment.state_map(), "key": schema::STATE_LATEST, "value": [1]}),
        );
        assert_eq!(restore_state(&memory, deployment).await, Ok(None));
    }
    for index in 0..schema::SHARDS {
        python.put(&schema::shard_map(index), "BTCUSDT", garbage[index as usize]);
        python.run(json!({"op": "put", "map": schema::shard_map(index), "key": "PICKLE", "value": {"a": 1}}));
    }
    let found = discover(&memory, Nanos(0), Nanos(0)).await.unwrap();
    assert_eq!((found.records.len(), found.rejected.len()), (0, schema::SHARDS as usize));

    for ((map, key, value), watcher) in good.iter().zip(&watchers) {
        python.put(map, key, value);
        eventually("good again", async || watcher.counts().accepted == 2).await;
        assert_eq!(watcher.counts().rejected, garbage.len() as u64);
    }
}
