//! The walls of the house: which crate may know which, read from the manifests; and what pure crates must not hold.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Our crates and those of ours that each one's `[dependencies]` names.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeSet<String> = fs::read_dir(crates())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| crates().join(name).join("Cargo.toml").exists())
        .collect();
    let arrow = |name: &String| {
        let manifest: toml::Table = read(&crates().join(name).join("Cargo.toml")).parse().unwrap();
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let ours = dependencies.map(|d| d.keys().filter(|k| names.contains(*k)).cloned().collect());
        (name.clone(), ours.unwrap_or_default())
    };
    names.iter().map(arrow).collect()
}

#[test]
fn dependencies_point_one_way() {
    // What each room may know. `dolphin` may know them all.
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("market", &[][..]),
        ("runtime", &[]),
        ("testkit", &[]),
        ("book", &["market"]),
        ("alpha", &["market"]),
        ("execution", &["market"]),
        ("binance", &["market"]),
        ("archive", &["market"]),
        ("memory", &["market", "runtime"]),
        ("venue", &["market", "archive"]),
        ("replay", &["market", "book", "alpha", "binance", "archive"]),
        ("sim", &["market", "runtime", "alpha", "execution", "binance", "memory", "venue", "node"]),
        ("node", &["market", "runtime", "book", "alpha", "execution", "binance", "memory"]),
    ]);
    for (name, ours) in arrows() {
        if name == "dolphin" {
            assert!(!ours.contains("testkit"), "testkit is for tests");
            continue;
        }
        let may =
            allowed.get(name.as_str()).unwrap_or_else(|| panic!("crate `{name}` has no place in the house"));
        for other in &ours {
            assert!(may.contains(&other.as_str()), "`{name}` must not depend on `{other}`");
        }
    }
}

#[test]
fn only_runtime_departs_from_the_lint_table() {
    for name in arrows().keys() {
        let manifest: toml::Table = read(&crates().join(name).join("Cargo.toml")).parse().unwrap();
        let inherits = manifest["lints"].get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert_eq!(inherits, name != "runtime", "lints of `{name}`");
    }
    let root: toml::Table = read(&crates().join("../Cargo.toml")).parse().unwrap();
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn pure_crates_name_no_clock_and_do_no_io() {
    let banned = [
        "Instant::now",
        "SystemTime::now",
        "thread::spawn",
        "thread::sleep",
        "std::fs",
        "std::net",
        "println!",
    ];
    for name in ["market", "book", "alpha", "execution"] {
        let clippy = read(&crates().join(name).join("clippy.toml"));
        assert!(clippy.contains("std::time::Instant::now"), "`{name}` must ban the clock by clippy");
        for file in sources(&crates().join(name).join("src")) {
            let text = read(&file);
            // Tests may read files.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in banned {
                assert!(!code.contains(word), "{} holds `{word}`", file.display());
            }
        }
    }
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    found
}
