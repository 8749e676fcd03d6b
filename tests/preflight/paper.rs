//! `dolphin live --paper`: the market of a real venue, fills of our own.

use venue::VenueConfig;

use super::stage::{Set, dolphin, fails, finish, json, stderr};

#[test]
fn paper_trades_on_the_mirrored_market_and_the_venue_sees_no_order() {
    let set = Set::new(VenueConfig::default());
    let (config, at) = (set.path("node.yml"), set.at());
    let history = set.path("2026-01-01.parquet");
    let mut live =
        dolphin(&["live", "--paper", "--config", &config, "--venue", &at, "--warm-start", &history]);
    live.args(["--seconds", "30", "--flatten", "--json"]).current_dir(set.dir.path());
    let output = finish(live.spawn().unwrap());
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("PAPER, no key"), "{said}");
    let summary = json(&output);
    assert!(
        summary["venue"].as_str().unwrap().starts_with("paper: fills simulated here on the market of local"),
        "{summary}"
    );
    assert_eq!(summary["book"]["live_books"], super::stage::SYMBOLS as u64, "{summary}");
    assert!(summary["router"]["fills"].as_u64().unwrap() > 0, "{summary}\n{said}");
    assert!(summary["round_trips"].as_u64().unwrap() > 0, "{summary}\n{said}");
    assert_eq!(summary["open_orders"], 0);
    assert_eq!(summary["router"]["reconciled"], true);

    // The venue whose market it was: nobody signed anything, no order came, the account is as it was.
    let seen = set.venue.counters();
    assert_eq!((seen.api_requests, seen.rejects, seen.orders, seen.fills), (0, 0, 0, 0), "{seen:?}");
    set.venue.inspect(|exchange| {
        let account = exchange.account_ids().next().unwrap();
        assert_eq!(exchange.orders_of(account).count(), 0);
        assert_eq!(exchange.account(account).wallet, market::Amount(100_000 * market::Amount::ONE));
    });
}

#[test]
fn paper_pays_the_configured_commissions_or_those_of_the_keys_account() {
    let commission = venue::core::Commission { maker: 40_000, taker: 100_000 };
    let set = Set::new(VenueConfig { commission, ..VenueConfig::default() });
    let (config, keys, at) = (set.path("node.yml"), set.path("keys.toml"), set.at());
    let paper = |more: &[&str]| {
        let mut live =
            dolphin(&["live", "--paper", "--config", &config, "--venue", &at, "--seconds", "1", "--json"]);
        let output = finish(live.args(more).current_dir(set.dir.path()).spawn().unwrap());
        assert!(output.status.success(), "{}", stderr(&output));
        (json(&output)["commission"].clone(), stderr(&output))
    };
    let (rates, _) = paper(&[]);
    assert_eq!(rates, serde_json::json!({"maker": 0.0002, "taker": 0.0005}));
    let (rates, said) = paper(&["--keys", &keys]);
    assert_eq!(rates, serde_json::json!({"maker": 0.0004, "taker": 0.001}));
    assert!(said.contains("PAPER, commissions of the key's account"), "{said}");
    assert_eq!(set.venue.counters().orders, 0);
}

#[test]
fn paper_says_when_there_is_no_market() {
    let set = Set::plain();
    let config = set.path("node.yml");
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    fails(dolphin(&["live", "--paper", "--config", &config, "--venue", &at]), 4, &[&at, "is the port open"]);
}
