//! `dolphin check`.

use std::process::Command;

use serde_json::Value;
use venue::VenueConfig;
use venue::faults::Fault;

use super::stage::{Set, dolphin, finish, json, stderr};

fn check(set: &Set, more: &[&str]) -> Command {
    let (config, at) = (set.path("node.yml"), set.at());
    let mut command = dolphin(&["check", "--config", &config, "--venue", &at]);
    command.args(more);
    command
}

fn verdicts(report: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    report["findings"].as_array().unwrap().iter().map(|f| (text(&f["check"]), text(&f["verdict"]))).collect()
}

#[test]
fn a_healthy_set_passes_every_check() {
    let set = Set::plain();
    let keys = set.path("keys.toml");
    let output = finish(check(&set, &["--keys", &keys, "--json"]).spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["ok"], true);
    assert_eq!(report["config"]["market"]["tick_ms"], 100, "the effective configuration is in it");
    let found = verdicts(&report);
    for wanted in [
        "config",
        "memory",
        "hash",
        "kill",
        "cores",
        "venue",
        "keys",
        "reach",
        "clock",
        "instruments",
        "engine",
        "public",
        "market",
        "orders",
        "mode",
        "margin",
        "account",
        "leverage",
        "permissions",
    ] {
        assert!(
            found.iter().any(|(check, verdict)| check == wanted && verdict == "ok"),
            "{wanted}: {report}"
        );
    }
    assert_eq!(set.venue.counters().orders, 0, "everything short of orders");

    let output = finish(check(&set, &["--keys", &keys]).spawn().unwrap());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.lines().count() >= 18, "{text}");
    assert!(!text.contains("\"S\""), "{text}");
}

#[test]
fn what_fails_is_told_and_exit_is_1() {
    let set = Set::new(VenueConfig { hedge_mode: true, ..VenueConfig::default() });
    let keys = set.path("keys.toml");
    set.venue.inject(Fault::ClockOffset { ms: 7_230_000 }).unwrap();
    set.write("node.yml.kill", "stop\n", 0o600);
    let output = finish(check(&set, &["--keys", &keys, "--json"]).spawn().unwrap());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let found = verdicts(&json(&output));
    for wanted in ["mode", "clock", "kill"] {
        assert!(found.contains(&(wanted.to_owned(), "fail".to_owned())), "{wanted}: {found:?}");
    }
    assert!(stderr(&output).contains("3 checks failed"), "{}", stderr(&output));
}

#[test]
fn without_keys_the_account_is_left_out_and_without_a_venue_the_rest() {
    let set = Set::plain();
    let output = finish(check(&set, &["--json"]).spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    let found = verdicts(&json(&output));
    assert!(found.contains(&("keys".to_owned(), "warn".to_owned())), "{found:?}");
    assert!(found.iter().all(|(check, _)| check != "margin"));

    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output =
        finish(dolphin(&["check", "--config", &set.path("node.yml"), "--venue", &at]).spawn().unwrap());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("FAIL  reach") && text.contains("is the port open"), "{text}");

    set.write("typo.yml", "market:\n  tick_mss: 1\n", 0o644);
    let output = finish(dolphin(&["check", "--config", &set.path("typo.yml")]).spawn().unwrap());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `tick_ms`"), "{}", stderr(&output));
}
