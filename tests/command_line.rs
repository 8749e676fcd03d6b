//! The program as its user meets it: the demo from start to end, a signal in the middle, and every kind of bad input
//! with its message and exit code (SPEC §11).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn dolphin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    dolphin(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| {
        panic!("one JSON object expected ({e}): {text}\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn config(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name).display().to_string()
}

/// It ends with this exit code and one message that holds all of `words`; nothing panicked.
fn fails(args: &[&str], exit: i32, words: &[&str]) {
    let output = run(args);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {message}");
    assert!(!message.contains("panicked"), "{args:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{args:?}: `{word}` is not in: {message}");
    }
}

/// Waits for the end of `child`, at most two minutes.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it did not end: {}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn the_demo_trades_and_ends_flat() {
    let output = run(&["demo", "--seconds", "20", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = json(&output);
    assert!(summary["round_trips"].as_u64().unwrap() >= 1, "{summary}");
    assert_eq!(summary["open_orders"], 0);
    assert_eq!(summary["open_positions"].as_array().unwrap().len(), 0);
    assert_eq!(summary["book"]["live_books"], 48);
    assert_eq!(summary["router"]["reconciled"], true);
    assert!(summary["pnl"].is_f64() && summary["maker_share"].is_f64(), "{summary}");
    for hop in ["book", "features", "scanner", "alpha", "router", "gateway", "tick_to_order", "acknowledged"]
    {
        assert!(summary["latency_ns"][hop]["n"].as_u64().unwrap() > 0, "{hop}");
    }
    for ring in summary["rings"].as_array().unwrap() {
        // Quotes and news may be given up.
        let name = ring["name"].as_str().unwrap();
        let lossless = name != "book_to_router" && !name.ends_with("_to_control");
        assert!(!lossless || ring["full"] == 0, "{ring}");
    }
}

#[test]
fn the_demo_plays_recordings() {
    let Some(btc) = testkit::shared_data("recordings/usdm_btcusdt_20240808.gz") else { return };
    let Some(eth) = testkit::shared_data("recordings/usdm_ethusdt_20240808.gz") else { return };
    let (btc, eth) = (btc.display().to_string(), eth.display().to_string());
    let output = run(&["demo", "--recording", &btc, &eth, "--seconds", "20", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = json(&output);
    assert!(summary["round_trips"].as_u64().unwrap() >= 1, "{summary}");
    assert_eq!(summary["book"]["live_books"], 48);
}

#[test]
fn a_signal_ends_the_demo_in_good_order() {
    let child = dolphin(&["demo", "--seconds", "600", "--json"]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(10));
    // In between: `.cargo/config.toml` keeps huge pages from it.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    assert!(status.contains("THP_enabled:\t0"), "{status}");
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = finish(child);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = json(&output);
    assert_eq!(summary["ended_by"], "a signal");
    assert_eq!(summary["open_orders"], 0);
}

#[test]
fn bad_configurations_are_named_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let typo = write("typo.yml", "market:\n  tick_mss: 100\n");
    fails(&["demo", "--config", &typo], 2, &["typo.yml:2:3", "did you mean `tick_ms`"]);
    fails(&["demo", "--config", "no-such.yml"], 2, &["no-such.yml"]);
    let drift = write("drift.yml", "alpha:\n  fixed_tp_pct: 0.01\n");
    fails(&["live", "--config", &drift], 2, &["fixed_tp_pct", "0.0095", "0.01"]);
    fails(&["live", "--config", &config("blue.yml"), "--venue", "mainnet"], 2, &["--mainnet"]);
    fails(&["live", "--config", &config("blue.yml"), "--venue", "nowhere"], 2, &["nowhere", "host:port"]);
    fails(&["demo", "--seconds", "-1"], 2, &["-1"]);
    fails(&["demo", "--symbols", "0"], 2, &["symbols"]);
    fails(&["nonsense"], 2, &["nonsense"]);
}

#[test]
fn keys_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys.toml");
    fs::write(&keys, "[local]\nkey = \"K\"\nsecret = \"canary-secret\"\n").unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let keys = keys.display().to_string();
    let args = ["live", "--config", &config("blue.yml"), "--keys", &keys, "--venue", "127.0.0.1:9"];
    fails(&args, 2, &["keys.toml", "600"]);
    assert!(!String::from_utf8_lossy(&run(&args).stderr).contains("canary-secret"));
}

#[test]
fn a_venue_that_is_not_there_is_exit_4() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys.toml");
    fs::write(&keys, "[local]\nkey = \"K\"\nsecret = \"S\"\n").unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    // A port that was free a moment ago: nobody listens there.
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let keys = keys.display().to_string();
    fails(
        &["live", "--config", &config("blue.yml"), "--keys", &keys, "--venue", &at],
        4,
        &["127.0.0.1", "reached"],
    );
}

#[test]
fn a_port_in_use_is_exit_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&["demo", "--port", &port], 4, &[&port, "listen"]);
    fails(&["venue", "--listen", &format!("127.0.0.1:{port}")], 4, &[&port, "listen"]);
}

#[test]
fn bad_recordings_are_exit_3() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let not_gzip = path("bad.gz", b"this is no gzip file").display().to_string();
    let garbage = path("garbage.txt", b"no time and no frame\n").display().to_string();
    for file in [&not_gzip, &garbage, &"no-such.gz".to_owned()] {
        fails(&["demo", "--recording", file], 3, &[file]);
        let out = dir.path().join("f.parquet").display().to_string();
        fails(&["features", "--recording", file, "--out", &out], 3, &[file]);
        assert!(!Path::new(&out).exists(), "nothing half-written");
    }
}

#[test]
fn replay_says_what_is_wrong_with_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().display().to_string();
    let out = dir.path().join("out").display().to_string();
    let blue = config("blue.yml");
    fails(&["replay", "--config", &blue, "--data", &empty, "--out", &out], 3, &[&empty]);
    fs::write(dir.path().join("2026-02-01.parquet"), b"PAR1 truncated").unwrap();
    fails(&["replay", "--config", &blue, "--data", &empty, "--out", &out], 3, &["2026-02-01.parquet"]);
    fails(
        &["replay", "--config", &blue, "--data", &empty, "--out", &out, "--set", "fractoin=1"],
        2,
        &["fraction"],
    );
    assert!(!Path::new(&out).exists(), "nothing half-written");
}

#[test]
fn help_shows_an_example_for_each_command() {
    for command in
        ["demo", "live", "check", "kill", "replay", "parity", "venue", "features", "eigen", "bench"]
    {
        let output = run(&[command, "--help"]);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("Example") && text.contains(&format!("dolphin {command}")),
            "{command}: {text}"
        );
    }
}

#[test]
fn the_program_says_what_it_is_and_makes_its_completions_and_manual_pages() {
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert!(version.starts_with("dolphin 0.") && version.contains("linux"), "{version}");
    for shell in ["bash", "zsh", "fish"] {
        let text = String::from_utf8(run(&["completions", shell]).stdout).unwrap();
        assert!(text.contains("parity"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("man").display().to_string();
    assert!(run(&["man", &out]).status.success());
    for page in ["dolphin.1", "dolphin-replay.1", "dolphin-config-show.1"] {
        assert!(Path::new(&out).join(page).is_file(), "{page}");
    }
    fails(&["man", "/proc/none"], 2, &["/proc/none"]);
}

#[test]
fn values_of_a_configuration_say_where_they_come_from() {
    let (blue, green) = (config("blue.yml"), config("green.yml"));
    let shown = json(&run(&["config", "show", "--config", &green, "--json"]));
    let direction = shown.as_array().unwrap().iter().find(|v| v["key"] == "direction").unwrap().clone();
    assert_eq!(direction["value"], "both");
    assert!(direction["origin"].as_str().unwrap().contains("green.yml:"), "{direction}");
    let output = run(&["config", "diff", &blue, &green]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("short → both"));
    assert!(run(&["config", "diff", &blue, &blue]).status.success());
    let schema = json(&run(&["config", "schema"]));
    assert_eq!(schema["properties"]["market"]["properties"]["tick_ms"]["maximum"], 60_000);
    fails(
        &["replay", "--config", &blue, "--data", "x", "--from", "2026-02-01", "--to", "2026-01-01"],
        2,
        &["--from 2026-02-01 lies after --to 2026-01-01"],
    );
}
