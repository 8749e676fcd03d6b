//! The kill switch and the dead-man switch.

use std::fs;

use super::setup;
use crate::harness::{open_orders, positions};

#[test]
fn the_kill_file_cancels_closes_verifies_reports_and_latches() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kill");
    let mut wanted = setup(70);
    wanted.kill_file = Some(file.clone());
    let mut node = wanted.start();
    node.holds();
    fs::write(&file, "flatten\n").unwrap();
    let summary = node.ended().unwrap();
    assert_eq!(summary.ended_by, "the kill file");
    assert!(summary.router.kill_done, "{}", summary.text());
    assert!(open_orders(&node.venue).is_empty() && positions(&node.venue).is_empty(), "{}", summary.text());
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("kill.report")).unwrap()).unwrap();
    assert_eq!((&report["done"], &report["open_orders"]), (&true.into(), &0.into()), "{report}");
    assert_eq!(report["open_positions"], serde_json::json!([]));

    drop(node);
    let mut again = setup(70);
    again.kill_file = Some(file);
    let refused = again.launch(&[]).ended().unwrap_err();
    assert!(refused.message.contains("latched"), "{refused:?}");
}

#[test]
fn the_kill_file_without_a_wish_leaves_the_position() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kill");
    let mut wanted = setup(71);
    wanted.kill_file = Some(file.clone());
    let mut node = wanted.start();
    node.holds();
    fs::write(&file, "").unwrap();
    let summary = node.ended().unwrap();
    assert!(summary.router.kill_done && open_orders(&node.venue).is_empty(), "{}", summary.text());
    // Nothing was closed by the switch: what the venue holds is what is reported.
    let held: Vec<String> = positions(&node.venue).into_keys().collect();
    assert_eq!(held, summary.open_positions.iter().flatten().map(|p| p.symbol.clone()).collect::<Vec<_>>());
}
