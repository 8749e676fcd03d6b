//! The journal of real processes: every decision of a demo is taken again and is the same; after kill -9 what was written
//! is whole; what is damaged is told and the rest is used.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use archive::table::Cell;
use node::journal::records::{ALPHA, TICK, decode};
use node::journal::replay::{Within, replay};
use node::stages::Tick;
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
        Self::with("")
    }

    /// With these keys of the section `journal` as well.
    fn with(journal: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "{DEMO}\nruntime: {{idle: park, unpinned: true}}\njournal: {{{journal}path: {}}}\n",
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
    for kind in ["--day-files", "--parquet"] {
        let again = run(&["journal", "export", &journal, kind, &out]);
        assert_eq!(again.status.code(), Some(2), "{kind}");
        assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
        let again = run(&["journal", "export", &journal, kind, &out, "--force"]);
        assert!(again.status.success(), "{}", text(&again.stderr));
    }
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

/// A process that is ended with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Features by time and symbol, by the names of their columns.
type Features = std::collections::BTreeMap<(i64, String), Vec<(String, f64)>>;

/// What `dolphin features` makes of a recording.
fn of_recording(place: &Place, recording: &str) -> Features {
    let out = place.0.path().join(recording).with_extension("parquet");
    let file = place.0.path().join(recording).display().to_string();
    let done = run(&["features", "--recording", &file, "--out", &out.display().to_string()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let table = archive::table::read(&out).unwrap();
    let mut features = Features::new();
    for row in table.rows {
        let (mut at, mut symbol, mut values) = (0, String::new(), Vec::new());
        for (column, cell) in table.columns.iter().zip(row) {
            match cell {
                Cell::Int(ms) if column == "ts_ms" => at = ms,
                Cell::Text(name) if column == "symbol" => symbol = name,
                Cell::Float(x) if column != "agreement_pct" => {
                    values.push((column.clone(), x));
                }
                _ => {}
            }
        }
        values.sort_by(|a, b| a.0.cmp(&b.0));
        features.insert((at, symbol), values);
    }
    features
}

/// What a node journalled, and every tick with its symbols in column order.
fn of_journal(journal: &str) -> Features {
    let mut features = Features::new();
    let files = runtime::environment::SystemFiles;
    let reports = replay(&files, Path::new(journal), Within::ALL, &|_| None, &mut |header, _, record| {
        if record.stream == ALPHA && record.kind == TICK {
            let tick: Tick = decode(record.payload).unwrap();
            for (symbol, of) in header.symbols.iter().zip(&tick.features) {
                let Some(of) = of else { continue };
                let mut values = Vec::new();
                for (name, value) in serde_json::to_value(of).unwrap().as_object().unwrap() {
                    match value.as_array() {
                        Some(all) => {
                            for (i, x) in all.iter().enumerate() {
                                values.push((format!("{name}_{}", i + 1), x.as_f64().unwrap()));
                            }
                        }
                        None => values.push((name.clone(), value.as_f64().unwrap())),
                    }
                }
                values.sort_by(|a, b| a.0.cmp(&b.0));
                features.insert((tick.ts.millis() as i64, symbol.clone()), values);
            }
        }
        true
    });
    assert!(reports.unwrap()[0].is_equal());
    features
}

/// How many of both are there, are equal to the bit, and which of the others differ most, by column.
fn compare(ours: &Features, theirs: &Features) -> (usize, std::collections::BTreeMap<String, (usize, f64)>) {
    let (mut both, mut apart) = (0, std::collections::BTreeMap::<String, (usize, f64)>::new());
    for (at, values) in ours {
        let Some(others) = theirs.get(at) else { continue };
        both += 1;
        for ((name, ours), (same, theirs)) in
            values.iter().zip(others.iter().filter(|(name, _)| name != "mid"))
        {
            assert_eq!(name, same);
            if ours.to_bits() != theirs.to_bits() {
                let worst = apart.entry(name.clone()).or_default();
                worst.0 += 1;
                worst.1 = worst.1.max((ours - theirs).abs() / ours.abs().max(theirs.abs()));
            }
        }
    }
    (both, apart)
}

/// One market by three ways: what a node's book stage made of its frames (in its journal), what `features`
/// makes of the same frames (`record --from-journal`), and of those that `record` got by a connection of its own.
/// `DOLPHIN_RECORD_SECONDS` says how long.
#[test]
fn features_of_a_recording_are_those_that_the_node_journalled() {
    let seconds: u64 =
        std::env::var("DOLPHIN_RECORD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(15);
    let place = Place::with("content: frames, ");
    let path = |name: &str| place.0.path().join(name).display().to_string();
    let mut venue = dolphin(&["venue", "--listen", "127.0.0.1:0", "--symbols", "6", "--seed", "5"]);
    let mut venue = Running(venue.spawn().unwrap());
    let mut address = String::new();
    BufReader::new(venue.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let (address, config) = (address.trim(), place.config());
    fs::write(place.0.path().join("keys.toml"), "[local]\nkey = \"K\"\nsecret = \"S\"\n").unwrap();
    fs::set_permissions(place.0.path().join("keys.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let recorded = path("recorded.zst");
    let args = ["record", "--venue", address, "--config", &config, "--out", &recorded];
    let mut recorder = Running(dolphin(&args).spawn().unwrap());
    // It begins before the node does and ends behind it, however slow the machine is.
    let begun = Instant::now();
    while fs::metadata(&recorded).map_or(0, |m| m.len()) == 0 {
        assert!(
            begun.elapsed() < PATIENCE && recorder.0.try_wait().unwrap().is_none(),
            "nothing is recorded"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let (keys, seconds) = (path("keys.toml"), seconds.to_string());
    let args = ["live", "--config", &config, "--keys", &keys, "--venue", address, "--seconds", &seconds];
    let live = dolphin(&args).env("XDG_STATE_HOME", path("state")).output().unwrap();
    assert!(live.status.success(), "{}", text(&live.stderr));
    std::thread::sleep(Duration::from_secs(2));
    let pid = recorder.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(recorder.0.wait().unwrap().success(), "Ctrl-C ends a recording in good order");

    let journal = place.journal();
    let again = run(&["record", "--from-journal", &journal, "--out", &path("again.zst")]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let once_more = run(&["record", "--from-journal", &journal, "--out", &path("again.zst")]);
    assert_eq!(once_more.status.code(), Some(2), "what is there is not replaced");
    let (journalled, again) = (of_journal(&journal), of_recording(&place, "again.zst"));
    // The same frames in the same order: every feature of every tick is the same, to the bit.
    let (both, apart) = compare(&journalled, &again);
    assert!(both > 300 && apart.is_empty(), "{both}: {apart:?}");
    let edges = |one: &Features, other: &Features| one.keys().filter(|at| !other.contains_key(*at)).count();
    let missing = (edges(&journalled, &again), edges(&again, &journalled));
    println!("of its frames: {both} equal; in one of the two alone: {missing:?}");
    assert!(missing.0 <= 12 && missing.1 <= 12, "{missing:?}");
    let known = |name| known(&place.0.path().join(name));
    by_another_connection(
        &journalled,
        &of_recording(&place, "recorded.zst"),
        [known("again.zst"), known("recorded.zst")],
    );
}

/// From which price to which a recording's first snapshot of each symbol told all that the venue had.
fn known(recording: &Path) -> std::collections::BTreeMap<String, (f64, f64)> {
    let mut reader = archive::recording::RecordingReader::open(recording).unwrap();
    let mut known = std::collections::BTreeMap::new();
    while reader.advance().unwrap() {
        let frame: Value = serde_json::from_slice(reader.line().frame).unwrap();
        let stream = frame["stream"].as_str().unwrap_or_default();
        let Some(symbol) = stream.strip_suffix("@depthSnapshot") else { continue };
        let farthest = |side: &str| {
            let level = frame["data"][side].as_array().unwrap().last().unwrap();
            level[0].as_str().unwrap().parse::<f64>().unwrap()
        };
        known.entry(symbol.to_uppercase()).or_insert_with(|| (farthest("bids"), farthest("asks")));
    }
    known
}

/// Another connection: the same books, so the same numbers wherever they are of the book as it stands, and of a second or two
/// of it. What reaches further back remembers its beginning, which was another one, and forgets it by its half-life, exactly;
/// the volume of trades of 10 s likewise, as far as the quantity beside it lets see that.
fn by_another_connection(
    journalled: &Features,
    recorded: &Features,
    known: [std::collections::BTreeMap<String, (f64, f64)>; 2],
) {
    let common: Features =
        journalled.clone().into_iter().filter(|(at, _)| recorded.contains_key(at)).collect();
    let alone = journalled.len() - common.len();
    assert!(common.len() > 300 && alone <= 60, "{} and {alone}", common.len());
    let mut begun = std::collections::BTreeMap::new();
    for (at, symbol) in common.keys() {
        begun.entry(symbol.clone()).or_insert(*at);
    }
    let (mut edge, mut equal, mut faded, mut traded, mut reach) = (0, 0, 0, 0, 0);
    let mut first = std::collections::BTreeMap::<(String, String), (i64, f64)>::new();
    let mut signs = std::collections::BTreeMap::<(String, String), f64>::new();
    for (key @ (at, symbol), ours) in &common {
        let theirs = &recorded[key];
        // Windows are of 2 s.
        if *at < begun[symbol] + EDGE_MS {
            edge += 1;
            continue;
        }
        equal += 1;
        let mid = theirs.iter().find(|(name, _)| name == "mid").unwrap().1;
        // Of a book that was taken shallow only what has changed since is known farther out.
        let told = |percent: f64| {
            let all = |(low, high): (f64, f64)| {
                mid * (1.0 - percent / 100.0) > low && mid * (1.0 + percent / 100.0) < high
            };
            known.iter().all(|known| all(known[symbol]))
        };
        let theirs = theirs.iter().filter(|(name, _)| name != "mid");
        for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
            let half_life_ms = match name.as_str() {
                name if band(name).is_some_and(|percent| !told(percent)) => {
                    reach += 1;
                    continue;
                }
                "macro_imbalance" | "macro_spread_bps" => 300_000.0,
                // Of averages: compared by the two above, and by the two below.
                "depth_quality" | "fill_probability" => continue,
                // The volume of 10 s beside what rests now: whoever heard trades before the other stays above it, or below.
                "fill_probability_ask" | "fill_probability_bid" => {
                    traded += usize::from(*ours > 0.0);
                    let apart = ours - theirs;
                    let sign = signs.entry((symbol.clone(), name.clone())).or_insert(apart);
                    assert!(apart * *sign >= 0.0, "{name} of {symbol} at {at}: {ours} {theirs}");
                    continue;
                }
                // How far a book is known beyond the 5 % that the features read hangs on when its own snapshot was taken.
                "coverage_pct" => continue,
                _ => {
                    assert_eq!(
                        ours.to_bits(),
                        theirs.to_bits(),
                        "{name} of {symbol} at {at}: {ours} {theirs}"
                    );
                    continue;
                }
            };
            let apart = ours - theirs;
            let (since, was) = *first.entry((symbol.clone(), name.clone())).or_insert((*at, apart));
            let expected = was * (-((at - since) as f64) / half_life_ms).exp2();
            assert!(
                (apart - expected).abs() <= 1e-9 * (1.0 + was.abs()),
                "{name} of {symbol}: {apart} {expected}"
            );
            faded += usize::from(apart != 0.0);
        }
    }
    println!(
        "by another connection: {equal} equal, {traded} fill probabilities above 0; {faded} averages that forget their \
         beginning; {reach} depths beyond what a snapshot told; {edge} at the beginning, {alone} in the journal \
         alone"
    );
    // Where both happened to begin with the same frame, no average has anything to forget.
    assert!(equal > 200 && traded > 0 && reach < 4 * equal);
}

/// The width of a band of depth, % of mid.
fn band(name: &str) -> Option<f64> {
    let of = ["bid_depth_", "ask_depth_", "bid_notional_", "ask_notional_"];
    of.iter().find_map(|prefix| name.strip_prefix(prefix)?.parse().ok())
}

/// Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// After both have a book: what is not yet the same.
const EDGE_MS: i64 = 4_000;
