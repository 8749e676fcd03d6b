//! Dates one by one are what a replay over all of them is, whatever runs twice.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alpha::{Safety, TradeRecord};
use flows::day::{self, DayRun};
use flows::{Flow, load_config, log, state};
use market::{Date, Nanos};
use memory::schema::Deployment;
use node::config::Config;
use replay::days::{ReplayConfig, Unwatched};

fn blue() -> Config {
    load_config(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/blue.yml")).unwrap()
}

const DATES: [Date; 3] = [Date::constant(2026, 2, 1), Date::constant(2026, 2, 2), Date::constant(2026, 2, 3)];

/// Memory's state map, and a date's run with what it writes.
fn run(entries: &mut BTreeMap<String, String>, data: &Path, flow: Flow, date: Date) -> DayRun {
    let config = blue();
    let start = state::choose(entries, flow, date).unwrap();
    let loaded = day::load(&config, data, date).unwrap();
    let done = day::run(&config, &loaded, start.snapshot.as_ref(), start.capital, Safety::FREE).unwrap();
    for write in state::writes(entries, Deployment::Blue, flow, &done, Nanos(1)).unwrap() {
        if write.map == Deployment::Blue.state_map() {
            entries.insert(write.key, write.value);
        }
    }
    done
}

fn data() -> Option<PathBuf> {
    testkit::shared_data("days-synthetic")
}

#[test]
fn one_date_after_another_is_the_replay_over_all_of_them() {
    let Some(data) = data() else { return };
    let whole = replay::days::run(&ReplayConfig::champion(&data), &mut Unwatched).unwrap();
    let (mut entries, mut trades): (_, Vec<TradeRecord>) = (BTreeMap::new(), Vec::new());
    for (date, expected) in DATES.into_iter().zip(&whole.days) {
        let done = run(&mut entries, &data, Flow::Paper, date);
        assert_eq!(&done.result, expected);
        // A date that runs again begins as it did, and says the same.
        let again = run(&mut entries, &data, Flow::Paper, date);
        assert_eq!((&again.result, &again.trades), (&done.result, &done.trades));
        assert_eq!(again.snapshot, done.snapshot);
        trades.extend(done.trades);
    }
    assert_eq!(trades, whole.trades);
    assert!(trades.len() > 10);
    // An older date again: the same, and the newest state stays the newest.
    let newest = entries["latest"].clone();
    let again = run(&mut entries, &data, Flow::Paper, DATES[1]);
    assert_eq!(again.result, whole.days[1]);
    assert_eq!(entries["latest"], newest);
}

#[test]
fn the_supervised_run_goes_on_from_the_paper_run_where_it_is_the_first() {
    let Some(data) = data() else { return };
    let mut entries = BTreeMap::new();
    let paper = run(&mut entries, &data, Flow::Paper, DATES[0]);
    let supervised = run(&mut entries, &data, Flow::Nautilus, DATES[0]);
    assert_eq!(paper.result, supervised.result);
    assert!(entries.contains_key("latest_nautilus") && entries.contains_key("nautilus.2026-02-01"));
    let next = run(&mut entries, &data, Flow::Nautilus, DATES[1]);
    assert_eq!(next.start_capital, paper.result.capital);
}

#[test]
fn a_node_s_state_is_not_written_over() {
    let node = r#"{"capital": 100.0, "pnl": 0.0, "snapshot": {"venue": "testnet", "image": {}}}"#;
    let entries = BTreeMap::from([("latest_nautilus".to_owned(), node.to_owned())]);
    let refused = state::choose(&entries, Flow::Nautilus, DATES[0]).unwrap_err();
    assert_eq!(refused.exit, 2);
    assert!(refused.message.contains("testnet"), "{refused}");
    // The paper flow writes elsewhere, and takes nothing of it.
    let start = state::choose(&entries, Flow::Paper, DATES[0]).unwrap();
    assert_eq!((start.capital, start.origin.as_str()), (None, "initial_capital"));
}

#[test]
fn a_capital_alone_is_restored_and_broken_states_are_passed_over() {
    let entries = BTreeMap::from([
        ("latest_nautilus".to_owned(), "{broken".to_owned()),
        ("latest".to_owned(), r#"{"capital": 31000.5, "date": "2026-01-31"}"#.to_owned()),
    ]);
    let start = state::choose(&entries, Flow::Nautilus, DATES[0]).unwrap();
    assert_eq!((start.capital, start.origin.as_str()), (Some(31_000.5), "latest of 2026-01-31"));
    // Nothing is kept from before it.
    let refused = state::choose(&entries, Flow::Nautilus, Date::constant(2026, 1, 30)).unwrap_err();
    assert_eq!(refused.exit, 3);
}

#[test]
fn a_missing_and_a_broken_day_are_told_in_one_line() {
    let Some(data) = data() else { return };
    let missing = day::load(&blue(), &data, Date::constant(2026, 2, 9)).unwrap_err();
    assert!(missing.exit == 3 && missing.message.contains("2026-02-09"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("2026-02-01.parquet"), b"PAR1").unwrap();
    let broken = day::load(&blue(), folder.path(), DATES[0]).unwrap_err();
    assert_eq!((broken.exit, broken.message.lines().count()), (3, 1));
}

#[test]
fn the_log_has_one_line_a_date_and_flow() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/pnl.jsonl");
    let mut entries = BTreeMap::new();
    let first = run(&mut entries, &data, Flow::Paper, DATES[0]);
    let second = run(&mut entries, &data, Flow::Paper, DATES[1]);
    for _ in 0..2 {
        log::put(&path, Flow::Paper, &first).unwrap();
        log::put(&path, Flow::Paper, &second).unwrap();
        log::put(&path, Flow::Nautilus, &second).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    // A line that nobody can read is nobody's, and stays.
    std::fs::write(&path, "not json\n").unwrap();
    log::put(&path, Flow::Paper, &first).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("not json\n{"));
}
