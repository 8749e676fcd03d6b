//! `dolphin eigen`: the meta columns of real day files from their prices.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::path::Path;

use alpha::eigen::Scanner;
use archive::day::{self, AssetColumns, Bar, Day};
use replay::eigen::{Continuous, EigenError, recompute};
use replay::output::Earlier;

/// SPEC §6.
const TOLERANCE: f64 = 1e-9;
/// The windows of the files' own columns were warmed with a day that is not there: 750 + 1 rows, and a margin.
const WARM: usize = 800;

fn load(path: &Path) -> Vec<Day> {
    let days = day::list(path, &day::Wanted::default()).expect("a directory of days").days;
    let load = |source: &day::DaySource| {
        let mut day = Day::default();
        source.load().and_then(|loaded| loaded.decode_into(&mut day)).expect("a readable day");
        day
    };
    days.iter().map(load).collect()
}

fn metas(bar: &Bar) -> [(&'static str, f64); 7] {
    [
        ("vel_div", bar.vel_div),
        ("v50", bar.v50),
        ("v150", bar.v150),
        ("v300", bar.v300),
        ("v750", bar.v750),
        ("instability_50", bar.instability_50),
        ("instability_150", bar.instability_150),
    ]
}

#[test]
fn the_meta_columns_of_real_days_come_out_again() {
    let Some(data) = testkit::shared_data("days") else { return };
    let out = tempfile::tempdir().unwrap();
    let done = recompute(&data, out.path(), 1, AssetColumns::default(), Earlier::Refused).unwrap();
    let (want, got) = (load(&data), load(out.path()));
    assert_eq!((done.files.len(), want.len(), got.len()), (5, 5, 5));
    let mut row = 0;
    let mut worst = 0.0f64;
    for (want, got) in want.iter().zip(&got) {
        assert_eq!((want.date, &want.assets, want.len()), (got.date, &got.assets, got.len()));
        assert_eq!(want.prices, got.prices);
        for (i, (want, got)) in want.bars.iter().zip(&got.bars).enumerate() {
            assert_eq!((want.ts, want.scan_number), (got.ts, got.scan_number));
            for ((name, want), (_, got)) in metas(want).into_iter().zip(metas(got)) {
                if row >= WARM {
                    let off = (got - want).abs();
                    assert!(
                        off <= TOLERANCE,
                        "row {row} (bar {i}): {name} is {got:e}, the file says {want:e}"
                    );
                    worst = worst.max(off);
                }
            }
            row += 1;
        }
    }
    assert_eq!(done.bars, row);
    println!("{row} bars, largest difference from row {WARM} on: {worst:e}");
}

fn made_up(date: &str, assets: &[&str], rows: usize, seed: u64) -> Day {
    let mut day = Day::new(date.parse().expect("a date"), assets.iter().map(|&a| a.to_owned()).collect());
    for row in 0..rows {
        let price = |i: usize| 100.0 + ((row as u64 + seed) * (7 + i as u64 * 12) % 101) as f64 / 10.0;
        let prices: Vec<f64> = (0..assets.len()).map(price).collect();
        day.push(Bar { scan_number: Some(row as i64), ..Bar::EMPTY }, &prices);
    }
    day
}

#[test]
fn where_assets_change_a_day_reads_as_if_its_own_had_been_scanned_all_along() {
    let first = made_up("2026-01-01", &["AUSDT", "BUSDT", "CUSDT"], 700, 0);
    let second = made_up("2026-01-02", &["CUSDT", "DUSDT", "AUSDT"], 400, 1);
    let mut continuous = Continuous::new(1);
    continuous.scan(first.clone()).unwrap();
    let got = continuous.scan(second.clone()).unwrap();

    let mut scanner = Scanner::new(3, 1).unwrap();
    for row in 0..first.len() {
        let prices = first.row(row);
        scanner.step(&[prices[2], f64::NAN, prices[0]]);
    }
    for (row, bar) in got.bars.iter().enumerate() {
        let want = scanner.step(second.row(row));
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(
            same(bar.vel_div, want.vel_div) && same(bar.v750, want.velocity[3]),
            "row {row}: {bar:?} {want:?}"
        );
        assert!(bar.vel_div.is_finite());
    }
    assert!(got.bars.last().unwrap().v750.is_finite());
}

#[test]
fn input_files_are_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("2026-01-01.parquet");
    day::write(&path, &made_up("2026-01-01", &["AUSDT", "BUSDT"], 60, 3)).unwrap();
    let before = std::fs::read(&path).unwrap();
    for data in [dir.path(), &path] {
        assert!(matches!(
            recompute(data, dir.path(), 1, AssetColumns::default(), Earlier::Refused),
            Err(EigenError::OutIsData { .. })
        ));
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let error = recompute(&path, &dir.path().join("out"), 0, AssetColumns::default(), Earlier::Refused)
        .unwrap_err()
        .to_string();
    assert!(error.contains("2026-01-01.parquet") && error.contains("stride"), "{error}");
}
