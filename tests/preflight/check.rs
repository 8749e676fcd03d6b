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
        "file",
        "kill-file",
        "disk",
        "descriptors",
        "ram",
        "symbols",
        "sizes",
        "budget",
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

/// The set-ups that a person may spoil in the configuration: what is written, the check that names it, its verdict, and
/// words of what to do.
const SPOILED: [(&str, &str, &str, &str); 17] = [
    ("runtime.kill_file: /proc/none/kill", "kill-file", "fail", "runtime.kill_file"),
    ("memory.path: /proc/none/memory", "memory", "fail", "/proc/none"),
    ("market.symbols: [ETHUSDT, SOLUSDT]", "symbols", "fail", "add it"),
    ("market.symbols: [BTCUSDT, BTCUSDT]", "symbols", "fail", "each once"),
    ("market.symbols: [BTCUSDT, ethusdt]", "symbols", "fail", "upper-case"),
    ("market.symbols: [BTCUSDT, NOSUCHUSDT]", "instruments", "fail", "NOSUCHUSDT"),
    ("alpha.excluded_assets: [BTCUSDT]\nmarket.symbols: [BTCUSDT]", "symbols", "fail", "nothing to trade"),
    ("market.max_symbols: 3", "symbols", "warn", "below 8"),
    ("alpha.mc_models_dir: /nowhere", "models", "warn", "DISABLED"),
    ("router.risk.max_order_notional_usd: 100", "sizes", "warn", "cut"),
    ("breaker.max_daily_loss: null", "breaker", "warn", "max_daily_loss"),
    ("router.risk.venue_orders_per_10s: 100000", "budget", "fail", "set it to"),
    ("router.risk.venue_weight_per_min: 1000000", "budget", "fail", "set it to"),
    ("venue.public_url: ws://127.0.0.1:1", "public", "fail", "venue.public_url"),
    ("venue.market_url: ws://127.0.0.1:1", "market", "fail", "venue.market_url"),
    ("venue.ws_api_url: ws://127.0.0.1:1", "orders", "fail", "venue.ws_api_url"),
    ("alpha.maker_fee: -0.05", "fees", "warn", "the account pays"),
];

/// `a.b.c: value` lines put into the set's configuration; a key that stands there is replaced.
fn spoil(set: &Set, lines: &str) -> String {
    let mut config: Value = serde_json::from_str("{}").unwrap();
    for line in lines.lines() {
        let (path, value) = line.split_once(": ").unwrap();
        let value = value.trim_start_matches('[').trim_end_matches(']');
        let value = match (line.contains('['), value) {
            (true, list) => list.split(", ").map(str::to_owned).collect(),
            (_, "null") => Value::Null,
            (_, text) => text.parse::<f64>().map_or_else(
                |_| Value::from(text),
                |x| if x.fract() == 0.0 { Value::from(x as i64) } else { Value::from(x) },
            ),
        };
        let mut at = &mut config;
        for name in path.split('.') {
            at = &mut at[name];
        }
        *at = value;
    }
    set.write("spoiled.yml", &config.to_string(), 0o644).display().to_string()
}

#[test]
fn each_spoiled_configuration_is_refused_or_warned_of_by_name() {
    let set = Set::plain();
    let (keys, at) = (set.path("keys.toml"), set.at());
    for (lines, check, verdict, words) in SPOILED {
        let config = spoil(&set, lines);
        let arguments = ["check", "--config", &config, "--keys", &keys, "--venue", &at, "--json"];
        let output = finish(dolphin(&arguments).spawn().unwrap());
        assert_eq!(output.status.code(), Some(i32::from(verdict == "fail")), "{lines}: {}", stderr(&output));
        let report = json(&output);
        let found = report["findings"].as_array().unwrap();
        let named = found.iter().find(|f| f["check"] == check && f["verdict"] == verdict);
        let named = named.unwrap_or_else(|| panic!("{lines}: no {verdict} of {check} in {report}"));
        assert!(named["text"].as_str().unwrap().contains(words), "{lines}: {named}");
    }
}

#[test]
fn a_configuration_that_everybody_may_write_fails() {
    let set = Set::plain();
    let config = set.write("open.yml", "direction: short\n", 0o666).display().to_string();
    let arguments = ["check", "--config", &config, "--venue", &set.at(), "--json"];
    let output = finish(dolphin(&arguments).spawn().unwrap());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(verdicts(&json(&output)).contains(&("file".to_owned(), "fail".to_owned())));
}
