//! `dolphin kill`.

use std::path::Path;

use super::stage::{Running, Set, dolphin, fails, finish, json, stderr, until};

#[test]
fn it_ends_a_running_node_and_tells_what_is_left() {
    let set = Set::plain();
    let config = set.path("node.yml");
    let running = Running::start(set.live(&["--json"]));
    until("the node trades", || set.venue.counters().orders > 0);
    let output = finish(dolphin(&["kill", "--config", &config, "--flatten", "--json"]).spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!((&report["done"], &report["open_orders"]), (&true.into(), &0.into()), "{report}");
    assert_eq!(report["open_positions"].as_array().unwrap().len(), 0, "{report}");
    let node = running.finish();
    assert!(node.status.success(), "{}", stderr(&node));
    assert_eq!(json(&node)["ended_by"], "the kill file");
    // Latched: no node starts while the file is there.
    assert!(Path::new(&format!("{config}.kill")).exists());
    fails(set.live(&[]), 2, &["node.yml.kill", "remove it"]);
    set.venue.inspect(|exchange| {
        let account = exchange.account_ids().next().unwrap();
        assert!(exchange.orders_of(account).all(|o| !o.is_open()));
    });
}

#[test]
fn nobody_answers() {
    let set = Set::plain();
    let file = set.path("stop-it");
    fails(
        dolphin(&["kill", "--file", &file, "--timeout", "0.3"]),
        1,
        &["nobody answered", "stop-it", "remove the file"],
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "stop\n");
    let nowhere = set.path("no-such-folder/stop-it");
    fails(dolphin(&["kill", "--file", &nowhere]), 2, &["cannot write the kill file", "no-such-folder"]);
    fails(dolphin(&["kill", "--file", &file, "--timeout=-1"]), 2, &["-1"]);
}
