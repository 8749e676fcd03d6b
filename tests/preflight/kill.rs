//! `dolphin kill`.

use std::path::Path;

use venue::core::{Listing, Position};
use venue::faults::{Fault, Rule};

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

/// Seen: 32 entries beside a large position that somebody else held, and "done, no positions" with 1,978 ATOM open.
#[test]
fn what_is_not_followed_stops_entries_is_closed_and_named() {
    let set = Set::plain();
    let name = |listing: &Listing| listing.instrument.symbol.clone();
    let names: Vec<String> = set.venue.inspect(|x| x.listings().iter().map(name).collect());
    let (followed, foreign) = (&names[..6], names[9].clone());
    let config = std::fs::read_to_string(set.path("node.yml")).unwrap();
    let config = config.replace("max_symbols: 48", &format!("symbols: [{}]", followed.join(", ")));
    set.write("node.yml", &config, 0o644);
    let by_hand = |side: &str, quantity: &str| {
        let (side, quantity, price) = (side.to_owned(), quantity.to_owned(), None);
        let symbol = foreign.clone();
        let fault = Fault::ExternalOrder { account: 0, symbol, side, quantity, price, client_id: None };
        set.venue.inject(Rule::times(fault, 1)).unwrap();
    };
    let account = set.venue.account(0);
    let opened = || set.venue.inspect(|x| x.orders_of(account).filter(|o| !o.reduce_only).count());
    let held = || {
        set.venue.inspect(|x| {
            let position = |(at, p): (&(_, _), &Position)| {
                x.listing(at.0).instrument.symbol == foreign && !p.qty.is_zero()
            };
            x.account(account).positions.iter().any(position)
        })
    };
    let log = set.path("log");
    let started = || {
        let mut live = set.live(&["--json"]);
        live.stderr(std::fs::File::create(&log).unwrap());
        let running = Running::start(live);
        until("it names what it does not trade beside", || {
            std::fs::read_to_string(&log).unwrap().contains(&foreign)
        });
        running
    };
    let kill = |more: &[&str]| {
        let config = set.path("node.yml");
        let args = [&["kill", "--config", config.as_str(), "--json"], more].concat();
        json(&finish(dolphin(&args).spawn().unwrap()))
    };
    by_hand("BUY", "200");
    until("somebody holds a position there", held);
    let by_others = opened();
    let running = started();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(opened(), by_others, "entries beside a position that is not followed");
    let report = kill(&["--flatten"]);
    assert_eq!(
        (&report["done"], &report["open_positions"]),
        (&true.into(), &serde_json::json!([])),
        "{report}"
    );
    assert!(!held(), "{report}");
    running.finish();

    // Without --flatten it stays, and the answer names it.
    std::fs::remove_file(set.path("node.yml.kill")).unwrap();
    by_hand("SELL", "150");
    until("somebody holds a position there", held);
    let running = started();
    let left = kill(&[])["open_positions"].clone();
    assert_eq!((left[0]["symbol"].as_str(), held()), (Some(foreign.as_str()), true), "{left}");
    running.finish();
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
