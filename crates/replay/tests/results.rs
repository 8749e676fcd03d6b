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
use replay::compare::Compared;
use replay::days::{Observer, Progress, ReplayConfig, Run, Unwatched, run};
use replay::generate::Generator;
use replay::output::{Earlier, FILES, Staging};
use replay::parity::{Expected, Parity, check};
use replay::report::{Provenance, html};
use replay::sweep::{Axis, set, sweep};
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
    Staging::new(out, Earlier::Refused).unwrap().commit(run, &Provenance::default()).unwrap();
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
    // Results of an earlier run are refused by name, before anything runs.
    let refused = Staging::new(&out, Earlier::Refused).unwrap_err();
    assert!(refused.is_usage());
    for word in [out.display().to_string().as_str(), "summary.json", "--force", "another directory"] {
        assert!(refused.to_string().contains(word), "{word}: {refused}");
    }
    assert_eq!(entries(place.path()), ["out"]);
    let forced = || Staging::new(&out, Earlier::Replaced).unwrap();
    let staging = forced();
    assert_eq!(fs::read_to_string(out.join("summary.json")).unwrap(), "old");
    drop(staging); // Ctrl-C, or an error: nothing happened.
    assert_eq!(entries(place.path()), ["out"]);
    assert_eq!(fs::read_to_string(out.join("summary.json")).unwrap(), "old");
    let replaced = forced().commit(&run, &Provenance::default()).unwrap();
    assert!(replaced.unwrap().contains("summary.json"));
    assert_eq!(entries(place.path()), ["out"]);
    assert_eq!(fs::read_to_string(out.join("mine.txt")).unwrap(), "keep");
    assert_eq!(entries(&out).len(), 6);
    assert!(fs::read_to_string(out.join("summary.json")).unwrap().contains("param_hash"));
    let replaced = forced().commit(&run, &Provenance::default()).unwrap().unwrap();
    assert!(replaced.contains(&format!("{} trades", run.trades.len())), "{replaced}");
    // A file where the folder should be is refused before anything runs.
    assert!(
        Staging::new(&out.join("mine.txt"), Earlier::Replaced).unwrap_err().to_string().contains("mine.txt")
    );
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

/// Expected trades as JSON lines, each changed by hand.
fn changed(
    trades: &[alpha::TradeRecord],
    change: impl Fn(usize, &mut serde_json::Map<String, serde_json::Value>),
) -> String {
    let rows = trades.iter().enumerate().map(|(i, trade)| {
        let serde_json::Value::Object(mut row) = serde_json::to_value(trade).unwrap() else { unreachable!() };
        change(i, &mut row);
        serde_json::Value::Object(row).to_string() + "\n"
    });
    rows.collect()
}

#[test]
fn tolerance_is_relative_at_every_price() {
    // One asset at a billionth of the others: what a floor of 1e-12 would let through.
    let dir = tempfile::tempdir().unwrap();
    let mut generator = Generator::new(11, Date::constant(2026, 2, 1), 500, 8);
    for _ in 0..8 {
        let mut day = generator.next_day();
        let width = day.assets.len();
        for (i, price) in day.prices.iter_mut().enumerate() {
            // The reference stays as it is.
            *price *= if i % width == 0 { 1.0 } else { 1e-11 };
        }
        write(&dir.path().join(format!("{}.parquet", day.date)), &day).unwrap();
    }
    let config = ReplayConfig::champion(dir.path());
    let trades = replayed(&config).trades;
    let place = tempfile::tempdir().unwrap();
    for key in
        ["entry_price", "exit_price", "notional", "leverage", "vel_div", "fees", "pnl", "capital_after"]
    {
        let content = |factor: f64| {
            changed(&trades, |i, row| {
                if i == 3 {
                    row[key] = (row[key].as_f64().unwrap() * factor).into();
                }
            })
        };
        let off = expect(&config, place.path(), "t.jsonl", &content(1.0 + 1e-5)).unwrap();
        assert!(!off.equal && off.trades_differing == 1, "{key}: {off}");
        assert_eq!(off.first_divergence.unwrap().trade, 4, "{key}");
        let off = expect(&config, place.path(), "t.jsonl", &content(1.0 + 1e-7)).unwrap();
        assert!(!off.equal, "{key}");
        let near = expect(&config, place.path(), "t.jsonl", &content(1.0 + 1e-11)).unwrap();
        assert!(near.equal, "{key}: {near}");
    }
    let parity = expect(&config, place.path(), "t.jsonl", &changed(&trades, |_, _| ())).unwrap();
    let tolerances = parity.tolerances.join("\n");
    assert!(tolerances.contains("fees, gross_pnl, pnl") && tolerances.contains("notional"), "{tolerances}");
    let exact = Expected::read(&place.path().join("t.jsonl")).unwrap();
    assert!(check(&config, &exact, 0.0).unwrap().tolerances.is_empty());
}

#[test]
fn nothing_expected_is_not_met_by_anything() {
    let (_dir, config) = days();
    let trades = replayed(&config).trades;
    let place = tempfile::tempdir().unwrap();
    for key in ["symbol", "direction", "entry_bar", "exit_price", "pnl", "reason", "maker_exit", "exit_date"]
    {
        for nothing in ["null", "NaN", "\"\""] {
            if nothing == "NaN" && ["symbol", "reason", "exit_date"].contains(&key) {
                continue;
            }
            let text = changed(&trades, |i, row| {
                if i == 2 {
                    row[key] = "@".into();
                }
            });
            let text = text.replace("\"@\"", nothing);
            let parity = expect(&config, place.path(), "t.jsonl", &text).unwrap();
            assert!(!parity.equal, "{key} {nothing}: {parity}");
            let lines = parity.first_divergence.map(|d| d.lines).unwrap_or_default();
            assert!(lines.is_empty() || lines.iter().any(|l| l.name == key), "{key} {nothing}: {lines:?}");
        }
    }
    // A column without any value is no part of the comparison, and the answer says so.
    let empty = changed(&trades, |_, row| row["fees"] = serde_json::Value::Null);
    let parity = expect(&config, place.path(), "t.jsonl", &empty).unwrap();
    assert!(parity.equal && !parity.columns.contains(&"fees"), "{parity}");
    assert!(parity.to_string().contains("not compared: fees (no value in any row)"), "{parity}");
    let nothing =
        changed(&trades, |_, row| row.retain(|key, _| key == "fees")).replace(|c: char| c.is_numeric(), "");
    let nothing = nothing.lines().map(|_| "{\"fees\": null}\n").collect::<String>();
    let refused = expect(&config, place.path(), "t.jsonl", &nothing).unwrap_err().to_string();
    assert!(refused.contains("no column of a trade"), "{refused}");
    // Summaries: a number is no match for nothing, and nothing at all is no expectation.
    for text in
        [r#"{"roi": null}"#, r#"{"roi": NaN}"#, r#"{"roi": ""}"#, r#"{"metrics": {"win_rate": null}}"#]
    {
        let parity = expect(&config, place.path(), "s.json", text).unwrap();
        assert!(!parity.equal, "{text}: {parity}");
    }
    for text in [r#"{"metrics": {}}"#, r#"{"metrics": {}, "elapsed_s": 1}"#] {
        let refused = expect(&config, place.path(), "s.json", text).unwrap_err().to_string();
        assert!(refused.contains("no value"), "{refused}");
    }
    let run = replayed(&config);
    let text = format!(r#"{{"roi": {}, "elapsed_s": 9, "notes": []}}"#, run.metrics.roi);
    let parity = expect(&config, place.path(), "s.json", &text).unwrap();
    assert!(parity.equal && parity.not_compared == ["elapsed_s", "notes"], "{parity}");
}

#[test]
fn a_missing_or_an_extra_trade_is_told_as_such() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let lines =
        |trades: &[alpha::TradeRecord]| String::from_utf8(replay::output::json_lines(trades)).unwrap();
    // Left out of the file: ours is one too many, all others are the same.
    let mut trades = run.trades.clone();
    trades.remove(5);
    let parity = expect(&config, place.path(), "a.jsonl", &lines(&trades)).unwrap();
    assert_eq!((parity.trades_differing, &parity.extra, parity.following), (1, &vec![6], 0));
    assert!(parity.why().contains("trade 6 of the replay is one too many"), "{}", parity.why());
    // Put into the file.
    let mut trades = run.trades.clone();
    let mut more = trades[7].clone();
    more.entry_bar -= 1;
    trades.insert(7, more);
    let parity = expect(&config, place.path(), "b.jsonl", &lines(&trades)).unwrap();
    assert_eq!((parity.trades_differing, &parity.missing, parity.following), (1, &vec![8], 0));
    assert_eq!(parity.why(), "trade 8 is missing");
    // Without the columns that tell the entry, by what else identifies a trade.
    for keys in [vec!["symbol", "entry_price", "pnl"], vec!["symbol", "exit_price", "reason"]] {
        let text = changed(&run.trades[1..], |_, row| row.retain(|key, _| keys.contains(&key.as_str())));
        let parity = expect(&config, place.path(), "c.jsonl", &text).unwrap();
        assert_eq!((parity.trades_differing, &parity.extra), (1, &vec![1]), "{parity}");
    }
}

#[test]
fn what_follows_from_a_trade_is_not_a_difference_of_its_own() {
    // An engine that does not take the fourth trade: a real run of its own, capital and fee draws and all.
    let (_dir, config) = days();
    let full = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let fourth = &full.trades[3];
    let controls = replay::controls::Controls {
        postures: [(fourth.entry_date, alpha::Safety { posture: market::Posture::Hibernate, rm: 0.0 })]
            .into(),
        ..Default::default()
    };
    let other = replayed(&ReplayConfig { controls, ..config.clone() });
    let left_out = full
        .trades
        .iter()
        .filter(|t| !other.trades.iter().any(|o| o.entry_bar == t.entry_bar && o.entry_date == t.entry_date))
        .count();
    assert!(left_out > 0 && other.trades.len() > left_out);
    let text = String::from_utf8(replay::output::json_lines(&other.trades)).unwrap();
    let parity = expect(&config, place.path(), "t.jsonl", &text).unwrap();
    assert!(!parity.equal && !parity.extra.is_empty());
    assert!(parity.following > 5, "{}", parity.why());
    let structural = parity.missing.len() + parity.extra.len();
    assert_eq!(parity.trades_differing, structural, "{parity}");
    assert!(parity.why().contains("only in what follows"), "{}", parity.why());
    // A later trade that is wrong by itself is not hidden behind that.
    let last = other.trades.len() - 1;
    for key in ["exit_price", "leverage", "gross_pnl", "notional"] {
        let text = changed(&other.trades, |i, row| {
            if i == last {
                row[key] = (row[key].as_f64().unwrap() * 1.001).into();
            }
        });
        let parity = expect(&config, place.path(), "t.jsonl", &text).unwrap();
        assert_eq!(parity.trades_differing, structural + 1, "{key}: {parity}");
    }
}

#[test]
fn other_dates_are_said_to_be_other_dates() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    let moved = |by: usize| {
        changed(&run.trades, |i, row| {
            if i >= by {
                for key in ["entry_date", "exit_date"] {
                    row[key] = row[key].as_str().unwrap().replace("2026", "2025").into();
                }
            }
        })
    };
    let parity = expect(&config, place.path(), "t.jsonl", &moved(0)).unwrap();
    let why = parity.why();
    assert!(!parity.equal && parity.first_divergence.is_none());
    assert!(
        why.contains("no common dates") && why.contains("2025-02-0") && why.contains("2026-02-0"),
        "{why}"
    );
    let parity = expect(&config, place.path(), "t.jsonl", &moved(9)).unwrap();
    assert!(!parity.equal && parity.notes.iter().any(|n| n.contains("were not replayed")), "{parity}");
}

#[test]
fn the_context_shows_no_nan() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let place = tempfile::tempdir().unwrap();
    // A trade expected on the first bar of all, where nothing is known yet.
    let mut first = run.trades[0].clone();
    (first.entry_date, first.entry_bar) = (run.days[0].date, 0);
    let mut trades = run.trades;
    trades.insert(0, first);
    let text = String::from_utf8(replay::output::json_lines(&trades)).unwrap();
    let parity = expect(&config, place.path(), "t.jsonl", &text).unwrap();
    let shown = parity.to_string();
    assert!(shown.contains("bar 0") && !shown.contains("NaN"), "{shown}");
    let json = serde_json::to_value(&parity).unwrap();
    let bars = json["first_divergence"]["bars"].as_array().unwrap();
    assert!(!bars.is_empty());
    for (key, value) in bars.iter().flat_map(|bar| bar.as_object().unwrap()) {
        assert!(!value.is_null() || key == "best" || key == "ts_ns", "{key} of {json}");
    }
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

// ---- reports -----------------------------------------------------------------------------------------------------

#[test]
fn runs_side_by_side_have_the_figures_of_each() {
    let (_dir, config) = days();
    let run = replayed(&config);
    let mut other = config;
    set(&mut other, "fraction", "0.05").unwrap();
    let second = replayed(&other);
    let place = tempfile::tempdir().unwrap();
    let dirs = ["a<b", "c"].map(|name| place.path().join(name));
    commit(&run, &dirs[0]);
    commit(&second, &dirs[1]);
    let compared = Compared::read(&dirs).unwrap();
    for (figures, run) in compared.figures().iter().zip([&run, &second]) {
        let m = &run.metrics;
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(figures.roi, m.roi) && near(figures.max_drawdown, m.max_drawdown), "{figures:?}");
        assert!(near(figures.profit_factor.unwrap(), m.profit_factor.unwrap()), "{figures:?}");
        assert_eq!((figures.trades as u64, figures.win_rate), (m.trades, m.win_rate));
        assert_eq!((figures.sharpe, figures.final_capital), (m.sharpe, run.final_capital));
    }
    assert_eq!(compared.figures()[0].in_common, run.trades.len());
    // Size changes no entry.
    assert_eq!(compared.figures()[1].in_common, second.trades.len());
    let page = compared.html();
    assert!(page.contains("a&lt;b") && !page.contains("a<b"), "names are escaped");
    assert_eq!(page.matches("<path ").count(), 2);
    assert!(Compared::read(&[place.path().join("none")]).unwrap_err().to_string().contains("trades.jsonl"));
}

#[test]
fn a_single_day_is_drawn_in_order() {
    let (_dir, config) = days();
    let day = Date::constant(2026, 2, 3);
    let run = run(&ReplayConfig { from: Some(day), to: Some(day), ..config }, &mut Unwatched).unwrap();
    let page = html(&run, &Provenance::default());
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let xs: Vec<f64> = data["equity"].as_array().unwrap().iter().map(|p| p["x"].as_f64().unwrap()).collect();
    assert!(xs.len() > 1, "no trade on that day: nothing is tested");
    assert!(xs.is_sorted() && xs[0] == 0.0, "{xs:?}");
}
