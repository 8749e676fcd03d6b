//! `dolphin bench tick-to-order` and `compare` as their user meets them. What is held here is that the figures are there
//! and add up; how large they are is no test's business.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn run(args: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
    // The made-up market: the test is the same with recordings and without.
    command.args(args).env("XDG_STATE_HOME", state.path()).env_remove("DOLPHIN_SHARED");
    command.output().unwrap()
}

fn fails(args: &[&str], exit: i32, word: &str) {
    let output = run(args);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {message}");
    assert!(message.contains(word) && !message.contains("panicked"), "{args:?}: {message}");
}

/// The steps of an entry: each is measured, whatever it takes.
const STEPS: [&str; 17] = [
    "venue late",
    "kernel→read",
    "frame",
    "decode",
    "prepare",
    "book",
    "wait: book→scanner",
    "decide: scan",
    "wait: scanner→engine",
    "decide: engine",
    "wait: engine→router",
    "risk+route",
    "wait: router→gateway",
    "encode+sign",
    "write",
    "wire→venue",
    "acknowledge",
];

/// One run with all its outputs, under a budget that nobody can keep.
fn measured(folder: &Path, seconds: &str, transport: &[&str]) -> Value {
    let (html, hlog) = (folder.join("page.html"), folder.join("log.hlog"));
    let mut args =
        vec!["bench", "tick-to-order", "--symbols", "6", "--rates", "1", "--seconds", seconds, "--json"];
    args.extend(["--html", html.to_str().unwrap(), "--hlog", hlog.to_str().unwrap(), "--budget", "p50=1ns"]);
    args.extend(transport);
    let output = run(&args);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "the budget is missed, or nothing was measured: {message}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {message}"));
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("Load sweep") && !page.contains("http"), "{page}");
    assert!(std::fs::read_to_string(&hlog).unwrap().contains("Tag=entry_wire,"));
    report
}

#[test]
fn the_node_enters_and_exits_and_every_step_of_the_way_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    // A machine that does other things may leave the first seconds without an entry.
    let traded = |report: &Value| {
        let run = &report["runs"][0];
        run["paths"]["entry"]["within"]["n"].as_u64() > Some(0) && run["exits"].as_u64() > Some(0)
    };
    let report = ["2", "10", "30"]
        .into_iter()
        .map(|seconds| measured(folder.path(), seconds, &[]))
        .find(traded)
        .expect("no entry and exit in 30 s");
    assert!(std::fs::read_to_string(folder.path().join("page.html")).unwrap().contains("<polyline"));
    let run = &report["runs"][0];
    assert!(run["entries"].as_u64() > Some(0) && run["exits"].as_u64() > Some(0), "{run}");
    assert!(run["ticks"].as_u64() > Some(0) && run["frames_per_s"].as_f64() > Some(0.0), "{run}");
    let entry = &run["paths"]["entry"];
    let names: Vec<&str> =
        entry["hops"].as_array().unwrap().iter().map(|h| h["name"].as_str().unwrap()).collect();
    assert_eq!(names, STEPS);
    assert!(entry["unattributed"].as_f64().unwrap().abs() < 0.02, "{entry}");
    let (within, wire) = (&entry["within"], &entry["wire"]);
    assert!(within["p50"].as_u64() <= wire["max"].as_u64() && within["min"].as_u64() > Some(0), "{entry}");
    assert!(wire["n"] == within["n"] && entry["wire_response"]["n"] == wire["n"], "{entry}");
    assert!(report["floor"]["round_trip"]["n"].as_u64() > Some(0), "{}", report["floor"]);
    let machine = &report["machine"];
    assert!(machine["cores"].as_u64() > Some(0) && machine["clock_ns"].as_f64() > Some(0.0), "{machine}");
    assert!(!report["data"][1].as_str().unwrap().is_empty());
    let hot = &run["threads"][0];
    assert!(hot["worker"].is_string() && hot["involuntary_switches"].is_u64(), "{hot}");
}

/// A report with one entry path, each percentile so many times that of another.
fn made_up(path: &Path, scale: u64) -> String {
    let value = |q: f64| scale * (1_000 + (q * 500.0) as u64);
    let curve: Vec<(f64, u64)> = (0..10).map(|i| 1.0 - 0.5f64.powi(i)).map(|q| (q, value(q))).collect();
    let figure = json!({
        "n": 1000, "min": value(0.0), "p50": value(0.5), "p90": value(0.9), "p99": value(0.99), "p999": value(1.0),
        "max": value(1.0), "mean": value(0.5) as f64, "curve": curve,
    });
    let report = json!({
        "bench": "tick-to-order", "symbols": 48,
        "runs": [{ "rate": 1.0, "paths": { "entry": { "within": figure, "wire": figure } } }],
    });
    std::fs::write(path, report.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn two_reports_are_faster_slower_or_alike() {
    let folder = tempfile::tempdir().unwrap();
    let [slow, fast] = [20, 10].map(|scale| made_up(&folder.path().join(format!("{scale}.json")), scale));
    let verdict = |a: &str, b: &str| {
        let output = run(&["bench", "compare", a, b, "--json"]);
        let both: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), both["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(verdict(&slow, &fast), (Some(0), "faster".to_owned()));
    assert_eq!(verdict(&fast, &slow), (Some(1), "slower".to_owned()));
    assert_eq!(verdict(&fast, &fast), (Some(0), "within_noise".to_owned()));
    let text = run(&["bench", "compare", &fast, &slow]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("boundary → entry, wire"));
    let none = folder.path().join("none.json");
    std::fs::write(&none, "{}").unwrap();
    fails(&["bench", "compare", &fast, none.to_str().unwrap()], 3, "holds no run");
    std::fs::write(&none, "decode").unwrap();
    fails(&["bench", "compare", none.to_str().unwrap(), &fast], 3, "none.json");
    fails(&["bench", "compare", "/no/such.json", &fast], 3, "/no/such.json");
}

/// A program that notes that it was run, with what, and prints a report.
fn program(folder: &Path, name: &str, report: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    let told = folder.join("told");
    let script = format!("#!/bin/sh\necho {name} \"$@\" >> {}\ncat {report}\n", told.display());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn two_programs_are_run_in_turn_and_judged_by_their_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, scale| {
        let report = made_up(&folder.path().join(format!("{name}.json")), scale);
        program(folder.path(), name, &report)
    };
    let (slow, fast) = (of("slow", 20), of("fast", 10));
    let with_words = format!("{slow} --cold");
    let output =
        run(&["bench", "compare", "--runs", "3", &with_words, &fast, "--json", "--", "--seconds", "5"]);
    let both: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &both["verdict"], &both["pairs"]),
        (Some(0), &json!("faster"), &json!(3))
    );
    let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
    let turn = "slow bench tick-to-order --json --rates 1 --cold --seconds 5\n\
                fast bench tick-to-order --json --rates 1 --seconds 5\n";
    assert_eq!(told, turn.repeat(3));
    let slower = run(&["bench", "compare", "--runs", "3", &fast, &slow]);
    assert_eq!(slower.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&slower.stdout).contains("slower"));
    fails(&["bench", "compare", "--runs", "2", &fast, &slow], 2, "3 or more");
    fails(&["bench", "compare", "--runs", "3", "/no/such", &slow], 2, "/no/such");
    fails(&["bench", "compare", "--runs", "3", "true", &slow], 3, "no report");
    fails(&["bench", "compare", &fast, &slow, "--", "--wire"], 2, "--runs");
}

#[test]
fn what_cannot_be_measured_is_said_at_once() {
    let base = ["bench", "tick-to-order"];
    for (wrong, word) in [
        (&["--symbols", "1"][..], "2 to 400"),
        (&["--symbols", "401"], "2 to 400"),
        (&["--seconds", "0"], "--seconds"),
        (&["--seconds", "NaN"], "--seconds"),
        (&["--rates", "1,0"], "--rates"),
        (&["--rates", "fast"], "--rates"),
        (&["--budget", "p98=1us"], "p98=1us"),
        (&["--budget", "p99=soon"], "p99=soon"),
    ] {
        fails(&[&base[..], wrong].concat(), 2, word);
    }
    fails(&["bench", "jitter", "--seconds=-1"], 2, "--seconds");
    fails(&["bench", "pipeline", "--up-to", "0"], 2, "--rates");
    fails(&["bench", "compare", "a.json"], 2, "<B>");
    fails(&["bench"], 2, "tick-to-order");
    fails(&["bench", "tick-to-order", "--recording", "/no/such.gz"], 3, "/no/such.gz");
    fails(&["bench", "tick-to-order", "--html", "/no/such/page.html"], 3, "/no/such/page.html");
}
