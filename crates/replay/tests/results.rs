//! What comes out: result files, parity against them, sweeps, the report, the bench.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use archive::day::write;
use archive::table::{Cell, read};
use market::Date;
use replay::ReplayError;
use replay::days::{Observer, Progress, ReplayConfig, Run, Unwatched, run};
use replay::generate::Generator;
use replay::output::{FILES, Staging};
use replay::parity::{Expected, Parity, check};
use replay::report::{Provenance, html};
use replay::sweep::{Axis, sweep};
use tempfile::TempDir;

fn days() -> (TempDir, ReplayConfig) {
    let dir = tempfile::tempdir().unwrap();
    let mut generator = Generator::new(5, Date::constant(2026, 2, 1), 500, 6);
    for _ in 0..8 {
        let day = generator.next_day();
        write(&dir.path().join(format!("{}.parquet", day.date)), &day).unwrap();
    }
    let config = ReplayConfig::champion(dir.path());
    (dir, config)
}

fn replayed(config: &ReplayConfig) -> Run {
    let run = run(config, &mut Unwatched).unwrap();
    assert!(run.trades.len() > 10, "{} trades: too quiet a market to test with", run.trades.len());
    run
}

fn commit(run: &Run, out: &Path) {
    Staging::new(out).unwrap().commit(run, &Provenance::default()).unwrap();
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn results_are_there_whole_and_nothing_else_is() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("a/b/out");
    commit(&run, &out);
    let mut files = FILES.map(str::to_owned);
    files.sort();
    assert_eq!(entries(&out), files);
    assert_eq!(entries(out.parent().unwrap()), ["out"]);
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    for key in [
        "roi",
        "profit_factor",
        "sharpe",
        "max_drawdown",
        "win_rate",
        "trades",
        "days",
        "bars",
        "initial_capital",
        "final_capital",
        "param_hash",
        "open_position",
        "elapsed_s",
    ] {
        assert!(summary.get(key).is_some(), "{key}");
    }
    assert_eq!(summary["trades"], run.trades.len());
    assert_eq!(summary["bars"], 4_000);
    let lines = fs::read_to_string(out.join("days.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 8);
    // The parquet table holds the same as the JSON lines.
    let (table, text) =
        (read(&out.join("trades.parquet")).unwrap(), read(&out.join("trades.jsonl")).unwrap());
    assert_eq!(table.rows.len(), run.trades.len());
    for (i, name) in table.columns.iter().enumerate() {
        let j = text.columns.iter().position(|c| c == name).unwrap();
        for (row, other) in table.rows.iter().zip(&text.rows) {
            let same = match (&row[i], &other[j]) {
                (Cell::Float(a), Cell::Int(b)) => *a == *b as f64,
                (a, b) => a == b,
            };
            assert!(same, "{name}: {:?} {:?}", row[i], other[j]);
        }
    }
}

#[test]
fn an_existing_target_is_replaced_only_when_all_is_ready() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("summary.json"), "old").unwrap();
    fs::write(out.join("mine.txt"), "keep").unwrap();
    let staging = Staging::new(&out).unwrap();
    assert_eq!(fs::read_to_string(out.join("summary.json")).unwrap(), "old");
    drop(staging); // Ctrl-C, or an error: nothing happened.
    assert_eq!(entries(place.path()), ["out"]);
    assert_eq!(fs::read_to_string(out.join("summary.json")).unwrap(), "old");
    commit(&run, &out);
    assert_eq!(entries(place.path()), ["out"]);
    assert_eq!(fs::read_to_string(out.join("mine.txt")).unwrap(), "keep");
    assert_eq!(entries(&out).len(), 6);
    assert!(fs::read_to_string(out.join("summary.json")).unwrap().contains("param_hash"));
    // A file where the folder should be is refused before anything runs.
    assert!(Staging::new(&out.join("mine.txt")).unwrap_err().to_string().contains("mine.txt"));
}

// ---- parity ------------------------------------------------------------------------------------------------------

fn expect(config: &ReplayConfig, dir: &Path, name: &str, content: &str) -> Result<Parity, ReplayError> {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    check(config, &Expected::read(&path)?, 1e-9)
}

#[test]
fn a_run_is_the_same_as_itself_in_every_format() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    commit(&run, &out);
    for name in ["trades.parquet", "trades.jsonl", "summary.json"] {
        let parity = check(&config, &Expected::read(&out.join(name)).unwrap(), 0.0).unwrap();
        assert!(parity.equal, "{name}: {parity}");
    }
    let rows: Vec<serde_json::Value> = run.trades.iter().map(|t| serde_json::to_value(t).unwrap()).collect();
    let json = serde_json::to_string(&rows).unwrap();
    assert!(expect(&config, place.path(), "t.json", &json).unwrap().equal);
    assert!(expect(&config, place.path(), "u.json", &format!("{{\"trades\": {json}}}")).unwrap().equal);
    // A subset, by other names, as pandas would write it.
    let mut csv = String::from(",asset,side,entry_px,net_pnl,maker_exit,exit_reason\n");
    for (i, t) in run.trades.iter().enumerate() {
        let maker = if t.maker_exit == Some(true) { "True" } else { "False" };
        csv += &format!("{i},{},SHORT,{},{},{maker},{}\n", t.symbol, t.entry_price, t.pnl, t.reason.name());
    }
    let parity = expect(&config, place.path(), "t.csv", &csv).unwrap();
    assert!(parity.equal, "{parity}");
    assert_eq!(parity.columns, ["symbol", "direction", "entry_price", "pnl", "maker_exit", "reason"]);
}

#[test]
fn the_first_divergence_is_shown_with_what_led_to_it() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let lines =
        |trades: &[alpha::TradeRecord]| String::from_utf8(replay::output::json_lines(trades)).unwrap();

    let mut trades = run.trades.clone();
    trades[3].exit_price *= 1.0 + 1e-6;
    trades[5].symbol = "ELSEUSDT".to_owned();
    let parity = expect(&config, place.path(), "a.jsonl", &lines(&trades)).unwrap();
    assert!(!parity.equal && parity.trades_differing == 2);
    let d = parity.first_divergence.as_ref().unwrap();
    assert_eq!((d.trade, d.lines.len(), d.lines[0].name.as_str()), (4, 1, "exit_price"));
    // Only the exit differs: the ways part at the exit, and its bar is among those shown.
    let at = (run.trades[3].exit_date.to_string(), run.trades[3].exit_bar);
    assert_eq!((d.date.clone().unwrap(), d.bar.unwrap()), at);
    let shown = d.bars.iter().find(|b| b.bar == at.1).unwrap();
    assert_eq!((shown.gate, !shown.prices.is_empty()), (alpha::Gate::Exited, true));
    assert_eq!(d.before.as_ref().unwrap(), &run.trades[2]);
    let text = parity.to_string();
    assert!(
        text.contains("exit_price") && text.contains("trade before") && text.contains("parity: NO"),
        "{text}"
    );

    // One more expected, at a bar where our side did not enter: its gate says why.
    let mut trades = run.trades.clone();
    let mut extra = trades[0].clone();
    (extra.entry_bar, extra.exit_bar) = (extra.entry_bar - 2, extra.entry_bar - 1);
    trades.insert(0, extra.clone());
    let parity = expect(&config, place.path(), "b.jsonl", &lines(&trades)).unwrap();
    let d = parity.first_divergence.unwrap();
    assert_eq!((d.trade, d.bar), (1, Some(extra.entry_bar)));
    let shown = d.bars.iter().find(|b| b.bar == extra.entry_bar).unwrap();
    assert!(![alpha::Gate::Entered, alpha::Gate::Holding].contains(&shown.gate));

    for keep in [2, 0] {
        let parity = expect(&config, place.path(), "c.jsonl", &lines(&run.trades[..keep])).unwrap();
        let what = parity.first_divergence.unwrap().what;
        assert!(what.contains("one too many"), "{what}");
    }
    let mut more = run.trades.clone();
    more.push(run.trades[0].clone());
    let what =
        expect(&config, place.path(), "d.jsonl", &lines(&more)).unwrap().first_divergence.unwrap().what;
    assert!(what.contains("is missing"), "{what}");
}

#[test]
fn tolerance_is_relative() {
    let (_dir, config) = days();
    let mut trades = replayed(&config).trades;
    trades[0].pnl *= 1.0 + 1e-7;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("t.jsonl");
    fs::write(&path, replay::output::json_lines(&trades)).unwrap();
    let expected = Expected::read(&path).unwrap();
    assert!(!check(&config, &expected, 1e-9).unwrap().equal);
    assert!(check(&config, &expected, 1e-6).unwrap().equal);
}

#[test]
fn expectations_that_make_no_sense_are_refused_by_name() {
    let (_dir, config) = days();
    let place = tempfile::tempdir().unwrap();
    for (name, content, says) in [
        ("t.csv", "symbol,entry_hour\nBTCUSDT,3\n", "unknown columns: entry_hour"),
        ("t.csv", "symbol,asset\nA,B\n", "two columns for `symbol`"),
        ("t.csv", "symbol,entry_bar\nBTCUSDT,soon\n", "row 1: `soon` is no value for `entry_bar`"),
        ("t.jsonl", "{\"symbol\": [1], \"pnl\": 2}\n", "nested"),
        ("t.jsonl", "3\n", "no object"),
        ("t.json", "{\"roi\": 1, \"luck\": 2}", "unknown keys in the expected summary: luck"),
        ("t.parquet", "PAR1", "t.parquet"),
        ("t.txt", "", ".parquet, .csv"),
    ] {
        let message = expect(&config, place.path(), name, content).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(says), "{message}");
    }
    let missing = Expected::read(&PathBuf::from("/no/such/trades.csv")).unwrap_err().to_string();
    assert!(missing.contains("/no/such/trades.csv"), "{missing}");
}

#[test]
fn other_data_is_not_the_champions() {
    let (_dir, config) = days();
    let parity = check(&config, &Expected::read(Path::new("champion")).unwrap(), 1e-9).unwrap();
    assert!(!parity.equal);
    let lines: Vec<_> = parity.lines.iter().map(|l| (l.name.as_str(), l.equal)).collect();
    assert!(lines.contains(&("param_hash", true)) && lines.contains(&("roi", false)), "{lines:?}");
}

// ---- sweep -------------------------------------------------------------------------------------------------------

fn axes(texts: &[&str]) -> Vec<Axis> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

#[test]
fn each_row_of_a_sweep_is_a_replay() {
    let (_dir, config) = days();
    let grid = axes(&["fixed_tp_pct=0.005,0.0095", "direction=-1,both"]);
    let one = sweep(&config, &grid, &mut Unwatched).unwrap();
    let three = sweep(&ReplayConfig { threads: 3, ..config.clone() }, &grid, &mut Unwatched).unwrap();
    assert_eq!((one.csv(), one.table()), (three.csv(), three.table()));
    let settings: Vec<Vec<&str>> =
        one.rows.iter().map(|r| r.settings.iter().map(|(_, v)| v.as_str()).collect()).collect();
    assert_eq!(settings, [["0.005", "-1"], ["0.005", "both"], ["0.0095", "-1"], ["0.0095", "both"]]);
    for row in &one.rows {
        let mut single = config.clone();
        single.params.set("fixed_tp_pct", &row.settings[0].1).unwrap();
        single.direction = if row.settings[1].1 == "both" { 0 } else { -1 };
        let run = run(&single, &mut Unwatched).unwrap();
        assert_eq!((run.metrics, run.final_capital), (row.metrics, row.final_capital));
    }
    assert_eq!(one.csv().lines().count(), 5);
}

#[test]
fn a_sweep_that_makes_no_sense_is_refused() {
    let (_dir, config) = days();
    for (texts, says) in [
        (vec!["fixed_tp_pt=1,2"], "fixed_tp_pct"),
        (vec!["fraction=7"], "fraction"),
        (vec!["seed=1", "seed=2"], "twice"),
        (vec![], "grid"),
        (vec!["direction=sideways"], "sideways"),
    ] {
        let message = sweep(&config, &axes(&texts), &mut Unwatched).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
    for text in ["fraction", "=1", "fraction=1,,2", ""] {
        assert!(text.parse::<Axis>().is_err(), "{text}");
    }
}

struct Stop;
impl Observer for Stop {
    fn progress(&mut self, _: &Progress) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[test]
fn a_sweep_can_be_interrupted() {
    let (_dir, config) = days();
    let config = ReplayConfig { threads: 2, ..config };
    assert!(matches!(sweep(&config, &axes(&["seed=1,2,3"]), &mut Stop), Err(ReplayError::Interrupted)));
}

// ---- report, bench -----------------------------------------------------------------------------------------------

#[test]
fn the_report_stands_alone_and_no_name_breaks_out_of_it() {
    let (_dir, config) = days();
    let mut run = replayed(&config);
    run.trades[0].symbol = "</script><b>".to_owned();
    let page = html(&run, &Provenance { config: "a<!--b".to_owned(), ..Provenance::default() });
    for outside in ["src=", "href=\"http", "@import", "url(", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("a<!--b"));
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let data: serde_json::Value =
        serde_json::from_str(&page[start..start + page[start..].find("</script>").unwrap()]).unwrap();
    assert_eq!(data["trades"][0]["symbol"], "</script><b>");
    let total: f64 = run.trades.iter().map(|t| t.pnl).sum();
    for group in ["by_asset", "by_bucket", "by_reason", "hours"] {
        let sum: f64 = data[group].as_array().unwrap().iter().map(|g| g["pnl"].as_f64().unwrap()).sum();
        assert!((sum - total).abs() < 1e-6 * total.abs().max(1.0), "{group}");
    }
    // The funnel ends with the entries made.
    let entered = run.trades.len() + usize::from(run.open_position.is_some());
    assert_eq!(data["funnel"].as_array().unwrap().last().unwrap()["left"], entered);
    assert_eq!(data["files"].as_array().unwrap().len(), 8);
}

#[test]
fn generated_days_are_the_same_every_time_and_trade() {
    let mut one = Generator::champion(7);
    let mut two = Generator::champion(7);
    assert_eq!(one.next_day(), two.next_day());
    assert_ne!(one.next_day(), Generator::champion(8).next_day());
    let bench = replay::bench::bench(2, 1).unwrap();
    assert!(bench.trades > 5 && bench.engine.p50 > 0.0 && bench.replay.p50 > 0.0, "{bench:?}");
}
