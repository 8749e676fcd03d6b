//! Fences on real members: one, and three of which one dies meanwhile.

use memory::fence_of;
use serde_json::json;
use testkit::hazelcast::{CURRENT, Cluster, Python};

use super::fencing::{self, fence, write};
use super::support::connect;

#[tokio::test]
async fn a_replaced_writer_is_refused_by_the_cluster() {
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let (old, new) = (connect(&cluster).await, connect(&cluster).await);
    fencing::a_replaced_writer_is_refused(&old, &new).await;
    fencing::a_claimed_state_stays_as_it_was_read(&old, &new).await;
    fencing::fences_never_go_back(async || connect(&cluster).await, 600).await;
    fencing::a_claim_holds(async || connect(&cluster).await, 200).await;
    fencing::write_behind_sets_aside_what_is_fenced(&new).await;

    // What Python wrote is compared as the member keeps it, and read by Python afterwards.
    let Some(mut python) = Python::start(&cluster) else { return };
    python.put("STATE", "of python", r#"{"fence": 3, "capital": 1.0}"#);
    python.run(json!({"op": "put_json", "map": "STATE", "key": "json", "value": r#"{"capital": 2.0}"#}));
    python.run(json!({"op": "put", "map": "STATE", "key": "pickle", "value": {"a": 1}}));
    for key in ["of python", "json"] {
        let claimed = new.claim("STATE", key, &fence(8)).await.unwrap().unwrap();
        assert_eq!(fence_of(&claimed), Some(8));
    }
    assert_eq!(python.get("STATE", "of python"), json!(["str", r#"{"fence":8,"capital": 1.0}"#]));
    assert_eq!(python.get("STATE", "json")[0], json!("HazelcastJsonValue"), "its kind is kept");
    assert!(new.claim("STATE", "pickle", &fence(8)).await.unwrap_err().to_string().contains("pickle"));
    new.put_all_fenced(&[write("pickle", "{}"), write("json", "{}")], &fence(8)).await.unwrap();
    assert_eq!(python.get("STATE", "pickle"), json!(["str", r#"{"fence":8}"#]));
    let old = old.put_all_fenced(&[write("json", "{}")], &fence(7)).await.unwrap_err();
    assert!(old.to_string().contains("its fence is 8, ours was 7"), "{old}");
}

#[tokio::test]
async fn fences_hold_while_a_member_dies_and_comes_back() {
    let Some(mut cluster) = Cluster::start(CURRENT, 3) else { return };
    let addresses = cluster.addresses();
    let writing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fencing::fences_never_go_back(
            async || super::support::connect_to(addresses.clone()).await,
            3_000,
        ));
    });
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    cluster.members[1].kill();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    cluster.members[1].restart();
    writing.join().unwrap();
}
