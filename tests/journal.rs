//! The journal of real processes: every decision of a demo is taken again and is the same; after kill -9 what was written
//! is whole; what is damaged is told and the rest is used.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const DEMO: &str = include_str!("../configs/demo.yml");

fn dolphin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    dolphin(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with a configuration whose journal lies in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "{DEMO}\nruntime: {{idle: park, unpinned: true}}\njournal: {{path: {}}}\n",
            dir.path().join("journal").display()
        );
        fs::write(dir.path().join("demo.yml"), config).unwrap();
        Self(dir)
    }

    fn config(&self) -> String {
        self.0.path().join("demo.yml").display().to_string()
    }

    fn journal(&self) -> String {
        self.0.path().join("journal/local").display().to_string()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(self.journal()).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    fn demo(&self, seconds: &str, more: &[&str]) -> Command {
        let config = self.config();
        let mut args = vec!["demo", "--config", &config, "--seconds", seconds, "--json"];
        args.extend(more);
        dolphin(&args)
    }
}

/// The journal decides every run to its end, and everything is equal.
fn decides_again(journal: &str) -> Value {
    let output = run(&["replay", "--journal", journal, "--json"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
    for report in reports.as_array().unwrap() {
        assert_eq!((&report["alpha"], &report["router"]), (&"equal".into(), &"equal".into()), "{report}");
    }
    reports
}

#[test]
fn a_demo_is_decided_again_bit_for_bit_and_can_be_looked_at() {
    let place = Place::new();
    let output = place.demo("15", &["--symbols", "16"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let journal = place.journal();
    let reports = decides_again(&journal);
    let counts = &reports[0]["counts"];
    assert!(counts["steps"].as_u64().unwrap() > 100, "{counts}");
    assert!(counts["requests"].as_u64() >= summary["router"]["orders"].as_u64(), "{counts} {summary}");
    assert!(counts["intents"].as_u64().unwrap() > 0 && counts["states"].as_u64().unwrap() > 0, "{counts}");
    assert_eq!(reports[0]["ended"], true);

    let verified = run(&["journal", "verify", &journal]);
    assert!(verified.status.success() && text(&verified.stdout).contains("all whole"), "{verified:?}");
    let listed: Value =
        serde_json::from_slice(&run(&["journal", "list", &journal, "--json"]).stdout).unwrap();
    assert_eq!(listed[0]["symbols"], 16);
    let shown = run(&["journal", "show", &journal, "--kind", "intent", "--json"]);
    let intents = text(&shown.stdout).lines().count() as u64;
    assert_eq!(Some(intents), counts["intents"].as_u64());
    let one: Value = serde_json::from_str(text(&shown.stdout).lines().next().unwrap()).unwrap();
    assert!(one["symbol"].as_str().unwrap().ends_with("USDT"), "{one}");
    assert!(run(&["journal", "show", &journal, "--kind", "nonsense"]).status.code() == Some(2));

    // The same ticks under other parameters, and against the model.
    let supposed = run(&["replay", "--journal", &journal, "--set", "vel_div_threshold=-0.5", "--json"]);
    let supposed: Value = serde_json::from_slice(&supposed.stdout).unwrap();
    assert_eq!(supposed[0]["hypothetical"], true);
    let entries = |side: &str| supposed[0][side]["entries"].as_array().unwrap().len();
    assert!(entries("as_was") > 0 && entries("as_set") == 0, "{supposed}");
    in_day_files_as_live(&journal);

    let out = place.0.path().join("out").display().to_string();
    let exported = run(&["journal", "export", &journal, "--day-files", &out, "--parquet", &out]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert!(Path::new(&out).join("decisions.parquet").exists());
    let replayed = run(&["replay", "--config", &place.config(), "--data", &out, "--stride", "5", "--json"]);
    let summary: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(summary["bars"], counts["steps"], "{summary}");
    let bundle = place.0.path().join("bundle").display().to_string();
    assert!(run(&["journal", "bundle", &journal, "--out", &bundle]).status.success());
    decides_again(&bundle);

    damaged(&place);
    assert!(run(&["journal", "trim", &journal, "--max-gb", "0"]).status.success());
    assert_eq!(run(&["journal", "verify", &journal]).status.code(), Some(3));
}

/// The session's scans as day files, replayed at the stride of the run: the same intents but for what fills did, and those
/// are told as such. `replay` takes them too.
fn in_day_files_as_live(journal: &str) {
    let parity = run(&["parity", "--journal", journal]);
    let said = format!("{}{}", text(&parity.stdout), text(&parity.stderr));
    assert!(parity.status.success(), "{said}");
    assert!(said.contains("S = 5:") && said.contains("day files, replayed"), "{said}");
    let parity = run(&["parity", "--journal", journal, "--json"]);
    let runs: Value = serde_json::from_slice(&parity.stdout).unwrap();
    let n = |key: &str| runs[0][key].as_u64().unwrap();
    assert!(n("ticks") > 100 && n("both_flat") > 0 && n("equal") == n("both_flat"), "{said}");
    assert!(n("same_intents") > 0 && n("same_with_fills") == n("same_intents") + n("ticks"), "{said}");
    assert!(n("same_entries") > 0 && n("same_entries") <= n("live_entries"), "{said}");
    assert_eq!(runs[0]["unexplained"].as_array().unwrap().len(), 0, "{said}");
    let alone = n("live_entries") + n("model_entries") - 2 * n("same_entries");
    assert!(runs[0]["by_fills"].as_array().unwrap().len() as u64 >= alone, "{said}");
}

/// A flipped byte, anywhere: `verify` says no, `replay` uses what is whole, nothing panics.
fn damaged(place: &Place) {
    let segment = place.segments().pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    for part in 1..8 {
        let mut bytes = whole.clone();
        let at = bytes.len() * part / 8;
        bytes[at] ^= 0x10;
        fs::write(&segment, &bytes).unwrap();
        let verified = run(&["journal", "verify", &place.journal()]);
        assert_eq!(verified.status.code(), Some(1), "byte {at}");
        assert!(text(&verified.stdout).contains("bytes"), "{}", text(&verified.stdout));
        let again = run(&["replay", "--journal", &place.journal()]);
        let said = format!("{}{}", text(&again.stdout), text(&again.stderr));
        assert!(!said.contains("panicked") && !said.contains("otherwise now"), "byte {at}: {said}");
        // Cut there: its end is missing, and is said to be.
        fs::write(&segment, &whole[..at]).unwrap();
        let verified = run(&["journal", "verify", &place.journal()]);
        let said = text(&verified.stdout);
        assert!(said.contains("not closed") || said.contains("bytes"), "cut at {at}: {said}");
    }
    fs::write(&segment, &whole).unwrap();
}

/// Kills; `DOLPHIN_KILLS` says how many.
#[test]
fn after_kill_9_at_any_moment_what_was_written_is_whole() {
    let kills = std::env::var("DOLPHIN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(5u64);
    let place = Place::new();
    let mut dice = 0x9e37_79b9u64;
    for _ in 0..kills {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = place.demo("600", &["--symbols", "4"]).spawn().unwrap();
        // From its first segment on.
        let began = Instant::now();
        let before = if Path::new(&place.journal()).exists() { place.segments().len() } else { 0 };
        while began.elapsed() < Duration::from_secs(30) {
            let now = if Path::new(&place.journal()).exists() { place.segments().len() } else { 0 };
            if now > before {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis((dice >> 33) % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let verified = run(&["journal", "verify", &place.journal(), "--json"]);
    let lines: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(lines.as_array().unwrap().len() as u64, kills);
    for line in lines.as_array().unwrap() {
        assert_eq!(line["missing"].as_array().unwrap().len(), 0, "{line}");
        assert_eq!(line["ended"], false, "{line}");
        // A kill in the middle of a write tears its last record, and nothing else.
        assert!(line["damage"].as_array().unwrap().len() <= 1, "{line}");
    }
    let output = run(&["replay", "--journal", &place.journal(), "--json"]);
    let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps: u64 = reports.as_array().unwrap().iter().map(|r| r["counts"]["steps"].as_u64().unwrap()).sum();
    assert!(steps > 0, "{reports}");
    for report in reports.as_array().unwrap() {
        let differs = report["alpha"].get("differs").is_some() || report["router"].get("differs").is_some();
        assert!(!differs, "{report}");
    }
}

#[test]
fn what_is_no_journal_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().display().to_string();
    for args in
        [&["replay", "--journal", &empty][..], &["journal", "list", &empty], &["parity", "--journal", &empty]]
    {
        let output = run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("no journal segment"), "{}", text(&output.stderr));
    }
    let noise = dir.path().join("1700000000-0000000000abc-000000.dj");
    fs::write(&noise, [7; 5000]).unwrap();
    let output = run(&["replay", "--journal", &empty]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(run(&["journal", "verify", &empty]).status.code(), Some(1));
}
