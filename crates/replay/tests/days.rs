//! The runner: goldens, boundaries of days, what reaches the engine from outside, and data that is not as it should be.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::ops::ControlFlow;
use std::path::Path;

use alpha::{Gate, Safety};
use archive::day::{AssetColumns, Bar, Day, write};
use market::{Date, Nanos, Posture};
use replay::ReplayError;
use replay::controls::{Controls, TimedPush};
use replay::days::{BarView, Observer, ReplayConfig, Run, Unwatched, run};
use replay::generate::Generator;
use replay::parity::{Expected, check};
use tempfile::TempDir;

fn golden(data: &str, name: &str, change: impl Fn(&mut ReplayConfig)) {
    let Some(data) = testkit::shared_data(data) else { return };
    for (ending, threads) in [("trades.jsonl", 1), ("trades.jsonl", 2), ("summary.json", 2)] {
        let Some(file) = testkit::shared_data(&format!("golden/{name}.{ending}")) else { return };
        let mut config = ReplayConfig { threads, ..ReplayConfig::champion(&data) };
        change(&mut config);
        let parity = check(&config, &Expected::read(&file).unwrap(), 1e-9).unwrap();
        assert!(parity.equal, "{parity}");
        assert!(ending == "summary.json" || parity.columns.len() == 23, "{:?}", parity.columns);
    }
}

#[test]
fn golden_champion_on_a_real_market() {
    golden("days", "days-champion", |_| {});
}

#[test]
fn golden_champion_on_a_generated_market() {
    golden("days-synthetic", "synthetic-champion", |_| {});
}

#[test]
fn golden_bidirectional_with_proxy_b() {
    golden("days-synthetic", "synthetic-bidirectional-proxyb", |config| {
        config.direction = 0;
        config.params.set("boost_mode", "proxy_b").unwrap();
    });
}

/// Generated days on disk.
fn days(n: usize) -> (TempDir, Vec<Day>) {
    let dir = tempfile::tempdir().unwrap();
    let mut generator = Generator::new(3, Date::constant(2026, 2, 1), 400, 6);
    let days: Vec<Day> = (0..n).map(|_| generator.next_day()).collect();
    days.iter().for_each(|day| put(dir.path(), day));
    (dir, days)
}

fn put(dir: &Path, day: &Day) {
    write(&dir.join(format!("{}.parquet", day.date)), day).unwrap();
}

fn replay(dir: &Path) -> Run {
    run(&ReplayConfig::champion(dir), &mut Unwatched).unwrap()
}

/// All that a run brought, but for the time it took.
fn result(run: &Run) -> String {
    format!("{:?}\n{:?}\n{:?}\n{:?}", run.trades, run.days, run.gates, run.notes)
}

fn bars_of(run: &Run) -> Vec<String> {
    run.days.iter().map(|d| format!("{} {}", d.date, d.bars)).collect()
}

#[test]
fn threads_change_no_bit() {
    let (dir, _) = days(6);
    let one = replay(dir.path());
    assert!(one.trades.len() > 10, "{} trades: too quiet a market to test with", one.trades.len());
    for threads in [2, 3] {
        let more =
            run(&ReplayConfig { threads, ..ReplayConfig::champion(dir.path()) }, &mut Unwatched).unwrap();
        assert_eq!(result(&one), result(&more));
        assert_eq!(one.files, more.files);
    }
}

#[test]
fn a_day_without_times_belongs_to_its_file() {
    let (dir, mut days) = days(3);
    let with_times = replay(dir.path());
    for day in &mut days {
        day.bars.iter_mut().for_each(|b| (b.ts, b.scan_number) = (None, None));
        put(dir.path(), day);
    }
    let without = replay(dir.path());
    assert_eq!(result(&with_times), result(&without));
    assert!(
        with_times.entry_times.iter().all(Option::is_some) && without.entry_times.iter().all(Option::is_none)
    );
}

#[test]
fn event_time_makes_the_date_and_both_midnights_belong_to_the_file() {
    let (dir, mut days) = days(2);
    let midnight = |day: u64| 1_769_904_000 + 86_400 * day; // 2026-02-01T00:00:00Z
    let stamp =
        |day: &mut Day, bar: usize, second: u64| day.bars[bar].ts = Some(Nanos(second * Nanos::SECOND));
    stamp(&mut days[0], 0, midnight(0));
    stamp(&mut days[0], 399, midnight(1));
    put(dir.path(), &days[0]);
    assert_eq!(bars_of(&replay(dir.path())), ["2026-02-01 400", "2026-02-02 400"]);
    // The last hundred rows are of the next day: the boundary lies within the file.
    for bar in 300..400 {
        stamp(&mut days[0], bar, midnight(1) + 1 + bar as u64);
    }
    put(dir.path(), &days[0]);
    assert_eq!(bars_of(&replay(dir.path())), ["2026-02-01 300", "2026-02-02 500"]);
    // A row from the past is stepped where it stands, and noted.
    stamp(&mut days[1], 200, midnight(0) + 60);
    put(dir.path(), &days[1]);
    let late = replay(dir.path());
    assert_eq!(bars_of(&late), ["2026-02-01 300", "2026-02-02 500"]);
    assert!(late.notes.iter().any(|n| n.starts_with("1 rows dated before")), "{:?}", late.notes);
}

#[test]
fn times_that_contradict_the_name_altogether_are_no_event_times() {
    let (dir, mut days) = days(2);
    let right = replay(dir.path());
    for bar in &mut days[1].bars {
        bar.ts = bar.ts.map(|t| t.plus(86_400 * 30 * Nanos::SECOND));
    }
    put(dir.path(), &days[1]);
    let wrong = replay(dir.path());
    assert_eq!(bars_of(&right), bars_of(&wrong));
    assert!(wrong.notes.iter().any(|n| n.contains("the file's name counts")), "{:?}", wrong.notes);
}

#[test]
fn hibernate_steps_nothing_and_the_tick_counter_stands() {
    let (dir, _) = days(3);
    let asleep: Date = "2026-02-02".parse().unwrap();
    let controls = Controls {
        postures: [(asleep, Safety { posture: Posture::Hibernate, rm: 0.1 })].into(),
        ..Controls::default()
    };
    let run = run(&ReplayConfig { controls, ..ReplayConfig::champion(dir.path()) }, &mut Unwatched).unwrap();
    assert_eq!(run.days.iter().map(|d| d.bars).collect::<Vec<_>>(), [400, 0, 400]);
    assert_eq!(run.days[1].posture, Posture::Hibernate);
    assert!(run.trades.iter().all(|t| t.entry_date != asleep && t.exit_date != asleep));
    assert_eq!(run.bars, 800);
    assert_eq!(run.gates.iter().find(|g| g.gate == Gate::Posture).unwrap().steps, 400);
}

#[test]
fn a_push_applies_at_the_top_of_its_bar_until_the_next_one() {
    let (dir, _) = days(6);
    let (first, second): (Date, Date) = ("2026-02-02".parse().unwrap(), "2026-02-04".parse().unwrap());
    let push = |date, bar, boost, beta| TimedPush { at: (date, bar), boost, beta };
    let controls = Controls {
        pushes: vec![
            push(first, 200, 1.5, 0.5),
            push(first, 250, 9.0, 0.5),
            push(first, 4_000, 1.0, 0.5),
            push(second, 100, 0.5, 0.0),
        ],
        ..Controls::default()
    };
    let run = run(&ReplayConfig { controls, ..ReplayConfig::champion(dir.path()) }, &mut Unwatched).unwrap();
    let mut phases = [0; 3];
    for t in &run.trades {
        let (phase, want) = match (t.entry_date, t.entry_bar) {
            at if at < (first, 200) => (0, (1.0, 0.2)),
            at if at < (second, 100) => (1, (1.5, 0.5)),
            _ => (2, (0.5, 0.0)),
        };
        phases[phase] += 1;
        assert_eq!((t.boost, t.beta), want, "{} {}", t.entry_date, t.entry_bar);
    }
    assert!(phases.iter().all(|&n| n > 0), "{phases:?}: too quiet a market to test with");
    let notes = run.notes.join("\n");
    assert!(
        notes.contains("bar 250 rejected") && notes.contains("bar 4000: there is no such bar"),
        "{notes}"
    );
}

#[test]
fn control_files_say_where_they_are_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("controls.json");
    let read = |text: &str, which: usize| {
        std::fs::write(&path, text).unwrap();
        let mut files = [None; 3];
        files[which] = Some(path.as_path());
        Controls::read(files[0], files[1], files[2])
    };
    let good = read(r#"{"2026-02-01": {"posture": "TURTLE", "Rm": 0.6}}"#, 0).unwrap();
    assert_eq!(good.safety("2026-02-01".parse().unwrap()), Safety { posture: Posture::Turtle, rm: 0.6 });
    assert_eq!(good.safety("2026-02-02".parse().unwrap()), Safety::FREE);
    assert_eq!(read(r#"{"2026-02-01": 3}"#, 2).unwrap().factors.len(), 1);
    let nan = read(r#"[{"date": "2026-02-01", "bar": 3, "boost": NaN, "beta": 0.5}]"#, 1).unwrap();
    assert!(nan.pushes[0].boost.is_nan(), "for the engine to reject");
    for (text, which, says) in [
        ("[", 0, "not JSON"),
        ("[]", 0, "wanted an object"),
        (r#"{"2026-02-01": {"posture": "SLEEPY"}}"#, 0, "SLEEPY"),
        (r#"{"1 Feb": {"posture": "APEX"}}"#, 0, "1 Feb"),
        (r#"[{"date": "2026-02-01", "boost": 1}]"#, 1, "push 0"),
        ("{}", 1, "wanted a list"),
        (r#"{"2026-02-01": -1}"#, 2, "-1"),
    ] {
        let message = read(text, which).unwrap_err().to_string();
        assert!(message.contains("controls.json") && message.contains(says), "{message}");
    }
}

#[test]
fn dates_of_control_files_that_match_nothing_are_noted() {
    let (dir, days) = days(2);
    let date = |text: &str| text.parse::<Date>().unwrap();
    let posture = Safety { posture: Posture::Turtle, rm: 0.6 };
    let run = |postures: &[&str], factors: &[&str]| {
        let controls = Controls {
            postures: postures.iter().map(|d| (date(d), posture)).collect(),
            factors: factors.iter().map(|d| (date(d), 1)).collect(),
            ..Controls::default()
        };
        run(&ReplayConfig { controls, ..ReplayConfig::champion(dir.path()) }, &mut Unwatched).unwrap().notes
    };
    let used = days[1].date.to_string();
    assert_eq!(run(&[&used], &[&used]), Vec::<String>::new());
    let notes = run(&[&used, "2026-03-01", "2025-12-31"], &["2027-01-01"]);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].contains("postures of 2 dates") && notes[0].contains("2025-12-31, 2026-03-01"),
        "{notes:?}"
    );
    assert!(notes[1].contains("risk factors of 1 dates") && notes[1].contains("2027-01-01"), "{notes:?}");
}

#[test]
fn a_file_of_two_dates_is_told_and_keeps_to_the_range() {
    let (dir, mut days) = days(1);
    let midnight = 1_769_904_000 + 86_400; // 2026-02-02T00:00:00Z
    for bar in 300..400 {
        days[0].bars[bar].ts = Some(Nanos((midnight + 1 + bar as u64) * Nanos::SECOND));
    }
    put(dir.path(), &days[0]);
    let whole = replay(dir.path());
    assert_eq!(bars_of(&whole), ["2026-02-01 300", "2026-02-02 100"]);
    assert!(
        whole.notes.iter().any(|n| n.contains("100 of its rows are dated 2026-02-02")),
        "{:?}",
        whole.notes
    );
    let config = ReplayConfig { to: Some(days[0].date), ..ReplayConfig::champion(dir.path()) };
    let first = run(&config, &mut Unwatched).unwrap();
    assert_eq!(bars_of(&first), ["2026-02-01 300"]);
    assert!(
        first.notes.iter().any(|n| n.starts_with("100 rows dated outside the range")),
        "{:?}",
        first.notes
    );
}

#[test]
fn columns_that_are_no_symbols_are_not_traded() {
    let (dir, days) = days(3);
    let plain = replay(dir.path());
    for day in &days {
        let mut assets = vec!["row_id".to_owned()];
        assets.extend(day.assets.iter().cloned());
        assets.push("Unnamed: 0".to_owned());
        let mut crowded = Day::new(day.date, assets);
        for (i, bar) in day.bars.iter().enumerate() {
            let counter = (400 - i) as f64;
            let row: Vec<f64> =
                [counter].into_iter().chain(day.row(i).iter().copied()).chain([counter]).collect();
            crowded.push(*bar, &row);
        }
        put(dir.path(), &crowded);
    }
    let crowded = replay(dir.path());
    assert_eq!(format!("{:?}", crowded.trades), format!("{:?}", plain.trades));
    assert_eq!(crowded.assets, plain.assets);
    assert!(crowded.notes[0].contains("`row_id`, `Unnamed: 0`"), "{:?}", crowded.notes);
    let assets = Some(AssetColumns::named("BTCUSDT,row_id").unwrap());
    let named = run(&ReplayConfig { assets, ..ReplayConfig::champion(dir.path()) }, &mut Unwatched).unwrap();
    assert_eq!(named.assets, ["row_id", "BTCUSDT"]);
    let mut other = ReplayConfig::champion(dir.path());
    other.params.reference_symbol = "BTCUSDC".to_owned();
    let message = run(&other, &mut Unwatched).unwrap_err().to_string();
    assert!(message.contains("a symbol quoted in USDC"), "{message}");
}

#[test]
fn an_empty_day_is_a_day() {
    let (dir, days) = days(3);
    put(dir.path(), &Day::new(days[1].date, days[1].assets.clone()));
    let run = replay(dir.path());
    assert_eq!(run.days.iter().map(|d| d.bars).collect::<Vec<_>>(), [400, 0, 400]);
    assert_eq!(run.days[1].trades, 0);
}

#[test]
fn a_gap_is_noted() {
    let (dir, days) = days(4);
    for day in &days[1..3] {
        std::fs::remove_file(dir.path().join(format!("{}.parquet", day.date))).unwrap();
    }
    let run = replay(dir.path());
    assert_eq!(run.days.len(), 2);
    assert!(run.notes.iter().any(|n| n.contains("2026-02-02 to 2026-02-03")), "{:?}", run.notes);
}

#[test]
fn rows_of_nan_and_infinite_prices_are_survived() {
    let (dir, mut days) = days(2);
    let width = days[1].assets.len();
    for (bar, value) in
        [(150, f64::NAN), (151, f64::INFINITY), (152, f64::NEG_INFINITY), (153, 0.0), (154, -1.0)]
    {
        days[1].prices[bar * width..(bar + 1) * width].fill(value);
        days[1].bars[bar] = Bar { vel_div: value, v750: value, ..Bar::EMPTY };
    }
    put(dir.path(), &days[1]);
    let run = replay(dir.path());
    assert_eq!(run.bars, 800);
    assert!(run.final_capital.is_finite());
    assert!(run.trades.iter().all(|t| t.pnl.is_finite() && t.entry_price > 0.0 && t.exit_price > 0.0));
}

#[test]
fn columns_may_come_and_go() {
    let (dir, days) = days(2);
    let same = replay(dir.path());
    // The second day in reverse column order, and one asset more.
    let mut assets = days[1].assets.clone();
    assets.reverse();
    assets.push("NEWUSDT".to_owned());
    let mut turned = Day::new(days[1].date, assets);
    for (i, bar) in days[1].bars.iter().enumerate() {
        let mut row = days[1].row(i).to_vec();
        row.reverse();
        row.push(f64::NAN);
        turned.push(*bar, &row);
    }
    put(dir.path(), &turned);
    let changed = replay(dir.path());
    assert_eq!(changed.assets.len(), 7);
    assert_eq!(format!("{:?}", same.trades), format!("{:?}", changed.trades));
}

#[test]
fn bad_data_ends_the_run_with_the_name_of_the_file() {
    let (dir, _) = days(3);
    let file = dir.path().join("2026-02-02.parquet");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for threads in [1, 2] {
        let config = ReplayConfig { threads, ..ReplayConfig::champion(dir.path()) };
        let message = run(&config, &mut Unwatched).unwrap_err().to_string();
        assert!(message.contains("2026-02-02.parquet"), "{message}");
    }
    // Damage that the footer does not show is found while the day before is already stepped.
    let mut damaged = whole;
    damaged[40..4_000].fill(0xff);
    std::fs::write(&file, damaged).unwrap();
    for threads in [1, 2] {
        let config = ReplayConfig { threads, ..ReplayConfig::champion(dir.path()) };
        let message = run(&config, &mut Unwatched).unwrap_err().to_string();
        assert!(message.contains("2026-02-02.parquet"), "{message}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(
        run(&ReplayConfig::champion(empty.path()), &mut Unwatched)
            .unwrap_err()
            .to_string()
            .contains("no days")
    );
}

#[test]
fn a_missing_reference_symbol_and_a_missing_forewarner_are_noted() {
    let (dir, _) = days(1);
    let mut config = ReplayConfig::champion(dir.path());
    config.params.reference_symbol = "NOPEUSDT".to_owned();
    config.params.mc_models_dir = Some(dir.path().join("no-model").display().to_string());
    let run = run(&config, &mut Unwatched).unwrap();
    let notes = run.notes.join("\n");
    assert!(notes.contains("NOPEUSDT") && notes.contains("forewarner"), "{notes}");
    assert!(run.trades.is_empty());
}

struct StopAfter(usize);
impl Observer for StopAfter {
    fn progress(&mut self, _: &replay::days::Progress) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_interrupted_run_has_no_result() {
    let (dir, _) = days(4);
    for threads in [1, 2] {
        let config = ReplayConfig { threads, ..ReplayConfig::champion(dir.path()) };
        assert!(matches!(run(&config, &mut StopAfter(2)), Err(ReplayError::Interrupted)));
    }
}

struct Collect(Vec<(String, u32)>);
impl Observer for Collect {
    fn bar(&mut self, bar: &BarView<'_>) -> ControlFlow<()> {
        self.0.push((bar.date.to_string(), bar.bar_idx));
        ControlFlow::Continue(())
    }
}

#[test]
fn bars_are_counted_from_zero_in_each_day() {
    let (dir, _) = days(2);
    let mut seen = Collect(Vec::new());
    run(&ReplayConfig::champion(dir.path()), &mut seen).unwrap();
    assert_eq!(seen.0.len(), 800);
    assert_eq!((seen.0[0].1, seen.0[399].1, seen.0[400].1), (0, 399, 0));
    assert_eq!((seen.0[399].0.as_str(), seen.0[400].0.as_str()), ("2026-02-01", "2026-02-02"));
}
