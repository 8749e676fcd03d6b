//! The kill switch.

use std::path::Path;

use runtime::environment::Files;
use sim::faults::Fault as Strike;

use super::setup;
use crate::harness::{Node, open_orders, positions};

/// Somebody writes the kill file.
fn kill(node: &Node, flatten: bool) {
    node.strike(&Strike::KillSwitch { machine: 0, flatten });
}

#[test]
fn the_kill_file_cancels_closes_verifies_reports_and_latches() {
    setup(70).start(async |node| {
        node.holds().await;
        kill(&node, true);
        let summary = node.ended().await.unwrap();
        assert_eq!(summary.ended_by, "the kill file");
        assert!(summary.router.kill_done, "{}", summary.text());
        assert!(
            open_orders(&node.venue).is_empty() && positions(&node.venue).is_empty(),
            "{}",
            summary.text()
        );
        let report = Path::new(sim::world::KILL_FILE).with_extension("report");
        let report = node.world.slots.borrow()[0].host.files.read(&report).unwrap().unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["done"], &report["open_orders"]), (&true.into(), &0.into()), "{report}");
        assert_eq!(report["open_positions"], serde_json::json!([]));

        let orders = node.world.orders();
        node.start_again();
        let refused = node.ended().await.unwrap_err();
        assert!(refused.message.contains("latched"), "{refused:?}");
        assert_eq!(node.world.orders(), orders, "it has sent nothing");
    });
}

#[test]
fn the_kill_file_without_a_wish_leaves_the_position() {
    setup(71).start(async |node| {
        node.holds().await;
        kill(&node, false);
        let summary = node.ended().await.unwrap();
        assert!(summary.router.kill_done && open_orders(&node.venue).is_empty(), "{}", summary.text());
        // Nothing was closed by the switch: what the venue holds is what is reported.
        let held: Vec<String> = positions(&node.venue).into_keys().collect();
        assert_eq!(
            held,
            summary.open_positions.iter().flatten().map(|p| p.symbol.clone()).collect::<Vec<_>>()
        );
    });
}
